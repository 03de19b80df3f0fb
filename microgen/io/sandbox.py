"""Foreign HDF5 files, read in a child process that may crash, hang or run out of memory without harm.

The HDF5 library was not made for files that nobody vouches for: damaged ones crash it, hang it, expand a megabyte to
gigabytes, or make it follow links into other files. So no such file is opened here. A child
(:mod:`microgen.io.sandbox_worker`) opens it under hard limits, and what comes back is JSON and bare numbers.

Files that microgen sealed with their SHA-256 do not come here.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io.guard import check_size
from microgen.io.recording import MAX_PIXELS
from microgen.io.sandbox_process import Child, borrow, give_back

Array = NDArray[Any]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NUMBERS = frozenset(np.dtype(code).name for code in "?bBhHiIqQefd")


@dataclass(frozen=True)
class Entry:
    """What a file says about one of its objects.

    Attributes
    ----------
    kind
        ``"group"``, ``"data"``, ``"link"`` (which is never followed) or ``"other"``.
    attrs
        Attributes by name: texts, numbers, lists of them, or None for those of other types.
    shape, dtype
        Of a data set; the type is the name of a numpy type of numbers, ``"text"``, ``"table"`` or ``"other"``.
    outside
        True where the values lie in another file; they are never read.
    """

    kind: str
    attrs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None
    dtype: str = "other"
    outside: bool = False

    @property
    def is_numbers(self) -> bool:
        """True for a data set of numbers that the file itself holds."""
        return self.kind == "data" and self.shape is not None and self.dtype in _NUMBERS and not self.outside


class Hdf5:
    """An HDF5 file that is open in the child; made by :func:`opened`.

    Parameters
    ----------
    path
        The file.
    child
        The process that has it open.
    max_pixels
        Limit for files that expand strongly, see :func:`microgen.io.guard.check_size`.
    """

    def __init__(self, path: Path, child: Child, max_pixels: int) -> None:
        self.path = path
        self._child = child
        self._max_pixels = max_pixels
        self._objects: dict[str, Entry] | None = None
        self._pixels = self._bytes = 0

    def root(self) -> tuple[dict[str, Any], list[str]]:
        """Attributes of the file and the names at its top: enough to tell formats apart."""
        root = self._child.ask({"ask": "root"})["root"]
        return dict(root["attrs"]), [str(name) for name in root["names"]]

    @property
    def objects(self) -> Mapping[str, Entry]:
        """Everything in the file by its path, ``"/"`` first."""
        if self._objects is None:
            found = self._child.ask({"ask": "objects"})["objects"]
            self._objects = {str(path): _entry(about) for path, about in found.items()}
        return self._objects

    def children(self, group: str) -> list[str]:
        """Names inside a group."""
        above = group.rstrip("/") + "/"
        return [
            p[len(above) :] for p in self.objects if p.startswith(above) and "/" not in p[len(above) :] and p != "/"
        ]

    def small(self, path: str, default: Any = None) -> Any:
        """Value of a small data set: a number, a text, or a list; `default` where there is none."""
        if path not in self.objects:
            return default
        return self._child.ask({"ask": "small", "path": path})["value"]

    def first(self, path: str, default: Any = None) -> Any:
        """First value of a small data set, however deep it lies in lists."""
        value = self.small(path, default)
        while isinstance(value, list):
            value = value[0] if value else default
        return value

    def text(self, path: str) -> str | None:
        """First value of a small data set of texts, None where there is none."""
        value = self.first(path)
        return value if isinstance(value, str) else None

    def number(self, path: str) -> float | None:
        """First value of a small data set of numbers, None where there is no finite one; see :func:`decimal`."""
        value = self.first(path)
        if not isinstance(value, (int, float)) or not np.isfinite(value):
            return None
        return decimal(value) if self.objects[path].dtype == "float32" else float(value)

    def attribute(self, name: str) -> Any:
        """Attribute of the file itself, None where there is none."""
        return self.objects["/"].attrs.get(name)

    def array(self, path: str) -> Array:
        """Values of a data set of numbers, all of them.

        Raises
        ------
        InputError
            If there is no such data set, if it lies in another file, or if it is too large, see `max_pixels`.
        """
        entry = self.objects.get(path)
        if entry is None or entry.kind == "group":
            raise InputError(f"has no data set {path}")
        if entry.kind == "link" or entry.outside:
            raise InputError(f"keeps {path} in another file; only files that hold their own data are read")
        if not entry.is_numbers or entry.shape is None:
            raise InputError(f"holds no numbers in {path}")
        values = self._zeros(entry.shape, np.dtype(entry.dtype))
        self._child.fill({"ask": "array", "path": path}, values)
        return values

    def _zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Make room for an array, or refuse it together with those read before."""
        pixels = math.prod(shape)
        self._pixels += pixels
        self._bytes += pixels * dtype.itemsize
        check_size(self.path, self._pixels, self._bytes, self._max_pixels)
        try:
            return np.zeros(shape, dtype)
        except (MemoryError, ValueError) as error:
            raise InputError(
                f"{self.path} needs {pixels * dtype.itemsize} bytes of memory, more than there are"
            ) from error


@contextlib.contextmanager
def opened(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Hdf5]:
    """Open a foreign HDF5 file in a child process.

    Parameters
    ----------
    max_pixels
        Limit for files that expand more than 20 times.

    Raises
    ------
    InputError
        If the file is no HDF5 file, is damaged, or if the child crashes, hangs or needs too much memory.
    """
    size = path.stat().st_size
    if not _has_signature(path, size):
        raise InputError(f"{path} is not an HDF5 file")
    child = borrow()
    try:
        child.open(path, size, max_pixels)
        yield Hdf5(path, child, max_pixels)
    finally:
        if child.close():
            give_back(child)
        else:
            child.end()


def _has_signature(path: Path, size: int) -> bool:
    """Look for the signature where it may be: at the start, or after a user block of 512, 1024, 2048 ... bytes."""
    at = 0
    with path.open("rb") as stream:
        while at < size:
            stream.seek(at)
            if stream.read(len(_SIGNATURE)) == _SIGNATURE:
                return True
            at = 2 * at or 512
    return False


def decimal(value: float) -> float:
    """Return the shortest decimal number that a single-precision one stands for.

    >>> decimal(0.10000000149011612)
    0.1
    """
    return float(str(np.float32(value)))


def _entry(about: Mapping[str, Any]) -> Entry:
    shape = about.get("shape")
    return Entry(
        kind=str(about["kind"]),
        attrs=dict(about["attrs"]),
        shape=None if shape is None else tuple(int(n) for n in shape),
        dtype=str(about.get("dtype", "other")),
        outside=bool(about.get("outside", False)),
    )
