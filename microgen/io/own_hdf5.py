"""microgen's own HDF5 file of one Microstructure: every field, scale, phases, scalars, source and recipe.

The first 512 bytes (the user block, which HDF5 leaves to applications) hold a seal: the SHA-256 of all that follows.
It is checked before the HDF5 library sees the file, because that library hangs or crashes on some damaged files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from microgen.core import InputError, Microstructure
from microgen.core.crystals import crystals_from_json, crystals_to_json
from microgen.core.recipe import RECIPE_KEY
from microgen.io import own
from microgen.io.guard import check_size
from microgen.io.recording import Options, Recording

FORMAT = "microgen-sample"
VERSION = 1
SEAL_BYTES = 512

_SEAL = FORMAT.encode() + b" sha256 "

_STORAGE = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "track_times": False}
_LARGEST_TEXT = 60_000  # bytes; HDF5 keeps an attribute in an object header of 64 KiB


def read(path: Path, options: Options) -> Recording:
    """Read the structure that :func:`write` wrote; damage, links and data outside the file are refused."""
    _check_seal(path)
    with h5py.File(path, "r") as file:
        structure = _read_structure(file, path, options.max_pixels)
        recipe = _text(file, RECIPE_KEY)
    header = own.Own("", "", structure.shape, structure.spacing, (), {}, recipe)
    return Recording(structure=structure, own=header)


def write(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None) -> None:
    """Write all fields, losslessly compressed; the same structure gives the same bytes."""
    # built in memory: on a full disk the HDF5 library itself would crash
    with h5py.File(path, "w", driver="core", backing_store=False, userblock_size=SEAL_BYTES) as file:
        file.attrs.update(format=FORMAT, version=VERSION)
        _set_text(file, own.SPACING_KEY, list(structure.spacing))
        _set_text(file, "microgen:phases", list(structure.phases))
        _set_text(file, "microgen:scalars", dict(structure.scalars))
        if structure.crystals:
            _set_text(file, "microgen:crystals", crystals_to_json(structure.crystals))
        _set_text(file, "microgen:source", dict(structure.source))
        _set_text(file, "microgen:fields", list(structure.fields))  # HDF5 itself lists names by alphabet
        if recipe is not None:
            _set_text(file, RECIPE_KEY, dict(recipe))
        for name, values in structure.fields.items():
            file.create_dataset(f"fields/{name}", data=values, **_STORAGE)
        file.flush()
        content = file.id.get_file_image()
    seal = _SEAL + hashlib.sha256(content).hexdigest().encode()
    path.write_bytes(seal.ljust(SEAL_BYTES, b"\0") + content)


def _read_structure(file: h5py.File, path: Path, max_pixels: int) -> Microstructure:
    version = int(file.attrs.get("version", 0))
    if version > VERSION:
        raise InputError(f"{path} was written by a newer microgen (format {version}); update microgen")
    if not isinstance(file.get("fields", getlink=True), h5py.HardLink):
        raise InputError(f"{path} has no fields of its own")
    names = _text(file, "microgen:fields")
    fields = {name: _read_dataset(file["fields"], name, path, max_pixels) for name in names}
    phases, scalars, source = (_text(file, f"microgen:{key}") for key in ("phases", "scalars", "source"))
    crystals = crystals_from_json(_text(file, "microgen:crystals"))
    return Microstructure(fields, tuple(_text(file, own.SPACING_KEY)), tuple(phases), scalars, source, crystals)


def read_own(path: Path) -> dict[str, Any]:
    """Header texts of the file."""
    _check_seal(path)
    with h5py.File(path, "r") as file:
        recipe = _text(file, RECIPE_KEY)
    return {} if recipe is None else {RECIPE_KEY: recipe}


def recognises(path: Path) -> bool:
    """True for a file of samples, False for other HDF5 (data sets, foreign files)."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_SEAL)) == _SEAL
    except OSError:
        return False


def _seal(path: Path) -> bytes:
    with path.open("rb") as stream:
        stream.seek(SEAL_BYTES)
        return _SEAL + hashlib.file_digest(stream, "sha256").hexdigest().encode()


def _check_seal(path: Path) -> None:
    seal = _seal(path)
    with path.open("rb") as stream:
        found = stream.read(len(seal))
    if found[: len(_SEAL)] != _SEAL:
        raise InputError(f"{path} is not a sample that microgen wrote")
    if found != seal:
        raise InputError(f"{path} is damaged: its content does not match its checksum; make or copy it again")


def _read_dataset(folder: h5py.Group, name: str, path: Path, max_pixels: int) -> np.ndarray[Any, np.dtype[Any]]:
    if not isinstance(folder.get(name, getlink=True), h5py.HardLink):
        raise InputError(
            f"{path} has a link instead of the field {name!r}; only files that hold their own data are read"
        )
    dataset = folder[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise InputError(
            f"{path} keeps the field {name!r} in another file; only files that hold their own data are read"
        )
    check_size(path, dataset.size, dataset.nbytes, max_pixels)
    return np.asarray(dataset[()])


def _set_text(group: h5py.Group, key: str, value: Any) -> None:
    text = own.dumps(value)
    if len(text) > _LARGEST_TEXT:
        raise InputError(f"{key} has {len(text)} characters, more than the {_LARGEST_TEXT} an HDF5 attribute holds")
    group.attrs[key] = text


def _text(group: h5py.Group, key: str) -> Any:
    value = group.attrs.get(key)
    return None if value is None else json.loads(value)
