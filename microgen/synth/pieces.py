"""Keeping grains in one piece where a grid of points cuts their sharp corners off."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label


def one_piece(labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Give every piece of a label but its largest one to the labels nearest to it.

    Pieces hang together over faces (2-D: sides), not over corners.

    Examples
    --------
    >>> one_piece(np.array([[1, 1, 2], [1, 1, 2], [2, 1, 1]]))
    array([[1, 1, 2],
           [1, 1, 2],
           [1, 1, 1]])
    """
    pieces = label(labels, background=-1, connectivity=1).ravel()
    sizes = np.bincount(pieces)
    _, first = np.unique(pieces, return_index=True)
    owner = labels.ravel()[first]
    order = np.lexsort((-sizes[1:], owner))
    largest = np.ones(len(owner), dtype=bool)
    largest[order[1:]] = owner[order[1:]] != owner[order[:-1]]
    loose = ~largest[pieces - 1].reshape(labels.shape)
    if not loose.any():
        return labels.astype(np.int64)
    nearest = ndimage.distance_transform_edt(loose, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(nearest)], dtype=np.int64)


def numbered(labels: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """Number labels from 1 without gaps, in their order.

    >>> numbered(np.array([[7, 7, 3]]))
    array([[2, 2, 1]], dtype=int32)
    """
    used = np.bincount(labels.ravel()) > 0
    return np.asarray(np.cumsum(used)[labels], dtype=np.int32)
