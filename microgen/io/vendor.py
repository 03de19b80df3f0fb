"""Pixel size and data bar in the tags that microscopes and image programs leave in a TIFF.

Each function takes the tags of the first page and the picture's ``(height, width)`` and returns what it
found, or nothing. A tag that is damaged counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from microgen.io.pixel_size import PixelSize, from_dpi, sized, unit_um

Tags = Mapping[int, Any]
Shape = tuple[int, int]
Sizes = tuple[PixelSize, ...]

_STACKED = ("channels", "slices", "frames")

DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 270, 282, 283, 296
ZEISS, FEI_SFEG, FEI_HELIOS, TESCAN = 34118, 34680, 34682, 50431


def find_sizes(tags: Tags, shape: Shape) -> Sizes:
    """All pixel sizes stated in the tags, microscopes first, print resolution last."""
    return tuple(size for reader in _READERS for size in reader(tags, shape))


def find_bar(tags: Tags, shape: Shape) -> int:
    """Rows of data bar at the bottom by metadata, 0 where none is stated.

    FEI/Thermo pictures are taller than the scan (``[Image] ResolutionY``); TESCAN states ``ImageStripSize``.
    Zeiss burns its bar into the scanned rows and does not state its height.
    """
    fei = _fei(tags)
    rows = _number(fei.get("Image", {}).get("ResolutionY"))
    if rows is not None and _number(fei["Image"].get("ResolutionX")) == shape[1]:
        return _within(shape[0] - rows, shape)
    strip = _number(_ini_value(_text(tags.get(TESCAN)), "ImageStripSize"))
    return _within(strip or 0, shape)


def fei(tags: Tags, shape: Shape) -> Sizes:
    """FEI/Thermo tags 34682 and 34680: ``PixelWidth`` in metres, or field width over columns."""
    sections = _fei(tags)
    columns = _number(sections.get("Image", {}).get("ResolutionX"))
    # An export of other width than the scan has other pixels; the tag still speaks of the scan.
    scale = columns / shape[1] if columns else 1.0
    confidence = "high" if scale == 1.0 else "medium"
    for name in ("Scan", "EScan", "IScan"):
        section = sections.get(name, {})
        x, y = (_number(section.get(key)) for key in ("PixelWidth", "PixelHeight"))
        if x:
            um = (1e6 * scale * (y or x), 1e6 * scale * x)
            return sized(um, f"FEI/Thermo tag [{name}] PixelWidth", confidence)  # type: ignore[arg-type]
    for name in ("EBeam", "IBeam", "IRBeam"):
        width = _number(sections.get(name, {}).get("HFW"))
        if width:
            um = (1e6 * width / shape[1],) * 2
            return sized(um, f"FEI/Thermo tag [{name}] HFW", confidence)  # type: ignore[arg-type]
    return ()


def zeiss(tags: Tags, shape: Shape) -> Sizes:
    """Zeiss SmartSEM tag 34118: the named pixel size, or the unnamed one, which is for 1024 columns."""
    found = tags.get(ZEISS)
    if not isinstance(found, Mapping):
        return ()
    unnamed = found.get("", ())
    metres = _number(unnamed[3]) if len(unnamed) > 3 else None
    exact = 1e6 * metres * 1024 / shape[1] if metres else None
    for name in ("ap_image_pixel_size", "ap_pixel_size"):
        named = _zeiss_named(found.get(name))
        if named:
            # The named value is rounded to a few digits: take the exact one where both agree.
            um = exact if exact and abs(exact / named - 1) < 0.01 else named
            return sized((um, um), f"Zeiss tag {name}", "high")
    return sized((exact, exact), "Zeiss tag, unnamed value", "high")


def tescan(tags: Tags, shape: Shape) -> Sizes:
    """TESCAN tag 50431: ``PixelSizeX`` and ``PixelSizeY`` in metres."""
    return tescan_text(_text(tags.get(TESCAN)), "TESCAN tag PixelSizeX")


def tescan_text(text: str, origin: str) -> Sizes:
    """TESCAN header text, in the tag or in the file beside the picture."""
    x, y = (_number(_ini_value(text, key)) for key in ("PixelSizeX", "PixelSizeY"))
    return sized((1e6 * (y or x), 1e6 * x), origin, "high") if x else ()


def ome(tags: Tags, shape: Shape) -> Sizes:
    """OME-XML: ``PhysicalSizeX`` and its unit, micrometres unless stated.

    Source: OME schema 2016-06, element Pixels.
    """
    pixels = next(_ome_nodes(tags.get(DESCRIPTION), "Pixels"), None)
    if pixels is None:
        return ()
    z, y, x = (_ome_axis(pixels.attrib, axis) for axis in "ZYX")
    return sized((z, y, x) if z else (y, x), "OME-XML PhysicalSizeX", "high")


def stack_axes(description: Any) -> dict[str, int]:
    """Lengths of the axes along which OME and ImageJ line up the pages of a file, those longer than 1.

    >>> stack_axes("ImageJ=1.53t\\nimages=20\\nchannels=2\\nslices=10\\n")
    {'channels': 2, 'slices': 10}
    """
    stated: Mapping[str, str | None] = {}
    if (pixels := next(_ome_nodes(description, "Pixels"), None)) is not None:
        stated = {name: pixels.get(f"Size{axis}") for name, axis in zip(_STACKED, "CZT", strict=True)}
    elif _text(description).startswith("ImageJ="):
        stated = {name: _ini_value(_text(description), name) for name in _STACKED}
    lengths = {name: int(text) for name, text in stated.items() if text and text.isdecimal() and len(text) < 10}
    return {name: length for name, length in lengths.items() if length > 1}


def ome_comment(description: Any, namespace: str) -> str | None:
    """Text of the comment annotation of OME-XML that has this namespace."""
    for node in _ome_nodes(description, "CommentAnnotation"):
        if node.get("Namespace") == namespace:
            return next((child.text for child in node if child.tag.endswith("Value")), None)
    return None


def imagej(tags: Tags, shape: Shape) -> Sizes:
    """ImageJ/Fiji: ``unit=`` in the description, pixels per unit in the resolution tags.

    Inches and centimetres come from print resolutions that ImageJ takes over when it saves: never trusted.
    """
    text = _text(tags.get(DESCRIPTION))
    if not text.startswith("ImageJ="):
        return ()
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    unit = unit_um(lines.get("unit", ""))
    density = _ratio(tags.get(X_RESOLUTION)), _ratio(tags.get(Y_RESOLUTION)) or _ratio(tags.get(X_RESOLUTION))
    if unit is None or not all(density):
        return ()
    x, y = (unit / d for d in density if d)
    if unit >= 1e4:
        return sized((y, x), f"ImageJ unit={lines['unit']}", "low")
    slices = _number(lines.get("spacing"))
    z = slices * (unit_um(lines.get("zunit", "")) or unit) if slices else None
    return sized((z, y, x) if z else (y, x), "ImageJ unit and resolution", "medium")


def resolution(tags: Tags, shape: Shape) -> Sizes:
    """Plain TIFF resolution in inches or centimetres: usually for printing, never used by itself."""
    x, y = _ratio(tags.get(X_RESOLUTION)), _ratio(tags.get(Y_RESOLUTION))
    unit = _number(tags.get(RESOLUTION_UNIT))
    if not x or not y or unit not in (2, 3) or _text(tags.get(DESCRIPTION)).startswith("ImageJ="):
        return ()
    per_inch = 2.54 if unit == 3 else 1.0
    return from_dpi((x * per_inch, y * per_inch), "TIFF resolution tag")


_READERS: tuple[Callable[[Tags, Shape], Sizes], ...] = (fei, zeiss, tescan, ome, imagej, resolution)


def _fei(tags: Tags) -> Mapping[str, Mapping[str, Any]]:
    found = tags.get(FEI_HELIOS) or tags.get(FEI_SFEG)
    if not isinstance(found, Mapping):
        return {}
    return {name: section for name, section in found.items() if isinstance(section, Mapping)}


def _zeiss_named(entry: Any) -> float | None:
    """Micrometres from tifffile's ``(name, value, unit)``."""
    if not isinstance(entry, tuple) or len(entry) < 3:
        return None
    value, unit = _number(entry[1]), unit_um(str(entry[2]))
    return value * unit if value and unit else None


def _ome_nodes(description: Any, name: str) -> Iterator[ElementTree.Element]:
    """Elements of that name in OME-XML, none where the description is something else."""
    text = _text(description)
    if "<OME" not in text or "<!ENTITY" in text:
        return
    try:
        root = ElementTree.fromstring(text.strip("\0 \r\n").encode())
    except ElementTree.ParseError:
        return
    yield from (node for node in root.iter() if node.tag.rpartition("}")[2] == name)


def _ome_axis(attributes: Mapping[str, str], axis: str) -> float | None:
    value = _number(attributes.get(f"PhysicalSize{axis}"))
    unit = unit_um(attributes.get(f"PhysicalSize{axis}Unit", "um"))
    return value * unit if value and unit else None


def _ini_value(text: str, key: str) -> str | None:
    match = re.search(rf"^[ \t]*{key}[ \t]*=[ \t]*([^\r\n\0]*)", text, re.MULTILINE)
    return match[1].strip() if match else None


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        # TESCAN keeps binary data before its text: each byte is a character, none can fail.
        return bytes(value[: 1 << 20]).decode("latin-1").replace("\0", "\n")
    return value if isinstance(value, str) else ""


def _ratio(value: Any) -> float | None:
    try:
        numerator, denominator = value
        return float(numerator) / float(denominator)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _within(rows: float, shape: Shape) -> int:
    return int(rows) if 0 < rows < shape[0] else 0
