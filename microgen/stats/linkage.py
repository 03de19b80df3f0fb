"""Linkages of structure and property, learned from structures whose properties are known (Materials Knowledge System).

*Homogenisation*: an effective property from the two-point statistics of the structure. To second order in the contrast
of the phases it is a polynomial of the fractions plus the auto-covariances of the phases times weights that depend on
the fractions; this is the form that is fitted, with the auto-covariances in terms of their principal components.

*Localisation*: the field inside the structure (strain, stress, flux). To first order the field at a point is a sum
over all points of what the phase found there contributes from that distance. These influence coefficients are the same
for all structures of the same phases under the same load; then a field costs two Fourier transforms.
:class:`pymks.LocalizationRegressor` learns the same coefficients but does not run with numpy 1.24 or later; a test
repairs it and compares.

References
----------
Gupta, Cecen, Goyal, Singh, Kalidindi, Acta Mater. 91 (2015) 239, doi:10.1016/j.actamat.2015.02.045 (homogenisation);
Landi, Niezgoda, Kalidindi, Acta Mater. 58 (2010) 2716, doi:10.1016/j.actamat.2010.01.007 (localisation); Brough,
Wheeler, Kalidindi, Integr. Mater. Manuf. Innov. 6 (2017) 36, doi:10.1007/s40192-017-0089-0 (PyMKS); Torquato, Random
Heterogeneous Materials (2002), chapter 20 (expansions in the contrast).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from microgen.core import InputError
from microgen.stats.mks import Statistics, checked_labels, two_point_stats

Array = NDArray[Any]

_SMALL = 1e-12


@dataclass(frozen=True, eq=False)
class Homogenisation:
    """A property as a polynomial of the fractions, and linear in the principal components of the auto-covariances.

    Attributes
    ----------
    r2
        Coefficient of determination over held-out structures.
    error
        Root mean square error over held-out structures, in the unit of the property.
    """

    r2: float
    error: float
    _statistics: Statistics
    _fit: _Fit

    def predict(self, structures: Array) -> Array:
        """Return the property of each structure, shape ``(n,)``."""
        return self._fit.predict(*_fractions_and_covariances(structures, self._statistics))


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
        labels = checked_labels(structures, phases)
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
        influence = self.influence()
        shared = influence[(0,) * len(grid)][-1]  # the last phase is the same everywhere: part of the mean, spread out
        padded = np.pad(influence - shared, [*zip(before, after, strict=True), (0, 0)])
        padded += shared * np.prod(grid) / np.prod(shape)
        axes = tuple(range(len(grid)))
        return replace(self, coefficients=fft.fftn(fft.ifftshift(padded, axes=axes), axes=axes))


def homogenise(
    structures: Array,
    properties: Array | Sequence[float],
    *,
    components: int = 10,
    degree: int = 3,
    folds: int = 5,
    statistics: Statistics | None = None,
) -> Homogenisation:
    """Learn a property of structures from their two-point statistics, taken by PyMKS.

    Parameters
    ----------
    structures
        Labels, ``(n, Y, X)`` or ``(n, Z, Y, X)``.
    properties
        The property of each structure, shape ``(n,)``: one component of the effective stiffness, say.
    components
        Principal components of the auto-covariances that are kept.
    degree
        Degree of the polynomial of the fractions; the weights of the components are of one degree less.
    folds
        Parts of the cross-validation; every structure is held out once.
    statistics
        Phases, boundary and cut-off.

    Raises
    ------
    InputError
        If PyMKS is not installed, the arrays do not fit, or there are fewer structures than numbers to fit.
    """
    plan, truth = statistics or Statistics(), np.asarray(properties, dtype=np.float64)
    fractions, covariances = _fractions_and_covariances(structures, plan)
    numbers = len(_powers(plan.phases - 1, degree)) + components * len(_powers(plan.phases - 1, degree - 1))
    fewest = folds * numbers // (folds - 1) + 1
    if truth.shape != (len(fractions),) or len(truth) < fewest or not np.isfinite(truth).all():
        raise InputError(f"a linkage needs one property for each of at least {fewest} structures, got {truth.shape}")
    if not truth.var() > 0:
        raise InputError("all structures have the same property; there is nothing to learn")
    held_out = np.zeros_like(truth)
    for part in np.array_split(np.random.default_rng(0).permutation(len(truth)), folds):
        rest = np.setdiff1d(np.arange(len(truth)), part)
        fit = _fitted(fractions[rest], covariances[rest], truth[rest], components, degree)
        held_out[part] = fit.predict(fractions[part], covariances[part])
    mean_square = float(np.mean((held_out - truth) ** 2))
    whole = _fitted(fractions, covariances, truth, components, degree)
    return Homogenisation(1 - mean_square / float(truth.var()), mean_square**0.5, plan, whole)


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
    labels, values = checked_labels(structures, phases), np.asarray(fields, dtype=np.float64)
    if values.shape != labels.shape or not np.isfinite(values).all():
        raise InputError(f"fields are finite and of the shape {labels.shape} of the structures, got {values.shape}")
    if not values.var() > 0:
        raise InputError("the field is the same everywhere; there is nothing to learn")
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


@dataclass(frozen=True, eq=False)
class _Fit:
    """Mean and principal axes of the auto-covariances, and the weights of all terms."""

    mean: Array
    axes: Array
    degree: int
    weights: Array

    def predict(self, fractions: Array, covariances: Array) -> Array:
        scores = (covariances - self.mean) @ self.axes
        return np.asarray(_terms(fractions, scores, self.degree) @ self.weights)


def _fitted(fractions: Array, covariances: Array, truth: Array, components: int, degree: int) -> _Fit:
    mean = covariances.mean(axis=0)
    centred = covariances - mean
    variance, vectors = np.linalg.eigh(centred @ centred.T)
    top = variance > _SMALL * variance[-1]
    top[:-components] = False
    axes = centred.T @ (vectors[:, top] / variance[top]) * len(truth) ** 0.5
    weights = np.linalg.lstsq(_terms(fractions, centred @ axes, degree), truth, rcond=None)[0]
    return _Fit(mean, axes, degree, weights)


def _terms(fractions: Array, scores: Array, degree: int) -> Array:
    """Powers of the fractions, and the scores times powers of one degree less, one column each."""
    powers, lower = (
        np.stack([np.prod(fractions[:, list(which)], axis=1) for which in _powers(fractions.shape[1], most)], axis=1)
        for most in (degree, degree - 1)
    )
    return np.hstack([powers, (scores[:, :, None] * lower[:, None]).reshape(len(scores), -1)])


def _powers(variables: int, degree: int) -> list[tuple[int, ...]]:
    return [which for d in range(degree + 1) for which in combinations_with_replacement(range(variables), d)]


def _fractions_and_covariances(structures: Array, plan: Statistics) -> tuple[Array, Array]:
    """Fractions of all phases but the last, ``(n, phases - 1)``, and two-point statistics less their limit far away."""
    found = two_point_stats(structures, statistics=plan)
    labels = np.asarray(structures).reshape(len(found), -1)
    share = np.stack([(labels == phase).mean(axis=1) for phase in range(plan.phases - 1)], axis=1)
    limit = np.stack([share[:, a] * share[:, b] for a, b in plan.pairs], axis=-1)
    return share, (found - limit.reshape(len(found), *(1,) * (found.ndim - 2), -1)).reshape(len(found), -1)


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
