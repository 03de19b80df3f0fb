"""Polycrystals graded in space: grain size, aspect ratio and direction of the grains follow maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from microgen.core import InputError, Microstructure
from microgen.core.seeds import rng
from microgen.synth.formulas import evaluate
from microgen.synth.pieces import numbered, one_piece
from microgen.synth.polycrystals import INTERCEPT, frame_um
from microgen.synth.power import Grid, images

Float = NDArray[np.float64]
Map = float | str | NDArray[Any] | Callable[..., Any]
"""A value everywhere; a formula of x, y (and z) from 0 to 1 across the frame; values on the grid; or a function that is
given the positions along the axes in micrometres, in their order, and returns such values."""

_STREAM = 5
_CHUNK = 2**16  # grid points compared at a time
_THREADS = 2


def graded_polycrystal(
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    grain_size_um: Map,
    *,
    aspect_ratio: Map = 1.0,
    direction_deg: Map = 0.0,
    periodic: bool = False,
) -> Microstructure:
    """Make a polycrystal whose local mean intercept, aspect ratio and direction follow maps.

    Random points whose density follows the grain size are the sites; each grid point goes to the site that is nearest
    in the metric of the elongation wanted there (Du and Wang 2005, doi:10.1137/S1064827503428527). Where the maps are
    constant this is :func:`microgen.synth.polycrystal`. A structure resolves changes over a grain or more.

    Parameters
    ----------
    seed, shape, spacing
        As for :func:`microgen.synth.polycrystal`.
    grain_size_um
        Local mean lineal intercept over test lines along all axes in micrometres.
    aspect_ratio
        Local length of the grains over their width, at least 1.
    direction_deg
        Local direction of the length in the plane of the last two axes, 0 along x, counted from x towards y.
    periodic
        Let the structure go on over its edges; steps of the maps at the edges are kept.

    Returns
    -------
    Microstructure
        With the field ``grain``, numbered from 1, and the map ``grain_size_um`` that was asked for.

    Raises
    ------
    InputError
        If a map has another shape, holds what cannot be, or leaves no room for 4 grains.

    Examples
    --------
    >>> made = graded_polycrystal(0, (96, 96), (1.0, 1.0), "5 + 10*y")["grain"]
    >>> len(np.unique(made[:32])) > 2 * len(np.unique(made[-32:]))
    True
    """
    frame = frame_um(shape, spacing)
    size = _map("grain_size_um", grain_size_um, shape, spacing)
    ratio = _map("aspect_ratio", aspect_ratio, shape, spacing)
    direction = _map("direction_deg", direction_deg, shape, spacing)
    if size.min() < min(spacing):
        raise InputError(f"grain_size_um goes down to {size.min():g} um, less than a grid point: take a finer grid")
    if ratio.min() < 1:
        raise InputError(f"aspect_ratio is length over width, at least 1, and goes down to {ratio.min():g}")
    local = _Metric(ratio, direction)
    equiaxed = size * local.mean_crossings()
    random = rng(seed, _STREAM)
    density = (INTERCEPT[len(frame)] / equiaxed) ** len(frame)
    margin = 4 * float(equiaxed.max() * np.sqrt(ratio.max()))
    grid = Grid(tuple(shape), np.asarray(spacing, dtype=np.float64), np.eye(len(frame)), periodic)
    sites, names = _sites(random, density, grid, margin)
    site = one_piece(_nearest(sites, local, grid))
    return Microstructure(
        {"grain": numbered(names[site]), "grain_size_um": size.astype(np.float32)},
        tuple(spacing),
        source={"generator": "graded-polycrystal", "seed": seed},
    )


def _map(name: str, given: Map, shape: Sequence[int], spacing: Sequence[float]) -> Float:
    """Values of a map on the grid."""
    places = [(np.arange(n) + 0.5) * step for n, step in zip(shape, spacing, strict=True)]
    mesh = np.meshgrid(*places, indexing="ij", sparse=True)
    if isinstance(given, str):
        parts = {axis: v / (n * s) for axis, v, n, s in zip("zyx"[-len(shape) :], mesh, shape, spacing, strict=True)}
        values = evaluate(given, parts)
    else:
        values = np.asarray(given(*mesh) if callable(given) else given, dtype=np.float64)
    if values.ndim not in (0, len(shape)) or any(n not in (1, m) for n, m in zip(values.shape, shape, strict=False)):
        raise InputError(f"the map {name} has the shape {values.shape}, the grid {tuple(shape)}")
    if not np.isfinite(values).all():
        raise InputError(f"the map {name} has values that are not finite numbers")
    return np.broadcast_to(values, tuple(shape))


class _Metric:
    """At every grid point the squared length ``a |r|^2 + b (r . u)^2`` that makes the grains there equiaxed."""

    def __init__(self, ratio: Float, direction_deg: Float) -> None:
        ndim = ratio.ndim
        self.across = ratio ** (2 / ndim)
        self.along = self.across / ratio**2 - self.across
        angle = np.deg2rad(direction_deg)
        self.direction = np.stack([*[np.zeros_like(angle)] * (ndim - 2), np.sin(angle), np.cos(angle)], axis=-1)
        self.equiaxed = bool(ratio.max() == 1)

    def mean_crossings(self) -> Float:
        """How many times more grains a test line crosses than if they were equiaxed, mean over the axes."""
        return np.asarray(np.sqrt(self.across[..., None] + self.along[..., None] * self.direction**2).mean(axis=-1))

    def squares(self, at: slice | NDArray[np.intp], apart: Float) -> Float:
        """Squared lengths of vectors ``(n, k, d)`` at the grid points `at` (in order of the flat grid)."""
        across, along = (v.reshape(-1, 1)[at] for v in (self.across, self.along))
        direction = self.direction.reshape(-1, 1, apart.shape[-1])[at]
        return np.asarray(across * (apart**2).sum(axis=-1) + along * (apart * direction).sum(axis=-1) ** 2)

    def least(self, at: slice | NDArray[np.intp]) -> Float:
        """Smallest squared length of a vector of length 1."""
        return np.asarray((self.across + self.along).ravel()[at])


def _sites(random: np.random.Generator, density: Float, grid: Grid, margin: float) -> tuple[Float, NDArray[np.int64]]:
    """Poisson points of a given density in the frame and around it, and the numbers of their grains."""
    around = [0 if grid.periodic else int(np.ceil(margin / s)) for s in grid.spacing]
    wide = np.pad(density, [(n, n) for n in around], mode="edge")
    total = float(wide.sum()) * grid.voxel
    count = round(total) if grid.periodic else max(1, int(random.poisson(total)))
    if grid.periodic and count < 4:
        raise InputError(f"a periodic frame needs room for 4 grains, this one has room for {count}: enlarge it")
    ends = np.cumsum(wide.ravel())
    chosen = np.searchsorted(ends, random.random(count) * ends[-1], side="right")
    index = np.stack(np.unravel_index(np.minimum(chosen, wide.size - 1), wide.shape), axis=-1)
    places = (index + random.random(index.shape) - around) * grid.spacing
    return images(places, grid, margin) if grid.periodic else (places, np.arange(count))


def _nearest(sites: Float, metric: _Metric, grid: Grid) -> NDArray[np.intp]:
    """Number of the site that is nearest in the local metric for each grid point."""
    tree = cKDTree(sites)
    mesh = np.meshgrid(*map(grid.positions, range(len(grid.shape))), indexing="ij")
    points = np.stack(mesh, axis=-1).reshape(-1, len(grid.shape))
    if metric.equiaxed:
        return np.asarray(tree.query(points, workers=_THREADS)[1]).reshape(grid.shape)
    found = [
        _nearest_of(tree, points, np.arange(start, min(start + _CHUNK, len(points))), metric)
        for start in range(0, len(points), _CHUNK)
    ]
    return np.concatenate(found).reshape(grid.shape)


def _nearest_of(tree: cKDTree, points: Float, at: NDArray[np.intp], metric: _Metric, k: int = 8) -> NDArray[np.intp]:
    """Compare the `k` sites that are nearest in ordinary distance, and more where the next could be nearer yet."""
    k = min(k, tree.n)
    far, who = (v.reshape(len(at), k) for v in tree.query(points[at], k, workers=_THREADS))
    squares = metric.squares(at, points[at][:, None] - tree.data[who])
    best = np.argmin(squares, axis=1)[:, None]
    found = np.take_along_axis(who, best, axis=1)[:, 0]
    open_ = metric.least(at) * far[:, -1] ** 2 < np.take_along_axis(squares, best, axis=1)[:, 0]
    if k < tree.n and open_.any():
        found[open_] = _nearest_of(tree, points, at[open_], metric, 2 * k)
    return np.asarray(found)
