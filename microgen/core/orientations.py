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

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from microgen.core.crystals import Crystal
from microgen.core.errors import InputError

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation  # imported where needed: it takes longer than all the rest

Float = NDArray[np.floating[Any]]

NOT_INDEXED = "not indexed"
"""Name of phase 0 of a map, that of points without an orientation."""

FRAMES = ("edax", "oxford", "bruker", "map", "unknown")
"""Frames in which a file may state its Euler angles; ``"map"`` is x to the right, y down, z into the section.

A Microstructure with orientations says which one holds in ``source["euler_frame"]``. Nothing converts it silently.
"""


def rotations(orientation: Float) -> Rotation:
    """Return quaternions ``(..., 4)`` as scipy rotations (flattened to one axis)."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(np.asarray(orientation, dtype=np.float64).reshape(-1, 4)[:, [1, 2, 3, 0]])


def quaternions(rotation: Rotation) -> Float:
    """Return scipy rotations as quaternions ``(n, 4)`` with ``w >= 0``."""
    return np.asarray(np.atleast_2d(rotation.as_quat(canonical=True))[:, [3, 0, 1, 2]])


def from_euler(angles: Float) -> Float:
    """Return the quaternions ``(..., 4)`` of Bunge Euler angles ``(..., 3)`` in radians.

    >>> from_euler(np.deg2rad([90.0, 0.0, 0.0])).round(4)
    array([0.7071, 0.    , 0.    , 0.7071])
    """
    from scipy.spatial.transform import Rotation

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
        Orientations ``(..., 4)`` of crystals of one phase; broadcast against each other. Single precision is kept
        and gives angles to 1e-6 rad, also small ones.

    Examples
    --------
    >>> one, turned = from_euler([0.0, 0.0, 0.0]), from_euler(np.deg2rad([80.0, 0.0, 0.0]))
    >>> round(float(np.rad2deg(disorientation_angle(one, turned, Crystal("m-3m")))), 6)
    10.0
    """
    difference = _relative(*np.broadcast_arrays(_floating(a), _floating(b)))
    flat = difference.reshape(-1, 4)
    operations = _operations(crystal, flat.dtype)
    angle = np.zeros(len(flat), flat.dtype)
    for part in _parts(len(flat)):
        angle[part] = _angle(_least_turned(flat[part], operations))
    return angle.reshape(difference.shape[:-1])


def disorientation(a: Float, b: Float, crystal: Crystal) -> tuple[Float, Float]:
    """Return the smallest angle that turns orientation `a` into `b`, and the axis of that turn.

    Parameters
    ----------
    a, b
        As for :func:`disorientation_angle`.

    Returns
    -------
    angle
        In radians, shape ``(...)``.
    axis
        Unit vectors ``(..., 3)`` in the crystal frame of `a`: turning `a` about it by the angle gives `b` or an
        equivalent of it. Where the angle is 0 it is the z axis. Symmetrically equivalent axes are not merged.

    Examples
    --------
    >>> one, turned = from_euler([0.0, 0.0, 0.0]), from_euler(np.deg2rad([80.0, 0.0, 0.0]))
    >>> disorientation(one, turned, Crystal("m-3m"))[1].round(6)
    array([ 0.,  0., -1.])
    """
    difference = _relative(*np.broadcast_arrays(_floating(a), _floating(b)))
    flat = difference.reshape(-1, 4)
    operations = _operations(crystal, flat.dtype)
    least = np.zeros_like(flat)
    for part in _parts(len(flat)):
        least[part] = _least_turned(flat[part], operations)
    vector = np.where(least[:, :1] < 0, -least[:, 1:], least[:, 1:])
    norm = np.linalg.norm(vector, axis=1, keepdims=True)
    axis = np.where(norm > 0, vector / np.maximum(norm, np.finfo(flat.dtype).tiny), [0, 0, 1]).astype(flat.dtype)
    return _angle(least).reshape(difference.shape[:-1]), axis.reshape(*difference.shape[:-1], 3)


def reduced(orientation: Float, crystal: Crystal) -> Float:
    """Return the equivalents in the fundamental zone: those with the smallest angle of rotation.

    Of several with the same angle, on the face of the zone, any may be returned.

    Parameters
    ----------
    orientation
        Shape ``(..., 4)``.

    References
    ----------
    Frank, Metall. Trans. A 19 (1988) 403.

    Examples
    --------
    >>> np.rad2deg(to_euler(reduced(from_euler(np.deg2rad([100.0, 0.0, 0.0])), Crystal("m-3m")))).round(4)
    array([10.,  0.,  0.])
    """
    given = _floating(orientation)
    flat = given.reshape(-1, 4)
    operations = _operations(crystal, flat.dtype)
    found = np.zeros_like(flat)
    for part in _parts(len(flat)):
        found[part] = _least_turned(flat[part], operations)
    return np.where(found[:, :1] < 0, -found, found).reshape(given.shape)


def mean_orientation(orientation: Float, crystal: Crystal) -> Float:
    """Return the mean ``(4,)`` of orientations ``(..., 4)``, each taken as the equivalent nearest to the mean.

    >>> turned = from_euler(np.deg2rad([[1.0, 0.0, 0.0], [93.0, 0.0, 0.0]]))
    >>> np.rad2deg(to_euler(mean_orientation(turned, Crystal("m-3m")))).round(4)
    array([2., 0., 0.])
    """
    flat = np.asarray(orientation).reshape(-1, 4)
    return np.asarray(mean_orientations(flat, np.zeros(len(flat), np.intp), crystal)[0])


def mean_orientations(orientation: Float, group: NDArray[np.integer[Any]], crystal: Crystal) -> Float:
    """Return the mean orientation of each group, in double precision.

    Parameters
    ----------
    orientation
        Shape ``(n, 4)``, all of one phase.
    group
        Number of the group of each, from 0, shape ``(n,)``.

    Returns
    -------
    Float
        Shape ``(groups, 4)``; the identity for groups without members.

    Notes
    -----
    The mean minimises the sum of squared distances of quaternions, each on the side of the nearest equivalent.
    It starts from the first member of each group and repeats until no member changes sides. It is unique where
    the members lie close together compared with the angle between symmetry operations, as within a grain.

    References
    ----------
    Glez, Driver, J. Appl. Cryst. 34 (2001) 280, doi:10.1107/S0021889801003077.
    """
    given, group = _floating(orientation), np.asarray(group)
    if not len(given):
        raise InputError("there is no orientation to take the mean of")
    operations = _operations(crystal, given.dtype)
    count = int(group.max()) + 1
    mean = np.tile(np.array([1.0, 0, 0, 0]), (count, 1))
    filled, first = np.unique(group, return_index=True)
    mean[filled] = given[first]
    for _ in range(_MEAN_ROUNDS):
        before, total = mean, np.zeros((count, 4))
        for part in _parts(len(given)):
            total += _sums(given[part], group[part], before, operations)
        mean = before.copy()
        mean[filled] = total[filled] / np.linalg.norm(total[filled], axis=1, keepdims=True)
        if (np.abs((mean * before).sum(1)) > 1 - 1e-15).all():
            break
    return np.where(mean[:, :1] < 0, -mean, mean)


_MEAN_ROUNDS = 10
_PART = 1 << 12  # orientations worked on at a time: small enough for the cache and for one thread of BLAS


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + _PART) for start in range(0, count, _PART))


def _floating(values: Float) -> Float:
    array = np.asarray(values)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _operations(crystal: Crystal, dtype: np.dtype[Any]) -> Float:
    return quaternions(crystal.operations).astype(dtype)


def _sums(given: Float, group: NDArray[Any], mean: Float, operations: Float) -> Float:
    """Add up the equivalents of the members of each group that lie nearest to its mean."""
    near = mean[group]
    # m^-1 q s turned least is q s nearest to m
    turned = _least_turned(_relative(near, given), operations)
    turned = _product(near, np.where(turned[:, :1] < 0, -turned, turned))
    return np.stack([np.bincount(group, turned[:, i], len(mean)) for i in range(4)], axis=1)


def _least_turned(rotation: Float, operations: Float) -> Float:
    """Of the products of each rotation ``(n, 4)`` with all operations, return the one with the smallest angle."""
    cosines = np.abs((operations * np.array([1, -1, -1, -1], operations.dtype)) @ rotation.T)
    return _product(rotation, operations[cosines.argmax(0)])


def _angle(rotation: Float) -> Float:
    """Angle of rotations; arccos of the scalar part would lose half the digits of small ones."""
    return np.asarray(2 * np.arctan2(np.linalg.norm(rotation[..., 1:], axis=-1), np.abs(rotation[..., 0])))


def _relative(a: Float, b: Float) -> Float:
    """Quaternion of the rotation from `a` to `b` in the crystal frame of `a`: conjugate of a, times b."""
    return _product(a * np.array([1, -1, -1, -1], a.dtype), b)


def _product(a: Float, b: Float) -> Float:
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )
