"""TIFF: 1 to 64 bits, integers and floats, stacks and volumes; written so that Fiji opens it calibrated."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from microgen.core import InputError, Microstructure
from microgen.io import own, pillow, vendor
from microgen.io.guard import check_size
from microgen.io.pixel_size import PixelSize
from microgen.io.recording import Options, Recording

EXTENSIONS = (".tif", ".tiff")

OME_NAMESPACE = "microgen"
"""Namespace of the annotation of OME-XML that holds the header of microgen."""

_ALLOWED = ("uint8", "uint16", "int16", "float32", "int32", "uint32", "float64")
_XMP_TAG = 700
_ORIENTATION = 274
_MOST_TAGS = 1000  # on one page; files of instruments have fewer than a hundred
_VENDOR_TAGS = (
    vendor.DESCRIPTION, vendor.X_RESOLUTION, vendor.Y_RESOLUTION, vendor.RESOLUTION_UNIT,
    vendor.ZEISS, vendor.FEI_SFEG, vendor.FEI_HELIOS, vendor.TESCAN,
)  # fmt: skip

# tifffile logs every irregularity of foreign tags; what matters here is checked and raised instead.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read(path: Path, options: Options) -> Recording:
    """Read all full-size pages of a TIFF as pictures, or as one volume."""
    count = _count_pages(path)  # before tifffile, which would follow a damaged chain for minutes
    with tifffile.TiffFile(path, is_ome=False) as tif:
        if count != len(tif.pages):
            raise InputError("its list of pages is damaged")
        pages = [(i, p) for i, p in enumerate(tif.pages) if not (p.is_reduced or p.is_mask)]
        _check_complete(path, tif)
        pixels = sum(page.size for _, page in pages)
        check_size(path, pixels, sum(page.nbytes for _, page in pages), options.max_pixels)
        sizes, bar = _find_scale(tif.pages[0])
        arrays = [_decode(path, index, page) for index, page in pages]
        depth = max(_depth(page) for _, page in pages)
        texts, axes = _own_texts(tif), vendor.stack_axes(_tag(tif.pages[0], vendor.DESCRIPTION))
    if not arrays:
        raise InputError("holds no full-size picture")
    own_volume = own.parse(texts, (len(arrays), *arrays[0].shape))
    if options.volume or (options.volume is None and own_volume is not None):
        return Recording((_stack(arrays, axes),), "volume", depth, sizes, bar, own_volume)
    return Recording(tuple(arrays), "picture", depth, sizes, bar, own.parse(texts, arrays[0].shape))


def write(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None) -> None:
    """Write the only field as a TIFF that ImageJ and Fiji open calibrated in micrometres.

    The scale stands in the tags ImageJ reads, the header of microgen in ImageJ's own *Info* text, where
    *Image > Show Info* shows it and saving again in Fiji keeps it.
    """
    ((name, values),) = structure.fields.items()
    if values.ndim != structure.ndim:
        raise InputError(f"field {name!r} has channels, which a gray TIFF cannot hold; write .h5")
    stored = own.storable(name, values, _ALLOWED, "write .h5, which keeps every type")
    info = {"Info": own.dumps(own.texts(structure, recipe))}
    y, x = structure.spacing[-2:]
    tifffile.imwrite(
        path,
        stored,
        byteorder="<",
        photometric="minisblack",
        description=_description(structure),
        metadata=None,
        resolution=(1 / x, 1 / y),
        resolutionunit=1,
        software="microgen",
        extratags=[*tifffile.imagej_metadata_tag(info, "<"), *synthetic_tags(recipe)],
    )


def synthetic_tags(recipe: Mapping[str, Any] | None) -> list[tuple[int, int, int, bytes, bool]]:
    """TIFF tag that says a picture is synthetic, none for a recorded one."""
    packet = own.digital_source(recipe)
    return [(_XMP_TAG, 1, len(packet.encode()), packet.encode(), True)] if packet else []


def read_own(path: Path) -> dict[str, Any]:
    """Header texts that microgen wrote, without decoding the picture."""
    _count_pages(path)
    with tifffile.TiffFile(path, is_ome=False) as tif:
        return _own_texts(tif)


def _find_scale(page: Any) -> tuple[tuple[PixelSize, ...], int]:
    """Pixel sizes and rows of data bar that the tags state, for the picture turned upright."""
    tags = {code: _tag(page, code) for code in _VENDOR_TAGS}
    shape = (page.imagelength, page.imagewidth)
    sizes, code = vendor.find_sizes(tags, shape), _orientation(page)
    if code >= 5:  # rows and columns change places
        sizes = tuple(replace(size, um=(*size.um[:-2], size.um[-1], size.um[-2])) for size in sizes)
    return sizes, vendor.find_bar(tags, shape) if code == 1 else 0


def _stack(arrays: list[NDArray[Any]], axes: Mapping[str, int]) -> NDArray[Any]:
    if len(axes) > 1 and arrays[0].ndim == 2:
        held = " and ".join(f"{length} {name}" for name, length in axes.items())
        raise InputError(f"has {held}, which are not the slices of one volume; save one channel and frame as a stack")
    if len({(a.shape, a.dtype) for a in arrays}) > 1:
        raise InputError("has pages of different size or type, which make no volume")
    if arrays[0].ndim == 2:
        return np.stack(arrays)
    raise InputError("has colour pages, which make no volume; save it as a gray stack")


def _decode(path: Path, index: int, page: Any) -> NDArray[Any]:
    """Values of one page, upright, bright is high, channels last."""
    name = page.photometric.name if hasattr(page.photometric, "name") else str(page.photometric)
    if name not in ("MINISBLACK", "MINISWHITE", "RGB", "YCBCR", "PALETTE"):
        raise InputError(f"has the colour model {name}; save it as gray or RGB")
    try:
        values = np.asarray(page.asarray())
    except Exception as error:  # tifffile says with several types that a codec is missing
        if "imagecodecs" not in str(error):
            raise
        return _decode_with_pillow(path, index, page)
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if name == "PALETTE":
        values = _through_palette(values, page)
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        values = np.moveaxis(values, 0, -1)
    if name == "MINISWHITE":
        values = _inverted(values, _depth(page))
    return pillow.oriented(values, _orientation(page))


def _decode_with_pillow(path: Path, index: int, page: Any) -> NDArray[Any]:
    """Decode compressions that tifffile leaves to imagecodecs (LZW, JPEG, CCITT); Pillow turns pages upright itself."""
    with Image.open(path, formats=("TIFF",)) as image:
        image.seek(index)
        image.load()
        values = pillow.unscaled(pillow.pixels(image), _depth(page))
    if 8 * values.dtype.itemsize < _depth(page) or values.shape[:2] not in (page.shape[:2], page.shape[1::-1]):
        raise InputError(
            f"its compression {page.compression.name} with {_depth(page)} bits cannot be read without loss; "
            "pip install imagecodecs, or save the file uncompressed"
        )
    inverted = page.photometric.name == "MINISWHITE" and _depth(page) > 8  # Pillow inverts only up to 8 bits
    return _inverted(values, _depth(page)) if inverted else values


def _through_palette(values: NDArray[Any], page: Any) -> NDArray[Any]:
    palette = np.asarray(page.colormap).T
    if palette.ndim != 2 or palette.shape[1] != 3 or int(values.max()) >= len(palette):
        raise InputError("has a damaged colour table")
    # Entries are 16-bit; tables made from 8-bit colours hold v * 257 or v * 256.
    eight = (palette >> 8).astype(np.uint8)
    exact = np.array_equal(palette, eight.astype(np.uint16) * 257) or np.array_equal(
        palette, eight.astype(np.uint16) << 8
    )
    return np.asarray((eight if exact else palette)[values])


def _inverted(values: NDArray[Any], depth: int) -> NDArray[Any]:
    if values.dtype.kind not in "bu":
        raise InputError("has white as zero in a signed or float type; save it with black as zero")
    white = values.dtype.type(2**depth - 1)
    return np.asarray(white - values)


def _check_complete(path: Path, tif: Any) -> None:
    """Refuse a file whose pages or strips reach beyond its end: decoders would fill the gap with zeros."""
    size = path.stat().st_size
    for page in tif.pages:
        offsets, counts = np.asarray(page.dataoffsets), np.asarray(page.databytecounts)
        if len(offsets) != len(counts) or len(offsets) < int(np.prod(page.chunked)):
            raise InputError("its list of strips is damaged")
        if len(offsets) == 0 or (offsets <= 0).any() or (counts <= 0).any() or (offsets + counts > size).any():
            raise InputError("is truncated: picture data are missing")
        if page.compression == 1 and counts.sum() * 8 < page.size * _depth(page):
            raise InputError("is truncated: picture data are missing")
    declared = int((tif.imagej_metadata or {}).get("images", 1))
    if declared > len(tif.pages):
        raise InputError(
            f"says it holds {declared} images but lists {len(tif.pages)}; open it in Fiji and save it again"
        )


def _count_pages(path: Path) -> int:
    """Length of the chain of image directories, followed to its very end."""
    with path.open("rb") as stream:
        order = {b"II": "<", b"MM": ">"}[stream.read(2)]
        big = struct.unpack(order + "H", stream.read(2))[0] == 43
        count, offset, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
        stream.seek(8 if big else 4)
        seen: set[int] = set()
        while position := struct.unpack(order + offset, stream.read(8 if big else 4))[0]:
            if position in seen:
                raise InputError("its list of pages runs in a circle")
            seen.add(position)
            stream.seek(position)
            entries = struct.unpack(order + count, stream.read(8 if big else 2))[0]
            if entries > _MOST_TAGS:
                raise InputError(f"claims {entries} tags on one page: its list of pages is damaged")
            stream.seek(entries * entry, 1)
    return len(seen)


def _orientation(page: Any) -> int:
    return int(_tag(page, _ORIENTATION) or 1)


def _depth(page: Any) -> int:
    bits = page.bitspersample
    return int(max(bits)) if isinstance(bits, (tuple, list)) else int(bits)


def _tag(page: Any, code: int) -> Any:
    return page.tags.valueof(code)


def _own_texts(tif: Any) -> dict[str, Any]:
    info = (tif.imagej_metadata or {}).get("Info") or vendor.ome_comment(
        _tag(tif.pages[0], vendor.DESCRIPTION), OME_NAMESPACE
    )
    if not isinstance(info, str) or not info.lstrip().startswith("{"):
        return {}
    try:
        texts = json.loads(info)
    except json.JSONDecodeError:
        return {}
    return texts if isinstance(texts, dict) else {}


def _description(structure: Microstructure) -> str:
    """ImageJ's own header lines; ``um`` rather than the micro sign, which no encoding garbles."""
    lines = ["ImageJ=1.53t"]
    if structure.ndim == 3:
        lines += [f"images={structure.shape[0]}", f"slices={structure.shape[0]}", f"spacing={structure.spacing[0]!r}"]
    return "\n".join([*lines, "unit=um", "loop=false", ""])
