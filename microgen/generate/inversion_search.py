"""Searching the latent space of a model for structures that measure what they shall.

Seeds first; then downhill, where every target has a gradient; then an evolution strategy (CMA-ES, Hansen 2016,
arXiv:1604.00772) over the conditions and a blend of the best seeds, which asks nothing of a target but its value. What
counts is always the target measured on the decoded structure, rounded as it is written to a file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cma
import numpy as np
import torch
from numpy.typing import NDArray

from microgen.core import Condition, InputError, Microstructure
from microgen.core.seeds import rng
from microgen.generate.inversion_descent import descend
from microgen.generate.inversion_space import Points, Space
from microgen.generate.soft_targets import SoftTargets, are_soft
from microgen.generate.targets import Meaning, Target, Value
from microgen.models.model import Model

TOLERANCE, BUDGET = 0.02, 4000
"""Largest relative error of a target, and samples that may be made for one solution: the defaults of :func:`search`."""
SEEDS_APART = 100_000
"""Seeds between two solutions: no solution begins where another did."""
_SEEDS, _BLENDED = 16, 8
_EVERY, _DESCENTS, _RATE = 5, 2, 0.05
_STEP, _ROUNDS = 0.3, 4
_HOPELESS = 10.0
"""Relative error of what cannot be measured."""
_SAME = {"mean_intercept_um": "grain_size_um"}
"""Descriptors that are conditions under another name."""


@dataclass(frozen=True, eq=False)
class Solution:
    """The best structure found.

    Attributes
    ----------
    structure, points
        The structure and the one point it is decoded from.
    measured, errors
        By name of the target: what it measures, and the relative error.
    way
        What found it: ``"seed 3"``, ``"gradient"`` or ``"evolution"``.
    made
        Samples that were made on the way.
    """

    structure: Microstructure
    points: Points
    measured: dict[str, Value | None]
    errors: dict[str, float]
    way: str
    made: int

    @property
    def worst(self) -> float:
        """Largest relative error."""
        return max(self.errors.values())


def search(
    space: Space,
    targets: Sequence[Target],
    meaning: Meaning | None = None,
    *,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    budget: int = BUDGET,
    say: Callable[[str], None] = lambda message: None,
) -> Solution:
    """Search until every target is met within a tolerance, and return the best structure found.

    Parameters
    ----------
    space
        The model, the grid, and which conditions are given.
    targets
        At least one; the conditions begin at the targets of the same name.
    meaning
        How samples are looked at.
    seed
        First of the seeds that are used; the same seed finds the same structure.
    tolerance
        Largest relative error that is good enough.
    budget
        Samples that may be made.
    say
        Receives one line per stage.

    Returns
    -------
    Solution
        Whose :attr:`~Solution.worst` error may be above the tolerance, if the budget was spent.

    Raises
    ------
    InputError
        If a target is not for the samples of this model, or the model cannot make such samples.
    """
    if not targets:
        raise InputError("a search needs at least one target")
    _ = space.request
    hunt = _Hunt(space, list(targets), meaning or Meaning(), seed, tolerance, budget, say)
    hunt.run()
    return hunt.best()


def solutions(model: Model, targets: Sequence[Target], count: int, *, seed: int = 0, **how: Any) -> Iterator[Solution]:
    """Yield several solutions, each searched from seeds of its own; the arguments are those of :func:`search`.

    ``condition``, ``shape`` and the options of sampling are those of :meth:`microgen.models.model.Model.sample`.
    """
    own = {name: how.pop(name) for name in ("meaning", "tolerance", "budget", "say") if name in how}
    shape, given = tuple(how.pop("shape", None) or model.patch), how.pop("condition", None) or Condition()
    space = Space(model, shape, given, how)
    for number in range(count):
        yield search(space, targets, seed=seed + number * SEEDS_APART, **own)


@dataclass(eq=False)
class _Hunt:
    """One search: what was tried, what is best."""

    space: Space
    targets: list[Target]
    meaning: Meaning
    seed: int
    tolerance: float
    budget: int
    say: Callable[[str], None]
    made: int = 0
    leading: tuple[float, Points, str] | None = None
    errors: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Go from cheap to dear until the targets are met or the budget is spent."""
        soft = are_soft(self.space, self.targets, self.meaning)
        number = 0
        while not self.done:
            first = self.seed + number * _SEEDS
            seeds = range(first, first + max(1, min(_SEEDS, self.left)))
            points = self.space.drawn(seeds, self._values())
            scores = self.try_out(points, [f"seed {s}" for s in seeds])
            order = np.argsort(scores, kind="stable")
            self.say(f"{self.made} samples made: largest error {self.worst:.2%}, by {len(seeds)} seeds")
            if soft and not self.done:
                self._downhill(points[order[:_DESCENTS].tolist()])
            if not self.done and self.leading is not None:
                fresh = points[order[: _BLENDED - (number > 0)].tolist()]
                # later rounds look around the best so far, in directions that nobody has looked in
                self._evolve(Points.joined([self.leading[1], fresh]) if number else fresh, number)
            number += 1

    @property
    def left(self) -> int:
        """Samples that may still be made."""
        return self.budget - self.made

    @property
    def done(self) -> bool:
        """Whether the targets are met or the budget is spent."""
        return self.left <= 0 or self.worst <= self.tolerance

    @property
    def worst(self) -> float:
        """Largest error of the best structure so far."""
        return max(self.errors.values(), default=math.inf)

    def try_out(self, points: Points, ways: Sequence[str]) -> NDArray[np.float64]:
        """Make the structures of points, measure them, remember the best, and return a score each: 1 if just good."""
        scores = []
        names = [target.name for target in self.targets]
        for index, structure in enumerate(self.space.structures(points)):
            found = self.meaning.measure(structure, names)
            errors = {target.name: target.error(found[target.name]) for target in self.targets}
            self.made += 1
            shares = np.minimum(list(errors.values()), _HOPELESS) / self.tolerance
            scores.append(float(np.sqrt((shares**2).mean())))
            rank = float(shares.max())
            if self.leading is None or rank < self.leading[0]:
                self.leading, self.errors = (rank, points[[index]].detached(), ways[index]), errors
        return np.array(scores)

    def best(self) -> Solution:
        """Make the best structure once more, alone, and measure it."""
        if self.leading is None:
            raise InputError("nothing was tried: the budget is less than one sample")
        _, points, way = self.leading
        structure = next(self.space.structures(points))
        measured = self.meaning.measure(structure, [target.name for target in self.targets])
        errors = {target.name: target.error(measured[target.name]) for target in self.targets}
        return Solution(structure, points, measured, errors, way, self.made)

    def _downhill(self, points: Points) -> None:
        """Follow the gradient from the best seeds for a quarter of the budget; a step counts as three samples."""
        loss = SoftTargets(self.space, self.targets, self.meaning, self.tolerance)
        steps = max(1, min(self.left, self.budget // _ROUNDS) // (3 * len(points)))

        def measure(step: int, now: Points) -> bool:
            self.made += 2 * len(points) if step else 0
            if step and step % _EVERY == 0:
                self.try_out(now, ["gradient"] * len(points))
            return self.done

        descend(self.space, points, loss, steps=steps, rate=_RATE, after=measure)
        self.say(f"{self.made} samples made: largest error {self.worst:.2%}, with the gradient")

    def _evolve(self, seeds: Points, number: int) -> None:
        """Evolve conditions and the blend of seeds for a quarter of the budget."""
        free, count = seeds.places.shape[1], len(seeds)
        if free + count < 2:
            return
        draw = rng(self.seed, number, 1)
        lower, upper = [-1.0] * free + [None] * count, [1.0] * free + [None] * count
        settings = {
            "bounds": [lower, upper],
            "seed": math.nan,  # the numbers come from a generator of our own
            "randn": lambda *shape: draw.standard_normal(shape),
            "verbose": -9,
            "verb_log": 0,
            "signals_filename": "",
        }
        middle = np.concatenate([seeds.places[0].cpu().double().numpy(), np.eye(count)[0]])
        strategy = cma.CMAEvolutionStrategy(middle, _STEP if number == 0 else _STEP / 2, settings)
        end = self.made + max(2 * strategy.popsize, self.budget // _ROUNDS)
        while not (self.done or strategy.stop() or self.made >= end):
            asked = strategy.ask()
            points = blended(seeds, np.array(asked)[:, free:], np.array(asked)[:, :free])
            strategy.tell(asked, self.try_out(points, ["evolution"] * len(asked)).tolist())
        self.say(f"{self.made} samples made: largest error {self.worst:.2%}, by evolution")

    def _values(self) -> dict[str, float]:
        """Values of conditions that are targets, too."""
        numbers = {t.name: t.value for t in self.targets if isinstance(t.value, (int, float))}
        return {**{_SAME[name]: value for name, value in numbers.items() if name in _SAME}, **numbers}


def blended(points: Points, weights: NDArray[np.float64], places: NDArray[np.float64]) -> Points:
    """Blend white latents into new ones that are white, too: weights of unit length.

    Parameters
    ----------
    points
        K independent points.
    weights
        ``(B, K)``; only their ratios count.
    places
        Of the free conditions, ``(B, N)``.

    Examples
    --------
    >>> two = Points({"z": torch.eye(2)}, torch.zeros(2, 0))
    >>> blended(two, np.array([[3.0, 4.0]]), np.zeros((1, 0))).latents["z"]
    tensor([[0.6000, 0.8000]])
    """
    shares = torch.from_numpy(weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12))
    latents = {
        name: torch.tensordot(shares.to(part), part, dims=1).contiguous() for name, part in points.latents.items()
    }
    return Points(latents, torch.from_numpy(np.array(places)).to(points.places))
