"""Rendering a structure as an optical micrograph of its polished and etched section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core import InputError, Microstructure
from microgen.core.seeds import rng
from microgen.synth.surface import scratches

Float = NDArray[np.floating[Any]]

_STREAM = 3


def render_micrograph(
    seed: int,
    microstructure: Microstructure,
    *,
    groove_um: float = 1.1,
    noise: float = 4.0,
    scratches_per_mm2: float = 0.0,
) -> Microstructure:
    """Draw the gray picture that a light microscope shows of an etched section.

    Boundaries of grains and phases are dark grooves of varying depth and width with a few short gaps; grains differ
    slightly in brightness, phases much, the first being the brightest; there are pits and specks, uneven illumination,
    blur and noise.

    Parameters
    ----------
    seed
        The same numbers give the same picture.
    microstructure
        Has the field ``grain``, ``phase`` or both, shape ``(Y, X)``.
    groove_um
        Typical full width at half depth of the grooves in micrometres.
    noise
        Standard deviation of the camera noise in gray levels.
    scratches_per_mm2
        Density of polishing scratches.

    Returns
    -------
    Microstructure
        The one given, with the field ``intensity`` (uint8) added.

    Raises
    ------
    InputError
        For a volume: cut a section first; or for a structure without grains and phases.
    """
    if microstructure.ndim != 2:
        raise InputError("a micrograph shows a section: cut a picture out of the volume first")
    random = rng(seed, _STREAM)
    grain = _regions(microstructure)
    step = float(np.mean(microstructure.spacing))
    picture = 222 + random.normal(0, 5, int(grain.max()) + 1)[grain]
    picture = picture - 6 * np.abs(_cloud(random, grain.shape, 2.0 / step)) - _darker_phases(microstructure)
    picture = picture * (
        1 - np.clip(_grooves(random, grain, groove_um / step) + _pits(random, grain.shape, step), 0, 0.85)
    )
    if scratches_per_mm2:
        picture = picture * (1 - 0.3 * scratches(random, grain.shape, step, scratches_per_mm2))
    picture = ndimage.gaussian_filter(picture * _illumination(random, grain.shape), 0.4)
    picture = picture + random.normal(0, noise, grain.shape)
    return microstructure.with_fields(intensity=np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def _regions(microstructure: Microstructure) -> NDArray[Any]:
    """What grooves surround: grains, else phases."""
    if "grain" in microstructure:
        return microstructure["grain"]
    if "phase" in microstructure:
        return microstructure["phase"].astype(np.int32) + 1
    raise InputError("a micrograph needs the field grain or phase")


def _darker_phases(microstructure: Microstructure) -> Float | float:
    """Gray levels that the second and further phases are darker by, about 140 for the last."""
    if "phase" not in microstructure:
        return 0.0
    present = np.unique(microstructure["phase"])
    return np.asarray(np.linspace(0, 140, max(len(present), 2))[np.searchsorted(present, microstructure["phase"])])


def _grooves(random: np.random.Generator, grain: NDArray[Any], width: float) -> Float:
    """Depth 0 .. 1 of boundary grooves; each boundary has a depth and a width of its own."""
    every, first, second = slice(None), slice(-1), slice(1, None)
    sides = [((first, every), (second, every)), ((every, first), (every, second))]
    count = int(grain.max()) + 1
    keys = [np.minimum(grain[a], grain[b]).astype(np.int64) * count + np.maximum(grain[a], grain[b]) for a, b in sides]
    crossed = [grain[a] != grain[b] for a, b in sides]
    pairs = np.unique(np.concatenate([key[at] for key, at in zip(keys, crossed, strict=True)]))
    depth = random.beta(6, 1.6, len(pairs))
    broad = random.uniform(0.75, 1.3, len(pairs))
    which = [np.searchsorted(pairs, key[at]) for key, at in zip(keys, crossed, strict=True)]
    gaps = np.clip(2.2 + _cloud(random, grain.shape, 2.5 * width), 0, 1)
    grooves = np.zeros(grain.shape)
    for share, factor in ((broad < 1, 0.85), (broad >= 1, 1.15)):
        line = _lines(grain.shape, sides, crossed, [(depth * share)[w] for w in which])
        grooves += _blurred(line * gaps, width * factor)
    return np.asarray(grooves * 0.8)


def _lines(shape: tuple[int, ...], sides: Sequence[Any], crossed: Sequence[Any], depths: Sequence[Float]) -> Float:
    """Half of the depth on either side of each boundary.

    Where a staircase touches a pixel twice, the larger value makes slanted lines too faint (0.71 at 45 degrees) and the
    sum makes them too strong (1.41): their mean is nearly the same in all directions.
    """
    largest, total = np.zeros(shape), np.zeros(shape)
    for places, at, depth in zip(sides, crossed, depths, strict=True):
        for place in places:
            largest[place][at] = np.maximum(largest[place][at], depth / 2)
            total[place][at] += depth / 2
    return np.asarray((largest + total) / 2)


def _blurred(line: Float, width: float) -> Float:
    """Give lines of one pixel a Gaussian profile of a full width at half depth, keeping their depth."""
    sigma = max(width / 2.355, 0.5)
    return np.asarray(1 - np.exp(-1.3 * ndimage.gaussian_filter(line, sigma) * sigma * np.sqrt(2 * np.pi)))


def _pits(random: np.random.Generator, shape: tuple[int, ...], step: float) -> Float:
    """Small dark specks, about one in 400 square micrometres."""
    count = random.poisson(np.prod(shape) * step**2 / 400)
    specks = np.zeros(shape)
    for radius in (0.35, 0.6):
        at = tuple(random.integers(0, n, count // 2) for n in shape)
        sigma = max(radius / step, 0.4)
        dots = np.zeros(shape)
        dots[at] = random.uniform(0.3, 1.0, count // 2) * 2 * np.pi * sigma**2
        specks += ndimage.gaussian_filter(dots, sigma)
    return specks * 0.7


def _cloud(random: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Float:
    """Smooth random field of mean 0 and standard deviation 1."""
    field = ndimage.gaussian_filter(random.standard_normal(shape), max(sigma, 0.5), mode="wrap")
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-12))


def _illumination(random: np.random.Generator, shape: tuple[int, ...]) -> Float:
    """Slow change of brightness over the field of view, a few per cent."""
    y, x = (np.linspace(-1, 1, n) for n in shape)
    tilt_y, tilt_x, bend = random.normal(0, 0.02, 3)
    return np.asarray(1 + tilt_y * y[:, None] + tilt_x * x[None] - np.abs(bend) * (y[:, None] ** 2 + x[None] ** 2))
