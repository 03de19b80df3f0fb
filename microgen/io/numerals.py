"""Numbers written as text, read quickly and with their count checked."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError

_KINDS = {"f": "number", "u": "whole number", "i": "whole number"}


def parse(text: str | bytes, dtype: np.dtype[Any], count: int, what: str) -> NDArray[Any]:
    """Return exactly `count` numbers of `text`, separated by white space, in the type `dtype`.

    Raises
    ------
    InputError
        For another count, for anything that is no number, and for numbers that the type does not hold.

    Examples
    --------
    >>> parse("1 2\\n3", np.dtype("u1"), 3, "grains")
    array([1, 2, 3], dtype=uint8)
    """
    wide = np.dtype({"f": "f8", "u": "u8", "i": "i8"}[dtype.kind])
    if dtype.kind == "u" and (b"-" in text if isinstance(text, bytes) else "-" in text):
        raise InputError(f"{what}: a negative number stands where only positive ones belong")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how older numpy says that it met something else
            found = np.fromstring(text, dtype=wide, sep=" ")  # type: ignore[call-overload,unused-ignore]
    except (ValueError, DeprecationWarning) as error:
        raise InputError(f"{what}: something that is no {_KINDS[dtype.kind]} stands among its numbers") from error
    if len(found) != count:
        raise InputError(f"{what}: {count} numbers are announced and {len(found)} are there; the file is damaged")
    with np.errstate(over="ignore"):
        narrow = np.asarray(found.astype(dtype))
    if dtype.kind != "f" and not np.array_equal(narrow, found):
        raise InputError(f"{what}: the numbers {found.min()} to {found.max()} do not fit the type {dtype.name}")
    return narrow


def lines(values: NDArray[Any], per_line: int, separator: str = " ") -> str:
    """Return numbers as text, `per_line` in a line; the text of a float gives the same float back.

    >>> lines(np.array([1, 2, 3]), 2)
    '1 2\\n3\\n'
    """
    words = [repr(v) if isinstance(v, float) else str(v) for v in values.ravel().tolist()]
    rows = (separator.join(words[start : start + per_line]) for start in range(0, len(words), per_line))
    return "\n".join(rows) + "\n"
