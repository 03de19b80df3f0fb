"""Grain boundaries of windows, and what samples were asked for measured on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.data.facts import classes_of
from microgen.data.meaning import grain_cells, knows_grains
from microgen.data.measures import Measure, cells_of, measures
from microgen.data.windows import Windows
from microgen.stats.boundaries import Polarity, find_polarity, segment

LOOKED_AT = 8
"""Pictures on which the polarity of boundaries is found."""


def polarity(pictures: Sequence[Microstructure]) -> Polarity | None:
    """Say whether boundaries are dark or bright in most of the real pictures; None where none are looked for.

    One answer for all windows: on a small one alone it could be mistaken.
    """
    found = [find_polarity(_middle(m["intensity"])) for m in pictures[:LOOKED_AT] if _is_micrograph(m)]
    if not found:
        return None
    return "dark" if found.count("dark") >= found.count("bright") else "bright"


def of_classes(
    pictures: Sequence[Microstructure], groups: Sequence[str] | None, wanted: Mapping[str, Collection[str]]
) -> tuple[list[Microstructure], list[str] | None]:
    """Keep the pictures, and their groups, that belong to wanted classes, as far as they say their class."""
    if groups is not None and len(groups) != len(pictures):
        raise InputError(f"there are {len(pictures)} pictures and {len(groups)} group names; give one for each")
    kept = [
        k
        for k, m in enumerate(pictures)
        if all(classes_of(m).get(name) in (None, *labels) for name, labels in wanted.items())
    ]
    return [pictures[k] for k in kept], None if groups is None else [groups[k] for k in kept]


def with_boundary(picture: Microstructure, polarity: Polarity | None) -> Microstructure:
    """Return a micrograph with the field ``boundary`` found in it; other structures, and flat ones, as they are."""
    if polarity is None or not _is_micrograph(picture):
        return picture
    try:
        boundary = segment(picture["intensity"], spacing=picture.spacing, polarity=polarity)
    except InputError:
        return picture
    return picture.with_fields(boundary=boundary)


def measurable(name: str, picture: Microstructure) -> bool:
    """Whether a condition can be measured on the fields of a picture."""
    return _measure(name, picture) is not None


def measured_in(
    name: str, picture: Microstructure, corners: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Measure a condition of windows of one picture; NaN where the picture does not show it.

    Parameters
    ----------
    corners
        First grid point of each window, ``(n, axes)``.
    shape
        Size of the windows.
    """
    try:
        return np.asarray(_windows(name, picture)(corners, shape), dtype=np.float64)
    except InputError:
        return np.full(len(corners), np.nan)


def measured_alone(name: str, windows: Sequence[Microstructure]) -> NDArray[np.float64]:
    """Measure a condition of each window by itself, ``(n,)``; boundaries are those of :func:`with_boundary`.

    Training crops are measured where they lie, with the boundaries of the whole picture; a sample has no
    surroundings. The same window shows slightly another value alone, so samples are compared with real windows
    that were cut out and measured by this function.
    """
    return np.array([measured_in(name, w, np.zeros((1, w.ndim), np.intp), w.shape)[0] for w in windows])


def _windows(name: str, picture: Microstructure) -> Windows:
    measure, spacing = _measure(name, picture), picture.spacing[0]
    if measure is None:
        raise InputError(f"{name} cannot be measured on {', '.join(picture.fields)}")
    if measure.field != "grain":
        return measure.windows(picture[measure.field], spacing)
    known = knows_grains(picture)
    return measure.windows(grain_cells(picture) if known else cells_of(picture["intensity"], spacing), spacing)


def _measure(name: str, picture: Microstructure) -> Measure | None:
    """How a condition is measured on a picture: on gray values or phases themselves before their grains."""
    learned = next((field for field in ("phase", "intensity") if field in picture), "grain")
    return measures(learned, picture.ndim, grains=knows_grains(picture)).get(name)


def _is_micrograph(m: Microstructure) -> bool:
    return m.ndim == 2 and "intensity" in m and not any(name in m for name in ("phase", "grain", "boundary"))


def _middle(values: NDArray[Any], side: int = 512) -> NDArray[Any]:
    return values[tuple(slice((n - min(n, side)) // 2, (n + min(n, side)) // 2) for n in values.shape)]
