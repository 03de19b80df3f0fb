"""Known data sets."""

from __future__ import annotations

import click

from .options import print_result


@click.group()
def command() -> None:
    """List and show the data sets that come with microgen.

    Cards say what a data set shows, its licence, its pixel sizes and where its files are published, each with its
    SHA-256. Library twin: microgen.data.cards.

    \b
    Example:  microgen datasets show steel_optical_grains
    """


@command.command("list")
def list_() -> None:
    """List the data sets.

    Library twin: microgen.data.cards.cards.

    \b
    Example:  microgen datasets list
    """
    from microgen.data.cards import cards

    print_result({name: {"title": card.title, "licence": card.licence} for name, card in cards().items()})


@command.command()
@click.argument("name")
def show(name: str) -> None:
    """Show the card of one data set.

    Library twin: microgen.data.cards.read_card.

    \b
    Example:  microgen datasets show steel_optical_grains
    """
    from microgen.core import InputError
    from microgen.data.cards import cards, cards_folder

    known = cards()
    if name not in known:
        raise InputError(f"there is no data set {name!r}; known are {', '.join(known)}")
    print_result({"name": name, "folder": str(cards_folder() / name), **known[name].model_dump(mode="json")})
