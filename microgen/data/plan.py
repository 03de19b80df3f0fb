"""The plan: what training will do with a data set, as a file that a person can read and edit."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    Field,
    JsonValue,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from microgen.core import InputError
from microgen.core.config import Config, read_toml, validate
from microgen.core.files import write_bytes
from microgen.data.measures import scale_of

Augmentation = Literal["flip_x", "flip_y", "flip_z", "quarter_turns"]
Share = Annotated[float, Field(ge=0, lt=1)]


class DataPlan(Config):
    """Which part of the data set is shown to the network, and at what scale."""

    field: str = Field("intensity", description="field the model learns")
    spacing_um: PositiveFloat = Field(description="pixel size that all images are resampled to")
    patch_px: PositiveInt = Field(64, multiple_of=16, description="side of a training crop, a multiple of 16")
    augment: tuple[Augmentation, ...] = Field((), description="symmetries used to multiply the data")
    skip: tuple[str, ...] = Field((), description="images left out")


class Range(Config):
    """Range of a condition in physical units, and the scale on which the network sees it.

    Directions are ``{ low = 0, high = 180, scale = "axial" }``. Classes have their names instead of a range.

    Examples
    --------
    >>> Range.of_labels(["304", "435Q"]).high
    1.0
    """

    low: float
    high: float
    scale: Literal["log", "linear", "axial", "class"] = "linear"
    labels: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _numbered(cls, given: Any) -> Any:
        """Number classes from 0."""
        if isinstance(given, Mapping) and given.get("scale") == "class":
            return {**given, "low": 0.0, "high": len(given.get("labels", ())) - 1.0}
        return given

    @model_validator(mode="after")
    def _usable(self) -> Range:
        if bool(self.labels) != (self.scale == "class") or len(set(self.labels)) < len(self.labels):
            raise ValueError('scale = "class" goes with labels = ["name", "other name"], all different')
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise ValueError(f"the range {self.low:g} .. {self.high:g} is not usable on a {self.scale} scale")
        return self

    @classmethod
    def of_labels(cls, labels: Iterable[str]) -> Range:
        """Classes with these names."""
        return cls.model_validate({"scale": "class", "labels": tuple(labels)})

    @model_serializer(mode="wrap")
    def _without_nothing(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out labels of numbers, so that plans of before have the digest of before, and numbers of labels."""
        left_out = ("low", "high") if self.labels else ("labels",)
        written: dict[str, Any] = values(self)
        return {k: v for k, v in written.items() if k not in left_out}


DIRECTIONS = Range(low=0.0, high=180.0, scale="axial")
"""Range of every direction."""


class ConditionsPlan(Config):
    """What the model can be asked for: measured from the data, or stored with every image."""

    scalars: tuple[str, ...] = Field((), description="one number per picture")
    maps: tuple[str, ...] = Field((), description="one number per pixel (painting); move names here from scalars")
    map_window_um: PositiveFloat | None = Field(None, description="window over which maps are averaged")
    ranges: dict[str, Range] = Field({}, description="range of each condition over the training crops")

    @model_validator(mode="before")
    @classmethod
    def _with_directions(cls, given: Any) -> Any:
        """Fill in the range of directions: all directions have one."""
        if not isinstance(given, Mapping):
            return given
        named = [*(given.get("scalars") or ()), *(given.get("maps") or ())]
        known = given.get("ranges") or {}
        missing = {name: DIRECTIONS for name in named if scale_of(name) == "axial" and name not in known}
        return {**given, "ranges": {**known, **missing}} if missing else given

    @model_validator(mode="after")
    def _complete(self) -> ConditionsPlan:
        missing = sorted(set(self.scalars + self.maps) - set(self.ranges))
        if missing:
            raise ValueError(f"no range is given for {', '.join(missing)}")
        if set(self.scalars) & set(self.maps):
            raise ValueError("a condition is a scalar or a map, not both")
        if self.maps and self.map_window_um is None:
            raise ValueError("maps need map_window_um")
        return self


class ModelPlan(Config):
    """The network.

    The keys up to `circular` are read by every family whose configuration has a key of that name; `settings` holds
    what one family alone understands, and is checked by it when training starts.

    Examples
    --------
    >>> ModelPlan(family="vae", settings={"beta": 0.5}).model_dump()["settings"]
    {'beta': 0.5}
    """

    family: str = Field("diffusion", description="model family")
    parameterisation: Literal["edm", "ddpm"] = Field("edm", description="edm: Karras et al. 2022; ddpm: Ho et al. 2020")
    noise_steps: int = Field(1000, ge=25, description="ddpm: number of steps")
    betas: Literal["linear", "cosine"] = Field("linear", description="ddpm: schedule of the steps")
    channels: tuple[PositiveInt, ...] = Field((64, 96, 128), description="channels of each level of the U-Net")
    blocks: PositiveInt = Field(2, description="residual blocks per level")
    fold: PositiveInt = Field(2, description="pixels folded into channels along each axis; 1: finest detail, 4x cost")
    dropout: Share = Field(0.05, description="against memorising few images")
    circular: bool = Field(False, description="true only for periodic data")
    settings: dict[str, JsonValue] = Field({}, description="what this family alone understands, docs/families.md")

    @model_serializer(mode="wrap")
    def _without_nothing(self, values: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out empty settings, so that plans of before have the digest of before."""
        written: dict[str, Any] = values(self)
        return {k: v for k, v in written.items() if k != "settings" or v}


class TrainPlan(Config):
    """The training run, counted in images seen."""

    batch: PositiveInt = Field(16, description="crops per step")
    images: PositiveInt = Field(50_000, description="training crops seen in all")
    learning_rate: PositiveFloat = Field(8e-4, description="peak learning rate")
    warmup: int = Field(2_000, ge=0, description="images over which the learning rate rises")
    ema_halflife_images: PositiveInt = Field(4_000, description="half life of the weight average")
    condition_dropout: Share = Field(0.1, description="share of crops shown without condition, for guidance")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the machine has it")
    seed: int = Field(0, ge=0, description="fixes initial weights, crops and noise")
    minutes: float = Field(0.0, ge=0, description="estimate for 2 CPU cores")


class Plan(Config):
    """Everything training needs besides the data.

    Examples
    --------
    >>> plan = Plan(data=DataPlan(spacing_um=0.8))
    >>> print(plan.to_toml({"data.spacing_um": "a grain spans 15 px"}).splitlines()[4])
    spacing_um = 0.8  # pixel size that all images are resampled to: a grain spans 15 px
    """

    data: DataPlan
    conditions: ConditionsPlan = ConditionsPlan()
    model: ModelPlan = ModelPlan()
    train: TrainPlan = TrainPlan()

    def to_toml(self, reasons: Mapping[str, str] | None = None, *, inputs: str | None = None) -> str:
        """Write as TOML with one comment per line.

        Parameters
        ----------
        reasons
            Why a value was chosen, by dotted key.
        inputs
            Hash of the images that the plan is made for; with it, :func:`origin` can tell an edited plan.
        """
        lines = ["# Plan of microgen: edit freely; training refuses keys it does not know."]
        lines += (
            [f"# Made for images {inputs[:16]} as {self.digest[:16]}: tells whether it was edited."] if inputs else []
        )
        for name in Plan.model_fields:
            table: Config = getattr(self, name)
            lines += ["", f"[{name}]"]
            lines += _lines(name, table, reasons or {})
        return "\n".join(lines) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of the values; comments and order of lines do not matter."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def read_plan(path: Path | str) -> Plan:
    """Read a plan, or raise an InputError that names every wrong key."""
    return validate(Plan, read_toml(path), where=str(path))


def write_plan(
    path: Path | str, plan: Plan, reasons: Mapping[str, str] | None = None, *, inputs: str | None = None
) -> None:
    """Write a plan, whole or not at all; see :meth:`Plan.to_toml`."""
    write_bytes(path, plan.to_toml(reasons, inputs=inputs).encode())


class Origin(NamedTuple):
    """First digits of the hash of the images that a plan file was made for, and whether it was edited since."""

    inputs: str | None
    edited: bool


def origin(path: Path) -> Origin:
    """Read for which images a plan file was made, None where it does not say, and whether its values are others now."""
    text = path.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^#\s*Made for images ([0-9a-f]{16}) as ([0-9a-f]{16})\b", text, re.MULTILINE)
    if not found:
        return Origin(None, edited=True)
    try:
        return Origin(found[1], edited=read_plan(path).digest[:16] != found[2])
    except InputError:
        return Origin(found[1], edited=True)


def plan_path(dataset: Path | str) -> Path:
    """Where ``prepare`` puts the plan of a data set.

    >>> plan_path("steel.h5").name
    'steel.plan.toml'
    """
    return Path(dataset).with_suffix(".plan.toml")


def fingerprint_path(dataset: Path | str) -> Path:
    """Where ``prepare`` puts the fingerprint of a data set."""
    return Path(dataset).with_suffix(".fingerprint.json")


def _lines(name: str, table: Config, reasons: Mapping[str, str]) -> list[str]:
    values = table.model_dump(mode="json", exclude_none=True)
    lines = []
    for key, value in values.items():
        why = f"{type(table).model_fields[key].description}"
        reason = reasons.get(f"{name}.{key}")
        lines.append(f"{key} = {_toml(value)}  # {why}" + (f": {reason}" if reason else ""))
    return lines


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)


def _key(text: str) -> str:
    return text if text.isascii() and text.replace("_", "").replace("-", "").isalnum() else _toml(text)
