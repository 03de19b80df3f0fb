"""What descriptors look at: the fields of a microstructure, and what follows from them without a guess."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.core.orientations import NOT_INDEXED
from microgen.stats.boundaries import segment
from microgen.stats.ebsd import filled, holes, indexed, segment_orientation
from microgen.stats.grains import label_grains
from microgen.stats.misorientation import boundary_disorientation, kam
from microgen.stats.texture import ODF, phase_orientations

Array = NDArray[Any]

SMALLEST_GRAIN = 10
"""Points of the smallest grain of an orientation map; fewer are taken as wrong orientations."""
WIDEST_GAP = 5
"""Grid steps: unknown parts of a picture go to the nearest grain where narrower than this, and are else left out."""


class Views:
    """The arrays that descriptors need, made when first asked for.

    Attributes
    ----------
    phase_points
        True at points of the phase of interest; needs the field ``phase``. In a map only those that are indexed count.
    phase
        True in the phase of interest. In a map narrow gaps go to the phase around them, as grains do: points that are
        not indexed lie along boundaries, so that leaving them out would leave out the outline of the phase.
    region
        True in the phase of interest, or inside grains where there are no phases, or one only in a map.
    signal
        The phase of interest as 0 and 1; else the intensity; else the inside of grains as 0 and 1, boundaries drawn on
        both sides.
    grains
        Grain numbers that fill the grid: of the field ``grain``, else within the field ``boundary``; else of the field
        ``orientation``; else within boundaries found in a picture's ``intensity``, but not where there are phases.
    intensity
        The field ``intensity``.
    disorientation
        Degrees between neighbouring points across grain boundaries, NaN elsewhere; needs the field ``orientation``.
    kam
        Kernel average misorientation in degrees, NaN where it is not defined; needs the field ``orientation``.
    indexed
        True where a map has an orientation.
    texture
        Texture index of the phase of interest, ``(1,)``; needs the field ``orientation``.

    Of a view `apart`, grains, disorientations and kernel averages are those of grains of the phase of interest: `frame`
    says where these are. A grain is of the phase that most of its points are of.

    Examples
    --------
    >>> views = Views(Microstructure({"phase": np.eye(4, dtype=int)}, spacing=(1, 1)), 1)
    >>> views.has("phase"), views.has("grains"), int(views.get("region").sum())
    (True, False, 4)
    """

    OF_PHASE: ClassVar[frozenset[str]] = frozenset({"phase_points", "phase", "region", "signal", "texture"})
    OF_GRAINS: ClassVar[frozenset[str]] = frozenset({"grains", "disorientation", "kam"})

    def __init__(self, microstructure: Microstructure, phase: int, *, periodic: bool = False) -> None:
        self.microstructure = microstructure
        self.index = phase
        self.periodic = periodic
        self.apart = False
        self.is_map = "orientation" in microstructure or NOT_INDEXED in microstructure.phases

    def of_phase(self, index: int, *, apart: bool = False) -> Views:
        """Return views of another phase; what does not depend on the phase is not made again."""
        other = copy.copy(self)
        for name in (*self.OF_PHASE, "within", "of_grains"):
            other.__dict__.pop(name, None)
        other.index, other.apart = index, apart
        return other

    def has(self, name: str) -> bool:
        """Whether the fields allow a view."""
        m = self.microstructure
        if name in ("phase", "phase_points"):
            return "phase" in m
        if name == "intensity":
            return name in m
        if name in ("disorientation", "kam", "texture"):
            return "orientation" in m
        if name == "indexed":
            return self.is_map and ("phase" in m or "mask" in m)
        grains = any(field in m for field in ("grain", "boundary", "orientation"))
        grains = grains or ("intensity" in m and "phase" not in m and m.ndim == 2)
        return grains if name == "grains" else grains or "phase" in m or (name == "signal" and "intensity" in m)

    def get(self, name: str) -> Array:
        """Return a view by name."""
        found = np.asarray(getattr(self, name))
        if not self.apart or name not in ("disorientation", "kam"):
            return found
        inside = self.phase_points.reshape(self.phase_points.shape + (1,) * (found.ndim - self.phase_points.ndim))
        return np.where(inside, found, np.float32(np.nan))

    def frame(self, name: str) -> dict[str, Any]:
        """Spacing, periodicity, and the mask that goes with a view; where grains of the phase are, if apart."""
        mask = None
        if name == "grains" or (name in ("region", "signal") and self.of_grains):
            mask = self.known
        elif name in ("phase", "region", "signal"):
            mask = self.known if self.is_map else self.valid
        elif name in ("phase_points", "intensity"):
            mask = self.valid
        frame = {"spacing": self.microstructure.spacing, "periodic": self.periodic, "mask": mask}
        return frame | {"within": self.within} if self.apart and name == "grains" else frame

    def tells_nothing(self, need: str) -> bool:
        """Whether a view shows the only phase of a map, whose shape is that of the frame."""
        return self.one_phase and need == "phase"

    @cached_property
    def one_phase(self) -> bool:
        """Whether a map holds a single phase."""
        return self.is_map and "phase" in self.microstructure and not self.several_phases

    @cached_property
    def several_phases(self) -> bool:
        """Whether there is more than one phase."""
        return "phase" in self.microstructure and len(present_phases(self.microstructure)) > 1

    def lacks(self, need: str) -> bool:
        """Whether a view is of grains or values of a phase that does not occur: there is nothing to look at."""
        if need != "signal" and not (self.apart and need in self.OF_GRAINS):
            return False
        return "phase" in self.microstructure and self.index not in present_phases(self.microstructure)

    @cached_property
    def of_grains(self) -> bool:
        """Whether the region is the inside of grains."""
        return self.has("grains") and ("phase" not in self.microstructure or (self.one_phase and not self.apart))

    @cached_property
    def valid(self) -> NDArray[np.bool_] | None:
        """The field ``mask`` without points that are not indexed; None where all are valid."""
        m = self.microstructure
        if self.is_map:
            known = indexed(m)
            return None if known.all() else known
        return m["mask"].astype(bool) if "mask" in m else None

    @cached_property
    def known(self) -> NDArray[np.bool_] | None:
        """Where grains are known: all but gaps in `valid` that are too wide to be given to the nearest grain."""
        if self.valid is None:
            return None
        spacing = self.microstructure.spacing
        gaps = holes(self.valid, spacing=spacing, width_um=WIDEST_GAP * max(spacing), periodic=self.periodic)
        return ~gaps if gaps.any() else None

    @cached_property
    def phase_points(self) -> Array:
        return np.asarray(self.microstructure["phase"] == self.index)

    @cached_property
    def phase(self) -> Array:
        return np.asarray(self.phases_filled == self.index)

    @cached_property
    def phases_filled(self) -> Array:
        """The field ``phase``; in a map points that are not indexed have that of the nearest ones."""
        m = self.microstructure
        if not self.is_map or self.valid is None:
            return m["phase"]
        numbers = np.where(self.valid, m["phase"].astype(np.int32) + 1, 0)
        return filled(numbers, spacing=m.spacing, width_um=np.inf, periodic=self.periodic) - 1

    @cached_property
    def intensity(self) -> Array:
        return self.microstructure["intensity"]

    @cached_property
    def indexed(self) -> Array:
        return indexed(self.microstructure)

    @cached_property
    def grains(self) -> Array:
        return label_grains(self.drawn, periodic=self.periodic)

    @cached_property
    def drawn(self) -> Array:
        """Boundary mask or grain numbers, as they come."""
        m = self.microstructure
        if "grain" in m or ("orientation" in m and "boundary" not in m):
            partly = self.valid is not None or "grain" not in m
            if not partly:
                return self.labels
            return filled(self.labels, spacing=m.spacing, width_um=np.inf, periodic=self.periodic)
        if "boundary" in m:
            return m["boundary"].astype(bool)
        if self.valid is not None:
            raise InputError("grain boundaries are found in pictures without masked parts; crop it first")
        return segment(m["intensity"], spacing=m.spacing)

    @cached_property
    def labels(self) -> Array:
        """Grain numbers, 0 where nothing is indexed, and in an orientation map also in too small a grain."""
        m = self.microstructure
        if "grain" in m:
            return m["grain"] if self.valid is None else np.where(self.valid, m["grain"], 0)
        found = segment_orientation(m, smallest=SMALLEST_GRAIN, periodic=self.periodic)
        if not found.any():
            raise InputError(f"the map has no grain of {SMALLEST_GRAIN} points")
        return found

    @cached_property
    def phase_of_grains(self) -> Array:
        """Phase that most of the indexed points of each grain are of, on the grid."""
        m, grain = self.microstructure, self.grains
        there = np.ones(m.shape, bool) if self.valid is None else self.valid
        present = np.array(present_phases(m))
        size = int(grain.max()) + 1
        counts = [np.bincount(grain[there & (m["phase"] == index)], minlength=size) for index in present]
        return np.asarray(present[np.argmax(counts, axis=0)][grain])

    @cached_property
    def within(self) -> Array:
        return np.asarray(self.phase_of_grains == self.index)

    @cached_property
    def disorientation(self) -> Array:
        return boundary_disorientation(self.microstructure, self.labels, periodic=self.periodic)

    @cached_property
    def kam(self) -> Array:
        return kam(self.microstructure, periodic=self.periodic)

    @cached_property
    def texture(self) -> Array:
        m = self.microstructure
        orientation, crystal = phase_orientations(m, m.phases[self.index] if "phase" in m else None)
        in_order = orientation[np.lexsort(orientation.T)]  # so that the draw does not depend on places
        return np.array([ODF(in_order, crystal).texture_index(np.random.default_rng(0))])

    @cached_property
    def region(self) -> Array:
        if not self.of_grains:
            return self.phase
        return ~self.drawn if self.drawn.dtype == bool else interior(self.drawn, periodic=self.periodic)

    @cached_property
    def signal(self) -> Array:
        m = self.microstructure
        if "phase" not in m and "orientation" not in m and "intensity" in m:
            return self.intensity
        if self.of_grains and self.drawn.dtype != bool:
            # lines on one side of the boundaries are thicker along one diagonal, which looks like a texture
            backwards = np.flip(interior(np.flip(self.drawn), periodic=self.periodic))
            return (self.region & backwards).astype(np.float32)
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


def present_phases(microstructure: Microstructure) -> list[int]:
    """Phases that occur, without that of points that are not indexed."""
    m = microstructure
    values = m["phase"][indexed(m)] if NOT_INDEXED in m.phases else m["phase"]
    return [int(value) for value in np.unique(values)]


def shared_phases(structures: Iterable[Microstructure]) -> list[str]:
    """Names of the phases to measure on each of several structures, also on those that lack some of them.

    These are all that occur in any structure, where one structure knows several of them by name and would be measured
    under their names; else none, and each structure is measured by itself.

    >>> both, one = np.array([[1, 2, 2]]), np.array([[1, 1, 1]])
    >>> names = ("not indexed", "ferrite", "austenite", "carbide")
    >>> shared_phases(Microstructure({"phase": phase}, (1, 1), names) for phase in (one, both))
    ['ferrite', 'austenite']
    """
    found: dict[str, None] = {}
    known: list[set[str]] = []
    for m in structures:
        if "phase" in m and (NOT_INDEXED in m.phases or len(m.phases) > 2):
            found |= dict.fromkeys(m.phases[index] for index in present_phases(m) if index < len(m.phases))
            known.append(set(m.phases))
    return list(found) if any(len(names & found.keys()) > 1 for names in known) else []


def regions(microstructure: Microstructure, phase: int | Sequence[int] | None) -> dict[str, int]:
    """Phases to measure, by the suffix of their names: one without suffix, or several."""
    if "phase" not in microstructure:
        return {"": 1}
    present = present_phases(microstructure)
    phases = microstructure.phases
    if phase is not None:
        chosen = [phase] if isinstance(phase, int) else list(phase)
        known = max(len(phases), max(present, default=0) + 1)
        for index in chosen:
            if not 0 <= index < known:
                raise InputError(f"there is no phase {index}; the phases are 0 to {known - 1}")
        return {"": phase} if isinstance(phase, int) else _named(phases, chosen)
    if NOT_INDEXED in phases and len(present) < 2:
        return {"": present[0] if present else 1}
    if max(present) <= 1 and min(present) >= 0 and len(phases) <= 2:
        return {"": 1}
    return _named(phases, present)


def _named(phases: Sequence[str], indices: Sequence[int]) -> dict[str, int]:
    names = dict(enumerate(phases))
    return {f":{names.get(index, index)}": index for index in indices}
