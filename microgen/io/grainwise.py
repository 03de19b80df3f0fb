"""From fields to a list of grains, each with one phase and one orientation: what simulation programs are given."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import mean_orientations
from microgen.io.crystal_axes import indexed, phase_field, phase_names, with_x_along


@dataclass(frozen=True)
class Grains:
    """The grains of a structure in ascending order of their number.

    Attributes
    ----------
    index
        Place in the lists below of every pixel or voxel, on the grid of the structure.
    numbers
        Grain numbers; 0 for what belongs to no grain. None where the structure has phases alone, one entry each.
    phase
        Place in `names` of each grain's phase.
    names
        Names of all phases.
    orientation
        Mean orientation of each grain ``(n, 4)``, the crystal's x axis along its a axis; None where none is known.
    """

    index: NDArray[np.intp]
    numbers: NDArray[np.int64] | None
    phase: NDArray[np.int64]
    names: tuple[str, ...]
    orientation: NDArray[np.float64] | None


def grains_of(structure: Microstructure) -> Grains:
    """Reduce a structure to its grains, or without grains to its phases.

    A grain has the phase of most of its indexed points, and the mean orientation of those of that phase.

    Raises
    ------
    InputError
        If there are neither grains nor phases, or orientations without grains.
    """
    if "grain" not in structure:
        return _by_phase(structure)
    structure = with_x_along(structure, "a")
    numbers, flat = np.unique(structure["grain"], return_inverse=True)
    if numbers[0] < 0:
        raise InputError(f"grains are numbered from 1, and here is {numbers[0]}")
    index = flat.reshape(structure.shape)
    names = phase_names(structure)
    weight = indexed(structure)
    phase = _majority(index, phase_field(structure), weight, len(names))
    orientation = _mean(structure, index, phase, weight) if "orientation" in structure else None
    return Grains(index, numbers.astype(np.int64), phase, names, orientation)


def frame_of(structure: Microstructure) -> str:
    """Return the frame of the orientations on one line; that of the grid where nothing else is said."""
    text = str(structure.source.get("euler_frame", "map"))
    return " ".join(text.encode("ascii", "replace").decode().split())


def warn_of_frame(structure: Microstructure) -> None:
    """Say so where orientations are stated in another frame than the grid's own, in which a simulation takes them."""
    frame = frame_of(structure)
    if "orientation" in structure and frame != "map":
        warnings.warn(
            f"the orientations are in the frame {frame!r}, and a simulation takes them in that of the grid (x along "
            "rows, y down); turn them with convert --map-frame, or in Python with microgen.core.frames.in_map_frame",
            UserWarning,
            stacklevel=2,
        )


def warn_of_voids(structure: Microstructure) -> None:
    """Say so where points belong to no grain, which a simulation has to give a material all the same."""
    count = int((structure["grain"] == 0).sum()) if "grain" in structure else 0
    if count:
        warnings.warn(
            f"{count} of {structure['grain'].size} points belong to no grain; they are written as grain 0, "
            "without an orientation: fill them first, or give them a material",
            UserWarning,
            stacklevel=2,
        )


def _by_phase(structure: Microstructure) -> Grains:
    if "orientation" in structure:
        raise InputError(
            "has orientations but no grains; make them with microgen convert --segment-deg 5 "
            "(0 makes every pixel a grain), or in Python microgen.stats.segment_orientation"
        )
    if "phase" not in structure:
        raise InputError(
            f"has neither grains nor phases, only {', '.join(structure.fields)}; say what the values mean with "
            "--labels or --threshold"
        )
    present, flat = np.unique(structure["phase"], return_inverse=True)
    return Grains(flat.reshape(structure.shape), None, present.astype(np.int64), phase_names(structure), None)


def _majority(index: NDArray[Any], phase: NDArray[Any], weight: NDArray[np.bool_], phases: int) -> NDArray[np.int64]:
    """Return the commonest phase of each grain among its indexed points, or among all where it has none."""
    grains = int(index.max()) + 1
    key = index.ravel() * phases + phase.ravel()
    every = np.bincount(key, minlength=grains * phases).reshape(grains, phases)
    sure = np.bincount(key[weight.ravel()], minlength=grains * phases).reshape(grains, phases)
    chosen = np.where(sure.sum(1, keepdims=True) > 0, sure, every).argmax(1)
    return np.asarray(chosen.astype(np.int64))


def _mean(
    structure: Microstructure, index: NDArray[Any], phase: NDArray[np.int64], weight: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Mean orientation of each grain over its indexed points of its phase; the identity where there is none."""
    given, group = structure["orientation"].reshape(-1, 4), index.ravel()
    valid = weight.ravel() & (phase_field(structure).ravel() == phase[group])
    if "grain" in structure:
        valid &= structure["grain"].ravel() > 0
    mean = np.tile([1.0, 0.0, 0.0, 0.0], (len(phase), 1))
    names = phase_names(structure)
    for number in np.unique(phase[group[valid]]):
        crystal = structure.crystals.get(names[number])
        member = valid & (phase[group] == number)
        found = _exact_mean(given[member], group[member], crystal or Crystal("-1"))
        grains = np.unique(group[member])
        mean[grains] = found[grains]
    return mean


def _exact_mean(given: NDArray[Any], group: NDArray[Any], crystal: Crystal) -> NDArray[np.float64]:
    """Return means, and where all members are the same just that one, without rounding or work."""
    start = np.zeros((int(group.max()) + 1, 4), given.dtype)
    start[group[::-1]] = given[::-1]  # the first member of each group is written last
    varies = np.zeros(len(start), bool)
    varies[group[(given != start[group]).any(1)]] = True
    mean = start.astype(np.float64)
    member = varies[group]
    if member.any():
        which, renumbered = np.unique(group[member], return_inverse=True)
        mean[which] = mean_orientations(given[member], renumbered, crystal)
    return mean
