"""Fréchet and kernel distance against closed forms and a plain double sum."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import linalg

from microgen.core import InputError
from microgen.evaluate.distances import frechet_distance, kernel_distance


def test_distance_of_normal_sets_is_that_of_their_distributions() -> None:
    random = np.random.default_rng(0)
    spread = np.array([[2.0, 0.5], [0.5, 1.0]])
    a = random.standard_normal((200_000, 2))
    b = random.multivariate_normal([1.0, -2.0], spread, 200_000)
    truth = 5 + 2 + 3 - 2 * np.trace(linalg.sqrtm(spread))
    assert frechet_distance(a, b) == pytest.approx(truth, rel=0.01)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_distance_is_the_formula_of_the_paper() -> None:
    """With the matrix square root of the product of both covariances, as in the published code."""
    random = np.random.default_rng(1)
    a, b = random.standard_normal((60, 5)), random.standard_normal((50, 5)) @ random.standard_normal((5, 5))
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(0) - b.mean(0)
    formula = gap @ gap + np.trace(one + other - 2 * linalg.sqrtm(one @ other).real)
    assert frechet_distance(a, b) == pytest.approx(formula, rel=1e-9)


def test_kernel_distance_is_the_plain_double_sum() -> None:
    random = np.random.default_rng(2)
    a, b = random.standard_normal((7, 3)), random.standard_normal((5, 3)) + 0.5

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 3 + 1) ** 3)

    within = sum(np.mean([kernel(x, y) for x, y in itertools.permutations(s, 2)]) for s in (a, b))
    between = np.mean([kernel(x, y) for x, y in itertools.product(a, b)])
    assert kernel_distance(a, b) == pytest.approx(within - 2 * between, rel=1e-12)


def test_kernel_distance_of_one_distribution_is_zero_on_average() -> None:
    random = np.random.default_rng(3)
    found = [kernel_distance(*random.standard_normal((2, 40, 4))) for _ in range(200)]
    assert abs(np.mean(found)) < 4 * np.std(found) / 200**0.5
    assert min(found) < 0 < max(found)


def test_sets_that_cannot_be_compared_are_refused() -> None:
    for a, b in (
        (np.zeros((3, 2)), np.zeros((3, 4))),
        (np.zeros((1, 2)), np.zeros((3, 2))),
        (np.zeros(3), np.zeros(3)),
    ):
        with pytest.raises(InputError, match="features are"):
            frechet_distance(a, b)
        with pytest.raises(InputError, match="features are"):
            kernel_distance(a, b)
