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
        Field that it is measured on; ``"grain"`` stands for cells that fill the grid.
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


def _cell_map(cells: NDArray[Any], spacing_um: float, window_um: float) -> NDArray[Any]:
    return local_size_map(cells.astype(np.int64), spacing=spacing_um, window_um=window_um)


def _cell_windows(cells: NDArray[Any], spacing_um: float) -> Windows:
    return intercepts(cells.astype(np.int64), spacing_um)


def _phase_windows(phase: NDArray[Any], spacing_um: float) -> Windows:
    return fractions(phase == 1)


def _phase_map(phase: NDArray[Any], spacing_um: float, window_um: float) -> NDArray[Any]:
    return np.asarray(ndimage.uniform_filter((phase == 1).astype(np.float64), max(1, round(window_um / spacing_um))))


MEASURES: dict[str, Measure] = {
    "grain_size_um": Measure("intensity", (2,), "log", _grain_windows, _grain_map),
    "phase_fraction": Measure("phase", (2, 3), "linear", _phase_windows, _phase_map),
}
"""Every condition that can be measured from the data themselves."""

OF_GRAINS: dict[str, Measure] = {"grain_size_um": Measure("grain", (2, 3), "log", _cell_windows, _cell_map)}
"""Those that are measured on known grains, whatever is learned; an etched micrograph shows its own grains."""


def measures(field: str, ndim: int, *, grains: bool = False) -> dict[str, Measure]:
    """Return every measure that fits the field that is learned, the number of axes, and whether grains are known.

    >>> list(measures("phase", 3)), list(measures("phase", 2, grains=True))
    (['phase_fraction'], ['phase_fraction', 'grain_size_um'])
    """
    known = [*MEASURES.items(), *(OF_GRAINS.items() if grains and field != "intensity" else [])]
    return {name: measure for name, measure in known if measure.field in (field, "grain") and ndim in measure.ndim}


def measure_for(name: str, field: str, ndim: int, *, grains: bool = False) -> Measure:
    """Return a measure that fits, as in :func:`measures`, or say what is possible."""
    able = measures(field, ndim, grains=grains)
    if name not in able:
        raise InputError(
            f"condition {name!r} cannot be measured on the {ndim}-D field {field!r}; "
            f"possible here: {', '.join(able) or 'none'}, or a scalar stored with every image"
        )
    return able[name]


def scale_of(name: str) -> Literal["log", "linear"]:
    """Scale on which the network sees a condition; stored scalars are linear."""
    measure = MEASURES.get(name)
    return measure.scale if measure else "linear"
