"""How figures are drawn: one style, colours that colour-blind readers can tell apart, and no global state."""

from __future__ import annotations

import base64
import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

REAL, GENERATED, FLOOR, TRAIN, INK = "#0072B2", "#D55E00", "#8A8A8A", "#009E73", "#1a1a1a"
"""Okabe and Ito's palette."""

STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "microgen",
}


def panels(count: int, *, columns: int = 3, width: float = 3.1, height: float = 2.3) -> tuple[Figure, list[Any]]:
    """A figure of `count` axes in rows."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, list(axes[:count])


def as_svg(figure: Figure) -> str:
    """The figure as a ``data:`` address of an SVG."""
    with mpl.rc_context(STYLE):
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()


def as_png(figure: Figure, dpi: int = 150) -> str:
    """The figure as a ``data:`` address of a PNG, for pictures."""
    with mpl.rc_context(STYLE):
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def picture(axis: Any, image: NDArray[Any], limits: tuple[float, float], *, spacing_um: float = 0.0) -> None:
    """Show gray values between common limits, with a scale bar where a spacing is given."""
    axis.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    if spacing_um:
        _scale_bar(axis, image.shape, spacing_um)


def _scale_bar(axis: Any, shape: tuple[int, ...], spacing_um: float) -> None:
    """A bar of a round length, about a quarter of the width."""
    length = round_length(shape[1] * spacing_um / 4)
    px, high = length / spacing_um, shape[0]
    left, top = 0.05 * shape[1], 0.90 * high
    axis.add_patch(
        mpl.patches.Rectangle(
            (left - 0.02 * high, top - 0.13 * high), px + 0.04 * high, 0.20 * high, color="white", alpha=0.8, lw=0
        )
    )
    axis.add_patch(mpl.patches.Rectangle((left, top), px, 0.025 * high, color="black", lw=0))
    axis.text(left + px / 2, top - 0.01 * high, f"{length:g} µm", ha="center", va="bottom", fontsize=5.5, color="black")


def round_length(um: float) -> float:
    """Return 1, 2 or 5 times a power of ten, the largest not above `um`.

    >>> round_length(34), round_length(0.7)
    (20.0, 0.5)
    """
    power = 10.0 ** np.floor(np.log10(um))
    return float(next(k * power for k in (5, 2, 1) if k * power <= um * (1 + 1e-9)))
