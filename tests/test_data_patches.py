"""Patches: the right pixels, the right conditions, the same every time."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from microgen.core import InputError, Microstructure
from microgen.data import Dataset, Item, Patches, Plan, write_dataset
from microgen.data.augment import draw_turns, turned
from microgen.data.measures import boundaries
from microgen.data.plan import ConditionsPlan, DataPlan, Range
from microgen.data.resample import resample
from microgen.stats.grains import label_grains, mean_intercept_um

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("data_fakes.py"))))
GRAINS = {"grain_size_um": Range(low=4.0, high=24.0, scale="log")}


def dataset(path, *images, split="train"):
    items = [Item(f"{k}", m, f"{k}", split) for k, m in enumerate(images)]
    write_dataset(path / "d.h5", items, {})
    return Dataset.open(path / "d.h5")


def plan_for(spacing=1.0, patch=32, augment=(), skip=(), **conditions):
    data = DataPlan(spacing_um=spacing, patch_px=patch, augment=augment, skip=skip)
    return Plan(data=data, conditions=ConditionsPlan(**conditions))


def numbered(shape, offset=0):
    """Every pixel tells its own place."""
    return Microstructure({"intensity": np.arange(np.prod(shape)).reshape(shape) + offset}, (1.0,) * len(shape))


@pytest.mark.parametrize("shape", [(80, 100), (50, 48, 40)])
def test_crops_are_contiguous_parts_of_the_images(tmp_path, shape):
    patches = Patches(dataset(tmp_path, numbered(shape)), plan_for(), "train")
    batch = patches.batch(np.random.default_rng(0), 200)["field"]
    assert batch.shape == (200, 1, *patches.shape)
    assert batch.dtype == np.float32
    reference = np.arange(np.prod(shape)).reshape(shape)[(slice(32),) * len(shape)]
    corners = batch[:, 0].reshape(200, -1)[:, 0]
    np.testing.assert_array_equal(batch[:, 0], corners.reshape(-1, *[1] * len(shape)) + reference)
    places = np.array(np.unravel_index(corners.astype(int), shape))
    assert (places.min(1) == 0).all()
    assert (places.max(1) == np.array(shape) - 32).all()


def test_the_same_generator_gives_the_same_batch(tmp_path):
    data = dataset(tmp_path, fakes.picture(fakes.etched(0), 1.0))
    patches = Patches(
        data, plan_for(augment=("flip_x", "quarter_turns"), scalars=("grain_size_um",), ranges=GRAINS), "train"
    )
    one, two = (patches.batch(np.random.default_rng(5), 30) for _ in range(2))
    np.testing.assert_array_equal(one["field"], two["field"])
    np.testing.assert_array_equal(one["scalars"]["grain_size_um"], two["scalars"]["grain_size_um"])
    other = patches.batch(np.random.default_rng(6), 30)
    assert not np.array_equal(one["field"], other["field"])


def test_a_scalar_condition_is_what_the_crop_itself_shows(tmp_path):
    picture = fakes.picture(fakes.etched(0, (200, 260)), 0.5)
    patches = Patches(dataset(tmp_path, picture), plan_for(0.7, 48, scalars=("grain_size_um",), ranges=GRAINS), "train")
    batch = patches.batch(np.random.default_rng(0), 40)
    whole = resample(picture["intensity"], (0.5, 0.5), 0.7)
    grains = label_grains(boundaries(whole, 0.7))
    for crop, value in zip(batch["field"][:, 0], batch["scalars"]["grain_size_um"], strict=True):
        places = np.argwhere(whole[: -48 + 1, : -48 + 1] == crop[0, 0])
        (y, x) = next(p for p in places if np.array_equal(whole[p[0] : p[0] + 48, p[1] : p[1] + 48], crop))
        assert value == pytest.approx(mean_intercept_um(grains[y : y + 48, x : x + 48], spacing=0.7), rel=1e-5)


@pytest.mark.parametrize(
    ("augment", "count"),
    [((), 1), (("flip_x",), 2), (("flip_x", "flip_y"), 4), (("quarter_turns",), 4), (("flip_x", "quarter_turns"), 8)],
)
def test_augmentation_makes_the_whole_group_and_no_more(augment, count):
    square = np.arange(9).reshape(3, 3)
    turns = draw_turns(np.random.default_rng(0), 400, augment)
    made = {turned(square, turn).tobytes() for turn in turns}
    assert len(made) == count


def test_flips_act_on_their_axis():
    volume = np.arange(8).reshape(2, 2, 2)
    np.testing.assert_array_equal(turned(volume, (0, -1)), volume[..., ::-1])
    np.testing.assert_array_equal(turned(volume, (0, -3)), volume[::-1])
    assert set(draw_turns(np.random.default_rng(0), 50, ("flip_z",))) == {(0,), (0, -3)}


def test_maps_are_turned_with_the_field(tmp_path):
    """A phase picture and its map of local fraction stay on top of each other under every symmetry."""
    rng = np.random.default_rng(0)
    phase = (rng.random((120, 120)) < np.linspace(0.1, 0.9, 120)).astype(np.uint8)
    m = Microstructure({"phase": phase}, (1.0, 1.0), ("a", "b"))
    plan = plan_for(
        augment=("flip_x", "flip_y", "quarter_turns"),
        maps=("phase_fraction",),
        map_window_um=1.0,
        ranges={"phase_fraction": Range(low=0.1, high=0.9)},
    )
    plan = plan.model_copy(update={"data": plan.data.model_copy(update={"field": "phase"})})
    patches = Patches(dataset(tmp_path, m), plan, "train")
    batch = patches.batch(np.random.default_rng(1), 60)
    np.testing.assert_array_equal(batch["maps"]["phase_fraction"], batch["field"][:, 0])
    assert [(s.name, s.kind) for s in patches.specs] == [("phase_fraction", "map")]


def test_rare_sizes_are_drawn_as_often_as_common_ones(tmp_path):
    """Five images of fine grains and a small one of coarse grains: the coarse ones still fill their bins."""
    fine = [fakes.picture(fakes.etched(k, (256, 256), grain_px=8.0), 1.0) for k in range(3)]
    coarse = fakes.picture(fakes.etched(9, (128, 128), grain_px=22.0, line_px=2.0), 1.0)
    patches = Patches(
        dataset(tmp_path, *fine, coarse), plan_for(patch=48, scalars=("grain_size_um",), ranges=GRAINS), "train"
    )
    drawn = patches.batch(np.random.default_rng(0), 4000)["scalars"]["grain_size_um"]
    evenly = patches.grid(16)["scalars"]["grain_size_um"]
    assert np.mean(evenly > 14) < 0.1
    assert np.mean(drawn > 14) > 0.25
    assert 4.0 <= drawn.min() < drawn.max() <= 24.0
    assert evenly.max() > 24.0


def test_stored_scalars_follow_their_image(tmp_path):
    images = [
        numbered((40, 40), 0).replace(scalars={"T_K": 300.0}),
        numbered((40, 40), 1e5).replace(scalars={"T_K": 400.0}),
    ]
    plan = plan_for(scalars=("T_K",), ranges={"T_K": Range(low=290, high=410)})
    batch = Patches(dataset(tmp_path, *images), plan, "train").batch(np.random.default_rng(0), 50)
    np.testing.assert_array_equal(batch["scalars"]["T_K"], np.where(batch["field"][:, 0, 0, 0] < 1e5, 300, 400))


def test_channels_come_first(tmp_path):
    euler = np.random.default_rng(0).random((40, 44, 4)).astype(np.float32)
    plan = plan_for()
    plan = plan.model_copy(update={"data": plan.data.model_copy(update={"field": "orientation"})})
    patches = Patches(dataset(tmp_path, Microstructure({"orientation": euler}, (1.0, 1.0))), plan, "train")
    np.testing.assert_array_equal(patches.grid()["field"], np.moveaxis(euler[:32, :32], -1, 0)[None])


def test_the_grid_covers_without_overlap(tmp_path):
    patches = Patches(dataset(tmp_path, numbered((100, 70))), plan_for(), "train")
    values = patches.grid()["field"]
    assert len(values) == 3 * 2
    assert len(np.unique(values)) == values.size
    assert set(np.unique(patches.grid(20)["field"])) == set(range(7000))


def test_statistics_are_those_of_the_pixels(tmp_path):
    values = np.random.default_rng(0).normal(100, 20, (64, 64))
    made = Patches(dataset(tmp_path, fakes.picture(values, 1.0)), plan_for(), "train").statistics()
    assert made["mean"] == pytest.approx(values.mean(), rel=1e-5)
    assert made["std"] == pytest.approx(values.std(), rel=1e-5)
    assert (made["low"], made["high"]) == pytest.approx((values.min(), values.max()))
    assert made["p50"] == pytest.approx(np.median(values))


def test_left_out_images_and_the_other_split_are_not_seen(tmp_path):
    images = [numbered((40, 40)), numbered((40, 40), 1e5), numbered((20, 90), 2e5)]
    data = dataset(tmp_path, *images)
    assert Patches(data, plan_for(skip=("0",)), "train").grid()["field"].min() == 1e5
    with pytest.raises(InputError, match=r"none of the 0 held_out images"):
        Patches(data, plan_for(), "held_out")


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (plan_for(patch=64), "holds a crop of 64 um"),
        (plan_for(scalars=("porosity",), ranges={"porosity": Range(low=0, high=1)}), "porosity"),
        (
            plan_for(scalars=("grain_size_um",), ranges={"grain_size_um": Range(low=900, high=901, scale="log")}),
            "range",
        ),
        (Plan(data=DataPlan(spacing_um=1.0, patch_px=32, field="phase")), "no field 'phase'"),
    ],
)
def test_impossible_plans_are_refused(tmp_path, plan, says):
    with pytest.raises(InputError, match=says):
        Patches(dataset(tmp_path, fakes.picture(fakes.etched(0, (48, 60)), 1.0)), plan, "train")


def test_pictures_and_volumes_are_not_mixed(tmp_path):
    with pytest.raises(InputError, match="cannot be mixed"):
        Patches(dataset(tmp_path, numbered((40, 40)), numbered((40, 40, 40))), plan_for(), "train")
