"""Confidence intervals by the bootstrap."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from microgen.core import InputError

_DRAWS = 2000
_MANY = 5000  # values whose mean is as good as normal
_TILES = {2: 4, 3: 2}  # along each axis
_SMALLEST_TILE = 16


def bootstrap_ci(
    values: NDArray[Any] | Sequence[float], *, seed: int = 0, period: float | None = None
) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean of independent values.

    Parameters
    ----------
    values
        Shape ``(n,)``, at least 2.
    seed
        Of the resampling: the same values and seed give the same interval.
    period
        Of angles: 180 for directions in degrees. The interval is then around the circular mean and may leave
        the range 0 to `period`.

    Raises
    ------
    InputError
        For fewer than two values.

    Notes
    -----
    Percentiles of the mean of resampled values, widened by ``sqrt(n / (n - 1))`` and by the ratio of
    Student's to the normal quantile, without which small samples give intervals that are too short. More than 5000
    values have Student's interval itself.

    References
    ----------
    Hesterberg, Am. Stat. 69 (2015) 371, doi:10.1080/00031305.2015.1089789.

    Examples
    --------
    >>> low, high = bootstrap_ci([1.0, 2.0, 3.0, 4.0])
    >>> low < 2.5 < high
    True
    """
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    if n < 2:
        raise InputError(f"an interval needs at least 2 values, got {n}")
    centre = float(sample.mean()) if period is None else circular_mean(sample, period=period)
    deviation = sample - centre
    if period is not None:
        deviation = (deviation + period / 2) % period - period / 2
    if n > _MANY:
        half = float(special.stdtrit(n - 1, 0.975) * deviation.std(ddof=1) / np.sqrt(n))
        return centre - half, centre + half
    rng = np.random.default_rng(seed)
    means = deviation[rng.integers(n, size=(_DRAWS, n))].mean(axis=1) - deviation.mean()
    widen = np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, 0.975) / special.ndtri(0.975)
    low, high = np.quantile(means, [0.025, 0.975]) * widen
    return centre + float(low), centre + float(high)


def circular_mean(values: NDArray[Any] | Sequence[float], *, period: float) -> float:
    """Return the mean of angles with a period, in the range 0 to `period`.

    >>> round(circular_mean([170, 20], period=180), 6)
    5.0
    """
    turn = 2 * np.pi / period
    mean = np.exp(1j * turn * np.asarray(values, dtype=np.float64)).mean()
    return float(np.angle(mean) / turn % period)


def interval_of_parts(
    value: float, parts: NDArray[Any] | Sequence[float], *, period: float | None = None
) -> tuple[float, float]:
    """Return the 95 % confidence interval that the scatter between parts of a picture gives, centred on its value.

    >>> low, high = interval_of_parts(10.0, [9.0, 10.0, 11.0, 12.0])
    >>> round((low + high) / 2, 1)
    10.0
    """
    offset = np.asarray(parts, dtype=np.float64) - value
    if period:
        offset = (offset + period / 2) % period - period / 2
    low, high = bootstrap_ci(offset)
    shift = value - float(offset.mean())
    return low + shift, high + shift


def tiles(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Cut a picture into 4 x 4 tiles, a volume into 2 x 2 x 2; into none where they would be too small.

    >>> len(list(tiles((64, 64)))), len(list(tiles((32, 64, 64)))), len(list(tiles((8, 64))))
    (16, 8, 0)
    """
    cuts = [np.linspace(0, n, _TILES[len(shape)] + 1).astype(int) for n in shape]
    if min(int(np.diff(c).min()) for c in cuts) >= _SMALLEST_TILE:
        yield from itertools.product(*([slice(a, b) for a, b in itertools.pairwise(c)] for c in cuts))
