"""Straight lines through a phase: lineal path function and chord lengths, from run lengths along the axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.stats.correlation import checked_spacing
from microgen.stats.curve import Curve
from microgen.stats.phases import crossings, phase_fraction

_SLAB = 1 << 23  # grid points looked at at once


@dataclass(frozen=True, eq=False)
class Runs:
    """Unbroken runs of a region along one axis.

    Attributes
    ----------
    lengths
        Grid points in each run, shape ``(n,)``.
    cut
        Ends of each run (0, 1 or 2) that lie on the frame or on the border of the mask, shape ``(n,)``:
        the true run may be longer. A run that closes on itself through a periodic frame has no end: 2.
    points
        Length of the axis.
    """

    lengths: NDArray[np.int32]
    cut: NDArray[np.int8]
    points: int


def runs(region: NDArray[Any], axis: int, *, periodic: bool = False, mask: NDArray[Any] | None = None) -> Runs:
    """Find all runs of True along one axis.

    >>> found = runs(np.array([[1, 0, 1, 1, 0]], bool), axis=1)
    >>> found.lengths.tolist(), found.cut.tolist()
    ([1, 2], [1, 0])
    """
    inside = np.moveaxis(_indicator(region, mask), axis, -1)
    valid = None if mask is None else np.moveaxis(np.asarray(mask, dtype=bool), axis, -1)
    thickness = max(1, _SLAB // int(np.prod(inside.shape[1:])))
    parts = [slice(start, start + thickness) for start in range(0, len(inside), thickness)]
    found = [_runs(inside[p], None if valid is None else valid[p], periodic=periodic) for p in parts]
    lengths, cut = np.concatenate([r.lengths for r in found]), np.concatenate([r.cut for r in found])
    return Runs(lengths, cut, inside.shape[-1])


def _runs(inside: NDArray[np.bool_], valid: NDArray[np.bool_] | None, *, periodic: bool) -> Runs:
    """Runs along the last axis."""
    n = inside.shape[-1]
    start, stop, line = _edges(inside.reshape(-1, n))
    if valid is None:
        first, last = start == 0, stop == n
    else:
        framed = np.pad(valid.reshape(-1, n), ((0, 0), (1, 1)), mode="wrap" if periodic else "constant")
        first, last = ~framed[line, start], ~framed[line, stop + 1]
    lengths, cut = stop - start, first.astype(np.intp) + last
    if periodic:
        lengths, cut = _joined(start, stop, line, cut if valid is not None else np.zeros_like(cut), n)
    return Runs(lengths.astype(np.int32), cut.astype(np.int8), n)


def lineal_path(
    region: NDArray[Any],
    *,
    spacing: Sequence[float],
    axis: int | None = None,
    periodic: bool = False,
    mask: NDArray[Any] | None = None,
) -> Curve:
    """Return the lineal path function L(r): the probability that a segment of length r lies wholly in the region.

    Parameters
    ----------
    region
        Boolean, ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Micrometres per grid point along each axis.
    axis
        Direction of the segments; None averages over the axes.
    periodic
        Segments run on through the frame.
    mask
        True where the values are valid; only segments wholly inside it count.

    Returns
    -------
    Curve
        ``x`` length in micrometres up to half of the shortest edge, ``y`` probability; ``y[0]`` is the fraction
        of the region. A segment of k steps covers k + 1 grid points.

    References
    ----------
    Lu, Torquato, Phys. Rev. A 45 (1992) 922, doi:10.1103/PhysRevA.45.922.

    Examples
    --------
    >>> stripes = np.tile([True, True, False, False], (8, 2))
    >>> lineal_path(stripes, spacing=(1, 1), axis=1, periodic=True).y
    array([0.5 , 0.25, 0.  , 0.  , 0.  ])
    """
    inside = _indicator(region, mask)
    step = checked_spacing(spacing, inside.ndim)
    if axis is not None:
        return _lineal_path(inside, axis, step[axis], periodic=periodic, mask=mask)
    curves = [_lineal_path(inside, k, step[k], periodic=periodic, mask=mask) for k in range(inside.ndim)]
    limit = min(curve.x[-1] for curve in curves)
    x = np.arange(int(np.floor(limit / min(step) + 1e-9)) + 1) * min(step)
    return Curve(x, np.mean([np.interp(x, curve.x, curve.y) for curve in curves], axis=0))


def chord_lengths(
    region: NDArray[Any],
    *,
    spacing: Sequence[float],
    axis: int | None = None,
    periodic: bool = False,
    mask: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Return the lengths in micrometres of all whole chords of a region along the axes.

    Chords that the frame or the mask cuts are left out: their true length is not known. Long chords are cut
    more often, so the mean of this list is a little low; :func:`mean_chord_length` is free of that.

    Parameters
    ----------
    region, spacing, axis, periodic, mask
        As in :func:`lineal_path`.

    Returns
    -------
    ndarray
        Lengths, shape ``(n,)``; empty where no chord is whole.

    Examples
    --------
    >>> chord_lengths(np.array([[0, 1, 1, 0, 1]], bool), spacing=(1, 0.5), axis=1)
    array([1.])
    """
    inside = _indicator(region, mask)
    step = checked_spacing(spacing, inside.ndim)
    found = {k: runs(inside, k, periodic=periodic, mask=mask) for k in _axes(inside.ndim, axis)}
    return np.concatenate([r.lengths[r.cut == 0] * step[k] for k, r in found.items()])


def mean_chord_length(
    region: NDArray[Any],
    *,
    spacing: Sequence[float],
    axis: int | None = None,
    periodic: bool = False,
    mask: NDArray[Any] | None = None,
) -> float:
    """Return the mean chord length in micrometres: twice the fraction of the region per chord end.

    Fraction of the grid points and chord ends per length of line are both free of bias from the frame, whatever
    the chords that it cuts.

    Parameters
    ----------
    region, spacing, axis, periodic, mask
        As in :func:`lineal_path`.

    Raises
    ------
    InputError
        If no chord ends inside the frame.

    Examples
    --------
    >>> mean_chord_length(np.array([[0, 1, 1, 0, 1, 1]], bool), spacing=(1, 0.5), axis=1, periodic=True)
    1.0
    """
    inside = _indicator(region, mask)
    step = checked_spacing(spacing, inside.ndim)
    valid = None if mask is None else np.asarray(mask, dtype=bool)
    length, ends = 0.0, 0.0
    for k in _axes(inside.ndim, axis):
        count, pairs = crossings(inside, np.eye(inside.ndim, dtype=int)[k], periodic=periodic, mask=valid)
        length, ends = length + pairs * step[k], ends + count
    if ends == 0:
        raise InputError("no chord of this region ends inside the frame, so its mean chord length is not known")
    return 2 * phase_fraction(inside, mask=valid) * length / ends


def _lineal_path(
    inside: NDArray[np.bool_], axis: int, step: float, *, periodic: bool, mask: NDArray[Any] | None
) -> Curve:
    n = inside.shape[axis]
    placed = _placements(runs(inside, axis, periodic=periodic), periodic=periodic)
    if mask is None:
        lines = inside.size // n
        possible = lines * (np.full(n, n) if periodic else n - np.arange(n))
    else:
        possible = _placements(runs(np.asarray(mask, dtype=bool), axis, periodic=periodic), periodic=periodic)
    kept = np.arange(n // 2 + 1)
    kept = kept[possible[kept] > 0]
    return Curve(kept * step, placed[kept] / possible[kept])


def _placements(found: Runs, *, periodic: bool) -> NDArray[np.intp]:
    """Places for a segment of k steps inside the runs, for k = 0 .. n - 1: sum over runs of max(length - k, 0)."""
    n = found.points
    endless = found.cut == 2 if periodic else np.zeros(len(found.lengths), dtype=bool)
    histogram = np.bincount(found.lengths[~endless], minlength=n + 1)
    longer = histogram[::-1].cumsum()[::-1]  # runs of at least k points
    places = longer[1:][::-1].cumsum()[::-1]
    return np.asarray(places + n * np.count_nonzero(endless), dtype=np.intp)


def _joined(
    start: NDArray[np.intp], stop: NDArray[np.intp], line: NDArray[np.intp], cut: NDArray[np.intp], n: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Join the runs at both ends of a periodic line; a run that fills the line has no end."""
    lengths, cut = stop - start, cut.copy()
    cut[lengths == n] = 2
    last = np.flatnonzero((stop == n) & (start > 0))
    first = np.flatnonzero((start == 0) & (stop < n))
    tail = last[np.isin(line[last], line[first])]
    head = first[np.isin(line[first], line[last])]
    lengths[head] += lengths[tail]
    cut[head] += cut[tail]
    keep = np.ones(len(lengths), dtype=bool)
    keep[tail] = False
    return lengths[keep], cut[keep]


def _edges(lines: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """First point, point after the last, and line of every run."""
    padded = np.pad(lines, ((0, 0), (1, 1))).view(np.int8)
    change = np.flatnonzero(padded.ravel()[1:] != padded.ravel()[:-1])
    line, start = np.divmod(change[::2], padded.shape[1])
    return start, change[1::2] % padded.shape[1], line


def _axes(ndim: int, axis: int | None) -> range:
    return range(ndim) if axis is None else range(ndim)[axis : axis + 1 or None]


def _indicator(region: NDArray[Any], mask: NDArray[Any] | None) -> NDArray[np.bool_]:
    inside = np.asarray(region)
    if inside.dtype != bool:
        raise InputError(f"a region is boolean, got {inside.dtype}; pass for example phase == 1")
    if mask is None:
        return inside
    if np.shape(mask) != inside.shape:
        raise InputError(f"the mask has shape {np.shape(mask)}, the region has {inside.shape}; they must be equal")
    return np.asarray(inside & np.asarray(mask, dtype=bool))
