"""Directions on the sphere: projections, grids, and densities in multiples of random.

Densities are antipodal: a direction and its opposite count as one, since diffraction cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError

Float = NDArray[np.floating[Any]]
Projection = Literal["equal-area", "stereographic"]
_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
_CELL_DEG = 1.0
_CHUNK = 4_000_000


def unit_direction(direction: str | Sequence[float]) -> Float:
    """Return the unit vector of ``"x"``, ``"y"``, ``"z"`` or of any three numbers.

    >>> unit_direction((0, 3, 4))
    array([0. , 0.6, 0.8])
    """
    vector = np.asarray(_AXES.get(direction) if isinstance(direction, str) else direction, dtype=float)
    if vector.shape != (3,) or not np.isfinite(vector).all() or not vector.any():
        raise InputError(f"a direction is x, y, z or three numbers, got {direction!r}")
    return np.asarray(vector / np.linalg.norm(vector))


def project(directions: Float, projection: Projection = "equal-area") -> Float:
    """Project unit vectors ``(..., 3)``, turned into the hemisphere ``z >= 0``, on the unit disc: ``(..., 2)``.

    Parameters
    ----------
    projection
        ``"equal-area"`` (Lambert, Schmidt net), in which equal areas are equal solid angles, or ``"stereographic"``
        (Wulff net), in which circles stay circles.

    Examples
    --------
    >>> project(np.array([0.6, 0.0, -0.8]), "stereographic").round(4)
    array([-0.3333, -0.    ])
    """
    x, y, z = np.moveaxis(np.asarray(directions, dtype=float), -1, 0)
    sign = np.where(z < 0, -1.0, 1.0)
    height = 1 + np.abs(z)
    factor = sign / (np.sqrt(height) if _checked(projection) == "equal-area" else height)
    return np.stack([x * factor, y * factor], axis=-1)


def unproject(points: Float, projection: Projection = "equal-area") -> Float:
    """Return the unit vectors ``(..., 3)`` of points ``(..., 2)`` of the plane; those on the unit disc have ``z >= 0``.

    Beyond the disc the map goes on into the other hemisphere, up to its pole at a radius of 1.41 if equal-area.

    >>> unproject(project(np.array([0.6, 0.0, 0.8]))).round(4)
    array([0.6, 0. , 0.8])
    """
    x, y = np.moveaxis(np.asarray(points, dtype=float), -1, 0)
    square = x * x + y * y
    if _checked(projection) == "equal-area":
        shrink = np.sqrt(np.minimum(1, 2 / np.maximum(square, 1e-300)))
        x, y, square = x * shrink, y * shrink, np.minimum(square, 2)
        height, factor = 1 - square, np.sqrt(2 - square)
    else:
        height, factor = (1 - square) / (1 + square), 2 / (1 + square)
    return np.stack([x * factor, y * factor, height], axis=-1)


def hemisphere(step_deg: float = 5.0) -> tuple[Float, Float]:
    """Return directions ``(n, 3)`` with ``z > 0`` in bands of `step_deg`, and their shares of the solid angle ``(n,)``.

    Examples
    --------
    >>> directions, share = hemisphere(2)
    >>> float(share.sum().round(9)), float((share * directions[:, 2] ** 2).sum().round(4))
    (1.0, 0.3333)
    """
    bands = max(1, round(90 / step_deg))
    edges = np.cos(np.linspace(0, np.pi / 2, bands + 1))
    found, shares = [], []
    for high, low in pairwise(edges):
        z = (high + low) / 2
        count = max(1, round(4 * bands * np.sqrt(1 - z * z)))
        phi = (np.arange(count) + 0.5) * 2 * np.pi / count
        rim = np.sqrt(1 - z * z)
        found.append(np.stack([rim * np.cos(phi), rim * np.sin(phi), np.full(count, z)], axis=-1))
        shares.append(np.full(count, (high - low) / count))
    return np.concatenate(found), np.concatenate(shares)


def pooled(directions: Float, weights: Float) -> tuple[Float, Float]:
    """Return directions ``(n, 3)`` with ``z >= 0`` and weights ``(n,)``, those in one cell of a degree made one.

    A cell keeps its mean direction, so that densities change by less than 0.3 % at half widths of five degrees or more.
    """
    directions = directions * np.where(directions[:, 2:] < 0, -1.0, 1.0)
    bands = round(90 / _CELL_DEG)
    band = np.minimum((np.arccos(np.clip(directions[:, 2], 0, 1)) * bands * 2 / np.pi).astype(int), bands - 1)
    turn = (np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi)) % 1.0
    cells = np.maximum(1, np.round(4 * bands * np.sin((band + 0.5) * np.pi / 2 / bands)))
    cell = band * 4 * bands + np.minimum(turn * cells, cells - 1).astype(int)
    _, cell = np.unique(cell, return_inverse=True)
    sums = np.stack([np.bincount(cell, directions[:, k] * weights) for k in range(3)], axis=-1)
    return sums / np.linalg.norm(sums, axis=1, keepdims=True), np.bincount(cell, weights).astype(float)


def sphere_density(points: Float, weights: Float, at: Float, kappa: float) -> Float:
    """Return the antipodal kernel density of directions `points` ``(n, 3)`` at `at` ``(m, 3)``, mean 1 on the sphere.

    The kernel is ``(1 + kappa) cos^(2 kappa)(angle / 2)``: what de la Vallée Poussin's kernel on rotations with the
    same kappa becomes in a pole figure (Schaeben, J. Appl. Cryst. 32 (1999) 962).
    """
    if len(points) > 2 * 360 * 90 / np.pi * _CELL_DEG:
        points, weights = pooled(points, weights)
    share = weights / weights.sum()
    step = max(1, _CHUNK // len(points))
    found = [_kernel_sum(at[i : i + step] @ points.T, share, kappa) for i in range(0, len(at), step)]
    return np.concatenate(found) * (1 + kappa)


def cosine_power(cosine: Float, power: float) -> Float:
    """Return ``|cosine| ** power``, cut off at 1e-30, where ordinary powers become very slow."""
    with np.errstate(divide="ignore"):
        logarithm = np.log(np.minimum(np.abs(cosine), 1))
    logarithm *= power
    return np.exp(np.maximum(logarithm, -69, out=logarithm), out=logarithm)


def _kernel_sum(cosine: Float, share: Float, kappa: float) -> Float:
    both = cosine_power((1 + cosine) / 2, kappa) + cosine_power((1 - cosine) / 2, kappa)
    return np.asarray(both @ share / 2)


def _checked(projection: str) -> str:
    if projection not in ("equal-area", "stereographic"):
        raise InputError(f"no projection {projection!r}; there are equal-area and stereographic")
    return projection
