"""Two-phase structures: thresholded Gaussian random fields (Cahn 1965; Torquato 2002, chapter 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, integrate, optimize, special

from microgen.core import InputError, Microstructure
from microgen.core.seeds import rng

Float = NDArray[np.floating[Any]]
Spectrum = Callable[[Float], Float]

_STREAM = 2
_RING = 0.1  # width of the ring of wave numbers of a spinodal structure, in parts of its radius


def two_phase(
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    fraction: float,
    length_um: float,
    *,
    periodic: bool = True,
) -> Microstructure:
    """Make two phases of irregular blobs: a Gaussian random field with Gaussian covariance, cut at a level.

    Parameters
    ----------
    seed
        The same numbers give the same structure.
    shape
        Grid points ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Distance of grid points in micrometres along each axis.
    fraction
        Share of phase 1, met to within half a grid point.
    length_um
        Correlation length: the distance at which the auto-covariance of the phase falls to 1/e.
    periodic
        Let the structure continue on the opposite side.

    Returns
    -------
    Microstructure
        With the field ``phase``: 1 in the phase asked for, 0 in the matrix.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> float(two_phase(0, (50, 40), (1.0, 1.0), 0.3, 5.0)["phase"].mean())
    0.3
    """
    _check(shape, spacing, fraction, length_um)
    # the covariance exp(-r^2 / 4 sigma^2) of the field must be `rho` where that of the phase is 1/e
    sigma = length_um / (2 * np.sqrt(-np.log(_field_correlation(fraction))))

    def gaussian(k: Float) -> Float:
        return np.asarray(np.exp(-0.5 * (k * sigma) ** 2))

    field = _random_field(seed, shape, spacing, gaussian, margin_um=0 if periodic else 8 * sigma)
    return cut(field, spacing, fraction, {"generator": "two-phase", "seed": seed})


def spinodal(
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    fraction: float,
    length_um: float,
    *,
    periodic: bool = True,
) -> Microstructure:
    """Make a bicontinuous structure as spinodal decomposition leaves it: waves of one length, all directions.

    Parameters
    ----------
    seed, shape, spacing, fraction, periodic
        As for :func:`two_phase`.
    length_um
        Wavelength: distance from one lamella of a phase to the next (Cahn 1965, doi:10.1063/1.1695731).

    Examples
    --------
    >>> spinodal(0, (64, 64), (1.0, 1.0), 0.5, 10.0).phases
    ('matrix', 'second')
    """
    _check(shape, spacing, fraction, length_um)

    def ring(k: Float) -> Float:
        return np.asarray(np.exp(-0.5 * ((k * length_um / (2 * np.pi) - 1) / _RING) ** 2))

    field = _random_field(seed, shape, spacing, ring, margin_um=0 if periodic else 3 * length_um)
    return cut(field, spacing, fraction, {"generator": "spinodal", "seed": seed})


def _check(shape: Sequence[int], spacing: Sequence[float], fraction: float, length_um: float) -> None:
    if len(shape) not in (2, 3) or len(shape) != len(spacing):
        raise InputError(f"a structure needs 2 or 3 axes with one spacing each, got {tuple(shape)}, {tuple(spacing)}")
    if min(shape) < 1 or not min(spacing) > 0:
        raise InputError(f"shape and spacing must be positive, got {tuple(shape)} and {tuple(spacing)}")
    if not 0 < fraction < 1:
        raise InputError(f"fraction must lie between 0 and 1, got {fraction}")
    if not (np.isfinite(length_um) and length_um > 0):
        raise InputError(f"length_um must be positive micrometres, got {length_um}")


def _field_correlation(fraction: float) -> float:
    """Correlation of two values of a Gaussian field at which the phases cut from it have the correlation 1/e."""
    level = float(special.ndtri(fraction))
    target = fraction * (1 - fraction) / np.e

    def excess(rho: float) -> float:
        # Price's theorem: the derivative of the joint probability by rho is the joint density
        found, _ = integrate.quad(lambda a: np.exp(-(level**2) / (1 + np.sin(a))), 0, np.arcsin(rho))
        return float(found / (2 * np.pi) - target)

    return float(optimize.brentq(excess, 1e-9, 1 - 1e-12))


def _random_field(
    seed: int, shape: Sequence[int], spacing: Sequence[float], spectrum: Spectrum, *, margin_um: float
) -> Float:
    """White noise whose waves are weighted by `spectrum` of their angular wave number in 1/um.

    A margin that is cut off afterwards keeps the two ends from knowing of each other.
    """
    wide = [
        n if not margin_um else fft.next_fast_len(n + int(np.ceil(margin_um / s)), real=True)
        for n, s in zip(shape, spacing, strict=True)
    ]
    waves = [fft.fftfreq(n, s) for n, s in zip(wide[:-1], spacing[:-1], strict=True)]
    waves.append(fft.rfftfreq(wide[-1], spacing[-1]))
    squares = sum(np.square(axis) for axis in np.meshgrid(*waves, indexing="ij", sparse=True))
    white = fft.rfftn(rng(seed, _STREAM).standard_normal(wide))
    field = fft.irfftn(white * spectrum(2 * np.pi * np.sqrt(squares)), wide)
    return np.asarray(field[tuple(slice(n) for n in shape)])


def cut(field: Float, spacing: Sequence[float], fraction: float, source: dict[str, Any]) -> Microstructure:
    """Give phase 1 to the largest values, exactly as many as the fraction asks for."""
    matrix = field.size - round(fraction * field.size)
    phase = np.zeros(field.size, dtype=np.uint8)
    phase[np.argpartition(field, min(matrix, field.size - 1), axis=None)[matrix:]] = 1
    return Microstructure({"phase": phase.reshape(field.shape)}, tuple(spacing), ("matrix", "second"), source=source)
