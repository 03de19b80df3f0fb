"""The fully connected GAN of Goodfellow et al. 2014 (doi:10.48550/arXiv.1406.2661): for small patches and teaching."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import nn

from microgen.models.adversarial import (
    TRAIN,
    Settings,
    build,
    build_trained,
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
from microgen.nets.gan import DenseDiscriminator, DenseGenerator

__all__ = [
    "CONDITIONAL",
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


class Config(Settings):
    """Both networks and how they are trained; the layers are those of E. Linder-Norén's collection of Keras GANs."""

    widths: tuple[int, ...] = Field((256, 512, 1024), description="hidden units of the generator")
    discriminator_widths: tuple[int, ...] = Field((512, 256), description="hidden units of the discriminator")
    normalise: bool = Field(True, description="layer normalisation in the generator")

    def generator(self, shape: Sequence[int], embedding: int) -> nn.Module:
        """Make the generator of samples ``(C, *S)``."""
        return DenseGenerator(self.latent, shape, widths=self.widths, normalise=self.normalise)

    def discriminator(self, shape: Sequence[int], embedding: int) -> nn.Module:
        """Make the discriminator of samples ``(C, *S)``."""
        widths, dropout = self.discriminator_widths, self.discriminator_dropout
        return DenseDiscriminator(shape, widths=widths, dropout=dropout, spectral=self.spectral)
