"""A tiny network with random weights: quick to sample, and it does something at every size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from microgen.core import ConditionSpec
from microgen.models import Codec, Model, save_model
from microgen.models.families import FAMILIES

SPECS = (
    ConditionSpec("grain_size_um", "scalar", 5, 20, "log"),
    ConditionSpec("orientation_deg", "map", 0, 180, "axial"),
)


def tiny_model(*, seed: int = 0, ndim: int = 2, specs: tuple[ConditionSpec, ...] = SPECS, **config: Any) -> Model:
    """Model of about ten thousand weights with the patch 16."""
    family = FAMILIES["diffusion"]
    chosen = family.Config(channels=(8, 16), blocks=1, embedding=16, fold=2, **config)
    codec = Codec("intensity", 120.0, 40.0, 0, 255, "uint8", (0.8,) * ndim)
    torch.manual_seed(seed)
    net = family.build(chosen, codec=codec, conditions=specs)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():  # layers that start as zero would hide everything behind them
                parameter.normal_(std=0.1)
    return Model("diffusion", chosen.model_dump(mode="json"), net, codec, specs, (16,) * ndim, {"note": "tiny"})


def save_tiny(path: Path, **options: Any) -> Path:
    """Write a tiny model file."""
    save_model(path, tiny_model(**options))
    return path
