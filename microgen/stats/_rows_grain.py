"""Rows of the table: what is measured on grains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.stats import grains
from microgen.stats._descriptor import Descriptor
from microgen.stats.grain_network import grain_network, triple_junctions_per_um2
from microgen.stats.grain_shapes import e2627, grain_table, whole_grains
from microgen.stats.interval import bootstrap_ci, circular_mean
from microgen.stats.measurement import Measurement

Array = NDArray[Any]
_G_PER_RELATIVE = 2 / np.log(2)  # change of the grain size number per relative change of length


def _of_grains(method: Callable[..., grains.GrainSize], value: str, ci95: str) -> Callable[..., Measurement]:
    def function(array: Array, **frame: Any) -> Measurement:
        found = method(array, **frame)
        std = found.std_um if value == "mean_um" else _G_PER_RELATIVE * found.std_um / found.mean_um
        return Measurement(getattr(found, value), getattr(found, ci95), found.n, std=std)

    return function


def _of_each_grain(column: str) -> Callable[..., Measurement]:
    def function(array: Array, **frame: Any) -> Measurement:
        return _of_values(getattr(grain_table(array, **frame), column))

    return function


def _of_values(values: Array) -> Measurement:
    if len(values) < 2:
        raise InputError("fewer than two grains lie wholly inside the picture")
    return Measurement(float(values.mean()), bootstrap_ci(values), len(values), std=float(values.std()), values=values)


def _weighted_diameter(array: Array, **frame: Any) -> Measurement:
    table = grain_table(array, **frame)
    if len(table.size) < 2:
        raise InputError("fewer than two grains lie wholly inside the picture")
    mean = float(np.average(table.diameter_um, weights=table.size))
    # the bootstrap of a ratio, to first order
    shifts = table.size / table.size.mean() * (table.diameter_um - mean)
    return Measurement(mean, bootstrap_ci(mean + shifts), len(shifts))


def _direction(array: Array, **frame: Any) -> Measurement:
    values = grain_table(array, **frame).orientation_deg
    if len(values) < 2:
        raise InputError("fewer than two grains lie wholly inside the picture")
    mean = circular_mean(values, period=180)
    return Measurement(mean, bootstrap_ci(values, period=180), len(values), values=values)


def _e2627(array: Array, **frame: Any) -> Measurement:
    found = e2627(array, **frame)
    return Measurement(found.astm_g, found.astm_g_ci95, found.count)


def _neighbours(array: Array, *, within: Array | None = None, **frame: Any) -> Measurement:
    labels = grains.label_grains(array, periodic=frame["periodic"])
    network = grain_network(labels, **frame)
    whole = whole_grains(labels, periodic=frame["periodic"], mask=frame["mask"])
    if within is not None:
        whole = whole[np.isin(whole, np.unique(labels[within]))]
    return _of_values(network.neighbours[np.searchsorted(network.grains, whole)].astype(np.float64))


def _boundary(array: Array, *, within: Array | None = None, **frame: Any) -> float:
    labels = grains.label_grains(array, periodic=frame["periodic"])
    network = grain_network(labels, **frame)
    if within is None:
        return network.per_um
    sides = np.isin(network.pairs, np.unique(labels[within])).mean(axis=1)
    points = np.count_nonzero(within if frame["mask"] is None else within & frame["mask"])
    if not points:
        raise InputError("no grain of the phase lies inside the picture")
    return float(sides @ network.size) / (points * float(np.prod(grains.spacing_um(frame["spacing"], labels.ndim))))


def _junctions(array: Array, **frame: Any) -> float:
    return triple_junctions_per_um2(grains.label_grains(array, periodic=frame["periodic"]), **frame)


def _known_values(what: str) -> Callable[..., Measurement]:
    def function(array: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> Measurement:
        values = array[~np.isnan(array)]
        if not len(values):
            raise InputError(f"the map has no {what}")
        return Measurement(float(values.mean(dtype=np.float64)), std=float(values.std()), values=values)

    return function


def _only_value(array: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> float:
    return float(array[0])


def _not_indexed(array: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> float:
    return 1 - float(array.mean())


ROWS: dict[str, Descriptor] = {
    "mean_intercept_um": Descriptor(
        _of_grains(grains.intercepts, "mean_um", "ci95_um"),
        "um",
        ("grains",),
        "scalar",
        "mean lineal intercept of grains, ASTM E112",
    ),
    "grain_size_um": Descriptor(
        _of_grains(grains.intercepts, "mean_um", "ci95_um"),
        "um",
        ("grains",),
        "scalar",
        "the mean lineal intercept, under the name that conditions use",
    ),
    "astm_g": Descriptor(
        _of_grains(grains.intercepts, "astm_g", "astm_g_ci95"),
        "G",
        ("grains",),
        "scalar",
        "grain size number from the mean intercept, ASTM E112",
    ),
    "astm_g_planimetric": Descriptor(
        _of_grains(grains.planimetric, "astm_g", "astm_g_ci95"),
        "G",
        ("grains",),
        "scalar",
        "grain size number from grains per area, ASTM E112",
        dims=(2,),
    ),
    "astm_g_e2627": Descriptor(
        _e2627,
        "G",
        ("grains",),
        "scalar",
        "grain size number from the mean area of whole grains of at least 100 points, ASTM E2627",
        dims=(2,),
    ),
    "grain_diameter_um": Descriptor(
        _of_each_grain("diameter_um"),
        "um",
        ("grains",),
        "distribution",
        "diameters of the circles (in 3-D balls) of the size of the whole grains",
    ),
    "grain_diameter_weighted_um": Descriptor(
        _weighted_diameter,
        "um",
        ("grains",),
        "scalar",
        "mean diameter, each whole grain counting by its area or volume",
    ),
    "grain_aspect_ratio": Descriptor(
        _of_each_grain("aspect_ratio"),
        "1",
        ("grains",),
        "distribution",
        "longest over shortest axis of each whole grain",
    ),
    "grain_direction_deg": Descriptor(
        _direction,
        "deg",
        ("grains",),
        "distribution",
        "direction of the longest axis of each whole grain, 0 along x, modulo 180",
        period=180.0,
        dims=(2,),
    ),
    "grain_neighbours": Descriptor(
        _neighbours, "1", ("grains",), "distribution", "number of grains that each whole grain touches"
    ),
    "grain_boundary_per_um": Descriptor(
        _boundary,
        "1/um",
        ("grains",),
        "scalar",
        "length of grain boundary per area, in 3-D area per volume",
    ),
    "triple_junctions_per_um2": Descriptor(
        _junctions,
        "1/um^2",
        ("grains",),
        "scalar",
        "triple points per area, in 3-D length of triple lines per volume",
    ),
    "disorientation_deg": Descriptor(
        _known_values("boundary between two grains of one phase"),
        "deg",
        ("disorientation",),
        "distribution",
        "disorientation of neighbouring points across grain boundaries",
    ),
    "kam_deg": Descriptor(
        _known_values("two neighbouring points that differ by 5 degrees at most"),
        "deg",
        ("kam",),
        "distribution",
        "kernel average misorientation: of each point from its nearest neighbours, up to 5 degrees",
    ),
    "texture_index": Descriptor(
        _only_value,
        "1",
        ("texture",),
        "scalar",
        "mean squared orientation density (kernel of 10 degrees) of the points: 1 without texture, larger the sharper",
        costly=True,
        tiles=False,
    ),
    "not_indexed_fraction": Descriptor(
        _not_indexed, "1", ("indexed",), "scalar", "share of the points of a map that have no orientation"
    ),
}
"""By name."""
