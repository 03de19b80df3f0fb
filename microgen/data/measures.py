"""The conditions a model can be given: how each is measured on a picture, as windows and as a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core import InputError
from microgen.data import elongation
from microgen.data.windows import Windows, fractions, intercepts
from microgen.stats.boundaries import segment
from microgen.stats.grains import label_grains, local_size_map

Scale = Literal["log", "linear", "axial"]


@dataclass(frozen=True)
class Measure:
    """How a condition is measured.

    Attributes
    ----------
    field
        Field that it is measured on; ``"grain"`` stands for cells that fill the grid: known grains, or those that
        the etched lines of a picture enclose.
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
    scale: Scale
    windows: Callable[[NDArray[Any], float], Windows]
    local: Callable[[NDArray[Any], float, float], NDArray[Any]]


def boundaries(intensity: NDArray[Any], spacing_um: float) -> NDArray[np.bool_]:
    """Boundary mask of an etched micrograph at its pixel size."""
    return np.asarray(segment(intensity, spacing=spacing_um), dtype=np.bool_)


def cells_of(intensity: NDArray[Any], spacing_um: float) -> NDArray[np.int64]:
    """Cells that the etched lines of a micrograph enclose; they fill the grid."""
    return np.asarray(label_grains(boundaries(intensity, spacing_um)), dtype=np.int64)


def _cell_map(cells: NDArray[Any], spacing_um: float, window_um: float) -> NDArray[Any]:
    return local_size_map(cells.astype(np.int64), spacing=spacing_um, window_um=window_um)


def _cell_windows(cells: NDArray[Any], spacing_um: float) -> Windows:
    return intercepts(cells.astype(np.int64), spacing_um)


def _phase_windows(phase: NDArray[Any], spacing_um: float) -> Windows:
    return fractions(phase == 1)


def _phase_map(phase: NDArray[Any], spacing_um: float, window_um: float) -> NDArray[Any]:
    return np.asarray(ndimage.uniform_filter((phase == 1).astype(np.float64), max(1, round(window_um / spacing_um))))


def _gray_form(quantity: elongation.Quantity, values: NDArray[Any], spacing_um: float) -> Windows:
    return elongation.of_gray(values, quantity)


def _gray_form_map(
    quantity: elongation.Quantity, values: NDArray[Any], spacing_um: float, window_um: float
) -> NDArray[Any]:
    return elongation.around_gray(values, window_um / spacing_um, quantity)


def _cell_form(quantity: elongation.Quantity, cells: NDArray[Any], spacing_um: float) -> Windows:
    return elongation.of_cells(cells, quantity)


def _cell_form_map(
    quantity: elongation.Quantity, cells: NDArray[Any], spacing_um: float, window_um: float
) -> NDArray[Any]:
    return elongation.around_cells(cells, window_um / spacing_um, quantity)


def _elongation(field: str) -> dict[str, Measure]:
    """Direction and aspect ratio, in gray values by the gradient, in phases and grains by crossed boundaries."""
    windows, local = (_gray_form, _gray_form_map) if field == "intensity" else (_cell_form, _cell_form_map)
    wanted: tuple[tuple[str, Scale, elongation.Quantity], ...] = (
        ("orientation_deg", "axial", elongation.direction_deg),
        ("aspect_ratio", "log", elongation.aspect_ratio),
    )
    return {
        name: Measure(field, (2,), scale, partial(windows, quantity), partial(local, quantity))
        for name, scale, quantity in wanted
    }


MEASURES: dict[str, dict[str, Measure]] = {
    "intensity": _elongation("intensity"),
    "phase": {
        "phase_fraction": Measure("phase", (2, 3), "linear", _phase_windows, _phase_map),
        **_elongation("phase"),
    },
    "grain": {
        "grain_size_um": Measure("grain", (2, 3), "log", _cell_windows, _cell_map),
        **_elongation("grain"),
    },
}
"""Every condition that can be measured from the data themselves, by what it is measured on."""


def measures(field: str, ndim: int, *, grains: bool = False) -> dict[str, Measure]:
    """Return every measure that fits the field that is learned, the number of axes, and whether grains are known.

    What the learned field itself tells comes before what its grains tell; an etched micrograph shows its own grains.

    >>> list(measures("phase", 3)), list(measures("phase", 3, grains=True)), list(measures("intensity", 2))
    (['phase_fraction'], ['grain_size_um', 'phase_fraction'], ['grain_size_um', 'orientation_deg', 'aspect_ratio'])
    """
    shown = grains or (field == "intensity" and ndim == 2)
    found = {**(MEASURES["grain"] if shown else {}), **MEASURES.get(field, {})}
    return {name: measure for name, measure in found.items() if ndim in measure.ndim}


def measure_for(name: str, field: str, ndim: int, *, grains: bool = False) -> Measure:
    """Return a measure that fits, as in :func:`measures`, or say what is possible."""
    able = measures(field, ndim, grains=grains)
    if name not in able:
        raise InputError(
            f"condition {name!r} cannot be measured on the {ndim}-D field {field!r}; "
            f"possible here: {', '.join(able) or 'none'}, or a scalar stored with every image"
        )
    return able[name]


def scale_of(name: str) -> Scale:
    """Scale on which the network sees a condition; stored scalars are linear."""
    return next((rows[name].scale for rows in MEASURES.values() if name in rows), "linear")
