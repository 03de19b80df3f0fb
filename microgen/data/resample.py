"""Bringing an array to another pixel size without aliasing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from microgen.core import InputError
from microgen.stats.grains import label_grains
from microgen.stats.views import interior

CATEGORICAL = frozenset({"phase", "grain", "boundary", "mask", "orientation"})
"""Fields whose values must not be mixed: the nearest one is taken."""


def resample(
    values: NDArray[Any], spacing: tuple[float, ...], target_um: float, *, categorical: bool = False
) -> NDArray[np.float32]:
    """Return `values` on a grid of square pixels (cubic voxels) of side `target_um`.

    A coarser pixel is the exact area average of the fine ones under it, as a camera with such pixels would have
    recorded: the mean is kept and no value leaves the range of the data. A finer grid is a cubic spline.

    Parameters
    ----------
    values
        ``(Y, X)`` or ``(Z, Y, X)``, then any axes of channels.
    spacing
        Micrometres per pixel along each axis of the grid.
    target_um
        Wanted micrometres per pixel.
    categorical
        Take the value of the nearest pixel instead of mixing.

    Returns
    -------
    ndarray of float32
        ``floor(n * spacing / target)`` pixels along each axis, in the units of `values`; the first edge is kept.

    Raises
    ------
    InputError
        If not even one pixel of the wanted size fits.

    Examples
    --------
    >>> resample(np.arange(6.0).reshape(1, 6), (2.0, 1.0), 2.0)
    array([[0.5, 2.5, 4.5]], dtype=float32)
    """
    result: NDArray[Any] = values
    for axis, step in enumerate(spacing):
        factor = target_um / step
        count = int(np.floor(values.shape[axis] / factor + 1e-6))
        if count < 1:
            raise InputError(f"an image {values.shape[axis] * step:.4g} um long has no pixel of {target_um:.4g} um")
        result = _axis(result, axis, factor, count, categorical)
    return np.ascontiguousarray(result, dtype=np.float32)


def resample_field(
    name: str, values: NDArray[Any], spacing: tuple[float, ...], target_um: float
) -> NDArray[np.float32]:
    """Resample a field in the way its name asks for; see :func:`resample`.

    Labels take the nearest value. Grain boundaries are drawn anew around the resampled grains: thin lines would
    break.
    """
    if name == "boundary" and any(abs(target_um / step - 1) > 1e-9 for step in spacing):
        cells = resample(label_grains(values.astype(bool)), spacing, target_um, categorical=True)
        return drawn_boundary(cells).astype(np.float32)
    return resample(values, spacing, target_um, categorical=name in CATEGORICAL)


def drawn_boundary(cells: NDArray[Any]) -> NDArray[np.uint8]:
    """1 on both sides of the grain boundaries of cells that fill the grid, else 0.

    Lines on one side only would be thicker along one diagonal, which looks like a direction of the material.

    >>> drawn_boundary(np.array([[1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2]]))
    array([[0, 0, 1, 1, 0, 0],
           [0, 0, 1, 1, 0, 0]], dtype=uint8)
    """
    inside = interior(cells) & np.flip(interior(np.flip(cells)))
    return (~inside).astype(np.uint8)


def _axis(values: NDArray[Any], axis: int, factor: float, count: int, categorical: bool) -> NDArray[Any]:  # noqa: FBT001
    centres = (np.arange(count) + 0.5) * factor - 0.5
    if categorical or abs(factor - 1) < 1e-9:
        nearest = np.clip(np.floor(centres + 0.5).astype(int), 0, values.shape[axis] - 1)
        return np.asarray(np.take(values, nearest, axis=axis))
    moved = np.moveaxis(values, axis, 0).astype(np.float64)
    made = _averaged(moved, factor, count) if factor > 1 else _splined(moved, centres)
    return np.moveaxis(made, 0, axis)


def _averaged(values: NDArray[Any], factor: float, count: int) -> NDArray[Any]:
    """Area average along axis 0: differences of the running sum, read between its points."""
    total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
    edges = np.minimum(np.arange(count + 1) * factor, len(values))
    below = np.minimum(edges.astype(int), len(values) - 1)
    part = (edges - below).reshape(-1, *[1] * (values.ndim - 1))
    at_edges = total[below] + part * (total[below + 1] - total[below])
    averaged: NDArray[Any] = np.diff(at_edges, axis=0) / factor
    return averaged


def _splined(values: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    """Cubic spline along axis 0, constant beyond the centres of the first and last pixel."""
    last = len(values) - 1
    if last == 0:
        return np.repeat(values, len(centres), axis=0)
    spline = make_interp_spline(np.arange(last + 1), values, k=3 if last >= 3 else 1, axis=0)
    return np.asarray(spline(np.clip(centres, 0, last)))
