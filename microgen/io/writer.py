"""Writing a Microstructure to any supported format, whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from microgen.core import InputError, Microstructure, files
from microgen.io.formats import extension_of, format_of


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
        ``.h5`` and ``.vti`` keep every field. ``.ang``, ``.ctf`` and ``.dream3d`` hold EBSD maps; ``.damask.vti``,
        ``.inp`` and ``.tesr`` grains for simulation. ``.png`` (8 and 16 bits), ``.tif``, ``.ome.tif`` and ``.npy``
        hold one field, by default ``intensity`` or the only one. Values are never rescaled. See docs/export.md.
    recipe
        How it was made, see :func:`microgen.core.recipe.recipe`; it travels in the file, as does ``source``, but
        without the folders of the file it names.
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
    microstructure = microstructure.replace(source=_without_folders(microstructure.source))
    one = microstructure if holds_many(module) and field is None else _only_field(microstructure, field)
    has_companion = hasattr(module, "companion")
    if exclusive and has_companion and path.exists():
        return False

    def fill(temporary: Path) -> None:
        """Write the file, and what belongs beside it before its name appears."""
        module.write(temporary, one, recipe)
        if has_companion:
            content = module.companion(path, one, recipe, files.sha256(temporary))
            files.write_bytes(module.beside(path), content)

    written = files.write_whole(path, fill, exclusive=exclusive)
    if lost := [name for name in one.fields if name not in getattr(module, "HOLDS", one.fields)]:
        warnings.warn(f"{extension_of(path)} has no place for the fields {', '.join(lost)}", UserWarning, stacklevel=2)
    return written


def left_out(path: Path | str, microstructure: Microstructure, *, field: str | None = None) -> list[str]:
    """Return the names of the fields that a file of this name would not hold.

    >>> import numpy as np
    >>> m = Microstructure({"phase": np.zeros((4, 4), int), "grain": np.ones((4, 4), int)}, (1, 1))
    >>> left_out("steel.vti", m), left_out("steel.png", m, field="grain")
    ([], ['phase'])
    """
    module = format_of(Path(path), writing=True)
    if field is not None or not holds_many(module):
        kept = set(_only_field(microstructure, field).fields)
    else:
        kept = set(getattr(module, "HOLDS", None) or microstructure.fields)
    return [name for name in microstructure.fields if name not in kept]


def holds_many(module: ModuleType) -> bool:
    """True for formats that keep several fields; the others keep one."""
    return bool(getattr(module, "WHOLE", False))


def _without_folders(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a structure comes from without the folders of this machine: name and hash of the file remain.

    >>> _without_folders({"file": "/home/me/steel.png", "warnings": ["/home/me/steel.png: no scale"], "sha256": "1f"})
    {'file': 'steel.png', 'warnings': ['steel.png: no scale'], 'sha256': '1f'}
    """
    made, file = dict(source), source.get("file")
    if isinstance(file, str):
        made["file"] = Path(file).name
        if "warnings" in made:
            made["warnings"] = [text.replace(file, made["file"]) for text in made["warnings"]]
    if isinstance(made.get("source"), Mapping):
        made["source"] = _without_folders(made["source"])
    return made


def _only_field(structure: Microstructure, name: str | None) -> Microstructure:
    if name is None:
        name = "intensity" if "intensity" in structure else next(iter(structure.fields))
        if name != "intensity" and len(structure.fields) > 1:
            names = ", ".join(structure.fields)
            raise InputError(f"this format holds one field of {names}; name it (--field NAME), or write .h5")
    return structure.replace(fields={name: structure[name]})
