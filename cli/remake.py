"""Making an output again from the recipe inside it, and saying in what it differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from microgen import io
from microgen.core import InputError, Microstructure
from microgen.core.recipe import recipe as make_recipe

Recipe = Mapping[str, Any]


def recipe_of(path: Path) -> dict[str, Any]:
    """The recipe inside a file, or an InputError that says why it cannot be made again."""
    found = io.read_recipe(path)
    if found is None:
        raise InputError(f"{path} carries no recipe; only files that microgen made can be made again")
    if found.get("command") not in REMAKERS:
        known = " and ".join(REMAKERS)
        raise InputError(f"{path} was made by {found.get('command')!r}; only outputs of {known} can be made again")
    return found


def remake(path: Path, recipe: Recipe, model: Path | None) -> tuple[Microstructure, dict[str, Any]]:
    """Make the content of a file again; return it with the recipe that it would get today."""
    try:
        return REMAKERS[recipe["command"]](path, recipe, model)
    except KeyError as error:
        raise InputError(f"the recipe in {path} is damaged: {error} is missing") from error


def differences(path: Path, again: Path, then: Recipe, now: Recipe) -> list[str]:
    """Say in what the file made again differs, from the bytes up to the reason; nothing if it does not."""
    if path.read_bytes() == again.read_bytes():
        return []
    found = [f"{key} was {then.get(key)!r} and is {now.get(key)!r}" for key in _changed(then, now)]
    old, new = io.read(path)[0], io.read(again)[0]
    for name in old.fields:
        if name not in new or old[name].shape != new[name].shape:
            found.append(f"{name} is missing or has another shape")
        elif not np.array_equal(old[name], new[name]):
            gap = np.abs(old[name].astype(np.float64) - new[name].astype(np.float64))
            found.append(f"{name} differs in {np.mean(gap > 0):.2%} of the points, by {gap.max():g} at most")
    return found or ["the values are the same, but the file is not the one that was written"]


def _changed(then: Recipe, now: Recipe) -> list[str]:
    return sorted(key for key in {*then, *now} if then.get(key) != now.get(key))


def _sample(path: Path, recipe: Recipe, model: Path | None) -> tuple[Microstructure, dict[str, Any]]:
    from microgen import generate

    made = generate.remake(recipe, path.parent, model=model or _named_model(path, recipe))
    return made, make_recipe("sample", model=recipe["model"], **made.source)


def _interpolate(path: Path, recipe: Recipe, model: Path | None) -> tuple[Microstructure, dict[str, Any]]:
    from microgen import generate

    made = generate.remake_frame(recipe, path.parent, model=model or _named_model(path, recipe))
    return made, make_recipe(recipe["command"], model=recipe["model"], latent=recipe["latent"], **made.source)


def _synth(path: Path, recipe: Recipe, model: Path | None) -> tuple[Microstructure, dict[str, Any]]:
    from .synth import make

    details = {name: recipe[name] for name in ("kind", "shape", "spacing", "seed", "parameters")}
    return make(details), make_recipe("synth", **details)


def _named_model(path: Path, recipe: Recipe) -> Path:
    named = path.parent / str(recipe["model"])
    if not recipe["model"] or not named.exists():
        raise InputError(f"the model {recipe['model'] or 'of ' + str(path)} is not there; say where with --model")
    return named


REMAKERS: dict[str, Callable[[Path, Recipe, Path | None], tuple[Microstructure, dict[str, Any]]]] = {
    "sample": _sample,
    "interpolate": _interpolate,
    "invert": _interpolate,
    "synth": _synth,
}
"""Commands whose outputs can be made again."""
