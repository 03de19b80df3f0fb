"""Size of pores and other features: local thickness by inscribed balls, and its distribution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core import InputError
from microgen.stats._balls import ball, painted
from microgen.stats.correlation import checked_spacing
from microgen.stats.curve import Curve

_CLASS = 0.25  # least width of a class of radii, in edges of a voxel
_RELATIVE = 1 / 16  # width of the classes of large radii, as a share of the radius
_FINE = 1 / 256  # step in which radii are counted, in edges of a voxel
_SLAB = 1 << 24  # grid points painted at once


def distance_to_rest(
    region: NDArray[Any], *, spacing: Sequence[float], periodic: bool = False, mask: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    """Return the distance in micrometres from every point of a region to the nearest point outside it.

    Parameters
    ----------
    region
        Boolean, ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Micrometres per grid point along each axis.
    periodic
        The structure goes on through the frame. Otherwise nothing is assumed about what lies beyond it: the frame
        is no wall.
    mask
        True where the values are valid; what is not valid is no wall either.

    Returns
    -------
    ndarray
        float32, 0 outside the region.

    Raises
    ------
    InputError
        If the region has no point, or no end.

    Examples
    --------
    >>> distance_to_rest(np.array([[0, 1, 1, 1, 0]], bool), spacing=(1, 0.5)).tolist()
    [[0.0, 0.5, 1.0, 0.5, 0.0]]
    """
    inside, rest = _parts(region, mask)
    step = checked_spacing(spacing, inside.ndim)
    found = _distances(rest, step)
    if periodic:
        # the distance without the other periods is never too small, so it bounds how far to look across the frame
        margin = _margin(found, step)
        wide = np.pad(rest, [(m, m) for m in margin], mode="wrap")
        found = _distances(wide, step)[tuple(slice(m, m + n) for m, n in zip(margin, rest.shape, strict=True))]
    found[~inside] = 0
    return found


def local_thickness(
    region: NDArray[Any], *, spacing: Sequence[float], periodic: bool = False, mask: NDArray[Any] | None = None
) -> NDArray[np.float32]:
    """Return at every point of a region the diameter in micrometres of the largest inscribed ball that covers it.

    Parameters
    ----------
    region, spacing, periodic, mask
        As in :func:`distance_to_rest`. Pass ``~region`` for the thickness of what is between.

    Returns
    -------
    ndarray
        float32, 0 outside the region.

    Raises
    ------
    InputError
        If the region has no point, or no end.

    Notes
    -----
    Balls are centred on grid points and reach to the nearest grid point outside. Radii are sorted into classes a
    quarter of a voxel edge wide, above 4 edges 1/16 of the radius; class by class all balls are painted over the
    smaller ones, as rows of bits. Slabs, cylinders and balls come out within a voxel, and the mean of irregular
    structures within 1.5 % of that with every ball of its own radius.

    References
    ----------
    Hildebrand, Rueegsegger, J. Microsc. 185 (1997) 67, doi:10.1046/j.1365-2818.1997.1340694.x.

    Examples
    --------
    >>> slab = np.zeros((9, 12), bool)
    >>> slab[:, 3:9] = True
    >>> np.unique(local_thickness(slab, spacing=(1, 0.5))).tolist()
    [0.0, 3.0]
    """
    distance = distance_to_rest(region, spacing=spacing, periodic=periodic, mask=mask)
    step = checked_spacing(spacing, distance.ndim)
    wide, margin = distance, (0,) * distance.ndim
    if periodic:
        margin = _margin(distance, step)
        wide = np.pad(distance, [(m, m) for m in margin], mode="wrap")
    classes = _classes(distance, min(step))
    if distance.ndim == 2:  # one layer of a volume, and no ball reaches another
        found = _painted(wide[None], slice(0, 1), classes, (2 * float(distance.max()), *step))[0]
        return np.where(distance > 0, _inner(found, margin), np.float32(0))
    thickness = np.zeros_like(distance)
    thick = max(1, _SLAB // int(np.prod(distance.shape[1:])))
    for start in range(0, len(distance), thick):
        layers = slice(start, min(start + thick, len(distance)))
        moved = slice(layers.start + margin[0], layers.stop + margin[0])
        found = _inner(_painted(wide, moved, classes, step), (0, *margin[1:]))
        np.copyto(thickness[layers], found, where=distance[layers] > 0)
    return thickness


def thickness_distribution(thickness: NDArray[Any]) -> Curve:
    """Return the share of a region where the local thickness is at least x: what an opening by a ball of x keeps.

    Parameters
    ----------
    thickness
        Of :func:`local_thickness`: 0 outside the region.

    Returns
    -------
    Curve
        ``x`` the diameters that occur, in micrometres; ``y`` falls from 1.

    Examples
    --------
    >>> curve = thickness_distribution(np.array([0, 2.0, 2.0, 5.0, 5.0]))
    >>> curve.x.tolist(), curve.y.tolist()
    ([2.0, 5.0], [1.0, 0.5])
    """
    sizes, counts = sizes_and_counts(thickness)
    return Curve(sizes, counts[::-1].cumsum()[::-1] / counts.sum())


def sizes_and_counts(thickness: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the local thicknesses that occur, ascending, and the grid points of each.

    >>> sizes_and_counts(np.array([0, 2.0, 2.0, 5.0]))[1].tolist()
    [2, 1]
    """
    total: Counter[float] = Counter()
    for layer in np.atleast_2d(thickness):
        total.update(dict(zip(*(part.tolist() for part in np.unique(layer, return_counts=True)), strict=True)))
    sizes = np.array(sorted(size for size in total if size > 0), dtype=np.float64)
    if not len(sizes):
        raise InputError("the phase is absent here, so it has no thickness")
    return sizes, np.array([total[size] for size in sizes.tolist()], dtype=np.intp)


def _parts(region: NDArray[Any], mask: NDArray[Any] | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The region and what is known to lie outside it."""
    inside = np.asarray(region)
    if inside.dtype != bool or inside.ndim not in (2, 3):
        raise InputError(f"a region is boolean, (Y, X) or (Z, Y, X), got {inside.dtype} of shape {inside.shape}")
    rest = ~inside
    if mask is not None:
        valid = np.asarray(mask, dtype=bool)
        if valid.shape != inside.shape:
            raise InputError(f"the mask has shape {valid.shape}, the region has {inside.shape}; they must be equal")
        inside, rest = inside & valid, rest & valid
    if not inside.any():
        raise InputError("the phase is absent here, so it has no thickness")
    if not rest.any():
        raise InputError("the phase fills the whole frame, so its thickness is not known")
    return inside, rest


def _distances(rest: NDArray[np.bool_], step: tuple[float, ...]) -> NDArray[np.float32]:
    """Distance to the nearest point of `rest`; layer by layer, as the coordinates of those points take much memory."""
    nearest = ndimage.distance_transform_edt(~rest, sampling=step, return_distances=False, return_indices=True)
    found = np.zeros(rest.shape, dtype=np.float32)
    others = np.ix_(*(np.arange(n, dtype=np.int32) for n in rest.shape[1:]))
    for layer, out in enumerate(found):
        squares = ((nearest[0, layer] - layer) * step[0]) ** 2
        for axis, position in enumerate(others, 1):
            squares += ((nearest[axis, layer] - position) * step[axis]) ** 2
        np.sqrt(squares, out=out, casting="same_kind")
    return found


def _margin(distance: NDArray[np.float32], step: tuple[float, ...]) -> tuple[int, ...]:
    """Grid points that the largest distance reaches along each axis."""
    return tuple(int(float(distance.max()) / s) + 1 for s in step)


def _inner(values: NDArray[Any], margin: tuple[int, ...]) -> NDArray[Any]:
    return values[tuple(slice(m, n - m) for m, n in zip(margin, values.shape, strict=True))]


def _classes(distance: NDArray[np.float32], unit: float) -> list[tuple[float, float]]:
    """Least and mean radius of each class of balls, ascending."""
    fine = _FINE * unit
    counts, sums = np.zeros((2, int(float(distance.max()) / fine) + 2))
    for layer in distance:
        number = np.rint(layer.ravel() / fine).astype(np.intp)
        counts += np.bincount(number, minlength=len(counts))
        sums += np.bincount(number, layer.ravel(), minlength=len(sums))
    counts[0] = 0
    classes, start = [], 0
    while start < len(counts):
        stop = start + int(max(_CLASS, start * _FINE * _RELATIVE) / _FINE)
        if count := counts[start:stop].sum():
            least = start + int(counts[start:stop].nonzero()[0][0]) - 0.6  # rounding must not lose one
            classes.append((least * fine, float(sums[start:stop].sum() / count)))
        start = stop
    return classes


def _painted(
    distance: NDArray[np.float32], layers: slice, classes: list[tuple[float, float]], step: tuple[float, ...]
) -> NDArray[np.float32]:
    """Paint the balls of all classes on some layers, small ones first."""
    thickness = np.zeros((layers.stop - layers.start, *distance.shape[1:]), dtype=np.float32)
    for least, radius in classes:
        reach = int(radius / step[0])
        near = slice(max(0, layers.start - reach), layers.stop + reach)
        centres = distance[near] >= least
        if centres.any():
            wanted = slice(layers.start - near.start, layers.stop - near.start)
            covered = painted(centres, ball(radius * (1 - 1e-6), step), wanted)  # the end of a radius lies outside
            np.copyto(thickness, np.float32(2 * radius), where=covered)
    return thickness
