"""Local thickness: bodies of known size, the definition itself, openings, and what must not matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from microgen.core import InputError
from microgen.stats import pores
from microgen.stats.pores import distance_to_rest, local_thickness, sizes_and_counts, thickness_distribution

CUBE = (31, 31, 31)


def blobs(seed: int, shape: tuple[int, ...], sigma: float = 2.0) -> Any:
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, sigma, mode="wrap") > 0


def coordinates(shape: tuple[int, ...], spacing: tuple[float, ...]) -> Any:
    """Distance from the middle point along each axis, in micrometres."""
    return np.stack(
        np.meshgrid(*((np.arange(n) - n // 2) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    )


def by_definition(region: Any, spacing: tuple[float, ...]) -> Any:
    """Paint every ball whole, small ones first."""
    distance = ndimage.distance_transform_edt(region, sampling=spacing)
    place = coordinates(region.shape, spacing)
    thickness = np.zeros(region.shape)
    for centre in sorted(map(tuple, np.argwhere(region)), key=lambda c: distance[c]):
        away = np.sqrt(sum((axis - axis[centre]) ** 2 for axis in place))
        thickness[away < distance[centre] * (1 - 1e-9)] = 2 * distance[centre]
    return thickness


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.5, 1.0), (0.37, 0.37, 0.37)])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("layers", [4, 8])
def test_slabs_are_as_thick_as_they_are(layers: int, axis: int, spacing: tuple[float, ...]) -> None:
    region = np.zeros((16, 16, 16), bool)
    region[(slice(None),) * axis + (slice(5, 5 + layers),)] = True
    thickness = local_thickness(region, spacing=spacing)
    np.testing.assert_allclose(thickness[region], layers * spacing[axis], rtol=1e-5)
    assert (thickness[~region] == 0).all()


def test_slabs_of_odd_width_count_half_a_voxel_on_each_side_more() -> None:
    region = np.zeros((16, 16), bool)
    region[:, 4:9] = True
    assert np.unique(local_thickness(region, spacing=(1, 1))).tolist() == [0, 6]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 1.0, 1.0)])
@pytest.mark.parametrize("radius", [5, 10])
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2)])
def test_balls_and_cylinders(axes: tuple[int, ...], radius: float, spacing: tuple[float, ...]) -> None:
    shape = tuple(int(30 / s) + 1 for s in spacing)
    away = np.sqrt((coordinates(shape, spacing)[list(axes)] ** 2).sum(0))
    region = away < radius
    thickness = local_thickness(region, spacing=spacing)
    assert thickness.max() == pytest.approx(2 * radius, rel=1e-6)
    assert (thickness[away < radius - 1] == thickness.max()).all()
    assert thickness[region].mean() == pytest.approx(2 * radius, abs=0.5)


def test_bodies_apart_keep_their_sizes() -> None:
    place = coordinates((21, 21, 81), (1, 1, 1))
    region = np.zeros((21, 21, 81), bool)
    volumes = {}
    for x, radius in ((-30, 4), (-10, 6), (20, 10)):
        ball = np.sqrt(place[0] ** 2 + place[1] ** 2 + (place[2] - x) ** 2) < radius
        region |= ball
        volumes[2 * radius] = int(ball.sum())
    curve = thickness_distribution(local_thickness(region, spacing=(1, 1, 1)))
    total = sum(volumes.values())
    for size in (8, 12, 20):
        share = curve.y[np.searchsorted(curve.x, size - 1)]
        expected = sum(volume for diameter, volume in volumes.items() if diameter >= size) / total
        assert share == pytest.approx(expected, abs=0.01)


CASES = [
    ((30, 40), (1.0, 1.0)),
    ((30, 22), (0.5, 1.0)),
    ((14, 15, 16), (1.0, 1.0, 1.0)),
    ((12, 15, 18), (2.0, 1.0, 0.7)),
]


@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_the_definition_with_fine_classes(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    """With every radius in a class of its own the painting is exact."""
    for name in ("_CLASS", "_RELATIVE", "_FINE"):
        monkeypatch.setattr(pores, name, 1e-4)
    region = blobs(1, shape)
    found = local_thickness(region, spacing=spacing)
    np.testing.assert_allclose(found, by_definition(region, spacing), rtol=2e-4)


@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_classes_cost_little(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    region = blobs(2, shape)
    found, exact = local_thickness(region, spacing=spacing)[region], by_definition(region, spacing)[region]
    assert found.mean() == pytest.approx(exact.mean(), rel=0.015)
    assert np.mean(np.abs(found - exact) < min(spacing)) > 0.9
    assert found.max() == pytest.approx(exact.max(), abs=0.5 * min(spacing))


def test_the_distribution_is_what_openings_keep() -> None:
    """An opening by balls of one size leaves out a little of what larger balls reach on a grid."""
    region = blobs(3, (60, 70))
    curve = thickness_distribution(local_thickness(region, spacing=(1, 1)))
    exact, distance = by_definition(region, (1, 1)), ndimage.distance_transform_edt(region)
    for diameter in (4, 6, 8, 10):
        share = curve.y[np.searchsorted(curve.x, diameter - 1e-3)]
        kept = ndimage.distance_transform_edt(~(distance >= diameter / 2)) < diameter / 2
        assert share == pytest.approx((exact >= diameter).sum() / region.sum(), abs=0.02)
        assert share == pytest.approx((kept & region).sum() / region.sum(), abs=0.05)
    assert curve.y[0] == 1
    assert (np.diff(curve.y) < 0).all()


def test_layers_painted_apart_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    region = blobs(4, (20, 30, 33), 3)
    whole = local_thickness(region, spacing=(1, 1, 1), periodic=True)
    monkeypatch.setattr(pores, "_SLAB", 3 * 30 * 33)
    np.testing.assert_array_equal(local_thickness(region, spacing=(1, 1, 1), periodic=True), whole)


@pytest.mark.parametrize("shape", [(40, 75), (16, 18, 70)])
def test_periodic_is_the_middle_of_many_periods(shape: tuple[int, ...]) -> None:
    region = blobs(5, shape, 3)
    middle = tuple(slice(n, 2 * n) for n in shape)
    step = (1.0, 0.5, 0.5)[: len(shape)]
    wide = np.tile(region, (3,) * len(shape))
    expected = distance_to_rest(wide, spacing=step)[middle]
    np.testing.assert_allclose(distance_to_rest(region, spacing=step, periodic=True), expected, rtol=1e-6)
    found = local_thickness(region, spacing=step, periodic=True)
    np.testing.assert_allclose(
        found[region].mean(), local_thickness(wide, spacing=step)[middle][region].mean(), rtol=0.01
    )
    moved = local_thickness(np.roll(region, 7, -1), spacing=step, periodic=True)
    np.testing.assert_array_equal(np.roll(moved, -7, -1), found)


def test_a_mask_is_a_frame_and_no_wall() -> None:
    region = blobs(6, (40, 50), 3)
    mask = np.zeros(region.shape, bool)
    mask[5:35, 7:47] = True
    found = local_thickness(region, spacing=(1, 2), mask=mask)
    np.testing.assert_array_equal(found[5:35, 7:47], local_thickness(region[5:35, 7:47], spacing=(1, 2)))
    assert (found[~mask] == 0).all()


@settings(max_examples=40, deadline=None)
@given(
    arrays(bool, st.one_of(st.tuples(*[st.integers(2, 9)] * 2), st.tuples(*[st.integers(2, 6)] * 3))),
    st.floats(0.1, 10),
)
def test_bounds_turns_and_scale(region: Any, scale: float) -> None:
    if region.all() or not region.any():
        return
    step = (1.0,) * region.ndim
    thickness, distance = local_thickness(region, spacing=step), distance_to_rest(region, spacing=step)
    np.testing.assert_allclose(distance, ndimage.distance_transform_edt(region), rtol=1e-6)
    assert ((thickness > 0) == region).all()
    assert (thickness[region] >= 2 * distance[region] - 0.5).all()
    assert thickness.max() <= 2 * distance.max() + 1e-5
    turned = local_thickness(np.rot90(region), spacing=step)
    np.testing.assert_array_equal(turned, np.rot90(thickness))
    scaled = local_thickness(region, spacing=(scale,) * region.ndim)
    np.testing.assert_allclose(scaled, scale * thickness, rtol=1e-4)


def test_counts_are_those_of_numpy() -> None:
    thickness = local_thickness(blobs(7, (20, 30)), spacing=(1, 1))
    sizes, counts = np.unique(thickness[thickness > 0], return_counts=True)
    found = sizes_and_counts(thickness)
    np.testing.assert_array_equal(found[0], sizes)
    np.testing.assert_array_equal(found[1], counts)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: local_thickness(np.zeros((4, 4), bool), spacing=(1, 1)), "absent"),
        (lambda: local_thickness(np.ones((4, 4), bool), spacing=(1, 1)), "fills the whole frame"),
        (lambda: local_thickness(np.ones((4, 4)), spacing=(1, 1)), "boolean"),
        (lambda: local_thickness(np.eye(4, dtype=bool), spacing=(1,)), "spacing needs 2"),
        (lambda: local_thickness(np.eye(4, dtype=bool), spacing=(1, 1), mask=np.ones((3, 4), bool)), "mask has shape"),
        (lambda: local_thickness(np.eye(4, dtype=bool), spacing=(1, 1), mask=np.eye(4, dtype=bool)), "fills the whole"),
        (lambda: thickness_distribution(np.zeros((3, 3))), "absent"),
    ],
)
def test_refusals(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
