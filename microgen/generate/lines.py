"""Ways through the latent space of a model: between seeds or real fields, along a condition, along one number.

A :class:`Line` takes a number, says which latent and which condition stand there, and how to find that latent again.
Whatever a line is made of, its frames are decoded, measured, judged and drawn by the same functions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from microgen.core import Condition, ConditionSpec, InputError, Microstructure
from microgen.models.latents import Latents, spherical, straight

if TYPE_CHECKING:
    from microgen.models.model import Model

WAYS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"spherical": spherical, "straight": straight}
"""How to go from one latent to another, by name."""
STORED = "path.h5"
"""The file of a folder that holds latents which no seed leads to."""

Point = tuple[dict[str, Tensor], Condition]
"""Latents of one sample, each ``(1, ...)``, and its condition."""


@dataclass(frozen=True, eq=False)
class Line:
    """A way through latents and conditions.

    Attributes
    ----------
    name
        For files and pictures: ``"seed_000003"``.
    at
        From a place on the line to the latents, each ``(1, ...)``, and the condition there.
    origin
        From a place on the line to what :func:`latents_of` finds the latents again by, JSON-able; None where only
        the latents themselves tell.
    """

    name: str
    at: Callable[[float], Point]
    origin: Callable[[float], dict[str, Any]] | None = None


def decoded(
    model: Model, line: Line, places: Sequence[float], shape: Sequence[int] | None = None, **options: Any
) -> list[Microstructure]:
    """Make the samples at places on a line; `options` are those of :meth:`microgen.models.model.Model.decode`."""
    latents, conditions = points(line, places)
    return list(model.decode(latents, conditions, shape, **options))


def points(line: Line, places: Sequence[float]) -> tuple[dict[str, Tensor], list[Condition]]:
    """Return the latents ``(N, ...)`` by part and the conditions at N places on a line."""
    found = [line.at(place) for place in places]
    parts = {name: torch.cat([latents[name] for latents, _ in found]) for name in found[0][0]}
    return parts, [condition for _, condition in found]


def between_seeds(
    model: Model,
    seeds: Sequence[int],
    *,
    how: str = "spherical",
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
) -> Line:
    """Return the line from seed to seed; place k is the sample of the k-th, bit for bit.

    Raises
    ------
    InputError
        For fewer than two seeds and unknown ways.
    """
    if len(seeds) < 2:
        raise InputError("a line between seeds needs at least two of them, like 3,7")
    _check_way(how)
    latents, asked = model.latents(seeds, shape), condition or Condition()
    name = "seeds_" + "-".join(f"{seed:06d}" for seed in seeds)
    return Line(
        name,
        lambda place: (_on_way(latents, place, how), asked),
        lambda place: _origin_on_way(seeds, place, how),
    )


def between_latents(
    model: Model,
    latents: Latents,
    conditions: Sequence[Condition] = (),
    *,
    how: str = "spherical",
    name: str = "between",
) -> Line:
    """Return the line from one of the latents ``(K, ...)`` to the next, as from :meth:`Model.encode`.

    Conditions, one for each, change on the way on their own scales, where both ends have them.
    """
    _check_way(how)
    asked = list(conditions) or [Condition()] * len(next(iter(latents.values())))
    return Line(name, lambda place: (_on_way(latents, place, how), _mixed(model.conditions, asked, place)))


def along_condition(
    model: Model,
    name: str,
    seed: int,
    *,
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
) -> Line:
    """Return the line of one seed along a condition: its latent stays, place is the value asked for."""
    if spec_of(model, name).scale == "class":
        raise InputError(f"{name} is one of {', '.join(spec_of(model, name).labels)}, and nothing lies between classes")
    latents, rest = model.latents([seed], shape), condition or Condition()
    return Line(
        f"seed_{seed:06d}",
        lambda place: (dict(latents), Condition({**rest.scalars, name: float(place)}, rest.maps)),
        lambda place: {"seeds": [seed]},
    )


def along_number(
    model: Model,
    code: str,
    seed: int,
    *,
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
) -> Line:
    """Return the line of one seed along one number of its latent, ``"codes.0"``: place is the value of the number.

    Raises
    ------
    InputError
        If the latent has no such number.
    """
    latents, asked = model.latents([seed], shape), condition or Condition()
    _check_number(latents, code)
    return Line(
        f"seed_{seed:06d}",
        lambda place: (with_numbers(latents, {code: place}), asked),
        lambda place: {"seeds": [seed], "set": {code: float(place)}},
    )


def with_numbers(latents: Latents, numbers: Mapping[str, float]) -> dict[str, Tensor]:
    """Return latents with some numbers set, by part and flat index within one sample.

    >>> with_numbers({"z": torch.zeros(1, 3)}, {"z.1": 5.0})
    {'z': tensor([[0., 5., 0.]])}
    """
    changed = {name: part.clone() for name, part in latents.items()}
    for code, value in numbers.items():
        name, index = _check_number(latents, code)
        changed[name].view(len(changed[name]), -1)[:, index] = value
    return changed


def latents_of(model: Model, origin: Mapping[str, Any], shape: Sequence[int] | None, folder: Path) -> dict[str, Tensor]:
    """Return the latents ``(1, ...)`` that the origin in a recipe names.

    Parameters
    ----------
    origin
        ``{"seeds": [a, b], "how", "t"}``, ``{"seeds": [a], "set": {"codes.0": value}}``, or
        ``{"file", "row", "frame"}`` of a file beside it.
    folder
        Where the sample lies.
    """
    if "file" in origin:
        return _stored(folder / origin["file"], origin["row"], origin["frame"], model.device)
    latents = model.latents(origin["seeds"], shape)
    if "t" in origin:
        return _on_way(latents, origin["t"], origin["how"])
    return with_numbers(latents, origin.get("set", {}))


def values_between(spec: ConditionSpec, low: float, high: float, steps: int) -> list[float]:
    """Return values from `low` to `high`, evenly on the scale of the condition.

    Directions in 0 .. 180 go the short way around; values outside mean as many half turns as they say.

    >>> values_between(ConditionSpec("d", "scalar", 1, 99, "log"), 5, 20, 3)
    [5.0, 10.0, 20.0]
    >>> values_between(ConditionSpec("a", "scalar", 0, 180, "axial"), 170, 10, 3)
    [170.0, 180.0, 190.0]
    >>> values_between(ConditionSpec("a", "scalar", 0, 180, "axial"), 0, 270, 4)
    [0.0, 90.0, 180.0, 270.0]
    """
    return [value_between(spec, low, high, float(t)) for t in np.linspace(0.0, 1.0, steps)]


def value_between(spec: ConditionSpec, low: float, high: float, t: float) -> float:
    """Return the value at the part `t` of the way; see :func:`values_between`."""
    if spec.scale == "log" and min(low, high) <= 0:
        raise InputError(f"{spec.name} must be positive, got {min(low, high):g}")
    if spec.scale == "axial" and all(0 <= value < 180 for value in (low, high)):
        around = (high - low) % 180
        high = low + (around - 180 if around > 90 else around)
    if t in (0, 1):
        return float((low, high)[int(t)])
    return float(low * (high / low) ** t if spec.scale == "log" else low + (high - low) * t)


def spec_of(model: Model, name: str) -> ConditionSpec:
    """Return the condition of a model by name, or say which it knows."""
    found = {spec.name: spec for spec in model.conditions}
    if name not in found:
        raise InputError(f"this model cannot be asked for {name!r}; it knows {', '.join(found) or 'no conditions'}")
    return found[name]


def steps_on_way(stations: int, steps: int) -> list[float]:
    """Return the places of `steps` frames from each station to the next, both included.

    >>> steps_on_way(3, 3)
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    leg = np.linspace(0.0, 1.0, steps)[:-1]
    return [float(k + t) for k, t in itertools.product(range(stations - 1), leg)] + [float(stations - 1)]


def _leg(stations: int, place: float) -> tuple[int, float]:
    """The station before a place, and how far it is from there to the next."""
    before = min(math.floor(place), stations - 2)
    return before, place - before


def _on_way(latents: Latents, place: float, how: str) -> dict[str, Tensor]:
    stations = len(next(iter(latents.values())))
    if stations == 1 or place == int(place):  # the stations themselves, bit for bit
        return {name: part[int(place)][None] for name, part in latents.items()}
    before, t = _leg(stations, place)
    way = WAYS[how]
    return {name: way(part[before][None], part[before + 1][None], t) for name, part in latents.items()}


def _origin_on_way(seeds: Sequence[int], place: float, how: str) -> dict[str, Any]:
    if place == int(place):
        return {"seeds": [seeds[int(place)]]}
    before, t = _leg(len(seeds), place)
    return {"seeds": list(seeds[before : before + 2]), "how": how, "t": t}


def _mixed(specs: Sequence[ConditionSpec], conditions: Sequence[Condition], place: float) -> Condition:
    if len(conditions) == 1:
        return conditions[0]
    before, t = _leg(len(conditions), place)
    first, last = (conditions[k].scalars for k in (before, before + 1))
    shared = [spec for spec in specs if spec.name in first and spec.name in last]
    return Condition({spec.name: _value_between(spec, first[spec.name], last[spec.name], t) for spec in shared})


def _value_between(spec: ConditionSpec, low: float | str, high: float | str, t: float) -> float | str:
    """Numbers change in proportion, classes halfway."""
    if isinstance(low, str) or isinstance(high, str) or spec.scale == "class":
        return low if t < 0.5 else high
    return value_between(spec, low, high, t)


def _check_way(how: str) -> None:
    if how not in WAYS:
        raise InputError(f"there is no way {how!r} between latents; choose one of {', '.join(WAYS)}")


def _check_number(latents: Latents, code: str) -> tuple[str, int]:
    """Return the part and the index that a code names."""
    name, dot, text = code.rpartition(".")
    known = {part: values[0].numel() for part, values in latents.items()}
    if not dot or not text.isdigit() or int(text) >= known.get(name, 0):
        numbers = ", ".join(f"{part}.0 .. {part}.{count - 1}" for part, count in known.items())
        raise InputError(f"the latent of this model has no number {code!r}; it has {numbers}")
    return name, int(text)


def _stored(path: Path, row: int, frame: int, device: torch.device) -> dict[str, Tensor]:
    import h5py

    if not path.is_file():
        raise InputError(f"the latent of this sample is in {path.name}, which is not beside it; put it there")
    with h5py.File(path, "r") as file:
        found = {name: np.asarray(values[row, frame]) for name, values in file["latents"].items()}
    return {name: torch.from_numpy(values)[None].to(device) for name, values in found.items()}
