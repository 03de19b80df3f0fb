"""Amount and surface of a phase."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.stats.correlation import checked_spacing


def phase_fraction(region: NDArray[Any], *, mask: NDArray[Any] | None = None) -> float:
    """Return the fraction of the valid grid points that lie in a region.

    >>> phase_fraction(np.array([[True, False], [False, False]]))
    0.25
    """
    inside = np.asarray(region, dtype=bool)
    if mask is None:
        return float(inside.mean())
    valid = np.asarray(mask, dtype=bool)
    if not valid.any():
        raise InputError("the mask leaves no valid point")
    return float(inside[valid].mean())


def specific_surface(
    region: NDArray[Any], *, spacing: Sequence[float], periodic: bool = False, mask: NDArray[Any] | None = None
) -> float:
    """Return the area of a region's surface per volume (2-D: length of its outline per area), in 1/um.

    Cauchy-Crofton formula over the 4 directions to neighbours in 2-D, 13 in 3-D: crossings of the surface per
    length of test line, averaged over directions by the share of the sphere nearest to each, times 2 (3-D) or
    pi/2 (2-D). This is the slope of S2 at zero, taken over one step in all these directions.

    Parameters
    ----------
    region
        Boolean, ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Micrometres per grid point along each axis.
    periodic
        Pairs of neighbours across the frame count too.
    mask
        True where the values are valid; only pairs with both ends valid count.

    Raises
    ------
    InputError
        If there is no pair of valid neighbours.

    Notes
    -----
    Per volume of the whole, not of the phase. Digitised discs and balls of 10 points radius and more come out
    within 2 %. Of flat surfaces, those along the axes are worst: 5.2 % low in 2-D and 7.3 % low in 3-D, since 4
    and 13 directions sample the sphere coarsely.

    References
    ----------
    Ohser, Muecklich, Statistical Analysis of Microstructures in Materials Science (2000), section 4.2.
    Lang, Ohser, Hilfer, J. Microsc. 203 (2001) 303, doi:10.1046/j.1365-2818.2001.00923.x.

    Examples
    --------
    >>> y, x = np.mgrid[-32:32, -32:32]
    >>> disc = y**2 + x**2 < 20**2
    >>> round(specific_surface(disc, spacing=(1, 1), periodic=True) * disc.size / (2 * np.pi * 20), 2)
    0.99
    """
    inside = np.asarray(region, dtype=bool)
    step = np.array(checked_spacing(spacing, inside.ndim))
    valid = None if mask is None else np.asarray(mask, dtype=bool)
    vectors = directions(inside.ndim)
    weights = direction_weights(vectors * step)
    counts = [crossings(inside, d, periodic=periodic, mask=valid) for d in vectors]
    if not all(pairs for _, pairs in counts):
        raise InputError("there is no pair of valid neighbours to measure a surface with")
    rates = [count / pairs for count, pairs in counts] / np.linalg.norm(vectors * step, axis=1)
    return float(np.dot(weights, rates)) * (np.pi / 2 if inside.ndim == 2 else 2)


def crossings(
    inside: NDArray[Any],
    direction: NDArray[np.intp],
    *,
    periodic: bool = False,
    mask: NDArray[np.bool_] | None = None,
    within: NDArray[np.bool_] | None = None,
) -> tuple[float, float]:
    """Count the pairs of neighbours in one direction with different values, and all valid pairs.

    Of a part `within` of the structure a pair counts half for each of its ends there.

    >>> crossings(np.array([[True, True, False]]), np.array([0, 1]))
    (1, 2)
    >>> crossings(np.array([[True, True, False]]), np.array([0, 1]), within=np.array([[True, True, False]]))
    (0.5, 1.5)
    """
    if periodic:
        near, far = (slice(None),) * inside.ndim, None
    else:
        near = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(direction, inside.shape, strict=True))
        far = tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip(direction, inside.shape, strict=True))

    def moved(values: NDArray[Any]) -> NDArray[Any]:
        return values[far] if far else np.roll(values, (-direction).tolist(), list(range(values.ndim)))

    different = inside[near] != moved(inside)
    both = None if mask is None else mask[near] & moved(mask)
    if both is not None:
        different &= both
    if within is None:
        count: float = int(np.count_nonzero(different))
        pairs: float = different.size if both is None else int(np.count_nonzero(both))
    else:
        ends = within[near].view(np.uint8) + moved(within).view(np.uint8)
        count = float(ends[different].sum(dtype=np.int64)) / 2
        pairs = float((ends if both is None else ends[both]).sum(dtype=np.int64)) / 2
    return count, pairs


def directions(ndim: int) -> NDArray[np.intp]:
    """Steps to the neighbours, one of each opposite pair."""
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=ndim)))
    return steps[len(steps) // 2 + 1 :]


def direction_weights(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the circle or sphere that lies nearest to each of the lines through the origin."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    if vectors.shape[1] == 2:
        angles = np.arctan2(units[:, 0], units[:, 1]) % np.pi
        order = np.argsort(angles)
        gaps = np.diff(angles[order], append=angles[order][0] + np.pi)
        shares = np.zeros(len(units))
        shares[order] = (gaps + np.roll(gaps, 1)) / (2 * np.pi)
        return shares
    from scipy.spatial import SphericalVoronoi

    areas = SphericalVoronoi(np.concatenate([units, -units])).calculate_areas()
    return np.asarray(2 * areas[: len(units)] / (4 * np.pi))
