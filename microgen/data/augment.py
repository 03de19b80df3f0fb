"""Flips and quarter turns, applied alike to a field and to its maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLIP_AXES = {"flip_x": -1, "flip_y": -2, "flip_z": -3}
"""Axis, counted from the last, that each flip reverses."""

Turn = tuple[int, ...]
"""Quarter turns in the plane of the last two axes, then the axes to reverse."""


def draw_turns(rng: np.random.Generator, n: int, augment: Sequence[str]) -> list[Turn]:
    """Draw `n` random elements of the group that the allowed symmetries make."""
    quarters = rng.integers(0, 4, size=n) if "quarter_turns" in augment else np.zeros(n, dtype=int)
    axes = [FLIP_AXES[name] for name in augment if name in FLIP_AXES]
    flips = rng.integers(0, 2, size=(n, len(axes)))
    return [(int(q), *(a for a, f in zip(axes, row, strict=True) if f)) for q, row in zip(quarters, flips, strict=True)]


def turned(values: NDArray[Any], turn: Turn) -> NDArray[Any]:
    """Apply one element to the last axes of an array; the empty turn does nothing.

    >>> turned(np.array([[1, 2], [3, 4]]), (0, -1))
    array([[2, 1],
           [4, 3]])
    """
    if not turn:
        return values
    quarters, *axes = turn
    if quarters:
        values = np.rot90(values, quarters, axes=(-2, -1))
    return np.flip(values, axis=tuple(axes)) if axes else values


def turned_deg(directions: NDArray[Any], turn: Turn) -> NDArray[Any]:
    """Directions in degrees of what they describe after :func:`turned`: axial, 0 along x, in the plane of y and x.

    >>> turned_deg(np.array([30.0]), (1,)), turned_deg(np.array([30.0]), (0, -1))
    (array([120.]), array([150.]))
    """
    if not turn:
        return directions
    quarters, *axes = turn
    mirrored = sum(axis in (-1, -2) for axis in axes) % 2
    angle = (directions + 90 * quarters) * (-1 if mirrored else 1) % 180
    return np.asarray(np.where(angle >= 180, 0, angle), dtype=directions.dtype)
