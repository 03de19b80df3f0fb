"""What everything else stands on: the container, conditions, seeds, configuration, files and errors."""

from microgen.core.condition import Condition, ConditionSpec
from microgen.core.crystals import LAUE_GROUPS, Crystal
from microgen.core.errors import (
    DivergedError,
    InputError,
    LockedError,
    MemoryLimitError,
    MicrogenError,
    StorageError,
)
from microgen.core.fields import FIELDS, Field
from microgen.core.microstructure import Microstructure

__all__ = [
    "FIELDS",
    "Condition",
    "ConditionSpec",
    "Crystal",
    "DivergedError",
    "Field",
    "InputError",
    "LAUE_GROUPS",
    "LockedError",
    "MemoryLimitError",
    "MicrogenError",
    "Microstructure",
    "StorageError",
]
