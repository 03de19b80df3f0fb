"""What the values of an image mean: gray, phases or grains, and the grains of an orientation map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.core.orientations import NOT_INDEXED
from microgen.data.resample import drawn_boundary
from microgen.stats.ebsd import filled, indexed, segment_orientation
from microgen.stats.grains import label_grains, mean_intercept_um
from microgen.stats.interpret import labelled, thresholded
from microgen.stats.views import SMALLEST_GRAIN, present_phases

MISORIENTATION_DEG = 5.0
"""Largest disorientation of neighbouring points within a grain."""
MANY_WITHOUT_GRAIN = 0.1
"""Share of the points of a map without a grain from which a warning says so."""


@dataclass(frozen=True)
class Meaning:
    """What a person says that values mean; nothing is guessed.

    Attributes
    ----------
    threshold
        Split gray into the phases dark and bright: a value, or ``"otsu"``; see :func:`microgen.stats.interpret`.
    labels
        The values are numbers of phases or of grains.
    names
        Names of the phases, by ascending value; with labels of phases.
    """

    threshold: float | Literal["otsu"] | None = None
    labels: Literal["phase", "grain"] | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.threshold is not None and self.labels:
            raise InputError("a threshold and labels exclude each other")
        if self.names and self.labels != "phase":
            raise InputError("names of phases need labels of phases")

    def request(self) -> dict[str, Any]:
        """JSON-able values of what was said; empty where nothing was."""
        said = {"threshold": self.threshold, "labels": self.labels, "names": list(self.names)}
        return {name: value for name, value in said.items() if value is not None and value != []}

    def of(self, m: Microstructure, path: Path, *, values: Sequence[int] | None = None) -> Microstructure:
        """Return a structure with its values taken so, and an orientation map with its grains.

        Parameters
        ----------
        m, path
            The structure, and the file it comes from.
        values
            Values of all phases, where this is one of several pictures and may lack some.

        Raises
        ------
        InputError
            If the values cannot be taken so; it names the file.
        """
        try:
            return with_grains(self._taken(m, values))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def _taken(self, m: Microstructure, values: Sequence[int] | None) -> Microstructure:
        if self.labels:
            return labelled(m, self.labels, names=self.names, values=values)
        if self.threshold is None:
            return m
        made = thresholded(m, self.threshold)
        # a level is a fact of the recording, and no quantity that structures could be asked for
        scalars = {name: value for name, value in made.scalars.items() if name != "threshold"}
        return made.replace(scalars=scalars, source={**made.source, "threshold": made.scalars["threshold"]})


def with_grains(m: Microstructure) -> Microstructure:
    """Return an orientation map with the field ``grain`` and its measured numbers in ``source["measured"]``.

    Grains are those of :func:`microgen.stats.ebsd.segment_orientation` at 5 degrees, of at least 10 points; 0 is no
    grain. A map without such grains, or without the symmetry of a phase, is returned as it is, with a warning.
    """
    if "orientation" not in m or "grain" in m:
        return m
    try:
        grain = segment_orientation(m, threshold_deg=MISORIENTATION_DEG, smallest=SMALLEST_GRAIN)
    except InputError as error:
        return _warned(m, f"its grains are not known: {error}")
    if not grain.any():
        return _warned(m, f"it has no grain of {SMALLEST_GRAIN} points")
    bare = float(np.mean(grain == 0))
    if bare > MANY_WITHOUT_GRAIN:
        m = _warned(m, f"{bare:.0%} of its points belong to no grain; they are given to the nearest one")
    made = m.with_fields(grain=grain)
    return made.replace(source={**made.source, "measured": measured(made)})


def measured(m: Microstructure) -> dict[str, float]:
    """Numbers of a whole orientation map: grains, mean intercept, share not indexed, shares of the phases.

    >>> from microgen.core import Crystal
    >>> fields = {"phase": np.ones((2, 6), int), "grain": np.array([[1, 1, 2, 2, 3, 3]] * 2)}
    >>> measured(Microstructure(fields, (1, 1), ("not indexed", "iron")))["mean_intercept_um"]
    4.0
    """
    known = indexed(m)
    found = {
        "grains": int(m["grain"].max()),
        "mean_intercept_um": mean_intercept_um(grain_cells(m), spacing=m.spacing),
        "not_indexed_fraction": float(np.mean(~known)),
    }
    if "phase" in m:
        for index in present_phases(m):
            name = m.phases[index] if index < len(m.phases) else str(index)
            found[f"phase_fraction:{name}"] = float(np.mean(m["phase"][known] == index))
    return found


def grain_cells(m: Microstructure) -> NDArray[np.int64]:
    """Grain numbers that fill the grid, of the field ``grain``, else within ``boundary``.

    Points without a grain get the number of the nearest one, and then the one that most of their neighbours have.

    >>> grain_cells(Microstructure({"grain": np.array([[1, 1, 0, 0, 2, 2]])}, (1, 1)))
    array([[1, 1, 1, 2, 2, 2]])
    """
    if "grain" not in m:
        return label_grains(m["boundary"].astype(bool))
    return np.asarray(filled(m["grain"], spacing=m.spacing, width_um=np.inf), dtype=np.int64)


def knows_grains(m: Microstructure) -> bool:
    """Whether a structure says where its grains are, so that nobody has to find them in gray values."""
    return "grain" in m or "boundary" in m


def with_field(m: Microstructure, name: str) -> Microstructure:
    """Return a structure that has a field: boundaries are drawn from the grains where they are not stored."""
    if name != "boundary" or name in m or "grain" not in m:
        return m
    return m.with_fields(boundary=drawn_boundary(grain_cells(m)))


def is_map(m: Microstructure) -> bool:
    """Whether a structure is an orientation map."""
    return "orientation" in m or NOT_INDEXED in m.phases


def _warned(m: Microstructure, text: str) -> Microstructure:
    name = m.source.get("file", "the map")
    return m.replace(source={**m.source, "warnings": [*m.source.get("warnings", ()), f"{name}: {text}"]})
