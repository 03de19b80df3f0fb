"""Conditions from the data: direction and aspect ratio measured, classes and numbers said by a person."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from microgen.core import InputError, Microstructure
from microgen.core.config import validate
from microgen.data import elongation, prepare
from microgen.data.augment import draw_turns, turned, turned_deg
from microgen.data.dataset import Dataset, Item, write_dataset
from microgen.data.facts import Facts
from microgen.data.measures import measures
from microgen.data.patches import Patches
from microgen.data.plan import ConditionsPlan, DataPlan, Plan, Range, plan_path, read_plan
from microgen.data.split import split_by_specimen
from microgen.evaluate import evaluate
from microgen.evaluate.conditions import of_classes
from microgen.evaluate.requests import obeyed, requested_classes
from microgen.stats import structure_tensor
from microgen.synth import polycrystal, render_micrograph

save = runpy.run_path(str(Path(__file__).with_name("data_fakes.py")))["save"]
WHOLE = np.zeros((1, 2), int)
AUGMENT = ("flip_x", "flip_y", "quarter_turns")


def elongated(seed: int, side: int = 200, *, ratio: float = 2.0, direction: float = 30.0) -> Microstructure:
    return polycrystal(seed, (side, side), (0.5, 0.5), 6.0, aspect_ratio=ratio, direction_deg=direction)


def apart(a, b):
    """Axial difference in degrees."""
    return np.abs((np.asarray(a, float) - b + 90) % 180 - 90)


def whole(name: str, field: str, values) -> float:
    return float(measures(field, 2, grains=field == "grain")[name].windows(values, 0.5)(WHOLE, values.shape)[0])


# Direction and aspect ratio


def test_the_gradient_form_is_the_structure_tensor():
    gray = render_micrograph(0, elongated(0))["intensity"]
    tensor = structure_tensor(gray, spacing=(0.5, 0.5))
    assert whole("orientation_deg", "intensity", gray) == pytest.approx(tensor.direction_deg, abs=1e-6)
    assert whole("aspect_ratio", "intensity", gray) == pytest.approx(tensor.aspect_ratio, rel=1e-9)


def test_gradient_windows_are_means_over_their_pixels():
    """Each box by itself: the gradient of the whole picture, averaged over the box."""
    gray = render_micrograph(1, elongated(1, 120))["intensity"].astype(float)
    windows = elongation.of_gray(gray, lambda yy, yx, xx: np.stack([yy, yx, xx]))
    y, x = np.array([[3, 40], [0, 0]]).T
    found = windows(np.stack([y, x], axis=1), (32, 48))
    yy, yx, xx = elongation._products(gray)
    for k in range(2):
        box = (slice(y[k], y[k] + 32), slice(x[k], x[k] + 48))
        np.testing.assert_allclose(found[:, k], [yy[box].sum(), yx[box].sum(), xx[box].sum()], rtol=1e-9)


@pytest.mark.parametrize("axis", [0, 1])
def test_crossings_of_bricks_in_closed_form(axis):
    """A wall of bricks 24 x 8: how often pieces of test lines of 3 points meet one of the 9 and 29 joints."""
    y, x = np.mgrid[:240, :240]
    bricks = (y // 8) * 100 + x // 24
    along_x, along_y = 27 / 237 / 3, (29 * 3) / 237 / 3
    upright, flat = (240 - 2 - 2 * 9) / 238, (240 - 2 - 2 * 29) / 238  # shares of pieces that meet no joint
    diagonal = (1 - upright * flat) / np.sqrt(8)
    mean, half = (along_x**2 + along_y**2 + 2 * diagonal**2) / 4, (along_y**2 - along_x**2) / 2
    expected = np.sqrt((mean + half) / (mean - half))
    cells = bricks if axis == 1 else bricks.T
    assert whole("aspect_ratio", "grain", cells) == pytest.approx(expected, rel=1e-9)
    assert apart(whole("orientation_deg", "grain", cells), 0 if axis == 1 else 90) < 1e-6


@pytest.mark.parametrize("direction", [0.0, 30.0, 75.0, 120.0, 165.0])
def test_known_directions_are_measured(direction):
    """Grains of aspect ratio 2 in a window of about 16 x 16: their own scatter is about 1.5 degrees."""
    made = [elongated(seed, direction=direction) for seed in range(3)]
    for field in ("grain", "intensity"):
        shown = [m if field == "grain" else render_micrograph(seed, m) for seed, m in enumerate(made)]
        found = [whole("orientation_deg", field, m[field]) for m in shown]
        assert np.median(apart(found, direction)) < 3.5


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0, 3.0])
def test_known_aspect_ratios_are_measured(ratio):
    cells = [elongated(seed, 256, ratio=ratio)["grain"] for seed in range(4)]
    found = np.mean([whole("aspect_ratio", "grain", c) for c in cells])
    assert found == pytest.approx(ratio, rel=0.1)  # grains thinner than a piece of test line are passed over


def test_phases_are_measured_as_grains_are():
    from scipy import ndimage

    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(300, 300)), (3, 9), mode="wrap")
    phase = (noise > 0).astype(np.uint8)
    assert whole("aspect_ratio", "phase", phase) == pytest.approx(3.0, rel=0.12)
    assert apart(whole("orientation_deg", "phase", phase), 0) < 3


def test_nothing_to_see_gives_a_finite_answer():
    for field in ("phase", "intensity"):
        assert whole("aspect_ratio", field, np.zeros((40, 40), np.uint8)) == 1
        assert 0 <= whole("orientation_deg", field, np.zeros((40, 40), np.uint8)) < 180
    stripes = np.repeat(np.arange(20), 5)[:, None].repeat(100, axis=1)
    assert whole("aspect_ratio", "grain", stripes) == pytest.approx(elongation.LARGEST)
    assert whole("orientation_deg", "grain", np.zeros((2, 2), int)) < 180


@pytest.mark.parametrize("field", ["grain", "intensity"])
def test_maps_follow_what_changes_from_place_to_place(field):
    left, right = (elongated(seed, 160, ratio=3.0, direction=d) for seed, d in ((1, 20.0), (2, 110.0)))
    if field == "intensity":
        left, right = (render_micrograph(k, m) for k, m in enumerate((left, right)))
    values = np.concatenate([left[field], right[field] + (1000 if field == "grain" else 0)], axis=1)
    rows = measures(field, 2, grains=field == "grain")
    made = rows["orientation_deg"].local(values, 0.5, 30.0)
    assert made.shape == values.shape
    assert np.median(apart(made[40:-40, 40:120], 20)) < 6
    assert np.median(apart(made[40:-40, 200:280], 110)) < 6
    flat = rows["aspect_ratio"].local(values, 0.5, 30.0)
    assert np.median(flat[40:-40, 40:120]) > 1.7


# Turning


@pytest.mark.parametrize("field", ["grain", "intensity"])
def test_the_turned_label_is_what_the_turned_crop_shows(field):
    """Exact for grains, whose crossings lie in the crop; the gradient at the edge of a crop sees beyond it."""
    m = elongated(3, 96, direction=25.0)
    values = m["grain"] if field == "grain" else render_micrograph(3, m)["intensity"]
    label = whole("orientation_deg", field, values)
    turns = sorted(set(draw_turns(np.random.default_rng(0), 200, AUGMENT)))
    assert len(turns) == 16
    for turn in turns:
        told = float(turned_deg(np.array([label]), turn)[0])
        assert apart(whole("orientation_deg", field, turned(values, turn)), told) < 1e-4
        assert 0 <= told < 180


def oriented(tmp_path: Path, **conditions) -> tuple[Dataset, Plan]:
    path = tmp_path / "set.h5"
    made = [elongated(k, 128, direction=d) for k, d in enumerate((10.0, 70.0))]
    write_dataset(path, [Item(str(k), m, str(k), "train") for k, m in enumerate(made)], meta={})
    data = DataPlan(field="grain", spacing_um=0.5, patch_px=48, augment=AUGMENT)
    return Dataset.open(path), Plan(data=data, conditions=ConditionsPlan(**conditions))


def test_crops_carry_the_direction_that_they_show(tmp_path):
    batch = Patches(*oriented(tmp_path, scalars=("orientation_deg",)), "train").batch(np.random.default_rng(0), 24)
    shown = [whole("orientation_deg", "grain", crop[0]) for crop in batch["field"]]
    assert apart(batch["scalars"]["orientation_deg"], np.array(shown)).max() < 1e-3
    assert np.ptp(batch["scalars"]["orientation_deg"]) > 60


def test_maps_of_directions_are_turned_in_place_and_in_value(tmp_path):
    data, plan = oriented(tmp_path, maps=("orientation_deg",), map_window_um=15.0)
    patches = Patches(data, plan, "train")
    batch = patches.batch(np.random.default_rng(0), 24)
    shown = np.array([whole("orientation_deg", "grain", crop[0]) for crop in batch["field"]])
    drawn = np.median(apart(batch["maps"]["orientation_deg"], shown[:, None, None]), axis=(1, 2))
    assert np.median(drawn) < 8
    assert drawn.max() < 30


# Plans


def test_a_direction_needs_no_range_in_a_plan():
    plan = validate(ConditionsPlan, {"scalars": ["orientation_deg"]}, where="test")
    assert plan.ranges["orientation_deg"] == Range(low=0, high=180, scale="axial")
    with pytest.raises(InputError, match="no range is given for aspect_ratio"):
        validate(ConditionsPlan, {"scalars": ["aspect_ratio"]}, where="test")


def folder_of(tmp_path: Path, directions, ratio: float = 2.0) -> Path:
    for k, direction in enumerate(directions):
        m = elongated(k, 160, ratio=ratio, direction=direction)
        save(tmp_path / "in", f"{k}.png", render_micrograph(k, m)["intensity"])
    return tmp_path / "in"


def planned(folder: Path, out: Path, **options) -> Plan:
    prepare([folder], out, pixel_size_um=0.5, **options)
    return read_plan(plan_path(out))


@pytest.mark.parametrize(
    ("directions", "ratio", "there"),
    [((5, 60, 95, 150), 2, True), ((5, 9, 1, 3), 2, False), ((5, 60, 95, 150), 1, False)],
)
def test_directions_are_planned_where_grains_are_long_in_different_ones(tmp_path, directions, ratio, there):
    plan = planned(folder_of(tmp_path, directions, ratio), tmp_path / "set.h5")
    assert plan.conditions.scalars == (("grain_size_um", "orientation_deg") if there else ("grain_size_um",))


def test_what_is_asked_for_is_planned(tmp_path):
    folder = folder_of(tmp_path, (5, 9, 1), 2)
    plan = planned(folder, tmp_path / "set.h5", conditions=("aspect_ratio", "orientation_deg"))
    assert set(plan.conditions.scalars) == {"grain_size_um", "aspect_ratio", "orientation_deg"}
    assert plan.conditions.ranges["aspect_ratio"].scale == "log"
    assert 1 < plan.conditions.ranges["aspect_ratio"].low < plan.conditions.ranges["aspect_ratio"].high < 3
    with pytest.raises(InputError, match=r"'hardness' cannot be measured.*orientation_deg, aspect_ratio"):
        planned(folder, tmp_path / "other.h5", conditions=("hardness",))


# Classes and numbers said by a person


def classes_folder(tmp_path: Path, counts=(("304", 4), ("435Q", 4))) -> Path:
    for label, count in counts:
        for k in range(count):
            gray = np.random.default_rng([*label.encode(), k]).integers(0, 255, (96, 96), np.uint8)
            save(tmp_path / "in" / label, f"{k}.png", gray)
    return tmp_path / "in"


def test_folders_are_classes(tmp_path):
    plan = planned(classes_folder(tmp_path), tmp_path / "set.h5", class_folders="steel")
    assert plan.conditions.scalars == ("steel",)
    assert plan.conditions.ranges["steel"].labels == ("304", "435Q")
    assert 'steel = { scale = "class", labels = ["304", "435Q"] }' in plan_path(tmp_path / "set.h5").read_text()
    data = Dataset.open(tmp_path / "set.h5")
    assert sorted(name.split("/")[0] for name in data.names_in("held_out")) == ["304", "435Q"]
    patches = Patches(data, plan, "train")
    (spec,) = patches.specs
    assert (spec.scale, spec.labels, spec.channels) == ("class", ("304", "435Q"), 2)
    batch = patches.grid()
    assert set(batch["scalars"]["steel"]) == {0.0, 1.0}


def test_classes_come_equally_often(tmp_path):
    folder = classes_folder(tmp_path, (("304", 12), ("435Q", 2)))
    plan = planned(folder, tmp_path / "set.h5", class_folders="steel", held_out=0)
    patches = Patches(Dataset.open(tmp_path / "set.h5"), plan, "train")
    steel = patches.batch(np.random.default_rng(0), 2000)["scalars"]["steel"]
    assert steel.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(2000))


def test_a_class_that_the_plan_lacks_is_left_out(tmp_path):
    folder = classes_folder(tmp_path, (("304", 3), ("316", 3), ("435Q", 3)))
    plan = planned(folder, tmp_path / "set.h5", class_folders="steel", held_out=0)
    fewer = ConditionsPlan(scalars=("steel",), ranges={"steel": Range.of_labels(["304", "435Q"])})
    patches = Patches(Dataset.open(tmp_path / "set.h5"), plan.model_copy(update={"conditions": fewer}), "train")
    assert {image.name.split("/")[0] for image in patches.images} == {"304", "435Q"}


def test_a_table_gives_classes_and_numbers(tmp_path):
    folder = classes_folder(tmp_path)
    table = tmp_path / "samples.csv"
    rows = [f"{s}/{k}.png;{'hot' if k % 2 else 'cold'};{900 + 10 * k}" for s in ("304", "435Q") for k in range(4)]
    table.write_text("\ufefffile;rolling;anneal_K\n" + "\n".join(rows) + "\n")
    plan = planned(folder, tmp_path / "set.h5", table=table)
    assert plan.conditions.scalars == ("anneal_K", "rolling")
    assert plan.conditions.ranges["rolling"].labels == ("cold", "hot")
    assert plan.conditions.ranges["anneal_K"].scale == "linear"
    m = Dataset.open(tmp_path / "set.h5").read("435Q/3.png")
    assert (m.scalars["anneal_K"], m.source["classes"]) == (930.0, {"rolling": "hot"})
    before = prepare([folder], tmp_path / "set.h5", pixel_size_um=0.5, table=table)
    assert before["skipped"]
    table.write_text(table.read_text().replace("hot", "warm"))
    assert not prepare([folder], tmp_path / "set.h5", pixel_size_um=0.5, table=table)["skipped"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,steel\na.png,304\n", "column 'file'"),
        ("file,steel\n", "column 'file'"),
        ("file,steel\na.png,\n", "needs a value in each"),
        ("file,steel\na.png,304\na.png,435Q\n", "two rows for a.png"),
        ("file,steel\nother.png,304\n", "no row for"),
        ("file,steel\na.png,304\nx/a.png,304\n", "2 rows for"),
    ],
)
def test_tables_that_cannot_be_used_say_so(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Facts.read(path, None).classes_of(tmp_path / "x" / "a.png")


def test_every_class_of_a_folder_is_held_out():
    names = {f"s/{k}": f"s/{k}" for k in range(12)}
    classes = {name: "rare" if k < 3 else "common" for k, name in enumerate(names)}
    split = split_by_specimen(names, {}, share=0.25, seed=0, classes=classes)
    held = [classes[name] for name, side in split.items() if side == "held_out"]
    assert sorted(held) == ["common", "common", "rare"]


# Requested against measured


def test_directions_are_compared_around_the_circle():
    """Asked 0, samples at 175 +- 2 and real windows at 2: 5 degrees off, 7 against the real ones."""
    rng = np.random.default_rng(0)
    measured = (175 + rng.normal(0, 2, 200)) % 180
    alone, within = (2 + rng.normal(0, 1, 300)) % 180, rng.normal(0, 0.1, 300) % 180
    (row,) = obeyed("orientation_deg", np.zeros(200), measured, (alone, within), seed=0)
    assert row.in_degrees
    assert row.error == pytest.approx(-5, abs=0.5)
    assert row.error_real == pytest.approx(-7, abs=0.5)
    assert row.spread == pytest.approx(2, rel=0.2)
    assert row.interval[0] < row.measured < row.interval[1]
    assert row.interval[1] - row.interval[0] == pytest.approx(2 * 1.96 * 2 / np.sqrt(200), rel=0.3)
    assert (row.requested, row.n, row.lost, row.n_real) == (0, 200, 0, 300)


def test_directions_that_could_not_be_measured_are_lost():
    (row,) = obeyed("orientation_deg", np.full(3, 30.0), np.full(3, np.nan), (np.zeros(0), np.zeros(0)), seed=0)
    assert (row.n, row.lost, row.n_real, row.in_degrees) == (0, 3, 0, True)
    assert np.isnan(row.error)


def test_samples_of_a_class_are_compared_with_pictures_of_it():
    def picture(**source):
        return Microstructure({"intensity": np.eye(8, dtype=np.uint8)}, (1.0, 1.0), source=source)

    samples = [picture(condition={"steel": s, "grain_size_um": 5.0}) for s in ("304", "304", "316")]
    assert requested_classes(samples) == {"steel": {"304", "316"}}
    assert requested_classes([*samples, picture()]) == {}
    real = [picture(classes={"steel": s}) for s in ("304", "435Q", "316")] + [picture()]
    kept, groups = of_classes(real, ["a", "b", "c", "d"], {"steel": {"304", "316"}})
    assert groups == ["a", "c", "d"]
    assert [m.source.get("classes", {}).get("steel") for m in kept] == ["304", "316", None]


def test_evaluation_leaves_out_other_classes():
    """The other class is so unlike that the comparison would fail with it."""
    rng = np.random.default_rng(0)
    fine = [(rng.normal(128, 20, (64, 64))).clip(0, 255).astype(np.uint8) for _ in range(18)]
    coarse = np.repeat(np.repeat(rng.integers(0, 255, (6, 16, 16), np.uint8), 4, axis=1), 4, axis=2)
    real = [Microstructure({"intensity": v}, (1.0, 1.0), source={"classes": {"steel": "304"}}) for v in fine[:12]]
    other = [Microstructure({"intensity": v}, (1.0, 1.0), source={"classes": {"steel": "435Q"}}) for v in coarse]
    made = [Microstructure({"intensity": v}, (1.0, 1.0), source={"condition": {"steel": "304"}}) for v in fine[12:]]
    report = evaluate([*real, *other], made)
    assert report.provenance["windows"]["held_out"] == 12
    assert report.notes[0] == "Compared with steel 304 only."
