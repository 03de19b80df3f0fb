"""Measure every applicable descriptor of pictures, maps and volumes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from .options import check_values, pixel_size_option, print_result, reading_options, say, value_options


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUTS...", type=click.Path(path_type=Path))
@pixel_size_option
@click.option("--pixels", is_flag=True, help="Lengths in pixels: names end in _px, and there is no grain size number.")
@click.option("--only", multiple=True, metavar="NAME", help="Measure only this descriptor (repeatable).")
@click.option("--curves", is_flag=True, help="Print the points of all curves too (those named by --only always are).")
@value_options
@click.option("--phase", type=click.IntRange(min=0), metavar="INDEX", help="Phase of interest; by default 1.")
@click.option("--periodic", is_flag=True, help="The structures wrap around at the frame.")
@click.option("--crop-bottom", type=click.IntRange(min=0), metavar="ROWS", help="Rows of data bar to cut off.")
@click.option("--volume", is_flag=True, help="The pages of a file are one volume, not pictures.")
@click.option("--slices", is_flag=True, help="INPUTS is a folder of pictures (or a list), each a slice of one volume.")
@reading_options
@click.option("--skip-bad", is_flag=True, help="Leave out files that cannot be used instead of stopping.")
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False), help="Write a table, one row per picture.")
def command(
    inputs: tuple[Path, ...],
    pixel_size_um: tuple[str, ...],
    pixels: bool,
    only: tuple[str, ...],
    curves: bool,
    threshold: Any,
    labels: str | None,
    phase_names: tuple[str, ...],
    phase: int | None,
    periodic: bool,
    crop_bottom: int | None,
    volume: bool,
    slices: bool,
    skip_bad: bool,
    csv_path: str | None,
    **reading: Any,
) -> None:
    """Measure every applicable descriptor of pictures, maps and volumes, as JSON.

    Gray pictures are taken as micrographs of etched grain boundaries: the boundaries are found, and grain size
    after ASTM E112 is measured with the statistics of the picture. Say so where the values mean something else:
    --threshold splits gray into two phases, --labels takes whole numbers as phases or grains. Each number comes
    with its 95 % confidence interval; several pictures are also pooled: phases that one of them shows are measured
    on all, so that they have a fraction of 0 where they are absent. Tortuosity and conductivity are solved for
    and take longer: they are measured only where --only names them.
    In Python: microgen.stats.measure().

    \b
    Example:  microgen measure micrographs/ --pixel-size-um 0.37 --only grain_size_um --only astm_g
    """
    from microgen import stats
    from microgen.data.pixel_sizes import PixelSizes
    from microgen.io import find_inputs

    check_values(threshold=threshold, labels=labels, phase_names=phase_names)
    if pixels and pixel_size_um:
        raise click.UsageError("--pixels and --pixel-size-um exclude each other")
    sizes = PixelSizes.parse(["1"] if pixels else pixel_size_um)
    files = inputs[:1] if slices else find_inputs(inputs)
    if not slices:
        sizes.check_used(files)
    names = [name.replace("_px", "_um") for name in only] if pixels else list(only)
    kept = None if curves else set(names)
    reading |= {"crop_bottom": crop_bottom, "volume": volume or None}

    def read(path: Path) -> list[Any]:
        return [_volume(inputs, sizes, crop_bottom)] if slices else _read(path, sizes, reading)

    given = _Inputs(files, read, threshold, labels, phase_names, phase, names or None, skip_bad)
    found, pictures = [], []
    for path, structures in given.each():
        for structure in structures:
            how: dict[str, Any] = {"phase": given.phases_of(structure), "periodic": periodic, "solving": _solving}
            measured = stats.measure(structure, names or None, **how)
            found.append(measured)
            pictures.append(_picture(path, structure, measured, pixels=pixels, curves=kept))
    result: dict[str, Any] = {"pictures": pictures}
    if len(found) > 1:
        result["pooled"] = _table(stats.pool(found), pixels=pixels, curves=None)
    if skip_bad:
        result["left_out"] = given.left_out
    if csv_path:
        _write_csv(csv_path, pictures)
        result["csv"] = csv_path
    print_result(result)


@dataclass
class _Inputs:
    """Files to measure, the meaning of their values, and why some are left out."""

    files: Sequence[Path]
    read: Callable[[Path], list[Any]]
    threshold: Any
    labels: Any
    phase_names: tuple[str, ...]
    phase: int | None
    names: list[str] | None
    skip_bad: bool
    left_out: dict[str, str] = field(default_factory=dict)
    values: list[int] | None = None
    shared: list[str] = field(default_factory=list)

    def each(self) -> Iterator[tuple[Path, list[Any]]]:
        """Yield the structures of each file; what cannot be used is known before the first one."""
        self._survey()
        for number, path in enumerate(self.files, 1):
            if str(path) in self.left_out:
                continue
            say(f"{number}/{len(self.files)}  {path}")
            with self._unless_bad(path):
                found = self.read(path)
                for warning in [warning for one in found for warning in one.source.get("warnings", ())]:
                    say(f"warning: {warning}")
                yield path, [self._meant(one) for one in found]

    def phases_of(self, structure: Any) -> Any:
        """Phases to measure: all that any file has, so that each keeps its number and has a share everywhere."""
        if self.phase is not None:
            return self.phase
        if self.values is not None:
            return {1: 0, 2: 1}.get(len(self.values), range(len(self.values)))
        return [structure.phases.index(name) for name in self.shared if name in structure.phases] or None

    def _survey(self) -> None:
        """Read all files before the long work, for what is known of them together."""
        from microgen.stats.interpret import label_values
        from microgen.stats.views import shared_phases

        if self.labels == "phase":
            self.values = label_values(self._checked())
        elif len(self.files) > 1:
            self.shared = shared_phases(self._checked())

    def _checked(self) -> Iterator[Any]:
        """Yield what can be used, as recorded where it holds labels."""
        from microgen.stats.measuring import check

        for path in self.files:
            with self._unless_bad(path):
                found = self.read(path)
                meant = [self._meant(one) for one in found]
                for one in meant:
                    check(one, self.names, phase=None if self.labels else self.phase)
                yield from found if self.labels else meant

    @contextlib.contextmanager
    def _unless_bad(self, path: Path) -> Iterator[None]:
        from microgen.core import InputError

        try:
            yield
        except InputError as error:
            reason = str(error) if str(path) in str(error) else f"{path}: {error}"
            if not self.skip_bad:
                raise InputError(reason) from error
            self.left_out[str(path)] = reason
            say(f"warning: left out: {reason}")
            if len(self.left_out) == len(self.files):
                first = next(iter(self.left_out.values()))
                raise InputError(f"none of the {len(self.files)} files can be used; the first: {first}") from error

    def _meant(self, structure: Any) -> Any:
        """Give the values the meaning that was asked for."""
        from microgen.stats.interpret import labelled, thresholded

        if self.threshold is not None:
            return thresholded(structure, self.threshold)
        if self.labels is None:
            return structure
        names = () if self.labels == "phase" and self.values is None else self.phase_names
        return labelled(structure, self.labels, names=names, values=self.values)


def _solving(name: str) -> None:
    say(f"  solving for {name}")


def _read(path: Path, sizes: Any, how: dict[str, Any]) -> list[Any]:
    from microgen.io import read

    return read(path, pixel_size_um=sizes.of(path), **how)


def _volume(inputs: tuple[Path, ...], sizes: Any, crop_bottom: int | None) -> Any:
    from microgen.core import InputError
    from microgen.io import read_slices

    if len(inputs) > 1 and any(path.is_dir() for path in inputs):
        raise click.UsageError("--slices takes one folder, or a list of files")
    size = sizes.of(inputs[0])
    if size is None:
        raise InputError(f"{inputs[0]}: pass --pixel-size-um Z,Y,X; pictures do not know their distance")
    source = inputs[0] if inputs[0].is_dir() else list(inputs)
    return read_slices(source, pixel_size_um=size, crop_bottom=crop_bottom)


def _picture(path: Path, structure: Any, measured: Any, *, pixels: bool, curves: set[str] | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"file": str(path), "shape": list(structure.shape)}
    if "page" in structure.source:
        facts["page"] = structure.source["page"]
    if not pixels:
        facts["pixel_size"] = structure.source["pixel_size"]
    if "threshold" in structure.scalars:
        facts["threshold"] = structure.scalars["threshold"]
    return {**facts, "descriptors": _table(measured, pixels=pixels, curves=curves)}


def _table(measured: Any, *, pixels: bool, curves: set[str] | None) -> dict[str, Any]:
    """JSON-able measurements; `curves` are the names whose points are kept, None for all."""
    table = {}
    for name, measurement in measured.items():
        entry = measurement.to_dict()
        if measurement.y is not None and curves is not None and name.partition(":")[0] not in curves:
            entry = {"points": len(measurement.y), "unit": entry["unit"], "x_unit": entry["x_unit"]}
        if not pixels:
            table[name] = entry
        elif entry["unit"] != "G":
            for key in {"unit", "x_unit"} & set(entry):
                entry[key] = entry[key].replace("um", "px")
            table[_pixel_name(name)] = entry
    return table


def _pixel_name(name: str) -> str:
    base, colon, phase = name.partition(":")
    return (base.removesuffix("_um") + "_px" if base.endswith("_um") else base) + colon + phase


def _write_csv(path: str, pictures: list[dict[str, Any]]) -> None:
    """Write one row per picture: every number, and the ends of its interval."""
    import csv
    import io

    from microgen.core.files import write_bytes

    rows = []
    for picture in pictures:
        row = {"file": picture["file"], "page": picture.get("page", 0)}
        for name, entry in picture["descriptors"].items():
            if "value" in entry:
                low, high = entry.get("ci95") or ("", "")
                row |= {name: entry["value"], f"{name} low": low, f"{name} high": high}
        rows.append(row)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)), restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, stream.getvalue().encode())
