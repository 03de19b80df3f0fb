"""From files to training crops: the data set file, its fingerprint and plan, and measured, balanced patches."""

from microgen.data.dataset import Dataset, Item, Split, write_dataset
from microgen.data.patches import Batch, Patches
from microgen.data.plan import Plan, fingerprint_path, plan_path, read_plan, write_plan
from microgen.data.prepare import prepare

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
