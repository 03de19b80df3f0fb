"""Any array of numbers in any HDF5 file: the only one that can be a picture or volume, or the one asked for by path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io.pixel_size import PixelSize
from microgen.io.recording import Options, Recording
from microgen.io.sandbox import Entry, Hdf5

Array = NDArray[Any]

_SMALLEST = 8  # points along each axis of an array that is taken without being named
_MOST_NAMED = 20  # arrays listed in a message


def is_mine(attrs: Mapping[str, Any], names: Sequence[str], file: Hdf5) -> bool:
    """True for every file: this is the format of last resort."""
    return True


def read_open(file: Hdf5, options: Options) -> Recording:
    """Read the array that `options.dataset` names, or the only one that can be a picture or volume.

    Raises
    ------
    InputError
        If there is no such array, or if there are several and none is named.
    """
    path = chosen(file, options.dataset)
    return as_recording(file.path, path, file.array(path), options)


def names_array(file: Hdf5, dataset: str | None) -> bool:
    """True where the caller asks for one data set, rather than for a group of them or for nothing."""
    return dataset is not None and _absolute(dataset) in file.objects and not _is_group(file, _absolute(dataset))


def chosen(file: Hdf5, dataset: str | None) -> str:
    """Return the path of the array to read."""
    plausible = {path: entry for path, entry in file.objects.items() if _is_plausible(entry)}
    if dataset is not None:
        path = _absolute(dataset)
        if path not in file.objects or _is_group(file, path):
            raise InputError(f"{file.path} has no data set {dataset!r}; {_list(plausible)}")
        return path
    if len(plausible) != 1:
        raise InputError(
            f"{file.path}: {_list(plausible)}"
            + ("; pass --dataset PATH (in Python read(path, dataset=...))" * bool(plausible))
        )
    return next(iter(plausible))


def as_recording(path: Any, name: str, values: Array, options: Options, sizes: tuple[PixelSize, ...] = ()) -> Recording:
    """Take a 2-D array as a picture and a 3-D one as a volume, or as colours or a stack of pictures.

    Axes of length 1 at the end count for nothing.
    """
    voxels = values.ndim == 4 and values.shape[-1] == 1 and values.shape[-2] > 1  # no colour has a further axis
    while values.ndim > 2 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or values.size == 0:
        raise InputError(f"{path}: {name} has the shape {values.shape}; a 2-D or 3-D array is needed")
    depth = 1 if values.dtype.kind == "b" else 8 * values.dtype.itemsize
    if values.ndim == 2:
        return Recording((values,), "picture", depth, sizes)
    if options.volume is None and values.shape[2] in (3, 4) and not voxels:
        if values.dtype == np.uint8 and values.shape[2] == 3:
            return Recording((values,), "picture", depth, sizes)
        raise InputError(
            f"{path}: {name} has the shape {values.shape}, a colour picture or a thin volume; "
            "pass --volume (volume=True) if it is a volume"
        )
    if options.volume is False:
        return Recording(tuple(values), "picture", depth, sizes)
    return Recording((values,), "volume", depth, sizes)


def _is_plausible(entry: Entry) -> bool:
    if not entry.is_numbers or entry.shape is None:
        return False
    shape = entry.shape
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 3 and shape[-1] in (3, 4):
        shape = shape[:2]
    return len(shape) in (2, 3) and min(shape) >= _SMALLEST


def _is_group(file: Hdf5, path: str) -> bool:
    return file.objects[path].kind == "group"


def _absolute(dataset: str) -> str:
    return "/" + dataset.strip("/")


def _list(plausible: Mapping[str, Entry]) -> str:
    if not plausible:
        return "it holds no array of numbers that could be a picture or volume"
    named = [f"{path[1:]} {' x '.join(map(str, e.shape or ()))} {e.dtype}" for path, e in plausible.items()]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"it holds {len(named)} arrays: {'; '.join(named[:_MOST_NAMED])}{more}"
