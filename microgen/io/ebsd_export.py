"""What the writers of EBSD formats share: from a Microstructure to points with Euler angles in a vendor's frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.core.orientations import NOT_INDEXED
from microgen.io.crystal_axes import with_x_along
from microgen.io.ebsd import Phase

Array = NDArray[Any]


@dataclass(frozen=True)
class Points:
    """Points of a map, row by row.

    Attributes
    ----------
    euler
        Bunge Euler angles in radians ``(n, 3)``; zero where a point is not indexed.
    phase
        Number of the phase, 0 = not indexed; ``phases[k - 1]`` is phase k.
    x, y
        Micrometres from the first point.
    frame
        Frame of the angles: that of the vendor, or ``"unknown"``.
    """

    shape: tuple[int, int]
    spacing: tuple[float, float]
    euler: Array
    phase: Array
    phases: tuple[Phase, ...]
    x: Array
    y: Array
    frame: str

    @property
    def solved(self) -> Array:
        """True where a point is indexed."""
        return np.asarray(self.phase > 0)


def points(structure: Microstructure, *, frame: str, x_along: Literal["a", "a*"]) -> Points:
    """Return the points of a map for a vendor's format.

    Parameters
    ----------
    structure
        A picture with ``orientation``; ``phase`` and ``mask`` say which points are indexed. Orientations are turned
        from the frame in ``source["euler_frame"]`` to that of the vendor; where that is unknown they are kept.
    frame, x_along
        Euler frame and crystal axis along x that the vendor uses.

    Raises
    ------
    InputError
        If there are no orientations, the map is a volume, or a crystal cannot be turned to the vendor's axes.
    """
    if structure.ndim != 2 or "orientation" not in structure:
        raise InputError(
            "this format holds pictures with the field orientation (synth gives it with --texture or --phases); "
            "write .h5 or .dream3d for other ones"
        )
    structure = with_x_along(structure, x_along)
    phase, phases = _phases(structure)
    if "mask" in structure:
        phase = np.where(structure["mask"].reshape(-1) != 0, phase, 0)
    quaternions = structure["orientation"].reshape(-1, 4).astype(np.float64)
    stated = str(structure.source.get("euler_frame", "unknown"))
    if stated != "unknown":
        quaternions = _in_frame(quaternions, stated, frame)
    rows, columns = np.divmod(np.arange(len(phase)), structure.shape[1])
    dy, dx = structure.spacing
    return Points(
        (structure.shape[0], structure.shape[1]),
        (dy, dx),
        _euler(quaternions, phase > 0),
        phase,
        tuple(phases),
        columns * dx,
        rows * dy,
        "unknown" if stated == "unknown" else frame,
    )


def column(structure: Microstructure, name: str, default: float) -> Array:
    """Return a field point by point as float64, or a default value where there is no such field."""
    if name not in structure:
        return np.full(int(np.prod(structure.shape)), default)
    stored = structure[name].reshape(-1)
    values = stored.astype(np.float64)
    if (values != stored).any():
        raise InputError(f"the field {name!r} has numbers too large for a text table; write .h5")
    return values


def digits(kind: np.dtype[Any]) -> str:
    """Return a format that gives every value of a type back: whole numbers, or 9 or 17 digits.

    >>> digits(np.dtype(np.uint8)), digits(np.dtype(np.float32))
    ('%d', '%.9g')
    """
    if kind.kind in "bui":
        return "%d"
    return "%.9g" if kind.itemsize <= 4 else "%.17g"


def _phases(structure: Microstructure) -> tuple[Array, list[Phase]]:
    """Return the number of each point, and the phases from number 1 on."""
    count = int(np.prod(structure.shape))
    if "phase" not in structure:
        return np.ones(count, np.int64), [_listed(structure, 0, structure.phases)]
    number = structure["phase"].reshape(-1).astype(np.int64)
    names = structure.phases
    if number.min() < 0:
        raise InputError("the field phase has negative numbers; 0 is the first phase")
    if names[:1] != (NOT_INDEXED,):
        number, names = number + 1, (NOT_INDEXED, *names)
    highest = max(int(number.max()), len(names) - 1)
    if highest > 99:
        raise InputError(f"the field phase has numbers up to {highest}; this format lists at most 99 phases")
    return number, [_listed(structure, k, names) for k in range(1, highest + 1)]


def _listed(structure: Microstructure, k: int, names: tuple[str, ...]) -> Phase:
    name = names[k] if k < len(names) else f"phase {max(k, 1)}"
    return Phase(" ".join(name.split()), structure.crystals.get(name))


def _in_frame(quaternions: Array, stated: str, wanted: str) -> Array:
    if stated == wanted:
        return quaternions
    from microgen.core.frames import from_map_frame, to_map_frame  # loads scipy

    return from_map_frame(to_map_frame(quaternions, stated), wanted)


def _euler(quaternions: Array, solved: Array) -> Array:
    from microgen.core.orientations import to_euler

    found = np.zeros((len(quaternions), 3))
    found[solved] = to_euler(quaternions[solved])
    return found
