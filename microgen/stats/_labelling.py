"""Parts of a boundary mask or label map, and how they join around a periodic frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

Labels = NDArray[np.int64]


def interiors(boundary: NDArray[np.bool_]) -> Labels:
    """Number what the boundaries enclose, without the specks where drawn lines run together.

    A speck has less than half the area of a square as wide as the lines.
    """
    inside = np.asarray(label(~boundary, connectivity=1), dtype=np.int64)
    if not boundary.any():
        return inside
    # the mean distance from the background within a line of n pixels is (n + 2) / 4
    width = 4 * float(ndimage.distance_transform_edt(boundary)[boundary].mean()) - 2
    speck = np.bincount(inside.ravel()) < width**boundary.ndim / 2
    return np.where(speck[inside], 0, inside)


def joined(inside: Labels, given: NDArray[Any]) -> Labels:
    """Give the parts of a grain on opposite sides of a periodic picture one number."""
    pairs = []
    for axis in range(given.ndim):
        one, two, first, last = (np.take(v, end, axis) for v in (inside, given) for end in (0, -1))
        same = (one > 0) & (two > 0) & (first == last)
        pairs.append(np.stack([one[same], two[same]]))
    one, two = np.concatenate(pairs, axis=1)
    size = int(inside.max()) + 1
    links = coo_array((np.ones(len(one)), (one, two)), shape=(size, size))
    return np.asarray(connected_components(links, directed=False)[1][inside], dtype=np.int64)
