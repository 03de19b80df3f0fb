"""The one training loop, its checkpoints, averages and record.

The names below are loaded when they are first used, so that importing the room needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microgen.train.config import TrainConfig
    from microgen.train.job import Job
    from microgen.train.loop import Trainer
    from microgen.train.run import dry_run, train
    from microgen.train.state import TrainState

__all__ = ["Job", "TrainConfig", "TrainState", "Trainer", "dry_run", "train"]

_HOMES = {
    "config": ("TrainConfig",),
    "job": ("Job",),
    "loop": ("Trainer",),
    "run": ("dry_run", "train"),
    "state": ("TrainState",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
