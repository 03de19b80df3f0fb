"""Voxel meshes for Abaqus and CalculiX (``.inp``): one C3D8 per voxel, sets and sections per grain; written only.

A map becomes one layer of C3D8, as thick as a pixel is wide: the plane elements of Abaqus take no orientation that is
tilted out of the plane. Hold ZMIN and ZMAX for plane strain, leave one free for plane stress.

Lengths are in micrometres: with stresses in MPa, forces come out in micronewtons. Each grain has the set ``GRAIN_n``, a
``*SOLID SECTION`` and an ``*ORIENTATION`` whose local axes 1 and 2 are the crystal's x and y (x along a). Each phase
has the set ``PHASE_name`` and an empty ``*MATERIAL`` to be filled in. The node sets XMIN to ZMAX are the six faces.

References
----------
Abaqus 2016 Analysis User's Guide; Dhondt, CalculiX CrunchiX User's Manual 2.20, http://www.dhondt.de.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from microgen.core import Microstructure
from microgen.core.orientations import rotations
from microgen.io import header, numerals
from microgen.io.grainwise import Grains, frame_of, grains_of, warn_of_frame, warn_of_voids

EXTENSIONS = (".inp",)
WHOLE = True
HOLDS = frozenset({"grain", "phase", "orientation", "mask"})

_CHUNK = 1 << 16
_LONGEST_NAME = 80
_COMMENT = 120  # characters of one line of a comment; Abaqus reads 256


def read_own(path: Path) -> dict[str, Any]:
    """Header that microgen wrote into the comments; empty for meshes of other programs."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        head = itertools.takewhile(lambda line: line.startswith(("*HEADING", "voxel", "**")), stream)
        text = "".join(line[3:].rstrip("\n") for line in head if line.startswith("**:"))
    return header.loads(text or None)


def write(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None) -> None:
    """Write mesh, sets, orientations, sections and materials."""
    grains = grains_of(structure)
    warn_of_frame(structure)
    warn_of_voids(structure)
    cells = structure.shape if structure.ndim == 3 else (1, *structure.shape)
    spacing = structure.spacing if structure.ndim == 3 else (structure.spacing[-1], *structure.spacing)
    phases = _unique([_name("PHASE", name) for name in grains.names])
    with path.open("w", encoding="ascii", newline="\n") as stream:
        stream.writelines(_comments(structure, recipe))
        _nodes(stream, cells, spacing)
        _elements(stream, cells)
        _sets(stream, grains, phases)
        _faces(stream, cells)
        stream.writelines(_orientations(grains))
        stream.writelines(_sections(grains, phases))
        stream.writelines(_materials(grains, phases))


def _comments(structure: Microstructure, recipe: Mapping[str, Any] | None) -> Iterator[str]:
    yield "*HEADING\n"
    yield "voxel mesh of microgen, lengths in micrometres\n"
    yield f"** orientations in the frame {frame_of(structure)}\n"
    text = header.dumps(structure, recipe)
    yield from (f"**:{text[start : start + _COMMENT]}\n" for start in range(0, len(text), _COMMENT))


def _nodes(stream: TextIO, cells: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    """Write nodes, x fastest, numbered from 1."""
    z, y, x = ([repr(float(i * step)) for i in range(n + 1)] for n, step in zip(cells, spacing, strict=True))
    stream.write("*NODE, NSET=ALL_NODES\n")
    number = 0
    for height in z:
        for depth in y:
            tail = f", {depth}, {height}\n"
            stream.writelines(f"{number + i}, {across}{tail}" for i, across in enumerate(x, 1))
            number += len(x)


def _elements(stream: TextIO, cells: tuple[int, ...]) -> None:
    """Write elements in the order of the voxels, x fastest; four nodes of the lower face, then those above them."""
    corners = _corners(cells)
    stream.write("*ELEMENT, TYPE=C3D8, ELSET=ALL\n")
    line = "%d" + ", %d" * 8
    for start in range(0, len(corners), _CHUNK):
        part = corners[start : start + _CHUNK]
        rows = np.column_stack([np.arange(start + 1, start + 1 + len(part)), part])
        stream.write("\n".join([line % tuple(row) for row in rows.tolist()]) + "\n")


def _corners(cells: tuple[int, ...]) -> NDArray[np.int64]:
    z, y, x = cells
    node = np.arange(1, (z + 1) * (y + 1) * (x + 1) + 1).reshape(z + 1, y + 1, x + 1)
    low, high = node[:-1], node[1:]
    faces = [(f[:, :-1, :-1], f[:, :-1, 1:], f[:, 1:, 1:], f[:, 1:, :-1]) for f in (low, high)]
    return np.stack([corner.ravel() for face in faces for corner in face], axis=1)


def _sets(stream: TextIO, grains: Grains, phases: list[str]) -> None:
    """Write the elements of each grain, and each phase as a set of its grains."""
    order = np.argsort(grains.index, axis=None, kind="stable")
    bounds = np.searchsorted(grains.index.ravel()[order], np.arange(len(grains.phase) + 1))
    for i in range(len(grains.phase)):
        stream.write(f"*ELSET, ELSET={_set_name(grains, phases, i)}\n")
        stream.write(numerals.lines(order[bounds[i] : bounds[i + 1]] + 1, 16, ", "))
    if grains.numbers is not None:
        for phase in np.unique(grains.phase).tolist():
            stream.write(f"*ELSET, ELSET={phases[phase]}\n")
            members = np.flatnonzero(grains.phase == phase).tolist()
            stream.writelines(f"{_set_name(grains, phases, i)}\n" for i in members)


def _faces(stream: TextIO, cells: tuple[int, ...]) -> None:
    z, y, x = (n + 1 for n in cells)
    node = np.arange(1, z * y * x + 1).reshape(z, y, x)
    faces = {"X": (node[:, :, 0], node[:, :, -1]), "Y": (node[:, 0], node[:, -1]), "Z": (node[0], node[-1])}
    for axis, (first, last) in faces.items():
        for end, nodes in (("MIN", first), ("MAX", last)):
            stream.write(f"*NSET, NSET={axis}{end}\n{numerals.lines(nodes, 16, ', ')}")


def _orientations(grains: Grains) -> Iterator[str]:
    """Two vectors per grain, along the first and the second axis of its crystal."""
    if grains.orientation is None or grains.numbers is None:
        return
    axes = rotations(grains.orientation).as_matrix()
    for number, matrix in zip(grains.numbers.tolist(), axes, strict=True):
        vectors = ", ".join(f"{v:.15g}" for v in (*matrix[:, 0], *matrix[:, 1]))
        yield f"*ORIENTATION, NAME=ORI_{number}, SYSTEM=RECTANGULAR\n{vectors}\n"


def _sections(grains: Grains, phases: list[str]) -> Iterator[str]:
    for i, phase in enumerate(grains.phase.tolist()):
        turned = (
            "" if grains.orientation is None or grains.numbers is None else f", ORIENTATION=ORI_{grains.numbers[i]}"
        )
        material = phases[phase].removeprefix("PHASE_")
        yield f"*SOLID SECTION, ELSET={_set_name(grains, phases, i)}, MATERIAL={material}{turned}\n"


def _materials(grains: Grains, phases: list[str]) -> Iterator[str]:
    for phase in np.unique(grains.phase):
        yield f"*MATERIAL, NAME={phases[phase].removeprefix('PHASE_')}\n"
        yield f"** constants of the phase {json.dumps(grains.names[phase])[:200]} belong here\n"


def _set_name(grains: Grains, phases: list[str], i: int) -> str:
    return phases[grains.phase[i]] if grains.numbers is None else f"GRAIN_{grains.numbers[i]}"


def _name(prefix: str, text: str) -> str:
    """Return a name that Abaqus takes: capital letters, digits and underscores, the first of them a letter.

    >>> _name("PHASE", "Iron bcc (old)")
    'PHASE_IRON_BCC__OLD_'
    """
    plain = re.sub(r"[^A-Z0-9]", "_", text.upper().encode("ascii", "replace").decode())
    return f"{prefix}_{'' if plain[:1].isalpha() else 'M'}{plain}"[: _LONGEST_NAME - 6]


def _unique(names: list[str]) -> list[str]:
    """Number names that have become the same."""
    return [name if names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]
