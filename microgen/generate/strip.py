"""Frames in a row as a picture and as an animation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from microgen.core import Microstructure
from microgen.core.files import write_bytes
from microgen.models.codec import Codec
from microgen.stats.drawing import INK, bare, length_text, place, round_length, save, sheet, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 11
"""Most frames side by side in a picture."""
_SIDE, _GAP, _LEFT, _FLOOR = 0.95, 0.06, 1.15, 0.36
_GIF_GAP = 4

Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Row:
    """Frames side by side.

    Attributes
    ----------
    title
        Stands at the left.
    frames, texts
        What stands under each frame, which may have two lines.
    """

    title: str
    frames: Sequence[Microstructure]
    texts: Sequence[str]


def draw_strip(path: Path, rows: Sequence[Row], codec: Codec) -> None:
    """Write rows of frames with their texts and one scale bar as a PNG; volumes show their middle slice."""
    shown = np.unique(np.linspace(0, len(rows[0].frames) - 1, SHOWN).round().astype(int))
    first = gray(rows[0].frames[0], codec)
    height = _SIDE * first.shape[0] / first.shape[1]
    with styled():
        figure = sheet(_LEFT + len(shown) * (_SIDE + _GAP), len(rows) * (height + _FLOOR) + 0.3)
        across, up = figure.get_size_inches()
        for number, row in enumerate(rows):
            bottom = 0.3 + (len(rows) - 1 - number) * (height + _FLOOR) + _FLOOR
            figure.text(0.08 / across, (bottom + height / 2) / up, _wrapped(row.title), va="center", fontsize=7)
            for column, k in enumerate(shown):
                axis = place(figure, _LEFT + column * (_SIDE + _GAP), bottom, _SIDE, height)
                bare(axis)
                axis.imshow(gray(row.frames[k], codec), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axis.set_xlabel(row.texts[k], fontsize=6, labelpad=2)
        _scale_bar(figure, first.shape[1] * rows[0].frames[0].spacing[-1])
    save(figure, path, dpi=200)


def draw_animation(path: Path, rows: Sequence[Sequence[Microstructure]], codec: Codec, *, fps: float) -> None:
    """Write rows of frames as an animated GIF, all rows side by side, there once, over and over."""
    moments = [_beside([gray(row[k], codec) for row in rows]) for k in range(len(rows[0]))]
    images = [Image.fromarray(moment) for moment in moments]
    stream = io.BytesIO()
    images[0].save(
        stream, "GIF", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0, optimize=False
    )
    write_bytes(path, stream.getvalue())


def draw_table(path: Path, values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str]) -> None:
    """Write correlations -1 .. 1 as a coloured table with its numbers."""
    high, wide = 0.2 * len(rows), 0.45 * len(columns)
    with styled():
        figure = sheet(wide + 1.4, high + 2.0)
        axis = place(figure, 1.2, 0.15, wide, high)
        axis.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        axis.xaxis.tick_top()
        axis.set_xticks(range(len(columns)), columns, rotation=60, ha="left", fontsize=6)
        axis.set_yticks(range(len(rows)), rows, fontsize=6)
        for (y, x), value in np.ndenumerate(values):
            colour = "white" if abs(value) > 0.6 else INK
            axis.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=5, color=colour)
    save(figure, path, dpi=200)


def gray(structure: Microstructure, codec: Codec) -> Picture:
    """Return the field of a model as gray values: its lowest value black, its highest white; of channels, the first."""
    values = np.asarray(structure[codec.field], np.float64)
    if values.ndim > structure.ndim:
        values = values[..., 0]
    if structure.ndim == 3:
        values = values[len(values) // 2]
    return np.rint(np.clip((values - codec.low) / (codec.high - codec.low), 0, 1) * 255).astype(np.uint8)


def _wrapped(title: str) -> str:
    """A long name in several lines, cut where its words end.

    >>> _wrapped("1: correlation_length_um").splitlines()
    ['1: correlation_', 'length_um']
    """
    lines = [""]
    for word in title.replace("_", "_ ").split(" "):
        glue = "" if not lines[-1] or lines[-1].endswith("_") else " "
        if len(lines[-1] + glue + word) > 16 and lines[-1]:
            lines.append(word)
        else:
            lines[-1] += glue + word
    return "\n".join(lines)


def _beside(pictures: Sequence[Picture]) -> Picture:
    gap = np.full((pictures[0].shape[0], _GIF_GAP), 255, np.uint8)
    spaced = [piece for picture in pictures for piece in (picture, gap)]
    return np.concatenate(spaced[:-1], axis=1)


def _scale_bar(figure: Figure, width_um: float) -> None:
    """A bar of a round length under the first frame."""
    from matplotlib.lines import Line2D

    across, up = figure.get_size_inches()
    length = round_length(width_um / 2)
    ends = [_LEFT / across, (_LEFT + _SIDE * length / width_um) / across]
    figure.add_artist(Line2D(ends, [0.16 / up] * 2, color=INK, lw=3, solid_capstyle="butt"))
    figure.text(ends[1] + 0.08 / across, 0.16 / up, length_text(length), va="center")
