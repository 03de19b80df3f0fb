"""``.h5`` and ``.hdf5``: microgen's own samples, and what other programs keep in HDF5, told apart by content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from microgen.core import InputError
from microgen.io import bruker_hdf5, dream3d, edax_hdf5, h5oina, hdf5_array, own_hdf5, sandbox
from microgen.io.recording import Options, Recording

EXTENSIONS = (".h5", ".hdf5")
WHOLE = True

DATASET = "microgen-dataset"
"""What a data set file of microgen says it is."""

_FOREIGN = {"dream3d": dream3d, "h5oina": h5oina, "edax": edax_hdf5, "bruker": bruker_hdf5, "array": hdf5_array}

write = own_hdf5.write


def kind(path: Path) -> str:
    """Return what an HDF5 file is: ``own``, ``dataset``, ``dream3d``, ``h5oina``, ``edax``, ``bruker``, else ``array``.

    Raises
    ------
    InputError
        If it is no HDF5 file or damaged.
    """
    if own_hdf5.recognises(path):
        return "own"
    with sandbox.opened(path) as file:
        return _kind(file)


def read(path: Path, options: Options) -> Recording:
    """Read a sample of microgen, an EBSD map or volume, or any single array, see :mod:`microgen.io.hdf5_array`."""
    if own_hdf5.recognises(path):
        return own_hdf5.read(path, options)
    with sandbox.opened(path, options.max_pixels) as file:
        found = _kind(file)
        if found in ("own", "dataset"):
            raise InputError(_REFUSALS[found].format(path=path))
        recording: Recording = _FOREIGN[found].read_open(file, options)
        return recording


def read_own(path: Path) -> dict[str, Any]:
    """Header texts of a sample; empty for files of other programs."""
    if own_hdf5.recognises(path):
        return own_hdf5.read_own(path)
    if kind(path) == "own":
        raise InputError(_REFUSALS["own"].format(path=path))
    return {}


def recognises(path: Path) -> bool:
    """True for samples and files of known instruments, False for data sets and arrays that need a name."""
    try:
        return kind(path) not in ("dataset", "array")
    except (InputError, OSError):
        return False


_REFUSALS = {
    "own": "{path} is a sample of microgen whose seal is damaged; make or copy it again",
    "dataset": "{path} is a data set of microgen, no picture or sample; pass it where a command asks for DATA",
}


def _kind(file: sandbox.Hdf5) -> str:
    attrs, names = file.root()
    said = {own_hdf5.FORMAT: "own", DATASET: "dataset"}.get(str(attrs.get("format")))
    if said:
        return said
    return next(name for name, module in _FOREIGN.items() if module.is_mine(attrs, names, file))
