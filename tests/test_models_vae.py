"""The VAE family: its bound against closed forms, what it learns, and what is asked of it."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence

from microgen.cli.train import command
from microgen.core import Condition, ConditionSpec, InputError, Microstructure
from microgen.data.dataset import Item, write_dataset
from microgen.data.plan import ConditionsPlan, DataPlan, ModelPlan, Plan, Range, TrainPlan, plan_path, write_plan
from microgen.models import Codec, Model, load_model, save_model, vae
from microgen.models.conditions import encode_conditions, tell
from microgen.train import checkpoint
from microgen.train.log import read_log
from microgen.train.run import train
from microgen.train.setup import resolve

SIZE = ConditionSpec("grain_size_um", "scalar", 5, 20, "log")
ANGLE = ConditionSpec("orientation_deg", "scalar", 0, 180, "axial")
SHARE = ConditionSpec("phase_fraction", "map", 0, 1)
SMALL: dict[str, Any] = {"channels": (8, 16), "blocks": 1, "embedding": 16, "patch_px": 16, "latent_size": 6}
PHASES = {"field": "phase", "offset": 1.4, "scale": 0.5, "low": 1, "high": 3}


def _codec(dims: int = 2, **changes: Any) -> Codec:
    values = {"field": "intensity", "offset": 120.0, "scale": 40.0, "low": 0, "high": 255, "dtype": "uint8"}
    return Codec(**{**values, **changes}, spacing_um=(0.8,) * dims)


def _net(*conditions: ConditionSpec, dims: int = 2, codec: Codec | None = None, **config: Any) -> vae.Network:
    torch.manual_seed(0)
    return vae.build(vae.Config(**{**SMALL, **config}), codec=codec or _codec(dims), conditions=conditions)


def _model(*conditions: ConditionSpec, dims: int = 2, codec: Codec | None = None, **config: Any) -> Model:
    net = _net(*conditions, dims=dims, codec=codec, **config)
    with torch.no_grad():
        for parameter in net.parameters():  # layers that start at zero would hide everything behind them
            parameter.add_(0.1 * torch.randn(parameter.shape))
    patch = (net.config.patch_px,) * dims
    return Model("vae", net.config.model_dump(mode="json"), net.eval(), net.codec, conditions, patch)


def _state(net: nn.Module, learning_rate: float = 1e-3) -> SimpleNamespace:
    free = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(free, learning_rate) if free else None

    def step() -> None:
        if optimizer:
            optimizer.step()
            optimizer.zero_grad()

    return SimpleNamespace(
        net=net,
        generator=torch.Generator().manual_seed(0),
        autocast=nullcontext,
        backward=lambda loss: loss.backward() if free else None,
        optimizer_step=step,
    )


def _batch(dims: int = 2, n: int = 8, side: int = 16) -> dict[str, Any]:
    torch.manual_seed(3)
    x = nn.functional.interpolate(torch.randn(n, 1, *[side // 4] * dims), scale_factor=4.0)
    return {"x": x, "scalars": {"grain_size_um": torch.linspace(6, 18, n)}, "maps": {}}


# The bound


def test_kl_is_that_of_torch_and_of_monte_carlo() -> None:
    mean, log_variance = torch.tensor([0.0, 1.5, -0.3]), torch.tensor([0.0, -2.0, 1.0])
    q, p = Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(3), torch.ones(3))
    ours = vae.kl_divergence(mean, log_variance)
    torch.testing.assert_close(ours, kl_divergence(q, p))
    torch.manual_seed(0)
    z = q.sample((400_000,))
    torch.testing.assert_close(ours, (q.log_prob(z) - p.log_prob(z)).mean(dim=0), rtol=0.01, atol=1e-6)


def test_log_likelihood_is_the_density_of_gray_values() -> None:
    codec = _codec()
    gray, expected, std = torch.tensor([[[[100.0, 130.0]]]]), torch.tensor([[[[110.0, 120.0]]]]), 8.0
    encoded, decoded = (torch.from_numpy(np.asarray(codec.encode(v.numpy()))) for v in (gray, expected))
    ours = vae.log_likelihood(codec, encoded, decoded, torch.tensor(std / codec.scale))
    torch.testing.assert_close(ours, Normal(expected, std).log_prob(gray).sum().reshape(1))


def test_log_likelihood_of_phases_is_categorical() -> None:
    codec = _codec(**PHASES)
    phases, scores = torch.tensor([[[[1.0, 3.0, 2.0]]]]), torch.randn(1, 3, 1, 3)
    ours = vae.log_likelihood(codec, codec.encode(phases.numpy()), scores, torch.tensor(1.0))
    wanted = Categorical(logits=scores.movedim(1, -1)).log_prob(phases[:, 0].long() - 1).sum()
    torch.testing.assert_close(ours, wanted.reshape(1))


class _LinearDecoder(nn.Module):
    def __init__(self, weight: torch.Tensor, offset: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.offset = weight, offset

    def forward(self, z: torch.Tensor, told: Any) -> torch.Tensor:
        return (z @ self.weight.T + self.offset).reshape(-1, 1, 4, 4)


class _LinearEncoder(nn.Module):
    """The exact posterior of a linear decoder with orthogonal columns, if nothing is added to it."""

    def __init__(self, weight: torch.Tensor, offset: torch.Tensor, std: float, shift: float, wider: float) -> None:
        super().__init__()
        self.precision = weight.square().sum(dim=0) / std**2 + 1
        self.weight, self.offset, self.std, self.shift, self.wider = weight, offset, std, shift, wider

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = (x.flatten(1) - self.offset) @ self.weight / self.std**2 / self.precision + self.shift
        log_variance = (-self.precision.log() + self.wider).expand_as(mean)
        return torch.cat([mean, log_variance], dim=1)


@pytest.mark.parametrize(("shift", "wider", "gap"), [(0.0, 0.0, 0.0), (0.3, 0.0, None), (0.0, 0.7, None)])
def test_the_bound_of_probabilistic_pca_is_its_log_likelihood_and_below_it_elsewhere(
    shift: float, wider: float, gap: float | None
) -> None:
    """Tipping & Bishop 1999: x ~ N(offset, W W^T + std^2 I); the gap is the KL from the encoder to the posterior."""
    torch.manual_seed(0)
    weight = torch.linalg.qr(torch.randn(16, 3))[0] * torch.tensor([3.0, 2.0, 0.5])
    offset, std, codec = torch.randn(16), 0.4, _codec()
    net = _net(latent_size=3, noise_std=std, patch_px=4).eval()
    net.encoder, net.decoder = _LinearEncoder(weight, offset, std, shift, wider), _LinearDecoder(weight, offset)
    exact = MultivariateNormal(offset, weight @ weight.T + std**2 * torch.eye(16))
    x = exact.sample((4,))
    log_likelihood = float(exact.log_prob(x).mean()) - 16 * math.log(codec.scale)
    batch = {"x": x.reshape(4, 1, 4, 4).repeat(20_000, 1, 1, 1), "scalars": {}, "maps": {}}
    with torch.no_grad():
        state = _state(net)
        state.backward = lambda loss: None
        found = {name: float(value) for name, value in vae.train_step(state, batch, 0).items()}
    if gap is None:
        posterior = Normal(torch.zeros(3), net.encoder.precision**-0.5)
        encoder = Normal(torch.full((3,), shift), net.encoder.precision**-0.5 * math.exp(wider / 2))
        gap = float(kl_divergence(encoder, posterior).sum())
        assert gap > 0.1
    assert found["elbo_nats"] == pytest.approx(log_likelihood - gap, abs=0.03)
    assert found["loss"] == pytest.approx(-found["elbo_nats"] / 16, rel=1e-5)
    assert found["bits_per_pixel"] == pytest.approx(-found["elbo_nats"] / 16 / math.log(2), rel=1e-5)
    assert found["reconstruction_nats"] + found["kl_nats"] == pytest.approx(-found["elbo_nats"], rel=1e-5)
    parts = found["reconstruction_bits_per_pixel"] + found["kl_bits_per_pixel"]
    assert parts == pytest.approx(found["bits_per_pixel"], rel=1e-5)


def test_free_bits_count_channels_by_their_mean() -> None:
    torch.manual_seed(0)
    kl = torch.rand(5, 3, 4, 2) * torch.tensor([0.1, 1.0, 3.0]).reshape(1, 3, 1, 1)
    wanted = sum(max(0.2, float(kl[:, channel].mean())) * 8 for channel in range(3))
    assert float(vae.free_bits(kl, 0.2)) == pytest.approx(wanted, rel=1e-5)
    assert float(vae.free_bits(kl, 0.0)) == pytest.approx(float(kl.flatten(1).sum(dim=1).mean()), rel=1e-5)
    assert float(vae.free_bits(kl[..., 0, 0], 9.0)) == 27.0


@pytest.mark.parametrize(("step", "training", "part"), [(0, True, 0.2), (1, True, 0.4), (9, True, 1), (0, False, 1)])
def test_the_weight_of_the_kl_rises_in_training_and_is_whole_where_it_only_looks(
    step: int, training: bool, part: float
) -> None:
    net = _net(beta=0.5, kl_warmup_steps=4).train(training)
    found = {k: float(v) for k, v in vae.train_step(_state(net, 0.0), _batch(), step).items()}
    assert found["loss"] * 256 == pytest.approx(found["reconstruction_nats"] + 0.5 * part * found["kl_nats"], rel=1e-4)


# What is learned


@pytest.mark.parametrize(("latent", "dims"), [("vector", 2), ("map", 2), ("vector", 3), ("map", 3)])
def test_one_batch_is_overfitted(latent: str, dims: int) -> None:
    side = 16 if dims == 2 else 8
    net = _net(SIZE, dims=dims, latent=latent, patch_px=side, kl_warmup_steps=0, latent_size=16)
    state, batch = _state(net, 3e-3), _batch(dims, side=side)
    found = [vae.train_step(state, batch, i) for i in range(100)]
    first, last = found[0], found[-1]
    assert last["bits_per_pixel"] < first["bits_per_pixel"] - 1.5
    mean, _ = net.eval().encode(batch["x"])
    told = encode_conditions(net.conditions, batch["scalars"], {}, like=batch["x"])
    error = (net.decode(mean, told.numbers, told.present) - batch["x"]).square().mean().detach()
    assert error < 0.1 * batch["x"].var()
    assert float(net.noise_std.detach()) == pytest.approx(math.sqrt(float(error)), rel=0.6)


def test_the_spread_that_is_learned_is_that_of_the_noise() -> None:
    """White noise cannot be encoded: the decoder says its mean, and its spread is the standard deviation."""
    net = _net(kl_warmup_steps=0)
    state = _state(net, 3e-3)
    for i in range(100):
        torch.manual_seed(i)
        vae.train_step(state, {"x": 0.25 * torch.randn(32, 1, 16, 16), "scalars": {}, "maps": {}}, i)
    assert float(net.noise_std.detach()) == pytest.approx(0.25, rel=0.05)
    fixed = _net(noise_std=0.5)
    assert float(fixed.noise_std) == pytest.approx(0.5)
    assert not fixed.spread.requires_grad


def test_phases_are_learned_as_classes_and_come_out_as_such() -> None:
    codec = _codec(**PHASES)
    net = _net(codec=codec, latent="map", kl_warmup_steps=0, beta=0.1)
    state = _state(net, 3e-3)
    phases = np.kron(np.random.default_rng(0).integers(1, 4, (6, 1, 4, 4)), np.ones((1, 1, 4, 4)))
    batch = {"x": codec.encode(phases), "scalars": {}, "maps": {}}
    bits = [float(vae.train_step(state, batch, i)["reconstruction_bits_per_pixel"]) for i in range(150)]
    assert bits[0] == pytest.approx(math.log2(3), abs=0.3)
    model = Model("vae", net.config.model_dump(mode="json"), net, codec, [], (16, 16))
    decoded = vae.expected(model, vae.posterior(model, phases)[0])
    assert decoded.dtype == np.uint8
    assert (decoded == phases).mean() > 0.95
    sample = next(model.sample([0], shape=(20, 24)))["phase"]
    assert sample.shape == (20, 24)
    assert set(np.unique(sample)) <= {1, 2, 3}


# What is asked of it


@pytest.mark.parametrize("latent", ["vector", "map"])
@pytest.mark.parametrize("dims", [2, 3])
def test_encode_and_decode_are_public_and_fit_each_other(latent: str, dims: int) -> None:
    model = _model(dims=dims, latent=latent)
    fields = np.random.default_rng(0).integers(0, 255, (2, 1, *[16] * dims)).astype(np.uint8)
    mean, log_variance = vae.posterior(model, fields)
    assert mean.shape == log_variance.shape == ((2, 6) if latent == "vector" else (2, 4, *[4] * dims))
    back = vae.expected(model, mean)
    assert back.shape == fields.shape
    assert back.dtype == np.uint8
    again, _ = vae.posterior(model, fields[1:])
    torch.testing.assert_close(again, mean[1:], rtol=1e-4, atol=1e-5)


def test_a_latent_map_encodes_and_makes_any_size() -> None:
    model = _model(latent="map")
    for shape in ((8, 24), (32, 16)):
        mean, _ = vae.posterior(model, np.zeros((1, 1, *shape)))
        assert mean.shape == (1, 4, shape[0] // 4, shape[1] // 4)
        assert vae.expected(model, mean).shape == (1, 1, *shape)
    for shape in ((9, 23), (40, 17)):
        assert next(model.sample([0], shape=shape)).shape == shape


def test_encoding_leaves_the_network_as_it_was() -> None:
    model = _model(dropout=0.5)
    model.net.train()
    fields = np.random.default_rng(0).integers(0, 255, (1, 1, 16, 16))
    assert torch.equal(vae.posterior(model, fields)[0], vae.posterior(model, fields)[0])
    assert model.net.training


@pytest.mark.parametrize("latent", ["vector", "map"])
def test_a_sample_depends_on_its_seed_alone(latent: str) -> None:
    model = _model(SIZE, latent=latent)
    condition = Condition({"grain_size_um": 9.0})
    alone = {s: next(model.sample([s], condition))["intensity"].tobytes() for s in (3, 4, 5)}
    assert len(set(alone.values())) == 3
    for batch, order in ((1, [3, 4, 5]), (3, [5, 3, 4]), (8, [4, 5, 3])):
        made = [m["intensity"].tobytes() for m in model.sample(order, condition, batch=batch)]
        assert made == [alone[s] for s in order]


@pytest.mark.parametrize("latent", ["vector", "map"])
@pytest.mark.parametrize("spec", [SIZE, ANGLE])
def test_conditions_change_samples_and_a_hidden_one_leaves_no_trace(latent: str, spec: ConditionSpec) -> None:
    model = _model(spec, latent=latent)

    def ask(**scalars: float) -> bytes:
        return next(model.sample([3], Condition(scalars), precision="fp32"))["intensity"].tobytes()

    assert len({ask(), ask(**{spec.name: 6.0}), ask(**{spec.name: 18.0})}) == 3
    z = torch.randn(1, *model.net.latent_shape((16, 16)))  # type: ignore[operator]
    assert not np.array_equal(
        vae.expected(model, z, Condition({spec.name: 6.0})), vae.expected(model, z, Condition({spec.name: 18.0}))
    )
    numbers, hidden = torch.randn(2, spec.channels), torch.zeros(2, spec.channels)
    twice = model.net.decode(z.repeat(2, *[1] * (z.ndim - 1)), numbers, hidden)  # type: ignore[operator]
    torch.testing.assert_close(twice[0], twice[1])


@pytest.mark.parametrize("circular", [False, True])
@torch.no_grad()
def test_periodic_samples_of_a_latent_map_have_no_seam(circular: bool) -> None:
    """Shifting the latent around shifts what is decoded from it around."""
    model = _model(latent="map", circular=circular)
    net: Any = model.net
    one, other = (next(model.sample([1], shape=(24, 20), periodic=p))["intensity"] for p in (True, False))
    assert np.array_equal(one, other) == circular
    for path, _ in [m for m in net.decoder.named_modules() if isinstance(m[1], nn.GroupNorm)]:
        net.decoder.set_submodule(path, nn.Identity())  # they see the whole map, so also where it was cut
    z, nothing = torch.randn(1, 4, 6, 5), tell(net.conditions, [Condition()], like=torch.zeros(1))
    margin = 0 if circular else net.decoder.reach
    plain = vae._decoded(net, z, nothing, margin=margin)
    rolled = vae._decoded(net, z.roll((2, 1), (2, 3)), nothing, margin=margin)
    torch.testing.assert_close(rolled, plain.roll((8, 4), (2, 3)), rtol=1e-4, atol=1e-4)
    cut_off = vae._decoded(net, z.roll((2, 1), (2, 3)), nothing, margin=0)
    assert torch.allclose(cut_off, plain.roll((8, 4), (2, 3)), atol=1e-3) == circular


def test_the_recipe_makes_it_again_and_names_no_steps(tmp_path: Path) -> None:
    model = _model(SIZE, latent="map")
    save_model(tmp_path / "m.safetensors", model)
    loaded = load_model(tmp_path / "m.safetensors")
    first = next(model.sample([6], Condition({"grain_size_um": 7.0}), (20, 24), preset="fast"))
    source = first.source
    again = next(loaded.sample([6], Condition(source["condition"]), source["shape"], **source["options"]))
    assert np.array_equal(again["intensity"], first["intensity"])
    assert dict(again.source) == dict(source)
    assert set(source["options"]) == {"precision"}
    for latent in ("vector", "map"):
        saved = _model(latent=latent)
        save_model(tmp_path / "n.safetensors", saved)
        pairs = zip(saved.sample([0, 1]), load_model(tmp_path / "n.safetensors").sample([0, 1]), strict=True)
        assert all(np.array_equal(a["intensity"], b["intensity"]) for a, b in pairs)


@pytest.mark.parametrize(
    ("config", "asked", "words"),
    [
        ({}, {"shape": (32, 32)}, "16 x 16 points and makes that size only"),
        ({}, {"periodic": True}, "latent=map or model.circular=true"),
        ({"latent": "map"}, {"periodic": True, "shape": (18, 16)}, "multiples of 4"),
        ({"latent": "map"}, {"steps": 9}, "in one pass; leave out steps"),
        ({}, {"guidance": 2.0, "sampler": "heun"}, "leave out sampler, guidance"),
        ({"condition_dropout": 0.0}, {}, "must be told grain_size_um"),
    ],
)
def test_what_it_cannot_do_is_refused_before_any_work(config: Any, asked: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        _model(SIZE, **config).request(**asked)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(InputError, match="painted with phase_fraction"):
        _net(SHARE)
    with pytest.raises(InputError, match=r"make data\.patch_px a multiple of 16"):
        _net(channels=(4, 4, 4, 4), patch_px=24)
    with pytest.raises(InputError, match="has 256 values"):
        _net(codec=_codec(field="phase"))
    for wrong in ({"beta": -1.0}, {"noise_std": 0.0}, {"latent": "grid"}, {"channels": ()}, {"colour": 1}):
        with pytest.raises(ValueError, match="validation error"):
            vae.Config(**wrong)


@pytest.mark.parametrize(
    ("latent", "shape"),
    [("vector", (1, 1, 20, 16)), ("map", (1, 1, 18, 16)), ("map", (1, 16, 16)), ("map", (1, 2, 8, 8))],
)
def test_fields_and_latents_that_do_not_fit_are_refused(latent: str, shape: tuple[int, ...]) -> None:
    model = _model(latent=latent)
    with pytest.raises(InputError, match="fields to encode are"):
        vae.posterior(model, np.zeros(shape))
    with pytest.raises(InputError, match="latents of this model have"):
        vae.expected(model, torch.zeros(1, 5))
    other = Model("diffusion", {}, nn.Linear(1, 1), _codec(), [], (16, 16))
    with pytest.raises(InputError, match="diffusion has no encoder"):
        vae.posterior(other, np.zeros((1, 1, 16, 16)))


# Through the training loop

QUIET: dict[str, Any] = {"say": lambda message: None}
QUICK = ["train.previews=1", "train.log_images=16", "train.validations=2", "train.checkpoint_minutes=0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of six pictures with a temperature, and a plan of 48 images for a VAE."""
    out = tmp_path_factory.mktemp("data")
    items = []
    for i in range(6):
        noise = gaussian_filter(np.random.default_rng(i).normal(size=(48, 48)), 1 + i % 3, mode="wrap")
        gray = np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)
        picture = Microstructure({"intensity": gray}, (1.0, 1.0), scalars={"anneal_temperature_K": 900.0 + i})
        items.append(Item(f"{i}.png", picture, f"s{i}", "held_out" if i == 5 else "train"))
    write_dataset(out / "steel.h5", items, {"made_by": "test"})
    names = ("anneal_temperature_K",)
    plan = Plan(
        data=DataPlan(spacing_um=1.0, patch_px=16),
        conditions=ConditionsPlan(scalars=names, ranges={names[0]: Range(low=900, high=905)}),
        model=ModelPlan(family="vae", channels=(8, 16), blocks=1, settings={"latent_size": 7}),
        train=TrainPlan(images=48, batch=8, warmup=16, precision="fp32"),
    )
    write_plan(plan_path(out / "steel.h5"), plan)
    return out / "steel.h5"


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    run = tmp_path_factory.mktemp("runs") / "a"
    return run, train(data, run, settings=QUICK, **QUIET)


def test_a_run_reports_the_bound_and_its_model_makes_samples(done: tuple[Path, dict[str, Any]]) -> None:
    run, result = done
    assert result["images"] == 48
    lines = read_log(run)
    for kind in ("train", "held_out"):
        found = [line for line in lines if line["kind"] == kind]
        assert found
        for line in found:
            nats, kl = line["reconstruction_nats"], line["kl_nats"]
            assert line["elbo_nats"] == pytest.approx(-nats - kl, rel=1e-5)
            assert line["bits_per_pixel"] == pytest.approx((nats + kl) / 256 / math.log(2), rel=1e-5)
    held_out = [line for line in lines if line["kind"] == "held_out"]
    assert held_out[-1]["loss"] == pytest.approx(-held_out[-1]["elbo_nats"] / 256, rel=1e-5)
    assert list((run / "samples").glob("*.png"))
    model = load_model(run / "model.safetensors")
    assert model.config["latent_size"] == 7
    assert model.config["patch_px"] == 16
    made = next(model.sample([0], Condition({"anneal_temperature_K": 903.0})))
    assert made.shape == (16, 16)


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(
    data: Path, tmp_path: Path, done: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoint.write_checkpoint

    def write_and_stop(folder: Path, images: int, *rest: Any) -> None:
        write(folder, images, *rest)
        if images == 24:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_checkpoint", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "b", settings=QUICK, **QUIET)
    monkeypatch.setattr(checkpoint, "write_checkpoint", write)
    resumed = train(data, tmp_path / "b", settings=QUICK, **QUIET)
    assert resumed["model_sha256"] == done[1]["model_sha256"]


def test_the_family_and_its_settings_are_chosen_on_the_command_line(data: Path, tmp_path: Path) -> None:
    settings = ["model.latent=map", "model.beta=0.5", "train.images=8", "train.validations=0", "train.previews=0"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    result = CliRunner().invoke(command, [str(data), str(tmp_path / "c"), "--family", "vae", *arguments])
    assert result.exit_code == 0, result.output
    model = load_model(tmp_path / "c" / "model.safetensors")
    assert (model.config["latent"], model.config["beta"]) == ("map", 0.5)
    assert resolve(data, plan=tmp_path / "c" / "plan.toml").family_config == resolve(data, plan=None, settings=[
        "model.latent=map", "model.beta=0.5"
    ]).family_config  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "words"), [("model.colour=1", "colour"), ("model.beta=-1", "beta"), ("model.latent=grid", "latent")]
)
def test_settings_the_family_does_not_know_are_refused_before_the_run(
    data: Path, tmp_path: Path, setting: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        train(data, tmp_path / "d", settings=[setting], **QUIET)
    assert not (tmp_path / "d").exists()
