"""Rendering a structure as a backscattered-electron picture of its polished section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core import InputError, Microstructure
from microgen.core.orientations import random_orientations
from microgen.core.seeds import rng
from microgen.synth.surface import pits, scratches, uneven

Float = NDArray[np.floating[Any]]

_STREAM = 11
_PLANES = (((1, 1, 1), 1.0), ((2, 0, 0), 0.8), ((2, 2, 0), 0.5))  # families of lattice planes, and their weight
_BAND_DEG = 4.0  # half width of the band in which a plane channels


def render_backscatter(
    seed: int,
    microstructure: Microstructure,
    *,
    levels: Sequence[float] | None = None,
    channelling: float = 18.0,
    counts: float = 150.0,
    scratches_per_mm2: float = 0.0,
    pits_per_mm2: float = 1000.0,
) -> Microstructure:
    """Draw the picture of backscattered electrons: phases differ by their mean atomic number, grains by channelling.

    Parameters
    ----------
    seed
        The same numbers give the same picture.
    microstructure
        A section ``(Y, X)`` with ``phase``, ``grain``, or both; the channelling of a grain follows its ``orientation``
        where there is one (also gradients inside a grain show then), else one drawn at random.
    levels
        Gray value 0 .. 255 by index of phase; by default spread evenly from 70 to 190.
    channelling
        Standard deviation of the gray values between grains; 0 shows phases only.
    counts
        Electrons counted at a gray value of 128: few make a noisy picture.
    scratches_per_mm2, pits_per_mm2
        Density of polishing scratches and of pits.

    Returns
    -------
    Microstructure
        The one given, with the field ``intensity`` (uint8) added.

    Raises
    ------
    InputError
        For a volume, a structure without phases and grains, or too few levels.

    Notes
    -----
    Channelling is drawn as bands along the traces of {111}, {200} and {220} planes of a cubic crystal: bright where
    the beam, along z, runs nearly within a plane. It looks like the real thing; it is no simulation of it (Joy,
    Newbury, Davidson, J. Appl. Phys. 53 (1982) R81, doi:10.1063/1.331668).
    """
    if microstructure.ndim != 2:
        raise InputError("a backscatter picture shows a section: cut a picture out of the volume first")
    if "phase" not in microstructure and "grain" not in microstructure:
        raise InputError("a backscatter picture needs the field phase or grain")
    random = rng(seed, _STREAM)
    step = float(np.mean(microstructure.spacing))
    picture = _phase_levels(microstructure, levels)
    if "grain" in microstructure and channelling > 0:
        picture = picture + channelling * _channelled(random, microstructure)
    picture = ndimage.gaussian_filter(picture, 0.5)
    flaws = scratches(random, picture.shape, step, scratches_per_mm2) * 0.4 + pits(
        random, picture.shape, step, pits_per_mm2
    )
    picture = picture * (1 - np.clip(flaws, 0, 0.9)) * uneven(random, picture.shape, 0.04)
    picture = picture * (1 + 0.01 * random.standard_normal((len(picture), 1)))  # the current drifts from line to line
    electrons = random.poisson(np.clip(picture, 1, None) * counts / 128)
    return microstructure.with_fields(intensity=np.clip(np.rint(electrons * 128 / counts), 0, 255).astype(np.uint8))


def _phase_levels(microstructure: Microstructure, levels: Sequence[float] | None) -> Float:
    """Gray value of every point by its phase alone."""
    if "phase" not in microstructure:
        return np.full(microstructure.shape, 128.0 if levels is None else float(levels[0]))
    phase = microstructure["phase"]
    present = np.unique(phase)
    if levels is not None:
        if len(levels) <= present.max():
            raise InputError(
                f"{len(levels)} levels are too few for phases up to number {present.max()}; give one for each"
            )
        return np.asarray(levels, dtype=np.float64)[phase]
    gray = np.linspace(70, 190, len(present)) if len(present) > 1 else np.array([128.0])
    return np.asarray(gray[np.searchsorted(present, phase)])


def _channelled(random: np.random.Generator, microstructure: Microstructure) -> Float:
    """Contrast of mean 0 and standard deviation 1 between grains."""
    grain = microstructure["grain"]
    if "orientation" in microstructure:
        w, x, y, z = np.moveaxis(microstructure["orientation"].astype(np.float64), -1, 0)
        contrast = _bands(_beam(w, x, y, z))
    else:
        drawn = random_orientations(random, int(grain.max()) + 1)
        contrast = _bands(_beam(*drawn.T))[grain]
    contrast = np.where(grain > 0, contrast, contrast.mean())
    return np.asarray((contrast - contrast.mean()) / max(float(contrast.std()), 1e-12))


def _beam(w: Float, x: Float, y: Float, z: Float) -> Float:
    """The z axis of the sample in the crystal frame: last row of the rotation matrix."""
    return np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x**2 + y**2)], axis=-1)


def _bands(beam: Float) -> Float:
    """Brightness by how many planes the beam nearly runs along."""
    total = np.zeros(beam.shape[:-1])
    for plane, weight in _PLANES:
        for normal in _family(plane):
            off = np.arcsin(np.clip(np.abs(beam @ normal), 0, 1))
            total += weight * np.exp(-0.5 * (off / np.deg2rad(_BAND_DEG)) ** 2)
    return np.asarray(total + 0.6 * np.abs(beam).max(axis=-1))  # and a slow change over the whole sphere


def _family(plane: tuple[int, int, int]) -> Float:
    """Unit normals of all planes of a cubic family, one of each opposite pair."""
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    orders = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [2, 1, 0], [1, 0, 2]])
    normals = np.unique((signs[:, None] * np.array(plane)[orders][None]).reshape(-1, 3), axis=0)
    half = normals[len(normals) // 2 :]  # sorted, so the opposite of the first is the last
    return np.asarray(half / np.linalg.norm(half, axis=1, keepdims=True))
