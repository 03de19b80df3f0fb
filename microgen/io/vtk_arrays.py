"""The arrays inside VTK's XML files: ascii, base64 or raw, plain or in blocks compressed by zlib."""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io import numerals

TYPES = {
    "Int8": "i1", "UInt8": "u1", "Int16": "i2", "UInt16": "u2", "Int32": "i4", "UInt32": "u4",
    "Int64": "i8", "UInt64": "u8", "Float32": "f4", "Float64": "f8",
}  # fmt: skip
"""Numpy type by VTK's name."""

_LARGEST_TEXT = 1 << 24  # bytes that a string may expand to


@dataclass(frozen=True)
class Source:
    """Where the values of a file stand and how they are stored.

    Attributes
    ----------
    order
        ``"<"`` or ``">"``.
    word
        Type of the numbers before each array.
    compressed
        Whether arrays are zlib blocks.
    appended
        Bytes after the underscore of AppendedData.
    encoded
        Whether those are base64 text.
    offsets
        Where arrays begin among them, ascending.
    """

    order: Literal["<", ">"]
    word: np.dtype[Any]
    compressed: bool
    appended: bytes = b""
    encoded: bool = False
    offsets: tuple[int, ...] = ()

    @classmethod
    def of(cls, root: ElementTree.Element, appended: bytes) -> Source:
        """Read the attributes of the elements VTKFile and AppendedData."""
        orders: dict[str, Literal["<", ">"]] = {"LittleEndian": "<", "BigEndian": ">"}
        order = orders.get(root.get("byte_order", "LittleEndian"))
        word = {"UInt32": "u4", "UInt64": "u8"}.get(root.get("header_type", "UInt32"))
        if order is None or word is None:
            raise InputError("states an unknown byte_order or header_type")
        compressor = root.get("compressor", "")
        if compressor not in ("", "vtkZLibDataCompressor"):
            raise InputError(f"is compressed by {compressor}; save it with zlib or uncompressed")
        block = root.find("AppendedData")
        encoding = "raw" if block is None else block.get("encoding", "base64")
        if encoding not in ("raw", "base64"):
            raise InputError(f"has appended data in the unknown encoding {encoding!r}")
        offsets = sorted({int(e.get("offset", "0")) for e in root.iter() if e.get("format") == "appended"})
        return cls(order, np.dtype(order + word), bool(compressor), appended, encoding == "base64", tuple(offsets))

    def values(self, element: ElementTree.Element, count: int) -> NDArray[Any]:
        """Return the `count` numbers of a DataArray in native byte order."""
        name, dtype = element.get("Name") or "values", np.dtype(TYPES[element.get("type", "")])
        if element.get("format", "ascii") == "ascii":
            return numerals.parse(element.text or "", dtype, count, f"the array {name!r}")
        data = self._unpacked(self._stored(element, name), count * dtype.itemsize, name)
        return np.frombuffer(data, dtype=dtype.newbyteorder(self.order)).astype(dtype)

    def text(self, element: ElementTree.Element) -> str:
        """Return the one string of an Array of type String: the codes of its bytes, ended by 0."""
        name = element.get("Name") or "text"
        if element.get("format", "ascii") == "ascii":
            data: bytes | memoryview = bytes(int(word) for word in (element.text or "").split())
        else:
            data = self._unpacked(self._stored(element, name), None, name)
        return bytes(data).rstrip(b"\0").decode("utf-8")

    def _stored(self, element: ElementTree.Element, name: str) -> memoryview:
        """Return the bytes of an array with its header, and possibly those of later arrays."""
        form = element.get("format")
        if form == "binary":
            return memoryview(_decoded((element.text or "").encode("ascii")))
        if form == "appended":
            return memoryview(self._appended(name, int(element.get("offset", "-1"))))
        raise InputError(f"the array {name!r} has the unknown format {form!r}")

    def _appended(self, name: str, offset: int) -> bytes | memoryview:
        if not 0 <= offset < len(self.appended):
            raise InputError(f"the array {name!r} begins outside the file")
        if not self.encoded:
            return memoryview(self.appended)[offset:]
        later = [start for start in self.offsets if start > offset]
        end = later[0] if later else self.appended.find(b"<", offset)
        return _decoded(self.appended[offset : end if end >= 0 else None])

    def _unpacked(self, stored: memoryview, size: int | None, name: str) -> bytes | memoryview:
        """Take off the header, and check that the array has just the bytes its grid needs (a text has any number)."""
        if self.compressed:
            return self._inflated(stored, size, name)
        (announced,) = self._words(stored, 0, 1, name)
        size = announced if size is None else size
        data = stored[self.word.itemsize : self.word.itemsize + size]
        if announced != size or len(data) != size:
            raise InputError(f"the array {name!r} needs {size} bytes, {announced} are announced, {len(data)} are there")
        return data

    def _inflated(self, stored: memoryview, size: int | None, name: str) -> bytes:
        """Header of compressed arrays: number of blocks, their size, that of the last if smaller, packed sizes."""
        blocks, each, last = self._words(stored, 0, 3, name)
        total = blocks * each - (each - last if last else 0)
        if total != size if size is not None else total > _LARGEST_TEXT:
            raise InputError(f"the array {name!r} needs {size} bytes, and its blocks hold {total}")
        packed = self._words(stored, 3, blocks, name)
        position, parts = (3 + blocks) * self.word.itemsize, []
        for index, length in enumerate(packed):
            full = last if last and index == blocks - 1 else each
            engine = zlib.decompressobj()
            part = engine.decompress(stored[position : position + length], full)
            if len(part) != full or not (engine.eof or engine.decompress(engine.unconsumed_tail, 1) == b""):
                raise InputError(f"the array {name!r} has a block of another size than it announces")
            parts.append(part)
            position += length
        return b"".join(parts)

    def _words(self, stored: memoryview, first: int, count: int, name: str) -> list[int]:
        width = self.word.itemsize
        if count > len(stored) // width - first:
            raise InputError(f"the array {name!r} is truncated")
        return [int(n) for n in np.frombuffer(stored[first * width : (first + count) * width], dtype=self.word)]


def _decoded(text: bytes) -> bytes:
    """Decode base64 text; header and values may have been encoded apart, each with its own padding."""
    packed = b"".join(text.split())
    return b"".join(base64.b64decode(part, validate=True) for part in re.findall(rb"[^=]+={0,2}", packed))
