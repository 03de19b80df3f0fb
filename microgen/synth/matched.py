"""Two-phase structures with prescribed two-point statistics: a Gaussian random field cut at a level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special
from scipy.interpolate import CubicSpline

from microgen.core import InputError, Microstructure
from microgen.core.seeds import rng
from microgen.synth.two_phase import cut

Float = NDArray[np.floating[Any]]

_STREAM = 13
_NODES = 4001
_ROUNDS = 40
_MOST_OFF = 0.1  # of the normalised auto-covariance, before the statistics are refused


def two_phase_like(
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    distance_um: Sequence[float],
    s2: Sequence[float],
    *,
    periodic: bool = True,
) -> Microstructure:
    """Make two phases with a prescribed two-point probability, the same in all directions.

    Parameters
    ----------
    seed
        The same numbers give the same structure.
    shape
        Grid points ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Distance of grid points in micrometres along each axis.
    distance_um, s2
        Probability that both ends of a step of this length lie in phase 1, from 0 (where it is the fraction of the
        phase) upwards, as :func:`microgen.stats.s2` measures it. Beyond the last distance nothing is prescribed.
    periodic
        False cuts the structure out of a larger one.

    Returns
    -------
    Microstructure
        With the field ``phase``; the fraction is met exactly. ``source["s2_error"]`` is the largest difference to the
        curve that remains on average over seeds, because no Gaussian field has just these statistics.

    Raises
    ------
    InputError
        If the curve is no two-point probability, or no Gaussian random field comes near it (s2_error above a tenth of
        ``s2[0] (1 - s2[0])``): regular structures such as arrays of equal discs are not of this kind.

    Notes
    -----
    Measured curves are noisy, and a spectrum must not be negative. The nearest one that is not is found by turns:
    negative parts are cut off, then the prescribed values are put back.

    References
    ----------
    Quiblier, J. Colloid Interface Sci. 98 (1984) 84, doi:10.1016/0021-9797(84)90481-8.
    Adler, Jacquin, Quiblier, Int. J. Multiphase Flow 16 (1990) 691, doi:10.1016/0301-9322(90)90025-E.

    Examples
    --------
    >>> r = np.linspace(0, 40, 81)
    >>> made = two_phase_like(0, (64, 64), (1.0, 1.0), r, 0.3 * 0.7 * np.exp(-r / 6) + 0.09)
    >>> round(float(made["phase"].mean()), 3)
    0.3
    """
    distance, probability = _checked(distance_um, s2)
    fraction = float(probability[0])
    covariance = (probability - fraction**2) / (fraction * (1 - fraction))
    margin = 0.0 if periodic else float(distance[-1])
    wide = [n + int(np.ceil(margin / s)) for n, s in zip(shape, spacing, strict=True)]
    power, off = _power(distance, covariance, fraction, wide, spacing)
    if off > _MOST_OFF:
        raise InputError(
            f"no Gaussian random field has these two-point statistics, the nearest is off by {off:.2f} of "
            "s2(0) - s2(0)^2; give fewer distances, or take another generator, such as particles"
        )
    white = fft.rfftn(rng(seed, _STREAM).standard_normal(wide), workers=-1)
    field = fft.irfftn(white * np.sqrt(power), wide, workers=-1)[tuple(slice(n) for n in shape)]
    return cut(
        field,
        spacing,
        fraction,
        {"generator": "two-phase-like", "seed": seed, "s2_error": round(off * fraction * (1 - fraction), 6)},
    )


def field_correlation(covariance: Float, fraction: float) -> Float:
    """Return the correlation of a Gaussian field whose cut has this normalised auto-covariance.

    Parameters
    ----------
    covariance
        ``(S2 - f^2) / (f (1 - f))``, 1 at distance 0.
    fraction
        Share f of the phase.

    Notes
    -----
    Inverts ``dS2/d(rho) = exp(-a^2 / (1 + rho)) / (2 pi sqrt(1 - rho^2))`` (Price's theorem) with the level a of the
    cut, integrated over ``rho = sin(angle)``.

    Examples
    --------
    >>> field_correlation(np.array([1.0, 1 / 3, 0.0]), 0.5).round(6)  # 2 / pi arcsin(rho)
    array([1. , 0.5, 0. ])
    """
    angle, total = _law(fraction)
    return np.asarray(np.sin(np.interp(covariance, total, angle)))


def _law(fraction: float) -> tuple[Float, Float]:
    """Normalised auto-covariance of the cut as a function of the arc sine of the correlation of the field."""
    level = float(special.ndtri(fraction))
    angle = np.linspace(-np.pi / 2, np.pi / 2, _NODES)
    rate = np.exp(-(level**2) / np.maximum(1 + np.sin(angle), 1e-15))
    total = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
    total -= np.interp(0, angle, total)
    return angle, total / total[-1]


def _checked(distance_um: Sequence[float], s2: Sequence[float]) -> tuple[Float, Float]:
    distance, probability = np.asarray(distance_um, dtype=np.float64), np.asarray(s2, dtype=np.float64)
    if distance.ndim != 1 or distance.shape != probability.shape or len(distance) < 2:
        raise InputError("distance_um and s2 must be two lists of equal length, at least 2")
    if distance[0] != 0 or not (np.diff(distance) > 0).all():
        raise InputError("distance_um must start at 0 and rise")
    if not 0 < probability[0] < 1 or probability.min() < 0 or probability.max() > probability[0]:
        raise InputError("s2 is a probability: between 0 and 1 at distance 0, and nowhere larger than there")
    return distance, probability


def _power(
    distance: Float, covariance: Float, fraction: float, shape: Sequence[int], spacing: Sequence[float]
) -> tuple[Float, float]:
    """Spectral density of the field on a periodic grid, and the largest error of the covariance of its cut."""
    axes = [np.minimum(np.arange(n), n - np.arange(n)) * s for n, s in zip(shape, spacing, strict=True)]
    away = np.sqrt(sum(np.square(a) for a in np.meshgrid(*axes, indexing="ij", sparse=True)))
    known = away <= distance[-1]
    # a straight S2 near 0, as sharp interfaces have, is a correlation that starts flat
    knots = field_correlation(covariance, fraction)
    wanted = np.clip(CubicSpline(distance, knots, bc_type=((1, 0.0), (2, 0.0)))(away[known]), -1, 1)
    correlation = np.zeros(tuple(shape))
    for _ in range(_ROUNDS):
        correlation[known] = wanted
        power = np.maximum(fft.rfftn(correlation, workers=-1).real, 0)
        correlation = fft.irfftn(power, shape, workers=-1)
    correlation /= correlation.flat[0]
    angle, law = _law(fraction)
    found = np.interp(np.arcsin(np.clip(correlation[known], -1, 1)), angle, law)
    return power, float(np.abs(found - np.interp(np.arcsin(wanted), angle, law)).max())
