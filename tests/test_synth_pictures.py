"""Rendered pictures and maps show what they were made from, with the noise that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from microgen.core import InputError, Microstructure
from microgen.core.orientations import disorientation_angle
from microgen.synth import polycrystal, render_micrograph
from microgen.synth.backscatter import render_backscatter
from microgen.synth.ebsd_scan import scan_ebsd
from microgen.synth.surface import pits, scratches, uneven
from microgen.synth.textures import crystallise

STEP = (0.25, 0.25)
HALVES = Microstructure({"phase": np.repeat([0, 1], 64)[:, None] * np.ones((1, 128), np.uint8).astype(int)}, STEP)


@pytest.fixture(scope="module")
def crystals() -> Microstructure:
    return crystallise(0, polycrystal(3, (160, 160), STEP, 9.0))


def inside(grain: np.ndarray, margin: int = 6) -> np.ndarray:
    """Points away from boundaries."""
    edge = (ndimage.maximum_filter(grain, 3) != ndimage.minimum_filter(grain, 3)).astype(bool)
    return ndimage.distance_transform_edt(~edge) > margin


def test_backscatter_keeps_the_levels_of_phases_and_counts_electrons() -> None:
    made = render_backscatter(0, HALVES, levels=(60, 180), counts=50, pits_per_mm2=0)["intensity"].astype(float)
    for rows, level in ((slice(4, 60), 60), (slice(68, 124), 180)):
        part = made[rows] / ndimage.gaussian_filter(made[rows], 12)  # without the uneven light
        assert made[rows].mean() == pytest.approx(level, rel=0.08)
        assert part.std() ** 2 == pytest.approx(128 / 50 / level + 0.01**2 + 1 / 12 / level**2, rel=0.15)


def test_channelling_follows_the_orientation(crystals: Microstructure) -> None:
    made = render_backscatter(0, crystals, counts=1e5, pits_per_mm2=0)["intensity"].astype(float)
    within = inside(crystals["grain"], 3)
    means = ndimage.mean(made[within], crystals["grain"][within], np.unique(crystals["grain"][within]))
    spread = ndimage.standard_deviation(made[within], crystals["grain"][within], np.unique(crystals["grain"][within]))
    assert means.std() > 10 > 2 * np.median(spread)
    turned = crystals.with_fields(orientation=np.roll(crystals["orientation"], 1, axis=-1))
    other = render_backscatter(0, turned, counts=1e5, pits_per_mm2=0)["intensity"]
    assert np.abs(other - made).mean() > 5
    assert render_backscatter(0, crystals, channelling=0, counts=1e5, pits_per_mm2=0)["intensity"].std() < 8


def test_optical_phases_differ_and_meet_in_a_groove() -> None:
    made = render_micrograph(0, HALVES)["intensity"].astype(float)
    assert made[8:56].mean() - made[72:120].mean() == pytest.approx(140, abs=12)
    assert made[62:66].mean(axis=1).min() < made[100:120].mean() - 10
    assert np.median(render_micrograph(0, HALVES, scratches_per_mm2=2e4)["intensity"]) < np.median(made)


def test_scan_has_the_noise_asked_for(crystals: Microstructure) -> None:
    made = scan_ebsd(1, crystals, noise_deg=0.5, not_indexed=0.02, wrong=0.01, pits_per_mm2=0)
    within = inside(crystals["grain"])
    assert 1 - made["mask"][within].mean() == pytest.approx(0.02, abs=0.006)
    indexed = within & (made["mask"] == 1)
    angle = np.rad2deg(
        disorientation_angle(
            made["orientation"][indexed], crystals["orientation"][indexed], next(iter(crystals.crystals.values()))
        )
    )
    assert (angle > 5).mean() == pytest.approx(0.01, abs=0.004)
    right = angle[angle < 5]
    assert np.sqrt((right**2).mean()) == pytest.approx(0.5 * np.sqrt(3), rel=0.03)  # three axes
    np.testing.assert_array_equal(made["phase"] == 0, made["mask"] == 0)
    assert (made["orientation"][made["mask"] == 0] == (1, 0, 0, 0)).all()


def test_boundaries_are_darker_and_less_often_indexed(crystals: Microstructure) -> None:
    made = scan_ebsd(0, crystals)
    within = inside(crystals["grain"])
    edge = ~inside(crystals["grain"], 1)
    contrast = made["band_contrast"].astype(float)
    assert contrast[edge].mean() < contrast[within].mean() - 30
    assert made["mask"][edge].mean() < made["mask"][within].mean() - 0.1


def test_scan_at_a_coarser_step(crystals: Microstructure) -> None:
    made = scan_ebsd(0, crystals, step_um=1.0)
    assert made.spacing == (1.0, 1.0)
    np.testing.assert_array_equal(made["grain"], crystals["grain"][::4, ::4])
    with pytest.raises(InputError, match="whole multiple"):
        scan_ebsd(0, crystals, step_um=0.6)


def test_same_seed_same_picture(crystals: Microstructure) -> None:
    for make in (render_backscatter, scan_ebsd):
        one, two, three = (make(seed, crystals) for seed in (4, 4, 5))
        assert all(np.array_equal(one[name], two[name]) for name in one.fields)
        assert any(not np.array_equal(one[name], three[name]) for name in one.fields)


def test_flaws_come_at_their_density() -> None:
    counts = [ndimage.label(pits(np.random.default_rng(s), (400, 400), 0.1, 3000.0) > 0.05)[1] for s in range(12)]
    assert np.mean(counts) == pytest.approx(3000 * 0.04**2, rel=0.35)
    depth = scratches(np.random.default_rng(0), (200, 200), 0.5, 3000.0)
    assert 0 <= depth.min() <= depth.max() <= 1
    assert 0.005 < (depth > 0.2).mean() < 0.3
    light = uneven(np.random.default_rng(0), (64, 64), 0.05)
    assert np.abs(np.diff(light, axis=0)).max() < 0.02


def test_what_cannot_be_drawn_is_refused(crystals: Microstructure) -> None:
    volume = Microstructure({"grain": np.ones((3, 4, 5), int)}, (1, 1, 1))
    gray = Microstructure({"intensity": np.ones((4, 5))}, (1, 1))
    for make in (render_micrograph, render_backscatter, scan_ebsd):
        with pytest.raises(InputError, match="section"):
            make(0, volume)
        with pytest.raises(InputError, match="needs"):
            make(0, gray)
    with pytest.raises(InputError, match="levels"):
        render_backscatter(0, HALVES, levels=(3,))
