"""Windows, surrogates, copies, classifiers and requests, each against what it must do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from microgen.core import InputError, Microstructure
from microgen.evaluate import memory, requests, twosample
from microgen.evaluate.embedding import embed
from microgen.evaluate.surrogates import same_spectrum, shuffled, surrogate
from microgen.evaluate.texture import texture
from microgen.evaluate.windows import common_spacing, cut, to_spacing, window_shape


def picture(seed: int, shape: tuple[int, ...], sigma: float = 2.0, spacing: float = 1.0) -> Microstructure:
    rough = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    gray = 128 + 40 * rough / rough.std()
    values = np.clip(np.rint(gray), 0, 255).astype(np.uint8)
    return Microstructure({"intensity": values}, (spacing,) * len(shape))


def test_windows_tile_without_overlap_and_keep_their_picture() -> None:
    pictures = [picture(k, (70, 100)) for k in range(3)]
    sample = cut(pictures, (32, 32), ["a", "b", "a"], limit=100, seed=0)
    assert len(sample) == 3 * 2 * 3
    assert sample.names == ["a", "b"]
    assert np.bincount(sample.groups).tolist() == [12, 6]
    for window, owner, corner in zip(sample.windows, sample.owners, sample.corners, strict=True):
        y, x = corner
        np.testing.assert_array_equal(window["intensity"], pictures[owner]["intensity"][y : y + 32, x : x + 32])
    for owner in range(3):
        corners = sample.corners[sample.owners == owner]
        assert len({(y // 32, x // 32) for y, x in corners - corners.min(axis=0)}) == 6


def test_a_limit_keeps_pictures_even() -> None:
    pictures = [picture(0, (320, 320)), picture(1, (64, 64))]
    sample = cut(pictures, (32, 32), ["large", "small"], limit=8, seed=0)
    assert np.bincount(sample.groups).tolist() == [4, 4]


def test_small_pictures_give_no_windows() -> None:
    assert len(cut([picture(0, (20, 80))], (32, 32), ["a"], limit=8, seed=0)) == 0


def test_the_window_fits_most_pictures() -> None:
    made = [picture(0, (64, 64))]

    def shape(*real: tuple[int, int]) -> tuple[int, ...]:
        return window_shape(made, [picture(0, size) for size in real])

    assert shape((48, 200), (50, 40)) == (48, 64)
    assert shape((200, 200), (20, 20)) == (64, 64)
    assert shape((200, 200), (40, 50), (42, 45)) == (40, 50)
    assert shape((64, 10), (10, 64), (30, 30)) == (10, 10)  # nothing else fits two of them


def test_resampling_keeps_extent_mean_and_type() -> None:
    fine = picture(0, (120, 160), spacing=0.5)
    coarse = to_spacing(fine, (1.0, 1.0))
    assert coarse.shape == (60, 80)
    assert coarse["intensity"].dtype == np.uint8
    assert coarse["intensity"].mean() == pytest.approx(fine["intensity"].mean(), abs=0.5)
    assert to_spacing(fine, (0.501, 0.501)) is fine
    with pytest.raises(InputError, match="square"):
        to_spacing(fine, (1.0, 2.0))


def test_generated_pictures_share_one_spacing() -> None:
    assert common_spacing([picture(0, (8, 8)), picture(1, (9, 9))]) == (1.0, 1.0)
    with pytest.raises(InputError, match="by itself"):
        common_spacing([picture(0, (8, 8)), picture(1, (8, 8), spacing=2.0)])


@given(st.integers(0, 2**31))
def test_surrogates_keep_every_gray_value(seed: int) -> None:
    values = np.asarray(picture(seed, (24, 30))["intensity"])
    for kind in (same_spectrum, shuffled):
        made = kind(values, np.random.default_rng(seed))
        assert made.dtype == values.dtype
        np.testing.assert_array_equal(np.sort(made, axis=None), np.sort(values, axis=None))


def test_one_floor_keeps_the_spectrum_and_the_other_does_not() -> None:
    values = np.asarray(picture(0, (128, 128), sigma=4.0)["intensity"], dtype=float)

    def neighbours(image: np.ndarray) -> float:
        return float(np.corrcoef(image[:, 1:].ravel(), image[:, :-1].ravel())[0, 1])

    rng = np.random.default_rng(0)
    assert neighbours(same_spectrum(values, rng)) == pytest.approx(neighbours(values), abs=0.04)
    assert abs(neighbours(shuffled(values, rng))) < 0.05


def test_surrogates_leave_found_boundaries_behind() -> None:
    marked = picture(0, (32, 32)).with_fields(boundary=np.eye(32, dtype=bool))
    assert list(surrogate(marked, "shuffled pixels", np.random.default_rng(0)).fields) == ["intensity"]
    alone = Microstructure({"boundary": np.eye(32, dtype=np.uint8)}, (1.0, 1.0))
    made = surrogate(alone, "shuffled pixels", np.random.default_rng(0))["boundary"]
    assert made.sum() == 32
    assert (made != np.eye(32)).any()


TRAINING = [np.asarray(picture(50 + k, (200, 230))["intensity"], dtype=float) for k in range(3)]


@pytest.mark.parametrize("turn", range(8))
def test_a_turned_copy_is_found_where_it_was_taken(turn: int) -> None:
    y, x = 37, 101
    patch = TRAINING[1][y : y + 64, x : x + 64]
    window = np.rot90(patch[:, ::-1] if turn >= 4 else patch, turn % 4)
    noisy = 0.5 * window + 20 + np.random.default_rng(0).normal(0, 2, window.shape)
    (found,) = memory.nearest([noisy], TRAINING)
    assert found.picture == 1
    assert found.correlation > 0.98
    assert found.copied
    np.testing.assert_array_equal(found.patch, window)


def test_a_new_window_is_no_copy() -> None:
    windows = [np.asarray(picture(90 + k, (64, 64))["intensity"], dtype=float) for k in range(4)]
    for found in memory.nearest(windows, TRAINING):
        assert not found.copied
        assert found.ratio > 0.8
        assert found.distance <= found.second
    assert memory.nearest(windows, [np.zeros((32, 32))]) == []


def test_oblong_windows_are_searched_too() -> None:
    (found,) = memory.nearest([TRAINING[0][50:90, 20:100][::-1]], TRAINING)
    assert found.correlation == pytest.approx(1)
    assert found.picture == 0


def test_flat_windows_do_not_break_the_search() -> None:
    (found,) = memory.nearest([np.full((64, 64), 9.0)], TRAINING)
    assert not found.copied


def test_classifier_sees_a_shift_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(160, 12))
    groups = np.concatenate([np.arange(80), 80 + np.repeat(np.arange(8), 10)])
    first, second = np.arange(80), np.arange(80, 160)
    same = twosample.tell_apart(numbers, first, second, groups, seed=0)
    assert same.interval[0] < 0.55
    assert same.interval[1] > 0.45
    assert abs(same.best - 0.5) < 0.12
    numbers[80:, 3] += 4
    other = twosample.tell_apart(numbers, first, second, groups, seed=0)
    assert other.best > 0.95
    assert other.interval[0] > 0.9


def test_a_classifier_cannot_pass_by_knowing_the_pictures() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), 10)
    numbers = rng.normal(size=(20, 6))[groups] + 0.1 * rng.normal(size=(200, 6))  # each picture looks its own way
    labels = groups % 2
    found = twosample.tell_apart(numbers, np.flatnonzero(labels == 0), np.flatnonzero(labels == 1), groups, seed=0)
    assert found.logistic < 0.75
    assert found.forest < 0.75


def test_kernel_test_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    first, second = np.arange(30), np.arange(30, 60)
    p = []
    for _ in range(40):
        gram = twosample.kernel(rng.normal(size=(60, 5)), second)
        p.append(twosample.permutation_p(gram, first, second, seed=1, repeats=99))
    assert 0.3 < np.mean(p) < 0.7
    shifted = rng.normal(size=(60, 5)) + np.repeat([0, 1.5], 30)[:, None]
    assert twosample.permutation_p(twosample.kernel(shifted, second), first, second, seed=1) == pytest.approx(0.001)


def test_discrepancy_of_equal_draws_is_zero() -> None:
    gram = twosample.kernel(np.random.default_rng(0).normal(size=(10, 3)), np.arange(5))
    rows = np.eye(10)[:4]
    assert twosample.discrepancy(gram, rows, 3 * rows) == pytest.approx(np.zeros(4))
    assert np.isnan(twosample.discrepancy(gram, np.zeros((1, 10)), rows[:1])).all()


def test_texture_does_not_depend_on_the_type_of_number() -> None:
    window = picture(0, (48, 48))
    as_float = Microstructure({"intensity": window["intensity"].astype(np.float32)}, window.spacing)
    np.testing.assert_allclose(texture(window), texture(as_float))
    assert np.isfinite(texture(Microstructure({"phase": np.eye(48, dtype=np.uint8)}, (1, 1)))).all()
    assert texture(picture(0, (12, 16, 16))).shape == texture(window).shape


def test_requests_are_read_from_any_recipe() -> None:
    values = np.eye(8, dtype=np.uint8)
    sources = [
        {"condition": {"grain_size_um": 5}},
        {"recipe": {"condition": {"scalars": {"grain_size_um": 7.0, "other": 1.0}}}},
    ]
    made = [Microstructure({"intensity": values}, (1, 1), source=s) for s in sources]
    assert {k: v.tolist() for k, v in requests.requested(made).items()} == {"grain_size_um": [5, 7]}
    assert requests.requested([*made, Microstructure({"intensity": values}, (1, 1))]) == {}


def test_real_windows_are_matched_to_requests() -> None:
    asked = np.repeat([5.0, 6.0, 20.0], 10)
    found = requests.match(asked, np.array([4.0, 4.5, 5.4, 5.6, 6.5, 8.0, 18.0, 24.0, np.nan]))
    assert found.generated.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert found.real.tolist() == [-1, 0, 0, 1, 1, -1, 2, -1, -1]
    many = np.linspace(5, 20, 100)
    classes = requests.match(many, many)
    assert np.bincount(classes.generated).tolist() == [20] * 5
    assert (classes.generated == classes.real).all()


def test_edges_of_classes_lie_between_the_requests() -> None:
    levels = np.geomspace(4, 32, 13)
    found = requests.match(np.repeat(levels, 3), np.concatenate([levels * 0.999, levels * 1.001, [3.6, 36.0]]))
    assert (found.real[:13] == found.generated[::3]).all()  # a hair below or above a request, the class is the same
    assert (found.real[13:26] == found.generated[::3]).all()
    assert found.real[26:].tolist() == [-1, -1]
    assert len(np.unique(found.generated)) == 5


def test_requests_like_the_real_sizes_need_no_matching() -> None:
    rng = np.random.default_rng(0)
    sizes, even = rng.lognormal(2, 0.3, 300), np.ones(300)
    assert not requests.unlike(rng.lognormal(2, 0.3, 200), sizes, even)
    assert requests.unlike(rng.lognormal(2.4, 0.3, 200), sizes, even)
    assert requests.unlike(np.repeat([5.0, 8.0], 50), sizes, even)


def test_requests_are_compared_with_windows_as_these_are_weighted() -> None:
    sizes = np.concatenate(
        [np.linspace(4, 5, 90), np.linspace(8, 10, 10)]
    )  # ten times more windows of the fine picture
    even = np.repeat([1 / 90, 1 / 10], [90, 10])
    asked = np.concatenate([np.linspace(4, 5, 20), np.linspace(8, 10, 20)])
    assert not requests.unlike(asked, sizes, even)
    assert requests.unlike(asked, sizes, np.ones(100))


def test_obeyed_reports_a_known_error() -> None:
    rng = np.random.default_rng(0)
    asked = np.repeat([5.0, 10.0], 64)
    measured = asked * rng.lognormal(np.log(1.2), 0.1, len(asked))
    measured[0] = np.nan
    rows = requests.obeyed("grain_size_um", asked, measured, (np.array([5.5]), np.array([5.0])), seed=0)
    assert [row.requested for row in rows] == [5.0, 10.0]
    assert [(row.n, row.lost, row.n_real) for row in rows] == [(63, 1, 1), (64, 0, 0)]
    for row in rows:
        assert row.error == pytest.approx(0.2, abs=0.04)
        assert row.interval[0] < 1.2 * row.requested < row.interval[1]
        assert row.spread == pytest.approx(0.1, abs=0.03)
    assert rows[0].real == pytest.approx(5.5)
    assert rows[0].error_real == pytest.approx(1.2 / 1.1 - 1, abs=0.04)
    assert np.isnan(rows[1].real)
    (lost,) = requests.obeyed("x", np.ones(3), np.full(3, np.nan), (np.zeros(0), np.zeros(0)), seed=0)
    assert (lost.n, lost.lost, np.isnan(lost.measured)) == (0, 3, True)


def test_the_scale_of_features_comes_from_real_windows() -> None:
    rng = np.random.default_rng(0)
    textures = np.concatenate([rng.normal(5, 2, (50, 3)), rng.normal(0, 900, (50, 3))])
    numbers = twosample.table([], textures, np.arange(50))
    assert numbers[:50].mean(axis=0) == pytest.approx(np.zeros(3))
    assert numbers[:50].std(axis=0) == pytest.approx(np.ones(3))
    other = twosample.table([], np.concatenate([textures[:50], 2 * textures[50:]]), np.arange(50))
    np.testing.assert_array_equal(numbers[:50], other[:50])
    real = np.arange(50)
    np.testing.assert_allclose(twosample.kernel(numbers, real)[:50, :50], twosample.kernel(other, real)[:50, :50])


@pytest.mark.parametrize("without_pymks", [False, True])
def test_map_of_two_point_statistics(without_pymks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if without_pymks:

        def absent(*args: object, **options: object) -> None:
            raise InputError("not installed")

        monkeypatch.setattr("microgen.stats.mks.embed", absent)
    else:
        pytest.importorskip("pymks")
    windows = [
        Microstructure({"phase": (np.random.default_rng(k).random((16, 16)) < f).astype(np.uint8)}, (1, 1))
        for k, f in enumerate([0.3] * 6 + [0.6] * 6)
    ] + [picture(0, (16, 16))]
    points, share = embed(windows, np.array([0, 1, 2, 6, 7, 8]))
    assert points is not None
    assert share is not None
    assert share[0] > 0.5
    assert np.isnan(points[12]).all()
    first = points[:12, 0] * np.sign(points[0, 0])
    assert first[:6].min() > first[6:].max()  # the amount of the phase is what varies most
    assert embed(windows[12:], np.array([0])) == (None, None)
