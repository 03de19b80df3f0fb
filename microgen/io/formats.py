"""The table of formats: one module each, found by file extension."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from microgen.core import InputError
from microgen.io import ang, bmp, cpr, ctf, hdf5, jpeg, npy, png, tiff

FORMATS: dict[str, ModuleType] = {
    extension: module for module in (png, jpeg, bmp, tiff, npy, hdf5, ang, ctf, cpr) for extension in module.EXTENSIONS
}
"""Format module by lower-case extension with its dot."""


def format_of(path: Path, *, writing: bool = False) -> ModuleType:
    """Return the module for a file name, or say which extensions there are."""
    module = FORMATS.get(path.suffix.lower())
    if module is None or (writing and not hasattr(module, "write")):
        known = [e for e, m in FORMATS.items() if not writing or hasattr(m, "write")]
        verb = "written" if writing else "read"
        raise InputError(
            f"{path}: files named {path.suffix or 'without extension'} are not {verb}; known are {', '.join(known)}"
        )
    return module
