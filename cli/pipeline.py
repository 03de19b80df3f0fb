"""From a folder of micrographs to a model, samples and a report: what `microgen fit` and `microgen demo` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from microgen.core import ConditionSpec
from microgen.core.config import Config, merge
from microgen.core.files import write_json
from microgen.train.config import flatten

from .fit_samples import Samples, make_samples
from .stages import Stages

Say = Callable[[str], None]


class FitSettings(Config):
    """What can be set about a fit; everything else is in the plan that prepare writes."""

    pixel_size_um: tuple[str, ...] = Field((), description="pixel size, or PATTERN=VALUE, where the files do not say")
    crop_bottom: NonNegativeInt | None = Field(None, description="rows of the data bar")
    field: str | None = Field(None, description="field to learn, where files hold several that could be")
    volume: bool = Field(False, description="the pages of a file are one volume")
    slices: bool = Field(False, description="each folder is a volume, its pictures are the slices")
    threshold: float | Literal["otsu"] | None = Field(None, description="split gray into two phases here")
    labels: Literal["phase", "grain"] | None = Field(None, description="the values are numbers of phases or grains")
    phase_names: tuple[str, ...] = Field((), description="names of the phases, by ascending value")
    dataset: str | None = Field(None, description="array or map inside HDF5 files that hold several")
    raw_shape: tuple[PositiveInt, ...] | None = Field(None, description="grid of .raw files")
    raw_dtype: str | None = Field(None, description="number type of .raw files")
    euler_frame: str | None = Field(None, description="frame of the Euler angles in orientation maps")
    minutes: PositiveFloat | None = Field(None, description="training time instead of the plan's images")
    seed: NonNegativeInt = Field(0, description="fixes the split, the training and the samples")
    values: tuple[float, ...] = Field((), description="values to ask for; none: five that real images show")
    samples_per_value: PositiveInt = Field(64, description="samples for each value asked for")
    samples_like_held_out: PositiveInt = Field(96, description="samples with the sizes of the held-out images")
    plan: tuple[str, ...] = Field((), description="key=value settings of the plan")
    sample: dict[str, Any] = Field(default_factory=dict, description="options of sampling")
    windows: PositiveInt = Field(192, description="windows of each set that the report compares")

    @field_validator("plan")
    @classmethod
    def _one_process(cls, plan: tuple[str, ...]) -> tuple[str, ...]:
        if flatten(merge({}, plan)).get("train.devices", 1) != 1:
            raise ValueError("fit trains in one process; use microgen train --devices, then sample and evaluate")
        return plan


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
    samples = make_samples(paths, condition, settings, stages, say)
    evaluated = _evaluate(paths, samples, settings, stages)
    draw_gallery(paths.gallery, paths, condition, evaluated["requested"], samples)
    summary = {
        "out": str(out),
        **{name: str(path) for name, path in paths.named().items()},
        "samples_made": len(samples.like_held_out) + len(samples.at_values),
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


DATA = frozenset({
    "pixel_size_um", "crop_bottom", "field", "volume", "slices", "threshold", "labels", "phase_names", "dataset",
    "raw_shape", "raw_dtype", "euler_frame", "seed",
})  # fmt: skip
"""Settings that are arguments of :func:`microgen.data.prepare`."""


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
    return next((spec for spec in found if spec.scale not in ("axial", "class")), None)


def _prepare(
    inputs: list[Path], paths: Paths, settings: FitSettings, say: Say, *, dry_run: bool = False
) -> dict[str, Any]:
    from microgen.data import prepare

    said = {name: getattr(settings, name) for name in DATA}
    return prepare(inputs, paths.data, **said, dry_run=dry_run, say=say)


def _train(paths: Paths, settings: FitSettings, say: Say) -> dict[str, Any]:
    from microgen.train.run import train

    minutes = [f"train.minutes={settings.minutes}"] if settings.minutes else []
    wanted = [f"train.seed={settings.seed}", *minutes, *settings.plan]
    return train(paths.data, paths.run, plan=paths.plan, settings=wanted, say=say)


def _evaluate(paths: Paths, samples: Samples, settings: FitSettings, stages: Stages) -> dict[str, Any]:
    return stages.do(
        "evaluate",
        lambda: _compared(paths, samples, settings),
        settings={"windows": settings.windows, "seed": settings.seed},
        reads=[paths.data, *samples.like_held_out, *samples.at_values],
        writes=[paths.report, paths.report.with_suffix(".json")],
    )


def _compared(paths: Paths, samples: Samples, settings: FitSettings) -> dict[str, Any]:
    from microgen.evaluate.files import evaluate_files
    from microgen.models.card import write_card

    found = evaluate_files(
        paths.data,
        samples.like_held_out,
        conditioned=samples.at_values,
        max_windows=settings.windows,
        seed=settings.seed,
    )
    found.to_html(paths.report)
    found.to_json(paths.report.with_suffix(".json"))
    numbers = found.to_dict()
    write_card(paths.model, report=numbers)
    return {
        "headline": numbers["headline"],
        "verdict": numbers["verdict"],
        "ratios": {row["descriptor"]: row["ratio"] for row in numbers["rows"]},
        "requested": [row for row in numbers["obeyed"] if samples.at_values and row["n"]],
    }
