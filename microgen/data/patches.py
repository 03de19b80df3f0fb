"""Training crops: random, balanced over the conditions, measured, at the pixel size of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from microgen.core import ConditionSpec, InputError, Microstructure
from microgen.data.augment import Turn, draw_turns, turned, turned_deg
from microgen.data.dataset import Dataset, Split
from microgen.data.facts import classes_of
from microgen.data.meaning import grain_cells, knows_grains
from microgen.data.measures import Measure, cells_of, measure_for
from microgen.data.plan import Plan, Range
from microgen.data.resample import resample, resample_field
from microgen.data.windows import Windows

BINS = 8
"""Bins over the range of the first scalar condition that is a quantity, between which crops are balanced."""


class Batch(TypedDict):
    """Crops and their conditions.

    ``field`` is float32 ``(n, C, *patch)`` in the units of the data; ``scalars`` holds ``(n,)`` and ``maps``
    ``(n, *patch)`` float32 by condition name, in physical units.
    """

    field: NDArray[np.float32]
    scalars: dict[str, NDArray[np.float32]]
    maps: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Resident:
    """One image at the pixel size of the plan, with what its crops are measured by."""

    name: str
    field: NDArray[np.float32]
    """``(C, *grid)``."""
    windows: dict[str, Windows]
    constants: dict[str, float]
    maps: dict[str, NDArray[np.float32]]

    @property
    def is_known(self) -> bool:
        """Whether the image belongs to classes of the plan; NaN stands for any other."""
        return bool(np.isfinite(list(self.constants.values())).all())

    def scalar(self, name: str, corners: NDArray[Any], shape: Sequence[int]) -> NDArray[np.float64]:
        """Condition of the crops at `corners`."""
        if name in self.windows:
            return self.windows[name](corners, shape)
        return np.full(len(corners), self.constants[name])


def specs_of(plan: Plan) -> list[ConditionSpec]:
    """Return what a model trained by a plan can be asked for."""
    conditions = plan.conditions
    scalars = [_spec(name, "scalar", conditions.ranges[name]) for name in conditions.scalars]
    return scalars + [_spec(name, "map", conditions.ranges[name]) for name in conditions.maps]


def _spec(name: str, kind: Literal["scalar", "map"], known: Range) -> ConditionSpec:
    return ConditionSpec(name, kind, known.low, known.high, known.scale, known.labels)


class Patches:
    """Crops of one split of a data set.

    Every image is resampled once and kept in memory. Nothing is normalised: brightness and contrast are part
    of the data. The scalar condition of a crop is what its part of the picture shows; boundaries are found in the
    whole picture.

    Parameters
    ----------
    dataset, plan
        The data set and the plan to train on it.
    split
        ``"train"`` or ``"held_out"``.

    Raises
    ------
    InputError
        If no image of the split holds a crop, an image lacks the field, or a condition cannot be measured.
    """

    def __init__(self, dataset: Dataset, plan: Plan, split: Split) -> None:
        self.plan = plan
        names = [name for name in dataset.names_in(split) if name not in plan.data.skip]
        made = [resident(dataset.read(name), name, plan) for name in names]
        self.images = [r for r in made if min(r.field.shape[1:]) >= plan.data.patch_px and r.is_known]
        if not self.images:
            side = plan.data.patch_px * plan.data.spacing_um
            raise InputError(
                f"{dataset.path}: none of the {len(names)} {split} images holds a crop of {side:.4g} um; "
                "lower patch_px or spacing_um in the plan"
            )
        self.shape = (plan.data.patch_px,) * (self.images[0].field.ndim - 1)
        if any(r.field.shape[0] != self.channels or r.field.ndim != self.images[0].field.ndim for r in self.images):
            raise InputError(f"{dataset.path}: pictures and volumes, or different channels, cannot be mixed")
        self._balanced = next((s for s in self.specs if s.kind == "scalar" and s.scale in ("log", "linear")), None)
        self._owner, self._corners, self._weights = self._candidates()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """Channels of the field."""
        return int(self.images[0].field.shape[0])

    @property
    def specs(self) -> list[ConditionSpec]:
        """What a model trained on these crops can be asked for."""
        return specs_of(self.plan)

    def batch(self, rng: np.random.Generator, n: int) -> Batch:
        """Draw `n` random crops, the same ones for the same state of `rng`.

        Classes come equally often, and the range of the first scalar condition that is a quantity is covered evenly,
        however rare a size is in the data; within that, all positions are equally likely. Each crop is turned and
        flipped at random along the symmetries of the plan, together with its maps and its directions.
        """
        chosen = np.searchsorted(self._weights, rng.random(n) * self._weights[-1], side="right")
        owner = self._owner[chosen]
        room = np.array([self.images[k].field.shape[1:] for k in owner]) - self.plan.data.patch_px
        jitter = rng.integers(-self._stride // 2, self._stride // 2 + 1, size=(n, len(self.shape)))
        corners = np.clip(self._corners[chosen] + jitter, 0, room)
        corners = np.where(self._inside(owner, corners)[:, None], corners, self._corners[chosen])
        turns = draw_turns(rng, n, self.plan.data.augment)
        return self._crops(owner, corners, turns)

    def grid(self, stride_px: int | None = None) -> Batch:
        """Return all crops on a regular grid, not augmented; side by side unless `stride_px` is given."""
        owner, corners = self._positions(stride_px or self.plan.data.patch_px)
        return self._crops(owner, corners, [()] * len(owner))

    def statistics(self) -> dict[str, float]:
        """Mean, standard deviation, range and percentiles of the field over all images, each pixel once."""
        values = np.concatenate([r.field.ravel() for r in self.images])
        low, middle, high = np.percentile(values, [0.5, 50, 99.5])
        return {
            "mean": float(values.mean(dtype=np.float64)),
            "std": float(values.std(dtype=np.float64)),
            "low": float(values.min()),
            "high": float(values.max()),
            "p0_5": float(low),
            "p50": float(middle),
            "p99_5": float(high),
        }

    @property
    def _stride(self) -> int:
        return max(1, self.plan.data.patch_px // 4)

    def _positions(self, stride: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Owner and corner of every crop on a grid; with a stride below the patch the far edge is reached too."""
        owners, corners = [], []
        for k, image in enumerate(self.images):
            axes = [_starts(size, self.plan.data.patch_px, stride) for size in image.field.shape[1:]]
            points = np.array(list(product(*axes)), dtype=np.intp)
            owners.append(np.full(len(points), k))
            corners.append(points)
        return np.concatenate(owners), np.concatenate(corners)

    def _candidates(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Positions with cumulative weights that make each class equally likely, and in it each bin of the size.

        The size is the first scalar condition that is a quantity. Crops outside its range have weight 0: a handful of
        extremes would otherwise fill the outer bins.
        """
        owner, corners = self._positions(self._stride)
        inside = self._inside(owner, corners)
        if self._balanced is not None and not inside.any():
            spec = self._balanced
            raise InputError(f"no crop lies in the range {spec.low:g} .. {spec.high:g} of {spec.name} in the plan")
        owner, corners = owner[inside], corners[inside]
        bins = np.minimum(((self._encoded(owner, corners) + 1) / 2 * BINS).astype(int), BINS - 1)
        names = [s.name for s in self.specs if s.scale == "class" and s.kind == "scalar"]
        known = np.array([[image.constants[name] for name in names] for image in self.images])
        classes = np.unique(known, axis=0, return_inverse=True)[1].reshape(-1)[owner] if names else 0 * owner
        weight = 1.0 / np.bincount(classes * BINS + bins)[classes * BINS + bins]
        weight /= np.bincount(classes, weight)[classes]
        return owner, corners, np.cumsum(weight)

    def _inside(self, owner: NDArray[np.intp], corners: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether crops lie in the range of the condition that is balanced."""
        return np.asarray(np.abs(self._encoded(owner, corners)) <= 1)

    def _encoded(self, owner: NDArray[np.intp], corners: NDArray[np.intp]) -> NDArray[np.float32]:
        """The balanced condition of crops, -1 .. 1 over its range; 0 where there is none."""
        if self._balanced is None:
            return np.zeros(len(owner), dtype=np.float32)
        return np.asarray(self._balanced.encode(self._scalars(self._balanced.name, owner, corners))[0])

    def _scalars(self, name: str, owner: NDArray[np.intp], corners: NDArray[np.intp]) -> NDArray[np.float32]:
        values = np.zeros(len(owner), dtype=np.float32)
        for k in np.unique(owner):
            values[owner == k] = self.images[k].scalar(name, corners[owner == k], self.shape)
        return values

    def _crops(self, owner: NDArray[np.intp], corners: NDArray[np.intp], turns: Sequence[Turn]) -> Batch:
        conditions, n = self.plan.conditions, len(owner)
        field = np.zeros((n, self.channels, *self.shape), dtype=np.float32)
        maps = {name: np.zeros((n, *self.shape), dtype=np.float32) for name in conditions.maps}
        for row, (k, corner, turn) in enumerate(zip(owner, corners, turns, strict=True)):
            image = self.images[k]
            box = tuple(slice(c, c + p) for c, p in zip(corner, self.shape, strict=True))
            field[row] = turned(image.field[(slice(None), *box)], turn)
            for name, values in maps.items():
                values[row] = turned(image.maps[name][box], turn)
        scalars = {name: self._scalars(name, owner, corners) for name in conditions.scalars}
        for spec in self.specs:
            if spec.scale == "axial":
                shown = scalars if spec.kind == "scalar" else maps
                shown[spec.name] = _directions(shown[spec.name], turns)
        return {"field": field, "scalars": scalars, "maps": maps}


def resident(m: Microstructure, name: str, plan: Plan) -> Resident:
    """Bring one image to the pixel size of the plan and prepare the measures of its crops."""
    field, spacing = plan.data.field, plan.data.spacing_um
    if field not in m:
        raise InputError(f"{name} has no field {field!r}; it has {', '.join(m.fields)}: change data.field of the plan")
    values = resample_field(field, m[field], m.spacing, spacing)
    stored = _stored(m, name, plan)
    wanted = {c: _measure(c, m, plan) for c in plan.conditions.scalars if c not in stored}
    painted = {c: _measure(c, m, plan) for c in plan.conditions.maps}
    of_grains = any(measure.field == "grain" for measure in (*wanted.values(), *painted.values()))
    known = {"grain": _cells(m, values, plan)} if of_grains else {}
    return Resident(
        name,
        values[None] if values.ndim == m.ndim else np.ascontiguousarray(np.moveaxis(values, -1, 0)),
        {c: measure.windows(known.get(measure.field, values), spacing) for c, measure in wanted.items()},
        stored,
        {c: _map(measure, known.get(measure.field, values), plan) for c, measure in painted.items()},
    )


def _stored(m: Microstructure, name: str, plan: Plan) -> dict[str, float]:
    """Conditions stored with an image: numbers, and the numbers of its classes (NaN for one that the plan lacks)."""
    found = {c: float(m.scalars[c]) for c in plan.conditions.scalars if c in m.scalars}
    classes = {c: known.labels for c, known in plan.conditions.ranges.items() if known.labels}
    for c in plan.conditions.scalars:
        if c in classes and c not in classes_of(m):
            raise InputError(f"{name} has no {c!r}; prepare the data with --table or --class-folders {c}")
        if c in classes:
            label = classes_of(m)[c]
            found[c] = float(classes[c].index(label)) if label in classes[c] else np.nan
    return found


def _cells(m: Microstructure, values: NDArray[np.float32], plan: Plan) -> NDArray[Any]:
    """Grains at the pixel size of the plan: those that are known, or those that an etched micrograph shows."""
    if plan.data.field == "intensity":
        return cells_of(values, plan.data.spacing_um)
    return resample(grain_cells(m), m.spacing, plan.data.spacing_um, categorical=True)


def _directions(values: NDArray[np.float32], turns: Sequence[Turn]) -> NDArray[np.float32]:
    """Directions of crops, or maps of them, after the crops were turned."""
    return np.stack([turned_deg(one, turn) for one, turn in zip(values, turns, strict=True)])


def _measure(name: str, m: Microstructure, plan: Plan) -> Measure:
    return measure_for(name, plan.data.field, m.ndim, grains=knows_grains(m))


def _map(measure: Measure, values: NDArray[np.float32], plan: Plan) -> NDArray[np.float32]:
    window = plan.conditions.map_window_um or plan.data.patch_px * plan.data.spacing_um
    return np.asarray(measure.local(values, plan.data.spacing_um, window), dtype=np.float32)


def _starts(size: int, patch: int, stride: int) -> list[int]:
    starts = list(range(0, size - patch + 1, stride))
    if stride < patch and starts[-1] != size - patch:
        starts.append(size - patch)
    return starts
