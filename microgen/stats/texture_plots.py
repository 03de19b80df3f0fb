"""Pictures of texture: pole figures, inverse pole figures and sections of the orientation distribution function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microgen.core.lattice import parse_indices
from microgen.core.orientations import from_euler
from microgen.stats.colour_keys import label_corners
from microgen.stats.drawing import DENSITY, INK, bare, miller_text, place, sheet, side_bar, styled
from microgen.stats.ipf import outline
from microgen.stats.sphere import Projection, project, unproject
from microgen.stats.texture import ODF

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
Box = tuple[float, float, float, float]

_FINE = 360
_FULL = (-1.02, 1.02, -1.02, 1.02)
_DISC_IN = 1.55


def pole_figures(odf: ODF, planes: Sequence[str], *, projection: Projection = "equal-area", phase: str = "") -> Figure:
    """Draw pole figures in multiples of random, side by side on one colour scale.

    Directions are drawn as one sees the section: x to the right, y down, the hemisphere towards the viewer. Poles are
    antipodal. A thin line marks the density of a random texture.

    Parameters
    ----------
    odf
        Orientations in the frame of the map.
    planes
        Miller indices, as in :func:`microgen.core.lattice.parse_indices`.
    phase
        Name written below.
    """

    def density(plane: str) -> Callable[[Array], Array]:
        return lambda seen: odf.pole_figure(parse_indices(plane), seen * [1, 1, -1])

    rasters = [_raster(density(plane), odf.halfwidth_deg, projection, _FULL) for plane in planes]
    highest = max(float(raster.max()) for raster in rasters)
    with styled():
        figure = sheet(0.25 + len(planes) * (_DISC_IN + 0.3) + 0.55, _DISC_IN + 0.85)
        for number, (plane, raster) in enumerate(zip(planes, rasters, strict=True)):
            axis = place(figure, 0.2 + number * (_DISC_IN + 0.3), 0.4, _DISC_IN, _DISC_IN)
            shown = _disc(axis, raster, highest, _circle(), _FULL)
            axis.invert_yaxis()
            _title(axis, miller_text(plane, "{}"), raster[_within(_circle(), _FULL)])
            axis.text(1.05, 0, "x", ha="left", va="center")
            axis.text(0, 1.05, "y", ha="center", va="top")
        _bar(figure, shown)
        _name(figure, phase)
    return figure


def inverse_pole_figures(
    odf: ODF,
    directions: Sequence[str] = ("x", "y", "z"),
    *,
    projection: Projection = "equal-area",
    phase: str = "",
) -> Figure:
    """Draw the density of sample directions in the fundamental sector of the crystal, in multiples of random."""
    edge = project(outline(odf.crystal), projection)

    def density(direction: str) -> Callable[[Array], Array]:
        return lambda seen: odf.inverse_pole_figure(direction, seen)

    low, high = edge.min(axis=0), edge.max(axis=0)
    box = (low[0] - 0.02, high[0] + 0.02, low[1] - 0.02, high[1] + 0.02)
    rasters = [_raster(density(name), odf.halfwidth_deg, projection, box) for name in directions]
    inside = _within(edge, box)
    highest = max(float(raster[inside].max()) for raster in rasters)
    size = _DISC_IN / (high - low).max() * (high - low)
    with styled():
        figure = sheet(0.3 + len(directions) * (size[0] + 0.55) + 0.5, size[1] + 1.0)
        for number, (name, raster) in enumerate(zip(directions, rasters, strict=True)):
            axis = place(figure, 0.3 + number * (size[0] + 0.55), 0.45, size[0], size[1])
            shown = _disc(axis, raster, highest, edge, box)
            _title(axis, f"∥ {name}", raster[inside], above=0.28)
            label_corners(axis, odf.crystal, projection=projection)
        _bar(figure, shown)
        _name(figure, phase)
    return figure


def odf_sections(
    odf: ODF, phi2_deg: Sequence[float] | None = None, *, step_deg: float = 5.0, phase: str = ""
) -> Figure:
    """Draw sections of the orientation distribution function at constant phi2, in multiples of random.

    phi1 runs to the right from 0 to 360 degrees, Phi down from 0 to 90 (to 180 where the symmetry needs it). By default
    phi2 is 0, 45 and 65 degrees in cubic crystals, 0 and 30 in hexagonal and trigonal ones, 0 and 45 in others.
    """
    if phi2_deg is None:
        phi2_deg = {"m": (0, 45, 65), "6": (0, 30), "3": (0, 30)}.get(_letter(odf.crystal.laue), (0, 45))
    reach = 180 if odf.crystal.laue in ("-1", "2/m", "4/m", "-3", "6/m") else 90
    phi1, tilt = np.arange(0, 360 + step_deg / 2, step_deg), np.arange(0, reach + step_deg / 2, step_deg)
    sections = []
    for angle in phi2_deg:
        grid = np.stack(np.broadcast_arrays(phi1[None, :], tilt[:, None], np.float64(angle)), axis=-1)
        sections.append(odf.evaluate(from_euler(np.deg2rad(grid))))
    highest = max(float(section.max()) for section in sections)
    high = 1.1 if reach == 90 else 1.9
    with styled():
        figure = sheet(5.35, 0.5 + len(sections) * (high + 0.3))
        for number, (angle, section) in enumerate(zip(phi2_deg, sections, strict=True)):
            bottom = 0.45 + (len(sections) - 1 - number) * (high + 0.3)
            axis = place(figure, 0.55, bottom, 3.8, high)
            levels = np.linspace(0, max(highest, 1e-9), 41)
            shown = axis.contourf(phi1, tilt, np.clip(section, 0, highest), levels, cmap=DENSITY)
            axis.contour(phi1, tilt, section, [1.0], colors="white", linewidths=0.5)
            axis.set_ylim(reach, 0)
            axis.set_xticks(range(0, 361, 90))
            axis.set_yticks(range(0, reach + 1, 45))
            axis.set_ylabel("Φ / °")
            axis.set_title(f"φ$_2$ = {angle:g}°,  max {section.max():.3g}", loc="left", fontsize=8)
            axis.tick_params(labelbottom=number == len(sections) - 1)
        axis.set_xlabel("φ$_1$ / °")
        _bar(figure, shown)
        _name(figure, phase)
    return figure


def _raster(density: Callable[[Array], Array], halfwidth_deg: float, projection: Projection, box: Box) -> Array:
    """Density over a box of the projection: evaluated at a third of the half width, then interpolated smoothly."""
    counts = [int(np.clip(np.ceil(90 * (b - a) / (halfwidth_deg / 3)), 12, 240)) for a, b in (box[:2], box[2:])]
    x, y = (np.linspace(a, b, n) for (a, b), n in zip((box[:2], box[2:]), counts, strict=True))
    found: Array = density(unproject(np.stack(np.meshgrid(x, y), axis=-1), projection))
    fine = [np.linspace(0, n - 1, _FINE) for n in counts[::-1]]
    smooth: Array = ndimage.map_coordinates(found, np.meshgrid(*fine, indexing="ij"), order=3)
    return np.maximum(smooth, 0)


def _disc(axis: Axes, raster: Array, highest: float, edge: Array, box: Box) -> Any:
    """Show a raster inside an edge, with a line at the density of a random texture."""
    from matplotlib.patches import Polygon

    bare(axis)
    shown = axis.imshow(raster, origin="lower", extent=box, cmap=DENSITY, vmin=0, vmax=highest, aspect="equal")
    border = Polygon(edge, closed=True, facecolor="none", edgecolor=INK, lw=0.8, clip_on=False, zorder=3)
    axis.add_patch(border)
    shown.set_clip_path(border)
    if raster.min() < 1 < raster.max():
        x, y = (np.linspace(*ends, _FINE) for ends in (box[:2], box[2:]))
        line = axis.contour(x, y, raster, [1.0], colors="white", linewidths=0.5)
        line.set_clip_path(border)
    low, high = edge.min(axis=0), edge.max(axis=0)
    axis.set_xlim(low[0], high[0])
    axis.set_ylim(low[1], high[1])
    return shown


def _title(axis: Axes, text: str, values: Array, above: float = 0.06) -> None:
    """Name and largest density above a disc or sector, `above` in inches."""
    axis.annotate(
        f"{text}   max {values.max():.3g}",
        (0.5, 1.0),
        xycoords="axes fraction",
        xytext=(0, above * 72),
        textcoords="offset points",
        ha="center",
        va="bottom",
    )


def _bar(figure: Figure, shown: Any) -> None:
    across, up = figure.get_size_inches()
    height = min(up - 0.95, 2.0)
    side_bar(figure, shown, "density / mrd", left=across - 0.62, bottom=0.42, height=height)


def _name(figure: Figure, phase: str) -> None:
    """Write the name of the phase into the lower left corner."""
    across, up = figure.get_size_inches()
    figure.text(0.05 / across, 0.05 / up, phase, ha="left", va="bottom")


def _letter(laue: str) -> str:
    """First letter of a cubic, hexagonal or trigonal Laue group; m stands for cubic."""
    return "m" if laue in ("m-3", "m-3m") else laue.strip("-")[0] if laue != "mmm" else ""


def _circle() -> Array:
    turn = np.linspace(0, 2 * np.pi, 200)
    return np.stack([np.cos(turn), np.sin(turn)], axis=-1)


def _within(edge: Array, box: Box) -> Array:
    """Pixels of a raster over a box that lie inside a closed line."""
    from matplotlib.path import Path

    x, y = (np.linspace(*ends, _FINE) for ends in (box[:2], box[2:]))
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    inside: Array = np.asarray(Path(edge).contains_points(points, radius=1e-3))
    return inside.reshape(_FINE, _FINE)
