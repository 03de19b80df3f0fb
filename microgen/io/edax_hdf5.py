"""HDF5 of EDAX's OIM Analysis (``.h5``, ``.oh5``): EBSD maps, and the images of the microscope in the same file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.core.crystals import laue_group
from microgen.io import ang, h5ebsd, hdf5_array
from microgen.io.ebsd import Phase, crystal_of, ebsd_map, grid_text
from microgen.io.oxford import laue_of_space_group
from microgen.io.pixel_size import PixelSize, sized
from microgen.io.recording import Options, Recording
from microgen.io.sandbox import Hdf5, opened

Array = NDArray[Any]

EXTENSIONS = (".oh5",)

_EULER = ("Phi1", "Phi", "Phi2")
_OURS = {"CI": "confidence_index", "IQ": "image_quality", "Fit": "fit_deg", "SEM Signal": "sem_signal"}
_SETTINGS = {1: "down-right", 2: "edax", 3: "right-up", 4: "left-down"}
"""Where the Euler frame lies in the picture by the number of EDAX's setting, see :mod:`microgen.core.frames`."""

_NO_ORIENTATION = 4 * np.pi - 1e-3
_FACTS = ("Sample ID", "Scan ID", "Operator", "Working Distance", "Sample Tilt", "Camera Elevation Angle")
_LATTICE = ("a", "b", "c", "alpha", "beta", "gamma")


def read(path: Path, options: Options) -> Recording:
    """Read a map or an image by the extension that newer programs of EDAX give."""
    with opened(path, options.max_pixels) as file:
        if not is_mine(*file.root(), file):
            raise InputError(f"{path} is no HDF5 file of EDAX, whose name would stand in it")
        return read_open(file, options)


def is_mine(attrs: Mapping[str, Any], names: Sequence[str], file: Hdf5) -> bool:
    """True where EDAX signed as manufacturer."""
    return "EDAX" in h5ebsd.maker(file, names)


def read_open(file: Hdf5, options: Options) -> Recording:
    """Read the only map, or what `options.dataset` names: the group of a scan or one array, such as the SEM image."""
    if hdf5_array.names_array(file, options.dataset):
        return _image(file, "/" + str(options.dataset).strip("/"), options)
    scan = h5ebsd.scan(file, options.dataset, _EULER)
    remarks: list[str] = []
    data = {name: file.array(f"{scan}/Data/{name}").reshape(-1) for name in _columns(file, scan)}
    shape, step, order = _grid(file, scan, data, remarks)
    placed = data if order is None else {name: values[order] for name, values in data.items()}
    phases = _phases(file, scan, remarks)
    return ebsd_map(
        {ours: placed[name] for name, ours in _OURS.items() if name in placed},
        phase=_numbers(placed, phases, int(np.prod(shape))),
        orientation=np.stack([placed[name] for name in _EULER], axis=1),
        shape=shape,
        spacing=step,
        phases=phases,
        frame=_frame(file, scan),
        source=_facts(file, scan),
        indexed=_solved(placed),
        warnings=remarks,
    )


def _frame(file: Hdf5, scan: str) -> str:
    """Frame of the Euler angles: the setting that the file states, else the usual one."""
    setting = file.number(f"{scan}/Header/Coordinate System/ID")
    return "edax" if setting is None else _SETTINGS.get(int(setting), "unknown")


def _columns(file: Hdf5, scan: str) -> list[str]:
    wanted = (*_EULER, "X Position", "Y Position", "Phase", "Valid", *_OURS)
    return [n for n in wanted if (e := file.objects.get(f"{scan}/Data/{n}")) is not None and e.is_numbers]


def _grid(
    file: Hdf5, scan: str, data: Mapping[str, Array], remarks: list[str]
) -> tuple[tuple[int, ...], tuple[float, ...], Array | None]:
    """Rows and columns, steps, and the order of points on the grid where it is not that of the file."""
    header = f"{scan}/Header"
    rows, columns = ((file.number(f"{header}/n{name}") or 0.0) for name in ("Rows", "Columns"))
    dy, dx = ((file.number(f"{header}/Step {axis}") or 0.0) for axis in "YX")
    count = len(data["Phi"])
    if not (rows >= 1 and columns >= 1 and dy > 0 and dx > 0):
        raise InputError(f"{file.path} does not say how many rows and columns it has and how far apart they are")
    shape, step = (int(rows), int(columns)), (dy, dx)
    if (file.text(f"{header}/Grid Type") or "").lower().startswith("hex"):
        return _hexagonal(shape, step, data, remarks)
    if shape[0] * shape[1] != count:
        raise InputError(f"{file.path} promises a grid of {grid_text(shape)} points but holds {count}")
    _check_places(shape, step, data, remarks)
    return shape, step, None


def _hexagonal(
    shape: tuple[int, int], step: tuple[float, float], data: Mapping[str, Array], remarks: list[str]
) -> tuple[tuple[int, ...], tuple[float, ...], Array | None]:
    if not {"X Position", "Y Position"} <= data.keys():
        raise InputError("has a hexagonal grid without the positions of its points")
    rows, odd = shape
    even = odd if len(data["Phi"]) == rows * odd else odd - 1
    values = {"NROWS": rows, "NCOLS_ODD": odd, "NCOLS_EVEN": even, "XSTEP": step[1], "YSTEP": step[0]}
    header = ang.Header((), {key: str(value) for key, value in values.items()}, {})
    lattice = ang.hexagonal(header, data["X Position"], data["Y Position"], remarks)
    stated = (step[0], step[1] / 2)
    return lattice.shape, stated if np.allclose(stated, lattice.step, rtol=1e-3) else lattice.step, lattice.order


def _check_places(
    shape: tuple[int, ...], step: tuple[float, ...], data: Mapping[str, Array], remarks: list[str]
) -> None:
    """Compare the stated positions with the grid; invalid points have a position of -1111111."""
    for axis, (name, size) in enumerate(zip(("Y Position", "X Position"), step, strict=True)):
        if name not in data:
            continue
        stated = data[name].reshape(shape).astype(np.float64)
        expected = size * np.indices(shape, sparse=True)[axis]
        valid = stated > -1e6
        if valid.any() and np.abs(np.where(valid, stated - stated[valid].min() - expected, 0)).max() > size / 2:
            remarks.append(
                f"its column {name} contradicts the grid of {grid_text(shape)} points that its header promises"
            )


def _numbers(data: Mapping[str, Array], phases: Mapping[int, Phase], count: int) -> Array:
    """Number of the phase of each point: in maps of one phase EDAX writes 0 for it."""
    only = next(iter(phases), 1)
    if "Phase" not in data:
        return np.full(count, only)
    found = data["Phase"].astype(np.int64)
    return np.where(found == 0, only, found) if len(phases) <= 1 and not (found > 0).any() else found


def _solved(data: Mapping[str, Array]) -> Array:
    solved = np.maximum(np.abs(data["Phi1"]), np.abs(data["Phi2"])) < _NO_ORIENTATION
    if "Valid" in data:
        solved &= data["Valid"] == 0
    if "CI" in data:
        solved &= data["CI"] > -1 + 1e-6
    return np.asarray(solved)


def _phases(file: Hdf5, scan: str, remarks: list[str]) -> dict[int, Phase]:
    header, x_along = f"{scan}/Header/Phase", _alignment(file, scan, remarks)
    numbers = [n for n in file.children(header) if n.isdecimal() and len(n) < 6]
    return {int(n): _phase(file, f"{header}/{n}", x_along, remarks) for n in numbers}


def _alignment(file: Hdf5, scan: str, remarks: list[str]) -> Literal["a", "a*"]:
    """Crystal direction along x, from texts such as ``a || x, b* || y, c* || z`` in newer files; else a."""
    stated = file.text(f"{scan}/Header/Cartesian Alignment") or "a || x"
    match = re.search(r"(a\*?)\s*\|\|\s*x", stated)
    if match is None:
        remarks.append(f"its crystal axes are aligned as {stated[:60]!r}, which is not known here; a is taken along x")
    return "a*" if match and match[1] == "a*" else "a"


def _phase(file: Hdf5, group: str, x_along: Literal["a", "a*"], remarks: list[str]) -> Phase:
    name = file.text(f"{group}/MaterialName") or file.text(f"{group}/Formula") or ""
    laue = _laue(file, group)
    if laue is None:
        remarks.append(f"phase {name!r} has a symmetry that is not known here; it has no crystal")
    lattice = [(file.number(f"{group}/Lattice Constant {part}") or 0.0) for part in _LATTICE]
    return Phase(name, crystal_of(laue, lattice, x_along=x_along))


def _laue(file: Hdf5, group: str) -> str | None:
    """Laue group, by the point group in brackets (``Hexagonal (D6h) [6/mmm]``), EDAX's code, or the space group."""
    for name in ("Point Group", "Laue Group"):
        if match := re.search(r"\[([^\]]+)\]", (file.text(f"{group}/{name}") or "")):
            try:
                return laue_group(match[1])
            except InputError:
                continue
    code = file.number(f"{group}/Symmetry") or 0.0
    space_group = int(file.number(f"{group}/SpaceGroupNumber") or 0)
    return ang.SYMMETRIES.get(f"{code:g}") or laue_of_space_group(space_group)


def _facts(file: Hdf5, scan: str) -> dict[str, Any]:
    found: dict[str, Any] = {"format": "edax_hdf5", "dataset": scan[1:].removesuffix("/EBSD")}
    grid = file.text(f"{scan}/Header/Grid Type") or ""
    found["grid"] = "hexagonal" if grid.lower().startswith("hex") else "square"
    values = {name.lower().replace(" ", "_"): file.first(f"{scan}/Header/{name}") for name in _FACTS}
    return found | {k: v for k, v in values.items() if v not in (None, "") and (isinstance(v, str) or np.isfinite(v))}


def _image(file: Hdf5, path: str, options: Options) -> Recording:
    """Read one array; the image of the microscope has its width and height in micrometres beside it."""
    values = file.array(path)
    header = path.partition("/Data/")[0] + "/Header"
    ends = [[(file.number(f"{header}/Image {axis} {end}") or 0.0) for end in ("Min", "Max")] for axis in "YX"]
    sizes: tuple[PixelSize, ...] = ()
    if values.ndim >= 2 and all(high > low for low, high in ends):
        um = [(high - low) / n for (low, high), n in zip(ends, values.shape, strict=False)]
        sizes = sized(um, "EDAX image width", "medium")
    return hdf5_array.as_recording(file.path, path[1:], values, options, sizes)
