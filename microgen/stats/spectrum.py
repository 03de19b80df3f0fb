"""Power spectrum and correlation length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from microgen.core import InputError
from microgen.stats.correlation import checked_spacing, correlate, squared_modulus
from microgen.stats.curve import Curve, radial_mean

_DOUBLE = 1 << 22  # grid points up to which spectra are computed in double precision


def power_spectrum(values: NDArray[Any], *, spacing: Sequence[float], periodic: bool = False) -> Curve:
    """Return the power spectral density of a field, averaged over all directions.

    Parameters
    ----------
    values
        Field of real numbers or booleans, ``(Y, X)`` or ``(Z, Y, X)``; its mean is removed.
    spacing
        Micrometres per grid point along each axis.
    periodic
        The field wraps around. Otherwise a Hann window keeps the jump at the frame out of the spectrum.

    Returns
    -------
    Curve
        ``x`` frequency in cycles per micrometre, ``y`` density in squared values times um^2 (um^3 for
        volumes): its integral over all frequencies is the variance.

    Examples
    --------
    >>> wave = np.sin(2 * np.pi * np.arange(64) / 8) * np.ones((64, 1))
    >>> curve = power_spectrum(wave, spacing=(0.5, 0.5), periodic=True)
    >>> round(float(curve.x[curve.y.argmax()]), 2)  # 8 pixels of 0.5 um are one period of 4 um
    0.25
    """
    field: NDArray[Any] = np.array(values, dtype=np.float64 if np.size(values) <= _DOUBLE else np.float32)
    step = checked_spacing(spacing, field.ndim)
    windows = _windows(field.shape, periodic=periodic)
    field -= field.dtype.type(_weighted_mean(field, windows))
    for axis in np.ix_(*windows):
        field *= axis.astype(field.dtype)
    density = squared_modulus(fft.rfftn(field, overwrite_x=True, workers=2))
    density *= density.dtype.type(np.prod(step) / np.prod([np.sum(w**2) for w in windows]))
    axes = [fft.fftfreq(n, s) for n, s in zip(field.shape[:-1], step[:-1], strict=True)]
    axes.append(fft.rfftfreq(field.shape[-1], step[-1]))
    both = np.full(len(axes[-1]), 2.0)
    both[0] = 1
    if field.shape[-1] % 2 == 0:
        both[-1] = 1
    shell = 1 / min(n * s for n, s in zip(field.shape, step, strict=True))
    whole = np.floor(0.5 / max(step) / shell - 0.5) + 0.5  # shells that lie wholly below the Nyquist frequency
    curve = radial_mean(density, axes, step=shell, limit=whole * shell * (1 - 1e-9), weights=both)
    return Curve(curve.x[1:], curve.y[1:])


def correlation_length(
    values: NDArray[Any], *, spacing: Sequence[float], periodic: bool = False, mask: NDArray[Any] | None = None
) -> float:
    """Return the distance in micrometres at which the auto-covariance has fallen to 1/e.

    The auto-covariance is averaged over all directions and interpolated linearly.

    Parameters
    ----------
    values
        Field of real numbers or booleans, ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Micrometres per grid point along each axis.
    periodic, mask
        As in :func:`microgen.stats.correlate`.

    Raises
    ------
    InputError
        If the field is constant, or still correlated over half of its shortest edge.

    Examples
    --------
    >>> noise = np.random.default_rng(1).normal(size=(64, 64))
    >>> 0 < correlation_length(noise, spacing=(0.5, 0.5)) < 0.5  # white noise: less than one pixel
    True
    """
    field = np.array(values, dtype=np.float32)
    step = checked_spacing(spacing, field.ndim)
    valid = None if mask is None else np.asarray(mask, dtype=bool)
    field -= np.float32(field.mean(dtype=np.float64) if valid is None else field[valid].mean(dtype=np.float64))
    limit = min((n // 2) * s for n, s in zip(field.shape, step, strict=True))
    covariance = correlate(field, periodic=periodic, mask=valid)
    axes = [(np.arange(n) - n // 2) * s for n, s in zip(covariance.shape, step, strict=True)]
    curve = radial_mean(covariance, axes, step=min(step), limit=limit)
    if curve.y[0] <= 0:
        raise InputError("a constant field has no correlation length")
    return _first_crossing(curve, curve.y[0] / np.e)


def _first_crossing(curve: Curve, level: float) -> float:
    below = np.flatnonzero(curve.y < level)
    if not len(below):
        raise InputError(
            f"the field is still correlated at {curve.x[-1]:.4g} um, half of its shortest edge; use larger images"
        )
    i = int(below[0])
    return float(np.interp(level, curve.y[[i, i - 1]], curve.x[[i, i - 1]]))


def _windows(shape: tuple[int, ...], *, periodic: bool) -> list[NDArray[np.float64]]:
    """Weights along each axis; those of a point are their product."""
    return [np.ones(n) if periodic else np.asarray(signal.windows.hann(n + 2)[1:-1]) for n in shape]


def _weighted_mean(field: NDArray[Any], windows: list[NDArray[np.float64]]) -> float:
    lines = np.array([layer @ windows[-1] for layer in field])
    for window in reversed(windows[:-1]):
        lines = lines @ window
    return float(lines / np.prod([w.sum() for w in windows]))
