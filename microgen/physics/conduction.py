"""The balance of fluxes over the faces of voxels, as linear systems (all numbers are per volume of a voxel)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from microgen.core import DivergedError
from microgen.physics import multigrid

Array = NDArray[Any]
Float = NDArray[np.float64]
Int = NDArray[np.int32]
Faces = list[tuple[Int, Int, Float]]  # per axis: the voxels below and above, and the conductance between them


@dataclass(frozen=True, eq=False)
class System:
    """Balances of the conducting voxels, ``matrix @ potential = right``, for one or several loads.

    Half the dissipation of a load is ``constant / 2 - right @ potential + potential @ matrix @ potential / 2``.

    Attributes
    ----------
    place
        Grid indices of the conducting voxels, shape ``(dimensions, voxels)``.
    right, constant
        Per load: what drives the voxels, and the dissipation where all potentials are 0.
    """

    matrix: sparse.csr_array
    place: Int
    right: list[Float]
    constant: list[float]


def between_plates(conductivity: Array, active: NDArray[np.bool_], spacing: Sequence[float], axis: int) -> System:
    """Return the balances of the active voxels between a plate at potential 0 and one at 1, at the end of `axis`."""
    place = np.stack([i.astype(np.int32) for i in np.nonzero(active)])
    faces = _faces(conductivity, active, spacing, wrap=False)
    half = 2 * conductivity[active].astype(np.float64) / spacing[axis] ** 2
    first, last = place[axis] == 0, place[axis] == active.shape[axis] - 1
    right = np.where(last, half, 0.0)
    return System(_laplacian(faces, right + np.where(first, half, 0.0)), place, [right], [float(right.sum())])


def periodic(conductivity: Array, spacing: Sequence[float], axes: Sequence[int]) -> System:
    """Return the balances of a periodic block, with one load per axis: a mean gradient of 1 along it."""
    active = conductivity > 0
    place = np.stack([i.astype(np.int32) for i in np.nonzero(active)])
    faces = _faces(conductivity, active, spacing, wrap=True)
    size = place.shape[1]
    right: list[Float] = []
    constant: list[float] = []
    for axis in axes:
        below, above, conductance = faces[axis]
        drive = conductance * spacing[axis]
        right.append(_sums(below, drive, size) - _sums(above, drive, size))
        constant.append(float(drive.sum()) * spacing[axis])
    return System(_laplacian(faces, np.zeros(size)), place, right, constant)


def potentials(
    system: System,
    spacing: Sequence[float],
    start: Float,
    allowed: Callable[[int, Float], float],
    *,
    limit: int = 500,
) -> list[tuple[Float, Float]]:
    """Solve for every load; returns the potentials and what is missing in the balances.

    Parameters
    ----------
    allowed
        Function of the number of the load and the potential: largest sum of what is missing in all balances. No two
        sections can differ by more in their flux.
    limit
        Largest number of iterations.

    Raises
    ------
    DivergedError
        If that is not reached.
    """
    levels = multigrid.hierarchy(system.matrix, system.place, spacing)
    found = []
    for load, right in enumerate(system.right):

        def done(potential: Float, missing: Float, load: int = load) -> bool:
            return float(np.abs(missing).sum()) <= allowed(load, potential)

        try:
            potential = multigrid.solve(levels, right, start, done, limit=limit)
        except ArithmeticError as error:
            raise DivergedError(f"conduction: {error}; raise the tolerance or look for extreme contrast") from error
        found.append((potential, right - system.matrix @ potential))
    return found


def _faces(conductivity: Array, active: NDArray[np.bool_], spacing: Sequence[float], *, wrap: bool) -> Faces:
    number = np.full(active.shape, -1, np.int32)
    number[active] = np.arange(np.count_nonzero(active), dtype=np.int32)
    values = conductivity[active].astype(np.float64)
    return [_faces_along(np.moveaxis(number, a, 0), values, step, wrap=wrap) for a, step in enumerate(spacing)]


def _faces_along(number: Int, values: Float, step: float, *, wrap: bool) -> tuple[Int, Int, Float]:
    if wrap:
        number = np.concatenate([number, number[:1]])
    below, above = number[:-1], number[1:]
    both = (below >= 0) & (above >= 0)
    below, above = below[both], above[both]
    k, other = values[below], values[above]
    return below, above, 2 / (1 / k + 1 / other) / step**2


def _laplacian(faces: Faces, diagonal: Float) -> sparse.csr_array:
    """Matrix of the balances, with `diagonal` for conductances to the outside."""
    below, above, conductance = (np.concatenate(parts) for parts in zip(*faces, strict=True))
    size = len(diagonal)
    diagonal = diagonal + _sums(below, conductance, size) + _sums(above, conductance, size)
    every = np.arange(size, dtype=np.int32)
    entries = np.concatenate([-conductance, -conductance, diagonal])
    ends = np.concatenate([below, above, every]), np.concatenate([above, below, every])
    return sparse.csr_array((entries, ends), shape=(size, size))


def _sums(index: Int, values: Float, size: int) -> Float:
    return np.bincount(index, values, size).astype(np.float64, copy=False)
