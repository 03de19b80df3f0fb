"""How pictures of maps and textures are drawn: one style, safe for colour-blind readers, sizes in inches.

matplotlib is loaded when a figure is made, never before, and no global state of it is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.core.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

INK = "#1a1a1a"
NOT_INDEXED = (0.10, 0.10, 0.10)
UNKNOWN = "#c9c9c9"
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Okabe and Ito's colours."""
DENSITY = "viridis"
FORMATS = (".png", ".svg", ".pdf")

_SIZE = 8.0
_STYLE: dict[str, Any] = {
    "font.size": _SIZE,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "mathtext.fontset": "dejavusans",
    "axes.edgecolor": INK,
    "axes.linewidth": 0.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "microgen",
    "pdf.fonttype": 42,
}


def styled() -> Any:
    """Return the context in which everything is drawn and saved."""
    import matplotlib as mpl

    return mpl.rc_context(_STYLE)


def sheet(width_in: float, height_in: float) -> Figure:
    """Return an empty figure of a size in inches, on the canvas that needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes at a place in inches from the lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def bare(axis: Axes) -> None:
    """Take ticks and frame away."""
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def save(figure: Figure, path: Path | str, *, dpi: int = 300) -> Path:
    """Write a figure whole or not at all, as ``.png``, ``.svg`` or ``.pdf``; same figure, same bytes.

    Raises
    ------
    InputError
        For any other extension.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise InputError(f"pictures are written as {', '.join(FORMATS)}, not as {path.name!r}")
    empty = {".png": ["Software"], ".svg": ["Date", "Creator"], ".pdf": ["CreationDate", "Creator", "Producer"]}
    metadata = dict.fromkeys(empty[kind])

    def fill(temporary: Path) -> None:
        with styled():
            figure.savefig(temporary, format=kind[1:], dpi=dpi, metadata=metadata)

    write_whole(path, fill)
    return path


def round_length(um: float) -> float:
    """Return 1, 2 or 5 times a power of ten, the largest not above `um`.

    >>> round_length(34), round_length(0.7)
    (20.0, 0.5)
    """
    power = 10.0 ** np.floor(np.log10(um))
    return float(next(k * power for k in (5, 2, 1) if k * power <= um * (1 + 1e-9)))


def length_text(um: float) -> str:
    """Write a length as people do: in nm below 1 µm, in mm from 1000 µm.

    >>> length_text(0.5), length_text(20), length_text(5000)
    ('500 nm', '20 µm', '5 mm')
    """
    for factor, unit in ((1e-3, "mm"), (1.0, "µm")):
        if um * factor >= 1:
            return f"{um * factor:g} {unit}"
    return f"{um * 1e3:g} nm"


def miller_text(text: str, brackets: str = "") -> str:
    """Write indices with bars over the negative ones, for matplotlib.

    >>> miller_text("10-10", "{}")
    '{10$\\\\overline{1}$0}'
    """
    import re

    shown = re.sub(r"-(\d)", r"$\\overline{\1}$", text).replace("-", "−")
    return brackets[:1] + shown + brackets[1:]


def map_sheet(
    shape: Sequence[int], spacing: Sequence[float], *, side_in: float, least_in: float = 1.6
) -> tuple[Figure, Axes, float]:
    """Return a figure with axes for a map in micrometres, its scale bar below, and room of `side_in` inches beside it.

    What stands beside the map gets at least `least_in` inches of height.

    Returns
    -------
    figure, axes
        The axes run from 0 to the extent of the map, y downwards.
    top
        Height of the upper edge of the map, in inches from below.
    """
    high, wide = (n * s for n, s in zip(shape, spacing, strict=True))
    scale = min(4.6 / wide, 4.2 / high)
    width, height = max(wide * scale, 0.3), max(high * scale, 0.3)
    floor = max(height + 0.45, least_in + 0.1)
    across = max(width, 1.6) + 0.2 + side_in
    figure = sheet(across, floor + 0.1)
    bottom = floor - height
    axis = place(figure, 0.1, bottom, width, height)
    axis.set_xlim(0, wide)
    axis.set_ylim(high, 0)
    bare(axis)
    _scale_bar(figure, scale, width, bottom)
    return figure, axis, floor


def _scale_bar(figure: Figure, inches_per_um: float, width: float, bottom: float) -> None:
    """A bar of a round length below the map, where it hides nothing, with its length beside it."""
    from matplotlib.lines import Line2D

    across, up = figure.get_size_inches()
    length = round_length(max(width, 0.8) / 3 / inches_per_um)
    y = (bottom - 0.2) / up
    ends = [0.1 / across, (0.1 + length * inches_per_um) / across]
    figure.add_artist(Line2D(ends, [y, y], color=INK, lw=3, solid_capstyle="butt"))
    figure.text(ends[1] + 0.08 / across, y, length_text(length), ha="left", va="center", fontsize=_SIZE)


def boundary_lines(labels: Array, spacing: Sequence[float]) -> Array:
    """Return the line segments ``(n, 2, 2)`` in micrometres ``(x, y)`` between pixels of different numbers.

    Pixel edges in a row are one segment.

    >>> boundary_lines(np.array([[1, 2], [1, 2]]), (1.0, 1.0)).tolist()
    [[[1.0, 0.0], [1.0, 2.0]]]
    """
    dy, dx = spacing
    upright = _runs((labels[:, 1:] != labels[:, :-1]).T)
    flat = _runs(labels[1:] != labels[:-1])
    columns = np.stack([upright[:, [0, 0]] + 1, upright[:, 1:]], axis=-1) * [dx, dy]
    rows = np.stack([flat[:, 1:], flat[:, [0, 0]] + 1], axis=-1) * [dx, dy]
    return np.concatenate([columns, rows])


def _runs(mask: Array) -> Array:
    """Row, start and end ``(n, 3)`` of the runs of True along the rows."""
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(padded, axis=1)
    row, start = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    return np.stack([row, start, end], axis=-1).astype(float)


def draw_boundaries(axis: Axes, labels: Array, spacing: Sequence[float], *, width_pt: float = 0.5) -> None:
    """Draw the lines between pixels of different numbers."""
    from matplotlib.collections import LineCollection

    segments = boundary_lines(labels, spacing)
    lines = LineCollection(list(segments), colors=INK, linewidths=width_pt, capstyle="projecting")
    axis.add_collection(lines, autolim=False)


def side_bar(figure: Figure, mappable: Any, label: str, *, left: float, bottom: float, height: float) -> None:
    """Add a colour bar at a place in inches."""
    from matplotlib.ticker import MaxNLocator

    axis = place(figure, left, bottom, 0.12, height)
    bar = figure.colorbar(mappable, cax=axis, ticks=MaxNLocator(6))
    bar.set_label(label)
    bar.outline.set_linewidth(0.6)
    axis.tick_params(width=0.6, length=2.5)
