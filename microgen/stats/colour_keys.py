"""Colour keys of inverse pole figure maps, and the names of the corners of a sector."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from microgen.core import Crystal
from microgen.stats.drawing import INK, bare, miller_text, place
from microgen.stats.ipf import colour_key, corners, outline
from microgen.stats.sphere import Projection, project

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def by_symmetry(phases: Sequence[tuple[str, Crystal]]) -> list[tuple[str, Crystal]]:
    """Names of the phases of each symmetry and their crystal: those have one colour key."""
    groups: dict[tuple[str, str], list[tuple[str, Crystal]]] = {}
    for name, crystal in phases:
        groups.setdefault((crystal.laue, crystal.x_along), []).append((name, crystal))
    return [(", ".join(name for name, _ in members), members[0][1]) for members in groups.values()]


def key_lines(names: str, crystal: Crystal) -> list[str]:
    """Names of phases and their Laue group, in lines that fit beside a map.

    >>> key_lines("austenite/austenite, ferrite/ferrite", Crystal("mmm"))
    ['austenite/austenite,', 'ferrite/ferrite (mmm)']
    """
    *lines, last = textwrap.wrap(names, 22) or [""]
    return [*lines, f"{last} ({laue_text(crystal)})"]


def draw_keys(figure: Figure, groups: Sequence[tuple[str, Crystal]], left: float, top: float, about: str) -> float:
    """Draw the colour keys below one another; return the height where they end, in inches."""
    across, up = figure.get_size_inches()
    figure.text(left / across, top / up, about, ha="left", va="top")
    top -= 0.25
    size = min(1.1, max((top - 0.25) / max(len(groups), 1) - 0.65, 0.5))
    for names, crystal in groups:
        lines = key_lines(names, crystal)
        figure.text(left / across, top / up, "\n".join(lines), ha="left", va="top")
        top -= 0.15 * (len(lines) - 1)
        draw_key(place(figure, left + 0.15, top - 0.35 - size, 1.2, size), crystal)
        top -= size + 0.65
    return top


def draw_key(axis: Axes, crystal: Crystal) -> None:
    """Draw the colour key of a crystal with its edge and the names of its corners."""
    picture, limits = colour_key(crystal)
    bare(axis)
    axis.imshow(picture, origin="lower", extent=tuple(limits), interpolation="bilinear")
    edge = project(outline(crystal), "stereographic")
    axis.plot(*edge.T, color=INK, lw=0.8)
    axis.set_aspect("equal", anchor="W")
    axis.set_xlim(limits[0], limits[1])
    axis.set_ylim(limits[2], limits[3])
    label_corners(axis, crystal)
    for line in axis.lines:
        line.set_clip_on(False)


def label_corners(axis: Axes, crystal: Crystal, *, projection: Projection = "stereographic") -> None:
    """Write the indices of the corners of a sector beside them, away from its middle."""
    from matplotlib.patheffects import withStroke

    edge = project(outline(crystal), projection)
    middle = edge.mean(axis=0)
    for text, vector in corners(crystal):
        xy = project(vector, projection)
        away = xy - middle
        distance = float(np.linalg.norm(away))
        right, up = away / distance if distance > 0.05 else (0.0, 0.0)
        level = abs(up) < 0.25
        axis.annotate(
            miller_text(text),
            (float(xy[0]), float(xy[1])),
            xytext=(4 * right if level else 0, 0 if level else 3 * np.sign(up)),
            textcoords="offset points",
            ha="center" if not level or distance <= 0.05 else "left" if right > 0 else "right",
            va="center" if level else "bottom" if up > 0 else "top",
            annotation_clip=False,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
        )


def laue_text(crystal: Crystal) -> str:
    """Name of the Laue group, with bars."""
    return miller_text(crystal.laue)
