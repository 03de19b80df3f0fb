"""Bare numbers without a header (``.raw``, ``.bin``), as tomographs and ImageJ export them; read only.

Nothing in such a file says what it holds: grid and type come from the user, and the size of the file must agree.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from microgen.core import InputError
from microgen.io.recording import Options, Recording

EXTENSIONS = (".raw", ".bin")


def read(path: Path, options: Options) -> Recording:
    """Read ``raw_shape`` numbers of type ``raw_dtype``, x fastest; big-endian types are written ``">u2"``.

    A grid of three numbers ``(Z, Y, X)`` is a volume (or pictures with ``volume=False``), of two a picture.
    """
    size = path.stat().st_size
    if options.raw_shape is None or options.raw_dtype is None:
        raise InputError(
            f"is {size} bare bytes; say what they are: --raw-shape ZxYxX --raw-dtype uint8, or in Python "
            "read(path, raw_shape=(z, y, x), raw_dtype='uint8')"
        )
    dtype, shape = _dtype(options.raw_dtype), options.raw_shape
    if size != math.prod(shape) * dtype.itemsize:
        raise InputError(_mismatch(size, shape, dtype))
    values = np.fromfile(path, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    depth = 1 if dtype.kind == "b" else 8 * dtype.itemsize
    if len(shape) == 3 and options.volume is not False:
        return Recording((values,), "volume", depth)
    return Recording(tuple(values) if len(shape) == 3 else (values,), "picture", depth)


def recognises(path: Path) -> bool:
    """False: among other files nothing marks one as a picture, so it has to be named."""
    return False


def _dtype(text: str) -> np.dtype[np.generic]:
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None or dtype.kind not in "buif" or dtype.itemsize > 8 or dtype.shape:
        raise InputError(
            f"raw_dtype is a type of numbers such as uint8, >u2 (big-endian), int16, float32; got {text!r}"
        )
    return dtype


def _mismatch(size: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> str:
    wanted = math.prod(shape) * dtype.itemsize
    grid = " x ".join(map(str, shape))
    say = f"has {size} bytes, and {grid} values of {dtype.name} are {wanted} bytes ({size - wanted:+d})"
    return f"{say}; {_fitting(size, shape, dtype)}"


def _fitting(size: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> str:
    """Say which nearby readings of the file would fit: another number of slices or rows, or another type."""
    row = math.prod(shape[1:])
    others: list[str] = []
    if size and size % (row * dtype.itemsize) == 0:
        grid = " x ".join(map(str, (size // (row * dtype.itemsize), *shape[1:])))
        others.append(f"{grid} values of {dtype.name}")
    count = math.prod(shape)
    if size and size % count == 0 and size // count in (1, 2, 4, 8):
        grid = " x ".join(map(str, shape))
        others.append(f"{grid} values of {8 * (size // count)} bits")
    if wanted := count * dtype.itemsize:
        others += [f"a header of {size - wanted} bytes before the values"] if 0 < size - wanted < row else []
    return f"what would fit: {', or '.join(others)}" if others else "no grid with this slice fits; check its numbers"
