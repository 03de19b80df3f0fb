"""Linear elasticity of periodic structures of pixels and voxels: effective stiffness and local strain.

Every voxel is a trilinear finite element (in two dimensions a bilinear one, in plane strain). The displacements are
found by conjugate gradients; the preconditioner solves for a homogeneous material exactly, by fast Fourier transforms,
so the number of iterations does not grow with the grid, and voids may have no stiffness at all.

The Voigt order is that of :mod:`microgen.physics.stiffness`: ``xx, yy, zz, yz, xz, xy`` or ``xx, yy, xy``, with
engineering shear strains.

References
----------
Schneider, Merkert, Kabel, Int. J. Numer. Meth. Engng 109 (2017) 1461, doi:10.1002/nme.5336; Ladecky et al.,
Int. J. Numer. Meth. Engng 124 (2023) 1862 (arXiv:2203.02962).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microgen.core import DivergedError, InputError
from microgen.physics import elements
from microgen.physics.stiffness import plane_strain

Float = NDArray[np.floating[Any]]
Array = NDArray[Any]

_LIMIT = 2000
_FINEST = 1e-10
_FLOOR = 1e-4  # share of the mean stiffness below which the tolerance is relative to that share


class LocalFields(NamedTuple):
    """Strain and stress of every voxel (means over it), each of shape ``(voigt, *grid)``."""

    strain: Float
    stress: Float


def effective_stiffness(labels: Array, stiffness: Float, *, spacing: Sequence[float], tolerance: float = 1e-4) -> Float:
    """Return the stiffness of the homogeneous material that a periodic structure behaves like.

    Parameters
    ----------
    labels
        Material of each grid point, integers from 0, ``(Y, X)`` or ``(Z, Y, X)``: a phase, or the number of a grain.
    stiffness
        Stiffness of each material, ``(materials, 6, 6)``, or ``(materials, 3, 3)`` for pictures; for pictures a
        ``(6, 6)`` one is taken in plane strain. Isotropic or not; all zeros for a void.
    spacing
        Distance of grid points along each axis in micrometres, ``(y, x)`` or ``(z, y, x)``.
    tolerance
        Largest norm of the forces that are not balanced, as a share of the elastic energy (both as energies, under
        the root). The relative error of the stiffness is about its square.

    Returns
    -------
    ndarray
        Symmetric, ``(6, 6)`` or ``(3, 3)``, in the unit given.

    Raises
    ------
    InputError
        If labels, stiffness and spacing do not fit together, or a stiffness is not positive.
    DivergedError
        If the tolerance is not reached.

    Examples
    --------
    Layers across y, as stiff in series as their harmonic mean:

    >>> from microgen.physics.stiffness import isotropic
    >>> layers = np.repeat([[0], [1]], 4, axis=0).repeat(4, axis=1)
    >>> effective_stiffness(layers, np.array([isotropic(1.0, 0.0), isotropic(3.0, 0.0)]), spacing=(1.0, 1.0)).round(4)
    array([[2.  , 0.  , 0.  ],
           [0.  , 1.5 , 0.  ],
           [0.  , 0.  , 0.75]])
    """
    problem = _Problem(labels, stiffness, spacing, tolerance)
    found = np.stack([problem.mean_stress(problem.solve(load), load) for load in np.eye(problem.voigt)])
    return np.asarray((found + found.T) / 2)


def local_fields(
    labels: Array,
    stiffness: Float,
    mean_strain: Sequence[float] | Float,
    *,
    spacing: Sequence[float],
    tolerance: float = 1e-4,
) -> LocalFields:
    """Return strain and stress of every voxel of a periodic structure under a mean strain.

    Parameters
    ----------
    labels, stiffness, spacing, tolerance
        As for :func:`effective_stiffness`.
    mean_strain
        Strain of the whole block in Voigt order, 6 numbers or 3.

    Examples
    --------
    >>> from microgen.physics.stiffness import isotropic
    >>> layers = np.repeat([[0], [1]], 4, axis=0).repeat(4, axis=1)
    >>> materials = np.array([isotropic(1.0, 0.0), isotropic(3.0, 0.0)])
    >>> local_fields(layers, materials, [0, 1, 0], spacing=(1.0, 1.0)).strain[1, :, 0].round(3)
    array([1.5, 1.5, 1.5, 1.5, 0.5, 0.5, 0.5, 0.5])
    """
    problem = _Problem(labels, stiffness, spacing, tolerance)
    load = np.asarray(mean_strain, dtype=np.float64)
    if load.shape != (problem.voigt,):
        raise InputError(f"the mean strain has {problem.voigt} components in Voigt order, got shape {load.shape}")
    return problem.fields(problem.solve(load), load)


class _Problem:
    """A structure with its law of elasticity and the response of the homogeneous reference."""

    def __init__(self, labels: Array, stiffness: Float, spacing: Sequence[float], tolerance: float) -> None:
        labels, table = _checked(labels, stiffness, spacing)
        if not _FINEST <= tolerance < 1:  # rounding errors are larger
            raise InputError(f"the tolerance is between {_FINEST:g} and 1, got {tolerance}")
        self.shape, self.voigt, self.tolerance = labels.shape, table.shape[-1], tolerance
        self.gradient = elements.gradients(spacing)
        self.law = elements.material_law(labels, table)
        share = np.bincount(labels.ravel(), minlength=len(table)) / labels.size
        self.response = elements.response(labels.shape, spacing, *_reference(table[share > 0]))
        self.mean_stiffness = np.einsum("m,mab->ab", share, table)

    def solve(self, load: Float) -> Float:
        """Return the periodic part of the displacements under a mean strain."""
        none, scale = np.zeros(self.voigt), float(load @ self.mean_stiffness @ load) * np.prod(self.shape)
        found = np.zeros((len(self.shape), *self.shape))
        missing = -elements.forces(found, self.gradient, self.law, load)
        energy, direction, last = scale, np.zeros_like(found), np.inf
        for _ in range(_LIMIT):
            correction = self.response(missing)
            left = float(np.vdot(missing, correction))
            if left <= self.tolerance**2 * max(energy, _FLOOR * scale):
                return found
            direction *= left / last
            direction += correction
            image = elements.forces(direction, self.gradient, self.law, none)
            length = left / float(np.vdot(direction, image))
            found += length * direction
            missing -= length * image
            energy, last = energy - length * left, left
        raise DivergedError(f"elasticity: not balanced after {_LIMIT} iterations; raise the tolerance")

    def mean_stress(self, displacement: Float, load: Float) -> Float:
        """Return the mean stress in Voigt order."""
        total = np.zeros(self.voigt)
        for part, strain in elements.strains(displacement, self.gradient, load):
            total += self.law(strain, part).mean(axis=0).sum(axis=-1)
        return total / np.prod(self.shape)

    def fields(self, displacement: Float, load: Float) -> LocalFields:
        """Return the means of strain and stress over every voxel."""
        found = LocalFields(*(np.zeros((self.voigt, *self.shape)) for _ in range(2)))
        for part, strain in elements.strains(displacement, self.gradient, load):
            shape = found.strain[:, part].shape
            found.strain[:, part] = strain.mean(axis=0).reshape(shape)
            found.stress[:, part] = self.law(strain, part).mean(axis=0).reshape(shape)
        return found


def _reference(stiffness: Float) -> tuple[float, float]:
    """Lame's constants of an isotropic material in the middle of the given ones."""
    normal = 2 if stiffness.shape[-1] == 3 else 3
    shear = np.trace(stiffness[:, normal:, normal:], axis1=1, axis2=2) / (stiffness.shape[-1] - normal)
    direct = np.trace(stiffness[:, :normal, :normal], axis1=1, axis2=2) / normal
    shear_mean, direct_mean = ((v.min() + v.max()) / 2 for v in (shear, direct))
    return float(max(direct_mean - 2 * shear_mean, 0.0)), float(shear_mean)


def _checked(labels: Array, stiffness: Float, spacing: Sequence[float]) -> tuple[Array, Float]:
    grid = np.asarray(labels)
    table: Float = np.asarray(stiffness, dtype=np.float64)
    if grid.ndim not in (2, 3) or grid.size == 0 or grid.dtype.kind not in "bui":
        raise InputError(f"labels are integers (Y, X) or (Z, Y, X), got {grid.dtype} {grid.shape}")
    if len(spacing) != grid.ndim or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise InputError(f"spacing needs one positive number for each of {grid.ndim} axes, got {tuple(spacing)}")
    if grid.ndim == 2 and table.shape[1:] == (6, 6):
        table = plane_strain(table)
    voigt = len(elements.VOIGT[grid.ndim])
    if table.ndim != 3 or table.shape[1:] != (voigt, voigt):
        raise InputError(f"stiffness needs shape (materials, {voigt}, {voigt}), got {table.shape}")
    if grid.min() < 0 or grid.max() >= len(table):
        raise InputError(f"labels go from 0 to {len(table) - 1}, one per material, got {grid.min()} to {grid.max()}")
    _check_positive(table)
    return grid.astype(np.intp), table


def _check_positive(table: Float) -> None:
    scale = np.abs(table).max(axis=(1, 2))
    if not np.isfinite(table).all() or np.abs(table - table.swapaxes(1, 2)).max() > 1e-9 * scale.max():
        raise InputError("a stiffness matrix is finite and symmetric")
    wrong = np.linalg.eigvalsh(table)[:, 0] < -1e-9 * scale
    if wrong.any():
        raise InputError(f"the stiffness of material {int(wrong.argmax())} is not positive")
    if not table.any():
        raise InputError("no material has any stiffness")
