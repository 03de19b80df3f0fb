"""The conditions a model can be given: how each is measured on a picture, as windows and as a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core import InputError
from microgen.data.windows import Windows, fractions, intercepts
from microgen.stats.boundaries import segment
from microgen.stats.grains import local_size_map


@dataclass(frozen=True)
class Measure:
    """How a condition is measured.

    Attributes
    ----------
    field
        Field that it is measured on.
    ndim
        Numbers of axes it is defined for.
    scale
        Scale on which the network sees it.
    windows
        From the field and the pixel size in micrometres to the quantity of any box.
    local
        From the field, the pixel size and a window in micrometres to a map of the quantity.
    """

    field: str
    ndim: tuple[int, ...]
    scale: Literal["log", "linear"]
    windows: Callable[[NDArray[Any], float], Windows]
    local: Callable[[NDArray[Any], float, float], NDArray[Any]]


def boundaries(intensity: NDArray[Any], spacing_um: float) -> NDArray[np.bool_]:
    """Boundary mask of an etched micrograph at its pixel size."""
    return np.asarray(segment(intensity, spacing=spacing_um), dtype=np.bool_)


def _grain_windows(intensity: NDArray[Any], spacing_um: float) -> Windows:
    return intercepts(boundaries(intensity, spacing_um), spacing_um)


def _grain_map(intensity: NDArray[Any], spacing_um: float, window_um: float) -> NDArray[Any]:
    return local_size_map(boundaries(intensity, spacing_um), spacing=spacing_um, window_um=window_um)


def _phase_windows(phase: NDArray[Any], spacing_um: float) -> Windows:
    return fractions(phase == 1)


def _phase_map(phase: NDArray[Any], spacing_um: float, window_um: float) -> NDArray[Any]:
    return np.asarray(ndimage.uniform_filter((phase == 1).astype(np.float64), max(1, round(window_um / spacing_um))))


MEASURES: dict[str, Measure] = {
    "grain_size_um": Measure("intensity", (2,), "log", _grain_windows, _grain_map),
    "phase_fraction": Measure("phase", (2, 3), "linear", _phase_windows, _phase_map),
}
"""Every condition that can be measured from the data themselves."""


def measure_for(name: str, field: str, ndim: int) -> Measure:
    """Return a measure that fits the field and number of axes, or say what is possible."""
    measure = MEASURES.get(name)
    if measure is None or measure.field != field or ndim not in measure.ndim:
        able = [n for n, m in MEASURES.items() if m.field == field and ndim in m.ndim]
        raise InputError(
            f"condition {name!r} cannot be measured on the {ndim}-D field {field!r}; "
            f"possible here: {', '.join(able) or 'none'}, or a scalar stored with every image"
        )
    return measure
