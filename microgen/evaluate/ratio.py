"""The main number: how far generated lies from real, as a multiple of how far real lies from real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.evaluate.draws import Counts, Pool, common, divided, joined
from microgen.evaluate.features import Feature
from microgen.evaluate.windows import Indices

Array = NDArray[Any]
Pair = tuple[Counts, Counts]

TRIES = 20
"""Divisions tried until both sides share a size class."""


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
        Two sets of real pictures divided at random, in the same numbers.
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

    Whatever is drawn together has equally many windows of each size class on every side. A random division of the
    real pictures may lack a class on one side; then it is left out on both, and also from the draw of generated and
    held-out windows that this division is compared with, so that both distances are made of the same numbers.

    Parameters
    ----------
    wanted
        Number of windows per size class that each side of each pair gets at most.
    total
        Number of windows in the table that the pools point into.
    repeats
        Draws per pair; fewer where divisions have no size class in common.
    """

    pictures = len(np.unique(held_out.groups))

    def division() -> tuple[Pool, Pool]:
        return divided(rng, joined(held_out, train), pictures) if train else divided(rng, held_out, pictures // 2)

    def sides() -> list[Indices]:
        a, b = division()
        actual = (held_out, train) if train else (a, b)
        return [pool.draw(rng, common(wanted, a, b)) for pool in (generated, *actual, a, b)]

    def again() -> list[Indices]:
        real = (held_out.resampled(rng), train.resampled(rng)) if train else division()
        pools = (generated.resampled(rng), *real)
        return [pool.draw(rng, common(wanted, *pools)) for pool in pools]

    def noise(floor: Pool) -> list[Indices]:
        return [pool.draw(rng, common(wanted, floor, held_out)) for pool in (floor, held_out)]

    made, held, other, a, b = _counts([_first(sides) for _ in range(repeats)], 5, total)
    made_again, held_again, other_again = _counts([_first(again) for _ in range(repeats)], 3, total)
    low = {name: _counts([noise(pool) for _ in range(20)], 2, total) for name, pool in floors.items()}
    return Draws(
        (made, held),
        (other, held),
        (a, b),
        ((made_again, held_again), (other_again, held_again)),
        {name: (pair[0], pair[1]) for name, pair in low.items()},
    )


def _first(draw: Callable[[], list[Indices]]) -> list[Indices]:
    """The first draw that holds anything; an empty one if there is none in :data:`TRIES`."""
    tried = (draw() for _ in range(TRIES))
    return next((drawn for drawn in tried if len(drawn[0])), [])


def _counts(drawn: list[list[Indices]], sides: int, total: int) -> list[Counts]:
    """Counts over all windows ``(r, total)`` per side; draws that hold nothing are left out."""
    kept = [sets for sets in drawn if sets and len(sets[0])]
    return [
        np.array([np.bincount(sets[k], minlength=total) for sets in kept], float).reshape(-1, total)
        for k in range(sides)
    ]


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
    if np.isnan(a) or np.isnan(b):
        return np.nan
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
