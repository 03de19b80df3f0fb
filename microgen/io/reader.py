"""Reading any supported file into Microstructures with a settled scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure, files
from microgen.core.recipe import RECIPE_KEY
from microgen.io import sidecars
from microgen.io.bar import suggest_crop_bottom
from microgen.io.colour import Colour, to_gray
from microgen.io.formats import format_of
from microgen.io.guard import reading
from microgen.io.own import Own
from microgen.io.pixel_size import PixelSize, settle
from microgen.io.recording import MAX_PIXELS, Options, Recording


@dataclass(frozen=True)
class _Wishes:
    """Arguments of :func:`read` that hold for every page."""

    pixel_size_um: float | Sequence[float] | None
    crop_bottom: int | None
    colour: Colour


def read(
    path: Path | str,
    *,
    pixel_size_um: float | Sequence[float] | None = None,
    crop_bottom: int | None = None,
    colour: Colour = "refuse",
    volume: bool | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Microstructure]:
    """Read a file into Microstructures, several for a stack of pictures.

    Values are kept as recorded: type, bit depth and range. Foreign files give the field ``intensity``; files that
    microgen wrote give the fields that were written.

    Parameters
    ----------
    path
        PNG, JPEG, BMP, TIFF, ``.npy``, or microgen's ``.h5``.
    pixel_size_um
        Distance between pixels in micrometres, one number or one per axis (``(y, x)``, ``(z, y, x)``). It wins over
        what the file says; where it contradicts that by more than 2 %, a warning is recorded.
    crop_bottom
        Rows to cut off at the bottom (the data bar); None cuts what the metadata state, 0 cuts nothing.
    colour
        ``"refuse"`` a truly coloured picture, or take its ``"luminance"`` (ITU-R BT.601).
    volume
        True: the pages are one volume ``(Z, Y, X)``. False: they are pictures. None: a volume for ``.npy`` and for
        volumes microgen wrote, pictures otherwise.
    max_pixels
        Limit for files that expand more than 20 times when opened.

    Returns
    -------
    list of Microstructure
        ``source`` holds ``file``, ``sha256``, ``pixel_size`` (``um`` per axis, ``origin``, ``confidence``),
        ``bit_depth``, ``saturation`` (shares of pixels at the ends of the range), ``cropped_bottom``, ``colour``,
        ``warnings``, and ``recipe`` and ``page`` where there are any.

    Raises
    ------
    InputError
        If the file cannot be read whole, holds NaN, or no pixel size is given and none is found.
    """
    path = Path(path)
    module = format_of(path)
    wishes = _Wishes(pixel_size_um, crop_bottom, colour)
    with reading(path):
        if path.is_dir():
            raise InputError(f"{path} is a folder; list its files with find_inputs")
        recording: Recording = module.read(path, Options(volume, max_pixels))
        facts = {"file": str(path), "sha256": files.sha256(path)}
        if recording.structure is not None:
            return [_own_structure(path, recording, recording.structure, wishes, facts)]
        recording = sidecars.add(path, recording)
        return [_structure(path, recording, page, wishes, facts) for page in range(len(recording.pages))]


def read_recipe(path: Path | str) -> dict[str, Any] | None:
    """Return the recipe inside a file that microgen wrote, or None where there is none.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    path = Path(path)
    module = format_of(path)
    if not hasattr(module, "read_own"):
        return None
    with reading(path):
        recipe: dict[str, Any] | None = module.read_own(path).get(RECIPE_KEY)
    return recipe


def _structure(path: Path, recording: Recording, page: int, wishes: _Wishes, facts: dict[str, Any]) -> Microstructure:
    """Settle colour, data bar and scale of one page."""
    values, merged = _gray(recording, page, wishes.colour)
    size, warnings = settle(path, recording.sizes, wishes.pixel_size_um, values.ndim)
    rows = _rows(path, wishes.crop_bottom, recording.bar, values.shape[-2])
    values = values[..., : values.shape[-2] - rows, :]
    source = {
        **facts,
        "pixel_size": size.to_dict(),
        "bit_depth": recording.bit_depth,
        "saturation": _saturation(values, recording.bit_depth),
        "cropped_bottom": rows,
        "colour": merged,
        "warnings": warnings,
    }
    if len(recording.pages) > 1:
        source |= {"page": page, "pages": len(recording.pages)}
    if recording.own:
        return _labelled(recording.own, values, size, source)
    warnings += _remarks(path, values, wishes.crop_bottom, rows)
    return Microstructure({"intensity": values}, size.um, source=source)


def _gray(recording: Recording, page: int, colour: Colour) -> tuple[NDArray[Any], str]:
    stored = recording.pages[page]
    if recording.kind == "volume":
        return stored, "gray"
    full_scale = 1.0 if stored.dtype.kind == "f" else float(2**recording.bit_depth - 1)
    return to_gray(stored, colour, full_scale)


def _labelled(own: Own, values: NDArray[Any], size: PixelSize, source: dict[str, Any]) -> Microstructure:
    """Give a field that microgen wrote its name and type back."""
    if own.recipe is not None:
        source["recipe"] = own.recipe
    return Microstructure({own.name: values.astype(own.dtype)}, size.um, own.phases, own.scalars, source, own.crystals)


def _own_structure(
    path: Path, recording: Recording, structure: Microstructure, wishes: _Wishes, facts: dict[str, Any]
) -> Microstructure:
    """Lay the wishes over a structure that came complete from its file."""
    stored = (PixelSize(structure.spacing, "microgen", "high"),)
    size, warnings = settle(path, stored, wishes.pixel_size_um, structure.ndim)
    rows = _rows(path, wishes.crop_bottom, 0, structure.shape[-2])
    if rows:
        whole = [slice(None)] * structure.ndim
        whole[-2] = slice(0, structure.shape[-2] - rows)
        structure = structure.crop(*whole)
    source = {**facts, "pixel_size": size.to_dict(), "cropped_bottom": rows, "warnings": warnings}
    if recording.own and recording.own.recipe is not None:
        source["recipe"] = recording.own.recipe
    if structure.source:
        source["source"] = dict(structure.source)
    return structure.replace(spacing=size.um, source=source)


def _rows(path: Path, asked: int | None, stated: int, height: int) -> int:
    rows = stated if asked is None else asked
    if not 0 <= rows < height:
        raise InputError(f"{path}: crop_bottom must be between 0 and {height - 1} rows, got {rows}")
    return rows


def _saturation(values: NDArray[Any], depth: int) -> dict[str, float]:
    """Shares of pixels at the lowest and highest value of the recording; for floats, at their own extremes."""
    low, high = (values.min(), values.max()) if values.dtype.kind == "f" else (0, 2**depth - 1)
    return {"low": float(np.mean(values == low)), "high": float(np.mean(values == high))}


def _remarks(path: Path, values: NDArray[Any], asked: int | None, cropped: int) -> list[str]:
    """Warnings about the picture itself."""
    if values.min() == values.max():
        return [f"{path}: all pixels have the same value {values.flat[0]}"]
    bar = 0 if cropped or asked is not None or values.dtype.kind == "b" else suggest_crop_bottom(values)
    return [f"{path}: the bottom {bar} rows look like a data bar; pass --crop-bottom {bar}"] if bar else []
