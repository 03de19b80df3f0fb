"""Cards of known data sets: what each shows, where it comes from, and under which licence."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from pydantic import Field, PositiveFloat, field_validator

import microgen
from microgen.core import InputError
from microgen.core.config import Config, read_toml, validate


class CardFile(Config):
    """One file of a data set."""

    path: str = Field(description="where it belongs inside the folder of the data set")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    url: str | None = Field(None, pattern=r"^https://", description="where to get it; none for files that ship with us")

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or re.search(r'[\\:*?"<>|]', path):
            raise ValueError("must be a plain relative path with forward slashes")
        return path


class Card(Config):
    """What ``datasets/<name>/card.toml`` says.

    Attributes
    ----------
    pixel_size_um
        Micrometres per pixel by folder or pattern, as in ``pixel_sizes.toml``; ``"*"`` for all files.
    synthetic
        True where a program made the images.
    truth
        Known values to check measurements against, in words.
    """

    title: str
    description: str = ""
    licence: str
    source: str | None = Field(None, pattern=r"^https://")
    citation: str = ""
    synthetic: bool = False
    pixel_size_um: dict[str, PositiveFloat] = Field(min_length=1)
    phases: tuple[str, ...] = ()
    truth: str = ""
    files: tuple[CardFile, ...] = ()


def cards_folder() -> Path:
    """Folder of the cards: inside the installed package, or beside it in a source tree."""
    package = Path(microgen.__file__).parent
    for folder in (package / "datasets", package.parent / "datasets"):
        if any(folder.glob("*/card.toml")):
            return folder
    raise InputError("the cards of the data sets are missing from this installation; install microgen-toolkit again")


def read_card(path: Path | str) -> Card:
    """Read one card, or raise an InputError that names every wrong key."""
    return validate(Card, read_toml(path), where=str(path))


def cards() -> dict[str, Card]:
    """Return all cards by name.

    >>> cards()["steel_optical_grains"].licence
    'MIT'
    """
    return {path.parent.name: read_card(path) for path in sorted(cards_folder().glob("*/card.toml"))}
