"""Directions of a latent space that move a descriptor, learned from samples, and how far to go for a wanted value.

The descriptor is measured on samples and regressed on their latents by ridge regression. A walk replaces the component
of a latent along the direction, so that all others stay what they are.

Shapes: N samples, D latent numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from microgen.core import Condition, InputError
from microgen.generate.judging import INDEPENDENT, measured, period_of
from microgen.generate.lines import Line, decoded
from microgen.models.conditions import tell
from microgen.models.latents import Latents
from microgen.stats import DESCRIPTORS

if TYPE_CHECKING:
    from microgen.models.model import Model

Array = NDArray[np.float64]
FARTHEST = 4.0
"""How far a walk may go, in standard deviations of the latents along the direction."""
LEAST_R2 = 0.05
"""Part of the variance of a descriptor that a direction must explain, in samples it was not learned from."""
_GRID, _ROUNDS = 17, 5


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction in latent space.

    Attributes
    ----------
    parts
        The direction, one sample of each part it moves; of length 1 over all parts together.
    mean, spread
        Of the components of the latents of samples along it.
    r2
        Part of the variance that a straight line along the direction explains in samples it was not learned from; NaN
        where it was not learned from a number.
    """

    parts: Mapping[str, Tensor]
    mean: float
    spread: float
    r2: float

    def component(self, latents: Latents) -> Tensor:
        """Return the place of latents along the direction ``(B,)``, in standard deviations from the mean."""
        along = torch.stack([(latents[n].double() * v.double()).flatten(1).sum(1) for n, v in self.parts.items()])
        return (along.sum(dim=0) - self.mean) / self.spread

    def moved(self, latents: Latents, place: float) -> dict[str, Tensor]:
        """Return latents at another place along the direction, and elsewhere the same."""
        by = (place - self.component(latents)) * self.spread
        changed = dict(latents)
        for name, vector in self.parts.items():
            step = by.reshape(-1, *(1,) * vector.ndim) * vector.double()
            changed[name] = (latents[name].double() + step).to(latents[name])
        return changed


def learn_direction(latents: Latents, values: Sequence[float], moving: Sequence[str] | None = None) -> Direction:
    """Learn the direction in which a number rises.

    Parameters
    ----------
    latents
        Of N samples.
    values
        The number of each.
    moving
        Parts that the direction may move; default all.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict

    names = list(moving or latents)
    table = flat(latents, names)
    wanted = np.asarray(values, np.float64)
    if np.ptp(wanted) == 0:
        raise InputError("the descriptor is the same on all samples, so no direction moves it")
    model = RidgeCV(np.logspace(-1, 6, 15))
    scaled = (wanted - wanted.mean()) / wanted.std()
    predicted = cross_val_predict(model, table, scaled, cv=KFold(5, shuffle=True, random_state=0))
    r2 = 1 - float(((scaled - predicted) ** 2).mean())
    return replace(direction_of(model.fit(table, scaled).coef_, latents, names), r2=r2)


def direction_of(vector: Array, latents: Latents, names: Sequence[str]) -> Direction:
    """Return the direction of a flat vector ``(D,)`` of some parts, with the spread of these latents along it."""
    unit = np.asarray(vector / np.linalg.norm(vector))
    along = flat(latents, names) @ unit
    return Direction(_parts(unit, latents, names), float(along.mean()), float(along.std()), float("nan"))


def flat(latents: Latents, names: Sequence[str]) -> Array:
    """Return parts of latents as a table ``(N, D)``."""
    return torch.cat([latents[name].flatten(1) for name in names], dim=1).double().cpu().numpy()


def searchable(
    model: Model, latents: Latents, condition: Condition | None = None, shape: Sequence[int] | None = None
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the same samples in the space of the family that is easiest to search, and the parts to search in."""
    from microgen.models.families import FAMILIES

    family: Any = FAMILIES[model.family]
    if not hasattr(family, "mapped"):
        return dict(latents), list(latents)
    count = len(next(iter(latents.values())))
    request = model.request(condition, shape)
    like = torch.zeros((count, model.codec.channels, *request.shape), device=model.device)
    with torch.no_grad():
        found: dict[str, Tensor] = family.mapped(
            model, latents, tell(model.conditions, [request.condition] * count, like=like)
        )
    return found, [name for name in found if name not in latents]


def direction_of_descriptor(
    model: Model,
    name: str,
    *,
    samples: int = 256,
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
    **options: Any,
) -> Direction:
    """Learn the direction in which a descriptor of :data:`microgen.stats.DESCRIPTORS` rises.

    Raises
    ------
    InputError
        For unknown descriptors, angles, and where no direction foretells the descriptor of new samples.
    """
    check_descriptor(name)
    latents, moving = searchable(
        model, model.latents(range(INDEPENDENT, INDEPENDENT + samples), shape), condition, shape
    )
    found = [table.get(name) for table in measured(list(model.decode(latents, condition, shape, **options)), [name])]
    known = [k for k, value in enumerate(found) if value is not None]
    if len(known) < 20:
        raise InputError(f"{name} can be measured on {len(known)} of {samples} samples, too few to learn a direction")
    direction = learn_direction({n: p[known] for n, p in latents.items()}, [found[k] for k in known], moving)  # type: ignore[misc]
    if direction.r2 < LEAST_R2:
        raise InputError(
            f"no direction of this latent space foretells {name} (cross-validated R2 {direction.r2:.2f} in {samples} "
            "samples); learn from more samples, or train with it as a condition"
        )
    return direction


def along_direction(
    model: Model,
    direction: Direction,
    seed: int,
    *,
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
) -> Line:
    """Return the line of one seed along a direction; place is in standard deviations from the mean latent."""
    start, _ = searchable(model, model.latents([seed], shape), condition, shape)
    asked = condition or Condition()
    return Line(f"seed_{seed:06d}", lambda place: (direction.moved(start, place), asked))


def calibrated(
    model: Model,
    line: Line,
    name: str,
    wanted: Sequence[float],
    *,
    between: tuple[float, float],
    shape: Sequence[int] | None = None,
    **options: Any,
) -> list[float]:
    """Return the places on a line where a descriptor, as measured, has the wanted values; see :func:`places_of`."""

    def values(places: Sequence[float]) -> list[float]:
        found = measured(decoded(model, line, places, shape, **options), [name])
        return [table.get(name, float("nan")) for table in found]

    try:
        return places_of(values, wanted, between=between)
    except InputError as error:
        raise InputError(f"{line.name}: {name} {error}") from error


def places_of(
    values: Callable[[Sequence[float]], Sequence[float]], wanted: Sequence[float], *, between: tuple[float, float]
) -> list[float]:
    """Return where a noisy, on the whole monotonic function has the wanted values.

    It is looked at on a grid, whose monotonic fit (isotonic regression) says between which grid points each value is
    crossed; bisection with the function itself goes on from there.

    Raises
    ------
    InputError
        If the function does not reach a wanted value.

    Examples
    --------
    >>> [round(p, 2) for p in places_of(lambda xs: [x**2 for x in xs], [0.25, 4.0], between=(0.0, 3.0))]
    [0.5, 2.0]
    """
    from sklearn.isotonic import IsotonicRegression

    grid = np.linspace(*between, _GRID)
    found = np.asarray(values(list(grid)), np.float64)
    known = np.isfinite(found)
    if known.sum() < 3:
        raise InputError("cannot be measured on this line")
    fitted = IsotonicRegression(increasing="auto", out_of_bounds="clip").fit(grid[known], found[known]).predict(grid)
    low, high = float(fitted.min()), float(fitted.max())
    slack = 1e-6 * max(abs(low), abs(high))
    if min(wanted) < low - slack or max(wanted) > high + slack:
        raise InputError(f"goes from {low:.4g} to {high:.4g} on this line; ask for values in between")
    rising = fitted[-1] >= fitted[0]
    brackets = [_bracket(grid, fitted if rising else -fitted, value if rising else -value) for value in wanted]
    for _ in range(_ROUNDS):
        brackets = _halved(values, brackets, wanted, rising=rising)
    return [float(sum(bracket) / 2) for bracket in brackets]


Bracket = tuple[float, float]


def _bracket(grid: Array, rising: Array, value: float) -> Bracket:
    """The grid points between which a rising function crosses a value, around the middle of a flat stretch."""
    first, last = (int(np.searchsorted(rising, value, side=side)) for side in ("left", "right"))
    return float(grid[max(first - 1, 0)]), float(grid[min(last, len(grid) - 1)])


def _halved(
    values: Callable[[Sequence[float]], Sequence[float]],
    brackets: Sequence[Bracket],
    wanted: Sequence[float],
    *,
    rising: bool,
) -> list[Bracket]:
    middles = [(a + b) / 2 for a, b in brackets]
    found = values(middles)
    below = [(value < goal) == rising for value, goal in zip(found, wanted, strict=True)]
    return [(m, b) if low else (a, m) for (a, b), m, low in zip(brackets, middles, below, strict=True)]


def check_descriptor(name: str) -> None:
    """Refuse what is no number that can rise and fall."""
    if name.partition(":")[0] not in DESCRIPTORS:
        raise InputError(f"{name!r} is neither a condition of this model nor a descriptor; see microgen measure")
    if period_of(name) is not None:
        raise InputError(f"{name} is an angle, for which there is no direction; go along a condition of the model")


def _parts(unit: Array, latents: Latents, names: Sequence[str]) -> dict[str, Tensor]:
    """Cut a flat vector into parts of one sample."""
    sizes = [latents[name][0].numel() for name in names]
    cut = torch.split(torch.from_numpy(np.asarray(unit)).to(latents[names[0]].device), sizes)
    return {name: piece.reshape(latents[name].shape[1:]) for name, piece in zip(names, cut, strict=True)}
