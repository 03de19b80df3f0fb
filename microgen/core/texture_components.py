"""Preferred orientations: ideal components, fibres, and the scatter around them.

Scatter follows de la Vallée Poussin's kernel, whose density falls with the angle as ``cos^(2 kappa)(angle / 2)``; its
width is stated as the half width, the angle at which it has fallen to half its peak.

References
----------
Schaeben, The de la Vallée Poussin standard orientation density function, Textures and Microstructures 33 (1999) 365,
doi:10.1155/TSM.33.365. Bunge, Texture Analysis in Materials Science (1982).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from microgen.core.crystals import Crystal
from microgen.core.errors import InputError
from microgen.core.lattice import plane_normal
from microgen.core.orientations import Float, disorientation_angle, quaternions, rotations

IDEAL: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "cube": ((0, 0, 1), (1, 0, 0)),
    "rotated-cube": ((0, 0, 1), (1, 1, 0)),
    "goss": ((0, 1, 1), (1, 0, 0)),
    "brass": ((0, 1, 1), (2, 1, -1)),
    "copper": ((1, 1, 2), (1, 1, -1)),
    "s": ((1, 2, 3), (6, 3, -4)),
}
"""Ideal textures of rolled cubic metals: plane in the sheet, direction along the rolling direction."""

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


def ideal(name: str) -> Float:
    """Return the orientations ``(n, 4)`` of an ideal texture of cubic metals, all variants of rolling symmetry.

    The sheet normal is along z and the rolling direction along x; one to four variants.

    Examples
    --------
    >>> {name: len(ideal(name)) for name in IDEAL}
    {'cube': 1, 'rotated-cube': 1, 'goss': 1, 'brass': 2, 'copper': 2, 's': 4}
    """
    if name not in IDEAL:
        raise InputError(f"no ideal texture {name!r}; there are {', '.join(IDEAL)}")
    crystal = Crystal("m-3m")
    one = orientation_of(*(np.array(v, float) for v in IDEAL[name]))
    variants = quaternions(Rotation.create_group("D2") * rotations(one))
    kept = variants[:1]
    for variant in variants[1:]:
        if disorientation_angle(kept, variant, crystal).min() > 1e-3:
            kept = np.concatenate([kept, variant[None]])
    return kept


def orientation_of(normal: Float, along: Float) -> Float:
    """Return the orientation ``(4,)`` with crystal direction `normal` along z, and `along` as near to x as can be.

    >>> orientation_of(np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]))
    array([1., 0., 0., 0.])
    """
    z = np.asarray(normal, dtype=float) / np.linalg.norm(normal)
    x = along - (along @ z) * z
    if np.linalg.norm(x) < 1e-9 * np.linalg.norm(along):
        raise InputError("the two crystal directions of an orientation are parallel")
    x = x / np.linalg.norm(x)
    return np.asarray(quaternions(Rotation.from_matrix(np.stack([x, np.cross(z, x), z])))[0])


def on_fibre(crystal: Crystal, hkl: Sequence[float], turns: Float, *, axis: str | Sequence[float] = "z") -> Float:
    """Return orientations with the normal of plane (hkl) along an axis of the sample, turned about it.

    Parameters
    ----------
    crystal
        Symmetry and lattice.
    hkl
        Plane, three or four indices.
    turns
        Angles about the axis in radians, ``(n,)``, from an arbitrary start.
    axis
        ``"x"``, ``"y"``, ``"z"`` or three numbers.

    Examples
    --------
    >>> found = on_fibre(Crystal("m-3m"), (1, 1, 1), np.array([0.0, 2.0]))
    >>> rotations(found).apply([1, 1, 1]).round(4) + 0.0
    array([[0.    , 0.    , 1.7321],
           [0.    , 0.    , 1.7321]])
    """
    target = np.asarray(_AXES.get(axis) if isinstance(axis, str) else axis, dtype=float)
    if target.shape != (3,) or not np.isfinite(target).all() or not target.any():
        raise InputError(f"a direction is x, y, z or three numbers, got {axis!r}")
    target = target / np.linalg.norm(target)
    normal = plane_normal(crystal, hkl)
    upright = rotations(orientation_of(normal, np.eye(3)[np.argmin(np.abs(normal))]))
    tip = Rotation.align_vectors([target], [[0.0, 0.0, 1.0]])[0]
    return quaternions(Rotation.from_rotvec(np.asarray(turns)[:, None] * target) * (tip * upright))


def plane_normals(crystal: Crystal, hkl: Sequence[float]) -> Float:
    """Return the unit normals ``(n, 3)`` of all planes equivalent to (hkl), one of each pair of opposite ones.

    >>> len(plane_normals(Crystal("m-3m"), (1, 1, 1))), len(plane_normals(Crystal("m-3m"), (1, 2, 3)))
    (4, 24)
    """
    found = crystal.operations.apply(plane_normal(crystal, hkl))
    kept: list[Float] = []
    for normal in found:
        if not any(abs(normal @ other) > 1 - 1e-9 for other in kept):
            kept.append(normal)
    return np.array(kept)


def kernel_kappa(halfwidth_deg: float) -> float:
    """Return the exponent of de la Vallée Poussin's kernel with this half width.

    >>> round(kernel_kappa(10), 3)
    90.903
    """
    return float(0.5 * np.log(0.5) / np.log(np.cos(np.deg2rad(halfwidth_deg) / 2)))


def scattered(random: np.random.Generator, orientation: Float, halfwidth_deg: float) -> Float:
    """Turn each orientation by a random rotation from de la Vallée Poussin's kernel; half width 0 keeps them.

    The square of ``cos(angle / 2)`` has the beta distribution with parameters ``kappa + 1/2`` and ``3/2``.

    Parameters
    ----------
    random
        Source of randomness.
    orientation
        Unit quaternions ``(n, 4)``.
    halfwidth_deg
        Half width in degrees, 0 to 90.

    Raises
    ------
    InputError
        If the half width is out of range.
    """
    if not 0 <= halfwidth_deg <= 90:
        raise InputError(f"the half width of a texture lies between 0 and 90 degrees, got {halfwidth_deg:g}")
    given = np.asarray(orientation, dtype=float).reshape(-1, 4)
    if halfwidth_deg == 0:
        return given
    cosine = np.sqrt(random.beta(kernel_kappa(halfwidth_deg) + 0.5, 1.5, len(given)))
    axis = random.standard_normal((len(given), 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    turn = Rotation.from_rotvec(2 * np.arccos(np.minimum(cosine, 1))[:, None] * axis)
    return quaternions(rotations(given) * turn)
