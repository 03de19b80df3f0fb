"""Data sets that are made on the spot: their recipes, carried out by microgen.synth."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from microgen.core import InputError
from microgen.core.config import Config, merge, read_toml, validate
from microgen.core.recipe import recipe as make_recipe
from microgen.data.cards import RECIPE, card_folder
from microgen.data.fetch import Fetched, write_notes

from .embedded import NAME as DEMO
from .embedded import read_recipe, write_pictures
from .synth import make, refuse_others

Say = Callable[[str], None]


class Making(Config):
    """One folder of structures: what ``microgen synth KIND`` would make, a file a seed."""

    folder: str = Field(pattern=r"^\w+$")
    kind: str
    count: PositiveInt = 1
    seed: NonNegativeInt = Field(0, description="that of the first structure")
    size: tuple[PositiveInt, ...] = Field(min_length=2, max_length=3)
    pixel_size_um: PositiveFloat
    format: str = "h5"
    parameters: dict[str, Any] = Field(default_factory=dict)

    def files(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the path of every structure and its recipe."""
        for seed in range(self.seed, self.seed + self.count):
            yield (
                f"{self.folder}/seed_{seed:06d}.{self.format}",
                {
                    "kind": self.kind,
                    "shape": list(self.size),
                    "spacing": [self.pixel_size_um] * len(self.size),
                    "seed": seed,
                    "parameters": self.parameters,
                },
            )


class Recipe(Config):
    """All folders of a data set."""

    make: tuple[Making, ...] = Field(min_length=1)


def generate(name: str, out: Path, *, only: Iterable[str] = (), settings: Iterable[str] = (), say: Say) -> Fetched:
    """Make a generated data set in `out`, with its card and pixel sizes; files that are there and right are kept.

    Parameters
    ----------
    only
        Shell patterns of paths, as for :func:`microgen.data.fetch.fetch`.
    settings
        ``key=value`` laid over the recipe of the demonstration.

    Raises
    ------
    InputError
        If nothing matches `only`, the recipe cannot be carried out, or another file is in the way.
    """
    folder, only = card_folder(name), tuple(only)
    if name == DEMO:
        pictures = read_recipe(settings).pictures
        say(f"making {pictures.count} micrographs")
        write_pictures(out / "micrographs", pictures)
        done = Fetched(
            tuple(f"micrographs/{path.name}" for path in sorted((out / "micrographs").glob("*.png"))), (), ()
        )
    else:
        recipe = validate(Recipe, merge(read_toml(folder / RECIPE), settings), where=f"recipe of {name}")
        done = _make(name, recipe, out, only, say)
    write_notes(folder, out)
    return done


def _make(name: str, recipe: Recipe, out: Path, only: tuple[str, ...], say: Say) -> Fetched:
    files = [file for making in recipe.make for file in making.files()]
    if only:
        files = [file for file in files if any(fnmatch.fnmatchcase(file[0], pattern) for pattern in only)]
    if not files:
        raise InputError(f"no file of {name} matches {' or '.join(only)}; see microgen datasets show {name}")
    new: list[str] = []
    for number, (path, details) in enumerate(files, 1):
        if _write(out / path, details):
            new.append(path)
            say(f"{number}/{len(files)} {path}")
    return Fetched(tuple(new), tuple(path for path, _ in files if path not in new), ())


def _write(path: Path, details: dict[str, Any]) -> bool:
    from microgen import io

    now = make_recipe("synth", **details)
    if path.exists() and io.read_recipe(path) == now:
        return False
    refuse_others(path, details["kind"])
    io.write(path, make(details), now)
    return True
