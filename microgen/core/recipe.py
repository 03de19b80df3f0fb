"""The recipe inside every output: enough to make it again byte for byte on the same machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

RECIPE_KEY = "microgen:recipe"
"""Name under which the recipe stands in PNG text, TIFF description, HDF5 attribute and JSON sidecar."""


def recipe(command: str, **details: Any) -> dict[str, Any]:
    """Describe how an output was made.

    Parameters
    ----------
    command
        Name of the command, ``"sample"``.
    details
        JSON-able inputs that fix the result: model path and sha256, seed, condition, shape, sampler ...

    Returns
    -------
    dict
        ``{"command", "microgen", "versions", "machine", **details}``.
    """
    return {
        "command": command,
        "microgen": version("microgen-toolkit"),
        "versions": versions(),
        "machine": platform.machine(),
        **details,
    }


def versions(names: tuple[str, ...] = ("numpy", "torch")) -> dict[str, str]:
    """Installed versions by distribution name, without importing them."""
    return {name: version(name) for name in names}


def version(name: str) -> str:
    """Installed version of a distribution, or ``"unknown"``."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def describe(recipe: Mapping[str, Any]) -> str:
    """One line for tables: command, seed and condition."""
    parts = [str(recipe.get("command", "?"))]
    parts += [f"{key} {recipe[key]}" for key in ("seed", "condition") if recipe.get(key) not in (None, {})]
    return ", ".join(parts)
