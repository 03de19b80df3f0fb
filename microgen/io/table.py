"""Tables of numbers in text files, and how their points lie on a grid."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io.ebsd import grid_text
from microgen.io.pixel_size import PixelSize, sized

Array = NDArray[Any]

_OFF = 0.25  # steps that a point may lie beside its place in the grid (coordinates are rounded)
_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Lattice:
    """Where the points of a map lie.

    Attributes
    ----------
    shape
        Rows and columns.
    step
        Micrometres between rows and between columns.
    order
        Position in the table of each point of the grid row by row; None where the table is in that order.
    """

    shape: tuple[int, int]
    step: tuple[float, float]
    order: Array | None = None


def decode(data: bytes) -> str:
    """Return text of a file that is UTF-8 or, from older programs, Latin-1; no byte makes it fail."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def numbers(data: bytes) -> Array:
    """Return a table of numbers ``(rows, columns)``, float64; every line must have as many as the first.

    A comma is a decimal point, as programs write it that follow the language of the computer.

    >>> numbers(b"1 2,5\\n3 -4e-1\\n")
    array([[ 1. ,  2.5],
           [ 3. , -0.4]])
    """
    if not data.strip():
        raise InputError("has a header but no points")
    lines = io.TextIOWrapper(io.BytesIO(data.replace(b",", b".")), encoding="latin-1")
    try:
        return np.loadtxt(lines, comments=None, ndmin=2)
    except ValueError as error:
        detail = re.sub(r"; use `usecols`.*", "", str(error))
        raise InputError(f"has a table that is damaged or truncated: {detail}") from error


def stored(values: Array) -> Array:
    """Return numbers of a text in the type they had: uint8 or int32 where whole, float32 where written with 9 digits.

    Nine digits name a float32 exactly; all other numbers stay float64.

    >>> [str(stored(np.array(v)).dtype) for v in ([1.0, 255.0], [-1.0], [0.100000001], [0.1])]
    ['uint8', 'int32', 'float32', 'float64']
    """
    if not np.isfinite(values).all():
        return values
    if (values == np.rint(values)).all() and np.abs(values).max() < 2**31:
        return np.asarray(values, np.uint8 if values.min() >= 0 and values.max() < 256 else np.int32)
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    return single if (np.abs(values - single) <= 5.1e-9 * np.abs(values)).all() else values


def writer_of(text: str, marks: Mapping[str, str], otherwise: str) -> str:
    """Return the program whose mark stands in a header as a word of its own.

    >>> writer_of("File created from ACOM RES results", {"ACOM": "ASTAR"}, "EDAX")
    'ASTAR'
    >>> writer_of("OPERATOR: Giacomo", {"ACOM": "ASTAR"}, "EDAX")
    'EDAX'
    """
    found = (name for mark, name in marks.items() if re.search(rf"(?<![a-z]){mark}(?![a-z])", text, re.IGNORECASE))
    return next(found, otherwise)


def number(text: str | None) -> float | None:
    """Return the number that a header value begins with, or None; a decimal comma counts.

    >>> number("0,12 um"), number("abc")
    (0.12, None)
    """
    match = _NUMBER.match((text or "").strip())
    return float(match[0].replace(",", ".")) if match else None


def step_of(values: Array) -> float:
    """Return the usual distance between neighbouring coordinates, 0 where all are the same.

    Coordinates are rounded to a few decimals, so that the whole length is divided and no single distance is used.

    >>> round(step_of(np.array([0.0, 0.33, 0.67, 1.0, 0.0])), 4)
    0.3333
    """
    distances = np.diff(np.unique(values))
    if not distances.size:
        return 0.0
    distances = distances[distances > 1e-3 * distances.max()]
    usual, length = float(np.median(distances)), float(np.max(values) - np.min(values))
    count = len(distances) if distances.max() < 1.5 * usual else max(1, round(length / usual))
    return length / count


def lay_out(x: Array, y: Array, shape: tuple[int, int] | None, step: tuple[float | None, float | None]) -> Lattice:
    """Find the grid of points, and check it against what the header says.

    Parameters
    ----------
    x, y
        Coordinates of the points in micrometres.
    shape
        Rows and columns after the header, None where it does not say.
    step
        Steps in y and x after the header.

    Raises
    ------
    InputError
        If the header promises another grid than the points make, or the points do not fill one.
    """
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("has points without coordinates")
    if shape is not None and shape[0] * shape[1] != len(x):
        raise InputError(_mismatch(shape, len(x)))
    stated = {"y": step[0], "x": step[1]}
    found = {"y": step_of(y), "x": step_of(x)}
    used = {axis: found[axis] or stated[axis] or found["x"] or found["y"] or stated["x"] or 0.0 for axis in "yx"}
    if not all(np.isfinite(v) and v > 0 for v in used.values()):
        raise InputError("states no step and has a single point, so that its scale is unknown")
    rows, columns = (_places(values, used[axis]) for axis, values in (("y", y), ("x", x)))
    made = (int(rows.max()) + 1, int(columns.max()) + 1)
    if made[0] * made[1] != len(x) or (shape is not None and made != shape):
        raise InputError(_irregular(made, len(x), shape))
    place = rows * made[1] + columns
    steps = (used["y"], used["x"])
    if (place == np.arange(len(x))).all():
        return Lattice(made, steps)
    order = np.argsort(place)
    if (place[order] != np.arange(len(x))).any():
        raise InputError(f"has several points at one place of its grid of {grid_text(made)}, and none at others")
    return Lattice(made, steps, order)


def sizes_of(lattice: Lattice, step: tuple[float | None, float | None]) -> tuple[PixelSize, ...]:
    """Return both statements about the scale: the header's, and that of the coordinates."""
    return (*sized(step, "file header", "high"), *sized(lattice.step, "coordinates of the points", "high"))


def _places(values: Array, step: float) -> Array:
    exact = (values - values.min()) / step
    if exact.max() >= 2**31:
        raise InputError("has coordinates that are not on a grid")
    places = np.rint(exact).astype(np.int64)
    # rounded coordinates drift by up to one unit of the last digit, never by a share of the whole length
    if (np.abs(exact - places) > _OFF).any():
        raise InputError(
            "has points that do not lie on a regular grid; only maps of square or hexagonal grids are read"
        )
    return np.asarray(places)


def _mismatch(shape: Sequence[int], count: int) -> str:
    if count < shape[0] * shape[1]:
        return (
            f"promises a grid of {grid_text(shape)} = {shape[0] * shape[1]} points in its header but holds {count}: "
            "it is truncated, or a map of selected points, which is no picture"
        )
    return f"promises a grid of {grid_text(shape)} = {shape[0] * shape[1]} points in its header but holds {count}"


def _irregular(made: Sequence[int], count: int, shape: Sequence[int] | None) -> str:
    if made[0] * made[1] == count and shape is not None:
        return f"promises a grid of {grid_text(shape)} in its header, but its coordinates make one of {grid_text(made)}"
    promise = f", and its header promises {grid_text(shape)}" if shape is not None else ""
    return (
        f"holds {count} points whose coordinates span a grid of {grid_text(made)} = {made[0] * made[1]}{promise}; "
        "only maps with one point at every place of the grid are read"
    )
