"""The digital twin of a micrograph: the latent and the conditions from which a model reproduces it.

An encoder, where the family has one, and several seeds are where the search begins; Adam on the latents goes on from
the best of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from microgen import stats
from microgen.core import Condition, InputError, Microstructure
from microgen.generate.inversion_descent import descend
from microgen.generate.inversion_space import Points, Space
from microgen.models.latents import spherical, white
from microgen.models.model import Model
from microgen.nets.features import RandomFeatures

STARTS, ITERATIONS, RATE = 4, 200, 0.1
"""Seeds to begin at, iterations of Adam and their length: the defaults of :func:`twin_of`."""
_EXPLORING = 0.2  # share of the iterations that all starts take
_COARSE, _TEXTURE = 0.5, 0.1  # weights of the blurred error and of the texture, against 1 for the error of pixels
_SMALLEST = 8
_ELSEWHERE = 2**41  # first seed of the noise that siblings go to: no search begins there
_POOL = {2: functional.avg_pool2d, 3: functional.avg_pool3d}


@dataclass(frozen=True, eq=False)
class Twin:
    """A micrograph as a model sees it.

    Attributes
    ----------
    original, structure
        What was given, and what the model makes of `points`.
    space, points
        Where it was searched and found, one sample.
    start
        ``"encoder"`` or the seed that the search began at.
    """

    original: Microstructure
    structure: Microstructure
    space: Space
    points: Points
    start: str

    @property
    def residual(self) -> NDArray[np.float64]:
        """Twin minus original in the units of the field, ``(*S)``."""
        name = self.space.model.codec.field
        return np.asarray(self.structure[name], np.float64) - np.asarray(self.original[name], np.float64)

    @property
    def rms(self) -> float:
        """Root mean square of the residual."""
        return float(np.sqrt((self.residual**2).mean()))

    @property
    def explained(self) -> float:
        """Share of the variance of the original that the twin explains; 1 for a perfect twin."""
        variance = float(np.var(np.asarray(self.original[self.space.model.codec.field], np.float64)))
        return 1 - self.rms**2 / variance

    @property
    def condition(self) -> Condition:
        """What the model was told."""
        return self.space.condition(self.points.places[0])

    def siblings(self, count: int, distance: float = 0.3) -> Points:
        """Return points near the twin: a part `distance` of the way along great circles to other white noise."""
        latents = {}
        for name, part in self.points.latents.items():
            other = white(range(_ELSEWHERE, _ELSEWHERE + count), {name: part.shape[1:]}, part.device)[name]
            one = part.expand(count, *part.shape[1:])
            length = other * (part.norm() / other.flatten(1).norm(dim=1).mean())
            latents[name] = spherical(one.clone(), length, distance)
        return Points(latents, self.points.places.expand(count, -1).clone())


class Likeness:
    """How unlike a given field samples are: pixel by pixel, blurred more and more, and in their texture.

    Every term is a share: 0 for equal fields, 1 for a sample that is flat at the mean of the field.

    Parameters
    ----------
    target_CS
        Encoded field.

    Examples
    --------
    >>> field = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> Likeness(field)(torch.stack([field, 0 * field + field.mean()])).round(decimals=1)
    tensor([0.0000, 1.6000])
    """

    def __init__(self, target_CS: Tensor) -> None:
        self.ndim = target_CS.ndim - 1
        self.pyramid = self._pyramid(target_CS[None])
        finest = self.pyramid[0].var().clamp_min(1e-6)
        self.variances = [level.var(correction=0).clamp_min(0.01 * finest) for level in self.pyramid]
        self.view = RandomFeatures(self.ndim, len(target_CS)).to(target_CS.device)
        self.texture = self.view(target_CS[None])
        flat = torch.zeros_like(target_CS[None]) + target_CS.mean()
        self.texture_of_flat = (self.view(flat) - self.texture).square().mean().clamp_min(1e-6)

    def __call__(self, made_BCS: Tensor) -> Tensor:
        """Return the unlikeness of each sample ``(B,)``."""
        levels = zip(self._pyramid(made_BCS), self.pyramid, self.variances, strict=True)
        errors = [(made - level).square().flatten(1).mean(dim=1) / variance for made, level, variance in levels]
        texture = (self.view(made_BCS) - self.texture).square().mean(dim=1) / self.texture_of_flat
        coarse = torch.stack(errors[1:]).mean(dim=0) if len(errors) > 1 else 0.0
        total: Tensor = errors[0] + _COARSE * coarse + _TEXTURE * texture
        return total

    def _pyramid(self, x_BCS: Tensor) -> list[Tensor]:
        levels = [x_BCS]
        while min(levels[-1].shape[2:]) >= 2 * _SMALLEST:
            levels.append(_POOL[self.ndim](levels[-1], 2))
        return levels


def twin_of(
    model: Model,
    structure: Microstructure,
    condition: Condition | None = None,
    *,
    seed: int = 0,
    starts: int = STARTS,
    iterations: int = ITERATIONS,
    rate: float = RATE,
    say: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> Twin:
    """Search the latent and the conditions from which a model reproduces a real field.

    Parameters
    ----------
    structure
        With the field of the model, on its grid spacing.
    condition
        What is known; conditions that are not given are searched within the range that the model learned, from their
        measured values on where there is a descriptor of that name.
    seed
        First of the seeds that the search begins at.
    starts
        How many seeds; the encoder is one start more, where the family has one.
    iterations, rate
        Of Adam; a fifth of them are taken from all starts, the others from the best.
    say
        Receives one line per stage.
    options
        As of :meth:`microgen.models.model.Model.sample`.

    Raises
    ------
    InputError
        If the field does not fit the model, or no gradient passes through it.

    Examples
    --------
    ``twin_of(load_model("runs/vae/model.safetensors"), io.read("steel.png")[0]).explained``
    """
    target = model.encoded(structure)
    space = Space(model, tuple(structure.shape), condition or Condition(), options)
    _check_size(space)
    if not space.is_smooth:
        raise InputError(
            f"no gradient passes through this model of the family {model.family}; "
            "give the descriptors of the picture as a target instead of the picture"
        )
    points, names = _starts(space, structure, range(seed, seed + starts))
    points = space.mapped(points)
    likeness = Likeness(target)
    first = descend(space, points, likeness, steps=round(_EXPLORING * iterations), rate=rate)
    best = int(first.losses.argmin())
    say(f"best of {len(points)} starts: {names[best]}, loss {float(first.losses[best]):.4f}")
    last = descend(space, first.points[[best]], likeness, steps=iterations - round(_EXPLORING * iterations), rate=rate)
    say(f"after {iterations} iterations: loss {float(last.losses[0]):.4f}")
    return Twin(structure, next(space.structures(last.points)), space, last.points, names[best])


def _check_size(space: Space) -> None:
    """Refuse what the model cannot make."""
    try:
        _ = space.request
    except InputError as error:
        if space.shape == tuple(space.model.patch):
            raise
        size = " x ".join(map(str, space.model.patch))
        raise InputError(f"{error}; or crop the picture to {size} (--crop)") from error


def _starts(space: Space, structure: Microstructure, seeds: Sequence[int]) -> tuple[Points, list[str]]:
    """Where the search begins, and the names of these points."""
    values = measured_conditions(space, structure)
    points, names = [space.drawn(seeds, values)] if seeds else [], [f"seed {seed}" for seed in seeds]
    if hasattr(space.family, "encode"):
        places = space.places(values)[None]
        latents = space.model.encode([structure], [space.condition(places[0])])
        points, names = [Points(latents, places), *points], ["encoder", *names]
    if not points:
        raise InputError("a model without an encoder needs at least one start")
    return Points.joined(points), names


def measured_conditions(space: Space, structure: Microstructure) -> dict[str, float]:
    """Return the values of the free conditions that can be measured on a structure."""
    known = [spec.name for spec in space.free if spec.name in stats.DESCRIPTORS]
    found: Mapping[str, stats.Measurement] = {}
    if usable := [name for name in known if name in stats.applicable(structure)]:
        found = stats.measure(structure, usable, intervals=False)
    return {name: m.value for name, m in found.items() if m.value is not None}
