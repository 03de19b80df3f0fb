"""The arrays behind a report: what its figures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from microgen.evaluate.features import Feature
from microgen.evaluate.memory import Nearest
from microgen.evaluate.windows import Indices


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was measured, kept for figures.

    Attributes
    ----------
    features
        Every descriptor of all windows, by name.
    sets
        Rows of ``features`` that belong to ``generated``, ``held_out``, ``train`` and to each floor; generated and
        held-out windows are those that were compared (of like size, where sizes were requested).
    pictures
        Planes of some generated and held-out windows, in pairs of like size where sizes were requested.
    captions
        Measured size of each of the pictures, or empty.
    spacing_um
        Micrometres per pixel.
    asked
        Requested and measured values per condition, ``(n,)`` each.
    nearest, nearest_held_out
        Nearest training patches.
    points, share
        Two-point statistics of all windows on two principal axes ``(n, 2)`` and the variance on each; or None.
    """

    features: Mapping[str, Feature]
    sets: Mapping[str, Indices]
    pictures: Mapping[str, list[NDArray[Any]]]
    captions: Mapping[str, list[str]]
    spacing_um: float
    asked: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]
    nearest: list[Nearest]
    nearest_held_out: list[Nearest]
    points: NDArray[Any] | None
    share: NDArray[Any] | None
