"""Disorientations of crystals that are turned at random: the law of Mackenzie and its like for all Laue groups.

All follow from the fundamental zone in Rodrigues space, a polyhedron: angles of random rotations have the density
``(1 - cos t) / pi``, times the number of symmetry operations, times the share of axes along which a rotation by ``t``
is still inside the zone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Crystal
from microgen.core.orientations import disorientation_angle, quaternions, random_orientations

Array = NDArray[np.float64]

_NEAR = np.sqrt(2) - 1  # distance of the 6 faces {100} of the cubic zone; that of the 8 faces {111} is 1 / sqrt(3)
_KNOTS = 2 * np.arctan([_NEAR, 1 / np.sqrt(3), 2 - np.sqrt(2), np.sqrt(23 - 16 * np.sqrt(2))])
_AXES = 20_000


def mackenzie_pdf(angle_deg: NDArray[Any] | float) -> Array:
    """Probability per degree of the disorientation of two random cubic crystals (Laue group m-3m).

    Parameters
    ----------
    angle_deg
        Disorientation in degrees; 0 to 62.80 occur.

    Notes
    -----
    Exact. Beyond 45 and 60 degrees the caps that the faces {100} and {111} cut off the sphere of axes are missing;
    beyond 60.72 degrees caps overlap in pairs.

    References
    ----------
    Mackenzie, Biometrika 45 (1958) 229, doi:10.1093/biomet/45.1-2.229.
    Handscomb, Can. J. Math. 10 (1958) 85.

    Examples
    --------
    >>> mackenzie_pdf([30.0, 45.0, 70.0]).round(5)
    array([0.01786, 0.03905, 0.     ])
    """
    angle = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))
    inside = (angle > 0) & (angle < _KNOTS[3])
    radius = np.tan(np.where(inside, angle, 1.0) / 2)
    share = 1 - 6 * _cap(_NEAR, radius) - 8 * _cap(1 / np.sqrt(3), radius)
    share = share + 12 * _overlap(_NEAR, _NEAR, 0.0, radius) + 24 * _overlap(_NEAR, 3**-0.5, 3**-0.5, radius)
    return np.asarray(np.where(inside, 24 / 180 * (1 - np.cos(angle)) * share, 0.0))


def mackenzie_cdf(angle_deg: NDArray[Any] | float) -> Array:
    """Probability that two random cubic crystals (Laue group m-3m) are disoriented by at most an angle in degrees.

    Exact up to 60.72 degrees; from there the integral of :func:`mackenzie_pdf` to 1e-7.

    Examples
    --------
    >>> mackenzie_cdf([45.0, 60.0, 63.0]).round(4)
    array([0.5981, 0.9923, 1.    ])
    """
    angle = np.clip(np.deg2rad(np.asarray(angle_deg, dtype=np.float64)), 0, _KNOTS[3])
    early = np.minimum(angle, _KNOTS[2])

    def beyond(knot: float, distance: float) -> Array:
        above = np.maximum(early, knot)
        part = [t - np.sin(t) - distance * (1 - np.cos(t)) for t in (above, np.asarray(knot))]
        return np.asarray(part[0] - part[1])

    exact = early - np.sin(early) - 3 * beyond(_KNOTS[0], _NEAR) - 4 * beyond(_KNOTS[1], 3**-0.5)
    found = np.asarray(24 / np.pi * exact)
    late = angle > _KNOTS[2]
    found[late] += _tail(angle[late])
    return found


def random_disorientation_cdf(angle_deg: NDArray[Any] | float, crystal: Crystal) -> Array:
    """Probability that two crystals turned at random are disoriented by at most an angle in degrees.

    Of any Laue group, by the mean over 20,000 evenly spread axes; good to 1e-4.

    References
    ----------
    Grimmer, Scr. Metall. 13 (1979) 161.
    Morawiec, J. Appl. Cryst. 28 (1995) 289.

    Examples
    --------
    >>> random_disorientation_cdf([45.0, 60.0, 93.9], Crystal("6/mmm")).round(3)
    array([0.253, 0.465, 1.   ])
    """
    operations = quaternions(crystal.operations)
    furthest = _furthest(operations)
    angle = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))
    found = np.array([_mean_share(np.minimum(max(t, 0.0), furthest)) for t in angle.ravel()])
    return np.asarray(len(operations) / np.pi * found).reshape(angle.shape)


def random_disorientations(random: np.random.Generator, count: int, crystal: Crystal) -> Array:
    """Draw disorientations in degrees of pairs of crystals turned at random, shape ``(count,)``."""
    pair = random_orientations(random, 2 * count)
    return np.rad2deg(disorientation_angle(pair[:count], pair[count:], crystal))


def _cap(distance: float, radius: Array) -> Array:
    """Share of a sphere of a radius that lies beyond a plane at a distance from its centre."""
    return np.asarray(np.maximum(0.0, (1 - distance / radius) / 2))


def _overlap(one: float, two: float, cosine: float, radius: Array) -> Array:
    """Share of a sphere beyond both of two planes whose normals have an angle of a given cosine (Gauss-Bonnet)."""
    a, b = np.minimum(one / radius, 1.0), np.minimum(two / radius, 1.0)
    sine_a, sine_b, sine = np.sqrt(1 - a * a), np.sqrt(1 - b * b), np.sqrt(1 - cosine**2)
    meet = (cosine - a * b) / np.maximum(sine_a * sine_b, 1e-300)
    with np.errstate(divide="ignore"):
        arc_a = np.arccos(np.clip((b - a * cosine) / np.maximum(sine_a * sine, 1e-300), -1, 1))
        arc_b = np.arccos(np.clip((a - b * cosine) / np.maximum(sine_b * sine, 1e-300), -1, 1))
    lens = np.pi - np.arccos(np.clip(meet, -1, 1)) - arc_a * a - arc_b * b
    return np.asarray(np.where(meet > -1, lens / (2 * np.pi), 0.0))


def _tail(angle: Array) -> Array:
    """Integral of the density from 60.72 degrees to the angle, by the rule of Gauss and Legendre."""
    node, weight = np.polynomial.legendre.leggauss(32)
    half = (angle - _KNOTS[2])[:, None] / 2
    density = mackenzie_pdf(np.rad2deg(_KNOTS[2] + half * (node + 1)))
    return np.asarray((density * weight * np.rad2deg(half)).sum(-1))


def _furthest(operations: NDArray[Any]) -> Array:
    """Largest angle in radians in the fundamental zone, for evenly spread axes."""
    number = np.arange(_AXES) + 0.5
    height, turn = 1 - 2 * number / _AXES, np.pi * (1 + np.sqrt(5)) * number
    flat = np.sqrt(1 - height**2)
    axes = np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)
    slope = np.zeros(_AXES)
    for w, *vector in operations:
        norm = float(np.linalg.norm(vector))
        if norm > 1e-9:
            # the face of a rotation by v lies at a distance tan(v / 4), along its axis and opposite to it
            distance = np.tan(np.arctan2(norm, w) / 2)
            np.maximum(slope, np.abs(axes @ (np.array(vector) / norm)) / distance, out=slope)
    return np.asarray(2 * np.arctan2(1.0, slope))


def _mean_share(angle: Array) -> float:
    return float((angle - np.sin(angle)).mean())
