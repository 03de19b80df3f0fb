"""Synthetic structures: known grain size, fraction and length, periodicity, and seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen.core import InputError
from microgen.stats import grains, spectrum
from microgen.synth import KINDS, polycrystal, spinodal, two_phase


def intercept(seeds: range, size: float, **options: float) -> float:
    """Mean intercept of many structures together."""
    density = []
    for seed in seeds:
        made = polycrystal(seed, (256, 256), (0.5, 0.5), size, **options)
        density.append(1 / grains.mean_intercept_um(made["grain"], spacing=0.5))
    return float(1 / np.mean(density))


@pytest.mark.parametrize("size", [6.0, 12.0])
def test_grains_have_the_mean_intercept_asked_for(size: float) -> None:
    assert intercept(range(12), size) == pytest.approx(size, rel=0.03)


@pytest.mark.parametrize(("ratio", "direction"), [(2.0, 0.0), (3.0, 45.0), (2.0, 90.0)])
def test_elongated_grains_keep_it(ratio: float, direction: float) -> None:
    assert intercept(range(12), 8.0, aspect_ratio=ratio, direction_deg=direction) == pytest.approx(8.0, rel=0.04)


def test_length_and_direction_of_elongated_grains() -> None:
    made = polycrystal(0, (512, 512), (1.0, 1.0), 12.0, aspect_ratio=3.0)["grain"]
    found = grains.directional_intercepts_um(made, spacing=1.0)
    assert found["x"] / found["y"] == pytest.approx(3.0, rel=0.08)
    turned = polycrystal(0, (512, 512), (1.0, 1.0), 12.0, aspect_ratio=3.0, direction_deg=45.0)["grain"]
    assert grains.directional_intercepts_um(turned, spacing=1.0)["down"] == pytest.approx(
        3 * grains.directional_intercepts_um(turned, spacing=1.0)["up"], rel=0.1
    )


def test_grains_of_a_volume() -> None:
    grain = polycrystal(0, (96, 96, 96), (1.0, 1.0, 1.0), 10.0, periodic=True)["grain"]
    density = np.mean([(grain != np.roll(grain, 1, axis)).mean() for axis in range(3)])
    assert 1 / density == pytest.approx(10.0, rel=0.05)


def test_a_periodic_polycrystal_has_no_seam() -> None:
    grain = polycrystal(3, (128, 192), (1.0, 1.0), 12.0, periodic=True)["grain"]
    inside = np.mean([(grain[:, 1:] != grain[:, :-1]).mean(), (grain[1:] != grain[:-1]).mean()])
    seam = np.mean([(grain[:, 0] != grain[:, -1]).mean(), (grain[0] != grain[-1]).mean()])
    assert seam < 2 * inside
    open_ended = polycrystal(3, (128, 192), (1.0, 1.0), 12.0)["grain"]
    assert (open_ended[:, 0] != open_ended[:, -1]).mean() > 0.9


def test_grains_are_numbered_from_one_without_gaps() -> None:
    grain = polycrystal(5, (64, 64), (1.0, 1.0), 9.0)["grain"]
    np.testing.assert_array_equal(np.unique(grain), np.arange(1, grain.max() + 1))


def test_a_finer_grid_shows_the_same_grains() -> None:
    coarse = polycrystal(7, (64, 64), (1.0, 1.0), 12.0)["grain"]
    fine = polycrystal(7, (192, 192), (1 / 3, 1 / 3), 12.0)["grain"]
    same = fine[1::3, 1::3]  # the middle of each block of 3 x 3
    pairs = np.unique(np.stack([coarse.ravel(), same.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(coarse))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), fraction=st.floats(0.01, 0.99), periodic=st.booleans())
def test_fractions_are_exact(seed: int, fraction: float, periodic: bool) -> None:
    for kind in (two_phase, spinodal):
        phase = kind(seed, (40, 33), (1.0, 0.5), fraction, 4.0, periodic=periodic)["phase"]
        assert phase.sum() == round(fraction * phase.size)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("periodic", [True, False])
def test_correlation_length_of_two_phases(fraction: float, periodic: bool) -> None:
    found = [
        spectrum.correlation_length(
            two_phase(seed, (400, 400), (0.5, 0.5), fraction, 4.0, periodic=periodic)["phase"].astype(float),
            spacing=(0.5, 0.5),
            periodic=periodic,
        )
        for seed in range(3)
    ]
    assert np.mean(found) == pytest.approx(4.0, rel=0.04)


def test_wavelength_of_a_spinodal_structure() -> None:
    phase = spinodal(0, (256, 256), (0.5, 0.5), 0.5, 8.0)["phase"].astype(float)
    power = np.abs(np.fft.fft2(phase - phase.mean())) ** 2
    k = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(256, 0.5)]))
    assert 1 / np.average(k[k < 0.2], weights=power[k < 0.2]) == pytest.approx(8.0, rel=0.05)


def test_volumes_of_two_phases() -> None:
    made = two_phase(0, (24, 32, 40), (1.0, 1.0, 1.0), 0.25, 4.0)
    assert made.shape == (24, 32, 40)
    assert made["phase"].mean() == pytest.approx(0.25)
    assert made.phases == ("matrix", "second")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_one_seed_is_one_structure(kind: str) -> None:
    sizes = {
        "polycrystal": {"grain_size_um": 8.0},
        "grown-polycrystal": {"grain_size_um": 12.0},
        "two-phase-like": {"distance_um": [0, 3, 6, 20], "s2": [0.4, 0.25, 0.2, 0.16]},
        "phase-separated": {"fraction": 0.4, "length_um": 14.0},
        "particles": {"fraction": 0.3, "diameter_um": 8.0},
        "fibres": {"fraction": 0.15, "diameter_um": 3.0, "length_um": 14.0},
    }
    size = sizes.get(kind, {"fraction": 0.3, "length_um": 5.0})
    first, again, other = (KINDS[kind](seed, (48, 48), (1.0, 1.0), **size) for seed in (1, 1, 2))
    for name in first.fields:
        np.testing.assert_array_equal(first[name], again[name])
        assert (first[name] != other[name]).any()


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("polycrystal", {"grain_size_um": 0.0}),
        ("polycrystal", {"grain_size_um": np.nan}),
        ("polycrystal", {"grain_size_um": 0.5}),
        ("polycrystal", {"grain_size_um": 5.0, "aspect_ratio": 0.5}),
        ("polycrystal", {"grain_size_um": 500.0, "periodic": True}),
        ("two-phase", {"fraction": 0.0, "length_um": 3.0}),
        ("two-phase", {"fraction": 1.0, "length_um": 3.0}),
        ("spinodal", {"fraction": 0.5, "length_um": -3.0}),
    ],
)
def test_impossible_wishes_are_refused(kind: str, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        KINDS[kind](0, (32, 32), (1.0, 1.0), **wrong)


@pytest.mark.parametrize(("shape", "spacing"), [((32,), (1.0,)), ((32, 32), (1.0,)), ((32, 0), (1.0, 1.0))])
def test_impossible_grids_are_refused(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    with pytest.raises(InputError):
        polycrystal(0, shape, spacing, 5.0)
    with pytest.raises(InputError):
        two_phase(0, shape, spacing, 0.5, 5.0)
