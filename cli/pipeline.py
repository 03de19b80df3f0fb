"""From a folder of micrographs to a model, samples and a report: what `microgen fit` and `microgen demo` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from microgen.core import Condition, ConditionSpec
from microgen.core.config import Config
from microgen.core.files import write_json

from .stages import Stages

Say = Callable[[str], None]
LEVELS = 12
"""Sizes that stand for the distribution of sizes in the held-out images; more than the report takes one by one."""


class FitSettings(Config):
    """What can be set about a fit; everything else is in the plan that prepare writes."""

    pixel_size_um: tuple[str, ...] = Field((), description="pixel size, or PATTERN=VALUE, where the files do not say")
    crop_bottom: NonNegativeInt | None = Field(None, description="rows of the data bar")
    minutes: PositiveFloat | None = Field(None, description="training time instead of the plan's images")
    seed: NonNegativeInt = Field(0, description="fixes the split, the training and the samples")
    values: tuple[float, ...] = Field((), description="values to ask for; none: five over the learned range")
    samples_per_value: PositiveInt = Field(16, description="samples for each value asked for")
    samples_like_held_out: PositiveInt = Field(96, description="samples with the sizes of the held-out images")
    plan: tuple[str, ...] = Field((), description="key=value settings of the plan")
    sample: dict[str, Any] = Field(default_factory=dict, description="options of sampling")
    windows: PositiveInt = Field(192, description="windows of each set that the report compares")


def fit(inputs: Iterable[Path], out: Path, settings: FitSettings, *, say: Say) -> dict[str, Any]:
    """Prepare, train, sample and evaluate; what is done already is skipped, what was interrupted goes on.

    Parameters
    ----------
    inputs
        Files and folders of micrographs.
    out
        Folder that will hold ``data.h5`` with its plan and fingerprint, ``run/``, ``samples/``, ``report.html``,
        ``report.json``, ``samples.png`` and ``summary.json``.
    settings
        See :class:`FitSettings`.
    say
        Receives one line per stage.

    Returns
    -------
    dict
        What ``summary.json`` holds.
    """
    from .gallery import draw_gallery

    paths = Paths(out)
    stages = Stages(out / "stages.json", say)
    prepared = _prepare(list(inputs), paths, settings, say)
    trained = _train(paths, settings, say)
    condition = asked_condition(paths.model)
    count = _sample(paths, condition, settings, say)
    evaluated = _evaluate(paths, condition, settings, stages)
    draw_gallery(paths.gallery, paths, condition, evaluated["requested"])
    summary = {
        "out": str(out),
        **{name: str(path) for name, path in paths.named().items()},
        "samples_made": count,
        "images": prepared["images"],
        "training_crops_seen": trained.get("images"),
        **evaluated,
        "seconds": stages.seconds,
    }
    write_json(out / "summary.json", summary)
    return summary


def preview(inputs: Iterable[Path], out: Path, settings: FitSettings, *, say: Say) -> dict[str, Any]:
    """Say what :func:`fit` would learn from these inputs and how, and write nothing."""
    planned = _prepare(list(inputs), Paths(out), settings, say, dry_run=True)
    return {"out": str(out), "settings": settings.model_dump(mode="json"), "prepare": planned}


@dataclass(frozen=True)
class Paths:
    """Where the files of a fit lie."""

    out: Path

    @property
    def data(self) -> Path:
        return self.out / "data.h5"

    @property
    def plan(self) -> Path:
        return self.out / "data.plan.toml"

    @property
    def run(self) -> Path:
        return self.out / "run"

    @property
    def model(self) -> Path:
        return self.run / "model.safetensors"

    @property
    def like_held_out(self) -> Path:
        return self.out / "samples" / "like_held_out"

    @property
    def at_values(self) -> Path:
        return self.out / "samples" / "at_values"

    @property
    def report(self) -> Path:
        return self.out / "report.html"

    @property
    def gallery(self) -> Path:
        return self.out / "samples.png"

    def named(self) -> dict[str, Path]:
        """Those that a reader of the summary looks for."""
        names = ("data", "plan", "model", "report", "gallery")
        return {name: getattr(self, name) for name in names} | {"samples": self.like_held_out.parent}


def asked_condition(model: Path) -> ConditionSpec | None:
    """The first quantity with a range that the model can be asked for, from the header of its file."""
    from microgen.models import read_header

    found = [ConditionSpec(**spec) for spec in read_header(model)["conditions"]]
    return next((spec for spec in found if spec.scale != "axial"), None)


def spread(condition: ConditionSpec, count: int = 5) -> list[float]:
    """Values over the learned range, evenly on its own scale, with a margin of half a step at both ends.

    >>> spread(ConditionSpec("grain_size_um", "scalar", 1, 1024, "log"))
    [2.0, 8.0, 32.0, 128.0, 512.0]
    """
    low, high, log = condition.low, condition.high, condition.scale == "log"
    parts = (np.arange(count) + 0.5) / count
    values = low * (high / low) ** parts if log else low + parts * (high - low)
    return [float(f"{value:.3g}") for value in values]


def _prepare(
    inputs: list[Path], paths: Paths, settings: FitSettings, say: Say, *, dry_run: bool = False
) -> dict[str, Any]:
    from microgen.data.prepare import prepare

    return prepare(
        inputs,
        paths.data,
        pixel_size_um=settings.pixel_size_um,
        crop_bottom=settings.crop_bottom,
        seed=settings.seed,
        dry_run=dry_run,
        say=say,
    )


def _train(paths: Paths, settings: FitSettings, say: Say) -> dict[str, Any]:
    from microgen.train.run import train

    minutes = [f"train.minutes={settings.minutes}"] if settings.minutes else []
    wanted = [f"train.seed={settings.seed}", *minutes, *settings.plan]
    return train(paths.data, paths.run, plan=paths.plan, settings=wanted, say=say)


def _sample(paths: Paths, condition: ConditionSpec | None, settings: FitSettings, say: Say) -> int:
    """Make samples like the held-out images, and samples at single values."""
    from microgen.generate import sample_to_folder

    def make(folder: Path, count: int, value: float | None = None, first: int = 0) -> int:
        wanted = [] if value is None or condition is None else [Condition({condition.name: value})]
        seeds = range(first, first + count)
        done = sample_to_folder(paths.model, folder, seeds, conditions=wanted, **settings.sample)
        return int(done["count"])

    total = settings.samples_like_held_out
    if condition is None:
        say(f"sample: {total}")
        return make(paths.like_held_out, total)
    name, made = condition.name, 0
    levels = held_out_levels(paths, condition)
    say(f"sample: {total} with the {name} of the held-out images")
    for number, value in enumerate(levels):
        each = -(-total // len(levels))
        made += make(paths.like_held_out / f"{name}_{value:g}", each, value, first=number * each)
    for value in settings.values or spread(condition):
        say(f"sample: {settings.samples_per_value} of {name} = {value:g}")
        made += make(paths.at_values / f"{name}_{value:g}", settings.samples_per_value, value, first=10_000)
    return made


def held_out_levels(paths: Paths, condition: ConditionSpec) -> list[float]:
    """Values that stand for the held-out images: quantiles over their crops, inside the learned range."""
    from microgen.data import Dataset, Patches, read_plan

    crops = Patches(Dataset.open(paths.data), read_plan(paths.plan), "held_out").grid()
    values = crops["scalars"][condition.name]
    levels = np.quantile(values, (np.arange(LEVELS) + 0.5) / LEVELS).clip(condition.low, condition.high)
    return sorted({float(f"{level:.4g}") for level in levels})


def _evaluate(paths: Paths, condition: ConditionSpec | None, settings: FitSettings, stages: Stages) -> dict[str, Any]:
    samples = [folder for folder in (paths.like_held_out, paths.at_values) if folder.exists()]
    return stages.do(
        "evaluate",
        lambda: _compared(paths, condition, settings),
        settings={"windows": settings.windows, "seed": settings.seed},
        reads=[paths.data, *samples],
        writes=[paths.report, paths.report.with_suffix(".json")],
    )


def _compared(paths: Paths, condition: ConditionSpec | None, settings: FitSettings) -> dict[str, Any]:
    from microgen.evaluate.files import evaluate_files

    found = evaluate_files(paths.data, paths.like_held_out, max_windows=settings.windows, seed=settings.seed)
    found.to_html(paths.report)
    found.to_json(paths.report.with_suffix(".json"))
    numbers = found.to_dict()
    return {
        "headline": numbers["headline"],
        "verdict": numbers["verdict"],
        "ratios": {row["descriptor"]: row["ratio"] for row in numbers["rows"]},
        "requested": requested_and_measured(paths, condition, settings.seed),
    }


def requested_and_measured(paths: Paths, condition: ConditionSpec | None, seed: int) -> list[dict[str, Any]]:
    """Measure the samples made at single values, in the way that training crops are measured."""
    from microgen import io
    from microgen.evaluate.conditions import measurable, measured_in
    from microgen.evaluate.requests import obeyed

    if condition is None or not paths.at_values.exists():
        return []
    made = [m for file in io.find_inputs([paths.at_values]) for m in io.read(file)]
    if not measurable(condition.name, made[0]):
        return []
    whole, nothing = np.zeros((1, made[0].ndim), dtype=np.intp), np.zeros(0)
    measured = np.array([measured_in(condition.name, m, whole, m.shape)[0] for m in made])
    asked = np.array([m.scalars[condition.name] for m in made])
    rows = obeyed(condition.name, asked, measured, (nothing, nothing), seed=seed)
    return [{name: value for name, value in asdict(row).items() if name != "real"} for row in rows]
