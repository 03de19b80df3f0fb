"""Grain size: closed forms, Poisson-Voronoi truths, invariants, and NIST's hand-drawn boundaries."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage, stats
from scipy.spatial import cKDTree

from microgen.core import InputError
from microgen.stats import grains
from microgen.stats.grain_shapes import grain_table

SIDE, COUNT = 1024, 400
TRUE_INTERCEPT = np.pi / 4 * np.sqrt(SIDE**2 / COUNT)  # Poisson-Voronoi, Meijering 1953
TRUE_G = 5.621  # 400 grains on 1024 um x 1024 um, ASTM E112


def voronoi(seed: int, *, side: int = SIDE, count: int = COUNT) -> NDArray[np.int64]:
    """Periodic Poisson-Voronoi cells, numbered from 1."""
    points = np.random.default_rng(seed).uniform(0, side, (count, 2))
    grid = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2) + 0.5
    return np.asarray(cKDTree(points, boxsize=side).query(grid)[1]).reshape(side, side) + 1


def outline(labels: NDArray[np.int64], thickness: int) -> NDArray[np.bool_]:
    """Boundary mask of lines of 1, 3, 5 ... pixels."""
    mask = np.zeros(labels.shape, dtype=bool)
    mask[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    mask[:-1] |= labels[:-1] != labels[1:]
    return mask if thickness == 1 else ndimage.binary_dilation(mask, np.ones((thickness, thickness)))


def chessboard(cell: int, cells: int) -> NDArray[np.int64]:
    index = np.arange(cell * cells) // cell
    return np.add.outer(index * cells, index) + 1


@pytest.fixture(scope="module")
def structures() -> list[NDArray[np.int64]]:
    return [voronoi(seed) for seed in range(3)]


@pytest.mark.parametrize("thickness", [1, 3])
def test_planimetric_number_of_400_grains(structures: list[NDArray[np.int64]], thickness: int) -> None:
    found = [grains.planimetric(outline(s, thickness), spacing=1.0).astm_g for s in structures]
    assert found == pytest.approx([TRUE_G] * 3, abs=0.03)
    assert np.mean(found) == pytest.approx(TRUE_G, abs=0.015)


def test_periodic_count(structures: list[NDArray[np.int64]]) -> None:
    found = [grains.planimetric(s, spacing=1.0, periodic=True).count for s in structures]
    assert found == pytest.approx([COUNT] * 3, abs=2)  # sharp corners of cells may break off on the pixel grid


def test_intercept_of_poisson_voronoi_cells(structures: list[NDArray[np.int64]]) -> None:
    found = [grains.mean_intercept_um(s, spacing=1.0, periodic=True) for s in structures]
    assert np.mean(found) == pytest.approx(TRUE_INTERCEPT, rel=0.01)  # three samples scatter by 0.9 %


@pytest.mark.parametrize(("thickness", "tolerance"), [(1, 0.003), (3, 0.013)])
def test_lines_of_any_thickness_are_crossed_once(
    structures: list[NDArray[np.int64]], thickness: int, tolerance: float
) -> None:
    for cells in structures:
        truth = grains.mean_intercept_um(cells, spacing=1.0)
        assert grains.mean_intercept_um(outline(cells, thickness), spacing=1.0) == pytest.approx(truth, rel=tolerance)


def test_mean_intercept_needs_no_correction_on_small_crops(structures: list[NDArray[np.int64]]) -> None:
    cells = structures[0]
    whole = grains.mean_intercept_um(cells, spacing=1.0)
    tiles = cells.reshape(8, 128, 8, 128).swapaxes(1, 2).reshape(-1, 128, 128)
    density = np.mean([1 / grains.mean_intercept_um(tile, spacing=1.0) for tile in tiles])
    assert 1 / density == pytest.approx(whole, rel=0.01)


def test_confidence_interval_holds_the_truth() -> None:
    inside = 0
    for seed in range(40):
        found = grains.intercepts(voronoi(seed, side=280, count=122), spacing=1.0)
        low, high = found.ci95_um
        assert low < found.mean_um < high
        inside += low < np.pi / 4 * np.sqrt(280**2 / 122) < high
    assert 34 <= inside <= 40  # 38 expected


def test_the_interval_is_students_over_the_quarters() -> None:
    """A picture too small for more fields than 2 x 2, with a mask; fields count by their length of test line."""
    cells, mask = voronoi(3, side=90, count=12), np.ones((90, 90), dtype=bool)
    mask[:30, :30] = False
    found = grains.intercepts(cells, spacing=0.5, mask=mask)
    numbers = []
    for part, known in (
        (cells[q], mask[q]) for q in (np.s_[:45, :45], np.s_[:45, 45:], np.s_[45:, :45], np.s_[45:, 45:])
    ):
        pairs = [
            (part[:, 1:] != part[:, :-1], known[:, 1:] & known[:, :-1]),
            (part[1:] != part[:-1], known[1:] & known[:-1]),
        ]
        numbers.append([sum((a & b).sum() for a, b in pairs), sum(b.sum() for _, b in pairs) * 0.5])
    count, length = np.array(numbers).T
    rest = count - length / found.mean_um
    relative = np.std(rest, ddof=1) / length.mean() * found.mean_um
    half = stats.t.ppf(0.975, 3) * relative / 2
    assert found.n == 4
    assert found.std_um == pytest.approx(found.mean_um * relative)
    assert found.ci95_um == pytest.approx((found.mean_um / (1 + half), found.mean_um / (1 - half)))


@pytest.mark.parametrize("cell", [2, 5, 10])
def test_closed_form_of_squares(cell: int) -> None:
    found = grains.intercepts(chessboard(cell, 6), spacing=0.5, periodic=True)
    assert found.mean_um == pytest.approx(cell / 2)
    assert found.count == 2 * 6 * 6 * cell
    assert found.astm_g == pytest.approx(-6.643856 * np.log10(cell / 2000) - 3.288)


def test_rectangle_count_of_squares_that_are_cut() -> None:
    board = chessboard(10, 8)[5:-5, 5:-5]  # 6 x 6 whole squares, 24 halves, 4 quarters
    found = grains.planimetric(board, spacing=1.0)
    assert found.count == 36 + 12 + 1
    assert found.mean_um == pytest.approx(10)
    assert found.astm_g == pytest.approx(3.321928 * np.log10(1e4) - 2.954)


def test_lines_that_end_inside_a_grain_are_not_counted() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[:, 20] = True
    whole = grains.mean_intercept_um(mask, spacing=1.0)
    mask[20, 25:35] = True
    assert grains.mean_intercept_um(mask, spacing=1.0) == whole


def test_directions_of_stripes() -> None:
    stripes = np.repeat(np.arange(1, 11), 10)[None].repeat(100, axis=0)
    found = grains.directional_intercepts_um(stripes, spacing=0.2)
    assert found["x"] == pytest.approx(99 * 0.2 / 9)
    assert found["y"] == np.inf
    assert found["down"] == pytest.approx(np.sqrt(2) * found["x"])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100), turns=st.integers(1, 3))
def test_size_scales_with_the_pixel_and_does_not_turn(seed: int, scale: float, turns: int) -> None:
    cells = voronoi(seed, side=96, count=30)
    one = grains.intercepts(cells, spacing=1.0)
    other = grains.intercepts(np.rot90(cells, turns), spacing=(scale, scale))
    assert other.mean_um == pytest.approx(one.mean_um * scale)
    assert other.astm_g == pytest.approx(one.astm_g - 6.643856 * np.log10(scale))


def test_rows_and_columns_have_their_own_spacing() -> None:
    board = chessboard(10, 6)
    tall = grains.directional_intercepts_um(board, spacing=(2.0, 1.0))
    assert tall["y"] == pytest.approx(2 * tall["x"])


def test_local_size_map_follows_a_change_of_size() -> None:
    fine, coarse = voronoi(1, side=256, count=256), voronoi(2, side=256, count=64) + 1000
    both = np.hstack([fine, coarse])
    found = grains.local_size_map(both, spacing=0.5, window_um=30.0)
    assert found.shape == both.shape
    assert found.dtype == np.float32
    assert np.median(found[:, 40:200]) == pytest.approx(np.pi / 4 * 8, rel=0.05)
    assert np.median(found[:, 312:472]) == pytest.approx(np.pi / 4 * 16, rel=0.08)


def test_local_size_map_agrees_with_the_scalar(structures: list[NDArray[np.int64]]) -> None:
    found = grains.local_size_map(structures[0], spacing=1.0, window_um=200.0)
    assert 1 / np.mean(1 / found) == pytest.approx(grains.mean_intercept_um(structures[0], spacing=1.0), rel=0.01)


def test_table_of_whole_grains() -> None:
    cells = np.ones((120, 120), dtype=int)
    y, x = np.mgrid[:120, :120] - 60.3
    along, across = x * np.cos(0.5) + y * np.sin(0.5), y * np.cos(0.5) - x * np.sin(0.5)
    cells[(along / 40) ** 2 + (across / 20) ** 2 < 1] = 2
    found = grain_table(cells, spacing=0.5)
    assert found.size == pytest.approx([np.pi * 20 * 10], rel=0.01)
    assert found.diameter_um == pytest.approx([2 * np.sqrt(200)], rel=0.01)
    assert found.aspect_ratio == pytest.approx([2], rel=0.02)
    assert found.orientation_deg == pytest.approx([np.rad2deg(0.5)], abs=1)


def test_whole_intercepts_only() -> None:
    lengths = grains.intercept_lengths_um(chessboard(10, 5), spacing=0.5)
    assert (lengths == 5).all()
    assert len(lengths) == 2 * 50 * 3


def test_a_picture_of_one_grain_gives_a_finite_lower_bound() -> None:
    assert grains.mean_intercept_um(np.ones((20, 40), dtype=int), spacing=0.5) == 30
    with pytest.raises(InputError, match="no grain boundary"):
        grains.intercepts(np.ones((20, 40), dtype=int), spacing=0.5)


def test_a_picture_one_pixel_high_has_lines_along_x_only() -> None:
    line = np.array([[1, 1, 2, 2, 3, 3, 3]])
    assert grains.mean_intercept_um(line, spacing=0.5) == pytest.approx(6 * 0.5 / 2)
    assert grains.mean_intercept_um(line.T, spacing=0.5) == pytest.approx(6 * 0.5 / 2)
    known = np.eye(4, 7, dtype=bool)  # no two neighbours of which both are known
    assert grains.mean_intercept_um(np.repeat(line, 4, axis=0), spacing=1.0, mask=known) == 4 + 7


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.ones(4, dtype=int), np.ones((4, 4), dtype=bool)])
def test_unusable_pictures_are_refused(bad: NDArray[np.generic]) -> None:
    with pytest.raises(InputError):
        grains.mean_intercept_um(bad, spacing=1.0)


@pytest.mark.parametrize("spacing", [0.0, -1.0, np.nan, (1.0, 0.0)])
def test_unusable_spacings_are_refused(spacing: float) -> None:
    with pytest.raises(InputError, match="spacing"):
        grains.mean_intercept_um(chessboard(4, 4), spacing=spacing)


def test_nist_hand_drawn_boundaries(shared_data: Path) -> None:
    """NIST's mean segment, on E112's pattern of lines and circles, is 39.5 px: boundary thickness left out.

    Its grid of lines gives 37.2 px with the same 10.7 % of the area under boundaries left out, 41 px with it.
    """
    from PIL import Image

    folder = shared_data / "nist_gsat_steel"
    mask = np.asarray(Image.open(folder / "grains_steel_highlighted_segmented.tif")) > 0
    with (folder / "grains_steel_highlighted_distances_e112.csv").open() as stream:
        segments = [float(row[1]) for row in list(csv.reader(stream))[1:]]
    found = grains.mean_intercept_um(mask, spacing=1.0)
    assert found == pytest.approx(np.mean(segments), rel=0.05)
