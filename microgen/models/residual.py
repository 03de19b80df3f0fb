"""Noise that looks alike everywhere: its spectrum measured on examples, drawn again from white noise, and whitened.

Shapes: B batch, C channels, K the filter's grid, S spatial axes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

REACH = 5
"""Grid points to each side over which the noise is correlated at most."""
_LEAST_GAIN = 1e-3
"""Waves that a filter weakens by more are not looked for in a real field."""


def unmeasured(channels: int, ndim: int) -> Tensor:
    """Return the filter ``(C, 1, *K)`` that leaves white noise white."""
    kernel = torch.zeros(channels, 1, (2 * REACH + 1) ** ndim)
    kernel[..., kernel.shape[-1] // 2] = 1
    return kernel.reshape(channels, 1, *(2 * REACH + 1,) * ndim)


def power(r_BCS: Tensor) -> Tensor:
    """Power spectrum ``(C, *S)`` of residuals: the mean over the batch, tapered against the jump at the borders."""
    taper = torch.ones((), dtype=torch.float64)
    for n in r_BCS.shape[2:]:
        taper = taper[..., None] * torch.hann_window(n, periodic=False, dtype=torch.float64)
    axes = tuple(range(2, r_BCS.ndim))
    waves = torch.fft.fftn(r_BCS.double() * taper, dim=axes)
    power: Tensor = waves.abs().square().mean(dim=0) / taper.square().sum()
    return power


def spectral_filter(power_CS: Tensor) -> Tensor:
    """Symmetric filter ``(C, 1, *K)`` that gives white noise of unit variance a spectrum, cut at :data:`REACH`."""
    axes = tuple(range(1, power_CS.ndim))
    whole = torch.fft.fftshift(torch.fft.ifftn(power_CS.sqrt(), dim=axes).real, dim=axes)
    inside = [slice(max(n // 2 - REACH, 0), n // 2 + REACH + 1) for n in power_CS.shape[1:]]
    cut = whole[(slice(None), *inside)]
    variance = power_CS.flatten(1).mean(dim=1) / cut.square().flatten(1).sum(dim=1)
    scaled: Tensor = cut * variance.sqrt().reshape(-1, *(1,) * len(axes))
    return scaled[:, None]


def coloured(white_BCS: Tensor, kernel: Tensor) -> Tensor:
    """Filter white noise ``(B, C, *S)``; it is wrapped around, so its variance is the same everywhere."""
    for axis, n in enumerate(white_BCS.shape[2:], start=2):
        reach = kernel.shape[axis] // 2
        white_BCS = white_BCS.index_select(axis, torch.arange(-reach, n + reach, device=white_BCS.device) % n)
    convolve = {4: functional.conv2d, 5: functional.conv3d}[white_BCS.ndim]
    return convolve(white_BCS, kernel, groups=len(kernel))


def whitened(residual_BCS: Tensor, kernel: Tensor) -> Tensor:
    """Undo :func:`coloured`, but for waves that the filter all but stops."""
    axes, shape = tuple(range(1, residual_BCS.ndim - 1)), residual_BCS.shape[2:]
    placed = coloured(_impulse(residual_BCS), kernel)[0].double()
    gain = torch.fft.fftn(placed, dim=axes).real  # the filter is symmetric
    least = _LEAST_GAIN * gain.abs().amax()
    gain = torch.where(gain.abs() < least, least, gain)
    waves = torch.fft.fftn(residual_BCS.double(), dim=tuple(n + 1 for n in axes)) / gain
    white_BCS: Tensor = torch.fft.ifftn(waves, s=tuple(shape), dim=tuple(n + 1 for n in axes)).real
    return white_BCS.to(residual_BCS.dtype)


def _impulse(like_BCS: Tensor) -> Tensor:
    """One at the first point of every channel, ``(1, C, *S)``."""
    impulse = torch.zeros_like(like_BCS[:1])
    impulse.flatten(2)[..., 0] = 1
    return impulse
