"""Spectrum, correlation length, structure tensor, phase fraction and surface: closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from microgen.core import InputError
from microgen.stats import (
    correlation_length,
    local_direction,
    mean_chord_length,
    phase_fraction,
    power_spectrum,
    specific_surface,
    structure_tensor,
)


def smooth(seed: int, shape: tuple[int, ...], sigma: Any) -> Any:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma, mode="wrap")


# power spectrum


@pytest.mark.parametrize("shape", [(64, 48), (63, 49), (48, 40, 35)])
def test_the_spectrum_holds_the_whole_variance(shape: tuple[int, ...]) -> None:
    """Parseval: white noise has density variance * cell volume at every frequency."""
    values = np.random.default_rng(0).normal(size=shape)
    step = 0.5
    curve = power_spectrum(values, spacing=(step,) * len(shape), periodic=True)
    expected = values.var() * step ** len(shape)
    assert np.average(curve.y, weights=curve.x ** (len(shape) - 1)) == pytest.approx(expected, rel=0.03)


def test_the_spectrum_of_smoothed_noise_is_gaussian() -> None:
    sigma, step = 4.0, 0.25
    curve = power_spectrum(smooth(1, (512, 512), sigma), spacing=(step, step), periodic=True)
    kept = curve.x < 0.4
    expected = step**2 * np.exp(-((2 * np.pi * curve.x * sigma * step) ** 2))
    ratio = curve.y[kept] / expected[kept]
    assert ratio[5:].mean() == pytest.approx(1, abs=0.03)


def test_the_window_keeps_the_frame_out() -> None:
    """A ramp jumps at a periodic frame; without the window it would drown a weak wave of 4 pixels."""
    x = np.arange(128.0) * np.ones((128, 1))
    values = x + 0.05 * np.sin(2 * np.pi * x / 4)
    framed = power_spectrum(values, spacing=(1, 1))
    wrapped = power_spectrum(values, spacing=(1, 1), periodic=True)
    near, beside = (np.abs(framed.x - 0.25) < 0.01), (np.abs(framed.x - 0.33) < 0.01)
    assert framed.y[near].max() > 100 * framed.y[beside].max()
    assert wrapped.y[near].max() < 100 * wrapped.y[beside].max()


# correlation length


@pytest.mark.parametrize("periodic", [True, False])
def test_correlation_length_of_smoothed_noise(periodic: bool) -> None:
    """Auto-covariance exp(-r^2 / 4 sigma^2) is 1/e at 2 sigma."""
    found = correlation_length(smooth(2, (512, 512), 5.0), spacing=(0.2, 0.2), periodic=periodic)
    assert found == pytest.approx(2 * 5.0 * 0.2, rel=0.04)


def test_correlation_length_of_integers_and_booleans_is_that_of_numbers() -> None:
    gray = np.clip(128 + 400 * smooth(3, (128, 128), 3.0), 0, 255).astype(np.uint8)
    one = correlation_length(gray, spacing=(1, 1))
    assert one == pytest.approx(correlation_length(gray.astype(float) * 7 + 1000, spacing=(1, 1)), rel=1e-3)
    assert correlation_length(gray > 128, spacing=(1, 1)) < one


def test_correlation_length_obeys_the_mask() -> None:
    field = smooth(4, (256, 256), 4.0)
    broken, mask = field.copy(), np.ones(field.shape, bool)
    broken[100:140], mask[100:140] = 50.0, False
    assert correlation_length(broken, spacing=(1, 1), mask=mask) == pytest.approx(8, rel=0.15)
    assert correlation_length(broken, spacing=(1, 1)) > 12


def test_fields_without_a_correlation_length_say_so() -> None:
    with pytest.raises(InputError, match="constant"):
        correlation_length(np.ones((16, 16)), spacing=(1, 1))
    with pytest.raises(InputError, match="still correlated"):
        correlation_length(np.arange(64.0)[:, None] * np.ones(8), spacing=(1, 1))


# structure tensor


@pytest.mark.parametrize("angle", [0, 20, 45, 90, 133, 179])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.8)])
def test_direction_of_stripes(angle: float, spacing: tuple[float, float]) -> None:
    y, x = (np.indices((96, 96)).T * spacing).T
    across = x * np.sin(np.deg2rad(angle)) - y * np.cos(np.deg2rad(angle))
    found = structure_tensor(np.sin(across), spacing=spacing)
    off = (found.direction_deg - angle + 90) % 180 - 90
    assert abs(off) < 0.7
    assert found.anisotropy > 0.99


def test_isotropic_noise_has_no_direction() -> None:
    found = structure_tensor(smooth(5, (512, 512), 2.0), spacing=(1, 1), periodic=True)
    assert found.anisotropy < 0.03
    assert found.aspect_ratio == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("stretch", [1.5, 3.0])
def test_aspect_ratio_is_the_stretch(stretch: float) -> None:
    values = smooth(6, (512, 512), (5.0, 5.0 * stretch))
    found = structure_tensor(values, spacing=(1, 1), periodic=True)
    assert found.aspect_ratio == pytest.approx(stretch, rel=0.06)
    assert min(found.direction_deg, 180 - found.direction_deg) < 3


def test_volumes_have_anisotropy_but_no_single_angle() -> None:
    found = structure_tensor(smooth(7, (40, 40, 40), (2, 2, 6)), spacing=(1, 1, 1), periodic=True)
    assert 0.6 < found.anisotropy < 0.9
    with pytest.raises(InputError, match="sections"):
        _ = found.direction_deg


def test_gradients_that_see_masked_points_do_not_count() -> None:
    stripes = np.sin(np.arange(80) / 2) * np.ones((80, 1))
    spoiled, mask = stripes.copy(), np.ones((80, 80), bool)
    spoiled[30:50], mask[30:50] = 100.0, False
    found = structure_tensor(spoiled, spacing=(1, 1), mask=mask)
    assert found.direction_deg == pytest.approx(90, abs=0.1)
    assert structure_tensor(spoiled, spacing=(1, 1)).direction_deg == pytest.approx(0, abs=1)
    with pytest.raises(InputError, match="no point"):
        structure_tensor(stripes, spacing=(1, 1), mask=np.zeros((80, 80), bool))


def test_local_direction_follows_the_picture() -> None:
    y, x = np.indices((128, 128))
    values = np.where(x < 64, np.sin(y / 2), np.sin(x / 2))
    direction, anisotropy = local_direction(values, spacing=(0.5, 0.5), window_um=8)
    left, right = direction[:, :48], direction[:, 80:]
    assert np.abs((left + 90) % 180 - 90).max() < 3
    assert np.abs(right - 90).max() < 3
    assert anisotropy[:, 20].min() > 0.9
    with pytest.raises(InputError, match="picture"):
        local_direction(np.zeros((4, 4, 4)), spacing=(1, 1, 1), window_um=2)


# phase fraction and surface


def test_fraction_counts_valid_points_only() -> None:
    region = np.array([[True, True, False, False]])
    assert phase_fraction(region, mask=np.array([[True, True, True, False]])) == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="no valid point"):
        phase_fraction(region, mask=np.zeros((1, 4), bool))


@pytest.mark.parametrize("radius", [10.3, 20.7, 40.2])
def test_outline_of_a_disc(radius: float) -> None:
    y, x = np.indices((100, 100)) - 49.6
    surface = specific_surface(y**2 + x**2 < radius**2, spacing=(0.5, 0.5), periodic=True) * (100 * 0.5) ** 2
    assert surface == pytest.approx(2 * np.pi * radius * 0.5, rel=0.02)


@pytest.mark.parametrize("radius", [10.3, 20.7])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (0.8, 1.0, 1.1)])
def test_surface_of_a_ball(radius: float, spacing: tuple[float, float, float]) -> None:
    grid = (np.indices((64, 64, 64)).T - 31.6).T
    distance2 = sum((g * s) ** 2 for g, s in zip(grid, spacing, strict=True))
    surface = specific_surface(distance2 < radius**2, spacing=spacing, periodic=True) * 64**3 * np.prod(spacing)
    assert surface == pytest.approx(4 * np.pi * radius**2, rel=0.015)


def test_flat_surfaces_along_the_axes_are_the_stated_worst_case() -> None:
    flat = np.zeros((64, 64), bool)
    flat[:32] = True
    assert specific_surface(flat, spacing=(1, 1), periodic=True) * 32 == pytest.approx(0.948, abs=1e-3)
    block = np.zeros((16, 16, 16), bool)
    block[:8] = True
    assert specific_surface(block, spacing=(1, 1, 1), periodic=True) * 8 == pytest.approx(0.9266, abs=1e-3)


def test_surface_without_wrap_is_unbiased_and_obeys_the_mask() -> None:
    region = smooth(8, (400, 400), 4.0) > 0
    whole = specific_surface(region, spacing=(1, 1), periodic=True)
    assert specific_surface(region, spacing=(1, 1)) == pytest.approx(whole, rel=0.01)
    mask = np.zeros(region.shape, bool)
    mask[50:250, 20:300] = True
    cropped = specific_surface(region[50:250, 20:300], spacing=(1, 1))
    assert specific_surface(region, spacing=(1, 1), mask=mask) == pytest.approx(cropped, rel=1e-12)
    with pytest.raises(InputError, match="no pair"):
        specific_surface(region, spacing=(1, 1), mask=np.zeros(region.shape, bool))


def test_a_random_field_has_its_closed_form_surface() -> None:
    """Level cut of a Gaussian field at zero: outline per area = 1 / (2 sigma) / sqrt(2) (Rice)."""
    sigma = 6.0
    found = np.mean([specific_surface(smooth(s, (512, 512), sigma) > 0, spacing=(1, 1), periodic=True) for s in (1, 2)])
    assert found == pytest.approx(1 / (2 * np.sqrt(2) * sigma), rel=0.03)


def test_mean_chord_and_surface_agree() -> None:
    """Stereology: mean chord = pi * fraction / outline per area, for an isotropic structure."""
    region = smooth(9, (512, 512), 5.0) > 0.05
    chord = mean_chord_length(region, spacing=(1, 1), periodic=True)
    surface = specific_surface(region, spacing=(1, 1), periodic=True)
    assert chord * surface / (np.pi * region.mean()) == pytest.approx(1, abs=0.03)
