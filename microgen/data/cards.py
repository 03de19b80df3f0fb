"""Cards of known data sets: what each shows, where it comes from, and under which licence."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

import microgen
from microgen.core import InputError
from microgen.core.config import Config, read_toml, validate
from microgen.data.pixel_sizes import SIDECAR

CARD = "card.toml"
RECIPE = "recipe.toml"
"""File beside the card of a generated set that says how it is made."""

Kind = Literal["image", "ebsd", "volume", "mesh", "table", "generated"]
Url = Annotated[str, Field(pattern=r"^https://[^\s]+$")]


class CardFile(Config):
    """One file of a data set."""

    path: str = Field(description="where it belongs inside the folder of the data set")
    bytes: PositiveInt
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    urls: tuple[Url, ...] = Field((), description="where it is published, tried in order; none: only from a mirror")

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        return _plain(path)

    @property
    def is_notice(self) -> bool:
        """Whether this is the text of a licence, which goes wherever the data go."""
        return PurePosixPath(self.path).stem.lower() in ("license", "licence", "copying", "notice")


class Card(Config):
    """What ``datasets/<name>/card.toml`` says.

    Attributes
    ----------
    kind
        ``"image"``, ``"ebsd"`` (orientation maps), ``"volume"``, ``"mesh"`` (cells and surfaces), ``"table"``
        (reference values), or ``"generated"``: made on the spot from the ``recipe.toml`` beside the card.
    synthetic
        True where a program made the data.
    pixel_size_um
        Micrometres per pixel by folder or pattern, as in ``pixel_sizes.toml``; ``"*"`` for all files; one number, or
        one per axis.
    pixel_size_note
        Where these numbers come from; needed where there are none, to say why.
    truth
        Known values to check measurements against, in words.
    traps
        What is easily misread.
    mirror_folder
        Folder of these files in a mirror that is not laid out by the names of cards.
    """

    title: str
    kind: Kind
    description: str = ""
    licence: str
    source: Url | None = None
    citation: str = ""
    synthetic: bool = False
    pixel_size_um: dict[str, PositiveFloat | tuple[PositiveFloat, ...]] = Field(default_factory=dict)
    pixel_size_note: str = ""
    phases: tuple[str, ...] = ()
    truth: str = ""
    traps: str = ""
    mirror_folder: str | None = None
    files: tuple[CardFile, ...] = ()

    @field_validator("mirror_folder")
    @classmethod
    def _inside(cls, path: str | None) -> str | None:
        return path if path is None else _plain(path)

    @model_validator(mode="after")
    def _complete(self) -> Card:
        if not self.pixel_size_um and not self.pixel_size_note:
            raise ValueError("pixel_size_um is empty: say why in pixel_size_note")
        if (self.kind == "generated") == bool(self.files):
            raise ValueError("generated sets have a recipe and no files, all others have files")
        seen = Counter(file.path.casefold() for file in self.files)
        twice = [path for path, count in seen.items() if count > 1 or path in (CARD, SIDECAR)]
        if twice:
            raise ValueError(f"two files would be called {twice[0]}")
        return self

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)

    def sidecar(self) -> str | None:
        """Text of the ``pixel_sizes.toml`` that belongs beside the files, None where no pixel size is known.

        >>> print(cards()["nist_gsat_steel"].sidecar().splitlines()[-1])
        "*" = 0.2252
        """
        if not self.pixel_size_um:
            return None
        notes = [f"# {line}" for line in self.pixel_size_note.strip().splitlines()]
        rows = [f"{json.dumps(pattern)} = {json.dumps(size)}" for pattern, size in self.pixel_size_um.items()]
        return "\n".join([f"# {self.title}", *notes, "[pixel_size_um]", *rows, ""])


def cards_folder() -> Path:
    """Folder of the cards: inside the installed package, or beside it in a source tree."""
    package = Path(microgen.__file__).parent
    for folder in (package / "datasets", package.parent / "datasets"):
        if any(folder.glob(f"*/{CARD}")):
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
    return {path.parent.name: read_card(path) for path in sorted(cards_folder().glob(f"*/{CARD}"))}


def cards_beside(paths: Iterable[Path]) -> list[dict[str, str]]:
    """Return title, licence, source and citation of the data sets that files or folders belong to.

    :func:`microgen.data.fetch.fetch` leaves the card of a data set in its folder.
    """
    folders = {parent for path in paths for parent in ([path] if path.is_dir() else path.parents[:2])}
    found = [read_card(folder / CARD) for folder in sorted(folders) if (folder / CARD).is_file()]
    names = ("title", "licence", "source", "citation")
    return [{name: str(value) for name in names if (value := getattr(card, name))} for card in found]


def card_folder(name: str) -> Path:
    """Folder of the card of one data set.

    Raises
    ------
    InputError
        If there is no such data set; the message lists those that are meant or there.
    """
    known = [path.parent.name for path in sorted(cards_folder().glob(f"*/{CARD}"))]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise InputError(
            f"there is no data set {name!r}; "
            + (f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}")
        )
    return cards_folder() / name


def _plain(path: str) -> str:
    """Refuse paths that could leave their folder on any system, or that some system cannot have."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or part != part.rstrip(". ") for part in parts) or re.search(
        r'[\\:*?"<>|\x00-\x1f\x7f]', path
    ):
        raise ValueError("must be a plain relative path with forward slashes")
    return path
