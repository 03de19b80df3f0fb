"""What was asked for against what came out, and matching real windows to what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Microstructure
from microgen.data.measures import scale_of
from microgen.evaluate.windows import Indices

Array = NDArray[np.float64]

TOLERANCE = 0.15
"""Real windows within this share of a requested value count as having that value."""

NEAR_DEG = 10.0
"""Real windows within so many degrees of a requested direction count as having it."""

FEW = 10
"""Up to so many different requests are taken one by one, more in classes of equal numbers."""

CLASSES = 5

APART = 0.15
"""Largest difference of distribution functions at which requests count as distributed like the real windows."""


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
        ``measured / requested - 1``; of directions the difference in degrees.
    spread
        Half the range of the middle 68 % of the samples over the median; of directions in degrees.
    real
        Median over real windows for which the whole picture shows the requested value, cut out and measured alone
        as the samples are; NaN without any. A model is trained with the value in the whole picture, so what `real`
        differs from `requested` is owed to measuring a small window alone, not to the model.
    error_real
        ``measured / real - 1``; of directions the difference in degrees.
    n, lost
        Samples that could be measured, and that could not.
    n_real
        Real windows behind `real`.
    in_degrees
        Whether these are directions modulo 180 degrees.
    """

    name: str
    requested: float
    measured: float
    interval: tuple[float, float]
    error: float
    spread: float
    real: float
    error_real: float
    n: int
    lost: int
    n_real: int
    in_degrees: bool = False


def requested(generated: Sequence[Microstructure]) -> dict[str, Array]:
    """Scalar conditions that the samples say they were asked for, ``(n,)`` each; only those that all samples carry."""
    asked = [_asked(m.source) for m in generated]
    names = set(asked[0]).intersection(*asked[1:]) if asked else set()
    return {name: np.array([one[name] for one in asked]) for name in sorted(names)}


def _asked(source: Mapping[str, Any]) -> dict[str, float]:
    """Numbers that a recipe says were asked for."""
    table = _condition(source)
    return {str(k): float(v) for k, v in table.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def _condition(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Scalars of the condition in a recipe: ``condition``, or its ``scalars`` where maps stand beside them."""
    recipe = source.get("recipe", source)
    condition = recipe.get("condition") if isinstance(recipe, Mapping) else None
    table = condition.get("scalars", condition) if isinstance(condition, Mapping) else {}
    return table if isinstance(table, Mapping) else {}


def requested_classes(generated: Sequence[Microstructure]) -> dict[str, set[str]]:
    """Labels of each class that the samples say they were asked for; only classes that all samples carry."""
    asked = [{k: v for k, v in _condition(m.source).items() if isinstance(v, str)} for m in generated]
    names = set(asked[0]).intersection(*asked[1:]) if asked else set()
    return {name: {one[name] for one in asked} for name in sorted(names)}


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
    row = _directions_obeyed if scale_of(name) == "axial" else _obeyed
    return [row(name, asked[members], measured[members], real, rng) for members in _classes(asked)]


def _obeyed(name: str, asked: Array, measured: Array, real: tuple[Array, Array], rng: np.random.Generator) -> Obeyed:
    """Medians of one class; within a class each value counts relative to its own request."""
    request, known = float(np.median(asked)), np.isfinite(measured)
    like, n_real = _like(request, *real)
    n, lost, nothing = int(known.sum()), int((~known).sum()), float("nan")
    if not n:
        return Obeyed(name, request, nothing, (nothing, nothing), nothing, nothing, like, nothing, 0, lost, n_real)
    relative = (measured / asked)[known]
    medians = np.median(rng.choice(relative, (1000, n)), axis=1)
    middle = float(np.median(relative))
    low, high = (float(v) for v in np.quantile(medians, [0.025, 0.975]) * request)
    spread = float(np.diff(np.quantile(relative, [0.16, 0.84]))[0] / 2 / middle)
    value = middle * request
    return Obeyed(name, request, value, (low, high), middle - 1, spread, like, value / like - 1, n, lost, n_real)


def _directions_obeyed(
    name: str, asked: Array, measured: Array, real: tuple[Array, Array], rng: np.random.Generator
) -> Obeyed:
    """The same for directions modulo 180 degrees: differences, and their axial mean, in degrees."""
    known = np.isfinite(measured)
    request = float(asked[0]) + axial_mean(_apart(asked, asked[0]))
    off = _apart(measured[known], asked[known])
    alone, within = real
    near = np.isfinite(alone) & (np.abs(_apart(within, request)) < NEAR_DEG)
    like = (request + axial_mean(_apart(alone[near], within[near]))) % 180 if near.any() else float("nan")
    n, lost, nothing = int(known.sum()), int((~known).sum()), float("nan")
    if not n:
        numbers = (nothing, (nothing, nothing), nothing, nothing, like, nothing)
        return Obeyed(name, request, *numbers, 0, lost, int(near.sum()), in_degrees=True)
    middle = axial_mean(off)
    drawn = [_apart(axial_mean(some), middle) for some in rng.choice(off, (1000, n))]
    low, high = (float(v) + request + middle for v in np.quantile(drawn, [0.025, 0.975]))
    spread = float(np.diff(np.quantile(_apart(off, middle), [0.16, 0.84]))[0] / 2)
    value = request + middle
    against = float(_apart(np.array(value), like))
    return Obeyed(
        name, request, value, (low, high), middle, spread, like, against, n, lost, int(near.sum()), in_degrees=True
    )


def axial_mean(degrees: Array) -> float:
    """Mean of directions modulo 180 degrees (K. V. Mardia and P. E. Jupp, Directional Statistics), -90 to 90.

    >>> round(axial_mean(np.array([170.0, 20.0])), 6)
    5.0
    """
    double = np.deg2rad(2 * np.asarray(degrees))
    return float(np.rad2deg(np.arctan2(np.sin(double).mean(), np.cos(double).mean())) / 2)


def _apart(directions: Any, others: Any) -> Any:
    """Directions minus others, -90 to 90 degrees."""
    return (np.asarray(directions) - others + 90) % 180 - 90


def _like(request: float, alone: Array, within: Array) -> tuple[float, int]:
    """What real windows with the requested value in their whole picture show alone, and how many these are."""
    near = np.isfinite(alone) & (within > request / (1 + TOLERANCE)) & (within < request * (1 + TOLERANCE))
    return (float(np.median(alone[near] / within[near]) * request) if near.any() else float("nan")), int(near.sum())


def _classes(asked: Array) -> list[Indices]:
    values = np.unique(asked)
    if len(values) <= FEW:
        return [np.flatnonzero(asked == v) for v in values]
    return [np.sort(part) for part in np.array_split(np.argsort(asked, kind="stable"), CLASSES)]


@dataclass(frozen=True, eq=False)
class Matching:
    """Classes for samples (by request) and real windows (by measurement), -1 outside all of them.

    Attributes
    ----------
    generated, real
        Class of each window.
    edges
        Lower and upper value of each class.
    fixed
        Whether the requests are a few fixed values.
    """

    generated: Indices
    real: Indices
    edges: Array
    fixed: bool


def unlike(asked: Array, real: Array, weight: Array) -> bool:
    """Whether requests are distributed unlike real windows: distribution functions apart by more than :data:`APART`.

    Parameters
    ----------
    real, weight
        Values of the held-out windows and how much each counts, ``(k,)``.
    """
    grid = np.concatenate([asked, real])
    requests = np.searchsorted(np.sort(asked), grid, side="right") / len(asked)
    order = np.argsort(real)
    below = np.append(0.0, np.cumsum(weight[order]))[np.searchsorted(real[order], grid, side="right")]
    return bool(np.abs(requests - below / weight.sum()).max() > APART)


def match(asked: Array, real: Array) -> Matching:
    """Put samples by request and real windows by measured value into the same classes.

    A few fixed requests: a class is the request within :data:`TOLERANCE`, or half way to the next one. Many
    different requests: classes hold equally many of them; their edges lie half way between neighbouring requests.
    """
    values, counts = np.unique(asked, return_counts=True)
    middle = _between(values[1:], values[:-1])
    fixed = len(values) <= FEW
    if fixed:
        low = np.maximum(values / (1 + TOLERANCE), np.append(-np.inf, middle))
        high = np.minimum(values * (1 + TOLERANCE), np.append(middle, np.inf))
    else:
        place = (np.cumsum(counts) - counts / 2) / len(asked)
        cuts = middle[np.flatnonzero(np.diff((place * CLASSES).astype(int)))]
        low = np.append(_beyond(values[0], middle[0]), cuts)
        high = np.append(cuts, _beyond(values[-1], middle[-1]))
    return Matching(_class_of(asked, low, high), _class_of(real, low, high), np.stack([low, high], axis=1), fixed)


def _between(a: Array, b: Array) -> Array:
    """Half way between values: on a logarithmic scale, unless one is not positive."""
    positive = np.minimum(a, b) > 0
    return np.where(positive, np.sqrt(np.abs(a * b)), (a + b) / 2)


def _beyond(value: float, edge: float) -> float:
    """As far on the other side of `value` as `edge` is on this one."""
    return value**2 / edge if min(value, edge) > 0 else 2 * value - edge


def _class_of(values: Array, low: Array, high: Array) -> Indices:
    inside = (values[:, None] >= low) & (values[:, None] < high)
    return np.where(inside.any(axis=1), inside.argmax(axis=1), -1)
