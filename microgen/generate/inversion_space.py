"""Where latents are searched for: the parts of the latent of a model and the conditions that are not given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from microgen.core import Condition, ConditionSpec, Microstructure
from microgen.models.conditions import Told, encode_conditions
from microgen.models.families import FAMILIES
from microgen.models.latents import white
from microgen.models.model import Model, Request

_DRAWS = 64
_SMALLEST = 16
_SCATTER = 2.0  # standard deviations


@dataclass(frozen=True, eq=False)
class Points:
    """Points of a search space.

    Attributes
    ----------
    latents
        Parts by name, each ``(B, ...)``.
    places
        Where each free condition lies in its range, from -1 (lowest) to 1 (highest), ``(B, N)``.
    """

    latents: Mapping[str, Tensor]
    places: Tensor

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: Sequence[int]) -> Points:
        index = list(which)
        return Points({name: part[index] for name, part in self.latents.items()}, self.places[index])

    def detached(self) -> Points:
        """Return a copy without gradients."""
        return Points({n: part.detach().clone() for n, part in self.latents.items()}, self.places.detach().clone())

    @staticmethod
    def joined(some: Sequence[Points]) -> Points:
        """Return the points of several sets as one."""
        names = some[0].latents
        latents = {name: torch.cat([points.latents[name] for points in some]) for name in names}
        return Points(latents, torch.cat([points.places for points in some]))


@dataclass(frozen=True, eq=False)
class Space:
    """All samples of a model on one grid.

    Parameters
    ----------
    model
        The model.
    shape
        Grid points of the samples.
    given
        Conditions that are not searched.
    options
        As of :meth:`microgen.models.model.Model.sample`; samplers add no noise on the way. Full precision unless said
        otherwise, so that files hold what was searched.
    """

    model: Model
    shape: tuple[int, ...]
    given: Condition = field(default_factory=Condition)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", {"precision": "fp32", **self.options})

    @cached_property
    def free(self) -> list[ConditionSpec]:
        """The conditions that are searched: a condition known as a map has one value all over; classes are not."""
        known = {**self.given.scalars, **self.given.maps}
        return [spec for spec in self.model.conditions if spec.name not in known and spec.scale != "class"]

    @cached_property
    def request(self) -> Request:
        """What the middle of the space asks the model for; InputError if the model cannot do it."""
        middle = torch.zeros(1, len(self.free))
        return self.model.request(self.condition(middle[0]), self.shape, **self.options)

    def condition(self, places: Tensor) -> Condition:
        """Return all conditions at the places ``(N,)`` of the free ones."""
        values = {spec.name: float(_value(spec, p)) for spec, p in zip(self.free, places.cpu().double(), strict=True)}
        return Condition({**self.given.scalars, **values}, self.given.maps)

    def places(self, values: Mapping[str, float]) -> Tensor:
        """Return the places ``(N,)`` of the free conditions: at these values, where they are known, else in the middle.

        Values outside the range that the model learned are moved to its end.
        """
        found = [_place(spec, values[spec.name]) if spec.name in values else 0.0 for spec in self.free]
        return torch.tensor(found, device=self.model.device).reshape(len(self.free))

    def drawn(self, seeds: Sequence[int], values: Mapping[str, float]) -> Points:
        """Return the latents of seeds, at these values of the free conditions."""
        latents = white(seeds, self._white, self.model.device)
        return Points(latents, self.places(values).expand(len(seeds), -1).clone())

    def encoded(self, points: Points) -> Tensor:
        """Return the encoded samples ``(B, C, *S)``, differentiable in latents and places where the family is."""
        like = torch.zeros((len(points), self.model.codec.channels, *self.shape), device=self.model.device)
        told = self.told(points.places, like)
        made: Tensor = self.family.decode(self.model, points.latents, told, self.shape, self.request.options)
        return made

    def told(self, places_BN: Tensor, like: Tensor) -> Told:
        """Return the conditions at places ``(B, N)`` as the network sees them, differentiable in the places."""
        free = {spec.name: _value(spec, places_BN[:, i]) for i, spec in enumerate(self.free)}
        asked = self.request.condition
        told = {**asked.scalars, **asked.maps}
        fixed = {
            spec.name: torch.as_tensor(np.array(spec.numbers(told[spec.name])))
            for spec in self.model.conditions
            if spec.name in told and spec.name not in free
        }
        scalars = {name: v.expand(len(places_BN)) for name, v in fixed.items() if not v.ndim}
        maps = {name: v[None] for name, v in fixed.items() if v.ndim}
        return encode_conditions(self.model.conditions, {**scalars, **free}, maps, like=like)

    def values(self, encoded_BCS: Tensor) -> Tensor:
        """Return encoded samples in the units of the field ``(B, *S)``, clipped and rounded as in a file.

        Rounding and clipping let the gradient through (straight through).
        """
        codec = self.model.codec
        values = encoded_BCS[:, 0].double() * codec.scale + codec.offset
        known = values.detach().clamp(codec.low, codec.high)
        if "int" in codec.dtype:
            known = known.round()
        return values + (known - values).detach()

    def structures(self, points: Points) -> Iterator[Microstructure]:
        """Return what the points are decoded to, as it is written to a file."""
        latents = {name: part.detach() for name, part in points.latents.items()}
        conditions = [self.condition(place) for place in points.places.detach()]
        return self.model.decode(latents, conditions, self.shape, **self.options)

    def mapped(self, points: Points) -> Points:
        """Return the points in the latent space of the family that is easier to search, if it has one."""
        if not hasattr(self.family, "mapped"):
            return points
        with torch.no_grad():
            told = self.told(points.places, torch.zeros(len(points), 1, *self.shape, device=self.model.device))
            return Points(self.family.mapped(self.model, points.latents, told), points.places)

    def unlikely(self, points: Points) -> Tensor:
        """Return how far the latents are from what the model was trained on, ``(B,)``: 0 for typical white noise.

        White noise of n numbers has a length of about sqrt(n), and so has each of its averages over blocks; mapped
        parts are measured from their mean, in standard deviations.
        """
        total = torch.zeros(len(points), device=self.model.device)
        for name, part in points.latents.items():
            if name in self._white:
                total = total + _coloured(part)
            else:
                mean, spread = self._mapped_normal[name]
                total = total + 0.1 * ((part - mean) / spread).square().flatten(1).mean(dim=1)
        return total

    @cached_property
    def _white(self) -> dict[str, tuple[int, ...]]:
        return dict(self.family.latent_shapes(self.model, self.shape))

    @cached_property
    def _mapped_normal(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and standard deviation of each number of the mapped parts."""
        drawn = self.mapped(self.drawn(range(_DRAWS), {})).latents
        return {n: (p.mean(dim=0), p.std(dim=0).clamp_min(1e-6)) for n, p in drawn.items() if n not in self._white}

    @property
    def family(self) -> Any:
        """Row of the table of families."""
        return FAMILIES[self.model.family]

    @cached_property
    def is_smooth(self) -> bool:
        """Whether a gradient passes from samples to latents."""
        points = self.drawn([0], {})
        for part in points.latents.values():
            part.requires_grad_()
        return bool(self.encoded(points).requires_grad)


def _coloured(part: Tensor) -> Tensor:
    """Squared departure of the length from what white noise has, at every scale of blocks ``(B,)``."""
    total = _untypical(part)
    pool = {4: functional.avg_pool2d, 5: functional.avg_pool3d}.get(part.ndim)
    while pool is not None and min(part.shape[2:]) >= _SMALLEST:
        part = pool(part, 2) * 2 ** ((part.ndim - 2) / 2)
        total = total + _untypical(part)
    return total


def _untypical(part: Tensor) -> Tensor:
    """Squared departure of the root mean square from 1, beyond the scatter of white noise of so many numbers."""
    flat = part.flatten(1)
    departure = (flat.square().mean(dim=1).clamp_min(1e-12).sqrt() - 1).abs()
    return (departure - _SCATTER / math.sqrt(2 * flat.shape[1])).clamp_min(0).square()


def _value(spec: ConditionSpec, place: Tensor) -> Tensor:
    """Value in physical units of a place between -1 and 1."""
    part = (place.clamp(-1, 1) + 1) / 2
    if spec.scale == "log":
        return torch.as_tensor(spec.low * (spec.high / spec.low) ** part)
    return spec.low + (spec.high - spec.low) * part


def _place(spec: ConditionSpec, value: float) -> float:
    if spec.scale == "axial":
        value = spec.low + (value - spec.low) % 180
    if spec.scale == "log":
        value = max(value, spec.low)
    scaled = spec.encode(value)[0] if spec.scale == "log" else 2 * (value - spec.low) / (spec.high - spec.low) - 1
    return float(min(1.0, max(-1.0, float(scaled))))
