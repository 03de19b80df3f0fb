"""Grain boundaries of an etched micrograph: from gray values to closed lines, without a length set by hand.

1. The width of the etched lines is measured: the scale at which the line response of the picture is largest.
2. The picture is brought to a working grid on which every line is equally wide, whatever the magnification.
3. Elongated second-derivative filters in all directions answer to lines, hardly to pits, specks and grain contrast.
4. A watershed of the response gives closed cells, far too many; cells are merged, weakest common line first, until
   every line that is left is strong compared with the typical boundary of the same picture.

Twin boundaries are lines like others; those that are much fainter or finer than the grain boundaries fall below the
threshold, strong ones stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from skimage.measure import label
from skimage.morphology import local_minima, reconstruction, skeletonize
from skimage.segmentation import watershed

from microgen.core import InputError
from microgen.stats._cells import merge_cells

Polarity = Literal["dark", "bright"]
Mask = NDArray[np.bool_]
Float = NDArray[np.floating[Any]]

HIGHEST_THRESHOLD = 0.62
LOWEST_THRESHOLD = 0.25
"""A line is a boundary if its mean response is at least a part of the typical boundary's, between these two."""

SMALLEST_CELL = 0.04
"""Cells below this part of the area-weighted mean cell area are pits and doubled lines, not grains."""

_ABOVE_TEXTURE = 12.0
_BROADER = 1.6  # width of the filter in line widths: a broad filter prefers broad grooves to fine twins and scratches
_ELONGATION = 2.0  # length of the filter in its widths: bridges gaps, still follows curved boundaries
_WORKING_SIGMA = 1.5  # standard deviation of the filter on the working grid, in its pixels
_DIRECTIONS = 12
_SIGMAS = np.geomspace(1.0, 16.0, 13)


def segment(
    intensity: NDArray[Any],
    *,
    spacing: float | Sequence[float],
    polarity: Polarity | None = None,
    line_width_um: float | None = None,
    threshold: float | None = None,
) -> Mask:
    """Find the grain boundaries of an etched micrograph.

    Parameters
    ----------
    intensity
        Gray values of any real type, shape ``(Y, X)``. A picture of two values is taken as segmented already and
        only thinned.
    spacing
        Pixel size in micrometres, one number or one per axis.
    polarity
        Whether boundaries are ``"dark"`` or ``"bright"``; measured if not given, see :func:`find_polarity`.
    line_width_um
        Width (full width at half depth) of the etched lines; measured if not given, see :func:`line_width`.
    threshold
        Least mean response of a boundary, as a part of the typical boundary's; if not given it follows
        from the texture, see :func:`find_threshold`.

    Returns
    -------
    NDArray[np.bool_]
        True on boundaries, shape ``(Y, X)``, one pixel wide. Lines are closed: they separate cells.

    Raises
    ------
    InputError
        If the picture is not two-dimensional or has no contrast.

    Examples
    --------
    >>> picture = np.full((64, 64), 200, np.uint8)
    >>> picture[30:33] = 40
    >>> segment(picture, spacing=0.5).sum(axis=0).max()
    np.int64(1)
    """
    picture, steps = _checked(intensity, spacing)
    if _is_binary(picture):
        return _thinned(picture, polarity)
    step = max(steps)
    square = _resampled(picture, [step / s for s in steps])
    sign = -1.0 if (polarity or find_polarity(square)) == "bright" else 1.0
    sigma = line_width_um / step / _FWHM if line_width_um else _line_sigma(square * sign)
    width = sigma * _BROADER
    factor = max(1.0, width / _WORKING_SIGMA)
    response = line_response(_resampled(square, [factor, factor]) * sign, sigma=width / factor)
    cells = _cells(response, find_threshold(response) if threshold is None else threshold)
    return _outline(_enlarged(cells, picture.shape))


def find_polarity(intensity: NDArray[Any]) -> Polarity:
    """Say whether the lines of a picture are darker or brighter than the grains.

    >>> picture = np.zeros((64, 64)); picture[30:33] = 1.0
    >>> find_polarity(picture)
    'bright'
    """
    picture = np.asarray(intensity, dtype=np.float32)
    dark, bright = (_strength_by_scale(picture * sign).max() for sign in (1, -1))
    return "dark" if dark >= bright else "bright"


def line_width(intensity: NDArray[Any], *, spacing: float, polarity: Polarity | None = None) -> float:
    """Measure the width of the etched lines in micrometres (full width at half depth).

    The normalised line response of Lindeberg (1998, doi:10.1023/A:1008097225773) with gamma 3/4 is largest where the
    scale of the filter equals that of the line.
    """
    picture = np.asarray(intensity, dtype=np.float32)
    sign = -1.0 if (polarity or find_polarity(picture)) == "bright" else 1.0
    return float(_line_sigma(picture * sign) * _FWHM * spacing)


def line_response(picture: Float, *, sigma: float) -> Float:
    """Answer of the best of several elongated filters to dark lines, 1 on a typical boundary.

    Parameters
    ----------
    picture
        Gray values, shape ``(Y, X)``.
    sigma
        Standard deviation across the filter in pixels; it is twice as long as wide.
    """
    length = _ELONGATION * sigma
    pad = int(np.ceil(3 * length))
    padded = np.pad(picture - picture.mean(), pad, mode="symmetric")
    shape = [fft.next_fast_len(n, real=True) for n in padded.shape]
    transform = fft.rfft2(padded.astype(np.float32), shape)
    ky = (2 * np.pi * fft.fftfreq(shape[0])).astype(np.float32)[:, None]
    kx = (2 * np.pi * fft.rfftfreq(shape[1])).astype(np.float32)[None]
    best = np.zeros(shape, np.float32)
    for angle in np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS:
        across = kx * np.float32(np.cos(angle)) + ky * np.float32(np.sin(angle))
        along = ky * np.float32(np.cos(angle)) - kx * np.float32(np.sin(angle))
        kernel = -(across**2) * np.exp(-0.5 * ((sigma * across) ** 2 + (length * along) ** 2))
        np.maximum(best, fft.irfft2(transform * kernel, shape), out=best)
    response = best[pad : pad + picture.shape[0], pad : pad + picture.shape[1]]
    return response / max(_typical(response), 1e-30)


def find_threshold(response: Float) -> float:
    """Place the threshold well above the response of texture, but below that of a typical boundary.

    A clean section shows faint boundaries that a roughly etched one hides, so the cleaner the picture, the lower.

    Parameters
    ----------
    response
        Line response, 1 on a typical boundary; its median stands for the texture.

    Examples
    --------
    >>> find_threshold(np.full((8, 8), 0.04))
    0.48
    """
    return min(max(_ABOVE_TEXTURE * float(np.median(response)), LOWEST_THRESHOLD), HIGHEST_THRESHOLD)


_FWHM = float(np.sqrt(8 * np.log(2)))


def _checked(intensity: NDArray[Any], spacing: float | Sequence[float]) -> tuple[Float, list[float]]:
    picture = np.asarray(intensity, dtype=np.float32)
    if picture.ndim != 2:
        raise InputError(f"grain boundaries are found in pictures (Y, X), not in an array of shape {picture.shape}")
    if picture.size == 0 or picture.min() == picture.max():
        raise InputError("the picture has no contrast, so no grain boundaries can be found in it")
    steps = [float(s) for s in np.broadcast_to(np.asarray(spacing, dtype=float), 2)]
    return picture, steps


def _is_binary(picture: Float) -> bool:
    low, high = picture.min(), picture.max()
    return bool(((picture == low) | (picture == high)).all())


def _thinned(picture: Float, polarity: Polarity | None) -> Mask:
    """Thin the lines of a segmented picture; they are the value that covers less of it."""
    mask = picture > picture.min()
    dark = polarity == "dark" if polarity else mask.mean() > 0.5
    return np.asarray(skeletonize(~mask if dark else mask), dtype=bool)


def _resampled(picture: Float, factors: Sequence[float]) -> Float:
    """Shrink by `factors` (at least 1) after a Gaussian that keeps fine texture from folding back."""
    if max(factors) == 1.0:
        return picture
    shape = [max(1, round(n / f)) for n, f in zip(picture.shape, factors, strict=True)]
    smooth = ndimage.gaussian_filter(picture, [0.4 * np.sqrt(f**2 - 1) for f in factors])
    grid = [(np.arange(m) + 0.5) * n / m - 0.5 for n, m in zip(picture.shape, shape, strict=True)]
    points = np.meshgrid(*grid, indexing="ij")
    return np.asarray(ndimage.map_coordinates(smooth, points, order=1, mode="nearest"), dtype=np.float32)


def _enlarged(cells: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    rows, columns = (np.arange(n) * m // n for n, m in zip(shape, cells.shape, strict=True))
    return np.asarray(cells[np.ix_(rows, columns)])


def _line_sigma(picture: Float) -> float:
    return float(_SIGMAS[int(np.argmax(_strength_by_scale(picture)))])


def _strength_by_scale(picture: Float) -> Float:
    """Fourth-power mean of the normalised response to dark lines, for each of the scales."""
    largest = max(1.0, min(picture.shape) / 16)
    return np.array([_hessian_strength(picture, sigma) for sigma in _SIGMAS if sigma <= largest])


def _hessian_strength(picture: Float, sigma: float) -> float:
    block = max(1, int(sigma / 2))
    if block > 1:
        picture = ndimage.uniform_filter(picture, block)[block // 2 :: block, block // 2 :: block]
    scale = np.sqrt(sigma**2 - (block**2 - 1) / 12) / block
    yy, xx, yx = (ndimage.gaussian_filter(picture, scale, order=order) for order in ((2, 0), (0, 2), (1, 1)))
    mean, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    lines = np.maximum(mean + spread - np.abs(mean - spread), 0).astype(float)
    return float(np.mean(lines**4) ** 0.25 * scale**2 / np.sqrt(sigma))


def _typical(response: Float) -> float:
    """Response of a typical boundary: a mean in which strong places count most, so their density does not matter."""
    values = np.asarray(response, dtype=float)
    return float((values**4).sum() / max((values**3).sum(), 1e-300))


def _cells(response: Float, threshold: float) -> NDArray[np.int64]:
    levels = (np.minimum(response, 1.0) * 1000).astype(np.int32)
    floor = reconstruction(levels + 50, levels, method="erosion").astype(np.int32)
    fine = watershed(levels, label(local_minima(floor)), connectivity=2)
    return merge_cells(fine, levels / 1000.0, threshold=threshold, smallest=SMALLEST_CELL)


def _outline(cells: NDArray[np.int64]) -> Mask:
    """Mark pixels whose right or lower neighbour is another cell."""
    mask = np.zeros(cells.shape, dtype=bool)
    mask[:, :-1] |= cells[:, :-1] != cells[:, 1:]
    mask[:-1] |= cells[:-1] != cells[1:]
    return mask
