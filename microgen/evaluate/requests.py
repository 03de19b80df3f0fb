"""What was asked for against what came out, and matching real windows to what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Microstructure
from microgen.evaluate.windows import Indices

Array = NDArray[np.float64]

TOLERANCE = 0.15
"""Real windows within this share of a requested size count as being of that size."""

FEW = 10
"""Up to so many different requests are taken one by one, more in classes of equal numbers."""

CLASSES = 5


@dataclass(frozen=True)
class Obeyed:
    """One requested value and what was measured on the samples made for it.

    Attributes
    ----------
    name
        Condition, ``"grain_size_um"``.
    requested, measured
        Value asked for and the median of what was measured, in the unit of the condition.
    interval
        95 % bootstrap interval of the median.
    error
        ``measured / requested - 1``.
    spread
        Half the range of the middle 68 % of the samples over the median.
    real
        Median over real windows of that size (by the whole picture), measured in the same way; NaN without any.
        It shows what part of `error` is the measurement on a small window.
    n
        Samples.
    """

    name: str
    requested: float
    measured: float
    interval: tuple[float, float]
    error: float
    spread: float
    real: float
    n: int


def requested(generated: Sequence[Microstructure]) -> dict[str, Array]:
    """Scalar conditions that the samples say they were asked for, ``(n,)`` each; only those that all samples carry."""
    asked = [_asked(m.source) for m in generated]
    names = set(asked[0]).intersection(*asked[1:]) if asked else set()
    return {name: np.array([one[name] for one in asked]) for name in sorted(names)}


def _asked(source: Mapping[str, Any]) -> dict[str, float]:
    """Scalars of the condition in a recipe: ``condition``, or its ``scalars`` where maps stand beside them."""
    recipe = source.get("recipe", source)
    condition = recipe.get("condition") if isinstance(recipe, Mapping) else None
    table = condition.get("scalars", condition) if isinstance(condition, Mapping) else {}
    return {str(k): float(v) for k, v in table.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def obeyed(name: str, asked: Array, measured: Array, real: tuple[Array, Array], *, seed: int) -> list[Obeyed]:
    """Compare requested with measured values; many different requests are put into classes of equal numbers.

    Parameters
    ----------
    asked, measured
        Per sample, ``(n,)``.
    real
        Of real windows: measured on the window alone, and on the whole picture, ``(k,)`` each.
    """
    rng = np.random.default_rng([seed, 6])
    rows = []
    for members in _classes(asked):
        known = members[np.isfinite(measured[members])]
        if len(known):
            rows.append(_obeyed(name, asked[known], measured[known], real, rng))
    return rows


def _obeyed(name: str, asked: Array, measured: Array, real: tuple[Array, Array], rng: np.random.Generator) -> Obeyed:
    """Medians of one class; within a class each value counts relative to its own request."""
    request = float(np.median(asked))
    relative = measured / asked
    medians = np.median(rng.choice(relative, (1000, len(relative))), axis=1)
    middle = float(np.median(relative))
    low, high = (float(v) for v in np.quantile(medians, [0.025, 0.975]) * request)
    spread = float(np.diff(np.quantile(relative, [0.16, 0.84]))[0] / 2 / middle)
    alone, within = real
    near = np.isfinite(alone) & (np.abs(np.log(within / request)) < np.log1p(TOLERANCE))
    like = float(np.median(alone[near] / within[near]) * request) if near.any() else float("nan")
    return Obeyed(name, request, middle * request, (low, high), middle - 1, spread, like, len(measured))


def _classes(asked: Array) -> list[Indices]:
    values = np.unique(asked)
    if len(values) <= FEW:
        return [np.flatnonzero(asked == v) for v in values]
    return [np.sort(part) for part in np.array_split(np.argsort(asked, kind="stable"), CLASSES)]


@dataclass(frozen=True, eq=False)
class Matching:
    """Size classes for samples (by request) and real windows (by measurement), -1 outside all of them.

    Attributes
    ----------
    generated, real
        Class of each window.
    edges
        Lower and upper size of each class.
    fixed
        Whether the requests are a few fixed sizes.
    """

    generated: Indices
    real: Indices
    edges: Array
    fixed: bool


def unlike(asked: Array, real: Array) -> bool:
    """Whether requests are a few fixed values, or distributed unlike the sizes of the real windows (by a fifth)."""
    if len(np.unique(asked)) <= FEW:
        return True
    grid = np.concatenate([asked, real])
    share = [np.searchsorted(np.sort(v), grid, side="right") / len(v) for v in (asked, real)]
    return bool(np.abs(share[0] - share[1]).max() > 0.2)


def match(asked: Array, real: Array) -> Matching:
    """Put samples by request and real windows by measured size into the same classes.

    A few fixed requests: a class is the request within :data:`TOLERANCE`, or half way to the next one. Many
    different requests: classes hold equally many of them.
    """
    values = np.unique(asked)
    fixed = len(values) <= FEW
    if fixed:
        middle = np.sqrt(values[1:] * values[:-1])
        low = np.maximum(values / (1 + TOLERANCE), np.append(0, middle))
        high = np.minimum(values * (1 + TOLERANCE), np.append(middle, np.inf))
    else:
        cuts = np.quantile(asked, np.linspace(0, 1, CLASSES + 1))
        low, high = cuts[:-1], np.append(cuts[1:-1], np.nextafter(cuts[-1], np.inf))
    return Matching(_class_of(asked, low, high), _class_of(real, low, high), np.stack([low, high], axis=1), fixed)


def _class_of(values: Array, low: Array, high: Array) -> Indices:
    inside = (values[:, None] >= low) & (values[:, None] < high)
    return np.where(inside.any(axis=1), inside.argmax(axis=1), -1)
