"""Grain growth by curvature: a phase field of many grains on a periodic grid.

Each grain is a field that diffuses and is then drawn back to 0 or 1 by the reaction ``u_i -> u_i^2 / sum u_j^2``. This
is operator splitting of the Allen-Cahn equations of all grains: boundaries move with mobility times curvature, and
three of one energy meet at 120 degrees. Grains that lie apart share one field, as colours of a map, so a dozen fields
carry any number of grains.

References
----------
Fan, Chen, Acta Mater. 45 (1997) 611, doi:10.1016/S1359-6454(96)00200-5 (many order parameters).
Krill, Chen, Acta Mater. 50 (2002) 3059, doi:10.1016/S1359-6454(02)00084-8 (grains that share a field).
Merriman, Bence, Osher, J. Comput. Phys. 112 (1994) 334, doi:10.1006/jcph.1994.1105 (diffusion, then reaction).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microgen.core import InputError
from microgen.physics.cahn_hilliard import wave_number

Float = NDArray[np.floating[Any]]
Labels = NDArray[np.int32]

_APART = 5.0  # least distance of two grains of one field, in steps of diffusion
_RECOLOUR = 5  # steps after which grains that came near to another of their field get another one


def grow(grain: NDArray[np.integer[Any]], *, spacing: Sequence[float], step_um: float) -> Iterator[Labels]:
    """Yield the grains after each step of curvature-driven growth, for ever.

    Parameters
    ----------
    grain
        Grain numbers from 1, shape ``(Y, X)`` or ``(Z, Y, X)``; periodic. Numbers are kept, grains vanish.
    spacing
        Micrometres per grid point along each axis.
    step_um
        Standard deviation of the diffusion in a step, at least the largest spacing. A boundary of curvature K moves
        by ``K step_um^2 / 2`` in a step; choose it well below the radius of the grains that matter.

    Raises
    ------
    InputError
        If the step is shorter than the distance of grid points, where boundaries would stick to the grid.

    Examples
    --------
    >>> y, x = np.mgrid[:64, :64] - 31.5
    >>> disc = 1 + (x**2 + y**2 < 20**2)
    >>> areas = [int((after == 2).sum()) for _, after in zip(range(20), grow(disc, spacing=(1, 1), step_um=2.0))]
    >>> bool(areas[-1] < areas[0] < disc.size)
    True
    """
    if step_um < max(spacing):
        raise InputError(f"a step of {step_um:g} um is shorter than the grid's {max(spacing):g} um; take a finer grid")
    labels = np.asarray(grain, dtype=np.int32)
    if labels.min() < 1:
        raise InputError("every grid point needs a grain; give those without one to a neighbour first")
    filter_ = np.exp(-0.5 * (wave_number(labels.shape, spacing) * step_um) ** 2).astype(np.float32)
    reach = np.maximum(1, np.rint(_APART * step_um / np.asarray(spacing))).astype(int)
    colour = _colours(_near(labels, reach), np.zeros(int(labels.max()) + 1, dtype=np.int32), labels)
    fields = [(colour[labels] == c).astype(np.float32) for c in range(1, int(colour.max()) + 1)]
    for step in range(1, 2**62):
        fields = _moved(fields, filter_)
        labels = _tracked(np.argmax(fields, axis=0) + 1, labels, colour)
        yield labels
        if step % _RECOLOUR == 0:
            fields, colour = _recoloured(fields, colour, labels, reach)


def _moved(fields: list[Float], filter_: Float) -> list[Float]:
    """Diffuse every field, then sharpen all against each other."""
    moved = []
    for field in fields:
        soft = fft.irfftn(fft.rfftn(field, workers=-1) * filter_, field.shape, workers=-1)
        np.maximum(soft, 0, out=soft)
        moved.append(np.square(soft, out=soft))
    total = sum(moved[1:], moved[0].copy())
    return [soft / total for soft in moved]


def _tracked(winner: NDArray[Any], before: Labels, colour: NDArray[np.int32]) -> Labels:
    """Number of the grain that won each point: its last owner of that colour, or that of a neighbour."""
    labels = np.where(colour[before] == winner, before, 0).astype(np.int32)
    lost = np.argwhere(labels == 0)
    shape = np.array(labels.shape)
    shifts = [np.array(s) - 1 for s in np.ndindex((3,) * labels.ndim)]
    while len(lost):
        own = winner[tuple(lost.T)]
        found = np.zeros(len(lost), dtype=np.int32)
        for shift in shifts:
            other = labels[tuple(((lost + shift) % shape).T)]
            found = np.where((found == 0) & (colour[other] == own) & (other > 0), other, found)
        if not found.any():  # a wisp of a field far from its grain
            labels[tuple(lost.T)] = before[tuple(lost.T)]
            break
        labels[tuple(lost.T)] = found
        lost = lost[found == 0]
    return labels


def _near(labels: Labels, reach: NDArray[np.intp]) -> set[tuple[int, int]]:
    """Pairs of grains that come as near as `reach` grid points."""
    count = int(labels.max()) + 1
    pairs: set[int] = set()
    width = 5 if labels.ndim == 2 else 3
    directions = [np.array(d) - width // 2 for d in np.ndindex((width,) * labels.ndim)]
    for direction in directions[len(directions) // 2 + 1 :]:  # one of each opposite pair
        unit = direction / np.linalg.norm(direction)
        for part in (1.0, 0.5):
            shift = np.rint(unit * reach * part).astype(int)
            other = np.roll(labels, tuple(shift), tuple(range(labels.ndim)))
            differ = labels != other
            low, high = np.minimum(labels, other)[differ], np.maximum(labels, other)[differ]
            pairs.update(np.unique(low.astype(np.int64) * count + high).tolist())
    return {divmod(pair, count) for pair in pairs}


def _colours(pairs: set[tuple[int, int]], before: NDArray[np.int32], labels: Labels) -> NDArray[np.int32]:
    """Colour of each grain number from 1, different for near grains; colours without conflict are kept."""
    neighbours: dict[int, set[int]] = {int(n): set() for n in np.unique(labels)}
    for a, b in pairs:
        neighbours[a].add(b)
        neighbours[b].add(a)
    colour = np.zeros_like(before)
    for number in sorted(neighbours, key=lambda n: -len(neighbours[n])):
        taken = {int(colour[n]) for n in neighbours[number]}
        own = int(before[number])
        colour[number] = own if own and own not in taken else next(c for c in range(1, 2**31) if c not in taken)
    return colour


def _recoloured(
    fields: list[Float], colour: NDArray[np.int32], labels: Labels, reach: NDArray[np.intp]
) -> tuple[list[Float], NDArray[np.int32]]:
    """Move grains that came near to another of their colour to a field of their own."""
    new = _colours(_near(labels, reach), colour, labels)
    fields = fields + [np.zeros_like(fields[0]) for _ in range(len(fields), int(new.max()))]
    moving = np.flatnonzero((new != colour) & (new > 0))
    if len(moving):
        owner = _owner(labels, moving, reach)
        values = {number: fields[colour[number] - 1][owner == number] for number in moving}
        for number in moving:
            fields[colour[number] - 1][owner == number] = 0
        for number in moving:
            fields[new[number] - 1][owner == number] += values[number]
    return fields, np.where(new > 0, new, colour)


def _owner(labels: Labels, moving: NDArray[np.intp], reach: NDArray[np.intp]) -> Labels:
    """The moving grain whose soft rim a point belongs to: that within half the reach, else 0."""
    kept = np.where(np.isin(labels, moving), labels, 0)
    size = 2 * np.maximum(1, reach // 3) + 1
    rim = ndimage.maximum_filter(kept, size=tuple(size), mode="wrap")
    return np.where(kept > 0, kept, rim).astype(np.int32)
