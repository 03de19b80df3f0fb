"""The estimator of the ratio, on numbers instead of pictures: what it finds, and how often it is wrong."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from microgen.evaluate.draws import Pool, divided, joined
from microgen.evaluate.features import Feature, features
from microgen.evaluate.ratio import Distances, distances, make_draws
from microgen.evaluate.windows import balanced, chances

Numbers = np.ndarray


def feature_of(values: Numbers) -> Feature:
    return features([{"intensity_mean": SimpleNamespace(value=v, y=None, values=None)} for v in values])[
        "intensity_mean"
    ]


def compare(generated: Numbers, held_out: Numbers, train: Numbers | None, *, repeats: int = 60) -> Distances:
    """Numbers of windows; real ones ``(pictures, windows)``."""
    sets = [generated, held_out.ravel()] + ([] if train is None else [train.ravel()])
    starts = np.cumsum([0, *(len(s) for s in sets)])

    def pool(k: int, pictures: int) -> Pool:
        n = len(sets[k])
        return Pool(starts[k] + np.arange(n), np.repeat(np.arange(pictures), n // pictures), np.zeros(n, np.int64))

    real = [pool(k, rows.shape[0]) for k, rows in enumerate((held_out, train), 1) if rows is not None]
    n = min(len(generated), held_out.size // (2 if train is None else 1))
    draws = make_draws(
        np.random.default_rng(1),
        pool(0, len(generated)),
        real[0],
        real[1] if train is not None else None,
        {"noise": pool(0, len(generated))},
        wanted=np.array([n]),
        total=int(starts[-1]),
        repeats=repeats,
    )
    return distances(feature_of(np.concatenate(sets)), draws)


def real(rng: np.random.Generator, pictures: int, between: float = 0.3) -> tuple[Numbers, Numbers]:
    """Means of pictures, and 20 windows of each."""
    means = rng.normal(0, between, pictures)
    return means, means[:, None] + rng.normal(0, 1, (pictures, 20))


def trials(bias: float, *, with_train: bool = True, count: int = 25) -> Numbers:
    """Ratios of repeated experiments with a model of the training pictures that is off by `bias`."""
    ratios = []
    for k in range(count):
        rng = np.random.default_rng(k)
        _, held = real(rng, 6)
        means, train = real(rng, 12)
        generated = rng.choice(means, 120) + rng.normal(0, 1, 120) + bias
        ratios.append(compare(generated, held, train if with_train else None, repeats=25).ratio)
    return np.array(ratios)


@pytest.mark.parametrize("with_train", [True, False])
def test_a_perfect_model_passes_and_a_biased_one_does_not(with_train: bool) -> None:
    perfect, biased = trials(0.0, with_train=with_train), trials(0.8, with_train=with_train)
    assert 0.6 < np.median(perfect) < 1.15
    assert np.mean(perfect > 1.5) <= 0.12
    assert np.median(biased) > 2
    assert np.mean(biased > 1.5) > 0.8


def sized_trial(seed: int, bias: float) -> float:
    """Ratio for 6 held-out and 14 training pictures, each of one of 5 size classes; samples are made per class."""
    rng = np.random.default_rng([seed, 9])
    sizes = np.concatenate([rng.permutation([0, 1, 2, 3, 4, 4]), rng.permutation([0, 1, 2, 3] * 3 + [4, 4])])
    means = sizes + rng.normal(0, 0.3, 20)  # what is measured grows with size
    windows = means[:, None] + rng.normal(0, 1, (20, 20))
    asked = np.repeat(np.arange(5), 20)
    like = [rng.choice(np.flatnonzero(sizes[6:] == size) + 6) for size in asked]
    generated = means[like] + rng.normal(0, 1, 100) + bias
    pictures, strata = np.repeat(np.arange(20), 20), np.repeat(sizes, 20)
    draws = make_draws(
        rng,
        Pool(np.arange(100), np.arange(100), asked),
        Pool(100 + np.arange(120), pictures[:120], strata[:120]),
        Pool(220 + np.arange(280), pictures[120:], strata[120:]),
        {},
        wanted=np.full(5, 20),
        total=500,
        repeats=40,
    )
    return distances(feature_of(np.concatenate([generated, windows.ravel()])), draws).ratio


def test_size_classes_do_not_hide_a_bias() -> None:
    perfect, biased = (np.array([sized_trial(k, bias) for k in range(25)]) for bias in (0.0, 0.8))
    assert 0.6 < np.median(perfect) < 1.2
    assert np.mean(perfect > 1.5) <= 0.12
    assert np.median(biased) > 2
    assert np.mean(biased > 1.5) > 0.85


def test_both_sides_of_every_draw_have_the_same_sizes() -> None:
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1, 0, 1, 2, 2, 0], 5)
    pools = [Pool(k * 35 + np.arange(35), np.repeat(np.arange(7), 5), strata) for k in range(3)]
    noise = Pool(np.arange(0, 35, 4), np.arange(9), strata[::4])
    wanted = np.array([12, 9, 8])
    draws = make_draws(rng, *pools, {"noise": noise}, wanted=wanted, total=105, repeats=30)
    classes = np.tile(np.eye(3)[strata], (3, 1))
    first = draws.generated[0] @ classes
    assert (first == draws.typical[0] @ classes).all()
    for a, b in (draws.generated, draws.actual, draws.typical, *draws.bootstrap, draws.floors["noise"]):
        assert (a @ classes == b @ classes).all()
        assert (a @ classes <= wanted).all()
    for counts in (*draws.generated, *draws.typical, *draws.floors["noise"]):
        assert counts.max() == 1  # no window twice


def test_divisions_without_a_common_size_class_are_left_out() -> None:
    one = Pool(np.arange(40), np.repeat([0, 1], 20), np.repeat([0, 1], 20))  # two pictures, one of each size
    draws = make_draws(np.random.default_rng(0), one, one, None, {}, wanted=np.array([10, 10]), total=40, repeats=5)
    assert draws.generated[0].shape == (0, 40)
    assert np.isnan(distances(feature_of(np.arange(40.0)), draws).ratio)


def test_variation_between_pictures_is_part_of_the_ceiling() -> None:
    rng = np.random.default_rng(0)
    alike = compare(rng.normal(0, 1, 120), real(rng, 6, 0.0)[1], real(rng, 12, 0.0)[1]).ceiling
    unlike = compare(rng.normal(0, 1, 120), real(rng, 6, 1.0)[1], real(rng, 12, 1.0)[1]).ceiling
    assert unlike > 1.5 * alike


def test_the_ratio_has_no_unit() -> None:
    rng = np.random.default_rng(0)
    made, held, train = rng.normal(0.5, 1, 100), real(rng, 6)[1], real(rng, 12)[1]
    one, thousand = compare(made, held, train), compare(1000 * made, 1000 * held, 1000 * train)
    assert thousand.ratio == pytest.approx(one.ratio)
    assert thousand.distance == pytest.approx(1000 * one.distance)
    assert thousand.interval == pytest.approx(tuple(1000 * v for v in one.interval))
    assert one.interval[0] < one.distance < one.interval[1]
    assert one.ratio_interval[0] < one.ratio < one.ratio_interval[1]


def test_equal_constants_are_as_near_as_can_be() -> None:
    found = compare(np.ones(40), np.ones((4, 20)), np.ones((4, 20)))
    assert (found.distance, found.ceiling, found.ratio) == (0, 0, 1)
    moved = compare(np.full(40, 2.0), np.ones((4, 20)), np.ones((4, 20)))
    assert moved.distance == pytest.approx(1)
    assert moved.ratio == np.inf


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=30), st.lists(st.floats(-50, 50), min_size=2, max_size=30))
def test_scalar_distance_is_wasserstein(a: list[float], b: list[float]) -> None:
    feature = feature_of(np.array(a + b))
    rows = np.zeros((2, len(a) + len(b)))
    rows[0, : len(a)], rows[1, len(a) :] = 1, 1
    means = feature.means(rows)
    assert feature.distance(means[0], means[1]) == pytest.approx(wasserstein_distance(a, b), abs=1e-9)


def test_curve_distance_and_missing_windows() -> None:
    x = np.linspace(0, 3, 4)
    curve = {"s2": SimpleNamespace(value=None, x=x, y=x, values=None)}
    shifted = {"s2": SimpleNamespace(value=None, x=x, y=x + 2, values=None)}
    feature = features([curve, shifted, {}])["s2"]
    assert feature.valid.tolist() == [True, True, False]
    means = feature.means(np.array([[1.0, 0, 1], [0, 1, 1], [0, 0, 1]]))
    assert feature.distance(means[0], means[1]) == pytest.approx(2)
    assert np.isnan(means[2]).all()


def test_directions_wrap_around() -> None:
    column = [{"orientation_deg": SimpleNamespace(value=v, y=None, values=None)} for v in (179.0, 1.0, 90.0)]
    feature = features(column)["orientation_deg"]
    near, far = feature.distance(feature.vectors[0], feature.vectors[1:])
    assert near == pytest.approx(2 * np.sin(np.radians(2)))  # chord between 358 and 2 degrees of the doubled angle
    assert far == pytest.approx(2 * np.sin(np.radians(89)))


@given(st.integers(0, 10**6), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 30))
def test_chances_add_up_and_are_even(seed: int, sizes: list[int], n: int) -> None:
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    share = chances(groups, n)
    assert share.sum() == pytest.approx(min(n, len(groups)))
    per_group = np.bincount(groups, share)
    assert all(c == pytest.approx(min(size, per_group.max())) for c, size in zip(per_group, sizes, strict=True))


@given(st.integers(0, 10**6), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 30))
def test_balanced_draws_are_even(seed: int, sizes: list[int], n: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    n = min(n, len(groups))
    drawn = balanced(np.random.default_rng(seed), np.arange(len(groups)), groups, n)
    assert len(set(drawn.tolist())) == n
    counts = np.bincount(groups[drawn], minlength=len(sizes))
    level = counts.max()
    assert all(count >= min(size, level - 1) for count, size in zip(counts, sizes, strict=True))


def test_divisions_never_split_a_picture() -> None:
    rng = np.random.default_rng(0)
    pool = Pool(np.arange(30), np.repeat(np.arange(6), 5), np.zeros(30, np.int64))
    a, b = divided(rng, pool, 2)
    assert len(np.unique(a.groups)) == 2
    assert not set(a.groups) & set(b.groups)
    assert sorted([*a.index, *b.index]) == list(range(30))
    assert len(np.unique(joined(pool, pool).groups)) == 12


def test_resampling_takes_whole_pictures() -> None:
    pool = Pool(np.arange(30), np.repeat(np.arange(6), 5), np.zeros(30, np.int64))
    again = pool.resampled(np.random.default_rng(3))
    assert len(again.index) == 30
    assert len(np.unique(again.groups)) == 6
    for group in np.unique(again.groups):
        assert len(set(pool.groups[again.index[again.groups == group]])) == 1


def test_draws_obey_size_classes() -> None:
    pool = Pool(np.arange(30), np.zeros(30, np.int64), np.repeat([-1, 0, 1], 10))
    drawn = pool.draw(np.random.default_rng(0), np.array([3, 7]))
    assert np.bincount(pool.strata[drawn], minlength=2).tolist() == [3, 7]
