"""Two numbers for how far two sets of feature vectors lie apart: Fréchet and kernel distance.

Published for features of networks trained on photographs (FID, KID); on features of the domain, such as
:func:`microgen.evaluate.texture.texture`, they mean more for microstructures and need no downloaded weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError

Features = NDArray[Any]


def frechet_distance(real: Features, generated: Features) -> float:
    """Return the squared Fréchet distance of the normal distributions with the means and covariances of both sets.

    Parameters
    ----------
    real, generated
        Features, ``(n, k)`` and ``(m, k)``. Both sets need many more rows than columns; the distance falls as sets
        grow, so only sets of one size are compared.

    References
    ----------
    Heusel et al. 2017, doi:10.48550/arXiv.1706.08500 (FID); Dowson, Landau, J. Multivariate Anal. 12 (1982) 450.

    Examples
    --------
    >>> points = np.random.default_rng(0).standard_normal((50, 3))
    >>> round(frechet_distance(points, points + [3, 0, 0]), 6), round(frechet_distance(points, points), 6)
    (9.0, 0.0)
    """
    a, b = _checked(real, generated)
    apart = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    covariances = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b)]
    root = _root(covariances[0])
    mixed = np.sqrt(np.clip(np.linalg.eigvalsh(root @ covariances[1] @ root), 0, None)).sum()
    return max(0.0, float(apart + sum(np.trace(c) for c in covariances) - 2 * mixed))


def kernel_distance(real: Features, generated: Features) -> float:
    """Return the unbiased squared maximum mean discrepancy with the kernel ``(x.y / k + 1)^3``; near 0 may be negative.

    Parameters
    ----------
    real, generated
        Features, ``(n, k)`` and ``(m, k)``, of about unit spread; small sets are fine.

    References
    ----------
    Binkowski et al. 2018, doi:10.48550/arXiv.1801.01401 (KID).
    """
    a, b = _checked(real, generated)
    within = sum((_kernel(x, x).sum() - np.trace(_kernel(x, x))) / (len(x) * (len(x) - 1)) for x in (a, b))
    return float(within - 2 * _kernel(a, b).mean())


def _kernel(a: Features, b: Features) -> Features:
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)


def _root(matrix: Features) -> Features:
    """Symmetric square root of a positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def _checked(real: Features, generated: Features) -> tuple[Features, Features]:
    a, b = (np.asarray(x, dtype=np.float64) for x in (real, generated))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise InputError(f"features are (n, k) with n of 2 or more and one k; these are {a.shape} and {b.shape}")
    return a, b
