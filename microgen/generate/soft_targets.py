"""Targets as a loss that a gradient passes through."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from microgen import stats
from microgen.generate.inversion_space import Space
from microgen.generate.soft_descriptors import OF_REGION, OF_VALUES, Region, distances_um
from microgen.generate.targets import Meaning, Target, reached

_WIDTH = 0.25
"""Width of the smooth step between phases, in standard deviations of the field."""


class SoftTargets:
    """How far samples are from their targets, in units of the tolerance.

    The values are the measured ones, since phases and rounded numbers are exact; the gradient is that of a smooth step.

    Parameters
    ----------
    targets
        All of them soft, see :func:`are_soft`.
    """

    def __init__(self, space: Space, targets: list[Target], meaning: Meaning, tolerance: float) -> None:
        self.space, self.targets, self.tolerance = space, targets, tolerance
        self.region = region_of(space, meaning)
        self.spacing = space.model.codec.spacing_um

    def __call__(self, made_BCS: Tensor) -> Tensor:
        """Return the root mean square of the relative errors over the tolerance ``(B,)``."""
        values = self.space.values(made_BCS)
        region = None if self.region is None else self.region.straight_through(values)
        errors = [self._error(target, values, region) for target in self.targets]
        return torch.stack(errors).square().mean(dim=0).clamp_min(1e-12).sqrt().float() / self.tolerance

    def _error(self, target: Target, values_BS: Tensor, region_BS: Tensor | None) -> Tensor:
        seen = values_BS if region_BS is None else region_BS
        function = OF_REGION.get(target.name) or OF_VALUES[target.name]
        found = function(seen, spacing=self.spacing)
        if not isinstance(target.value, stats.Curve):
            return (found - target.value).abs() / (abs(target.value) or 1.0)
        x = distances_um(self.space.shape, self.spacing).numpy()
        inside = reached(target.value, x)
        wanted = torch.from_numpy(target.value.y[inside].copy()).to(found)
        there = found @ torch.from_numpy(_interpolation(target.value.x[inside], x)).to(found)
        return (there - wanted).abs().mean(dim=1) / (wanted.abs().mean() or 1.0)


def are_soft(space: Space, targets: list[Target], meaning: Meaning) -> bool:
    """Whether every target has a gradient on the samples of this model."""
    if not space.is_smooth or space.model.codec.channels != 1:
        return False
    if region_of(space, meaning) is not None:
        known = {*OF_REGION, "correlation_length_um"}
    else:
        known = {name for name in OF_VALUES if space.model.codec.field == "intensity" and meaning.threshold is None}
    return all(target.name in known for target in targets)


def region_of(space: Space, meaning: Meaning) -> Region | None:
    """Return which values of the field are the phase of interest, or None where there are no two phases."""
    codec = space.model.codec
    if codec.field == "phase" and len(codec.phases) <= 2 and codec.high <= 1:
        return Region(0.5, width=_WIDTH * codec.scale)
    if codec.field == "intensity" and meaning.threshold is not None and meaning.threshold != "otsu":
        return Region(float(meaning.threshold), width=_WIDTH * codec.scale)
    return None


def _interpolation(at: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Matrix ``(len(x), len(at))`` that interpolates linearly, as :func:`numpy.interp`."""
    return np.stack([np.interp(at, x, one) for one in np.eye(len(x))])
