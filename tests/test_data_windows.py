"""Windows read the same numbers as measuring each crop by itself."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from microgen.core import InputError
from microgen.data.measures import MEASURES, boundaries, cells_of, measure_for
from microgen.data.windows import fractions, intercepts, summed, window_sums
from microgen.stats.grains import label_grains, mean_intercept_um

etched = runpy.run_path(str(Path(__file__).with_name("data_fakes.py")))["etched"]


@pytest.mark.parametrize("shape", [(9,), (7, 8), (4, 5, 6)])
def test_window_sums_are_sums(shape):
    rng = np.random.default_rng(0)
    values = rng.random(shape)
    low = rng.integers(0, np.array(shape) // 2, size=(20, len(shape)))
    high = low + rng.integers(0, np.array(shape) // 2, size=(20, len(shape)))
    expected = [
        values[tuple(slice(a, b) for a, b in zip(*box, strict=True))].sum() for box in zip(low, high, strict=True)
    ]
    np.testing.assert_allclose(window_sums(summed(values), low, high), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (16, 16), (1, 40)])
def test_intercepts_equal_measuring_each_crop(shape):
    grains = label_grains(boundaries(etched(1, (150, 180)), 0.7))
    windows = intercepts(grains, 0.7)
    corners = np.random.default_rng(0).integers(0, np.array(grains.shape) - shape, size=(50, 2))
    crops = [grains[y : y + shape[0], x : x + shape[1]] for y, x in corners]
    expected = [mean_intercept_um(crop, spacing=0.7) for crop in crops]
    np.testing.assert_allclose(windows(corners, shape), expected, rtol=1e-9)


def test_intercepts_of_stripes_in_closed_form():
    """Boundaries every 10 px across x only: half of the lines cross one every 10 px, the others none."""
    stripes = np.repeat(np.arange(1, 21), 10)[None].repeat(200, axis=0)
    value = intercepts(stripes, 0.5)(np.array([[0, 5]]), (100, 100))[0]
    assert value == pytest.approx(0.5 * (2 * 99 * 100) / (10 * 100))


def test_a_crop_inside_one_grain_gives_a_finite_bound():
    assert intercepts(np.ones((50, 50), int), 2.0)(np.array([[3, 3]]), (20, 20))[0] == 2 * 20 * 2.0


def test_fractions_of_pictures_and_volumes():
    rng = np.random.default_rng(0)
    for shape, box in (((20, 30), (7, 9)), ((8, 9, 10), (3, 4, 5))):
        phase = rng.random(shape) < 0.3
        corner = np.array([[1] * len(shape)])
        part = phase[tuple(slice(1, 1 + b) for b in box)]
        assert fractions(phase)(corner, box)[0] == pytest.approx(part.mean())


def test_measures_fit_their_fields():
    assert measure_for("phase_fraction", "phase", 3) is MEASURES["phase"]["phase_fraction"]
    with pytest.raises(InputError, match="possible here: phase_fraction"):
        measure_for("grain_size_um", "phase", 3)
    with pytest.raises(InputError, match="possible here: none"):
        measure_for("grain_size_um", "intensity", 3)


def test_maps_agree_with_windows_in_the_mean():
    picture = etched(2, (200, 200))
    cells = cells_of(picture, 0.5)
    made = MEASURES["grain"]["grain_size_um"].local(cells, 0.5, 40.0)
    whole = MEASURES["grain"]["grain_size_um"].windows(cells, 0.5)(np.array([[0, 0]]), picture.shape)[0]
    assert made.shape == picture.shape
    assert np.median(made) == pytest.approx(whole, rel=0.15)
    phase = (np.random.default_rng(0).random((60, 60)) < 0.4).astype(np.uint8)
    local = MEASURES["phase"]["phase_fraction"].local(phase, 1.0, 9.0)
    assert local[30, 30] == pytest.approx(phase[26:35, 26:35].mean())
