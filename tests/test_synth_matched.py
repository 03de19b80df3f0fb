"""Two-phase structures have the two-point statistics that were prescribed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from microgen.core import InputError
from microgen.stats import s2
from microgen.synth import two_phase
from microgen.synth.matched import field_correlation, two_phase_like

ONE = (1.0, 1.0)


def mean_s2(structures: list, spacing: tuple[float, ...] = ONE) -> tuple[np.ndarray, np.ndarray]:
    curves = [s2(m["phase"] == 1, spacing=spacing, periodic=True) for m in structures]
    return curves[0].x, np.mean([c.y for c in curves], axis=0)


def cut_gaussian(rho: np.ndarray, fraction: float) -> np.ndarray:
    """Probability that two Gaussian values of correlation rho both lie above the level of the fraction."""
    level = stats.norm.isf(fraction)
    return np.array(
        [stats.multivariate_normal.cdf([-level] * 2, cov=[[1, r], [r, 1]], allow_singular=True) for r in rho]
    )


@pytest.mark.parametrize("fraction", [0.15, 0.5, 0.7])
@pytest.mark.parametrize("law", ["exponential", "gauss", "ring"])
def test_the_statistics_are_met(fraction: float, law: str) -> None:
    r = np.linspace(0, 60, 121)
    laws = {"gauss": np.exp(-((r / 7) ** 2)), "ring": special.j0(r / 3) * np.exp(-((r / 25) ** 2))}
    if law == "exponential":
        wanted = fraction**2 + fraction * (1 - fraction) * np.exp(-r / 5)
    else:
        wanted = cut_gaussian(laws[law], fraction)
    made = [two_phase_like(seed, (160, 160), ONE, r, wanted) for seed in range(12)]
    x, found = mean_s2(made)
    near = x < 25
    assert made[0].source["s2_error"] < 0.005
    assert np.abs(found[near] - np.interp(x[near], r, wanted)).max() < 0.01
    assert all(m["phase"].mean() == pytest.approx(fraction, abs=1e-4) for m in made)


def test_statistics_of_another_structure_are_copied_in_space_and_on_other_grids() -> None:
    r, wanted = mean_s2([two_phase(seed, (48, 48, 48), (1.0,) * 3, 0.35, 4.0) for seed in range(4)], (1.0,) * 3)
    made = [two_phase_like(seed, (40, 80, 80), (1.2, 0.6, 0.6), r[:14], wanted[:14]) for seed in range(4)]
    x, found = mean_s2(made, (1.2, 0.6, 0.6))
    known = (x > 1.2) & (x < 10)  # nothing is known below the grid of the original
    assert np.abs(found[known] - np.interp(x[known], r, wanted)).max() < 0.02


def test_correlation_of_the_field_for_half_a_phase() -> None:
    """Covariance 2 / pi arcsin(rho) at a fraction of one half; at any other, against drawn pairs."""
    rho = np.linspace(-0.99, 1, 50)
    np.testing.assert_allclose(field_correlation(2 / np.pi * np.arcsin(rho), 0.5), rho, atol=1e-6)
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 2_000_000))
    level = np.quantile(a, 0.8)
    both = ((a > level) & (0.6 * a + 0.8 * b > level)).mean()
    assert field_correlation(np.array([(both - 0.04) / 0.16]), 0.2)[0] == pytest.approx(0.6, abs=0.01)


def test_open_frames_and_seeds() -> None:
    r = np.linspace(0, 30, 61)
    curve = 0.25 + 0.25 * np.exp(-r / 4)
    open_, again, other = (two_phase_like(s, (96, 96), ONE, r, curve, periodic=False)["phase"] for s in (1, 1, 2))
    np.testing.assert_array_equal(open_, again)
    assert (open_ != other).any()


@pytest.mark.parametrize(
    ("r", "curve", "says"),
    [
        ([0, 1], [0.5], "equal length"),
        ([1, 2], [0.5, 0.25], "start at 0"),
        ([0, 1], [0.5, 0.6], "probability"),
        ([0, 1], [1.5, 0.6], "probability"),
        (np.arange(0, 40), 0.25 + 0.25 * (np.arange(40) < 8), "no Gaussian"),
    ],
)
def test_what_is_no_such_probability_is_refused(r, curve, says: str) -> None:
    with pytest.raises(InputError, match=says):
        two_phase_like(0, (64, 64), ONE, r, curve)
