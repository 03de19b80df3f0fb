"""Orientation maps as training data: nothing is guessed, everything is kept, grains are those of the orientations."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy.spatial import cKDTree
from sklearn.metrics import adjusted_rand_score

from microgen import io
from microgen.core import InputError, Microstructure
from microgen.core.orientations import random_orientations
from microgen.data import Dataset, Patches, plan_path, prepare, read_plan
from microgen.data.learnable import learnable
from microgen.data.meaning import with_grains
from microgen.data.resample import drawn_boundary, resample, resample_field
from microgen.data.scale import plan_spacing
from microgen.evaluate.conditions import measurable, measured_alone
from microgen.stats import measure
from microgen.stats.grains import label_grains, mean_intercept_um

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("ebsd_fakes.py"))))
STEP = 0.5
SHAPE = (128, 140)


def cells(seed: int, shape: tuple[int, ...] = SHAPE, grain_px: float = 14.0) -> np.ndarray:
    """Numbers of Voronoi cells, from 1."""
    rng = np.random.default_rng(seed)
    seeds = rng.random((int(np.prod(shape) / grain_px ** len(shape)), len(shape))) * shape
    grid = np.stack(np.indices(shape), axis=-1)
    return np.asarray(cKDTree(seeds).query(grid)[1] + 1)


def ebsd(seed: int = 0, *, phases: int = 2, holes: float = 0.0) -> Microstructure:
    """A map of grains, each of one orientation and phase; the band contrast is noise and shows none of them."""
    rng = np.random.default_rng(seed)
    grain = cells(seed)
    phase = rng.integers(1, phases + 1, grain.max() + 1)[grain].astype(np.uint8)
    orientation = random_orientations(rng, grain.max() + 1)[grain]
    lost = rng.random(grain.shape) < holes
    phase[lost], orientation[lost] = 0, (1, 0, 0, 0)
    fields = {"phase": phase, "mask": (~lost).astype(np.uint8), "orientation": orientation.astype(np.float32)}
    fields["band_contrast"] = rng.integers(50, 200, grain.shape).astype(np.uint8)
    crystals = {"Nickel": fakes.NICKEL, "Titanium (Alpha)": fakes.TITANIUM}
    names = ("not indexed", *crystals)
    return Microstructure(fields, (STEP, STEP), names, source={"euler_frame": "edax"}, crystals=crystals)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    for seed in range(3):
        io.write(folder / f"{seed}.h5", ebsd(seed))
    return folder


def run(name: str, *arguments: Any, ok: bool = True) -> Result:
    from microgen.cli import cli

    result = CliRunner().invoke(cli, [name, *map(str, arguments)], catch_exceptions=False)
    assert (result.exit_code == 0) is ok, result.output
    return result


def printed(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_several_fields_are_never_chosen_from(maps: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="several fields that could be learned; name one") as caught:
        prepare([maps], tmp_path / "set.h5")
    said = str(caught.value)
    assert "--field phase (which phase is where)" in said
    assert "band_contrast (these values as a gray picture)" in said
    assert "--field boundary (the lines between grains)" in said
    assert "orientation" not in said
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("orientation", "orientations cannot be learned yet; choose from --field phase"),
        ("grain", "grain numbers only name grains"),
        ("mask", "the mask says where data are valid"),
        ("image_quality", "has no field 'image_quality'; choose from"),
    ],
)
def test_what_cannot_be_learned_is_refused(maps: Path, tmp_path: Path, field: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        prepare([maps], tmp_path / "set.h5", field=field)


def test_the_only_phase_is_nothing_to_learn(tmp_path: Path) -> None:
    io.write(tmp_path / "a.h5", ebsd(phases=1))
    with pytest.raises(InputError, match=r"'phase' is 1 \(Nickel\) everywhere; choose from --field band_contrast"):
        prepare([tmp_path / "a.h5"], tmp_path / "set.h5", field="phase")


def test_the_only_thing_left_to_learn_is_taken(tmp_path: Path) -> None:
    m = ebsd(phases=1)
    for seed in range(3):
        bare = ebsd(seed, phases=1)
        io.write(tmp_path / "in" / f"{seed}.h5", bare.replace(fields={n: bare[n] for n in ("phase", "orientation")}))
    assert set(learnable(m)) == {"band_contrast"}  # as long as no grains are known
    prepare([tmp_path / "in"], tmp_path / "set.h5")
    assert read_plan(plan_path(tmp_path / "set.h5")).data.field == "boundary"


def test_everything_is_kept_and_grains_are_added(maps: Path, tmp_path: Path) -> None:
    prepare([maps], tmp_path / "set.h5", field="band_contrast")
    data = Dataset.open(tmp_path / "set.h5")
    for seed, name in enumerate(data.names):
        stored, recorded = data.read(name), ebsd(seed)
        for field, values in recorded.fields.items():
            np.testing.assert_array_equal(stored[field], values)
            assert stored[field].dtype == values.dtype
        assert stored.crystals == recorded.crystals
        assert stored.phases == recorded.phases
        assert stored.source["source"]["euler_frame"] == "edax"
        found = stored["grain"]
        assert adjusted_rand_score(cells(seed)[found > 0], found[found > 0]) == pytest.approx(1)
        numbers = stored.source["measured"]
        assert numbers["grains"] == found.max()
        assert numbers["mean_intercept_um"] == pytest.approx(measure(recorded)["mean_intercept_um"].value)
        indexed = recorded["phase"][recorded["mask"] > 0]
        assert numbers["phase_fraction:Nickel"] == pytest.approx((indexed == 1).mean())
        assert set(stored.scalars) == set()  # numbers of a whole map are no condition of a crop


def test_grain_sizes_are_those_of_the_orientations(maps: Path, tmp_path: Path) -> None:
    """The gray picture is noise; crops have the mean intercept of the cells they were cut from."""
    result = prepare([maps], tmp_path / "set.h5", field="band_contrast")
    data, plan = Dataset.open(tmp_path / "set.h5"), read_plan(plan_path(tmp_path / "set.h5"))
    assert list(result["conditions"]) == ["grain_size_um"]
    assert plan.data.spacing_um == STEP
    whole = [mean_intercept_um(cells(seed), spacing=STEP) for seed in range(3)]
    assert result["grain_size_um"]["low"] == pytest.approx(min(whole), rel=0.02)
    image = Patches(data, plan, "train").images[0]
    truth = cells(data.names.index(image.name))
    for corner in ((0, 0), (40, 60), (64, 76)):
        crop = truth[corner[0] : corner[0] + 64, corner[1] : corner[1] + 64]
        found = image.scalar("grain_size_um", np.array([corner]), (64, 64))[0]
        assert found == pytest.approx(mean_intercept_um(crop, spacing=STEP), rel=0.03)


@pytest.mark.parametrize("field", ["phase", "boundary", "band_contrast"])
def test_crops_hold_the_values_of_the_field(maps: Path, tmp_path: Path, field: str) -> None:
    prepare([maps], tmp_path / "set.h5", field=field)
    plan = read_plan(plan_path(tmp_path / "set.h5"))
    batch = Patches(Dataset.open(tmp_path / "set.h5"), plan, "train").batch(np.random.default_rng(0), 6)
    values = {"phase": [1, 2], "boundary": [0, 1]}.get(field)
    if values:
        assert np.unique(batch["field"]).tolist() == values
    assert batch["field"].shape == (6, 1, plan.data.patch_px, plan.data.patch_px)
    low, high = plan.conditions.ranges["grain_size_um"].low, plan.conditions.ranges["grain_size_um"].high
    assert (
        (batch["scalars"]["grain_size_um"] >= 0.99 * low) & (batch["scalars"]["grain_size_um"] <= 1.01 * high)
    ).all()


def test_points_without_orientation_do_not_make_grains_smaller(tmp_path: Path) -> None:
    sizes = {}
    for share in (0.0, 0.15):
        io.write(tmp_path / f"{share}.h5", ebsd(3, holes=share))
        out = tmp_path / f"set{share}.h5"
        result = prepare([tmp_path / f"{share}.h5"], out, field="boundary", held_out=0)
        sizes[share] = result["grain_size_um"]["median"]
        assert (Dataset.open(out).read(f"{share}.h5")["grain"] > 0).mean() == pytest.approx(1 - share, abs=0.05)
        assert any("belong to no grain" in w for w in result["warnings"]) is (share > 0.1)
    assert sizes[0.15] == pytest.approx(sizes[0.0], rel=0.05)


def test_drawn_boundaries_close_every_grain_and_show_no_direction() -> None:
    grain = cells(1)
    line = drawn_boundary(grain)
    inside = line == 0
    found = label_grains(line.astype(bool))
    assert adjusted_rand_score(grain[inside], found[inside]) == pytest.approx(1)
    np.testing.assert_array_equal(drawn_boundary(grain[::-1]), line[::-1])
    np.testing.assert_array_equal(drawn_boundary(grain[:, ::-1]), line[:, ::-1])
    np.testing.assert_array_equal(drawn_boundary(grain.T), line.T)


def test_boundaries_stay_closed_at_another_step() -> None:
    grain = cells(2, (200, 220), 28.0)
    line = drawn_boundary(grain)
    truth = mean_intercept_um(resample(grain, (0.5, 0.5), 1.5, categorical=True).astype(int), spacing=1.5)
    found = resample_field("boundary", line, (0.5, 0.5), 1.5)
    assert set(np.unique(found)) == {0, 1}
    assert mean_intercept_um(found.astype(bool), spacing=1.5) == pytest.approx(truth, rel=0.05)
    nearest = resample(line, (0.5, 0.5), 1.5, categorical=True)
    assert mean_intercept_um(nearest.astype(bool), spacing=1.5) > 1.2 * truth
    np.testing.assert_array_equal(resample_field("boundary", line, (0.5, 0.5), 0.5), line)


@pytest.mark.parametrize(
    ("low", "steps", "spacing"),
    [(3.0, 0.5, 0.5), (13.0, 0.5, 1.0), (12.9, 0.5, 0.5), (40.0, 0.5, 3.0), (0.6, 0.5, 0.5)],
)
def test_maps_are_only_coarsened_and_by_whole_steps(low: float, steps: float, spacing: float) -> None:
    fingerprint = {
        "ndim": 2,
        "grain_size_um": {"low": low, "median": low, "high": low},
        "correlation_length_um": 1.0,
        "spacing_um": {"low": steps, "median": steps, "high": steps},
        "images": [{"grains": {"known": True}, "spacing_um": [steps, steps]}],
    }
    assert plan_spacing(fingerprint)[0] == pytest.approx(spacing)


def test_unlike_maps_are_not_mixed(tmp_path: Path) -> None:
    first = ebsd(0)
    io.write(tmp_path / "a.h5", first)
    others = {
        "no field 'band_contrast', which is learned": first.replace(
            fields={n: v for n, v in first.fields.items() if n != "band_contrast"}
        ),
        "one number must mean one phase": first.replace(
            phases=("not indexed", *reversed(first.phases[1:])), crystals={}
        ),
    }
    for (says, other), field in zip(others.items(), ("band_contrast", "phase"), strict=True):
        io.write(tmp_path / "b.h5", other)
        with pytest.raises(InputError, match=says) as caught:
            prepare([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "set" / "x.h5", field=field)
        assert "a.h5" in str(caught.value)
        assert "b.h5" in str(caught.value)
    left = prepare([tmp_path], tmp_path / "set" / "x.h5", field="phase", skip_bad=True, held_out=0)
    assert list(left["left_out"]) == ["b.h5"]


def test_a_map_without_symmetry_has_no_grains_and_says_so(tmp_path: Path) -> None:
    io.write(tmp_path / "a.h5", ebsd().replace(crystals={}))
    result = prepare([tmp_path / "a.h5"], tmp_path / "set.h5", field="band_contrast", held_out=0)
    assert any("its grains are not known: phase 'Nickel'" in w for w in result["warnings"])
    assert "grain" not in Dataset.open(tmp_path / "set.h5").read("a.h5")
    assert result["conditions"] == {}
    with pytest.raises(InputError, match="no grains to draw boundaries from"):
        prepare([tmp_path / "a.h5"], tmp_path / "other.h5", field="boundary", held_out=0)


def test_grains_that_were_stored_are_not_segmented_again() -> None:
    own = ebsd().with_fields(grain=cells(0) * 3)
    np.testing.assert_array_equal(with_grains(own)["grain"], cells(0) * 3)


def test_a_plan_edited_for_one_field_is_not_used_for_another(maps: Path, tmp_path: Path) -> None:
    out = tmp_path / "set.h5"
    prepare([maps], out, field="phase")
    assert prepare([maps], out, field="phase")["skipped"]
    text = plan_path(out).read_text().replace("batch = 16", "batch = 4")
    plan_path(out).write_text(text)
    with pytest.raises(InputError, match="was edited, and not for these images"):
        prepare([maps], out, field="boundary")


def test_samples_of_boundaries_can_be_measured() -> None:
    grain = cells(4)
    m = Microstructure({"boundary": drawn_boundary(grain)}, (STEP, STEP))
    assert measurable("grain_size_um", m)
    assert measured_alone("grain_size_um", [m])[0] == pytest.approx(mean_intercept_um(grain, spacing=STEP), rel=0.03)
    assert not measurable("grain_size_um", Microstructure({"phase": grain % 2}, (STEP, STEP)))


TINY = ["model.channels=[8,8]", "model.blocks=1", "train.warmup=8", "train.precision=fp32"]


@pytest.mark.parametrize(
    ("field", "dtype", "suffix"), [("boundary", "uint8", "png"), ("phase", "uint8", "png"), ("ci", "float32", "tif")]
)
def test_a_field_goes_through_train_and_sample(maps: Path, tmp_path: Path, field: str, dtype: str, suffix: str) -> None:
    for path in sorted(maps.iterdir()):
        m = io.read(path)[0]
        io.write(tmp_path / "in" / path.name, m.with_fields(ci=m["band_contrast"].astype(np.float32) / 255))
    run("prepare", tmp_path / "in", tmp_path / "set.h5", "--field", field)
    run("train", tmp_path / "set.h5", tmp_path / "run", "--images", 16, "--batch", 8, "--seed", 0,
        *(word for setting in TINY for word in ("--set", setting)))  # fmt: skip
    size = read_plan(plan_path(tmp_path / "set.h5")).conditions.ranges["grain_size_um"]
    run("sample", tmp_path / "run", tmp_path / "out", "--seeds", "0-1", "--preset", "fast", "--size", "40x48",
        "--set-condition", f"grain_size_um={size.low}")  # fmt: skip
    made = io.read(tmp_path / "out" / f"seed_000001.{suffix}")[0]
    assert list(made.fields) == [field]
    assert (made.shape, made.spacing, made[field].dtype) == ((40, 48), (STEP, STEP), np.dtype(dtype))
    assert made.phases == ("not indexed", "Nickel", "Titanium (Alpha)")
    allowed = {"boundary": {0, 1}, "phase": {1, 2}}.get(field)
    assert allowed is None or set(np.unique(made[field])) <= allowed


def test_real_maps(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ebsd_maps"
    if not folder.is_dir():
        pytest.skip("no maps")
    nickel = folder / "defdap" / "testDataEBSD.cpr"
    with pytest.raises(InputError, match="--field mean_angular_deviation_deg, band_contrast, band_slope"):
        prepare([nickel], tmp_path / "ni.h5")
    result = prepare([nickel], tmp_path / "ni.h5", field="band_contrast")
    truth = measure(io.read(nickel)[0], ["mean_intercept_um"])["mean_intercept_um"].value
    assert result["grain_size_um"]["median"] == pytest.approx(truth, rel=1e-6)
    assert result["spacing_um"] == pytest.approx(0.12)
    duplex = folder / "orix" / "sdss_ferrite_austenite.ang"
    with pytest.raises(InputError, match="too small to hold a part of it out"):
        prepare([duplex], tmp_path / "du.h5", field="phase")
    done = printed(run("prepare", duplex, tmp_path / "du.h5", "--field", "phase", "--held-out", 0))
    low, high = done["conditions"]["phase_fraction"]
    assert 0.4 < low < high < 0.6
    stored = Dataset.open(tmp_path / "du.h5").read(duplex.name)
    assert set(stored.crystals) == {"austenite/austenite", "ferrite/ferrite"}
    assert stored.source["euler_frame"] == "edax"
