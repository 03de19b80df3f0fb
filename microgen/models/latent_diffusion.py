"""Latent diffusion: diffusion on the latent grid of a frozen KL autoencoder (Rombach et al. 2022).

The autoencoder (family vae with a latent map, trained before) turns a field into a grid that is coarser along each axis
and back; a U-Net learns to make such grids (doi:10.48550/arXiv.2112.10752). What the autoencoder leaves out is, on
micrographs, noise that stands still: its spectrum is measured once and noise of that spectrum is added to samples, so
that they are draws from ``p(x|z)``, not its mean.

Shapes: B batch, C field channels, L latent channels, S spatial axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional

from microgen.core import Condition, ConditionSpec, InputError
from microgen.core import config as core_config
from microgen.models import diffusion, vae
from microgen.models.codec import Codec
from microgen.models.conditions import Told, encode_conditions, kept, tell
from microgen.models.guidance import DIRECT_POINTS, canvas
from microgen.models.latents import Latents, white
from microgen.models.noise import SeedNoise
from microgen.models.options import SampleOptions, integrate
from microgen.models.residual import coloured, power, spectral_filter, unmeasured, whitened
from microgen.models.samplers import Noise
from microgen.nets.unet import fold, unfold

if TYPE_CHECKING:
    from microgen.models.model import Model

BASE = "autoencoder"
MODEL = {"fold": 1, "channels": (64, 128)}
_DIRECT_LATENTS = 2**18
"""Latent points up to which a grid is denoised in one go: with a fold of 1, the memory of 2**20 with one of 2."""
_MEASURED_POINTS, _MEASURED_BATCHES = 2**21, 128


class Frozen(core_config.Config):
    """The autoencoder that a model is built on, as its file remembers it."""

    sha256: str = Field(description="identity of the autoencoder's file")
    config: vae.Config
    conditions: tuple[ConditionSpec, ...] = ()


class Config(diffusion.Config):
    """The network and how it is trained."""

    channels: tuple[int, ...] = Field((64, 128), description="channels of each level of the U-Net")
    fold: int = Field(1, ge=1, description="latent points folded into channels along each axis")
    patch_px: PositiveInt = Field(64, description="side of a training crop")
    residual: bool = Field(True, description="add what the autoencoder leaves out, as noise of its measured spectrum")
    autoencoder: str = Field("", description="run folder or model file of a vae with latent=map; read in training only")
    frozen: Frozen | None = Field(None, description="filled in from that file when training starts")


class Network(diffusion.Network):
    """The diffusion network of the latent grid, with the frozen autoencoder inside.

    Attributes
    ----------
    autoencoder
        :class:`microgen.models.vae.Network`; never trained here, never in training mode.
    latent_mean, latent_std
        ``(1, L, 1, ...)``: what brings its latents to mean 0 and standard deviation 1.
    residual
        ``(C, 1, *K)``: the filter that gives white noise the spectrum of what the autoencoder leaves out; absent
        for fields of classes and where the configuration says so.
    """

    latent_mean: Tensor
    latent_std: Tensor
    residual: Tensor | None

    def __init__(self, config: Config, frozen: Frozen, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> None:
        latents = frozen.config.latent_channels
        super().__init__(config, dims=codec.ndim, channels=latents, conditions=conditions)
        self.autoencoder = vae.build(frozen.config, codec=codec, conditions=frozen.conditions)
        self.autoencoder.requires_grad_(False).eval()
        one = (1, latents, *(1,) * codec.ndim)
        self.register_buffer("latent_mean", torch.zeros(one))
        self.register_buffer("latent_std", torch.ones(one))
        noisy = config.residual and not self.autoencoder.classes
        self.register_buffer("residual", unmeasured(codec.channels, codec.ndim) if noisy else None)

    @property
    def factor(self) -> int:
        """Grid points of the field per latent point, along each axis."""
        return int(self.autoencoder.factor)

    def train(self, mode: bool = True) -> Network:  # noqa: FBT001, FBT002  # as torch has it
        """Switch to training or back; the autoencoder stays as it is sampled with."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def encode(self, x_BCS: Tensor, noise_BLS: Tensor) -> Tensor:
        """Return standardised latents ``(B, L, *S / factor)``: draws from the posterior, by white `noise_BLS`."""
        mean, log_variance = self.autoencoder.encode(x_BCS)
        z: Tensor = mean + (log_variance / 2).exp() * noise_BLS
        return (z - self.latent_mean) / self.latent_std

    def answer(self, z_BLS: Tensor) -> Tensor:
        """Return what the autoencoder, told nothing, decodes standardised latents to."""
        count = sum(spec.channels for spec in self.autoencoder.conditions)
        nothing = z_BLS.new_zeros(len(z_BLS), count)
        return self.autoencoder.decode(z_BLS * self.latent_std + self.latent_mean, nothing, nothing)


def build(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> Network:
    """Make the network for a codec and its conditions; seed torch first to fix the weights.

    Raises
    ------
    InputError
        If the configuration does not know its autoencoder.
    """
    if config.frozen is None:
        raise InputError("a latent diffusion needs an autoencoder; name its run folder with model.autoencoder")
    return Network(config, config.frozen, codec=codec, conditions=conditions)


def completed(config: Config, base: Model, conditions: Sequence[ConditionSpec]) -> Config:
    """Return `config` with the autoencoder that it will be built on.

    Raises
    ------
    InputError
        If `base` is no autoencoder with a latent map, or the crops do not fit it.
    """
    if base.family != "vae" or base.config["latent"] != "map":
        kind = "a vae with a latent vector" if base.family == "vae" else f"of the family {base.family}"
        raise InputError(
            f"latent diffusion needs an autoencoder, and the model {config.autoencoder} is {kind}; "
            "train one with --family vae --set model.latent=map"
        )
    its: Any = base.net
    if base.conditions and not its.config.condition_dropout:
        raise InputError(
            f"the autoencoder {config.autoencoder} must be told {', '.join(c.name for c in base.conditions)}; train it "
            "with train.condition_dropout above 0, or with conditions.scalars=[]"
        )
    if config.patch_px % its.factor:
        raise InputError(
            f"crops of {config.patch_px} pixels do not fit the autoencoder {config.autoencoder}; make data.patch_px a "
            f"multiple of {its.factor}"
        )
    frozen = Frozen(sha256=base.sha256, config=its.config, conditions=tuple(base.conditions))
    return config.model_copy(update={"frozen": frozen})


def begin(net: Network, base: Model) -> None:
    """Put the weights of the autoencoder into the network."""
    net.autoencoder.load_state_dict(base.net.state_dict())


@torch.no_grad()
def measure(net: Network, draw: Callable[[int], Tensor]) -> None:
    """Set the constants of a network that has its autoencoder.

    Parameters
    ----------
    draw
        From a number of crops to encoded fields ``(n, C, *S)`` of the training data.
    """
    generator = torch.Generator().manual_seed(0)
    means: list[Tensor] = []
    squares: list[Tensor] = []
    powers: list[Tensor] = []
    seen = 0
    while seen < _MEASURED_POINTS and len(means) < _MEASURED_BATCHES:
        x = draw(8)
        mean, log_variance = net.autoencoder.encode(x)
        z = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator)
        means.append(mean.double().transpose(0, 1).flatten(1).mean(dim=1))
        squares.append((mean.square() + log_variance.exp()).double().transpose(0, 1).flatten(1).mean(dim=1))
        if net.residual is not None:
            powers.append(power(x - net.answer(z)))
        seen += x.numel()
    middle = torch.stack(means).mean(dim=0)
    spread = (torch.stack(squares).mean(dim=0) - middle.square()).sqrt()
    net.latent_mean.copy_(middle.reshape(net.latent_mean.shape))
    net.latent_std.copy_(spread.reshape(net.latent_std.shape))
    if net.residual is not None:
        net.residual.copy_(spectral_filter(torch.stack(powers).mean(dim=0)))


def train_step(state: Any, batch: Mapping[str, Any], step: int) -> dict[str, Tensor]:
    """Learn from one batch: encode it, noise the latents, denoise them, compare; see :mod:`~.diffusion`.

    Latents are draws from the posterior, not its means: the decoder was trained on draws, and their distribution is
    what the evidence lower bound of the autoencoder speaks of.
    """
    net, x = state.net, batch["x"]
    shown = kept(len(net.conditions), len(x), net.config.condition_dropout, state.generator)
    told = encode_conditions(net.conditions, batch["scalars"], batch["maps"], like=x, kept=shown)
    grid = (n // net.factor for n in x.shape[2:])
    noise = torch.randn((len(x), net.channels, *grid), generator=state.generator, device=x.device)
    with torch.no_grad(), state.autocast():
        z = net.encode(x, noise)
    loss = diffusion.denoising_loss(state, z, _coarse(told, net.factor))
    state.backward(loss)
    state.optimizer_step()
    return {"loss": loss.detach()}


def check(model: Model, condition: Condition, shape: Sequence[int], options: SampleOptions) -> SampleOptions:
    """Return `options` with what the model decides filled in.

    Raises
    ------
    InputError
        As :func:`microgen.models.diffusion.check`, and for periodic sides that the latent grid cannot have.
    """
    net: Any = model.net
    if options.periodic and any(n % net.factor for n in shape):
        raise InputError(f"sides of periodic fields of this model are multiples of {net.factor} points")
    return diffusion.check(model, condition, shape, options)


def generate(
    model: Model, seeds: Sequence[int], condition: Condition, shape: Sequence[int], options: SampleOptions
) -> Tensor:
    """Make one encoded sample ``(B, C, *S)`` per seed; see :meth:`microgen.models.model.Model.sample`."""
    shapes = latent_shapes(model, shape)
    latents = white(seeds, shapes, model.device)
    like = torch.zeros((), device=model.device).expand(len(seeds), model.codec.channels, *shape)
    told = tell(model.conditions, [condition] * len(seeds), like=like)
    fresh = SeedNoise(seeds, shapes["noise"], model.device)
    return _made(model, latents, told, shape, options, noise=lambda step: fresh.stream(len(shapes) + step))


def latent_shapes(model: Model, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the latent of one sample: the noise of its latent grid, and that of its residual."""
    net: Any = model.net
    shapes = {"noise": (net.channels, *_grid(net, shape))}
    return shapes if net.residual is None else {**shapes, "residual": (model.codec.channels, *shape)}


def decode(model: Model, latents: Latents, told: Told, shape: Sequence[int], options: SampleOptions) -> Tensor:
    """Make encoded samples ``(B, C, *S)`` of latents, differentiably, by a sampler that adds no noise on the way."""
    return _made(model, latents, told, shape, options)


def encode(model: Model, x_BCS: Tensor, told: Told) -> dict[str, Tensor]:
    """Return the latents that encoded fields are decoded from; with both parts the way back is nearly exact.

    The noise of the latent grid is that of :func:`microgen.models.diffusion.encode`, of the mean of the posterior; the
    residual is what decoding that leaves out, as white noise.
    """
    net: Any = model.net
    shape = tuple(x_BCS.shape[2:])
    padded = _padded(x_BCS, net.factor)
    z = net.encode(padded, padded.new_zeros(()))
    found = diffusion.encode(_of_latents(model), z, _coarse(told, net.factor))
    if net.residual is None:
        return found
    inside: Any = (..., *(slice(n) for n in shape))
    return {**found, "residual": whitened(x_BCS - decoded(net, z)[inside], net.residual)}


def _made(
    model: Model,
    latents: Latents,
    told: Told,
    shape: Sequence[int],
    options: SampleOptions,
    *,
    noise: Noise | None = None,
) -> Tensor:
    net: Any = model.net
    grid = _grid(net, shape)
    told = _coarse(told, net.factor)
    denoise = diffusion.guided_denoiser(_of_latents(model), told, grid, _on_latents(options, grid, net.factor))
    z = integrate(denoise, latents["noise"], options, net.precondition, noise=noise)
    inside: Any = (..., *(slice(n) for n in shape))
    made = decoded(net, z, periodic=options.periodic)[inside]
    return made if net.residual is None else made + coloured(latents["residual"], net.residual)


def decoded(net: Network, z_BLS: Tensor, *, periodic: bool = False, window: int | None = None) -> Tensor:
    """Decode standardised latents of any grid to encoded fields ``(B, C, *S)``, differentiably.

    Beyond :data:`~microgen.models.guidance.DIRECT_POINTS` it is done in windows that overlap and are blended, so that
    memory is that of the field and one window. The group norms of the decoder then see windows instead of the whole,
    which changes the field a little.

    Parameters
    ----------
    window
        Side of the windows in latent points; default is the whole, or 512 (64 in 3-D) points of the field.
    """
    grid, dims = tuple(z_BLS.shape[2:]), z_BLS.ndim - 2
    its: Any = net.autoencoder
    if window is None and math.prod(grid) * net.factor**dims > DIRECT_POINTS:
        window = {2: 512, 3: 64}[dims] // net.factor
    # folded, the field has the grid of the latents, and what is said of denoisers holds for decoders
    through = canvas(
        lambda z, _: fold(net.answer(z), net.factor),
        grid,
        [2 * int(its.decoder.reach)] * dims,
        periodic=periodic,
        circular=its.config.circular,
        window=window,
    )
    return vae.most_likely(its, unfold(through(z_BLS, z_BLS.new_zeros(())), net.factor))


def _grid(net: Network, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.ceil(n / net.factor) for n in shape)


def _of_latents(model: Model) -> Model:
    """The model as one that makes latent grids."""
    net: Any = model.net
    return replace(model, patch=tuple(max(1, n // net.factor) for n in model.patch))


def _on_latents(options: SampleOptions, grid: Sequence[int], factor: int) -> SampleOptions:
    """The options as the latent grid understands them: its windows are smaller, and large grids need some."""
    window = None if options.window is None else math.ceil(options.window / factor)
    if window is None and math.prod(grid) > _DIRECT_LATENTS:
        window = {2: 512, 3: 64}[len(grid)]
    return options.model_copy(update={"window": window})


def _coarse(told: Told, factor: int) -> Told:
    """Conditions on the latent grid: encoded maps are averaged over the points of each latent point."""
    batch, count, *shape = told.maps.shape
    grid = [math.ceil(n / factor) for n in shape]
    if not count:
        return replace(told, maps=told.maps.new_zeros(batch, 0, *grid))
    pool = {2: functional.avg_pool2d, 3: functional.avg_pool3d}[len(shape)]
    return replace(told, maps=pool(_padded(told.maps, factor), factor))


def _padded(x_BCS: Tensor, factor: int) -> Tensor:
    """Repeat the far border up to a multiple of `factor` along each axis."""
    pads = [v for n in reversed(x_BCS.shape[2:]) for v in (0, -n % factor)]
    return functional.pad(x_BCS, pads, mode="replicate") if any(pads) else x_BCS
