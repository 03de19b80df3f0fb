"""Lineal path and chords: closed forms, brute force, edges, masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microgen.core import InputError
from microgen.stats import chord_lengths, lineal_path, mean_chord_length, s2
from microgen.stats.lineal import runs

grids = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7))


def brute_path(region: Any, mask: Any, axis: int, steps: int, *, periodic: bool) -> float:
    """Probability that `steps` + 1 points in a row lie in the region, from the definition."""
    lines = np.moveaxis(region, axis, -1).reshape(-1, region.shape[axis])
    valid = np.moveaxis(mask, axis, -1).reshape(lines.shape)
    n = lines.shape[1]
    starts = range(n if periodic else n - steps)
    windows = [[(line, (start + np.arange(steps + 1)) % n) for start in starts] for line in range(len(lines))]
    flat = [w for line in windows for w in line if valid[w[0], w[1]].all()]
    return float(np.mean([lines[line, points].all() for line, points in flat])) if flat else np.nan


@given(grids, grids, st.booleans())
@settings(max_examples=60, deadline=None)
def test_lineal_path_equals_the_definition(region: Any, other: Any, periodic: bool) -> None:
    mask = np.ones(region.shape, bool)
    flat = other.ravel()[: region.size]
    mask.ravel()[: flat.size] = flat
    for axis in range(region.ndim):
        for valid in (None, mask):
            curve = lineal_path(region, spacing=(1,) * region.ndim, axis=axis, periodic=periodic, mask=valid)
            used = np.ones(region.shape, bool) if valid is None else valid
            for x, y in zip(curve.x, curve.y, strict=True):
                assert y == pytest.approx(brute_path(region, used, axis, int(x), periodic=periodic))


def test_lineal_path_of_stripes() -> None:
    stripes = np.broadcast_to(np.arange(40) % 10 < 4, (12, 40))
    across = lineal_path(stripes, spacing=(0.5, 0.5), axis=1, periodic=True)
    np.testing.assert_allclose(across.y, np.maximum(4 - np.arange(21), 0) / 10)
    np.testing.assert_allclose(across.x, np.arange(21) * 0.5)
    along = lineal_path(stripes, spacing=(0.5, 0.5), axis=0)
    np.testing.assert_allclose(along.y, 0.4)
    both = lineal_path(stripes, spacing=(0.5, 0.5), periodic=True)
    np.testing.assert_allclose(both.y, (across.y[:7] + 0.4) / 2)


def test_lineal_path_never_exceeds_s2() -> None:
    region = np.random.default_rng(0).random((64, 64)) < 0.7
    path = lineal_path(region, spacing=(1, 1), periodic=True)
    pairs = s2(region, spacing=(1, 1), periodic=True)
    assert path.y[0] == pairs.y[0] == region.mean()
    assert (np.diff(path.y) <= 0).all()
    np.testing.assert_allclose(path.y[:3], [0.7, 0.49, 0.343], atol=0.02)


@pytest.fixture(scope="module")
def matrix() -> Any:
    """Matrix of a Boolean model of discs: its chords are exponential with mean 1 / (2 radius density)."""
    rng = np.random.default_rng(1)
    n, radius, density = 1000, 5.0, 0.004
    y, x = np.mgrid[:n, :n]
    region = np.ones((n, n), bool)
    for cy, cx in rng.uniform(0, n, (rng.poisson(density * n * n), 2)):
        box = np.s_[max(0, int(cy) - 7) : int(cy) + 8, max(0, int(cx) - 7) : int(cx) + 8]
        region[box] &= (y[box] - cy) ** 2 + (x[box] - cx) ** 2 > radius**2
    return region


def test_lineal_path_of_the_boolean_model(matrix: Any) -> None:
    """L(r) = exp(-density (pi R^2 + 2 R r)) (Lu, Torquato 1992)."""
    curve = lineal_path(matrix, spacing=(1, 1))
    expected = np.exp(-0.004 * (np.pi * 25 + 10 * curve.x))
    np.testing.assert_allclose(curve.y[:80], expected[:80], atol=0.012)


def test_chords_of_the_boolean_model_are_exponential(matrix: Any) -> None:
    """The chord law of a Boolean model (as of Poisson lines) has no memory; pixels make it geometric."""
    mean = mean_chord_length(matrix, spacing=(0.5, 0.5))
    assert mean == pytest.approx(0.5 / (2 * 5.0 * 0.004), rel=0.04)
    chords = chord_lengths(matrix, spacing=(0.5, 0.5))
    for start in (5.0, 15.0, 25.0):  # what is left beyond any length is distributed alike
        left = chords[chords > start] - start
        assert left.mean() == pytest.approx(mean, rel=0.08)


def test_cut_chords_are_left_out_and_the_mean_is_free_of_bias() -> None:
    """Through a narrow frame long chords are cut more often: the list is short, the mean is not."""
    rng = np.random.default_rng(2)
    n = 400_000
    region = np.ones(n, bool)
    region[rng.random(n) < 0.05] = False  # geometric chords, mean 20 (19 points between walls, plus none of length 0)
    truth = mean_chord_length(region[None], spacing=(1, 1), axis=1)
    frames = region.reshape(-1, 50)
    assert chord_lengths(frames, spacing=(1, 1), axis=1).mean() < 0.75 * truth
    assert mean_chord_length(frames, spacing=(1, 1), axis=1) == pytest.approx(truth, rel=0.02)


def test_runs_know_which_ends_are_cut() -> None:
    line = np.array([[1, 1, 0, 1, 0, 1, 1, 1]], bool)
    found = runs(line, 1)
    assert found.lengths.tolist() == [2, 1, 3]
    assert found.cut.tolist() == [1, 0, 1]
    joined = runs(line, 1, periodic=True)
    assert sorted(joined.lengths.tolist()) == [1, 5]
    assert joined.cut.tolist() == [0, 0]


def test_a_mask_cuts_chords_like_a_frame() -> None:
    line = np.array([[0, 1, 1, 1, 0, 1, 0, 0]], bool)
    mask = np.array([[1, 1, 1, 0, 1, 1, 1, 1]], bool)
    found = runs(line & mask, 1, mask=mask)
    assert found.lengths.tolist() == [2, 1]
    assert found.cut.tolist() == [1, 0]
    assert chord_lengths(line, spacing=(1, 1), axis=1, mask=mask).tolist() == [1.0]


def test_a_mask_that_wraps_around_does_not_cut() -> None:
    line = np.array([[1, 0, 0, 1, 1]], bool)
    mask = np.array([[1, 1, 0, 1, 1]], bool)
    found = runs(line & mask, 1, periodic=True, mask=mask)
    assert found.lengths.tolist() == [3]
    assert found.cut.tolist() == [1]


@given(grids, st.booleans())
@settings(max_examples=50, deadline=None)
def test_runs_hold_every_point_once(region: Any, periodic: bool) -> None:
    for axis in range(region.ndim):
        found = runs(region, axis, periodic=periodic)
        assert found.lengths.sum() == region.sum()
        assert found.lengths.max(initial=0) <= region.shape[axis]


def test_a_full_periodic_line_has_no_end() -> None:
    full = np.ones((3, 5), bool)
    np.testing.assert_array_equal(lineal_path(full, spacing=(1, 1), periodic=True).y, 1.0)
    assert chord_lengths(full, spacing=(1, 1), periodic=True).size == 0
    with pytest.raises(InputError, match="no chord"):
        mean_chord_length(full, spacing=(1, 1), periodic=True)


def test_chords_use_the_spacing_of_their_axis() -> None:
    box = np.zeros((10, 10, 10), bool)
    box[2:5, 3:7, 1:6] = True
    lengths = [set(chord_lengths(box, spacing=(1, 0.5, 0.1), axis=axis).round(9)) for axis in range(3)]
    assert lengths == [{3.0}, {2.0}, {0.5}]
    assert set(chord_lengths(box, spacing=(1, 0.5, 0.1)).round(9)) == {3.0, 2.0, 0.5}


def test_labels_are_refused() -> None:
    with pytest.raises(InputError, match="phase == 1"):
        lineal_path(np.ones((4, 4), int), spacing=(1, 1))
    with pytest.raises(InputError, match="mask has shape"):
        chord_lengths(np.ones((4, 4), bool), spacing=(1, 1), mask=np.ones((3, 4), bool))
