"""Make classical synthetic structures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from microgen.core import InputError

from .options import parse_size, print_result, say


@click.command()
@click.argument("kind", type=click.Choice(["polycrystal", "two-phase", "spinodal"]))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("-n", "count", type=click.IntRange(min=1), help="Number of structures: short for --seeds 0-(n-1).")
@click.option("--seeds", help="Which structures, like 0-9,15; one seed is one structure.  [default: 0]")
@click.option("--size", type=parse_size, default="256x256", show_default=True, metavar="[Zx]YxX", help="Grid points.")
@click.option("--pixel-size-um", type=float, required=True, help="Distance of grid points in micrometres.")
@click.option("--grain-size-um", metavar="F|LOW:HIGH", help="Mean lineal intercept of the grains (polycrystal).")
@click.option("--aspect-ratio", metavar="F|LOW:HIGH", help="Length over width of the grains (polycrystal).")
@click.option("--direction-deg", metavar="F|LOW:HIGH", help="Direction of their length, 0 along x (polycrystal).")
@click.option("--fraction", metavar="F|LOW:HIGH", help="Fraction of phase 1 (two-phase, spinodal).")
@click.option("--length-um", metavar="F|LOW:HIGH", help="Correlation length, or wavelength of a spinodal structure.")
@click.option("--periodic/--not-periodic", default=None, help="Whether structures go on over their edges.")
@click.option("--format", "file_format", type=click.Choice(["png", "tif", "h5"]), help="[default: png, h5 in 3-D]")
@click.option("--dry-run", is_flag=True, help="Say what would be made, and make nothing.")
def command(
    kind: str,
    out: Path,
    count: int | None,
    seeds: str | None,
    size: tuple[int, ...],
    pixel_size_um: float,
    periodic: bool | None,
    file_format: str | None,
    dry_run: bool,
    **wishes: str | None,
) -> None:
    """Make classical synthetic microstructures: polycrystals and two-phase fields.

    OUT gets one file per seed with its scale and its recipe. A polycrystal in 2-D is drawn as an etched micrograph
    (.h5 keeps its grain numbers too). LOW:HIGH draws a value per seed, evenly on a logarithmic scale.
    Files that are there already and have the same recipe are kept.
    Library twins: microgen.synth.polycrystal, render_micrograph, two_phase, spinodal.

    \b
    Example:  microgen synth polycrystal micrographs -n 20 --pixel-size-um 0.5 --grain-size-um 5:20
    """
    shape = list(size)
    ending = file_format or ("png" if len(shape) == 2 else "h5")
    base = {"kind": kind, "shape": shape, "spacing": [pixel_size_um] * len(shape)}
    jobs = []
    for seed in _seeds(count, seeds):
        values = {name: _drawn(name, text, seed) for name, text in wishes.items() if text is not None}
        if periodic is not None:
            values["periodic"] = periodic
        jobs.append((out / f"seed_{seed:06d}.{ending}", {**base, "seed": seed, "parameters": values}))
    made = 0 if dry_run else sum(_write(path, details) for path, details in jobs)
    say(f"{out}: {len(jobs)} structures, {made} made now")
    print_result({"out": str(out), "count": len(jobs), "made": made, "files": [path.name for path, _ in jobs]})


def make(details: Mapping[str, Any]) -> Any:
    """Make the structure that a recipe describes: kind, seed, shape, spacing and parameters."""
    from microgen.synth import KINDS

    try:
        return KINDS[details["kind"]](
            details["seed"], details["shape"], tuple(details["spacing"]), **details["parameters"]
        )
    except TypeError as error:
        problem = str(error).partition("()")[2].strip() or str(error)
        raise InputError(f"{details['kind']}: {problem.replace('_', '-')}; see microgen synth --help") from error


def _write(path: Path, details: dict[str, Any]) -> bool:
    from microgen import io
    from microgen.core.recipe import recipe

    now = recipe("synth", **details)
    if path.exists() and io.read_recipe(path) == now:
        return False
    io.write(path, make(details), now)
    return True


def _seeds(count: int | None, seeds: str | None) -> list[int]:
    from microgen.core.seeds import parse_seeds

    if count and seeds:
        raise click.UsageError("give -n or --seeds, not both")
    return list(range(count)) if count else parse_seeds(seeds or "0")


def _drawn(name: str, text: str, seed: int) -> float:
    """Read a number, or draw one for this seed from LOW:HIGH."""
    from microgen.core.seeds import rng

    option = "--" + name.replace("_", "-")
    try:
        low, _, high = text.partition(":")
        bounds = float(low), float(high or low)
    except ValueError:
        raise click.BadParameter(f"write a number or LOW:HIGH, not {text!r}", param_hint=option) from None
    if bounds[0] == bounds[1]:
        return bounds[0]
    if bounds[0] > bounds[1]:
        raise click.BadParameter(f"{text!r} runs backwards", param_hint=option)
    part = float(rng(seed, *name.encode()).random())
    if bounds[0] > 0 and name != "direction_deg":
        return float(bounds[0] * (bounds[1] / bounds[0]) ** part)
    return float(bounds[0] + (bounds[1] - bounds[0]) * part)
