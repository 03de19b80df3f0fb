"""Every family, small enough to train in a second: a family with a row here is tested by all tests of families."""

from __future__ import annotations

from typing import Any

import torch

from microgen.core import ConditionSpec
from microgen.models import Codec, Model
from microgen.models.families import FAMILIES

UNET = {"channels": (8, 16), "blocks": 1, "embedding": 16, "fold": 2}
GAN = {"patch_px": 16, "latent": 8, "embedding": 16}
WIDTHS = {"width": 4, "discriminator_width": 4, "widest": 8}
CASES: dict[str, dict[str, Any]] = {
    "diffusion": UNET,
    "consistency": UNET,
    "latent-diffusion": {
        **UNET,
        "fold": 1,
        "patch_px": 16,
        "frozen": {"sha256": "0" * 64, "config": {**UNET, "channels": (8,), "latent": "map", "patch_px": 16}},
    },
    "vae": {**UNET, "patch_px": 16, "latent_size": 8},
    "gan": {**GAN, "widths": (16, 16), "discriminator_widths": (16,)},
    "dcgan": {**GAN, **WIDTHS},
    "cdcgan": {**GAN, **WIDTHS},
    "infogan": {**GAN, **WIDTHS, "categories": (3, 4)},
    "stylegan": {**GAN, **WIDTHS, "style": 16, "mapping_depth": 2},
    "psgan": {**GAN, **WIDTHS, "global_latent": 4, "waves": 2, "stages": 2},
}
"""Settings of a tiny network for patches of 16 points, by family."""
FLAT: frozenset[str] = frozenset()
"""Families without a third axis."""
SPEC = ConditionSpec("grain_size_um", "scalar", 5, 20, "log")
SIDE = 16


def specs_of(name: str) -> tuple[ConditionSpec, ...]:
    return (SPEC,) if getattr(FAMILIES[name], "CONDITIONAL", True) else ()


def codec_of(ndim: int = 2) -> Codec:
    return Codec("intensity", 120.0, 40.0, 0, 255, "uint8", (0.8,) * ndim)


def make_trained(name: str, *, ndim: int = 2, seed: int = 0, **config: Any) -> Any:
    """What is trained: the network, or for a GAN the pair."""
    family: Any = FAMILIES[name]
    build = getattr(family, "build_trained", family.build)
    torch.manual_seed(seed)
    made = build(family.Config(**{**CASES[name], **config}), codec=codec_of(ndim), conditions=specs_of(name))
    if hasattr(made, "autoencoder"):  # one that learned nothing is sure of nothing, and its latents would be noise
        made.autoencoder.encoder.layers[-1].bias.data.chunk(2)[1].fill_(-6.0)
    return made


def make_model(name: str, *, ndim: int = 2, seed: int = 0, **config: Any) -> Model:
    """A model with random weights that are large enough to show in a sample."""
    family: Any = FAMILIES[name]
    trained = make_trained(name, ndim=ndim, seed=seed, **config)
    net = family.model_of(trained) if hasattr(family, "model_of") else trained
    with torch.no_grad():
        for weight in net.parameters():
            if weight.ndim > 1 and weight.std() < 0.05:  # layers that start at zero hide everything behind them
                weight.normal_(std=0.1)
    settings = family.Config(**{**CASES[name], **config}).model_dump(mode="json")
    return Model(name, settings, net.eval(), codec_of(ndim), specs_of(name), (SIDE,) * ndim, {})
