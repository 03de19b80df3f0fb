"""Pictures of orientation maps: inverse pole figure, phase and value maps, distributions.

Every function returns a matplotlib figure drawn without a screen; :func:`save` writes it. Maps keep their aspect in
micrometres and carry a scale bar. Texture is drawn by :mod:`microgen.stats.texture_plots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Crystal, InputError, Microstructure
from microgen.stats.colour_keys import by_symmetry, draw_key, draw_keys, key_lines, laue_text
from microgen.stats.drawing import (
    INK,
    NOT_INDEXED,
    PALETTE,
    UNKNOWN,
    draw_boundaries,
    map_sheet,
    place,
    save,
    sheet,
    side_bar,
    styled,
)
from microgen.stats.ebsd import indexed
from microgen.stats.ipf import ipf_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

__all__ = [
    "disorientation_histogram",
    "grain_size_histogram",
    "ipf_colour_key",
    "ipf_map",
    "phase_map",
    "save",
    "section",
    "value_map",
]


def section(microstructure: Microstructure, index: int) -> Microstructure:
    """Return one slice ``(Y, X)`` of a volume ``(Z, Y, X)``, counted from 0.

    >>> section(Microstructure({"grain": np.ones((3, 4, 5), int)}, (1, 2, 2)), 1).shape
    (4, 5)
    """
    m = microstructure
    if m.ndim != 3 or not 0 <= index < m.shape[0]:
        raise InputError(f"there is no slice {index} of a structure of shape {m.shape}")
    return m.replace(fields={name: values[index] for name, values in m.fields.items()}, spacing=m.spacing[1:])


def ipf_map(
    microstructure: Microstructure, *, direction: str | Sequence[float] = "z", grain: Array | None = None
) -> Figure:
    """Draw the inverse pole figure map of an EBSD map with its colour key.

    Parameters
    ----------
    microstructure
        Two-dimensional, with ``orientation`` and crystals. Points that are not indexed are drawn black.
    direction
        Direction of the sample that the colours stand for, in the frame in which the orientations are.
    grain
        Grain numbers ``(Y, X)`` whose boundaries are drawn; none by default.

    Raises
    ------
    InputError
        For volumes, or where a phase has no crystal symmetry.
    """
    m = _flat(microstructure)
    numbers, valid = _phase_numbers(m), indexed(m)
    picture = np.tile(np.array(NOT_INDEXED, np.float32), (*m.shape, 1))
    shown = [(n, name) for n, name in enumerate(m.phases) if (valid & (numbers == n)).any()]
    for number, name in shown:
        there = valid & (numbers == number)
        picture[there] = ipf_colours(m["orientation"][there], _crystal(m, name), direction=direction)
    groups = by_symmetry([(name, m.crystals[name]) for _, name in shown])
    with styled():
        least = 0.55 + sum(1.3 + 0.15 * len(key_lines(names, crystal)) for names, crystal in groups)
        figure, axis, top = map_sheet(m.shape, m.spacing, side_in=1.75, least_in=least)
        _show(axis, picture, m, grain)
        left = figure.get_size_inches()[0] - 1.7
        top = draw_keys(figure, groups, left, top, _direction_text(direction))
        if not valid.all():
            _legend(figure, [(NOT_INDEXED, "not indexed")], left, top)
    return figure


def ipf_colour_key(crystal: Crystal, *, title: str = "") -> Figure:
    """Draw the colour key of a crystal alone."""
    with styled():
        figure = sheet(2.2, 2.4)
        draw_key(place(figure, 0.35, 0.35, 1.5, 1.6), crystal)
        figure.text(0.5, 0.97, title or f"Laue group {laue_text(crystal)}", ha="center", va="top")
    return figure


def phase_map(microstructure: Microstructure, *, grain: Array | None = None) -> Figure:
    """Draw a map of the phases with a legend that states their share of the points."""
    m = _flat(microstructure)
    numbers, valid = _phase_numbers(m), indexed(m)
    shown = [n for n in range(len(m.phases)) if (valid & (numbers == n)).any()]
    if len(shown) > len(PALETTE):
        raise InputError(f"a phase map shows up to {len(PALETTE)} phases, this map has {len(shown)}")
    picture = np.tile(np.array(NOT_INDEXED, np.float32), (*m.shape, 1))
    entries: list[tuple[Any, str]] = []
    for colour, number in zip(PALETTE, shown, strict=False):
        there = valid & (numbers == number)
        picture[there] = _rgb(colour)
        entries.append((colour, f"{m.phases[number]}\n{_percent(there.mean())}"))
    if not valid.all():
        entries.append((NOT_INDEXED, f"not indexed\n{_percent(1 - valid.mean())}"))
    with styled():
        figure, axis, top = map_sheet(m.shape, m.spacing, side_in=1.75, least_in=0.42 * len(entries))
        _show(axis, picture, m, grain)
        _legend(figure, entries, figure.get_size_inches()[0] - 1.7, top)
    return figure


def value_map(
    microstructure: Microstructure,
    values: str | Array,
    *,
    label: str = "",
    colours: str = "cividis",
    limits: tuple[float, float] | None = None,
    grain: Array | None = None,
) -> Figure:
    """Draw a number at every point of a map with a colour bar.

    Parameters
    ----------
    values
        Name of a field, or an array ``(Y, X)``; NaN is drawn gray.
    label
        What the colour bar says, with the unit.
    limits
        Values at the ends of the colour bar; by default the 0.5 and 99.5 % quantiles.
    """
    m = _flat(microstructure)
    array = np.asarray(m[values] if isinstance(values, str) else values, dtype=float)
    if array.shape != m.shape:
        raise InputError(f"values of shape {array.shape} do not fit on a map of shape {m.shape}")
    known = array[np.isfinite(array)]
    if not known.size:
        raise InputError("there is no finite value to draw")
    low, high = limits or (float(v) for v in np.quantile(known, [0.005, 0.995]))
    with styled():
        import matplotlib as mpl

        figure, axis, top = map_sheet(m.shape, m.spacing, side_in=1.0)
        shades = mpl.colormaps[colours].with_extremes(bad=UNKNOWN)
        shown = axis.imshow(
            np.ma.masked_invalid(array),
            cmap=shades,
            vmin=low,
            vmax=high if high > low else low + 1,
            extent=_extent(m),
            interpolation="nearest",
            aspect="auto",
        )
        if grain is not None:
            draw_boundaries(axis, grain, m.spacing)
        text = label or (values if isinstance(values, str) else "")
        height = min(axis.get_position().height * figure.get_size_inches()[1], 2.6)
        side_bar(figure, shown, text, left=figure.get_size_inches()[0] - 0.9, bottom=top - height, height=height)
    return figure


def disorientation_histogram(
    angles_deg: Array,
    *,
    pairs_deg: Array | None = None,
    reference: tuple[Array, Array] | None = None,
    reference_label: str = "Mackenzie",
    bin_deg: float = 2.0,
) -> Figure:
    """Draw the distribution of disorientation angles across boundaries, against that of random orientations.

    Parameters
    ----------
    angles_deg
        Angles across boundaries in degrees; NaN is left out.
    pairs_deg
        Angles between points drawn at random from the map: what its texture alone would give.
    reference
        Angles in degrees and the density of a random distribution there, per degree.
    """
    edges = np.arange(0, 180 + bin_deg, bin_deg)
    kept = np.asarray(angles_deg, dtype=float)
    kept = kept[np.isfinite(kept)]
    if not kept.size:
        raise InputError("there is no disorientation angle to draw: no boundary between two grains of one phase")
    reach = kept.max()
    with styled():
        figure, axis = _chart()
        axis.stairs(_density(kept, edges), edges, fill=True, color=PALETTE[0], alpha=0.45, label="boundaries")
        if pairs_deg is not None and np.size(pairs_deg):
            reach = max(reach, float(np.max(pairs_deg)))
            axis.stairs(_density(np.asarray(pairs_deg), edges), edges, color=PALETTE[5], lw=1.2, label="random pairs")
        if reference is not None:
            axis.plot(reference[0], 100 * np.asarray(reference[1]), color=INK, lw=1.2, label=reference_label)
        axis.set_xlim(0, min(180.0, np.ceil((reach + 1) / 5) * 5))
        axis.set_ylim(bottom=0)
        axis.set_xlabel("disorientation angle / °")
        axis.set_ylabel("frequency / % per °")
        _legend_above(axis)
    return figure


def grain_size_histogram(diameters_um: Array, *, bins: int = 20, ndim: int = 2) -> Figure:
    """Draw the distribution of equivalent grain diameters by number and by size, and the log-normal one beside it.

    Parameters
    ----------
    diameters_um
        Diameter in micrometres of the circle of the same area, one per grain; in volumes of the ball.
    ndim
        2: weighted by area, 3: by volume.
    """
    d = np.asarray(diameters_um, dtype=float)
    if d.size < 2 or not (d > 0).all():
        raise InputError(f"a grain size distribution needs at least two grains of positive size, got {d.size}")
    logs = np.log(d)
    edges = np.linspace(logs.min(), max(logs.max(), logs.min() + 1e-3), bins + 1)
    wide = edges[1] - edges[0]
    with styled():
        import matplotlib as mpl

        figure, axis = _chart()
        number = np.histogram(logs, edges)[0] / d.size * 100
        sized = np.histogram(logs, edges, weights=d**ndim)[0] / (d**ndim).sum() * 100
        axis.stairs(number, np.exp(edges), fill=True, color=PALETTE[0], alpha=0.45, label="by number")
        axis.stairs(sized, np.exp(edges), color=PALETTE[5], lw=1.2, label="by area" if ndim == 2 else "by volume")
        if logs.std() > 0:
            x = np.linspace(edges[0], edges[-1], 200)
            bell = np.exp(-(((x - logs.mean()) / logs.std()) ** 2) / 2) / (logs.std() * np.sqrt(2 * np.pi))
            axis.plot(np.exp(x), 100 * wide * bell, color=INK, lw=1.2, label="log-normal")
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        axis.set_xlabel("equivalent diameter / µm")
        axis.set_ylabel("share per bin / %")
        axis.set_title(f"{d.size} grains, mean {d.mean():.3g} µm", loc="left", fontsize=8, pad=18)
        _legend_above(axis)
    return figure


def _flat(microstructure: Microstructure) -> Microstructure:
    if microstructure.ndim != 2:
        raise InputError(
            "maps are drawn in two dimensions; take a slice of the volume (plot --slice N, in Python section)"
        )
    return microstructure


def _phase_numbers(m: Microstructure) -> Array:
    if not m.phases:
        raise InputError("the map names no phases")
    only = next((n for n, name in enumerate(m.phases) if name in m.crystals), 0)
    return m["phase"] if "phase" in m else np.full(m.shape, only)


def _crystal(m: Microstructure, name: str) -> Crystal:
    if name not in m.crystals:
        raise InputError(f"phase {name!r} has no crystal symmetry, so its orientations have no colours")
    return m.crystals[name]


def _extent(m: Microstructure) -> tuple[float, float, float, float]:
    return (0.0, m.extent_um[1], m.extent_um[0], 0.0)


def _show(axis: Axes, picture: Array, m: Microstructure, grain: Array | None) -> None:
    axis.imshow(picture, extent=_extent(m), interpolation="nearest", aspect="auto")
    if grain is not None:
        draw_boundaries(axis, grain, m.spacing)


def _legend(figure: Figure, entries: Sequence[tuple[Any, str]], left: float, top: float) -> None:
    from matplotlib.patches import Patch

    across, up = figure.get_size_inches()
    handles = [Patch(facecolor=colour, edgecolor=INK, lw=0.5, label=text) for colour, text in entries]
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left / across, (top + 0.06) / up),
        frameon=False,
        borderaxespad=0,
        borderpad=0,
        handlelength=1.2,
        handleheight=1.2,
        labelspacing=0.9,
    )


def _chart() -> tuple[Figure, Axes]:
    figure = sheet(3.5, 2.8)
    axis = place(figure, 0.55, 0.45, 2.8, 1.85)
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def _legend_above(axis: Axes) -> None:
    """One row above the axes, where it hides nothing."""
    axis.legend(
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=3,
        fontsize=7,
        columnspacing=1.0,
        handlelength=1.4,
        handletextpad=0.5,
        borderaxespad=0.2,
    )


def _density(values: Array, edges: Array) -> Array:
    """Percent per unit of the bins."""
    return np.histogram(values, edges)[0] / values.size / np.diff(edges) * 100


def _direction_text(direction: str | Sequence[float]) -> str:
    return f"IPF ∥ {direction if isinstance(direction, str) else ' '.join(f'{v:g}' for v in direction)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rgb(colour: str) -> Array:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)
