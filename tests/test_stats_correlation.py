"""Two-point correlation: closed forms, brute force, masks, PyMKS."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from microgen.core import InputError
from microgen.stats import correlate, s2
from microgen.stats.curve import radial_mean


def brute(a: Any, b: Any, mask: Any, cutoff: int, *, periodic: bool) -> Any:
    """The definition, written as loops."""
    result = np.full((2 * cutoff + 1,) * a.ndim, np.nan)
    for lag in itertools.product(range(-cutoff, cutoff + 1), repeat=a.ndim):
        total = count = 0
        for start in np.ndindex(a.shape):
            end = tuple(np.add(start, lag))
            if periodic:
                end = tuple(np.mod(end, a.shape))
            elif any(not 0 <= e < n for e, n in zip(end, a.shape, strict=True)):
                continue
            if mask[start] and mask[end]:
                total, count = total + float(a[start]) * float(b[end]), count + 1
        if count:
            result[tuple(np.add(lag, cutoff))] = total / count
    return result


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shape", [(9, 7), (8, 12), (5, 6, 7)])
def test_equals_the_definition(shape: tuple[int, ...], periodic: bool) -> None:
    rng = np.random.default_rng(0)
    a, b, mask = (rng.random(shape) < f for f in (0.4, 0.5, 0.8))
    everywhere = np.ones(shape, bool)
    for second, valid in ((a, everywhere), (b, everywhere), (a, mask), (b, mask)):
        found = correlate(
            a,
            None if second is a else second,
            periodic=periodic,
            mask=None if valid is everywhere else valid,
            cutoff=2,
        )
        np.testing.assert_allclose(found, brute(a, second, valid, 2, periodic=periodic), rtol=0, atol=1e-15)


@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=3, max_side=7), elements=st.floats(-9, 9))
)
@settings(max_examples=25, deadline=None)
def test_real_values_equal_the_definition(values: Any) -> None:
    expected = brute(values, values, np.ones(values.shape, bool), 1, periodic=False)
    np.testing.assert_allclose(correlate(values, cutoff=1), expected, atol=1e-11)


@pytest.mark.parametrize("ndim", [2, 3])
def test_checkerboard_is_exact(ndim: int) -> None:
    board = np.indices((16,) * ndim).sum(0) % 2 == 0
    lag_parity = (np.indices((16,) * ndim) - 8).sum(0) % 2
    expected = np.where(lag_parity == 0, 0.5, 0.0)
    np.testing.assert_array_equal(correlate(board, periodic=True), expected)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_stripes_are_exact(width: int) -> None:
    period, n = 2 * width, 24
    stripes = np.broadcast_to(np.arange(n) % period < width, (10, n))
    lag = (np.arange(n) - n // 2) % period
    expected = 0.5 - np.minimum(lag, period - lag) / period
    found = correlate(stripes, periodic=True)
    np.testing.assert_allclose(found, np.broadcast_to(expected, (10, n)), rtol=0, atol=1e-15)


def test_large_grids_err_by_less_than_a_millionth() -> None:
    board = np.indices((128, 128, 144)).sum(0) % 2 == 0
    found = correlate(board, periodic=True, cutoff=3)
    assert found.dtype == np.float32
    expected = np.where((np.indices((7, 7, 7)) - 3).sum(0) % 2 == 0, 0.5, 0.0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_counts_are_exact_up_to_the_largest_rounded_grid() -> None:
    region = np.random.default_rng(0).random((1024, 1024)) < 0.9  # a high fraction is the hardest to round
    counts = correlate(region, periodic=True, cutoff=2) * region.size
    expected = [
        [np.count_nonzero(region & np.roll(region, (-y, -x), (0, 1))) for x in range(-2, 3)] for y in range(-2, 3)
    ]
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("cutoff", [None, 5, (3, 7)])
def test_lag_zero_is_the_fraction_in_the_middle(cutoff: Any) -> None:
    region = np.random.default_rng(1).random((20, 31)) < 0.3
    for periodic in (True, False):
        found = correlate(region, periodic=periodic, cutoff=cutoff)
        assert found[tuple(n // 2 for n in found.shape)] == region.mean()
        if cutoff is not None:
            assert found.shape == tuple(2 * np.broadcast_to(cutoff, 2) + 1)


def test_cross_correlations_of_all_phases_add_up_to_the_fraction() -> None:
    phase = np.random.default_rng(2).integers(3, size=(30, 20))
    total = sum(correlate(phase == 0, phase == k, periodic=True) for k in range(3))
    np.testing.assert_allclose(total, np.mean(phase == 0), atol=1e-12)


def test_cross_correlation_points_from_first_to_second() -> None:
    first, second = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    first[2, 3] = second[4, 4] = True
    assert np.argwhere(correlate(first, second, periodic=True) > 0).tolist() == [[4 + 2, 4 + 1]]


def test_a_mask_of_a_box_equals_the_crop() -> None:
    region = np.random.default_rng(3).random((40, 50)) < 0.4
    mask = np.zeros(region.shape, bool)
    mask[5:25, 10:40] = True
    masked = correlate(region, mask=mask, cutoff=8)
    np.testing.assert_allclose(masked, correlate(region[5:25, 10:40], cutoff=8), rtol=0, atol=1e-15)


def test_lags_without_pairs_are_nan_and_left_out_of_the_curve() -> None:
    region = np.ones((12, 12), bool)
    mask = np.zeros_like(region)
    mask[:, 2:4] = True
    assert np.isnan(correlate(region, mask=mask, cutoff=4)[:, [0, 8]]).all()
    np.testing.assert_array_equal(s2(region, spacing=(1, 1), mask=mask).y, 1.0)


def test_independent_pixels_have_the_square_of_the_fraction() -> None:
    region = np.random.default_rng(4).random((400, 400)) < 0.3
    curve = s2(region, spacing=(1, 1))
    assert curve.y[0] == region.mean()
    np.testing.assert_allclose(curve.y[1:], 0.09, atol=0.004)


def gaussian_field(seed: int, shape: tuple[int, ...], sigma: float) -> Any:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma, mode="wrap")
    return field / field.std()


def test_level_cut_of_a_gaussian_field_has_its_closed_form() -> None:
    """Cut at zero: S2 = 1/4 + asin(rho) / (2 pi), rho(r) = exp(-r^2 / 4 sigma^2) (Teubner 1991)."""
    sigma, step = 3.0, 0.5
    curves = [s2(gaussian_field(seed, (512, 512), sigma) > 0, spacing=(step, step), periodic=True) for seed in range(3)]
    x = curves[0].x
    kept = x < 10 * sigma * step
    rho = np.exp(-((x / (2 * sigma * step)) ** 2))
    expected = 0.25 - np.arcsin(rho) / (2 * np.pi)  # S2(0) - S2(r), free of the chance in the fraction
    drop = np.mean([c.y[0] - c.y for c in curves], axis=0)
    np.testing.assert_allclose(drop[kept], expected[kept], atol=0.003)


def boolean_model(seed: int, n: int, radius: float, density: float) -> Any:
    """Matrix left by discs thrown at random on a periodic grid."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, n, (rng.poisson(density * n * n), 2))
    matrix = np.ones((n, n), bool)
    reach = np.arange(-int(radius) - 1, int(radius) + 2)
    for y, x in centres:
        rows, columns = int(y) + reach, int(x) + reach
        disc = (rows[:, None] - y) ** 2 + (columns - x) ** 2 <= radius**2
        matrix[np.ix_(rows % n, columns % n)] &= ~disc
    return matrix


def test_boolean_model_of_discs_has_its_closed_form() -> None:
    """Matrix of a Boolean model: S2(r) = exp(-density * area of two discs at distance r) (Torquato 2002, 5.2)."""
    radius, density, n = 8.0, 0.004, 600
    curve = s2(boolean_model(0, n, radius, density), spacing=(1, 1), periodic=True, cutoff_um=40)
    r = np.minimum(curve.x, 2 * radius)
    lens = 2 * radius**2 * np.arccos(r / (2 * radius)) - r / 2 * np.sqrt(4 * radius**2 - r**2)
    expected = np.exp(-density * (2 * np.pi * radius**2 - lens))
    np.testing.assert_allclose(curve.y, expected, atol=0.015)


def test_non_periodic_is_unbiased_where_periodic_is_not() -> None:
    """A gradient of density does not wrap around; the frame must not invent pairs."""
    ramp = np.random.default_rng(5).random((200, 200)) < np.linspace(0, 1, 200)
    lag, n = 60, 200
    start = np.arange(n - lag) / (n - 1)
    expected = float(np.mean(start * (start + lag / (n - 1))))
    assert correlate(ramp, cutoff=(0, lag))[0, 2 * lag] == pytest.approx(expected, abs=0.01)


def test_curve_is_physical_and_spacing_may_differ_per_axis() -> None:
    wide = gaussian_field(6, (128, 128), 4.0) > 0
    tall = np.repeat(wide, 2, axis=0)
    one = s2(wide, spacing=(1.0, 1.0), periodic=True)
    two = s2(tall, spacing=(0.5, 1.0), periodic=True)
    np.testing.assert_allclose(np.interp(one.x[:30], two.x, two.y), one.y[:30], atol=0.01)


def test_cutoff_of_the_curve_is_obeyed_and_changes_nothing_else() -> None:
    region = np.random.default_rng(7).random((64, 48)) < 0.5
    whole, short = (s2(region, spacing=(0.5, 0.5), cutoff_um=c) for c in (None, 5.0))
    assert short.x[-1] <= 5.0 < short.x[-1] + 0.5
    np.testing.assert_allclose(short.y[:9], whole.y[:9], atol=1e-12)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("periodic", [False, True])
def test_equals_pymks(periodic: bool, masked: bool, ndim: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pymks = pytest.importorskip("pymks")
    rng = np.random.default_rng(8)
    shape, cutoff = ((33, 33), 16) if ndim == 2 else ((15, 15, 15), 7)
    a, b, mask = (rng.random(shape) < f for f in (0.4, 0.6, 0.9))
    theirs = pymks.two_point_stats(
        a[None].astype(float),
        b[None].astype(float),
        mask=mask[None].astype(float) if masked else None,
        periodic_boundary=periodic,
        cutoff=cutoff,
    )
    ours = correlate(a, b, periodic=periodic, mask=mask if masked else None, cutoff=cutoff)
    np.testing.assert_allclose(ours, np.asarray(theirs)[0], atol=1e-12)


def test_inputs_stay_as_they_are() -> None:
    values = np.random.default_rng(9).normal(size=(16, 16))
    before = values.copy()
    values.flags.writeable = False
    correlate(values, values[::-1], periodic=True)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda z: correlate(z.astype(int)), "phase == 1"),
        (lambda z: correlate(z, z[1:]), "need equal grids"),
        (lambda z: correlate(z, mask=z[1:]), "mask has shape"),
        (lambda z: correlate(z, cutoff=8), "cut-off of 8"),
        (lambda z: correlate(z, cutoff=-1), "cut-off of -1"),
        (lambda z: correlate(z, cutoff=5, periodic=True), "does not fit"),
        (lambda z: s2(z, spacing=(1,)), "spacing needs 2"),
        (lambda z: s2(z, spacing=(1, 0)), "positive"),
    ],
)
def test_mistakes_are_one_clear_sentence(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(np.zeros((8, 8), bool))


def test_radial_mean_of_a_function_of_distance_returns_it() -> None:
    axes = [np.arange(-20.0, 21), np.arange(-15.0, 16) * 0.5]
    distance = np.hypot(axes[0][:, None], axes[1])
    curve = radial_mean(3 * distance + 1, axes, step=0.5, limit=7.0)
    np.testing.assert_allclose(curve.y, 3 * curve.x + 1, atol=1e-12)
    assert curve.x[0] == 0
    assert curve.x[-1] <= 7.0
