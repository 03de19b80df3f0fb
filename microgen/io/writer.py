"""Writing a Microstructure to any supported format, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microgen.core import InputError, Microstructure, files
from microgen.io import hdf5, npy
from microgen.io.formats import format_of


def write(
    path: Path | str,
    microstructure: Microstructure,
    recipe: Mapping[str, Any] | None = None,
    *,
    field: str | None = None,
    exclusive: bool = False,
) -> bool:
    """Write a Microstructure in the format of the file name; the same input gives the same bytes.

    Parameters
    ----------
    path
        ``.h5`` keeps every field. ``.ang`` and ``.ctf`` hold EBSD maps. ``.png`` (8 and 16 bits), ``.tif`` and
        ``.npy`` hold one field, by default ``intensity`` or the only one. Values are never rescaled.
    recipe
        How it was made, see :func:`microgen.core.recipe.recipe`; it travels in the file.
    field
        Write this field only.
    exclusive
        Keep a file that is already there: of several writers exactly one wins.

    Returns
    -------
    bool
        False where `exclusive` found the file already there, else True.

    Raises
    ------
    InputError
        If the format cannot hold the values exactly.
    StorageError
        If the disk is full or the folder cannot be written.
    """
    path = Path(path)
    module = format_of(path, writing=True)
    holds_all = module is hdf5 or getattr(module, "WHOLE", False)
    one = microstructure if holds_all and field is None else _only_field(microstructure, field)
    if module is npy:
        if exclusive and path.exists():
            return False
        npy.write_sidecar(path, one, recipe)
    return files.write_whole(path, lambda temporary: module.write(temporary, one, recipe), exclusive=exclusive)


def _only_field(structure: Microstructure, name: str | None) -> Microstructure:
    if name is None:
        name = "intensity" if "intensity" in structure else next(iter(structure.fields))
        if name != "intensity" and len(structure.fields) > 1:
            raise InputError(f"this format holds one field of {', '.join(structure.fields)}; name it, or write .h5")
    return structure.replace(fields={name: structure[name]})
