"""Give it a folder of micrographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import (
    check_values,
    config_options,
    field_option,
    print_result,
    reading_options,
    say,
    value_options,
    volume_options,
)


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="FOLDER...", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--pixel-size-um",
    multiple=True,
    metavar="UM|PATTERN=UM",
    help="Micrometres per pixel, where the files do not say; PATTERN= for files whose path ends so (repeatable).",
)
@click.option("--crop-bottom", type=click.IntRange(min=0), metavar="ROWS", help="Cut off a data bar.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Train about this long, in minutes.")
@click.option("--seed", type=click.IntRange(min=0), help="Fixes the split, the training and the samples.  [default: 0]")
@field_option
@volume_options
@value_options
@reading_options
@config_options
@click.option("--dry-run", is_flag=True, help="Read, measure and plan; write nothing.")
def command(
    inputs: tuple[Path, ...],
    out: Path,
    pixel_size_um: tuple[str, ...],
    crop_bottom: int | None,
    minutes: float | None,
    seed: int | None,
    config: str | None,
    settings: tuple[str, ...],
    dry_run: bool,
    **data: Any,
) -> None:
    """Give it a folder of micrographs: prepare, train, sample and evaluate in one.

    OUT will hold the data set with its plan, the run with the model, 64 samples at each of five sizes that real
    images show, samples with the sizes of the held-out images, one picture of them, the report and a summary. The
    same command again goes on where it was interrupted and skips what is done. --config and --set change the other
    settings (samples_per_value=16, values=[10,20,40], sample.preset=fine) and, under plan, those of the plan
    (plan=["train.batch=32"]). What files hold is said as to microgen prepare.
    Library twins: microgen.data.prepare, microgen.train.train, microgen.generate.sample_to_folder,
    microgen.evaluate.evaluate.

    \b
    Example:  microgen fit micrographs/ steel/ --pixel-size-um 0.37 --minutes 45
    """
    from microgen.core.config import merge, read_toml, validate
    from microgen.core.files import lock

    from .pipeline import FitSettings, fit, preview

    check_values(**{name: data[name] for name in ("threshold", "labels", "phase_names")})
    given = {"pixel_size_um": pixel_size_um or None, "crop_bottom": crop_bottom, "minutes": minutes, "seed": seed}
    given |= {name: value or None for name, value in data.items()} | {"threshold": data["threshold"]}
    table = read_toml(config) if config else {}
    table = merge(table | {name: value for name, value in given.items() if value is not None}, settings)
    chosen = validate(FitSettings, table, where="settings of fit")
    if dry_run:
        print_result(preview(inputs, out, chosen, say=say))
        return
    with lock(out / ".lock"):
        print_result(fit(inputs, out, chosen, say=say))
