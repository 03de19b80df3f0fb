"""Read micrographs, maps or volumes into one data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import (
    check_values,
    field_option,
    pixel_size_option,
    print_result,
    reading_options,
    say,
    value_options,
    volume_options,
)


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.h5")
@pixel_size_option
@click.option("--crop-bottom", type=click.IntRange(min=0), metavar="ROWS", help="Rows of data bar to cut off.")
@click.option(
    "--held-out", type=click.FloatRange(0, 0.5), default=0.2, show_default=True, help="Share kept back for evaluation."
)
@click.option(
    "--specimen",
    default="image",
    show_default=True,
    metavar="image | folder | REGEX",
    help="What counts as one specimen; a specimen is never split.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which specimens are held out.")
@field_option
@volume_options
@value_options
@reading_options
@click.option("--class-folders", metavar="NAME", help="The folder of an image is its class, like steel: 304, 435Q.")
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Column file, then one per condition: numbers (unit in the name) or classes.",
)
@click.option(
    "--condition",
    "conditions",
    multiple=True,
    metavar="NAME",
    help="Ask for this too, like orientation_deg or aspect_ratio (repeatable).",
)
@click.option("--skip-bad", is_flag=True, help="Leave out files that cannot be used instead of stopping.")
@click.option("--dry-run", is_flag=True, help="Measure and plan, write nothing.")
def command(inputs: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Read micrographs into one data set with its scale, fingerprint and plan.

    INPUTS are files and folders: pictures, orientation maps, volumes. Pixel sizes come from --pixel-size-um, from a
    pixel_sizes.toml in the folder (a table [pixel_size_um] of "subfolder" = 0.37), or from the files themselves. The
    plan beside OUT.h5 says how training will treat the data, and why: read it, edit it. Images that overlap are
    found and kept on one side of the split. The same command again does nothing. What values mean is said, never
    guessed: --threshold or --labels for segmented data, --field where files hold several fields. Maps are stored with
    their grains, and grain sizes are measured on those. What a model can be asked for is measured in the images; what
    cannot be seen in them is said by --class-folders or --table.
    Library twin: microgen.data.prepare.

    \b
    Example:  microgen prepare micrographs/ steel.h5 --pixel-size-um 0.37
              microgen prepare maps/ duplex.h5 --field phase
              microgen prepare ct.tif pores.h5 --volume --pixel-size-um 2,1,1 --threshold otsu
    """
    from microgen.data import prepare

    check_values(**{name: options[name] for name in ("threshold", "labels", "phase_names")})
    print_result(prepare(inputs, out, say=say, **options))
