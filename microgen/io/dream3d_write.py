"""Writing ``.dream3d``: the arrays that DREAM.3D, DREAM3D-NX and DAMASK look for, under the names they look for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import NOT_INDEXED, to_euler
from microgen.io import header
from microgen.io.crystal_axes import with_x_along
from microgen.io.grainwise import warn_of_frame

Array = NDArray[Any]

GEOMETRY = "ImageDataContainer"
CELLS, ENSEMBLES = "CellData", "CellEnsembleData"

NAMES = {
    "phase": "Phases",
    "grain": "FeatureIds",
    "orientation": "EulerAngles",
    "quaternion": "Quats",
    "mask": "Mask",
    "confidence_index": "Confidence Index",
    "image_quality": "Image Quality",
    "band_contrast": "BC",
    "band_slope": "BS",
    "mean_angular_deviation_deg": "MAD",
}
"""DREAM.3D's name of a field by ours; all others keep their name."""

STRUCTURES = {
    "6/mmm": 0, "m-3m": 1, "6/m": 2, "m-3": 3, "-1": 4, "2/m": 5, "mmm": 6, "4/m": 7, "4/mmm": 8, "-3": 9, "-3m": 10,
}  # fmt: skip
"""DREAM.3D's number of a Laue group."""

_UNKNOWN = 999
_TYPES = {
    "bool": ("bool", "bool"), "int8": ("int8_t", "int8"), "uint8": ("uint8_t", "uint8"), "int16": ("int16_t", "int16"),
    "uint16": ("uint16_t", "uint16"), "int32": ("int32_t", "int32"), "uint32": ("uint32_t", "uint32"),
    "int64": ("int64_t", "int64"), "uint64": ("uint64_t", "uint64"), "float32": ("float", "float32"),
    "float64": ("double", "float64"),
}  # fmt: skip
_CELL, _ENSEMBLE = 3, 11  # kinds of attribute matrix
_LARGEST_HEADER = 1 << 20
_PIPELINES = {
    "7.0": (2, {"PipelineBuilder": {"Name": "microgen", "Number_Filters": 0, "Version": 6}}),
    "8.0": (3, {"isDisabled": False, "name": "microgen", "pipeline": [], "version": 1, "workflowParameters": []}),
}


def write(
    path: Path,
    structure: Microstructure,
    recipe: Mapping[str, Any] | None,
    *,
    version: Literal["7.0", "8.0"] = "7.0",
) -> None:
    """Write all fields as cell data of one image geometry; the same structure gives the same bytes.

    Parameters
    ----------
    version
        File version. DREAM.3D 6.5, DREAM3D-NX and DAMASK open 7.0; the first of them does not open 8.0.

    Notes
    -----
    A picture becomes a grid of one slice, as thick as a pixel is wide. Number 0 of a phase means "no phase" in
    DREAM.3D: phases that count from 0 are written from 1. Where there is no field ``phase``, all cells get number 1.
    Orientations are written as Euler angles and as quaternions, both in single precision, in the frame they are in, of
    crystals whose x lies along a.
    """
    warn_of_frame(structure)
    structure = with_x_along(structure, "a")
    text = header.dumps(structure, recipe)
    if len(text) > _LARGEST_HEADER:
        raise InputError(f"its header has {len(text)} characters, more than the {_LARGEST_HEADER} a .dream3d holds")
    writer = _Version7 if version == "7.0" else _Version8
    # built in memory: on a full disk the HDF5 library itself would crash
    with h5py.File(path, "w", driver="core", backing_store=False) as file:
        file.attrs["FileVersion"] = np.bytes_(version)
        _put_pipeline(file, version)
        file[header.NAME] = np.bytes_(text)
        layout = writer(file, _cells(structure), _spacing(structure), _origin(structure))
        for name, values in _cell_arrays(structure).items():
            layout.put_cells(name, values)
        for name, ensemble in _ensemble_arrays(structure).items():
            layout.put_ensembles(name, ensemble)
        file.flush()
        content = file.id.get_file_image()
    path.write_bytes(content)


def phase_shift(phases: Sequence[str]) -> int:
    """Return what is added to a phase index so that 0 means "no phase"."""
    return 0 if phases and phases[0] == NOT_INDEXED else 1


Triple = tuple[float, ...]
"""Three numbers ``(z, y, x)``."""


class _Version7:
    """DREAM.3D: the geometry is a group of data sets, dimensions in attributes run (x, y, z)."""

    type_of = 0

    def __init__(
        self, file: h5py.File, cells: Sequence[int], spacing: Sequence[float], origin: Sequence[float]
    ) -> None:
        container = file.create_group(f"DataContainers/{GEOMETRY}")
        geometry = container.create_group("_SIMPL_GEOMETRY")
        about = {"GeometryName": "ImageGeometry", "GeometryTypeName": "ImageGeometry"}
        geometry.attrs.update({name: np.bytes_(text) for name, text in about.items()})
        numbers = {"GeometryType": 0, "SpatialDimensionality": 3, "UnitDimensionality": 3}
        geometry.attrs.update({name: np.array([value], np.uint32) for name, value in numbers.items()})
        geometry["DIMENSIONS"] = np.array(cells[::-1], np.int64)
        geometry["SPACING"] = np.array(spacing[::-1], np.float32)
        geometry["ORIGIN"] = np.array(origin[::-1], np.float32)
        for name in ("DataContainerBundles", "Montages"):
            file.create_group(name)
        self._cells, self._container = tuple(cells), container

    def put_cells(self, name: str, values: Array) -> None:
        """Write an array ``(z, y, x, components)``."""
        self._put(self._matrix(CELLS, _CELL, self._cells), name, values, self._cells)

    def put_ensembles(self, name: str, values: Array | list[str]) -> None:
        """Write an array ``(n, components)`` or texts, one row for each phase."""
        self._put(self._matrix(ENSEMBLES, _ENSEMBLE, (len(values),)), name, values, (len(values),))

    def _matrix(self, name: str, kind: int, tuples: tuple[int, ...]) -> h5py.Group:
        group = self._container.require_group(name)
        group.attrs["AttributeMatrixType"] = np.array([kind], np.uint32)
        group.attrs["TupleDimensions"] = np.array(tuples[::-1], np.uint64)
        return group

    def _put(self, group: h5py.Group, name: str, values: Array | list[str], tuples: tuple[int, ...]) -> None:
        data, kind = _create(group, name, values, self.type_of, "StringDataArray")
        data.attrs["ObjectType"] = np.bytes_(kind)
        data.attrs["TupleDimensions"] = np.array(tuples[::-1], np.uint64)
        data.attrs["ComponentDimensions"] = np.array(data.shape[len(tuples) :] or (1,), np.uint64)
        data.attrs["DataArrayVersion"] = np.array([2], np.int32)
        axes = ",".join(f"{axis}={n}" for axis, n in zip("xyz", tuples[::-1], strict=False))
        data.attrs["Tuple Axis Dimensions"] = np.bytes_(axes)


class _Version8:
    """DREAM3D-NX: the geometry is a group with attributes, every object has a number, dimensions run (z, y, x)."""

    type_of = 1

    def __init__(
        self, file: h5py.File, cells: Sequence[int], spacing: Sequence[float], origin: Sequence[float]
    ) -> None:
        self._structure = file.create_group("DataStructure")
        self._next, self._cells = 1, tuple(cells)
        self._geometry = self._object(self._structure.create_group(GEOMETRY), "ImageGeom")
        self._geometry.attrs["_DIMENSIONS"] = np.array(cells[::-1], np.uint64)
        self._geometry.attrs["_SPACING"] = np.array(spacing[::-1], np.float32)
        self._geometry.attrs["_ORIGIN"] = np.array(origin[::-1], np.float32)

    def put_cells(self, name: str, values: Array) -> None:
        """Write an array ``(z, y, x, components)``."""
        group = self._matrix(CELLS, self._cells)
        self._geometry.attrs["Cell Data ID"] = group.attrs["ObjectId"]
        self._put(group, name, values, self._cells)

    def put_ensembles(self, name: str, values: Array | list[str]) -> None:
        """Write an array ``(n, components)`` or texts, one row for each phase."""
        self._put(self._matrix(ENSEMBLES, (len(values),)), name, values, (len(values),))

    def _object(self, thing: h5py.HLObject, kind: str) -> h5py.HLObject:
        thing.attrs["ObjectType"] = np.bytes_(kind)
        thing.attrs["ObjectId"] = np.uint64(self._next)
        thing.attrs["Importable"] = np.int32(1)
        self._next += 1
        self._structure.attrs["NextObjectId"] = np.uint64(self._next)
        return thing

    def _matrix(self, name: str, tuples: tuple[int, ...]) -> h5py.Group:
        if name in self._geometry:
            return self._geometry[name]
        group = self._object(self._geometry.create_group(name), "AttributeMatrix")
        group.attrs["TupleDims"] = np.array(tuples, np.uint64)
        return group

    def _put(self, group: h5py.Group, name: str, values: Array | list[str], tuples: tuple[int, ...]) -> None:
        data, kind = _create(group, name, values, self.type_of, "StringArray")
        self._object(data, kind)
        data.attrs["TupleDimensions"] = np.array(tuples, np.uint64)
        if kind != "StringArray":
            data.attrs["ComponentDimensions"] = np.array(data.shape[len(tuples) :], np.uint64)


def _create(
    group: h5py.Group, name: str, values: Array | list[str], type_of: int, text_type: str
) -> tuple[h5py.Dataset, str]:
    """Write values and return the data set with DREAM.3D's word for its type."""
    if isinstance(values, list):
        return group.create_dataset(name, data=values, dtype=h5py.string_dtype("utf-8"), track_times=False), text_type
    word = f"DataArray<{_TYPES[values.dtype.name][type_of]}>"
    stored = values.view(np.uint8) if values.dtype.kind == "b" else values
    return group.create_dataset(name, data=stored, track_times=False), word


def _put_pipeline(file: h5py.File, version: str) -> None:
    """Write an empty pipeline; DREAM3D-NX reads none of the rest without one."""
    number, pipeline = _PIPELINES[version]
    group = file.create_group("Pipeline")
    group.attrs["Current Pipeline"] = np.bytes_("Pipeline")
    group.attrs["Pipeline Version"] = np.array([number], np.int32) if version == "7.0" else np.int32(number)
    group["Pipeline"] = np.bytes_(json.dumps(pipeline))


def _cells(structure: Microstructure) -> tuple[int, ...]:
    return (1,) * (3 - structure.ndim) + structure.shape


def _spacing(structure: Microstructure) -> tuple[float, ...]:
    return (structure.spacing[-1],) * (3 - structure.ndim) + structure.spacing


def _origin(structure: Microstructure) -> tuple[float, ...]:
    """Return the origin that a file was read with, (z, y, x)."""
    stated = structure.source.get("origin_um")
    if isinstance(stated, (list, tuple)) and len(stated) == structure.ndim:
        return (0.0,) * (3 - structure.ndim) + tuple(float(v) for v in stated)
    return (0.0, 0.0, 0.0)


def _cell_arrays(structure: Microstructure) -> dict[str, Array]:
    """Return all arrays of cells by DREAM.3D's names, each ``(z, y, x, components)``."""
    fields: dict[str, Array] = {"phase": np.broadcast_to(np.int32(1), structure.shape), **structure.fields}
    if "phase" in structure:
        fields["phase"] = _int32("phase", structure["phase"].astype(np.int64) + phase_shift(structure.phases))
    if "grain" in fields:
        fields["grain"] = _int32("grain", fields["grain"])
    if "mask" in fields:
        fields["mask"] = fields["mask"] > 0
    if "orientation" in fields:
        fields["quaternion"] = _passive(fields["orientation"])
        fields["orientation"] = _euler(fields["orientation"])
    cells = _cells(structure)
    names = {name: NAMES.get(name, name) for name in fields}
    if clash := [n for n in names if names[n] != n and names[n] in fields] or [
        n for n in names if "/" in n or n == "."
    ]:
        raise InputError(f"a field cannot be named {clash[0]!r} in a .dream3d file; rename it")
    return {names[name]: _storable(values).reshape(*cells, -1) for name, values in fields.items()}


def _int32(name: str, values: Array) -> Array:
    if values.max() > np.iinfo(np.int32).max or values.min() < np.iinfo(np.int32).min:
        raise InputError(f"field {name!r} has numbers that do not fit the 32 bits DREAM.3D has for them; renumber it")
    return values.astype(np.int32)


def _storable(values: Array) -> Array:
    native = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
    if native.dtype.name in _TYPES:
        return native
    wider = native.astype(np.float32 if native.dtype.itemsize < 4 else np.float64)
    if not np.array_equal(wider, native):
        raise InputError(
            f"values of type {values.dtype} do not fit a .dream3d file without loss; convert them to float64"
        )
    return wider


def _euler(orientation: Array) -> NDArray[np.float32]:
    """Return Bunge angles in single precision, rounded to no more than a full turn, which DAMASK would refuse."""
    turn = np.array([2 * np.pi, np.pi, 2 * np.pi])
    largest = turn.astype(np.float32)
    largest = np.where(largest > turn, np.nextafter(largest, np.float32(0)), largest)
    return np.minimum(to_euler(orientation).astype(np.float32), largest)


def _passive(orientation: Array) -> NDArray[np.float32]:
    """Return DREAM.3D's quaternions (x, y, z, w), which turn the sample into the crystal: the inverse of ours."""
    w, x, y, z = np.moveaxis(orientation.astype(np.float32), -1, 0)
    return np.stack([-x, -y, -z, w], axis=-1)


def _ensemble_arrays(structure: Microstructure) -> dict[str, Array | list[str]]:
    """Return what is known of each phase, number 0 first, which is none."""
    names = list(structure.phases[1 - phase_shift(structure.phases) :]) if "phase" in structure else []
    largest = int(structure["phase"].max()) + phase_shift(structure.phases) if "phase" in structure else 1
    names += [f"phase {n}" for n in range(len(names) + 1, largest + 1)]
    crystals = [structure.crystals.get(name) for name in names]
    return {
        "CrystalStructures": np.array([[_UNKNOWN], *([_structure(c)] for c in crystals)], np.uint32),
        "LatticeConstants": np.array([[0.0] * 6, *(_lattice(c) for c in crystals)], np.float32),
        "PhaseName": ["Unknown Phase Type", *names],
    }


def _structure(crystal: Crystal | None) -> int:
    return _UNKNOWN if crystal is None else STRUCTURES[crystal.laue]


def _lattice(crystal: Crystal | None) -> list[float]:
    """Return edges in angstrom and angles in degrees; zeros stand for unknown."""
    if crystal is None or crystal.lattice is None:
        return [0.0] * 6
    return [10 * v if k < 3 else v for k, v in enumerate(crystal.lattice)]
