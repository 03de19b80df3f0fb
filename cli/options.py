"""Options shared by commands, and the one way to print a result."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Any)


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


def print_result(result: dict[str, Any]) -> None:
    """Print the one JSON object of a command on standard output."""
    click.echo(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))


def say(message: str) -> None:
    """Print a message for people on standard error."""
    click.echo(message, err=True)
