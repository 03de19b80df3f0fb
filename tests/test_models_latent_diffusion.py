"""Latent diffusion: the frozen autoencoder inside, latents and residual as measured, canvases, and what is refused."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter
from torch import nn

from microgen.core import Condition, ConditionSpec, InputError, Microstructure
from microgen.core.seeds import rng
from microgen.data.dataset import Item, write_dataset
from microgen.data.plan import ConditionsPlan, DataPlan, ModelPlan, Plan, Range, TrainPlan, plan_path, write_plan
from microgen.models import Codec, Model, load_model, read_header, vae
from microgen.models import latent_diffusion as family
from microgen.models.conditions import encode_conditions, tell
from microgen.models.residual import coloured, power, spectral_filter, unmeasured, whitened
from microgen.train.loop import Trainer
from microgen.train.run import train
from microgen.train.setup import make_job, resolve

cases: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("family_cases.py"))))
NAME = "latent-diffusion"
TEMPERATURE = "anneal_temperature_K"
SHARE = ConditionSpec("phase_fraction", "map", 0, 1)
QUIET: dict[str, Any] = {"say": lambda message: None}
QUICK = ["train.previews=0", "train.log_images=16", "train.validations=1", "train.validation_patches=8"]
SMALL = ["model.blocks=1", "model.embedding=16", "train.checkpoint_minutes=0", *QUICK]
ENCODER = ["model.family=vae", "model.latent=map", "model.channels=[8]", "model.fold=2", "train.images=480", *SMALL]
TINY = [f"model.family={NAME}", "model.channels=[8,16]", "train.images=48", *SMALL]


def _picture(seed: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    smooth = gaussian_filter(random.normal(size=(48, 48)), 3, mode="wrap")
    gray = 128 + 50 * smooth / smooth.std() + 8 * random.normal(size=(48, 48))
    return np.asarray(gray.clip(0, 255), np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of smooth shapes under white noise, with a temperature, and a plan for a diffusion."""
    out = tmp_path_factory.mktemp("data")
    items = [
        Item(
            f"{i}.png",
            Microstructure({"intensity": _picture(i)}, (1.0, 1.0), scalars={TEMPERATURE: 900.0 + i}),
            f"s{i}",
            "held_out" if i == 5 else "train",
        )
        for i in range(6)
    ]
    write_dataset(out / "steel.h5", items, {"made_by": "test"})
    plan = Plan(
        data=DataPlan(spacing_um=1.0, patch_px=16),
        conditions=ConditionsPlan(scalars=(TEMPERATURE,), ranges={TEMPERATURE: Range(low=900, high=905)}),
        model=ModelPlan(blocks=1),
        train=TrainPlan(batch=8, warmup=16, precision="fp32", learning_rate=3e-3),
    )
    write_plan(plan_path(out / "steel.h5"), plan)
    return out / "steel.h5"


@pytest.fixture(scope="module")
def autoencoder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "autoencoder"
    train(data, run, settings=ENCODER, **QUIET)
    return run


@pytest.fixture(scope="module")
def done(data: Path, autoencoder: Path) -> Path:
    run = autoencoder.with_name("diffusion")
    train(data, run, settings=[*TINY, f"model.autoencoder={autoencoder}"], **QUIET)
    return run


def _fresh(data: Path, *settings: str) -> Any:
    return make_job(data, resolve(data, plan=None, settings=[*TINY, *settings]), provenance={}, **QUIET)


def _crops(job: Any, count: int, seed: int = 9) -> torch.Tensor:
    encoded: torch.Tensor = job.encode(job.patches.batch(rng(seed), count)["field"])
    return encoded


# What is measured before training


def test_latents_are_standardised(data: Path, autoencoder: Path) -> None:
    job = _fresh(data, f"model.autoencoder={autoencoder}")
    net, x = job.net, _crops(job, 256)
    raw = vae.posterior(load_model(autoencoder / "model.safetensors"), job.patches.batch(rng(9), 256)["field"])[0]
    assert (raw.transpose(0, 1).flatten(1).std(dim=1) - 1).abs().max() > 0.2  # else nothing would be shown here
    latents = net.encode(x, torch.randn(256, net.channels, 8, 8, generator=torch.Generator().manual_seed(0)))
    by_channel = latents.transpose(0, 1).flatten(1)
    assert by_channel.mean(dim=1).abs().max() < 0.15
    assert (by_channel.std(dim=1) - 1).abs().max() < 0.1


@torch.no_grad()
def test_the_residual_is_drawn_with_the_power_of_what_decoding_leaves_out(data: Path, autoencoder: Path) -> None:
    job = _fresh(data, f"model.autoencoder={autoencoder}")
    net, x = job.net, _crops(job, 256)
    generator = torch.Generator().manual_seed(1)
    left = x - net.answer(net.encode(x, torch.randn(256, net.channels, 8, 8, generator=generator)))
    drawn = coloured(torch.randn(x.shape, generator=generator), net.residual)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(16), np.fft.fftfreq(16)))
    bands = [torch.from_numpy((low <= frequency) & (frequency < low + 0.15)) for low in (0.1, 0.25, 0.4)]
    wanted, got = ([float(power(a)[0][band].mean()) for band in bands] for a in (left, drawn))
    assert max(wanted) > 3 * min(wanted)  # white noise would not do
    assert got == pytest.approx(wanted, rel=0.25)  # a filter of limited reach


def test_a_filter_is_found_again_in_the_noise_it_made() -> None:
    kernel = unmeasured(2, 2)
    kernel[1, 0, 4:7, 5] += torch.tensor([0.3, 0.0, 0.3])
    noise = coloured(torch.randn(400, 2, 32, 32, generator=torch.Generator().manual_seed(0)), kernel)
    torch.testing.assert_close(spectral_filter(power(noise)).float(), kernel, atol=0.02, rtol=0)


@pytest.mark.parametrize("shape", [(16, 16), (7, 30), (8, 9, 10)])
def test_white_noise_comes_back_from_coloured_noise(shape: tuple[int, ...]) -> None:
    kernel = unmeasured(1, len(shape))
    kernel[(0, 0, 4, *(5,) * (len(shape) - 1))] = kernel[(0, 0, 6, *(5,) * (len(shape) - 1))] = 0.4
    white = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    drawn = coloured(white, kernel)
    assert not torch.allclose(drawn, white, atol=0.1)
    torch.testing.assert_close(whitened(drawn, kernel), white, atol=1e-5, rtol=1e-5)
    rolled = coloured(white.roll(3, -1), kernel).roll(-3, -1)  # no border
    torch.testing.assert_close(rolled, drawn)


# One file, two networks


def test_the_model_file_stands_alone(done: Path, autoencoder: Path, tmp_path: Path) -> None:
    model = load_model(done / "model.safetensors")
    there = load_file(autoencoder / "model.safetensors")
    inside = {k.removeprefix("autoencoder."): v for k, v in model.net.state_dict().items() if "autoencoder" in k}
    assert inside.keys() == there.keys()
    assert all(torch.equal(inside[name], there[name]) for name in there)  # training left it as it was
    header = read_header(done / "model.safetensors")
    assert header["config"]["frozen"]["sha256"] == read_header(autoencoder / "model.safetensors")["sha256"]
    assert header["codec"] == read_header(autoencoder / "model.safetensors")["codec"]
    before = next(model.sample([3], preset="fast"))["intensity"]
    hidden = shutil.move(autoencoder, tmp_path / "elsewhere")
    try:
        again = next(load_model(done / "model.safetensors").sample([3], preset="fast"))["intensity"]
    finally:
        shutil.move(hidden, autoencoder)
    assert np.array_equal(before, again)


def test_the_codec_is_that_of_the_autoencoder(data: Path, autoencoder: Path, tmp_path: Path) -> None:
    plan = resolve(data, plan=None, settings=[]).plan
    fewer = plan.model_copy(update={"data": plan.data.model_copy(update={"skip": ("0.png", "1.png")})})
    settings = resolve(data, plan=fewer, settings=[*TINY, f"model.autoencoder={autoencoder}"])
    job = make_job(data, settings, provenance={}, **QUIET)
    codec = load_model(autoencoder / "model.safetensors").codec
    field = np.array([[[[0.0, 100.0]]]], np.float32)
    assert torch.equal(job.encode(field), codec.encode(field))
    alone = make_job(data, resolve(data, plan=fewer, settings=[]), provenance={}, **QUIET)
    assert not torch.equal(alone.encode(field), codec.encode(field))


def test_the_autoencoder_is_never_in_training_mode() -> None:
    net = cases.make_trained(NAME).train()
    assert net.training
    assert net.unet.training
    assert not any(module.training for module in net.autoencoder.modules())
    assert not any(p.requires_grad for p in net.autoencoder.parameters())


def test_what_suits_the_family_takes_the_place_of_a_plan_for_another(data: Path, autoencoder: Path) -> None:
    given = [f"model.family={NAME}", f"model.autoencoder={autoencoder}"]
    config: Any = resolve(data, plan=None, settings=given).family_config
    assert (config.fold, config.channels) == (1, (64, 128))
    config = resolve(data, plan=None, settings=[*given, "model.fold=2"]).family_config
    assert (config.fold, config.channels) == (2, (64, 128))


# Runs


def test_a_resumed_run_is_the_same_and_another_autoencoder_is_noticed(
    data: Path, autoencoder: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = shutil.copytree(autoencoder, tmp_path / "mine")
    settings = [*TINY, f"model.autoencoder={mine}"]
    step = Trainer._step

    def stop(trainer: Trainer, batch: Any) -> None:
        if trainer.counters.images >= 24:
            raise KeyboardInterrupt
        step(trainer, batch)

    monkeypatch.setattr(Trainer, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "run", settings=settings, **QUIET)
    monkeypatch.undo()
    shutil.rmtree(mine)
    train(data, mine, settings=[*ENCODER, "train.seed=1", "train.images=16"], **QUIET)
    with pytest.raises(InputError, match=r"frozen\.sha256"):
        train(data, tmp_path / "run", settings=settings, **QUIET)
    shutil.rmtree(mine)
    shutil.copytree(autoencoder, mine)
    train(data, tmp_path / "run", settings=settings, **QUIET)
    whole, cut = (load_file(run / "model.safetensors") for run in (done, tmp_path / "run"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (["model.autoencoder=nowhere"], "there is no model"),
        ([], "starts from a trained model"),
        (["model.autoencoder={}", "data.spacing_um=2.0"], "makes intensity at 1 um per point"),
        (["model.autoencoder={}", "data.field=phase"], "makes intensity"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    data: Path, autoencoder: Path, tmp_path: Path, settings: list[str], wanted: str
) -> None:
    with pytest.raises(InputError, match=wanted) as error:
        train(data, tmp_path / "run", settings=[*TINY, *(s.format(autoencoder) for s in settings)], **QUIET)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def _base(**changes: Any) -> Model:
    made: Model = cases.make_model("vae", **{"latent": "map", **changes})
    return made


@pytest.mark.parametrize(
    ("base", "patch_px", "wanted"),
    [
        (lambda: _base(latent="vector"), 16, "a vae with a latent vector"),
        (lambda: cases.make_model("diffusion"), 16, "of the family diffusion"),
        (lambda: _base(condition_dropout=0.0), 16, "must be told grain_size_um"),
        (lambda: _base(fold=1, channels=(8, 8, 8, 8, 8, 8), patch_px=32), 16, "multiple of 32"),
    ],
)
def test_models_that_are_no_autoencoder_are_refused(base: Callable[[], Model], patch_px: int, wanted: str) -> None:
    config = family.Config(autoencoder="runs/ae", patch_px=patch_px)
    with pytest.raises(InputError, match=wanted):
        family.completed(config, base(), [])


def test_a_network_without_its_autoencoder_cannot_be_built() -> None:
    with pytest.raises(InputError, match="needs an autoencoder"):
        family.build(family.Config(), codec=cases.codec_of(), conditions=[])


# Sampling


@pytest.mark.parametrize("shape", [(16, 16), (21, 40), (8, 67)])
def test_any_canvas(done: Path, shape: tuple[int, int]) -> None:
    model = load_model(done / "model.safetensors")
    made = next(model.sample([0], Condition({TEMPERATURE: 903.0}), shape, preset="fast"))
    assert made["intensity"].shape == shape
    assert made["intensity"].std() > 1


@torch.no_grad()
@pytest.mark.parametrize("circular", [False, True])
def test_periodic_fields_have_no_seam(*, circular: bool) -> None:
    """Moved latents make the moved field: no place is a border. Without `periodic` the border shows."""
    frozen = {**cases.CASES[NAME]["frozen"]}
    frozen["config"] = {**frozen["config"], "circular": circular}
    net = cases.make_model(NAME, circular=circular, frozen=frozen).net
    z = torch.randn(1, 4, 24, 16, generator=torch.Generator().manual_seed(0))
    steps, back = (6, 4), (-12, -8)

    def moved(*, periodic: bool) -> float:
        here = family.decoded(net, z, periodic=periodic)
        there = family.decoded(net, z.roll(steps, (2, 3)), periodic=periodic).roll(back, (2, 3))
        return float((there - here).abs().max() / here.std())

    assert moved(periodic=True) < (1e-4 if circular else 0.05)
    assert circular or moved(periodic=False) > 0.3


def test_periodic_samples_wrap_and_other_sides_are_refused(done: Path) -> None:
    model = load_model(done / "model.safetensors")
    with pytest.raises(InputError, match="multiples of 2"):
        model.request(shape=(16, 21), periodic=True)
    whole = next(model.sample([0], shape=(32, 32), preset="fast", periodic=True))["intensity"].astype(float)
    open_ = next(model.sample([0], shape=(32, 32), preset="fast"))["intensity"].astype(float)
    assert not np.array_equal(whole, open_)


@torch.no_grad()
def test_windows_make_the_field_of_one_go() -> None:
    """But for the group norms, which see a window instead of the whole: without them only what is blended differs."""
    net = cases.make_model(NAME).net
    z = torch.randn(1, 4, 96, 80, generator=torch.Generator().manual_seed(0))

    def deviation() -> float:
        whole, parts = family.decoded(net, z), family.decoded(net, z, window=32)
        assert whole.shape == parts.shape == (1, 1, 192, 160)
        return float((whole - parts).square().mean().sqrt() / whole.std())

    assert 0 < deviation() < 0.2
    for module in net.autoencoder.decoder.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    assert deviation() < 0.02


def test_classes_stay_classes_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Codec("phase", 2.0, 0.8, 1, 3, "uint8", (1.0, 1.0))
    config = family.Config(**cases.CASES[NAME])
    torch.manual_seed(0)
    net: Any = family.build(config, codec=codec, conditions=[]).eval()
    nn.init.normal_(net.autoencoder.decoder.layers[-1].weight)
    assert net.residual is None
    model = Model(NAME, config.model_dump(mode="json"), net, codec, [], (16, 16))
    monkeypatch.setattr(family, "DIRECT_POINTS", 16)
    made = next(model.sample([0], shape=(90, 70), preset="fast"))["phase"]
    assert set(np.unique(made)) == {1, 2, 3}
    with torch.no_grad():
        encoded = family.decoded(net, torch.randn(1, 4, 45, 35), window=16)
    assert set(encoded.unique().tolist()) <= set(codec.encode(np.array([1, 2, 3])).tolist())  # no blends of classes
    assert list(model.latents([0])) == ["noise"]


def test_windows_are_given_in_points_of_the_field() -> None:
    model = cases.make_model(NAME)
    options = model.request(shape=(512, 512), window=128).options
    assert family._on_latents(options, (256, 256), 2).window == 64
    free = model.request(shape=(512, 512)).options
    assert family._on_latents(free, (256, 256), 2).window is None
    assert family._on_latents(free, (1024, 1024), 2).window == 512


# Conditions


def test_conditions_reach_and_hidden_ones_leave_no_trace() -> None:
    model = cases.make_model(NAME)

    def ask(size: float, guidance: float) -> NDArray[Any]:
        made = model.sample([3], Condition({"grain_size_um": size}), preset="fast", guidance=guidance)
        return np.asarray(next(made)["intensity"])

    assert np.array_equal(ask(6, 0.0), ask(18, 0.0))
    assert not np.array_equal(ask(6, 1.0), ask(18, 1.0))


def test_maps_are_averaged_over_each_latent_point() -> None:
    drawn = torch.arange(20.0).reshape(1, 4, 5).expand(2, 4, 5) / 20
    told = encode_conditions([SHARE], {}, {"phase_fraction": drawn}, like=torch.zeros(2, 1, 4, 5))
    coarse = family._coarse(told, 2).maps
    assert coarse.shape == (2, 2, 2, 3)
    encoded = 2 * drawn - 1
    torch.testing.assert_close(coarse[:, 0, 1, 1], encoded[:, 2:4, 2:4].mean(dim=(1, 2)))
    torch.testing.assert_close(coarse[:, 0, 0, 2], encoded[:, 0:2, 4].mean(dim=1))  # the far border is repeated
    assert coarse[:, 1].eq(1).all()


def test_a_map_is_painted() -> None:
    config = family.Config(**cases.CASES[NAME])
    torch.manual_seed(0)
    net: Any = family.build(config, codec=cases.codec_of(), conditions=[SHARE]).eval()
    nn.init.normal_(net.unet.head.weight, std=0.3)
    nn.init.normal_(net.unet.stem.weight, std=0.3)
    model = Model(NAME, config.model_dump(mode="json"), net, cases.codec_of(), [SHARE], (16, 16))
    left = np.zeros((20, 23))
    left[:, 12:] = 1.0
    made, flat = (
        next(model.sample([1], Condition(maps={"phase_fraction": m}), (20, 23), preset="fast"))["intensity"]
        for m in (left, np.zeros((20, 23)))
    )
    assert made.shape == (20, 23)
    assert not np.array_equal(made, flat)


# Learning


def test_training_lowers_the_loss_of_the_latents(data: Path, autoencoder: Path) -> None:
    job = _fresh(data, f"model.autoencoder={autoencoder}")
    net = job.net.train()
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 3e-3)
    state = SimpleNamespace(
        net=net,
        generator=torch.Generator().manual_seed(0),
        autocast=nullcontext,
        backward=lambda loss: loss.backward(),
        optimizer_step=lambda: (optimizer.step(), optimizer.zero_grad()),
    )
    batch = {"x": _crops(job, 16), "scalars": {TEMPERATURE: torch.full((16,), 902.0)}, "maps": {}}
    losses = [float(family.train_step(state, batch, i)["loss"]) for i in range(60)]
    assert np.mean(losses[:3]) == pytest.approx(1.0, abs=0.25)  # standardised latents, and a network that says 0
    assert np.mean(losses[-10:]) < 0.85 * np.mean(losses[:5])


@torch.no_grad()
def test_a_field_is_made_again_from_its_latents(done: Path) -> None:
    """The way there and back: with its residual, an encoded field comes back but for the error of the sampler."""
    model = load_model(done / "model.safetensors")
    x = model.codec.encode(_picture(3)[None, None, :21, :32])
    told = tell(model.conditions, [Condition()], like=x)
    latents = family.encode(model, x, told)
    assert {k: tuple(v.shape[1:]) for k, v in latents.items()} == family.latent_shapes(model, (21, 32))
    options = model.request(shape=(21, 32), sampler="heun", schedule="exponential", steps=80).options
    error = family.decode(model, latents, told, (21, 32), options) - x
    blurred = family.decode(model, {**latents, "residual": 0 * latents["residual"]}, told, (21, 32), options) - x
    assert error.std() < 0.1 < blurred.std()
