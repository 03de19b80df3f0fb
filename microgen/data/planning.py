"""Rules that make a plan from a fingerprint; every choice comes with its reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from microgen.core import InputError, Microstructure
from microgen.data.measures import measures, scale_of
from microgen.data.patches import resident
from microgen.data.plan import DIRECTIONS, ConditionsPlan, DataPlan, ModelPlan, Plan, Range, TrainPlan
from microgen.data.scale import plan_spacing, too_coarse

PATCH_INTERCEPTS = 4.0
PATCH_LENGTHS = 8.0
"""Side of a patch in median mean intercepts, or in correlation lengths."""
PATCH_PX = {2: (64, 128), 3: (32, 48)}
"""Smallest and largest side of a patch by number of axes."""
VOLUME_MODEL = ModelPlan(channels=(32, 64, 96), blocks=1)
VOLUME_TRAIN = TrainPlan(batch=8, images=20_000, ema_halflife_images=2_000)
"""Network and run for volumes: a network of the width for pictures would take days on a CPU."""
REFERENCE_RATE = 45.0
"""Training images per second on 2 CPU cores in bfloat16: 64 x 64 pixels, the U-Net of the plan's defaults."""
REFERENCE_RATE_3D = 10.7
"""The same of 48 x 48 x 48 voxels and the network for volumes."""


ELONGATED = 1.25
"""Median aspect ratio of patches from which directions mean something: of isotropic structures it is about 1.1."""
ALIGNED = 0.8
"""Length of the mean doubled direction of patches, each counting as much as it is elongated, below which directions
vary: 1 where all are one, 0 without any."""
BYTES_FIXED = 0.6e9
BYTES_VOXEL = 16.0
BYTES_ACTIVATION = 105.0
"""Peak memory of training on volumes: of the libraries, by voxel of the volumes, by activation of a residual block and
crop; measured."""


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
    spacing, why_spacing = plan_spacing(fingerprint)
    smallest, largest = PATCH_PX[ndim]
    wanted = PATCH_INTERCEPTS * grains["median"] if grains else PATCH_LENGTHS * (xi or 0)
    patch = int(np.clip(16 * round(wanted / spacing / 16), smallest, largest))
    sides = {i["name"]: int(min(i["extent_um"]) / spacing + 1e-6) for i in fingerprint["images"]}
    own = {i["name"]: tuple(i["spacing_um"]) for i in fingerprint["images"]}
    skip = [name for name, side in sides.items() if side < smallest or too_coarse(own[name], spacing)]
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
    model, train = (ModelPlan(), TrainPlan()) if ndim == 2 else (VOLUME_MODEL, VOLUME_TRAIN)
    train = train.model_copy(update={"minutes": estimate_minutes(model, train, data, ndim)})
    across = f"{patch * spacing:.4g} um, " + _spans(patch * spacing, grains, xi)
    reasons = {
        "data.spacing_um": why_spacing,
        "data.patch_px": across,
        "data.augment": "the data look the same under these, and under no others",
        "data.skip": "too small for a patch, or their pixels are too large" if skip else "none",
    }
    if ndim == 3:
        gigabytes = estimate_memory_gb(model, train, data, fingerprint["images"])
        reasons["train.batch"] = f"training takes about {gigabytes:.2g} GB of memory"
    return Planned(Plan(data=data, model=model, train=train), reasons)


def with_conditions(
    planned: Planned,
    images: Iterable[tuple[str, Microstructure]],
    names: Sequence[str],
    *,
    asked: Collection[str] = (),
    labels: Mapping[str, Sequence[str]] | None = None,
) -> Planned:
    """Add conditions, with the range of 2 to 98 % of all patches of the training images.

    Parameters
    ----------
    planned
        The plan so far.
    images
        Training images, each with its name.
    names
        Conditions wanted; those that hardly vary are left out, and so are directions, unless asked for, where the
        patches are not elongated or all in one direction, and aspect ratios.
    asked
        Those of them that a person asked for: they are kept, and InputError says why if one is impossible.
    labels
        Labels of each condition that is a class.
    """
    if not names:
        return planned
    classes = {name: Range.of_labels(known) for name, known in (labels or {}).items()}
    wide = {name: Range(low=1e-9, high=1e9, scale="log") for name in names}
    wanted = ConditionsPlan(scalars=tuple(names), ranges=wide | classes)
    trial = planned.plan.model_copy(update={"conditions": wanted})
    values: dict[str, list[float]] = {name: [] for name in names}
    for name, m in images:
        if name not in trial.data.skip:
            for condition, found in _patch_values(m, name, trial).items():
                values[condition] += found
    kept = [name for name in names if name in classes or _is_worth(name, values, asked)]
    ranges = {name: classes.get(name) or _range(name, values[name]) for name in kept}
    window = planned.plan.data.patch_px * planned.plan.data.spacing_um / 2
    conditions = ConditionsPlan(scalars=tuple(ranges), ranges=ranges, map_window_um=float(f"{window:.3g}"))
    count = max(map(len, values.values()))
    reasons = {**planned.reasons, "conditions.ranges": f"2 to 98 % of {count} patches"}
    return Planned(planned.plan.model_copy(update={"conditions": conditions}), reasons)


def wanted_conditions(fingerprint: Mapping[str, Any], scalars: Sequence[Mapping[str, float]]) -> list[str]:
    """Name what can be asked for: measured quantities that the data show, and stored scalars that vary."""
    known = all("known" in (i.get("grains") or {}) for i in fingerprint["images"])
    measured = list(measures(fingerprint["field"], fingerprint["ndim"], grains=known))
    if not fingerprint["grain_size_um"]:
        measured = [name for name in measured if name != "grain_size_um"]
    common = set.intersection(*map(set, scalars)) if scalars else set()
    return measured + sorted(n for n in common - set(measured) if len({s[n] for s in scalars}) > 1)


def labels_of(classes: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the labels of each class that all images have, sorted, where there are at least two.

    >>> labels_of([{"steel": "435Q"}, {"steel": "304"}])
    {'steel': ['304', '435Q']}
    """
    common = set.intersection(*map(set, classes)) if classes else set()
    labels = {name: sorted({known[name] for known in classes}) for name in sorted(common)}
    return {name: known for name, known in labels.items() if len(known) > 1}


def _is_worth(name: str, values: Mapping[str, Sequence[float]], asked: Collection[str]) -> bool:
    """Whether a condition can be learned: it varies, and a direction or elongation is one."""
    found = values[name]
    if np.ptp(_inner(found)) == 0:
        if name in asked:
            raise InputError(f"{name} is the same in all patches of the training images; nothing could be asked for")
        return False
    if name in asked or name not in ("orientation_deg", "aspect_ratio"):
        return True
    return name == "orientation_deg" and _is_elongated(values)


def _is_elongated(values: Mapping[str, Sequence[float]]) -> bool:
    """Whether most patches are elongated, and not all in one direction."""
    if not values.get("aspect_ratio"):
        return False
    double, ratio = np.deg2rad(2 * np.asarray(values["orientation_deg"])), np.asarray(values["aspect_ratio"])
    weight = (ratio**2 - 1) / (ratio**2 + 1)  # the anisotropy: round patches point nowhere
    aligned = abs(np.sum(weight * np.exp(1j * double))) / max(float(weight.sum()), 1e-12)
    return bool(np.median(ratio) > ELONGATED and aligned < ALIGNED)


def estimate_minutes(model: ModelPlan, train: TrainPlan, data: DataPlan, ndim: int) -> float:
    """Training time on 2 CPU cores, from the cost of the convolutions relative to a measured network."""
    rate, side, usual = (REFERENCE_RATE, 64, ModelPlan()) if ndim == 2 else (REFERENCE_RATE_3D, 48, VOLUME_MODEL)
    cost = _cost(model, data.patch_px, ndim) / _cost(usual, side, ndim)
    return float(f"{train.images * cost / rate / 60:.2g}")


def estimate_memory_gb(
    model: ModelPlan, train: TrainPlan, data: DataPlan, images: Iterable[Mapping[str, Any]]
) -> float:
    """Peak memory of training on volumes on a CPU in gigabytes: the libraries, the volumes, the activations."""
    extents = [i["extent_um"] for i in images if i["name"] not in data.skip]
    voxels = sum(float(np.prod(extent)) for extent in extents) / data.spacing_um**3
    sides = [data.patch_px / model.fold / 2**level for level in range(len(model.channels))]
    activations = sum(model.blocks * c * side**3 for c, side in zip(model.channels, sides, strict=True))
    return float(BYTES_FIXED + BYTES_VOXEL * voxels + BYTES_ACTIVATION * train.batch * activations) / 1e9


def _cost(model: ModelPlan, side: int, ndim: int) -> float:
    volumes = [float(side / model.fold / 2**level) ** ndim for level in range(len(model.channels))]
    return sum(model.blocks * 3.0**ndim * c**2 * v for c, v in zip(model.channels, volumes, strict=True))


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
    if scale_of(name) == "axial":
        return DIRECTIONS
    low, high = (float(f"{v:.4g}") for v in _inner(values))
    return Range(low=low, high=high, scale=scale_of(name))
