"""What the HDF5 files of EDAX and Bruker share: a group ``EBSD`` for each scan, with ``Data`` and ``Header``.

References
----------
Jackson et al., Integr. Mater. Manuf. Innov. 3 (2014) 44, doi:10.1186/2193-9772-3-4.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from microgen.core import InputError
from microgen.io.sandbox import Hdf5


def maker(file: Hdf5, names: Sequence[str]) -> str:
    """Return who signed as manufacturer; in some versions that name begins with a blank."""
    signed = [file.text(f"/{name}") for name in names if name.strip() == "Manufacturer"]
    return next((text for text in signed if text), "")


def scan(file: Hdf5, dataset: str | None, columns: Collection[str]) -> str:
    """Return the path of the group ``EBSD`` to read: the only one that has these columns, or the one asked for.

    Raises
    ------
    InputError
        If there is none, or if there are several and none is named.
    """
    found = [p for p in file.objects if p.endswith("/EBSD") and _has(file, p, columns)]
    if dataset is not None:
        asked = "/" + dataset.strip("/")
        named = [p for p in found if p == asked or p.startswith(asked + "/")]
        if len(named) == 1:
            return named[0]
        raise InputError(f"{file.path} has no map or array {dataset!r}; {_list(file, found)}")
    if len(found) != 1:
        raise InputError(f"{file.path}: {_list(file, found)}; pass --dataset NAME (in Python read(path, dataset=...))")
    return found[0]


def _has(file: Hdf5, scan: str, columns: Collection[str]) -> bool:
    return {f"{scan}/Data/{name}" for name in columns} <= file.objects.keys()


def _list(file: Hdf5, scans: Sequence[str]) -> str:
    maps = [p[1:].removesuffix("/EBSD") for p in scans] or ["no map that can be read"]
    images = [p[1:] for p, e in file.objects.items() if p.endswith(" Image") and e.is_numbers]
    return f"it holds {', '.join(maps[:20])}" + (f" and the images {', '.join(images[:20])}" if images else "")
