"""From files to training crops: the data set file, its fingerprint and plan, and measured, balanced patches.

The names below are loaded when they are first used, so that the cards of data sets are read without what measures.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microgen.data.dataset import Dataset, Item, Split, write_dataset
    from microgen.data.patches import Batch, Patches
    from microgen.data.plan import Plan, fingerprint_path, plan_path, read_plan, write_plan
    from microgen.data.preparing import prepare

__all__ = [
    "Batch",
    "Dataset",
    "Item",
    "Patches",
    "Plan",
    "Split",
    "fingerprint_path",
    "plan_path",
    "prepare",
    "read_plan",
    "write_dataset",
    "write_plan",
]

_HOMES = {
    "dataset": ("Dataset", "Item", "Split", "write_dataset"),
    "patches": ("Batch", "Patches"),
    "plan": ("Plan", "fingerprint_path", "plan_path", "read_plan", "write_plan"),
    "preparing": ("prepare",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
