"""Pictures show what the data say: colours at points, places of lines and bars, and files that are written whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.crystals import LAUE_GROUPS
from microgen.core.orientations import from_euler, random_orientations
from microgen.stats.drawing import NOT_INDEXED, boundary_lines, length_text, miller_text, round_length
from microgen.stats.ipf import ipf_colours
from microgen.stats.mackenzie import mackenzie_pdf
from microgen.stats.plots import (
    disorientation_histogram,
    grain_size_histogram,
    ipf_colour_key,
    ipf_map,
    phase_map,
    save,
    section,
    value_map,
)
from microgen.stats.texture import ODF, ideal
from microgen.stats.texture_plots import inverse_pole_figures, odf_sections, pole_figures

CUBIC, TITANIUM = Crystal("m-3m"), Crystal("6/mmm", (0.3, 0.3, 0.5, 90, 90, 120))
GRAIN = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((10, 20), int))


def ebsd(seed: int = 0, spacing: tuple[float, float] = (0.5, 0.25)) -> Microstructure:
    """A map of 30 x 80 points with twelve grains of two phases, and a corner that is not indexed."""
    each = random_orientations(np.random.default_rng(seed), 13)
    phase = np.where(GRAIN % 2, 1, 2)
    phase[:5, :10] = 0
    return Microstructure(
        {"phase": phase, "orientation": each[GRAIN], "mask": (phase > 0).astype(np.uint8)},
        spacing,
        ("not indexed", "ferrite", "titanium"),
        crystals={"ferrite": CUBIC, "titanium": TITANIUM},
    )


def texts(figure: Figure) -> list[str]:
    found = [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]  # type: ignore[attr-defined]
    return [text for text in found if text]


def shown_of(figure: Figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def test_colours_of_the_map_are_those_of_the_orientations() -> None:
    m = ebsd()
    picture = shown_of(ipf_map(m, direction="x", grain=GRAIN))
    for phase, crystal in ((1, CUBIC), (2, TITANIUM)):
        there = m["phase"] == phase
        np.testing.assert_allclose(picture[there], ipf_colours(m["orientation"][there], crystal, direction="x"))
    np.testing.assert_allclose(picture[m["phase"] == 0], np.tile(NOT_INDEXED, (50, 1)))


def test_map_says_direction_phases_and_what_is_not_indexed() -> None:
    found = " ".join(texts(ipf_map(ebsd(), direction="y")))
    for word in ("IPF ∥ y", "ferrite", "titanium", "6/mmm", "not indexed", "5 µm"):
        assert word in found
    whole = ebsd().with_fields(phase=np.where(GRAIN % 2, 1, 2), mask=np.ones(GRAIN.shape, np.uint8))
    assert "not indexed" not in texts(ipf_map(whole))


@pytest.mark.parametrize("spacing", [(0.5, 0.25), (0.3, 0.3), (2.0, 0.1), (0.01, 1.0)])
def test_maps_keep_their_aspect_and_the_scale_bar_its_length(spacing: tuple[float, float]) -> None:
    figure = phase_map(ebsd(spacing=spacing))
    inches = figure.get_size_inches()
    place = figure.axes[0].get_position()
    high, wide = 30 * spacing[0], 80 * spacing[1]
    if min(high, wide) / max(high, wide) > 0.1:  # thinner maps are drawn thicker than they are, to be seen
        assert place.height * inches[1] / (place.width * inches[0]) == pytest.approx(high / wide)
    (bar,) = [a for a in figure.get_children() if type(a).__name__ == "Line2D"]
    ends = np.asarray(bar.get_xdata(), dtype=float)  # type: ignore[attr-defined]
    length = (ends[1] - ends[0]) / place.width * wide
    (stated,) = [t for t in texts(figure) if t.endswith((" µm", " nm", " mm"))]
    number, unit = stated.split()
    assert length == pytest.approx(float(number) * {"nm": 1e-3, "µm": 1, "mm": 1e3}[unit])


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts of the figure that cover each other, and texts that leave it."""
    figure.canvas.draw()
    hidden = {id(label) for axis in figure.axes for label in undrawn(axis.xaxis) + undrawn(axis.yaxis)}
    shown = [
        t
        for t in figure.findobj(lambda a: type(a).__name__ in ("Text", "Annotation"))
        if t.get_text().strip() and t.get_visible() and id(t) not in hidden  # type: ignore[attr-defined]
    ]
    boxes = [(t.get_text(), t.get_window_extent()) for t in shown]  # type: ignore[attr-defined]
    frame = figure.bbox
    outside = [
        (name, "outside") for name, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > frame.x1 or box.y1 > frame.y1
    ]
    return outside + [(a, b) for i, (a, one) in enumerate(boxes) for b, two in boxes[i + 1 :] if one.overlaps(two)]


def undrawn(axis: Any) -> list[Any]:
    """Labels of ticks beyond the ends of an axis, which matplotlib keeps but does not draw."""
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
    return [label for tick in ticks for label in (tick.label1, tick.label2)]


def angles_figure() -> Figure:
    rng, angles = np.random.default_rng(0), np.linspace(0.5, 62, 100)
    law = (angles, np.asarray(mackenzie_pdf(angles)))
    return disorientation_histogram(rng.uniform(5, 62, 500), pairs_deg=rng.uniform(0, 62, 90), reference=law)


COPPER = ODF(ideal("copper"), CUBIC, 15)
HEXAGONAL = ODF(random_orientations(np.random.default_rng(0), 20), TITANIUM, 20)
FIGURES: dict[str, Callable[[], Figure]] = {
    "ipf": lambda: ipf_map(ebsd(), grain=GRAIN),
    "phase": lambda: phase_map(ebsd(), grain=GRAIN),
    "value": lambda: value_map(ebsd(), GRAIN, label="KAM / °", grain=GRAIN),
    "key": lambda: ipf_colour_key(TITANIUM),
    **{f"key {laue}": lambda laue=laue: ipf_colour_key(Crystal(laue)) for laue in LAUE_GROUPS},  # type: ignore[misc]
    "inverse triclinic": lambda: inverse_pole_figures(ODF(ideal("copper"), Crystal("-1"), 20)),
    "inverse trigonal": lambda: inverse_pole_figures(ODF(ideal("copper"), Crystal("-3m"), 20)),
    "pole": lambda: pole_figures(COPPER, ["001", "101", "111"]),
    "inverse": lambda: inverse_pole_figures(HEXAGONAL),
    "inverse cubic": lambda: inverse_pole_figures(COPPER, projection="stereographic"),
    "odf": lambda: odf_sections(COPPER, step_deg=15),
    "angles": angles_figure,
    "sizes": lambda: grain_size_histogram(np.random.default_rng(0).lognormal(2, 0.4, 300)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_and_nothing_is_cut_off(name: str) -> None:
    assert not overlapping(FIGURES[name]())


@pytest.mark.parametrize("wide", [(30, 400), (400, 30), (5, 5)])
def test_keys_and_legends_fit_on_maps_of_any_shape(wide: tuple[int, int]) -> None:
    phase = np.ones(wide, int)
    phase[:, ::2] = 2
    phase[0] = 0
    q = random_orientations(np.random.default_rng(1), phase.size).reshape(*wide, 4)
    m = ebsd().replace(fields={"phase": phase, "orientation": q})
    assert not overlapping(ipf_map(m))
    assert not overlapping(phase_map(m))


def test_boundaries_run_along_pixel_edges() -> None:
    """Their total length is that of all edges between pixels of different numbers."""
    labels = np.random.default_rng(2).integers(0, 3, (9, 13))
    lines = boundary_lines(labels, (0.5, 2.0))
    across, down = (labels[:, 1:] != labels[:, :-1]).sum(), (labels[1:] != labels[:-1]).sum()
    lengths = np.abs(lines[:, 1] - lines[:, 0])
    assert lengths[:, 1].sum() == pytest.approx(across * 0.5)
    assert lengths[:, 0].sum() == pytest.approx(down * 2.0)
    assert ((lengths > 0).sum(axis=1) == 1).all(), "every line is upright or flat"
    one = np.ones((4, 5), int)
    one[1:3, 2:4] = 7
    np.testing.assert_array_equal(
        np.unique(boundary_lines(one, (1, 1)).reshape(-1, 2), axis=0), [[2, 1], [2, 3], [4, 1], [4, 3]]
    )


def test_pole_figures_are_drawn_as_one_sees_the_section() -> None:
    """A pole up and to the right in the picture, towards the viewer, is drawn up and to the right."""
    pole = np.array([0.5, -0.5, -np.sqrt(0.5)])
    towards = np.cross([0.0, 0.0, 1.0], pole)
    half = np.arccos(pole[2]) / 2
    q = np.array([np.cos(half), *(np.sin(half) * towards / np.linalg.norm(towards))])
    figure = pole_figures(ODF(q[None], Crystal("-1", (1, 1, 1, 90, 90, 90)), 10), ["001"])
    axis = figure.axes[0]
    raster = shown_of(figure)
    row, column = np.unravel_index(int(raster.argmax()), raster.shape)
    left, right, bottom, top = axis.images[0].get_extent()
    x = left + (column + 0.5) / raster.shape[1] * (right - left)
    y = bottom + (row + 0.5) / raster.shape[0] * (top - bottom)
    shown = axis.transAxes.inverted().transform(axis.transData.transform((x, y)))
    assert shown[0] > 0.6
    assert shown[1] > 0.6
    assert raster.max() == pytest.approx((1 + ODF(q[None], CUBIC, 10).kappa) / 2, rel=0.01)


def test_densities_of_a_figure_share_one_scale_from_zero() -> None:
    figure = pole_figures(ODF(ideal("cube"), CUBIC, 15), ["001", "111"])
    limits = {image.get_clim() for axis in figure.axes[:2] for image in axis.images}
    assert len(limits) == 1
    assert limits.pop()[0] == 0


def test_phase_map_states_shares() -> None:
    found = texts(phase_map(ebsd()))
    shares = [float(t.split("\n")[1].rstrip(" %")) for t in found if "\n" in t]
    assert sorted(set(shares)) == [2.1, 47.9, 50.0]


def test_value_map_leaves_unknown_values_gray() -> None:
    values = np.full(GRAIN.shape, np.nan)
    values[0] = np.arange(80)
    figure = value_map(ebsd(), values, label="a")
    shown = figure.axes[0].images[0]
    assert np.ma.getmaskarray(shown.get_array())[1:].all()  # type: ignore[no-untyped-call]
    assert shown.get_clim() == pytest.approx((0.395, 78.605))
    assert value_map(ebsd(), values, limits=(0, 5)).axes[0].images[0].get_clim() == (0, 5)


def test_histogram_is_a_density_in_percent() -> None:
    angles = np.random.default_rng(3).uniform(0, 60, 1000)
    figure = disorientation_histogram(np.append(angles, np.nan), bin_deg=5.0)
    data = figure.axes[0].patches[0].get_data()  # type: ignore[attr-defined]
    assert (data.values * np.diff(data.edges)).sum() == pytest.approx(100)


def test_grain_sizes_by_number_by_area_and_log_normal() -> None:
    d = np.concatenate([np.full(90, 1.0), np.full(10, 10.0)])
    axis = grain_size_histogram(d, bins=2).axes[0]
    number, area = (patch.get_data().values for patch in axis.patches)  # type: ignore[attr-defined]
    np.testing.assert_allclose(number, [90, 10])
    np.testing.assert_allclose(area, [100 * 90 / 1090, 100 * 1000 / 1090])
    x, y = (
        np.asarray(v, float) for v in grain_size_histogram(np.exp(np.linspace(-4, 4, 99))).axes[0].lines[0].get_data()
    )
    wide = 8 / 20
    sigma = np.linspace(-4, 4, 99).std()
    assert y.max() == pytest.approx(100 * wide / (sigma * np.sqrt(2 * np.pi)), rel=1e-3)
    assert x[y.argmax()] == pytest.approx(1, rel=0.03)


def test_slice_of_a_volume() -> None:
    volume = Microstructure({"grain": np.arange(24).reshape(2, 3, 4)}, (3, 2, 1))
    flat = section(volume, 1)
    assert flat.spacing == (2, 1)
    np.testing.assert_array_equal(flat["grain"], np.arange(12, 24).reshape(3, 4))
    for structure, index in ((volume, 2), (flat, 0)):
        with pytest.raises(InputError, match="slice"):
            section(structure, index)
    with pytest.raises(InputError, match="slice"):
        value_map(volume, "grain")


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_same_figure_same_bytes(kind: str, tmp_path: Path) -> None:
    first, second = (save(phase_map(ebsd()), tmp_path / f"{n}.{kind}", dpi=60) for n in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert len(first.read_bytes()) > 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"a.{kind}", f"b.{kind}"]


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="svg"):
        save(phase_map(ebsd()), tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path: Path) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    save(ipf_map(ebsd()), tmp_path / "a.png", dpi=60)
    assert dict(mpl.rcParams) == before


def test_wrong_input_is_refused() -> None:
    m = ebsd()
    with pytest.raises(InputError, match="titanium"):
        ipf_map(m.replace(crystals={"ferrite": CUBIC}))
    with pytest.raises(InputError, match="shape"):
        value_map(m, np.zeros((2, 2)))
    with pytest.raises(InputError, match="finite"):
        value_map(m, np.full(m.shape, np.nan))
    with pytest.raises(InputError, match="boundary"):
        disorientation_histogram(np.array([np.nan]))
    for wrong in (np.array([1.0]), np.array([1.0, 0.0])):
        with pytest.raises(InputError, match="grains"):
            grain_size_histogram(wrong)


def test_lengths_and_indices_in_words() -> None:
    assert [round_length(v) for v in (1, 4.99, 5, 0.019, 99)] == [1, 2, 5, 0.01, 50]
    assert length_text(0.05) == "50 nm"
    assert length_text(1000) == "1 mm"
    assert miller_text("101") == "101"
    assert miller_text("-x") == "−x"


def test_sections_of_the_odf_peak_where_the_texture_is() -> None:
    """Copper lies at (90, 35.26, 45); the nearest point of the grid is (90, 35, 45)."""
    odf = ODF(from_euler(np.deg2rad([[90.0, 35.26, 45.0]])), CUBIC, 10)
    peak = odf.evaluate(from_euler(np.deg2rad([90.0, 35.0, 45.0])))
    assert f"max {peak:.3g}" in odf_sections(odf, [45.0]).axes[0].get_title(loc="left")
    assert odf.evaluate(from_euler(np.deg2rad([90.0, 35.0, 0.0]))) < 0.1 * peak
