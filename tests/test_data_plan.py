"""Plans: readable, exact on the way there and back, and made by rules that can be checked."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen.core import InputError
from microgen.data import Plan, plan_path, read_plan, write_plan
from microgen.data.plan import ConditionsPlan, DataPlan, ModelPlan, Range, TrainPlan
from microgen.data.planning import REFERENCE_RATE, estimate_minutes, make_plan, wanted_conditions
from microgen.data.scale import GRAIN_PX, MAX_UPSAMPLING, MIN_GRAIN_PX

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
RANGES = st.tuples(st.floats(1e-6, 1e3), st.floats(1.001, 100)).map(
    lambda r: Range(low=r[0], high=r[0] * r[1], scale="log")
)


@given(
    spacing=st.floats(1e-6, 1e4),
    patch=st.integers(1, 20),
    skip=st.lists(TEXT, max_size=4),
    ranges=st.dictionaries(TEXT, RANGES, max_size=3),
    rate=st.floats(1e-9, 1),
)
@settings(max_examples=100, deadline=None)
def test_a_plan_survives_the_file(tmp_path_factory, spacing, patch, skip, ranges, rate):
    plan = Plan(
        data=DataPlan(spacing_um=spacing, patch_px=16 * patch, skip=tuple(skip), augment=("flip_x",)),
        conditions=ConditionsPlan(scalars=tuple(ranges), ranges=ranges),
        train=TrainPlan(learning_rate=rate),
    )
    path = tmp_path_factory.mktemp("plan") / "p.toml"
    write_plan(path, plan, {"data.spacing_um": "because"})
    assert read_plan(path) == plan
    assert read_plan(path).digest == plan.digest


def test_every_line_says_why_and_every_default_is_shown():
    plan = Plan(data=DataPlan(spacing_um=0.8))
    text = plan.to_toml({"data.patch_px": "four grains"})
    values = [line for line in text.splitlines() if " = " in line]
    assert all(len(line.partition("  # ")[2]) > 5 for line in values)
    assert "a multiple of 16: four grains" in text
    table = tomllib.loads(text)
    assert set(table) == set(Plan.model_fields)
    assert set(table["train"]) == set(TrainPlan.model_fields)


def test_the_digest_ignores_comments_and_sees_values(tmp_path):
    plan = Plan(data=DataPlan(spacing_um=0.8))
    (tmp_path / "p.toml").write_text("# mine\n[data]\npatch_px = 64\nspacing_um = 0.8\n")
    assert read_plan(tmp_path / "p.toml").digest == plan.digest
    assert Plan(data=DataPlan(spacing_um=0.81)).digest != plan.digest


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[data]\nspacing_um = 0.8\npatchpx = 64\n", "patchpx"),
        ("[data]\nspacing_um = -1\n", "spacing_um"),
        ("[data]\nspacing_um = 1\npatch_px = 60\n", "multiple of 16"),
        ("[data]\nspacing_um = 1\naugment = ['rotate']\n", "augment"),
        ("[data]\n", "spacing_um"),
        ("[data]\nspacing_um = 1\n[sample]\nsteps = 20\n", "sample"),
        ("[data]\nspacing_um = 1\n[conditions]\nscalars = ['a']\n", "no range is given for a"),
        ("[data]\nspacing_um = 1\n[conditions]\nmaps=['a']\nranges.a={low=1,high=2}\n", "map_window_um"),
        ("[data]\nspacing_um = 1\n[conditions.ranges.a]\nlow = 3\nhigh = 2\n", "not usable"),
        ("[data]\nspacing_um = 1\n[conditions.ranges.a]\nlow = 0\nhigh = 2\nscale = 'log'\n", "not usable"),
        ("[data\n", "cannot read"),
    ],
)
def test_wrong_plans_are_named(tmp_path, text, says):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(InputError, match=says):
        read_plan(tmp_path / "p.toml")


def test_the_plan_lies_beside_the_data_set():
    assert plan_path("a/steel.h5").as_posix() == "a/steel.plan.toml"


def fingerprint(*, grains=(10.0, 15.0, 20.0), xi=1.2, own=(0.37, 0.37), extents=((500.0, 700.0),), ndim=2):
    low, median, high = grains if grains else (None, None, None)
    spread = [own[0] + (own[1] - own[0]) * k / max(len(extents) - 1, 1) for k in range(len(extents))]
    return {
        "field": "intensity",
        "ndim": ndim,
        "grain_size_um": {"low": low, "median": median, "high": high} if grains else None,
        "correlation_length_um": xi,
        "spacing_um": {"low": own[0], "median": sum(own) / 2, "high": own[1]},
        "symmetries": ["flip_x"],
        "images": [
            {"name": f"{k}", "extent_um": list(e), "spacing_um": [s] * ndim}
            for k, (e, s) in enumerate(zip(extents, spread, strict=True))
        ],
    }


def test_the_finest_grain_gets_its_pixels():
    planned = make_plan(fingerprint())
    assert 0.9 * GRAIN_PX <= 10.0 / planned.plan.data.spacing_um <= GRAIN_PX
    assert 3.5 <= planned.plan.data.patch_px * planned.plan.data.spacing_um / 15 <= 5
    assert planned.plan.data.augment == ("flip_x",)
    assert "10 um, spans 13 px" in planned.reasons["data.spacing_um"]


def test_coarse_images_make_a_coarser_plan_as_long_as_grains_keep_their_pixels():
    data = make_plan(fingerprint(own=(0.3, 1.4), extents=((500, 500), (500, 500)))).plan.data
    assert data.spacing_um == pytest.approx(1.4 / MAX_UPSAMPLING, rel=0.08)
    assert data.skip == ()


def test_images_too_coarse_are_left_out():
    data = make_plan(fingerprint(own=(0.3, 4.0), extents=((500, 500), (500, 500)))).plan.data
    assert data.spacing_um == pytest.approx(10 / MIN_GRAIN_PX, rel=0.08)
    assert data.skip == ("1",)


def test_when_all_images_are_coarse_none_is_lost():
    data = make_plan(fingerprint(own=(3.0, 3.0), extents=((500, 500), (500, 500)))).plan.data
    assert data.skip == ()
    assert data.spacing_um == pytest.approx(3.0 / MAX_UPSAMPLING, rel=0.05)


def test_small_images_shrink_the_patch_or_are_left_out():
    one = make_plan(fingerprint(grains=(10, 30, 40), extents=((500, 500), (62, 90))))
    assert one.plan.data.patch_px == 80
    assert one.plan.data.skip == ()
    two = make_plan(fingerprint(extents=((500, 500), (20, 90))))
    assert two.plan.data.skip == ("1",)
    with pytest.raises(InputError, match="every image is too small"):
        make_plan(fingerprint(extents=((20, 90),)))


def test_without_grains_the_correlation_length_counts():
    plan = make_plan(fingerprint(grains=None, xi=6.0)).plan
    assert plan.data.spacing_um == pytest.approx(1.0)
    assert make_plan(fingerprint(grains=None, xi=0.6)).plan.data.spacing_um == pytest.approx(0.37)
    assert make_plan(fingerprint(grains=None, xi=None)).plan.data.spacing_um == pytest.approx(0.37)
    volume = make_plan(fingerprint(grains=None, xi=2.0, ndim=3, extents=((90, 90, 90),))).plan
    assert volume.data.patch_px in (32, 48, 64)


def test_conditions_are_what_the_data_show():
    scalars = [{"T_K": 300.0, "x": 1.0}, {"T_K": 400.0, "x": 1.0}]
    elongation = ["orientation_deg", "aspect_ratio"]
    assert wanted_conditions(fingerprint(), scalars) == ["grain_size_um", *elongation, "T_K"]
    assert wanted_conditions(fingerprint(grains=None), [{}, {}]) == elongation
    assert wanted_conditions({**fingerprint(grains=None), "field": "phase", "ndim": 3}, [{}]) == ["phase_fraction"]


def test_time_grows_with_what_is_computed():
    data, model, train = DataPlan(spacing_um=1.0), ModelPlan(), TrainPlan()
    base = estimate_minutes(model, train, data, 2)
    assert base == pytest.approx(train.images / REFERENCE_RATE / 60, rel=0.05)
    larger = estimate_minutes(model, train, DataPlan(spacing_um=1.0, patch_px=128), 2)
    wider = estimate_minutes(ModelPlan(channels=tuple(2 * c for c in model.channels)), train, data, 2)
    longer = estimate_minutes(model, TrainPlan(images=4 * train.images), data, 2)
    assert [larger, wider, longer] == pytest.approx([4 * base] * 3, rel=0.08)
