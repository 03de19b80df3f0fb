"""The main number: how far generated lies from real, as a multiple of how far real lies from real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.evaluate.draws import Counts, Pool, divided, joined
from microgen.evaluate.features import Feature
from microgen.evaluate.windows import Indices

Array = NDArray[Any]
Pair = tuple[Counts, Counts]


@dataclass(frozen=True, eq=False)
class Draws:
    """Every pair of sets that is compared, as counts of windows.

    Attributes
    ----------
    generated
        Generated against held-out real.
    actual
        Training against held-out real, the same held-out windows as in `generated`; or, where there are no
        training pictures, one half of the held-out pictures against the other.
    typical
        Two sets of real pictures divided at random, in the same numbers; equal to `actual` without training pictures.
    bootstrap
        The first two pairs again, with whole pictures and samples drawn with replacement.
    floors
        Surrogates against held-out real, by name.
    """

    generated: Pair
    actual: Pair
    typical: Pair
    bootstrap: tuple[Pair, Pair]
    floors: Mapping[str, Pair]


@dataclass(frozen=True)
class Distances:
    """Distances of one descriptor, in its unit; intervals hold 95 %.

    Attributes
    ----------
    distance, interval
        Generated against held-out real.
    ceiling
        Real against real: root mean square of the division as it is and of random divisions by picture.
    floors
        Surrogates against held-out real.
    ratio, ratio_interval
        Distance over ceiling.
    """

    distance: float
    interval: tuple[float, float]
    ceiling: float
    floors: dict[str, float]
    ratio: float
    ratio_interval: tuple[float, float]


def make_draws(
    rng: np.random.Generator,
    generated: Pool,
    held_out: Pool,
    train: Pool | None,
    floors: Mapping[str, Pool],
    *,
    wanted: Indices,
    total: int,
    repeats: int = 200,
) -> Draws:
    """Draw every pair that is to be compared.

    Parameters
    ----------
    wanted
        Number of windows per size class that each side of each pair gets.
    total
        Number of windows in the table that the pools point into.
    repeats
        Draws per pair.
    """

    pictures = len(np.unique(held_out.groups))

    def draw(sides: Callable[[], tuple[Pool, ...]], times: int = repeats) -> list[Counts]:
        drawn = [[pool.draw(rng, wanted) for pool in sides()] for _ in range(times)]
        return [np.array([np.bincount(i, minlength=total) for i in side], float) for side in zip(*drawn, strict=True)]

    def sides() -> tuple[Pool, ...]:
        return generated, *((held_out, train) if train else divided(rng, held_out, pictures // 2))

    def again() -> tuple[Pool, ...]:
        both = (held_out.resampled(rng), train.resampled(rng)) if train else divided(rng, held_out, pictures // 2)
        return generated.resampled(rng), *both

    made, held, other = draw(sides)
    made_again, held_again, other_again = draw(again)
    typical = draw(lambda: divided(rng, joined(held_out, train), pictures)) if train else [other, held]
    low = {name: draw(lambda pool=pool: (pool, held_out), 20) for name, pool in floors.items()}  # type: ignore[misc]
    return Draws(
        (made, held),
        (other, held),
        (typical[0], typical[1]),
        ((made_again, held_again), (other_again, held_again)),
        {name: (pair[0], pair[1]) for name, pair in low.items()},
    )


def distances(feature: Feature, draws: Draws) -> Distances:
    """Distances of one descriptor over all draws."""
    return summary(lambda pair: feature.distance(feature.means(pair[0]), feature.means(pair[1])), draws)


def summary(distance: Callable[[Pair], Array], draws: Draws) -> Distances:
    """Distances over all draws, for a function from a pair of counts ``(r, n)`` to `r` distances.

    All averages are root mean squares. Resampling whole pictures widens every distance a little, so the replicates
    are centred on the estimate before their percentiles are taken.
    """
    generated = _rms(distance(draws.generated))
    typical = _rms(distance(draws.typical))
    ceiling = _joint(_rms(distance(draws.actual)), typical)
    again = distance(draws.bootstrap[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = again / _joint(distance(draws.bootstrap[1]), typical)
    ratio = float(_over(generated, ceiling))
    floors = {name: float(_rms(distance(pair))) for name, pair in draws.floors.items()}
    return Distances(
        float(generated), _interval(generated, again), float(ceiling), floors, ratio, _interval(ratio, ratios)
    )


def _rms(values: Array) -> Any:
    known = values[np.isfinite(values)]
    return np.sqrt(np.mean(known**2)) if known.size else np.nan


def _joint(a: Any, b: Any) -> Any:
    return np.sqrt((np.square(a) + np.square(b)) / 2)


def _over(a: Any, b: Any) -> Any:
    """Quotient; two distances of nothing are equal."""
    if b > 1e-12:
        return a / b
    return 1.0 if a <= 1e-12 else np.inf


def _interval(estimate: float, replicates: Array) -> tuple[float, float]:
    """95 % of the replicates, moved (as factors) so that their median is the estimate."""
    known = replicates[np.isfinite(replicates) & (replicates > 0)]
    if not np.isfinite(estimate) or not known.size:
        return (float("nan"), float("nan"))
    low, high = np.quantile(known / np.median(known), [0.025, 0.975])
    return (float(estimate * low), float(estimate * high))
