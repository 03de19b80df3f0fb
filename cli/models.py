"""Models and their cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from microgen.core import InputError

from .options import print_result, say


@click.group()
def command() -> None:
    """List models, show and write their cards.

    A card says what a model makes and at which scale, what it can be asked for and in which range, from what it
    learned, how faithful its samples are, and under which licence it may be used. Training writes one beside every
    model; reading cards needs no torch.
    Library twin: microgen.models.card.

    \b
    Example:  microgen models show runs/steel
    """


@command.command("list")
@click.argument("folders", nargs=-1, type=click.Path(exists=True, path_type=Path))
def list_(folders: tuple[Path, ...]) -> None:
    """List the models in folders.

    Folders are searched through; without any, the present one is.
    Library twin: microgen.models.card.read_card.

    \b
    Example:  microgen models list runs
    """
    print_result({"models": _found(folders or (Path(),))})


@command.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--markdown", is_flag=True, help="Print the card for people instead of JSON.")
def show(model: Path, markdown: bool) -> None:
    """Show the card of one model: a model file or the folder of a training run.

    Library twin: microgen.models.card.read_card.

    \b
    Example:  microgen models show runs/steel
    """
    from microgen.models.card import as_markdown, read_card
    from microgen.models.file import find_model

    card = read_card(find_model(model))
    if markdown:
        click.echo(as_markdown(card), nl=False)
    else:
        print_result(card)


@command.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--report",
    "numbers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="REPORT.json",
    help="Numbers of `microgen evaluate --json` about samples of this model.",
)
@click.option("--licence", help="Licence of the weights, like CC-BY-4.0.")
@click.option("--notes", help="Anything a user should know.")
def card(model: Path, numbers: Path | None, licence: str | None, notes: str | None) -> None:
    """Add an evaluation, a licence or notes to the card of a model.

    Library twin: microgen.models.card.write_card.

    \b
    Example:  microgen models card runs/steel --report report.json --licence CC-BY-4.0
    """
    from microgen.models.card import write_card
    from microgen.models.file import find_model

    path = find_model(model)
    print_result(write_card(path, report=_numbers(numbers), licence=licence, notes=notes))
    say(f"wrote {path.with_name(path.stem + '.card.md')}")


def _found(folders: tuple[Path, ...]) -> list[dict[str, Any]]:
    from microgen.models.card import read_card

    files = sorted({file for folder in folders for file in ([folder] if folder.is_file() else _models_in(folder))})
    rows = []
    for file in files:
        try:
            found = read_card(file)
        except InputError as error:
            say(str(error))
            continue
        about = found["model"] | {"file": str(file)}
        asked = {c["name"]: c.get("labels") or [c["low"], c["high"]] for c in found["conditions"]}
        verdict = found["evaluation"]["headline"] if found["evaluation"] else None
        rows.append({**about, "makes": found["makes"]["field"], "conditions": asked, "evaluation": verdict})
    return rows


def _models_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.safetensors") if not _hidden(path.relative_to(folder))]


def _hidden(path: Path) -> bool:
    """Checkpoints and files being written are no models."""
    return any(part.startswith(".") or part == "checkpoints" for part in path.parts)


def _numbers(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        numbers: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); give the file that evaluate --json wrote") from error
    return numbers
