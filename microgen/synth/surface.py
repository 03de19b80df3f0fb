"""What a real section shows besides its structure: scratches, pits, dust, uneven light."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.floating[Any]]


def scratches(random: np.random.Generator, shape: tuple[int, ...], step_um: float, per_mm2: float) -> Float:
    """Return the depth (0 .. 1) of fine straight scratches, each in a direction and of a depth of its own.

    Parameters
    ----------
    shape
        Pixels ``(Y, X)``.
    step_um
        Micrometres per pixel.
    per_mm2
        Mean number of scratches in a square millimetre.
    """
    y, x = (
        np.arange(n, dtype=np.float64)[:, None] if axis == 0 else np.arange(n)[None] for axis, n in enumerate(shape)
    )
    found = np.zeros(shape)
    for _ in range(random.poisson(per_mm2 * np.prod(shape) * step_um**2 * 1e-6)):
        angle, width = random.uniform(0, np.pi), random.uniform(0.5, 1.3)
        row, column = (random.uniform(0, n) for n in shape)
        length = random.lognormal(0, 0.5) * 0.4 * max(shape)
        along = (y - row) * np.sin(angle) + (x - column) * np.cos(angle)
        across = (x - column) * np.sin(angle) - (y - row) * np.cos(angle)
        ends = 1 / (1 + np.exp((np.abs(along) - length / 2) / 3))
        found = np.maximum(found, random.uniform(0.2, 0.9) * np.exp(-0.5 * (across / width) ** 2) * ends)
    return found


def pits(random: np.random.Generator, shape: tuple[int, ...], step_um: float, per_mm2: float) -> Float:
    """Return the depth (0 .. 1) of small round pits; arguments as for :func:`scratches`."""
    found = np.zeros(shape)
    for radius_um in (0.35, 0.6, 1.0):
        count = random.poisson(per_mm2 * np.prod(shape) * step_um**2 * 1e-6 / 3)
        sigma = max(radius_um / step_um, 0.4)
        dots = np.zeros(shape)
        dots[tuple(random.integers(0, n, count) for n in shape)] = random.uniform(0.3, 1, count) * 2 * np.pi * sigma**2
        found += ndimage.gaussian_filter(dots, sigma)
    return np.asarray(np.clip(found, 0, 1))


def uneven(random: np.random.Generator, shape: tuple[int, ...], strength: float) -> Float:
    """Return a smooth factor around 1: a tilt and a fall towards the corners, of about `strength`."""
    y, x = (np.linspace(-1, 1, n) for n in shape)
    tilt_y, tilt_x, bend = random.normal(0, strength / 2, 3)
    return np.asarray(1 + tilt_y * y[:, None] + tilt_x * x[None] - np.abs(bend) * (y[:, None] ** 2 + x[None] ** 2))
