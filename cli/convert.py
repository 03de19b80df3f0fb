"""Read any supported file and write any other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from microgen.core import InputError

from .options import parse_size, print_result, say


def _threshold(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    if value is None or value == "otsu":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number nor otsu") from None


def _crop(text: str) -> tuple[slice, ...]:
    """Read the part to keep; for the ``type`` of an option.

    >>> _crop("0:64,10:90")
    (slice(0, 64, None), slice(10, 90, None))
    """
    try:
        ends = [[int(end) if end.strip() else None for end in part.split(":")] for part in text.split(",")]
    except ValueError:
        ends = []
    if len(ends) not in (2, 3) or any(len(pair) != 2 for pair in ends):
        raise click.BadParameter(f"parts are written like 0:64,10:90 in the order (z,) y, x; {text!r} is not")
    return tuple(slice(*pair) for pair in ends)


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUTPUT", type=click.Path(path_type=Path))
@click.option(
    "--to", "extension", metavar="EXT", help="Write a folder OUTPUT of such files, e.g. vti; for many inputs."
)
@click.option(
    "--pixel-size-um", multiple=True, metavar="F | Z,Y,X | PATTERN=F", help="Micrometres per pixel; repeatable."
)
@click.option("--volume", is_flag=True, help="The pages of a file are one volume, not pictures.")
@click.option("--slices", is_flag=True, help="INPUT is a folder of pictures (or a list), each a slice of one volume.")
@click.option("--raw-shape", type=parse_size, metavar="[Zx]YxX", help="Grid of bare numbers (.raw, .bin), x fastest.")
@click.option("--raw-dtype", metavar="TYPE", help="Their type: uint8, >u2 (big-endian), float32 ...")
@click.option("--dataset", metavar="PATH", help="The array or map inside an HDF5 file that holds several.")
@click.option("--euler-frame", metavar="NAME", help="Frame of the Euler angles, where you know better than the file.")
@click.option(
    "--map-frame", is_flag=True, help="Turn orientations into the frame of the picture, as simulations need it."
)
@click.option("--crop-bottom", type=click.IntRange(min=0), metavar="ROWS", help="Rows of data bar to cut off.")
@click.option("--crop", type=_crop, metavar="[Z:Z,]Y:Y,X:X", help="Keep this part, in pixels.")
@click.option("--labels", type=click.Choice(["phase", "grain"]), help="The values are numbers of phases or grains.")
@click.option(
    "--threshold", callback=_threshold, metavar="otsu|VALUE", help="Split gray into the phases dark and bright."
)
@click.option(
    "--segment-deg",
    type=click.FloatRange(min=0),
    metavar="DEG",
    help="Make grains of an orientation map; 0: of every point.",
)
@click.option(
    "--smallest",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="POINTS",
    help="Smallest grain that --segment-deg makes; points of smaller ones belong to no grain.",
)
@click.option("--field", metavar="NAME", help="Write this field only.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def command(
    inputs: tuple[Path, ...],
    out: Path,
    extension: str | None,
    pixel_size_um: tuple[str, ...],
    slices: bool,
    field: str | None,
    overwrite: bool,
    **how: Any,
) -> None:
    """Read any supported file and write any other, by the extension of OUTPUT.

    One input becomes the file OUTPUT; several inputs, or --to, fill the folder OUTPUT. Values are never rescaled, and
    whatever a format cannot hold is named in a warning and under "left_out". The scale and the history go along where
    the format has room. A volume becomes numbered slices where a format holds pictures only. For simulations:
    .damask.vti (with .material.yaml), .inp (Abaqus, CalculiX), .tesr (Neper), .dream3d; for ParaView .vti; for Fiji
    .tif and .ome.tif.
    In Python: microgen.io.read(), read_slices() and write().

    \b
    Example:  microgen convert map.ctf map.damask.vti --euler-frame oxford --map-frame --segment-deg 5
    """
    from microgen.data.pixel_sizes import PixelSizes
    from microgen.stats.interpret import label_values

    if how["threshold"] is not None and how["labels"]:
        raise click.UsageError("--threshold and --labels exclude each other")
    sizes = PixelSizes.parse(pixel_size_um)
    jobs = _one_volume(inputs, out, extension) if slices else _jobs(inputs, out, extension)
    if not slices:
        sizes.check_used([path for path, _ in jobs])

    def read(path: Path) -> list[Any]:
        return [_volume(inputs, path, sizes, how)] if slices else _read(path, sizes, how)

    values = None
    if how["labels"] == "phase":  # a picture may lack a phase, and the others still have their own numbers
        values = label_values(one for path, _ in jobs for one in read(path))
    written: list[dict[str, Any]] = []
    for number, (path, target) in enumerate(jobs, 1):
        say(f"{number}/{len(jobs)}  {path} -> {target}")
        found = read(path)
        for warning in found[0].source.get("warnings", ()):
            say(f"warning: {warning}")
        for page, structure in enumerate(found):
            place = target if len(found) == 1 else _paged(target, page)
            for file, part in _parts(place, _meant(path, structure, how, values)):
                written.append(_write(file, part, field, overwrite, path, how))
    print_result({"written": written})


def _jobs(inputs: tuple[Path, ...], out: Path, extension: str | None) -> list[tuple[Path, Path]]:
    """Pair every input with the file it becomes."""
    from microgen.io import find_inputs
    from microgen.io.formats import extension_of, format_of

    files = find_inputs(inputs)
    if extension is None and len(files) == 1 and inputs[0].is_file():
        format_of(out, writing=True)
        return [(files[0], out)]
    if extension is None:
        raise click.UsageError(
            f"there are {len(files)} inputs; say --to EXT, and OUTPUT will be a folder of such files,"
            " or --slices if they are the slices of one volume"
        )
    end = f".{extension.lstrip('.')}"
    format_of(Path(f"x{end}"), writing=True)
    targets = [out / f"{path.name[: len(path.name) - len(extension_of(path))]}{end}" for path in files]
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice:
        raise InputError(f"two inputs would both become {twice}; convert them into separate folders")
    return list(zip(files, targets, strict=True))


def _one_volume(inputs: tuple[Path, ...], out: Path, extension: str | None) -> list[tuple[Path, Path]]:
    from microgen.io.formats import format_of

    if extension is not None or (len(inputs) > 1 and any(path.is_dir() for path in inputs)):
        raise click.UsageError("--slices takes one folder, or a list of files, and writes the one file OUTPUT")
    format_of(out, writing=True)
    return [(inputs[0], out)]


def _paged(target: Path, page: int) -> Path:
    from microgen.io.formats import extension_of

    end = extension_of(target)
    return target.with_name(f"{target.name[: len(target.name) - len(end)]}_{page:04d}{end}")


def _parts(target: Path, structure: Any) -> Iterator[tuple[Path, Any]]:
    """Yield what becomes one file: all, or of a volume each slice where the format holds pictures only."""
    from microgen.io.formats import format_of

    if structure.ndim == 2 or not getattr(format_of(target, writing=True), "FLAT", False):
        yield target, structure
        return
    size = ",".join(f"{step:g}" for step in structure.spacing)
    say(f"{structure.shape[0]} slices; to read them again: --slices --pixel-size-um {size}")
    for z in range(structure.shape[0]):
        fields = {name: values[z] for name, values in structure.fields.items()}
        source = {**structure.source, "page": z}
        yield _paged(target, z), structure.replace(fields=fields, spacing=structure.spacing[1:], source=source)


def _volume(inputs: tuple[Path, ...], path: Path, sizes: Any, how: dict[str, Any]) -> Any:
    from microgen.io import read_slices

    size = sizes.of(path)
    if size is None:
        raise InputError(f"{path}: pass the voxel size, --pixel-size-um Z,Y,X; pictures do not know their distance")
    return read_slices(path if path.is_dir() else list(inputs), pixel_size_um=size, crop_bottom=how["crop_bottom"])


def _read(path: Path, sizes: Any, how: dict[str, Any]) -> list[Any]:
    from microgen.io import read

    names = ("raw_shape", "raw_dtype", "dataset", "euler_frame", "crop_bottom")
    chosen = {name: how[name] for name in names}
    return read(path, pixel_size_um=sizes.of(path), volume=how["volume"] or None, **chosen)


def _meant(path: Path, structure: Any, how: dict[str, Any], values: list[int] | None) -> Any:
    """Crop a structure, and say what its values mean; `values` are those of all phases of all inputs."""
    from microgen.core.frames import in_map_frame
    from microgen.stats.interpret import labelled, thresholded

    try:
        if how["crop"]:
            structure = _cropped(structure, how["crop"])
        if how["threshold"] is not None:
            structure = thresholded(structure, how["threshold"])
        if how["labels"]:
            structure = labelled(structure, how["labels"], values=values)
        if how["map_frame"]:
            structure = in_map_frame(structure)
        if how["segment_deg"] is not None:
            structure = structure.with_fields(grain=_grains(structure, how["segment_deg"], how["smallest"]))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return structure


def _cropped(structure: Any, part: tuple[slice, ...]) -> Any:
    """Keep a part, which has to lie inside."""
    ends = [(end, size) for axis, size in zip(part, structure.shape, strict=False) for end in (axis.start, axis.stop)]
    outside = [end for end, size in ends if end is not None and not -size <= end <= size]
    if outside:
        raise InputError(f"the part to keep ends at {outside[0]}, and the grid is {structure.shape}")
    return structure.crop(*part)


def _grains(structure: Any, degrees: float, smallest: int) -> Any:
    """Number grains by disorientation; for 0 degrees every point that has an orientation is one."""
    import numpy as np

    from microgen.stats.ebsd import segment_orientation

    if degrees > 0:
        found = segment_orientation(structure, threshold_deg=degrees, smallest=smallest)
        if not found.any():
            raise InputError(f"it has no grain of {smallest} points; see --smallest")
        return found
    structure["orientation"]
    known = structure["mask"] != 0 if "mask" in structure else np.ones(structure.shape, bool)
    return np.where(known, np.cumsum(known).reshape(structure.shape), 0).astype(np.int32)


def _write(
    target: Path, structure: Any, field: str | None, overwrite: bool, path: Path, how: dict[str, Any]
) -> dict[str, Any]:
    """Write one structure, and say what was written and what was lost."""
    from microgen.io import left_out, write
    from microgen.io.formats import format_of

    beside = getattr(format_of(target, writing=True), "beside", None)
    files = [target] if beside is None else [target, beside(target)]
    there = next((file for file in files if file.exists()), None)
    if there and not overwrite:
        raise InputError(f"{there} is there already; choose another name, or replace it with --overwrite")
    lost = left_out(target, structure, field=field)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            write(target, structure, _recipe(structure, how, field), field=field)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    notes = [" ".join(str(warning.message).split()) for warning in caught if warning.category is UserWarning]
    if lost and not any(all(name in note for name in lost) for note in notes):
        notes.append(f"{target} holds one field; left out: {', '.join(lost)}")
    for note in notes:
        say(f"warning: {note}")
    kept = [name for name in structure.fields if name not in lost]
    facts = {"shape": list(structure.shape), "spacing_um": list(structure.spacing), "fields": kept, "left_out": lost}
    return {"file": str(target), "from": str(path), "beside": [str(f) for f in files[1:]], **facts, "warnings": notes}


def _recipe(structure: Any, how: dict[str, Any], field: str | None) -> dict[str, Any]:
    """How the file was made; the history of its source stands under ``of``."""
    from microgen.core.recipe import recipe

    source = structure.source
    keys = ("sha256", "slices", "slice_sha256", "page")
    facts = {"input": Path(source["file"]).name, **{key: source[key] for key in keys if key in source}}
    given = {key: value for key, value in {**how, "field": field}.items() if value not in (None, False)}
    if how["segment_deg"] is None:
        del given["smallest"]
    if how["crop"]:
        given["crop"] = [[part.start, part.stop] for part in how["crop"]]
    of = {"of": source["recipe"]} if "recipe" in source else {}
    return recipe("convert", **facts, options=given, **of)
