"""Finding pictures that show the same place: copies, stage steps, one field at two magnifications."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product
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
"""Pairs compared at every shift at most, of those that look alike and again of the others."""
THUMBNAIL = 32
"""Side in pixels of the thumbnails that are compared for all pairs."""
ALIKE = 0.5
"""Correlation of two thumbnails from which a pair is looked at first: 16 standard deviations for different places."""


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
        Where the corner of `second` lies in `first`, in micrometres in the order of the axes.
    share
        Overlapping area over the area of the smaller picture; 1 for a duplicate.
    correlation
        Correlation coefficient of the two over the overlap.
    """

    first: str
    second: str
    shift_um: tuple[float, ...]
    share: float
    correlation: float

    @property
    def duplicate(self) -> bool:
        """Whether the smaller one shows nothing new."""
        return self.share > 0.95


def content(values: NDArray[Any]) -> str:
    """SHA-256 of the type, shape and values of an array: equal for equal pictures, whatever their files say."""
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape}".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def copies(contents: Mapping[str, str], ndim: int) -> list[Overlap]:
    """Pair every picture or volume with the first one of exactly the same content.

    >>> [(c.first, c.second) for c in copies({"a": "1", "b": "2", "c": "1", "d": "1"}, 2)]
    [('a', 'c'), ('a', 'd')]
    """
    first: dict[str, str] = {}
    pairs = [(first.setdefault(digest, name), name) for name, digest in contents.items()]
    return [Overlap(a, b, (0.0,) * ndim, 1.0, 1.0) for a, b in pairs if a != b]


def pairs_to_compare(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return index pairs, those of one folder and near in order first, at most MAX_PAIRS.

    >>> pairs_to_compare(["a/1", "b/1", "b/2"])
    [(1, 2), (0, 1), (0, 2)]
    """
    folder = np.unique([name.rpartition("/")[0] for name in names], return_inverse=True)[1]

    def ordered() -> Iterator[tuple[int, int]]:
        for same, step in product((True, False), range(1, len(names))):
            for i in np.flatnonzero((folder[step:] == folder[:-step]) == same).tolist():
                yield i, i + step

    return list(islice(ordered(), MAX_PAIRS))


def pairs_alike(views: Sequence[View]) -> Iterator[tuple[int, int]]:
    """Yield the index pairs, out of all, whose thumbnails correlate by ALIKE or more; the most alike first."""
    if not views:
        return
    small = np.stack([_thumbnail(view) for view in views])
    correlation: list[NDArray[Any]] = []
    first: list[NDArray[Any]] = []
    second: list[NDArray[Any]] = []
    for start in range(0, len(small), 256):
        block = small[start : start + 256] @ small[start:].T
        i, j = np.nonzero(np.triu(block >= ALIKE, k=1))
        correlation.append(block[i, j])
        first.append(start + i)
        second.append(start + j)
    pairs = np.stack([np.concatenate(first), np.concatenate(second)], axis=1)
    for k in np.argsort(-np.concatenate(correlation), kind="stable"):
        yield int(pairs[k, 0]), int(pairs[k, 1])


def _silent(message: str) -> None:
    pass


def find_overlaps(views: Sequence[View], *, warn: Callable[[str], None] = _silent) -> list[Overlap]:
    """Compare pairs of pictures and return those that overlap.

    All pairs are compared by thumbnail, and those that look alike (copies, whatever their noise and brightness) at
    every shift; then the others, at most :data:`MAX_PAIRS` of each kind, near ones first. Where that leaves pairs out,
    `warn` gets one sentence. A picture that shows nothing new is not compared any further.

    A pair is brought to one pixel size and freed of shading; the correlation coefficient over the overlap is
    computed for all shifts at once by Fourier transforms (masked normalised cross-correlation, Padfield,
    doi:10.1109/TIP.2011.2181402), and judged by Fisher's z with the number of independent pixels in the overlap.
    Rotated or mirrored pictures are not found.

    Returns
    -------
    list of Overlap
        In the order of the pictures; empty where all show different places.
    """

    compare = _comparer(views)
    found: dict[tuple[int, int], Overlap] = {}
    compared: set[tuple[int, int]] = set()
    nothing_new: set[int] = set()

    def search(pairs: Iterable[tuple[int, int]]) -> bool:
        """Compare at most MAX_PAIRS pairs that are still of interest; whether all were."""
        open_pairs = (p for p in pairs if nothing_new.isdisjoint(p) and p not in compared)
        for i, j in islice(open_pairs, MAX_PAIRS):
            compared.add((i, j))
            overlap = compare(i, j)
            if overlap:
                found[i, j] = overlap
                nothing_new.update([i if _area(views[i]) < _area(views[j]) else j] if overlap.duplicate else [])
        return next(open_pairs, None) is None

    every = search(pairs_alike(views))
    rest = [k for k in range(len(views)) if k not in nothing_new]
    near = [(rest[i], rest[j]) for i, j in pairs_to_compare([views[k].name for k in rest])]
    search(sorted(near))
    if not every or len(near) < math.comb(len(rest), 2):
        warn(
            f"{len(views)} images are too many to compare every pair at every shift: overlaps of images far apart in "
            "order may be missed; say with --specimen which images belong together"
        )
    return [found[pair] for pair in sorted(found)]


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


def _comparer(views: Sequence[View]) -> Callable[[int, int], Overlap | None]:
    """Return what compares two of the pictures at every shift; it keeps their transforms for a while."""

    @lru_cache(maxsize=256)
    def flat(index: int, spacing: float) -> NDArray[np.float32]:
        return _flattened(views[index], spacing)

    @lru_cache(maxsize=64)
    def spectra(index: int, spacing: float, size: tuple[int, ...]) -> _Spectra:
        return _Spectra.of(flat(index, spacing), size)

    def compare(i: int, j: int) -> Overlap | None:
        spacing = max(views[i].spacing_um, views[j].spacing_um)
        a, b = flat(i, spacing), flat(j, spacing)
        if min(*a.shape, *b.shape) < MIN_SIDE:
            return None
        size = tuple(fft.next_fast_len(m + n - 1, real=True) for m, n in zip(a.shape, b.shape, strict=True))
        match = _best_match(spectra(i, spacing, size), spectra(j, spacing, size))
        if not match.same_place:
            return None
        shift = (round(match.shift[0] * spacing, 3), round(match.shift[1] * spacing, 3))
        share = min(round(match.share, 4), 1.0)
        return Overlap(views[i].name, views[j].name, shift, share, round(match.correlation, 3))

    return compare


def _flattened(view: View, spacing: float) -> NDArray[np.float32]:
    """Picture at `spacing` without shading, of zero mean and unit spread."""
    small = resample(view.values, (view.spacing_um,) * 2, spacing)
    flat = small - ndimage.gaussian_filter(small, 8)
    return np.asarray((flat - flat.mean()) / max(float(flat.std()), 1e-12), dtype=np.float32)


def _area(view: View) -> float:
    return view.values.size * view.spacing_um**2


def _thumbnail(view: View) -> NDArray[np.float32]:
    """THUMBNAIL x THUMBNAIL means of the flattened picture, of zero mean and unit length, as one row."""
    flat = _flattened(view, view.spacing_um)
    small = resample(flat, tuple(THUMBNAIL / n for n in flat.shape), 1.0).ravel()
    small = small - small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-12), dtype=np.float32)


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
