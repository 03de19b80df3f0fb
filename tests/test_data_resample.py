"""Resampling: means kept, no aliasing, places kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen.core import InputError
from microgen.data.resample import resample


@given(factor=st.floats(1.0, 9.0), n=st.integers(9, 60), m=st.integers(9, 60), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_coarse_pixel_is_the_exact_mean_of_what_it_covers(factor, n, m, seed):
    fine = np.random.default_rng(seed).random((n, m))
    coarse = resample(fine, (1.0, 1.0), factor)
    assert coarse.shape == (int(n / factor + 1e-6), int(m / factor + 1e-6))
    edges = [np.arange(c + 1) * factor for c in coarse.shape]
    shares = [
        np.clip(np.minimum(e[1:, None], np.arange(k) + 1) - np.maximum(e[:-1, None], np.arange(k)), 0, 1)
        for e, k in zip(edges, fine.shape, strict=True)
    ]
    np.testing.assert_allclose(coarse, shares[0] @ fine @ shares[1].T / factor**2, atol=1e-6)


def test_whole_factors_are_block_means_and_keep_the_range():
    fine = np.random.default_rng(0).integers(0, 255, (60, 90)).astype(np.uint8)
    coarse = resample(fine, (0.5, 0.5), 1.5)
    np.testing.assert_allclose(coarse, fine.reshape(20, 3, 30, 3).mean((1, 3)), rtol=1e-5)
    assert coarse.dtype == np.float32


def test_the_finest_pattern_does_not_alias():
    checkerboard = np.indices((64, 64)).sum(0) % 2
    np.testing.assert_allclose(resample(checkerboard, (1.0, 1.0), 2.0), 0.5)


@pytest.mark.parametrize("target", [0.31, 0.7, 1.0, 1.9, 3.3])
def test_a_ramp_stays_in_place(target):
    """Value at the centre of every pixel is its position, whatever the pixel size."""
    x = (np.arange(100) + 0.5) * np.ones((40, 1))
    made = resample(x, (1.0, 1.0), target)
    centres = (np.arange(made.shape[1]) + 0.5) * target
    inner = (centres > 3) & (centres < 97)
    error = made[5][inner] - centres[inner]
    assert np.abs(error).max() < 0.07  # pixels are flat inside, so a fractional edge errs by up to 1 / (8 factor)
    assert abs(error.mean()) < 0.003


def test_a_finer_grid_interpolates_a_wave():
    x = (np.arange(64) + 0.5) * np.ones((8, 1))
    made = resample(np.sin(x / 3), (1.0, 1.0), 0.5)
    centres = (np.arange(128) + 0.5) / 2
    np.testing.assert_allclose(made[3, 10:-10], np.sin(centres / 3)[10:-10], atol=2e-3)


def test_unequal_spacing_becomes_square_pixels_and_volumes_work():
    volume = np.random.default_rng(0).random((6, 8, 10))
    made = resample(volume, (2.0, 1.0, 1.0), 2.0)
    assert made.shape == (6, 4, 5)
    np.testing.assert_allclose(made, volume.reshape(6, 4, 2, 5, 2).mean((2, 4)), rtol=1e-6)


def test_labels_are_never_mixed():
    labels = np.random.default_rng(0).choice([3, 7, 90], (50, 50))
    for target in (0.4, 1.7, 5.0):
        assert set(np.unique(resample(labels, (1.0, 1.0), target, categorical=True))) <= {3, 7, 90}
    np.testing.assert_array_equal(resample(labels, (1.0, 1.0), 1.0), labels)


def test_channels_follow_the_grid_and_inputs_stay_as_they_were():
    field = np.random.default_rng(0).random((12, 12, 3))
    before = field.copy()
    made = resample(field, (1.0, 1.0), 3.0)
    np.testing.assert_allclose(made[..., 1], resample(field[..., 1], (1.0, 1.0), 3.0))
    np.testing.assert_array_equal(field, before)


def test_a_pixel_larger_than_the_image_is_refused():
    with pytest.raises(InputError, match="no pixel of 100 um"):
        resample(np.zeros((8, 8)), (1.0, 1.0), 100.0)
