"""The deep convolutional GAN of Radford et al. 2016 (doi:10.48550/arXiv.1511.06434), for pictures and volumes.

Optimised as StyleGAN is (Karras et al. 2019, doi:10.48550/arXiv.1812.04948: Adam with 1e-3, 0 and 0.99) with the R1
penalty of Mescheder et al. 2018, because with the 2e-4 and 0.5 of the paper short runs on microstructures collapsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator
from torch import nn

from microgen.models import adversarial
from microgen.models.adversarial import (
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
from microgen.nets.gan import Discriminator, Generator, Upsampling, stages_of, widths_of

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
TRAIN: Mapping[str, Any] = {**adversarial.TRAIN, "learning_rate": 1e-3}
"""Settings of the loop."""


class Config(Settings):
    """Both networks and how they are trained."""

    stages: int | None = Field(None, ge=1, description="doublings of the grid; default: from a side of 4 to 7")
    width: int = Field(32, ge=1, description="channels of the generator at full size; doubled at each coarser stage")
    discriminator_width: int = Field(32, ge=1, description="channels of the discriminator at half size")
    widest: int = Field(256, ge=1, description="most channels")
    upsampling: Upsampling = Field("resize", description="resize, or transposed convolutions: faster, leave dots")
    normalise: bool = Field(True, description="group normalisation in the generator")
    last_kernel: int = Field(3, ge=1, description="side of the last convolution of the generator, odd")
    discriminator_kernel: int = Field(4, ge=3, le=4, description="side of the discriminator's convolutions, 3 or 4")
    beta1: float = Field(0.0, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    r1: float = Field(1.0, ge=0, description="penalty on gradients at real samples, Mescheder et al. 2018")

    @model_validator(mode="after")
    def _usable(self) -> Config:
        if self.patch_px % 2**self.doublings:
            raise ValueError(f"a patch of {self.patch_px} points cannot be halved {self.doublings} times")
        if self.last_kernel % 2 == 0:
            raise ValueError("last_kernel must be odd")
        return self

    @property
    def doublings(self) -> int:
        """Stages of the networks."""
        return stages_of(self.patch_px) if self.stages is None else self.stages

    @property
    def inputs(self) -> int:
        """Numbers that the generator makes a sample of."""
        return self.latent

    def generator(self, shape: Sequence[int], embedding: int) -> nn.Module:
        """Make the generator of samples ``(C, *S)``."""
        return Generator(
            len(shape) - 1,
            self.inputs,
            shape[0],
            side=self.patch_px,
            widths=widths_of(self.width, self.doublings, widest=self.widest),
            embedding=embedding,
            upsampling=self.upsampling,
            normalise=self.normalise,
            kernel=self.last_kernel,
        )

    def discriminator(self, shape: Sequence[int], embedding: int) -> nn.Module:
        """Make the discriminator of samples ``(C, *S)``."""
        return Discriminator(
            len(shape) - 1,
            shape[0],
            side=self.patch_px,
            widths=widths_of(self.discriminator_width, self.doublings, widest=self.widest),
            embedding=embedding,
            kernel=self.discriminator_kernel,
            dropout=self.discriminator_dropout,
            spectral=self.spectral,
        )
