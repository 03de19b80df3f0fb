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
from microgen.io.formats import FORMATS, extension_of, format_of
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
    euler_frame: str | None


def read(
    path: Path | str,
    *,
    pixel_size_um: float | Sequence[float] | None = None,
    crop_bottom: int | None = None,
    colour: Colour = "refuse",
    volume: bool | None = None,
    max_pixels: int = MAX_PIXELS,
    dataset: str | None = None,
    raw_shape: Sequence[int] | None = None,
    raw_dtype: str | None = None,
    euler_frame: str | None = None,
) -> list[Microstructure]:
    """Read a file into Microstructures, several for a stack of pictures.

    Values are kept as recorded: type, bit depth and range. Foreign pictures give the field ``intensity``; EBSD maps
    give ``phase``, ``mask``, ``orientation`` and their other columns; files that microgen wrote give the fields that
    were written.

    Parameters
    ----------
    path
        A file with one of the extensions in :data:`microgen.io.FORMATS`; docs/file_formats.md describes each.
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
    dataset
        Path of the array or map inside an HDF5 file that holds several.
    raw_shape, raw_dtype
        Grid ``(Y, X)`` or ``(Z, Y, X)`` and numpy type of a file of bare numbers.
    euler_frame
        Frame in which the Euler angles of an EBSD map are stated, as in :func:`microgen.core.frames.frame_axes` or
        ``"unknown"``, where you know better than the file. It is written down in ``source["euler_frame"]``; no angle
        is changed.

    Returns
    -------
    list of Microstructure
        ``source`` holds ``file``, ``sha256``, ``pixel_size`` (``um`` per axis, ``origin``, ``confidence``),
        ``bit_depth``, ``saturation`` (shares of pixels at the ends of the range), ``cropped_bottom``, ``colour``,
        ``warnings``, and ``recipe`` and ``page`` where there are any; for EBSD maps also ``format``,
        ``euler_frame`` and facts of the header.

    Raises
    ------
    InputError
        If the file cannot be read whole, holds NaN, or no pixel size is given and none is found.
    """
    path = Path(path)
    module = format_of(path)
    wishes = _Wishes(pixel_size_um, crop_bottom, colour, known_frame(euler_frame))
    options = Options(volume, max_pixels, dataset, shape_of(raw_shape), raw_dtype)
    with reading(path):
        if path.is_dir():
            raise InputError(f"{path} is a folder; list its files with find_inputs")
        recording: Recording = module.read(path, options)
        facts = {"file": str(path), "sha256": files.sha256(path)}
        if recording.structure is not None:
            return [_whole(path, recording, recording.structure, wishes, facts)]
        recording = sidecars.add(path, recording)
        return [_structure(path, recording, page, wishes, facts) for page in range(len(recording.pages))]


def read_recipe(path: Path | str) -> dict[str, Any] | None:
    """Return the recipe inside a file that microgen wrote, or None where there is none.

    Also of files that are only written, like ``.inp``.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    path = Path(path)
    module = FORMATS.get(extension_of(path)) or format_of(path)
    if not hasattr(module, "read_own"):
        return None
    with reading(path):
        recipe: dict[str, Any] | None = module.read_own(path).get(RECIPE_KEY)
    return recipe


def known_frame(name: str | None) -> str | None:
    """Return the name of an Euler frame, or say which there are."""
    if name not in (None, "unknown"):
        from microgen.core.frames import frame_axes  # loads scipy

        frame_axes(str(name))
    return name


def shape_of(raw: Sequence[int] | None) -> tuple[int, ...] | None:
    """Return a grid of two or three positive whole numbers, or refuse it."""
    if raw is None:
        return None
    shape = tuple(int(n) for n in raw)
    if len(shape) not in (2, 3) or min(shape) < 1 or any(n != m for n, m in zip(shape, raw, strict=True)):
        raise InputError(f"raw_shape is (Y, X) or (Z, Y, X) in whole numbers, got {tuple(raw)}")
    return shape


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


def _whole(
    path: Path, recording: Recording, structure: Microstructure, wishes: _Wishes, facts: dict[str, Any]
) -> Microstructure:
    """Lay the wishes over a structure that came complete from its file."""
    origin = "microgen" if recording.own else "file header"
    stated = recording.sizes or (PixelSize(structure.spacing, origin, "high"),)
    size, warnings = settle(path, stated, wishes.pixel_size_um, structure.ndim)
    rows = _rows(path, wishes.crop_bottom, 0, structure.shape[-2])
    if rows:
        whole = [slice(None)] * structure.ndim
        whole[-2] = slice(0, structure.shape[-2] - rows)
        structure = structure.crop(*whole)
    source = {**facts, "pixel_size": size.to_dict(), "cropped_bottom": rows, "warnings": warnings}
    said = _said(path, recording, structure, warnings)
    if "orientation" in structure:
        said["euler_frame"] = _frame(path, recording, structure, wishes, warnings)
    return structure.replace(spacing=size.um, source={**source, **said})


def _said(path: Path, recording: Recording, structure: Microstructure, warnings: list[str]) -> dict[str, Any]:
    """Return what the file itself says, and put its warnings before those about the scale."""
    if recording.own is None:
        warnings[:0] = [f"{path}: {warning}" for warning in structure.source.get("warnings", ())]
        return {key: value for key, value in structure.source.items() if key != "warnings"}
    said = {} if recording.own.recipe is None else {"recipe": recording.own.recipe}
    return {**said, "source": dict(structure.source)} if structure.source else said


def _frame(path: Path, recording: Recording, structure: Microstructure, wishes: _Wishes, warnings: list[str]) -> str:
    """Return the frame of the Euler angles: that of the caller, else that of the file."""
    stated = str(structure.source.get("euler_frame", "unknown"))
    if wishes.euler_frame is None:
        if stated == "unknown" and recording.own is None:
            warnings.append(
                f"{path}: it is not known in which frame its Euler angles are stated; if you know it pass "
                f'--euler-frame (in Python read(path, euler_frame="edax"))'
            )
        return stated
    if stated not in ("unknown", wishes.euler_frame):
        warnings.append(f"{path}: its Euler frame is taken as {wishes.euler_frame!r}, the file says {stated!r}")
    return wishes.euler_frame


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
