"""Linear systems of conduction on a grid: conjugate gradients with an aggregation multigrid preconditioner.

The unknowns of a coarser level are groups of neighbours: those of a block of the grid that conduct well to each
other inside it. Pores that only pass each other in a block are not mixed up, so the number of iterations hardly
depends on the structure, and holes cost nothing. Two steps of conjugate gradients are taken on every coarser level
(the K-cycle of Notay, ETNA 37 (2010) 123), which makes up for the crude interpolation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float = NDArray[np.float64]
Int = NDArray[np.int32]

_COARSEST = 400  # unknowns that are solved for at once
_DAMPING = 0.75
_STRONG = 0.1  # least share of the best connection of both ends, for a connection to group them
_SINGULAR = 1e-11


@dataclass(frozen=True, eq=False)
class Level:
    """One level of the hierarchy.

    Attributes
    ----------
    matrix
        Symmetric matrix with non-positive entries off its diagonal, none of whose rows has a negative sum.
    smoother
        Damped inverse of the diagonal.
    parent
        Unknown of the next level to which each unknown belongs; their number for those that belong to none.
    inverse
        On the coarsest level the (pseudo-)inverse of the matrix, if it is small enough.
    """

    matrix: sparse.csr_array
    smoother: Float
    parent: Int | None = None
    inverse: Float | None = None


def hierarchy(matrix: sparse.csr_array, place: Int, spacing: Sequence[float]) -> list[Level]:
    """Return the levels of a multigrid method, the given matrix first.

    Parameters
    ----------
    matrix
        Symmetric matrix of conduction.
    place
        Grid indices of each unknown, shape ``(dimensions, unknowns)``.
    spacing
        Distance of grid points along each axis: an axis along which conduction is weak is left alone at first.
    """
    levels, step = [], np.asarray(spacing)
    while matrix.shape[0] > _COARSEST:
        merged = np.where(step < 2 * step.min(), 2, 1)
        step, place = step * merged, place // merged[:, None].astype(np.int32)
        parent, coarse, place = _coarser(matrix, place)
        if coarse.shape[0] > 0.9 * matrix.shape[0]:
            break
        levels.append(Level(matrix, _smoother(matrix), parent))
        matrix = coarse
    small = matrix.shape[0] <= 4 * _COARSEST
    levels.append(
        Level(matrix, _smoother(matrix), None, np.linalg.pinv(matrix.toarray(), hermitian=True) if small else None)
    )
    return levels


def solve(
    levels: list[Level], right: Float, start: Float, done: Callable[[Float, Float], bool], *, limit: int
) -> Float:
    """Solve until ``done(unknowns, residual)``.

    Raises
    ------
    ArithmeticError
        If it is not done after `limit` iterations.
    """
    unknowns, residual = start.copy(), right - levels[0].matrix @ start
    for count, _ in enumerate(_steps(levels, unknowns, residual)):
        if done(unknowns, residual):
            return unknowns
        if count >= limit:
            break
    raise ArithmeticError(f"no solution after {limit} iterations")


def _steps(levels: list[Level], unknowns: Float, residual: Float) -> Iterator[None]:
    """Improve `unknowns` and `residual` in place, one step of flexible conjugate gradients after the other."""
    matrix = levels[0].matrix
    direction, image, curvature = np.zeros_like(residual), np.zeros_like(residual), 1.0
    while True:
        yield
        correction = _cycle(levels, residual)
        correction -= (correction @ image) / curvature * direction
        direction = correction
        image = matrix @ direction
        curvature = float(direction @ image)
        if curvature <= 0:
            curvature = 1.0
            continue
        length = (direction @ residual) / curvature
        unknowns += length * direction
        residual -= length * image


def _cycle(levels: list[Level], right: Float) -> Float:
    """Return an approximate solution: smoothing, correction from the next level, smoothing."""
    level = levels[0]
    if level.inverse is not None:
        return np.asarray(level.inverse @ right)
    found = level.smoother * right
    if level.parent is None:
        return found
    size = levels[1].matrix.shape[0]
    residual = right - level.matrix @ found
    below = np.bincount(level.parent, weights=residual, minlength=size)[:size].astype(np.float64)
    found += np.append(_two_steps(levels[1:], below), 0.0)[level.parent]
    found += level.smoother * (right - level.matrix @ found)
    return found


def _two_steps(levels: list[Level], right: Float) -> Float:
    if levels[0].inverse is not None:
        return _cycle(levels, right)
    found, residual = np.zeros_like(right), right.copy()
    enough = 0.25 * np.linalg.norm(right)
    for count, _ in enumerate(_steps(levels, found, residual)):
        if count == 2 or np.linalg.norm(residual) <= enough:
            return found
    return found


def _smoother(matrix: sparse.csr_array) -> Float:
    diagonal = matrix.diagonal()
    return np.asarray(np.divide(_DAMPING, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0))


def _coarser(matrix: sparse.csr_array, block: Int) -> tuple[Int, sparse.csr_array, Int]:
    """Return the group of each unknown, the matrix of the groups and their places, given the block of each unknown."""
    fine = matrix.tocoo()
    row, column = fine.coords
    count, group = _groups(matrix, row, column, fine.data, block)
    diagonal = np.bincount(group, weights=matrix.diagonal(), minlength=count)
    scale = diagonal.copy()
    across = group[row] != group[column]
    inside = ~across & (row != column)
    diagonal += np.bincount(group[row[inside]], weights=fine.data[inside], minlength=count)
    alive = diagonal > _SINGULAR * scale
    number = np.cumsum(alive, dtype=np.int32) - 1
    number[~alive] = kept = int(alive.sum())
    ends = (number[group[row[across]]], number[group[column[across]]])
    every = np.arange(kept, dtype=np.int32)
    entries = (np.append(fine.data[across], diagonal[alive]), (np.append(ends[0], every), np.append(ends[1], every)))
    places = np.zeros((len(block), count), np.int32)
    places[:, group] = block
    return number[group], sparse.csr_array(entries, shape=(kept, kept)), places[:, alive]


def _groups(matrix: sparse.csr_array, row: Any, column: Any, data: Float, block: Int) -> tuple[int, Int]:
    """Group the unknowns that are strongly connected inside their block."""
    best = np.zeros(matrix.shape[0])
    off = row != column
    np.maximum.at(best, row[off], -data[off])
    keep = row < column
    row, column, data = row[keep], column[keep], -data[keep]
    keep = data >= _STRONG * np.maximum(best[row], best[column])
    for places in block:
        keep &= places[row] == places[column]
    graph = sparse.csr_array((np.ones(keep.sum(), np.int8), (row[keep], column[keep])), shape=matrix.shape)
    count, group = sparse.csgraph.connected_components(graph, directed=False)
    return int(count), group
