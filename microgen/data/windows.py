"""Quantities of every window of a picture, read off summed-area tables in constant time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.stats.grains import label_grains


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
        Summed-area tables, each with how many planes at the end of a box do not count along each axis (a step from
        there leads out of the box).
    value
        From the sums in each table, ``(tables, n)``, and the shape of the boxes to the quantity.
    """

    tables: tuple[tuple[NDArray[np.float64], tuple[int, ...]], ...]
    value: Callable[[NDArray[np.float64], Sequence[int]], NDArray[np.float64]]

    def __call__(self, corners: NDArray[Any], shape: Sequence[int]) -> NDArray[np.float64]:
        """Quantity of boxes of `shape` with their first grid point at `corners`, ``(n, ndim)``."""
        corners = np.asarray(corners)
        sums = [window_sums(t, corners, corners + np.maximum(np.asarray(shape) - less, 0)) for t, less in self.tables]
        return self.value(np.stack(sums), shape)


def intercepts(boundary: NDArray[Any], spacing_um: float) -> Windows:
    """Mean lineal intercept in micrometres of boxes of a boundary mask or label map ``(Y, X)`` or ``(Z, Y, X)``.

    The same number, to rounding, that :func:`microgen.stats.grains.mean_intercept_um` gives for the grains cut out
    of each box: all rows and columns are test lines, in volumes those along z too.
    """
    grains = label_grains(boundary)
    steps = np.eye(grains.ndim, dtype=int)
    tables = tuple((summed(np.diff(grains, axis=a) != 0), tuple(steps[a].tolist())) for a in range(grains.ndim))

    def value(sums: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
        total, points = sums.sum(axis=0), int(np.prod(shape))
        length = sum(points // n * (n - 1) for n in shape)
        return np.where(total > 0, length / np.maximum(total, 1), 2 * float(np.mean(shape))) * spacing_um

    return Windows(tables, value)


def fractions(region: NDArray[Any]) -> Windows:
    """Share of the grid points of boxes that lie in `region`."""
    table = summed(region)
    return Windows(((table, (0,) * table.ndim),), lambda sums, shape: sums[0] / float(np.prod(shape)))
