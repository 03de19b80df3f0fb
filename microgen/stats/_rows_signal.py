"""Rows of the table: what is measured on a field of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats as statistics

from microgen.core import InputError
from microgen.stats import orientation, spectrum
from microgen.stats._descriptor import Descriptor
from microgen.stats.curve import Curve

Array = NDArray[Any]


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


ROWS: dict[str, Descriptor] = {
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
"""By name."""
