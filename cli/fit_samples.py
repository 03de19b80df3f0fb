"""The samples of a fit: some distributed like the held-out windows, some at single values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import Condition, ConditionSpec

from .stages import Stages

if TYPE_CHECKING:
    from .pipeline import FitSettings, Paths

Array = NDArray[np.float64]
Say = Callable[[str], None]

LEVELS = 24
"""Values that together stand for the distribution over the held-out windows, equally many samples of each."""

COVERED = (0.1, 0.9)
"""Share of the real windows below the smallest and the largest value that is asked for by itself."""

FIRST_SEED = 10_000
"""Of samples at single values."""


@dataclass(frozen=True)
class Samples:
    """Files of samples of this model and these settings; folders may hold others from earlier runs.

    Attributes
    ----------
    like_held_out, at_values
        For the comparison with real windows, and for requested against measured (empty without a condition).
    """

    like_held_out: list[Path]
    at_values: list[Path]


def make_samples(
    paths: Paths, condition: ConditionSpec | None, settings: FitSettings, stages: Stages, say: Say
) -> Samples:
    """Make those that are missing."""
    total = settings.samples_like_held_out
    if condition is None:
        say(f"sample: {total}")
        return Samples(_made(paths, paths.like_held_out, range(total), settings), [])
    chosen = _chosen(paths, condition, settings, stages)
    name, levels = condition.name, chosen["like_held_out"]
    say(f"sample: {total} with the {name} of the held-out images")
    like, at = [], []
    for value, seeds in shared(levels, total).items():
        like += _made(paths, paths.like_held_out / f"{name}_{value:g}", seeds, settings, Condition({name: value}))
    own = range(FIRST_SEED, FIRST_SEED + settings.samples_per_value)
    for value in chosen["at_values"]:
        say(f"sample: {len(own)} of {name} = {value:g}")
        at += _made(paths, paths.at_values / f"{name}_{value:g}", own, settings, Condition({name: value}))
    return Samples(like, at)


def _made(
    paths: Paths, folder: Path, seeds: Sequence[int], settings: FitSettings, condition: Condition | None = None
) -> list[Path]:
    from microgen.generate import sample_to_folder

    sample_to_folder(paths.model, folder, seeds, conditions=[condition] if condition else [], **settings.sample)
    return [file for seed in seeds for file in folder.glob(f"seed_{seed:06d}.*")]


def shared(levels: Sequence[float], total: int) -> dict[float, list[int]]:
    """Seeds for each value, equally many per level; more samples keep those that were there.

    >>> shared([1.0, 2.0, 2.0], 6)
    {1.0: [0, 3], 2.0: [1, 4, 2, 5]}
    """
    each = -(-total // len(levels))
    seeds: dict[float, list[int]] = {}
    for number, value in enumerate(levels):
        seeds.setdefault(value, []).extend(range(number, each * len(levels), len(levels)))
    return seeds


def _chosen(paths: Paths, condition: ConditionSpec, settings: FitSettings, stages: Stages) -> dict[str, Any]:
    """Values to ask for; measured on the data set, so they are remembered."""

    def choose() -> dict[str, Any]:
        held, train = (window_values(paths, condition, split) for split in ("held_out", "train"))
        total = settings.samples_like_held_out
        levels = quantiles(held, _middles(min(LEVELS, total)), min(total, settings.windows))
        both = (np.concatenate([held[0], train[0]]), np.concatenate([held[1], train[1]]))
        low, high = quantiles(both, np.array(COVERED), len(both[0])).clip(condition.low, condition.high)
        return {
            "like_held_out": rounded(levels.clip(condition.low, condition.high)),
            "at_values": list(settings.values) or spread(float(low), float(high), log=condition.scale == "log"),
        }

    asked = {"condition": condition.name, "range": [condition.low, condition.high], "windows": settings.windows}
    asked |= {"values": list(settings.values), "samples": settings.samples_like_held_out}
    return stages.do("choose values", choose, settings=asked, reads=[paths.data, paths.plan], writes=[])


def window_values(paths: Paths, condition: ConditionSpec, split: Any) -> tuple[Array, NDArray[Any]]:
    """Condition of windows side by side, as the whole pictures show it, and the specimen of each, ``(k,)``."""
    from microgen.data import Dataset, Patches, read_plan
    from microgen.evaluate.windows import tiles

    data = Dataset.open(paths.data)
    crops = Patches(data, read_plan(paths.plan), split)
    values, owners = [], []
    for image in crops.images:
        found = image.scalar(condition.name, np.array(tiles(image.field.shape[1:], crops.shape)), crops.shape)
        values.append(found)
        owners.append(np.full(len(found), data.specimen_of(image.name)))
    return np.concatenate(values), np.concatenate(owners)


def quantiles(found: tuple[Array, NDArray[Any]], parts: Array, drawn: int) -> Array:
    """Quantiles over windows, as evenly over the specimens as the report draws them.

    Parameters
    ----------
    found
        Value and specimen of each window.
    drawn
        Windows that the report draws.
    """
    from microgen.evaluate.windows import chances

    values, owners = found
    order = np.argsort(values, kind="stable")
    below = np.cumsum(chances(owners, drawn)[order])
    return np.asarray(values[order][np.searchsorted(below / below[-1], parts)])


def _middles(count: int) -> Array:
    return np.asarray((np.arange(count) + 0.5) / count)


def rounded(values: Array) -> list[float]:
    """Values as they can be read in the name of a folder."""
    return [float(f"{value:.4g}") for value in values]


def spread(low: float, high: float, *, log: bool, count: int = 5) -> list[float]:
    """Values from `low` to `high`, both included, at equal distances or equal ratios.

    >>> spread(2, 32, log=True)
    [2.0, 4.0, 8.0, 16.0, 32.0]
    >>> spread(6.035, 11.79, log=True)[-1]  # not 11.8, which a model that learned up to 11.79 refuses
    11.79
    """
    values = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
    # three digits are enough for people, but rounding must not lead out of the range
    return list(dict.fromkeys(min(max(float(f"{value:.3g}"), low), high) for value in values))
