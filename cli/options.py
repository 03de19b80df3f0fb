"""Options shared by commands, and the one way to print a result."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Any)


def parse_size(text: str) -> tuple[int, ...]:
    """Read grid points along each axis; for the ``type`` of an option.

    >>> parse_size("512x768"), parse_size("100,200,300")
    ((512, 768), (100, 200, 300))
    """
    try:
        shape = tuple(int(part) for part in text.lower().replace(",", "x").split("x"))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise click.BadParameter(f"sizes are written like 512x768 or 96x96x96; {text!r} is not")
    return shape


def pixel_size_option(function: F) -> F:
    """Add ``--pixel-size-um``, repeatable, for :class:`microgen.data.pixel_sizes.PixelSizes`."""
    return click.option(
        "--pixel-size-um",
        multiple=True,
        metavar="F | PATTERN=F",
        help="Pixel size in micrometres, of all files or by pattern (304-200/*=0.37); one number, or one per axis: "
        "0.5,0.4,0.4 for z, y, x. Repeatable.",
    )(function)


def reading_options(function: F) -> F:
    """Add what a person may have to say about files of other programs; each is an argument of microgen.io.read."""
    for option in reversed(
        [
            click.option(
                "--euler-frame",
                metavar="FRAME",
                help="Frame of the Euler angles in EBSD maps: edax, oxford, bruker, map, unknown, or where its x and y "
                "axes point in the picture, like up-left. It is written down; no angle is changed.",
            ),
            click.option("--dataset", metavar="PATH", help="Array or map inside HDF5 files that hold several."),
            click.option(
                "--raw-shape",
                type=parse_size,
                metavar="[Zx]YxX",
                help="Grid of .raw files: slices x rows x columns, x fastest.",
            ),
            click.option("--raw-dtype", metavar="TYPE", help="Number type of .raw files: uint8, uint16, float32 ..."),
        ]
    ):
        function = option(function)
    return function


def value_options(function: F) -> F:
    """Add what the values of pictures mean, for :mod:`microgen.stats.interpret`: threshold, labels, phase_names."""
    for option in reversed(
        [
            click.option(
                "--threshold",
                callback=_threshold,
                metavar="otsu|VALUE",
                help="Split gray into the phases dark and bright here.",
            ),
            click.option(
                "--labels", type=click.Choice(["phase", "grain"]), help="The values are numbers of phases or grains."
            ),
            click.option(
                "--phase-names",
                callback=_names,
                metavar="NAME,NAME,..",
                help="Names of the phases, by ascending value; with --labels phase.",
            ),
        ]
    ):
        function = option(function)
    return function


def check_values(*, threshold: Any, labels: str | None, phase_names: tuple[str, ...]) -> None:
    """Refuse combinations of :func:`value_options` that mean nothing."""
    if threshold is not None and labels:
        raise click.UsageError("--threshold and --labels exclude each other")
    if phase_names and labels != "phase":
        raise click.UsageError("--phase-names needs --labels phase")


def field_option(function: F) -> F:
    """Add ``--field``, for :func:`microgen.data.prepare`."""
    return click.option(
        "--field",
        metavar="NAME",
        help="Field to learn, where files hold several that could be, like band_contrast, phase, or boundary (drawn "
        "from the grains).",
    )(function)


def volume_options(function: F) -> F:
    """Add ``--volume`` and ``--slices``, for :func:`microgen.data.prepare`."""
    function = click.option(
        "--slices", is_flag=True, help="INPUTS are folders; each one is a volume, its pictures are the slices."
    )(function)
    return click.option("--volume", is_flag=True, help="The pages of a file are one volume, not pictures.")(function)


def _threshold(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    if value is None or value == "otsu":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number nor otsu") from None


def _names(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(part.strip() for part in value.split(",")) if value else ()
    if not all(names) or len(set(names)) < len(names):
        raise click.BadParameter(f"names of phases differ and are not empty, like pore,binder; {value!r} are not")
    return names


def config_options(function: F) -> F:
    """Add ``--config FILE`` and ``--set key=value``."""
    function = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set one configuration value (dotted key, repeatable).",
    )(function)
    return click.option(
        "--config",
        type=click.Path(dir_okay=False),
        metavar="FILE.toml",
        help="Read configuration values from a TOML file.",
    )(function)


def config_lines(path: str | None) -> list[str]:
    """Read a TOML file as ``key=value`` settings, so that it is laid over what is there value by value.

    JSON values are TOML values too.
    """
    from microgen.core.config import read_toml
    from microgen.train.config import flatten

    table = flatten(read_toml(path)) if path else {}
    return [f"{key}={json.dumps(value, default=str)}" for key, value in table.items()]


def print_result(result: dict[str, Any]) -> None:
    """Print the one JSON object of a command on standard output."""
    click.echo(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))


def say(message: str) -> None:
    """Print a message for people on standard error."""
    click.echo(message, err=True)
