"""Evaluation of orientation maps and of grain labels: what pictures show of them, floors, phases, whole reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from microgen.core import Microstructure
from microgen.evaluate import evaluate
from microgen.evaluate.embedding import embed
from microgen.evaluate.features import features, measure_all
from microgen.evaluate.report import REDUNDANT, SILENT
from microgen.evaluate.surrogates import surrogate
from microgen.evaluate.texture import gray, plane, texture
from microgen.synth import Phase, crystallise, polycrystal
from microgen.synth.ebsd_scan import scan_ebsd

DUPLEX = (Phase("ferrite", 0.6), Phase("austenite", 0.4))
SEEN = ("phase", "mask", "orientation")


def scanned(seed: int, side: int, size_um: float = 8.0, phases: Any = "random") -> Microstructure:
    made = scan_ebsd(seed, crystallise(seed, polycrystal(seed, (side, side), (0.5, 0.5), size_um), phases))
    return made.replace(fields={name: made[name] for name in SEEN}, source={})


def test_the_picture_of_a_map_turns_with_it_and_does_not_know_equivalent_orientations() -> None:
    m = scanned(0, 40)
    turned = m.replace(fields={name: np.rot90(values) for name, values in m.fields.items()})
    np.testing.assert_array_equal(gray(turned), np.rot90(gray(m)))
    w, x, y, z = np.moveaxis(m["orientation"], -1, 0)
    other = m.with_fields(orientation=np.stack([-z, y, -x, w], axis=-1))  # turned by 180 degrees about z of the crystal
    np.testing.assert_allclose(gray(other), gray(m), atol=1e-4)
    assert (gray(m)[m["mask"] == 0] == 0).all()
    assert np.unique(gray(m).round(2)).size > 10


def test_numbers_of_grains_say_nothing() -> None:
    """Windows of a large map have large numbers; a classifier must not see that."""
    m = polycrystal(1, (40, 40), (0.5, 0.5), 4.0)
    other = m.with_fields(grain=np.where(m["grain"] > 0, m["grain"] * 7 + 1000, 0))
    np.testing.assert_array_equal(texture(m), texture(other))
    assert set(np.unique(plane(m))) == {0.0, 1.0}


@pytest.mark.parametrize("kind", ["same spectrum", "shuffled pixels"])
def test_floors_of_maps_move_points_as_a_whole(kind: str) -> None:
    m = scanned(2, 32, phases=DUPLEX)
    found = surrogate(m, kind, np.random.default_rng(0))
    rows = [
        np.column_stack([s["phase"].ravel(), s["mask"].ravel(), s["orientation"].reshape(-1, 4)]) for s in (m, found)
    ]
    assert not np.array_equal(*rows)
    np.testing.assert_array_equal(*(row[np.lexsort(row.T)] for row in rows))
    assert (found.spacing, found.phases) == (m.spacing, m.phases)


def test_the_floor_of_the_same_spectrum_looks_as_coarse_as_the_map() -> None:
    m = scanned(3, 64)
    roughness = [
        np.abs(np.diff(gray(s))).mean() for s in (m, *(surrogate(m, k, np.random.default_rng(0)) for k in KINDS))
    ]
    assert roughness[0] < roughness[1] < 0.8 * roughness[2]


KINDS = ("same spectrum", "shuffled pixels")


def test_a_window_without_a_phase_has_none_of_it() -> None:
    m = scanned(4, 96, phases=DUPLEX)
    only = np.where(m["phase"] == 2, 1, m["phase"]).astype(np.uint8)
    tables = measure_all([m, m.with_fields(phase=only)])
    assert tables[1]["phase_fraction:austenite"].value == 0
    assert tables[1]["phase_fraction:ferrite"].value == 1
    assert "grain_size_um:austenite" not in tables[1]
    assert "grain_size_um:ferrite" in tables[1]
    assert not {"phase_fraction", "s2"} & {*tables[0], *tables[1]}


def test_phases_are_compared_by_name_whatever_their_numbers() -> None:
    m = scanned(5, 64, phases=DUPLEX)
    swapped = m.with_fields(phase=np.take([0, 2, 1], m["phase"]).astype(np.uint8))
    swapped = swapped.replace(phases=("not indexed", "austenite", "ferrite"))
    one, two = measure_all([m, swapped])
    assert {name: row.value for name, row in one.items()} == {name: row.value for name, row in two.items()}


def test_maps_of_one_phase_are_compared_whatever_its_name() -> None:
    m = scanned(6, 64)
    other = m.replace(phases=("not indexed", "nickel"), crystals={"nickel": m.crystals["iron"]})
    one, two = measure_all([m, other])
    assert one.keys() == two.keys()
    assert "grain_size_um" in one


def test_one_row_for_what_two_phases_share() -> None:
    rows = features(measure_all([scanned(s, 64, phases=DUPLEX) for s in (7, 8, 9)]))
    outlines = [name for name in rows if name.startswith("specific_surface_per_um")]
    assert len(outlines) == 1


def test_the_map_of_two_point_statistics_shows_maps() -> None:
    windows = [scanned(s, 48, size) for s, size in ((1, 4.0), (2, 4.0), (3, 8.0), (4, 8.0))]
    points, share = embed(windows, np.arange(4))
    assert points is not None
    assert share is not None
    assert np.isfinite(points).all()
    assert np.ptp(points[:, 0]) > 0


@pytest.mark.slow
def test_a_report_on_maps() -> None:
    """Ten maps against samples like them and samples with other grains: sizes and textures are told apart."""
    real = [scanned(s, 128, phases=DUPLEX) for s in range(10)]
    like = [scanned(s, 64, phases=DUPLEX) for s in range(100, 124)]
    soft = (Phase("ferrite", 0.6, texture="cube:8"), Phase("austenite", 0.4))
    unlike = [scanned(s, 64, 11.0, soft) for s in range(200, 224)]
    good, bad = evaluate(real, like), evaluate(real, unlike)
    names = {row.descriptor for row in good.rows}
    wanted = {"mean_intercept_um", "grain_aspect_ratio", "disorientation_deg", "kam_deg"}
    assert wanted | {f"{name}:ferrite" for name in wanted} <= names
    assert not {"differs"} & {good[name].verdict for name in wanted}
    assert bad["mean_intercept_um"].verdict == "differs"
    assert bad["disorientation_deg:ferrite"].verdict == "differs"
    assert bad["disorientation_deg:austenite"].verdict != "differs"
    assert good["astm_g:ferrite"].same_as == "mean_intercept_um:ferrite"
    assert REDUNDANT["astm_g"] == "mean_intercept_um"


def test_a_few_maps_give_no_verdict() -> None:
    """Two specimens are too few, and the report says so."""
    report = evaluate([scanned(s, 64) for s in (0, 1)], [scanned(s, 32) for s in (2, 3, 4)])
    assert {row.verdict for row in report.rows} == {SILENT}
    assert "too few to conclude" in report.headline
    labels = [polycrystal(s, (48, 48), (0.5, 0.5), 4.0) for s in range(4)]
    report = evaluate(labels[:2], labels[2:])
    assert {"mean_intercept_um", "grain_aspect_ratio", "grain_neighbours"} <= {row.descriptor for row in report.rows}
    assert report.verdict == SILENT
