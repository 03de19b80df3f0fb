"""From a raw network to a denoiser: what the network sees and predicts at each noise level.

Both classes give a ``denoise(x, sigma) -> x0`` in the same variables ``x = x0 + sigma * n``, so every sampler works
with both, and both train on ``weight(sigma) * (denoise(x0 + sigma * n, sigma) - x0)**2`` with sigma from ``draw``.
They expect data of about unit standard deviation (:class:`~microgen.models.codec.Codec`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from microgen.core import InputError

Network = Callable[[Tensor, Tensor], Tensor]
"""``network(x, level)``: level is a ``(B,)`` number of about -1 .. 1 that names the noise level."""


@dataclass(frozen=True)
class EDM:
    """Preconditioning of Karras et al. 2022 (Table 1, doi:10.48550/arXiv.2206.00364).

    Attributes
    ----------
    sigma_data
        Standard deviation of the encoded data.
    p_mean, p_std
        Mean and standard deviation of ln sigma in training.
    sigma_min, sigma_max
        Noise levels between which samplers work.

    Examples
    --------
    >>> EDM(1.0).denoise(lambda x, level: 0 * x, torch.ones(1, 1, 2, 2), torch.tensor(1.0))[0, 0]
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """

    sigma_data: float = 1.0
    p_mean: float = -0.5
    p_std: float = 1.2
    sigma_min: float = 0.01
    sigma_max: float = 80.0

    def denoise(self, network: Network, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ``c_skip x + c_out network(c_in x, ln(sigma)/4)``; `x` is ``(B, C, *S)``, `sigma` 0-d or ``(B,)``."""
        s = _spread(sigma, x)
        total = (s * s + self.sigma_data**2).rsqrt()
        raw = network(x * total, sigma.expand(len(x)).log() / 4)
        return (self.sigma_data * total) ** 2 * x + (s * self.sigma_data * total) * raw.to(x.dtype)

    def weight(self, sigma: Tensor) -> Tensor:
        """Loss weight that makes all noise levels count alike at the start of training."""
        return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2

    def draw(self, u: Tensor) -> Tensor:
        """Map uniform numbers in 0 .. 1 to the noise levels of training."""
        normal: Tensor = torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))
        return (self.p_mean + self.p_std * normal).exp()

    @cached_property
    def table(self) -> Tensor:
        """The rising noise levels of the 1000 linear steps of DDPM, for its ancestral sampler."""
        return DDPM().table


@dataclass(frozen=True)
class DDPM:
    """Noise prediction on T discrete steps (Ho et al. 2020, doi:10.48550/arXiv.2006.11239).

    The network predicts the noise from ``x_vp = x / sqrt(1 + sigma^2)`` and the step t, scaled to -1 .. 1;
    between two steps t is interpolated in ln sigma, so that any schedule can be used.

    Attributes
    ----------
    steps
        T.
    betas
        ``"linear"`` (Ho et al.; scaled so that the whole range is covered for any T) or ``"cosine"``
        (Nichol & Dhariwal 2021, Eq. 17, doi:10.48550/arXiv.2102.09672).
    """

    steps: int = 1000
    betas: Literal["linear", "cosine"] = "linear"

    def __post_init__(self) -> None:
        if self.steps < 25:
            raise InputError(f"DDPM needs at least 25 steps, got {self.steps}")

    @cached_property
    def table(self) -> Tensor:
        """Rising noise levels ``sqrt((1 - alpha_bar) / alpha_bar)`` of the T steps."""
        with torch.inference_mode(mode=False):  # kept, and also used in training
            alpha_bar = torch.cumprod(1 - _betas(self.betas, self.steps), 0)
            return ((1 - alpha_bar) / alpha_bar).sqrt()

    @property
    def sigma_min(self) -> float:
        """Lowest noise level at which samplers work."""
        return float(self.table[0])

    @property
    def sigma_max(self) -> float:
        """Highest noise level; beyond 200 the data leave no trace (the cosine table ends far above)."""
        return min(float(self.table[-1]), 200.0)

    def denoise(self, network: Network, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ``x - sigma * network(x_vp, t)`` for `x` of ``(B, C, *S)`` and `sigma` 0-d or ``(B,)``."""
        s = _spread(sigma, x)
        noise = network(x * (1 + s * s).rsqrt(), self.level(sigma).expand(len(x)))
        return x - s * noise.to(x.dtype)

    def level(self, sigma: Tensor) -> Tensor:
        """Step t of a noise level, interpolated in ln sigma, and scaled from ``0 .. T-1`` to -1 .. 1."""
        rows = self.table.log().to(sigma)
        target = sigma.log().clamp(rows[0], rows[-1])
        above = torch.searchsorted(rows, target.contiguous()).clamp(1, self.steps - 1)
        low, high = rows[above - 1], rows[above]
        t = above - 1 + (target - low) / (high - low)
        return 2 * t / (self.steps - 1) - 1

    def weight(self, sigma: Tensor) -> Tensor:
        """Loss weight that turns the error of x0 into the plain error of the noise (L_simple, Eq. 14)."""
        return sigma**-2

    def draw(self, u: Tensor) -> Tensor:
        """Map uniform numbers in 0 .. 1 to noise levels of the T steps."""
        index = (u * self.steps).long().clamp(0, self.steps - 1)
        return self.table.to(u)[index]


Preconditioning = EDM | DDPM


def _betas(kind: str, steps: int) -> Tensor:
    if kind == "linear":
        scale = 1000 / steps
        return torch.linspace(1e-4 * scale, min(0.02 * scale, 0.999), steps, dtype=torch.float64)
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    alpha_bar = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)


def _spread(sigma: Tensor, x: Tensor) -> Tensor:
    """Give a 0-d or ``(B,)`` noise level the axes of `x`."""
    return sigma.to(x).reshape(-1, *(1,) * (x.ndim - 1))
