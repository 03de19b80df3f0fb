"""A folder of pictures as one volume: each file is a slice, in the natural order of their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microgen.core import InputError, Microstructure
from microgen.core.files import sha256
from microgen.io.colour import Colour
from microgen.io.folders import find_inputs
from microgen.io.pixel_size import PixelSize, settle
from microgen.io.reader import read


def read_slices(
    source: Path | str | Sequence[Path | str],
    *,
    pixel_size_um: float | Sequence[float],
    crop_bottom: int | None = None,
    colour: Colour = "refuse",
) -> Microstructure:
    """Read pictures as the slices of a volume ``(Z, Y, X)``.

    Parameters
    ----------
    source
        A folder, whose pictures are taken in the natural order of their names (``slice2`` before ``slice10``), or a
        list of files, taken in the order given.
    pixel_size_um
        Distance of voxels in micrometres ``(z, y, x)``, or one number for cubic ones. It must be given: no picture
        knows how far the next one is.
    crop_bottom, colour
        As in :func:`microgen.io.read`.

    Returns
    -------
    Microstructure
        The field of the pictures (``intensity``, or the one microgen wrote), of their type.

    Raises
    ------
    InputError
        If slices differ in size, type or field, are volumes or stacks themselves, or one is missing in a folder
        whose names are numbered.
    """
    files = _files(source)
    size, _ = settle(files[0].parent, (), pixel_size_um, 3)
    how: dict[str, Any] = {"pixel_size_um": size.um[1:], "crop_bottom": crop_bottom, "colour": colour}
    first = _slice(files[0], how)
    ((name, values),) = first.fields.items()
    volume = np.zeros((len(files), *values.shape), values.dtype)
    warnings = list(first.source["warnings"])
    for z, file in enumerate(files):
        one = first if z == 0 else _slice(file, how)
        _check_alike(files[0], first, file, one)
        volume[z] = one[name]
        warnings += [] if z == 0 else [text for text in one.source["warnings"] if "contradicts" not in text]
    return first.replace(fields={name: volume}, spacing=size.um, source=_source(files, first, size, warnings))


def _files(source: Path | str | Sequence[Path | str]) -> list[Path]:
    if isinstance(source, (str, Path)):
        folder = Path(source)
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder of slices")
        files = [file for file in find_inputs([folder]) if file.parent == folder]
        _check_numbers(folder, files)
    else:
        files = [Path(file) for file in source]
    if len(files) < 2:
        raise InputError(f"{source} holds {len(files)} pictures; a volume needs two slices at least")
    return files


def _check_numbers(folder: Path, files: list[Path]) -> None:
    """Refuse a folder whose numbered names have a gap: the volume would be squeezed there."""
    found = [[int(part) for part in re.findall(r"\d+", file.stem)] for file in files]
    if len(files) < 3 or len({len(numbers) for numbers in found}) != 1 or not found[0]:
        return
    steps = np.diff(np.array(found), axis=0)
    moving = np.flatnonzero(steps.any(axis=0))
    if len(moving) != 1:
        return
    jumps = steps[:, moving[0]]
    usual = int(np.median(jumps))
    odd = np.flatnonzero(jumps != usual)
    if len(odd):
        before, after = files[odd[0]], files[odd[0] + 1]
        raise InputError(
            f"{folder}: after {before.name} comes {after.name}, while numbers rise by {usual} elsewhere; a slice is "
            "missing or does not belong here (a list of files is read as it is)"
        )


def _slice(file: Path, how: dict[str, Any]) -> Microstructure:
    found = read(file, **how)
    if len(found) != 1 or found[0].ndim != 2:
        raise InputError(f"{file} is a stack or a volume, not one slice; convert it by itself with --volume")
    if len(found[0].fields) != 1:
        raise InputError(f"{file} holds the fields {', '.join(found[0].fields)}; slices hold one field")
    return found[0]


def _check_alike(first_file: Path, first: Microstructure, file: Path, one: Microstructure) -> None:
    (name, values), (other, slice_) = next(iter(first.fields.items())), next(iter(one.fields.items()))
    for what, a, b in (
        ("field", name, other),
        ("size", values.shape, slice_.shape),
        ("type", values.dtype, slice_.dtype),
    ):
        if a != b:
            raise InputError(
                f"{file} has the {what} {b}, and {first_file.name} has {a}; slices of one volume are alike"
            )


def _source(files: list[Path], first: Microstructure, size: PixelSize, warnings: list[str]) -> dict[str, Any]:
    kept = {key: first.source[key] for key in ("bit_depth", "cropped_bottom", "colour") if key in first.source}
    hashes: dict[str, Any] = {"slices": [file.name for file in files], "slice_sha256": [sha256(file) for file in files]}
    return {"file": str(files[0].parent), **hashes, "pixel_size": size.to_dict(), **kept, "warnings": warnings}
