"""Size, shape and direction of each grain from its second moments, in 2-D and 3-D, and grain size after ASTM E2627."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from microgen.core import InputError
from microgen.stats.grains import astm_g_from_density, label_grains, spacing_um
from microgen.stats.interval import bootstrap_ci

Spacing = float | Sequence[float]
Float = NDArray[np.float64]

_SLAB = 1 << 20  # points worked on at a time
E2627_SMALLEST = 100
"""Points that a grain needs to be measured (ASTM E2627)."""
E2627_POINTS = 500
"""Points that a grain should have on average (ASTM E2627)."""


@dataclass(frozen=True, eq=False)
class GrainTable:
    """One row per whole grain: those that neither the frame nor a part without data cuts.

    Attributes
    ----------
    number
        Of the grain in :func:`microgen.stats.grains.label_grains`.
    points
        Grid points.
    size
        Area in um^2, or volume in um^3.
    diameter_um
        Diameter of the circle or ball of that size.
    axes_um
        Axes of the ellipse or ellipsoid with the same second moments, longest first, ``(grains, ndim)``.
    direction
        Unit vector along the longest axis in the order of the grid axes, ``(grains, ndim)``; its sign has no meaning.
    """

    number: NDArray[np.int64]
    points: NDArray[np.int64]
    size: Float
    diameter_um: Float
    axes_um: Float
    direction: Float

    @property
    def aspect_ratio(self) -> Float:
        """Longest over shortest axis."""
        return np.asarray(self.axes_um[:, 0] / self.axes_um[:, -1])

    @property
    def orientation_deg(self) -> Float:
        """Direction of the longest axis in the plane of x and y: 0 along x, from x towards y, modulo 180."""
        return np.asarray(np.rad2deg(np.arctan2(self.direction[:, -2], self.direction[:, -1])) % 180)


def grain_table(
    boundary: NDArray[Any],
    *,
    spacing: Spacing,
    periodic: bool = False,
    mask: NDArray[np.bool_] | None = None,
    within: NDArray[np.bool_] | None = None,
) -> GrainTable:
    """Measure each whole grain.

    Parameters
    ----------
    boundary
        Boundary mask or label map, ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Micrometres per grid point, one number or one per axis.
    periodic
        The structure wraps around, so that every grain is whole. Grains must be shorter than the period.
    mask
        True where the structure is known; grains next to other parts are not whole.
    within
        True in the grains to be measured, those of one phase say.

    Examples
    --------
    >>> bricks = np.add.outer(np.arange(60) // 10 * 6, np.arange(60) // 20) + 1
    >>> float(grain_table(bricks, spacing=1.0).aspect_ratio.mean().round(2))
    2.0
    """
    grains = label_grains(boundary, periodic=periodic)
    steps = spacing_um(spacing, grains.ndim)
    if mask is not None:
        grains = np.where(mask, grains, 0)
    whole = whole_grains(grains, periodic=periodic)
    if within is not None:
        whole = whole[np.isin(whole, np.unique(grains[within]))]
    points, second = _moments(grains, steps, periodic=periodic)
    size = np.asarray(points[whole] * float(np.prod(steps)), np.float64)
    ndim = grains.ndim
    ball = np.pi ** (ndim / 2) / special.gamma(ndim / 2 + 1)  # of radius 1
    length, direction = np.linalg.eigh(second[whole])
    axes = 2 * np.sqrt((ndim + 2) * np.asarray(length, np.float64)[:, ::-1])
    diameter = np.asarray(2 * (size / ball) ** (1 / ndim))
    return GrainTable(whole, points[whole], size, diameter, axes, np.asarray(direction[:, :, -1], np.float64))


def whole_grains(
    labels: NDArray[np.integer[Any]], *, periodic: bool = False, mask: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Numbers of the grains that touch neither the frame nor a point without grain, in ascending order.

    >>> whole_grains(np.pad([[5, 7]], 1, constant_values=2))
    array([5, 7])
    """
    grains = np.asarray(labels) if mask is None else np.where(mask, labels, 0)
    cut = [np.zeros(1, grains.dtype)]
    if not periodic:
        cut += [np.unique(np.take(grains, end, axis)) for axis in range(grains.ndim) for end in (0, -1)]
    hole = grains == 0
    if hole.any():
        nearest = ndimage.generate_binary_structure(grains.ndim, 1)
        near = ndimage.maximum_filter(hole, footprint=nearest, mode="wrap" if periodic else "constant")
        cut.append(np.unique(grains[near]))
    return np.setdiff1d(grains, np.concatenate(cut)).astype(np.int64)


@dataclass(frozen=True)
class AreaGrainSize:
    """Grain size from the areas of whole grains.

    Attributes
    ----------
    mean_area_um2, ci95_um2
        Mean area, each grain counting once, and its 95 % confidence interval (bootstrap over grains).
    weighted_area_um2
        Mean area, each grain counting by its area: that of the grain a random point lies in.
    astm_g, astm_g_ci95
        ASTM grain size number of the mean area.
    count
        Whole grains with enough points.
    points_per_grain
        Mean number of points of all whole grains, also of those that are too small to be measured.
    """

    mean_area_um2: float
    ci95_um2: tuple[float, float]
    weighted_area_um2: float
    astm_g: float
    astm_g_ci95: tuple[float, float]
    count: int
    points_per_grain: float

    @property
    def fine_enough(self) -> bool:
        """Whether the map is fine enough for the standard: 500 points in the mean grain."""
        return self.points_per_grain >= E2627_POINTS


def e2627(
    boundary: NDArray[Any],
    *,
    spacing: Spacing,
    smallest: int = E2627_SMALLEST,
    periodic: bool = False,
    mask: NDArray[np.bool_] | None = None,
    within: NDArray[np.bool_] | None = None,
) -> AreaGrainSize:
    """Grain size of an orientation map after ASTM E2627: mean area of whole grains with at least 100 points.

    Parameters
    ----------
    boundary, spacing, periodic, mask, within
        As for :func:`grain_table`, in 2-D.
    smallest
        Least number of points of a grain; the standard says 100.

    Raises
    ------
    InputError
        If fewer than two grains can be measured.

    Notes
    -----
    The frame cuts large grains more often than small ones, so the mean of whole grains is low where the map is only
    a few grains wide; leaving out small grains makes it large where the map is coarse. The number follows from the
    mean area by its definition, as in E112.

    References
    ----------
    ASTM E2627-13(2019).

    Examples
    --------
    >>> bricks = np.add.outer(np.arange(60) // 10 * 6, np.arange(60) // 10) + 1
    >>> e2627(bricks, spacing=1.0).mean_area_um2
    100.0
    """
    if np.asarray(boundary).ndim != 2:
        raise InputError("ASTM E2627 measures areas in a map (Y, X); take a section of a volume")
    table = grain_table(boundary, spacing=spacing, periodic=periodic, mask=mask, within=within)
    area = table.size[table.points >= smallest]
    if len(area) < 2:
        raise InputError(f"fewer than two whole grains have {smallest} points; measure a larger or finer map")
    mean, (low, high) = float(area.mean()), bootstrap_ci(area)
    g = [astm_g_from_density(1e6 / a) for a in (mean, high, max(low, mean / 100))]
    weighted = float((area**2).sum() / area.sum())
    return AreaGrainSize(mean, (low, high), weighted, g[0], (g[1], g[2]), len(area), float(table.points.mean()))


def _moments(grains: NDArray[np.int64], steps: Sequence[float], *, periodic: bool) -> tuple[NDArray[np.int64], Float]:
    """Points, and second moments about the centre ``(grains, ndim, ndim)`` in um^2, by grain number."""
    size, ndim = int(grains.max()) + 1, grains.ndim
    periods = np.multiply(grains.shape, steps) if periodic else None
    points, middle = np.zeros(size, np.int64), _middles(grains, steps, size, periods)
    first, second = np.zeros((size, ndim)), np.zeros((size, ndim, ndim))
    for part, places in _slabs(grains, steps):
        points += np.bincount(part, minlength=size)
        away = [place - middle[part, axis] for axis, place in enumerate(places)]
        if periods is not None:
            away = [(a + period / 2) % period - period / 2 for a, period in zip(away, periods, strict=True)]
        for i in range(ndim):
            first[:, i] += np.bincount(part, away[i], size)
            for j in range(i + 1):
                second[:, i, j] += np.bincount(part, away[i] * away[j], size)
    mean = first / np.maximum(points, 1)[:, None]
    second = second / np.maximum(points, 1)[:, None, None] - mean[:, :, None] * mean[:, None, :]
    # a grid point has a second moment of its own
    return points, second + np.diag(np.square(steps) / 12)


def _middles(grains: NDArray[np.int64], steps: Sequence[float], size: int, periods: Float | None) -> Float:
    """Some point near the middle of each grain: its mean place, on a circle where the structure is periodic."""
    total = np.zeros((size, grains.ndim), complex)
    for part, places in _slabs(grains, steps):
        for axis, place in enumerate(places):
            if periods is None:
                total[:, axis] += np.bincount(part, place, size)
            else:
                turn = np.exp(2j * np.pi * place / periods[axis])
                total[:, axis] += np.bincount(part, turn.real, size) + 1j * np.bincount(part, turn.imag, size)
    if periods is not None:
        return np.asarray(np.angle(total) / (2 * np.pi) * periods)
    points = np.bincount(grains.ravel(), minlength=size)
    return np.asarray(total.real / np.maximum(points, 1)[:, None])


def _slabs(grains: NDArray[np.int64], steps: Sequence[float]) -> Iterator[tuple[NDArray[np.int64], list[Float]]]:
    """Labels of a part of the grid and their places in micrometres along each axis, all flat."""
    thick = max(1, _SLAB // int(np.prod(grains.shape[1:])))
    for start in range(0, grains.shape[0], thick):
        part = grains[start : start + thick]
        axes = [np.arange(n, dtype=np.float64) * step for n, step in zip(part.shape, steps, strict=True)]
        axes[0] += start * steps[0]
        yield part.ravel(), [place.ravel() for place in np.broadcast_arrays(*np.ix_(*axes))]
