"""Options shared by commands, and the one way to print a result."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Any)


def parse_size(text: str) -> tuple[int, ...]:
    """Read grid points along each axis; for the ``type`` of an option.

    >>> parse_size("512x768")
    (512, 768)
    """
    try:
        shape = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise click.BadParameter(f"sizes are written like 512x768 or 96x96x96; {text!r} is not")
    return shape


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
