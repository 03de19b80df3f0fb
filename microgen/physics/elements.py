"""Bilinear and trilinear finite elements on a periodic grid, one per pixel or voxel, without a matrix.

All sums are per volume of a voxel. Displacements ``(dimensions, *grid)`` have their components in the order x, y, z
and belong to the corner of a voxel nearest to the origin; everything is computed in layers that fit into the cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Float = NDArray[np.floating[Any]]
Law = Callable[[Float, slice], Float]
"""Stress ``(points, voigt, voxels)`` from strain of the same shape, in a slice of layers along the first axis."""

VOIGT = {2: ((0, 0), (1, 1), (0, 1)), 3: ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))}
_VOXELS_AT_ONCE = 4096


def material_law(labels: NDArray[Any], stiffness: Float) -> Law:
    """Return the law of elasticity of a grid of labels, given the stiffness ``(materials, voigt, voigt)`` of each."""
    isotropic = _lame(stiffness)
    if isotropic is not None:
        lame, shear = isotropic
        normal = labels.ndim

        def isotropic_law(strain: Float, layers: slice) -> Float:
            which = labels[layers].ravel()
            stress = strain * shear[which]
            stress[:, :normal] *= 2
            stress[:, :normal] += (strain[:, :normal].sum(axis=1) * lame[which])[:, None]
            return np.asarray(stress)

        return isotropic_law
    columns = np.ascontiguousarray(np.moveaxis(stiffness, 0, -1))

    def law(strain: Float, layers: slice) -> Float:
        local = columns[..., labels[layers].ravel()]
        return np.asarray(np.einsum("abn,gbn->gan", local, strain))

    return law


def _lame(stiffness: Float) -> tuple[Float, Float] | None:
    """Lame's two constants of every material, or None if one of them is not isotropic."""
    size = stiffness.shape[-1]
    normal = 2 if size == 3 else 3
    lame, shear = stiffness[:, 0, 1], stiffness[:, -1, -1]
    expected = shear[:, None, None] * np.diag([2.0] * normal + [1.0] * (size - normal))
    expected[:, :normal, :normal] += lame[:, None, None]
    scale = np.abs(stiffness).max(axis=(1, 2), keepdims=True)
    return (lame, shear) if (np.abs(stiffness - expected) <= 1e-12 * scale).all() else None


def gradients(spacing: Sequence[float]) -> Float:
    """Return the strain at the points of integration from the displacements of the corners.

    Shape ``(points, voigt, corners, dimensions)``: two points and two corners along each axis.
    """
    ndim = len(spacing)
    corners = np.array(list(itertools.product((0, 1), repeat=ndim)))
    points = 0.5 + (corners - 0.5) / np.sqrt(3)
    weight = np.where(corners[None] == 1, points[:, None], 1 - points[:, None])
    slope = np.zeros((len(points), len(corners), ndim))
    for axis in range(ndim):
        others = np.prod(np.delete(weight, axis, axis=2), axis=2)
        slope[..., ndim - 1 - axis] = (2 * corners[:, axis] - 1) / spacing[axis] * others
    found = np.zeros((len(points), len(VOIGT[ndim]), len(corners), ndim))
    for row, (i, j) in enumerate(VOIGT[ndim]):
        found[:, row, :, i] += slope[..., j]
        if i != j:
            found[:, row, :, j] += slope[..., i]
    return found


def layers(shape: Sequence[int]) -> Iterator[slice]:
    """Cut the first axis into slices of a few thousand voxels."""
    step = max(1, _VOXELS_AT_ONCE // int(np.prod(shape[1:])))
    yield from (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def strains(displacement: Float, gradient: Float, mean: Float) -> Iterator[tuple[slice, Float]]:
    """Yield slices of layers with the strain ``(points, voigt, voxels)`` in them; `mean` is added."""
    points, voigt, corners, ndim = gradient.shape
    padded = _padded(displacement)
    flat = gradient.reshape(points * voigt, corners * ndim)
    for part in layers(displacement.shape[1:]):
        at_corners = np.stack([padded[view] for view in _views(padded, part)])
        strain = (flat @ at_corners.reshape(corners * ndim, -1)).reshape(points, voigt, -1)
        yield part, strain + mean[:, None]


def forces(displacement: Float, gradient: Float, law: Law, mean: Float) -> Float:
    """Return the forces on the nodes, shape of `displacement`, by its strain and a mean strain in Voigt order."""
    points, voigt, corners, ndim = gradient.shape
    padded = np.zeros((ndim, *(n + 1 for n in displacement.shape[1:])), displacement.dtype)
    flat = gradient.reshape(points * voigt, corners * ndim).T / points
    for part, strain in strains(displacement, gradient, mean):
        stress = law(strain, part).reshape(points * voigt, -1)
        at_corners = (flat @ stress).reshape(corners, ndim, part.stop - part.start, *displacement.shape[2:])
        for view, values in zip(_views(padded, part), at_corners, strict=True):
            padded[view] += values
    return _folded(padded)


def _views(padded: Float, part: slice) -> Iterator[tuple[slice, ...]]:
    """Where the corners of the voxels in a slice of layers lie in a padded array, one view per corner."""
    for corner in itertools.product((0, 1), repeat=padded.ndim - 1):
        rest = (slice(o, n - 1 + o) for o, n in zip(corner[1:], padded.shape[2:], strict=True))
        yield (slice(None), slice(part.start + corner[0], part.stop + corner[0]), *rest)


def _padded(values: Float) -> Float:
    """Repeat the first layer behind the last one, along every axis but the first."""
    return np.pad(values, [(0, 0)] + [(0, 1)] * (values.ndim - 1), mode="wrap")


def _folded(padded: Float) -> Float:
    """Add the layer behind the last one to the first, along every axis but the first."""
    for axis in range(1, padded.ndim):
        moved = np.moveaxis(padded, axis, 0)
        moved[0] += moved[-1]
        padded = np.moveaxis(moved[:-1], 0, axis)
    return np.ascontiguousarray(padded)


def response(shape: Sequence[int], spacing: Sequence[float], lame: float, shear: float) -> Callable[[Float], Float]:
    """Return the function that gives the displacements of a homogeneous isotropic grid under forces.

    It is exact for these elements: their sums over two-point quadrature are products of one-dimensional symbols.
    """
    inverse = _inverse_symbol(_symbol(shape, spacing, lame, shear))
    ndim, axes = len(shape), tuple(range(1, len(shape) + 1))

    def displacements(force: Float) -> Float:
        waves = fft.rfftn(force, axes=axes)
        found = [sum(inverse[min(i, j), max(i, j)] * waves[j] for j in range(ndim)) for i in range(ndim)]
        return np.asarray(fft.irfftn(np.stack(found), s=tuple(shape), axes=axes, overwrite_x=True))

    return displacements


def _symbol(shape: Sequence[int], spacing: Sequence[float], lame: float, shear: float) -> dict[tuple[int, int], Float]:
    """Stiffness of plane waves between components ``(i, j)``, ``i <= j``, on the half grid of rfftn."""
    ndim = len(shape)
    angles = [2 * np.pi * np.arange(n) / n for n in shape]
    angles[-1] = angles[-1][: shape[-1] // 2 + 1]
    waves = [a.reshape([-1 if axis == b else 1 for b in range(ndim)]) for axis, a in enumerate(angles)][::-1]
    steps = list(spacing)[::-1]
    mass = [(2 + np.cos(a)) / 3 for a in waves]
    stretch = [2 * (1 - np.cos(a)) / h**2 for a, h in zip(waves, steps, strict=True)]
    slope = [np.sin(a) / h for a, h in zip(waves, steps, strict=True)]

    def product(first: int, second: int) -> Float:
        own = [stretch[first]] if first == second else [slope[first], slope[second]]
        return np.asarray(
            np.prod(np.broadcast_arrays(*own, *(mass[c] for c in range(ndim) if c not in (first, second))), axis=0)
        )

    laplacian = sum(product(a, a) for a in range(ndim))
    found = {(i, j): (lame + shear) * product(i, j) for i in range(ndim) for j in range(i, ndim)}
    for i in range(ndim):
        found[i, i] = found[i, i] + shear * laplacian
    return found


def _inverse_symbol(symbol: dict[tuple[int, int], Float]) -> dict[tuple[int, int], Float]:
    """Invert the symmetric matrix of every wave by its cofactors; the mean is left out."""
    ndim = max(symbol)[0] + 1
    full = {**symbol, **{(j, i): values for (i, j), values in symbol.items()}}
    cofactor: dict[tuple[int, int], Float]
    if ndim == 2:
        cofactor = {(0, 0): full[1, 1], (0, 1): -full[0, 1], (1, 1): full[0, 0]}
    else:
        cofactor = {}
        for i, j in itertools.combinations_with_replacement(range(3), 2):
            a, b, c, d = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
            cofactor[i, j] = full[a, c] * full[b, d] - full[a, d] * full[b, c]
    determinant = np.sum([full[0, j] * cofactor[0, j] for j in range(ndim)], axis=0)
    determinant[(0,) * ndim] = np.inf
    return {pair: values / determinant for pair, values in cofactor.items()}
