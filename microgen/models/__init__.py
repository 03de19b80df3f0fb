"""Model families and what they share: codec, preconditioning, samplers, guidance and the model file.

The names below are loaded when they are first used, so that reading a model's header needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microgen.models.codec import Codec
    from microgen.models.families import FAMILIES
    from microgen.models.file import load_model, read_header, save_model
    from microgen.models.guidance import canvas, guided, tiled, with_maps, wrapped
    from microgen.models.model import Model
    from microgen.models.noise import SeedNoise
    from microgen.models.options import PRESETS, SampleOptions, integrate
    from microgen.models.precondition import DDPM, EDM
    from microgen.models.samplers import SAMPLERS
    from microgen.models.schedules import SCHEDULES

__all__ = [
    "DDPM",
    "EDM",
    "FAMILIES",
    "PRESETS",
    "SAMPLERS",
    "SCHEDULES",
    "Codec",
    "Model",
    "SampleOptions",
    "SeedNoise",
    "canvas",
    "guided",
    "integrate",
    "load_model",
    "read_header",
    "save_model",
    "tiled",
    "with_maps",
    "wrapped",
]

_HOMES = {
    "codec": ("Codec",),
    "families": ("FAMILIES",),
    "file": ("load_model", "read_header", "save_model"),
    "guidance": ("canvas", "guided", "tiled", "with_maps", "wrapped"),
    "model": ("Model",),
    "noise": ("SeedNoise",),
    "options": ("PRESETS", "SampleOptions", "integrate"),
    "precondition": ("DDPM", "EDM"),
    "samplers": ("SAMPLERS",),
    "schedules": ("SCHEDULES",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
