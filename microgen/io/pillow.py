"""PNG, JPEG and BMP decoding, and what those files say about scale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from microgen.core import InputError
from microgen.io import own
from microgen.io.guard import check_size
from microgen.io.pixel_size import from_dpi
from microgen.io.recording import Options, Recording

_KINDS = ("PNG", "JPEG", "BMP", "DIB")
_ORIENTATION = 274


def read(path: Path, options: Options) -> Recording:
    """Read a PNG, JPEG or BMP picture, whatever its name says it is."""
    with _open(path) as image:
        check_size(path, image.width * image.height, image.width * image.height * 3, options.max_pixels)
        if getattr(image, "n_frames", 1) > 1 and image.format == "PNG":
            raise InputError("is an animation; save its frames as single pictures")
        depth = _png_depth(path) if image.format == "PNG" else 1 if image.mode == "1" else 8
        image.load()
        values = oriented(unscaled(pixels(image), depth), int(image.getexif().get(_ORIENTATION, 1)))
        return Recording(
            pages=(values,),
            bit_depth=depth,
            sizes=from_dpi(image.info.get("dpi", (0, 0)), f"{image.format} resolution tag"),
            own=own.parse(getattr(image, "text", {}), values.shape),
        )


def pixels(image: Image.Image) -> NDArray[Any]:
    """Values of a decoded picture, ``(Y, X)`` or ``(Y, X, channels)``, bit depth kept."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode not in ("L", "LA", "RGB", "RGBA", "I", "F") and not image.mode.startswith("I;16"):
        raise InputError(f"has the colour model {image.mode}; save it as gray or RGB")
    values = np.asarray(image)
    return values.astype(values.dtype.newbyteorder("="))


def unscaled(values: NDArray[Any], depth: int) -> NDArray[Any]:
    """Undo Pillow's stretching of 2-bit and 4-bit gray over 0 .. 255."""
    return values // {2: 85, 4: 17}.get(depth, 1) if values.ndim == 2 else values


def oriented(values: NDArray[Any], code: int) -> NDArray[Any]:
    """Turn stored rows and columns upright by the orientation tag (TIFF 6.0, tag 274; 1 is upright)."""
    if code in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if code in (2, 3, 6, 7):
        values = values[:, ::-1]
    if code in (3, 4, 7, 8):
        values = values[::-1]
    return np.ascontiguousarray(values)


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=_KINDS)
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not a PNG, JPEG or BMP picture, or its beginning is damaged") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise InputError(f"{path} has more than the {limit} pixels read from this format; save it as TIFF") from error


def _png_depth(path: Path) -> int:
    """Bits per value from the PNG header; 16-bit colour is refused because it would be cut to 8 bits."""
    with path.open("rb") as stream:
        header = stream.read(26)
    depth, colour_type = header[24], header[25]
    if depth == 16 and colour_type != 0:
        raise InputError("is a PNG with 16 bits per colour; save it as 16-bit gray PNG or as TIFF")
    return 8 if colour_type == 3 else depth


def read_own(path: Path) -> dict[str, Any]:
    """Header texts that microgen wrote, without decoding the picture."""
    with _open(path) as image:
        texts = dict(getattr(image, "text", {}))
    return {key: json.loads(text) if key.startswith("microgen:") else text for key, text in texts.items()}
