"""The table of descriptors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats as statistics

from microgen.core import InputError
from microgen.stats import correlation, grains, lineal, orientation, phases, spectrum
from microgen.stats.curve import Curve
from microgen.stats.interval import bootstrap_ci
from microgen.stats.measurement import Measurement

Array = NDArray[Any]
_G_PER_RELATIVE = 2 / np.log(2)  # change of the grain size number per relative change of length


@dataclass(frozen=True)
class Descriptor:
    """One row of :data:`DESCRIPTORS`.

    Attributes
    ----------
    function
        ``function(array, *, spacing, periodic, mask)`` to a number, a :class:`Curve` or a
        :class:`Measurement`.
    unit
        Of the result, in powers of ``um`` where it has a length in it.
    needs
        What the array is: a name of :class:`microgen.stats.views.Views`.
    kind
        ``"scalar"``, ``"curve"`` or ``"distribution"``.
    meaning
        One line for tables.
    x_unit
        Unit of the abscissa of a curve.
    period
        Of an angle.
    dims
        Numbers of dimensions it is defined for.
    """

    function: Callable[..., float | Curve | Measurement]
    unit: str
    needs: tuple[str, ...]
    kind: Literal["scalar", "curve", "distribution"]
    meaning: str
    x_unit: str = ""
    period: float | None = None
    dims: tuple[int, ...] = (2, 3)


def _fraction(region: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> float:
    return phases.phase_fraction(region, mask=mask)


def _chords(region: Array, **frame: Any) -> Measurement:
    values = lineal.chord_lengths(region, **frame)
    mean = lineal.mean_chord_length(region, **frame)
    return Measurement(mean, values=values, std=float(values.std()) if len(values) else None)


def _spectrum(values: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> Curve:
    if mask is not None and not mask.all():
        raise InputError("a power spectrum needs a picture without masked parts; crop it first")
    return spectrum.power_spectrum(values, spacing=spacing, periodic=periodic)


def _of_tensor(name: str) -> Callable[..., float]:
    def function(values: Array, **frame: Any) -> float:
        found = float(getattr(orientation.structure_tensor(values, **frame), name))
        if not np.isfinite(found):
            raise InputError(f"the field does not change along some direction, so it has no finite {name}")
        return found

    return function


def _of_histogram(function: Callable[[Array], Any]) -> Callable[..., float]:
    def moment(values: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> float:
        kept = (values.ravel() if mask is None else values[mask]).astype(np.float64)
        if not kept.size or kept.min() == kept.max():
            raise InputError("a picture of one constant gray value has no histogram to speak of")
        return float(function(kept))

    return moment


def _of_grains(method: Callable[..., grains.GrainSize], value: str, ci95: str) -> Callable[..., Measurement]:
    def function(array: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> Measurement:
        found = method(_unmasked(array, mask), spacing=spacing, periodic=periodic)
        std = found.std_um if value == "mean_um" else _G_PER_RELATIVE * found.std_um / found.mean_um
        return Measurement(getattr(found, value), getattr(found, ci95), found.n, std=std)

    return function


def _of_each_grain(column: str) -> Callable[..., Measurement]:
    def function(array: Array, *, spacing: Any, periodic: bool, mask: Array | None) -> Measurement:
        values = getattr(grains.grain_table(_unmasked(array, mask), spacing=spacing), column)
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


DESCRIPTORS: dict[str, Descriptor] = {
    "phase_fraction": Descriptor(_fraction, "1", ("phase",), "scalar", "fraction of the phase"),
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
    "correlation_length_um": Descriptor(
        spectrum.correlation_length, "um", ("signal",), "scalar", "distance at which the auto-covariance falls to 1/e"
    ),
    "anisotropy": Descriptor(
        _of_tensor("anisotropy"),
        "1",
        ("signal",),
        "scalar",
        "structure tensor: 0 isotropic, 1 all change along one direction",
    ),
    "aspect_ratio": Descriptor(
        _of_tensor("aspect_ratio"),
        "1",
        ("signal",),
        "scalar",
        "structure tensor: stretch that would make this structure from an isotropic one",
    ),
    "orientation_deg": Descriptor(
        _of_tensor("direction_deg"),
        "deg",
        ("signal",),
        "scalar",
        "structure tensor: direction of elongation, 0 along x, modulo 180",
        period=180.0,
        dims=(2,),
    ),
    "power_spectrum": Descriptor(
        _spectrum, "um^d", ("signal",), "curve", "power spectral density over frequency in cycles per um", x_unit="1/um"
    ),
    "intensity_mean": Descriptor(_of_histogram(np.mean), "1", ("intensity",), "scalar", "mean gray value"),
    "intensity_std": Descriptor(_of_histogram(np.std), "1", ("intensity",), "scalar", "standard deviation of gray"),
    "intensity_skewness": Descriptor(
        _of_histogram(statistics.skew), "1", ("intensity",), "scalar", "skewness of the gray values"
    ),
    "intensity_kurtosis": Descriptor(
        _of_histogram(statistics.kurtosis), "1", ("intensity",), "scalar", "excess kurtosis of the gray values"
    ),
}
"""Every descriptor by name; docs, command line, report and property tests read this table."""
