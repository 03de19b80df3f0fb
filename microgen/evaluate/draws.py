"""Fair draws: equally many windows from each side, alike over pictures and sizes, and whole pictures resampled.

A draw is a row of counts over all windows. Everything that is compared is compared through such rows, so that
generated-against-real and real-against-real see the same numbers, hence the same finite-sample bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.evaluate.windows import Indices, balanced

Counts = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pool:
    """Windows that may be drawn.

    Attributes
    ----------
    index
        Positions in the table of all windows, ``(k,)``.
    groups
        Picture that each came from, ``(k,)``.
    strata
        Size class of each, ``(k,)``; -1 where it belongs to none and is never drawn.
    """

    index: Indices
    groups: Indices
    strata: Indices

    def available(self, strata: int) -> Indices:
        """Number of windows per size class."""
        return np.bincount(self.strata[self.strata >= 0], minlength=strata)

    def part(self, keep: NDArray[Any]) -> Pool:
        """Return the windows at `keep` (positions or a mask)."""
        return Pool(self.index[keep], self.groups[keep], self.strata[keep])

    def draw(self, rng: np.random.Generator, wanted: Indices) -> Indices:
        """Draw ``wanted[s]`` windows of each size class, evenly over the pictures; at most what is there."""
        parts = []
        for stratum, n in enumerate(wanted):
            inside = np.flatnonzero(self.strata == stratum)
            parts.append(self.index[balanced(rng, inside, self.groups[inside], int(n))])
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def resampled(self, rng: np.random.Generator) -> Pool:
        """Draw as many whole pictures as there are, with replacement; a picture drawn twice counts as two."""
        names = np.unique(self.groups)
        members = [np.flatnonzero(self.groups == g) for g in rng.choice(names, len(names))]
        renamed = np.repeat(np.arange(len(members)), [len(m) for m in members])
        return Pool(self.index[np.concatenate(members)], renamed, self.strata[np.concatenate(members)])


def common(wanted: Indices, *pools: Pool) -> Indices:
    """Windows per size class that each of the pools can give, at most `wanted`."""
    return np.asarray(np.minimum.reduce([wanted, *(pool.available(len(wanted)) for pool in pools)]))


def joined(a: Pool, b: Pool) -> Pool:
    """Both pools as one; their pictures stay different."""
    shift = (a.groups.max(initial=-1)) + 1
    arrays = (np.concatenate(pair) for pair in ((a.index, b.index), (a.groups, b.groups + shift), (a.strata, b.strata)))
    return Pool(*arrays)


def divided(rng: np.random.Generator, pool: Pool, first: int) -> tuple[Pool, Pool]:
    """Divide by picture at random: `first` pictures on one side, the others on the other."""
    names = rng.permutation(np.unique(pool.groups))
    side = np.isin(pool.groups, names[:first])
    return pool.part(side), pool.part(~side)
