"""How a phase hangs together: connected components, percolation, Euler number, genus; in 2-D and 3-D.

Two conventions say which grid points touch. ``"faces"``: those that share an edge of a pixel (4 neighbours) or a face
of a voxel (6), as transport through a grid sees it. ``"all"``: corners count too (8 or 26 neighbours). A phase that is
taken with one convention leaves the rest of the grid with the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core import InputError
from microgen.stats._wraps import Wraps
from microgen.stats.correlation import checked_spacing

Neighbours = Literal["faces", "all"]
_SLAB = 1 << 23  # grid points handled at once


@dataclass(frozen=True)
class Connectivity:
    """Connected components of a region.

    Attributes
    ----------
    components
        Their number.
    largest_share
        Share of the region's grid points in the largest of them.
    percolating_share
        Share in those that percolate along each axis, in the order of the axes; 0 where none does.
    """

    components: int
    largest_share: float
    percolating_share: tuple[float, ...]

    @property
    def percolates(self) -> tuple[bool, ...]:
        """Whether some component percolates along each axis."""
        return tuple(share > 0 for share in self.percolating_share)


def connectivity(
    region: NDArray[Any],
    *,
    neighbours: Neighbours = "faces",
    periodic: bool = False,
    mask: NDArray[Any] | None = None,
) -> Connectivity:
    """Find the connected components of a region, and those that percolate.

    Parameters
    ----------
    region
        Boolean, ``(Y, X)`` or ``(Z, Y, X)``.
    neighbours
        ``"faces"`` (4 or 6) or ``"all"`` (8 or 26) neighbours hang together.
    periodic
        Components go on through the frame. One percolates along an axis if a path in it leads from a point to the
        same point in another period along that axis. Otherwise it percolates if it touches both ends of the frame.
    mask
        True where the values are valid; the frame is then the smallest box around it.

    Raises
    ------
    InputError
        If the region is empty, or not boolean.

    References
    ----------
    Newman, Ziff, Phys. Rev. E 64 (2001) 016706, doi:10.1103/PhysRevE.64.016706 (wrapping clusters).

    Examples
    --------
    >>> channels = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]], bool)
    >>> connectivity(channels)
    Connectivity(components=2, largest_share=0.8, percolating_share=(0.0, 0.8))
    """
    inside = _checked(region, mask)
    if mask is not None and not periodic:
        inside = inside[_box(np.asarray(mask, dtype=bool))]
    labels, count = ndimage.label(inside, _structure(inside.ndim, neighbours))
    if count == 0:
        raise InputError("the phase is absent here, so it has no connected components")
    sizes = _sizes(labels, count)
    found = _wrapped(labels, sizes, neighbours) if periodic else (sizes, _spanning(labels, count))
    return _summary(*found)


def euler_number(region: NDArray[Any], *, neighbours: Neighbours = "faces", periodic: bool = False) -> int:
    """Return the Euler number of a region: components minus loops plus cavities (in 2-D components minus holes).

    Nothing lies outside the frame, unless it is periodic.

    Parameters
    ----------
    region
        Boolean, ``(Y, X)`` or ``(Z, Y, X)``.
    neighbours
        ``"faces"`` (4 or 6) or ``"all"`` (8 or 26) neighbours hang together.
    periodic
        The region goes on through the frame: the Euler number of one period.

    Raises
    ------
    InputError
        If the region is not boolean.

    Notes
    -----
    Alternating sum over the pairs, squares and cubes of neighbouring grid points that lie wholly in the region, or
    for ``"all"`` touch it: the cells of the complex that the convention makes of the grid.

    References
    ----------
    Ohser, Muecklich, Statistical Analysis of Microstructures in Materials Science (2000), section 4.2.

    Examples
    --------
    >>> ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
    >>> euler_number(ring), euler_number(np.eye(3, dtype=bool)), euler_number(np.eye(3, dtype=bool), neighbours="all")
    (0, 3, 1)
    """
    inside = _checked(region, None)
    _structure(inside.ndim, neighbours)
    if neighbours == "all" and not periodic:
        inside = np.pad(inside, 1)
    counts, _ = _counts(inside, None, neighbours, periodic=periodic)
    return round(float(counts @ _signs(inside.ndim, neighbours)))


def euler_density(
    region: NDArray[Any],
    *,
    spacing: Sequence[float],
    neighbours: Neighbours = "faces",
    periodic: bool = False,
    mask: NDArray[Any] | None = None,
) -> float:
    """Return the Euler number per area (2-D, in 1/um^2) or volume (3-D, in 1/um^3) of a structure seen in a frame.

    Each kind of cell is counted per place for it inside the frame (and the mask), so that nothing is assumed about
    what lies outside and the estimate is free of bias.

    Parameters
    ----------
    region, neighbours, periodic
        As in :func:`euler_number`.
    spacing
        Micrometres per grid point along each axis.
    mask
        True where the values are valid.

    Raises
    ------
    InputError
        If the frame or the mask has no place for a square (2-D) or cube (3-D) of neighbours.

    References
    ----------
    Ohser, Nagel, Schladitz, Image Anal. Stereol. 22 (2003) 11, doi:10.5566/ias.v22.p11-19.

    Examples
    --------
    >>> dots = np.zeros((8, 8), bool)
    >>> dots[::4, ::4] = True
    >>> euler_density(dots, spacing=(0.5, 0.5), periodic=True) * 8 * 8 * 0.5**2  # four of them
    4.0
    """
    inside = _checked(region, mask)
    step = checked_spacing(spacing, inside.ndim)
    _structure(inside.ndim, neighbours)
    valid = None if mask is None else np.asarray(mask, dtype=bool)
    counts, places = _counts(inside, valid, neighbours, periodic=periodic)
    if not places.all():
        raise InputError("an Euler number needs at least 2 valid neighbouring grid points along every axis")
    return float((counts / places) @ _signs(inside.ndim, neighbours)) / float(np.prod(step))


def betti_numbers(region: NDArray[Any], *, neighbours: Neighbours = "faces") -> tuple[int, ...]:
    """Return the number of components, of loops (tunnels, handles; holes in 2-D), and in 3-D of cavities.

    Their alternating sum is the :func:`euler_number`. Nothing lies outside the frame.

    Parameters
    ----------
    region, neighbours
        As in :func:`euler_number`.

    Examples
    --------
    >>> frame = np.ones((3, 3, 3), bool)
    >>> frame[1, 1, :] = frame[1, :, 1] = frame[:, 1, 1] = False  # the edges of a cube
    >>> betti_numbers(frame)
    (1, 5, 0)
    """
    inside = _checked(region, None)
    components = ndimage.label(inside, _structure(inside.ndim, neighbours))[1]
    euler = euler_number(inside, neighbours=neighbours)
    if inside.ndim == 2:
        return components, components - euler
    other: Neighbours = "all" if neighbours == "faces" else "faces"
    cavities = ndimage.label(np.pad(~inside, 1, constant_values=True), _structure(3, other))[1] - 1
    return components, components + cavities - euler, cavities


def genus(region: NDArray[Any], *, neighbours: Neighbours = "faces") -> int:
    """Return the genus of a body: the number of its handles, which is that of all its surfaces together.

    Examples
    --------
    >>> ring = np.zeros((3, 5, 5), bool)
    >>> ring[1, 1:4, 1:4] = True
    >>> ring[1, 2, 2] = False
    >>> genus(ring)
    1
    """
    if np.ndim(region) != 3:
        raise InputError(f"a genus belongs to a volume (Z, Y, X), got {np.ndim(region)} axes; see betti_numbers")
    return betti_numbers(region, neighbours=neighbours)[1]


def _checked(region: NDArray[Any], mask: NDArray[Any] | None) -> NDArray[np.bool_]:
    inside = np.asarray(region)
    if inside.dtype != bool or inside.ndim not in (2, 3):
        raise InputError(f"a region is boolean, (Y, X) or (Z, Y, X), got {inside.dtype} of shape {inside.shape}")
    if mask is None:
        return inside
    if np.shape(mask) != inside.shape:
        raise InputError(f"the mask has shape {np.shape(mask)}, the region has {inside.shape}; they must be equal")
    return np.asarray(inside & np.asarray(mask, dtype=bool))


def _structure(ndim: int, neighbours: Neighbours) -> NDArray[np.bool_]:
    if neighbours not in ("faces", "all"):
        raise InputError(f'neighbours are "faces" or "all", got {neighbours!r}')
    return np.asarray(ndimage.generate_binary_structure(ndim, 1 if neighbours == "faces" else ndim))


def _box(valid: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Smallest box around the valid points."""
    box = ndimage.find_objects(valid.view(np.int8))
    if not box:
        raise InputError("the mask leaves no valid point")
    return tuple(box[0])


# connected components


def _sizes(labels: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Grid points of each label from 0 on, counted in parts that keep the copies of ``bincount`` small."""
    flat = labels.reshape(-1)
    sizes = np.zeros(count + 1, dtype=np.intp)
    for start in range(0, flat.size, _SLAB):
        part = np.bincount(flat[start : start + _SLAB])
        sizes[: len(part)] += part
    sizes[0] = 0
    return sizes


def _spanning(labels: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """Which labels touch both ends of each axis, ``(ndim, count + 1)``."""
    spans = np.zeros((labels.ndim, count + 1), dtype=bool)
    for axis, row in enumerate(spans):
        row[np.intersect1d(labels.take(0, axis), labels.take(-1, axis))] = True
    return spans


def _wrapped(
    labels: NDArray[Any], sizes: NDArray[np.intp], neighbours: Neighbours
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Sizes and windings of the components after those that meet through the frame are joined."""
    wraps = Wraps(len(sizes), labels.ndim)
    for first, second, periods in _meetings(labels, neighbours):
        wraps.join(first, second, periods)
    roots = np.array([wraps.root(label) for label in range(len(sizes))])
    joined = np.bincount(roots, sizes, minlength=len(sizes)).astype(np.intp)
    return joined, np.array([wraps.winds[root] for root in roots]).T


def _meetings(labels: NDArray[Any], neighbours: Neighbours) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Pairs of labels that touch through the frame, with the periods that a step from one to the other crosses."""
    shape = np.array(labels.shape)
    steps = np.argwhere(_structure(labels.ndim, neighbours)) - 1
    for axis in range(labels.ndim):
        end = np.argwhere(labels.take([-1], axis)) + (shape - 1) * np.eye(labels.ndim, dtype=int)[axis]
        for step in steps[steps[:, axis] == 1]:
            periods, there = np.divmod(end + step, shape)
            pairs = np.column_stack([labels[tuple(end.T)], labels[tuple(there.T)], periods])
            for first, second, *crossed in np.unique(pairs[pairs[:, 1] > 0], axis=0).tolist():
                yield first, second, tuple(crossed)


def _summary(sizes: NDArray[np.intp], percolates: NDArray[np.bool_]) -> Connectivity:
    percolates = percolates & (sizes > 0)
    shares = sizes / sizes.sum()
    along = tuple(float(shares[row].sum()) for row in percolates)
    return Connectivity(int(np.count_nonzero(sizes)), float(shares.max()), along)


# Euler number


def _signs(ndim: int, neighbours: Neighbours) -> NDArray[np.intp]:
    """Sign of each kind of cell, in the order of :func:`_kinds`."""
    dimensions = np.array([len(axes) for axes in _kinds(ndim)])
    return np.asarray((-1) ** (dimensions if neighbours == "faces" else ndim - dimensions))


def _kinds(ndim: int) -> list[tuple[int, ...]]:
    """Kinds of cells: the axes along which two neighbouring grid points belong to one."""
    return [axes for n in range(ndim + 1) for axes in itertools.combinations(range(ndim), n)]


def _counts(
    inside: NDArray[np.bool_], valid: NDArray[np.bool_] | None, neighbours: Neighbours, *, periodic: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Cells of each kind that belong to the region, and places for them, slab by slab."""
    combine = np.logical_and if neighbours == "faces" else np.logical_or
    totals = np.zeros((2, 2**inside.ndim), dtype=np.intp)
    for slab in _slabs(inside.shape):
        here = _cells(inside, slab, combine, periodic=periodic)
        if valid is None:
            totals += np.array([(np.count_nonzero(cells), cells.size) for cells in here]).T
        else:
            known = _cells(valid, slab, np.logical_and, periodic=periodic)
            pairs = zip(here, known, strict=True)
            totals += np.array([(np.count_nonzero(cells & k), np.count_nonzero(k)) for cells, k in pairs]).T
    return totals[0], totals[1]


def _slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    thickness = max(1, _SLAB // int(np.prod(shape[1:])))
    for start in range(0, shape[0], thickness):
        yield slice(start, min(start + thickness, shape[0]))


def _cells(
    values: NDArray[np.bool_], slab: slice, combine: Callable[..., Any], *, periodic: bool
) -> Iterator[NDArray[np.bool_]]:
    """Each kind of cell that begins in a slab, its grid points combined."""
    part = values[slab.start : slab.stop + 1]
    if periodic and slab.stop == len(values):
        part = np.concatenate([part, values[:1]])
    for axes in _kinds(values.ndim):
        cells = part if 0 in axes else part[: slab.stop - slab.start]
        for axis in axes:
            cells = combine(*_neighbouring(cells, axis, periodic=periodic and axis > 0))
        yield cells


def _neighbouring(
    values: NDArray[np.bool_], axis: int, *, periodic: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    if periodic:
        return values, np.roll(values, -1, axis)
    before = (slice(None),) * axis
    return values[(*before, slice(None, -1))], values[(*before, slice(1, None))]
