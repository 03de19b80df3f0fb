"""Evolved structures meet what was asked for and look like what nature makes."""

from __future__ import annotations

import numpy as np
import pytest

from microgen.core import InputError
from microgen.stats.grain_shapes import grain_table
from microgen.stats.grains import mean_intercept_um
from microgen.synth import polycrystal
from microgen.synth.evolved import grown_polycrystal, phase_separated

ONE = (1.0, 1.0)


def test_grain_size_is_met() -> None:
    made = grown_polycrystal(1, (160, 160), (0.5, 0.5), 8.0, periodic=True)
    assert mean_intercept_um(made["grain"], spacing=(0.5, 0.5), periodic=True) == pytest.approx(8.0, rel=0.02)
    np.testing.assert_array_equal(np.unique(made["grain"]), np.arange(1, made["grain"].max() + 1))


def test_grown_grains_are_rounder_than_voronoi_cells() -> None:
    """Boundaries that meet at 120 degrees leave no slivers: grains are less elongated."""
    grown = grain_table(grown_polycrystal(0, (144, 144), ONE, 12.0)["grain"], spacing=ONE)
    voronoi = grain_table(polycrystal(0, (144, 144), ONE, 12.0)["grain"], spacing=ONE)
    assert np.median(grown.aspect_ratio) < np.median(voronoi.aspect_ratio) - 0.05


def test_fraction_is_exact_and_the_wavelength_met() -> None:
    made = phase_separated(0, (128, 96), ONE, 0.35, 16.0)
    assert made["phase"].mean() == pytest.approx(0.35, abs=1e-4)
    assert ((made["concentration"] > made["concentration"][made["phase"] == 0].max()) <= (made["phase"] == 1)).all()
    from microgen.physics.cahn_hilliard import characteristic_length_um

    assert characteristic_length_um(made["concentration"], spacing=ONE) == pytest.approx(16, rel=0.03)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: grown_polycrystal(0, (64, 64), ONE, 8.0), "finer grid"),
        (lambda: phase_separated(0, (64, 64), ONE, 0.1, 16.0), "does not separate"),
        (lambda: phase_separated(0, (64, 64), ONE, 0.5, 5.0), "12 grid points"),
        (lambda: phase_separated(0, (20, 20), ONE, 0.5, 16.0), "enlarge"),
    ],
)
def test_what_cannot_be_made_is_refused(make, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


def test_same_seed_same_structure() -> None:
    one, two = (grown_polycrystal(4, (48, 48), ONE, 12.0, periodic=True)["grain"] for _ in range(2))
    np.testing.assert_array_equal(one, two)
