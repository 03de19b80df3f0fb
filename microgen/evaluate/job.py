"""Preparing an evaluation: one spacing, one window size, floors, and every window measured once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.evaluate.conditions import measurable, measured_alone, measured_in, polarity, with_boundary
from microgen.evaluate.features import Feature, features, measure_all
from microgen.evaluate.surrogates import FLOORS, surrogate
from microgen.evaluate.texture import texture
from microgen.evaluate.windows import Indices, Sample, balanced, common_spacing, cut, to_spacing, window_shape
from microgen.stats.boundaries import Polarity

Array = NDArray[np.float64]

MANY = 100_000
"""More windows than are cut from samples."""

FLOOR_WINDOWS = 48
"""Held-out windows of which surrogates are made."""


@dataclass(frozen=True, eq=False)
class Job:
    """Everything measured once: all windows in one table, and which rows are which set.

    Attributes
    ----------
    windows, groups
        Every window, and the number of its picture ``(n,)``; pictures of different sets have different numbers.
    sets
        Rows of each set: ``generated``, ``held_out``, ``train`` and the floors by name.
    features, textures
        Descriptors by name, and texture features ``(n, k)``.
    origin
        Row of the window that a surrogate was made of, else the row itself, ``(n,)``.
    conditions
        By name and set (``generated``, ``conditioned``, ``held_out``, ``train``): measured on each window alone, and
        on the whole picture that it was cut from, ``(k,)`` each (NaN for samples).
    conditioned
        Sample that each window of the set ``conditioned`` shows.
    training
        Whole training pictures at the spacing of the generated ones.
    notes
        What was done to the pictures, in sentences.
    """

    windows: list[Microstructure]
    groups: Indices
    sets: dict[str, Indices]
    features: dict[str, Feature]
    textures: Array
    origin: Indices
    conditions: dict[str, dict[str, tuple[Array, Array]]]
    conditioned: Indices
    training: list[Microstructure]
    notes: list[str]
    shape: tuple[int, ...]

    @property
    def spacing(self) -> tuple[float, ...]:
        """Micrometres per pixel."""
        return self.windows[0].spacing


def check(real: Sequence[Microstructure], generated: Sequence[Microstructure], max_windows: int) -> None:
    if len(generated) < 2:
        raise InputError(f"an evaluation needs at least 2 generated pictures, got {len(generated)}; sample more")
    if not real:
        raise InputError("an evaluation needs held-out real pictures, and there is none")
    if max_windows < 2:
        raise InputError(f"max_windows must be at least 2, got {max_windows}")
    if real[0].ndim != generated[0].ndim:
        raise InputError(f"real data have {real[0].ndim} dimensions and generated {generated[0].ndim}; they must agree")
    for kind, pictures in (("real", real), ("generated", generated)):
        if all(_constant(m) for m in pictures):
            raise InputError(f"every {kind} picture holds one constant value; there is nothing to compare")


def _constant(m: Microstructure) -> bool:
    return all(v.min() == v.max() for v in m.fields.values())


def prepare(
    real: Sequence[Microstructure],
    generated: Sequence[Microstructure],
    train: Sequence[Microstructure],
    real_groups: Sequence[str] | None,
    train_groups: Sequence[str] | None,
    *,
    conditioned: Sequence[Microstructure],
    conditions: Iterable[str],
    limit: int,
    seed: int,
) -> Job:
    """Bring everything to one grid, cut, make the floors and measure.

    Parameters
    ----------
    conditioned
        Samples on which it is measured what came of a request; they are not compared with real ones.
    conditions
        Names of what samples were asked for; those that can be measured on pictures are.
    """
    fields = _common_fields([*generated, *conditioned, *real, *train])
    spacing = common_spacing([*generated, *conditioned])
    held, taught = ([to_spacing(_only(m, fields), spacing) for m in pictures] for pictures in (real, train))
    made = [_only(m, fields) for m in generated]
    shape = window_shape(made, held)
    pictures = {"generated": made, "held_out": held, "train": taught}
    groups = {
        "generated": _names(made, None),
        "held_out": _names(held, real_groups),
        "train": _names(taught, train_groups),
    }
    samples = {k: cut(pictures[k], shape, groups[k], limit=limit, seed=seed + i) for i, k in enumerate(pictures)}
    if len(samples["held_out"]) < 2:
        raise InputError(
            "an evaluation needs at least 2 real windows of the generated size; give more or larger pictures"
        )
    lines = polarity(held)
    samples = {k: _marked(s, lines) for k, s in samples.items()}
    asked = cut([_only(m, fields) for m in conditioned], shape, _names(conditioned, None), limit=MANY, seed=seed)
    known = {
        c: _conditions(c, pictures, samples | {"conditioned": _marked(asked, lines)}, shape)
        for c in conditions
        if measurable(c, made[0])
    }
    floors, parents = _floors(samples["held_out"], seed)
    floors = {k: _marked(s, lines) for k, s in floors.items()}
    notes = [_resampling_note(real, spacing), _window_note(shape, spacing)]
    return _measured(samples | floors, parents, known, asked.owners, taught, notes, shape)


def _marked(sample: Sample, lines: Polarity | None) -> Sample:
    return replace(sample, windows=[with_boundary(w, lines) for w in sample.windows])


def _conditions(
    name: str, pictures: Mapping[str, list[Microstructure]], samples: Mapping[str, Sample], shape: tuple[int, ...]
) -> dict[str, tuple[Array, Array]]:
    """For each set, a condition as its windows show it alone, and (for real ones) as their whole pictures show it."""
    known = {}
    for kind, sample in samples.items():
        within = np.full(len(sample), np.nan)
        for number in np.unique(sample.owners) if kind in ("held_out", "train") else ():
            rows = np.flatnonzero(sample.owners == number)
            within[rows] = measured_in(name, pictures[kind][number], sample.corners[rows], shape)
        known[kind] = (measured_alone(name, sample.windows), within)
    return known


def _measured(
    samples: dict[str, Sample],
    parents: Indices,
    known: dict[str, dict[str, tuple[Array, Array]]],
    conditioned: Indices,
    training: list[Microstructure],
    notes: list[str],
    shape: tuple[int, ...],
) -> Job:
    ends = np.cumsum([len(s) for s in samples.values()])
    sets = {name: np.arange(end - len(s), end) for (name, s), end in zip(samples.items(), ends, strict=True)}
    windows = [w for s in samples.values() for w in s.windows]
    shifts = np.cumsum([0, *(len(s.names) for s in samples.values())])
    groups = np.concatenate([s.groups + shift for s, shift in zip(samples.values(), shifts, strict=False)])
    origin = np.arange(len(windows))
    for name in FLOORS:
        origin[sets[name]] = sets["held_out"][parents]
    textures = np.array([texture(w) for w in windows])
    found = features(measure_all(windows))
    return Job(windows, groups, sets, found, textures, origin, known, conditioned, training, notes, shape)


def _floors(held_out: Sample, seed: int) -> tuple[dict[str, Sample], Indices]:
    """Surrogates of some held-out windows, and which windows these are."""
    rng = np.random.default_rng([seed, 1])
    chosen = balanced(rng, np.arange(len(held_out)), held_out.groups, min(FLOOR_WINDOWS, len(held_out)))
    part = held_out.take(chosen)
    return {n: replace(part, windows=[surrogate(w, n, rng) for w in part.windows]) for n in FLOORS}, chosen


def _common_fields(pictures: Sequence[Microstructure]) -> list[str]:
    """Fields that every picture has: only these are compared, so that all are measured in one way."""
    common = [name for name in pictures[0].fields if all(name in m for m in pictures)]
    if not common:
        raise InputError(f"generated pictures have {', '.join(pictures[0].fields)} and others share none of them")
    return common


def _only(m: Microstructure, fields: Sequence[str]) -> Microstructure:
    return m.replace(fields={name: m[name] for name in fields})


def _names(pictures: Sequence[Microstructure], groups: Sequence[str] | None) -> list[str]:
    if groups is None:
        return [str(i) for i in range(len(pictures))]
    return [str(g) for g in groups]


def _resampling_note(real: Sequence[Microstructure], spacing: tuple[float, ...]) -> str:
    """Say what resampling did to the real pictures."""
    steps = sorted({m.spacing[0] for m in real})
    target = f"{spacing[0]:.4g} um per pixel"
    if all(abs(s / spacing[0] - 1) < 0.005 for s in steps):
        return f"Real and generated pictures have {target}; nothing was resampled."
    note = f"Real pictures of {_range(steps)} um per pixel were brought to {target} by averaging, as training data are."
    if steps[-1] > spacing[0] * 1.005:
        note += (
            " Some were coarser than that and had to be interpolated: their fine texture is smoother than it would be."
        )
    return note


def _range(values: Sequence[float]) -> str:
    return f"{values[0]:.4g}" if len(values) == 1 else f"{values[0]:.4g} to {values[-1]:.4g}"


def _window_note(shape: tuple[int, ...], spacing: tuple[float, ...]) -> str:
    size = " x ".join(str(n) for n in shape)
    extent = " x ".join(f"{n * s:.4g}" for n, s in zip(shape, spacing, strict=True))
    return f"All pictures are compared in windows of {size} px ({extent} um), which do not overlap."
