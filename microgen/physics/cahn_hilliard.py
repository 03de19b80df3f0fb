"""Spinodal decomposition and coarsening of two phases: the Cahn-Hilliard equation on a periodic grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Float = NDArray[np.floating[Any]]

_STABILISER = 2.0  # at least half of the largest f'' = 3 u^2 - 1 within |u| <= 1 keeps every step stable


def cahn_hilliard(
    concentration: Float, *, spacing: Sequence[float], width_um: float, time_step: float = 1.0
) -> Iterator[Float]:
    """Yield the concentration after each step of ``du/dt = lap(u^3 - u - w^2 lap u)``, for ever.

    The concentration is -1 in one phase and +1 in the other; its mean is conserved, and the energy
    ``(u^2 - 1)^2 / 4 + w^2 |grad u|^2 / 2`` falls. Semi-implicit in time, spectral in space.

    Parameters
    ----------
    concentration
        Start, shape ``(Y, X)`` or ``(Z, Y, X)``; periodic.
    spacing
        Micrometres per grid point along each axis.
    width_um
        The length ``w``: a flat interface is ``tanh(x / (sqrt(2) w))``.
    time_step
        In units of ``w^2`` divided by the mobility.

    References
    ----------
    Cahn, Hilliard, J. Chem. Phys. 28 (1958) 258, doi:10.1063/1.1744102.
    Zhu, Chen, Shen, Tikare, Phys. Rev. E 60 (1999) 3564, doi:10.1103/PhysRevE.60.3564 (the scheme).

    Examples
    --------
    >>> start = 0.1 * np.random.default_rng(0).standard_normal((32, 32))
    >>> steps = cahn_hilliard(start, spacing=(1, 1), width_um=1.0)
    >>> bool(np.isclose(next(steps).mean(), start.mean()))
    True
    """
    u = np.asarray(concentration, dtype=np.float64)
    square = (wave_number(u.shape, spacing) * width_um) ** 2  # lengths in units of w, so its square is 1
    denominator = 1 + time_step * (square**2 + _STABILISER * square)
    spectrum = fft.rfftn(u, workers=-1)
    while True:
        force = fft.rfftn(u**3 - (1 + _STABILISER) * u, workers=-1)
        spectrum = (spectrum - time_step * square * force) / denominator
        u = fft.irfftn(spectrum, u.shape, workers=-1)
        yield u


def energy(concentration: Float, *, spacing: Sequence[float], width_um: float) -> float:
    """Return the mean free energy per volume, in units of the height of the double well times 4."""
    spectrum = fft.rfftn(concentration)
    waves = wave_number(concentration.shape, spacing) * width_um
    gradient = fft.irfftn(spectrum * waves**2, concentration.shape)  # -lap u; times u it integrates to |grad u|^2
    return float(np.mean((concentration**2 - 1) ** 2 / 4 + concentration * gradient / 2))


def characteristic_length_um(concentration: Float, *, spacing: Sequence[float]) -> float:
    """Return 2 pi over the mean angular wave number, each wave weighted by its power.

    >>> x = np.arange(64)
    >>> round(characteristic_length_um(np.sin(2 * np.pi * x / 16) * np.ones((64, 1)), spacing=(0.5, 0.5)), 6)
    8.0
    """
    waves = wave_number(concentration.shape, spacing)
    power = np.abs(fft.rfftn(concentration)) ** 2
    power[..., 1 : (concentration.shape[-1] + 1) // 2] *= 2  # the half that a real transform leaves out
    power[(0,) * power.ndim] = 0
    return float(2 * np.pi * power.sum() / (power * waves).sum())


def wave_number(shape: Sequence[int], spacing: Sequence[float]) -> Float:
    """Return the angular wave number in 1/um on the grid of a real Fourier transform."""
    axes = [fft.fftfreq(n, s) for n, s in zip(shape[:-1], spacing[:-1], strict=True)]
    axes.append(fft.rfftfreq(shape[-1], spacing[-1]))
    squares = sum(np.square(a) for a in np.meshgrid(*axes, indexing="ij", sparse=True))
    return np.asarray(2 * np.pi * np.sqrt(squares))
