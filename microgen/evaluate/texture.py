"""Plain texture features of a window: what a classifier looks at beside the descriptors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core import Microstructure
from microgen.stats.ebsd import OrientationMap
from microgen.stats.ipf import ipf_colours
from microgen.stats.views import interior

Vector = NDArray[np.float64]

_LIGHT = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)

BANDS = 8
"""Octave-like rings of the power spectrum."""


def plane(window: Microstructure) -> NDArray[np.float64]:
    """Return what a gray picture ``(Y, X)`` of the window shows (see :func:`gray`); of a volume the middle slice."""
    values = gray(window)
    return values if window.ndim == 2 else values[values.shape[0] // 2]


def gray(window: Microstructure) -> NDArray[np.float64]:
    """Return gray values on the grid as floats.

    Of an orientation map the lightness of its colours along z, which do not change when the map is turned, and 0 where
    nothing is indexed; of grains alone 1 inside and 0 on boundaries, since their numbers mean nothing; else the field
    ``phase`` or the first one.
    """
    if "intensity" not in window and "orientation" in window and window.crystals:
        return _lightness(window)
    if "grain" in window and not {"intensity", "phase"} & set(window.fields):
        return interior(window["grain"]).astype(np.float64)
    name = next((name for name in ("intensity", "phase") if name in window), next(iter(window.fields)))
    values = np.asarray(window[name], dtype=np.float64)
    return values if values.ndim == window.ndim else values[..., 0]


def _lightness(window: Microstructure) -> NDArray[np.float64]:
    points = OrientationMap.of(window)
    found = np.zeros(points.shape)
    for index, crystal in points.crystals.items():
        there = points.phase == index
        found[there] = ipf_colours(points.orientation[there], crystal) @ _LIGHT
    return found


def texture(window: Microstructure) -> Vector:
    """Return simple texture features of one window.

    Five gray-value quantiles, their spread, quantiles of the gradient and of its second derivative, the logarithm
    of the power in :data:`BANDS` rings of the spectrum, and the histogram of uniform local binary patterns.

    Returns
    -------
    ndarray, (38,)

    References
    ----------
    Ojala, Pietikainen, Maenpaa, IEEE TPAMI 24 (2002) 971, doi:10.1109/TPAMI.2002.1017623 (local binary patterns).
    """
    image = plane(window)
    gray = np.quantile(image, [0.02, 0.25, 0.5, 0.75, 0.98])
    slope = np.hypot(ndimage.sobel(image, 0), ndimage.sobel(image, 1)) / 8
    bend = np.abs(ndimage.laplace(image))
    fine = np.log1p(np.r_[np.quantile(slope, [0.1, 0.5, 0.9, 0.99]), np.quantile(bend, [0.1, 0.5, 0.9, 0.99])])
    parts = gray, [image.std()], fine, _ring_power(image), _patterns(image, 1), _patterns(image, 2)
    return np.concatenate(parts)


def _ring_power(image: NDArray[np.float64]) -> Vector:
    """Logarithm of the mean power in rings whose radii grow geometrically from one cycle per window to Nyquist."""
    taper = np.outer(np.hanning(image.shape[0] + 2)[1:-1], np.hanning(image.shape[1] + 2)[1:-1])
    power = np.abs(np.fft.rfft2((image - image.mean()) * taper)) ** 2
    radius = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None])
    edges = np.geomspace(1.0 / min(image.shape), 0.5, BANDS + 1)
    ring = np.clip(np.searchsorted(edges, radius, side="right") - 1, 0, BANDS - 1)
    mean = np.bincount(ring.ravel(), power.ravel(), BANDS) / np.maximum(np.bincount(ring.ravel(), minlength=BANDS), 1)
    return np.asarray(np.log10(mean + 1e-12 * power.max() + 1e-12))


def _patterns(image: NDArray[np.float64], radius: int) -> Vector:
    """Histogram of uniform local binary patterns of eight neighbours (ten classes, the fullest left out)."""
    ring = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    core = image[radius:-radius, radius:-radius]
    bits = np.stack([_shifted(image, dy * radius, dx * radius, radius) >= core for dy, dx in ring]).astype(np.int8)
    changes = np.abs(np.diff(bits, axis=0, append=bits[:1])).sum(axis=0)
    code = np.where(changes <= 2, bits.sum(axis=0), 9)
    return np.asarray(np.bincount(code.ravel(), minlength=10)[:8] / code.size)


def _shifted(image: NDArray[Any], dy: int, dx: int, margin: int) -> NDArray[Any]:
    rows, columns = image.shape
    return image[margin + dy : rows - margin + dy, margin + dx : columns - margin + dx]
