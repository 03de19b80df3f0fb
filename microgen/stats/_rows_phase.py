"""Rows of the table: what is measured on a phase."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from microgen.stats import correlation, lineal, phases
from microgen.stats._descriptor import Descriptor
from microgen.stats.measurement import Measurement

Array = NDArray[Any]


def _fraction(region: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> float:
    return phases.phase_fraction(region, mask=mask)


def _chords(region: Array, **frame: Any) -> Measurement:
    values = lineal.chord_lengths(region, **frame)
    mean = lineal.mean_chord_length(region, **frame)
    return Measurement(mean, values=values, std=float(values.std()) if len(values) else None)


ROWS: dict[str, Descriptor] = {
    "phase_fraction": Descriptor(_fraction, "1", ("phase_points",), "scalar", "fraction of the phase"),
    "specific_surface_per_um": Descriptor(
        phases.specific_surface,
        "1/um",
        ("phase",),
        "scalar",
        "area of the phase's surface per volume; in 2-D length of its outline per area",
    ),
    "s2": Descriptor(
        correlation.s2,
        "1",
        ("region",),
        "curve",
        "probability that both ends of a step of length x lie in the region",
        x_unit="um",
    ),
    "lineal_path": Descriptor(
        lineal.lineal_path,
        "1",
        ("region",),
        "curve",
        "probability that a segment of length x lies wholly in the region",
        x_unit="um",
    ),
    "chord_length_um": Descriptor(_chords, "um", ("region",), "distribution", "chords of the region along the axes"),
}
"""By name."""
