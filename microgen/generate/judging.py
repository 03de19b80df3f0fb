"""Whether frames on a line look like samples: measured descriptors, contrast, edges, and distance to other samples.

A cross-fade, the pixel average of two pictures, has less contrast than either, and far less gradient energy; halfway
between two unlike pictures about 0.7 and 0.5 of theirs. A frame that is a sample has what samples have.

Shapes: N frames, M independent samples, C channels, F features, S spatial axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from microgen.core import Condition, Microstructure
from microgen.nets.features import RandomFeatures
from microgen.stats import DESCRIPTORS, measure

if TYPE_CHECKING:
    from microgen.models.model import Model

Array = NDArray[np.float64]
INDEPENDENT = 2**40
"""First seed of the samples that frames are compared with: nobody interpolates from there."""
LEAST_LOSS = 0.1
"""Part of the gradient energy that a cross-fade of the ends must lose before frames can be told from it."""


@dataclass(frozen=True, eq=False)
class Population:
    """Texture features of independent samples as a function of what they were asked for.

    Attributes
    ----------
    regressors, features
        ``(M, R)`` and ``(M, F)``.
    """

    regressors: Array
    features: Array

    def own_distances(self) -> Array:
        """Distance of each independent sample to all of them, ``(M,)``; about 1."""
        hat = self.regressors @ np.linalg.pinv(self.regressors)
        left = np.maximum(1 - np.diag(hat), 1e-6)
        return _root_mean_square(self._residuals(self.regressors, self.features) / np.sqrt(left)[:, None], self.scatter)

    def distances(self, regressors: Array, features: Array) -> Array:
        """Root mean square of the deviations of features from those expected, in their standard deviations ``(N,)``."""
        leverage = ((regressors @ np.linalg.pinv(self.regressors)) ** 2).sum(axis=1)
        residuals = self._residuals(regressors, features) / np.sqrt(1 + leverage)[:, None]
        return _root_mean_square(residuals, self.scatter)

    def _residuals(self, regressors: Array, features: Array) -> Array:
        return np.asarray(features - regressors @ (np.linalg.pinv(self.regressors) @ self.features))

    @property
    def scatter(self) -> Array:
        """Standard deviation of each feature around what is expected, ``(F,)``."""
        freedom = max(1, len(self.features) - np.linalg.matrix_rank(self.regressors))
        squares = (self._residuals(self.regressors, self.features) ** 2).sum(axis=0) / freedom
        return np.asarray(np.sqrt(np.maximum(squares, 1e-12)))


def population(
    model: Model, conditions: Sequence[Condition], shape: Sequence[int] | None, count: int, **options: Any
) -> Population:
    """Draw `count` independent samples of the conditions, evenly spread over them."""
    chosen = [conditions[i] for i in np.linspace(0, len(conditions) - 1, count).round().astype(int)]
    latents = model.latents(range(INDEPENDENT, INDEPENDENT + count), shape)
    samples = list(model.decode(latents, chosen, shape, **options))
    return Population(regressors_of(model, chosen), features_of(model, samples))


def regressors_of(model: Model, conditions: Sequence[Condition]) -> Array:
    """Return 1 and the encoded scalars that differ, and their squares, of N conditions ``(N, R)``."""
    numbers = [
        np.array([spec.encode(c.scalars.get(spec.name, spec.low)).ravel() for c in conditions])
        for spec in model.conditions
    ]
    table = np.concatenate([np.ones((len(conditions), 1)), *numbers], axis=1).astype(np.float64)
    return np.concatenate([table, table[:, 1:] ** 2], axis=1)


def features_of(model: Model, structures: Sequence[Microstructure]) -> Array:
    """Return random texture features of fields ``(N, F)``."""
    look = RandomFeatures(model.codec.ndim, model.codec.channels)
    with torch.no_grad():
        return np.concatenate([look(model.encoded(one)[None].cpu()).double().numpy() for one in structures])


def measured(
    structures: Sequence[Microstructure], names: Sequence[str] | None = None, *, phase: int | None = None
) -> list[dict[str, float]]:
    """Measure the numbers of every descriptor that applies (or those named) on each structure."""
    return [
        {
            name: float(found.value)
            for name, found in measure(one, names, phase=phase, intervals=False).items()
            if found.value is not None
        }
        for one in structures
    ]


def unwrapped(values: Sequence[float], near: Sequence[float] | None, period: float | None) -> Array:
    """Return angles with the turns added that bring each nearest to what was asked for, or to the one before.

    >>> unwrapped([170, 2, 14], [170, 180, 190], 180.0).tolist()
    [170.0, 182.0, 194.0]
    """
    array = np.asarray(values, np.float64)
    if period is None:
        return array
    if near is None:
        return np.asarray(np.unwrap(array, period=period))
    return np.asarray(array + period * np.round((np.asarray(near) - array) / period))


def rank_correlation(requested: Sequence[float], found: Sequence[float]) -> float | None:
    """Spearman's correlation, or None where one side does not change."""
    if len(found) < 3 or np.ptp(found) == 0 or np.ptp(requested) == 0:
        return None
    return round(float(spearmanr(requested, found).statistic), 12)


def period_of(name: str) -> float | None:
    """Return the period of a descriptor, by its name with or without that of a phase."""
    row = DESCRIPTORS.get(name.partition(":")[0])
    return row.period if row else None


def contrast(x_NCS: Tensor) -> Array:
    """Return the standard deviation of each field ``(N,)``."""
    return np.asarray(x_NCS.double().flatten(1).std(dim=1).cpu().numpy())


def gradient_energy(x_NCS: Tensor) -> Array:
    """Return the mean squared difference of neighbours of each field ``(N,)``, summed over the axes.

    >>> gradient_energy(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])).tolist()
    [1.0]
    """
    x = x_NCS.double()
    steps = [x.diff(dim=axis).square().flatten(1).mean(dim=1) for axis in range(2, x.ndim)]
    return np.asarray(torch.stack(steps).sum(dim=0).cpu().numpy())


def cross_fade(x_NCS: Tensor, ts: Sequence[float]) -> dict[str, list[Any]]:
    """Compare frames with the pixel averages of the first and the last.

    Returns
    -------
    dict
        ``contrast`` and ``gradient_energy`` of each frame over what lies in proportion between the ends (1 if nothing
        is lost); the same of the pixel averages, ``fade_contrast`` and ``fade_gradient_energy``; and
        ``looks_like_cross_fade``: whether a frame is nearer to the pixel average than to the ends in both.
    """
    part = torch.tensor(list(ts), dtype=torch.float64).reshape(-1, *(1,) * (x_NCS.ndim - 1))
    ends = x_NCS[[0, -1]].double()
    fades = torch.lerp(ends[:1], ends[1:], part.to(ends.device))
    table: dict[str, Array] = {}
    for name, number in (("contrast", contrast), ("gradient_energy", gradient_energy)):
        whole = np.interp(ts, [0, 1], number(ends))
        whole = np.where(whole > 0, whole, 1.0)
        table[name], table[f"fade_{name}"] = number(x_NCS) / whole, number(fades) / whole
    alike = [table[n] < (1 + table[f"fade_{n}"]) / 2 for n in ("contrast", "gradient_energy")]
    telling = table["fade_gradient_energy"] < 1 - LEAST_LOSS
    listed: dict[str, list[Any]] = {name: values.tolist() for name, values in table.items()}
    return {**listed, "looks_like_cross_fade": (alike[0] & alike[1] & telling).tolist()}


def smoothness(features: Array, scale: Array) -> dict[str, float]:
    """Say how straight and even a row of frames is in texture features ``(N, F)``, in units of `scale` ``(F,)``.

    Returns
    -------
    dict
        ``straightness``: distance of the ends over the length of the way, 1 if straight. ``largest_step`` over the
        mean one, 1 if even.
    """
    steps = np.linalg.norm(np.diff(features / scale, axis=0), axis=1)
    length = float(steps.sum())
    if length == 0:
        return {"straightness": 1.0, "largest_step": 1.0}
    ends = float(np.linalg.norm((features[-1] - features[0]) / scale))
    return {"straightness": ends / length, "largest_step": float(steps.max() / steps.mean())}


def common(tables: Sequence[Mapping[str, float]]) -> list[str]:
    """Names that all tables have, in the order of the first."""
    return [name for name in (tables[0] if tables else {}) if all(name in table for table in tables)]


def _root_mean_square(residuals: Array, scatter: Array) -> Array:
    return np.asarray(np.sqrt(np.mean((residuals / scatter) ** 2, axis=1)))
