"""Grids and materials for DAMASK: ``.damask.vti``, and ``.material.yaml`` beside it.

The grid is in metres, with the cell data ``material``: the place of each voxel's grain in the list of the YAML
file, which names the phase of each grain and its orientation as a unit quaternion (w, x, y, z) that turns the axes of
the grid into those of the crystal (P = -1 in DAMASK's terms). Laws and constants of the phases are to be filled in.

A map is one voxel thick. The symmetry of a phase gives its primitive lattice; which of the centred ones it is (cF and
cI are those with slip systems) is not known here and has to be said in the file.

References
----------
DAMASK 3, https://damask-multiphysics.org/documentation/file_formats/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Crystal, Microstructure
from microgen.io import header, vtk_write, vtk_xml
from microgen.io.grainwise import Grains, frame_of, grains_of, warn_of_frame, warn_of_voids

EXTENSIONS = (".damask.vti",)
WHOLE = True
HOLDS = frozenset({"grain", "phase", "orientation", "mask"})

read, read_own = vtk_xml.read, vtk_xml.read_own

_LATTICES = {
    "-1": "aP", "2/m": "mP", "mmm": "oP", "4/m": "tP", "4/mmm": "tP", "-3": "hP", "-3m": "hP", "6/m": "hP",
    "6/mmm": "hP", "m-3": "cP", "m-3m": "cP",
}  # fmt: skip
_CENTRED = {"c": "cF or cI", "t": "tI"}


def write(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None) -> None:
    """Write the grid in metres: any other array would become an initial condition."""
    grains = grains_of(structure)
    warn_of_frame(structure)
    warn_of_voids(structure)
    material = grains.index.astype(np.int32)
    spacing = [1e-6 * um for um in structure.spacing[::-1]]
    steps = (*spacing, *[spacing[0]] * (3 - structure.ndim))
    text = header.dumps(structure.replace(fields={"material": material}), recipe)
    solid = material if structure.ndim == 3 else material[None]
    texts = {header.NAME: text, "comments": "grid of microgen, lengths in metres"}
    vtk_write.image(path, {"material": solid}, solid.shape, steps, texts)


def beside(path: Path) -> Path:
    """Return the file of the materials that belong to a grid.

    >>> beside(Path("steel.damask.vti")).name
    'steel.material.yaml'
    """
    return path.with_name(path.name.removesuffix("".join(path.suffixes[-2:])) + ".material.yaml")


def companion(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None, digest: str) -> bytes:
    """Return the material configuration that belongs to a grid."""
    return material_yaml(structure, path.name, digest).encode()


def material_yaml(structure: Microstructure, grid: str = "", digest: str = "") -> str:
    """Return the material configuration of a structure as YAML.

    Parameters
    ----------
    grid, digest
        Name and SHA-256 of the grid it belongs to, for the comment.
    """
    grains = grains_of(structure)
    used = [grains.names[i] for i in np.unique(grains.phase)]
    rows = [f"# materials of {grid}, sha256 {digest}" if grid else "# materials of a grid of microgen"]
    rows += [f"# orientations in the frame {frame_of(structure)}", "homogenization:"]
    rows += ["  SX:", "    N_constituents: 1", "    mechanical: {type: pass}", "phase:"]
    for name in used:
        rows += _phase(name, structure.crystals.get(name))
    rows.append("material:")
    rows += [_material(grains, i) for i in range(len(grains.phase))]
    return "\n".join(rows) + "\n"


def _phase(name: str, crystal: Crystal | None) -> list[str]:
    if crystal is None:
        return [f"  {json.dumps(name)}: {{}}  # lattice and laws are to be filled in"]
    lattice = _LATTICES[crystal.laue]
    centred = _CENTRED.get(lattice[0])
    note = f"  # {centred} where the lattice is centred; laws are to be filled in" if centred else ""
    rows = [f"  {json.dumps(name)}:", f"    lattice: {lattice}{note}"]
    if crystal.lattice is not None and lattice[0] in "th":
        rows.append(f"    c/a: {crystal.lattice[2] / crystal.lattice[0]!r}")
    return rows


def _material(grains: Grains, i: int) -> str:
    q: NDArray[Any] = np.array([1.0, 0, 0, 0]) if grains.orientation is None else grains.orientation[i]
    q = q / np.linalg.norm(q)
    name = json.dumps(grains.names[grains.phase[i]])
    number = "" if grains.numbers is None else f"  # grain {grains.numbers[i]}"
    values = ", ".join(map(repr, q.tolist()))
    return f"  - homogenization: SX{number}\n    constituents: [{{phase: {name}, v: 1.0, O: [{values}]}}]"
