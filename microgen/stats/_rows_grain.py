"""Rows of the table: what is measured on grains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.stats import grains
from microgen.stats._descriptor import Descriptor
from microgen.stats.grain_shapes import grain_table
from microgen.stats.interval import bootstrap_ci
from microgen.stats.measurement import Measurement

Array = NDArray[Any]
_G_PER_RELATIVE = 2 / np.log(2)  # change of the grain size number per relative change of length


def _of_grains(method: Callable[..., grains.GrainSize], value: str, ci95: str) -> Callable[..., Measurement]:
    def function(array: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> Measurement:
        found = method(_unmasked(array, mask), spacing=spacing, periodic=periodic)
        std = found.std_um if value == "mean_um" else _G_PER_RELATIVE * found.std_um / found.mean_um
        return Measurement(getattr(found, value), getattr(found, ci95), found.n, std=std)

    return function


def _of_each_grain(column: str) -> Callable[..., Measurement]:
    def function(array: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> Measurement:
        values = getattr(grain_table(_unmasked(array, mask), spacing=spacing), column)
        if len(values) < 2:
            raise InputError("fewer than two grains lie wholly inside the picture")
        return Measurement(
            float(values.mean()), bootstrap_ci(values), len(values), std=float(values.std()), values=values
        )

    return function


def _unmasked(array: Array, mask: Array | None) -> Array:
    if mask is not None and not mask.all():
        raise InputError("grain size needs a picture without masked parts; crop it first")
    return array


ROWS: dict[str, Descriptor] = {
    "mean_intercept_um": Descriptor(
        _of_grains(grains.intercepts, "mean_um", "ci95_um"),
        "um",
        ("grains",),
        "scalar",
        "mean lineal intercept of grains, ASTM E112",
        dims=(2,),
    ),
    "grain_size_um": Descriptor(
        _of_grains(grains.intercepts, "mean_um", "ci95_um"),
        "um",
        ("grains",),
        "scalar",
        "the mean lineal intercept, under the name that conditions use",
        dims=(2,),
    ),
    "astm_g": Descriptor(
        _of_grains(grains.intercepts, "astm_g", "astm_g_ci95"),
        "G",
        ("grains",),
        "scalar",
        "grain size number from the mean intercept, ASTM E112",
        dims=(2,),
    ),
    "astm_g_planimetric": Descriptor(
        _of_grains(grains.planimetric, "astm_g", "astm_g_ci95"),
        "G",
        ("grains",),
        "scalar",
        "grain size number from grains per area, ASTM E112",
        dims=(2,),
    ),
    "grain_diameter_um": Descriptor(
        _of_each_grain("diameter_um"),
        "um",
        ("grains",),
        "distribution",
        "diameters of the circles with the areas of the whole grains",
        dims=(2,),
    ),
    "grain_aspect_ratio": Descriptor(
        _of_each_grain("aspect_ratio"),
        "1",
        ("grains",),
        "distribution",
        "longest over shortest axis of each whole grain",
        dims=(2,),
    ),
}
"""By name."""
