"""Reading Neper's raster tessellations, see :mod:`microgen.io.tesr`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.crystals import crystals_from_json
from microgen.core.orientations import NOT_INDEXED, from_euler
from microgen.core.recipe import RECIPE_KEY
from microgen.io import header, numerals, own
from microgen.io.pixel_size import sized
from microgen.io.recording import Recording

_BINARY = {
    "binary8": "u1", "binary16": "<i2", "binary16_big": ">i2", "binary32": "<i4", "binary32_big": ">i4",
}  # fmt: skip
_SHORT = {"q": "quaternion", "R": "rodrigues", "e": "euler-bunge", "rtheta": "axis-angle"}
_WIDTHS = {"quaternion": 4, "rodrigues": 3, "euler-bunge": 3, "axis-angle": 4}
_PLAIN = {"2.0": "active", "2.1": "active", "2.2": "passive"}
_WORD = re.compile(rb"\s*(\S{1,200})")
_SYMMETRIES = {"cubic": "m-3m", "hexagonal": "6/mmm", "triclinic": "-1"}


def read(path: Path, about: Mapping[str, Any]) -> Recording:
    """Read a file; `about` is the header that microgen wrote beside it, empty for files of others."""
    tesr = _Reader(path)
    fields: dict[str, NDArray[Any]] = {"grain": tesr.grain()}
    orientation = tesr.orientation()
    if orientation is not None:
        fields["orientation"] = orientation
    if tesr.defined is not None:
        fields["mask"] = tesr.defined
    return _ours(tesr, fields, about) if about else _foreign(tesr, fields)


def _ours(tesr: _Reader, fields: dict[str, NDArray[Any]], about: Mapping[str, Any]) -> Recording:
    """Give our own fields their types, names and phases back."""
    if tuple(about["shape"]) != tesr.shape:
        raise InputError("stands beside a header for another grid; delete that or write both again")
    types = about["fields"]
    if "phase" in types:
        phases = np.array([0, *about["phase_of_group"]])
        group = tesr.group if tesr.group is not None else np.ones(tesr.count, np.int64)
        fields["phase"] = phases[np.array([0, *group])[tesr.cells]]
    kept = {name: header.typed(fields[name], kind) for name, kind in types.items() if name in fields}
    structure = Microstructure(
        kept, tuple(about[own.SPACING_KEY]), tuple(about["phases"]), about["scalars"], about["source"],
        crystals_from_json(about["crystals"]),
    )  # fmt: skip
    ours = own.Own("", "", structure.shape, structure.spacing, (), {}, about.get(RECIPE_KEY))
    return Recording(structure=structure, own=ours)


def _foreign(tesr: _Reader, fields: dict[str, NDArray[Any]]) -> Recording:
    """Take groups of cells as phases, with the one crystal symmetry the file states."""
    count = 1 if tesr.group is None else int(tesr.group.max(initial=1))
    names = ("crystal",) if tesr.group is None else tuple(f"group_{i + 1}" for i in range(count))
    group = np.ones(tesr.count, np.int64) if tesr.group is None else tesr.group
    fields["phase"] = np.array([0, *group])[tesr.cells].astype(np.uint8 if count < 256 else np.int32)
    crystals: dict[str, Crystal] = {} if tesr.crystal is None else dict.fromkeys(names, tesr.crystal)
    source: dict[str, Any] = {"format": "Neper raster tessellation", **tesr.facts}
    if "orientation" in fields:
        source["euler_frame"] = "map"
        fields.setdefault("mask", (tesr.cells > 0).astype(np.uint8))
    structure = Microstructure(fields, tesr.spacing, (NOT_INDEXED, *names), {}, source, crystals)
    return Recording(structure=structure, sizes=sized(tesr.spacing, "Neper voxel size, which has no unit,", "low"))


class _Reader:
    """Walks through a file from word to word; numbers stand between names that begin with a star."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.position = path, path.read_bytes(), 0
        self.facts: dict[str, Any] = {}
        self.count = 0
        self.ids: NDArray[Any] | None = None
        self.group: NDArray[Any] | None = None
        self.crystal: Crystal | None = None
        self.mean: NDArray[Any] | None = None
        self.voxels: NDArray[Any] | None = None
        self.defined: NDArray[Any] | None = None
        self.cells: NDArray[Any] = np.zeros(0, np.int64)
        self._head()
        self._body()

    def grain(self) -> NDArray[Any]:
        """Grain numbers as the file calls them, 0 for voids."""
        if self.ids is None:
            return self.cells
        return np.asarray(np.concatenate([[0], self.ids])[self.cells])

    def orientation(self) -> NDArray[Any] | None:
        """Orientation of every voxel, of its cell where voxels have none of their own."""
        if self.voxels is not None:
            return self.voxels.reshape(*self.shape, 4)
        return None if self.mean is None else np.concatenate([[[1.0, 0, 0, 0]], self.mean])[self.cells]

    def _head(self) -> None:
        self._expect("***tesr")
        self._expect("**format")
        self.version = self._word()
        if self.version not in _PLAIN:
            raise InputError(
                f"is a raster tessellation of version {self.version[:10]!r}; known are {', '.join(_PLAIN)}"
            )
        self.form = self._word() if self.version == "2.0" else None
        self._expect("**general")
        ndim = self._whole()
        if ndim not in (2, 3):
            raise InputError(f"has {ndim} dimensions; 2 or 3 are possible")
        self.shape = tuple(self._whole() for _ in range(ndim))[::-1]
        self.spacing = tuple(self._real() for _ in range(ndim))[::-1]
        self.size = math.prod(self.shape)
        if self.size > 8 * len(self.data) and b"*file" not in self.data:
            raise InputError(f"has {len(self.data)} bytes, too few for {' x '.join(map(str, self.shape))} voxels")

    def _body(self) -> None:
        readers = {
            "**cell": self._cell, "*id": self._ids, "*ori": self._ori, "*group": self._groups, "*crysym": self._crysym,
            "*origin": self._origin, "**data": self._data, "**oridata": self._oridata, "**oridef": self._oridef,
        }  # fmt: skip
        while (word := self._word()) != "***end":
            if not word.startswith("*"):
                raise InputError(f"has {word[:20]!r} where a section should begin")
            readers.get(word, self._skip)()
        if not self.cells.size:
            raise InputError("has no **data")
        if self.ids is None:
            self.count = max(self.count, int(self.cells.max()))
        if self.cells.min() < 0 or self.cells.max() > self.count:
            raise InputError(f"has the cells {self.cells.min()} to {self.cells.max()}, and lists {self.count}")

    def _cell(self) -> None:
        self.count = self._whole()
        if self.count > len(self.data):
            raise InputError(f"announces {self.count} cells, more than it has bytes")

    def _ids(self) -> None:
        self.ids = self._table(self.count, "u4").astype(np.int64)

    def _groups(self) -> None:
        self.group = self._table(self.count, "u4").astype(np.int64)

    def _ori(self) -> None:
        self.mean = self._quaternions(self.count, "ascii", self._word())

    def _crysym(self) -> None:
        name = self._word()
        self.crystal = Crystal(_SYMMETRIES.get(name, name))

    def _origin(self) -> None:
        self.facts["origin"] = [self._real() for _ in self.shape][::-1]

    def _skip(self) -> None:
        self._text()

    def _data(self) -> None:
        form = self.form or self._word()
        self.cells = self._values(form, self.size, "i4").astype(np.int64).reshape(self.shape)

    def _oridata(self) -> None:
        descriptor = self._word()
        self.voxels = self._quaternions(self.size, self.form or self._word(), descriptor)

    def _oridef(self) -> None:
        form = self._word()
        flags = self._values("binary8" if form.startswith("binary") else form, self.size, "u1")
        self.defined = (flags != 0).astype(np.uint8).reshape(self.shape)

    def _quaternions(self, count: int, form: str, descriptor: str) -> NDArray[Any]:
        """Read orientations; the identity stands for a quaternion of zeros."""
        name, _, convention = descriptor.partition(":")
        name = _SHORT.get(name, name)
        if name not in _WIDTHS or convention not in ("", "active", "passive"):
            raise InputError(f"has orientations as {descriptor[:30]!r}; write them with -oridescriptor quaternion")
        width = _WIDTHS[name]
        binary = form.startswith("binary")
        values = self._raw("<f8", count * width) if binary else self._values(form, count * width, "f8")
        found = _as_quaternions(name, values.reshape(count, width))
        inverse = convention not in ("", _PLAIN[self.version])
        found = found * np.array([1.0, -1, -1, -1]) if inverse else found
        length = np.linalg.norm(found, axis=1, keepdims=True)
        if not np.isfinite(length).all() or (np.abs(length - 1) > 1e-3)[length > 0].any():
            raise InputError("has quaternions that are no rotations")
        return np.where(length > 0, found, [1.0, 0, 0, 0])

    def _values(self, form: str, count: int, kind: str) -> NDArray[Any]:
        """Read the numbers of a section, from this file or from one beside it."""
        if form == "ascii":
            if self._peek() == "*file":
                self._word()
                return numerals.parse(self._beside(), np.dtype(kind), count, "the file beside it")
            return numerals.parse(self._text(), np.dtype(kind), count, "a section")
        if form not in _BINARY:
            raise InputError(f"has data in the unknown format {form[:20]!r}")
        if self._peek() == "*file":
            self._word()
            beside = self._beside()
            if len(beside) != count * np.dtype(_BINARY[form]).itemsize:
                raise InputError(f"needs {count} numbers as {form}, and the file beside it has {len(beside)} bytes")
            return np.frombuffer(beside, _BINARY[form])
        return self._raw(_BINARY[form], count)

    def _raw(self, kind: str, count: int) -> NDArray[Any]:
        """Read numbers that begin after the end of this line."""
        start = self.data.find(b"\n", self.position) + 1
        end = start + count * np.dtype(kind).itemsize
        if not start or end > len(self.data):
            raise InputError(f"is truncated: {count} numbers are announced")
        self.position = end
        return np.frombuffer(self.data[start:end], kind)

    def _beside(self) -> bytes:
        name = self._word()
        file = self.path.with_name(Path(name).name)
        if Path(name).name != name or not file.is_file():
            raise InputError(f"keeps its numbers in {name[:60]!r}, which must be a file in the same folder")
        return file.read_bytes()

    def _table(self, count: int, kind: str) -> NDArray[Any]:
        return numerals.parse(self._text(), np.dtype(kind), count, "a section")

    def _text(self) -> bytes:
        """Return what stands before the next star."""
        end = self.data.find(b"*", self.position)
        end = len(self.data) if end < 0 else end
        text, self.position = self.data[self.position : end], end
        return text

    def _peek(self) -> str:
        before = self.position
        word, self.position = self._word(end_is_fine=True), before
        return word

    def _word(self, *, end_is_fine: bool = False) -> str:
        match = _WORD.match(self.data, self.position)
        word = match[1] if match else b""
        self.position = match.end() if match else len(self.data)
        if not word and not end_is_fine:
            raise InputError("is truncated: ***end is missing")
        return word.decode("latin-1")

    def _expect(self, word: str) -> None:
        if (found := self._word()) != word:
            raise InputError(f"has {found[:20]!r} where {word} should stand; it is no raster tessellation")

    def _whole(self) -> int:
        word = self._word()
        if not word.isdecimal() or len(word) > 12:
            raise InputError(f"has {word[:20]!r} where a whole number should stand")
        return int(word)

    def _real(self) -> float:
        word = self._word()
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"has {word[:20]!r} where a number should stand")
        return value


def _as_quaternions(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return orientations given as quaternions, Rodrigues vectors, or angles in degrees."""
    if name == "quaternion":
        return values
    if name == "euler-bunge":
        return np.asarray(from_euler(np.deg2rad(values)))
    if name == "rodrigues":
        whole = np.column_stack([np.ones(len(values)), values])
        return np.asarray(whole / np.linalg.norm(whole, axis=1, keepdims=True))
    axis, half = values[:, :3], np.deg2rad(values[:, 3:]) / 2
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    return np.column_stack([np.cos(half), axis / np.where(length > 0, length, 1) * np.sin(half)])
