"""Conditions as networks see them, shared by the families.

Shapes: B batch, N scalar numbers, M map channels, S spatial axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from microgen.core import Condition, ConditionSpec


@dataclass(frozen=True)
class Told:
    """Conditions as the network sees them.

    Attributes
    ----------
    numbers, present
        Encoded scalars ``(B, N)``, and 1 where they are given.
    maps
        Encoded maps ``(B, M, *S)``, each followed by a channel that is 1 where it is given; M may be 0.
    """

    numbers: Tensor
    present: Tensor
    maps: Tensor

    def nothing(self) -> Told:
        """Return the same with nothing given."""
        return Told(self.numbers, 0 * self.present, 0 * self.maps)


def encode_conditions(
    conditions: Sequence[ConditionSpec],
    scalars: Mapping[str, Tensor],
    maps: Mapping[str, Tensor],
    *,
    like: Tensor,
    kept: Tensor | None = None,
) -> Told:
    """From physical units to what the network sees; a condition that is not given is left to the model.

    Parameters
    ----------
    scalars, maps
        ``(B,)`` and ``(B or 1, *S)`` by name; a scalar for a condition known as a map is spread over the picture.
    like
        Field ``(B, C, *S)`` that gives the number, grid and device.
    kept
        ``(B, len(conditions))`` of 0 and 1: 0 hides a condition.
    """
    batch, grid = len(like), like.shape[2:]
    numbers, present = [like.new_zeros(batch, 0)], [like.new_zeros(batch, 0)]
    layers = [like.new_zeros(batch, 0, *grid)]
    for i, spec in enumerate(conditions):
        values = (maps if spec.kind == "map" and spec.name in maps else scalars).get(spec.name)
        given = like.new_ones(batch) if kept is None else kept[:, i].to(like)
        if values is None:
            given, values = 0 * given, like.new_full((batch,), spec.low)
        if spec.kind == "scalar":
            numbers.append(_encoded(spec, values.to(like)))
            present.append(given[:, None].expand(-1, spec.channels))
        else:
            spread = values.to(like).reshape(-1, *(values.shape[1:] or (1,) * len(grid))).expand(batch, *grid)
            flag = given.reshape(-1, 1, *(1,) * len(grid)).expand(-1, 1, *grid)
            layers += [_encoded(spec, spread) * flag, flag]
    return Told(torch.cat(numbers, dim=1), torch.cat(present, dim=1), torch.cat(layers, dim=1))


def tell(conditions: Sequence[ConditionSpec], asked: Sequence[Condition], *, like: Tensor) -> Told:
    """From what is asked for, one :class:`~microgen.core.Condition` per sample, to what the network sees.

    Parameters
    ----------
    conditions
        What the model knows.
    asked
        As checked by :meth:`microgen.models.model.Model.request`: maps for what the model knows as maps.
    like
        ``(B, C, *S)`` of the wanted samples, for grid and device.
    """
    if all(one is asked[0] for one in asked):
        asked = asked[:1]
    given = [{**one.scalars, **one.maps} for one in asked]
    shown = torch.tensor([[spec.name in values for spec in conditions] for values in given])
    scalars, maps = {}, {}
    for spec in conditions:
        column = [spec.numbers(values.get(spec.name, spec.low)) for values in given]
        if spec.kind == "map":
            grid = like.shape[2:]
            maps[spec.name] = torch.from_numpy(np.stack([np.broadcast_to(c, grid) for c in column]))
        else:
            scalars[spec.name] = torch.from_numpy(np.stack(column)).expand(len(like))
    return encode_conditions(conditions, scalars, maps, like=like, kept=shown.expand(len(like), -1))


def summary(conditions: Sequence[ConditionSpec], told: Told) -> Tensor:
    """Return what was told as numbers ``(B, N)`` by which sets of samples are compared: of a map, its mean."""
    drawn = [c for c in conditions if c.kind == "map"]
    values = [shown for c in drawn for shown in (*(True,) * c.channels, False)]  # the last tells that it is given
    means = told.maps[:, values].flatten(2).mean(dim=2) if drawn else told.maps.new_zeros(len(told.maps), 0)
    return torch.cat([told.numbers * told.present, means], dim=1)


def _encoded(spec: ConditionSpec, values: Tensor) -> Tensor:
    """:meth:`ConditionSpec.encode` in torch, so that nothing leaves the device; the new axis is the second."""
    if spec.scale == "axial":
        double = torch.deg2rad(2 * values)
        return torch.stack([double.cos(), double.sin()], dim=1)
    if spec.scale == "class":
        return torch.stack([values == k for k in range(spec.channels)], dim=1).to(values.dtype)
    ends = torch.tensor([spec.low, spec.high], dtype=torch.float64)
    if spec.scale == "log":
        ends, values = ends.log(), values.log()
    low, high = ends.tolist()
    scaled: Tensor = 2 * (values - low) / (high - low) - 1
    return scaled[:, None]


def kept(count: int, batch: int, share: float, generator: torch.Generator) -> Tensor:
    """Draw which of `count` conditions each crop shows, booleans ``(batch, count)``.

    All are hidden together in a `share` of the crops, and one by one where there are several.
    """
    device = generator.device
    together = torch.rand(batch, 1, generator=generator, device=device) >= share
    alone = torch.rand(batch, count, generator=generator, device=device) >= (share if count > 1 else 0.0)
    return together & alone
