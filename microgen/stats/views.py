"""What descriptors look at: the fields of a microstructure, and what follows from them without a guess."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.stats.boundaries import segment

Array = NDArray[Any]


class Views:
    """The arrays that descriptors need, made when first asked for.

    Attributes
    ----------
    phase
        True in the phase of interest; needs the field ``phase``.
    region
        True in the phase of interest, or inside grains where there are no phases.
    signal
        The phase of interest as 0 and 1; else the intensity; else `region` as 0 and 1.
    grains
        Labels of the field ``grain``, else boundaries: the field ``boundary``, or those found in a picture's
        ``intensity``. Not where there are phases.
    intensity
        The field ``intensity``.

    Examples
    --------
    >>> views = Views(Microstructure({"phase": np.eye(4, dtype=int)}, spacing=(1, 1)), 1)
    >>> views.has("phase"), views.has("grains"), int(views.get("region").sum())
    (True, False, 4)
    """

    OF_PHASE: ClassVar[frozenset[str]] = frozenset({"phase", "region", "signal"})

    def __init__(self, microstructure: Microstructure, phase: int, *, periodic: bool = False) -> None:
        self.microstructure = microstructure
        self.index = phase
        mask = microstructure["mask"].astype(bool) if "mask" in microstructure else None
        self.frame: dict[str, Any] = {"spacing": microstructure.spacing, "periodic": periodic, "mask": mask}

    def has(self, name: str) -> bool:
        """Whether the fields allow a view."""
        m = self.microstructure
        if name in ("phase", "intensity"):
            return name in m
        grains = "phase" not in m and ("grain" in m or "boundary" in m or ("intensity" in m and m.ndim == 2))
        return grains if name == "grains" else grains or "phase" in m or (name == "signal" and "intensity" in m)

    def get(self, name: str) -> Array:
        """Return a view by name."""
        return np.asarray(getattr(self, name))

    @cached_property
    def phase(self) -> Array:
        return np.asarray(self.microstructure["phase"] == self.index)

    @cached_property
    def intensity(self) -> Array:
        return self.microstructure["intensity"]

    @cached_property
    def grains(self) -> Array:
        m = self.microstructure
        if "grain" in m:
            return m["grain"]
        if "boundary" in m:
            return m["boundary"].astype(bool)
        return segment(m["intensity"], spacing=m.spacing)

    @cached_property
    def region(self) -> Array:
        if "phase" in self.microstructure:
            return self.phase
        return ~self.grains if self.grains.dtype == bool else interior(self.grains, periodic=self.frame["periodic"])

    @cached_property
    def signal(self) -> Array:
        if "phase" not in self.microstructure and "intensity" in self.microstructure:
            return self.intensity
        return self.region.astype(np.float32)


def interior(labels: Array, *, periodic: bool = False) -> NDArray[np.bool_]:
    """True where a grain label equals those of the next grid points along each axis: all but thin boundaries.

    >>> interior(np.array([[1, 1, 2, 2]])).astype(int)
    array([[1, 0, 1, 1]])
    """
    inside = labels != 0
    for axis in range(labels.ndim):
        same = labels == np.roll(labels, -1, axis)
        if not periodic:
            same[(slice(None),) * axis + (-1,)] = True
        inside &= same
    return np.asarray(inside, dtype=bool)


def regions(microstructure: Microstructure, phase: int | None) -> dict[str, int]:
    """Phases to measure, by the suffix of their names: one without suffix, or all of more than two."""
    if "phase" not in microstructure:
        return {"": 1}
    present = np.unique(microstructure["phase"]).tolist()
    if phase is not None:
        known = max(len(microstructure.phases), max(present) + 1)
        if not 0 <= phase < known:
            raise InputError(f"there is no phase {phase}; the phases are 0 to {known - 1}")
        return {"": phase}
    if max(present) <= 1 and min(present) >= 0 and len(microstructure.phases) <= 2:
        return {"": 1}
    names = dict(enumerate(microstructure.phases))
    return {f":{names.get(index, index)}": index for index in present}
