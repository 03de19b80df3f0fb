"""Components, percolation, Euler and Betti numbers: known bodies, other implementations, and what must not matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage import measure as skimage_measure

from microgen.core import InputError
from microgen.stats import topology
from microgen.stats.topology import Neighbours, betti_numbers, connectivity, euler_density, euler_number, genus

BOTH: tuple[Neighbours, ...] = ("faces", "all")
GRID = np.stack(np.meshgrid(*(np.arange(-12, 13.0),) * 3, indexing="ij"))
RADIUS = np.sqrt((GRID**2).sum(0))

pictures = arrays(bool, st.tuples(st.integers(2, 8), st.integers(2, 8)))
volumes = arrays(bool, st.tuples(st.integers(2, 5), st.integers(2, 5), st.integers(2, 5)))
regions = st.one_of(pictures, volumes)


def noise(seed: int, shape: tuple[int, ...], fraction: float) -> Any:
    return np.random.default_rng(seed).random(shape) < fraction


def torus() -> Any:
    z, y, x = GRID
    return (np.sqrt(y**2 + x**2) - 7) ** 2 + z**2 < 3**2


BODIES: dict[str, tuple[Callable[[], Any], int, tuple[int, int, int]]] = {
    "ball": (lambda: RADIUS < 10, 1, (1, 0, 0)),
    "torus": (torus, 0, (1, 1, 0)),
    "hollow ball": (lambda: (RADIUS < 10) & (RADIUS > 6), 2, (1, 0, 1)),
    "eight balls": (lambda: np.sqrt(((np.abs(GRID) - 6) ** 2).sum(0)) < 4, 8, (8, 0, 0)),
    "ball in a hollow ball": (lambda: (RADIUS < 3) | ((RADIUS < 10) & (RADIUS > 6)), 3, (2, 0, 1)),
    "cube with three crossing tunnels": (
        lambda: (np.abs(GRID) < 10).all(0) & ((np.sort(np.abs(GRID), axis=0)[:2] ** 2).sum(0) > 3**2),
        -4,
        (1, 5, 0),
    ),
}


@pytest.mark.parametrize("neighbours", BOTH)
@pytest.mark.parametrize("name", BODIES)
def test_known_bodies(name: str, neighbours: Neighbours) -> None:
    make, euler, betti = BODIES[name]
    assert euler_number(make(), neighbours=neighbours) == euler
    assert betti_numbers(make(), neighbours=neighbours) == betti
    assert genus(make(), neighbours=neighbours) == betti[1]
    assert connectivity(make(), neighbours=neighbours).components == betti[0]


@pytest.mark.parametrize("neighbours", BOTH)
def test_pictures_with_holes(neighbours: Neighbours) -> None:
    disc = RADIUS[12] < 10
    disc[8, 8] = disc[14, 14] = disc[15, 15] = False  # two of the holes touch at a corner
    assert betti_numbers(disc, neighbours=neighbours) == ((1, 3) if neighbours == "all" else (1, 2))
    with pytest.raises(InputError, match="belongs to a volume"):
        genus(disc)


@pytest.mark.parametrize("fraction", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("shape", [(30, 41), (11, 13, 12)])
@pytest.mark.parametrize("neighbours", BOTH)
def test_noise_as_scikit_image_counts_it(neighbours: Neighbours, shape: tuple[int, ...], fraction: float) -> None:
    region = noise(1, shape, fraction)
    reach = 1 if neighbours == "faces" else region.ndim
    assert euler_number(region, neighbours=neighbours) == skimage_measure.euler_number(region, reach)
    labels, count = skimage_measure.label(region, connectivity=reach, return_num=True)
    found = connectivity(region, neighbours=neighbours)
    assert found.components == count
    assert found.largest_share == np.bincount(labels[region]).max() / region.sum()


def test_slabs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    region, mask = noise(2, (12, 13, 14), 0.5), noise(3, (12, 13, 14), 0.9)
    whole = [euler_number(region), euler_number(region, periodic=True), connectivity(region)]
    masked = euler_density(region, spacing=(1, 1, 1), mask=mask)
    monkeypatch.setattr(topology, "_SLAB", 5 * 13 * 14)
    assert [euler_number(region), euler_number(region, periodic=True), connectivity(region)] == whole
    assert euler_density(region, spacing=(1, 1, 1), mask=mask) == masked


@settings(max_examples=60, deadline=None)
@given(regions, st.sampled_from(BOTH))
def test_euler_number_of_a_union(region: Any, neighbours: Neighbours) -> None:
    """chi(A or B) = chi(A) + chi(B) - chi(A and B), where A and B are parts of a picture that share a layer."""
    cut = region.shape[0] // 2
    low, high = region[: cut + 1], region[cut:]
    both = sum(euler_number(part, neighbours=neighbours) for part in (low, high))
    assert euler_number(region, neighbours=neighbours) == both - euler_number(
        region[cut : cut + 1], neighbours=neighbours
    )


@settings(max_examples=60, deadline=None)
@given(regions, st.sampled_from(BOTH))
def test_region_and_rest_share_their_loops(region: Any, neighbours: Neighbours) -> None:
    """Alexander duality: holes of one are components of the other, and in space both have as many loops."""
    other: Neighbours = "all" if neighbours == "faces" else "faces"
    rest = np.pad(~region, 1, constant_values=True)
    found, dual = betti_numbers(region, neighbours=neighbours), betti_numbers(rest, neighbours=other)
    if region.ndim == 3:  # the padded box adds the cavity that holds the region
        assert dual[0] == found[2] + 1
        assert dual[1] == found[1]
        assert dual[2] == found[0]
    else:
        assert dual == (found[1] + 1, found[0])


@settings(max_examples=40, deadline=None)
@given(regions, st.sampled_from(BOTH), st.data())
def test_turning_permutes_and_nothing_else(region: Any, neighbours: Neighbours, data: Any) -> None:
    order = data.draw(st.permutations(range(region.ndim)))
    turned = np.flip(region.transpose(order), axis=data.draw(st.integers(0, region.ndim - 1)))
    assert euler_number(turned, neighbours=neighbours) == euler_number(region, neighbours=neighbours)
    if region.any():
        a, b = connectivity(region, neighbours=neighbours), connectivity(turned, neighbours=neighbours)
        assert (a.components, a.largest_share) == (b.components, b.largest_share)
        assert tuple(a.percolating_share[k] for k in order) == pytest.approx(b.percolating_share)


@settings(max_examples=60, deadline=None)
@given(regions, st.sampled_from(BOTH), st.integers(0, 7), st.integers(0, 7))
def test_a_period_may_begin_anywhere(region: Any, neighbours: Neighbours, down: int, along: int) -> None:
    moved = np.roll(region, (down, along), (0, region.ndim - 1))
    frame: dict[str, Any] = {"neighbours": neighbours, "periodic": True}
    assert euler_number(moved, **frame) == euler_number(region, **frame)
    if region.any():
        a, b = connectivity(region, **frame), connectivity(moved, **frame)
        assert (a.components, a.largest_share) == (b.components, pytest.approx(b.largest_share))
        assert a.percolating_share == pytest.approx(b.percolating_share)


@settings(max_examples=40, deadline=None)
@given(st.one_of(arrays(bool, (4, 4)), arrays(bool, (3, 3, 3))), st.sampled_from(BOTH))
def test_a_component_winds_where_its_periods_touch(region: Any, neighbours: Neighbours) -> None:
    """Against the definition: laid side by side many times, a winding component holds a point and its image.

    In a torus of n^d points a component repeats after at most as many periods as it has points.
    """
    if not region.any():
        return
    found = connectivity(region, neighbours=neighbours, periodic=True)
    repeats = 15 if region.ndim == 2 else 9
    wide = np.tile(region, (repeats,) * region.ndim)
    structure = ndimage.generate_binary_structure(wide.ndim, 1 if neighbours == "faces" else wide.ndim)
    labels = ndimage.label(wide, structure)[0]
    middle = _part(labels, region.shape, (repeats // 2,) * region.ndim)
    for axis, share in enumerate(found.percolating_share):
        images = [_part(labels, region.shape, k) for k in np.ndindex(*(repeats,) * region.ndim)]
        ahead = [k[axis] > repeats // 2 for k in np.ndindex(*(repeats,) * region.ndim)]
        winds = np.any([middle == part for part, far in zip(images, ahead, strict=True) if far], axis=0) & region
        assert share == pytest.approx(winds.sum() / region.sum()), axis


def _part(labels: Any, shape: tuple[int, ...], period: tuple[int, ...]) -> Any:
    return labels[tuple(slice(n * k, n * (k + 1)) for n, k in zip(shape, period, strict=True))]


def test_channels_percolate_along_themselves() -> None:
    region = np.zeros((8, 9, 10), bool)
    region[2:4, 2:4, :] = True
    region[6, :, 6] = True
    region[0, 0, 0] = True
    found = connectivity(region)
    assert found.percolates == (False, True, True)
    assert found.percolating_share == pytest.approx((0, 9 / 50, 40 / 50))
    assert found.largest_share == pytest.approx(40 / 50)
    assert connectivity(region[:, :, :9]).percolates == (False, True, True)
    assert connectivity(region[:, 1:, 1:], periodic=True).percolates == (False, True, True)
    region[2:4, 2:4, 4] = False  # the cut goes through the channel, and closes it for the next period too
    assert connectivity(region).percolates == (False, True, False)
    assert connectivity(region, periodic=True).percolates == (False, True, False)


def test_a_stripe_that_winds_around_both_axes() -> None:
    diagonal = np.eye(12, dtype=bool)
    assert connectivity(diagonal, periodic=True, neighbours="all").percolates == (True, True)
    assert connectivity(diagonal, periodic=True).components == 12
    helix = diagonal | np.roll(diagonal, 1, 0)
    assert connectivity(np.roll(helix, 5, 1), periodic=True) == topology.Connectivity(1, 1.0, (1.0, 1.0))
    ring = np.zeros((8, 8), bool)
    ring[:2, :2] = ring[-1:, :2] = ring[:2, -1:] = ring[-1:, -1:] = True  # one blob around the corner of the frame
    assert connectivity(ring, periodic=True) == topology.Connectivity(1, 1.0, (0.0, 0.0))
    assert connectivity(ring).components == 4


def test_corners_only_touch_for_all_neighbours() -> None:
    stairs = np.eye(6, dtype=bool)
    assert connectivity(stairs).percolates == (False, False)
    assert connectivity(stairs, neighbours="all").percolates == (True, True)


def test_a_mask_is_a_smaller_frame() -> None:
    region = noise(4, (20, 20, 20), 0.5)
    mask = np.zeros(region.shape, bool)
    mask[3:15, 2:18, 5:16] = True
    assert connectivity(region, mask=mask) == connectivity(region[3:15, 2:18, 5:16])
    step = (0.5, 1, 2)
    whole = euler_density(region, spacing=step, mask=mask)
    assert whole == pytest.approx(euler_density(region[3:15, 2:18, 5:16], spacing=step), rel=1e-12)


@pytest.mark.parametrize("neighbours", BOTH)
@pytest.mark.parametrize("shape", [(9, 11), (5, 6, 7)])
def test_the_density_seen_in_a_frame_is_free_of_bias(shape: tuple[int, ...], neighbours: Neighbours) -> None:
    """The mean over all places of a small frame (and of a mask) is exactly the density of the periodic whole."""
    region, mask = noise(6, shape, 0.5), noise(7, (4,) * len(shape), 0.9)
    step = (1.0, 0.5, 0.25)[: len(shape)]
    exact = euler_number(region, neighbours=neighbours, periodic=True) / (region.size * np.prod(step))
    assert euler_density(region, spacing=step, neighbours=neighbours, periodic=True) == pytest.approx(exact)
    moved = [np.roll(region, shift, range(len(shape)))[(slice(4),) * len(shape)] for shift in np.ndindex(*shape)]
    for valid in (None, mask):
        seen = [euler_density(part, spacing=step, neighbours=neighbours, mask=valid) for part in moved]
        assert np.std(seen) > 0
        assert np.mean(seen) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: connectivity(np.zeros((4, 4), bool)), "absent"),
        (lambda: connectivity(np.ones((4, 4), int)), "boolean"),
        (lambda: euler_number(np.ones((2, 2, 2, 2), bool)), "boolean"),
        (lambda: connectivity(np.ones((4, 4), bool), mask=np.ones((4, 5), bool)), "mask has shape"),
        (lambda: connectivity(np.ones((4, 4), bool), mask=np.zeros((4, 4), bool)), "no valid point"),
        (lambda: euler_density(np.ones((1, 4), bool), spacing=(1, 1)), "at least 2"),
        (lambda: euler_density(np.ones((4, 4), bool), spacing=(1, 0)), "positive"),
        (lambda: euler_number(np.ones((4, 4), bool), neighbours="6"), "neighbours are"),  # type: ignore[arg-type]
    ],
)
def test_refusals(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
