"""Saying what a picture or sample file holds, also where it cannot be used as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microgen.core import Microstructure, files
from microgen.core.crystals import crystals_to_json
from microgen.io import sidecars
from microgen.io.bar import suggest_crop_bottom
from microgen.io.formats import format_of
from microgen.io.guard import reading
from microgen.io.own import Own
from microgen.io.pixel_size import PixelSize
from microgen.io.reader import known_frame, shape_of
from microgen.io.recording import MAX_PIXELS, Options, Recording


def inspect(
    path: Path | str,
    *,
    dataset: str | None = None,
    raw_shape: Sequence[int] | None = None,
    raw_dtype: str | None = None,
    euler_frame: str | None = None,
) -> dict[str, Any]:
    """Return what a file says about itself, without needing a pixel size.

    Parameters
    ----------
    dataset, raw_shape, raw_dtype, euler_frame
        As in :func:`microgen.io.read`.

    Returns
    -------
    dict
        JSON-able: ``kind`` (``"sample"`` for a file microgen wrote, ``"ebsd"`` for a map with orientations,
        ``"structure"`` for other maps and volumes of other programs, else ``"image"``), ``format``, ``shape``,
        ``dtype``, ``bit_depth``, ``pages``, every pixel size found with origin and confidence, rows of data bar
        (``stated`` by metadata, ``suggested`` by the look), files beside it, field and recipe. For maps also fields,
        phases with their crystals and shares, the share of indexed points, Euler frame, header and warnings.

    Raises
    ------
    InputError
        If the file cannot be read whole.
    """
    path = Path(path)
    module = format_of(path)
    frame = known_frame(euler_frame)
    options = Options(None, MAX_PIXELS, dataset, shape_of(raw_shape), raw_dtype)
    with reading(path):
        recording: Recording = module.read(path, options)
        facts = {"file": str(path), "sha256": files.sha256(path), "format": module.__name__.rpartition(".")[2]}
        if recording.structure is None:
            return {**_about_pages(path, recording, facts), **_about_recipe(recording)}
        about = {**facts, **_about_structure(recording.structure)}
        if recording.own is None:
            return {**about, **_about_map(recording, recording.structure, frame)}
        return {"kind": "sample", **about, **_about_recipe(recording)}


def _about_structure(structure: Microstructure) -> dict[str, Any]:
    return {
        "shape": list(structure.shape),
        "spacing_um": list(structure.spacing),
        "extent_um": list(structure.extent_um),
        "fields": {name: values.dtype.name for name, values in structure.fields.items()},
        "phases": list(structure.phases),
        "scalars": dict(structure.scalars),
    }


def _about_map(recording: Recording, structure: Microstructure, frame: str | None) -> dict[str, Any]:
    """What a map or volume of another program says about itself."""
    sizes = recording.sizes or (PixelSize(structure.spacing, "file header", "high"),)
    about: dict[str, Any] = {**structure.source, "pixel_sizes": [size.to_dict() for size in sizes]}
    if structure.crystals:
        about["crystals"] = crystals_to_json(structure.crystals)
    if "phase" in structure and structure.phases:
        counts = np.bincount(structure["phase"].reshape(-1), minlength=len(structure.phases))
        about["phase_shares"] = {n: float(c / counts.sum()) for n, c in zip(structure.phases, counts, strict=False)}
    if "orientation" not in structure:
        return {"kind": "structure", **about}
    return {"kind": "ebsd", **about, "euler_frame": frame or about.get("euler_frame", "unknown")}


def _about_pages(path: Path, recording: Recording, facts: dict[str, Any]) -> dict[str, Any]:
    page = recording.pages[0]
    about: dict[str, Any] = {
        "kind": "sample" if recording.own else "image",
        **facts,
        "shape": list(page.shape),
        "dtype": page.dtype.name,
        "bit_depth": recording.bit_depth,
        "pages": len(recording.pages),
    }
    return about | (_about_own(recording.own) if recording.own else _about_scale(path, recording))


def _about_own(own: Own) -> dict[str, Any]:
    return {
        "field": own.name,
        "spacing_um": list(own.spacing),
        "phases": list(own.phases),
        "scalars": dict(own.scalars),
    }


def _about_scale(path: Path, recording: Recording) -> dict[str, Any]:
    page = recording.pages[0]
    gray = page if page.ndim == 2 or recording.kind == "volume" else page[..., 0]
    recording = sidecars.add(path, recording)
    return {
        "pixel_sizes": [size.to_dict() for size in recording.sizes],
        "data_bar_rows": {"stated": recording.bar, "suggested": suggest_crop_bottom(gray)},
        "beside": [file.name for file in sidecars.beside(path)],
    }


def _about_recipe(recording: Recording) -> dict[str, Any]:
    recipe = recording.own.recipe if recording.own else None
    return {} if recipe is None else {"recipe": recipe}
