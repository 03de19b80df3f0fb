"""VTK ImageData (``.vti``), the volumes of ParaView: every field as cell data, one cell per pixel or voxel.

Read is whatever VTK's own writers make: ascii, inline base64, appended raw or base64, plain or compressed by zlib, both
byte orders and header widths. VTK knows no unit of length; files written here are in micrometres, and the spacing of
others is reported but never used by itself.

References
----------
VTK file formats, https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.io import header, vtk_arrays, vtk_write
from microgen.io.guard import check_size
from microgen.io.pixel_size import sized
from microgen.io.recording import Options, Recording

EXTENSIONS = (".vti",)
WHOLE = True

GHOSTS = "vtkGhostType"
"""Array of flags, not of values, that ParaView adds to cells when it resamples point data."""

_LARGEST_HEAD = 1 << 20  # bytes of markup around appended data


@dataclass(frozen=True)
class Grid:
    """Where the values of an image stand, in VTK's order x, y, z.

    Attributes
    ----------
    cells
        Cells along each axis, 0 where the image is flat.
    spacing, origin
        Of the grid points, in a unit VTK does not know.
    """

    cells: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def shape(self, *, points: bool) -> tuple[int, ...]:
        """Grid ``(Y, X)`` of an image flat in z, else ``(Z, Y, X)``."""
        x, y, z = (n + 1 if points else max(n, 1) for n in self.cells)
        return (y, x) if self.cells[2] == 0 else (z, y, x)


def read(path: Path, options: Options) -> Recording:
    """Read all cell data, or all point data where there are no cell data."""
    data = path.read_bytes()
    root, appended = _parsed(data)
    image, piece = _image(root)
    grid = _grid(image, piece)
    stored = vtk_arrays.Source.of(root, appended)
    ours = _header_text(image, stored)
    kind = next((k for k in ("CellData", "PointData") if _arrays_of(piece, k)), None)
    if kind is None:
        raise InputError("holds no arrays of numbers")
    shape = grid.shape(points=kind == "PointData")
    elements = _arrays_of(piece, kind)
    _check_total(path, shape, elements, options.max_pixels)
    arrays = {name: _array(element, shape, stored) for name, element in elements.items()}
    about = header.loads(ours)
    found = header.restore(about, _flattened(arrays, about))
    return found or recording(grid, arrays, _left_out(piece, kind), options)


def write(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None) -> None:
    """Write every field as cell data in micrometres; phases, crystals, scalars and recipe stand in the field data."""
    spacing = structure.spacing[::-1]
    text = header.dumps(structure, recipe)
    vtk_write.image(path, dict(structure.fields), structure.shape, spacing, {header.NAME: text})


def read_own(path: Path) -> dict[str, Any]:
    """Header that microgen wrote."""
    root, appended = _parsed(path.read_bytes())
    return header.loads(_header_text(_image(root)[0], vtk_arrays.Source.of(root, appended)))


def recording(grid: Grid, arrays: Mapping[str, NDArray[Any]], left_out: list[str], options: Options) -> Recording:
    """Make a structure of another program's arrays; its spacing has no unit, so that it is only reported."""
    ndim = len(grid.shape(points=False))
    values = dict(arrays)
    if ndim == 3 and options.volume is False:
        if next(iter(values.values())).shape[0] != 1:
            raise InputError("is a volume, not pictures; read it as a volume")
        ndim, values = 2, {name: array[0] for name, array in values.items()}
    source: dict[str, Any] = {"format": "VTK image"}
    if any(grid.origin):
        source["origin"] = list(grid.origin[::-1])
    if left_out:
        source["warnings"] = [
            f"these arrays are on another grid or no numbers and were left out: {', '.join(left_out)}"
        ]
    um = grid.spacing[2 - len(grid.shape(points=False)) :: -1] if ndim == 3 else grid.spacing[1::-1]
    structure = Microstructure(header.foreign(values, ndim), um, source=source)
    return Recording(structure=structure, sizes=sized(um, "VTK spacing, which has no unit,", "low"))


def _parsed(data: bytes) -> tuple[ElementTree.Element, bytes]:
    """Markup and the bytes after the underscore of AppendedData, which need not be XML."""
    start = data.find(b"<AppendedData")
    head, appended = data, b""
    if start >= 0:
        tag_end = data.find(b">", start)
        mark = data.find(b"_", tag_end)
        if tag_end < 0 or mark < 0 or data[tag_end + 1 : mark].strip():
            raise InputError("its appended data have no beginning")
        head, appended = data[: tag_end + 1] + b"</AppendedData></VTKFile>", data[mark + 1 :]
        if len(head) > _LARGEST_HEAD and len(head) > len(data) // 2:
            raise InputError("has more markup than data")
    if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
        raise InputError("declares XML entities, which no VTK file needs")
    try:
        root = ElementTree.fromstring(head)
    except ElementTree.ParseError as error:
        raise InputError(f"is no complete XML: {error}") from error
    if root.tag != "VTKFile" or root.get("type") != "ImageData":
        raise InputError(f"holds VTK {root.get('type', root.tag)}, not ImageData; resample it to an image in ParaView")
    return root, appended


def _image(root: ElementTree.Element) -> tuple[ElementTree.Element, ElementTree.Element]:
    image = root.find("ImageData")
    pieces = [] if image is None else image.findall("Piece")
    if image is None or len(pieces) != 1:
        raise InputError(f"holds {len(pieces)} pieces instead of one; save it in one piece")
    return image, pieces[0]


def _grid(image: ElementTree.Element, piece: ElementTree.Element) -> Grid:
    extent = _numbers(piece.get("Extent") or image.get("WholeExtent"), int, 6, "Extent")
    cells = tuple(high - low for low, high in zip(extent[::2], extent[1::2], strict=True))
    if min(cells) < 0:
        raise InputError(f"has the extent {extent}, which holds nothing")
    spacing = _numbers(image.get("Spacing", "1 1 1"), float, 3, "Spacing")
    origin = _numbers(image.get("Origin", "0 0 0"), float, 3, "Origin")
    turned = _numbers(image.get("Direction", "1 0 0 0 1 0 0 0 1"), float, 9, "Direction")
    if turned != [1, 0, 0, 0, 1, 0, 0, 0, 1]:
        raise InputError("stands turned in space (Direction); save it along the axes")
    if not all(0 < v < math.inf for v in spacing) or not all(map(math.isfinite, origin)):
        raise InputError(f"has the spacing {spacing} from {origin}; positive numbers are needed")
    return Grid(cells, tuple(spacing), tuple(origin))


def _numbers(text: str | None, kind: Any, count: int, what: str) -> list[Any]:
    words = (text or "").split()
    try:
        values = [kind(word) for word in words]
    except ValueError:
        values = []
    if len(values) != count:
        raise InputError(f"{what} should be {count} numbers, and is {text!r}")
    return values


def _arrays_of(piece: ElementTree.Element, kind: str) -> dict[str, ElementTree.Element]:
    """Numeric arrays by name."""
    found: dict[str, ElementTree.Element] = {}
    for element in piece.findall(f"{kind}/DataArray"):
        name = element.get("Name") or "values"
        if name in found:
            raise InputError(f"holds two arrays called {name!r}")
        if element.get("type") in vtk_arrays.TYPES and name != GHOSTS:
            found[name] = element
    return found


def _left_out(piece: ElementTree.Element, kind: str) -> list[str]:
    used = _arrays_of(piece, kind)
    every = [e.get("Name") or "values" for k in ("CellData", "PointData") for e in piece.findall(f"{k}/*")]
    for name in used:
        every.remove(name)
    return [name for name in every if name != GHOSTS]


def _check_total(path: Path, shape: tuple[int, ...], elements: Mapping[str, ElementTree.Element], limit: int) -> None:
    """Refuse a file that claims huge arrays before any of them is made."""
    pixels = sum(math.prod(shape) * _components(element) for element in elements.values())
    check_size(path, pixels, 8 * pixels, limit)


def _components(element: ElementTree.Element) -> int:
    (count,) = _numbers(element.get("NumberOfComponents") or "1", int, 1, "NumberOfComponents")
    if not 1 <= count <= 64:
        raise InputError(f"the array {element.get('Name')!r} has {count} components")
    return int(count)


def _array(element: ElementTree.Element, shape: tuple[int, ...], stored: vtk_arrays.Source) -> NDArray[Any]:
    components = _components(element)
    flat = stored.values(element, math.prod(shape) * components)
    return flat.reshape(*shape, components) if components > 1 else flat.reshape(shape)


def _header_text(image: ElementTree.Element, stored: vtk_arrays.Source) -> str | None:
    for element in image.findall("FieldData/*"):
        if element.get("Name") == header.NAME and element.get("type") == "String":
            return stored.text(element)
    return None


def _flattened(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a map of ours, which some programs want one voxel thick, without that axis."""
    thick = [1, *about.get("shape", ())]
    return {name: v[0] if list(v.shape[: len(thick)]) == thick else v for name, v in arrays.items()}
