"""Known data sets."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import print_result, say

if TYPE_CHECKING:
    from microgen.data.cards import CardFile


@click.group()
def command() -> None:
    """List, show and fetch known data sets.

    Cards say what a data set shows, its licence, its pixel sizes, known values to check against, and where its files
    are published, each with its SHA-256. Generated sets are made on the spot.
    Library twins: microgen.data.cards, microgen.data.fetch.

    \b
    Example:  microgen datasets fetch steel_optical_grains steels
    """


@command.command("list")
def list_() -> None:
    """List the data sets.

    Library twin: microgen.data.cards.cards.

    \b
    Example:  microgen datasets list
    """
    from microgen.data.cards import cards

    print_result({name: _row(card) for name, card in cards().items()})


@command.command()
@click.argument("name")
def show(name: str) -> None:
    """Show the card of one data set.

    For a generated set it shows the recipe too.
    Library twin: microgen.data.cards.read_card.

    \b
    Example:  microgen datasets show steel_optical_grains
    """
    from microgen.core.config import read_toml
    from microgen.data.cards import CARD, RECIPE, card_folder, read_card

    folder = card_folder(name)
    card = read_card(folder / CARD)
    recipe = {"recipe": read_toml(folder / RECIPE)} if (folder / RECIPE).is_file() else {}
    print_result(
        {"name": name, "folder": str(folder), "megabytes": _megabytes(card), **card.model_dump(mode="json"), **recipe}
    )


@command.command()
@click.argument("name")
@click.argument("out", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--mirror",
    envvar="MICROGEN_DATA_MIRROR",
    metavar="FOLDER|URL",
    help="Take files from here instead of the internet: NAME/PATH in it.  [env: MICROGEN_DATA_MIRROR]",
)
@click.option("--only", multiple=True, metavar="PATTERN", help="Files to fetch, like '304-200/*'. Repeatable.")
@click.option("--renew", is_flag=True, help="Replace files that are there but differ from the published ones.")
def fetch(name: str, out: Path | None, mirror: str | None, only: tuple[str, ...], renew: bool) -> None:
    """Fetch a data set into a folder, or make it if it is a generated one.

    OUT is by default a folder of the name of the set. It gets the files, each checked against its SHA-256, the card,
    and pixel_sizes.toml, so that microgen prepare and fit know the scale. Files that are there and right are kept; a
    download that broke off goes on where it stopped when the same command is given again.
    Library twin: microgen.data.fetch.fetch.

    \b
    Example:  microgen datasets fetch steel_optical_grains steels --only '304-200/*'
    """
    from microgen.core.files import lock
    from microgen.data.cards import CARD, card_folder, read_card
    from microgen.data.fetch import fetch as fetch_files

    from .generated import generate

    card = read_card(card_folder(name) / CARD)
    out = out or Path(name)
    with lock(out / ".lock"):
        if card.kind == "generated":
            done = generate(name, out, only=only, say=say)
        else:
            with _progress(name) as report:
                done = fetch_files(name, out, mirror=mirror, only=only, renew=renew, report=report)
    if done.left_out:
        say(f"left out, because only a mirror has them (--mirror): {', '.join(done.left_out)}")
    if not card.pixel_size_um:
        say(f"pixel size: {card.pixel_size_note}")
    say(f"{out}: {len(done.new)} files new, {len(done.kept)} kept; licence {card.licence}")
    files = {"new": list(done.new), "kept": list(done.kept), "left_out": list(done.left_out)}
    print_result({"name": name, "out": str(out), "licence": card.licence, "citation": card.citation, **files})


def _row(card: Any) -> dict[str, Any]:
    row = {"title": card.title, "kind": card.kind, "licence": card.licence}
    return row if card.kind == "generated" else {**row, "megabytes": _megabytes(card), "files": len(card.files)}


def _megabytes(card: Any) -> float:
    return float(round(card.bytes / 1e6, 2))


@contextlib.contextmanager
def _progress(name: str) -> Iterator[Callable[[CardFile, int], None]]:
    """Show how far each file is: a bar on a terminal, a line a file elsewhere."""
    if not sys.stderr.isatty():
        yield lambda file, done: say(f"{name}: {file.path}") if done == file.bytes else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(name)
        yield lambda file, done: bars.update(task, description=file.path, completed=done, total=file.bytes)
