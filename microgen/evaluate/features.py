"""Measuring windows, and writing every descriptor as vectors whose mean differences are its distances.

Three kinds of descriptor become one: with ``v`` the vector of a window, the distance between two sets is
``sum_j w_j |mean(v_j of one set) - mean(v_j of the other)|``.

- *scalar*: ``v`` is the step function of the value on a grid; the distance is Wasserstein-1 of the two sets.
- *distribution*: ``v`` is the distribution function of the values inside the window; Wasserstein-1 again.
- *curve*: ``v`` is the curve itself; the distance is the mean absolute difference of the mean curves.

Directions are the exception: ``v`` is a point on the unit circle, the distance the length of the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Microstructure
from microgen.stats import DESCRIPTORS, measure
from microgen.stats.views import present_phases, regions

Array = NDArray[np.float64]
Measured = Mapping[str, Any]

GRID = 400
"""Points on which distribution functions are compared."""


@dataclass(frozen=True, eq=False)
class Feature:
    """One descriptor of all windows.

    Attributes
    ----------
    name, unit, kind
        As in the table of descriptors; `unit` is that of the distance.
    vectors
        One row per window, ``(n, m)``; rows without a value are zero.
    valid
        Windows on which it could be measured, ``(n,)``.
    weights
        Weight of each column, ``(m,)``.
    x
        Abscissa of the columns: lag or frequency of a curve, value of a distribution.
    values
        The number of each window, ``(n,)`` (the mean of a distribution or curve), NaN where there is none.
    """

    name: str
    unit: str
    kind: str
    vectors: Array
    valid: NDArray[np.bool_]
    weights: Array
    x: Array
    values: Array

    def means(self, draws: Array) -> Array:
        """Mean vector of each draw, ``(r, m)``, for draws given as counts of windows ``(r, n)``."""
        counts = draws * self.valid
        total = counts.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            return np.asarray((counts @ self.vectors) / np.where(total > 0, total, np.nan))

    def distance(self, a: Array, b: Array) -> Array:
        """Distance between the mean vectors `a` and `b`, both ``(..., m)``."""
        if self.kind == "axial":
            return np.asarray(np.linalg.norm(a - b, axis=-1))
        return np.asarray(np.abs(a - b) @ self.weights)


def measure_all(windows: Sequence[Microstructure]) -> list[Measured]:
    """Measure every descriptor that applies on each window; what a window does not allow is left out of its table.

    Where windows show several phases, all of these are measured on every window, also on one that lacks some.
    """
    names = _phases(windows)
    tables = []
    for window in windows:
        chosen = [window.phases.index(name) for name in names if name in window.phases] or None
        tables.append(measure(window, phase=chosen, intervals=False))
    return [{name: m for name, m in table.items() if _has_value(m)} for table in tables]


def _phases(windows: Sequence[Microstructure]) -> list[str]:
    """Names of all phases that windows show, where they have names and some window shows several under their names."""
    shown = [w for w in windows if "phase" in w and w.phases]
    if not any("" not in regions(w, None) for w in shown):
        return []
    return list(dict.fromkeys(w.phases[i] for w in shown for i in present_phases(w) if i < len(w.phases)))


def _has_value(measurement: Any) -> bool:
    return any(getattr(measurement, name) is not None for name in ("value", "y", "values"))


def features(measured: Sequence[Measured]) -> dict[str, Feature]:
    """Write each descriptor that some window has as a :class:`Feature`, by name, in the order of the table."""
    names = sorted({n for table in measured for n in table}, key=lambda n: (list(DESCRIPTORS).index(_base(n)), n))
    made = ((name, _feature(name, [table.get(name) for table in measured])) for name in names)
    return _distinct({name: feature for name, feature in made if feature is not None})


def _distinct(found: dict[str, Feature]) -> dict[str, Feature]:
    """Leave out descriptors that are another one under a second name: the same unit and values on every window."""
    kept: dict[str, Feature] = {}
    for name, feature in found.items():
        if not any(_alike(feature, other) for other in kept.values()):
            kept[name] = feature
    return kept


def _alike(one: Feature, other: Feature) -> bool:
    """Whether all values agree, but for rounding: as the outline of a phase and that of all others together."""
    alike = (one.unit, one.kind) == (other.unit, other.kind)
    return alike and np.allclose(one.values, other.values, rtol=1e-6, atol=0, equal_nan=True)


def _base(name: str) -> str:
    """Name in the table of descriptors: of several phases each has its name after a colon."""
    return name.partition(":")[0]


def _feature(name: str, column: list[Any]) -> Feature | None:
    descriptor = DESCRIPTORS[_base(name)]
    if descriptor.kind == "curve":
        return _curve(name, descriptor.unit, column)
    if descriptor.period:
        return _axial(name, column, descriptor.period)
    samples = [_numbers(entry, descriptor.kind) for entry in column]
    return _distribution(name, descriptor.unit, descriptor.kind, samples)


def _numbers(entry: Any, kind: str) -> Array:
    if entry is None:
        return np.zeros(0)
    found = np.atleast_1d(np.asarray(entry.value if kind == "scalar" else entry.values, dtype=np.float64)).ravel()
    return found[np.isfinite(found)]


def _distribution(name: str, unit: str, kind: str, samples: list[Array]) -> Feature | None:
    """Distribution functions of all windows on one grid; between the points of the grid they are constant."""
    pooled = np.unique(np.concatenate(samples))
    if not pooled.size:
        return None
    grid = pooled if len(pooled) <= GRID else np.unique(np.quantile(pooled, np.linspace(0, 1, GRID)))
    vectors = np.array([np.searchsorted(np.sort(s), grid, side="right") / max(len(s), 1) for s in samples])
    values = np.array([s.mean() if len(s) else np.nan for s in samples])
    return Feature(name, unit, kind, vectors, np.isfinite(values), np.append(np.diff(grid), 0.0), grid, values)


def _axial(name: str, column: list[Any], period: float) -> Feature:
    """Angles with a period: compared as mean vectors of the whole turn, so that 179 and 1 degree are neighbours."""
    angle = np.array([np.nan if entry is None else float(entry.value) for entry in column])
    turn = 2 * np.pi / period * np.nan_to_num(angle)
    valid = np.isfinite(angle)
    vectors = np.stack([np.cos(turn), np.sin(turn)], axis=1) * valid[:, None]
    return Feature(name, "1", "axial", vectors, valid, np.ones(2), np.arange(2.0), angle)


def _curve(name: str, unit: str, column: list[Any]) -> Feature:
    """Curves on the abscissa of the longest one; spectra by the logarithm of their values."""
    logarithmic = "spectrum" in name
    known = [entry for entry in column if entry is not None]
    x = np.asarray(max((entry.x for entry in known), key=len), dtype=np.float64)
    vectors = np.zeros((len(column), len(x)))
    for row, entry in zip(vectors, column, strict=True):
        if entry is not None:
            y = np.asarray(entry.y, dtype=np.float64)
            row[:] = np.interp(x, entry.x, np.log10(np.maximum(y, 1e-300)) if logarithmic else y)
    valid = np.array([entry is not None for entry in column])
    values = np.where(valid, vectors.mean(axis=1), np.nan)
    weights = np.full(len(x), 1 / len(x))
    return Feature(name, "decades" if logarithmic else unit, "curve", vectors, valid, weights, x, values)
