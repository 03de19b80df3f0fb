"""Pixel sizes: what was found, how far it can be trusted, and which one is used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from microgen.core import InputError

Confidence = Literal["given", "high", "medium", "low"]

UNITS_UM: dict[str, float] = {
    "pm": 1e-6, "å": 1e-4, "angstrom": 1e-4, "nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3,
    "um": 1.0, "micron": 1.0, "micrometer": 1.0, "micrometre": 1.0,
    "mm": 1e3, "millimeter": 1e3, "millimetre": 1e3, "cm": 1e4, "m": 1e6, "meter": 1e6, "metre": 1e6,
    "in": 25400.0, "inch": 25400.0,
}  # fmt: skip
"""Micrometres per unit of length."""

PRINT_DPI = (72, 90, 96, 100, 120, 144, 150, 180, 200, 240, 300, 350, 360, 400, 600, 720, 1200, 2400)
"""Resolutions of screens and printers: they say nothing about the specimen."""

CONTRADICTION = 0.02
"""Relative difference from which two pixel sizes contradict each other."""


@dataclass(frozen=True)
class PixelSize:
    """One statement about the spacing of a picture.

    Attributes
    ----------
    um
        Micrometres per axis, ``(y, x)`` or ``(z, y, x)``.
    origin
        Where it stands, for people: ``"FEI/Thermo tag [Scan] PixelWidth"``.
    confidence
        ``"given"`` by the user, ``"high"`` (written by the microscope), ``"medium"`` (derived, or edited by
        software) or ``"low"`` (print resolution, never used).
    """

    um: tuple[float, ...]
    origin: str
    confidence: Confidence

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form for ``source["pixel_size"]``."""
        return {"um": list(self.um), "origin": self.origin, "confidence": self.confidence}


def unit_um(text: str) -> float | None:
    """Micrometres per unit of a name as instruments write it, or None for "pixel" and the unknown.

    >>> unit_um("\\u00b5m"), unit_um("Nanometers"), unit_um("pixel")
    (1.0, 0.001, None)
    """
    name = text.strip().strip("\0").lower().replace("\\u00b5", "u").replace("µ", "u").replace("μ", "u")
    return UNITS_UM.get(name) or UNITS_UM.get(name.removesuffix("s"))


def sized(um: Iterable[float | None], origin: str, confidence: Confidence) -> tuple[PixelSize, ...]:
    """Return one :class:`PixelSize`, or nothing where a value is missing or not a positive number."""
    values = tuple(um)
    if not values or not all(v is not None and np.isfinite(v) and 0 < v < 1e5 for v in values):
        return ()
    return (PixelSize(tuple(float(v) for v in values if v is not None), origin, confidence),)


def from_dpi(dpi: Sequence[float], origin: str) -> tuple[PixelSize, ...]:
    """Return the low-confidence size that a print resolution ``(x, y)`` in dots per inch would mean."""
    x, y = (float(v) for v in tuple(dpi)[:2])
    return sized((25400 / y, 25400 / x), origin, "low") if x > 2 and y > 2 else ()


def settle(
    path: Path, sizes: Sequence[PixelSize], given: float | Sequence[float] | None, ndim: int
) -> tuple[PixelSize, list[str]]:
    """Choose the pixel size of one picture or volume.

    Parameters
    ----------
    sizes
        What the file says, best first.
    given
        What the user says, one number or one per axis; it always wins.
    ndim
        2 or 3, the axes wanted.

    Returns
    -------
    tuple
        The size, and warnings about statements that contradict it.

    Raises
    ------
    InputError
        If nothing is given and nothing trustworthy is found.
    """
    trusted = [s for s in sizes if s.confidence in ("high", "medium")]
    trusted.sort(key=lambda s: s.confidence)  # "high" before "medium"; the sort keeps the order of equals
    if given is not None:
        chosen = _given(path, given, ndim)
    elif trusted:
        chosen = _along(path, trusted[0], ndim)
    else:
        raise InputError(_refusal(path, sizes))
    return chosen, [_contradiction(path, chosen, other) for other in trusted if _contradicts(chosen, other)]


def _given(path: Path, given: float | Sequence[float], ndim: int) -> PixelSize:
    numbers = tuple(np.atleast_1d(np.asarray(given, dtype=np.float64)).tolist())
    um = numbers * ndim if len(numbers) == 1 else numbers
    if len(um) != ndim or not all(np.isfinite(v) and v > 0 for v in um):
        raise InputError(f"{path}: the pixel size must be one positive number or {ndim} of them, got {given}")
    return PixelSize(um, "pixel_size_um", "given")


def _along(path: Path, size: PixelSize, ndim: int) -> PixelSize:
    """Fit a found size to the axes wanted: a picture out of a volume drops z, a volume needs z."""
    if len(size.um) < ndim:
        y, x = size.um
        raise InputError(
            f"{path}: found {x:g} um per pixel ({size.origin}) but no distance between slices; "
            f"pass the voxel size, in Python read(path, pixel_size_um=(z, {y:g}, {x:g}))"
        )
    return PixelSize(size.um[-ndim:], size.origin, size.confidence)


def _contradicts(chosen: PixelSize, other: PixelSize) -> bool:
    n = min(len(chosen.um), len(other.um))
    ratio = np.asarray(chosen.um[-n:]) / np.asarray(other.um[-n:])
    return bool((np.abs(np.log(ratio)) > np.log1p(CONTRADICTION)).any())


def _contradiction(path: Path, chosen: PixelSize, other: PixelSize) -> str:
    return (
        f"{path}: the pixel size used, {chosen.um[-1]:g} um ({chosen.origin}), contradicts "
        f"{other.um[-1]:g} um found in {other.origin} ({other.confidence} confidence)"
    )


def _refusal(path: Path, sizes: Sequence[PixelSize]) -> str:
    advice = "pass --pixel-size-um F (in Python read(path, pixel_size_um=F))"
    if not sizes:
        return f"{path}: no pixel size found in the file; {advice}"
    low = sizes[0]
    dpi = 25400 / low.um[-1]
    if any(abs(dpi / known - 1) < 0.005 for known in PRINT_DPI):
        return f"{path}: no pixel size found, only a print resolution of {dpi:.0f} dpi; {advice}"
    return (
        f"{path}: no trustworthy pixel size found; its {low.origin} would mean {low.um[-1]:.6g} um per pixel but "
        f"is usually meant for printing: if it is right pass --pixel-size-um {low.um[-1]:.6g} "
        f"(in Python read(path, pixel_size_um={low.um[-1]:.6g}))"
    )
