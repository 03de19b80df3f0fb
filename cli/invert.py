"""Search the latent space of a model for a given micrograph, or for what a structure shall measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from microgen.core import InputError

from .options import parse_size, print_result, reading_options, say


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("paths", metavar="[IMAGE] OUT", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME=VALUE|NAME=FILE|FILE",
    help="What the structure shall measure: a number, a curve (CSV of distance_um,value), what a picture measures, or "
    "the five descriptors of a picture (repeatable).",
)
@click.option("--tolerance", type=click.FloatRange(min=0), default=0.02, show_default=True, help="Largest error.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Different solutions.")
@click.option("--budget", type=click.IntRange(min=1), default=4000, show_default=True, help="Samples per solution.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="First seed of the search.")
@click.option("--set-condition", "wishes", multiple=True, metavar="NAME=VALUE", help="Do not search this condition.")
@click.option("--threshold", type=float, metavar="VALUE", help="Gray values above this are the phase that is measured.")
@click.option(
    "--material",
    "materials",
    multiple=True,
    metavar="NAME=VALUE,VALUE..",
    help="Constant of each phase: conductivity, young, poisson; for --target conductivity=.. or stiffness_xx=..",
)
@click.option("--size", "shape", type=parse_size, metavar="[Zx]YxX", help="Grid points; default: training patch.")
@click.option("--starts", type=click.IntRange(min=0), default=4, show_default=True, help="Seeds to begin a twin at.")
@click.option("--iterations", type=click.IntRange(min=1), default=200, show_default=True, help="Steps of Adam.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), default=0.1, show_default=True, help="Of Adam.")
@click.option("--siblings", type=click.IntRange(min=0), default=0, help="Further samples like the twin.")
@click.option(
    "--distance", type=click.FloatRange(0, 1), default=0.3, show_default=True, help="Of siblings; 1 is unrelated."
)
@click.option("--preset", help="fast, standard (default), heun, euler, ddim; only samplers that add no noise.")
@click.option("--sampling-steps", type=click.IntRange(min=2), help="Noise levels instead of the preset's.")
@click.option("--crop", is_flag=True, help="Cut the middle out of IMAGE, of the size of the model's patch.")
@click.option("--resample", is_flag=True, help="Bring IMAGE to the pixel size of the model.")
@click.option("--pixel-size-um", type=float, metavar="F", help="Pixel size of pictures that do not know it.")
@click.option("--crop-bottom", type=click.IntRange(min=0), metavar="ROWS", help="Rows of data bar to cut off.")
@click.option("--volume", is_flag=True, help="The pages of IMAGE are one volume.")
@reading_options
def command(
    model: Path,
    paths: tuple[Path, ...],
    targets: tuple[str, ...],
    wishes: tuple[str, ...],
    threshold: float | None,
    materials: tuple[str, ...],
    preset: str | None,
    sampling_steps: int | None,
    **options: Any,
) -> None:
    """Find the latent from which a model reproduces a micrograph, or makes what measures as wanted.

    With IMAGE: its digital twin. OUT gets the twin, its latent, the residual, a comparison and invert.json: residual,
    variance explained, descriptors of both. With --target instead: structures that measure as wanted within
    --tolerance, verified on the files that are written; conditions that are not set are searched, too. Ends with exit
    code 6 if the budget was spent before; the best found is written. The same command again goes on where it was.
    Library twins: microgen.generate.invert_to_folder, search_to_folder.

    \b
    Example:  microgen invert runs/steel steel.png twin --crop
              microgen invert runs/steel wanted --target mean_intercept_um=8 --target s2=curve.csv --count 3
    """
    if len(paths) != (1 if targets else 2):
        raise click.UsageError("give MODEL IMAGE OUT, or MODEL OUT with --target; a picture can be a target, too")
    from microgen.core import Condition
    from microgen.generate.targets import Meaning

    from .walks import parse_values

    shared = {
        "condition": Condition(parse_values(wishes)),
        "meaning": Meaning(threshold, _constants(materials)),
        "seed": options["seed"],
        "say": say,
        **{name: v for name, v in {"preset": preset, "steps": sampling_steps}.items() if v is not None},
    }
    run = _search if targets else _twin
    run(model, paths, targets, options, shared)


def _twin(
    model: Path, paths: Sequence[Path], _: Sequence[str], options: dict[str, Any], shared: dict[str, Any]
) -> None:
    from microgen.generate import invert_to_folder

    structure = _picture(model, paths[0], options)
    names = ("starts", "iterations", "rate", "siblings", "distance")
    print_result(invert_to_folder(model, structure, paths[1], **{n: options[n] for n in names}, **shared))


def _search(
    model: Path, paths: Sequence[Path], targets: Sequence[str], options: dict[str, Any], shared: dict[str, Any]
) -> None:
    from microgen.generate import search_to_folder
    from microgen.generate.inversion_output import require_reached
    from microgen.generate.targets import parse

    wanted = parse(targets, shared["meaning"], lambda path: _picture(model, path, options, whole=True))
    names = ("count", "shape", "tolerance", "budget")
    found = search_to_folder(model, paths[0], wanted, **{n: options[n] for n in names}, **shared)
    print_result(found)
    require_reached(found)


def _picture(model: Path, path: Path, options: dict[str, Any], *, whole: bool = False) -> Any:
    """Read one picture with the field of the model, on its grid; the middle of it only where that is asked for."""
    from microgen import io
    from microgen.generate import find_model
    from microgen.models import read_header

    from .walks import of_size, on_grid

    reading = {n: options[n] for n in ("pixel_size_um", "crop_bottom", "dataset", "raw_shape", "raw_dtype")}
    found = io.read(path, **reading, euler_frame=options["euler_frame"], volume=options["volume"] or None)
    if len(found) > 1:
        raise InputError(f"{path} holds {len(found)} pictures; give one, or --volume")
    header = read_header(find_model(model))
    field, spacing = header["codec"]["field"], header["codec"]["spacing_um"]
    if field not in found[0]:
        raise InputError(f"{path} has no field {field!r}, which this model makes; it has {', '.join(found[0].fields)}")
    one = on_grid(found[0].replace(fields={field: found[0][field]}), spacing, path, resample=options["resample"])
    return of_size(one, header["patch"], path, crop=True) if options["crop"] and not whole else one


def _constants(texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Read ``NAME=VALUE,VALUE``, each name once."""
    found: dict[str, tuple[float, ...]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        try:
            found[name.strip()] = tuple(float(value) for value in values.split(","))
        except ValueError:
            raise InputError(f"constants are written name=value,value, one for each phase; {text!r} is not") from None
    return found
