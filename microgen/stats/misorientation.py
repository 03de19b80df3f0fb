"""Disorientations of orientation maps: across grain boundaries, between random points, and within grains."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.core.orientations import disorientation_angle
from microgen.stats.ebsd import OrientationMap

Labels = NDArray[np.integer[Any]]
Degrees = NDArray[np.float32]


def boundary_disorientation(microstructure: Microstructure, grain: Labels, *, periodic: bool = False) -> Degrees:
    """Disorientation in degrees of neighbouring points on the two sides of a grain boundary.

    Parameters
    ----------
    microstructure
        With orientations.
    grain
        Grain numbers on its grid, 0 where there is no grain.
    periodic
        Neighbours across the frame count too.

    Returns
    -------
    NDArray[np.float32]
        Shape ``(*grid, axes)``: along each axis between a point and the next one; NaN where no boundary between two
        grains of one phase is crossed. Boundaries weigh by the number of steps across them: by their length or area
        projected onto the axes, up to 1.41 times (3-D: 1.73 times) as much along diagonals, in units of the grid.

    Examples
    --------
    >>> from microgen.core import Crystal
    >>> from microgen.core.orientations import from_euler
    >>> turns = from_euler(np.deg2rad([[[0.0, 0, 0], [1, 0, 0], [31, 0, 0]]]))
    >>> ebsd = Microstructure({"orientation": turns}, (1, 1), ("iron",), crystals={"iron": Crystal("m-3m")})
    >>> boundary_disorientation(ebsd, np.array([[1, 1, 2]]))[0, :, 1].round(3)
    array([nan, 30., nan], dtype=float32)
    """
    points = OrientationMap.of(microstructure)
    return np.stack([_across(points, grain, axis, periodic=periodic) for axis in range(microstructure.ndim)], axis=-1)


def random_pairs_disorientation(microstructure: Microstructure, random: np.random.Generator, count: int) -> Degrees:
    """Disorientation in degrees of pairs of points drawn at random from one phase of a map, wherever they lie.

    Phases are drawn by their number of points. With a random texture this is
    :func:`microgen.stats.mackenzie.random_disorientation_cdf`; what differs from it is due to texture.
    """
    points = OrientationMap.of(microstructure)
    there = points.phase.ravel()
    known = np.flatnonzero(there)
    if not len(known):
        raise InputError("no point of the map is indexed, so there are no pairs of orientations")
    first = random.choice(known, count)
    found = np.zeros(count, np.float32)
    orientation = points.orientation.reshape(-1, 4)
    for index, crystal in points.crystals.items():
        pairs = there[first] == index
        second = random.choice(np.flatnonzero(there == index), int(pairs.sum()))
        found[pairs] = np.rad2deg(disorientation_angle(orientation[first[pairs]], orientation[second], crystal))
    return found


def kam(
    microstructure: Microstructure,
    *,
    order: int = 1,
    threshold_deg: float | None = 5.0,
    grain: Labels | None = None,
    periodic: bool = False,
) -> Degrees:
    """Kernel average misorientation: mean disorientation in degrees of each point from its neighbours.

    Parameters
    ----------
    microstructure
        With orientations.
    order
        Neighbours are all points within this many steps along the axes: 4 in a map for 1, 12 for 2.
    threshold_deg
        Neighbours that differ by more, across a grain boundary, do not count; None counts all of the same phase.
    grain
        Where given, neighbours in other grains do not count either.
    periodic
        Neighbours across the frame count too.

    Returns
    -------
    NDArray[np.float32]
        Shape of the grid, NaN where no neighbour counts. It grows with the step of the map and with noise, so only
        maps of one step and order compare.

    References
    ----------
    Wright, Nowell, Field, Microsc. Microanal. 17 (2011) 316, doi:10.1017/S1431927611000055.

    Examples
    --------
    >>> from microgen.core import Crystal
    >>> from microgen.core.orientations import from_euler
    >>> turns = from_euler(np.deg2rad([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [32, 0, 0]]]))
    >>> ebsd = Microstructure({"orientation": turns}, (1, 1), ("iron",), crystals={"iron": Crystal("m-3m")})
    >>> kam(ebsd).round(3)
    array([[ 1.,  1.,  1., nan]], dtype=float32)
    """
    if order < 1:
        raise InputError(f"the order of the kernel average misorientation is 1 or more, got {order}")
    points = OrientationMap.of(microstructure)
    axes = tuple(range(microstructure.ndim))
    total, count = np.zeros(points.shape, np.float32), np.zeros(points.shape, np.int32)
    for step in _steps(microstructure.ndim, order):
        angle = points.angles_deg(step, periodic=periodic)
        counts = ~np.isnan(angle) if threshold_deg is None else angle <= threshold_deg
        if grain is not None:
            counts &= grain == np.roll(grain, tuple(-step), axes)
        angle = np.where(counts, angle, 0)
        total += angle + np.roll(angle, tuple(step), axes)
        count += counts.astype(np.int32) + np.roll(counts, tuple(step), axes)
    return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan)).astype(np.float32)


def grod(microstructure: Microstructure, grain: Labels) -> Degrees:
    """Grain reference orientation deviation: disorientation in degrees of each point from the mean of its grain.

    Returns
    -------
    NDArray[np.float32]
        Shape of the grid, NaN outside of grains and where nothing is indexed.

    Examples
    --------
    >>> from microgen.core import Crystal
    >>> from microgen.core.orientations import from_euler
    >>> turns = from_euler(np.deg2rad([[[0.0, 0, 0], [2, 0, 0], [32, 0, 0]]]))
    >>> ebsd = Microstructure({"orientation": turns}, (1, 1), ("iron",), crystals={"iron": Crystal("m-3m")})
    >>> grod(ebsd, np.array([[1, 1, 2]])).round(3)
    array([[1., 1., 0.]], dtype=float32)
    """
    points = OrientationMap.of(microstructure)
    means = points.means(grain)
    return np.where(grain > 0, points.away_deg(means[grain]), np.float32(np.nan))


def grain_orientation_spread(microstructure: Microstructure, grain: Labels) -> NDArray[np.float64]:
    """Mean of :func:`grod` over each grain in degrees, by grain number from 1; NaN for grains without orientation."""
    deviation = grod(microstructure, grain)
    there = ~np.isnan(deviation)
    size = int(grain.max()) + 1
    count = np.bincount(grain[there], minlength=size)
    total = np.bincount(grain[there], deviation[there], minlength=size)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)[1:]


def _across(points: OrientationMap, grain: Labels, axis: int, *, periodic: bool) -> Degrees:
    step = np.zeros(grain.ndim, np.intp)
    step[axis] = 1
    far = np.roll(grain, -1, axis)
    crossed = (grain != far) & (grain > 0) & (far > 0)
    return points.angles_deg(step, periodic=periodic, where=crossed)


def _steps(ndim: int, order: int) -> list[NDArray[np.intp]]:
    """Steps to all neighbours within `order` steps along the axes, one of each opposite pair."""
    every = [np.array(s, np.intp) for s in itertools.product(range(-order, order + 1), repeat=ndim)]
    return [s for s in every[len(every) // 2 + 1 :] if np.abs(s).sum() <= order]
