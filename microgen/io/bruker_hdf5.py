"""HDF5 of Bruker's ESPRIT (``.h5``): EBSD maps with angles in degrees, and the image of the microscope.

References
----------
EbsdLib (BlueQuartz Software), *H5EspritReader.cpp*, and orix, *bruker_h5ebsd*: two independent readers of these files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io import h5ebsd, hdf5_array
from microgen.io.ebsd import Phase, ebsd_map, grid_text
from microgen.io.oxford import listed_phase
from microgen.io.recording import Options, Recording
from microgen.io.sandbox import Hdf5
from microgen.io.table import lay_out

Array = NDArray[Any]

_EULER = ("phi1", "PHI", "phi2")
_OURS = {
    "MAD": "mean_angular_deviation_deg", "NIndexedBands": "bands", "RadonBandCount": "radon_band_count",
    "RadonQuality": "radon_quality",
}  # fmt: skip
_USUAL_SYSTEM = 5
_FACTS = ("KV", "Magnification", "SampleTilt", "CameraTilt", "WD", "OriginalFile")


def is_mine(attrs: Mapping[str, Any], names: Sequence[str], file: Hdf5) -> bool:
    """True where Bruker signed as manufacturer."""
    return "Bruker" in h5ebsd.maker(file, names)


def read_open(file: Hdf5, options: Options) -> Recording:
    """Read the only map, or what `options.dataset` names: the group of a scan or one array, such as the SEM image."""
    if hdf5_array.names_array(file, options.dataset):
        path = "/" + str(options.dataset).strip("/")
        return hdf5_array.as_recording(file.path, path[1:], file.array(path), options)
    scan = h5ebsd.scan(file, options.dataset, (*_EULER, "Phase"))
    wanted = [name for name in (*_EULER, "Phase", *_OURS) if name in file.children(f"{scan}/Data")]
    data = {name: file.array(f"{scan}/Data/{name}").reshape(-1) for name in wanted}
    shape, order = _grid(file, scan, len(data["Phase"]))
    placed = data if order is None else {name: values[order] for name, values in data.items()}
    remarks: list[str] = []
    return ebsd_map(
        {ours: placed[name] for name, ours in _OURS.items() if name in placed},
        phase=placed["Phase"].astype(np.int64),
        orientation=np.deg2rad(np.stack([placed[name] for name in _EULER], axis=1)),
        shape=shape,
        spacing=_step(file, scan),
        phases=_phases(file, scan, remarks),
        frame=_frame(file, scan),
        source=_facts(file, scan),
        warnings=remarks,
    )


def _frame(file: Hdf5, scan: str) -> str:
    """Frame of the Euler angles: that of ESPRIT's coordinate system 5, unless the file states another one."""
    system = file.number(f"{scan}/Header/Coordinate Systems/ID")
    return "bruker" if system in (None, _USUAL_SYSTEM) else "unknown"


def _grid(file: Hdf5, scan: str, count: int) -> tuple[tuple[int, int], Array | None]:
    """Rows and columns, and the order of points where the file numbers their places in the image."""
    kind = file.text(f"{scan}/Header/Grid Type") or "isometric"
    if kind != "isometric":
        raise InputError(f"{file.path} has a grid of the type {kind!r}; only 'isometric' ones are known")
    for group in (f"{scan}/SEM", f"{scan.removesuffix('/EBSD')}/SEM"):
        for x, y in (("SEM IX", "SEM IY"), ("IX", "IY")):
            if {f"{group}/{x}", f"{group}/{y}"} <= file.objects.keys():
                places = [file.array(f"{group}/{name}").reshape(-1).astype(np.float64) for name in (x, y)]
                if any(len(values) != count for values in places):
                    raise InputError(f"{file.path} has {len(places[0])} places for {count} points")
                lattice = lay_out(places[0], places[1], None, (None, None))
                return lattice.shape, lattice.order
    shape = int(file.number(f"{scan}/Header/NROWS") or 0), int(file.number(f"{scan}/Header/NCOLS") or 0)
    if shape[0] * shape[1] != count:
        raise InputError(f"{file.path} promises a grid of {grid_text(shape)} points but holds {count}")
    return shape, None


def _step(file: Hdf5, scan: str) -> tuple[float, float]:
    dy, dx = (file.number(f"{scan}/Header/{axis}STEP") or 0.0 for axis in "YX")
    if dy <= 0 or dx <= 0:
        raise InputError(f"{file.path} does not say how far apart its points are (XSTEP, YSTEP)")
    return dy, dx


def _phases(file: Hdf5, scan: str, remarks: list[str]) -> dict[int, Phase]:
    header = f"{scan}/Header/Phases"
    numbers = [n for n in file.children(header) if n.isdecimal() and len(n) < 6]
    return {int(n): _phase(file, f"{header}/{n}", remarks) for n in numbers}


def _phase(file: Hdf5, group: str, remarks: list[str]) -> Phase:
    """Return a phase by the number of its space group, lattice in angstrom and degrees."""
    values = file.small(f"{group}/LatticeConstants")
    lattice = [float(v) for v in np.ravel(values)] if isinstance(values, list) else []
    space_group = int(file.number(f"{group}/IT") or 0)
    return listed_phase(file.text(f"{group}/Name") or "", lattice, 0, space_group, remarks)


def _facts(file: Hdf5, scan: str) -> dict[str, Any]:
    found: dict[str, Any] = {"format": "bruker_hdf5", "dataset": scan[1:].removesuffix("/EBSD"), "grid": "square"}
    values = {name: file.first(f"{scan}/Header/{name}") for name in _FACTS}
    return found | {k: v for k, v in values.items() if v not in (None, "") and (isinstance(v, str) or np.isfinite(v))}
