"""Writing ``.ctf`` as Oxford Instruments has it: eleven columns, degrees, lines that end in CR LF."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from microgen.core import InputError, Microstructure
from microgen.io.ebsd import Phase
from microgen.io.ebsd_export import Points, column, points
from microgen.io.oxford import LAUE_NUMBERS

_NAMES = "Phase X Y Bands Error Euler1 Euler2 Euler3 MAD BC BS"
_WHOLE = ("bands", "error", "band_contrast", "band_slope")
HELD = frozenset({*_WHOLE, "mean_angular_deviation_deg", "phase", "mask", "orientation"})
"""Fields that the format has."""

_LAUE = {laue: number for number, laue in LAUE_NUMBERS.items()}


def write(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None) -> None:
    """Write a map with orientations; phase 0 is not indexed. The format has no place for the recipe."""
    found = points(structure, frame="oxford", x_along="a*")
    bands, error, contrast, slope = (_whole(structure, name) for name in _WHOLE)
    if "error" not in structure:
        error = np.where(found.solved, 0, 3)  # 3 is "no solution"
    deviation = column(structure, "mean_angular_deviation_deg", 0.0)
    values = [found.phase, found.x, found.y, bands, error, *np.rad2deg(found.euler).T, deviation, contrast, slope]
    formats = ["%d", "%.9g", "%.9g", "%d", "%d", "%.6f", "%.6f", "%.6f", "%.9g", "%d", "%d"]
    text = io.StringIO()
    np.savetxt(text, np.column_stack(values), fmt=formats, delimiter="\t", newline="\r\n")
    path.write_bytes(("\r\n".join(_header(found)) + "\r\n" + text.getvalue()).encode())


def _whole(structure: Microstructure, name: str) -> Any:
    values = column(structure, name, 0.0)
    if (values != np.rint(values)).any():
        raise InputError(f"the field {name!r} has values that are not whole, which .ctf cannot hold")
    return values


def _header(found: Points) -> list[str]:
    rows, columns = found.shape
    dy, dx = found.spacing
    return [
        "Channel Text File",
        f"Prj\tmicrogen, Euler frame {found.frame}",
        "Author\tmicrogen",
        "JobMode\tGrid",
        f"XCells\t{columns}",
        f"YCells\t{rows}",
        f"XStep\t{dx:.9g}",
        f"YStep\t{dy:.9g}",
        *(f"AcqE{k}\t0" for k in (1, 2, 3)),
        "Euler angles refer to Sample Coordinate system (CS0)!\tMag\t0\tCoverage\t100\tDevice\t0\tKV\t0\tTiltAngle\t0\t"
        "TiltAxis\t0",
        f"Phases\t{len(found.phases)}",
        *map(_phase, found.phases),
        _NAMES.replace(" ", "\t"),
    ]


def _phase(phase: Phase) -> str:
    """Return the line of a phase; Laue group 0 is an unknown one."""
    crystal = phase.crystal
    lattice = (crystal.lattice if crystal else None) or (0.0, 0.0, 0.0, 90.0, 90.0, 90.0)
    edges = ";".join(f"{10 * v:.9g}" for v in lattice[:3])
    angles = ";".join(f"{v:.9g}" for v in lattice[3:])
    return f"{edges}\t{angles}\t{phase.name}\t{_LAUE[crystal.laue] if crystal else 0}\t0\t\t\tmicrogen"
