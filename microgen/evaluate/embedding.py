"""A map of two-point statistics: every window a point, real and generated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.stats import correlate, mks
from microgen.stats.views import Views

Points = NDArray[np.float64]


def embed(windows: Sequence[Microstructure], reference: NDArray[Any]) -> tuple[Points | None, Points | None]:
    """Principal components of the two-point statistics of some windows, and where all windows lie on them.

    PyMKS does it where it is installed, else the same statistics are taken by :func:`microgen.stats.correlate`.

    Parameters
    ----------
    windows
        All of one shape, with ``phase``, ``grain`` or ``boundary``.
    reference
        Rows of the windows that define the axes (the real ones).

    Returns
    -------
    points, share
        ``(n, 2)`` with NaN for windows without regions, and the share of the variance on each axis ``(2,)``; both
        None where there are too few windows with regions.

    References
    ----------
    Niezgoda, Yabansu, Kalidindi, Acta Mater. 59 (2011) 6387, doi:10.1016/j.actamat.2011.06.051.
    """
    found = [_region(w) for w in windows]
    known = np.array([r is not None for r in found])
    reference = reference[known[reference]]
    if len(reference) < 3:
        return None, None
    labels = np.array([r for r in found if r is not None], dtype=np.uint8)
    place = np.cumsum(known) - 1
    scores, share = _components(labels, place[reference])
    points = np.full((len(windows), 2), np.nan)
    points[known] = scores
    return points, share


def _components(labels: NDArray[np.uint8], reference: NDArray[Any]) -> tuple[Points, Points]:
    try:
        found = mks.embed(labels[reference], statistics=mks.Statistics(periodic=False))
        return found.project(labels), found.explained
    except InputError:
        from sklearn.decomposition import PCA

        cutoff = (min(labels.shape[1:]) - 1) // 2
        maps = np.array([correlate(region == 1, periodic=False, cutoff=cutoff).ravel() for region in labels])
        axes = PCA(2, svd_solver="full").fit(maps[reference])
        return np.asarray(axes.transform(maps)), np.asarray(axes.explained_variance_ratio_)


def _region(window: Microstructure) -> NDArray[np.bool_] | None:
    """Phase 1, or the inside of grains; nothing of a gray picture."""
    if not {"phase", "grain", "boundary", "orientation"} & set(window.fields):
        return None
    try:
        return Views(window, 1).get("region")
    except InputError:
        return None
