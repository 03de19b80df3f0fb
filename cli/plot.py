"""Draw orientation maps and their texture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .options import print_result, say

KINDS = ("ipf", "phase", "grain", "kam", "pole", "inverse-pole", "odf", "disorientation", "grain-size")
_ORIENTED = ("ipf", "pole", "inverse-pole", "odf")
_WITH_GRAINS = ("grain", "grain-size", "disorientation")
_DEFAULT_PLANES = {"cubic": ("001", "101", "111"), "hexagonal": ("0001", "10-10", "11-20"), "": ("100", "010", "001")}


@click.command()
@click.argument("path", metavar="INPUT", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("out", metavar="OUT_DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help="What to draw (repeatable); by default what can be.",
)
@click.option("--field", "fields", multiple=True, metavar="NAME", help="Draw this field as a map too (repeatable).")
@click.option(
    "--direction",
    "directions",
    multiple=True,
    type=click.Choice(["x", "y", "z"]),
    help="Direction of the map that inverse pole figure colours stand for (repeatable); by default z.",
)
@click.option(
    "--euler-frame",
    metavar="FRAME",
    help="Frame of the Euler angles: edax, oxford, bruker, map, or where its x and y point in the picture: up-left.",
)
@click.option("--phase", metavar="NAME", help="Phase of the texture; by default the largest.")
@click.option("--plane", "planes", multiple=True, metavar="HKL", help="Plane of a pole figure, like 111 or 10-10.")
@click.option("--halfwidth-deg", default=10.0, show_default=True, help="Half width of the kernel of densities.")
@click.option(
    "--projection", type=click.Choice(["equal-area", "stereographic"]), default="equal-area", show_default=True
)
@click.option("--threshold-deg", default=5.0, show_default=True, help="Disorientation that separates grains.")
@click.option("--smallest", default=1, show_default=True, help="Points of the smallest grain that is not an error.")
@click.option("--boundaries/--no-boundaries", default=True, show_default=True, help="Draw grain boundaries on maps.")
@click.option("--slice", "index", type=click.IntRange(min=0), help="Slice of a volume to draw, from 0.")
@click.option("--pixel-size-um", type=float, metavar="F", help="Step of the map where the file does not say it.")
@click.option("--dataset", metavar="PATH", help="Which map or array of an HDF5 file that holds several.")
@click.option("--format", "kind_of_file", type=click.Choice(["png", "svg", "pdf"]), default="png", show_default=True)
@click.option("--dpi", type=click.IntRange(50, 1200), default=300, show_default=True, help="Sharpness of pictures.")
def command(
    path: Path,
    out: Path,
    kinds: tuple[str, ...],
    fields: tuple[str, ...],
    directions: tuple[str, ...],
    index: int | None,
    pixel_size_um: float | None,
    dataset: str | None,
    kind_of_file: str,
    dpi: int,
    **options: Any,
) -> None:
    """Draw an orientation map: inverse pole figure colours, phases, grains, and its texture.

    Directions are those of the picture: x to the right, y down, z into the section. For colours, pole figures and ODF
    the frame in which the file states its Euler angles has to be known; what was taken is printed, see docs/ebsd.md.
    In Python: microgen.stats.plots and microgen.stats.texture_plots.

    \b
    Example:  microgen plot map.ang pictures/ --kind ipf --direction x --direction z --kind pole --euler-frame edax
    """
    from microgen import io
    from microgen.core import InputError
    from microgen.stats.plots import save, section

    found = io.read(path, pixel_size_um=pixel_size_um, dataset=dataset)
    if len(found) != 1:
        raise InputError(f"{path} holds {len(found)} pictures; an orientation map is one")
    structure = found[0] if index is None else section(found[0], index)
    for warning in structure.source.get("warnings", ()):
        say(f"warning: {warning}")
    wanted = kinds or (() if fields else _possible(structure))
    if not wanted and not fields:
        raise InputError(f"{path} holds neither orientations, phases nor grains; name a field to draw with --field")
    structure, frame = _framed(structure, wanted, options["euler_frame"])
    made = []
    for name, draw in _drawings(structure, wanted, fields, directions or ("z",), options).items():
        try:
            figure = draw()
        except InputError as error:
            if kinds or fields:
                raise
            say(f"left out {name}: {error}")
            continue
        made.append(str(save(figure, out / f"{path.stem}_{name}.{kind_of_file}", dpi=dpi)))
        say(made[-1])
    if not made:
        raise InputError(f"{path}: nothing could be drawn, for the reasons above")
    print_result({"file": str(path), **frame, "pictures": made})


def _possible(structure: Any) -> tuple[str, ...]:
    """What the fields of a structure allow."""
    if "orientation" in structure and structure.crystals:
        return tuple(kind for kind in KINDS if kind != "odf")
    return (*(("phase",) if "phase" in structure else ()), *(("grain", "grain-size") if "grain" in structure else ()))


def _framed(structure: Any, wanted: tuple[str, ...], given: str | None) -> tuple[Any, dict[str, str]]:
    """The structure in the frame of the map, where a picture depends on it, and what was taken."""
    from microgen.core import InputError
    from microgen.core.frames import MAP_AXES, frame_axes, in_map_frame

    if given:
        frame_axes(given)
    if not set(wanted) & set(_ORIENTED):
        return structure, {}
    if "orientation" not in structure:
        raise InputError(f"colours and textures need orientations, and here is only {', '.join(structure.fields)}")
    turned = in_map_frame(structure, given)
    taken = turned.source["euler_frame_was"]
    x, y = MAP_AXES.get(taken, taken).split("-")
    origin = "given" if given else "file"
    usual = "as the file says" if taken == "map" else "as is usual for such files; --euler-frame says otherwise"
    why = "as you said" if given else usual
    say(f"Euler frame: {taken}, x {x} and y {y} in the picture, {why}")
    return turned, {"euler_frame": taken, "euler_axes": f"{x}-{y}", "euler_frame_origin": origin}


def _drawings(
    structure: Any, wanted: tuple[str, ...], fields: tuple[str, ...], directions: tuple[str, ...], options: Any
) -> dict[str, Callable[[], Any]]:
    """What draws each picture that was asked for, by its name."""
    from microgen.stats import plots

    grain = _grains(structure, wanted, options)
    lines = grain if options["boundaries"] else None

    def values(values: Any, label: str = "") -> Any:
        return plots.value_map(structure, values, label=label, grain=lines)

    found: dict[str, Callable[[], Any]] = {
        "phase": lambda: plots.phase_map(structure, grain=lines),
        "grain": lambda: values(_diameters_um(structure, grain)[grain], "diameter / µm"),
        "grain-size": lambda: plots.grain_size_histogram(
            _diameters_um(structure, grain, known=True), ndim=structure.ndim
        ),
        "kam": lambda: values(_kam(structure), "KAM / °"),
        "disorientation": lambda: _disorientations(structure, grain),
        **_textures(structure, wanted, options),
    }
    colours: dict[str, Callable[[], Any]] = {
        f"ipf_{d}": lambda d=d: plots.ipf_map(structure, direction=d, grain=lines)  # type: ignore[misc]
        for d in (directions if "ipf" in wanted else ())
    }
    named: dict[str, Callable[[], Any]] = {
        f"field_{name}" if name in found else name: lambda name=name: values(name)  # type: ignore[misc]
        for name in fields
    }
    return {**colours, **{kind.replace("-", "_"): found[kind] for kind in found if kind in wanted}, **named}


def _grains(structure: Any, wanted: tuple[str, ...], options: Any) -> Any:
    """Grain numbers: those of the structure, else segmented, None where nothing needs them."""
    if "grain" in structure:
        return structure["grain"]
    if "orientation" in structure and structure.crystals:
        from microgen.stats.ebsd import segment_orientation

        return segment_orientation(structure, threshold_deg=options["threshold_deg"], smallest=options["smallest"])
    if set(wanted) & set(_WITH_GRAINS):
        from microgen.core import InputError

        raise InputError("grains need the field 'grain', or orientations with the symmetry of their crystals")
    return None


def _diameters_um(structure: Any, grain: Any, *, known: bool = False) -> Any:
    """Diameter in micrometres of the circle or ball of the same size, by grain number (NaN for 0), or of the known."""
    import numpy as np

    points = np.bincount(grain.ravel()).astype(float)
    points[0] = np.nan
    sizes = points * np.prod(structure.spacing)
    diameters = 2 * np.sqrt(sizes / np.pi) if structure.ndim == 2 else np.cbrt(6 * sizes / np.pi)
    return diameters[diameters > 0] if known else diameters


def _kam(structure: Any) -> Any:
    from microgen.stats.misorientation import kam

    return kam(structure)


def _disorientations(structure: Any, grain: Any) -> Any:
    import numpy as np

    from microgen.stats import misorientation, plots

    return plots.disorientation_histogram(
        misorientation.boundary_disorientation(structure, grain),
        pairs_deg=misorientation.random_pairs_disorientation(structure, np.random.default_rng(0), 50_000),
        reference=_random_law(structure),
        reference_label="random texture",
    )


def _random_law(structure: Any) -> Any:
    """Density of disorientation angles per degree of a random texture, for maps of one symmetry."""
    import numpy as np

    from microgen.stats.mackenzie import random_disorientation_cdf

    crystals = list(structure.crystals.values())
    if len({crystal.laue for crystal in crystals}) != 1:
        return None
    edges = np.linspace(0, 180, 361)
    density = np.diff(random_disorientation_cdf(edges, crystals[0])) / np.diff(edges)
    last = int(np.flatnonzero(density > 1e-9).max()) + 2
    return ((edges[1:] + edges[:-1]) / 2)[:last], density[:last]


def _textures(structure: Any, wanted: tuple[str, ...], options: Any) -> dict[str, Callable[[], Any]]:
    if not {"pole", "inverse-pole", "odf"} & set(wanted):
        return {}
    from microgen.stats import texture_plots as draw
    from microgen.stats.texture import ODF, phase_orientations, texture_phase

    phase = texture_phase(structure, options["phase"])
    orientation, crystal = phase_orientations(structure, phase)
    odf = ODF(orientation, crystal, options["halfwidth_deg"])
    planes = options["planes"] or _DEFAULT_PLANES[_family(crystal.laue)]
    return {
        "pole": lambda: draw.pole_figures(odf, planes, projection=options["projection"], phase=phase),
        "inverse-pole": lambda: draw.inverse_pole_figures(odf, projection=options["projection"], phase=phase),
        "odf": lambda: draw.odf_sections(odf, phase=phase),
    }


def _family(laue: str) -> str:
    if laue in ("m-3", "m-3m"):
        return "cubic"
    return "hexagonal" if laue in ("-3", "-3m", "6/m", "6/mmm") else ""
