"""Raster tessellations of Neper (``.tesr``): grains on a grid with their orientations.

Written in version 2.1, which Neper 4.2 and later read; read in versions 2.0 to 2.2. Numbers are text; binary data are
read too. The header of microgen stands in a JSON file beside it, for the format has no room for comments.

What Neper calls active in version 2.1, passive in version 2.2, and nothing in version 2.0, is the orientation as it is
understood here (it turns the axes of the sample into those of the crystal); the other word means its inverse.

References
----------
Quey, Dawson, Barbe, Comput. Methods Appl. Mech. Engrg. 200 (2011) 1729, doi:10.1016/j.cma.2011.01.002.
Neper reference manual, section File Formats, https://neper.info/doc/fileformat.html.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure, files
from microgen.io import header, numerals, tesr_read
from microgen.io.crystal_axes import with_x_along
from microgen.io.grainwise import Grains, grains_of, warn_of_frame
from microgen.io.recording import Options, Recording

EXTENSIONS = (".tesr",)
WHOLE = True
HOLDS = frozenset({"grain", "phase", "orientation", "mask"})

_HASH_KEY = "sha256"
_SYMMETRIES = {"m-3m": "cubic", "6/mmm": "hexagonal", "-1": "triclinic"}


def read(path: Path, options: Options) -> Recording:
    """Read cells as grains, with the orientations of cells or voxels; other files of data are looked for beside it."""
    return tesr_read.read(path, read_own(path))


def write(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None) -> None:
    """Write grains as cells in micrometres; orientations per voxel only where they vary within a grain."""
    if "grain" not in structure:
        raise InputError(
            f"a raster tessellation needs grains, and here are {', '.join(structure.fields)}; make them with "
            "microgen convert --segment-deg 5 or --labels grain"
        )
    warn_of_frame(structure)
    with path.open("w", encoding="ascii", newline="\n") as stream:
        stream.writelines(_text(with_x_along(structure, "a")))


def companion(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None, digest: str) -> bytes:
    """Return the header that stands beside the file, bound to it by its SHA-256."""
    names = [name for name in structure.fields if name in HOLDS]
    turned = with_x_along(structure, "a")
    kept = turned.replace(fields={name: turned[name] for name in names})
    text = {_HASH_KEY: digest, **json.loads(header.dumps(kept, recipe))}
    if "phase" in structure:
        text["phase_of_group"] = np.unique(_cells(structure)[1]).tolist()
    return (json.dumps(text, indent=2) + "\n").encode()


def read_own(path: Path) -> dict[str, Any]:
    """Header that microgen wrote beside the file."""
    sidecar = beside(path)
    if not sidecar.is_file():
        return {}
    about = header.loads(sidecar.read_text(encoding="utf-8"))
    if about.get(_HASH_KEY) != files.sha256(path):
        raise InputError(f"was changed after {sidecar.name} was written; delete that file or write both again")
    return about


def beside(path: Path) -> Path:
    """Return the file beside a tessellation that holds its header."""
    return path.with_name(path.name + ".json")


def _cells(structure: Microstructure) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any] | None, Grains]:
    """Numbers, phases and mean orientations of the grains, without what belongs to none."""
    grains = grains_of(structure)
    numbers = np.unique(structure["grain"]).astype(np.int64)
    real = numbers > 0
    mean = None if grains.orientation is None else grains.orientation[real]
    return numbers[real], grains.phase[real], mean, grains


def _text(structure: Microstructure) -> Iterator[str]:
    numbers, phase, mean, grains = _cells(structure)
    yield "***tesr\n **format\n   2.1\n **general\n"
    yield f"   {structure.ndim}\n   {' '.join(map(str, structure.shape[::-1]))}\n"
    yield f"   {' '.join(map(repr, structure.spacing[::-1]))}\n"
    yield f" **cell\n   {len(numbers)}\n  *id\n{numerals.lines(numbers, 16)}"
    if mean is not None:
        yield f"  *ori\n   quaternion:active\n{numerals.lines(mean, 4)}"
    present, group = np.unique(phase, return_inverse=True)
    if len(present) > 1:
        yield f"  *group\n{numerals.lines(group + 1, 32)}"
    crystals = {structure.crystals.get(grains.names[i]) for i in present}
    if len(crystals) == 1 and (crystal := crystals.pop()) is not None:
        yield f"  *crysym\n   {_SYMMETRIES.get(crystal.laue, crystal.laue)}\n"
    missing = int(structure["grain"].max() > 0 and (structure["grain"] > 0).all())
    yield f" **data\n   ascii\n{numerals.lines(grains.index + missing, 32)}"
    if mean is not None and _varies(structure, mean, grains, missing):
        yield from _per_voxel(structure)
    yield "***end\n"


def _varies(structure: Microstructure, mean: NDArray[Any], grains: Grains, missing: int) -> bool:
    """Whether orientations differ within a grain, or are unknown for some points of one."""
    inside = structure["grain"] > 0
    given = np.asarray(structure["orientation"][inside], dtype=np.float64)
    return "mask" in structure or not np.array_equal(given, mean[grains.index[inside] + missing - 1])


def _per_voxel(structure: Microstructure) -> Iterator[str]:
    """Orientation of every voxel, and whether it is defined."""
    given = structure["orientation"].astype(np.float64)
    yield f" **oridata\n   quaternion:active\n   ascii\n{numerals.lines(given, 4)}"
    if "mask" in structure:
        yield f" **oridef\n   ascii\n{numerals.lines((structure['mask'] != 0).astype(np.uint8), 32)}"
