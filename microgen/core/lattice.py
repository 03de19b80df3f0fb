"""Miller indices of directions and planes as unit vectors in the orthonormal frame of the crystal.

That frame has z along c and x along a* (``x_along="a*"``), or x along a and z along c* (``x_along="a"``); c and c* are
the same direction in all but monoclinic and triclinic crystals.

References
----------
International Tables for Crystallography, volume B, chapter 1.1 (direct and reciprocal bases).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microgen.core.crystals import Crystal
from microgen.core.errors import InputError
from microgen.core.orientations import Float

_HEXAGONAL = ("-3", "-3m", "6/m", "6/mmm")


def structure_matrix(crystal: Crystal) -> Float:
    """Return the lattice vectors a, b, c as columns in the orthonormal frame of the crystal, ``(3, 3)``, in nm.

    A cubic crystal whose lattice is unknown gets the unit cube; directions do not depend on its size.

    Raises
    ------
    InputError
        If the lattice is needed and unknown, or if its angles close no cell.

    Examples
    --------
    >>> structure_matrix(Crystal("6/mmm", (0.3, 0.3, 0.5, 90, 90, 120))).round(4) + 0.0
    array([[ 0.3   , -0.15  ,  0.    ],
           [ 0.    ,  0.2598,  0.    ],
           [ 0.    ,  0.    ,  0.5   ]])
    """
    a, b, c, alpha, beta, gamma = _lattice(crystal)
    cosines = np.cos(np.deg2rad([alpha, beta, gamma]))
    metric = np.array([[1, cosines[2], cosines[1]], [cosines[2], 1, cosines[0]], [cosines[1], cosines[0], 1]])
    if np.linalg.det(metric) < 1e-9:
        raise InputError(f"no unit cell has the angles {alpha:g}, {beta:g}, {gamma:g} degrees")
    basis = np.linalg.cholesky(metric).T  # columns: a along x, b in the xy plane, so c* along z
    if crystal.x_along == "a*":
        z = basis[:, 2]
        x = np.cross(basis[:, 1], z)
        x /= np.linalg.norm(x)
        basis = np.stack([x, np.cross(z, x), z]) @ basis
    return np.asarray(basis * [a, b, c])


def direction(crystal: Crystal, uvw: Sequence[float]) -> Float:
    """Return the unit vector of a crystal direction [uvw], or [UVTW] with four indices.

    Examples
    --------
    >>> direction(Crystal("6/mmm", (0.3, 0.3, 0.5, 90, 90, 120)), (2, -1, -1, 0)).round(4) + 0.0
    array([1., 0., 0.])
    """
    return _unit(structure_matrix(crystal) @ _three(crystal, uvw, of_plane=False), uvw)


def plane_normal(crystal: Crystal, hkl: Sequence[float]) -> Float:
    """Return the unit normal of a crystal plane (hkl), or (hkil) with four indices.

    Examples
    --------
    >>> plane_normal(Crystal("m-3m"), (1, 1, 1)).round(4)
    array([0.5774, 0.5774, 0.5774])
    """
    return _unit(np.linalg.inv(structure_matrix(crystal)).T @ _three(crystal, hkl, of_plane=True), hkl)


def parse_indices(text: str) -> tuple[int, ...]:
    """Read Miller indices as people write them: ``"111"``, ``"10-10"``, ``"1 -1 2"`` or ``"{11-20}"``.

    Raises
    ------
    InputError
        If there are not three or four indices, or the third of four is not minus the sum of the first two.

    Examples
    --------
    >>> parse_indices("10-10"), parse_indices("1 -12 3")
    ((1, 0, -1, 0), (1, -12, 3))
    """
    import re

    inner = text.strip().strip("()[]{}<>").strip()
    found = re.findall(r"-?\d+", inner) if re.search(r"[ ,]", inner) else re.findall(r"-?\d", inner)
    left = re.sub(r"[-\d ,]", "", inner)
    indices = tuple(int(word) for word in found)
    if left or len(indices) not in (3, 4) or not any(indices):
        raise InputError(f"{text!r} is no set of Miller indices; write them like 111, 10-10 or 1,-1,12")
    _check_fourth(indices)
    return indices


def _lattice(crystal: Crystal) -> tuple[float, ...]:
    if crystal.lattice is not None:
        return crystal.lattice
    if crystal.laue in ("m-3", "m-3m"):
        return (1.0, 1.0, 1.0, 90.0, 90.0, 90.0)
    raise InputError(f"Miller indices of a crystal of Laue group {crystal.laue} need its lattice parameters")


def _three(crystal: Crystal, indices: Sequence[float], *, of_plane: bool) -> Float:
    """Three indices of four, which are (h, k, i, l) of planes and (U, V, T, W) of directions."""
    given = np.asarray(indices, dtype=float)
    if given.shape not in ((3,), (4,)):
        raise InputError(f"Miller indices are three or four numbers, got {indices}")
    if given.shape == (3,):
        return given
    if crystal.laue not in _HEXAGONAL:
        raise InputError(f"four Miller indices are for hexagonal and trigonal crystals, not for {crystal.laue}")
    _check_fourth(indices)
    h, k, i, last = given
    return np.array([h, k, last]) if of_plane else np.array([h - i, k - i, last])


def _check_fourth(indices: Sequence[float]) -> None:
    if len(indices) == 4 and abs(sum(indices[:3])) > 1e-9:
        raise InputError(f"the third of four Miller indices is minus the sum of the first two, not so in {indices}")


def _unit(vector: Float, indices: Sequence[float]) -> Float:
    length = np.linalg.norm(vector)
    if length == 0:
        raise InputError(f"the indices {tuple(indices)} name no direction")
    return np.asarray(vector / length)
