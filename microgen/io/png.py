"""PNG: 8 and 16 bits, with spacing and recipe in text chunks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from microgen.core import InputError, Microstructure
from microgen.io import own, pillow

EXTENSIONS = (".png",)
FLAT = True

read = pillow.read
read_own = pillow.read_own

_ALLOWED = ("uint8", "uint16")


def write(path: Path, structure: Microstructure, recipe: Mapping[str, Any] | None) -> None:
    """Write the only field of a picture as gray PNG; the values are stored exactly.

    Resolution stands in ``pHYs`` as is the custom, and exactly in the text ``microgen:spacing_um``.
    """
    ((name, values),) = structure.fields.items()
    if values.ndim != 2:
        raise InputError(f"a PNG holds one picture, not {values.shape}; write .tif or .h5")
    stored = own.storable(name, values, _ALLOWED, "write .tif or .h5, which keep every type")
    y, x = structure.spacing
    info = PngInfo()
    for key, value in own.texts(structure, recipe).items():
        info.add_itxt(key, own.dumps(value))
    if packet := own.digital_source(recipe):
        info.add_itxt("XML:com.adobe.xmp", packet)
    Image.fromarray(stored).save(path, format="PNG", pnginfo=info, **_resolution(y, x))


def _resolution(y: float, x: float) -> dict[str, Any]:
    """Dots per inch for Pillow, which writes whole pixels per metre in 31 bits; nothing where they do not fit."""
    per_metre = (1e6 / x, 1e6 / y)
    return {"dpi": tuple(v * 0.0254 for v in per_metre)} if all(1 <= v < 2**31 for v in per_metre) else {}
