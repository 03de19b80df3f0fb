"""Colours of crystal directions: the key of inverse pole figure maps.

A direction of the sample, seen from the crystal, is brought into the fundamental sector of the Laue group by
symmetry; the three corners of the sector are red, green and blue, and between them the colours mix. In cubic crystals
of ``m-3m``, red is <001>, green <101> and blue <111>; in ``6/mmm`` red is <0001>, green <2-1-10> and blue <10-10>.

Where all edges of the sector are mirror planes (mmm, 4/mmm, 6/mmm, m-3m), directions close to each other always have
colours close to each other. In the other groups a corner key cannot have this property: there is a jump at an edge of
the sector that symmetry maps onto another edge, or onto itself backwards. ``m-3`` takes the key of ``m-3m``, in which
two directions mirrored at a {110} plane look the same.

References
----------
Nolze and Hielscher, Orientations - perfectly colored, J. Appl. Cryst. 49 (2016) 1786, doi:10.1107/S1600576716012942
(fundamental sectors, and which groups allow continuous keys). The mixing rule is the one of DREAM.3D's EbsdLib.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Crystal
from microgen.core.orientations import rotations
from microgen.stats.sphere import Projection, project, unit_direction, unproject

Float = NDArray[np.floating[Any]]

_TURN: dict[str, tuple[float, float]] = {
    "-1": (0, 360),
    "2/m": (0, 180),
    "mmm": (0, 90),
    "4/m": (0, 90),
    "4/mmm": (0, 45),
    "-3": (0, 120),
    "-3m": (30, 90),
    "6/m": (0, 60),
    "6/mmm": (0, 30),
    "m-3": (0, 90),
    "m-3m": (0, 45),
}
"""Where the sector of a Laue group begins and ends about z: degrees from x, or from a if trigonal or hexagonal."""

_HEXAGONAL = ("-3", "-3m", "6/m", "6/mmm")
_CUBIC = ("m-3", "m-3m")
_CHUNK = 250_000


def ipf_colours(orientation: Float, crystal: Crystal, *, direction: str | Sequence[float] = "z") -> NDArray[np.float32]:
    """Return the colours ``(..., 3)``, red, green and blue from 0 to 1, of crystals along a direction of the sample.

    Parameters
    ----------
    orientation
        Unit quaternions ``(..., 4)``, see :mod:`microgen.core.orientations`.
    direction
        Direction of the sample, in the frame in which the orientations are: ``"x"``, ``"y"``, ``"z"`` or three numbers.

    Examples
    --------
    >>> ipf_colours(np.array([1.0, 0, 0, 0]), Crystal("m-3m"))
    array([1., 0., 0.], dtype=float32)
    """
    given = np.asarray(orientation)
    return direction_colours(crystal_directions(given, direction), crystal).reshape(*given.shape[:-1], 3)


def crystal_directions(orientation: Float, direction: str | Sequence[float]) -> Float:
    """Return a direction of the sample in the frames of crystals: ``(n, 3)`` for orientations ``(..., 4)``."""
    return np.asarray(rotations(orientation).apply(unit_direction(direction), inverse=True))


def direction_colours(directions: Float, crystal: Crystal) -> NDArray[np.float32]:
    """Return the colours ``(n, 3)`` of directions ``(n, 3)`` in the frame of the crystal.

    >>> direction_colours(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]), Crystal("m-3m")).round(6)
    array([[0., 1., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    tilt, turn = _angles(sector_directions(directions, crystal), crystal)
    start, end = np.deg2rad(_TURN[crystal.laue])
    away = np.clip(tilt / _largest_tilt(turn, crystal.laue), 0, 1)
    along = np.clip((turn - start) / (end - start), 0, 1)
    if crystal.laue == "m-3":
        along = 1 - np.abs(2 * along - 1)
    colour = np.sqrt(np.stack([1 - away, away * (1 - along), away * along], axis=-1))
    return np.asarray(colour / colour.max(axis=-1, keepdims=True), dtype=np.float32)


def sector_directions(directions: Float, crystal: Crystal) -> Float:
    """Return the symmetrically equivalent directions in the fundamental sector, ``(n, 3)`` of unit length.

    Directions and their opposites are equivalent. The sector lies in the hemisphere ``z >= 0``; see :func:`outline`.
    """
    given = np.asarray(directions, dtype=float).reshape(-1, 3)
    given = given / np.linalg.norm(given, axis=1, keepdims=True)
    walls = _walls(crystal)
    operations = crystal.operations.as_matrix()
    parts = [_inside(given[i : i + _CHUNK], operations, walls) for i in range(0, len(given), _CHUNK)]
    return np.concatenate(parts) if parts else given


def outline(crystal: Crystal, points: int = 61) -> Float:
    """Return directions ``(n, 3)`` along the edge of the fundamental sector, closed."""
    start, end = np.deg2rad(_TURN[crystal.laue])
    turn = np.linspace(start, end, points)
    rim = _from_angles(_largest_tilt(turn, crystal.laue), turn, crystal)
    if end - start > 2 * np.pi - 1e-9:
        return rim
    share = np.linspace(0, 1, points)
    first = _from_angles(share * _largest_tilt(turn[:1], crystal.laue), np.full(points, start), crystal)
    last = _from_angles(share[::-1] * _largest_tilt(turn[-1:], crystal.laue), np.full(points, end), crystal)
    return np.concatenate([first, rim, last])


def corners(crystal: Crystal) -> list[tuple[str, Float]]:
    """Return the corners of the sector with their Miller indices (axes x and z in crystals of low symmetry)."""
    laue = crystal.laue
    start, end = np.deg2rad(_TURN[laue])
    turn = np.array([start, start, end] if laue != "m-3" else [start, start, (start + end) / 2, end])
    tilt = _largest_tilt(turn, laue) * (np.arange(len(turn)) > 0)
    found = list(_from_angles(tilt, turn, crystal))
    return list(zip(_names(laue), found, strict=False))


def colour_key(crystal: Crystal, *, points: int = 200, projection: Projection = "stereographic") -> tuple[Float, Float]:
    """Return the key as a picture ``(Y, X, 4)`` with opacity, y upwards from row 0, and its limits in the projection.

    Returns
    -------
    picture
        Red, green, blue and opacity from 0 to 1; opacity is 0 outside the fundamental sector.
    limits
        Left, right, bottom and top in the plane of :func:`microgen.stats.sphere.project`.
    """
    xy = project(outline(crystal), projection)
    low, high = xy.min(axis=0) - 0.005, xy.max(axis=0) + 0.005
    width = points if (high - low)[0] >= (high - low)[1] else max(2, round(points * (high - low)[0] / (high - low)[1]))
    height = max(2, round(width * (high - low)[1] / (high - low)[0]))
    x = low[0] + (np.arange(width) + 0.5) * (high - low)[0] / width
    y = low[1] + (np.arange(height) + 0.5) * (high - low)[1] / height
    raster = np.stack(np.meshgrid(x, y), axis=-1)
    seen = unproject(raster, projection).reshape(-1, 3)
    inside = (seen @ _walls(crystal).T >= -1e-9).all(axis=1) & ((raster.reshape(-1, 2) ** 2).sum(1) <= 1)
    picture = np.concatenate([direction_colours(seen, crystal), inside[:, None]], axis=1)
    return picture.reshape(height, width, 4), np.array([low[0], high[0], low[1], high[1]])


def _inside(directions: Float, operations: Float, walls: Float) -> Float:
    """The equivalent of each direction that lies deepest inside the walls."""
    best = np.full(len(directions), -np.inf)
    found = np.empty_like(directions)
    for operation in operations:
        turned = directions @ operation.T
        turned *= np.where(turned[:, 2:] < 0, -1.0, 1.0)
        depth = (turned @ walls.T).min(axis=1)
        better = depth > best + 1e-12
        best[better], found[better] = depth[better], turned[better]
        flat = np.abs(turned[:, 2]) < 1e-12  # on the rim both signs lie in the hemisphere
        if flat.any():
            depth = np.where(flat, (-turned @ walls.T).min(axis=1), -np.inf)
            better = depth > best + 1e-12
            best[better], found[better] = depth[better], -turned[better]
    return found


def _walls(crystal: Crystal) -> Float:
    """Inward normals ``(n, 3)`` of the planes that bound the sector, in the frame of the crystal."""
    start, end = np.deg2rad(_TURN[crystal.laue]) - _frame_turn(crystal)
    walls = [[0.0, 0.0, 1.0]]
    if end - start < 2 * np.pi - 1e-9:
        walls += [[-np.sin(start), np.cos(start), 0.0], [np.sin(end), -np.cos(end), 0.0]]
    if crystal.laue in _CUBIC:
        walls += [[-1.0, 0.0, 1.0], [0.0, -1.0, 1.0]]
    return np.array(walls)


def _frame_turn(crystal: Crystal) -> float:
    """Angle from a to the x axis of the crystal frame about z, in radians."""
    return np.pi / 6 if crystal.laue in _HEXAGONAL and crystal.x_along == "a*" else 0.0


def _angles(directions: Float, crystal: Crystal) -> tuple[Float, Float]:
    """Tilt from z and turn about it, counted from a and put into the range of the sector, in radians."""
    start, end = np.deg2rad(_TURN[crystal.laue])
    turn = np.arctan2(directions[:, 1], directions[:, 0]) + _frame_turn(crystal)
    middle = (start + end) / 2
    return np.arccos(np.clip(directions[:, 2], -1, 1)), (turn - middle + np.pi) % (2 * np.pi) - np.pi + middle


def _from_angles(tilt: Float, turn: Float, crystal: Crystal) -> Float:
    turn = turn - _frame_turn(crystal)
    return np.stack([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt) + 0 * turn], axis=-1)


def _largest_tilt(turn: Float, laue: str) -> Float:
    """Tilt from z at the far edge of the sector."""
    if laue not in _CUBIC:
        return np.full(np.shape(turn), np.pi / 2)
    return np.asarray(np.arctan(1 / np.maximum(np.cos(turn), np.sin(turn))))


def _names(laue: str) -> tuple[str, ...]:
    if laue in _CUBIC:
        return ("001", "101", "111", "011")[: 3 if laue == "m-3m" else 4]
    if laue in _HEXAGONAL:
        ends = {"-3": "-12-10", "-3m": "01-10", "6/m": "11-20", "6/mmm": "10-10"}
        return ("0001", "10-10" if laue == "-3m" else "2-1-10", ends[laue])
    ends = {"mmm": "010", "4/m": "010", "4/mmm": "110"}
    return ("001", "100", ends[laue]) if laue in ends else ("z", "x", "-x")[: 3 if laue == "2/m" else 2]
