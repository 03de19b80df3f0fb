"""Which grains touch, along how much boundary, and where three of them meet."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.stats.grains import spacing_um
from microgen.stats.phases import direction_weights, directions

Labels = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]
Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GrainNetwork:
    """Grains that touch.

    Attributes
    ----------
    pairs
        Numbers of two grains that touch, the smaller first, ``(boundaries, 2)``, sorted.
    size
        Length of each boundary in um, or its area in um^2.
    grains
        Numbers of all grains.
    per_um
        Length of all boundaries per area, or area per volume, in 1/um.
    """

    pairs: NDArray[np.int64]
    size: Float
    grains: NDArray[np.int64]
    per_um: float

    @property
    def neighbours(self) -> NDArray[np.int64]:
        """Number of grains that each of `grains` touches."""
        count = np.bincount(self.pairs.ravel(), minlength=int(self.grains.max()) + 1)
        return np.asarray(count[self.grains], np.int64)


def grain_network(
    labels: Labels, *, spacing: float | Sequence[float], periodic: bool = False, mask: Mask | None = None
) -> GrainNetwork:
    """Find which grains touch, and how long or large each boundary is.

    Two grains touch where they share the side of a grid point. The size of a boundary is the Cauchy-Crofton estimate
    of :func:`microgen.stats.specific_surface`, from crossings in 4 directions in 2-D and 13 in 3-D, so a staircase of
    pixels counts as the line it stands for, and not as sqrt(2) times that.

    Parameters
    ----------
    labels
        Grain numbers, ``(Y, X)`` or ``(Z, Y, X)``; 0 is no grain.
    spacing
        Micrometres per grid point, one number or one per axis.
    periodic
        Boundaries across the frame count too.
    mask
        True where the structure is known; only pairs of points with both ends there count.

    Raises
    ------
    InputError
        If there is no grain.

    Examples
    --------
    >>> found = grain_network(np.repeat([[1, 2, 3]], 64, axis=0).repeat(20, axis=1), spacing=0.5)
    >>> found.pairs.tolist(), found.neighbours.tolist()
    ([[1, 2], [2, 3]], [1, 2, 1])
    """
    grains = np.asarray(labels) if mask is None else np.where(mask, labels, 0)
    numbers = np.unique(grains)
    numbers = numbers[numbers > 0].astype(np.int64)
    if not len(numbers):
        raise InputError("there is no grain here, so there is no network of grains")
    step = np.array(spacing_um(spacing, grains.ndim))
    vectors = directions(grains.ndim)
    weights = direction_weights(vectors * step) / np.linalg.norm(vectors * step, axis=1)
    factor = np.pi / 2 if grains.ndim == 2 else 2.0
    rows, per_um = [], 0.0
    for vector, weight in zip(vectors, weights * factor, strict=True):
        keys, counts, rate = _crossed(grains, vector, int(numbers[-1]) + 1, periodic=periodic)
        per_um += weight * rate
        # next to the frame there are fewer steps across a boundary than inside
        scale = weight * rate / max(int(counts.sum()), 1) * float((grains > 0).sum() * np.prod(step))
        rows.append((keys, counts * scale, np.full(len(keys), np.abs(vector).sum() == 1)))
    keys, sizes, touching = (np.concatenate(column) for column in zip(*rows, strict=True))
    found, place = np.unique(keys, return_inverse=True)
    touch = np.bincount(place, touching, len(found)) > 0
    pairs = np.stack(np.divmod(found[touch], numbers[-1] + 1), axis=1)
    size = np.asarray(np.bincount(place, sizes, len(found))[touch], np.float64)
    return GrainNetwork(pairs, size, numbers, float(per_um))


def triple_junctions_per_um2(
    labels: Labels,
    *,
    spacing: float | Sequence[float],
    periodic: bool = False,
    mask: Mask | None = None,
    within: Mask | None = None,
) -> float:
    """Triple points per area, in 3-D length of triple lines per volume; in 1/um^2 both.

    A window of 2 x 2 points with three grains holds one triple point, with four grains two. In 3-D windows in all
    three planes count: a line of random direction meets a plane half as often per area as it is long per volume.

    Parameters
    ----------
    labels, spacing, periodic, mask
        As for :func:`grain_network`.
    within
        True in some of the grains, those of one phase say. The result is then per area of theirs, and a window
        counts by the share of its points there.

    References
    ----------
    Underwood, Quantitative Stereology (1970), L_V = 2 P_A.

    Examples
    --------
    >>> bricks = np.kron([[1, 1, 2, 2], [3, 4, 4, 3]], np.ones((8, 8), int))
    >>> triple_junctions_per_um2(bricks, spacing=1.0, periodic=True) * bricks.size
    8.0
    """
    grains = np.asarray(labels) if mask is None else np.where(mask, labels, 0)
    step = spacing_um(spacing, grains.ndim)
    densities = [
        _junctions(grains, within, plane, periodic=periodic) / (step[plane[0]] * step[plane[1]])
        for plane in itertools.combinations(range(grains.ndim), 2)
    ]
    return float(np.mean(densities)) * (1 if grains.ndim == 2 else 2)


def _ends(grains: Labels, vector: NDArray[np.intp], *, periodic: bool) -> tuple[Labels, Labels]:
    """Labels at the starts and at the ends of all steps along a vector."""
    if periodic:
        return grains, np.roll(grains, tuple(-vector), tuple(range(grains.ndim)))
    near = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(vector, grains.shape, strict=True))
    far = tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip(vector, grains.shape, strict=True))
    return grains[near], grains[far]


def _crossed(
    grains: Labels, vector: NDArray[np.intp], base: int, *, periodic: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], float]:
    """Pairs of grains crossed along a vector as ``smaller * base + larger``, how often, and crossings per step."""
    near, far = _ends(grains, vector, periodic=periodic)
    known = (near > 0) & (far > 0)
    different = known & (near != far)
    one, two = near[different].astype(np.int64), far[different].astype(np.int64)
    keys, counts = np.unique(np.minimum(one, two) * base + np.maximum(one, two), return_counts=True)
    return keys, counts, len(one) / max(int(known.sum()), 1)


def _junctions(grains: Labels, within: Mask | None, plane: tuple[int, int], *, periodic: bool) -> float:
    """Triple points per known window of 2 x 2 points in a plane of two axes."""
    a, b, c, d = _corners(grains, plane, periodic=periodic)
    known = (a > 0) & (b > 0) & (c > 0) & (d > 0)
    distinct = (b != a).astype(np.int8) + ((c != a) & (c != b)) + ((d != a) & (d != b) & (d != c))
    points = np.maximum(distinct[known].astype(np.int64) - 1, 0)
    if within is None:
        return float(points.sum()) / max(len(points), 1)
    share = np.sum(_corners(within, plane, periodic=periodic), axis=0)[known]
    return float((points * share).sum()) / max(int(share.sum()), 1)


def _corners(values: Labels | Mask, plane: tuple[int, int], *, periodic: bool) -> list[NDArray[Any]]:
    """Values at the four points of each window of 2 x 2 in a plane of two axes."""
    found: list[NDArray[Any]] = [values]
    for axis in plane:
        if periodic:
            found += [np.roll(part, -1, axis) for part in found]
        else:
            low, high = ([slice(None)] * axis + [end] for end in (slice(0, -1), slice(1, None)))
            found = [part[tuple(low)] for part in found] + [part[tuple(high)] for part in found]
    return found
