"""Power (Laguerre) diagrams on a grid: which site owns each grid point, exactly and fast.

Site ``i`` at ``p_i`` with weight ``w_i`` owns the points where ``|S (x - p_i)|^2 - w_i`` is least, with ``S`` a linear
map that makes elongated cells equiaxed (Aurenhammer 1987, doi:10.1137/0216006). The difference of two such functions
is linear. So it is known exactly who can own a point of a block: the candidates of a block are those of the block twice
as large that survive this test, down to blocks so small that the few candidates left are compared point by point.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_EDGE = {2: 8, 3: 4}  # grid points along the smallest blocks
_LEVELS = {2: 5, 3: 4}  # how often a tile is halved to come to them
_THREADS = 2


@dataclass(frozen=True)
class Grid:
    """A grid and what its cells are stretched by.

    Attributes
    ----------
    shape, spacing
        Grid points and their distance in micrometres along each axis; the first one sits half a spacing inside.
    squeeze
        Linear map ``S`` of micrometres along the axes that makes the cells equiaxed, shape ``(d, d)``.
    periodic
        Whether cells go on over the edges.
    """

    shape: tuple[int, ...]
    spacing: Float
    squeeze: Float
    periodic: bool

    @property
    def frame(self) -> Float:
        """Length of the grid along each axis in micrometres."""
        return np.asarray(self.shape * self.spacing)

    @property
    def voxel(self) -> float:
        """Area or volume of a grid point."""
        return float(np.prod(self.spacing))

    def positions(self, axis: int) -> Float:
        """Place of the grid points along an axis in micrometres."""
        return np.asarray((np.arange(self.shape[axis]) + 0.5) * self.spacing[axis])


@dataclass(frozen=True)
class Cells:
    """Who owns each grid point.

    Attributes
    ----------
    owner
        Number of the site, on the grid.
    image
        Number of the periodic image of the site among `images`, on the grid.
    images
        Places of all images in micrometres, ``(m, d)``.
    names
        Number of the site of each image.
    count
        Number of sites.
    reach
        Distance in the squeezed space beyond which no image can own a point.
    """

    owner: NDArray[np.int32]
    image: NDArray[np.int32]
    images: Float
    names: Int
    count: int
    reach: float

    def offsets(self, grid: Grid) -> list[NDArray[np.float32]]:
        """Vector from the site to each grid point that it owns, in micrometres, one array per axis."""
        axes = np.meshgrid(*map(grid.positions, range(len(grid.shape))), indexing="ij", sparse=True)
        return [(x - self.images[:, a][self.image]).astype(np.float32) for a, x in enumerate(axes)]


def cells(sites: Float, weights: Float, grid: Grid, *, reach: float | None = None) -> Cells:
    """Find the owner of each grid point.

    Parameters
    ----------
    sites
        Places in micrometres, ``(n, d)``, axes as in the array, inside the frame if it is periodic.
    weights
        One number per site in square micrometres of the squeezed space.
    grid
        Grid, stretch and periodicity.
    reach
        That of similar cells, to begin with the right number of periodic images.
    """
    if not grid.periodic:
        owner, needed = _owners(sites, weights, grid)
        return Cells(owner, owner, sites, np.arange(len(sites)), len(sites), needed)
    typical = float(np.linalg.det(grid.squeeze) * np.prod(grid.frame) / len(sites)) ** (1 / len(grid.shape))
    reach = 1.1 * reach if reach else 2 * typical
    while True:
        around, kept = images(sites, grid, reach)
        image, needed = _owners(around, weights[kept], grid)
        if needed <= reach:  # no image farther away than this can own a point
            return Cells(kept.astype(np.int32)[image], image, around, kept, len(sites), needed)
        reach = 1.05 * needed


def images(sites: Float, grid: Grid, reach: float) -> tuple[Float, Int]:
    """Return periodic images at most `reach` (in the squeezed space) away from the frame, and whose they are.

    The sites themselves come first.
    """
    margin = reach * np.linalg.norm(np.linalg.inv(grid.squeeze), axis=1)
    turns = [np.arange(-k, k + 1) for k in np.ceil(margin / grid.frame).astype(int)]
    shifts = np.stack(np.meshgrid(*turns, indexing="ij"), axis=-1).reshape(-1, len(margin))
    shifts = shifts[np.argsort(np.abs(shifts).sum(axis=1), kind="stable")]
    every = (sites[None] + (shifts * grid.frame)[:, None]).reshape(-1, len(margin))
    near = ((every > -margin) & (every < grid.frame + margin)).all(axis=1)
    return every[near], np.tile(np.arange(len(sites)), len(shifts))[near]


def _owners(sites: Float, weights: Float, grid: Grid) -> tuple[NDArray[np.int32], float]:
    """Owner of each grid point, and the distance beyond which no further site could own one."""
    edge = _EDGE[len(grid.shape)]
    tile = edge * 2 ** _LEVELS[len(grid.shape)]
    starts = np.stack(np.meshgrid(*[np.arange(0, n, tile) for n in grid.shape], indexing="ij"), axis=-1)
    grown = np.zeros([-(-n // edge) * edge for n in grid.shape], dtype=np.int32)
    places = sites @ grid.squeeze.T

    def fill(start: Int) -> float:
        return _tile(start[None], tile, places, weights, grid, grown.reshape(-1), grown.shape)

    with ThreadPoolExecutor(_THREADS) as pool:
        farthest = max(pool.map(fill, starts.reshape(-1, len(grid.shape)))) + float(weights.max())
    inside = tuple(slice(n) for n in grid.shape)
    return np.ascontiguousarray(grown[inside]), float(np.sqrt(max(farthest, 0.0)))


def _tile(
    starts: Int,
    edge: int,
    places: Float,
    weights: Float,
    grid: Grid,
    out: NDArray[np.int32],
    shape: tuple[int, ...],
) -> float:
    """Write the owners of the points of a tile, and return the largest power of a point."""
    who, first = np.arange(len(places)), np.zeros(1, dtype=np.int64)
    ndim, leaf = len(shape), _EDGE[len(shape)]
    halves = np.stack(np.meshgrid(*[[0, 1]] * ndim, indexing="ij"), axis=-1).reshape(-1, ndim)
    while True:
        who, first, power = _rivals(starts, edge, who, first, places, weights, grid)
        if edge == leaf:
            return _points(starts, who, first, power, places, grid, out, shape)
        edge //= 2
        lanes = [(starts + edge * half, (starts + edge * half < grid.shape).all(axis=1)) for half in halves]
        count = np.diff(first, append=len(who))
        starts = np.concatenate([s[kept] for s, kept in lanes])
        who = np.concatenate([who[np.repeat(kept, count)] for _, kept in lanes])
        sizes = np.concatenate([count[kept] for _, kept in lanes])
        first = np.cumsum(sizes) - sizes


def _rivals(
    starts: Int, edge: int, who: Int, first: Int, places: Float, weights: Float, grid: Grid
) -> tuple[Int, Int, Float]:
    """Keep of the candidates of each block (`who`, one list after the other) those that may own a point of it.

    Returns them, where the list of each block begins, and their power at the centre of the block.
    """
    count = np.diff(first, append=len(who))
    block = np.repeat(np.arange(len(starts)), count)
    centres = ((starts + edge / 2) * grid.spacing) @ grid.squeeze.T
    power = np.square(places[who] - centres[block]).sum(axis=1) - weights[who]
    least = np.minimum.reduceat(power, first)
    best = np.flatnonzero(power == least[block])
    best = best[np.searchsorted(best, first)]  # the first one where several are equally near
    # the difference to the owner of the centre is linear: its least value in the block lies in a corner
    slope = np.abs((places[who] - places[who[best]][block]) @ grid.squeeze) @ ((edge - 1) * grid.spacing)
    kept = power - least[block] <= slope + 1e-9 * (slope.max() + np.abs(least[block]))
    sizes = np.add.reduceat(kept, first, dtype=np.int64)
    return who[kept], np.cumsum(sizes) - sizes, power[kept]


def _points(
    starts: Int,
    who: Int,
    first: Int,
    power: Float,
    places: Float,
    grid: Grid,
    out: NDArray[np.int32],
    shape: tuple[int, ...],
) -> float:
    """Compare the candidates of each block point by point."""
    ndim, edge = len(shape), _EDGE[len(shape)]
    count = np.diff(first, append=len(who))
    order = np.argsort(-count, kind="stable")
    starts, first, count = starts[order], first[order], count[order]
    centres = ((starts + edge / 2) * grid.spacing) @ grid.squeeze.T
    points = np.stack(np.meshgrid(*[np.arange(edge)] * ndim, indexing="ij"), axis=-1).reshape(-1, ndim)
    inside = ((points - (edge - 1) / 2) * grid.spacing) @ grid.squeeze.T
    steps = np.ascontiguousarray(inside.T, dtype=np.float32)
    best = np.full((len(starts), len(points)), np.inf, dtype=np.float32)
    owner = np.zeros((len(starts), len(points)), dtype=np.int32)
    for k in range(int(count[0])):
        last = int(np.searchsorted(-count, -k))  # blocks that have more than k candidates
        site = who[first[:last] + k]
        value = (2 * (centres[:last] - places[site])).astype(np.float32) @ steps
        value += power[first[:last] + k, None].astype(np.float32)
        wins = value < best[:last]
        np.copyto(best[:last], value, where=wins)
        np.copyto(owner[:last], site[:, None].astype(np.int32), where=wins)
    flat = np.ravel_multi_index(tuple(starts.T), shape)[:, None] + np.ravel_multi_index(tuple(points.T), shape)
    out[flat] = owner
    return float((best + (inside**2).sum(axis=1)).max())
