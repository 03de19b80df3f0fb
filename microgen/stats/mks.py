"""Two-point statistics and their principal components through PyMKS; :mod:`microgen.stats.linkage` builds on them.

PyMKS installs on Python 3.11 only; everything else in :mod:`microgen.stats` works without it, and
:func:`microgen.stats.correlate` gives the same statistics faster (a test compares the two).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError

Array = NDArray[Any]


@dataclass(frozen=True)
class Statistics:
    """How two-point statistics are taken of label maps.

    Attributes
    ----------
    phases
        Number of phases; the labels are 0 to ``phases - 1``.
    periodic
        Wrap around at the frame, else average over pairs inside it.
    cutoff
        Largest lag in grid points; by default all that fit: ``(shortest edge - 1) // 2``.
    """

    phases: int = 2
    periodic: bool = True
    cutoff: int | None = None

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of phases that are independent: all others follow from these ``phases - 1``."""
        return [(0, other) for other in range(self.phases - 1)]


@dataclass(frozen=True, eq=False)
class Embedding:
    """Structures as points in the space of the principal components of their two-point statistics.

    Attributes
    ----------
    scores
        Coordinates, shape ``(n, components)``.
    explained
        Share of the variance that each component carries, shape ``(components,)``.
    """

    scores: Array
    explained: Array
    _statistics: Statistics
    _pca: Any

    def project(self, structures: Array) -> Array:
        """Return the coordinates of other structures of the same grid, shape ``(n, components)``."""
        return np.asarray(self._pca.transform(_features(structures, self._statistics)))


def two_point_stats(structures: Array, *, statistics: Statistics | None = None, mask: Array | None = None) -> Array:
    """Return the two-point statistics of label maps, by PyMKS.

    Parameters
    ----------
    structures
        Labels, ``(n, Y, X)`` or ``(n, Z, Y, X)``.
    statistics
        Phases, boundary and cut-off.
    mask
        True where the labels are valid, shape of `structures`.

    Returns
    -------
    ndarray
        ``(n, *lags, pairs)`` with lag zero in the middle, one pair of phases for each of
        :attr:`Statistics.pairs`.

    Raises
    ------
    InputError
        If PyMKS is not installed, or the arrays do not fit.

    References
    ----------
    Brough, Wheeler, Kalidindi, Integr. Mater. Manuf. Innov. 6 (2017) 36, doi:10.1007/s40192-017-0089-0.
    """
    plan = statistics or Statistics()
    labels = checked_labels(structures, plan.phases)
    if mask is not None and np.shape(mask) != labels.shape:
        raise InputError(f"the mask has shape {np.shape(mask)}, the structures have {labels.shape}; they must be equal")
    pymks = _pymks()
    cutoff = (min(labels.shape[1:]) - 1) // 2 if plan.cutoff is None else plan.cutoff
    states = [(labels == phase).astype(np.float64) for phase in range(plan.phases)]
    maps = [
        pymks.two_point_stats(
            states[a],
            states[b],
            mask=None if mask is None else np.asarray(mask, dtype=np.float64),
            periodic_boundary=plan.periodic,
            cutoff=cutoff,
        )
        for a, b in plan.pairs
    ]
    return np.stack([np.asarray(values) for values in maps], axis=-1)


def embed(structures: Array, *, components: int = 2, statistics: Statistics | None = None) -> Embedding:
    """Return the principal components of the two-point statistics of a set of structures.

    Parameters
    ----------
    structures
        Labels, ``(n, Y, X)`` or ``(n, Z, Y, X)``.
    components
        Number of components kept.
    statistics
        Phases, boundary and cut-off.

    References
    ----------
    Niezgoda, Yabansu, Kalidindi, Acta Mater. 59 (2011) 6387, doi:10.1016/j.actamat.2011.06.051.
    """
    from sklearn.decomposition import PCA

    plan = statistics or Statistics()
    features = _features(structures, plan)
    if not 1 <= components < len(features):
        raise InputError(f"{components} components need at least {components + 1} structures, got {len(features)}")
    pca = PCA(components, svd_solver="full")
    scores = pca.fit_transform(features)
    return Embedding(np.asarray(scores), np.asarray(pca.explained_variance_ratio_), plan, pca)


def _features(structures: Array, plan: Statistics) -> Array:
    found = two_point_stats(structures, statistics=plan)
    return found.reshape(len(found), -1)


def checked_labels(structures: Array, phases: int) -> Array:
    """Return label maps ``(n, Y, X)`` or ``(n, Z, Y, X)`` as an array, or raise an :class:`InputError`."""
    labels = np.asarray(structures)
    if labels.ndim not in (3, 4) or labels.dtype.kind not in "bui":
        raise InputError(f"structures are integer labels (n, Y, X) or (n, Z, Y, X), got {labels.dtype} {labels.shape}")
    if phases < 2 or labels.min() < 0 or labels.max() >= phases:
        raise InputError(f"labels must be 0 to {phases - 1}, got {labels.min()} to {labels.max()}; set phases")
    return labels


def _pymks() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports the deprecated pkg_resources
            import pymks
    except ImportError as error:
        raise InputError(
            f"PyMKS cannot be imported ({error}); it installs on Python 3.11 only, with "
            "pip install pymks==0.4.1 pyarrow 'setuptools<82'"
        ) from error
    return pymks
