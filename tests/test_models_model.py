"""Asking a model: conditions, shapes, options, and samples that depend on nothing but what was asked."""

from __future__ import annotations

import itertools
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from microgen.core import Condition, ConditionSpec, InputError
from microgen.models import Model
from microgen.models.batches import Batches
from microgen.models.options import resolve_precision

tiny_model = runpy.run_path(str(Path(__file__).with_name("model_fakes.py")))["tiny_model"]
GRAINS = Condition({"grain_size_um": 10.0})


@pytest.fixture(scope="module")
def model() -> Model:
    made: Model = tiny_model()
    return made


def pictures(model: Model, seeds: Any, condition: Condition | None = None, **options: Any) -> list[bytes]:
    found = model.sample(seeds, condition, **{"preset": "fast", **options})
    return [m["intensity"].tobytes() for m in found]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_sample_depends_on_its_seed_alone(model: Model, precision: str) -> None:
    """Batch size, neighbours, order and thread count leave every byte as it is."""
    alone = {seed: pictures(model, [seed], GRAINS, precision=precision)[0] for seed in (3, 4, 5)}
    assert len(set(alone.values())) == 3
    for batch, order in itertools.product((1, 2, 8), ([3, 4, 5], [5, 3, 4])):
        made = pictures(model, order, GRAINS, batch=batch, precision=precision)
        assert made == [alone[seed] for seed in order]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if before > 1 else 2)
        assert pictures(model, [4], GRAINS, precision=precision) == [alone[4]]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("preset", ["fine", "ddpm"])
def test_noise_on_the_way_depends_on_the_seed_alone(model: Model, preset: str) -> None:
    steps = {"ddpm": 30, "fine": 10}[preset]
    alone = pictures(model, [7], preset=preset, steps=steps)
    assert pictures(model, [1, 7, 2], preset=preset, steps=steps, batch=3)[1] == alone[0]


def test_samples_answer_to_condition_shape_and_options(model: Model) -> None:
    """Everything that is written into the recipe changes the sample."""
    asked = [
        pictures(model, [0]),
        pictures(model, [0], GRAINS),
        pictures(model, [0], Condition({"grain_size_um": 19.0})),
        pictures(model, [0], Condition({"grain_size_um": 10.0, "orientation_deg": 45.0})),
        pictures(model, [0], GRAINS, guidance=3.0),
        pictures(model, [0], GRAINS, guidance=3.0, guidance_interval=(0.1, 1.0)),
        pictures(model, [0], GRAINS, steps=7),
        pictures(model, [0], GRAINS, sampler="heun"),
        pictures(model, [0], GRAINS, periodic=True),
        pictures(model, [0], GRAINS, shape=(24, 16)),
        pictures(model, [1], GRAINS),
    ]
    assert len({a[0] for a in asked}) == len(asked)


def test_sample_carries_scale_condition_and_source(model: Model) -> None:
    condition = Condition({"grain_size_um": 10.0, "orientation_deg": 30.0})
    made = next(model.sample([4], condition, (24, 40), preset="fast"))
    assert made.shape == (24, 40)
    assert made.spacing == (0.8, 0.8)
    assert made["intensity"].dtype == np.uint8
    assert dict(made.scalars) == {"grain_size_um": 10.0, "orientation_deg": 30.0}
    assert made.source["seed"] == 4
    assert made.source["model_sha256"] == model.sha256
    assert made.source["options"]["sampler"] == "dpmpp_2m"
    assert made.source["options"]["steps"] == 10


def test_source_is_enough_to_make_it_again(model: Model) -> None:
    first = next(model.sample([6], GRAINS, (20, 28), preset="fast", guidance=2.0, guidance_interval=(0.1, 5.0)))
    source = first.source
    again = next(model.sample([source["seed"]], Condition(source["condition"]), source["shape"], **source["options"]))
    assert np.array_equal(again["intensity"], first["intensity"])
    assert dict(again.source) == dict(source)


def test_default_shape_is_the_training_patch_and_any_other_works(model: Model) -> None:
    assert next(model.sample([0], preset="fast")).shape == (16, 16)
    for shape in ((9, 23), (40, 17)):
        assert next(model.sample([0], preset="fast", shape=shape)).shape == shape


def test_volumes(tmp_path: Path) -> None:
    made = next(tiny_model(ndim=3, specs=()).sample([0], shape=(8, 12, 10), preset="fast"))
    assert made.shape == (8, 12, 10)
    assert made.spacing == (0.8, 0.8, 0.8)


def test_map_condition_acts_where_it_is_painted(model: Model) -> None:
    """The same noise, one half painted differently: only that half answers, beyond the reach of the network."""
    painted = np.zeros((16, 160))
    painted[:, 80:] = 90.0
    options = {"preset": "fast", "shape": (16, 160), "precision": "fp32", "window": 48}
    plain = next(model.sample([0], Condition(maps={"orientation_deg": np.zeros((16, 160))}), **options))["intensity"]
    half = next(model.sample([0], Condition(maps={"orientation_deg": painted}), **options))["intensity"]
    change = np.abs(half.astype(float) - plain).mean(axis=0)
    assert change[120:].mean() > 5 * change[:40].mean()


def test_windows_are_used_when_asked_for(model: Model) -> None:
    direct = pictures(model, [0], shape=(48, 40))
    assert pictures(model, [0], shape=(48, 40), window=48) == direct
    assert pictures(model, [0], shape=(48, 40), window=24) != direct


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Condition({"colour": 1.0}), "it knows grain_size_um, orientation_deg"),
        (Condition({"grain_size_um": 50.0}), "outside 5 .. 20"),
        (Condition({"grain_size_um": 1.0}), "outside 5 .. 20"),
        (Condition(maps={"grain_size_um": np.full((16, 16), 9.0)}), "one number"),
        (Condition(maps={"orientation_deg": np.zeros((3, 3))}), "3 x 3, the sample 16 x 16"),
        (Condition(maps={"orientation_deg": np.full((16, 16), np.nan)}), "NaN"),
    ],
)
def test_impossible_conditions_are_refused_before_any_work(model: Model, condition: Condition, words: str) -> None:
    with pytest.raises(InputError, match=words):
        model.sample([0], condition)


def test_extrapolation_is_possible_when_asked_for(model: Model) -> None:
    made = next(model.sample([0], Condition({"grain_size_um": 30.0}), extrapolate=True, preset="fast"))
    assert made.scalars["grain_size_um"] == 30.0


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_what_is_learned_on_a_logarithmic_scale_is_positive(model: Model, value: float) -> None:
    with pytest.raises(InputError, match="grain_size_um must be positive"):
        model.request(Condition({"grain_size_um": value}), extrapolate=True)


def test_batch_is_decided_where_it_decides_about_bits() -> None:
    model = tiny_model()
    assert "batch" not in model.request(batch=3).to_dict()
    model.net.to("meta")  # any device but the CPU
    assert model.request().to_dict()["batch"] == 16
    assert model.request(batch=3).to_dict()["batch"] == 3


def test_model_that_always_saw_its_condition_must_be_told(model: Model) -> None:
    always = tiny_model(condition_dropout=0.0)
    both = Condition({"grain_size_um": 10.0, "orientation_deg": 3.0})
    assert always.request(both).condition.scalars == {"grain_size_um": 10.0}
    with pytest.raises(InputError, match="must be told orientation_deg"):
        always.request(GRAINS)
    with pytest.raises(InputError, match="guidance = 1 only"):
        always.request(both, guidance=2.0)
    assert model.request(GRAINS, guidance=2.0).options.guidance == 2.0
    assert tiny_model(condition_dropout=0.0, specs=()).request().condition.scalars == {}


def test_presets_take_no_more_steps_than_the_model_has() -> None:
    model = tiny_model(parameterisation="ddpm", noise_steps=30)
    source = next(model.sample([0], preset="ddpm")).source
    assert source["options"]["steps"] == 30
    assert model.request(**source["options"]).to_dict()["options"] == source["options"]
    with pytest.raises(InputError, match="1 to 30 steps, 31"):
        model.request(preset="ddpm", steps=31)


def test_directions_have_no_range(model: Model) -> None:
    assert pictures(model, [0], Condition({"orientation_deg": 190.0})) == pictures(
        model, [0], Condition({"orientation_deg": 10.0})
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"shape": (16,)},
        {"shape": (4, 64)},
        {"colour": 3},
        {"preset": "x"},
        {"batch": 0},
        {"guidance": -1},
        {"steps": 1},
        {"schedule": "discrete", "steps": 1001},
        {"guidance_interval": (3.0, 1.0)},
    ],
)
def test_impossible_options_are_refused_before_any_work(model: Model, bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        model.sample([0], **bad)


def test_model_without_conditions_says_so() -> None:
    with pytest.raises(InputError, match="knows no conditions"):
        tiny_model(specs=()).sample([0], GRAINS)


def test_seeds_are_taken_only_as_they_are_needed(model: Model) -> None:
    taken: list[int] = []

    def endless() -> Any:
        for seed in itertools.count():
            taken.append(seed)
            yield seed

    stream = model.sample(endless(), preset="fast", batch=2)
    assert [next(stream).source["seed"] for _ in range(3)] == [0, 1, 2]
    stream.close()  # type: ignore[attr-defined]
    assert len(taken) <= 6


def test_sampling_leaves_the_network_as_it_was() -> None:
    model = tiny_model()
    model.net.train()
    before = {name: t.clone() for name, t in model.net.state_dict().items()}
    list(model.sample([0, 1], preset="fast"))
    assert model.net.training
    assert not model.net._forward_pre_hooks
    assert all(torch.equal(before[name], t) for name, t in model.net.state_dict().items())


def test_an_error_of_the_network_reaches_the_caller_and_threads_are_restored() -> None:
    before = torch.get_num_threads()

    def fail(seeds: Any) -> torch.Tensor:
        raise InputError("on purpose")

    with pytest.raises(InputError, match="on purpose"):
        list(Batches(fail, torch.device("cpu"), batch=2).run(range(5)))
    assert torch.get_num_threads() == before


def test_full_batches_are_filled_up_and_cut_again() -> None:
    """What a GPU does: always the same batch size."""
    seen: list[list[int]] = []

    def make(seeds: Any) -> torch.Tensor:
        seen.append(list(seeds))
        return torch.tensor(seeds)

    batches = Batches(make, torch.device("cpu"), batch=3)
    found = [(seed, int(value)) for seed, value in batches._full_batches(range(5), 3)]
    assert found == [(i, i) for i in range(5)]
    assert seen == [[0, 1, 2], [3, 4, 4]]


@pytest.mark.parametrize("has_bf16", [True, False])
def test_precision_is_resolved_for_the_machine(monkeypatch: pytest.MonkeyPatch, has_bf16: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16, raising=False)
    assert resolve_precision("auto", torch.device("cpu")) == ("bf16" if has_bf16 else "fp32")
    assert resolve_precision("auto", torch.device("meta")) == "fp32"
    assert resolve_precision("fp32", torch.device("cpu")) == "fp32"
    assert resolve_precision("bf16", torch.device("cpu")) == "bf16"


def test_patch_must_fit_the_codec(model: Model) -> None:
    with pytest.raises(InputError, match="patch"):
        Model("diffusion", {}, model.net, model.codec, (), (16, 16, 16))


def test_range_is_checked_in_physical_units() -> None:
    specs = (ConditionSpec("phase_fraction", "scalar", 0.1, 0.4),)
    model = tiny_model(specs=specs)
    model.request(Condition({"phase_fraction": 0.4}))
    with pytest.raises(InputError, match=r"phase_fraction = 0.41 is outside 0.1 .. 0.4"):
        model.request(Condition({"phase_fraction": 0.41}))
