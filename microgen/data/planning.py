"""Rules that make a plan from a fingerprint; every choice comes with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from microgen.core import InputError, Microstructure
from microgen.data.measures import MEASURES
from microgen.data.patches import resident
from microgen.data.plan import ConditionsPlan, DataPlan, ModelPlan, Plan, Range, TrainPlan

GRAIN_PX = 13
"""Pixels per mean intercept of the finest image: fewer lose boundaries, more cost time (12 to 20 in use)."""
MIN_GRAIN_PX = 8
"""Pixels per mean intercept down to which coarse images are still worth a coarser plan."""
LENGTH_PX = 6
"""Pixels per correlation length where there are no grains."""
MAX_UPSAMPLING = 1.25
"""Images whose own pixels are larger than this many of the plan's are left out."""
PATCH_INTERCEPTS = 4.0
PATCH_LENGTHS = 8.0
"""Side of a patch in median mean intercepts, or in correlation lengths."""
PATCH_PX = {2: (64, 128), 3: (32, 64)}
"""Smallest and largest side of a patch by number of axes."""
REFERENCE_RATE = 45.0
"""Training images per second on 2 CPU cores in bfloat16: 64 x 64 pixels, the U-Net of the plan's defaults."""


@dataclass(frozen=True)
class Planned:
    """A plan and the reasons for its values, by dotted key."""

    plan: Plan
    reasons: dict[str, str]


def make_plan(fingerprint: Mapping[str, Any]) -> Planned:
    """Choose scale, patch, augmentations, network and budget; the ranges of conditions are measured afterwards.

    Raises
    ------
    InputError
        If no image is large enough for one patch.
    """
    ndim = fingerprint["ndim"]
    grains, xi = fingerprint["grain_size_um"], fingerprint["correlation_length_um"]
    spacing, why_spacing = _spacing(grains, xi, fingerprint["spacing_um"])
    smallest, largest = PATCH_PX[ndim]
    wanted = PATCH_INTERCEPTS * grains["median"] if grains else PATCH_LENGTHS * (xi or 0)
    patch = int(np.clip(16 * round(wanted / spacing / 16), smallest, largest))
    sides = {i["name"]: int(min(i["extent_um"]) / spacing + 1e-6) for i in fingerprint["images"]}
    own = {i["name"]: max(i["spacing_um"]) for i in fingerprint["images"]}
    skip = [n for n, side in sides.items() if side < smallest or own[n] > MAX_UPSAMPLING * spacing * (1 + 1e-9)]
    kept = [side for name, side in sides.items() if name not in skip]
    if not kept:
        raise InputError(
            f"every image is too small: the largest has {max(sides.values())} pixels of {spacing:g} um along its "
            f"short side, a patch needs {smallest}; give larger images"
        )
    patch = min(patch, min(kept) // 16 * 16)
    data = DataPlan(
        field=fingerprint["field"],
        spacing_um=spacing,
        patch_px=patch,
        augment=tuple(fingerprint["symmetries"]),
        skip=tuple(skip),
    )
    model = ModelPlan()
    train = TrainPlan()
    train = train.model_copy(update={"minutes": estimate_minutes(model, train, data, ndim)})
    across = f"{patch * spacing:.4g} um, " + _spans(patch * spacing, grains, xi)
    reasons = {
        "data.spacing_um": why_spacing,
        "data.patch_px": across,
        "data.augment": "the data look the same under these, and under no others",
        "data.skip": "too small for a patch, or their pixels are too large" if skip else "none",
    }
    return Planned(Plan(data=data, model=model, train=train), reasons)


def with_conditions(planned: Planned, images: Iterable[tuple[str, Microstructure]], names: Sequence[str]) -> Planned:
    """Add conditions, with the range of 2 to 98 % of all patches of the training images.

    Parameters
    ----------
    planned
        The plan so far.
    images
        Training images, each with its name.
    names
        Conditions wanted; those that hardly vary are left out.
    """
    if not names:
        return planned
    wide = Range(low=1e-9, high=1e9, scale="log")
    wanted = ConditionsPlan(scalars=tuple(names), ranges=dict.fromkeys(names, wide))
    trial = planned.plan.model_copy(update={"conditions": wanted})
    values: dict[str, list[float]] = {name: [] for name in names}
    for name, m in images:
        if name not in trial.data.skip:
            for condition, found in _patch_values(m, name, trial).items():
                values[condition] += found
    ranges = {name: _range(name, found) for name, found in values.items() if np.ptp(_inner(found)) > 0}
    window = planned.plan.data.patch_px * planned.plan.data.spacing_um / 2
    conditions = ConditionsPlan(scalars=tuple(ranges), ranges=ranges, map_window_um=float(f"{window:.3g}"))
    count = max(map(len, values.values()))
    reasons = {**planned.reasons, "conditions.ranges": f"2 to 98 % of {count} patches"}
    return Planned(planned.plan.model_copy(update={"conditions": conditions}), reasons)


def wanted_conditions(fingerprint: Mapping[str, Any], scalars: Sequence[Mapping[str, float]]) -> list[str]:
    """Name what can be asked for: measured quantities that the data show, and stored scalars that vary."""
    field, ndim = fingerprint["field"], fingerprint["ndim"]
    measured = [n for n, m in MEASURES.items() if m.field == field and ndim in m.ndim]
    if not fingerprint["grain_size_um"]:
        measured = [name for name in measured if name != "grain_size_um"]
    common = set.intersection(*map(set, scalars)) if scalars else set()
    return measured + sorted(n for n in common - set(measured) if len({s[n] for s in scalars}) > 1)


def estimate_minutes(model: ModelPlan, train: TrainPlan, data: DataPlan, ndim: int) -> float:
    """Training time on 2 CPU cores, from the cost of the convolutions relative to a measured network."""
    cost = _cost(model, data.patch_px, ndim) / _cost(ModelPlan(), 64, 2)
    return float(f"{train.images * cost / REFERENCE_RATE / 60:.2g}")


def _cost(model: ModelPlan, side: int, ndim: int) -> float:
    volumes = [float(side / model.fold / 2**level) ** ndim for level in range(len(model.channels))]
    return sum(model.blocks * 3.0**ndim * c**2 * v for c, v in zip(model.channels, volumes, strict=True))


def _spacing(grains: Mapping[str, float] | None, xi: float | None, own: Mapping[str, float]) -> tuple[float, str]:
    """Pixel size of the plan and its reason."""
    if grains:
        fine = grains["low"] / GRAIN_PX
        spacing = min(max(fine, own["high"] / MAX_UPSAMPLING), grains["low"] / MIN_GRAIN_PX)
        spacing = _rounded(max(spacing, own["low"] / MAX_UPSAMPLING))
        return spacing, f"the finest mean intercept, {grains['low']:.3g} um, spans {grains['low'] / spacing:.3g} px"
    if xi:
        spacing = _rounded(max(xi / LENGTH_PX, own["high"]))
        return spacing, f"a correlation length, {xi:.3g} um, spans {xi / spacing:.2g} px"
    return own["high"], "the largest pixel size of the images, no length could be measured"


def _rounded(value: float) -> float:
    """Round up to two digits, so that a limit from below still holds."""
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / unit - 1e-6) * unit:.2g}")


def _spans(side_um: float, grains: Mapping[str, float] | None, xi: float | None) -> str:
    if grains:
        return f"{side_um / grains['median']:.2g} median intercepts"
    return f"{side_um / xi:.2g} correlation lengths" if xi else "the smallest in use"


def _patch_values(m: Microstructure, name: str, plan: Plan) -> dict[str, list[float]]:
    """Every condition of all patches at half overlap."""
    image = resident(m, name, plan)
    side = plan.data.patch_px
    axes = [range(0, n - side + 1, side // 2) for n in image.field.shape[1:]]
    corners = np.array(list(product(*axes)), dtype=np.intp)
    shape = (side,) * m.ndim
    return {c: image.scalar(c, corners, shape).tolist() if len(corners) else [] for c in plan.conditions.scalars}


def _inner(values: Sequence[float]) -> Any:
    return np.percentile(values, [2, 98]) if values else np.zeros(2)


def _range(name: str, values: Sequence[float]) -> Range:
    low, high = (float(f"{v:.4g}") for v in _inner(values))
    scale = MEASURES[name].scale if name in MEASURES else "linear"
    return Range(low=low, high=high, scale=scale)
