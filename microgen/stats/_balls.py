"""Balls around many points of a grid at once: rows of bits, widened along x and laid over each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Reach = list[list[tuple[int, int]]]


def ball(radius: float, spacing: Sequence[float]) -> Reach:
    """Return the rows ``(dz, dy)`` of grid points less than `radius` from the origin, by their half width in x.

    >>> ball(1.5, (1, 1, 1))[1]
    [(-1, 0), (0, -1), (0, 0), (0, 1), (1, 0)]
    """
    dz, dy, dx = (int(radius / s) for s in spacing)
    rows: Reach = [[] for _ in range(dx + 1)]
    for z in range(-dz, dz + 1):
        for y in range(-dy, dy + 1):
            left = radius**2 - (z * spacing[0]) ** 2 - (y * spacing[1]) ** 2
            if left > 0:
                rows[int(np.ceil(np.sqrt(left) / spacing[2])) - 1].append((z, y))
    return rows


def painted(centres: NDArray[np.bool_], reach: Reach, layers: slice) -> NDArray[np.bool_]:
    """Return the union of balls around all centres, on some layers of the first axis.

    Parameters
    ----------
    centres
        Boolean, ``(Z, Y, X)``; nothing lies outside.
    reach
        Of :func:`ball`.
    layers
        Those that are wanted.

    Examples
    --------
    >>> centres = np.zeros((1, 3, 3), bool)
    >>> centres[0, 1, 1] = True
    >>> painted(centres, ball(1.1, (1, 1, 1)), slice(0, 1)).astype(int).tolist()
    [[[0, 1, 0], [1, 1, 1], [0, 1, 0]]]
    """
    bits = _packed(centres)
    union = np.zeros((layers.stop - layers.start, *bits.shape[1:]), dtype=np.uint64)
    for width, rows in enumerate(reach):
        bits = _wider(bits) if width else bits
        for z, y in rows:
            _lay(union, bits, layers.start + z, y)
    flat = union.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(flat, axis=-1, count=centres.shape[-1], bitorder="little").view(bool)


def _packed(values: NDArray[np.bool_]) -> Words:
    """64 points along x in a word, the first in its lowest bit; one word more than needed keeps the end empty."""
    words = values.shape[-1] // 64 + 1
    octets = np.zeros((*values.shape[:-1], words * 8), dtype=np.uint8)
    octets[..., : -(-values.shape[-1] // 8)] = np.packbits(values, axis=-1, bitorder="little")
    words_along_x: Words = octets.view("<u8").astype(np.uint64, copy=False)
    return words_along_x


def _wider(bits: Words) -> Words:
    """Add the neighbours along x on both sides."""
    one, top = np.uint64(1), np.uint64(63)
    wide: Words = bits | (bits << one) | (bits >> one)
    wide[..., 1:] |= bits[..., :-1] >> top
    wide[..., :-1] |= bits[..., 1:] << top
    return wide


def _lay(union: Words, bits: Words, z: int, y: int) -> None:
    """Lay bits over the union, its first layer on layer `z` and its first line on line `y` of the bits."""
    here, there = zip(
        *(_overlap(n, m, k) for n, m, k in zip(union.shape, bits.shape, (z, y), strict=False)), strict=True
    )
    target = union[here]
    np.bitwise_or(target, bits[there], out=target)


def _overlap(size: int, other: int, shift: int) -> tuple[slice, slice]:
    """Where ``0 .. size`` and ``shift .. other`` meet: as parts of the one and of the other."""
    low, high = max(0, -shift), max(0, -shift, min(size, other - shift))
    return slice(low, high), slice(low + shift, high + shift)
