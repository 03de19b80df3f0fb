"""Matrices of numbers as plain text (``.txt``, ``.csv``), one row of the picture per line; read only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io.recording import Options, Recording

EXTENSIONS = (".txt", ".csv")

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_FEWEST = 8  # columns of a matrix; fewer are a table
_LOOKED_AT = 1 << 16  # bytes of the first line by which a matrix is recognised
_INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8")


def read(path: Path, options: Options) -> Recording:
    """Read a matrix separated by white space, commas or semicolons; ``#`` starts a comment.

    Text has no type: whole numbers come in the narrowest integer type that holds them all, others as float64.
    Where semicolons or tabs separate, a comma is a decimal point.
    """
    text = _decoded(path)
    rows = [line for line in (part.partition("#")[0].strip() for part in text.splitlines()) if line]
    if not rows:
        raise InputError("holds no numbers")
    values = _matrix(rows)
    if min(values.shape) < 2:
        raise InputError(f"holds {values.shape[0]} x {values.shape[1]} numbers, which make no picture")
    return Recording((values,), "picture", 8 * values.dtype.itemsize)


def recognises(path: Path) -> bool:
    """True where the first lines are rows of at least eight numbers: notes and tables are no pictures."""
    try:
        with path.open("rb") as stream:
            start = stream.read(_LOOKED_AT)
    except OSError:
        return False
    lines = [
        line for line in start.decode("latin-1").splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    return len(lines) > 1 and all(map(_is_row, lines[: min(3, len(lines) - 1)]))


def _is_row(line: str) -> bool:
    words = re.split(r"[\s;,]+", line.strip(" \t;,"))
    return len(words) >= _FEWEST and all(map(_NUMBER.fullmatch, words))


def _decoded(path: Path) -> str:
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("ascii")
    except UnicodeDecodeError as error:
        raise InputError("is no table of plain numbers") from error


def _matrix(rows: list[str]) -> NDArray[Any]:
    separator = next((mark for mark in (";", "\t") if mark in rows[0]), None)
    if separator:
        rows = [row.strip(separator).replace(",", ".") for row in rows]
    elif "," in rows[0]:
        separator, rows = ",", [row.rstrip(", ") for row in rows]
    try:
        if re.search(r"[.eEnN]", "".join(rows)) is None:
            return _narrowed(np.loadtxt(rows, dtype=np.int64, delimiter=separator, ndmin=2))
        return np.asarray(np.loadtxt(rows, dtype=np.float64, delimiter=separator, ndmin=2))
    except (ValueError, OverflowError) as error:
        raise InputError(f"is no matrix of numbers: {' '.join(str(error).split())}") from error


def _narrowed(values: NDArray[np.int64]) -> NDArray[Any]:
    low, high = int(values.min()), int(values.max())
    name = next(n for n in _INTEGERS if np.iinfo(n).min <= low and high <= np.iinfo(n).max)
    return np.asarray(values.astype(name))
