"""What all EBSD formats share: from columns of points to one Microstructure, with phases, frame and contradictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microgen.core import LAUE_GROUPS, Crystal, InputError, Microstructure
from microgen.core.orientations import NOT_INDEXED
from microgen.io.pixel_size import PixelSize
from microgen.io.recording import Recording

Array = NDArray[Any]

_LARGEST_ANGLE = 4 * np.pi + 0.01  # 4 pi is how EDAX marks a point without orientation
_CHUNK = 1 << 18  # points converted at a time


@dataclass(frozen=True)
class Phase:
    """A phase that a file lists.

    Attributes
    ----------
    name
        Name in the file.
    crystal
        Its symmetry and lattice, None where the file does not say it.
    """

    name: str
    crystal: Crystal | None = None


def ebsd_map(
    columns: Mapping[str, Array],
    *,
    phase: Array,
    orientation: Array,
    shape: tuple[int, ...],
    spacing: Sequence[float],
    phases: Mapping[int, Phase],
    frame: str,
    source: Mapping[str, Any],
    indexed: Array | None = None,
    sizes: Sequence[PixelSize] = (),
    warnings: Sequence[str] = (),
) -> Recording:
    """Build the Microstructure of an EBSD map.

    Parameters
    ----------
    columns
        Further values of each point by field name, ``(n,)`` or of the shape of the grid.
    phase
        Number of the phase of each point as the file has it; zero and negative numbers are not indexed.
    orientation
        Bunge Euler angles in radians ``(..., 3)``, or unit quaternions ``(..., 4)`` after
        :mod:`microgen.core.orientations`; anything, NaN too, where a point is not indexed.
    shape, spacing
        Grid and micrometres per axis, ``(Y, X)`` or ``(Z, Y, X)``.
    phases
        Phases by the number that `phase` has for them.
    frame
        One of :data:`microgen.core.orientations.FRAMES`: the frame in which the file states its angles.
    source
        Facts of the header, JSON-able.
    indexed
        False where a point has no solution, besides those without a phase.
    sizes
        Statements about the pixel size, best first; by default `spacing`, of the file header.
    warnings
        Contradictions met so far.

    Returns
    -------
    Recording
        With ``structure``: fields ``phase`` (0 = not indexed), ``mask``, ``orientation`` and the columns.

    Raises
    ------
    InputError
        If numbers of points differ, or the angles cannot be radians.
    """
    count = int(np.prod(shape))
    remarks = list(warnings)
    numbers = _flat("phase", phase, count)
    angles = np.asarray(orientation).reshape(-1, np.shape(orientation)[-1])
    if len(angles) != count:
        raise InputError(f"holds {len(angles)} orientations for a grid of {grid_text(shape)} points")
    solved = numbers > 0
    if indexed is not None:
        solved &= _flat("indexed", indexed, count).astype(bool)
    solved = _finite_only(angles, solved, remarks)
    listed = _listed(phases, np.unique(numbers[solved]), remarks)
    fields = {
        "phase": _indices(numbers, solved, list(listed)).reshape(shape),
        "mask": solved.astype(np.uint8).reshape(shape),
        "orientation": _quaternions(angles, solved, remarks).reshape(*shape, 4),
        **{name: _filled(name, _flat(name, v, count), solved, remarks).reshape(shape) for name, v in columns.items()},
    }
    names = _names(listed.values())
    crystals = {name: p.crystal for name, p in zip(names, listed.values(), strict=True) if p.crystal is not None}
    about = {**source, "euler_frame": frame, "warnings": remarks}
    structure = Microstructure(fields, tuple(spacing), (NOT_INDEXED, *names), source=about, crystals=crystals)
    return Recording(structure=structure, sizes=tuple(sizes))


def crystal_of(
    laue: str | None, lattice: Sequence[float] | None, *, x_along: Literal["a", "a*"], angstrom: bool = True
) -> Crystal | None:
    """Return the crystal of a file's Laue group and lattice (edges in angstrom, or nanometres), None without a group.

    A lattice with zeros, as some programs write it, counts as unknown.

    >>> crystal_of("m-3m", (3.57, 3.57, 3.57, 90, 90, 90), x_along="a*").lattice
    (0.357, 0.357, 0.357, 90.0, 90.0, 90.0)
    """
    if laue not in LAUE_GROUPS:
        return None
    known = lattice is not None and len(lattice) == 6 and all(np.isfinite(v) and 0 < v < 1e4 for v in lattice)
    if not known or lattice is None:
        return Crystal(laue, None, x_along)
    unit = 10 if angstrom else 1
    return Crystal(laue, tuple(round(v / (unit if k < 3 else 1), 9) for k, v in enumerate(lattice)), x_along)


def grid_text(shape: Sequence[int]) -> str:
    """Return a grid for messages: ``"100 x 117"``."""
    return " x ".join(map(str, shape))


def _flat(name: str, values: Array, count: int) -> Array:
    flat = np.asarray(values).reshape(-1)
    if len(flat) != count:
        raise InputError(f"holds {len(flat)} values of {name} for a grid of {count} points")
    return flat


def _finite_only(angles: Array, solved: Array, remarks: list[str]) -> Array:
    finite = np.isfinite(angles).all(axis=1)
    if lost := int(np.count_nonzero(solved & ~finite)):
        remarks.append(f"{lost} points with a phase have no orientation and count as not indexed")
    return np.asarray(solved & finite)


def _listed(phases: Mapping[int, Phase], used: Array, remarks: list[str]) -> dict[int, Phase]:
    """Return all phases by number: those of the file, and those that points have but the file does not list."""
    unlisted = [int(number) for number in used if int(number) not in phases]
    if len(unlisted) > 255:
        raise InputError(f"has points of {len(unlisted)} phases that it does not list; its columns are not as expected")
    if unlisted:
        remarks.append(f"points have the phases {', '.join(map(str, unlisted))}, which the file does not list")
    found = {**phases, **{number: Phase(f"phase {number}") for number in unlisted}}
    return dict(sorted(found.items()))


def _indices(numbers: Array, solved: Array, listed: Sequence[int]) -> Array:
    kind = np.uint8 if len(listed) < 256 else np.int32
    if not listed:
        return np.zeros(len(numbers), kind)
    return np.where(solved, 1 + np.searchsorted(listed, numbers), 0).astype(kind)


def _names(phases: Any) -> list[str]:
    """Names of phases, each only once and none of them empty."""
    names: list[str] = []
    for position, phase in enumerate(phases, 1):
        name = phase.name.strip() or f"phase {position}"
        while name in names or name == NOT_INDEXED:
            name += f" ({position})"
        names.append(name)
    return names


def _quaternions(angles: Array, solved: Array, remarks: list[str]) -> NDArray[np.float32]:
    """Return float32 quaternions, the identity where a point is not indexed."""
    from microgen.core.orientations import from_euler  # loads scipy

    found = np.zeros((len(angles), 4), np.float32)
    found[:, 0] = 1
    where = np.flatnonzero(solved)
    if angles.shape[1] == 3 and where.size:
        _check_radians(angles[where], remarks)
    for start in range(0, len(where), _CHUNK):
        part = where[start : start + _CHUNK]
        found[part] = from_euler(angles[part]) if angles.shape[1] == 3 else _unit(angles[part])
    return found


def _unit(quaternions: Array) -> Array:
    given = np.asarray(quaternions, dtype=np.float64)
    norm = np.linalg.norm(given, axis=1, keepdims=True)
    if (np.abs(norm - 1) > 1e-2).any():
        raise InputError("its quaternions do not have the length 1")
    return np.asarray(given / norm * np.where(given[:, :1] < 0, -1, 1))


def _check_radians(angles: Array, remarks: list[str]) -> None:
    largest = float(np.abs(angles).max())
    if largest > _LARGEST_ANGLE:
        raise InputError(
            f"has an Euler angle of {largest:g}, which is no radian: the angles look like degrees; convert them"
        )
    if float(angles[:, 1].max()) > np.pi + 1e-3 or float(angles[:, 1].min()) < -1e-3:
        remarks.append("some of the second Euler angles are outside 0 .. pi; they may not be Bunge's angles in radians")


def _filled(name: str, values: Array, solved: Array, remarks: list[str]) -> Array:
    """Put 0 where a column has no finite number, and say so where the point is indexed."""
    if values.dtype.kind != "f":
        return values
    bad = ~np.isfinite(values)
    if not bad.any():
        return values
    if lost := int(np.count_nonzero(bad & solved)):
        remarks.append(f"{lost} indexed points have no {name}; it is 0 there")
    return np.where(bad, 0, values).astype(values.dtype)
