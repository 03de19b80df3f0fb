"""Overlaps: planted ones are found with their shift, independent pictures are not joined."""

from __future__ import annotations

import io
import runpy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from microgen.data import overlap
from microgen.data.overlap import View, content, find_overlaps, groups, pairs_to_compare

etched = runpy.run_path(str(Path(__file__).with_name("data_fakes.py")))["etched"]


def views(*pictures, spacing=1.0):
    return [View.of(str(k), p, (spacing, spacing)) for k, p in enumerate(pictures)]


@pytest.fixture(scope="module")
def field():
    return etched(5, (600, 600))


@pytest.mark.parametrize("shift", [(0, 150), (-110, 40), (60, -170), (185, 0), (-150, -120)])
def test_stage_steps_are_found_with_their_shift(field, shift):
    """Two windows of 200 x 200 of one field, the second retaken with other noise, contrast and shading."""
    y, x = 200, 200
    first = field[y : y + 200, x : x + 200]
    second = field[y + shift[0] : y + shift[0] + 200, x + shift[1] : x + shift[1] + 200]
    rng = np.random.default_rng(1)
    retaken = 40 + 0.6 * second + rng.normal(0, 8, second.shape) + np.linspace(0, 60, 200)
    (found,) = find_overlaps(views(first, retaken, spacing=0.5))
    assert (found.first, found.second) == ("0", "1")
    np.testing.assert_allclose(found.shift_um, np.array(shift) * 0.5, atol=0.5)
    assert found.share == pytest.approx((200 - abs(shift[0])) * (200 - abs(shift[1])) / 200**2, rel=0.05)
    assert not found.duplicate


def test_duplicates_are_found_after_recompression(field):
    first = field[:200, :200]
    buffer = io.BytesIO()
    Image.fromarray((first * 0.8 + 20).astype(np.uint8)).save(buffer, "JPEG", quality=40)
    (found,) = find_overlaps(views(first, np.asarray(Image.open(buffer))))
    assert found.duplicate
    assert found.shift_um == (0, 0)


def test_one_place_at_two_magnifications_is_found(field):
    coarse = View.of("coarse", field.reshape(300, 2, 300, 2).mean((1, 3)), (1.0, 1.0))
    fine = View.of("fine", field[100:300, 200:420], (0.5, 0.5))
    (found,) = find_overlaps([coarse, fine])
    np.testing.assert_allclose(found.shift_um, (50, 100), atol=2)


@pytest.mark.parametrize("scale", [0.0, 2.0, 6.0, 15.0])
def test_independent_textures_are_kept_apart(scale):
    made = [ndimage.gaussian_filter(np.random.default_rng(k).normal(size=(220, 220)), scale) for k in range(5)]
    assert find_overlaps(views(*made)) == []


@pytest.mark.parametrize("grain_px", [8.0, 20.0, 50.0])
def test_independent_grain_structures_are_kept_apart(grain_px):
    assert find_overlaps(views(*(etched(k, (220, 220), grain_px=grain_px) for k in range(5)))) == []


def test_equal_shading_is_not_an_overlap():
    shade = np.add.outer(np.linspace(0, 200, 220), np.linspace(0, 100, 220))
    made = [shade + np.random.default_rng(k).normal(0, 5, (220, 220)) for k in range(2)]
    assert find_overlaps(views(*made)) == []


def test_duplicates_of_a_lattice_are_found():
    lattice = np.add.outer(np.sin(np.arange(200) / 3), np.sin(np.arange(200) / 3))
    (found,) = find_overlaps(views(lattice, lattice + np.random.default_rng(0).normal(0, 0.1, lattice.shape)))
    assert found.duplicate


def test_tiny_pictures_are_not_compared():
    tiny = np.random.default_rng(0).random((10, 200))
    assert find_overlaps(views(tiny, tiny)) == []


def test_copies_far_apart_are_found_beyond_the_limit(monkeypatch):
    """Noisy, darker copies at both ends of a folder are found by their thumbnails when no other pair is looked at."""
    made = [etched(k, (200, 220)) for k in range(12)]
    rng = np.random.default_rng(0)
    made[11] = (0.6 * made[0] + rng.normal(10, 5, made[0].shape)).clip(0, 255).astype(np.uint8)
    made[6] = (0.8 * made[2] + rng.normal(10, 5, made[0].shape)).clip(0, 255).astype(np.uint8)
    monkeypatch.setattr(overlap, "MAX_PAIRS", 3)
    said = []
    found = find_overlaps(views(*made), warn=said.append)
    assert [(o.first, o.second, o.duplicate) for o in found] == [("0", "11", True), ("2", "6", True)]
    assert len(said) == 1
    assert "12 images are too many" in said[0]


def test_many_copies_need_few_comparisons(field, monkeypatch):
    """A copy is not compared any further, so a chain of seven is within a limit of six."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(overlap, "MAX_PAIRS", 6)
    said = []
    found = find_overlaps(
        views(*(field[:200, :200] + rng.normal(0, 6, (200, 200)) for _ in range(7))), warn=said.append
    )
    assert len(found) == 6
    assert len(set(groups([str(k) for k in range(7)], [(o.first, o.second) for o in found]).values())) == 1
    assert said == []


def test_thumbnails_tell_different_places_apart():
    """All pairs of independent pictures stay far from what counts as alike, shading or not."""
    shade = np.add.outer(np.linspace(0, 100, 220), np.zeros(220))
    made = views(*(etched(k, (220, 220)) + shade for k in range(30)))
    assert list(overlap.pairs_alike(made)) == []
    assert list(overlap.pairs_alike([])) == []


def test_thumbnails_of_all_pairs_are_compared():
    """Copies at any two places of 600 pictures are the only pairs, the better copy first."""
    rng = np.random.default_rng(0)
    made = rng.normal(size=(600, 32, 32))
    made[599] = made[3] + 0.1 * rng.normal(size=(32, 32))
    made[300] = made[290] + 0.3 * rng.normal(size=(32, 32))
    made[511] = 5 + 2 * made[257]
    assert list(overlap.pairs_alike(views(*made))) == [(257, 511), (3, 599), (290, 300)]


def test_content_is_type_shape_and_values():
    a = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert content(a) == content(np.asfortranarray(a)) == content(a.copy())
    others = [a.T, a.reshape(3, 2), a.astype(np.uint16), a.view(np.int8), a + np.uint8(1)]
    assert len({content(a), *map(content, others)}) == 6


def test_pairs_near_in_a_folder_come_first_and_are_limited(monkeypatch):
    names = [f"{folder}/{k}" for folder in "ab" for k in range(4)]
    pairs = pairs_to_compare(names)
    assert len(pairs) == 8 * 7 // 2
    assert set(pairs[:6]) == set(pairwise(range(4))) | set(pairwise(range(4, 8)))
    monkeypatch.setattr(overlap, "MAX_PAIRS", 6)
    assert len(pairs_to_compare(names)) == 6


def test_groups_join_chains():
    assert groups("abcde", [("d", "e"), ("b", "a"), ("a", "d")]) == {"a": "a", "b": "a", "c": "c", "d": "a", "e": "a"}


def test_real_stage_steps(shared_data):
    """The note of the data set: neighbouring images of steel 1 overlap; other steels are different places."""
    folder = shared_data / "steel_optical_grains"
    if not folder.is_dir():
        pytest.skip("no steels")
    names = ["1-200_G9.40/1-200_(1).jpg", "1-200_G9.40/1-200_(2).jpg", "1-200_G9.40/1-200_(3).jpg"]
    names += ["304-200/SUS304_200_2.jpg", "304-200/SUS304_200_4.jpg"]
    made = [View.of(n, np.asarray(Image.open(folder / n).convert("L")), (0.3698, 0.3698)) for n in names]
    found = find_overlaps(made)
    assert [(o.first, o.second) for o in found] == [(names[0], names[1]), (names[1], names[2])]
    assert [round(o.share, 2) for o in found] == [0.01, 0.28]
