"""Measuring a synthetic polycrystal as an electron backscatter diffraction map, with what such maps suffer from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core import InputError, Microstructure
from microgen.core.orientations import quaternions, random_orientations, rotations
from microgen.core.seeds import rng
from microgen.synth.surface import pits, scratches

Float = NDArray[np.floating[Any]]

_STREAM = 12


def scan_ebsd(
    seed: int,
    microstructure: Microstructure,
    *,
    step_um: float | None = None,
    noise_deg: float = 0.4,
    spot_um: float | None = None,
    not_indexed: float = 0.01,
    wrong: float = 0.002,
    scratches_per_mm2: float = 0.0,
    pits_per_mm2: float = 300.0,
) -> Microstructure:
    """Scan a polycrystal: noisy orientations, points not indexed along boundaries, some indexed wrongly.

    Parameters
    ----------
    seed
        The same numbers give the same map.
    microstructure
        A section ``(Y, X)`` of grains that have crystals, see :func:`microgen.synth.crystallise`.
    step_um
        Distance of the points of the map, by default the spacing of the structure; it must be a whole multiple of it.
    noise_deg
        Standard deviation of an orientation about each axis.
    spot_um
        Width within which the patterns of two grains mix, by default a step.
    not_indexed
        Share of points not indexed away from boundaries and flaws.
    wrong
        Share of points with an orientation that has nothing to do with the crystal.
    scratches_per_mm2, pits_per_mm2
        Flaws of the surface, which spoil patterns.

    Returns
    -------
    Microstructure
        ``phase`` (0 where not indexed), ``mask``, ``orientation``, ``band_contrast`` (uint8) and the true ``grain``.

    Raises
    ------
    InputError
        For a volume, missing fields, or a step that is no multiple of the spacing.
    """
    section = _subsampled(_checked(microstructure), step_um)
    random = rng(seed, _STREAM)
    step = float(np.mean(section.spacing))
    overlap = _overlap(section["grain"], (spot_um or step) / step)
    flaws = scratches(random, section.shape, step, scratches_per_mm2) + pits(random, section.shape, step, pits_per_mm2)
    quality = np.clip(1 - 0.65 * overlap - np.clip(flaws, 0, 1), 0, 1)
    lost = random.random(section.shape) < not_indexed + (1 - not_indexed) / (1 + np.exp((quality - 0.42) / 0.05))
    contrast = 25 + 165 * quality + random.normal(0, 6, section.shape)
    fields: dict[str, NDArray[Any]] = {
        "phase": np.where(lost, 0, section["phase"]).astype(np.uint8),
        "mask": (~lost).astype(np.uint8),
        "orientation": _measured(random, section["orientation"], noise_deg, wrong, lost),
        "band_contrast": np.clip(np.rint(contrast), 0, 255).astype(np.uint8),
        "grain": section["grain"],
    }
    return section.replace(fields=fields)


def _checked(microstructure: Microstructure) -> Microstructure:
    if microstructure.ndim != 2:
        raise InputError("a map shows a section: cut a picture out of the volume first")
    if not {"grain", "phase", "orientation"} <= set(microstructure.fields) or not microstructure.crystals:
        raise InputError("a scan needs grains with crystals; synth.crystallise gives them some")
    return microstructure


def _subsampled(section: Microstructure, step_um: float | None) -> Microstructure:
    """Every n-th point of the structure."""
    if step_um is None:
        return section
    every = [round(step_um / s) for s in section.spacing]
    off = [abs(n * s - step_um) for n, s in zip(every, section.spacing, strict=True)]
    if min(every) < 1 or max(off) > 1e-6 * step_um:
        raise InputError(f"step_um must be a whole multiple of the spacing {section.spacing} um, got {step_um}")
    fields = {name: np.ascontiguousarray(values[:: every[0], :: every[1]]) for name, values in section.fields.items()}
    return section.replace(fields=fields, spacing=(step_um, step_um))


def _overlap(grain: NDArray[Any], spot: float) -> Float:
    """Share of other grains in the spot, 0 inside grains and 1 where two share it evenly."""
    edge = np.zeros(grain.shape)
    for axis in (0, 1):
        ahead = [slice(None)] * 2
        behind = [slice(None)] * 2
        ahead[axis], behind[axis] = slice(1, None), slice(-1)
        differ = grain[tuple(ahead)] != grain[tuple(behind)]
        edge[tuple(ahead)][differ] = 1
        edge[tuple(behind)][differ] = 1
    return np.asarray(np.clip(ndimage.gaussian_filter(edge, 0.4 * spot) * 1.1, 0, 1))


def _measured(
    random: np.random.Generator, orientation: Float, noise_deg: float, wrong: float, lost: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Orientations with scatter and mistakes; the identity where lost."""
    from scipy.spatial.transform import Rotation

    flat = orientation.reshape(-1, 4)
    scatter = Rotation.from_rotvec(np.deg2rad(noise_deg) * random.standard_normal((len(flat), 3)))
    found = quaternions(rotations(flat) * scatter)
    mistaken = random.random(len(flat)) < wrong
    found[mistaken] = random_orientations(random, int(mistaken.sum()))
    found[lost.ravel()] = (1, 0, 0, 0)
    return np.asarray(found.reshape(orientation.shape), dtype=np.float32)
