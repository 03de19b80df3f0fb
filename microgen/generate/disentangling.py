"""Which latent number moves which descriptor: rank correlations and the DCI table.

Shapes: n samples, D latent numbers (codes), F descriptors (factors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from microgen.core import InputError

Array = NDArray[np.float64]
_TREES, _LEAF, _FOLDS = 60, 4, 4


@dataclass(frozen=True, eq=False)
class Disentanglement:
    """The table of Eastwood & Williams 2018 (https://openreview.net/forum?id=By-7dz-AZ).

    Attributes
    ----------
    importance
        ``(D, F)``: share of each code in foretelling each factor; columns add up to 1.
    informativeness
        ``(F,)``: R2 of each factor, foretold from all codes by a random forest, in samples it was not learned from;
        0 where it cannot be foretold.
    disentanglement
        ``(D,)``: 1 for a code that serves one factor only, 0 for one that serves all alike.
    completeness
        ``(F,)``: 1 for a factor that is foretold from one code only, 0 if from all alike.
    """

    importance: Array
    informativeness: Array
    disentanglement: Array
    completeness: Array

    @property
    def weights(self) -> Array:
        """Share of each code in all that can be foretold, ``(D,)``."""
        shares = (self.importance * self.informativeness).sum(axis=1)
        return np.asarray(shares / max(shares.sum(), 1e-12))

    def to_dict(self, codes: Sequence[str], factors: Sequence[str]) -> dict[str, Any]:
        """Return the table by names, and its three numbers: means that are weighted by what can be foretold."""
        known = self.informativeness.sum() > 0
        told = self.informativeness / max(self.informativeness.sum(), 1e-12)
        return {
            "disentanglement": float(self.weights @ self.disentanglement) if known else None,
            "completeness": float(told @ self.completeness) if known else None,
            "informativeness": float(self.informativeness.mean()),
            "factors": {
                name: {"r2": float(self.informativeness[j]), "completeness": float(self.completeness[j])}
                for j, name in enumerate(factors)
            },
            "codes": {
                name: {
                    "disentanglement": float(self.disentanglement[i]),
                    "weight": float(self.weights[i]),
                    "importance": dict(zip(factors, map(float, self.importance[i]), strict=True)),
                }
                for i, name in enumerate(codes)
            },
        }


def disentanglement(codes: Array, factors: Array) -> Disentanglement:
    """Foretell each factor from the codes by a random forest, and say how tidy the table of importances is.

    Factors that cannot be foretold have importances too, of noise; they weigh nothing in the disentanglement here
    (in the paper all factors weigh the same), and nothing in the mean completeness.

    Parameters
    ----------
    codes, factors
        ``(n, D)`` and ``(n, F)``; factors without a value on some sample are not allowed.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    if codes.shape[1] < 1 or factors.shape[1] < 1 or len(codes) < 4 * _FOLDS:
        raise InputError(f"a table of disentanglement needs codes, factors and {4 * _FOLDS} samples")
    forest = RandomForestRegressor(_TREES, min_samples_leaf=_LEAF, random_state=0)
    folds = KFold(_FOLDS, shuffle=True, random_state=0)
    importance, told = np.zeros((codes.shape[1], factors.shape[1])), np.zeros(factors.shape[1])
    for j, values in enumerate(factors.T):
        predicted = cross_val_predict(forest, codes, values, cv=folds)
        told[j] = max(0.0, 1 - float(np.mean((values - predicted) ** 2) / max(values.var(), 1e-300)))
        importance[:, j] = forest.fit(codes, values).feature_importances_
    return Disentanglement(importance, told, tidiness(importance * told, axis=1), tidiness(importance, axis=0))


def tidiness(table: Array, *, axis: int) -> Array:
    """Return 1 minus the entropy of the shares along an axis, in units of that of equal shares.

    >>> tidiness(np.array([[1.0, 0.0], [0.5, 0.5]]), axis=1).tolist()
    [1.0, 0.0]
    """
    total = table.sum(axis=axis, keepdims=True)
    shares = np.where(total > 0, table / np.where(total > 0, total, 1), 1 / table.shape[axis])
    if table.shape[axis] == 1:
        return np.ones(table.shape[1 - axis])
    terms = np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1)), 0.0)
    return np.asarray(1 + terms.sum(axis=axis) / np.log(table.shape[axis]))


def rank_correlations(codes: Array, factors: Array) -> Array:
    """Return Spearman's correlation of every code with every factor, ``(D, F)``.

    >>> rank_correlations(np.arange(4.0)[:, None], np.array([[1.0, 4.0], [2.0, 3.0], [3.0, 2.0], [9.0, 1.0]])).tolist()
    [[1.0, -1.0]]
    """
    ranks = [np.apply_along_axis(_ranks, 0, table) for table in (codes, factors)]
    scaled = [(r - r.mean(axis=0)) / np.maximum(r.std(axis=0), 1e-12) for r in ranks]
    return np.asarray((scaled[0].T @ scaled[1] / len(codes)).round(12))


def chance(samples: int, comparisons: int) -> float:
    """Return the rank correlation that the largest of so many, of unrelated numbers, exceeds once in twenty times."""
    from scipy.stats import norm

    return float(norm.ppf(1 - 0.05 / (2 * comparisons)) / np.sqrt(max(samples - 1, 1)))


def _ranks(values: Array) -> Array:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values))


def distinct(table: dict[str, Array], *, most: float = 0.95) -> dict[str, Array]:
    """Leave out numbers that do not change, and those that rank the samples as an earlier one does."""
    kept: dict[str, Array] = {}
    for name, values in table.items():
        if np.ptp(values) == 0:
            continue
        if all(abs(float(spearmanr(values, other).statistic)) < most for other in kept.values()):
            kept[name] = values
    return kept
