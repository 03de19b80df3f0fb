"""Polycrystals: Poisson-Voronoi tessellations with a given mean lineal intercept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from microgen.core import InputError, Microstructure
from microgen.core.seeds import rng

INTERCEPT = {2: np.pi / 4, 3: 0.6872}
"""Mean lineal intercept of a Poisson-Voronoi tessellation with one cell per unit area or volume.

Meijering (1953): edge length per area is 2 in the plane, face area per volume 2.910 in space.
"""

_STREAM = 1  # keeps these random numbers apart from those of other generators with the same seed


def polycrystal(
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    grain_size_um: float,
    *,
    aspect_ratio: float = 1.0,
    direction_deg: float = 0.0,
    periodic: bool = False,
) -> Microstructure:
    """Make a polycrystal whose grains have a given mean lineal intercept.

    Parameters
    ----------
    seed
        The same numbers give the same structure.
    shape
        Grid points ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Distance of grid points in micrometres along each axis.
    grain_size_um
        Mean lineal intercept over test lines along all axes; the value of one structure scatters around it.
    aspect_ratio
        Length of the grains over their width, at least 1.
    direction_deg
        Direction of the length in the plane of the last two axes: 0 along x, counted from x towards y.
    periodic
        Make a structure that goes on over its edges without a seam; its number of grains is then fixed.

    Returns
    -------
    Microstructure
        With the field ``grain``, numbered from 1.

    Raises
    ------
    InputError
        If a number is out of range, grains are smaller than a grid point, or a periodic frame has no room for 4.

    Examples
    --------
    >>> polycrystal(0, (64, 64), (0.5, 0.5), 8.0)["grain"].max() > 5
    np.True_
    """
    frame = frame_um(shape, spacing)
    if not (np.isfinite(grain_size_um) and grain_size_um > 0):
        raise InputError(f"grain_size_um must be positive micrometres, got {grain_size_um}")
    if grain_size_um < min(spacing):
        raise InputError(f"grain_size_um is {grain_size_um:g} um, less than a grid point: take a finer grid")
    if not (np.isfinite(aspect_ratio) and aspect_ratio >= 1):
        raise InputError(f"aspect_ratio is length over width, at least 1, got {aspect_ratio}")
    squeezed = squeeze(len(frame), aspect_ratio, direction_deg)
    # a test line along axis i crosses |squeeze e_i| times as many cells as in the equiaxed structure
    equiaxed = grain_size_um * float(np.linalg.norm(squeezed, axis=0).mean())
    density = (INTERCEPT[len(frame)] / equiaxed) ** len(frame)
    margin = 4 * equiaxed * np.sqrt(aspect_ratio)
    points, names = (_periodic_points if periodic else _points)(rng(seed, _STREAM), frame, density, margin)
    grain = _nearest(points @ squeezed.T, names, shape, spacing, squeezed)
    _, numbers = np.unique(grain, return_inverse=True)
    return Microstructure(
        {"grain": (numbers.reshape(grain.shape) + 1).astype(np.int32)},
        tuple(spacing),
        scalars={"grain_size_um": float(grain_size_um)},
        source={"generator": "polycrystal", "seed": seed},
    )


def frame_um(shape: Sequence[int], spacing: Sequence[float]) -> NDArray[np.float64]:
    """Lengths of the frame in micrometres."""
    if len(shape) not in (2, 3) or len(shape) != len(spacing):
        raise InputError(f"shape and spacing need 2 or 3 numbers each, got {tuple(shape)} and {tuple(spacing)}")
    if min(shape) < 1 or not min(spacing) > 0:
        raise InputError(f"shape and spacing must be positive, got {tuple(shape)} and {tuple(spacing)}")
    return np.multiply(shape, spacing).astype(np.float64)


def squeeze(
    ndim: int, aspect_ratio: float | Sequence[float], direction_deg: float | Sequence[float] = 0.0
) -> NDArray[np.float64]:
    """Map of coordinates, axes as in the array, that makes elongated grains equiaxed and keeps volumes.

    Parameters
    ----------
    ndim
        2 or 3.
    aspect_ratio
        Length over width of grains that are long in one direction and round across it; or the relative lengths
        along all axes, in their order, as (1, 3, 9) for a rolled sheet with its normal along z and rolled along x.
    direction_deg
        Direction of the length in the plane of the last two axes, 0 along x, counted from x towards y. In 3-D also
        three Bunge Euler angles that turn the axes of the grains: what was along x comes to the rotated x axis.

    Examples
    --------
    >>> squeeze(2, 4.0)
    array([[2. , 0. ],
           [0. , 0.5]])
    """
    lengths = np.atleast_1d(np.asarray(aspect_ratio, dtype=np.float64))
    angles = np.atleast_1d(np.asarray(direction_deg, dtype=np.float64))
    if lengths.size == 1 and angles.size == 1:
        return _along(ndim, float(lengths[0]), float(angles[0]))
    lengths = np.array([*[1.0] * (ndim - 1), lengths[0]]) if lengths.size == 1 else lengths
    if lengths.shape != (ndim,) or angles.size not in (1, 3 if ndim == 3 else 1):
        raise InputError(f"elongated grains in {ndim}-D need one ratio or {ndim} lengths, and one direction")
    turn = Rotation.from_euler("ZXZ", [*angles, 0, 0][:3], degrees=True).as_matrix()[:ndim, :ndim]
    turn = turn[::-1, ::-1]  # from x, y, z to the order of the axes
    return np.asarray(turn @ np.diag(np.exp(np.log(lengths).mean()) / lengths) @ turn.T)


def _along(ndim: int, aspect_ratio: float, direction_deg: float) -> NDArray[np.float64]:
    angle = np.deg2rad(direction_deg)
    along = np.zeros(ndim)
    along[-2:] = np.sin(angle), np.cos(angle)
    line = np.outer(along, along)
    across = aspect_ratio ** (1 / ndim)
    return np.asarray(across * (np.eye(ndim) - line) + across / aspect_ratio * line)


Points = tuple[NDArray[np.float64], NDArray[np.int64]]


def _points(random: np.random.Generator, frame: NDArray[np.float64], density: float, margin: float) -> Points:
    """Poisson points in the frame and a margin around it."""
    size = frame + 2 * margin
    count = max(1, int(random.poisson(density * np.prod(size))))
    return random.uniform(-margin, frame + margin, (count, len(frame))), np.arange(count)


def _periodic_points(random: np.random.Generator, frame: NDArray[np.float64], density: float, margin: float) -> Points:
    """A fixed number of points in the frame, with their images in a margin around it."""
    count = round(float(density * np.prod(frame)))
    if count < 4:
        raise InputError(f"a periodic frame needs room for 4 grains, this one has room for {count}: enlarge it")
    points = random.uniform(0, frame, (count, len(frame)))
    reach = [np.arange(-k, k + 1) for k in np.ceil(margin / frame).astype(int)]
    shifts = np.stack(np.meshgrid(*reach, indexing="ij"), axis=-1).reshape(-1, len(frame)) * frame
    images = (points[None] + shifts[:, None]).reshape(-1, len(frame))
    near = ((images >= -margin) & (images <= frame + margin)).all(axis=1)
    return images[near], np.tile(np.arange(count), len(shifts))[near]


def _nearest(
    points: NDArray[np.float64],
    names: NDArray[np.int64],
    shape: Sequence[int],
    spacing: Sequence[float],
    squeezed: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Name of the nearest point for each grid point, one slab of the first axis at a time."""
    tree = cKDTree(points)
    axes: list[NDArray[Any]] = [(np.arange(n) + 0.5) * step for n, step in zip(shape, spacing, strict=True)]
    rest = np.stack(np.meshgrid(*axes[1:], indexing="ij"), axis=-1).reshape(-1, len(shape) - 1) @ squeezed[:, 1:].T
    slabs = [names[tree.query(rest + first * squeezed[:, 0])[1]] for first in axes[0]]
    return np.stack(slabs).reshape(tuple(shape))
