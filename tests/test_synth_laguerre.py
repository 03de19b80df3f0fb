"""Laguerre polycrystals: power diagrams against their definition, sizes as asked for, no seams, grains in one piece."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from skimage.measure import label

from microgen.core import InputError
from microgen.synth import MeasuredSizes, SizeDistribution, laguerre
from microgen.synth.pieces import one_piece
from microgen.synth.polycrystals import squeeze
from microgen.synth.power import Grid, cells
from microgen.synth.sizes import DISTRIBUTIONS, ball, diameters_um

LAWS: dict[str, Any] = {
    "lognormal": lambda mean, std: stats.lognorm(
        s=(s := np.sqrt(np.log1p((std / mean) ** 2))), scale=mean * np.exp(-s * s / 2)
    ),
    "gamma": lambda mean, std: stats.gamma((mean / std) ** 2, scale=std**2 / mean),
    "normal": lambda mean, std: stats.norm(mean, std),
}


def grid_of(shape: tuple[int, ...], spacing: tuple[float, ...], ratio: float = 1.0, *, periodic: bool = True) -> Grid:
    return Grid(shape, np.array(spacing), squeeze(len(shape), ratio, 30.0), periodic)


def by_definition(sites: NDArray[Any], weights: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Power of every grid point to every site, the least over periodic images."""
    points = np.stack(np.meshgrid(*map(grid.positions, range(len(grid.shape))), indexing="ij"), axis=-1)
    turns = [(-2, -1, 0, 1, 2) if grid.periodic else (0,)] * len(grid.shape)
    least = np.full((*grid.shape, len(sites)), np.inf)
    for turn in np.stack(np.meshgrid(*turns, indexing="ij"), axis=-1).reshape(-1, len(grid.shape)):
        away = (points[..., None, :] - sites - turn * grid.frame) @ grid.squeeze.T
        least = np.minimum(least, (away**2).sum(axis=-1) - weights)
    return least


def kolmogorov(values: NDArray[Any], cdf: Any) -> float:
    return float(stats.kstest(values, cdf).statistic)


def pieces_on_a_torus(grain: NDArray[Any]) -> int:
    """Pieces that hang together over faces, also across the edges."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    parts = label(grain, background=-1, connectivity=1) - 1
    links = []
    for axis in range(grain.ndim):
        first, last, a, b = (np.take(v, end, axis) for v in (parts, grain) for end in (0, -1))
        links.append(np.stack([first[a == b], last[a == b]]))
    one, two = np.concatenate(links, axis=1)
    size = int(parts.max()) + 1
    return int(connected_components(coo_array((np.ones(len(one)), (one, two)), shape=(size, size)), directed=False)[0])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(17, 40), (33, 9), (9, 14, 11)]),
    count=st.integers(1, 30),
    contrast=st.floats(0, 40),
    ratio=st.sampled_from([1.0, 2.5]),
    periodic=st.booleans(),
)
def test_owners_are_those_of_the_definition(
    seed: int, shape: tuple[int, ...], count: int, contrast: float, ratio: float, periodic: bool
) -> None:
    random = np.random.default_rng(seed)
    grid = grid_of(shape, (0.5, 1.0, 1.5)[: len(shape)], ratio, periodic=periodic)
    sites, weights = random.uniform(0, grid.frame, (count, len(shape))), random.uniform(0, contrast, count)
    power = by_definition(sites, weights, grid)
    found = np.take_along_axis(power, cells(sites, weights, grid).owner[..., None].astype(int), axis=-1)[..., 0]
    np.testing.assert_allclose(found, power.min(axis=-1), atol=1e-4)


def test_the_face_of_two_cells_is_where_the_formula_puts_it() -> None:
    grid = Grid((4, 1000), np.array([1.0, 0.1]), np.eye(2), periodic=False)
    sites, weights = np.array([[2.0, 20.0], [2.0, 60.0]]), np.array([300.0, 100.0])
    face = (60.0**2 - 20.0**2 + 300 - 100) / (2 * 40)
    assert (cells(sites, weights, grid).owner == 0).sum(axis=1) * 0.1 == pytest.approx(face, abs=0.1)


def test_a_shifted_periodic_diagram_is_the_rolled_one() -> None:
    grid = grid_of((48, 60), (1.0, 0.5))
    random = np.random.default_rng(1)
    sites, weights = random.uniform(0, grid.frame, (30, 2)), random.uniform(0, 20, 30)
    moved = (sites + np.array([7, 10.5])) % grid.frame
    np.testing.assert_array_equal(
        cells(moved, weights, grid).owner, np.roll(cells(sites, weights, grid).owner, (7, 21), (0, 1))
    )


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_distributions_are_those_of_the_textbook(kind: str) -> None:
    sizes, law = SizeDistribution(10.0, 2.5, kind), LAWS[kind](10.0, 2.5)
    p = np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(sizes.quantiles(p), law.ppf(p), rtol=3e-3)
    np.testing.assert_allclose(sizes.cdf(law.ppf(p)), p, atol=2e-3)
    everything = sizes.quantiles((np.arange(10**5) + 0.5) / 10**5)
    assert everything.mean() == pytest.approx(10.0, rel=1e-3)
    assert everything.std() == pytest.approx(2.5, rel=5e-3)


@pytest.mark.parametrize(
    ("shape", "mean", "std", "kind"),
    [
        ((256, 256), 14.0, 5.0, "lognormal"),
        ((256, 320), 16.0, 4.0, "normal"),
        ((56, 56, 56), 10.0, 2.5, "gamma"),
    ],
)
def test_sizes_are_those_asked_for(shape: tuple[int, ...], mean: float, std: float, kind: str) -> None:
    spacing = (1.0, 0.8, 1.0)[-len(shape) :]
    made = laguerre(1, shape, spacing, mean, diameter_std_um=std, distribution=kind, periodic=True)
    found = diameters_um(made["grain"], spacing)
    assert len(found) > 200
    assert found.mean() == pytest.approx(mean, rel=0.02)
    assert kolmogorov(found, LAWS[kind](mean, std).cdf) < 0.05
    assert found.std() == pytest.approx(std, rel=0.05)
    assert made.source["volume_error"] < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "mean"), [((768, 768), 17.9), ((110, 110, 110), 10.0)])
def test_two_thousand_grains(shape: tuple[int, ...], mean: float) -> None:
    spacing = (1.0,) * len(shape)
    found = diameters_um(
        laguerre(0, shape, spacing, mean, diameter_std_um=0.35 * mean, periodic=True)["grain"], spacing
    )
    assert 1500 < len(found) < 2500
    assert found.mean() == pytest.approx(mean, rel=0.02)
    assert kolmogorov(found, LAWS["lognormal"](mean, 0.35 * mean).cdf) < 0.05


def test_measured_sizes_are_met_one_by_one() -> None:
    given_um = np.random.default_rng(0).gamma(16, 1.0, 120)
    side = np.sqrt(ball(given_um, 2).sum())
    step = side / 256
    found = diameters_um(laguerre(0, (256, 256), (step, step), given_um.tolist(), periodic=True)["grain"], (step, step))
    np.testing.assert_allclose(np.sort(found), np.sort(given_um), rtol=0.03)
    assert MeasuredSizes(given_um).cdf(np.median(given_um)) == pytest.approx(0.5, abs=0.01)


def test_a_frame_with_walls_holds_whole_grains_only() -> None:
    made = laguerre(3, (200, 160), (0.5, 0.5), 8.0, walls=True)
    found = diameters_um(made["grain"], (0.5, 0.5))
    np.testing.assert_allclose(found, found.mean(), rtol=0.04)
    assert found.sum() / len(found) == pytest.approx(8.0, rel=0.02)


def test_a_cut_frame_is_a_part_of_a_larger_structure() -> None:
    cut = laguerre(3, (200, 160), (0.5, 0.5), 8.0)["grain"]
    edge = np.unique(np.concatenate([cut[0], cut[-1], cut[:, 0], cut[:, -1]]))
    found = diameters_um(cut, (0.5, 0.5))
    whole = np.delete(found, edge - 1)
    np.testing.assert_allclose(whole, 8.0, rtol=0.04)
    assert found[edge - 1].mean() < 7.0
    assert not set(cut[0]) & set(cut[-1])
    assert not set(cut[:, 0]) & set(cut[:, -1])


def test_a_periodic_structure_has_no_seam() -> None:
    grain = laguerre(5, (160, 200), (1.0, 1.0), 12.0, diameter_std_um=4.0, periodic=True)["grain"]
    for axis in (0, 1):
        crossed = (grain != np.roll(grain, 1, axis)).mean(axis=1 - axis)
        assert crossed[0] < crossed.mean() + 3 * crossed.std()
    assert pieces_on_a_torus(grain) == grain.max()


@pytest.mark.parametrize("shape", [(120, 150), (24, 30, 26)])
@pytest.mark.parametrize("ratio", [1.0, 3.0])
def test_grains_are_in_one_piece(shape: tuple[int, ...], ratio: float) -> None:
    made = laguerre(2, shape, (1.0,) * len(shape), 8.0, diameter_std_um=3.0, aspect_ratio=ratio, direction_deg=35.0)
    grain = made["grain"]
    assert label(grain, background=-1, connectivity=1).max() == grain.max() == len(np.unique(grain))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), shape=st.sampled_from([(6, 7), (4, 5, 3)]), count=st.integers(1, 5))
def test_one_piece_keeps_the_largest_piece_of_each(seed: int, shape: tuple[int, ...], count: int) -> None:
    labels = np.random.default_rng(seed).integers(0, count, shape)
    whole = one_piece(labels)
    assert set(np.unique(whole)) == set(np.unique(labels))
    for number in np.unique(labels):
        parts = label(labels == number, connectivity=1)
        largest = np.bincount(parts[parts > 0]).max()
        assert (whole == number)[labels == number].sum() >= largest


def second_moments(grain: NDArray[Any]) -> NDArray[Any]:
    """Mean second moments of the grains in grid points, axes as in the array, each divided by its size."""
    flat, count = grain.ravel() - 1, np.bincount(grain.ravel())[1:]
    axes = [v.ravel() - (np.bincount(flat, v.ravel()) / count)[flat] for v in np.indices(grain.shape).astype(float)]
    sums = np.array([[np.bincount(flat, a * b) / count for a in axes] for b in axes])
    return np.asarray((sums / count ** (2 / grain.ndim)).mean(axis=-1))


@pytest.mark.parametrize("direction", [0.0, 60.0, 135.0])
def test_grains_are_as_long_as_asked_for(direction: float) -> None:
    made = laguerre(0, (300, 300), (1.0, 1.0), 14.0, aspect_ratio=3.0, direction_deg=direction, walls=True)
    values, vectors = np.linalg.eigh(second_moments(made["grain"]))
    assert np.sqrt(values[1] / values[0]) == pytest.approx(3.0, rel=0.08)
    off = np.rad2deg(np.arctan2(*vectors[:, 1])) - direction
    assert abs((off + 90) % 180 - 90) < 3.0


def test_rolled_grains_of_a_volume() -> None:
    lengths, euler = (1.0, 1.5, 3.0), (90.0, 0.0, 0.0)  # along z, y, x; then x is turned to y
    made = laguerre(
        0, (48, 64, 48), (1.0,) * 3, 10.0, aspect_ratio=lengths, direction_deg=euler, periodic=False, walls=True
    )
    moments = np.sqrt(np.diag(second_moments(made["grain"])))
    np.testing.assert_allclose(moments / moments[0], [1.0, 3.0, 1.5], rtol=0.12)


def test_more_steps_make_grains_more_compact() -> None:
    spread = [
        np.trace(second_moments(laguerre(0, (240, 240), (1.0, 1.0), 16.0, walls=True, lloyd_steps=n)["grain"]))
        for n in (0, 3, 40)
    ]
    assert spread[0] > spread[1] + 0.005
    assert spread[1] > spread[2]
    assert 5 / (18 * np.sqrt(3)) < spread[2] < 1 / 6  # regular hexagons, squares


def test_one_seed_is_one_structure() -> None:
    first, again, other = (laguerre(s, (64, 64), (1.0, 1.0), 9.0, diameter_std_um=2.0)["grain"] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"diameter_um": -1.0}, "positive mean"),
        ({"diameter_um": 8.0, "diameter_std_um": np.nan}, "std"),
        ({"diameter_um": 8.0, "diameter_std_um": 4.0, "distribution": "normal"}, "a third"),
        ({"diameter_um": 8.0, "distribution": "weibull"}, "lognormal"),
        ({"diameter_um": 60.0, "periodic": True}, "room"),
        ({"diameter_um": 1.0}, "finer grid"),
        ({"diameter_um": 8.0, "aspect_ratio": 0.0}, "aspect_ratio"),
        ({"diameter_um": 8.0, "aspect_ratio": (1, 2, 3)}, "2 lengths"),
        ({"diameter_um": [3.0, np.nan]}, "positive diameters"),
        ({"diameter_um": [8.0, 9.0], "diameter_std_um": 1.0}, "leave"),
        ({"diameter_um": 8.0, "lloyd_steps": -1}, "lloyd_steps"),
    ],
)
def test_impossible_wishes_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        laguerre(0, (64, 64), (1.0, 1.0), **wrong)
