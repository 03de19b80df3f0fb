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
from microgen.models import diffusion
from microgen.models.codec import Codec
from microgen.models.model import Model

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
    losses = [float(diffusion.train_step(state, batch, i)["loss"]) for i in range(150)]
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:5])


def test_the_loss_at_the_start_is_that_of_the_preconditioning() -> None:
    """With a network that says 0, EDM's weighted loss on unit white data is 1 at every noise level in expectation."""
    net = _net()
    batch = {"x": torch.randn(256, 1, 8, 8), "scalars": {}, "maps": {}}
    state = _state(net, 0.0)
    losses = [float(diffusion.train_step(state, batch, i)["loss"]) for i in range(20)]
    assert math.isclose(np.mean(losses), 1.0, rel_tol=0.02)


def test_conditions_are_hidden_as_often_as_configured() -> None:
    one, two = _net(SIZE, condition_dropout=0.2), _net(SIZE, SHARE, condition_dropout=0.2)
    generator = torch.Generator().manual_seed(1)
    assert diffusion._kept(one, 20_000, generator).float().mean() == pytest.approx(0.8, abs=0.01)
    assert diffusion._kept(two, 20_000, generator).float().mean() == pytest.approx(0.64, abs=0.015)


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


def test_periodic_samples_wrap_with_a_circular_network() -> None:
    """Rolling the noise rolls the sample, so no place of the picture is a border."""
    net = _shaken(_net(circular=True))
    told = diffusion.encode_conditions([], {}, {}, like=torch.zeros(1, 1, 16, 16))
    denoise = diffusion.denoiser(net, told)
    x, sigma = torch.randn(1, 1, 16, 16), torch.tensor(2.0)
    with torch.no_grad():
        rolled = denoise(x.roll((4, 8), (2, 3)), sigma)
        assert torch.allclose(rolled, denoise(x, sigma).roll((4, 8), (2, 3)), atol=1e-5)
