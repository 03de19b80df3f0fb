"""From stored channels to one gray value, only where nothing is lost or the user says so."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError

Colour = Literal["refuse", "luminance"]

TOLERANCE = 0.02
"""Largest usual difference between channels of a gray picture, as a share of full scale (JPEG rounds colours)."""

_WEIGHTS = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601, the one JPEG itself stores


def to_gray(values: NDArray[Any], colour: Colour, full_scale: float) -> tuple[NDArray[Any], str]:
    """Reduce ``(Y, X)`` or ``(Y, X, channels)`` to ``(Y, X)``.

    Parameters
    ----------
    values
        Gray, gray + alpha, RGB or RGBA.
    colour
        ``"refuse"`` truly coloured pictures, or take their ``"luminance"`` (ITU-R BT.601).
    full_scale
        Value of white, 255 for 8 bits.

    Returns
    -------
    tuple
        The gray values in the type recorded, and what was done: ``"gray"``, ``"equal channels"``,
        ``"nearly equal channels"`` or ``"luminance"``.

    Raises
    ------
    InputError
        For a picture that is coloured, transparent, or has another number of channels.
    """
    if values.ndim == 2:
        return values, "gray"
    channels = values.shape[-1]
    if values.ndim != 3 or channels not in (1, 2, 3, 4):
        raise InputError(f"has {channels} channels, not a gray or RGB picture; save one channel as gray")
    if channels in (2, 4):
        _require_opaque(values[..., -1], full_scale)
    if channels < 3:
        return values[..., 0], "gray"
    return _merge(values[..., :3], colour, full_scale)


def _merge(rgb: NDArray[Any], colour: Colour, full_scale: float) -> tuple[NDArray[Any], str]:
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all():
        return rgb[..., 0], "equal channels"
    spread = rgb.max(axis=-1).astype(np.float64) - rgb.min(axis=-1)
    nearly = np.percentile(spread, 99) <= TOLERANCE * full_scale and spread.max() <= 8 * TOLERANCE * full_scale
    if not nearly and colour != "luminance":
        raise InputError(
            "is a coloured picture (colours cannot be gray values without a choice); "
            'save it as gray, or pass read(..., colour="luminance")'
        )
    luminance = sum(w * rgb[..., i].astype(np.float64) for i, w in enumerate(_WEIGHTS))
    rounded = np.rint(luminance) if rgb.dtype.kind in "iu" else np.asarray(luminance)
    return rounded.astype(rgb.dtype), "nearly equal channels" if nearly else "luminance"


def _require_opaque(alpha: NDArray[Any], full_scale: float) -> None:
    if not (alpha == alpha.flat[0]).all() or alpha.flat[0] not in (
        full_scale,
        1.0 if alpha.dtype.kind == "f" else full_scale,
    ):
        raise InputError("has transparent parts (an alpha channel that is not opaque); save it without alpha")
