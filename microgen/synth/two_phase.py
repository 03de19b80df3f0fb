"""Two-phase structures as thresholded Gaussian random fields (Cahn 1965; Torquato 2002, chapter 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from microgen.core import InputError, Microstructure
from microgen.core.seeds import rng

Spectrum = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def two_phase(
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    fraction: float,
    length_um: float,
    *,
    periodic: bool = True,
) -> Microstructure:
    """Make a random blobby two-phase structure of exact phase fraction.

    Parameters
    ----------
    shape, spacing
        Grid ``(Y, X)`` or ``(Z, Y, X)`` and micrometres per grid point.
    fraction
        Share of phase 1, met to within one grid point.
    length_um
        Distance at which the correlation of the underlying field has fallen to 1/e.
    periodic
        Let the structure continue on the opposite side.

    Examples
    --------
    >>> float(two_phase(0, (50, 40), (1.0, 1.0), 0.3, 5.0)["phase"].mean())
    0.3
    """
    sigma = length_um / 2

    def gaussian(k: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = np.exp(-((k * sigma) ** 2) / 2)
        return result

    return _thresholded("two-phase", seed, shape, spacing, fraction, length_um, gaussian, periodic=periodic)


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

    Parameters are those of :func:`two_phase`, but `length_um` is the wavelength (Cahn 1965, doi:10.1063/1.1695731).
    """

    def shell(k: NDArray[np.float64]) -> NDArray[np.float64]:
        wanted = 2 * np.pi / length_um
        result: NDArray[np.float64] = np.exp(-((k / wanted - 1) ** 2) / (2 * 0.08**2))
        return result

    return _thresholded("spinodal", seed, shape, spacing, fraction, length_um, shell, periodic=periodic)


def _thresholded(
    kind: str,
    seed: int,
    shape: Sequence[int],
    spacing: Sequence[float],
    fraction: float,
    length_um: float,
    spectrum: Spectrum,
    *,
    periodic: bool,
) -> Microstructure:
    shape = tuple(int(n) for n in shape)
    if len(shape) not in (2, 3) or len(spacing) != len(shape):
        raise InputError(f"a structure needs 2 or 3 axes with one spacing each, got {shape} and {tuple(spacing)}")
    if not 0 < fraction < 1 or not (np.isfinite(length_um) and length_um > 0):
        raise InputError(
            f"the fraction lies between 0 and 1 and the length is positive, got {fraction} and {length_um}"
        )
    margin = [0 if periodic else int(np.ceil(3 * length_um / s)) for s in spacing]
    whole = tuple(fft.next_fast_len(n + m, real=True) if m else n for n, m in zip(shape, margin, strict=True))
    field = _gaussian_field(seed, whole, spacing, spectrum)[tuple(slice(n) for n in shape)]
    phase = np.zeros(field.size, np.uint8)
    count = round(fraction * field.size)
    phase[np.argpartition(field.ravel(), -count)[-count:] if count else []] = 1
    source: dict[str, Any] = {"kind": kind, "seed": seed, "fraction": fraction, "length_um": length_um}
    return Microstructure({"phase": phase.reshape(shape)}, tuple(spacing), ("matrix", "second"), source=source)


def _gaussian_field(
    seed: int, shape: tuple[int, ...], spacing: Sequence[float], spectrum: Spectrum
) -> NDArray[np.float64]:
    """Periodic Gaussian random field whose amplitude at wave number k (1/um) is ``spectrum(k)``."""
    white = rng(seed).standard_normal(shape)
    axes = [2 * np.pi * fft.fftfreq(n, s) for n, s in zip(shape[:-1], spacing[:-1], strict=True)]
    axes.append(2 * np.pi * fft.rfftfreq(shape[-1], spacing[-1]))
    k = np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij", sparse=True)))
    result: NDArray[np.float64] = fft.irfftn(fft.rfftn(white) * spectrum(k), s=shape)
    return result
