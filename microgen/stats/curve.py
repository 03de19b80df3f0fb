"""A measured curve, and the average of a map over shells of equal distance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SLAB = 1 << 18  # grid points handled at once: bounds the memory for distances


@dataclass(frozen=True, eq=False)
class Curve:
    """Values over a physical abscissa.

    Attributes
    ----------
    x
        Abscissa, shape ``(n,)``: distance in micrometres, or frequency in cycles per micrometre.
    y
        Values at `x`, shape ``(n,)``.
    """

    x: NDArray[Any]
    y: NDArray[Any]

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            values = np.array(getattr(self, name), dtype=np.float64)
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return len(self.x)


def radial_mean(
    values: NDArray[Any],
    axes: Sequence[NDArray[Any]],
    *,
    step: float,
    limit: float,
    weights: NDArray[Any] | None = None,
) -> Curve:
    """Average a map over shells of equal distance from its origin.

    Parameters
    ----------
    values
        Map of any number of axes; NaN marks points without a value.
    axes
        Coordinates of the grid points along each axis, the origin at 0.
    step
        Thickness of a shell, in the unit of the coordinates.
    limit
        Largest distance kept.
    weights
        Weights of the points along the last axis.

    Returns
    -------
    Curve
        ``x`` is the mean distance of the points in each shell; shells without points are left out.

    Examples
    --------
    >>> radial_mean(np.ones((3, 3)), [np.arange(-1, 2.0)] * 2, step=1, limit=1).y
    array([1., 1.])
    """
    count = int(np.floor(limit / step + 0.5)) + 1
    total = np.zeros((3, count))
    last = np.ones(values.shape[-1]) if weights is None else weights
    for part, squared in _slabs(values, axes):
        distance = np.sqrt(squared)
        known = (distance <= limit * (1 + 1e-9)) & np.isfinite(part)
        near = distance[known]
        shell = (near / step + 0.5).astype(np.intp)
        weight = np.broadcast_to(last, part.shape)[known]
        for row, quantity in zip(total, (weight, weight * near, weight * part[known]), strict=True):
            row += np.bincount(shell, quantity, count)[:count]
    filled = total[0] > 0
    return Curve(total[1, filled] / total[0, filled], total[2, filled] / total[0, filled])


def _slabs(values: NDArray[Any], axes: Sequence[NDArray[Any]]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield parts of a map along its first axis, with the squared distances of their points."""
    squares = [np.asarray(axis, dtype=np.float64) ** 2 for axis in axes]
    thickness = max(1, _SLAB // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, len(values), thickness):
        grid = np.ix_(squares[0][start : start + thickness], *squares[1:])
        yield values[start : start + thickness], sum(grid[1:], start=grid[0])
