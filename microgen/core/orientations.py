"""Crystal orientations as unit quaternions.

**Convention.** An orientation is a unit quaternion ``(w, x, y, z)`` with ``w >= 0`` on the last axis of an array. Its
rotation turns the axes of the sample into those of the crystal: a direction with components ``v`` in the crystal frame
has the components ``Rotation.apply(v)`` in the sample frame. Bunge's Euler angles ``(phi1, Phi, phi2)`` are the
intrinsic rotations ``ZXZ`` of it, in radians; Bunge's matrix ``g`` (sample to crystal) is its inverse.
Numerically these are the quaternions of DAMASK and of scipy (which puts ``w`` last).

Multiplying by a symmetry operation of the crystal from the right gives an equivalent orientation.

References
----------
Bunge, Texture Analysis in Materials Science (1982). Rowenhorst et al., Modelling Simul. Mater. Sci. Eng. 23 (2015)
083501, doi:10.1088/0965-0393/23/8/083501.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from microgen.core.crystals import Crystal

Float = NDArray[np.floating[Any]]

FRAMES = ("edax", "oxford", "bruker", "map", "unknown")
"""Frames in which a file may state its Euler angles; ``"map"`` is x to the right, y down, z into the section.

A Microstructure with orientations says which one holds in ``source["euler_frame"]``. Nothing converts it silently.
"""


def rotations(orientation: Float) -> Rotation:
    """Return quaternions ``(..., 4)`` as scipy rotations (flattened to one axis)."""
    return Rotation.from_quat(np.asarray(orientation, dtype=np.float64).reshape(-1, 4)[:, [1, 2, 3, 0]])


def quaternions(rotation: Rotation) -> Float:
    """Return scipy rotations as quaternions ``(n, 4)`` with ``w >= 0``."""
    return np.asarray(np.atleast_2d(rotation.as_quat(canonical=True))[:, [3, 0, 1, 2]])


def from_euler(angles: Float) -> Float:
    """Return the quaternions ``(..., 4)`` of Bunge Euler angles ``(..., 3)`` in radians.

    >>> from_euler(np.deg2rad([90.0, 0.0, 0.0])).round(4)
    array([0.7071, 0.    , 0.    , 0.7071])
    """
    given = np.asarray(angles, dtype=np.float64)
    found = quaternions(Rotation.from_euler("ZXZ", given.reshape(-1, 3)))
    return found.reshape(*given.shape[:-1], 4)


def to_euler(orientation: Float) -> Float:
    """Return Bunge Euler angles in radians, ``0 <= phi1, phi2 < 2 pi`` and ``0 <= Phi <= pi``.

    Where Phi is 0 or pi only a combination of the others is defined; phi2 is 0 there.
    """
    given = np.asarray(orientation, dtype=np.float64)
    w, x, y, z = np.moveaxis(given, -1, 0)
    sum_half, difference_half = np.arctan2(z, w), np.arctan2(y, x)
    flat, upside = np.hypot(x, y) < 1e-12, np.hypot(w, z) < 1e-12
    phi1 = np.where(flat, 2 * sum_half, np.where(upside, 2 * difference_half, sum_half + difference_half))
    phi2 = np.where(flat | upside, 0.0, sum_half - difference_half)
    tilt = 2 * np.arctan2(np.hypot(x, y), np.hypot(w, z))
    turn = 2 * np.pi
    wrapped = [np.where((a := angle % turn) >= turn, 0.0, a) for angle in (phi1, phi2)]
    return np.stack([wrapped[0], tilt, wrapped[1]], axis=-1)


def random_orientations(random: np.random.Generator, count: int) -> Float:
    """Draw orientations uniformly from all rotations, shape ``(count, 4)``."""
    found = random.standard_normal((count, 4))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(np.where(found[:, :1] < 0, -found, found))


def disorientation_angle(a: Float, b: Float, crystal: Crystal) -> Float:
    """Return the smallest angle in radians, over all symmetry operations, that turns orientation `a` into `b`.

    Parameters
    ----------
    a, b
        Orientations ``(..., 4)`` of crystals of one phase; broadcast against each other.

    Examples
    --------
    >>> one, turned = from_euler([0.0, 0.0, 0.0]), from_euler(np.deg2rad([80.0, 0.0, 0.0]))
    >>> round(float(np.rad2deg(disorientation_angle(one, turned, Crystal("m-3m")))), 6)
    10.0
    """
    difference = _relative(np.asarray(a), np.asarray(b))
    operations = quaternions(crystal.operations).astype(difference.dtype)
    cosine = np.zeros(difference.shape[:-1], difference.dtype)
    # S_i d S_j turns by the same angle as S_j S_i d, so one run over the group covers both sides
    for operation in operations:
        np.maximum(cosine, np.abs(difference @ (operation * [1, -1, -1, -1])), out=cosine)
    return np.asarray(2 * np.arccos(np.minimum(cosine, 1)))


def _relative(a: Float, b: Float) -> Float:
    """Quaternion of the rotation from `a` to `b` in the crystal frame of `a`: conjugate of a, times b."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw + ax * bx + ay * by + az * bz,
            aw * bx - ax * bw - ay * bz + az * by,
            aw * by + ax * bz - ay * bw - az * bx,
            aw * bz - ax * by + ay * bx - az * bw,
        ],
        axis=-1,
    )
