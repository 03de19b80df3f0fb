"""Bounds of effective properties from the fractions of the phases alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError

Float = NDArray[np.floating[Any]]
Values = Sequence[float] | Float


def wiener(fractions: Values, values: Values) -> tuple[float, float]:
    """Return the lowest and highest conductivity of any structure: phases in series and in parallel.

    >>> wiener([0.5, 0.5], [1.0, 3.0])
    (1.5, 2.0)
    """
    share, each = _pair(fractions, values)
    return _mean(share, each, 0.0), float(share @ each)


def hashin_shtrikman(fractions: Values, values: Values, *, ndim: int) -> tuple[float, float]:
    """Return the lowest and highest conductivity of any isotropic structure in `ndim` dimensions.

    References
    ----------
    Hashin, Shtrikman, J. Appl. Phys. 33 (1962) 3125, doi:10.1063/1.1728579.

    Examples
    --------
    >>> low, high = hashin_shtrikman([0.7, 0.3], [1.0, 10.0], ndim=3)
    >>> round(low, 4), round(high, 4)
    (1.871, 3.0769)
    """
    share, each = _pair(fractions, values)
    low, high = (_mean(share, each, (ndim - 1) * float(end)) for end in (each.min(), each.max()))
    return low, high


def voigt_reuss(fractions: Values, stiffness: Float) -> tuple[Float, Float]:
    """Return Reuss's mean of compliances and Voigt's mean of stiffnesses ``(materials, voigt, voigt)``.

    No structure is softer than the first or stiffer than the second, in any direction (Hill,
    Proc. Phys. Soc. A 65 (1952) 349, doi:10.1088/0370-1298/65/5/307). Reuss's is zero if a material has no stiffness.
    """
    table = np.asarray(stiffness, dtype=np.float64)
    share, _ = _pair(fractions, [0.0] * len(table))
    voigt = np.einsum("m,mab->ab", share, table)
    if not np.linalg.eigvalsh(table[share > 0]).min() > 0:
        return np.zeros_like(voigt), voigt
    return np.linalg.inv(np.einsum("m,mab->ab", share[share > 0], np.linalg.inv(table[share > 0]))), voigt


def hashin_shtrikman_moduli(
    fractions: Values, bulk: Values, shear: Values, *, ndim: int = 3
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the lowest and the highest ``(bulk, shear)`` modulus of any isotropic structure of isotropic phases.

    Parameters
    ----------
    fractions, bulk, shear
        Share and moduli of each phase. In two dimensions the bulk modulus is that of plane strain, ``lame + shear``.
    ndim
        3, or 2 for plane strain.

    References
    ----------
    Hashin, Shtrikman, J. Mech. Phys. Solids 11 (1963) 127, doi:10.1016/0022-5096(63)90060-7; Hill,
    J. Mech. Phys. Solids 12 (1964) 199 (plane strain); Walpole, J. Mech. Phys. Solids 14 (1966) 151 (many phases).
    """
    share, bulks = _pair(fractions, bulk)
    _, shears = _pair(fractions, shear)
    found = []
    for k, g in ((bulks.min(), shears.min()), (bulks.max(), shears.max())):
        if ndim == 3:
            for_bulk, numerator, denominator = 4 / 3 * g, g * (9 * k + 8 * g), 6 * (k + 2 * g)
        else:
            for_bulk, numerator, denominator = g, g * k, k + 2 * g
        for_shear = numerator / denominator if denominator > 0 else 0.0
        found.append((_mean(share, bulks, float(for_bulk)), _mean(share, shears, float(for_shear))))
    return found[0], found[1]


def _mean(share: Float, values: Float, offset: float) -> float:
    """Harmonic mean of the values moved by `offset`, moved back; 0 for parts without any."""
    moved = values[share > 0] + offset
    return float(1 / (share[share > 0] / moved).sum() - offset) if moved.min() > 0 else 0.0


def _pair(fractions: Values, values: Values) -> tuple[Float, Float]:
    share, each = np.asarray(fractions, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if share.shape != each.shape or share.ndim != 1:
        raise InputError(f"one value for each fraction is needed, got shapes {share.shape} and {each.shape}")
    if share.min() < 0 or abs(share.sum() - 1) > 1e-6 or each.min() < 0:
        raise InputError("fractions sum to 1 and neither they nor the values are negative")
    return share, each
