"""HDF5 files as instruments write them, made after the public descriptions of their formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

RNG = np.random.default_rng(0)
SHAPE = (4, 6)
EULER = (RNG.random((24, 3)) * [6.2, 3.1, 6.2]).astype(np.float32)
PHASE = np.array([1, 2, 0] * 8, np.uint8)


def oina(path: Path, *, slices: tuple[str, ...] = ("1",), processed: bool = False, image: bool = False) -> None:
    """An ``.h5oina`` file after H5OINAFile.md: two phases, one point in three not indexed, one outside the area."""
    with h5py.File(path, "w") as file:
        for name, text in {
            "Manufacturer": "Oxford Instruments",
            "Software Version": "6.0",
            "Format Version": "5.0",
        }.items():
            file[name] = [text]
        file["Index"] = list(slices)
        for name in slices:
            _oina_map(file.create_group(f"{name}/EBSD"))
            if processed:
                _oina_map(file.create_group(f"{name}/Data Processing"))
                file[f"{name}/Data Processing/Data/Phase"][...] = 2
        if image:
            header = {
                "X Cells": np.int32(8),
                "Y Cells": np.int32(9),
                "X Step": np.float32(0.1),
                "Y Step": np.float32(0.1),
            }
            group = file.create_group("1/Electron Image")
            group["Data/SE/SE Image 1"] = np.arange(72, dtype=np.uint16)
            _put(group.create_group("Header"), header)


def _oina_map(group: h5py.Group) -> None:
    euler = EULER.copy()
    euler[2] = np.nan
    data: dict[str, Any] = {
        "Phase": PHASE,
        "Euler": euler,
        "Bands": np.arange(24, dtype=np.uint8),
        "Band Contrast": np.arange(24, dtype=np.uint8) + 100,
        "Mean Angular Deviation": np.where(PHASE > 0, np.float32(0.01), np.float32(np.nan)).astype(np.float32),
        "X": np.tile(np.arange(6, dtype=np.float32) * np.float32(0.2), 4),
    }
    for name, values in data.items():
        options = {} if values.ndim == 2 else {"compression": "lzf"}
        group.create_dataset(f"Data/{name}", data=values if values.ndim == 2 else values[:, None], **options)
    header = group.create_group("Header")
    _put(header, {"X Cells": np.int32(6), "Y Cells": np.int32(4), "X Step": np.float32(0.2), "Y Step": np.float32(0.3)})
    _put(header, {"Beam Voltage": np.float32(20), "Scanning Rotation Angle": np.float32(np.nan)})
    header["Project Label"] = ["Project 1"]
    header["Specimen Orientation Euler"] = np.zeros((1, 3), np.float32)
    for number, (phase, laue, space, edges, angles) in enumerate(
        [
            ("Iron bcc (old)", 11, 229, (2.866, 2.866, 2.866), (90, 90, 90)),
            ("Titanium", 9, 194, (2.95, 2.95, 4.68), (90, 90, 120)),
        ],
        1,
    ):
        about = header.create_group(f"Phases/{number}")
        about["Phase Name"] = [phase]
        about["Reference"] = ["by hand"]
        about["Lattice Dimensions"] = np.array([edges], np.float32)
        about["Lattice Angles"] = np.deg2rad([angles]).astype(np.float32)
        about["Laue Group"] = np.array([laue], np.int32)
        about["Laue Group"].attrs["Symbol"] = "m-3m"
        about["Space Group"] = np.array([space], np.int32)


def _put(group: h5py.Group, values: dict[str, Any]) -> None:
    for name, value in values.items():
        group[name] = np.array([value])


def edax(path: Path, *, scans: tuple[str, ...] = ("Scan 1",), grid: str = "SqrGrid", phases: int = 1) -> None:
    """A file as OIM Analysis 7 and 8 write them, with one point that has no solution."""
    x, y, rows, columns = _edax_points(grid)
    count = len(x)
    with h5py.File(path, "w") as file:
        file[" Manufacturer"] = np.array([b"EDAX"])
        file[" Version"] = np.array([b"OIM Analysis 8.0.0"])
        for scan in scans:
            data = {f"Phi{k}": np.resize(EULER[:, i], count) for k, i in (("1", 0), ("", 1), ("2", 2))}
            data |= {"X Position": x, "Y Position": y, "CI": np.linspace(0, 1, count, dtype=np.float32)}
            data |= {"IQ": np.full(count, 1000, np.float32), "SEM Signal": np.arange(count, dtype=np.int32)}
            data |= {"Phase": np.resize([0] if phases == 1 else [1, 2], count).astype(np.int8)}
            data |= {"Valid": np.zeros(count, np.int8)}
            data["Valid"][3] = 1
            data["Phi1"][5] = np.float32(4 * np.pi)
            for name, values in data.items():
                file[f"{scan}/EBSD/Data/{name}"] = values
            header = file.create_group(f"{scan}/EBSD/Header")
            for name, value in {"nRows": rows, "nColumns": columns}.items():
                header[name] = np.array([value], ">i4")
            for name, value in {"Step X": 0.5, "Step Y": 0.5 if grid == "SqrGrid" else 0.433013}.items():
                header[name] = np.array([value], ">f4")
            header["Grid Type"] = np.array([grid.encode()])
            for number in range(1, phases + 1):
                _edax_phase(header.create_group(f"Phase/{number}"), number)


def bruker(path: Path, *, places: str | None = None) -> None:
    """A file as ESPRIT writes them: degrees, one point in three without a phase; `places` names where IX, IY stand."""
    order = np.random.default_rng(4).permutation(24) if places else np.arange(24)
    with h5py.File(path, "w") as file:
        file["Manufacturer"], file["Version"] = "Bruker Nano", "Esprit 2.X"
        degrees = np.rad2deg(EULER)[order]
        data = {"phi1": degrees[:, 0], "PHI": degrees[:, 1], "phi2": degrees[:, 2], "Phase": PHASE[order].astype("i4")}
        data |= {"MAD": np.linspace(0, 1, 24, dtype=np.float32)[order], "NIndexedBands": order.astype("i4")}
        data |= {"RawPatterns": np.zeros((24, 10, 10), np.uint8)}
        for name, values in data.items():
            file[f"Scan 0/EBSD/Data/{name}"] = values
        header = file.create_group("Scan 0/EBSD/Header")
        for name, value in {"NROWS": 4, "NCOLS": 6, "XSTEP": 0.2, "YSTEP": 0.3, "KV": 20.0}.items():
            header[name] = value
        header["Grid Type"] = "isometric"
        for number, (phase, space, lattice) in enumerate(
            [("Iron", 229, [2.87, 2.87, 2.87, 90, 90, 90]), ("Ti", 194, [2.95, 2.95, 4.68, 90, 90, 120])], 1
        ):
            about = header.create_group(f"Phases/{number}")
            about["Name"], about["IT"], about["LatticeConstants"] = phase, space, np.array(lattice)
        if places:
            group, x, y = places.rpartition("/")[0], *places.rpartition("/")[2].split(",")
            file[f"{group}/{x}"], file[f"{group}/{y}"] = 11 + order % 6, 5 + order // 6


def _edax_points(grid: str) -> tuple[np.ndarray, np.ndarray, int, int]:
    if grid == "SqrGrid":
        y, x = np.mgrid[:4, :6] * np.float32(0.5)
        return x.ravel(), y.ravel(), 4, 6
    rows = [(0.5 * np.arange(6 - r % 2) + 0.25 * (r % 2), np.full(6 - r % 2, 0.433013 * r)) for r in range(4)]
    x, y = (np.concatenate([row[k] for row in rows]).astype(np.float32) for k in (0, 1))
    return x, y, 4, 6


def _edax_phase(group: h5py.Group, number: int) -> None:
    cubic = number == 1
    group["MaterialName"] = np.array([b"Iron (Alpha)" if cubic else b"Cementite"])
    group["Point Group"] = np.array([b"Cubic (Oh) [m3m]" if cubic else b"Orthorhombic (D2h) [mmm]"])
    group["Symmetry"] = np.array([43 if cubic else 22], ">i4")
    edges = (2.87, 2.87, 2.87) if cubic else (4.52, 5.08, 6.74)
    for name, value in zip(("a", "b", "c", "alpha", "beta", "gamma"), (*edges, 90, 90, 90), strict=True):
        group[f"Lattice Constant {name}"] = np.array([value], ">f4")
