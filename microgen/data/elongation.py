"""Direction and aspect ratio of elongated structures, in windows and around every point of a picture.

Both come from a symmetric form ``q(u) = u' [[yy, yx], [yx, xx]] u`` that tells how much is met along a direction `u`:

- in gray values the squared gradient along it (the structure tensor, J. Bigun and G. Granlund, ICCV 1987, 433);
- in grains and phases the squared number of boundaries that a test line crosses per length. An isotropic structure
  that is stretched by S has ``N(u) = N |inverse(S) u|``, so its square is such a form, without approximation.

The direction of elongation is that of the smallest `q`. The aspect ratio is the root of the largest over the smallest
`q`: how much an isotropic structure must be stretched to look so. Of grains and phases that is the mean lineal
intercept along the direction over the one across it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.data.windows import Windows, summed

Array = NDArray[np.float64]
Quantity = Callable[[Array, Array, Array], Array]
"""From yy, yx and xx to what is wanted."""

STEPS = ((0, 3), (3, 0), (2, 2), (2, -2))
"""Ends of the pieces of test lines, ``(y, x)`` in grid points: long enough that ragged lines are crossed once."""

LARGEST = 100.0
"""Largest aspect ratio that is told."""


def direction_deg(yy: Array, yx: Array, xx: Array) -> Array:
    """Direction of elongation in degrees, 0 to 180: 0 along x, counted from x towards y, clockwise as displayed.

    >>> direction_deg(np.array([4.0]), np.array([0.0]), np.array([1.0])).tolist()
    [0.0]
    """
    angle = np.rad2deg(0.5 * np.arctan2(2 * yx, xx - yy) + np.pi / 2) % 180.0
    return np.where(angle >= 180.0, 0.0, angle)  # a remainder may be rounded up to the divisor


def aspect_ratio(yy: Array, yx: Array, xx: Array) -> Array:
    """Root of the ratio of the eigenvalues: at least 1, at most :data:`LARGEST`, and 1 where there is nothing.

    >>> aspect_ratio(np.array([4.0, 0.0]), np.zeros(2), np.array([1.0, 0.0])).tolist()
    [2.0, 1.0]
    """
    trace, strength = yy + xx, np.hypot(yy - xx, 2 * yx)
    low = np.maximum(trace - strength, (trace + strength) / LARGEST**2)
    return np.sqrt(np.divide(trace + strength, low, out=np.ones_like(trace), where=low > 0))


def of_gray(gray: NDArray[Any], quantity: Quantity) -> Windows:
    """Quantity of windows of a picture ``(Y, X)`` by its gradient."""
    tables = tuple((summed(product), (0, 0)) for product in _products(gray))
    return Windows(tables, lambda sums, shape: quantity(*sums))


def of_cells(cells: NDArray[Any], quantity: Quantity) -> Windows:
    """Quantity of windows of a map ``(Y, X)`` of grains or phases by how often test lines cross a boundary."""
    tables = tuple((summed(_changes(cells, step)), (step[0], abs(step[1]))) for step in STEPS)

    def value(sums: Array, shape: Sequence[int]) -> Array:
        pieces = [max(1, (shape[0] - dy) * (shape[1] - abs(dx))) for dy, dx in STEPS]
        return quantity(*_form(sums / np.array(pieces)[:, None]))

    return Windows(tables, value)


def around_gray(gray: NDArray[Any], window_px: float, quantity: Quantity) -> Array:
    """Quantity around every pixel, by :func:`of_gray`; the Gaussian window spreads like a square one of that side."""
    return quantity(*(_averaged(product, window_px) for product in _products(gray)))


def around_cells(cells: NDArray[Any], window_px: float, quantity: Quantity) -> Array:
    """Quantity around every point, by :func:`of_cells`; the window is that of :func:`around_gray`."""
    full = np.array([np.pad(_changes(cells, s), _missing(s), mode="edge") for s in STEPS], dtype=np.float64)
    return quantity(*_form(np.array([_averaged(part, window_px) for part in full])))


def _products(gray: NDArray[Any]) -> tuple[Array, Array, Array]:
    """Products of the gradient, yy, yx and xx; as :func:`microgen.stats.orientation.structure_tensor` takes it."""
    values = np.asarray(gray, dtype=np.float64)
    y, x = (ndimage.gaussian_filter(values, 1.0, order=order, mode="nearest") for order in ((1, 0), (0, 1)))
    return y * y, y * x, x * x


def _changes(cells: NDArray[Any], step: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether a piece of test line ends in another cell than it begins in, for every place where it fits."""
    dy, dx = step
    height, width = max(0, cells.shape[0] - dy), max(0, cells.shape[1] - abs(dx))
    from_x, to_x = max(0, -dx), max(0, dx)
    begin, end = cells[:height, from_x : from_x + width], cells[dy : dy + height, to_x : to_x + width]
    return np.asarray(begin != end)


def _missing(step: tuple[int, int]) -> list[tuple[int, int]]:
    """What brings the changes back to the grid, each to the middle of its piece."""
    return [(n // 2, n - n // 2) for n in (step[0], abs(step[1]))]


def _form(share: Array) -> tuple[Array, Array, Array]:
    """Least squares of the squared crossings per length along x, y and both diagonals, ``(4, ...)``: yy, yx, xx."""
    lengths = np.hypot(*np.transpose(STEPS)).reshape(-1, *[1] * (share.ndim - 1))
    along_x, along_y, down, up = (share / lengths) ** 2
    mean, difference = (along_x + along_y + down + up) / 4, (along_x - along_y) / 2
    return mean - difference, (down - up) / 2, mean + difference


def _averaged(values: Array, window_px: float) -> Array:
    return np.asarray(ndimage.gaussian_filter(values, window_px / np.sqrt(12), mode="reflect"))
