"""Quantities of every window of a picture, read off summed-area tables in constant time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray


def summed(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the summed-area table of an array, with a leading zero along every axis (F. Crow, 1984)."""
    table = np.pad(np.asarray(values, dtype=np.float64), [(1, 0)] * values.ndim)
    for axis in range(values.ndim):
        np.cumsum(table, axis=axis, out=table)
    return table


def window_sums(table: NDArray[np.float64], low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.float64]:
    """Sum over the boxes ``low <= index < high``; both of shape ``(n, ndim)``.

    >>> window_sums(summed(np.ones((4, 4))), np.array([[0, 1]]), np.array([[2, 4]]))
    array([6.])
    """
    total = np.zeros(len(low))
    for corner in product((0, 1), repeat=table.ndim):
        index = tuple(np.where(c, high[:, a], low[:, a]) for a, c in enumerate(corner))
        total += (-1.0) ** (table.ndim - sum(corner)) * table[index]
    return total


@dataclass(frozen=True, eq=False)
class Windows:
    """A quantity of boxes in one picture.

    Attributes
    ----------
    tables
        Summed-area tables, each with the axis along which the first plane of a box does not count (a step onto it
        comes from outside), or None.
    value
        From the sum over the tables and the number of grid points of a box to the quantity.
    """

    tables: tuple[tuple[NDArray[np.float64], int | None], ...]
    value: Callable[[NDArray[np.float64], int], NDArray[np.float64]]

    def __call__(self, corners: NDArray[Any], shape: Sequence[int]) -> NDArray[np.float64]:
        """Quantity of boxes of `shape` with their first grid point at `corners`, ``(n, ndim)``."""
        corners = np.asarray(corners)
        total = np.zeros(len(corners))
        for table, axis in self.tables:
            low = corners.copy()
            if axis is not None:
                low[:, axis] += 1
            total += window_sums(table, low, corners + np.asarray(shape))
        return self.value(total, int(np.prod(shape)))


def intercepts(boundary: NDArray[Any], spacing_um: float) -> Windows:
    """Mean lineal intercept in micrometres of boxes of a boundary mask ``(Y, X)``.

    Test lines are all rows and columns of the box. A boundary crossed by a line has two flanks; each flank inside
    the box counts one half, so a boundary cut by the edge counts one half as in ASTM E112. The mean intercept
    is the length of all lines over the number of crossings, of which at least a half is assumed.
    """
    inside = np.asarray(boundary, dtype=bool)
    flanks = [np.zeros(inside.shape), np.zeros(inside.shape)]
    flanks[0][1:] = inside[1:] != inside[:-1]
    flanks[1][:, 1:] = inside[:, 1:] != inside[:, :-1]

    def value(total: NDArray[np.float64], points: int) -> NDArray[np.float64]:
        return 2 * points * spacing_um / np.maximum(total / 2, 0.5)

    return Windows(tuple((summed(f), axis) for axis, f in enumerate(flanks)), value)


def fractions(region: NDArray[Any]) -> Windows:
    """Share of the grid points of boxes that lie in `region`."""
    return Windows(((summed(region), None),), lambda total, points: total / points)
