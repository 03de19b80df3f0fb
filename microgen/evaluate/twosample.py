"""Can a classifier tell generated from real? And does a kernel test see a difference?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.evaluate.features import Feature
from microgen.evaluate.windows import Indices

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Accuracy:
    """How well a classifier told two sets apart: 0.5 not at all, 1 always.

    Attributes
    ----------
    logistic, forest
        Cross-validated balanced accuracy of a linear and of a tree classifier.
    interval
        95 % interval of the better one, over pictures.
    n
        Windows of each set.
    """

    logistic: float
    forest: float
    interval: tuple[float, float]
    n: int

    @property
    def best(self) -> float:
        """The better of the two."""
        return max(self.logistic, self.forest)


def table(features: list[Feature], textures: Array, real: Indices) -> Array:
    """Numbers of every window ``(n, k)`` in units of the spread of real ones; missing ones have columns of their own.

    Parameters
    ----------
    real
        Rows of the real windows. Numbers that are alike on all of these are scaled by their spread on all windows.
    """
    columns = [f.values for f in features if f.kind != "axial"]
    numbers = np.concatenate([np.stack(columns, axis=1), textures], axis=1) if columns else textures
    missing = np.isnan(numbers)
    known = np.where(missing[real].all(axis=0), 0.0, numbers[real])
    filled = np.where(missing, np.nanmedian(known, axis=0), numbers)
    smallest = 1e-9 * np.maximum(1.0, np.abs(filled).max(axis=0))
    spread = filled[real].std(axis=0)
    spread = np.where(spread > smallest, spread, filled.std(axis=0))
    used = spread > smallest
    scaled = (filled[:, used] - filled[real][:, used].mean(axis=0)) / spread[used]
    return np.concatenate([scaled, missing[:, missing.any(axis=0)].astype(np.float64)], axis=1)


def tell_apart(numbers: Array, first: Indices, second: Indices, groups: Indices, *, seed: int) -> Accuracy:
    """Classifier two-sample test, cross-validated so that no picture is on both sides.

    Parameters
    ----------
    numbers
        Features of all windows, ``(n, k)``.
    first, second
        Rows of the two sets, equally many.
    groups
        Picture of each window of the table, ``(n,)``; pictures of the two sets have different numbers.

    References
    ----------
    Lopez-Paz, Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017, arXiv:1610.06545.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.concatenate([first, second])
    labels = np.repeat([0, 1], [len(first), len(second)])
    models = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500, class_weight="balanced")),
        "forest": RandomForestClassifier(
            60, min_samples_leaf=3, class_weight="balanced_subsample", random_state=seed % 2**32
        ),
    }
    right = {name: _hits(model, numbers[rows], labels, groups[rows], seed) for name, model in models.items()}
    score = {name: _balanced_accuracy(hits, labels) for name, hits in right.items()}
    best = max(score, key=lambda name: score[name])
    interval = _over_pictures(right[best], labels, groups[rows], seed)
    return Accuracy(score["logistic"], score["forest"], interval, len(first))


def _hits(model: Any, numbers: Array, labels: Indices, groups: Indices, seed: int) -> NDArray[np.bool_]:
    from sklearn.model_selection import StratifiedGroupKFold

    smallest = min(len(np.unique(groups[labels == label])) for label in (0, 1))
    folds = StratifiedGroupKFold(min(5, smallest), shuffle=True, random_state=seed % 2**32)
    hits = np.zeros(len(labels), dtype=bool)
    for train, test in folds.split(numbers, labels, groups):
        hits[test] = model.fit(numbers[train], labels[train]).predict(numbers[test]) == labels[test]
    return hits


def _balanced_accuracy(hits: NDArray[np.bool_], labels: Indices) -> float:
    return float(np.mean([hits[labels == label].mean() for label in (0, 1)]))


def _over_pictures(hits: NDArray[np.bool_], labels: Indices, groups: Indices, seed: int) -> tuple[float, float]:
    """Bootstrap interval of the balanced accuracy, drawing whole pictures of each set."""
    rng = np.random.default_rng([seed, 4])
    means = np.zeros(1000)
    for label in (0, 1):
        _, place = np.unique(groups[labels == label], return_inverse=True)
        size, sum_of_hits = np.bincount(place), np.bincount(place, hits[labels == label])
        drawn = rng.integers(len(size), size=(len(means), len(size)))
        means += sum_of_hits[drawn].sum(axis=1) / size[drawn].sum(axis=1) / 2
    low, high = np.quantile(means, [0.025, 0.975])
    return (float(low), float(high))


def kernel(numbers: Array, real: Indices) -> Array:
    """Gaussian kernel between all windows ``(n, n)``; its width is the median distance of the real ones."""
    squared = np.maximum(0, (numbers**2).sum(1)[:, None] + (numbers**2).sum(1)[None] - 2 * numbers @ numbers.T)
    width = np.median(squared[np.ix_(real, real)][np.triu_indices(len(real), 1)])
    return np.asarray(np.exp(-squared / max(width, 1e-12)))


def discrepancy(gram: Array, a: Array, b: Array) -> Array:
    """Maximum mean discrepancy of pairs of draws, given as counts ``(r, n)``; zero where they are equal.

    References
    ----------
    Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012) 723.
    """
    difference = _shares(a) - _shares(b)
    return np.asarray(np.sqrt(np.maximum(0, np.einsum("rn,rn->r", difference @ gram, difference))))


def _shares(counts: Array) -> Array:
    """Counts as shares of their sum; NaN for an empty draw."""
    total = counts.sum(axis=1, keepdims=True)
    return np.asarray(counts / np.where(total > 0, total, np.nan))


def permutation_p(gram: Array, first: Indices, second: Indices, *, seed: int, repeats: int = 999) -> float:
    """Share of random exchanges of windows between two sets that give at least the discrepancy seen."""
    rng = np.random.default_rng([seed, 5])
    rows = np.concatenate([first, second])
    sign = np.repeat([1 / len(first), -1 / len(second)], [len(first), len(second)])
    signs = np.array([sign, *(rng.permutation(sign) for _ in range(repeats))])
    values = np.einsum("rn,rn->r", signs @ gram[np.ix_(rows, rows)], signs)
    return float(np.mean(values >= values[0] - 1e-12))
