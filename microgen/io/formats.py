"""The table of formats: one module each, found by file extension."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from microgen.core import InputError
from microgen.io import (
    abaqus,
    ang,
    bmp,
    cpr,
    ctf,
    damask,
    dream3d,
    edax_hdf5,
    h5oina,
    hdf5,
    jpeg,
    npy,
    ome,
    png,
    raw,
    tesr,
    text_matrix,
    tiff,
    vtk_legacy,
    vtk_xml,
)

_MODULES = (
    png, jpeg, bmp, tiff, ome, npy, hdf5, ang, ctf, cpr, h5oina, edax_hdf5, dream3d,
    raw, text_matrix, vtk_xml, vtk_legacy, damask, abaqus, tesr,
)  # fmt: skip

FORMATS: dict[str, ModuleType] = {extension: module for module in _MODULES for extension in module.EXTENSIONS}
"""Format module by lower-case extension with its dot; ``.ome.tif`` and the like have two."""

READABLE = tuple(extension for extension, module in FORMATS.items() if hasattr(module, "read"))
"""Extensions of files that can be read; the others can only be written."""


def extension_of(path: Path) -> str:
    """Return the extension by which a file is known, of two parts where there is such a format.

    >>> extension_of(Path("steel.OME.tif")), extension_of(Path("steel.v2.tif"))
    ('.ome.tif', '.tif')
    """
    double = "".join(path.suffixes[-2:]).lower()
    return double if double in FORMATS else path.suffix.lower()


def format_of(path: Path, *, writing: bool = False) -> ModuleType:
    """Return the module for a file name, or say which extensions there are."""
    module = FORMATS.get(extension_of(path))
    needed = "write" if writing else "read"
    if module is None or not hasattr(module, needed):
        known = [extension for extension, other in FORMATS.items() if hasattr(other, needed)]
        verb = "written" if writing else "read"
        raise InputError(
            f"{path}: files named {path.suffix or 'without extension'} are not {verb}; known are {', '.join(known)}"
        )
    return module
