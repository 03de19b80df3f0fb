"""A map of two-point statistics: every window a point, real and generated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def embed(vectors: NDArray[Any], reference: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal components of the curves of the reference windows, and where all windows lie on the first two.

    Parameters
    ----------
    vectors
        One curve per window, ``(n, m)``.
    reference
        Windows that define the axes (the real ones), ``(n,)``.

    Returns
    -------
    points, share
        ``(n, 2)``, and the share of the variance on each axis ``(2,)``.

    References
    ----------
    Niezgoda, Kanjarla, Kalidindi, Integrating Materials 2 (2013) 3, doi:10.1186/2193-9772-2-3.
    """
    from sklearn.decomposition import PCA

    axes = PCA(2, svd_solver="full").fit(vectors[reference])
    return axes.transform(vectors), np.asarray(axes.explained_variance_ratio_)
