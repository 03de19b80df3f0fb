"""The two ways in which the axes of a crystal are laid, and turning orientations from one to the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import NOT_INDEXED, quaternions, rotations

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

_SAME = ("mmm", "4/m", "4/mmm", "m-3", "m-3m")  # a and a* are one direction there
_HEXAGONAL = ("-3", "-3m", "6/m", "6/mmm")


def with_x_along(structure: Microstructure, x_along: Literal["a", "a*"]) -> Microstructure:
    """Return a structure whose crystal frames all have x along `x_along`, its orientations turned accordingly.

    In trigonal and hexagonal crystals the two frames differ by 30 degrees about c; in monoclinic and triclinic ones
    the angle depends on the lattice. Points that are not indexed are left alone.

    Raises
    ------
    InputError
        If the lattice of a monoclinic or triclinic crystal is needed and unknown.
    """
    other = {name: crystal for name, crystal in structure.crystals.items() if crystal.x_along != x_along}
    if not other:
        return structure
    turned = {name: replace(crystal, x_along=x_along) for name, crystal in other.items()}
    relabelled = structure.replace(crystals={**structure.crystals, **turned})
    names = [name for name, crystal in other.items() if crystal.laue not in _SAME]
    if not names or "orientation" not in structure:
        return relabelled
    orientation = structure["orientation"].copy()
    phase, known = phase_names(structure), indexed(structure)
    for name in names:
        member = known & (phase_field(structure) == phase.index(name)) if name in phase else np.zeros_like(known)
        if member.any():
            orientation[member] = quaternions(rotations(orientation[member]) * _between(other[name], turned[name]))
    return relabelled.with_fields(orientation=orientation)


def phase_names(structure: Microstructure) -> tuple[str, ...]:
    """Return one name for every value of the field ``phase``; where there is no such field, of the only phase."""
    if "phase" not in structure:
        named = [name for name in structure.phases if name != NOT_INDEXED]
        return (named[0],) if len(named) == 1 else ("material",)
    phase = structure["phase"]
    if phase.min() < 0:
        raise InputError(f"phases are numbered from 0, and here is {phase.min()}")
    count = max(int(phase.max()) + 1, len(structure.phases))
    return tuple(structure.phases) + tuple(f"phase_{i}" for i in range(len(structure.phases), count))


def phase_field(structure: Microstructure) -> NDArray[Any]:
    """Return the field ``phase``, or zeros where there is only one."""
    return structure["phase"] if "phase" in structure else np.zeros(structure.shape, np.uint8)


def indexed(structure: Microstructure) -> NDArray[np.bool_]:
    """Points whose phase and orientation were measured."""
    valid = structure["mask"] != 0 if "mask" in structure else np.ones(structure.shape, bool)
    if "phase" in structure and structure.phases[:1] == (NOT_INDEXED,):
        valid = valid & (structure["phase"] != 0)
    return np.asarray(valid)


def _between(old: Crystal, new: Crystal) -> Rotation:
    """Return the rotation between the two frames of a crystal, to be multiplied from the right."""
    from scipy.spatial.transform import Rotation

    if old.laue in _HEXAGONAL:
        return Rotation.from_euler("Z", -30 if new.x_along == "a" else 30, degrees=True)
    from microgen.core.lattice import structure_matrix

    return Rotation.from_matrix(structure_matrix(old) @ np.linalg.inv(structure_matrix(new)))
