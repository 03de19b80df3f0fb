"""Diffusion: a U-Net that removes noise, conditioned on scalars and maps (Karras et al. 2022; Ho et al. 2020).

Shapes: B batch, C field channels, N scalar numbers, M map channels, S spatial axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from microgen.core import Condition, ConditionSpec, InputError
from microgen.core import config as core_config
from microgen.models.codec import Codec
from microgen.models.guidance import canvas, guided, with_maps
from microgen.models.noise import SeedNoise
from microgen.models.options import SampleOptions, integrate
from microgen.models.precondition import DDPM, EDM, Preconditioning
from microgen.models.samplers import Denoise
from microgen.nets import Embedding, UNet

if TYPE_CHECKING:
    from microgen.models.model import Model

Autocast = Callable[[], AbstractContextManager[Any]]


class Config(core_config.Config):
    """The network and how it is trained."""

    parameterisation: Literal["edm", "ddpm"] = Field("edm", description="edm: Karras et al. 2022; ddpm: Ho et al. 2020")
    channels: tuple[int, ...] = Field((64, 96, 128), description="channels of each level of the U-Net")
    blocks: int = Field(2, ge=1, description="residual blocks per level")
    embedding: int = Field(192, ge=8, description="length of the vector that carries noise level and conditions")
    fold: int = Field(2, ge=1, description="pixels folded into channels along each axis; 1 for the finest detail")
    dropout: float = Field(0.0, ge=0, lt=1, description="against memorising few images")
    circular: bool = Field(False, description="wrap around at the borders; for periodic data")
    condition_dropout: float = Field(0.1, ge=0, le=1, description="share of crops shown without condition")

    @property
    def precondition(self) -> Preconditioning:
        """What the network sees and predicts at each noise level."""
        return EDM() if self.parameterisation == "edm" else DDPM()


class Network(nn.Module):
    """U-Net that sees the noisy field, the noise level and the conditions.

    Parameters
    ----------
    config
        Its widths.
    dims
        2 for pictures, 3 for volumes.
    channels
        Channels of the field.
    conditions
        Scalars enter through the embedding; maps enter as further channels, with one more that says whether they
        are given.
    """

    def __init__(self, config: Config, *, dims: int, channels: int, conditions: Sequence[ConditionSpec]) -> None:
        super().__init__()
        self.config, self.conditions = config, tuple(conditions)
        numbers = sum(c.channels for c in conditions if c.kind == "scalar")
        self.channels = channels
        self.map_channels = sum(c.channels for c in conditions if c.kind == "map")
        inputs = channels + (self.map_channels + 1 if self.map_channels else 0)
        self.embedding = Embedding(1 + numbers, config.embedding)
        self.unet = UNet(
            dims,
            inputs,
            channels,
            channels=config.channels,
            blocks=config.blocks,
            embedding=config.embedding,
            patch=config.fold,
            dropout=config.dropout,
            circular=config.circular,
        )

    def forward(self, x_BCS: Tensor, level_B: Tensor, numbers_BN: Tensor, present_B: Tensor) -> Tensor:
        """Return the raw prediction; `x_BCS` carries the map channels, where there are any, after the field."""
        told = torch.cat([level_B[:, None].to(numbers_BN), numbers_BN], dim=1)
        present = present_B[:, None].expand_as(numbers_BN)
        shown = torch.cat([torch.ones_like(told[:, :1]), present], dim=1)
        result: Tensor = self.unet(x_BCS, self.embedding(told, shown))
        return result


def build(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> Network:
    """Make the network for a codec and its conditions; seed torch first to fix the weights."""
    return Network(config, dims=len(codec.spacing_um), channels=1, conditions=conditions)


def train_step(state: Any, batch: Mapping[str, Any], step: int) -> dict[str, Tensor]:
    """Learn from one batch: noise it, denoise it, compare.

    Parameters
    ----------
    state
        What the training loop offers: ``net``, ``generator``, ``autocast()``, ``backward(loss)``, ``optimizer_step()``.
    batch
        ``x`` encoded fields ``(B, C, *S)``; ``scalars`` ``{name: (B,)}`` and ``maps`` ``{name: (B, *S)}`` in
        physical units.
    """
    net, x = state.net, batch["x"]
    config: Config = net.config
    precondition = config.precondition
    u = torch.rand(len(x) + 1, generator=state.generator, device=x.device)
    # evenly spread noise levels over the batch: the loss is less noisy (Kingma et al. 2021, appendix I)
    sigma = precondition.draw((torch.arange(len(x), device=x.device) + u[: len(x)]) / len(x))
    noise = torch.randn(x.shape, generator=state.generator, device=x.device)
    shown = torch.rand(len(x), generator=state.generator, device=x.device) >= config.condition_dropout
    numbers, maps = encode_conditions(net.conditions, batch["scalars"], batch["maps"], like=x)
    noisy = x + sigma.reshape(-1, *(1,) * (x.ndim - 1)) * noise
    seen = noisy if maps is None else torch.cat([noisy, maps], dim=1)
    denoised = _denoiser(net, numbers, shown.to(x), state.autocast)(seen, sigma)
    error = (denoised - x).square().flatten(1).mean(dim=1)
    loss = (precondition.weight(sigma) * error).mean()
    state.backward(loss)
    state.optimizer_step()
    return {"loss": loss.detach()}


def generate(
    model: Model, seeds: Sequence[int], condition: Condition, shape: tuple[int, ...], options: SampleOptions
) -> Tensor:
    """Make encoded samples ``(B, C, *S)``, one per seed; all that is random comes from the seeds.

    Without any condition the model chooses freely; with some of its conditions it needs them all.
    """
    net: Any = model.net
    noise = SeedNoise(seeds, (net.channels, *shape), model.device)
    like = torch.zeros(1, net.channels, *shape, device=model.device)
    if not condition:
        return integrate(_fitted(model, net, like, options), noise, options, net.config.precondition)
    scalars = {name: torch.tensor([value], device=model.device) for name, value in condition.scalars.items()}
    maps = {name: torch.tensor(m, device=model.device)[None] for name, m in condition.maps.items()}
    numbers, layers = encode_conditions(net.conditions, scalars, maps, like=like)
    obeying = _fitted(model, net, like, options, numbers, layers)
    interval = options.guidance_interval or (0.0, math.inf)
    denoise = guided(obeying, _fitted(model, net, like, options), options.guidance, interval=interval)
    return integrate(denoise, noise, options, net.config.precondition)


def _fitted(
    model: Model,
    net: Network,
    like: Tensor,
    options: SampleOptions,
    numbers: Tensor | None = None,
    maps: Tensor | None = None,
) -> Denoise:
    """Denoiser for a canvas, with its conditions built in; the one that ignores them where no numbers are given."""
    count = sum(c.channels for c in net.conditions if c.kind == "scalar")
    obeying, free = denoisers(net, like.new_zeros(1, count) if numbers is None else numbers, autocast=nullcontext)
    denoise = canvas(
        free if numbers is None else obeying,
        like.shape[2:],
        model.patch,
        periodic=options.periodic,
        circular=net.config.circular,
        window=options.window,
    )
    if not net.map_channels:
        return denoise
    return with_maps(denoise, like.new_zeros(1, net.map_channels, *like.shape[2:]) if maps is None else maps)


def denoisers(net: Network, numbers_BN: Tensor, *, autocast: Autocast) -> tuple[Denoise, Denoise]:
    """Return the denoiser that obeys the conditions and the one that ignores them.

    Both take map channels appended to `x` (:func:`microgen.models.guidance.with_maps`) where the network has some.

    Parameters
    ----------
    numbers_BN
        From :func:`encode_conditions`.
    autocast
        Called for a context manager around each evaluation.
    """
    shown = numbers_BN.new_ones(1)
    return _denoiser(net, numbers_BN, shown, autocast), _denoiser(net, numbers_BN, 0 * shown, autocast)


def encode_conditions(
    conditions: Sequence[ConditionSpec],
    scalars: Mapping[str, Tensor],
    maps: Mapping[str, Tensor],
    *,
    like: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """From physical units to what the network sees: numbers ``(B, N)`` and map channels ``(B, M, *S)`` or None.

    A scalar given for a condition that the model knows as a map is spread over the picture.

    Raises
    ------
    InputError
        If a condition is missing.
    """
    numbers, layers = [like.new_zeros(len(like), 0)], []
    for spec in conditions:
        values = maps.get(spec.name) if spec.kind == "map" else None
        if values is None:
            if spec.name not in scalars:
                raise InputError(f"the model needs the condition {spec.name!r}, which is not given")
            values = scalars[spec.name]
        values = values.to(like)
        if spec.kind == "scalar":
            numbers.append(_encoded(spec, values))
        else:
            grid = values if values.ndim > 1 else values.reshape(-1, *(1,) * (like.ndim - 2))
            layers.append(_encoded(spec, grid.expand(len(like), *like.shape[2:])))
    return torch.cat(numbers, dim=1), torch.cat(layers, dim=1) if layers else None


def _encoded(spec: ConditionSpec, values: Tensor) -> Tensor:
    """:meth:`ConditionSpec.encode` in torch, so that nothing leaves the device; the new axis is the second."""
    if spec.scale == "axial":
        double = torch.deg2rad(2 * values)
        return torch.stack([double.cos(), double.sin()], dim=1)
    ends = torch.tensor([spec.low, spec.high], dtype=torch.float64)
    if spec.scale == "log":
        ends, values = ends.log(), values.log()
    low, high = ends.tolist()
    scaled: Tensor = 2 * (values - low) / (high - low) - 1
    return scaled[:, None]


def _denoiser(net: Network, numbers_BN: Tensor, shown_B: Tensor, autocast: Autocast) -> Denoise:
    """Denoiser of the field; the map channels behind it are shown to the network as they are, without scaling."""

    def denoise(x_BCS: Tensor, sigma: Tensor) -> Tensor:
        field, maps = x_BCS[:, : net.channels], x_BCS[:, net.channels :]
        shown = shown_B.expand(len(field))

        def network(scaled: Tensor, level_B: Tensor) -> Tensor:
            seen = _with_maps(scaled, maps, shown)
            with autocast():
                result: Tensor = net(seen, level_B, numbers_BN.expand(len(seen), -1), shown)
                return result

        return net.config.precondition.denoise(network, field, sigma)

    return denoise


def _with_maps(x_BCS: Tensor, maps_BMS: Tensor, shown_B: Tensor) -> Tensor:
    if not maps_BMS.shape[1]:
        return x_BCS
    flag = shown_B.to(x_BCS).reshape(-1, *(1,) * (x_BCS.ndim - 1)).expand(-1, 1, *x_BCS.shape[2:])
    return torch.cat([x_BCS, maps_BMS * flag, flag], dim=1)
