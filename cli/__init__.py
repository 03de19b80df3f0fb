"""The command line: one file per command, loaded only when that command is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from .errors import exit_code_of, plain_warnings, report
from .signals import terminate_as_exception

COMMANDS: dict[str, str] = {
    "demo": "The whole story on the embedded data: prepare, train, sample, evaluate.",
    "fit": "Give it a folder of micrographs: prepare, train, sample and evaluate in one.",
    "prepare": "Read micrographs into one data set with its scale, fingerprint and plan.",
    "convert": "Read any supported file and write any other.",
    "measure": "Measure every applicable descriptor of pictures, maps and volumes, as JSON.",
    "plot": "Draw orientation maps: inverse pole figure colours, phases, grains and texture.",
    "synth": "Make classical synthetic microstructures: polycrystals and two-phase fields.",
    "train": "Train a generator on a prepared data set.",
    "sample": "Ask a model for new structures by seed, condition and size.",
    "interpolate": "Walk through the latent space of a model, from sample to sample or along what can be measured.",
    "explore": "Find what the latent space of a model can do: directions, and what each moves.",
    "invert": "Find the latent from which a model reproduces a micrograph, or makes what measures as wanted.",
    "evaluate": "Compare generated structures with real ones and write the report.",
    "run": "Run a file of commands as steps, skipping what is up to date.",
    "datasets": "List, show and fetch known data sets.",
    "models": "List models, show and write their cards.",
    "info": "Say what a file of ours is and how it was made.",
    "reproduce": "Make an output again from the recipe inside it.",
    "doctor": "Check the installation and estimate the speed of this machine.",
}
"""Every command and its one sentence; the module of the same name holds the click command ``command``."""


class _LazyGroup(click.Group):
    """Lists commands from the table, and imports a command's module only to run it or show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{cmd_name}", __package__)
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near and "Did you mean" not in error.message else ""
            raise click.UsageError(error.message + hint, ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="microgen-toolkit", prog_name="microgen")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Learn a generator from micrographs, ask it for new ones, prove how faithful they are.

    Every command prints one JSON object on standard output; messages go to standard error.
    Exit codes: 0 done, 2 wrong usage, 3 bad input, 4 locked, 5 disk, 6 diverged, 7 out of memory,
    130 and 143 interrupted.

    \b
    Example:  microgen fit micrographs/ result/ --pixel-size-um 0.37
    """
    ctx.obj = {"debug": debug}


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    given = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in given or bool(os.environ.get("MICROGEN_DEBUG"))
    given = [a for a in given if a != "--debug"]
    try:
        with terminate_as_exception(), plain_warnings():
            code = cli.main(args=given, prog_name="microgen", standalone_mode=False)
    except BaseException as error:
        if debug and not isinstance(error, (SystemExit, click.ClickException)):
            raise
        report(error)
        code = exit_code_of(error)
    sys.exit(code if isinstance(code, int) else 0)
