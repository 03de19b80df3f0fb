"""Localisation: the field inside a structure (strain, stress, flux) from the structure itself.

The Materials Knowledge System: to first order the field at a point is a sum over all points of what the phase found
there contributes from that distance. These influence coefficients are the same for all structures of the same phases
under the same load, so they are learned once, by least squares, from structures whose fields are known (see
:mod:`microgen.physics`); then a field costs two Fourier transforms. Structures repeat periodically. The way in the
other direction, from a structure to an effective property, is :func:`microgen.stats.mks.link`.

:class:`pymks.LocalizationRegressor` learns the same coefficients but does not run with numpy 1.24 or later; a test
repairs it and compares.

References
----------
Landi, Niezgoda, Kalidindi, Acta Mater. 58 (2010) 2716, doi:10.1016/j.actamat.2010.01.007; Brough, Wheeler, Kalidindi,
Integr. Mater. Manuf. Innov. 6 (2017) 36, doi:10.1007/s40192-017-0089-0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from microgen.core import InputError

Array = NDArray[Any]

_SMALL = 1e-12


@dataclass(frozen=True, eq=False)
class Localisation:
    """What every phase contributes to a field, over distance.

    Attributes
    ----------
    coefficients
        Influence in Fourier space, shape ``(*grid, phases)``; that of the last phase is 0 except for the mean.
    r2
        Coefficient of determination over all points of held-out structures, against the mean of all fields.
    error
        Root mean square error at the points of held-out structures, in the unit of the field.
    """

    coefficients: Array
    r2: float
    error: float

    def predict(self, structures: Array) -> Array:
        """Return the fields of structures ``(n, *grid)`` of the grid learned from; :meth:`resized` gives others."""
        grid, phases = self.coefficients.shape[:-1], self.coefficients.shape[-1]
        labels = _labels(structures, phases)
        if labels.shape[1:] != grid:
            raise InputError(f"the grid is {grid}, the structures have {labels.shape[1:]}; use resized(...)")
        return _field(_waves(labels, phases), self.coefficients)

    def influence(self) -> Array:
        """Return the coefficients over distance, shape ``(*grid, phases)`` with distance zero in the middle."""
        axes = tuple(range(self.coefficients.ndim - 1))
        return np.asarray(fft.fftshift(fft.ifftn(self.coefficients, axes=axes).real, axes=axes))

    def resized(self, shape: Sequence[int]) -> Localisation:
        """Return the same influence on a larger grid: nothing farther away than learned matters.

        Parameters
        ----------
        shape
            Grid points along each axis, at least as many as now and with the same spacing.
        """
        grid = self.coefficients.shape[:-1]
        if len(shape) != len(grid) or any(new < old for new, old in zip(shape, grid, strict=True)):
            raise InputError(f"an influence on {grid} can be extended to a larger grid only, not to {tuple(shape)}")
        before = [new // 2 - old // 2 for new, old in zip(shape, grid, strict=True)]
        after = [new - old - b for new, old, b in zip(shape, grid, before, strict=True)]
        padded = np.pad(self.influence(), [*zip(before, after, strict=True), (0, 0)])
        axes = tuple(range(len(grid)))
        return replace(self, coefficients=fft.fftn(fft.ifftshift(padded, axes=axes), axes=axes))


def localise(structures: Array, fields: Array, *, phases: int = 2, folds: int = 5) -> Localisation:
    """Learn the influence of every phase on a field.

    Parameters
    ----------
    structures
        Labels 0 to ``phases - 1`` of periodic structures, ``(n, Y, X)`` or ``(n, Z, Y, X)``.
    fields
        The field in each of them under one and the same load, of the same shape: one component of strain, say.
    phases
        Number of phases.
    folds
        Parts of the cross-validation; every structure is held out once.

    Raises
    ------
    InputError
        If the arrays do not fit, or there are fewer structures than parts.

    Examples
    --------
    A field that is the phase itself, smeared over two points:

    >>> structures = np.random.default_rng(0).integers(0, 2, (20, 8, 8))
    >>> fields = structures + 0.5 * np.roll(structures, 1, axis=2)
    >>> learned = localise(structures, fields)
    >>> np.allclose(learned.predict(structures), fields)
    True
    """
    labels, values = _labels(structures, phases), np.asarray(fields, dtype=np.float64)
    if values.shape != labels.shape or not np.isfinite(values).all():
        raise InputError(f"fields are finite and of the shape {labels.shape} of the structures, got {values.shape}")
    if not 2 <= folds <= len(labels):
        raise InputError(f"{folds} folds need at least 2 and at most as many as the {len(labels)} structures")
    parts = [np.arange(start, len(labels), folds) for start in range(folds)]
    sums = [_sums(labels[part], values[part], phases) for part in parts]
    total = _added(sums)
    squares = 0.0
    for part, own in zip(parts, sums, strict=True):
        coefficients = _coefficients(total[0] - own[0], total[1] - own[1])
        squares += float(((_field(_waves(labels[part], phases), coefficients) - values[part]) ** 2).sum())
    mean_square = squares / values.size
    return Localisation(_coefficients(*total), 1 - mean_square / float(values.var()), mean_square**0.5)


def _labels(structures: Array, phases: int) -> Array:
    labels = np.asarray(structures)
    if labels.ndim not in (3, 4) or labels.dtype.kind not in "bui":
        raise InputError(f"structures are integer labels (n, Y, X) or (n, Z, Y, X), got {labels.dtype} {labels.shape}")
    if phases < 2 or labels.min() < 0 or labels.max() >= phases:
        raise InputError(f"labels must be 0 to {phases - 1}, got {labels.min()} to {labels.max()}; set phases")
    return labels


def _waves(labels: Array, phases: int) -> Array:
    """Fourier transform of the indicator of each phase, ``(n, *grid, phases)``; of the last one only the mean.

    The indicators sum to 1, so one of them is redundant everywhere but in the mean.
    """
    states = np.stack([labels == phase for phase in range(phases)], axis=-1).astype(np.float64)
    axes = tuple(range(1, labels.ndim))
    waves = fft.fftn(states, axes=axes)
    mean = (slice(None), *(0,) * len(axes), -1)
    last = waves[mean].copy()
    waves[..., -1] = 0
    waves[mean] = last
    return np.asarray(waves)


def _field(waves: Array, coefficients: Array) -> Array:
    axes = tuple(range(1, waves.ndim - 1))
    return np.asarray(fft.ifftn((waves * coefficients).sum(axis=-1), axes=axes).real)


def _sums(labels: Array, values: Array, phases: int) -> tuple[Array, Array]:
    """Normal equations of every wave: products of phases ``(*grid, phases, phases)`` and of phases and field."""
    waves = _waves(labels, phases)
    response = fft.fftn(values, axes=tuple(range(1, values.ndim)))
    products = np.einsum("n...i,n...j->...ij", waves.conj(), waves)
    return products, np.einsum("n...i,n...->...i", waves.conj(), response)


def _added(sums: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    products, driven = zip(*sums, strict=True)
    return np.sum(products, axis=0), np.sum(driven, axis=0)


def _coefficients(products: Array, driven: Array) -> Array:
    inverse = np.linalg.pinv(products, rcond=_SMALL, hermitian=True)
    return np.asarray((inverse @ driven[..., None])[..., 0])
