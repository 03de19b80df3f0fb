"""The pixel size of a plan: how fine the structure must be shown, and how fine it was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

GRAIN_PX = 13
"""Pixels per mean intercept of the finest image: fewer lose boundaries, more cost time (12 to 20 in use)."""
MIN_GRAIN_PX = 8
"""Pixels per mean intercept down to which coarse images are still worth a coarser plan; voxels in volumes."""
LENGTH_PX = 6
"""Pixels per correlation length where there are no grains."""
MIN_LENGTH_PX = 3
"""Voxels per correlation length down to which an axis recorded coarsely sets the pixel size of the others."""
MAX_UPSAMPLING = 1.25
"""Images whose own pixels are larger than this many of the plan's are left out."""


def plan_spacing(fingerprint: Mapping[str, Any]) -> tuple[float, str]:
    """Return the side of the square pixels or cubic voxels of a plan in micrometres, and its reason.

    Etched micrographs are shown as finely as their grains ask for. Maps and volumes are only ever coarsened by whole
    steps: their labels and points are never interpolated, except along an axis that was recorded much more coarsely
    than the others.
    """
    grains, xi = fingerprint["grain_size_um"], fingerprint["correlation_length_um"]
    if fingerprint["ndim"] == 3:
        return _of_volumes(grains, xi, fingerprint["images"])
    if grains and all("known" in (i.get("grains") or {}) for i in fingerprint["images"]):
        return _of_maps(grains, fingerprint["spacing_um"]["high"])
    return _of_pictures(grains, xi, fingerprint["spacing_um"])


def too_coarse(own_um: tuple[float, ...], spacing_um: float) -> bool:
    """Whether an image was recorded too coarsely for a plan; of a volume its finest axis counts.

    >>> too_coarse((0.5, 0.5), 0.4), too_coarse((0.6, 0.5), 0.4), too_coarse((2.0, 0.5, 0.5), 0.5)
    (False, True, False)
    """
    step = max(own_um) if len(own_um) == 2 else min(own_um)
    return step > MAX_UPSAMPLING * spacing_um * (1 + 1e-9)


def _of_pictures(grains: Mapping[str, float] | None, xi: float | None, own: Mapping[str, float]) -> tuple[float, str]:
    if grains:
        fine = grains["low"] / GRAIN_PX
        spacing = min(max(fine, own["high"] / MAX_UPSAMPLING), grains["low"] / MIN_GRAIN_PX)
        spacing = _rounded(max(spacing, own["low"] / MAX_UPSAMPLING))
        return spacing, f"the finest mean intercept, {grains['low']:.3g} um, spans {grains['low'] / spacing:.3g} px"
    if xi:
        spacing = _rounded(max(xi / LENGTH_PX, own["high"]))
        return spacing, f"a correlation length, {xi:.3g} um, spans {xi / spacing:.2g} px"
    return own["high"], "the largest pixel size of the images, no length could be measured"


def _of_maps(grains: Mapping[str, float], coarsest: float) -> tuple[float, str]:
    spacing = _whole_steps(grains["low"] / GRAIN_PX, coarsest)
    return spacing, f"the finest mean intercept, {grains['low']:.3g} um, spans {grains['low'] / spacing:.3g} points"


def _of_volumes(grains: Mapping[str, float] | None, xi: float | None, images: Any) -> tuple[float, str]:
    """Take the coarsest axis, unless the structure would be lost, and whole steps of the finest one."""
    coarsest = max(max(i["spacing_um"]) for i in images)
    finest = max(min(i["spacing_um"]) for i in images)
    if not (grains or xi):
        return coarsest, "the largest voxel size of the volumes, no length could be measured"
    what, length = ("finest mean intercept", grains["low"]) if grains else ("correlation length", xi or 0.0)
    enough, least = (MIN_GRAIN_PX, MIN_GRAIN_PX / 2) if grains else (LENGTH_PX, MIN_LENGTH_PX)
    spacing = _whole_steps(max(length / enough, min(coarsest, length / least)), finest)
    why = f"the {what}, {length:.3g} um, spans {length / spacing:.2g} voxels"
    return spacing, why + (f"; voxels {coarsest:g} um long are interpolated" if coarsest > 1.01 * spacing else "")


def _whole_steps(wanted: float, step: float) -> float:
    """Largest multiple of a step that is not above what is wanted, at least the step itself.

    >>> _whole_steps(0.7, 0.3), _whole_steps(0.1, 0.3)
    (0.6, 0.3)
    """
    return float(f"{max(1, int(wanted / step + 1e-6)) * step:.8g}")


def _rounded(value: float) -> float:
    """Round up to two digits, so that a limit from below still holds."""
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / unit - 1e-6) * unit:.2g}")
