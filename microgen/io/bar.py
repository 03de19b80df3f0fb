"""Noticing an obvious data bar at the bottom of a micrograph, in order to warn: nothing is cropped by guess."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLAT = 0.6  # share of a bar row that is background, between the letters
_TEXT = 0.25  # the same in the densest rows of text
_BUSY = 0.2  # share of one gray value that rows of a specimen stay below


def suggest_crop_bottom(intensity: NDArray[Any]) -> int:
    """Rows at the bottom that look like a data bar, 0 where none does.

    A drawn bar is one flat gray value with letters on it; a specimen has noise, so that no single gray
    value owns much of a row. Bars of 2 % to 30 % of the height are looked for, at least 8 rows.

    Parameters
    ----------
    intensity
        Picture ``(Y, X)``; for a volume the first slice is looked at.

    Returns
    -------
    int
        Number of rows.

    Examples
    --------
    >>> picture = np.random.default_rng(0).integers(60, 200, (200, 160), dtype=np.uint8)
    >>> picture[176:] = 0
    >>> picture[182:190, 20:90:2] = 255
    >>> suggest_crop_bottom(picture)
    24
    """
    picture = intensity[0] if intensity.ndim == 3 else intensity
    height = picture.shape[0]
    share = _background_share(picture)
    rows = _run_from_bottom(share > _TEXT)
    rows += _border(picture, rows)
    if not max(8, 0.02 * height) <= rows <= 0.3 * height:
        return 0
    above = share[max(0, height - 3 * rows) : height - rows]
    obvious = np.median(share[-rows:]) > _FLAT and np.quantile(above, 0.9) < _BUSY
    return rows if obvious else 0


def _background_share(picture: NDArray[Any]) -> NDArray[np.float64]:
    """Share of each row that has the gray value most frequent in the bottom rows, within JPEG noise."""
    bottom = picture[-max(2, picture.shape[0] // 100) :]
    values, counts = np.unique(bottom, return_counts=True)
    background = float(values[counts.argmax()])
    noise = 0.02 * (float(picture.max()) - float(picture.min()))
    share: NDArray[np.float64] = (np.abs(picture.astype(np.float64) - background) <= noise).mean(axis=1)
    return share


def _run_from_bottom(flags: NDArray[np.bool_]) -> int:
    busy = np.flatnonzero(~flags[::-1])
    return int(busy[0]) if busy.size else len(flags)


def _border(picture: NDArray[Any], rows: int) -> int:
    """Up to three rows of a drawn line above the bar: rows of one single value."""
    lines = 0
    while lines < 3 and 0 < rows + lines < picture.shape[0] and np.ptp(picture[-rows - lines - 1]) == 0:
        lines += 1
    return lines
