"""Bring every picture to one spacing and cut it into windows of one size, remembering which picture each came from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.data.resample import resample_field

Indices = NDArray[np.int64]
Values = NDArray[Any]

SAME_SPACING = 0.005
"""Spacings that differ by less than this share count as equal."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Windows of one size and spacing, and the picture (or specimen) that each one came from.

    Attributes
    ----------
    windows
        The windows, all of one shape.
    groups
        Number of the picture of each window, ``(n,)``: windows of one picture are not independent.
    names
        Name of each group.
    owners, corners
        Number of the picture that each window was cut from ``(n,)``, and where it begins there ``(n, axes)``.
    """

    windows: list[Microstructure]
    groups: Indices
    names: list[str]
    owners: Indices
    corners: Indices

    def __len__(self) -> int:
        return len(self.windows)

    def take(self, indices: Indices) -> Sample:
        """Return a part of the windows."""
        windows = [self.windows[i] for i in indices]
        return Sample(windows, self.groups[indices], self.names, self.owners[indices], self.corners[indices])


def to_spacing(picture: Microstructure, spacing: tuple[float, ...]) -> Microstructure:
    """Return `picture` on a grid of another spacing, resampled exactly as training data are (:mod:`data.resample`).

    Gray values are averaged over the new pixels and rounded to their own integer type, labels take the nearest.

    Parameters
    ----------
    spacing
        Wanted distance between grid points per axis in micrometres.

    Raises
    ------
    InputError
        If the wanted pixels are not square and differ from those of the picture.
    """
    if _same(picture.spacing, spacing):
        return picture
    if not _same(spacing, spacing[:1] * len(spacing)):
        raise InputError(f"real pictures can only be brought to square pixels, the generated ones have {spacing} um")
    fields = {name: _resampled(name, values, picture.spacing, spacing[0]) for name, values in picture.fields.items()}
    return picture.replace(fields=fields, spacing=spacing)


def _resampled(name: str, values: Values, spacing: tuple[float, ...], target_um: float) -> Values:
    out = resample_field(name, values, spacing, target_um)
    return np.rint(out).astype(values.dtype) if values.dtype.kind in "bui" else out


def _same(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return len(a) == len(b) and all(abs(x / y - 1) < SAME_SPACING for x, y in zip(a, b, strict=True))


def window_shape(generated: Sequence[Microstructure], real: Sequence[Microstructure]) -> tuple[int, ...]:
    """Return the largest window that fits in every generated picture and in at least half of the real ones."""
    smallest = np.min([m.shape for m in generated], axis=0)
    rooms = np.minimum(smallest, [m.shape for m in real])
    fits = [shape for shape in rooms if 2 * (rooms >= shape).all(axis=1).sum() >= len(rooms)]
    return tuple(int(n) for n in max(fits, key=np.prod, default=rooms.min(axis=0)))


def cut(
    pictures: Sequence[Microstructure], shape: tuple[int, ...], groups: Sequence[str], *, limit: int, seed: int
) -> Sample:
    """Cut pictures into windows side by side, at most `limit` in all, as many from each group as its size allows.

    Pictures smaller than a window give none.
    """
    names = list(dict.fromkeys(groups))
    found = [(i, c) for i, m in enumerate(pictures) for c in tiles(m.shape, shape)]
    owners = np.array([i for i, _ in found], dtype=np.int64)
    corners = np.array([c for _, c in found], dtype=np.int64).reshape(-1, len(shape))
    labels = np.array([names.index(groups[i]) for i in owners], dtype=np.int64)
    n = min(limit, len(found))
    chosen = np.sort(balanced(np.random.default_rng(seed), np.arange(len(found)), labels, n))
    windows = [_window(pictures[owners[k]], corners[k], shape) for k in chosen]
    return Sample(windows, labels[chosen], names, owners[chosen], corners[chosen])


def balanced(rng: np.random.Generator, pool: Indices, groups: Indices, n: int) -> Indices:
    """Draw `n` of `pool` at random, as evenly over the groups as their sizes allow, nothing twice.

    Parameters
    ----------
    pool
        Positions to draw from, ``(k,)``.
    groups
        Group of each entry of `pool`, ``(k,)``.

    Examples
    --------
    >>> pool, groups = np.arange(6), np.array([0, 0, 0, 0, 1, 1])
    >>> drawn = balanced(np.random.default_rng(0), pool, groups, 4)
    >>> np.bincount(groups[drawn]).tolist()
    [2, 2]
    """
    order = rng.permutation(len(pool))
    turn = _place_in_group(groups[order])
    return pool[order[np.argsort(turn, kind="stable")]][:n]


def chances(groups: Indices, n: int) -> NDArray[np.float64]:
    """Chance of each window to be among `n` drawn by :func:`balanced`, ``(k,)``.

    Parameters
    ----------
    groups
        Group of each window, ``(k,)``.

    Examples
    --------
    >>> chances(np.array([0, 0, 0, 0, 1, 1]), 4)
    array([0.5, 0.5, 0.5, 0.5, 1. , 1. ])
    """
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    levels = np.arange(sizes.max(initial=0) + 1)
    totals = np.minimum(sizes, levels[:, None]).sum(axis=1)
    level = np.interp(min(n, len(groups)), totals, levels)
    return np.asarray((np.minimum(sizes, level) / sizes)[place])


def _place_in_group(groups: Indices) -> Indices:
    """How many entries of the same group stand before each entry."""
    by_group = np.argsort(groups, kind="stable")
    _, first, count = np.unique(groups[by_group], return_index=True, return_counts=True)
    place = np.zeros(len(groups), np.int64)
    place[by_group] = np.arange(len(groups)) - np.repeat(first, count)
    return place


def tiles(whole: tuple[int, ...], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """First grid points of windows side by side, centred in the picture."""
    counts = [n // w for n, w in zip(whole, shape, strict=True)]
    if min(counts) == 0:
        return []
    starts = [(n - c * w) // 2 + w * np.arange(c) for n, w, c in zip(whole, shape, counts, strict=True)]
    return list(itertools.product(*(s.tolist() for s in starts)))


def _window(picture: Microstructure, corner: Indices, shape: tuple[int, ...]) -> Microstructure:
    return picture.crop(*(slice(int(a), int(a) + n) for a, n in zip(corner, shape, strict=True)))


def common_spacing(pictures: Sequence[Microstructure]) -> tuple[float, ...]:
    """Return the one spacing of the pictures.

    Raises
    ------
    InputError
        If they have several spacings or numbers of axes.
    """
    first = pictures[0].spacing
    for m in pictures:
        if not _same(m.spacing, first):
            raise InputError(
                f"generated pictures have pixels of {first} and {m.spacing} um; evaluate each size by itself"
            )
    return first
