"""Style-based GAN: noise and conditions become a style, which sets every layer of the generator.

Karras et al. 2019 (StyleGAN, doi:10.48550/arXiv.1812.04948) with ``modulation="adain"``, Karras et al. 2020 (StyleGAN2,
doi:10.48550/arXiv.1912.04958) with ``"modulated"``; conditions as in Karras et al. 2020 (StyleGAN2-ADA,
doi:10.48550/arXiv.2006.06676), and besides a reader: a small network that learns from real crops to read the
conditions, and by which the generator is told how well it obeyed (auxiliary regression, after Odena et al. 2017,
doi:10.48550/arXiv.1610.09585).

Shapes: B batch, C field channels, K fixed latents, L styled layers, N scalar numbers, S spatial axes, W style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from microgen.core import Condition, ConditionSpec, InputError
from microgen.models import adversarial
from microgen.models.adversarial import Network, Pair, Settings, judge, latent_shapes, model_of, remark, train_step
from microgen.models.codec import Codec
from microgen.models.conditions import Told, tell
from microgen.models.gan_losses import GAMES
from microgen.models.latents import Latents, white
from microgen.models.options import SampleOptions, one_pass
from microgen.nets.gan import stages_of, widths_of
from microgen.nets.stylegan import Asked, Modulation, Reader, StyleDiscriminator, Synthesis
from microgen.nets.stylegan import Mapping as MappingNetwork

if TYPE_CHECKING:
    from microgen.models.model import Model

__all__ = [
    "TRAIN",
    "Config",
    "build",
    "build_trained",
    "check",
    "decode",
    "generate",
    "judge",
    "latent_shapes",
    "make_optimizers",
    "mapped",
    "mapped_mean",
    "model_of",
    "remark",
    "train_step",
]

TRAIN: Mapping[str, Any] = {**adversarial.TRAIN, "learning_rate": 6e-3, "decay": "cosine"}
"""Settings of the loop: at first three times the rate of the papers, whose runs are a thousand times as long."""
FIXED = 256
"""Latents that the mean style is taken over."""
FORGET = 0.01
"""Part of the mean path length that each step renews (StyleGAN2, appendix B)."""


class Config(Settings):
    """All networks and how they are trained."""

    latent: int = Field(128, ge=1, description="length of the latent vector z")
    modulation: Modulation = Field("modulated", description="modulated: StyleGAN2; adain: StyleGAN")
    width: int = Field(8, ge=1, description="channels of the generator at full size; doubled at each coarser stage")
    discriminator_width: int = Field(16, ge=1, description="channels of the discriminator after its first layer")
    discriminator_halved: bool = Field(True, description="its first layer halves the grid; false: full size, as papers")
    widest: int = Field(128, ge=1, description="most channels")
    stages: int | None = Field(None, ge=0, description="doublings of the grid; default: from a side of 4 to 7")
    style: int = Field(128, ge=1, description="length of a style w")
    mapping_depth: int = Field(4, ge=1, description="layers of the mapping from z to w")
    mapping_rate: float = Field(0.01, gt=0, description="learning rate of the mapping over that of the other layers")
    mixing: float = Field(0.5, ge=0, le=1, description="share of training samples whose last layers have another style")
    path_length: float = Field(0.0, ge=0, description="weight of the path length regularisation, 0 for none")
    path_every: int = Field(4, ge=1, description="steps between path length regularisations, as much stronger")
    penalty_every: int = Field(16, ge=1, description="steps between penalties of the discriminator, as much stronger")
    deviation: bool = Field(True, description="the discriminator sees how much the samples of a group of 4 differ")
    reading: float = Field(1.0, ge=0, description="weight of the conditions read from samples, 0 for no reader")
    beta1: float = Field(0.0, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    r1: float = Field(1.0, ge=0, description="penalty on gradients at real samples, Mescheder et al. 2018")

    @model_validator(mode="after")
    def _usable(self) -> Config:
        if self.patch_px % 2**self.doublings:
            raise ValueError(f"a patch of {self.patch_px} points cannot be halved {self.doublings} times")
        foreign = {"spectral", "discriminator_dropout", "init_std"}
        if changed := sorted(n for n in foreign if getattr(self, n) != type(self).model_fields[n].default):
            raise ValueError(f"{', '.join(changed)} mean nothing to a stylegan; leave them out")
        return self

    @property
    def doublings(self) -> int:
        """Stages of the networks after the first."""
        return stages_of(self.patch_px) if self.stages is None else self.stages

    def generator(self, shape: Sequence[int], embedding: int) -> StyleGenerator:
        """Make mapping and synthesis of samples ``(C, *S)``."""
        return StyleGenerator(self, shape, embedding)

    def discriminator(self, shape: Sequence[int], embedding: int) -> nn.Module:
        """Make the discriminator of samples ``(C, *S)``."""
        halved = self.discriminator_halved and self.doublings > 0
        return StyleDiscriminator(
            len(shape) - 1,
            shape[0],
            side=self.patch_px,
            widths=widths_of(self.discriminator_width, self.doublings + (not halved), widest=self.widest),
            halved=halved,
            embedding=embedding,
            deviation=self.deviation,
        )


class StyleGenerator(nn.Module):
    """Mapping and synthesis."""

    def __init__(self, config: Config, shape: Sequence[int], embedding: int) -> None:
        super().__init__()
        c = config
        self.mapping = MappingNetwork(c.latent, embedding, width=c.style, depth=c.mapping_depth, rate=c.mapping_rate)
        self.synthesis = Synthesis(
            len(shape) - 1,
            shape[0],
            side=c.patch_px,
            widths=widths_of(c.width, c.doublings + 1, widest=c.widest),
            style=c.style,
            modulation=c.modulation,
        )


class StyleNetwork(Network):
    """The model: from noise ``z``, or styles ``w``, and the noise inputs of the layers to samples."""

    generator: StyleGenerator
    embedding: Any

    def __init__(self, config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> None:
        super().__init__(config, codec=codec, conditions=conditions)
        self.embedding = asked(config, conditions)

    def forward(self, latents: Latents, told: Told) -> Tensor:
        """Return encoded samples ``(B, C, *S)``.

        Parameters
        ----------
        latents
            ``z`` ``(B, latent)`` or ``w`` ``(B, L, W)``, and ``noise_0``, ``noise_1``, ... ``(B, 1, *S)``.
        """
        styles = latents["w"] if "w" in latents else self.styles(latents["z"], told)
        noises = [latents[name] for name in self.noise_shapes()]
        raw: Tensor = self.generator.synthesis(styles, noises)
        return self.bounded(raw)

    def bounded(self, raw_BCS: Tensor) -> Tensor:
        """Keep samples within the range of the codec; small values stay as they are."""
        return super().bounded(raw_BCS / self.reach)

    def styles(self, latent_BL: Tensor, told: Told) -> Tensor:
        """Return the styles ``(B, L, W)``, the same for all layers, in full precision."""
        with torch.autocast(latent_BL.device.type, enabled=False):
            embedded = self.embedding(told.numbers, told.present) if self.embedding is not None else None
            style: Tensor = self.generator.mapping(latent_BL, embedded)
        return style[:, None].expand(-1, self.generator.synthesis.styles, -1)

    def mean_styles(self, told: Told) -> Tensor:
        """Return the mean style for each condition, as ``(B, L, W)``, over :data:`FIXED` latents."""
        drawn = torch.randn(FIXED, self.config.latent, generator=torch.Generator().manual_seed(0)).to(told.numbers)
        means = [self.styles(drawn, _row(told, i, FIXED)).mean(dim=0) for i in range(len(told.numbers))]
        return torch.stack(means)

    def noise_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each noise input by name."""
        return {f"noise_{i}": shape for i, shape in enumerate(self.generator.synthesis.noise_shapes)}

    def latent_shapes(self, grid: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each part of the latent of a sample on a grid."""
        return {**super().latent_shapes(grid), **self.noise_shapes()}


class StylePair(Pair):
    """Model, discriminator, reader, and the mean path length so far."""

    config: Config
    model: StyleNetwork
    embedding: Any

    def __init__(self, config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> None:
        model = StyleNetwork(config, codec=codec, conditions=conditions)
        super().__init__(config, codec=codec, conditions=conditions, model=model)
        self.embedding = asked(config, conditions)
        numbers = sum(c.channels for c in conditions)
        self.reader = Reader(codec.ndim, codec.channels, numbers) if numbers and config.reading else None
        self.path_mean: Tensor
        self.register_buffer("path_mean", torch.tensor(0.0))

    def draw(self, told: Told, generator: torch.Generator) -> Tensor:
        """Generate one sample per condition, some with two styles."""
        made: Tensor = self.model(self.mixed(told, generator), told)
        return made

    def mixed(self, told: Told, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw latents with styles; a share of the samples has another style after a random layer (style mixing)."""
        latents = self.latents(told, generator)
        styles = self.model.styles(latents.pop("z"), told)
        if self.config.mixing:
            other = torch.randn(len(styles), self.config.latent, generator=generator, device=styles.device)
            after = crossovers(len(styles), styles.shape[1], self.config.mixing, generator)
            styles = torch.where(after[..., None], self.model.styles(other, told), styles)
        return {"w": styles, **latents}

    def penalty(self, state: Any, real: Tensor, fake: Tensor, told: Told, step: int) -> Tensor:
        """Return the penalties that are due (lazy regularisation), and how badly the reader reads real crops."""
        every = self.config.penalty_every
        total = every * super().penalty(state, real, fake, told, step) if step % every == 0 else real.new_zeros(())
        if self.reader is not None:
            total = total + misread(self.reader(real), told)
        return total

    def generator_loss(self, state: Any, told: Told, step: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return samples, the loss of the generator, and further numbers to log."""
        with state.autocast():
            made = self.draw(told, state.generator)
            seen = self.augmented(made, state.generator)
            loss = GAMES[self.config.loss].generator(self.logits(seen, told))
            read = misread(self.reader(seen), told) if self.reader is not None else loss.new_zeros(())
        further = {"misread": read.detach()}
        loss = loss + self.config.reading * read
        if self.config.path_length:
            if step % self.config.path_every == 0:
                loss = loss + self.config.path_length * self.config.path_every * self._path_penalty(state, told)
            further["path_length"] = self.path_mean.clone()
        return made, loss, further

    def _path_penalty(self, state: Any, told: Told) -> Tensor:
        """Take the path length of half of the batch, in full precision: gradients of gradients."""
        some = Told(*(part[: (len(part) + 1) // 2] for part in (told.numbers, told.present, told.maps)))
        latents = self.mixed(some, state.generator)
        made = self.model(latents, some)
        direction = torch.randn(made.shape, generator=state.generator, device=made.device)
        lengths = path_lengths(made, latents["w"], direction)
        mean = lengths.detach().mean()
        agreed = state.reduce(mean.reshape(1))[0] if state.reduce is not None else mean
        self.path_mean.lerp_(agreed, FORGET)
        return (lengths - self.path_mean).square().mean()


def asked(config: Config, conditions: Sequence[ConditionSpec]) -> Asked | None:
    """Make the embedding of the conditions, if there are any."""
    numbers = sum(c.channels for c in conditions)
    return Asked(numbers, config.embedding) if numbers else None


def crossovers(count: int, layers: int, share: float, generator: torch.Generator) -> Tensor:
    """Draw which layers have the other style, booleans ``(count, layers)``.

    In a `share` of the samples all from one of the layers after the first on, in the others none.
    """
    device = generator.device
    start = torch.randint(1, layers, (count, 1), generator=generator, device=device)
    chosen = torch.rand(count, 1, generator=generator, device=device) < share
    return chosen & (torch.arange(layers, device=device) >= start)


def path_lengths(made_BCS: Tensor, styles_BLW: Tensor, direction_BCS: Tensor) -> Tensor:
    """Return how far samples move with their styles ``(B,)``: the length of the gradient in a random direction.

    StyleGAN2, equation 4: root mean square over the layers of the length of ``J^T y``, where `direction_BCS` is white
    noise, divided here by the square root of the number of points, as in appendix B.
    """
    points = made_BCS[0, 0].numel()
    (gradient,) = torch.autograd.grad((made_BCS * direction_BCS).sum() / points**0.5, styles_BLW, create_graph=True)
    lengths: Tensor = gradient.square().sum(dim=2).mean(dim=1).sqrt()
    return lengths


def misread(read_BN: Tensor, told: Told) -> Tensor:
    """Return the mean square error of the conditions that are given."""
    squares = (read_BN.float() - told.numbers).square() * told.present
    return squares.sum() / told.present.sum().clamp_min(1)


def build(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> StyleNetwork:
    """Make the generator; seed torch first to fix the weights."""
    return StyleNetwork(config, codec=codec, conditions=conditions)


def build_trained(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> StylePair:
    """Make all networks; seed torch first to fix the weights."""
    return StylePair(config, codec=codec, conditions=conditions)


def make_optimizers(net: nn.Module, learning_rate: float) -> dict[str, Optimizer]:
    """Adam for either side, slowed for what is done in few steps only (StyleGAN2, appendix B, lazy regularisation)."""
    pair: Any = net
    c: Config = pair.config
    every = {"generator": c.path_every if c.path_length else 0, "discriminator": c.penalty_every}
    rates = {"generator": learning_rate, "discriminator": learning_rate * c.discriminator_rate}
    optimizers: dict[str, Optimizer] = {}
    for side, weights in pair.sides().items():
        part = every[side] / (every[side] + 1) if every[side] else 1.0
        optimizers[side] = Adam(weights, lr=part * rates[side], betas=(c.beta1**part, c.beta2**part), fused=True)
    return optimizers


def check(model: Model, condition: Condition, shape: Sequence[int], options: SampleOptions) -> SampleOptions:
    """Return `options` with what the model decides filled in; as of all GANs, but truncation is understood."""
    adversarial.check(model, condition, shape, options.model_copy(update={"truncation": 1.0}))
    return one_pass(options, model.family, understood=("truncation",))


def generate(
    model: Model, seeds: Sequence[int], condition: Condition, shape: Sequence[int], options: SampleOptions
) -> Tensor:
    """Make one encoded sample ``(B, C, *S)`` per seed; see :meth:`microgen.models.model.Model.sample`."""
    latents = white(seeds, latent_shapes(model, shape), model.device)
    like = torch.zeros((len(seeds), model.codec.channels, *shape), device=model.device)
    return decode(model, latents, tell(model.conditions, [condition] * len(seeds), like=like), shape, options)


def decode(model: Model, latents: Latents, told: Told, shape: Sequence[int], options: SampleOptions) -> Tensor:
    """Make encoded samples ``(B, C, *S)`` of latents, differentiably.

    Parameters
    ----------
    latents
        As in :func:`latent_shapes`, or with ``w`` ``(B, L, W)`` in place of ``z``.
    options
        With a `truncation` psi below 1, styles are moved to ``mean + psi (w - mean)``, where the mean is that of the
        condition (StyleGAN, appendix B).

    Raises
    ------
    InputError
        If a noise input is missing, or ``w`` does not fit.
    """
    net: Any = model.net
    wanted = (net.generator.synthesis.styles, net.config.style)
    missing = sorted({"w" if "w" in latents else "z", *net.noise_shapes()} - set(latents))
    if missing or ("w" in latents and tuple(latents["w"].shape[1:]) != wanted):
        what = f"lacks {', '.join(missing)}" if missing else f"has w of {tuple(latents['w'].shape[1:])}, not {wanted}"
        raise InputError(f"this latent {what}; take those of Model.latents or of stylegan.mapped")
    if options.truncation != 1:
        latents = mapped(model, latents, told)
        latents["w"] = torch.lerp(net.mean_styles(told), latents["w"], options.truncation)
    made: Tensor = net(latents, told)
    return made


def mapped(model: Model, latents: Latents, told: Told) -> dict[str, Tensor]:
    """Return the same samples with their styles ``w`` ``(B, L, W)`` in place of ``z``; noise inputs are kept."""
    net: Any = model.net
    styles = latents["w"] if "w" in latents else net.styles(latents["z"], told)
    return {"w": styles.clone(), **{name: part for name, part in latents.items() if name not in ("w", "z")}}


def mapped_mean(model: Model, told: Told) -> dict[str, Tensor]:
    """Return the mean style of each condition ``(B, L, W)`` as ``w``: always over the same latents."""
    net: Any = model.net
    return {"w": net.mean_styles(told)}


def _row(told: Told, index: int, count: int) -> Told:
    """Return one of the conditions, `count` times."""
    parts = (told.numbers, told.present, told.maps)
    return Told(*(part[index : index + 1].expand(count, *part.shape[1:]) for part in parts))
