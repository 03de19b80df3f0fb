"""Samplers: plain functions that turn noise into a sample by asking a denoiser again and again.

All share one call, ``sampler(denoise, x, sigmas, *, noise=None, callback=None) -> x``:

denoise
    ``denoise(x, sigma) -> x0``: the expected clean field, where ``x = x0 + sigma * n`` and n is white noise.
x
    Start, ``(B, C, *S)``: white noise times ``sigmas[0]``.
sigmas
    Falling noise levels that end with 0 (:mod:`microgen.models.schedules`).
noise
    ``noise(step) -> (B, C, *S)`` white noise for samplers that add some on the way.
callback
    ``callback(step, x0)`` after each step, for previews and progress.

Guidance, periodicity, tiling and inpainting are functions from `denoise` to `denoise`, so all samplers have them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

from torch import Tensor

from microgen.core import InputError

Denoise = Callable[[Tensor, Tensor], Tensor]
Noise = Callable[[int], Tensor]
Callback = Callable[[int, Tensor], None]


Sampler = Callable[..., Tensor]
"""The one call of all samplers, above."""


def euler(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: Noise | None = None, callback: Callback | None = None
) -> Tensor:
    """Integrate the probability flow ``dx/dsigma = (x - x0)/sigma`` with Euler's method: first order, no new noise."""
    for step, s, t in _steps(sigmas):
        x0 = _denoised(denoise, x, s, step, callback)
        x = x0 + (t / s) * (x - x0)
    return x


def heun(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: Noise | None = None,
    callback: Callback | None = None,
    churn: float = 0.0,
) -> Tensor:
    """Integrate with Heun's method: second order, two evaluations per step but the last (Karras et al. 2022, Alg. 2).

    Parameters
    ----------
    churn
        S_churn of the paper: noise put back before each step, which heals errors of earlier steps; 0 for none.
    """
    gamma = min(churn / (len(sigmas) - 1), math.sqrt(2) - 1)
    for step, s, t in _steps(sigmas):
        if gamma > 0:
            x, s = x + s * math.sqrt((1 + gamma) ** 2 - 1) * _drawn(noise, step), s * (1 + gamma)
        slope = (x - _denoised(denoise, x, s, step, callback)) / s
        ahead = x + (t - s) * slope
        if t > 0:
            slope = (slope + (ahead - denoise(ahead, _level(x, t))) / t) / 2
        x = x + (t - s) * slope
    return x


def ddim(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: Noise | None = None,
    callback: Callback | None = None,
    eta: float = 0.0,
) -> Tensor:
    """Step as DDIM does (Song et al. 2021, Eq. 12 and 16, doi:10.48550/arXiv.2010.02502).

    Parameters
    ----------
    eta
        Share of new noise: 0 is deterministic (and equals :func:`euler` in these variables), 1 is DDPM's posterior.
    """
    for step, s, t in _steps(sigmas):
        x0 = _denoised(denoise, x, s, step, callback)
        fresh = eta * t * math.sqrt(1 - (t / s) ** 2)
        x = x0 + math.sqrt(t * t - fresh * fresh) / s * (x - x0)
        if fresh > 0:
            x = x + fresh * _drawn(noise, step)
    return x


def ddpm(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: Noise | None = None, callback: Callback | None = None
) -> Tensor:
    """Walk back through the discrete steps of a DDPM (Ho et al. 2020, Algorithm 2, doi:10.48550/arXiv.2006.11239).

    The new noise has the variance beta_t, the paper's first choice ("fixed large"), here in the variables
    ``x / sqrt(alpha_bar)``; :func:`ddim` with ``eta=1`` is its second, the posterior variance ("fixed small").
    """
    for step, s, t in _steps(sigmas):
        x0 = _denoised(denoise, x, s, step, callback)
        x = x0 + (t / s) ** 2 * (x - x0)
        if t > 0:
            x = x + math.sqrt((s * s - t * t) * (1 + t * t) / (1 + s * s)) * _drawn(noise, step)
    return x


def dpmpp_2m(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: Noise | None = None, callback: Callback | None = None
) -> Tensor:
    """Step with DPM-Solver++ (2M): second order at one evaluation per step (Lu et al. 2022, Algorithm 2).

    It solves the linear part of the probability flow exactly and extrapolates x0 from the two latest evaluations
    (doi:10.48550/arXiv.2211.01095).
    """
    before: tuple[Tensor, float] | None = None
    for step, s, t in _steps(sigmas):
        x0 = _denoised(denoise, x, s, step, callback)
        if t == 0:
            return x0
        h = math.log(s / t)
        ahead = x0 if before is None else x0 + (h / (2 * before[1])) * (x0 - before[0])
        x = (t / s) * x - math.expm1(-h) * ahead
        before = x0, h
    return x


SAMPLERS: dict[str, Sampler] = {"euler": euler, "heun": heun, "ddim": ddim, "ddpm": ddpm, "dpmpp_2m": dpmpp_2m}
"""Samplers by name."""


def _steps(sigmas: Tensor) -> Iterator[tuple[int, float, float]]:
    """Yield (step, sigma now, sigma next) as plain numbers, so that nothing waits for the device."""
    levels = [float(s) for s in sigmas.tolist()]
    if any(not s > t >= 0 for s, t in itertools.pairwise(levels)):
        raise InputError("the noise levels of a sampler must fall and end with 0 or above")
    for step, (s, t) in enumerate(itertools.pairwise(levels)):
        yield step, s, t


def _denoised(denoise: Denoise, x: Tensor, sigma: float, step: int, callback: Callback | None) -> Tensor:
    x0 = denoise(x, _level(x, sigma))
    if callback is not None:
        callback(step, x0)
    return x0


def _level(x: Tensor, sigma: float) -> Tensor:
    return x.new_full((), sigma)


def _drawn(noise: Noise | None, step: int) -> Tensor:
    if noise is None:
        raise InputError(
            "this sampler adds noise on the way, so its start alone does not decide a sample; "
            "use the preset standard, fast, heun, euler or ddim"
        )
    return noise(step)
