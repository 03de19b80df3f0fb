"""What a walk through a latent space leaves in its folder: frames, and one HDF5 file with all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from microgen import io
from microgen.core import Condition, InputError, Microstructure
from microgen.core.files import write_bytes, write_whole
from microgen.core.recipe import RECIPE_KEY, recipe
from microgen.generate.lines import Line

MANIFEST = "manifest.json"
FORMAT = "microgen-path"
_STORAGE = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "track_times": False}


def claim(out: Path, settings: Mapping[str, Any], command: str) -> None:
    """Write down what a folder is for, or check that it is for the same.

    Raises
    ------
    InputError
        If the folder holds something made with other settings; the message names the first difference.
    """
    wanted = {"format": FORMAT, "version": 1, "command": command, **settings}
    text = (json.dumps(wanted, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    if write_bytes(out / MANIFEST, text, exclusive=True):
        return
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    found = found if isinstance(found, dict) else {}
    for key in wanted:
        if found.get(key) != json.loads(json.dumps(wanted[key])):
            raise InputError(
                f"{out} holds something made with another {key.replace('_', ' ')}; give the same settings again or "
                "choose another folder"
            )


def frame_recipe(structure: Mapping[str, Any], origin: Mapping[str, Any], model_path: str) -> dict[str, Any]:
    """Return the recipe of a frame; `structure` is what :meth:`Request.to_dict` and the model hash say about it."""
    return recipe("interpolate", model=model_path, latent=dict(origin), **structure)


def kept(path: Path, expected: Mapping[str, Any]) -> Microstructure | None:
    """Return a frame that is there already, None where it is not.

    Raises
    ------
    InputError
        If another file is in the way.
    """
    if not path.exists():
        return None
    message = f"{path} was not made with these settings; move it away or choose another folder"
    try:
        found = io.read(path, max_pixels=2**62)[0]
    except InputError as error:
        raise InputError(message) from error
    if found.source.get("recipe") != json.loads(json.dumps(expected)):
        raise InputError(message)
    return found


def write_path(
    path: Path,
    frames: Sequence[Sequence[Microstructure]],
    points: Sequence[tuple[Mapping[str, Tensor], Sequence[Condition]]],
    *,
    field: str,
    numbers: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    """Write all frames of all rows with their latents and conditions as one HDF5 file; same input, same bytes.

    ``frames/FIELD`` is ``(rows, frames, *S)`` with its spacing in micrometres, ``latents/PART`` and
    ``conditions/NAME`` begin with the same two axes; `numbers` are further arrays by name.
    """

    _write_hdf5(path, lambda file: _fill(file, frames, points, field=field, numbers=numbers, about=about))


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name as one HDF5 file, the same input as the same bytes."""

    def fill(file: h5py.File) -> None:
        for name, values in arrays.items():
            file.create_dataset(name, data=np.asarray(values), **_STORAGE)

    _write_hdf5(path, fill)


def _write_hdf5(path: Path, fill: Callable[[h5py.File], None]) -> None:
    def write(temporary: Path) -> None:
        # built in memory: on a full disk the HDF5 library itself would crash
        with h5py.File(temporary, "w", driver="core", backing_store=False) as file:
            fill(file)
            file.flush()
            content = file.id.get_file_image()
        temporary.write_bytes(content)

    write_whole(path, write)


def _fill(
    file: h5py.File,
    frames: Sequence[Sequence[Microstructure]],
    points: Sequence[tuple[Mapping[str, Tensor], Sequence[Condition]]],
    *,
    field: str,
    numbers: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    first = frames[0][0]
    file.attrs.update({"format": FORMAT, "version": 1, RECIPE_KEY: json.dumps(about, allow_nan=False)})
    stack = file.create_dataset(
        f"frames/{field}", data=np.stack([[f[field] for f in row] for row in frames]), **_STORAGE
    )
    stack.attrs.update({"spacing_um": list(first.spacing), "axes": "row, frame, " + ", ".join("zyx"[-first.ndim :])})
    for name in points[0][0]:
        parts = np.stack([latents[name].cpu().numpy() for latents, _ in points])
        file.create_dataset(f"latents/{name}", data=parts, **_STORAGE)
    for name in points[0][1][0].scalars:
        file.create_dataset(f"conditions/{name}", data=_scalars(points, name), **_STORAGE)
    for name, values in numbers.items():
        file.create_dataset(name, data=np.asarray(values, np.float64), **_STORAGE)


def _scalars(points: Sequence[tuple[Mapping[str, Tensor], Sequence[Condition]]], name: str) -> NDArray[Any]:
    values = [[c.scalars[name] for c in conditions] for _, conditions in points]
    return np.array(values, "S" if isinstance(values[0][0], str) else np.float64)


def origin_of(line: Line, place: float, *, row: int, frame: int, file: str) -> dict[str, Any]:
    """Return how the latent of a frame is found again."""
    return line.origin(place) if line.origin else {"file": file, "row": row, "frame": frame}
