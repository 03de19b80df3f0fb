"""The whole story on embedded data."""

from __future__ import annotations

from pathlib import Path

import click

from .options import config_lines, config_options, print_result, say


@click.command()
@click.argument("out", default="demo_out", type=click.Path(file_okay=False, path_type=Path))
@config_options
@click.option("--dry-run", is_flag=True, help="Show the settings and make nothing.")
def command(out: Path, config: str | None, settings: tuple[str, ...], dry_run: bool) -> None:
    """The whole story on the embedded data: prepare, train, sample, evaluate.

    Makes synthetic micrographs of etched polycrystals, learns them with a small diffusion model, asks it for three
    grain sizes, and compares with pictures it never saw. OUT (by default demo_out) will hold the micrographs, the
    model, the samples, one picture of them and the report. Nothing is downloaded. The same command again goes on
    where it was interrupted. --config and --set change the recipe (fit.minutes=10).
    Library twins: those of microgen fit, and microgen.synth.

    \b
    Example:  microgen demo demo_out
    """
    from microgen.core.files import lock

    from .embedded import demo, read_recipe

    recipe = read_recipe([*config_lines(config), *settings])
    if dry_run:
        print_result(recipe.model_dump(mode="json"))
        return
    with lock(out / ".lock"):
        print_result(demo(out, recipe, say=say))
