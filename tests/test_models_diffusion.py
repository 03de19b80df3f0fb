"""The diffusion family: conditions, training step, and what it converges to."""

from __future__ import annotations

import math
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from microgen.core import Condition, ConditionSpec
from microgen.data.plan import DataPlan, ModelPlan, Plan
from microgen.models import diffusion, precondition
from microgen.models.codec import Codec
from microgen.models.conditions import kept
from microgen.models.model import Model
from microgen.models.options import SampleOptions
from microgen.models.precondition import DDPM
from microgen.train.config import TrainConfig
from microgen.train.setup import Settings

SIZE = ConditionSpec("grain_size_um", "scalar", 5, 20, "log")
ANGLE = ConditionSpec("orientation_deg", "scalar", 0, 180, "axial")
SHARE = ConditionSpec("phase_fraction", "map", 0, 1)
SMALL = {"channels": (8, 16), "blocks": 1, "embedding": 16}


def _codec(dims: int = 2) -> Codec:
    return Codec("intensity", 120.0, 40.0, 0, 255, "uint8", (0.8,) * dims)


def _net(*conditions: ConditionSpec, dims: int = 2, **config: Any) -> diffusion.Network:
    torch.manual_seed(0)
    chosen = diffusion.Config(**{**SMALL, **config})
    return diffusion.build(chosen, codec=_codec(dims), conditions=conditions)


def _shaken(net: diffusion.Network) -> diffusion.Network:
    """Give the layers that start at zero some weight, so that outputs depend on inputs."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return net.eval()


def _state(net: diffusion.Network, learning_rate: float = 1e-3) -> SimpleNamespace:
    optimizer = torch.optim.Adam(net.parameters(), learning_rate)

    def step() -> None:
        optimizer.step()
        optimizer.zero_grad()

    return SimpleNamespace(
        net=net,
        generator=torch.Generator().manual_seed(0),
        autocast=nullcontext,
        backward=lambda loss: loss.backward(),
        optimizer_step=step,
    )


@pytest.mark.parametrize("spec", [SIZE, ANGLE, ConditionSpec("x", "scalar", -3, 4)])
def test_conditions_are_encoded_as_the_core_says(spec: ConditionSpec) -> None:
    values = np.array([5.5, 9.0, 17.0])
    told = diffusion.encode_conditions(
        [spec], {spec.name: torch.from_numpy(values)}, {}, like=torch.zeros(3, 1, 4, 4, dtype=torch.float64)
    )
    np.testing.assert_allclose(told.numbers.T.numpy(), spec.encode(values), atol=1e-6)
    assert told.present.eq(1).all()


def test_a_scalar_fills_a_map_and_every_map_says_that_it_is_given() -> None:
    like = torch.zeros(2, 1, 4, 6)
    spread = diffusion.encode_conditions([SHARE], {"phase_fraction": torch.tensor([0.25, 1.0])}, {}, like=like)
    maps = torch.tensor([0.25, 1.0]).reshape(2, 1, 1).expand(2, 4, 6)
    drawn = diffusion.encode_conditions([SHARE], {}, {"phase_fraction": maps}, like=like)
    assert torch.equal(spread.maps, drawn.maps)
    assert spread.maps[0, :, 0, 0].tolist() == [-0.5, 1.0]
    left_out = diffusion.encode_conditions([SHARE], {}, {}, like=like)
    assert left_out.maps.eq(0).all()


@torch.no_grad()
def test_a_hidden_condition_leaves_no_trace_and_a_shown_one_does() -> None:
    net = _shaken(_net(SIZE, SHARE))
    x, sigma = torch.randn(1, 1, 8, 8), torch.tensor(0.7)

    def ask(size: float, share: float, *, kept: float) -> torch.Tensor:
        scalars = {"grain_size_um": torch.tensor([size]), "phase_fraction": torch.tensor([share])}
        told = diffusion.encode_conditions(net.conditions, scalars, {}, like=x, kept=torch.full((1, 2), kept))
        return diffusion.denoiser(net, told)(torch.cat([x, told.maps], 1), sigma)

    assert torch.equal(ask(6, 0.1, kept=0), ask(18, 0.9, kept=0))
    assert not torch.allclose(ask(6, 0.1, kept=1), ask(18, 0.1, kept=1), atol=1e-3)
    assert not torch.allclose(ask(6, 0.1, kept=1), ask(6, 0.9, kept=1), atol=1e-3)


@torch.no_grad()
def test_hiding_before_or_after_encoding_is_the_same() -> None:
    net = _net(SIZE, SHARE)
    scalars = {"grain_size_um": torch.tensor([9.0]), "phase_fraction": torch.tensor([0.4])}
    like = torch.zeros(1, 1, 4, 4)
    shown = diffusion.encode_conditions(net.conditions, scalars, {}, like=like)
    hidden = diffusion.encode_conditions(net.conditions, scalars, {}, like=like, kept=torch.zeros(1, 2))
    assert torch.equal(shown.nothing().present, hidden.present)
    assert torch.equal(shown.nothing().maps, hidden.maps)


@pytest.mark.parametrize(("parameterisation", "dims"), [("edm", 2), ("ddpm", 2), ("edm", 3)])
def test_one_batch_is_overfitted(parameterisation: str, dims: int) -> None:
    net = _net(SIZE, dims=dims, parameterisation=parameterisation)
    state = _state(net, 3e-3)
    batch = {
        "x": torch.randn(1, 1, *[8] * dims).repeat(8, *[1] * (dims + 1)),
        "scalars": {"grain_size_um": torch.full((8,), 9.0)},
        "maps": {},
    }
    losses = [float(diffusion.train_step(state, batch, i)["loss"]) for i in range(80)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_the_loss_at_the_start_is_that_of_the_preconditioning() -> None:
    """With a network that says 0, EDM's weighted loss on unit white data is 1 at every noise level in expectation."""
    net = _net()
    batch = {"x": torch.randn(256, 1, 8, 8), "scalars": {}, "maps": {}}
    state = _state(net, 0.0)
    losses = [float(diffusion.train_step(state, batch, i)["loss"]) for i in range(20)]
    assert math.isclose(np.mean(losses), 1.0, rel_tol=0.02)


def test_conditions_are_hidden_as_often_as_configured() -> None:
    generator = torch.Generator().manual_seed(1)
    assert kept(1, 20_000, 0.2, generator).float().mean() == pytest.approx(0.8, abs=0.01)
    assert kept(2, 20_000, 0.2, generator).float().mean() == pytest.approx(0.64, abs=0.015)


@pytest.mark.parametrize("shape", [(16, 16), (21, 40)])
def test_guidance_one_is_the_conditional_model_and_zero_ignores_it(shape: tuple[int, int]) -> None:
    net = _shaken(_net(SIZE))
    model = Model("diffusion", net.config.model_dump(mode="json"), net, _codec(), [SIZE], (16, 16))

    def ask(size: float, guidance: float) -> np.ndarray[Any, Any]:
        made = model.sample(
            [3], Condition({"grain_size_um": size}), shape, preset="fast", guidance=guidance, precision="fp32"
        )
        return np.asarray(next(iter(made))["intensity"])

    assert np.array_equal(ask(6, 0.0), ask(18, 0.0))
    assert not np.array_equal(ask(6, 1.0), ask(18, 1.0))


def test_the_plan_sets_everything_a_person_may_choose() -> None:
    chosen = ModelPlan(parameterisation="ddpm", betas="cosine", noise_steps=200)
    settings = Settings(Plan(data=DataPlan(spacing_um=1.0), model=chosen), TrainConfig(images=8))
    assert settings.family_config.precondition == DDPM(200, "cosine")
    assert set(ModelPlan.model_fields) - {"family", "settings"} <= set(diffusion.Config.model_fields)


@pytest.mark.parametrize(("field", "channels"), [("intensity", 1), ("orientation", 4)])
def test_the_network_has_the_channels_of_the_field(field: str, channels: int) -> None:
    codec = Codec(field, 1.0, 1.0, -3, 9, "float32", (0.8, 0.8))
    net = diffusion.build(diffusion.Config(**SMALL), codec=codec, conditions=[])
    model = Model("diffusion", net.config.model_dump(mode="json"), net, codec, [], (16, 16))
    made = next(model.sample([0], preset="fast"))[field]
    assert made.shape == ((16, 16, 4) if channels == 4 else (16, 16))
    assert net.channels == channels


def test_the_table_of_steps_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    betas = precondition._betas
    monkeypatch.setattr(precondition, "_betas", lambda kind, steps: made.append(steps) or betas(kind, steps))
    net = _net(parameterisation="ddpm", noise_steps=40)
    model = Model("diffusion", net.config.model_dump(mode="json"), net, _codec(), [], (16, 16))
    next(model.sample([0], preset="ddim", steps=5))
    diffusion.train_step(_state(net), {"x": torch.randn(2, 1, 8, 8), "scalars": {}, "maps": {}}, 0)
    assert made == [40]


@pytest.mark.parametrize("shape", [(32, 48), (20, 28)])
@torch.no_grad()
def test_periodic_canvas_of_a_circular_network_has_no_seam(shape: tuple[int, int]) -> None:
    """Rolling by the grid of the coarsest level rolls what is denoised, whether or not the grid divides the sides."""
    net = _shaken(_net(circular=True, channels=(4, 4, 4)))
    model = Model("diffusion", net.config.model_dump(mode="json"), net, _codec(), [], (64, 64))
    told = diffusion.encode_conditions([], {}, {}, like=torch.zeros(1, 1, *shape))
    denoise = diffusion._on_canvas(model, told, shape, SampleOptions(periodic=True))
    x, sigma, step = torch.randn(1, 1, *shape), torch.tensor(2.0), net.unet.multiple
    change = denoise(x.roll((step, step), (2, 3)), sigma)[..., step:, step:] - denoise(x, sigma)[..., :-step, :-step]
    # a side that is no multiple leaves the shift of the coarse grid at the border; a seam is ten times that
    assert change.abs().max() < (1e-5 if shape == (32, 48) else 0.2)


def test_periodic_samples_wrap_with_a_circular_network() -> None:
    """Rolling the noise rolls the sample, so no place of the picture is a border."""
    net = _shaken(_net(circular=True))
    told = diffusion.encode_conditions([], {}, {}, like=torch.zeros(1, 1, 16, 16))
    denoise = diffusion.denoiser(net, told)
    x, sigma = torch.randn(1, 1, 16, 16), torch.tensor(2.0)
    with torch.no_grad():
        rolled = denoise(x.roll((4, 8), (2, 3)), sigma)
        assert torch.allclose(rolled, denoise(x, sigma).roll((4, 8), (2, 3)), atol=1e-5)
