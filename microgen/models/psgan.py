"""Spatial GANs: a field of latent cells becomes a picture or volume of any size, that can be painted with conditions.

Periodic spatial GAN of Bergmann et al. 2017 (PSGAN, doi:10.48550/arXiv.1705.06566) on the SGAN of Jetchev et al. 2016
(doi:10.48550/arXiv.1611.08207); the "microstructure GAN" of Chun et al. 2020 (doi:10.1038/s41598-020-70149-0). Each
cell holds local numbers of its own, global numbers that all cells of a sample share, plane waves whose wave vectors
follow from the global numbers, and the conditions at its place.

Shapes: B batch, C field channels, E embedding, N numbers of a condition, P places, S spatial axes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from microgen.core import Condition, ConditionSpec, InputError
from microgen.models import adversarial, dcgan
from microgen.models.adversarial import (
    judge,
    latent_shapes,
    make_optimizers,
    model_of,
    remark,
    train_step,
)
from microgen.models.codec import Codec
from microgen.models.conditions import Told, tell
from microgen.models.latents import Latents, white
from microgen.models.options import SampleOptions, one_pass
from microgen.nets.gan import Upsampling, initialise, stages_of, widths_of
from microgen.nets.psgan import SlowEmbedding, SpatialDiscriminator, SpatialGenerator, WaveVectors, cut, waves

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
    "model_of",
    "remark",
    "train_step",
]

TRAIN = dcgan.TRAIN
"""Settings of the loop."""
LARGEST = 2**20
"""Points of a canvas above which it is made window by window."""
WINDOW = {2: 512, 3: 64}
"""Side of these windows in points, by the number of axes."""
_POOL: dict[int, Any] = {2: functional.adaptive_avg_pool2d, 3: functional.adaptive_avg_pool3d}


class Config(adversarial.Settings):
    """Both networks and how they are trained."""

    patch_px: int = Field(64, ge=8, description="side of a training crop")
    latent: int = Field(30, ge=1, description="local numbers of each cell")
    global_latent: int = Field(15, ge=0, description="global numbers, the same in all cells of a sample")
    waves: int = Field(0, ge=0, description="periodic channels: plane waves over the cells")
    stages: int = Field(4, ge=1, description="doublings of the grid; a cell spans 2 to the power of these points")
    width: int = Field(32, ge=1, description="channels of the generator at the fine end, doubled at each coarser stage")
    widest: int = Field(256, ge=1, description="most channels")
    kernel: int = Field(3, ge=2, description="side of the convolutions of the generator")
    last_kernel: int = Field(3, ge=0, description="side of the last one, at full size; 0: none, as in the paper")
    upsampling: Upsampling = Field("resize", description="resize, or transposed convolutions: as in the paper; dots")
    normalise: bool = Field(True, description="normalise the channels at each place of the generator")
    discriminator_stages: int | None = Field(None, ge=1, description="halvings of the grid; default: to 4 places or so")
    discriminator_width: int = Field(32, ge=1, description="channels of the discriminator at half size")
    discriminator_kernel: int = Field(4, ge=3, le=5, description="side of the discriminator's convolutions")
    embedding: int = Field(64, ge=8, description="length of the vector that carries the conditions of a place")
    beta1: float = Field(0.0, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    r1: float = Field(4.0, ge=0, description="penalty on gradients of the mean logit of real samples")

    @model_validator(mode="after")
    def _usable(self) -> Config:
        odd = {"last_kernel": self.last_kernel or 1, "kernel": self.kernel if self.upsampling == "resize" else 1}
        for name, side in odd.items():
            if side % 2 == 0:
                raise ValueError(f"{name} must be odd")
        if self.waves and not self.global_latent:
            raise ValueError("wave vectors are made of the global numbers; waves need a global_latent of at least 1")
        if self.halvings > math.log2(self.patch_px):
            raise ValueError(f"a patch of {self.patch_px} points cannot be halved {self.halvings} times")
        return self

    @property
    def halvings(self) -> int:
        """Stages of the discriminator."""
        return self.discriminator_stages or max(1, stages_of(self.patch_px))

    def generator(self, shape: Sequence[int], embedding: int) -> SpatialGenerator:
        """Make the network from cells to fields of ``C`` channels."""
        stages = self.stages if self.last_kernel else self.stages - 1
        return SpatialGenerator(
            len(shape) - 1,
            self.global_latent + self.latent + self.waves + embedding,
            shape[0],
            widths=widths_of(self.width, stages, widest=self.widest),
            kernel=self.kernel,
            last_kernel=self.last_kernel,
            upsampling=self.upsampling,
            normalise=self.normalise,
        )

    def discriminator(self, shape: Sequence[int], embedding: int) -> SpatialDiscriminator:
        """Make the network from fields of ``C`` channels to a field of logits."""
        return SpatialDiscriminator(
            len(shape) - 1,
            shape[0],
            widths=widths_of(self.discriminator_width, self.halvings - 1, widest=self.widest),
            embedding=embedding,
            kernel=self.discriminator_kernel,
            dropout=self.discriminator_dropout,
            spectral=self.spectral,
        )


class Network(adversarial.Network):
    """The model: cells with their conditions, and the generator that makes fields of them."""

    PAINTED: ClassVar[bool] = True
    config: Config
    generator: SpatialGenerator
    embedding: SlowEmbedding | None  # type: ignore[assignment]

    def __init__(self, config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> None:
        super().__init__(config, codec=codec, conditions=conditions)
        self.embedding = _embedding(config, conditions)
        self.vectors = WaveVectors(codec.ndim, config.waves, config.global_latent) if config.waves else None
        if self.vectors is not None:
            initialise(self.vectors, config.init_std)
            self.vectors.spread()

    def latent_shapes(self, grid: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each part of the latent of a sample on a grid: there are cells beyond its border too."""
        config, margin = self.config, self.generator.margin
        shapes = {
            "local": (config.latent, *(n + 2 * margin for n in self.cells(grid))),
            "global": (config.global_latent,),
            "phase": (config.waves,),
        }
        return {name: shape for name, shape in shapes.items() if shape[0]}

    def cells(self, grid: Sequence[int]) -> tuple[int, ...]:
        """Return how many cells a grid is covered with."""
        return tuple(math.ceil(n / self.generator.factor) for n in grid)

    def forward(self, latents: Latents, told: Told, *, window: int | None = None, periodic: bool = False) -> Tensor:
        """Return encoded samples ``(B, C, *S)`` on the grid of the maps in `told`.

        Parameters
        ----------
        window
            Make windows of so many points along each axis one after the other; they fit without a difference.
        periodic
            Wrap around at the borders, which must be those of cells.
        """
        grid, factor = told.maps.shape[2:], self.generator.factor
        field = Cells(self, latents, told, periodic=periodic)
        boxes = list(_boxes(self.cells(grid), max(1, window // factor) if window else max(grid)))
        if len(boxes) == 1:
            return cut(self._made(field, boxes[0]), [slice(n) for n in grid])
        made = told.maps.new_empty((len(told.maps), self.shape[0], *grid), dtype=torch.float32)
        for box in boxes:
            part = self._made(field, box)
            to = [slice(b.start * factor, min(b.stop * factor, n)) for b, n in zip(box, grid, strict=True)]
            cut(made, to)[:] = cut(part, [slice(t.stop - t.start) for t in to])
        return made

    def _made(self, field: Cells, box: Sequence[slice]) -> Tensor:
        return self.bounded(self.generator(field(box)))


class Cells:
    """The cells of a canvas, box by box, so that never all of them are in memory with everything they hold."""

    def __init__(self, net: Network, latents: Latents, told: Told, *, periodic: bool) -> None:
        self.net, self.latents = net, latents
        margin, self.counts = net.generator.margin, net.cells(told.maps.shape[2:])
        self.local = uniform(latents["local"])
        self.numbers, self.present = coarse(net.conditions, _whole(told.maps, net.generator.factor), told, self.counts)
        if periodic:
            inside = cut(self.local, [slice(margin, margin + n) for n in self.counts])
            self.local = _bordered(inside, margin, periodic=True)
        self.numbers, self.present = (_bordered(t, margin, periodic=periodic) for t in (self.numbers, self.present))
        self.vectors = self._vectors(periodic=periodic)

    def __call__(self, box: Sequence[slice]) -> Tensor:
        """Return the cells of a box and the margin around it, ``(B, channels, *cells)``."""
        net, margin = self.net, self.net.generator.margin
        wide = [slice(b.start, b.stop + 2 * margin) for b in box]
        parts = [cut(self.local, wide)]
        places = parts[0].shape[2:]
        if "global" in self.latents:
            parts.insert(0, spread(uniform(self.latents["global"]), places))
        if self.vectors is not None:
            where = [torch.arange(b.start - margin, b.stop + margin).to(self.vectors) for b in box]
            phase = math.pi * (1 + uniform(self.latents["phase"]))
            parts.append(waves(self.vectors, phase, where))
        if net.embedding is not None:
            parts.append(embedded(net.embedding, cut(self.numbers, wide), cut(self.present, wide)))
        return torch.cat(parts, dim=1)

    def _vectors(self, *, periodic: bool) -> Tensor | None:
        """Wave vectors; on periodic canvases the nearest of whole numbers of waves."""
        if self.net.vectors is None:
            return None
        vectors: Tensor = self.net.vectors(uniform(self.latents["global"])).to(self.local.dtype)
        if periodic:
            step = 2 * math.pi / torch.tensor(self.counts).to(vectors)
            vectors = (vectors / step).round() * step
        return vectors


class Pair(adversarial.Pair):
    """Generator and a discriminator that judges each place, told of the conditions there."""

    embedding: SlowEmbedding | None  # type: ignore[assignment]

    def __init__(self, config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> None:
        model = Network(config, codec=codec, conditions=conditions)
        super().__init__(config, codec=codec, conditions=conditions, model=model)
        self.embedding = _embedding(config, conditions)

    def logits(self, x_BCS: Tensor, told: Told) -> Tensor:
        """Return the discriminator's logits ``(B, *P)``."""
        logits, vectors = self.critic(x_BCS)
        if self.embedding is not None:
            numbers = coarse(self.conditions, told.maps, told, logits.shape[1:])
            logits = logits + (vectors * embedded(self.embedding, *numbers)).sum(dim=1)
        result: Tensor = logits.float()
        return result


def build(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> Network:
    """Make the generator; seed torch first to fix the weights."""
    return Network(config, codec=codec, conditions=conditions)


def build_trained(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> Pair:
    """Make generator and discriminator; seed torch first to fix the weights."""
    return Pair(config, codec=codec, conditions=conditions)


def check(model: Model, condition: Condition, shape: Sequence[int], options: SampleOptions) -> SampleOptions:
    """Return `options` with what the model decides filled in: large canvases are made window by window.

    Raises
    ------
    InputError
        For options that mean nothing without steps, conditions that must be given, and periodic canvases that whole
        cells do not cover.
    """
    net: Any = model.net
    missing = [c.name for c in net.conditions if c.name not in {**condition.scalars, **condition.maps}]
    if missing and not net.config.condition_dropout:
        raise InputError(f"this model was trained with condition_dropout = 0 and must be told {', '.join(missing)}")
    if options.periodic and any(n % net.generator.factor for n in shape):
        raise InputError(f"sides of periodic fields of this model are multiples of {net.generator.factor} points")
    if options.window is None and math.prod(shape) > LARGEST:
        options = options.model_copy(update={"window": WINDOW[len(shape)]})
    return one_pass(options, "psgan", understood=("window",))


def generate(
    model: Model, seeds: Sequence[int], condition: Condition, shape: Sequence[int], options: SampleOptions
) -> Tensor:
    """Make one encoded sample ``(B, C, *S)`` per seed; see :meth:`microgen.models.model.Model.sample`."""
    latents = white(seeds, latent_shapes(model, shape), model.device)
    like = torch.zeros((len(seeds), 1, *shape), device=model.device)
    return decode(model, latents, tell(model.conditions, [condition] * len(seeds), like=like), shape, options)


def decode(model: Model, latents: Latents, told: Told, shape: Sequence[int], options: SampleOptions) -> Tensor:
    """Make encoded samples ``(B, C, *S)`` of latents, differentiably."""
    made: Tensor = model.net(latents, told, window=options.window, periodic=options.periodic)
    return made


def uniform(white: Tensor) -> Tensor:
    """Turn white noise into noise that is uniform in -1 .. 1, as the paper has it.

    >>> uniform(torch.tensor([-9.0, 0.0, 0.6744898]))
    tensor([-1.0000,  0.0000,  0.5000])
    """
    return torch.erf(white / math.sqrt(2))


def coarse(
    conditions: Sequence[ConditionSpec], maps: Tensor, told: Told, places: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the conditions at each place of a coarse grid, and whether they are given there, both ``(B, N, *P)``.

    Scalars are the same at all places; of `maps`, the means around a place are taken.
    """
    numbers, present = [spread(told.numbers, places)], [spread(told.present, places)]
    layers = _POOL[len(places)](maps, tuple(places)) if maps.shape[1] else maps
    for spec in (c for c in conditions if c.kind == "map"):
        values, flag, layers = (
            layers[:, : spec.channels],
            layers[:, spec.channels :][:, :1],
            layers[:, spec.channels + 1 :],
        )
        numbers.append(values)
        present.append(flag.expand_as(values))
    return torch.cat(numbers, dim=1), torch.cat(present, dim=1)


def embedded(embedding: nn.Module, numbers_BNP: Tensor, present_BNP: Tensor) -> Tensor:
    """Embed the conditions of each place by itself, ``(B, E, *P)``."""
    rows = (t.movedim(1, -1).flatten(0, -2) for t in (numbers_BNP, present_BNP))
    made: Tensor = embedding(*rows)
    return made.reshape(len(numbers_BNP), *numbers_BNP.shape[2:], -1).movedim(-1, 1)


def spread(values_BN: Tensor, places: Sequence[int]) -> Tensor:
    """Put the same numbers at all places, ``(B, N, *P)``."""
    return values_BN.reshape(*values_BN.shape, *(1,) * len(places)).expand(-1, -1, *places)


def _embedding(config: Config, conditions: Sequence[ConditionSpec]) -> SlowEmbedding | None:
    return SlowEmbedding(sum(c.channels for c in conditions), config.embedding) if conditions else None


def _whole(maps_BMS: Tensor, factor: int) -> Tensor:
    """Maps on a grid of whole cells: beyond the border they go on as at the border."""
    for axis, n in enumerate(maps_BMS.shape[2:], start=2):
        if n % factor and maps_BMS.shape[1]:
            index = torch.arange(math.ceil(n / factor) * factor, device=maps_BMS.device).clamp(max=n - 1)
            maps_BMS = maps_BMS.index_select(axis, index)
    return maps_BMS


def _bordered(field: Tensor, margin: int, *, periodic: bool) -> Tensor:
    """Go on beyond the border, as at the border or as beyond the one opposite."""
    for axis, n in enumerate(field.shape[2:], start=2):
        index = torch.arange(-margin, n + margin, device=field.device)
        field = field.index_select(axis, index % n if periodic else index.clamp(0, n - 1))
    return field


def _boxes(counts: Sequence[int], side: int) -> Iterator[tuple[slice, ...]]:
    """Boxes of at most `side` cells along each axis that fill a grid."""
    axes = [[slice(at, min(at + side, n)) for at in range(0, n, side)] for n in counts]
    return itertools.product(*axes)
