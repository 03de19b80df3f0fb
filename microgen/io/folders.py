"""From files and folders to the list of files that can be read."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from microgen.core import InputError
from microgen.io import hdf5, sidecars
from microgen.io.formats import FORMATS, READABLE

OWN = frozenset({"manifest.json"})
"""Files that microgen itself puts beside pictures; they are no strays."""
_NAMED = "arrays inside HDF5 files are read where the file ({path}) is given by name, of several the --dataset PATH"


def find_inputs(paths: Iterable[Path | str]) -> list[Path]:
    """Return the readable files among files and folders (searched with their subfolders).

    Order is natural (``img2`` before ``img10``) within each folder given; nothing appears twice. Hidden files
    are passed over, other files that cannot be read are named in one :class:`UserWarning`.

    Raises
    ------
    InputError
        For a path that is absent, a file of unknown kind given by name, or a folder with nothing to read.

    See Also
    --------
    scan_inputs : The same with the files left out as a list instead of a warning.
    """
    found, stray = scan_inputs(paths)
    if stray:
        warnings.warn(left_out_text(stray), UserWarning, stacklevel=2)
    return found


def left_out_text(stray: Sequence[Path]) -> str:
    """Say which files of folders were left out, and what to do about arrays in HDF5 files."""
    names = ", ".join(path.name for path in stray[:5]) + (" ..." if len(stray) > 5 else "")
    text = f"{len(stray)} files cannot be read and were left out: {names}"
    arrays = next((path for path in stray if _holds_arrays(path)), None)
    return text + (f"; {_NAMED.format(path=arrays.name)}" if arrays else "")


def scan_inputs(paths: Iterable[Path | str]) -> tuple[list[Path], list[Path]]:
    """Return readable files, and files left out; see :func:`find_inputs`."""
    found: dict[Path, Path] = {}
    stray: list[Path] = []
    for path in map(Path, paths):
        readable, left = _scan_folder(path) if path.is_dir() else ([_checked_file(path)], [])
        stray += left
        for file in readable:
            found.setdefault(file.resolve(), file)
    if not found:
        raise InputError("no input files were given")
    return list(found.values()), stray


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sorting key in which numbers count as numbers.

    >>> sorted(["img10.png", "Img2.png"], key=lambda name: natural_key(Path(name)))
    ['Img2.png', 'img10.png']
    """
    parts = re.split(r"(\d+)", path.as_posix().lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _scan_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    files = sorted(_visible_files(folder), key=lambda file: (natural_key(file.relative_to(folder)), str(file)))
    readable = [file for file in files if _is_readable(file)]
    if not readable:
        bare = next((file for file in files if file.suffix.lower() in (".raw", ".bin")), None)
        if bare:
            raise InputError(
                f"{folder} holds only bare numbers, whose grid no file tells: give the file {bare} by name"
            )
        arrays = next((file for file in files if _holds_arrays(file)), None)
        advice = _NAMED.format(path=arrays) if arrays else f"known are {', '.join(READABLE)}"
        raise InputError(f"{folder} holds nothing that can be read; {advice}")
    known = {*readable, *(beside for file in readable for beside in sidecars.beside(file))}
    return readable, [file for file in files if file not in known and file.name not in OWN]


def _visible_files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        yield from (Path(root, name) for name in names if not name.startswith("."))


def _is_readable(path: Path) -> bool:
    if path.suffix.lower() not in READABLE:
        return False
    recognises = getattr(FORMATS[path.suffix.lower()], "recognises", None)
    return True if recognises is None else bool(recognises(path))


def _holds_arrays(path: Path) -> bool:
    """Whether a file that was left out holds arrays of another program."""
    try:
        return path.suffix.lower() in hdf5.EXTENSIONS and hdf5.kind(path) == "array"
    except (InputError, OSError):
        return False


def _checked_file(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.suffix.lower() not in READABLE:
        raise InputError(f"{path} is not a file that can be read; known are {', '.join(READABLE)}")
    main_file = getattr(FORMATS[path.suffix.lower()], "main_file", None)
    return path if main_file is None else Path(main_file(path))
