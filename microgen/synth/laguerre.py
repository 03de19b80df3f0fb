"""Polycrystals with a prescribed distribution of grain size: Laguerre tessellations whose cells have given volumes.

The weights of the cells solve a semi-discrete optimal transport problem by Newton's method (Kitagawa, Mérigot and
Thibert 2019, doi:10.4171/JEMS/889); moving each site to the centre of its cell in between makes the cells compact
(Bourne, Kok, Roper and Spanjer 2020, doi:10.1080/14786435.2020.1790053). Volumes are counted on the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import cg

from microgen.core import InputError, Microstructure
from microgen.core.seeds import rng
from microgen.synth.pieces import numbered, one_piece
from microgen.synth.polycrystals import frame_um, squeeze
from microgen.synth.power import Cells, Grid, cells
from microgen.synth.sizes import MeasuredSizes, SizeDistribution, Sizes, ball, draw

Float = NDArray[np.float64]

_STREAM = 4
_NEWTON_STEPS = 15
_MET = 0.01  # relative error of volumes, beyond one grid point, that counts as none
_MISSED = 0.1  # and the one that is too much
_SMALLEST = 2.0  # grid points of the smallest grain


def laguerre(
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    diameter_um: float | Sequence[float] | Sizes,
    *,
    diameter_std_um: float = 0.0,
    distribution: str = "lognormal",
    aspect_ratio: float | Sequence[float] = 1.0,
    direction_deg: float | Sequence[float] = 0.0,
    periodic: bool = False,
    walls: bool = False,
    lloyd_steps: int = 5,
) -> Microstructure:
    """Make a polycrystal whose grains have a given distribution of size.

    Parameters
    ----------
    seed
        The same numbers give the same structure.
    shape
        Grid points ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Distance of grid points in micrometres along each axis.
    diameter_um
        Mean over the grains of the equivalent diameter: that of the circle of the same area, or of the sphere of the
        same volume. Or the diameters of measured grains, whose distribution is followed.
    diameter_std_um, distribution
        Standard deviation, and the law: one of :data:`microgen.synth.sizes.DISTRIBUTIONS`.
    aspect_ratio, direction_deg
        Elongation of the grains, see :func:`microgen.synth.polycrystals.squeeze`.
    periodic
        Make a structure that goes on over its edges without a seam.
    walls
        If it is not periodic: let all grains end at the edges, as in a specimen with free surfaces, so that each of
        them has its whole size inside. Otherwise the frame is cut out of a larger structure, with the grains at its
        edges.
    lloyd_steps
        How often sites are moved to the centres of their grains: 0 gives irregular grains, many give grains as
        compact as in foam.

    Returns
    -------
    Microstructure
        With the field ``grain``, numbered from 1; ``source["volume_error"]`` is the root mean square of the relative
        error of the volumes.

    Raises
    ------
    InputError
        If a number is out of range, there is no room for 4 grains, the smallest grains are smaller than two grid
        points, or the volumes cannot be met.

    Examples
    --------
    >>> made = laguerre(0, (64, 64), (0.5, 0.5), 6.0, diameter_std_um=1.5, periodic=True)
    >>> int(made["grain"].max())
    34
    """
    frame = frame_um(shape, spacing)
    if lloyd_steps < 0:
        raise InputError(f"lloyd_steps counts steps, got {lloyd_steps}")
    steps = np.asarray(spacing, dtype=np.float64)
    sizes = _sizes(diameter_um, diameter_std_um, distribution)
    grid = Grid(
        tuple(int(n) for n in shape), steps, _checked_squeeze(len(frame), aspect_ratio, direction_deg), periodic
    )
    if not (periodic or walls):
        grid = _wider(grid, float(sizes.quantiles([1.0])[0]))
    random = rng(seed, _STREAM)
    volumes = draw(sizes, random, float(np.prod(grid.frame)), len(frame))
    if volumes[0] < _SMALLEST * grid.voxel:
        raise InputError(
            f"the smallest grains would have {volumes[0] / grid.voxel:.2g} grid points: take a finer grid, or a"
            " smaller diameter_std_um"
        )
    made, error = tessellate(random, volumes, grid, lloyd_steps=lloyd_steps)
    grain = one_piece(made.image[tuple(slice(n) for n in shape)])
    if periodic:
        grain = made.names[grain]
    return Microstructure(
        {"grain": numbered(grain)},
        tuple(spacing),
        scalars={"diameter_um": sizes.mean_um, "diameter_std_um": sizes.std_um},
        source={"generator": "laguerre", "seed": seed, "volume_error": error},
    )


def tessellate(random: np.random.Generator, volumes: Float, grid: Grid, *, lloyd_steps: int) -> tuple[Cells, float]:
    """Fill a grid with Laguerre cells of given volumes, which fill it exactly.

    Returns
    -------
    tuple[Cells, float]
        The cells, in no order, and the root mean square of the relative error of their volumes.

    Raises
    ------
    InputError
        If the volumes cannot be met.
    """
    sites = random.uniform(0, grid.frame, (len(volumes), len(grid.frame)))
    weights = np.zeros(len(volumes))
    now = cells(sites, weights, grid)
    # the larger the space around a site already is, the larger its cell will be
    wanted = np.sort(volumes)[np.argsort(np.argsort(_contents(now, grid), kind="stable"))]
    for _ in range(lloyd_steps):
        sites = _centres(now, sites, grid)
        weights = _radii(wanted, grid) ** 2
        now = cells(sites, weights, grid, reach=now.reach)
        now, weights = _improved(now, sites, weights, wanted, grid)
    for _ in range(_NEWTON_STEPS):
        before = now
        if _missed(now, wanted, grid) < _MET:
            break
        now, weights = _improved(now, sites, weights, wanted, grid)
        if now is before:
            break
    if (left := _missed(now, wanted, grid)) > _MISSED:
        raise InputError(
            f"grain sizes were missed by {left:.0%} of the volume: take a finer grid, more grains or a smaller"
            " diameter_std_um, or another seed"
        )
    return now, float(np.sqrt(np.mean((_contents(now, grid) / wanted - 1) ** 2)))


def _sizes(diameter_um: float | Sequence[float] | Sizes, std_um: float, kind: str) -> Sizes:
    if isinstance(diameter_um, SizeDistribution | MeasuredSizes):
        return diameter_um
    if np.ndim(diameter_um) == 0:
        return SizeDistribution(float(np.asarray(diameter_um)), std_um, kind)
    if std_um:
        raise InputError("a list of diameters has a standard deviation of its own: leave diameter_std_um out")
    return MeasuredSizes(np.asarray(diameter_um, dtype=np.float64))


def _checked_squeeze(
    ndim: int, aspect_ratio: float | Sequence[float], direction_deg: float | Sequence[float]
) -> NDArray[np.float64]:
    given = np.asarray(aspect_ratio, dtype=np.float64)
    if not (np.isfinite(given).all() and given.min() > 0 and np.isfinite(direction_deg).all()):
        raise InputError(f"aspect_ratio needs positive numbers, got {aspect_ratio}")
    return squeeze(ndim, aspect_ratio, direction_deg)


def _wider(grid: Grid, diameter: float) -> Grid:
    """Return a periodic grid so much larger that no grain touches opposite edges of the given one."""
    margin = 1.2 * diameter * np.linalg.norm(np.linalg.inv(grid.squeeze), axis=1)
    shape = np.ceil((grid.frame + margin) / grid.spacing).astype(int)
    return replace(grid, shape=tuple(int(n) for n in shape), periodic=True)


def _contents(now: Cells, grid: Grid) -> Float:
    """Area or volume of each cell."""
    return np.asarray(np.bincount(now.owner.ravel(), minlength=now.count) * grid.voxel)


def _radii(wanted: Float, grid: Grid) -> Float:
    return np.asarray((wanted / ball(2.0, len(grid.shape))) ** (1 / len(grid.shape)))


def _missed(now: Cells, wanted: Float, grid: Grid) -> float:
    """Root mean square of the relative error of the volumes beyond one grid point."""
    beyond = np.maximum(np.abs(_contents(now, grid) - wanted) - grid.voxel, 0)
    return float(np.sqrt(np.mean((beyond / wanted) ** 2)))


def _centres(now: Cells, sites: Float, grid: Grid) -> Float:
    """Centres of mass of the cells (Lloyd's step); an empty cell stays where it is."""
    flat = now.owner.ravel()
    count = np.maximum(np.bincount(flat, minlength=now.count), 1)
    moved = np.stack([np.bincount(flat, r.ravel(), now.count) / count for r in now.offsets(grid)], axis=1)
    return np.asarray((sites + moved) % grid.frame if grid.periodic else sites + moved)


def _improved(now: Cells, sites: Float, weights: Float, wanted: Float, grid: Grid) -> tuple[Cells, Float]:
    """Newton step, shortened until it empties no cell and brings the volumes closer; none at all if that fails."""
    if not _contents(now, grid).all():
        weights = _revived(now, sites, weights, wanted, grid)
        now = cells(sites, weights, grid, reach=now.reach)
    step = _newton_step(now, wanted, grid)
    error, empty = _missed(now, wanted, grid), int((_contents(now, grid) == 0).sum())
    for length in (1.0, 0.5, 0.25):
        trial = weights + length * step
        trial -= trial.mean()
        then = cells(sites, trial, grid, reach=now.reach)
        if (_contents(then, grid) == 0).sum() <= empty and _missed(then, wanted, grid) < error:
            return then, trial
    return now, weights


def _revived(now: Cells, sites: Float, weights: Float, wanted: Float, grid: Grid) -> Float:
    """Raise the weights of cells without a grid point so that they own the place of their site."""
    empty = np.flatnonzero(_contents(now, grid) == 0)
    at = tuple(np.clip(sites[empty] / grid.spacing, 0, np.subtract(grid.shape, 1)).astype(int).T)
    away = (sites[empty] - now.images[now.image[at]]) @ grid.squeeze.T
    power = (away**2).sum(axis=1) - weights[now.owner[at]]
    raised = weights.copy()
    raised[empty] = _radii(wanted[empty], grid) ** 2 / 2 - power
    return raised


def _newton_step(now: Cells, wanted: Float, grid: Grid) -> Float:
    """Change of the weights after which the volumes agree to first order."""
    links = _links(now, grid)
    degree = np.asarray(links.sum(axis=1)).ravel()
    degree += np.where(degree > 0, 1e-6, 1.0) * degree.mean()  # cells without faces stay as they are
    contents = _contents(now, grid)
    lacking = wanted - contents
    system, scaled = sparse.diags_array(degree) - links, sparse.diags_array(1 / degree)
    step, _ = cg(system, lacking - lacking.mean(), rtol=1e-3, maxiter=500, M=scaled)
    return np.where(contents > 0, step, 0.0)


def _links(now: Cells, grid: Grid) -> Any:
    """Growth of a cell on the account of another one per weight: area of their face over twice the slope there.

    Faces of area A and normal n are seen along axis a as A |n_a|, and that is what grid points count, so A is the
    count along all axes over the sum of |n_a|.
    """
    metric = grid.squeeze.T @ grid.squeeze
    offsets = now.offsets(grid)
    total = sparse.csr_array((now.count, now.count))
    for axis, step in enumerate(grid.spacing):
        one, two = _pairs(now.owner, axis, periodic=grid.periodic)
        at = one != two
        sides = [_pairs(offset, axis, periodic=grid.periodic) for offset in offsets]
        apart = np.stack([a[at] - b[at] for a, b in sides])
        apart[axis] += step
        slope = np.abs(metric @ apart).sum(axis=0)
        area = grid.voxel / step / 2 / np.maximum(slope, 1e-6 * slope.max(initial=1.0))
        total = total + sparse.coo_array((area, (one[at], two[at])), shape=total.shape).tocsr()
    return total + total.T


def _pairs(field: NDArray[Any], axis: int, *, periodic: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values of neighbouring grid points along an axis."""
    if periodic:
        return field, np.roll(field, -1, axis)
    every = [slice(None)] * field.ndim
    first, second = every.copy(), every.copy()
    first[axis], second[axis] = slice(-1), slice(1, None)
    return field[tuple(first)], field[tuple(second)]
