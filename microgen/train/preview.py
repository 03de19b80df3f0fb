"""Sample grids drawn while training: rows are conditions, columns are seeds, the same in every grid of a run."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from microgen.core import Condition, ConditionSpec, Microstructure
from microgen.core.files import write_bytes
from microgen.models.model import Model

SEEDS = (0, 1, 2)
GAP = 2


def draw_samples(model: Model, path: Path) -> NDArray[np.uint8]:
    """Write a grid of samples as PNG and return its pixels ``(Y, X)``; volumes show their middle slice."""
    rows = []
    for condition in preview_conditions(model.conditions):
        samples = model.sample(SEEDS, condition, preset="fast")
        rows.append([_slice(sample, model.codec.field) for sample in samples])
    pixels = mosaic(rows, low=model.codec.low, high=model.codec.high)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    write_bytes(path, stream.getvalue())
    return pixels


def preview_conditions(specs: Iterable[ConditionSpec]) -> list[Condition]:
    """Return low, middle and high of the first condition, all others in the middle of their ranges.

    >>> [c.scalars for c in preview_conditions([ConditionSpec("grain_size_um", "scalar", 1, 16, "log")])]
    [{'grain_size_um': 1.0}, {'grain_size_um': 4.0}, {'grain_size_um': 16.0}]
    """
    specs = list(specs)
    if not specs:
        return [Condition()]
    rest = {spec.name: between(spec, 0.5) for spec in specs[1:]}
    return [Condition({specs[0].name: between(specs[0], part), **rest}) for part in (0.0, 0.5, 1.0)]


def between(spec: ConditionSpec, part: float) -> float | str:
    """Return the value at a part of a condition's range, on its own scale; of directions, which close, two thirds.

    >>> between(ConditionSpec("steel", "scalar", 0, 2, "class", ("304", "316", "435Q")), 1.0)
    '435Q'
    >>> between(ConditionSpec("orientation_deg", "scalar", 0, 180, "axial"), 1.0)
    120.0
    """
    if spec.labels:
        return spec.labels[round(part * spec.high)]
    if spec.scale == "axial":
        return float(spec.low + part * 120)
    if spec.scale == "log":
        return float(spec.low * (spec.high / spec.low) ** part)
    return float(spec.low + part * (spec.high - spec.low))


def mosaic(rows: list[list[NDArray[np.float64]]], *, low: float, high: float) -> NDArray[np.uint8]:
    """Set pictures of one size side by side with white gaps; `low` is black, `high` is white.

    >>> mosaic([[np.zeros((1, 1)), np.ones((1, 1))]], low=0, high=1).tolist()
    [[0, 255, 255, 255]]
    """
    height, width = rows[0][0].shape
    across = max(map(len, rows)) * (width + GAP) - GAP
    pixels = np.full((len(rows) * (height + GAP) - GAP, across), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            gray = np.clip((picture - low) / (high - low), 0, 1) * 255
            top, left = y * (height + GAP), x * (width + GAP)
            pixels[top : top + height, left : left + width] = np.rint(gray)
    return pixels


def _slice(sample: Microstructure, field: str) -> NDArray[np.float64]:
    values = np.asarray(sample[field], np.float64)
    return values[len(values) // 2] if sample.ndim == 3 else values
