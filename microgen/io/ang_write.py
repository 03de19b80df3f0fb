"""Writing ``.ang`` as EDAX has it: square grid, ten columns, radians; further fields follow as columns."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.recipe import RECIPE_KEY
from microgen.io import own
from microgen.io.ebsd_export import Points, column, digits, points

NAMES = {
    "phi1": "phi1", "phi": "Phi", "phi2": "phi2", "x": "x", "y": "y", "iq": "image_quality", "ci": "confidence_index",
    "phase": "phase", "phase_index": "phase", "phase_id": "phase", "sem": "sem_signal", "detector_signal": "sem_signal",
    "fit": "fit_deg", "pattern_fit": "fit_deg",
}  # fmt: skip
"""Our name of a column by the names, in lower case, that programs give it."""

CODES = {
    "-1": "1", "2/m": "20", "mmm": "22", "4/m": "4", "4/mmm": "42", "-3": "3", "-3m": "32", "6/m": "6", "6/mmm": "62",
    "m-3": "23", "m-3m": "43",
}  # fmt: skip
"""EDAX's code of symmetry by Laue group."""

_COLUMNS = "phi1, Phi, phi2, x, y, image_quality, confidence_index, phase_id, detector_signal, pattern_fit"
_STANDARD = ("image_quality", "confidence_index", "sem_signal", "fit_deg")
_UNSOLVED = {"image_quality": 0.0, "confidence_index": -1.0, "sem_signal": 0.0, "fit_deg": 180.0}


def write(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None) -> None:
    """Write a map with orientations; unindexed points get 4 pi, confidence index -1 and phase 0."""
    found = points(structure, frame="edax", x_along="a")
    extra = [name for name in structure.fields if name not in (*_STANDARD, "phase", "mask", "orientation")]
    if bad := [name for name in extra if structure[name].ndim != 2 or not name.isidentifier() or name in NAMES]:
        raise InputError(f"the field {bad[0]!r} cannot be a column of .ang; rename it, or write .h5")
    euler = np.where(found.solved[:, None], found.euler, 4 * np.pi)
    standard = [_standard(structure, name, found) for name in _STANDARD]
    values = [
        *euler.T,
        found.x,
        found.y,
        *standard[:2],
        found.phase,
        *standard[2:],
        *(column(structure, n, 0) for n in extra),
    ]
    formats = ["%10.7f"] * 3 + ["%.9g"] * 4 + ["%d"] + ["%.9g"] * 2 + [digits(structure[n].dtype) for n in extra]
    text = io.StringIO()
    np.savetxt(text, np.column_stack(values), fmt=formats, header=_header(found, extra, recipe), comments="# ")
    path.write_bytes(text.getvalue().encode())


def _standard(structure: Microstructure, name: str, found: Points) -> NDArray[Any]:
    values = column(structure, name, 0.0)
    if name == "confidence_index" and (values[found.solved] <= -1 + 1e-6).any():
        raise InputError("indexed points have the confidence index -1, which in .ang means not indexed; mask them")
    return np.where(found.solved, values, _UNSOLVED[name])


def _header(found: Points, extra: list[str], recipe: Mapping[str, Any] | None) -> str:
    rows, columns = found.shape
    dy, dx = found.spacing
    lines = ["TEM_PIXperUM          1.000000", "x-star                0.000000", "y-star                0.000000"]
    lines += ["z-star                0.000000", "WorkingDistance       0.000000", ""]
    for number, phase in enumerate(found.phases, 1):
        lines += [f"Phase {number}", f"MaterialName  \t{phase.name}", f"Formula     \t{phase.name}", "Info\t\t"]
        lines += [*_symmetry(phase.crystal), "NumberFamilies        0"]
    lines += ["GRID: SqrGrid", f"XSTEP: {dx:.9g}", f"YSTEP: {dy:.9g}"]
    lines += [f"NCOLS_ODD: {columns}", f"NCOLS_EVEN: {columns}", f"NROWS: {rows}", ""]
    lines += ["OPERATOR: \tmicrogen", "", "SAMPLEID: \t", "", "SCANID: \t", "", f"EulerFrame: {found.frame}"]
    if recipe is not None:
        lines.append(f"{RECIPE_KEY} {own.dumps(dict(recipe))}")
    return "\n".join([*lines, ", ".join([f"Column names: {_COLUMNS}", *extra]), ""])


def _symmetry(crystal: Crystal | None) -> list[str]:
    """Return symmetry and lattice in angstrom; without a crystal both are left unsaid."""
    if crystal is None:
        return []
    lattice = crystal.lattice or (0.0, 0.0, 0.0, 90.0, 90.0, 90.0)
    numbers = [*(f"{10 * v:.9g}" for v in lattice[:3]), *(f"{v:.9g}" for v in lattice[3:])]
    return [f"Symmetry              {CODES[crystal.laue]}", f"LatticeConstants      {' '.join(numbers)}"]
