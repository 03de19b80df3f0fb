"""Rows of the table: how a phase hangs together, how thick it is, and how well it conducts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.physics.conductivity import effective_conductivity
from microgen.stats import pores, topology
from microgen.stats._descriptor import Descriptor
from microgen.stats.interval import interval_of_parts, tiles
from microgen.stats.measurement import Measurement

Array = NDArray[Any]
_AXES = {"x": 1, "y": 2, "z": 3}  # counted from the last
_MOST_VALUES = 1 << 16  # kept of a distribution: more are replaced by as many quantiles


def _largest_component(region: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> float:
    return topology.connectivity(region, periodic=periodic, mask=mask).largest_share


def _percolating(axis: str) -> Callable[..., float]:
    def share(region: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> float:
        return topology.connectivity(region, periodic=periodic, mask=mask).percolating_share[-_AXES[axis]]

    return share


def _thickness(region: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> Measurement:
    found = pores.local_thickness(region, spacing=spacing, periodic=periodic, mask=mask)
    sizes, counts = pores.sizes_and_counts(found)
    value = float(np.average(sizes, weights=counts))
    std = float(np.sqrt(np.average((sizes - value) ** 2, weights=counts)))
    parts = [float(part[part > 0].mean()) for part in map(found.__getitem__, tiles(found.shape)) if part.any()]
    ci95, n = (interval_of_parts(value, parts), len(parts)) if len(parts) >= 4 else (None, None)
    return Measurement(value, ci95, n, std=std, values=_repeated(sizes, counts))


def _repeated(sizes: Array, counts: Array) -> Array:
    """Every value as often as it occurs, or as many quantiles as are kept."""
    total = int(counts.sum())
    if total <= _MOST_VALUES:
        return np.repeat(sizes, counts)
    ranks = (np.arange(_MOST_VALUES) + 0.5) * (total / _MOST_VALUES)
    return np.asarray(sizes[np.searchsorted(counts.cumsum(), ranks, side="right")])


def _conductivity(axis: str) -> Callable[..., float]:
    def relative(region: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> float:
        if mask is not None and not mask.all():
            raise InputError("conductivity needs a structure without masked parts; crop it first")
        along = region.ndim - _AXES[axis]
        if not topology.connectivity(region, periodic=periodic).percolates[along]:
            return 0.0
        boundary: Any = "periodic" if periodic else "plates"
        return float(effective_conductivity(region, spacing=spacing, axis=along, boundary=boundary))

    return relative


def _tortuosity(axis: str) -> Callable[..., float]:
    conductivity = _conductivity(axis)

    def factor(region: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> float:
        conducted = conductivity(region, spacing=spacing, periodic=periodic, mask=mask)
        if conducted == 0:
            raise InputError(f"infinite: the phase does not percolate along {axis}")
        return float(region.mean()) / conducted

    return factor


def _along(axis: str) -> dict[str, Descriptor]:
    dims = (3,) if axis == "z" else (2, 3)
    solved: dict[str, Any] = {"dims": dims, "costly": True, "tiles": False}
    return {
        f"percolating_share_{axis}": Descriptor(
            _percolating(axis),
            "1",
            ("phase",),
            "scalar",
            f"share of the phase in components that percolate along {axis}; 0 where none does",
            dims=dims,
            tiles=False,
        ),
        f"tortuosity_{axis}": Descriptor(
            _tortuosity(axis),
            "1",
            ("phase",),
            "scalar",
            f"tortuosity factor of the phase along {axis}: its fraction over its relative conductivity",
            **solved,
        ),
        f"relative_conductivity_{axis}": Descriptor(
            _conductivity(axis),
            "1",
            ("phase",),
            "scalar",
            f"conductivity (or diffusivity) along {axis} over that of the phase, if nothing else conducts",
            **solved,
        ),
    }


ROWS: dict[str, Descriptor] = {
    "euler_number_density": Descriptor(
        topology.euler_density,
        "1/um^d",
        ("phase",),
        "scalar",
        "Euler number per area or volume: components minus loops plus cavities, 4 or 6 neighbours",
    ),
    "largest_component_share": Descriptor(
        _largest_component,
        "1",
        ("phase",),
        "scalar",
        "share of the phase in its largest connected component, 4 or 6 neighbours",
        tiles=False,
    ),
    "local_thickness_um": Descriptor(
        _thickness,
        "um",
        ("phase",),
        "distribution",
        "diameter of the largest inscribed ball at each point of the phase",
    ),
    **_along("x"),
    **_along("y"),
    **_along("z"),
}
"""By name."""
