"""The demonstration: synthetic etched polycrystals by a recipe, and a fit of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from microgen.core import Microstructure
from microgen.core.config import Config, merge, read_toml, validate
from microgen.core.recipe import recipe as make_recipe
from microgen.core.seeds import rng

from .pipeline import FitSettings, fit

Say = Callable[[str], None]
NAME = "etched_polycrystal"
"""Data set whose recipe the demonstration follows."""


class Pictures(Config):
    """The synthetic micrographs."""

    count: PositiveInt = Field(20, description="pictures")
    size: tuple[PositiveInt, PositiveInt] = Field((256, 256), description="pixels (Y, X)")
    pixel_size_um: PositiveFloat = Field(0.5, description="micrometres per pixel")
    grain_size_um: tuple[PositiveFloat, PositiveFloat] = Field(
        (5.0, 20.0), description="smallest and largest mean intercept"
    )
    seed: NonNegativeInt = 0


class Recipe(Config):
    """What the demonstration does."""

    pictures: Pictures = Pictures()
    fit: FitSettings = FitSettings()


def read_recipe(settings: Iterable[str]) -> Recipe:
    """Read the recipe of the embedded data set and lay ``key=value`` settings over it.

    Raises
    ------
    InputError
        For a key or a value that the recipe cannot have.
    """
    from microgen.data.cards import cards_folder

    table = read_toml(cards_folder() / NAME / "recipe.toml")
    return validate(Recipe, merge(table, settings), where=f"recipe of {NAME}")


def demo(out: Path, recipe: Recipe, *, say: Say) -> dict[str, Any]:
    """Make the micrographs, fit them, and say how well the grain sizes asked for were met."""
    say(f"making {recipe.pictures.count} synthetic micrographs")
    folder = out / "micrographs"
    write_pictures(folder, recipe.pictures)
    summary = fit([folder], out, recipe.fit, say=say)
    for row in summary["requested"]:
        say(f"asked for {row['requested']:.3g} um, measured {row['measured']:.3g} um ({row['error']:+.0%})")
    say(f"look at {out / 'samples.png'} and {out / 'report.html'}")
    return summary


def write_pictures(folder: Path, pictures: Pictures) -> None:
    """Write the micrographs as PNG with their scale, the same bytes every time."""
    from microgen import io

    names = {f"polycrystal_{number:03d}.png" for number in range(pictures.count)}
    for old in folder.glob("polycrystal_*.png"):
        if old.name not in names:
            old.unlink()
    for number, structure in render(pictures):
        details = make_recipe("demo", number=number, pictures=pictures.model_dump(mode="json"))
        io.write(folder / f"polycrystal_{number:03d}.png", structure, details)


def render(pictures: Pictures) -> Iterator[tuple[int, Microstructure]]:
    """Yield the micrographs; grain sizes are spread evenly over the range on a logarithmic scale."""
    from microgen.synth import polycrystal, render_micrograph

    low, high = pictures.grain_size_um
    spacing = (pictures.pixel_size_um,) * 2
    parts = rng(pictures.seed).permutation((np.arange(pictures.count) + 0.5) / pictures.count)
    for number, part in enumerate(parts):
        seed = int(rng(pictures.seed, number).integers(2**31))
        grains = polycrystal(seed, pictures.size, spacing, float(low * (high / low) ** part))
        micrograph = render_micrograph(seed, grains)
        # without its nominal size: the demonstration measures sizes, as for a real picture
        yield number, Microstructure({"intensity": micrograph["intensity"]}, spacing)
