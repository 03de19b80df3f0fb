"""Stiffness matrices of materials and crystals.

**Convention.** Voigt order ``xx, yy, zz, yz, xz, xy`` in three dimensions and ``xx, yy, xy`` in two, with engineering
shear strains (``2 e_yz`` and so on); x runs along the last axis of arrays, y along the one before, z along the first
of a volume.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.core.orientations import rotations

Float = NDArray[np.floating[Any]]

_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_IN_PLANE = [0, 1, 5]


def isotropic(young: float, poisson: float) -> Float:
    """Return the stiffness ``(6, 6)`` of an isotropic material, in the unit of Young's modulus.

    >>> isotropic(1.0, 0.25).round(3)[0]
    array([1.2, 0.4, 0.4, 0. , 0. , 0. ])
    """
    if not young >= 0 or not -1 < poisson < 0.5:
        raise InputError(f"Young's modulus is at least 0 and Poisson's ratio -1 to 0.5, got {young} and {poisson}")
    shear = young / (2 * (1 + poisson))
    lame = 2 * shear * poisson / (1 - 2 * poisson)
    return cubic(lame + 2 * shear, lame, shear)


def cubic(c11: float, c12: float, c44: float) -> Float:
    """Return the stiffness ``(6, 6)`` of a cubic crystal in its own axes.

    >>> cubic(168.0, 121.0, 75.0).shape
    (6, 6)
    """
    found = np.diag([c11 - c12] * 3 + [c44] * 3).astype(np.float64)
    found[:3, :3] += c12
    return found


def rotated(stiffness: Float, orientation: Float) -> Float:
    """Return the stiffness of crystals in the frame of the sample.

    Parameters
    ----------
    stiffness
        Stiffness ``(6, 6)`` in the frame of the crystal.
    orientation
        Unit quaternions ``(..., 4)`` that turn the sample axes into those of the crystal, as in
        :mod:`microgen.core.orientations`.

    Returns
    -------
    ndarray
        Shape ``(..., 6, 6)``.

    Examples
    --------
    >>> turned = rotated(cubic(168.0, 121.0, 75.0), np.array([np.cos(np.pi / 8), 0, 0, np.sin(np.pi / 8)]))
    >>> float(turned[0, 0].round(3))  # along the diagonal of a face: (c11 + c12) / 2 + c44
    219.5
    """
    given = np.asarray(orientation)
    turn = rotations(given).as_matrix()
    tensor = _tensor(np.asarray(stiffness, dtype=np.float64))
    turned = np.einsum("nai,nbj,nck,ndl,ijkl->nabcd", turn, turn, turn, turn, tensor, optimize=True)
    first, second = np.array(_PAIRS).T
    return np.asarray(turned[:, first[:, None], second[:, None], first, second].reshape(*given.shape[:-1], 6, 6))


def plane_strain(stiffness: Float) -> Float:
    """Return the stiffness ``(..., 3, 3)`` between in-plane strains and stresses where all others strains are 0.

    >>> plane_strain(isotropic(1.0, 0.25)).round(3)
    array([[1.2, 0.4, 0. ],
           [0.4, 1.2, 0. ],
           [0. , 0. , 0.4]])
    """
    return np.asarray(stiffness)[..., _IN_PLANE, :][..., _IN_PLANE]


def _tensor(stiffness: Float) -> Float:
    if stiffness.shape != (6, 6):
        raise InputError(f"the stiffness of a crystal has 6 x 6 numbers, got shape {stiffness.shape}")
    index = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    return np.asarray(stiffness[index[:, :, None, None], index])
