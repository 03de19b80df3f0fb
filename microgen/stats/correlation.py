"""Two-point correlations S2: periodic, cut off by the frame, or masked; in 2-D and 3-D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from microgen.core import InputError
from microgen.stats.curve import Curve, radial_mean

_EXACT = 1 << 20  # single precision errs by 1e-7 of the number of points: up to here rounding gives exact counts
_WORKERS = 2


def correlate(
    first: NDArray[Any],
    second: NDArray[Any] | None = None,
    *,
    periodic: bool = False,
    mask: NDArray[Any] | None = None,
    cutoff: int | Sequence[int] | None = None,
) -> NDArray[Any]:
    """Return the mean of ``first(x) * second(x + lag)`` for every lag, as a map.

    For indicators of phases this is the two-point correlation function S2: the probability that a step
    `lag`, dropped at random, starts in the first phase and ends in the second.

    Parameters
    ----------
    first, second
        Booleans (indicators of phases) or real numbers, ``(Y, X)`` or ``(Z, Y, X)``; without `second` the
        auto-correlation of `first`. Label maps are refused: compare them with a label first.
    periodic
        Wrap around at the frame. Otherwise each lag is averaged over the pairs that lie inside the frame,
        which is unbiased: nothing is assumed about what lies outside.
    mask
        True where the values are valid; only pairs with both ends valid count. NaN where there is no pair
        (in large grids: fewer than a millionth of the points).
    cutoff
        Largest lag along each axis in grid points. By default half of the grid.

    Returns
    -------
    ndarray
        Map with lag zero at ``shape // 2``. With a `cutoff` c, and always where not periodic, an axis holds
        ``2 * c + 1`` lags; a periodic map without `cutoff` has the shape of the input.

    Raises
    ------
    InputError
        For label maps, unequal shapes, or a cut-off beyond the grid.

    Notes
    -----
    Wiener-Khinchin theorem, with transforms in single precision for booleans. Booleans of up to 2**20 points
    give exact counts of pairs (the rounding is undone), larger ones an error of about 1e-7.

    References
    ----------
    Torquato, Random Heterogeneous Materials (2002), section 2.2, doi:10.1007/978-1-4757-6355-3.
    Cecen, Fast, Kalidindi, Integr. Mater. Manuf. Innov. 5 (2016), doi:10.1186/s40192-015-0044-x (masks).

    Examples
    --------
    >>> stripes = np.tile([True, False], (4, 2))
    >>> correlate(stripes, periodic=True, cutoff=1)
    array([[0. , 0.5, 0. ],
           [0. , 0.5, 0. ],
           [0. , 0.5, 0. ]])
    """
    a, b = _checked(first, second, mask)
    lags = _lags(a.shape, cutoff, periodic=periodic)
    if mask is None:
        result = _sums(a, b, lags, periodic=periodic)
        # the number of pairs is a product over the axes
        pairs = [a.size] if periodic else np.ix_(*(n - np.abs(k) for n, k in zip(a.shape, lags, strict=True)))
        for count in pairs:
            result /= np.asarray(count, dtype=result.dtype)
        return result
    valid = np.asarray(mask, dtype=bool)
    inside = a & valid if a.dtype == bool else a * valid
    other = inside if b is a else b & valid if b.dtype == bool else b * valid
    overlap = _sums(valid, valid, lags, periodic=periodic)
    sums = _sums(inside, other, lags, periodic=periodic)
    known = overlap > max(0.5, 1e-6 * a.size)
    means: NDArray[Any] = np.divide(sums, overlap, out=np.full_like(sums, np.nan), where=known)
    return means


def s2(
    region: NDArray[Any],
    other: NDArray[Any] | None = None,
    *,
    spacing: Sequence[float],
    periodic: bool = False,
    mask: NDArray[Any] | None = None,
    cutoff_um: float | None = None,
) -> Curve:
    """Return the two-point correlation S2(r), averaged over all directions.

    Parameters
    ----------
    region, other
        Indicators of phases, boolean, ``(Y, X)`` or ``(Z, Y, X)``; with `other` the cross-correlation.
    spacing
        Micrometres per grid point along each axis.
    periodic, mask
        As in :func:`correlate`.
    cutoff_um
        Largest distance; by default half of the shortest edge.

    Returns
    -------
    Curve
        ``x`` distance in micrometres, ``y`` probability. ``y[0]`` is the phase fraction.

    Examples
    --------
    >>> board = np.indices((8, 8)).sum(0) % 2 == 0
    >>> s2(board, spacing=(1, 1), periodic=True, cutoff_um=1).y
    array([0.5, 0. ])
    """
    shape = np.shape(region)
    step = checked_spacing(spacing, len(shape))
    limit = min((n // 2) * s for n, s in zip(shape, step, strict=True))
    limit = limit if cutoff_um is None else min(cutoff_um, limit)
    cutoff = [max(1, min(n // 2, int(np.floor(limit / s + 1e-9)))) for n, s in zip(shape, step, strict=True)]
    whole = periodic and cutoff_um is None
    values = correlate(region, other, periodic=periodic, mask=mask, cutoff=None if whole else cutoff)
    axes = [(np.arange(n) - n // 2) * s for n, s in zip(values.shape, step, strict=True)]
    return radial_mean(values, axes, step=min(step), limit=limit)


def checked_spacing(spacing: Sequence[float], ndim: int) -> tuple[float, ...]:
    """Return the spacing as a tuple of `ndim` positive numbers, or raise an :class:`InputError`."""
    step = tuple(float(s) for s in spacing)
    if len(step) != ndim or not all(np.isfinite(s) and s > 0 for s in step):
        raise InputError(f"spacing needs {ndim} positive numbers (micrometres per axis), got {tuple(spacing)}")
    return step


def _checked(
    first: NDArray[Any], second: NDArray[Any] | None, mask: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    a = np.asarray(first)
    b = a if second is None else np.asarray(second)
    for values in (a, b):
        if values.dtype.kind not in "bf":
            raise InputError(
                f"correlations need booleans or real numbers, got {values.dtype} labels; pass for example phase == 1"
            )
        if values.shape != a.shape or values.size == 0 or values.ndim not in (2, 3):
            raise InputError(
                f"correlations need equal grids (Y, X) or (Z, Y, X), got shapes {a.shape} and {values.shape}"
            )
    if mask is not None and np.shape(mask) != a.shape:
        raise InputError(f"the mask has shape {np.shape(mask)}, the values have {a.shape}; they must be equal")
    return a, b


def _lags(shape: tuple[int, ...], cutoff: int | Sequence[int] | None, *, periodic: bool) -> list[NDArray[np.intp]]:
    """Lags along each axis, in grid points."""
    if cutoff is None and periodic:
        return [np.arange(n) - n // 2 for n in shape]
    wanted = [n // 2 for n in shape] if cutoff is None else np.broadcast_to(cutoff, len(shape)).tolist()
    for n, c in zip(shape, wanted, strict=True):
        if not 0 <= c <= (n // 2 if periodic else n - 1):
            raise InputError(f"a cut-off of {c} grid points does not fit an axis of {n}; choose a smaller one")
    return [np.arange(-c, c + 1) for c in wanted]


def _sums(a: NDArray[Any], b: NDArray[Any], lags: list[NDArray[np.intp]], *, periodic: bool) -> NDArray[Any]:
    """Sum of ``a(x) b(x + lag)`` over the grid, axis by axis so that no padding is transformed in vain."""
    lengths = [
        n if periodic else fft.next_fast_len(n + int(np.abs(k).max()), real=True)
        for n, k in zip(a.shape, lags, strict=True)
    ]
    spectrum = _forward(a, lengths)
    if b is a:
        sums = _mirrored(_inverse_of_power(squared_modulus(spectrum), lengths, lags), lags)
    else:
        np.conj(spectrum, out=spectrum)
        spectrum *= _forward(b, lengths)
        spectrum = _take(fft.ifft(spectrum, axis=0, overwrite_x=True, workers=_WORKERS), lags[0], 0)
        sums = _inverse(spectrum, lengths, lags)
    counted = a.dtype == bool and b.dtype == bool and a.size <= _EXACT
    return np.rint(sums).astype(np.float64) if counted else sums


def _forward(values: NDArray[Any], lengths: list[int]) -> NDArray[Any]:
    real = values.astype(np.float32) if values.dtype in (bool, np.float16) else values
    spectrum = fft.rfft(real, lengths[-1], workers=_WORKERS)
    del real
    for axis in range(values.ndim - 2, -1, -1):
        spectrum = fft.fft(spectrum, lengths[axis], axis, overwrite_x=True, workers=_WORKERS)
    return spectrum  # type: ignore[no-any-return]


def squared_modulus(spectrum: NDArray[Any]) -> NDArray[Any]:
    """Return the squared modulus of complex numbers, which are used up, so that no third array is needed."""
    real, imag = spectrum.real, spectrum.imag
    real *= real
    imag *= imag
    power: NDArray[Any] = real + imag
    return power


def _inverse_of_power(power: NDArray[Any], lengths: list[int], lags: list[NDArray[np.intp]]) -> NDArray[Any]:
    """Inverse transform at the lags from 0 on along the first axis: a real spectrum needs only half of the work."""
    largest = int(np.abs(lags[0]).max())
    half = fft.ihfft(power, axis=0, workers=_WORKERS)[: largest + 1]
    del power
    return _inverse(half, lengths, lags)


def _inverse(spectrum: NDArray[Any], lengths: list[int], lags: list[NDArray[np.intp]]) -> NDArray[Any]:
    """Inverse transform along all axes but the first, keeping the lags."""
    for axis in range(1, spectrum.ndim - 1):
        spectrum = fft.ifft(spectrum, axis=axis, overwrite_x=True, workers=_WORKERS)
        spectrum = _take(spectrum, lags[axis], axis)
    values = fft.irfft(spectrum, lengths[-1], overwrite_x=True, workers=_WORKERS)
    del spectrum
    return _take(values, lags[-1], values.ndim - 1)


def _mirrored(half: NDArray[Any], lags: list[NDArray[np.intp]]) -> NDArray[Any]:
    """Add the negative lags of the first axis: an auto-correlation is the same forwards and backwards."""
    negative = int(np.count_nonzero(lags[0] < 0))
    back = half[negative:0:-1]
    for axis in range(1, half.ndim):
        back = np.flip(back, axis)
        if lags[axis][0] != -lags[axis][-1]:  # an even periodic axis holds -n / 2 but not n / 2, which is the same lag
            back = np.roll(back, 1, axis)
    return np.concatenate([back, half[: len(lags[0]) - negative]])


def _take(values: NDArray[Any], lags: NDArray[np.intp], axis: int) -> NDArray[Any]:
    """Pick the lags, which run from negative to positive, in two slices."""
    negative = int(np.count_nonzero(lags < 0))
    n = values.shape[axis]
    before = [slice(None)] * axis
    parts = [values[(*before, slice(n - negative, n))], values[(*before, slice(0, len(lags) - negative))]]
    return np.concatenate(parts, axis)
