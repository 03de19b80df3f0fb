"""Phase fields against closed forms: curvature flow, the flat interface, linear growth of waves, conservation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from microgen.core import InputError
from microgen.physics.cahn_hilliard import cahn_hilliard, characteristic_length_um, energy
from microgen.physics.grain_growth import grow

ONE = (1.0, 1.0)


@pytest.mark.parametrize("step_um", [1.5, 3.0])
def test_a_disc_shrinks_by_its_curvature(step_um: float) -> None:
    """dA/dt = -2 pi M whatever the radius; a step of width s has M t = s^2 / 2."""
    y, x = np.mgrid[:128, :128] - 63.5
    disc = 1 + (x**2 + y**2 < 40**2).astype(int)
    areas = [int((g == 2).sum()) for g in itertools.islice(grow(disc, spacing=ONE, step_um=step_um), 60)]
    assert -np.diff(areas).mean() == pytest.approx(np.pi * step_um**2, rel=0.03)


def test_a_ball_shrinks_by_its_curvature() -> None:
    """dA/dt = -8 pi M for the surface, so d(r^2)/dt = -4 M."""
    axes = np.mgrid[:48, :48, :48] - 23.5
    ball = 1 + ((axes**2).sum(0) < 18**2).astype(int)
    volumes = [int((g == 2).sum()) for g in itertools.islice(grow(ball, spacing=(1.0, 1.0, 1.0), step_um=2.0), 25)]
    radii2 = (np.array(volumes) * 3 / (4 * np.pi)) ** (2 / 3)
    assert -np.diff(radii2).mean() == pytest.approx(2 * 2.0**2, rel=0.05)


def test_flat_boundaries_rest_and_spacing_counts() -> None:
    layers = np.repeat([1, 2, 3], 32)[:, None] * np.ones((1, 40), int)
    np.testing.assert_array_equal(next(itertools.islice(grow(layers, spacing=ONE, step_um=2.0), 19, None)), layers)
    y, x = np.mgrid[:64, :128] * np.array([2.0, 1.0])[:, None, None] - 64
    disc = 1 + (x**2 + y**2 < 45**2).astype(int)
    areas = [2 * int((g == 2).sum()) for g in itertools.islice(grow(disc, spacing=(2.0, 1.0), step_um=4.0), 30)]
    assert -np.diff(areas).mean() == pytest.approx(np.pi * 16, rel=0.04)


def test_three_boundaries_meet_at_120_degrees() -> None:
    """A grain of six sides with straight boundaries neither grows nor shrinks (von Neumann, Mullins)."""
    period = 48
    rows = round(period * np.sqrt(3))
    y, x = np.mgrid[:rows, : 2 * period]
    seeds = [(0, 0), (0, period), (rows / 2, period / 2), (rows / 2, 1.5 * period)]

    def distance(place: tuple[float, float]) -> np.ndarray:
        dy, dx = (np.abs(a - b) for a, b in zip((y, x), place, strict=True))
        return np.minimum(dy, rows - dy) ** 2 + np.minimum(dx, 2 * period - dx) ** 2

    honeycomb = np.argmin([distance(s) for s in seeds], axis=0) + 1
    first = np.bincount(honeycomb.ravel())[1:]
    later = next(itertools.islice(grow(honeycomb, spacing=ONE, step_um=3.0), 39, None))
    np.testing.assert_allclose(np.bincount(later.ravel())[1:], first, rtol=0.01)
    # two of four cells pinched to five and seven sides would change by pi / 3 M t = 188 points in that time


def test_grains_never_take_the_number_of_another() -> None:
    """Every grain stays one piece and overlaps where it was a step before."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    seeds = rng.random((60, 2)) * 96
    y, x = np.mgrid[:96, :96]
    apart = np.abs(np.stack([y, x], axis=-1)[:, :, None] - seeds)
    before = np.argmin((np.minimum(apart, 96 - apart) ** 2).sum(-1), axis=-1) + 1
    for after in itertools.islice(grow(before, spacing=ONE, step_um=1.5), 30):
        for number in np.unique(after):
            inside = np.tile(after == number, (2, 2))
            sizes = np.bincount(ndimage.label(inside)[0].ravel())[1:]
            assert sizes.max() >= (after == number).sum() * 0.98, "in pieces"
            assert ((before == number) & (after == number)).any()
        before = after
    assert len(np.unique(before)) < 60


def test_growth_refuses_what_it_cannot_do() -> None:
    with pytest.raises(InputError, match="finer grid"):
        next(grow(np.ones((8, 8), int), spacing=ONE, step_um=0.5))
    with pytest.raises(InputError, match="needs a grain"):
        next(grow(np.zeros((8, 8), int), spacing=ONE, step_um=2.0))


def test_energy_falls_and_the_mean_stays() -> None:
    start = 0.2 + 0.1 * np.random.default_rng(0).standard_normal((48, 64))
    states = [start, *itertools.islice(cahn_hilliard(start, spacing=(1.0, 0.5), width_um=1.2, time_step=4.0), 60)]
    energies = [energy(u, spacing=(1.0, 0.5), width_um=1.2) for u in states]
    assert (np.diff(energies) < 0).all()
    assert [float(u.mean()) for u in states] == pytest.approx([float(start.mean())] * 61, abs=1e-12)


def test_the_flat_interface_is_a_hyperbolic_tangent() -> None:
    x = np.arange(128) - 63.5
    profile = np.tanh((32 - np.abs(x)) / (np.sqrt(2) * 3.0)) * np.ones((4, 1))
    after = next(itertools.islice(cahn_hilliard(profile, spacing=ONE, width_um=3.0), 50, None))
    np.testing.assert_allclose(after, profile, atol=0.01)
    tension = energy(profile, spacing=ONE, width_um=3.0) * 128 / 2  # two interfaces
    assert tension == pytest.approx(2 * np.sqrt(2) / 3 * 3.0, rel=0.01)


def test_small_waves_grow_at_the_rate_of_linear_theory() -> None:
    """du/dt = k^2 (1 - k^2) u about u = 0, for wave numbers in units of 1 / w (Cahn 1965)."""
    x = np.arange(64)
    start = 1e-4 * np.cos(2 * np.pi * 4 * x / 64) * np.ones((4, 1))
    k2 = (2 * np.pi * 4 / 64 * 1.5) ** 2
    step = 1e-3
    after = next(itertools.islice(cahn_hilliard(start, spacing=ONE, width_um=1.5, time_step=step), 199, None))
    assert np.log(after[0, 0] / start[0, 0]) / (200 * step) == pytest.approx(k2 * (1 - k2), rel=0.01)


def test_length_of_stripes() -> None:
    wave = np.sin(2 * np.pi * np.arange(60) * 0.5 / 6)
    assert characteristic_length_um(wave * np.ones((10, 1)), spacing=(2, 0.5)) == pytest.approx(6)
    assert characteristic_length_um(wave[:, None] * np.ones(11), spacing=(0.5, 9)) == pytest.approx(6)
