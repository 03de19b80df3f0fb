"""Noise schedules: the noise levels that a sampler visits, from large to zero.

All schedules return the standard deviations sigma of the noise in ``x = x0 + sigma * n`` (Karras et al. 2022),
as float64, falling, with a last 0: `steps` evaluations of the network for a sampler that needs one per step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from microgen.core import InputError

Schedule = Callable[[int, float, float], Tensor]


def karras(steps: int, sigma_min: float, sigma_max: float, *, rho: float = 7.0) -> Tensor:
    """Return equal steps of ``sigma**(1/rho)`` (Karras et al. 2022, Eq. 5, doi:10.48550/arXiv.2206.00364).

    >>> karras(3, 0.1, 10.0, rho=1.0)
    tensor([10.0000,  5.0500,  0.1000,  0.0000], dtype=torch.float64)
    """
    _check(steps, sigma_min, sigma_max)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return _ended((first + ramp * (last - first)) ** rho)


def exponential(steps: int, sigma_min: float, sigma_max: float) -> Tensor:
    """Return equal steps of ``ln sigma``.

    These are the equal steps in lambda = -ln sigma of DPM-Solver++ (Lu et al. 2022,
    doi:10.48550/arXiv.2211.01095), in which a multistep solver of exponential form loses least.

    >>> exponential(3, 0.1, 10.0)
    tensor([10.0000,  1.0000,  0.1000,  0.0000], dtype=torch.float64)
    """
    _check(steps, sigma_min, sigma_max)
    return _ended(torch.linspace(math.log(sigma_max), math.log(sigma_min), steps, dtype=torch.float64).exp())


NARROW = (0.15, 10.0)
"""Noise levels between which few steps are best spent, in standard deviations of the data."""


def narrow(steps: int, sigma_min: float, sigma_max: float) -> Tensor:
    """Return equal steps of ``ln sigma`` within :data:`NARROW`, for 3 to 6 steps.

    Above, the data leave hardly a trace in the noise; below, only the faintest texture is left to decide, which is
    lost. So few steps are short enough to be followed (measured in docs/few_steps.md).

    >>> narrow(3, 0.01, 80.0)
    tensor([10.0000,  1.2247,  0.1500,  0.0000], dtype=torch.float64)
    """
    return exponential(steps, max(sigma_min, NARROW[0]), min(sigma_max, NARROW[1]))


def discrete(table: Tensor, steps: int) -> Tensor:
    """Return `steps` of the rising noise levels in `table`, evenly spaced by index, the largest first.

    With ``steps == len(table)`` these are the steps of a DDPM in reverse (Ho et al. 2020, Algorithm 2).

    >>> discrete(torch.tensor([0.1, 0.2, 0.4]), 3)
    tensor([0.4000, 0.2000, 0.1000, 0.0000], dtype=torch.float64)
    """
    if not 1 <= steps <= len(table):
        raise InputError(f"this schedule has 1 to {len(table)} steps, {steps} were asked for")
    index = torch.linspace(len(table) - 1, 0, steps, dtype=torch.float64).round().long()
    return _ended(table.to(torch.float64)[index])


SCHEDULES: dict[str, Schedule] = {"karras": karras, "exponential": exponential, "narrow": narrow}
"""Schedules between two noise levels, by name."""


def _ended(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def _check(steps: int, sigma_min: float, sigma_max: float) -> None:
    if steps < 2:
        raise InputError(f"a noise schedule needs at least 2 steps, got {steps}")
    if not 0 < sigma_min < sigma_max:
        raise InputError(f"noise levels must be 0 < low < high, got {sigma_min:g} and {sigma_max:g}")
