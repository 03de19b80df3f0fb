"""Neighbours, boundaries, shapes and E2627 grain size: bricks, ellipsoids, Poisson-Voronoi theory, periodic frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from microgen.core import InputError
from microgen.stats import grains
from microgen.stats.grain_network import grain_network, triple_junctions_per_um2
from microgen.stats.grain_shapes import e2627, grain_table, whole_grains


def voronoi(seed: int, shape: tuple[int, ...], count: int) -> Any:
    """Periodic Poisson-Voronoi grains."""
    points = np.random.default_rng(seed).uniform(0, shape, (count, len(shape)))
    grid = np.indices(shape).reshape(len(shape), -1).T + 0.5
    return cKDTree(points, boxsize=shape).query(grid)[1].reshape(shape) + 1


def bricks(cell: int, cells: int, ndim: int = 2) -> Any:
    index = np.arange(cell * cells) // cell
    return sum(part * cells**axis for axis, part in enumerate(np.ix_(*[index] * ndim))) + 1


# neighbours and boundaries


def test_bricks_touch_where_they_share_a_side() -> None:
    found = grain_network(bricks(6, 3), spacing=1.0)
    assert sorted(found.neighbours.tolist()) == [2, 2, 2, 2, 3, 3, 3, 3, 4]
    assert found.pairs.shape == (12, 2)
    assert (found.pairs[:, 0] < found.pairs[:, 1]).all()
    wrapped = grain_network(bricks(6, 3), spacing=1.0, periodic=True)
    assert wrapped.neighbours.tolist() == [4] * 9
    cubes = grain_network(bricks(4, 3, ndim=3), spacing=1.0, periodic=True)
    assert cubes.neighbours.tolist() == [6] * 27


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.25)])
@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90])
def test_the_length_of_a_straight_boundary_does_not_depend_on_its_direction(
    spacing: tuple[float, float], degrees: float
) -> None:
    """A pixel count of the staircase would give up to 1.41 of the length."""
    y, x = (axis * step for axis, step in zip(np.indices((400, 400)) - 199.5, spacing, strict=True))
    angle = np.deg2rad(degrees)
    inside = np.hypot(y, x) < 190 * min(spacing)
    grain = np.where(np.cos(angle) * y - np.sin(angle) * x > 0, 2, 1) * inside
    found = grain_network(grain, spacing=spacing)
    truth = 2 * 190 * min(spacing)
    assert found.pairs.tolist() == [[1, 2]]
    assert found.size[0] == pytest.approx(truth, rel=0.08 if spacing[0] == spacing[1] else 0.16)


@pytest.mark.parametrize(("ndim", "side", "count", "theory"), [(2, 512, 256, 2.0), (3, 96, 80, 2.910)])
def test_boundaries_of_poisson_voronoi_grains(ndim: int, side: int, count: int, theory: float) -> None:
    """Meijering (1953): length per area 2 sqrt(N_A), area per volume 2.910 N_V^(1/3); Okabe et al., table 5.5."""
    found = [grain_network(voronoi(s, (side,) * ndim, count), spacing=1.0, periodic=True) for s in range(3)]
    density = (count / side**ndim) ** (1 / ndim)
    assert np.mean([f.per_um for f in found]) == pytest.approx(theory * density, rel=0.02)
    for f in found:
        assert f.size.sum() == pytest.approx(f.per_um * side**ndim, rel=1e-3)
    assert np.mean([f.neighbours.mean() for f in found]) == pytest.approx(6 if ndim == 2 else 15.54, rel=0.03)


def test_boundaries_at_the_frame_are_as_long_as_inside() -> None:
    """Next to the frame fewer steps cross a boundary; the sizes still add up to the length per area."""
    found = grain_network(voronoi(4, (40, 50), 30), spacing=(0.5, 0.25))
    assert found.size.sum() == pytest.approx(found.per_um * 40 * 0.5 * 50 * 0.25, rel=0.01)


def test_triple_points_are_two_for_each_grain() -> None:
    """Euler: of a periodic tessellation of the plane with three edges at each vertex."""
    labels = voronoi(1, (300, 300), 150)
    parts = grains.label_grains(labels, periodic=True)
    found = triple_junctions_per_um2(labels, spacing=0.5, periodic=True) * labels.size * 0.25
    assert found == pytest.approx(2 * parts.max(), abs=6)
    flat = triple_junctions_per_um2(labels, spacing=(1.0, 0.25), periodic=True)
    assert flat * labels.size * 0.25 == pytest.approx(found)
    framed = [triple_junctions_per_um2(voronoi(s, (300, 300), 150), spacing=0.5) for s in range(4)]
    assert np.mean(framed) * labels.size * 0.25 == pytest.approx(300, rel=0.02)


def test_triple_lines_of_bricks_and_of_poisson_voronoi_grains() -> None:
    half = np.kron([[[1, 1, 2, 2], [3, 4, 4, 3]]], np.ones((6, 8, 8), int))
    lines = triple_junctions_per_um2(half, spacing=1.0, periodic=True) * half.size
    assert lines == pytest.approx(2 / 3 * 8 * 6)  # 8 straight lines of 6, and lines along one axis give 2/3 on average
    found = [triple_junctions_per_um2(voronoi(s, (80,) * 3, 60), spacing=1.0, periodic=True) for s in range(3)]
    assert np.mean(found) == pytest.approx(5.832 * (60 / 80**3) ** (2 / 3), rel=0.03)


def test_masks_and_points_without_grain_are_no_neighbours() -> None:
    labels = bricks(6, 3)
    labels[6:12] = 0
    found = grain_network(labels, spacing=1.0)
    assert found.neighbours.tolist() == [1, 1, 2, 2, 1, 1]
    masked = grain_network(bricks(6, 3), spacing=1.0, mask=labels > 0)
    np.testing.assert_array_equal(masked.pairs, found.pairs)
    with pytest.raises(InputError, match="no grain"):
        grain_network(np.zeros((4, 4), int), spacing=1.0)


# shapes


def test_a_square_of_a_few_points_has_the_moments_of_a_square() -> None:
    table = grain_table(bricks(3, 5), spacing=0.5)
    np.testing.assert_allclose(table.axes_um, 4 * 1.5 / np.sqrt(12))  # second moment a^2 / 12


@pytest.mark.parametrize("degrees", [0, 30, 90, 135])
def test_an_ellipse_has_its_axes_and_direction(degrees: float) -> None:
    y, x = (np.indices((200, 200)) - 99.5) * 0.5
    angle = np.deg2rad(degrees)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    table = grain_table(np.where((along / 40) ** 2 + (across / 15) ** 2 < 1, 2, 1), spacing=0.5)
    assert table.axes_um[0] == pytest.approx([80, 30], rel=0.005)
    assert table.aspect_ratio[0] == pytest.approx(8 / 3, rel=0.005)
    assert (table.orientation_deg[0] - degrees + 90) % 180 == pytest.approx(90, abs=0.2)
    assert table.size[0] == pytest.approx(np.pi * 40 * 15, rel=0.003)
    assert table.diameter_um[0] == pytest.approx(2 * np.sqrt(600), rel=0.002)


def test_an_ellipsoid_on_anisotropic_voxels() -> None:
    spacing = (1.0, 0.5, 0.5)
    z, y, x = (
        a * s for a, s in zip(np.indices((60, 90, 90)) - [[[[29.5]]], [[[44.5]]], [[[44.5]]]], spacing, strict=True)
    )
    turned = np.stack([0.6 * y + 0.8 * z, 0.6 * z - 0.8 * y])
    labels = np.where((x / 8) ** 2 + (turned[0] / 18) ** 2 + (turned[1] / 11) ** 2 < 1, 2, 1)
    table = grain_table(labels, spacing=spacing)
    assert table.axes_um[0] == pytest.approx([36, 22, 16], rel=0.01)
    assert np.abs(table.direction[0]) == pytest.approx([0.8, 0.6, 0], abs=0.01)
    assert table.size[0] == pytest.approx(4 / 3 * np.pi * 8 * 18 * 11, rel=0.01)
    assert table.diameter_um[0] == pytest.approx(2 * (8 * 18 * 11) ** (1 / 3), rel=0.005)


@pytest.mark.parametrize(("shape", "count"), [((120, 150), 40), ((40, 36, 30), 20)])
def test_shapes_of_periodic_grains_do_not_depend_on_the_frame(shape: tuple[int, ...], count: int) -> None:
    labels = voronoi(3, shape, count)
    moved = np.roll(labels, [n // 3 for n in shape], range(len(shape)))
    tables = [grain_table(part, spacing=0.5, periodic=True) for part in (labels, moved)]
    assert len(tables[0].size) == len(tables[1].size) >= count
    assert sum(tables[0].size) == pytest.approx(labels.size * 0.5 ** len(shape))
    for one, two in zip(*(np.sort(t.axes_um, axis=0).T for t in tables), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9)
    inside = grain_table(labels, spacing=0.5)
    assert len(inside.size) < count


def test_whole_grains_touch_neither_frame_nor_hole() -> None:
    labels = bricks(8, 5)
    assert whole_grains(labels).tolist() == [7, 8, 9, 12, 13, 14, 17, 18, 19]
    hole = labels == 13
    assert whole_grains(labels, mask=~hole).tolist() == [7, 9, 17, 19]
    assert len(whole_grains(labels, periodic=True)) == 25
    assert 11 not in whole_grains(labels, periodic=True, mask=labels != 15)  # they touch around the frame
    table = grain_table(labels, spacing=1.0, mask=~hole)
    assert table.size.tolist() == [64] * 4


# grain size


def test_e2627_of_bricks() -> None:
    labels = bricks(20, 6)
    labels[25:34, 25:34] = 99  # too small to be measured, but it counts in the mean number of points
    found = e2627(labels, spacing=0.5)
    areas = np.array([100.0] * 15 + [100 - 81 / 4])
    assert found.mean_area_um2 == pytest.approx(areas.mean())
    assert found.count == 16
    assert found.points_per_grain == pytest.approx((areas.sum() * 4 + 81) / 17)
    assert not found.fine_enough
    assert found.weighted_area_um2 == pytest.approx((areas**2).sum() / areas.sum())
    assert found.astm_g == pytest.approx(3.321928 * np.log10(1e6 / areas.mean()) - 2.954)
    assert found.astm_g_ci95[0] <= found.astm_g <= found.astm_g_ci95[1]
    assert e2627(labels, spacing=0.5, smallest=1).count == 17
    assert e2627(bricks(30, 6), spacing=1.0).fine_enough
    assert e2627(bricks(10, 5), spacing=1.0).count == 9  # 100 points are enough


def test_e2627_of_periodic_grains_is_the_area_over_their_number() -> None:
    labels = voronoi(5, (400, 400), 100)
    found = e2627(labels, spacing=0.5, periodic=True, smallest=1)
    assert found.mean_area_um2 == pytest.approx(400, rel=0.03)  # corners of cells may break off
    assert found.weighted_area_um2 / found.mean_area_um2 == pytest.approx(1.28, abs=0.12)  # 1 + variance 0.280
    with pytest.raises(InputError, match="fewer than two whole grains"):
        e2627(labels[:30, :30], spacing=0.5)
    with pytest.raises(InputError, match="section of a volume"):
        e2627(np.ones((4, 4, 4), int), spacing=1.0)


def test_mean_intercept_of_a_volume_is_that_of_its_sections() -> None:
    """Poisson-Voronoi in space: twice the volume per area, 0.687 N_V^(-1/3)."""
    volumes = [voronoi(s, (72, 72, 72), 60) for s in range(3)]
    found = [grains.intercepts(v, spacing=0.5, periodic=True) for v in volumes]
    truth = 2 / 2.910 * (72**3 / 60) ** (1 / 3) * 0.5
    assert np.mean([f.mean_um for f in found]) == pytest.approx(truth, rel=0.04)
    sections = [grains.mean_intercept_um(v[i], spacing=0.5, periodic=True) for v in volumes for i in range(0, 72, 8)]
    assert 1 / np.mean(1 / np.array(sections)) == pytest.approx(truth, rel=0.05)
    with pytest.raises(InputError, match="section of a volume"):
        grains.planimetric(volumes[0], spacing=1.0)


def test_intercepts_with_a_mask_are_unbiased() -> None:
    labels = voronoi(6, (300, 300), 300)
    mask = np.hypot(*(np.indices(labels.shape) - 150)) > 80
    whole, part = (grains.intercepts(labels, spacing=1.0, mask=m) for m in (None, mask))
    assert part.mean_um == pytest.approx(whole.mean_um, rel=0.05)
    assert part.count < whole.count
    np.testing.assert_array_equal(
        grains.intercepts(labels, spacing=1.0, mask=np.ones_like(mask)).mean_um, whole.mean_um
    )
    with pytest.raises(InputError, match="crop"):
        grains.intercepts(labels, spacing=1.0, mask=np.eye(300, k=0, dtype=bool) | np.eye(300, k=1, dtype=bool))
