"""How to sample: presets by name, each value overridable, and the run they amount to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from microgen.core import InputError
from microgen.core.config import Config, validate
from microgen.models import schedules
from microgen.models.guidance import check_interval
from microgen.models.precondition import Preconditioning
from microgen.models.samplers import SAMPLERS, Callback, Denoise, Noise


@dataclass(frozen=True)
class Preset:
    """A sampler with the schedule and number of steps it is good with.

    Attributes
    ----------
    sampler, schedule
        Rows of ``SAMPLERS`` and ``SCHEDULES``; the schedule ``"discrete"`` is the model's own table of steps.
    steps
        Number of noise levels.
    settings
        Further arguments of the sampler.
    meaning
        One line for tables.
    """

    sampler: str
    schedule: str
    steps: int
    meaning: str
    settings: Mapping[str, float] = field(default_factory=dict)


PRESETS: dict[str, Preset] = {
    "draft": Preset("dpmpp_2m", "narrow", 4, "4 evaluations: first looks; the finest texture is missing"),
    "fast": Preset("dpmpp_2m", "exponential", 10, "10 evaluations: previews, large batches"),
    "standard": Preset("dpmpp_2m", "exponential", 20, "20 evaluations: the default"),
    "fine": Preset("heun", "exponential", 40, "79 evaluations, with fresh noise that heals errors", {"churn": 4.0}),
    "heun": Preset("heun", "karras", 18, "35 evaluations: the deterministic sampler of Karras et al. 2022"),
    "euler": Preset("euler", "exponential", 50, "50 evaluations: first order, for comparison"),
    "ddim": Preset("ddim", "discrete", 50, "50 evaluations on the model's own steps (Song et al. 2021)"),
    "ddpm": Preset("ddpm", "discrete", 1000, "1000 evaluations: ancestral (Ho et al. 2020)"),
}
"""Named ways to sample; the error of each is tested on data whose exact denoiser is known."""


class SampleOptions(Config):
    """Everything besides model, seed, condition and shape that decides what a sample looks like.

    Examples
    --------
    >>> SampleOptions(preset="fast").resolved().steps
    10
    """

    preset: str = Field("standard", description=f"one of {', '.join(PRESETS)}")
    sampler: str | None = Field(None, description="sampler instead of the preset's")
    schedule: str | None = Field(None, description="noise schedule instead of the preset's")
    steps: PositiveInt | None = Field(None, description="noise levels instead of the preset's")
    guidance: float = Field(1.0, ge=0, description="1: as trained; above: exaggerates the condition")
    guidance_interval: tuple[float, float] | None = Field(None, description="noise levels where guidance holds")
    periodic: bool = Field(False, description="samples tile without a seam")
    truncation: float = Field(1.0, ge=0, le=1, description="1: as trained; below: nearer to the mean sample (stylegan)")
    exact: bool = Field(False, description="hold the phase fraction asked for exactly, by moving the threshold")
    window: PositiveInt | None = Field(None, description="side of the windows of large canvases in grid points")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the machine has it")

    def resolved(self) -> Preset:
        """Return the preset with the overrides laid over it.

        Raises
        ------
        InputError
            For names that are not in the tables; the message lists those that are.
        """
        base = PRESETS[_known("preset", self.preset, PRESETS)]
        sampler = _known("sampler", self.sampler or base.sampler, SAMPLERS)
        schedule = _known("schedule", self.schedule or base.schedule, [*schedules.SCHEDULES, "discrete"])
        settings = base.settings if sampler == base.sampler else {}
        return Preset(sampler, schedule, self.steps or base.steps, base.meaning, settings)

    def noted(self) -> dict[str, Any]:
        """Return what decides a sample, JSON-able: ``SampleOptions(**noted)`` asks for the same."""
        preset = self.resolved()
        resolved = {"sampler": preset.sampler, "schedule": preset.schedule, "steps": preset.steps}
        return {**self.model_dump(mode="json", exclude_defaults=True), "preset": self.preset, **resolved}


class OnePass(SampleOptions):
    """Options of families that make a sample in one pass of the network: there are no steps to choose."""

    def noted(self) -> dict[str, Any]:
        """Return what decides a sample, JSON-able: ``SampleOptions(**noted)`` asks for the same."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude={"preset"})


def one_pass(options: SampleOptions, family: str, *, understood: Collection[str] = ()) -> OnePass:
    """Return `options` for a family without steps; presets, which are numbers of steps, are all the same to it.

    Parameters
    ----------
    understood
        Options that mean something to this family, though not to others without steps.

    Raises
    ------
    InputError
        For options that have no meaning without steps.
    """
    left_over = ("sampler", "schedule", "steps", "guidance", "guidance_interval", "truncation", "window")
    unknown = [name for name in left_over if name not in understood]
    given = [name for name in unknown if getattr(options, name) != type(options).model_fields[name].default]
    if given:
        raise InputError(f"a model of the family {family} makes a sample in one pass; leave out {', '.join(given)}")
    return OnePass(**options.model_dump())


def sample_options(values: Mapping[str, Any]) -> SampleOptions:
    """Check options given by name, the names of preset, sampler and schedule included."""
    options = validate(SampleOptions, values, where="sample options")
    options.resolved()
    return options


def integrate(
    denoise: Denoise,
    start: Tensor,
    options: SampleOptions,
    precondition: Preconditioning,
    *,
    noise: Noise | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Run the sampler that `options` name, from pure noise to clean encoded samples ``(B, C, *S)``.

    Parameters
    ----------
    start
        White noise of unit variance, ``(B, C, *S)``.
    noise
        What samplers that add noise on the way draw it from.

    Raises
    ------
    InputError
        If the sampler adds noise on the way and is given none.
    """
    preset, sigmas = options.resolved(), noise_levels(options, precondition)
    settings: dict[str, Any] = dict(preset.settings)
    return SAMPLERS[preset.sampler](
        denoise, start * float(sigmas[0]), sigmas, noise=noise, callback=callback, **settings
    )


def noise_levels(options: SampleOptions, precondition: Preconditioning) -> Tensor:
    """Return the falling noise levels, float64 ``(steps + 1,)`` with a last 0, that `options` name for a model.

    Raises
    ------
    InputError
        If the schedule has no such number of steps.
    """
    preset = options.resolved()
    if preset.schedule == "discrete":
        return schedules.discrete(precondition.table, preset.steps)
    return schedules.SCHEDULES[preset.schedule](preset.steps, precondition.sigma_min, precondition.sigma_max)


def fitted(options: SampleOptions, precondition: Preconditioning) -> SampleOptions:
    """Return `options` with no more steps of a preset than the model has, if they can be sampled with at all.

    Raises
    ------
    InputError
        If the schedule has no such number of steps, or the guidance interval is empty.
    """
    preset = options.resolved()
    if preset.schedule == "discrete" and options.steps is None and preset.steps > len(precondition.table):
        options = options.model_copy(update={"steps": len(precondition.table)})
    noise_levels(options, precondition)
    if options.truncation != 1:
        raise InputError("truncation means nothing to a diffusion model; lower guidance, or leave it out")
    if options.guidance_interval is not None:
        check_interval(*options.guidance_interval)
    return options


def resolve_precision(wanted: str, device: torch.device) -> Literal["fp32", "bf16"]:
    """Turn ``"auto"`` into ``"bf16"`` where `device` has that in hardware, else ``"fp32"``."""
    if wanted != "auto":
        return "bf16" if wanted == "bf16" else "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "bf16" if device.type == "cpu" and probe is not None and probe() else "fp32"


def _known(what: str, name: str, table: Mapping[str, Any] | list[str]) -> str:
    if name not in table:
        raise InputError(f"there is no {what} {name!r}; choose one of {', '.join(table)}")
    return name
