"""Effective conductivity and tortuosity of pixels and voxels, by finite volumes.

Heat, electric current, diffusing species and (with the permittivity) dielectric displacement obey the same equation.
Every voxel has one potential; two voxels that share a face are in series, so the conductance between them follows
from the harmonic mean of their conductivities. Layers along the grid and straight channels come out exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core import InputError
from microgen.physics import conduction

Array = NDArray[Any]
Float = NDArray[np.float64]
Boundary = Literal["plates", "periodic"]

_FINEST = 1e-10
_FLOOR = 1e-6  # share of the arithmetic mean below which a periodic conductivity counts as none


@overload
def effective_conductivity(
    conductivity: Array,
    *,
    spacing: Sequence[float],
    axis: int,
    boundary: Boundary = "plates",
    tolerance: float = 1e-4,
) -> float: ...


@overload
def effective_conductivity(
    conductivity: Array,
    *,
    spacing: Sequence[float],
    axis: None = None,
    boundary: Boundary = "plates",
    tolerance: float = 1e-4,
) -> Float: ...


def effective_conductivity(
    conductivity: Array,
    *,
    spacing: Sequence[float],
    axis: int | None = None,
    boundary: Boundary = "plates",
    tolerance: float = 1e-4,
) -> float | Float:
    """Return the conductivity of the homogeneous block that conducts as much as the given one.

    Parameters
    ----------
    conductivity
        Non-negative conductivity of each grid point, ``(Y, X)`` or ``(Z, Y, X)``, in any unit; 0 insulates.
    spacing
        Distance of grid points along each axis in micrometres, ``(y, x)`` or ``(z, y, x)``.
    axis
        Direction of the flux, counted as the axes of the array; None for all directions.
    boundary
        ``"plates"``: two faces across `axis` are held at two potentials, nothing passes the others, as in an
        experiment. ``"periodic"``: the block is repeated for ever in all directions.
    tolerance
        Largest difference of the flux between any two sections, as a share of the flux, at least 1e-10. The
        conductivity is more accurate than that, because its error is of second order.

    Returns
    -------
    float or ndarray
        In the unit given. With `axis` None: for plates one value per axis; for periodic blocks the symmetric
        tensor, shape ``(dimensions, dimensions)``, rows and columns in the order of the axes.

    Raises
    ------
    InputError
        If the conductivity is negative or not finite, or axis, spacing or boundary do not fit.
    DivergedError
        If the tolerance is not reached.

    References
    ----------
    Patankar, Numerical Heat Transfer and Fluid Flow (1980), section 4.2-3; Cooper et al., SoftwareX 5 (2016) 203,
    doi:10.1016/j.softx.2016.09.002 (plates).

    Examples
    --------
    Two layers, in parallel along the last axis and in series along the first:

    >>> layers = np.repeat([[1.0], [3.0]], 4, axis=0).repeat(4, axis=1)
    >>> effective_conductivity(layers, spacing=(1.0, 1.0)).round(6)
    array([1.5, 2. ])
    """
    values = _checked(conductivity, spacing, axis, boundary, tolerance)
    axes = range(values.ndim) if axis is None else [axis]
    if boundary == "plates":
        found = [_between_plates(values, spacing, a, tolerance) for a in axes]
        return np.array(found) if axis is None else found[0]
    tensor = _periodic(values, spacing, list(axes), tolerance)
    return tensor if axis is None else float(tensor[0, 0])


def tortuosity(region: Array, *, spacing: Sequence[float], axis: int, tolerance: float = 1e-4) -> float:
    """Return the tortuosity factor of a phase: how much longer its ways seem than straight ones.

    It is ``fraction D0 / D_eff``, where `D_eff` is the effective diffusivity between two plates across `axis` if the
    phase has the diffusivity `D0` and everything else blocks, and `fraction` is that of the whole phase, dead ends
    and islands included. Straight channels have exactly 1.

    Parameters
    ----------
    region
        True in the phase, ``(Y, X)`` or ``(Z, Y, X)``.
    spacing
        Distance of grid points along each axis in micrometres.
    axis
        Direction of the flux, counted as the axes of the array.
    tolerance
        As for :func:`effective_conductivity`.

    Returns
    -------
    float
        At least 1; ``math.inf`` where the phase does not connect the two faces (voxels connect through faces).

    Raises
    ------
    InputError
        If `region` is not boolean, or axis or spacing do not fit.

    References
    ----------
    Cooper et al., SoftwareX 5 (2016) 203, doi:10.1016/j.softx.2016.09.002.

    Examples
    --------
    >>> channels = np.zeros((6, 8), bool)
    >>> channels[1:3] = channels[5] = True
    >>> round(tortuosity(channels, spacing=(1.0, 1.0), axis=1), 6), tortuosity(channels, spacing=(1.0, 1.0), axis=0)
    (1.0, inf)
    """
    inside = np.asarray(region)
    if inside.dtype != bool:
        raise InputError(f"a region is a boolean array, got {inside.dtype}; compare the labels with a phase first")
    values = _checked(inside.view(np.uint8), spacing, axis, "plates", tolerance)
    diffusivity = _between_plates(values, spacing, axis, tolerance)
    return float(inside.mean()) / diffusivity if diffusivity > 0 else math.inf


def percolating(region: Array, *, axis: int) -> NDArray[np.bool_]:
    """Return the part of a region that is connected, through faces of voxels, to both ends of an axis.

    >>> percolating(np.array([[1, 1, 1], [0, 0, 0], [1, 0, 1]], bool), axis=1).astype(int)
    array([[1, 1, 1],
           [0, 0, 0],
           [0, 0, 0]])
    """
    labels, _ = ndimage.label(region)
    both = np.intersect1d(np.take(labels, 0, axis=axis), np.take(labels, -1, axis=axis))
    wanted = np.zeros(int(labels.max()) + 1, bool)
    wanted[both[both > 0]] = True
    return np.asarray(wanted[labels])


def _between_plates(values: Array, spacing: Sequence[float], axis: int, tolerance: float) -> float:
    active = percolating(values > 0, axis=axis)
    if not active.any():
        return 0.0
    system = conduction.between_plates(values, active, spacing, axis)

    def flux(potential: Float) -> float:
        return system.constant[0] - float(system.right[0] @ potential)

    start = (system.place[axis] + 0.5) / values.shape[axis]
    ((potential, missing),) = conduction.potentials(system, spacing, start, lambda _, u: tolerance * flux(u))
    length = values.shape[axis] * spacing[axis]
    return float((flux(potential) - potential @ missing) * length**2 / values.size)


def _periodic(values: Array, spacing: Sequence[float], axes: list[int], tolerance: float) -> Float:
    if not values.any():
        return np.zeros((len(axes), len(axes)))
    system = conduction.periodic(values, spacing, axes)
    sections = [values.shape[axis] * spacing[axis] for axis in axes]

    def allowed(load: int, potential: Float) -> float:
        along = system.constant[load] - float(system.right[load] @ potential)
        return float(tolerance * max(along, _FLOOR * system.constant[load]) / sections[load])

    found = conduction.potentials(system, spacing, np.zeros(system.place.shape[1]), allowed)
    potential, missing = (np.stack(columns) for columns in zip(*found, strict=True))
    tensor = np.diag(system.constant) - np.stack(system.right) @ potential.T - potential @ missing.T
    return np.asarray(tensor / values.size)


def _checked(conductivity: Array, spacing: Sequence[float], axis: int | None, boundary: str, tolerance: float) -> Array:
    values = np.asarray(conductivity)
    if values.ndim not in (2, 3) or values.size == 0 or values.dtype.kind not in "buif":
        raise InputError(
            f"a conductivity is an array of numbers (Y, X) or (Z, Y, X), got {values.dtype} {values.shape}"
        )
    if not np.isfinite(values).all() or values.min() < 0:
        raise InputError("a conductivity is finite and not negative; mask or replace other values first")
    if len(spacing) != values.ndim or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise InputError(f"spacing needs one positive number for each of {values.ndim} axes, got {tuple(spacing)}")
    if axis is not None and not 0 <= axis < values.ndim:
        raise InputError(f"axis must be 0 to {values.ndim - 1}, got {axis}")
    if boundary not in ("plates", "periodic"):
        raise InputError(f"the boundary is 'plates' or 'periodic', got {boundary!r}")
    if not _FINEST <= tolerance < 1:  # rounding errors are larger
        raise InputError(f"the tolerance is between {_FINEST:g} and 1, got {tolerance}")
    return values
