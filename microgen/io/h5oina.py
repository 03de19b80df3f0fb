"""``.h5oina`` of Oxford Instruments: EBSD maps, raw or processed, and the electron images recorded with them.

References
----------
Oxford Instruments NanoAnalysis, *H5OINAFile.md*, versions 1 to 8, https://github.com/oinanoanalysis/h5oina.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io import hdf5_array, sandbox
from microgen.io.ebsd import Phase, ebsd_map, grid_text
from microgen.io.oxford import listed_phase, turned_surface
from microgen.io.pixel_size import PixelSize, sized
from microgen.io.recording import Options, Recording

Array = NDArray[Any]

EXTENSIONS = (".h5oina",)

_RAW, _PROCESSED = "EBSD", "Data Processing"
_OURS = {
    "Band Contrast": "band_contrast",
    "Band Slope": "band_slope",
    "Bands": "bands",
    "Error": "error",
    "Pattern Quality": "pattern_quality",
}
"""Our name of a column by that of the specification; the mean angular deviation is turned into degrees."""

_FACTS = (
    "Project Label", "Specimen Label", "Site Label", "Acquisition Date", "Beam Voltage", "Magnification", "Tilt Angle",
    "Scanning Rotation Angle", "Specimen Orientation Euler",
)  # fmt: skip

_NO_TURN = 1e-4  # radians


def read(path: Path, options: Options) -> Recording:
    """Read the only map, or what `options.dataset` names: a slice (``2``), ``1/Data Processing``, or an image."""
    with sandbox.opened(path, options.max_pixels) as file:
        attrs, names = file.root()
        if not is_mine(attrs, names, file):
            raise InputError(f"{path} is not an .h5oina file: it has no format version and list of slices")
        return read_open(file, options)


def is_mine(attrs: Mapping[str, Any], names: Sequence[str], file: sandbox.Hdf5) -> bool:
    """True where the top of the file has what the specification makes mandatory."""
    return {"Format Version", "Index"} <= set(names)


def read_open(file: sandbox.Hdf5, options: Options) -> Recording:
    """Read an open file, see :func:`read`."""
    if hdf5_array.names_array(file, options.dataset):
        return _image(file, "/" + str(options.dataset).strip("/"), options)
    group = _chosen(file, options.dataset)
    raw = group.replace(_PROCESSED, _RAW)
    grid, step = _grid(file, group, raw)
    count = int(np.prod(grid))
    columns = {**_columns(file, f"{raw}/Data", count), **_columns(file, f"{group}/Data", count)}
    facts = _facts(file, group, raw)
    remarks = _frame_remarks(facts)
    processed = group.replace(_RAW, _PROCESSED)
    if processed != group and f"{processed}/Data" in file.objects:
        remarks.append(
            f"also has processed data, read here is what was recorded; for them pass dataset={processed[1:]!r}"
        )
    return ebsd_map(
        columns,
        phase=_phase_numbers(file, group),
        orientation=_euler(file, group),
        shape=grid,
        spacing=step,
        phases=_phases(file, group, remarks),
        frame="oxford",
        source=facts,
        warnings=remarks,
    )


def _chosen(file: sandbox.Hdf5, dataset: str | None) -> str:
    """Return the group of the map to read."""
    maps = [p for p in file.objects if re.fullmatch(rf"/[^/]+/({_RAW}|{_PROCESSED})", p) and _has_map(file, p)]
    raw = [p for p in maps if p.endswith(f"/{_RAW}")] or maps
    if dataset is not None:
        asked = "/" + dataset.strip("/")
        found = [p for p in maps if p == asked] or [p for p in raw if p.startswith(asked + "/")]
        if found:
            return found[0]
        raise InputError(f"{file.path} has no EBSD map {dataset!r}; {_list(file, maps)}")
    if len(raw) != 1:
        advice = "; pass --dataset NAME (in Python read(path, dataset=...))" if maps or _images(file) else ""
        raise InputError(f"{file.path}: {_list(file, maps)}{advice}")
    return raw[0]


def _has_map(file: sandbox.Hdf5, group: str) -> bool:
    return {f"{group}/Data/Euler", f"{group}/Data/Phase"} <= file.objects.keys()


def _images(file: sandbox.Hdf5) -> list[str]:
    return [p for p, e in file.objects.items() if "/Electron Image/Data/" in p and e.is_numbers]


def _list(file: sandbox.Hdf5, maps: Sequence[str]) -> str:
    named = [p[1:] for p in maps] or ["no EBSD map"]
    images = [p[1:] for p in _images(file)]
    return f"it holds {', '.join(named[:20])}" + (f" and the images {', '.join(images[:20])}" if images else "")


def _grid(file: sandbox.Hdf5, *groups: str) -> tuple[tuple[int, int], tuple[float, float]]:
    """Rows and columns, and their steps in micrometres, of the first group whose header has them."""
    for group in groups:
        values = [file.number(f"{group}/Header/{axis} {what}") for what in ("Cells", "Step") for axis in "YX"]
        if None not in values:
            rows, columns = (int(v or 0) for v in values[:2])
            dy, dx = (v or 0.0 for v in values[2:])
            if rows == 1 and columns > 1:
                raise InputError(f"{file.path} holds a line scan of {columns} points, not a map")
            if rows < 1 or columns < 1 or dy <= 0 or dx <= 0:
                raise InputError(f"{file.path} has a grid of {grid_text((rows, columns))} points {dx:g} um apart")
            return (rows, columns), (dy, dx)
    raise InputError(
        f"{file.path} does not say how many rows and columns {groups[0][1:]} has and how far apart they are"
    )


def _columns(file: sandbox.Hdf5, data: str, count: int) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name in file.children(data):
        path = f"{data}/{name}"
        if not file.objects[path].is_numbers:
            continue
        if name in _OURS:
            found[_OURS[name]] = _column(file, path, count)
        elif name == "Mean Angular Deviation":
            found["mean_angular_deviation_deg"] = np.rad2deg(_column(file, path, count)).astype(np.float32)
    return found


def _column(file: sandbox.Hdf5, path: str, count: int) -> Array:
    shape = file.objects[path].shape
    if shape is None or np.prod(shape) != count:
        raise InputError(f"{file.path}: {path[1:]} has the shape {shape}, the header promises {count} points")
    return file.array(path).reshape(-1)


def _phase_numbers(file: sandbox.Hdf5, group: str) -> Array:
    values = file.array(f"{group}/Data/Phase")
    if values.dtype.kind == "f":
        values = np.nan_to_num(values)
    return values.astype(np.int64)


def _euler(file: sandbox.Hdf5, group: str) -> Array:
    values = file.array(f"{group}/Data/Euler")
    if values.ndim != 2 or values.shape[1] != 3:
        raise InputError(f"{file.path}: its Euler angles have the shape {values.shape}, three columns are needed")
    return values


def _phases(file: sandbox.Hdf5, group: str, remarks: list[str]) -> dict[int, Phase]:
    for header in (f"{group}/Header/Phases", f"{group.replace(_PROCESSED, _RAW)}/Header/Phases"):
        if header in file.objects:
            numbers = [n for n in file.children(header) if n.isdecimal() and len(n) < 6]
            return {int(n): _phase(file, f"{header}/{n}", remarks) for n in numbers}
    return {}


def _phase(file: sandbox.Hdf5, group: str, remarks: list[str]) -> Phase:
    edges, angles = (_three(file.small(f"{group}/Lattice {what}")) for what in ("Dimensions", "Angles"))
    lattice = (*edges, *(round(float(np.rad2deg(a)), 4) for a in angles)) if edges and angles else ()
    laue, space = (int(file.number(f"{group}/{what} Group") or 0) for what in ("Laue", "Space"))
    return listed_phase(file.text(f"{group}/Phase Name") or "", lattice, laue, space, remarks)


def _three(value: Any) -> tuple[float, ...]:
    values = np.ravel(value) if isinstance(value, list) else np.zeros(0)
    if len(values) != 3 or values.dtype.kind not in "if":
        return ()
    return tuple(sandbox.decimal(v) for v in values)


def _facts(file: sandbox.Hdf5, group: str, raw: str) -> dict[str, Any]:
    """What the header says, of the processed data where it differs."""
    found: dict[str, Any] = {"format": "h5oina", "dataset": group[1:]}
    for name in _FACTS:
        value = file.small(f"{group}/Header/{name}", file.small(f"{raw}/Header/{name}"))
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is not None and np.isfinite(np.asarray(value, dtype=float) if not isinstance(value, str) else 0).all():
            found[name.lower().replace(" ", "_")] = value
    return found


def _frame_remarks(facts: Mapping[str, Any]) -> list[str]:
    """Say so where the file states rotations that its angles, and the frame they are taken to be in, leave out."""
    surface = facts.get("specimen_orientation_euler", ())
    remarks = turned_surface(np.rad2deg(surface).round(4).tolist() if isinstance(surface, list) else ())
    scan = facts.get("scanning_rotation_angle")
    if isinstance(scan, (int, float)) and abs(scan) > _NO_TURN:
        remarks.append(
            f"its scanning rotation angle of {np.rad2deg(scan):.4g} degrees is not applied: whether its Euler frame is "
            "'oxford' or turned by that angle has to be checked with a known crystal"
        )
    return remarks


def _image(file: sandbox.Hdf5, path: str, options: Options) -> Recording:
    """Read one column as a picture, with the grid and step of its technique."""
    values = file.array(path)
    technique = path.partition("/Data/")[0]
    sizes: tuple[PixelSize, ...] = ()
    if values.ndim < 3 and f"{technique}/Header/X Cells" in file.objects:
        grid, step = _grid(file, technique)
        if values.size == np.prod(grid):
            values, sizes = values.reshape(grid), sized(step, f"{technique[1:]} header", "high")
    return hdf5_array.as_recording(file.path, path[1:], values, options, sizes)
