"""The consistency family against closed forms: for Gaussian data the consistency function is known exactly."""

from __future__ import annotations

import itertools
import runpy
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from microgen.core import Condition, ConditionSpec, InputError, Microstructure
from microgen.data.dataset import Item, write_dataset
from microgen.data.plan import ConditionsPlan, DataPlan, ModelPlan, Plan, Range, TrainPlan, plan_path, write_plan
from microgen.models import FAMILIES, consistency, diffusion, load_model, save_model
from microgen.models.codec import Codec
from microgen.models.conditions import tell
from microgen.models.model import Model
from microgen.models.noise import SeedNoise
from microgen.train import checkpoint
from microgen.train.run import train
from microgen.train.setup import make_job, resolve

cases: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("family_cases.py"))))
MEAN, STD = 0.3, 0.5
ASKED = Condition({"grain_size_um": 9.0})
QUIET: dict[str, Any] = {"say": lambda message: None}


def exact(x: Tensor, sigma: Tensor) -> Tensor:
    """Denoiser of data N(MEAN, STD^2): the posterior mean."""
    s = sigma.reshape(-1, *(1,) * (x.ndim - 1)) if sigma.ndim else sigma
    return (STD**2 * x + s**2 * MEAN) / (STD**2 + s**2)


def jump(x: Tensor, sigma: Tensor) -> Tensor:
    """The probability flow of that data, solved from `sigma` to 0."""
    s = sigma.reshape(-1, *(1,) * (x.ndim - 1)) if sigma.ndim else sigma
    return MEAN + (x - MEAN) * STD / (STD**2 + s**2).sqrt()


# What is learned


def test_the_exact_consistency_function_lands_where_it_jumps_to() -> None:
    """The error left is that of one step of Heun's method: of third order in the step."""
    x = torch.linspace(-3, 3, 24, dtype=torch.float64).reshape(3, 1, 8)
    high = torch.tensor([0.1, 0.7, 5.0], dtype=torch.float64)
    errors = [
        (consistency.landing(jump, exact, x, high, part * high) - jump(x, high)).abs().amax(dim=(1, 2))
        for part in (0.98, 0.99)
    ]
    np.testing.assert_allclose((errors[0] / errors[1]).numpy(), 8.0, rtol=0.1)
    assert (errors[1] < 1e-5).all()
    wrong = (consistency.landing(exact, exact, x, high, 0.99 * high) - exact(x, high)).abs().amax(dim=(1, 2))
    assert (wrong > 100 * errors[1]).all()  # the denoiser itself is no consistency function


def test_at_the_lowest_level_the_teacher_has_the_last_word() -> None:
    x, high = torch.randn(2, 1, 6), torch.tensor([0.03, 0.4])

    def never(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.full_like(x, torch.nan)

    made = consistency.landing(never, exact, x, high, torch.zeros(2))
    torch.testing.assert_close(made, exact(x, high))


class Scales(nn.Module):
    """A network for Gaussian data of one number per noise level: ``MEAN + scale(sigma) (x - MEAN)``."""

    conditions, channels = (), 1

    def __init__(self, config: consistency.Config) -> None:
        super().__init__()
        self.config, self.precondition = config, self
        self.scales = nn.Parameter(STD**2 / (STD**2 + config.grid[1:] ** 2))  # what the denoiser has

    def denoise(self, network: Any, x: Tensor, sigma: Tensor) -> Tensor:
        at = torch.searchsorted(self.config.grid, sigma * 1.001) - 2
        return MEAN + self.scales[at.clamp_min(0)].reshape(-1, 1, 1, 1) * (x - MEAN)

    def weight(self, sigma: Tensor) -> Tensor:
        return torch.ones_like(sigma)


class Exact(Scales):
    def denoise(self, network: Any, x: Tensor, sigma: Tensor) -> Tensor:
        return exact(x, sigma)


def test_training_turns_the_denoiser_into_the_consistency_function() -> None:
    config = consistency.Config(levels=24, lowest=0.05, huber=1.0)
    model, teacher = Scales(config), Exact(config)
    optimizer = torch.optim.Adam([model.scales], 0.02)

    def step() -> None:
        optimizer.step()
        optimizer.zero_grad()

    state = SimpleNamespace(
        net=SimpleNamespace(model=model, teacher=teacher),
        generator=torch.Generator().manual_seed(0),
        autocast=nullcontext,
        backward=lambda loss: loss.backward(),
        optimizer_step=step,
    )
    for index in range(800):
        for group in optimizer.param_groups:
            group["lr"] = 0.03 * (1 - index / 800)
        x = MEAN + STD * torch.randn((48, 1, 8, 8), generator=state.generator)
        consistency.train_step(state, {"x": x, "scalars": {}, "maps": {}}, index)
    wanted = STD / (STD**2 + config.grid[1:] ** 2).sqrt()
    torch.testing.assert_close(model.scales.detach(), wanted, rtol=0.1, atol=0.0)


def test_differences_count_by_their_square_below_the_width_and_by_their_size_above() -> None:
    ones = torch.ones(1, 1, 4, 4)
    small, large = (float(consistency.pseudo_huber(size * ones, 0.5)) for size in (1e-2, 100.0))
    assert small == pytest.approx(1e-4 / (2 * 0.5), rel=1e-2)
    assert large == pytest.approx(100 - 0.5, rel=1e-4)


def test_noise_levels_rise_from_zero_to_where_samples_start() -> None:
    config = consistency.Config(levels=9, lowest=0.02)
    grid = config.grid
    assert len(grid) == 10
    assert grid[0] == 0
    assert (grid.diff() > 0).all()
    assert grid[1] == pytest.approx(0.02)
    assert grid[-1] == pytest.approx(config.highest)
    levels = (config.highest, *consistency.AFTER_FIRST)
    assert all(a > b > 0 for a, b in itertools.pairwise(levels))


def test_without_noise_a_field_stays_as_it_is() -> None:
    """The boundary condition of a consistency function, whatever the weights."""
    net: Any = cases.make_model("consistency").net
    x = torch.randn(2, 1, 16, 16)
    told = tell(net.conditions, [ASKED] * 2, like=x)
    made = diffusion.denoiser(net, told)(x, torch.tensor(1e-6))
    torch.testing.assert_close(made, x, atol=1e-4, rtol=0)


# Samples


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_the_exact_function_gives_the_exact_distribution_in_any_number_of_steps(steps: int) -> None:
    """What is left is that the start is white noise, without the trace of the data that it should have."""
    draw, asked, mean, variance = SeedNoise([steps], (1, 400_000)), [], 0.0, 0.0

    def seen(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(float(sigma))
        return jump(x, sigma)

    config = consistency.Config()
    made = consistency.multistep(seen, [draw.stream(k) for k in range(steps)], config)
    assert asked == pytest.approx([config.highest, 2.0, 0.8, 0.3][:steps])
    for level in asked:
        share = STD / (STD**2 + level**2) ** 0.5
        mean, variance = MEAN + share * (mean - MEAN), share**2 * (variance + level**2)
    assert made.mean().item() == pytest.approx(mean, abs=5 * STD / 400_000**0.5)
    assert made.std().item() == pytest.approx(variance**0.5, rel=0.005)
    assert (mean, variance) == pytest.approx((MEAN, STD**2), rel=0.03)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_steps_are_evaluations_and_each_has_noise_of_its_own(steps: int) -> None:
    model, calls = cases.make_model("consistency"), []
    hook = model.net.register_forward_hook(lambda *_: calls.append(1))
    latents = {part: SeedNoise([0], (1, 16, 16)).stream(k) for k, part in enumerate(consistency.PARTS)}
    first = next(model.decode(latents, ASKED, steps=steps))["intensity"]
    assert len(calls) == steps
    hook.remove()
    assert np.array_equal(first, next(model.sample([0], ASKED, steps=steps))["intensity"])
    for number, part in enumerate(consistency.PARTS):
        changed = next(model.decode({**latents, part: -latents[part]}, ASKED, steps=steps))["intensity"]
        assert np.array_equal(changed, first) == (number >= steps)


def test_two_steps_are_usual_and_more_need_more_noise() -> None:
    model = cases.make_model("consistency")
    assert model.request(ASKED).options.steps == 2
    assert list(model.latents([0])) == ["noise", "noise_2"]
    with pytest.raises(InputError, match="3 steps need white noise in the latent named noise_3"):
        list(model.decode(model.latents([0]), ASKED, steps=3))


def test_the_number_of_steps_is_noted_and_decides_the_sample() -> None:
    model = cases.make_model("consistency")
    two, one = (next(model.sample([3], ASKED, steps=steps)) for steps in (2, 1))
    assert two.source["options"]["steps"] == 2
    assert not np.array_equal(two["intensity"], one["intensity"])
    noted = {k: v for k, v in two.source["options"].items() if k != "precision"}
    assert np.array_equal(next(model.sample([3], ASKED, **noted))["intensity"], two["intensity"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 5}, "1 to 4 steps"),
        ({"sampler": "heun"}, "leave out sampler"),
        ({"guidance": 2.0}, "leave out guidance"),
        ({"schedule": "karras"}, "leave out schedule"),
    ],
)
def test_options_without_meaning_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        cases.make_model("consistency").sample([0], ASKED, **options)


def test_a_model_that_saw_every_condition_must_be_told() -> None:
    model = cases.make_model("consistency", condition_dropout=0.0)
    with pytest.raises(InputError, match="must be told grain_size_um"):
        model.sample([0])


@pytest.mark.parametrize(("circular", "bar"), [(True, 1e-4), (False, 0.1)])
def test_periodic_samples_follow_noise_that_is_shifted_around(circular: bool, bar: float) -> None:
    """Networks that do not wrap around by themselves normalise over a margin, which is another after a shift."""
    model = cases.make_model("consistency", fold=1, channels=(8,), circular=circular)
    latents = model.latents([0], (32, 16))
    shifted = {name: part.roll((5, 3), dims=(2, 3)) for name, part in latents.items()}
    request = model.request(ASKED, (32, 16), periodic=True, steps=2)
    told = tell(model.conditions, [ASKED], like=latents["noise"])
    with torch.no_grad():
        straight, moved = (
            FAMILIES["consistency"].decode(model, some, told, request.shape, request.options)
            for some in (latents, shifted)
        )
    assert (straight.roll((5, 3), dims=(2, 3)) - moved).abs().max() < bar
    assert (straight - moved).abs().max() > 0.5


@pytest.mark.parametrize("shape", [(40, 24), (21, 40)])
def test_any_canvas_in_one_go_or_through_windows(shape: tuple[int, int]) -> None:
    model = cases.make_model("consistency")
    made = [next(model.sample([1], ASKED, shape, **how)) for how in ({}, {"window": 16})]
    assert [m.shape for m in made] == [shape, shape]
    assert not np.array_equal(*(m["intensity"] for m in made))


# Runs


def picture(seed: int) -> Microstructure:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(48, 48)), 1 + seed % 3, mode="wrap")
    values = np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)
    return Microstructure({"intensity": values}, (1.0, 1.0), scalars={"anneal_temperature_K": 900.0 + seed})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of four pictures with a temperature, and a plan whose network is not the teacher's."""
    path = tmp_path_factory.mktemp("data") / "steel.h5"
    items = [Item(f"{i}.png", picture(i), f"s{i}", "held_out" if i == 3 else "train") for i in range(4)]
    write_dataset(path, items, {"made_by": "test"})
    ranges = {"anneal_temperature_K": Range(low=900, high=905)}
    plan = Plan(
        data=DataPlan(spacing_um=1.0, patch_px=16),
        conditions=ConditionsPlan(scalars=tuple(ranges), ranges=ranges),
        model=ModelPlan(channels=(24, 48), blocks=2),
        train=TrainPlan(images=24, batch=8, warmup=8, precision="fp32"),
    )
    write_plan(plan_path(path), plan)
    return path


TEACHING = ("model.channels=[8,16]", "model.blocks=1", "model.settings.embedding=16", "train.images=16")


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("teacher") / "run"
    train(data, run, settings=[*TEACHING, "train.previews=0"], **QUIET)
    return run


def settings_of(teacher: Path, *more: str) -> list[str]:
    return ["model.family=consistency", f"model.teacher={teacher}", "train.previews=0", "train.images=24", *more]


def test_a_run_starts_as_its_teacher_with_the_teachers_network(data: Path, teacher: Path) -> None:
    known = load_model(teacher / "model.safetensors")
    chosen = resolve(data, plan=None, settings=settings_of(teacher))
    assert chosen.plan.model.channels == (8, 16)
    assert chosen.family_config.teacher_sha256 == known.sha256  # type: ignore[attr-defined]
    job: Any = make_job(data, chosen, provenance={}, **QUIET)
    for net in (job.net.model, job.net.teacher):
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), known.net.parameters(), strict=True))
    assert not any(weight.requires_grad for weight in job.net.teacher.parameters())
    assert all(weight.requires_grad for weight in job.net.model.parameters())


def test_a_resumed_run_ends_as_one_that_was_not_interrupted_and_the_file_stands_alone(
    data: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "teacher"
    shutil.copytree(teacher, mine)
    quick = settings_of(mine, "train.checkpoint_minutes=0")
    whole = train(data, tmp_path / "a", settings=quick, **QUIET)
    write = checkpoint.write_checkpoint

    def write_and_stop(folder: Path, images: int, *rest: Any) -> None:
        write(folder, images, *rest)
        if images == 16:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_checkpoint", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "b", settings=quick, **QUIET)
    monkeypatch.setattr(checkpoint, "write_checkpoint", write)
    assert train(data, tmp_path / "b", settings=quick, **QUIET)["model_sha256"] == whole["model_sha256"]
    assert whole["held_out_one_step"] > 0

    before = {name: weight.clone() for name, weight in load_model(mine / "model.safetensors").net.named_parameters()}
    shutil.rmtree(mine)
    model = load_model(tmp_path / "a" / "model.safetensors")
    assert any(not torch.equal(weight, before[name]) for name, weight in model.net.named_parameters())
    assert next(model.sample([0], Condition({"anneal_temperature_K": 902.0}))).shape == (16, 16)


def test_another_teacher_is_noticed_by_its_content(data: Path, teacher: Path, tmp_path: Path) -> None:
    mine = tmp_path / "teacher.safetensors"
    shutil.copy(teacher / "model.safetensors", mine)
    train(data, tmp_path / "run", settings=settings_of(mine), **QUIET)
    model = load_model(mine)
    with torch.no_grad():
        next(model.net.parameters()).mul_(1.5)
    save_model(mine, Model(**{name: getattr(model, name) for name in Model.__dataclass_fields__}))
    with pytest.raises(InputError, match="teacher_sha256"):
        train(data, tmp_path / "run", settings=settings_of(mine), **QUIET)
    with pytest.raises(InputError, match="not the one that this plan names"):
        train(data, tmp_path / "other", plan=tmp_path / "run" / "plan.toml", **QUIET)
    assert not (tmp_path / "other").exists()


def changed(teacher: Path, **changes: Any) -> Model:
    model = load_model(teacher / "model.safetensors")
    return Model(**{**{name: getattr(model, name) for name in Model.__dataclass_fields__}, **changes})


def codec_like(codec: Codec, **changes: Any) -> Codec:
    return Codec(**{**{name: getattr(codec, name) for name in Codec.__dataclass_fields__}, **changes})


def fresh(name: str, codec: Codec, **config: Any) -> Model:
    family: Any = FAMILIES[name]
    specs = [ConditionSpec("anneal_temperature_K", "scalar", 900, 905)]
    chosen = family.Config(**{**cases.CASES[name], **config})
    net = family.build(chosen, codec=codec, conditions=specs)
    return Model(name, chosen.model_dump(mode="json"), net, codec, specs, (16,) * codec.ndim)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("field", "makes phase at 1 um per point, the plan asks for intensity"),
        ("spacing", "at 0.5 um per point, the plan asks for intensity at 1 um"),
        ("conditions", "train both with one plan"),
        ("family", "is of the family vae"),
        ("ddpm", "parameterisation ddpm"),
        ("missing", "there is no model"),
        ("unnamed", "name its file or run folder with --set model.teacher=PATH"),
        ("volumes", "has 3 axes and 1 channels, the data set 2 and 1"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused_in_one_sentence(
    data: Path, teacher: Path, tmp_path: Path, what: str, words: str
) -> None:
    path, codec = tmp_path / "teacher.safetensors", load_model(teacher / "model.safetensors").codec
    made = {
        "field": lambda: changed(teacher, codec=codec_like(codec, field="phase")),
        "spacing": lambda: changed(teacher, codec=codec_like(codec, spacing_um=(0.5, 0.5))),
        "conditions": lambda: changed(teacher, conditions=(cases.SPEC,)),
        "family": lambda: fresh("vae", codec),
        "ddpm": lambda: fresh("diffusion", codec, parameterisation="ddpm"),
        "volumes": lambda: fresh("diffusion", codec_like(codec, spacing_um=(1.0,) * 3)),
    }
    if what in made:
        save_model(path, made[what]())
    settings = settings_of(path) if what != "unnamed" else ["model.family=consistency"]
    with pytest.raises(InputError, match=words) as refused:
        train(data, tmp_path / "run", settings=settings, **QUIET)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_after_training_one_evaluation_is_better_than_two_of_the_teacher(data: Path, tmp_path: Path) -> None:
    """Of its teacher's weights one evaluation gives the mean of all pictures; after training it gives a picture."""
    common = ("train.previews=0", "train.validations=1", "train.learning_rate=2e-3")
    train(data, tmp_path / "teacher", settings=[*TEACHING, *common, "train.images=4000"], **QUIET)
    first, last = (
        train(
            data,
            tmp_path / str(images),
            settings=settings_of(tmp_path / "teacher", *common, f"train.images={images}"),
            **QUIET,
        )
        for images in (8, 2400)
    )
    before, after = ((result["held_out_one_step"], result["held_out_loss"]) for result in (first, last))
    assert after[0] < 0.5 * before[0], (before, after)
    assert after[0] < before[1], (before, after)
    assert after[1] < 0.7 * before[1], (before, after)
