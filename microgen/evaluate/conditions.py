"""Measuring what a sample was asked for, in the way that training crops are measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.data.measures import MEASURES


def measurable(name: str, picture: Microstructure) -> bool:
    """Whether a condition can be measured on the fields of a picture."""
    measure = MEASURES.get(name)
    return measure is not None and measure.field in picture and picture.ndim in measure.ndim


def measured_in(
    name: str, picture: Microstructure, corners: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Measure a condition of windows of one picture; NaN where the picture does not show it.

    Parameters
    ----------
    corners
        First grid point of each window, ``(n, axes)``.
    shape
        Size of the windows.
    """
    measure = MEASURES[name]
    try:
        windows = measure.windows(picture[measure.field], picture.spacing[0])
    except InputError:
        return np.full(len(corners), np.nan)
    return np.asarray(windows(corners, shape), dtype=np.float64)
