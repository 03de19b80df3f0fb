"""VTK's legacy image files (``.vtk``, STRUCTURED_POINTS), ascii and binary; read only.

References
----------
VTK file formats, https://docs.vtk.org/en/latest/vtk_file_formats/vtk_legacy_file_format.html
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io import numerals, vtk_xml
from microgen.io.guard import check_size
from microgen.io.recording import Options, Recording

EXTENSIONS = (".vtk",)

_TYPES = {
    "char": "i1", "signed_char": "i1", "unsigned_char": "u1", "short": "i2", "unsigned_short": "u2", "int": "i4",
    "unsigned_int": "u4", "long": "i8", "unsigned_long": "u8", "vtktypeint64": "i8", "vtktypeuint64": "u8",
    "vtkidtype": "i4", "float": "f4", "double": "f8",
}  # fmt: skip
_WIDTHS = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9}
_LONGEST_LINE = 1 << 16


def read(path: Path, options: Options) -> Recording:
    """Read all cell data, or all point data where there are no cell data."""
    return _Reader(path, options).recording()


class _Reader:
    """Walks through a file from keyword to keyword; numbers stand between them, as text or big-endian."""

    def __init__(self, path: Path, options: Options) -> None:
        self.path, self.options = path, options
        self.data, self.position = path.read_bytes(), 0
        if not re.match(rb"# vtk DataFile Version \d", self._line(), re.IGNORECASE):
            raise InputError("is no legacy VTK file")
        self._line()  # the title
        kind = self._line().strip().upper()
        if kind not in (b"ASCII", b"BINARY"):
            raise InputError(f"should say ASCII or BINARY and says {kind[:20]!r}")
        self.binary = kind == b"BINARY"
        self.cells: dict[str, NDArray[Any]] = {}
        self.points: dict[str, NDArray[Any]] = {}
        self.left_out: list[str] = []

    def recording(self) -> Recording:
        grid = self._grid()
        while words := self._words():
            if words[0] not in ("CELL_DATA", "POINT_DATA"):
                raise InputError(f"has {words[0][:20]!r} where CELL_DATA or POINT_DATA should stand")
            points = words[0] == "POINT_DATA"
            shape = grid.shape(points=points)
            if self._count(words, 1) != math.prod(shape):
                raise InputError(f"has {words[1]} values in {words[0]}, and its grid has {math.prod(shape)}")
            self._arrays(self.points if points else self.cells, shape)
        chosen, others = (self.cells, self.points) if self.cells else (self.points, {})
        if not chosen:
            raise InputError("holds no arrays of numbers")
        return vtk_xml.recording(grid, chosen, [*others, *self.left_out], self.options)

    def _grid(self) -> vtk_xml.Grid:
        words = self._words()
        if words[:1] != ["DATASET"] or words[1:2] != ["STRUCTURED_POINTS"]:
            raise InputError(f"holds {' '.join(words[1:2]) or 'no DATASET'}; only STRUCTURED_POINTS is an image")
        found: dict[str, list[float]] = {}
        while (words := self._words(peek=True)) and words[0] in ("DIMENSIONS", "ORIGIN", "SPACING", "ASPECT_RATIO"):
            self._words()
            key = "SPACING" if words[0] == "ASPECT_RATIO" else words[0]
            found[key] = [float(word) for word in words[1:]]
            if len(words) != 4 or not all(map(math.isfinite, found[key])):
                raise InputError(f"{words[0]} should be three numbers, and is {' '.join(words[1:])[:60]!r}")
        points = [int(n) for n in found.get("DIMENSIONS", [])]
        spacing = found.get("SPACING", [1.0, 1.0, 1.0])
        if not points or min(points) < 1 or min(spacing) <= 0:
            raise InputError(f"has DIMENSIONS {points} and SPACING {spacing}; positive numbers are needed")
        x, y, z = (n - 1 for n in points)
        return vtk_xml.Grid((x, y, z), tuple(spacing), tuple(found.get("ORIGIN", [0.0, 0.0, 0.0])))  # type: ignore[arg-type]

    def _arrays(self, into: dict[str, NDArray[Any]], shape: tuple[int, ...]) -> None:
        """Read the arrays up to the next CELL_DATA or POINT_DATA."""
        while (words := self._words(peek=True)) and words[0] not in ("CELL_DATA", "POINT_DATA"):
            self._words()
            keyword = words[0]
            if keyword == "SCALARS":
                self._scalars(words, into, shape)
            elif keyword in _WIDTHS:
                self._keep(into, words[1], self._numbers(words[2], math.prod(shape) * _WIDTHS[keyword]), shape)
            elif keyword == "FIELD":
                self._field(self._count(words, 2), into, shape)
            elif keyword == "LOOKUP_TABLE":
                self._skip_colours(4 * self._count(words, 2))
            elif keyword == "METADATA":
                self._skip_metadata()
            else:
                raise InputError(f"has the attribute {keyword[:20]!r}, which is not known; save it as .vti")

    def _scalars(self, words: list[str], into: dict[str, NDArray[Any]], shape: tuple[int, ...]) -> None:
        width = self._count(words, 3) if len(words) > 3 else 1
        if (self._words(peek=True) or [""])[0] == "LOOKUP_TABLE":
            self._words()
        self._keep(into, words[1], self._numbers(words[2], math.prod(shape) * width), shape)

    def _field(self, count: int, into: dict[str, NDArray[Any]], shape: tuple[int, ...]) -> None:
        for _ in range(count):
            words = self._words()
            while words[:1] == ["METADATA"]:
                self._skip_metadata()
                words = self._words()
            width, tuples = self._count(words, 1), self._count(words, 2)
            values = self._numbers(words[3], width * tuples)
            if tuples == math.prod(shape):
                self._keep(into, words[0], values, shape)
            else:
                self.left_out.append(unquote(words[0]))

    def _keep(self, into: dict[str, NDArray[Any]], name: str, values: NDArray[Any], shape: tuple[int, ...]) -> None:
        name = unquote(name)
        if name in into:
            raise InputError(f"holds two arrays called {name!r}")
        if name == vtk_xml.GHOSTS:
            return
        into[name] = values.reshape(shape if values.size == math.prod(shape) else (*shape, -1))

    def _numbers(self, kind: str, count: int) -> NDArray[Any]:
        if kind.lower() not in _TYPES:
            raise InputError(f"holds numbers of type {kind[:20]!r}, which is not known; save it as .vti")
        dtype = np.dtype(_TYPES[kind.lower()])
        check_size(self.path, count, count * dtype.itemsize, self.options.max_pixels)
        if self.binary:
            end = self.position + count * dtype.itemsize
            stored = self.data[self.position : end]
            if len(stored) < count * dtype.itemsize:
                raise InputError(
                    f"is truncated: {count} numbers are announced and {len(stored) // dtype.itemsize} are there"
                )
            self.position = end
            return np.frombuffer(stored, dtype=dtype.newbyteorder(">")).astype(dtype)
        text = self._text_of(count)
        return numerals.parse(text, dtype, count, "an array")

    def _text_of(self, count: int) -> bytes:
        """Return the lines up to the next one that does not begin with a number."""
        match = _NO_NUMBER.search(self.data, self.position)
        end = match.start() if match else len(self.data)
        text, self.position = self.data[self.position : end], end
        return text

    def _skip_colours(self, count: int) -> None:
        self._numbers("unsigned_char" if self.binary else "float", count)

    def _skip_metadata(self) -> None:
        """Pass over names of components, which end with an empty line."""
        while self._line().strip():
            pass

    def _words(self, *, peek: bool = False) -> list[str]:
        """Return the words of the next line that is not empty, none at the end of the file."""
        before = self.position
        blank = _BLANK.match(self.data, before)
        self.position = blank.end() if blank else before
        words = self._line().decode("latin-1").split()
        self.position = before if peek else self.position
        return [words[0].upper(), *words[1:]] if words and words[0].isupper() else words

    def _line(self) -> bytes:
        end = self.data.find(b"\n", self.position, self.position + _LONGEST_LINE)
        end = min(len(self.data), self.position + _LONGEST_LINE) if end < 0 else end
        line, self.position = self.data[self.position : end], min(end + 1, len(self.data))
        return line

    @staticmethod
    def _count(words: list[str], index: int) -> int:
        if len(words) <= index or not words[index].isdecimal() or len(words[index]) > 15:
            raise InputError(f"has no count in {' '.join(words)[:60]!r}")
        return int(words[index])


_BLANK = re.compile(rb"\s*")
_NO_NUMBER = re.compile(rb"^[ \t]*[A-Za-z_]", re.MULTILINE)
