"""Walk through the latent space of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import parse_size, print_result, say


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--seeds", help="Stations to walk between, like 3,7,12; with --along or --code one row for each.")
@click.option("--along", metavar="NAME=LOW:HIGH", help="Walk along a condition of the model, or a descriptor.")
@click.option("--code", metavar="PART.INDEX=LOW:HIGH", help="Walk along one number of the latent, like codes.0=-1:1.")
@click.option(
    "--between",
    "inputs",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Real micrograph to walk between, instead of samples; give two or more.",
)
@click.option(
    "--steps", "frames", type=click.IntRange(min=3), default=9, show_default=True, help="Frames per row or leg."
)
@click.option(
    "--how",
    type=click.Choice(["spherical", "straight"]),
    default="spherical",
    show_default=True,
    help="Way of the latent.",
)
@click.option("--calibrate", is_flag=True, help="Ask for the values with which the measured ones are as wanted.")
@click.option("--set-condition", "wishes", multiple=True, metavar="NAME=VALUE", help="Ask for a value (repeatable).")
@click.option("--size", "shape", type=parse_size, metavar="[Zx]YxX", help="Grid points; default: training patch.")
@click.option("--preset", help="fast, standard (default), heun, euler, ddim; only samplers that add no noise.")
@click.option("--sampling-steps", "steps", type=click.IntRange(min=2), help="Noise levels instead of the preset's.")
@click.option(
    "--guidance", type=click.FloatRange(min=0), help="1 as trained (default); more exaggerates the condition."
)
@click.option(
    "--learn-from", type=click.IntRange(min=40), default=256, show_default=True, help="Samples of a direction."
)
@click.option(
    "--references", type=click.IntRange(min=8), default=24, show_default=True, help="Samples to compare with."
)
@click.option("--fps", type=click.FloatRange(min=0.1), default=6.0, show_default=True, help="Speed of the animation.")
@click.option("--crop", is_flag=True, help="Cut the middle out of the pictures of --between, of the size of the model.")
@click.option("--resample", is_flag=True, help="Bring the pictures of --between to the pixel size of the model.")
@click.option("--pixel-size-um", type=float, metavar="F", help="Pixel size of the pictures of --between.")
@click.option("--extrapolate", is_flag=True, help="Allow values outside the range the model was trained on.")
def command(
    model: Path,
    out: Path,
    seeds: str | None,
    along: str | None,
    code: str | None,
    inputs: tuple[Path, ...],
    wishes: tuple[str, ...],
    crop: bool,
    resample: bool,
    pixel_size_um: float | None,
    **options: Any,
) -> None:
    """Walk through the latent space of a model, from sample to sample or along what can be measured.

    OUT gets the frames, strip.png, path.gif, path.h5 (frames, latents, conditions) and path.json: what was asked for,
    what is measured in each frame, and whether any looks like a cross-fade. Without --along, --code or --between the
    walk goes from seed to seed. Library twin: microgen.generate.interpolate_to_folder.

    \b
    Example:  microgen interpolate runs/steel walk --along grain_size_um=5:12 --seeds 0-3 --size 256x256
    """
    from microgen.core import Condition
    from microgen.core.seeds import parse_seeds
    from microgen.generate import interpolate_to_folder

    from .walks import parse_range, parse_values, real_pictures

    given = {name: value for name, value in options.items() if value is not None and value is not False}
    rows = along or code
    print_result(
        interpolate_to_folder(
            model,
            out,
            seeds=[] if inputs else parse_seeds(seeds or ("0-3" if rows else "0,1")),
            along=parse_range(along) if along else None,
            code=parse_range(code) if code else None,
            between=real_pictures(model, inputs, crop=crop, resample=resample, pixel_size_um=pixel_size_um),
            condition=Condition(parse_values(wishes)),
            say=say,
            **given,
        )
    )
