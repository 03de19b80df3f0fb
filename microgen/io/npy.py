"""NumPy ``.npy`` arrays; ours carry scale and recipe in a JSON file beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from microgen.core import InputError, Microstructure, files
from microgen.io import own
from microgen.io.recording import Options, Recording

EXTENSIONS = (".npy",)

_HASH_KEY = "sha256"


def read(path: Path, options: Options) -> Recording:
    """Read a 2-D array as a picture, a 3-D array as a volume ``(Z, Y, X)`` or, on request, a stack of pictures."""
    values = _load(path)
    if values.ndim not in (2, 3) or values.dtype.kind not in "buif":
        raise InputError(f"holds {values.dtype} of shape {values.shape}; a 2-D or 3-D array of numbers is needed")
    header = own.parse(_sidecar(path), values.shape)
    if values.ndim == 3 and header is None and options.volume is None and values.shape[2] in (3, 4):
        raise InputError(
            f"has shape {values.shape}, a colour picture or a thin volume; "
            "pass --volume (volume=True) if it is a volume, else save one channel"
        )
    depth = 1 if values.dtype.kind == "b" else 8 * values.dtype.itemsize
    if values.ndim == 3 and options.volume is not False:
        return Recording((values,), "volume", depth, own=header)
    return Recording(tuple(values) if values.ndim == 3 else (values,), "picture", depth, own=header)


def write(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None) -> None:
    """Write the only field as it is."""
    np.save(path, next(iter(structure.fields.values())), allow_pickle=False)


def companion(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None, digest: str) -> bytes:
    """Return what stands beside an array: scale, phases and recipe, bound to the array by its SHA-256."""
    header = {_HASH_KEY: digest, **own.texts(structure, recipe)}
    text = json.dumps(header, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode()


def beside(path: Path) -> Path:
    """File beside an array that holds its header."""
    return path.with_name(path.name + ".json")


def read_own(path: Path) -> dict[str, Any]:
    """Header texts that microgen wrote beside the array."""
    return _sidecar(path)


def _load(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """Read the array after checking that the file has just the bytes its header promises."""
    with path.open("rb") as stream:
        version = npy_format.read_magic(stream)
        header = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}[version]
        shape, fortran, dtype = header(stream)
        count = int(np.prod(shape, dtype=object))
        if dtype.hasobject or count == 0:
            raise InputError("holds Python objects or nothing; save a plain array of numbers")
        if path.stat().st_size - stream.tell() != count * dtype.itemsize:
            raise InputError("is truncated or has data after its end")
        flat = np.frombuffer(stream.read(), dtype=dtype)
    values = flat.reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(values).astype(dtype.newbyteorder("="))


def _sidecar(path: Path) -> dict[str, Any]:
    sidecar = beside(path)
    if not sidecar.is_file():
        return {}
    header = json.loads(sidecar.read_text(encoding="utf-8"))
    if not isinstance(header, dict) or own.FIELD_KEY not in header:
        return {}
    if header.get(_HASH_KEY) != files.sha256(path):
        raise InputError(f"was changed after {sidecar.name} was written; delete that file or write both again")
    return header
