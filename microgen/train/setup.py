"""From a data set and a plan to a job: settings, network, codec, and what is drawn meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from microgen.core import InputError
from microgen.core.config import Config, merge, validate
from microgen.core.recipe import recipe
from microgen.core.seeds import rng
from microgen.data.dataset import Dataset
from microgen.data.patches import Patches, specs_of
from microgen.data.plan import ModelPlan, Plan, plan_path, read_plan
from microgen.models import FAMILIES
from microgen.models.codec import Codec
from microgen.models.file import find_model, load_model, save_model
from microgen.models.model import Model
from microgen.train.config import TrainConfig
from microgen.train.engine import resolve_precision
from microgen.train.job import Job
from microgen.train.preview import draw_samples

_ESTIMATES = frozenset({"minutes"})
"""Keys of the plan's ``[train]`` table that inform people and are no setting."""
_MEASURE = 3
"""Purpose of a seed, beside those of the loop."""
_OF_TABLES = frozenset(Plan.model_fields["train"].default.model_dump()) | {"patch_px"}
"""Keys that a family's configuration takes from other tables of the plan."""


@dataclass(frozen=True)
class Settings:
    """The plan as changed by the settings of this run, what the loop needs of it, and the model it starts from."""

    plan: Plan
    train: TrainConfig
    base: Model | None = None

    @property
    def family(self) -> ModuleType:
        """Module of the model family."""
        name = self.plan.model.family
        if name not in FAMILIES:
            raise InputError(f"model.family {name!r} is not known; choose from {', '.join(FAMILIES)}")
        return FAMILIES[name]

    @property
    def family_config(self) -> Config:
        """The part of the plan that the family understands."""
        kind: type[Config] = self.family.Config
        model = self.plan.model.model_dump()
        own = model.pop("settings", {})
        given = {**self.plan.train.model_dump(), **model, "patch_px": self.plan.data.patch_px}
        table = {k: v for k, v in given.items() if k in kind.model_fields}
        return validate(kind, table | own, where="plan, [model]")


def resolve(data: Path, *, plan: Plan | Path | None, settings: Iterable[str] = ()) -> Settings:
    """Lay ``key=value`` settings over a plan (by default the one beside the data set) and check everything.

    Settings named ``train.*`` may also be those of :class:`TrainConfig` that a plan does not hold, such as
    ``train.minutes``: a budget in minutes takes the place of the plan's images.

    Raises
    ------
    InputError
        If there is no plan, or a key or value is wrong.
    """
    if not isinstance(plan, Plan):
        plan = read_plan(plan or plan_path(data))
    mine, theirs = _sorted_settings(settings)
    changed = validate(Plan, merge(plan.model_dump(), theirs), where="settings")
    suited: Mapping[str, Any] = getattr(FAMILIES.get(changed.model.family), "TRAIN", {})
    if changed.model.family != plan.model.family:
        changed = _suited(changed, FAMILIES.get(changed.model.family), said=merge({}, theirs))
    table = {k: v for k, v in changed.train.model_dump().items() if k in TrainConfig.model_fields.keys() - _ESTIMATES}
    chosen = merge({}, mine).get("train", {})
    if "minutes" in chosen and "images" not in chosen:
        table.pop("images", None)
    train = validate(TrainConfig, {**suited, **table, **chosen}, where="train")
    chosen = Settings(changed, train.model_copy(update={"precision": resolve_precision(train.precision)}))
    return _on_base(chosen)


def make_job(data: Path, settings: Settings, *, provenance: Mapping[str, Any], say: Callable[[str], None]) -> Job:
    """Read the data set and build the network that the plan asks for."""
    dataset, plan = Dataset.open(data), settings.plan
    patches = Patches(dataset, plan, "train")
    family, base = settings.family, settings.base
    codec = _codec_of(base, patches) if base else make_codec(dataset, patches)
    conditions = patches.specs if getattr(family, "CONDITIONAL", True) else []
    build, model_of = getattr(family, "build_trained", family.build), getattr(family, "model_of", _all)
    config = settings.family_config.model_dump(mode="json")
    with torch.random.fork_rng([]):  # networks are made on the CPU, by its generator alone
        torch.default_generator.manual_seed(settings.train.seed)
        net = build(settings.family_config, codec=codec, conditions=conditions)
    if base:
        family.begin(net, base)
    if measure := getattr(family, "measure", None):
        crops = rng(settings.train.seed, 0, 0, _MEASURE)
        measure(net, lambda count: codec.encode(patches.batch(crops, count)["field"]))

    def model(average: nn.Module, facts: Mapping[str, Any]) -> Model:
        made = recipe("train", **provenance, **facts)
        return Model(plan.model.family, config, model_of(average), codec, conditions, patches.shape, made)

    return Job(
        family=family,
        net=net,
        encode=codec.encode,
        patches=patches,
        held_out=_held_out(dataset, plan, say),
        write_model=lambda path, average, facts: save_model(path, model(average, facts)),
        preview=lambda average, path: draw_samples(model(average, {}), path),
    )


def make_codec(dataset: Dataset, patches: Patches) -> Codec:
    """Make the codec that brings the training images to mean 0 and standard deviation 1."""
    plan, numbers = patches.plan, patches.statistics()
    first = dataset.read(patches.images[0].name)
    dtype = first[plan.data.field].dtype
    low, high = numbers["low"], numbers["high"]
    if dtype.kind in "ui":  # resampling may overshoot
        low, high = max(low, np.iinfo(dtype).min), min(high, np.iinfo(dtype).max)
    spacing = (plan.data.spacing_um,) * first.ndim
    return Codec(plan.data.field, numbers["mean"], numbers["std"], low, high, dtype.name, spacing, first.phases)


def _on_base(chosen: Settings) -> Settings:
    """Open the model that the family starts from, if it does, and write what that decides into the plan."""
    family, plan, config = chosen.family, chosen.plan, chosen.family_config  # unknown settings are refused here
    setting = getattr(family, "BASE", None)
    if setting is None:
        return chosen
    if not getattr(config, setting):
        raise InputError(
            f"the family {plan.model.family} starts from a trained model; "
            f"name its file or run folder with --set model.{setting}=PATH"
        )
    place = Path(getattr(config, setting))
    base = load_model(find_model(place))
    _check_base(base, place, plan)
    return replace(chosen, plan=_written(plan, family.completed(config, base, specs_of(plan))), base=base)


def _written(plan: Plan, config: Config) -> Plan:
    """The plan that `config` is read from."""
    values = config.model_dump(mode="json")
    shared = {key: value for key, value in values.items() if key in ModelPlan.model_fields}
    own = config.model_dump(mode="json", exclude={*_OF_TABLES, *shared}, exclude_defaults=True)
    model = {**plan.model.model_dump(), **shared, "settings": {**plan.model.settings, **own}}
    return validate(Plan, {**plan.model_dump(), "model": model}, where="settings")


def _check_base(base: Model, place: Path, plan: Plan) -> None:
    field, spacing = base.codec.field, base.codec.spacing_um
    if field != plan.data.field or not np.allclose(spacing, plan.data.spacing_um, rtol=1e-3):
        raise InputError(
            f"the model {place} makes {field} at {spacing[0]:g} um per point, the plan asks for {plan.data.field} at "
            f"{plan.data.spacing_um:g} um; train both with one plan"
        )


def _codec_of(base: Model, patches: Patches) -> Codec:
    """The codec of a base, whose weights expect it."""
    if base.codec.ndim != len(patches.shape) or base.codec.channels != patches.channels:
        raise InputError(
            f"the model to start from has {base.codec.ndim} axes and {base.codec.channels} channels, the data set "
            f"{len(patches.shape)} and {patches.channels}; train both on one data set"
        )
    return base.codec


def _suited(plan: Plan, family: ModuleType | None, *, said: Mapping[str, Any]) -> Plan:
    """Put what suits a family in place of tables that were made for another one, but for what was said."""
    values = plan.model_dump()
    for table, name in (("train", "TRAIN"), ("model", "MODEL")):
        known = values[table].keys() - said.get(table, {}).keys()
        values[table] |= {key: value for key, value in getattr(family, name, {}).items() if key in known}
    return validate(Plan, values, where="settings")


def _all(trained: nn.Module) -> nn.Module:
    return trained


def _held_out(dataset: Dataset, plan: Plan, say: Callable[[str], None]) -> Patches | None:
    try:
        return Patches(dataset, plan, "held_out")
    except InputError as error:
        say(f"no loss on held-out images will be taken: {error}")
        return None


def _sorted_settings(settings: Iterable[str]) -> tuple[list[str], list[str]]:
    """Settings of the loop, and settings of the plan; some are both."""
    mine, theirs = [], []
    for setting in settings:
        table, _, key = setting.partition("=")[0].strip().partition(".")
        loop = table == "train" and key in TrainConfig.model_fields
        plan = not loop or (key in type(Plan.model_fields["train"].default).model_fields and key not in _ESTIMATES)
        mine += [setting] if loop else []
        theirs += [_of_family(setting)] if plan else []
    return mine, theirs


def _of_family(setting: str) -> str:
    """Short for what one family alone understands: ``model.beta=1`` is ``model.settings.beta=1``."""
    table, _, key = setting.partition("=")[0].strip().partition(".")
    own = table == "model" and key and key.partition(".")[0] not in ModelPlan.model_fields
    return f"model.settings.{setting.strip().removeprefix('model.')}" if own else setting
