"""The deep convolutional GAN that can be asked for values: :mod:`microgen.models.dcgan` with conditions.

They modulate every stage of the generator, and the discriminator compares them with what it sees (projection, Miyato
and Koyama 2018, doi:10.48550/arXiv.1802.05637).
"""

from __future__ import annotations

from microgen.models.dcgan import (
    TRAIN,
    Config,
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
