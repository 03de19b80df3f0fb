"""Variational autoencoders: the classical one with a latent vector, and the KL autoencoder with a latent map.

The evidence lower bound ``E_q[ln p(x|z)] - KL(q(z|x) || N(0, I))`` (Kingma & Welling 2014,
doi:10.48550/arXiv.1312.6114) is trained with a decoder whose spread is learned (sigma-VAE, Rybkin et al. 2021,
doi:10.48550/arXiv.2006.13202), so that reconstruction and KL need no weight against each other.

Shapes: B batch, C field channels, K classes, L latent channels, N scalar numbers, S spatial axes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from microgen.core import Condition, ConditionSpec, InputError
from microgen.core import config as core_config
from microgen.models.codec import Codec
from microgen.models.conditions import Told, encode_conditions, kept, tell
from microgen.models.latents import Latents, white
from microgen.models.options import OnePass, SampleOptions, one_pass
from microgen.nets import Decoder, Embedding, Encoder, Shape

if TYPE_CHECKING:
    from microgen.models.model import Model

_CLASSES = frozenset({"phase", "boundary", "mask"})
"""Fields whose values are names of classes."""
_MOST_CLASSES = 64
_FAST = 30.0
"""How much faster the spread of the decoder is learned than the weights: it has a long way to go."""


class Config(core_config.Config):
    """The network and how it is trained."""

    latent: Literal["vector", "map"] = Field(
        "vector", description="vector: one per picture, of the size of the patch; map: one per place, any canvas"
    )
    latent_size: PositiveInt = Field(256, description="vector: its length")
    latent_channels: PositiveInt = Field(4, description="map: numbers per place")
    beta: float = Field(1.0, ge=0, description="weight of the KL; 1 is the evidence lower bound")
    free_nats: float = Field(0.0, ge=0, description="KL per latent number below which nothing is gained")
    kl_warmup_steps: int = Field(500, ge=0, description="steps over which the weight of the KL rises from 0")
    noise_std: float | None = Field(
        None, gt=0, description="spread around the decoded field, in its standard deviations; learned where absent"
    )
    channels: tuple[PositiveInt, ...] = Field((64, 96, 128), min_length=1, description="channels of each level")
    blocks: PositiveInt = Field(2, description="residual blocks per level")
    fold: PositiveInt = Field(2, description="pixels folded into channels along each axis")
    embedding: int = Field(192, ge=8, description="length of the vector that carries conditions")
    dropout: float = Field(0.0, ge=0, lt=1, description="against memorising few images")
    circular: bool = Field(False, description="wrap around at the borders; for periodic data")
    condition_dropout: float = Field(0.1, ge=0, le=1, description="share of crops shown without condition")
    patch_px: PositiveInt = Field(64, description="side of a training crop")


class Network(nn.Module):
    """Encoder to mean and log variance of a latent, and decoder back, told of the conditions.

    Parameters
    ----------
    config
        Its widths.
    codec
        Gives axes and channels, and for phases the classes.
    conditions
        Scalars, which modulate the decoder.
    """

    def __init__(self, config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> None:
        super().__init__()
        self.config, self.codec, self.conditions = config, codec, tuple(conditions)
        dims, self.classes = codec.ndim, classes(codec)
        shape = Shape(dims, config.channels, config.blocks, config.fold, config.dropout, config.circular)
        self.factor = shape.factor
        numbers = sum(c.channels for c in conditions)
        self.embedding = Embedding(numbers, config.embedding) if numbers else None
        made = {"embedding": config.embedding if numbers else 0}
        outputs = self.classes or codec.channels
        grid = (config.patch_px // self.factor,) * dims
        if config.latent == "map":
            self.encoder: nn.Module = Encoder(shape, codec.channels, 2 * config.latent_channels)
            self.decoder: nn.Module = Decoder(shape, config.latent_channels, outputs, **made)
        else:
            wide = config.channels[-1]
            flat = nn.Linear(wide * math.prod(grid), 2 * config.latent_size)
            self.encoder = nn.Sequential(Encoder(shape, codec.channels, wide), nn.Flatten(), flat)
            self.decoder = _FromVector(Decoder(shape, wide, outputs, **made), config.latent_size, (wide, *grid))
        start = math.log(config.noise_std or 1.0) / _FAST
        self.spread = nn.Parameter(torch.tensor(start), requires_grad=config.noise_std is None and not self.classes)

    def forward(self, x_BCS: Tensor, noise: Tensor, numbers_BN: Tensor, present_BN: Tensor) -> tuple[Tensor, ...]:
        """Return mean and log variance of the latent, and what a draw from it (by `noise`) is decoded to."""
        mean, log_variance = self.encode(x_BCS)
        return mean, log_variance, self.decode(mean + (log_variance / 2).exp() * noise, numbers_BN, present_BN)

    def encode(self, x_BCS: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the latent, ``(B, L)`` or ``(B, L, *S / factor)``."""
        mean, log_variance = self.encoder(x_BCS).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def decode(self, z: Tensor, numbers_BN: Tensor, present_BN: Tensor) -> Tensor:
        """Return the expected field ``(B, C, *S)``, or scores of the classes ``(B, K, *S)``."""
        told = None if self.embedding is None else self.embedding(numbers_BN, present_BN)
        result: Tensor = self.decoder(z, told).float()
        return result

    @property
    def noise_std(self) -> Tensor:
        """Spread around the decoded field, in encoded units."""
        # learned fast, with a gradient that is small beside that of the weights: both are clipped together
        return (self.spread / _FAST + (_FAST - 1 / _FAST) * self.spread.detach()).exp()

    def latent_shape(self, grid: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the latent of one field."""
        if self.config.latent == "vector":
            return (self.config.latent_size,)
        return (self.config.latent_channels, *(math.ceil(n / self.factor) for n in grid))


class _FromVector(nn.Module):
    """A latent vector spread over a grid, which a decoder goes on from."""

    def __init__(self, decoder: Decoder, size: int, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder, self.grid, self.spread = decoder, grid, nn.Linear(size, math.prod(grid))

    def forward(self, z_BL: Tensor, embedding_BE: Tensor | None = None) -> Tensor:
        result: Tensor = self.decoder(self.spread(z_BL).reshape(-1, *self.grid), embedding_BE)
        return result


def build(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> Network:
    """Make the network for a codec and its conditions; seed torch first to fix the weights.

    Raises
    ------
    InputError
        For conditions that are maps, crops that the levels cannot halve, and fields of too many classes.
    """
    maps = [c.name for c in conditions if c.kind == "map"]
    if maps:
        raise InputError(
            f"the family vae cannot be painted with {', '.join(maps)}; move that name from conditions.maps to "
            "conditions.scalars, or train the family diffusion"
        )
    factor = config.fold * 2 ** (len(config.channels) - 1)
    if config.patch_px % factor:
        raise InputError(
            f"crops of {config.patch_px} pixels cannot be halved by {len(config.channels)} levels of channels after "
            f"folding {config.fold}; make data.patch_px a multiple of {factor}, or take fewer model.channels"
        )
    return Network(config, codec=codec, conditions=conditions)


def classes(codec: Codec) -> int:
    """Return how many classes a field has whose values are names, ``"phase"``; 0 for fields of numbers.

    >>> classes(Codec("phase", 0.5, 0.5, 0, 2, "uint8", (1, 1)))
    3
    """
    if codec.field not in _CLASSES:
        return 0
    count = round(codec.high) - round(codec.low) + 1
    if count > _MOST_CLASSES:
        raise InputError(f"the field {codec.field!r} has {count} values; the family vae tells {_MOST_CLASSES} apart")
    return count


def train_step(state: Any, batch: Mapping[str, Any], step: int) -> dict[str, Tensor]:
    """Learn from one batch: encode it, draw a latent, decode that, compare.

    Parameters
    ----------
    state
        What the training loop offers: ``net``, ``generator``, ``autocast()``, ``backward(loss)``, ``optimizer_step()``.
    batch
        ``x`` encoded fields ``(B, C, *S)``; ``scalars`` ``{name: (B,)}`` in physical units.
    step
        Steps taken before; the weight of the KL depends on it. A network that is only looked at has the full weight.

    Returns
    -------
    dict
        ``loss``: what is minimised, in nats per pixel. ``elbo_nats``, ``reconstruction_nats``, ``kl_nats``: evidence
        lower bound and its parts, of a whole crop; ``bits_per_pixel``, ``reconstruction_bits_per_pixel``,
        ``kl_bits_per_pixel``: the negative bound and its parts. Densities are per unit of the field (per gray value).
    """
    net, x = state.net, batch["x"]
    noise = torch.randn((len(x), *net.latent_shape(x.shape[2:])), generator=state.generator, device=x.device)
    shown = kept(len(net.conditions), len(x), net.config.condition_dropout, state.generator)
    told = encode_conditions(net.conditions, batch["scalars"], {}, like=x, kept=shown)
    with state.autocast():
        mean, log_variance, decoded = net(x, noise, told.numbers, told.present)
    nats = -log_likelihood(net.codec, x, decoded, net.noise_std).mean()
    kl = kl_divergence(mean, log_variance)
    warm = min(1.0, (step + 1) / (net.config.kl_warmup_steps + 1)) if net.training else 1.0
    pixels = x[0].numel()
    loss = (nats + net.config.beta * warm * free_bits(kl, net.config.free_nats)) / pixels
    state.backward(loss)
    state.optimizer_step()
    kl_nats = kl.detach().flatten(1).sum(dim=1).mean()
    return {"loss": loss.detach(), **_report(nats.detach(), kl_nats, pixels)}


def _report(nats: Tensor, kl_nats: Tensor, pixels: int) -> dict[str, Tensor]:
    """Name the negative log likelihood and the KL, both in nats per crop, in both units."""
    bits = 1 / (pixels * math.log(2))
    return {
        "elbo_nats": -nats - kl_nats,
        "reconstruction_nats": nats,
        "kl_nats": kl_nats,
        "bits_per_pixel": (nats + kl_nats) * bits,
        "reconstruction_bits_per_pixel": nats * bits,
        "kl_bits_per_pixel": kl_nats * bits,
    }


def log_likelihood(codec: Codec, x_BCS: Tensor, decoded: Tensor, noise_std: Tensor) -> Tensor:
    """Return ``ln p(x|z)`` in nats of each field ``(B,)``, as a density per unit of the field.

    Fields of numbers are Gaussian about what was decoded, with one spread for all pixels; fields of classes are
    categorical, and `decoded` are their scores.
    """
    if classes(codec):
        labels = _labels(codec, x_BCS)
        return -functional.cross_entropy(decoded, labels, reduction="none").flatten(1).sum(dim=1)
    spread = noise_std.log() + math.log(codec.scale) + 0.5 * math.log(2 * math.pi)
    error = ((x_BCS - decoded) / noise_std).square() / 2
    return -(error + spread).flatten(1).sum(dim=1)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return ``KL(N(mean, variance) || N(0, 1))`` in nats, number by number (Kingma & Welling 2014, appendix B).

    >>> kl_divergence(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 0.0]))
    tensor([0., 2.])
    """
    return (mean.square() + log_variance.exp() - log_variance - 1) / 2


def free_bits(kl: Tensor, free_nats: float) -> Tensor:
    """Sum the KL ``(B, L, ...)`` of a mean field over its latent; none of the L channels counts less than `free_nats`.

    Kingma et al. 2016, Eq. 15 (doi:10.48550/arXiv.1606.04934), with the channels as groups; `free_nats` is per latent
    number, so a channel of a latent map may have that much at each place.

    >>> free_bits(torch.tensor([[0.1, 3.0], [0.3, 1.0]]), 0.5)
    tensor(2.5000)
    """
    places = kl[0, 0].numel()
    mean_L = kl.transpose(0, 1).flatten(1).mean(dim=1)
    return mean_L.clamp(min=free_nats).sum() * places


def check(model: Model, condition: Condition, shape: Sequence[int], options: SampleOptions) -> OnePass:
    """Return `options` without those of steps.

    Raises
    ------
    InputError
        For options of steps, and for canvases that the latent cannot cover.
    """
    net: Any = model.net
    if net.config.latent == "vector" and tuple(shape) != tuple(model.patch):
        patch = " x ".join(map(str, model.patch))
        raise InputError(
            f"this model has one latent vector for a field of {patch} points and makes that size only; "
            "train with model.latent=map for others"
        )
    if options.periodic and net.config.latent == "vector" and not net.config.circular:
        raise InputError("this model cannot make periodic fields; train with model.latent=map or model.circular=true")
    if options.periodic and any(n % net.factor for n in shape):
        raise InputError(f"sides of periodic fields of this model are multiples of {net.factor} points")
    if net.conditions and not net.config.condition_dropout:
        missing = [c.name for c in net.conditions if c.name not in condition.scalars]
        if missing:
            raise InputError(f"this model was trained with condition_dropout = 0 and must be told {', '.join(missing)}")
    return one_pass(options, "vae")


def generate(
    model: Model, seeds: Sequence[int], condition: Condition, shape: Sequence[int], options: SampleOptions
) -> Tensor:
    """Decode one latent of white noise per seed to an encoded sample ``(B, C, *S)``."""
    latents = white(seeds, latent_shapes(model, shape), model.device)
    told = tell(model.conditions, [condition] * len(seeds), like=latents["z"])
    return decode(model, latents, told, shape, options)


def latent_shapes(model: Model, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of the latent of one sample."""
    net: Any = model.net
    return {"z": net.latent_shape(shape)}


def decode(model: Model, latents: Latents, told: Told, shape: Sequence[int], options: SampleOptions) -> Tensor:
    """Make encoded samples ``(B, C, *S)`` of latents, differentiably; classes are the most likely ones."""
    net: Any = model.net
    wrap = options.periodic and not net.config.circular
    decoded = _decoded(net, latents["z"], told, margin=net.decoder.reach if wrap else 0)
    inside: Any = (..., *(slice(n) for n in shape))
    return decoded[inside]


def encode(model: Model, x_BCS: Tensor, told: Told) -> dict[str, Tensor]:
    """Return the latents that encoded fields are decoded from: the means of their posteriors.

    Raises
    ------
    InputError
        If the sides of the fields do not fit the model.
    """
    net = _network(model)
    _check_fields(model, net, x_BCS.shape)
    with _looking(net):
        return {"z": net.encode(x_BCS.to(model.device))[0]}


def posterior(model: Model, fields: NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Return mean and log variance of the latents of real fields.

    Parameters
    ----------
    fields
        ``(B, C, *S)`` in physical units, on a grid of the model's spacing. A latent vector needs the training patch,
        a latent map any sides that are multiples of ``model.net.factor``.

    Returns
    -------
    mean, log_variance
        ``(B, L)``, or ``(B, L, *S / factor)``.

    Raises
    ------
    InputError
        If the model is of another family or the fields do not fit it.
    """
    net = _network(model)
    _check_fields(model, net, fields.shape)
    with _looking(net):
        mean, log_variance = net.encode(model.codec.encode(fields).to(model.device))
    return mean, log_variance


def expected(model: Model, latent: Tensor, condition: Condition | None = None) -> NDArray[Any]:
    """Return the fields ``(B, C, *S)`` in physical units that latents of :func:`posterior` stand for.

    Raises
    ------
    InputError
        If the model is of another family, the latents do not fit it, or it does not know the condition.
    """
    net = _network(model)
    size = net.config.latent_size if net.config.latent == "vector" else net.config.latent_channels
    axes = 2 if net.config.latent == "vector" else 2 + model.codec.ndim
    if latent.ndim != axes or latent.shape[1] != size:
        raise InputError(f"latents of this model have {axes} axes, {size} long along the second, not {latent.shape}")
    asked = model.request(condition).condition
    z = latent.to(model.device, torch.float32)
    with _looking(net):
        return model.codec.decode(_decoded(net, z, tell(model.conditions, [asked] * len(z), like=z)))


def _check_fields(model: Model, net: Network, shape: Sequence[int]) -> None:
    """Refuse fields ``(B, C, *S)`` that the encoder cannot take."""
    grid = tuple(shape[2:])
    fits = len(shape) == model.codec.ndim + 2 and shape[1] == model.codec.channels
    fixed = net.config.latent == "vector"
    if not fits or (grid != tuple(model.patch) if fixed else any(n % net.factor for n in grid)):
        sides = " x ".join(map(str, model.patch)) if fixed else f"multiples of {net.factor}"
        raise InputError(
            f"fields to encode are (batch, {model.codec.channels}, ...) of {model.codec.ndim} axes, sides {sides}; "
            f"these are {tuple(shape)}"
        )


def _decoded(net: Network, z: Tensor, told: Told, *, margin: int = 0) -> Tensor:
    """Decode to an encoded field; a latent map may be wrapped around by a margin, which is cut off again."""
    grid = z.shape[2:]
    for axis, n in enumerate(grid if margin else (), start=2):
        z = z.index_select(axis, torch.arange(-margin, n + margin, device=z.device) % n)
    decoded = net.decode(z, told.numbers, told.present)
    if margin:
        inside: Any = (..., *(slice(margin * net.factor, (margin + n) * net.factor) for n in grid))
        decoded = decoded[inside]
    return most_likely(net, decoded)


def most_likely(net: Network, decoded: Tensor) -> Tensor:
    """Return the encoded field ``(B, C, *S)`` that a decoder's answer stands for; of classes the most likely one."""
    if not net.classes:
        return decoded
    codec = net.codec
    return (decoded.argmax(dim=1, keepdim=True) + round(codec.low) - codec.offset) / codec.scale


def _labels(codec: Codec, x_BCS: Tensor) -> Tensor:
    """Classes from 0 of encoded fields of classes, ``(B, *S)``."""
    values = (x_BCS[:, 0] * codec.scale + codec.offset).round() - round(codec.low)
    return values.long().clamp(0, classes(codec) - 1)


def _network(model: Model) -> Network:
    if not isinstance(model.net, Network):
        raise InputError(f"a model of the family {model.family} has no encoder; train one with --family vae")
    return model.net


@contextlib.contextmanager
def _looking(net: Network) -> Iterator[None]:
    """Evaluate without learning or dropout, and leave the network as it was."""
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        net.train(training)
