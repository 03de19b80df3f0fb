"""Small etched micrographs with a known grain structure, for tests of the data room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from microgen.core import Microstructure


def etched(seed: int, shape=(160, 200), *, grain_px: float = 14.0, line_px: float = 1.5, noise: float = 4.0):
    """Gray picture of a Poisson-Voronoi structure with dark grooves, uint8."""
    rng = np.random.default_rng(seed)
    pad = 4 * grain_px
    size = np.array(shape) + 2 * pad
    # a Poisson-Voronoi structure has a mean intercept of pi / 4 sqrt(A)
    count = int(np.prod(size) / (grain_px * 4 / np.pi) ** 2)
    tree = cKDTree(rng.random((count, 2)) * size - pad)
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    distance, _ = tree.query(points, k=2)
    groove = np.exp(-(((distance[..., 1] - distance[..., 0]) / line_px / 2) ** 2))
    gray = 220 - 150 * groove + ndimage.gaussian_filter(rng.normal(0, noise, shape), 0.5)
    return gray.clip(0, 255).astype(np.uint8)


def picture(values, spacing: float = 0.5, **scalars: float) -> Microstructure:
    """Wrap gray values."""
    return Microstructure({"intensity": values}, (spacing,) * values.ndim, scalars=scalars)


def save(folder: Path, name: str, values) -> Path:
    """Write a PNG without any scale."""
    from PIL import Image

    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path
