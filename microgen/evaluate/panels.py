"""The picture panels of the report: samples beside real windows, and the nearest training patches."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from microgen.evaluate.drawing import STYLE, as_png, panels, picture
from microgen.evaluate.evidence import Evidence
from microgen.evaluate.memory import Nearest

PAIRS = 6


def pictures(evidence: Evidence) -> dict[str, str]:
    """Every panel that the data allow, by name, as ``data:`` addresses."""
    with mpl.rc_context(STYLE):
        made = {"samples": _samples(evidence)}
        if evidence.nearest:
            made["nearest"] = _nearest(evidence.nearest)
        if evidence.nearest_held_out:
            made["nearest_held_out"] = _nearest(evidence.nearest_held_out)
    return made


def _samples(evidence: Evidence) -> str:
    """A row of real windows above a row of generated ones, all with the same gray scale."""
    everything = [image for some in evidence.pictures.values() for image in some]
    limits = _limits(everything)
    columns = max(len(some) for some in evidence.pictures.values())
    figure, axes = panels(2 * columns, columns=columns, width=9.3 / columns, height=9.3 / columns * 1.12)
    for row, (name, some) in enumerate(evidence.pictures.items()):
        for k, axis in enumerate(axes[row * columns : (row + 1) * columns]):
            if k >= len(some):
                axis.set_visible(False)
                continue
            picture(axis, some[k], limits, spacing_um=evidence.spacing_um)
            axis.set_title(
                ("real" if name == "held_out" else "generated") + f"  {evidence.captions[name][k]}".replace("um", "µm"),
                fontsize=7,
            )
    return as_png(figure)


def _nearest(found: Sequence[Nearest]) -> str:
    """Windows, the closest first, each above its nearest training patch."""
    shown = sorted(found, key=lambda n: n.ratio)[:PAIRS]
    limits = _limits([n.window for n in shown] + [n.patch for n in shown])
    figure, axes = panels(2 * len(shown), columns=len(shown), width=9.3 / PAIRS, height=9.3 / PAIRS * 1.12)
    for k, nearest in enumerate(shown):
        picture(axes[k], nearest.window, limits)
        picture(axes[k + len(shown)], nearest.patch, limits)
        axes[k].set_title(f"d1/d2 = {nearest.ratio:.2f}" + (" copy" if nearest.copied else ""), fontsize=7)
        axes[k + len(shown)].set_title(f"training, r = {nearest.correlation:.2f}", fontsize=7)
    return as_png(figure)


def _limits(images: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    values = np.concatenate([image.ravel() for image in images]) if images else np.array([0.0, 1.0])
    low, high = np.quantile(values, [0.002, 0.998])
    return float(low), float(high if high > low else low + 1)
