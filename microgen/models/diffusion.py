"""Diffusion: a U-Net that removes noise, conditioned on scalars and maps (Karras et al. 2022; Ho et al. 2020).

Shapes: B batch, C field channels, N scalar numbers, M map channels, S spatial axes.
"""

from __future__ import annotations

import itertools
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
from microgen.models.conditions import Told, encode_conditions, kept, tell
from microgen.models.guidance import canvas, guided, with_maps
from microgen.models.latents import Latents
from microgen.models.noise import SeedNoise
from microgen.models.options import SampleOptions, fitted, integrate, noise_levels
from microgen.models.precondition import DDPM, EDM, Preconditioning
from microgen.models.samplers import Denoise
from microgen.nets import Embedding, UNet

if TYPE_CHECKING:
    from microgen.models.model import Model

Autocast = Callable[[], AbstractContextManager[Any]]
ENCODING_STEPS = 60
"""Noise levels on the way from a field to its noise; two evaluations each."""


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

    noise_mean: float = Field(-0.5, description="edm: mean of ln sigma in training")
    noise_std: float = Field(1.2, gt=0, description="edm: standard deviation of ln sigma in training")
    sigma_min: float = Field(0.01, gt=0, description="edm: noise level at which samplers end")
    sigma_max: float = Field(80.0, gt=0, description="edm: noise level at which samplers start")
    noise_steps: int = Field(1000, ge=25, description="ddpm: number of steps T")
    betas: Literal["linear", "cosine"] = Field("linear", description="ddpm: schedule of the steps")

    @property
    def precondition(self) -> Preconditioning:
        """What the network sees and predicts at each noise level."""
        if self.parameterisation == "ddpm":
            return DDPM(self.noise_steps, self.betas)
        return EDM(1.0, self.noise_mean, self.noise_std, self.sigma_min, self.sigma_max)


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
        Scalars enter through the embedding, maps as further channels of the input.
    """

    def __init__(self, config: Config, *, dims: int, channels: int, conditions: Sequence[ConditionSpec]) -> None:
        super().__init__()
        self.config, self.conditions = config, tuple(conditions)
        self.precondition = config.precondition
        self.channels = channels
        numbers = sum(c.channels for c in conditions if c.kind == "scalar")
        # each map brings one more channel that says whether it is given
        inputs = channels + sum(c.channels + 1 for c in conditions if c.kind == "map")
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

    def forward(self, x_BCS: Tensor, level_B: Tensor, numbers_BN: Tensor, present_BN: Tensor) -> Tensor:
        """Return the raw prediction; `x_BCS` carries the map channels, where there are any, after the field."""
        told = torch.cat([level_B[:, None].to(numbers_BN), numbers_BN], dim=1)
        shown = torch.cat([torch.ones_like(told[:, :1]), present_BN], dim=1)
        result: Tensor = self.unet(x_BCS, self.embedding(told, shown))
        return result


def build(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> Network:
    """Make the network for a codec and its conditions; seed torch first to fix the weights."""
    return Network(config, dims=codec.ndim, channels=codec.channels, conditions=conditions)


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
    shown = kept(len(net.conditions), len(x), net.config.condition_dropout, state.generator)
    told = encode_conditions(net.conditions, batch["scalars"], batch["maps"], like=x, kept=shown)
    loss = denoising_loss(state, x, told)
    state.backward(loss)
    state.optimizer_step()
    return {"loss": loss.detach()}


def denoising_loss(state: Any, x: Tensor, told: Told) -> Tensor:
    """Noise clean fields `x` ``(B, C, *S)``, denoise them, and return the mean weighted error."""
    precondition = state.net.precondition
    u = torch.rand(len(x), generator=state.generator, device=x.device)
    # one noise level in each of B equal parts of the distribution: a quieter loss (Kingma et al. 2021, appendix I)
    sigma = precondition.draw((torch.arange(len(x), device=x.device) + u) / len(x))
    noise = torch.randn(x.shape, generator=state.generator, device=x.device)
    noisy = x + sigma.reshape(-1, *(1,) * (x.ndim - 1)) * noise
    denoised = denoiser(state.net, told, autocast=state.autocast)(torch.cat([noisy, told.maps], dim=1), sigma)
    error = (denoised - x).square().flatten(1).mean(dim=1)
    loss: Tensor = (precondition.weight(sigma) * error).mean()
    return loss


def check(model: Model, condition: Condition, shape: Sequence[int], options: SampleOptions) -> SampleOptions:
    """Return `options` with what the model decides filled in.

    Raises
    ------
    InputError
        For options that cannot be sampled with, and for what a model that never saw a hidden condition cannot do.
    """
    net: Any = model.net
    check_told(model, condition)
    if net.conditions and not net.config.condition_dropout and options.guidance != 1:
        raise InputError("this model was trained with condition_dropout = 0, which leaves guidance = 1 only")
    return fitted(options, net.precondition)


def check_told(model: Model, condition: Condition) -> None:
    """Refuse to leave out what a model must be told that never saw a hidden condition."""
    net: Any = model.net
    missing = [c.name for c in net.conditions if c.name not in {**condition.scalars, **condition.maps}]
    if missing and not net.config.condition_dropout:
        raise InputError(f"this model was trained with condition_dropout = 0 and must be told {', '.join(missing)}")


def generate(
    model: Model, seeds: Sequence[int], condition: Condition, shape: Sequence[int], options: SampleOptions
) -> Tensor:
    """Make one encoded sample ``(B, C, *S)`` per seed; see :meth:`microgen.models.model.Model.sample`."""
    noise = SeedNoise(seeds, latent_shapes(model, shape)["noise"], model.device)
    told = tell(model.conditions, [condition] * len(seeds), like=(start := noise.start()))
    denoise = guided_denoiser(model, told, shape, options)
    net: Any = model.net
    return integrate(denoise, start, options, net.precondition, noise=noise)


def latent_shapes(model: Model, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of the latent of one sample: the noise that it starts from."""
    net: Any = model.net
    return {"noise": (net.channels, *shape)}


def decode(model: Model, latents: Latents, told: Told, shape: Sequence[int], options: SampleOptions) -> Tensor:
    """Make encoded samples ``(B, C, *S)`` of latents, differentiably, by a sampler that adds no noise on the way."""
    denoise = guided_denoiser(model, told, shape, options)
    net: Any = model.net
    return integrate(denoise, latents["noise"], options, net.precondition)


def encode(model: Model, x_BCS: Tensor, told: Told) -> dict[str, Tensor]:
    """Return the noise that encoded fields are decoded from: the sampler's way, walked backwards.

    The probability flow ``dx/dsigma = (x - x0)/sigma`` is integrated from the lowest noise level to the highest, with
    the denoiser told of the conditions and without guidance (DDIM inversion: Song et al. 2021,
    doi:10.48550/arXiv.2010.02502, section 4.3; Dhariwal & Nichol 2021, doi:10.48550/arXiv.2105.05233, appendix F).
    """
    net: Any = model.net
    options = fitted(SampleOptions(sampler="heun", schedule="exponential", steps=ENCODING_STEPS), net.precondition)
    levels = noise_levels(options, net.precondition)[:-1].flip(0)
    denoise = _on_canvas(model, told, tuple(x_BCS.shape[2:]), options)
    return {"noise": unsampled(denoise, x_BCS, levels) / float(levels[-1])}


def unsampled(denoise: Denoise, x: Tensor, sigmas: Tensor) -> Tensor:
    """Integrate the probability flow upwards through rising noise levels, second order.

    In ``u = x / sigma`` it reads ``du/d(1/sigma) = x0``, so that a step is exact where the denoised field stays the
    same; each takes the mean of the denoised fields at its two ends (Heun's method in these variables).
    """
    levels = [float(s) for s in sigmas.tolist()]
    for s, t in itertools.pairwise(levels):
        x0 = denoise(x, x.new_full((), s))
        ahead = x0 + (t / s) * (x - x0)
        x0 = (x0 + denoise(ahead, x.new_full((), t))) / 2
        x = x0 + (t / s) * (x - x0)
    return x


def guided_denoiser(model: Model, told: Told, shape: Sequence[int], options: SampleOptions) -> Denoise:
    """Return the denoiser of a canvas of any size, with its conditions and their guidance built in."""
    obeying, free = (_on_canvas(model, t, shape, options) for t in (told, told.nothing()))
    interval = options.guidance_interval or (0.0, math.inf)
    return guided(obeying, free, options.guidance, interval=interval)


def _on_canvas(model: Model, told: Told, shape: Sequence[int], options: SampleOptions) -> Denoise:
    """Denoiser of a canvas of any size, with its conditions built in."""
    net: Any = model.net
    whole = all(
        n % net.unet.multiple == 0 for n in shape
    )  # elsewhere the network pads, and wraps around what it padded
    denoise = canvas(
        denoiser(net, told),
        shape,
        model.patch,
        periodic=options.periodic,
        circular=net.config.circular and whole,
        window=options.window,
    )
    return with_maps(denoise, told.maps)


def denoiser(net: Network, told: Told, *, autocast: Autocast = nullcontext) -> Denoise:
    """Return ``denoise(x, sigma)``, where `x` carries the maps of `told` as further channels.

    The maps ride on `x` so that windows cut both alike (:func:`microgen.models.guidance.with_maps`).
    """

    def denoise(x_BCS: Tensor, sigma: Tensor) -> Tensor:
        field, maps = x_BCS[:, : net.channels], x_BCS[:, net.channels :]

        def network(scaled: Tensor, level_B: Tensor) -> Tensor:
            with autocast():
                result: Tensor = net(torch.cat([scaled, maps], 1), level_B, told.numbers, told.present)
                return result

        return net.precondition.denoise(network, field, sigma)

    return denoise
