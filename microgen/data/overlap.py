"""Finding pictures that show the same place: duplicates, stage steps, one field at two magnifications."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microgen.data.resample import resample

SIDE = 480
"""Longest side, in pixels, to which pictures are reduced for the comparison."""
MIN_SIDE = 24
"""Shortest side, in pixels, of a reduced picture that can still be compared."""
MIN_SHARE = 0.004
"""Smallest overlap looked for, as a share of the smaller picture: two pixel rows of a reduced picture."""
MIN_CORRELATION = 0.4
MIN_SIGNIFICANCE = 10.0
"""Correlation and Fisher z that count as the same place; on 24 real steels different places reach 8.7, true
overlaps, down to half a percent of the area, start at 18.9."""
MIN_LEAD = 2.0
"""Fisher z over that of the second-best shift: a few straight lines fit in several places, a picture in one (on the
same steels different places reach 1.4, true overlaps start at 3.9)."""
NEIGHBOURHOOD = 12
"""Shifts closer than this to the best one, in pixels, belong to it."""
MAX_PAIRS = 2000
"""Pairs compared at most, pictures of one folder and near in order first."""


@dataclass(frozen=True, eq=False)
class View:
    """A picture reduced for the comparison: values ``(Y, X)`` and the side of its square pixels in micrometres."""

    name: str
    values: NDArray[np.float32]
    spacing_um: float

    @classmethod
    def of(cls, name: str, values: NDArray[Any], spacing: tuple[float, ...]) -> View:
        """Reduce a picture of any size to at most SIDE pixels along a side."""
        longest = max(n * s for n, s in zip(values.shape, spacing, strict=True))
        target = max(longest / SIDE, *spacing)
        return cls(name, resample(values, spacing, target), target)


@dataclass(frozen=True)
class Overlap:
    """Two pictures that show the same place.

    Attributes
    ----------
    first, second
        Names of the pictures.
    shift_um
        Where the corner of `second` lies in `first`, ``(Y, X)`` in micrometres.
    share
        Overlapping area over the area of the smaller picture; 1 for a duplicate.
    correlation
        Correlation coefficient of the two over the overlap.
    """

    first: str
    second: str
    shift_um: tuple[float, float]
    share: float
    correlation: float

    @property
    def duplicate(self) -> bool:
        """Whether the smaller one shows nothing new."""
        return self.share > 0.95


def pairs_to_compare(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return index pairs, those of one folder and near in order first, at most MAX_PAIRS.

    >>> pairs_to_compare(["a/1", "b/1", "b/2"])
    [(1, 2), (0, 1), (0, 2)]
    """
    folders = [name.rpartition("/")[0] for name in names]
    every = combinations(range(len(names)), 2)
    return sorted(every, key=lambda p: (folders[p[0]] != folders[p[1]], p[1] - p[0]))[:MAX_PAIRS]


def find_overlaps(views: Sequence[View]) -> list[Overlap]:
    """Compare pairs of pictures and return those that overlap.

    A pair is brought to one pixel size and freed of shading; the correlation coefficient over the overlap is
    computed for all shifts at once by Fourier transforms (masked normalised cross-correlation, Padfield,
    doi:10.1109/TIP.2011.2181402), and judged by Fisher's z with the number of independent pixels in the overlap.
    Rotated or mirrored pictures are not found.

    Returns
    -------
    list of Overlap
        In the order of the pictures; empty where all show different places.
    """

    @lru_cache(maxsize=256)
    def flat(index: int, spacing: float) -> NDArray[np.float32]:
        return _flattened(views[index], spacing)

    @lru_cache(maxsize=64)
    def spectra(index: int, spacing: float, size: tuple[int, ...]) -> _Spectra:
        return _Spectra.of(flat(index, spacing), size)

    found = []
    for i, j in sorted(pairs_to_compare([view.name for view in views])):
        spacing = max(views[i].spacing_um, views[j].spacing_um)
        a, b = flat(i, spacing), flat(j, spacing)
        if min(*a.shape, *b.shape) < MIN_SIDE:
            continue
        size = tuple(fft.next_fast_len(m + n - 1, real=True) for m, n in zip(a.shape, b.shape, strict=True))
        match = _best_match(spectra(i, spacing, size), spectra(j, spacing, size))
        if match.same_place:
            shift = (round(match.shift[0] * spacing, 3), round(match.shift[1] * spacing, 3))
            share = min(round(match.share, 4), 1.0)
            found.append(Overlap(views[i].name, views[j].name, shift, share, round(match.correlation, 3)))
    return found


def groups(names: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join names along pairs; every name maps to the first name of its group.

    >>> groups(["a", "b", "c"], [("c", "b")])
    {'a': 'a', 'b': 'b', 'c': 'b'}
    """
    leader = {name: name for name in names}
    for first, second in pairs:
        keep, drop = leader[first], leader[second]
        leader = {name: keep if lead == drop else lead for name, lead in leader.items()}
    first_of: dict[str, str] = {}
    for name, lead in leader.items():
        first_of.setdefault(lead, name)
    return {name: first_of[lead] for name, lead in leader.items()}


class _Spectra(NamedTuple):
    """Transforms of a picture, of its square and of its support, padded to `size`."""

    shape: tuple[int, ...]
    size: tuple[int, ...]
    value: NDArray[Any]
    square: NDArray[Any]
    support: NDArray[Any]

    @classmethod
    def of(cls, a: NDArray[np.float32], size: tuple[int, ...]) -> _Spectra:
        return cls(a.shape, size, *(fft.rfft2(x, size) for x in (a, a**2, np.ones_like(a))))


class _Match(NamedTuple):
    correlation: float
    significance: float
    lead: float
    share: float
    shift: tuple[int, ...]

    @property
    def same_place(self) -> bool:
        if self.share > 0.9 and self.correlation > 0.9:
            return True  # a duplicate, even of a lattice that fits in many places
        strong = self.correlation >= MIN_CORRELATION and self.significance >= MIN_SIGNIFICANCE
        return strong and self.lead >= MIN_LEAD


def _flattened(view: View, spacing: float) -> NDArray[np.float32]:
    """Picture at `spacing` without shading, of zero mean and unit spread."""
    small = resample(view.values, (view.spacing_um,) * 2, spacing)
    flat = small - ndimage.gaussian_filter(small, 8)
    return np.asarray((flat - flat.mean()) / max(float(flat.std()), 1e-12), dtype=np.float32)


def _best_match(a: _Spectra, b: _Spectra) -> _Match:
    def correlate(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(fft.irfft2(x * np.conj(y), a.size))

    area = np.maximum(np.rint(correlate(a.support, b.support)), 1)
    sum_a, sum_b = correlate(a.value, b.support), correlate(a.support, b.value)
    var_a = correlate(a.square, b.support) - sum_a**2 / area
    var_b = correlate(a.support, b.square) - sum_b**2 / area
    covariance = correlate(a.value, b.value) - sum_a * sum_b / area
    # a flat corner has no variance of its own; a thousandth of the mean variance keeps its noise harmless
    correlation = covariance / np.sqrt(np.maximum(var_a, 1e-3 * area) * np.maximum(var_b, 1e-3 * area))
    smaller = min(np.prod(a.shape), np.prod(b.shape))
    independent = np.where(area >= MIN_SHARE * smaller, area / _shared_area(a, b) - 3, 0)
    z = np.arctanh(np.clip(correlation, -0.999, 0.999)) * np.sqrt(np.maximum(independent, 0))
    best = np.unravel_index(int(np.argmax(z)), z.shape)
    shift = tuple(int(k) if k < n else int(k) - s for k, n, s in zip(best, a.shape, a.size, strict=True))
    share = float(area[best] / smaller)
    return _Match(float(correlation[best]), float(z[best]), float(z[best]) / _second(z, best), share, shift)


def _second(z: NDArray[Any], best: tuple[Any, ...]) -> float:
    """Largest value away from the best one; the array wraps around."""
    here = [np.arange(k - NEIGHBOURHOOD, k + NEIGHBOURHOOD + 1) % n for k, n in zip(best, z.shape, strict=True)]
    others = z.copy()
    others[np.ix_(*here)] = 0
    return max(float(others.max()), 1e-6)


def _shared_area(a: _Spectra, b: _Spectra) -> float:
    """Pixels per independent one: the sum over lags of the product of the two autocorrelations (Bartlett)."""
    power = np.abs(a.value) ** 2 * np.abs(b.value) ** 2
    last = power.shape[1] - (a.size[1] % 2 == 0)
    total = 2 * power.sum() - power[:, 0].sum() - (power[:, -1].sum() if last < power.shape[1] else 0)
    pixels = np.prod(a.shape) * np.prod(b.shape)
    return max(float(total / np.prod(a.size) / pixels), 1.0)
