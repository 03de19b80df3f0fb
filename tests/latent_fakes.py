"""A family whose latents mean something known: brightness and contrast of stripes, whose direction can be asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from microgen.core import ConditionSpec
from microgen.models import Codec, Model
from microgen.models.options import one_pass

SPECS = (
    ConditionSpec("intensity_mean", "scalar", 80, 160, "linear"),
    ConditionSpec("orientation_deg", "scalar", 0, 180, "axial"),
)
SIDE = 32


def family(mixing: Tensor | None = None) -> Any:
    """Code 0 is brightness, code 1 the logarithm of contrast; `mixing` turns the two; `noise` moves stripes a bit."""

    def decode(model: Model, latents: Any, told: Any, shape: Any, options: Any) -> Tensor:
        codes = latents["codes"] if mixing is None else latents["codes"] @ mixing.to(latents["codes"])
        y, x = torch.meshgrid(*(torch.arange(n, dtype=codes.dtype) for n in shape), indexing="ij")
        mean, cos2, sin2 = (told.numbers * told.present).to(codes).T
        turned = torch.atan2(sin2, cos2) / 2  # direction of the stripes; of nothing, 0
        across = y * turned.cos()[:, None, None] - x * turned.sin()[:, None, None]
        shift = latents["noise"].mean(dim=(1, 2))[:, None, None]
        wave = torch.sin(2 * torch.pi * across / 8 + 0.1 * shift)
        bright = (mean + 0.4 * codes[:, 0])[:, None, None]
        return (bright + (0.25 * codes[:, 1]).exp()[:, None, None] * 0.7 * wave)[:, None]

    return SimpleNamespace(
        latent_shapes=lambda model, shape: {"codes": (3,), "noise": tuple(shape)},
        decode=decode,
        check=lambda model, condition, shape, options: one_pass(options, "stripes"),
    )


def model(specs: tuple[ConditionSpec, ...] = SPECS) -> Model:
    """A model of the family ``stripes``, which a test has to put into the table."""
    codec = Codec("intensity", 120.0, 40.0, 0, 255, "uint8", (0.5, 0.5))
    return Model("stripes", {}, nn.Linear(1, 1), codec, specs, (SIDE, SIDE), {})
