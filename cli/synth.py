"""Make classical synthetic structures."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from microgen.core import InputError

from .options import parse_size, print_result, say

KINDS = [
    "polycrystal",
    "grown-polycrystal",
    "two-phase",
    "two-phase-like",
    "spinodal",
    "phase-separated",
    "particles",
    "fibres",
]
FORMATS = ["png", "tif", "h5", "vti", "dream3d", "ang", "ctf", "damask.vti", "inp", "tesr"]
NOISE = 0.1  # of the auto-covariance measured in one picture
MAPS = ("grain_size_um", "aspect_ratio", "direction_deg")  # what may be a formula of position
WORDS = ("texture", "distribution", "twin_law", "twin_phase", "render")
LISTS = ("aspect_ratio", "direction_deg")  # what may be a number for each axis


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("-n", "count", type=click.IntRange(min=1), help="Number of structures: short for --seeds 0-(n-1).")
@click.option("--seeds", help="Which structures, like 0-9,15; one seed is one structure.  [default: 0]")
@click.option("--size", type=parse_size, default="256x256", show_default=True, metavar="[Zx]YxX", help="Grid points.")
@click.option("--pixel-size-um", type=float, required=True, help="Distance of grid points in micrometres.")
@click.option(
    "--grain-size-um", metavar="F|LOW:HIGH|FORMULA", help="Mean lineal intercept of the grains (polycrystal)."
)
@click.option(
    "--diameter-um",
    metavar="F|LOW:HIGH",
    help="Mean equivalent diameter of the grains (Laguerre polycrystal) or particles; diameter of fibres.",
)
@click.option("--diameter-std-um", metavar="F|LOW:HIGH", help="Standard deviation of the equivalent diameters.")
@click.option("--distribution", type=click.Choice(["lognormal", "gamma", "normal"]), help="Law of the diameters.")
@click.option(
    "--lloyd-steps", type=click.IntRange(min=0), help="How compact grains are: 0 irregular, 5 (default), more."
)
@click.option("--walls", is_flag=True, default=None, help="Let grains of given diameters end at the edges.")
@click.option(
    "--aspect-ratio",
    metavar="F|LOW:HIGH|FORMULA",
    help="Length over width, or A,B,C along z,y,x (polycrystal).",
)
@click.option(
    "--direction-deg", metavar="F|LOW:HIGH|FORMULA", help="Direction of their length, 0 along x, or Euler angles."
)
@click.option(
    "--texture", metavar="TEXT", help="Orientations: random, 0.6*cube:10+0.4*random, <111>//z:8 (polycrystal)."
)
@click.option("--phases", metavar="NAME=SHARE,...", help="Phases of the grains, like ferrite=0.7,austenite=0.3.")
@click.option("--twins", metavar="F|LOW:HIGH", help="Fraction of the grains with twin lamellae (polycrystal).")
@click.option("--twin-width-um", metavar="F|LOW:HIGH", help="Median thickness of the lamellae.")
@click.option(
    "--twin-law", type=click.Choice(["annealing", "tension"]), help="Sigma 3, or {10-12} of hexagonal metals."
)
@click.option("--direction-std-deg", metavar="F|LOW:HIGH", help="Scatter of the direction (particles, fibres).")
@click.option("--fraction", metavar="F|LOW:HIGH", help="Fraction of phase 1, or of particles or fibres.")
@click.option(
    "--length-um",
    metavar="F|LOW:HIGH",
    help="Correlation length (two-phase), wavelength (spinodal, phase-separated), length of fibres.",
)
@click.option("--length-std-um", metavar="F|LOW:HIGH", help="Standard deviation of the length of fibres.")
@click.option("--gap-um", metavar="F|LOW:HIGH", help="Least distance of particles or fibres.")
@click.option(
    "--like",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Structure whose two-point statistics are copied (two-phase-like): phases, or gray split by Otsu.",
)
@click.option(
    "--render",
    type=click.Choice(["none", "optical", "backscatter", "ebsd"]),
    help="Draw sections as pictures or maps.  [default: optical for polycrystals, else none]",
)
@click.option("--twin-phase", metavar="NAME", help="Phase that twins, where several could.")
@click.option("--periodic/--not-periodic", default=None, help="Whether structures go on over their edges.")
@click.option("--format", "file_format", type=click.Choice(FORMATS), help="[default: png, h5 in 3-D, ang for maps]")
@click.option("--overwrite", is_flag=True, help="Replace files that this command did not make.")
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
    overwrite: bool,
    dry_run: bool,
    phases: str | None,
    like: Path | None,
    **wishes: Any,
) -> None:
    """Make classical synthetic microstructures: polycrystals, two-phase fields, particles and fibres.

    OUT gets one file per seed with its scale and its recipe. A polycrystal in 2-D is drawn as an etched micrograph
    (.h5 keeps its grain numbers too; .ang, .ctf and .dream3d get its crystals); --render draws others too.
    LOW:HIGH draws a value per seed, evenly on a logarithmic scale. FORMULA makes a graded structure, x, y and z run
    from 0 to 1: "8 + 20*y". Files that are there already and have the same recipe are kept, those
    of other settings of this KIND are made again; any other file is replaced only with --overwrite.
    Library twins: microgen.synth.polycrystal, laguerre, graded_polycrystal, crystallise, twins, render_micrograph,
    two_phase, spinodal, two_phase_like, phase_separated, grown_polycrystal, particles, fibres, scan_ebsd.

    \b
    Example:  microgen synth polycrystal micrographs -n 20 --pixel-size-um 0.5 --grain-size-um 5:20
              microgen synth polycrystal twinned --pixel-size-um 0.5 --diameter-um 12 --diameter-std-um 4 \\
                  --texture cube:10 --twins 0.3 --twin-width-um 1.5 --format ang
    """
    if kind == "polycrystal" and (wishes["grain_size_um"] is None) == (wishes["diameter_um"] is None):
        raise click.UsageError("a polycrystal needs either --grain-size-um or --diameter-um")
    if (kind == "two-phase-like") != (like is not None):
        raise click.UsageError("two-phase-like needs --like FILE, and nothing else takes it")
    if (wishes["twins"] is None) != (wishes["twin_width_um"] is None):
        raise click.UsageError("--twins and --twin-width-um go together")
    shape = list(size)
    usual = "h5" if len(shape) == 3 else "ang" if wishes["render"] == "ebsd" else "png"
    ending = file_format or usual
    base = {"kind": kind, "shape": shape, "spacing": [pixel_size_um] * len(shape)}
    copied = {} if like is None else _statistics(like, pixel_size_um)
    jobs = []
    for seed in _seeds(count, seeds):
        values = copied | {name: _value(name, wish, seed) for name, wish in wishes.items() if wish is not None}
        if phases is not None:
            values["phases"] = _shares(phases)
        if periodic is not None:
            values["periodic"] = periodic
        jobs.append((out / f"seed_{seed:06d}.{ending}", {**base, "seed": seed, "parameters": values}))
    if not overwrite:
        for path, _ in jobs:
            refuse_others(path, kind)
    made = 0 if dry_run else sum(_write(path, details, overwrite=overwrite) for path, details in jobs)
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
        raise _wrong_wish(details["kind"], error) from error


def _wrong_wish(kind: str, error: TypeError) -> Exception:
    """Say which option a kind lacks or does not have, where that is what an error is about."""
    _, does, rest = re.split(r"(missing|unexpected keyword)|$", str(error), maxsplit=1)
    options = ", ".join(_option(name) for name in re.findall(r"'(\w+)'", rest or ""))
    if not does or not options:
        return error
    return click.UsageError(f"{kind}: {options} {'is missing' if does == 'missing' else 'does not go with the rest'}")


def refuse_others(path: Path, kind: str) -> None:
    """Refuse to replace a file that is no structure of this kind made by microgen.

    Formats without room for a recipe are not judged here.
    """
    from microgen.io.formats import format_of

    module = format_of(path, writing=True)
    beside = module.beside(path) if hasattr(module, "beside") else path
    there = next((file for file in (path, beside) if file.exists()), None)
    if there is None or not hasattr(module, "read_own"):
        return
    found = (_recipe(path) if path.exists() else None) or {}
    if (found.get("command"), found.get("kind")) != ("synth", kind):
        raise InputError(_REFUSAL.format(there, kind))


_REFUSAL = "{} is there and was not made by microgen synth {}; choose another folder, or replace it with --overwrite"


def _write(path: Path, details: dict[str, Any], *, overwrite: bool) -> bool:
    from microgen import io
    from microgen.core.recipe import recipe
    from microgen.io.formats import format_of

    now = recipe("synth", **details)
    tells = hasattr(format_of(path, writing=True), "read_own")
    if tells and path.exists() and _recipe(path) == now:
        return False
    made = make(details)
    shown = next((name for name in ("intensity", "phase", "grain") if name in made), None)
    field = shown if path.suffix in (".png", ".tif") else None
    if tells or not path.exists():
        return io.write(path, made, now, field=field)
    with tempfile.TemporaryDirectory() as folder:  # what holds no recipe is known by its content
        io.write(Path(folder) / path.name, made, now, field=field)
        if (Path(folder) / path.name).read_bytes() == path.read_bytes():
            return False
    if not overwrite:
        raise InputError(_REFUSAL.format(path, details["kind"]))
    return io.write(path, made, now, field=field)


def _recipe(path: Path) -> dict[str, Any] | None:
    """Recipe of a file; None where it has none or is none of ours."""
    from microgen import io

    try:
        return io.read_recipe(path)
    except InputError:
        return None


def _scaled(path: Path, pixel_size_um: float) -> Any:
    """Read a structure at its own scale, or at the given one where it states none."""
    from microgen.io import read

    try:
        return read(path)[0]
    except InputError:
        return read(path, pixel_size_um=pixel_size_um)[0]


def _statistics(path: Path, pixel_size_um: float) -> dict[str, list[float]]:
    """Two-point probability of a structure, to where its covariance has faded into noise."""
    import numpy as np

    from microgen.stats import s2
    from microgen.stats.interpret import thresholded

    found = _scaled(path, pixel_size_um)
    if "phase" not in found:
        found = thresholded(found, "otsu")
    curve = s2(found["phase"] == 1, spacing=found.spacing)
    covariance = (curve.y - curve.y[0] ** 2) / (curve.y[0] - curve.y[0] ** 2)
    keep = curve.x <= 1.5 * curve.x[np.flatnonzero(np.abs(covariance) > NOISE)[-1]]
    return {"distance_um": curve.x[keep].tolist(), "s2": curve.y[keep].tolist()}


def _seeds(count: int | None, seeds: str | None) -> list[int]:
    from microgen.core.seeds import parse_seeds

    if count and seeds:
        raise click.UsageError("give -n or --seeds, not both")
    return list(range(count)) if count else parse_seeds(seeds or "0")


def _value(name: str, wish: Any, seed: int) -> Any:
    """Return words and counts as they are, and read numbers, ranges and formulas."""
    if not isinstance(wish, str) or name in WORDS:
        return wish
    if name in MAPS and re.search(r"\b[xyz]\b", wish):
        return _formula(name, wish)
    if name in LISTS and re.fullmatch(r"[-+.\de]+(,[-+.\de]+)+", wish):
        return [_drawn(name, part, seed) for part in wish.split(",")]
    return _drawn(name, wish, seed)


def _formula(name: str, text: str) -> str:
    import numpy as np

    from microgen.synth.formulas import evaluate

    try:
        evaluate(text, dict.fromkeys("xyz", np.array([0.25, 0.75])))
    except InputError as error:
        raise click.BadParameter(str(error), param_hint=_option(name)) from None
    return text


def _shares(text: str) -> dict[str, float]:
    """Read ``ferrite=0.7,austenite=0.3``."""
    try:
        parts = (part.partition("=") for part in text.split(","))
        return {name.strip(): float(share or 1) for name, _, share in parts}
    except ValueError:
        raise click.BadParameter(f"write NAME=SHARE,NAME=SHARE, not {text!r}", param_hint="--phases") from None


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _drawn(name: str, text: str, seed: int) -> float:
    """Read a number, or draw one for this seed from LOW:HIGH."""
    from microgen.core.seeds import rng

    option = _option(name)
    try:
        low, _, high = text.partition(":")
        bounds = float(low), float(high or low)
    except ValueError:
        known = "a number, LOW:HIGH or a formula of x, y and z" if name in MAPS else "a number or LOW:HIGH"
        raise click.BadParameter(f"write {known}, not {text!r}", param_hint=option) from None
    if bounds[0] == bounds[1]:
        return bounds[0]
    if bounds[0] > bounds[1]:
        raise click.BadParameter(f"{text!r} runs backwards", param_hint=option)
    part = float(rng(seed, *name.encode()).random())
    if bounds[0] > 0 and name != "direction_deg":
        return float(bounds[0] * (bounds[1] / bounds[0]) ** part)
    return float(bounds[0] + (bounds[1] - bounds[0]) * part)
