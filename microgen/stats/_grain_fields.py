"""Counting boundaries and grains on a picture of grains, on its fields, and on a part of its grains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label

from microgen.core import InputError
from microgen.stats.phases import crossings

Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]

AXES = ("x", "y", "z")
STEPS = {"x": (0, 0, 1), "y": (0, 1, 0), "z": (1, 0, 0), "down": (0, 1, 1), "up": (0, 1, -1)}
_FIELD_INTERCEPTS = 5.0  # least side of a field in mean intercepts, so that fields are nearly independent


@dataclass(frozen=True, eq=False)
class Field:
    """Grains of a picture or of a part of it, where they are known, and those to be measured."""

    grains: Labels
    mask: Mask | None = None
    within: Mask | None = None

    def crossed(
        self, steps: Sequence[float], lines: Sequence[str] | None = None, *, periodic: bool = False
    ) -> tuple[float, float]:
        """Boundaries crossed, and micrometres of test line."""
        count, length = 0.0, 0.0
        for name in AXES[: self.grains.ndim] if lines is None else lines:
            direction = np.array(STEPS[name][-self.grains.ndim :], np.intp)
            crossed, pairs = crossings(self.grains, direction, periodic=periodic, mask=self.mask, within=self.within)
            count += crossed
            length += pairs * float(np.linalg.norm(np.multiply(direction, steps)))
        return count, length

    @cached_property
    def measured(self) -> Mask:
        """True where grains are known and to be measured."""
        everywhere = np.broadcast_to(np.True_, self.grains.shape)
        mask, within = (everywhere if part is None else part for part in (self.mask, self.within))
        return np.asarray(mask & within)

    @property
    def points(self) -> int:
        """Grid points that are measured."""
        return int(np.count_nonzero(self.measured))

    def count(self, *, wraps: bool = False) -> float:
        """Grains: parts inside, less half for each stretch along a side, plus a quarter per corner."""
        measured = self.measured
        if wraps:
            return float(_kinds(self.grains[measured]))
        if self.mask is not None and not self.mask.all():
            return self._count_known()
        parts = _kinds(np.asarray(label(self.grains, background=-1, connectivity=2))[measured])
        corners = np.count_nonzero(measured[[0, 0, -1, -1], [0, -1, 0, -1]])
        return float(parts - sum(self._stretches(side) for side in _SIDES) / 2 + corners / 4)

    def _stretches(self, side: tuple[Any, Any]) -> int:
        """Grains along a side, each as often as it comes back."""
        grains = self.grains[side]
        starts = np.append(True, grains[1:] != grains[:-1])
        return int(np.count_nonzero(starts & self.measured[side]))

    def _count_known(self) -> float:
        """Grains in a region of any outline: those inside, and half of those that its outline cuts."""
        known = np.ones(self.grains.shape, bool) if self.mask is None else self.mask
        parts = np.asarray(label(np.where(known, self.grains, -1), background=-1, connectivity=2))
        rim = known & ~ndimage.binary_erosion(known)
        return _kinds(parts[self.measured]) - _kinds(parts[self.measured & rim]) / 2

    def cut(self, parts: int, axis: int) -> list[Field]:
        """Cut into parts along an axis."""
        columns = [
            [None] * parts if values is None else np.array_split(values, parts, axis)
            for values in (self.grains, self.mask, self.within)
        ]
        return [Field(*column) for column in zip(*columns, strict=True)]


def _kinds(labels: NDArray[Any]) -> int:
    """How many different numbers there are."""
    return int(np.count_nonzero(np.bincount(labels)))


_SIDES = ((0, slice(None)), (-1, slice(None)), (slice(None), 0), (slice(None), -1))


def fields(whole: Field, steps: Sequence[float], mean_um: float) -> list[Field]:
    """Cut a picture into non-overlapping fields, at least two along each axis; those hardly known are left out."""
    fields = [whole]
    for axis, (n, step) in enumerate(zip(whole.grains.shape, steps, strict=True)):
        parts = max(2, int(n * step / (_FIELD_INTERCEPTS * mean_um)))
        fields = [part for field in fields for part in field.cut(parts, axis)]
    kept = [f for f in fields if f.points > 1 and (f.mask is None or f.mask.mean() >= 0.5)]
    if len(kept) < 2:
        raise InputError("too little of the picture is known to measure a grain size; crop it to the known part")
    return kept
