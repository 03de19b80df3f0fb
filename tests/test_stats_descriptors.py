"""Properties that every row of the table has, and measuring whole microstructures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage, spatial

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.orientations import from_euler, quaternions, random_orientations, rotations
from microgen.stats import DESCRIPTORS, Measurement, applicable, bootstrap_ci, circular_mean, measure, pool
from microgen.stats.interpret import labelled, thresholded

PICTURES = [name for name, d in DESCRIPTORS.items() if 2 in d.dims]
SCALARS = [name for name in PICTURES if DESCRIPTORS[name].kind != "curve"]
MAPS = ("disorientation", "kam", "indexed", "texture")


def blobs(seed: int, shape: tuple[int, ...] = (96, 96)) -> Any:
    """Elongated, periodic, two phases."""
    noise = np.random.default_rng(seed).normal(size=shape)
    sigma = (2.0, 4.0) if len(shape) == 2 else (1.5, 2.0, 3.0)
    return (ndimage.gaussian_filter(noise, sigma, mode="wrap") > 0.02).astype(np.uint8)


def voronoi(seed: int, n: int = 128, count: int = 60, ndim: int = 2) -> Any:
    """Grain labels from 1 of a periodic Voronoi tessellation."""
    seeds = np.random.default_rng(seed).uniform(0, n, (count, ndim))
    points = np.indices((n,) * ndim).reshape(ndim, -1).T + 0.5
    return spatial.cKDTree(seeds, boxsize=n).query(points)[1].reshape((n,) * ndim) + 1


def outlines(labels: Any) -> Any:
    """Boundary mask that looks the same after a quarter turn: both sides of each boundary."""
    return np.any([labels != np.roll(labels, step, axis) for axis in (0, 1) for step in (-1, 1)], axis=0)


def micrograph(seed: int, n: int = 128) -> Any:
    """Gray grains with dark boundaries and noise, 8 bit."""
    rng = np.random.default_rng(seed)
    clean = 170 - 110 * ndimage.gaussian_filter(outlines(voronoi(seed, n)).astype(float), 0.7)
    return np.clip(clean + rng.normal(0, 6, clean.shape), 0, 255).astype(np.uint8)


def sponge(seed: int) -> Any:
    """A phase that percolates along both axes."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(96, 96)), (2.0, 4.0), mode="wrap")
    return (noise > np.quantile(noise, 0.25)).astype(np.uint8)


def ebsd(seed: int, labels: Any) -> Microstructure:
    """Grains of random orientation with a gradient inside, and some points that are not indexed."""
    rng = np.random.default_rng(seed)
    bent = from_euler(np.stack([np.deg2rad(np.indices(labels.shape)[1] / 8)] + [np.zeros(labels.shape)] * 2, axis=-1))
    of_grain = rotations(random_orientations(rng, labels.max() + 1)[labels])
    orientation = quaternions(rotations(bent) * of_grain).reshape(*labels.shape, 4).astype(np.float32)
    mask = rng.random(labels.shape) > 0.05
    orientation[~mask] = (1, 0, 0, 0)
    fields = {"phase": mask.astype(np.uint8), "mask": mask.astype(np.uint8), "orientation": orientation}
    spacing, crystals = (0.5,) * labels.ndim, {"iron": Crystal("m-3m")}
    return Microstructure(fields, spacing, ("not indexed", "iron"), crystals=crystals)


FIELDS = {"phase": blobs, "region": blobs, "signal": blobs, "intensity": micrograph}


def sample(name: str, *, turn: int = 0, roll: tuple[int, int] = (0, 0), scale: float = 1.0) -> Microstructure:
    """A microstructure that a descriptor applies to, turned, shifted or scaled."""
    need = DESCRIPTORS[name].needs[0]
    if need in MAPS:
        m = ebsd(0, voronoi(0, 24, 9) if need == "texture" else voronoi(0, 96, 40))
        turned = {name: np.rot90(np.roll(values, roll, (0, 1)), turn) for name, values in m.fields.items()}
        return m.replace(fields=turned, spacing=(0.5 * scale, 0.5 * scale))
    make = FIELDS.get(need, blobs) if DESCRIPTORS[name].tiles else sponge
    field, values = ("boundary", outlines(voronoi(0))) if need == "grains" else (need, make(0))
    field = "phase" if field in ("phase_points", "region", "signal") else field
    values = np.rot90(np.roll(values, roll, (0, 1)), turn)
    return Microstructure({field: values}, spacing=(0.5 * scale, 0.5 * scale))


def one(name: str, microstructure: Microstructure, **how: Any) -> Measurement:
    found = measure(microstructure, [name], **{"intervals": False, **how})[name]
    assert not found.note, found.note
    return found


def assert_alike(found: Measurement, expected: Measurement, rtol: float) -> None:
    parts = ("value", "x", "y", "values") if rtol < 0.01 else ("value", "x", "y")
    for part in parts:
        a, b = getattr(found, part), getattr(expected, part)
        assert (a is None) == (b is None), part
        if a is not None:
            a, b = (np.sort(np.atleast_1d(v)) if part == "values" else np.asarray(v) for v in (a, b))
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12 + 1e-6 * np.abs(b).max(), err_msg=part)


def tolerance(name: str) -> float:
    if DESCRIPTORS[name].needs[0] == "grains":
        return 0.02
    return 1e-4 if DESCRIPTORS[name].costly or DESCRIPTORS[name].needs[0] in MAPS else 1e-6


@pytest.mark.parametrize("name", [name for name in PICTURES if name != "grain_direction_deg"])
def test_a_shift_of_a_periodic_structure_changes_nothing(name: str) -> None:
    still, moved = sample(name), sample(name, roll=(17, 41))
    assert_alike(one(name, moved, periodic=True), one(name, still, periodic=True), rtol=tolerance(name))


@pytest.mark.parametrize("name", PICTURES)
def test_a_quarter_turn_turns_directions_and_nothing_else(name: str) -> None:
    along = {"_x": "_y", "_y": "_x"}
    other = name[:-2] + along.get(name[-2:], name[-2:])
    still, turned = one(name, sample(name)), one(other, sample(name, turn=1))
    if DESCRIPTORS[name].period:
        assert still.value is not None
        assert turned.value == pytest.approx((still.value + 90) % 180, abs=50 * tolerance(name))
    else:
        assert_alike(turned, still, rtol=tolerance(name))


@pytest.mark.parametrize("name", PICTURES)
def test_spacing_scales_by_the_unit(name: str) -> None:
    factor = 3.0
    powers = {"um": factor, "1/um": 1 / factor, "um^d": factor**2, "1": 1.0, "deg": 1.0, "": 1.0}
    powers |= dict.fromkeys(("1/um^d", "1/um^2"), factor**-2)
    small, large = one(name, sample(name)), one(name, sample(name, scale=factor))
    if small.unit == "G":
        assert small.value is not None
        assert large.value == pytest.approx(small.value - 2 * np.log2(factor), abs=1e-3)
        return
    scaled = {
        part: None if getattr(small, part) is None else getattr(small, part) * powers[unit]
        for part, unit in (("value", small.unit), ("y", small.unit), ("values", small.unit), ("x", small.x_unit))
    }
    assert_alike(large, Measurement(**scaled), rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in SCALARS if DESCRIPTORS[name].tiles])
def test_every_number_has_an_interval_around_it(name: str) -> None:
    found = one(name, sample(name), intervals=True)
    assert found.value is not None
    assert found.ci95 is not None
    assert found.n is not None
    low, high = found.ci95
    assert low < found.value < high
    assert found.n >= 4


@pytest.mark.parametrize("name", [n for n, d in DESCRIPTORS.items() if 3 in d.dims and d.needs[0] != "intensity"])
def test_volumes(name: str) -> None:
    labels = voronoi(0, 40, 60, ndim=3)
    if DESCRIPTORS[name].needs[0] in MAPS:
        volume = ebsd(0, labels)
    elif DESCRIPTORS[name].needs[0] == "grains":
        volume = Microstructure({"grain": labels}, spacing=(0.5, 0.5, 0.5))
    else:
        volume = Microstructure({"phase": blobs(1, (32, 36, 40))}, spacing=(0.5, 0.5, 0.5))
    found = one(name, volume)
    assert (found.value is not None) or (found.y is not None and len(found.y) > 5)


@pytest.mark.parametrize(
    "name",
    [
        "phase_fraction",
        "specific_surface_per_um",
        "s2",
        "lineal_path",
        "chord_length_um",
        "correlation_length_um",
        "intensity_mean",
        "intensity_skewness",
    ],
)
def test_a_mask_of_a_box_equals_the_crop(name: str) -> None:
    whole = sample(name)
    box = np.s_[8:88, 0:80]
    mask = np.zeros(whole.shape, bool)
    mask[box] = True
    masked, cropped = one(name, whole.with_fields(mask=mask)), one(name, whole.crop(*box))
    if cropped.y is None:
        assert masked.value == pytest.approx(cropped.value, rel=1e-4)
    else:
        assert masked.y is not None
        np.testing.assert_allclose(masked.y[:40], cropped.y[:40], atol=1e-6)


def test_every_descriptor_says_what_it_is() -> None:
    for name, descriptor in DESCRIPTORS.items():
        assert descriptor.meaning
        assert descriptor.kind in ("scalar", "curve", "distribution")
        assert bool(descriptor.x_unit) == (descriptor.kind == "curve")
        assert name.endswith("_um") == (descriptor.unit in ("um", "1/um"))


def test_fields_decide_what_is_measured() -> None:
    gray = Microstructure({"intensity": micrograph(1)}, spacing=(0.5, 0.5))
    assert {"astm_g", "grain_size_um", "power_spectrum", "intensity_std"} <= set(applicable(gray))
    assert "phase_fraction" not in applicable(gray)
    phases = Microstructure({"phase": blobs(0)}, spacing=(0.5, 0.5))
    assert {"phase_fraction", "specific_surface_per_um", "s2"} <= set(applicable(phases))
    assert not {"astm_g", "intensity_mean"} & set(applicable(phases))
    both = phases.with_fields(intensity=micrograph(1)[:96, :96])
    assert "intensity_mean" in applicable(both)
    assert "astm_g" not in applicable(both)  # a picture with phases is not taken for one of boundaries
    assert one("correlation_length_um", both).value == one("correlation_length_um", phases).value


def test_grains_that_wrap_around_are_one_grain() -> None:
    labels = voronoi(6)
    crossed = np.mean([labels != np.roll(labels, 1, axis) for axis in (0, 1)])
    m = Microstructure({"grain": np.roll(labels, (31, 77), (0, 1))}, spacing=(0.5, 0.5))
    assert one("mean_intercept_um", m, periodic=True).value == pytest.approx(0.5 / crossed, rel=1e-12)
    area_mm2 = (128 * 0.5 / 1000) ** 2
    expected = 3.321928 * np.log10(60 / area_mm2) - 2.954
    assert one("astm_g_planimetric", m, periodic=True).value == pytest.approx(expected, abs=1e-6)


def test_a_micrograph_gives_the_grain_size_it_was_drawn_with() -> None:
    truth = one("mean_intercept_um", Microstructure({"grain": voronoi(2, 256, 120)}, spacing=(0.5, 0.5)))
    found = measure(Microstructure({"intensity": micrograph_of(voronoi(2, 256, 120))}, spacing=(0.5, 0.5)))
    assert truth.value is not None
    assert found["mean_intercept_um"].value == pytest.approx(truth.value, rel=0.08)
    assert found["grain_size_um"].value == found["mean_intercept_um"].value
    assert all(not m.note for m in found.values())


def micrograph_of(labels: Any) -> Any:
    clean = 170 - 110 * ndimage.gaussian_filter(outlines(labels).astype(float), 0.7)
    return np.clip(clean + np.random.default_rng(0).normal(0, 6, clean.shape), 0, 255).astype(np.uint8)


def test_several_phases_are_measured_each_under_its_name() -> None:
    labels = np.random.default_rng(3).choice(3, (64, 64), p=[0.5, 0.3, 0.2]).astype(np.uint8)
    m = Microstructure({"phase": labels}, spacing=(1, 1), phases=("matrix", "pores", "carbides"))
    found = measure(m, ["phase_fraction"])
    assert list(found) == ["phase_fraction:matrix", "phase_fraction:pores", "phase_fraction:carbides"]
    assert found["phase_fraction:pores"].value == np.mean(labels == 1)
    assert measure(m, ["phase_fraction"], phase=2)["phase_fraction"].value == np.mean(labels == 2)
    with pytest.raises(InputError, match="there is no phase 3"):
        measure(m, phase=3)


def test_what_cannot_be_measured_says_why_and_stops_nothing() -> None:
    empty = Microstructure({"phase": np.zeros((64, 64), np.uint8)}, spacing=(1, 1))
    found = measure(empty)
    assert found["phase_fraction"].value == 0
    assert found["chord_length_um"].value is None
    assert "no chord" in found["chord_length_um"].note
    assert "absent" in found["correlation_length_um"].note
    flat = measure(Microstructure({"intensity": np.full((64, 64), 7, np.uint8)}, spacing=(1, 1)))
    assert "contrast" in flat["astm_g"].note
    for table in (found, flat):
        json.dumps({name: m.to_dict() for name, m in table.items()}, allow_nan=False)


def test_grains_of_a_masked_picture_are_those_of_the_crop() -> None:
    """What a wide mask hides is neither grain nor boundary; the crossings left are those of the crop."""
    mask = np.ones((128, 128), bool)
    mask[:20] = False
    m = Microstructure({"grain": voronoi(4), "mask": mask}, spacing=(1, 1))
    names = ["mean_intercept_um", "grain_diameter_um", "grain_neighbours", "grain_boundary_per_um"]
    names += ["triple_junctions_per_um2", "astm_g_e2627"]
    masked, cropped = measure(m, names), measure(m.crop(slice(20, 128), slice(0, 128)), names)
    for name in names:
        assert masked[name].value == pytest.approx(cropped[name].value, rel=1e-9), name
    gray = Microstructure({"intensity": micrograph(4), "mask": mask}, spacing=(1, 1))
    assert "pictures without masked parts" in measure(gray, ["astm_g"])["astm_g"].note
    planimetric = [one("astm_g_planimetric", part).value for part in (m, m.crop(slice(20, 128), slice(0, 128)))]
    assert planimetric[0] == pytest.approx(planimetric[1], abs=0.15)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["chord_length"], "did you mean 'chord_length_um'"),
        (["astm_g"], "astm_g is measured on grains"),
        (["nonsense"], "no descriptor"),
    ],
)
def test_wrong_names_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        measure(Microstructure({"phase": blobs(0)}, spacing=(1, 1)), names)


def test_small_pictures_have_numbers_without_intervals() -> None:
    found = measure(Microstructure({"phase": blobs(0)[:20, :20]}, spacing=(1, 1)), ["phase_fraction"])
    assert found["phase_fraction"].value is not None
    assert found["phase_fraction"].ci95 is None


# intervals


@pytest.mark.parametrize("n", [4, 16])
def test_bootstrap_interval_covers_the_mean_19_times_of_20(n: int) -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(3.0, 2.0, (600, n))
    hits = [low < 3.0 < high for low, high in (bootstrap_ci(d, seed=i) for i, d in enumerate(draws))]
    assert 0.92 <= np.mean(hits) <= 0.985


def test_interval_of_tiles_covers_the_truth() -> None:
    """Level cut of a symmetric field: the fraction of the ensemble is one half."""
    hits = []
    for seed in range(120):
        field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(128, 128)), 2.0, mode="wrap")
        m = Microstructure({"phase": (field > 0).astype(np.uint8)}, spacing=(1, 1))
        low, high = measure(m, ["phase_fraction"])["phase_fraction"].ci95 or (0.0, 0.0)
        hits.append(low < 0.5 < high)
    assert 0.88 <= np.mean(hits) <= 0.995


def test_angles_wrap_around() -> None:
    angles = [178.0, 2.0, 179.0, 1.0]
    assert min(circular_mean(angles, period=180), 180 - circular_mean(angles, period=180)) < 1e-9
    low, high = bootstrap_ci(angles, period=180)
    assert high - low < 10
    assert bootstrap_ci(angles) == bootstrap_ci(angles)
    with pytest.raises(InputError, match="at least 2"):
        bootstrap_ci([1.0])


def test_pool_averages_pictures_once_each() -> None:
    tables = [
        {"astm_g": Measurement(g, (g - 1, g + 1), 9, "G"), "orientation_deg": Measurement(a, unit="deg")}
        for g, a in ((9.0, 175.0), (9.2, 5.0), (9.4, 0.0))
    ]
    tables.append({"astm_g": Measurement(unit="G", note="no boundary"), "s2": Measurement(x=np.ones(1), y=np.ones(1))})
    found = pool(tables)
    assert list(found) == ["astm_g", "orientation_deg"]
    assert found["astm_g"].value == pytest.approx(9.2)
    assert (found["astm_g"].n, found["astm_g"].unit, found["astm_g"].std) == (3, "G", pytest.approx(0.2))
    assert min(found["orientation_deg"].value, 180 - found["orientation_deg"].value) < 1e-9


# what values mean


def test_otsu_separates_two_populations() -> None:
    rng = np.random.default_rng(5)
    bright = rng.random((64, 64)) < 0.3
    gray = np.where(bright, rng.normal(180, 10, bright.shape), rng.normal(80, 10, bright.shape)).astype(np.uint8)
    found = thresholded(Microstructure({"intensity": gray}, spacing=(1, 1)), "otsu")
    np.testing.assert_array_equal(found["phase"], bright)
    assert found.phases == ("dark", "bright")
    assert "intensity" not in found
    assert 100 < found.scalars["threshold"] < 160


@pytest.mark.parametrize(
    ("values", "call", "words"),
    [
        (np.full((4, 4), 3), lambda m: thresholded(m, "otsu"), "nothing to split"),
        (np.arange(16).reshape(4, 4), lambda m: thresholded(m, 99.0), "one phase empty"),
        (np.arange(64).reshape(8, 8), lambda m: labelled(m, "phase"), "64 different values"),
        (np.full((4, 4), 0.5), lambda m: labelled(m, "phase"), "fractions"),
        (np.full((4, 4), -1), lambda m: labelled(m, "grain"), "start at 0"),
    ],
)
def test_values_that_do_not_mean_that_are_refused(values: Any, call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(Microstructure({"intensity": values}, spacing=(1, 1)))


def test_labels_keep_grain_numbers_and_rank_phases() -> None:
    values = np.array([[7.0, 0.0], [3.0, 7.0]])
    m = Microstructure({"intensity": values}, spacing=(1, 1))
    assert labelled(m, "grain")["grain"].tolist() == [[7, 0], [3, 7]]
    assert labelled(m, "phase")["phase"].tolist() == [[2, 0], [1, 2]]


def test_the_page_of_descriptors_is_current() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "descriptors.md").read_text(encoding="utf-8")
    for name, d in DESCRIPTORS.items():
        unit = d.unit + (f" over {d.x_unit}" if d.x_unit else "")
        assert f"| `{name}` | {d.kind} | {unit} | {d.needs[0]} | {d.meaning} |" in page
