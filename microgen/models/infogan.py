"""The InfoGAN of Chen et al. 2016 (doi:10.48550/arXiv.1606.03657): a DCGAN whose samples must tell their codes.

A part of what the generator is given are codes: classes, and numbers in -1 .. 1. A head Q on the discriminator's layers
tells them from the sample, and the generator is rewarded as Q succeeds, which raises a lower bound on the mutual
information of codes and samples (equation 5). What the codes come to mean is for the data to say.

In two things the default is not the paper's, because with those, codes of micrographs came to mean where boundaries
run. Codes modulate all stages of the generator, and Q reads textures: the mean features of all stages, of the sample
moved around and lit at random. And only Q's head learns to read, in the generator's step; where the layers that it
shares with the discriminator learn it too, as in the authors' program (``deep``), a code of flat fields hid in faint
patterns. ``codes = "layout"`` is the paper's: codes beside the noise, and a head that sees all of the last features.

Shapes: B batch, C field channels, K classes, N continuous codes, S spatial axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from microgen.core import ConditionSpec
from microgen.models import adversarial, dcgan
from microgen.models.adversarial import (
    check,
    decode,
    generate,
    judge,
    latent_shapes,
    make_optimizers,
    model_of,
    remark,
    train_step,
)
from microgen.models.codec import Codec
from microgen.models.conditions import Told
from microgen.models.dcgan import TRAIN
from microgen.models.gan_augment import relit
from microgen.models.gan_losses import GAMES
from microgen.models.latents import Latents
from microgen.nets.gan import Discriminator, initialise
from microgen.nets.infogan import Recogniser

__all__ = [
    "CONDITIONAL",
    "DISCRETE",
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

CONDITIONAL = False
DISCRETE = "category"
"""How the names of parts begin of which only the place of the largest number counts."""


class Config(dcgan.Config):
    """The networks of a DCGAN, and the codes."""

    latent: int = Field(62, ge=1, description="length of the noise beside the codes")
    categories: tuple[int, ...] = Field((), description="classes of each categorical code")
    continuous: int = Field(3, ge=0, description="continuous codes, uniform in -1 .. 1")
    codes: Literal["texture", "layout"] = Field("texture", description="what they may mean; layout: anything")
    information: float = Field(1.0, ge=0, description="weight of the categorical codes")
    information_continuous: float = Field(0.5, ge=0, description="weight of the continuous codes")
    deep: bool = Field(False, description="the layers that Q reads learn to read, too, as in the authors' program")
    recogniser_width: int = Field(128, ge=1, description="hidden units of the head that reads the codes")

    @model_validator(mode="after")
    def _some_codes(self) -> Config:
        if not (self.categories or self.continuous) or min(self.categories, default=2) < 2:
            raise ValueError("give continuous codes, or categories of at least two classes, or both")
        return self

    @property
    def numbers(self) -> int:
        """Length of all codes one after the other, a class as one number each."""
        return self.continuous + sum(self.categories)

    @property
    def inputs(self) -> int:
        """Numbers that the generator starts from."""
        return self.latent + (self.numbers if self.codes == "layout" else 0)

    def generator(self, shape: Sequence[int], embedding: int) -> nn.Module:
        """Make the generator of samples ``(C, *S)``."""
        return super().generator(shape, self.embedding if self.codes == "texture" else 0)


def uniform(codes_BN: Tensor) -> Tensor:
    """From white noise to uniform numbers in -1 .. 1, by the distribution function of the normal law.

    >>> uniform(torch.tensor([0.0, 0.67448975]))
    tensor([0.0000, 0.5000])
    """
    return torch.erf(codes_BN / math.sqrt(2))


def one_hot(category_BK: Tensor) -> Tensor:
    """Return 1 at the largest of K numbers, else 0; the gradient is that of the softmax (straight through).

    >>> one_hot(torch.tensor([[0.1, 0.7, -2.0]]))
    tensor([[0., 1., 0.]])
    """
    soft = category_BK.softmax(dim=1)
    hard = functional.one_hot(category_BK.argmax(dim=1), category_BK.shape[1]).to(soft)
    return hard + (soft - soft.detach())


class Network(adversarial.Network):
    """The model: a generator whose codes modulate each stage (texture), or stand beside the noise (layout)."""

    config: Config

    def __init__(self, config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> None:
        super().__init__(config, codec=codec, conditions=conditions)
        wide = config.embedding
        layers = [nn.Linear(config.numbers, wide), nn.SiLU(), nn.Linear(wide, wide)]
        self.style = nn.Sequential(*layers) if config.codes == "texture" else None

    def forward(self, latents: Latents, told: Told) -> Tensor:
        """Return encoded samples ``(B, C, *S)``."""
        codes = [uniform(latents["codes"])] if self.config.continuous else []
        told_BN = torch.cat([*codes, *(one_hot(latents[name]) for name in self.classes())], dim=1)
        if self.style is not None:
            return self.bounded(self.generator(latents["z"], self.style(told_BN)))
        return self.bounded(self.generator(torch.cat([latents["z"], told_BN], dim=1), None))

    def latent_shapes(self, grid: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each part of the latent of a sample."""
        codes = {"codes": (self.config.continuous,)} if self.config.continuous else {}
        return {**super().latent_shapes(grid), **codes, **self.classes()}

    def classes(self) -> dict[str, tuple[int, ...]]:
        """Return name and shape of each categorical part."""
        return {f"{DISCRETE}_{i}": (k,) for i, k in enumerate(self.config.categories)}


class Pair(adversarial.Pair):
    """Generator, discriminator and the head that reads the codes."""

    config: Config
    model: Network
    critic: Discriminator

    def __init__(self, config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> None:
        model = build(config, codec=codec, conditions=conditions)
        super().__init__(config, codec=codec, conditions=conditions, model=model)
        self.recogniser = Recogniser(
            self.critic.length if config.codes == "layout" else sum(self.critic.widths),
            categories=config.categories,
            continuous=config.continuous,
            width=config.recogniser_width,
        )
        initialise(self.recogniser, config.init_std)

    def sides(self) -> dict[str, list[nn.Parameter]]:
        """Return the weights of both sides: Q's head is the generator's."""
        mine = [*self.model.parameters(), *self.recogniser.parameters()]
        return {"generator": mine, "discriminator": list(self.critic.parameters())}

    def reading(self, seen: Tensor, latents: Latents) -> tuple[Tensor, Tensor]:
        """Return the weighted loss of reading the codes, and the bound on their mutual information in nats."""
        config, (logits, mean, log_variance) = self.config, self.recogniser(seen)
        of_classes = [class_nats(x, latents[name]) for x, name in zip(logits, self.model.classes(), strict=True)]
        classes = torch.stack([*of_classes, mean.new_zeros(())]).sum()
        numbers = code_nats(mean, log_variance, uniform(latents["codes"])) if config.continuous else mean.new_zeros(())
        certain = sum(map(math.log, config.categories)) + config.continuous * math.log(2)
        loss = config.information * classes + config.information_continuous * numbers
        return loss, (certain - classes - numbers).detach()

    def seen(self, made: Tensor, generator: torch.Generator) -> Tensor:
        """Return what the head sees of samples, ``(B, F)``: of a texture, neither where things are nor how bright."""
        if self.config.codes == "layout":
            return self.critic.stages(made)[-1].float().flatten(1)
        stages = self.critic.stages(relit(rolled(made, generator), generator))
        return torch.cat([h.float().flatten(2).mean(dim=2) for h in stages], dim=1)

    def penalty(self, state: Any, real: Tensor, fake: Tensor, told: Told, step: int) -> Tensor:
        """Return what is added to the loss of the discriminator; with ``deep``, its layers learn to read codes too."""
        usual = super().penalty(state, real, fake, told, step)
        return usual + self.deep_reading(state, told) if self.config.deep else usual

    def deep_reading(self, state: Any, told: Told) -> Tensor:
        """Return the loss of reading new samples, of which only the layers of the discriminator learn."""
        latents = self.latents(told, state.generator)
        self.recogniser.requires_grad_(requires_grad=False)
        with state.autocast():
            with torch.no_grad():
                made = self.augmented(self.model(latents, told), state.generator)
            seen = self.seen(made, state.generator)
        loss, _ = self.reading(seen, latents)
        self.recogniser.requires_grad_(requires_grad=True)
        return loss

    def generator_loss(self, state: Any, told: Told, step: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return samples, the loss of generator and head, and further numbers to log."""
        latents = self.latents(told, state.generator)
        with state.autocast():
            made = self.model(latents, told)
            shown = self.augmented(made, state.generator)
            logits, seen = self.logits(shown, told), self.seen(shown, state.generator)
        loss, bound = self.reading(seen, latents)
        numbers = {"loss_information": loss.detach(), "information_nats": bound}
        return made, GAMES[self.config.loss].generator(logits) + loss, numbers


def rolled(x_BCS: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each sample by any number of points along each axis; what leaves on one side comes in on the other."""
    for axis in range(2, x_BCS.ndim):
        n = x_BCS.shape[axis]
        shift = torch.randint(n, (len(x_BCS), 1), generator=generator, device=x_BCS.device)
        index = (torch.arange(n, device=x_BCS.device) + shift) % n
        shape = [len(x_BCS), *(n if i == axis else 1 for i in range(1, x_BCS.ndim))]
        x_BCS = x_BCS.gather(axis, index.reshape(shape).expand_as(x_BCS))
    return x_BCS


def class_nats(logits_BK: Tensor, category_BK: Tensor) -> Tensor:
    """Return the mean cross entropy of the classes that were drawn, in nats."""
    return functional.cross_entropy(logits_BK, category_BK.argmax(dim=1))


def code_nats(mean_BN: Tensor, log_variance_BN: Tensor, codes_BN: Tensor) -> Tensor:
    """Return the mean negative log likelihood of the codes of a sample under independent normal laws, in nats.

    >>> (2 * code_nats(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1))).exp()  # 2 pi
    tensor(6.2832)
    """
    squares = (codes_BN - mean_BN).square() * (-log_variance_BN).exp()
    each: Tensor = (squares + log_variance_BN + math.log(2 * math.pi)).sum(dim=1) / 2
    return each.mean()


def build(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> Network:
    """Make the generator; seed torch first to fix the weights."""
    return Network(config, codec=codec, conditions=conditions)


def build_trained(config: Config, *, codec: Codec, conditions: Sequence[ConditionSpec]) -> Pair:
    """Make generator, discriminator and head; seed torch first to fix the weights."""
    return Pair(config, codec=codec, conditions=conditions)
