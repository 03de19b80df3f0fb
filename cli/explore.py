"""What the latent space of a model can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import parse_size, print_result, say


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("-n", "--samples", type=click.IntRange(min=16), default=256, show_default=True, help="Seeds from 0.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Directions to look at.")
@click.option("--only", "names", multiple=True, metavar="DESCRIPTOR", help="Measure this only (repeatable).")
@click.option("--rows", type=click.IntRange(min=1), default=3, show_default=True, help="Walks along each direction.")
@click.option("--steps", "frames", type=click.IntRange(min=3), default=7, show_default=True, help="Frames of a walk.")
@click.option("--set-condition", "wishes", multiple=True, metavar="NAME=VALUE", help="Ask for a value (repeatable).")
@click.option("--size", "shape", type=parse_size, metavar="[Zx]YxX", help="Grid points; default: training patch.")
@click.option("--preset", help="fast, standard (default), heun, euler, ddim; only samplers that add no noise.")
@click.option("--sampling-steps", "steps", type=click.IntRange(min=2), help="Noise levels instead of the preset's.")
@click.option(
    "--guidance", type=click.FloatRange(min=0), help="1 as trained (default); more exaggerates the condition."
)
def command(model: Path, out: Path, names: tuple[str, ...], wishes: tuple[str, ...], **options: Any) -> None:
    """Find what the latent space of a model can do: directions, and what each moves.

    OUT gets explore.json, directions.png (walks along the directions in which samples change most), directions.h5, and
    codes_PART.png (rank correlations of single latent numbers with descriptors). Small parts of the latent, like the
    codes of an InfoGAN, get a table of disentanglement. Library twin: microgen.generate.explore_to_folder.

    \b
    Example:  microgen explore runs/infogan what -n 256 --only grain_size_um --only orientation_deg
    """
    from microgen.core import Condition
    from microgen.generate import explore_to_folder

    from .walks import parse_values

    given = {name: value for name, value in options.items() if value is not None}
    condition = Condition(parse_values(wishes))
    print_result(explore_to_folder(model, out, names=names or None, condition=condition, say=say, **given))
