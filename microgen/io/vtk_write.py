"""Writing VTK ImageData: cell data in zlib blocks, appended as base64, so that the file is valid XML."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io.vtk_arrays import TYPES

_BLOCK = 1 << 18  # bytes
_NAMES = {numpy_type: name for name, numpy_type in TYPES.items()}


def image(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    texts: Mapping[str, str],
) -> None:
    """Write arrays on the cells of an image.

    Parameters
    ----------
    arrays
        By name, each ``(Y, X)`` or ``(Z, Y, X)``, plus an axis of components.
    shape
        The grid; a grid ``(Y, X)`` is flat in z.
    spacing
        In VTK's order, ``(x, y)`` or ``(x, y, z)``.
    texts
        Strings in the field data, by name.
    """
    stored = {name: _storable(name, values) for name, values in arrays.items()}
    packed = [_packed(values) for values in stored.values()]
    offsets = np.cumsum([0, *map(len, packed)]).tolist()
    cells = [*shape[::-1], *[0] * (3 - len(shape))]
    steps = [*spacing, *[spacing[0]] * (3 - len(shape))]
    extent = " ".join(f"0 {n}" for n in cells)
    rows = [
        '<?xml version="1.0"?>',
        '<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64"'
        ' compressor="vtkZLibDataCompressor">',
        f'<ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="{" ".join(map(repr, steps))}">',
        "<FieldData>",
        *(_string(name, text) for name, text in texts.items()),
        "</FieldData>",
        f'<Piece Extent="{extent}">',
        f'<CellData Scalars="{escape(next(iter(stored)))}">',
        *(_element(n, v, len(shape), start) for (n, v), start in zip(stored.items(), offsets, strict=False)),
        "</CellData>",
        "</Piece>",
        "</ImageData>",
        '<AppendedData encoding="base64">',
    ]
    with path.open("wb") as stream:
        stream.write(("\n".join(rows) + "\n_").encode())
        stream.writelines(packed)
        stream.write(b"\n</AppendedData>\n</VTKFile>\n")


def _storable(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return values in a type VTK has: truth as bytes, half precision as single."""
    if any(ord(letter) < 32 for letter in name):
        raise InputError(f"field {name!r}: VTK has no control characters in names; rename it")
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    elif values.dtype.kind == "f" and values.dtype.itemsize < 4:
        values = values.astype(np.float32)
    if f"{values.dtype.kind}{values.dtype.itemsize}" not in _NAMES:
        raise InputError(f"field {name!r} holds {values.dtype}, which VTK has not; write .h5")
    return np.ascontiguousarray(values)


def _packed(values: NDArray[Any]) -> bytes:
    """Return base64 text of the sizes of all blocks, then of the blocks."""
    data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    blocks = [zlib.compress(data[start : start + _BLOCK]) for start in range(0, len(data), _BLOCK)]
    sizes = np.array([len(blocks), _BLOCK, len(data) % _BLOCK, *map(len, blocks)], dtype="<u8")
    return base64.b64encode(sizes.tobytes()) + base64.b64encode(b"".join(blocks))


def _string(name: str, text: str) -> str:
    """VTK keeps a string as the codes of its bytes, ended by 0."""
    codes = " ".join(map(str, [*text.encode(), 0]))
    return f'<Array type="String" Name="{escape(name)}" NumberOfTuples="1" format="ascii">\n{codes}\n</Array>'


def _element(name: str, values: NDArray[Any], ndim: int, offset: int) -> str:
    components = values.shape[-1] if values.ndim > ndim else 1
    kind = _NAMES[f"{values.dtype.kind}{values.dtype.itemsize}"]
    labels = (
        "".join(f' ComponentName{i}="{letter}"' for i, letter in enumerate("wxyz")) if name == "orientation" else ""
    )
    return (
        f'<DataArray type="{kind}" Name="{escape(name)}" '
        f'NumberOfComponents="{components}"{labels} format="appended" offset="{offset}"/>'
    )
