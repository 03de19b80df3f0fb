"""Ask a model for new structures."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import click

from microgen.core import Condition, InputError

from .options import parse_size, print_result


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--seeds", default="0-15", show_default=True, help="Which samples, like 0-9,15; one seed is one sample.")
@click.option(
    "--set-condition",
    "wishes",
    multiple=True,
    metavar="NAME=VALUE[,VALUE...]",
    help="Ask for a value in physical units or a label; several values give one folder each (repeatable).",
)
@click.option(
    "--size",
    type=parse_size,
    metavar="[Zx]YxX",
    help="Grid points, 512x768 or 96x96x96; default: training patch.",
)
@click.option("--periodic", is_flag=True, help="Make structures that tile without a seam.")
@click.option("--preset", help="draft, fast, standard (default), fine, heun, euler, ddim, ddpm.")
@click.option("--sampler", help="Sampler instead of the preset's.")
@click.option("--schedule", help="Noise levels instead of the preset's: karras, exponential, narrow, discrete.")
@click.option("--steps", type=click.IntRange(min=1), help="Number of noise levels instead of the preset's.")
@click.option(
    "--guidance", type=click.FloatRange(min=0), help="1 as trained (default); more exaggerates the condition."
)
@click.option(
    "--guidance-interval", type=(float, float), metavar="LOW HIGH", help="Noise levels between which guidance holds."
)
@click.option("--exact", is_flag=True, help="Hold the phase_fraction asked for exactly, by moving the threshold.")
@click.option("--window", type=click.IntRange(min=16), help="Side of the windows in which large canvases are made.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="Arithmetic.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["png", "tif", "h5", "npy", "vti"]),
    help="[default: png; tif where numbers do not fit into it, h5 for volumes]",
)
@click.option("--batch", type=click.IntRange(min=1), help="Samples in work at a time; results do not depend on it.")
@click.option("--devices", type=click.IntRange(min=1), default=1, show_default=True, help="Processes, one per device.")
@click.option("--extrapolate", is_flag=True, help="Allow values outside the range the model was trained on.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be made, and make nothing.")
def command(
    model: Path,
    out: Path,
    seeds: str,
    wishes: tuple[str, ...],
    size: tuple[int, ...] | None,
    file_format: str | None,
    devices: int,
    dry_run: bool,
    **options: Any,
) -> None:
    """Ask a model for new structures by seed, condition and size.

    MODEL is a model file or the folder of a training run; OUT gets one file per seed with its scale and its recipe.
    The same command again goes on where it was stopped, and any number of processes (here, or under torchrun, SLURM,
    LSF, MPI) may fill one folder together: each sample is made once, and does not depend on who makes it.
    Library twin: microgen.generate.sample_to_folder.

    \b
    Example:  microgen sample runs/steel out --seeds 0-99 --set-condition grain_size_um=12 --size 512x512
    """
    from microgen.core.seeds import parse_seeds

    arguments = {
        "model": model,
        "out": out,
        "seeds": parse_seeds(seeds),
        "conditions": _conditions(wishes, _classes(model) if wishes else ()),
        "shape": size,
        "file_format": file_format,
        **{name: value for name, value in options.items() if value is not None and value is not False},
    }
    if dry_run:
        from microgen.generate import preview_request

        print_result(preview_request(**arguments))
        return
    _sample(arguments, devices)


def _sample(arguments: dict[str, Any], devices: int) -> None:
    from microgen.generate import condition_folders, launch, sample_to_folder, worker_of_environment
    from microgen.generate.sampling import usual_format
    from microgen.generate.watch import Watch
    from microgen.models.file import find_model, read_header

    codec = read_header(find_model(arguments["model"]))["codec"]
    arguments["file_format"] = arguments["file_format"] or usual_format(len(codec["spacing_um"]), codec["dtype"])
    rank, count, local = worker_of_environment()
    folders = condition_folders(arguments["out"], arguments["conditions"])
    total = len(folders) * len(arguments["seeds"])
    started = time.monotonic()
    with Watch(folders, arguments["file_format"], total, _Line(quiet=rank > 0)):
        if devices > 1:
            result = launch(devices, arguments)
        else:
            device = f"cuda:{local}" if count > 1 and _has_gpu() else "auto"
            result = sample_to_folder(**arguments, worker=(rank, count), device=device)
    if rank == 0:
        seconds = time.monotonic() - started
        skipped = result["count"] - result["made"]
        speed = {"seconds": round(seconds, 2), "images_per_s": round(result["made"] / seconds, 3)}
        print_result({"out": str(arguments["out"]), **result, "skipped": skipped, **speed})


class _Line:
    """The progress line: renewed in place on a terminal, a new line now and then elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet, self._terminal, self._last = quiet, sys.stderr.isatty(), time.monotonic()

    def __call__(self, done: int, expected: int, rate: float) -> None:
        now = time.monotonic()
        if self._quiet or (not self._terminal and now < self._last + 10 and done < expected):
            return
        self._last = now
        to_go = f"{(expected - done) / rate:.0f} s to go" if rate and done < expected else ""
        text = f"sampling  {done} of {expected}  {rate:.3g} images/s  {to_go}"
        click.echo(f"\r{text:<70}" if self._terminal else text, err=True, nl=not self._terminal or done >= expected)


def _conditions(wishes: Sequence[str], classes: Collection[str]) -> list[Condition]:
    """Every combination of the values asked for; those of `classes` are labels."""
    values: dict[str, list[float | str]] = {}
    for wish in wishes:
        name, found, text = (part.strip() for part in wish.partition("="))
        parts = [part.strip() for part in text.split(",")]
        try:
            wanted: list[float | str] = [part if name in classes else float(part) for part in parts]
        except ValueError:
            found = ""
        if not found or not all(parts) or name in values:
            raise InputError(f"conditions are written once each as name=value or name=value,value; {wish!r} is not")
        values[name] = wanted
    return [Condition(dict(zip(values, some, strict=True))) for some in itertools.product(*values.values())]


def _classes(model: Path) -> set[str]:
    """Names of the conditions of a model that are classes."""
    from microgen.models.file import find_model, read_header

    return {spec["name"] for spec in read_header(find_model(model))["conditions"] if spec.get("labels")}


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())
