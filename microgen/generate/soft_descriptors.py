"""Descriptors that a gradient passes through, for searching a latent space downhill.

Each is the descriptor of the same name in :data:`microgen.stats.DESCRIPTORS`, written in torch. A phase is told by a
smooth step instead of a comparison; where the step is sharp, the values are those that :mod:`microgen.stats` counts.

Shapes: B batch, S two or three spatial axes, K points of a curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microgen.stats.phases import direction_weights, directions


@dataclass(frozen=True)
class Region:
    """Which values are the phase of interest: those above `low` and, if there is one, below `high`.

    Attributes
    ----------
    low, high
        In the units of the field; labels lie half way between two limits.
    width
        Distance over which the step rises from 1/4 to 3/4 is 2.2 of these. 0 compares.

    Examples
    --------
    >>> Region(0.5)(torch.tensor([[0.0, 1.0]]))
    tensor([[0., 1.]])
    >>> Region(0.5, 1.5, width=0.1)(torch.tensor([[1.0, 1.5, 2.0]])).round(decimals=2)
    tensor([[0.9900, 0.5000, 0.0100]])
    """

    low: float
    high: float = math.inf
    width: float = 0.0

    def __call__(self, values_BS: Tensor) -> Tensor:
        """Return the share of each grid point that is in the phase, 0 to 1, ``(B, *S)``."""
        above = self._step(values_BS - self.low)
        return above if math.isinf(self.high) else above * self._step(self.high - values_BS)

    def straight_through(self, values_BS: Tensor) -> Tensor:
        """Return exactly 0 or 1, with the gradient of the smooth step (Bengio et al. 2013, arXiv:1308.3432)."""
        smooth = self(values_BS)
        hard = Region(self.low, self.high)(values_BS.detach())
        return smooth + (hard - smooth).detach()

    def _step(self, over: Tensor) -> Tensor:
        return torch.sigmoid(over / self.width) if self.width else (over > 0).to(over.dtype)


def phase_fraction(region_BS: Tensor, *, spacing: Sequence[float]) -> Tensor:
    """Return the fraction of the phase ``(B,)``."""
    return region_BS.flatten(1).mean(dim=1)


def specific_surface(region_BS: Tensor, *, spacing: Sequence[float]) -> Tensor:
    """Return the surface of a phase per volume in 1/um, ``(B,)``.

    The total variation along 4 directions (13 in 3-D) that :func:`microgen.stats.specific_surface` counts crossings
    in; the difference of two neighbours is the probability that they are not of one phase.
    """
    ndim = region_BS.ndim - 1
    vectors = directions(ndim)
    steps = vectors.astype(np.float64) * np.asarray(spacing, np.float64)
    total = region_BS.new_zeros(len(region_BS))
    for vector, step, weight in zip(vectors, steps, direction_weights(steps), strict=True):
        near, far = _pair(region_BS, vector)
        differ = (near * (1 - far) + far * (1 - near)).flatten(1).mean(dim=1)
        total = total + float(weight / np.linalg.norm(step)) * differ
    return total * (math.pi / 2 if ndim == 2 else 2.0)


def s2(region_BS: Tensor, *, spacing: Sequence[float], covariance: bool = False) -> Tensor:
    """Return the two-point correlation by distance ``(B, K)``, at the distances of :func:`microgen.stats.s2`.

    Wiener-Khinchin with zeros around the frame: every lag is averaged over the pairs that lie inside.

    Parameters
    ----------
    covariance
        Of the values without their mean.
    """
    values = region_BS
    if covariance:
        values = values - values.flatten(1).mean(dim=1).reshape(-1, *(1,) * (values.ndim - 1))
    grid = values.shape[1:]
    axes = tuple(range(1, values.ndim))
    spectrum = torch.fft.rfftn(values, s=[2 * n for n in grid], dim=axes)
    sums = torch.fft.irfftn(spectrum.abs().square(), s=[2 * n for n in grid], dim=axes)
    shell, pairs, wanted = _shells(tuple(grid), tuple(spacing))
    means = sums.flatten(1)[:, wanted.to(values.device)] / pairs.to(values)
    count = int(shell.max()) + 1
    totals = values.new_zeros(len(values), count).index_add(1, shell.to(values.device), means)
    inside = torch.bincount(shell, minlength=count).to(values)
    return totals[:, inside > 0] / inside[inside > 0]


def distances_um(grid: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """Return the abscissa ``(K,)`` of :func:`s2` in micrometres: mean distance of the lags of each shell."""
    shell, _, wanted = _shells(tuple(grid), tuple(spacing))
    squares = torch.zeros([2 * n for n in grid], dtype=torch.float64)
    for axis, (n, step) in enumerate(zip(grid, spacing, strict=True)):
        squares = squares + (_lags(n) * step).square().reshape([-1 if a == axis else 1 for a in range(len(grid))])
    sums = torch.bincount(shell, squares.sqrt().flatten()[wanted])
    inside = torch.bincount(shell)
    return sums[inside > 0] / inside[inside > 0]


def correlation_length(values_BS: Tensor, *, spacing: Sequence[float]) -> Tensor:
    """Return the distance in micrometres at which the auto-covariance has fallen to 1/e, ``(B,)``.

    Interpolated linearly as in :func:`microgen.stats.correlation_length`; half of the shortest edge where it has not.
    """
    covariance = s2(values_BS, spacing=spacing, covariance=True)
    x = distances_um(values_BS.shape[1:], spacing).to(values_BS)
    level = covariance[:, :1] / math.e
    below = covariance < level
    index = torch.where(below.any(dim=1), below.to(torch.int8).argmax(dim=1), len(x) - 1).clamp_min(1)[:, None]
    high, low = covariance.gather(1, index - 1), covariance.gather(1, index)
    start, end = x[index - 1], x[index]
    part = ((high - level) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return (start + part * (end - start))[:, 0]


def intensity_mean(values_BS: Tensor, *, spacing: Sequence[float]) -> Tensor:
    """Return the mean value ``(B,)``."""
    return values_BS.flatten(1).mean(dim=1)


def intensity_std(values_BS: Tensor, *, spacing: Sequence[float]) -> Tensor:
    """Return the standard deviation of the values ``(B,)``."""
    return values_BS.flatten(1).var(dim=1, correction=0).clamp_min(1e-12).sqrt()


def intensity_skewness(values_BS: Tensor, *, spacing: Sequence[float]) -> Tensor:
    """Return the skewness of the values ``(B,)``."""
    return _standard(values_BS).pow(3).mean(dim=1)


def intensity_kurtosis(values_BS: Tensor, *, spacing: Sequence[float]) -> Tensor:
    """Return the excess kurtosis of the values ``(B,)``."""
    return _standard(values_BS).pow(4).mean(dim=1) - 3


OF_REGION: dict[str, Callable[..., Tensor]] = {
    "phase_fraction": phase_fraction,
    "specific_surface_per_um": specific_surface,
    "s2": s2,
}
"""Descriptors of a phase, by name: ``function(region (B, *S), *, spacing)``."""

OF_VALUES: dict[str, Callable[..., Tensor]] = {
    "correlation_length_um": correlation_length,
    "intensity_mean": intensity_mean,
    "intensity_std": intensity_std,
    "intensity_skewness": intensity_skewness,
    "intensity_kurtosis": intensity_kurtosis,
}
"""Descriptors of gray values, by name: ``function(values (B, *S), *, spacing)``."""


def _standard(values_BS: Tensor) -> Tensor:
    flat = values_BS.flatten(1)
    spread = flat.var(dim=1, correction=0, keepdim=True).clamp_min(1e-12).sqrt()
    return (flat - flat.mean(dim=1, keepdim=True)) / spread


def _pair(values_BS: Tensor, vector: Any) -> tuple[Tensor, Tensor]:
    """Values at both ends of a step, where both lie inside the frame."""
    sizes = values_BS.shape[1:]
    near = tuple(slice(max(0, -int(d)), n - max(0, int(d))) for d, n in zip(vector, sizes, strict=True))
    far = tuple(slice(max(0, int(d)), n - max(0, -int(d))) for d, n in zip(vector, sizes, strict=True))
    return values_BS[(slice(None), *near)], values_BS[(slice(None), *far)]


def _lags(n: int) -> Tensor:
    """Signed lags of a transform of length 2 n."""
    index = torch.arange(2 * n, dtype=torch.float64)
    return torch.where(index < n, index, index - 2 * n)


def _shells(grid: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Shell and number of pairs of every lag up to half of the shortest edge, and where these lags stand."""
    limit = min((n // 2) * s for n, s in zip(grid, spacing, strict=True))
    squares = torch.zeros([2 * n for n in grid], dtype=torch.float64)
    pairs = torch.ones_like(squares)
    near = torch.ones_like(squares, dtype=torch.bool)
    for axis, (n, step) in enumerate(zip(grid, spacing, strict=True)):
        along = [-1 if a == axis else 1 for a in range(len(grid))]
        lags = _lags(n)
        cutoff = max(1, min(n // 2, math.floor(limit / step + 1e-9)))
        squares = squares + (lags * step).square().reshape(along)
        pairs = pairs * (n - lags.abs()).reshape(along)
        near = near & (lags.abs() <= cutoff).reshape(along)
    distance = squares.sqrt()
    wanted = (near & (distance <= limit * (1 + 1e-9))).flatten().nonzero()[:, 0]
    shell = (distance.flatten()[wanted] / min(spacing) + 0.5).long()
    return shell, pairs.flatten()[wanted], wanted
