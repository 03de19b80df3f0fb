"""What the latent space of a model can do: directions, and what each moves: ``microgen explore``.

Of white noise a principal component analysis finds nothing. Directions are therefore those along which samples change
most: the main axes of the gradients of their texture features (active subspaces, Constantine et al. 2014,
doi:10.1137/130916138). Where a family has a latent space that is not white (StyleGAN's W), they are its principal
components (GANSpace, Härkönen et al. 2020, doi:10.48550/arXiv.2004.02546).

Shapes: n samples, D latent numbers, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from microgen.core import Condition, InputError, Microstructure
from microgen.core.files import write_json
from microgen.generate import directions, disentangling, judging, lines, path_files
from microgen.generate.directions import Direction
from microgen.generate.sampling import resolve_device
from microgen.generate.strip import Row, draw_strip, draw_table
from microgen.models.conditions import tell
from microgen.models.file import find_model, load_model
from microgen.models.latents import Latents
from microgen.nets.features import RandomFeatures
from microgen.stats import DESCRIPTORS

if TYPE_CHECKING:
    from microgen.models.model import Model

Array = NDArray[np.float64]
SMALL = 128
"""Parts of a latent with at most so many numbers are looked at number by number."""
REACH = 3.0
"""How far strips go to both sides, in standard deviations."""
_BATCH = 8


@dataclass(frozen=True, eq=False)
class Found:
    """Directions of a latent space.

    Attributes
    ----------
    directions, shares
        The directions, and the share of the whole effect (or variance) that each has.
    method
        ``"gradients"`` or ``"principal components"``.
    """

    directions: Sequence[Direction]
    shares: Sequence[float]
    method: str


@dataclass(frozen=True, eq=False)
class Survey:
    """Samples of a model with what was measured on them.

    Attributes
    ----------
    latents, space, moving
        Latents as drawn, the same in the space that is searched, and the parts of that which directions move.
    samples
        One per seed.
    factors
        Descriptors ``(n,)`` by name, each different from the others; angles as cosine and sine of the double angle.
    features
        ``(n, F)``.
    """

    latents: Latents
    space: Latents
    moving: Sequence[str]
    samples: Sequence[Microstructure]
    factors: Mapping[str, Array]
    features: Array

    @property
    def table(self) -> Array:
        """All factors, ``(n, number of factors)``."""
        return np.stack(list(self.factors.values()), axis=1)


def survey(
    model: Model,
    samples: int = 256,
    *,
    names: Sequence[str] | None = None,
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
    **options: Any,
) -> Survey:
    """Make the samples of the first seeds and measure them.

    Raises
    ------
    InputError
        For fewer than 16 samples, unknown descriptors, and where nothing can be measured.
    """
    check_survey(samples, names)
    latents = model.latents(range(samples), shape)
    space, moving = directions.searchable(model, latents, condition, shape)
    made = list(model.decode(latents, condition, shape, **options))
    factors = disentangling.distinct(factors_of(judging.measured(made, names)))
    if not factors:
        raise InputError("no descriptor could be measured on most of the samples, or none of them changes")
    return Survey(latents, space, moving, made, factors, judging.features_of(model, made))


def check_survey(samples: int, names: Sequence[str] | None) -> None:
    """Refuse what :func:`survey` would refuse, before anything is made."""
    if samples < 16:
        raise InputError(f"an exploration needs at least 16 samples, got {samples}")
    for name in names or ():
        if name.partition(":")[0] not in DESCRIPTORS:
            raise InputError(f"no descriptor {name!r}; microgen measure lists them")


def factors_of(tables: Sequence[Mapping[str, float]]) -> dict[str, Array]:
    """Return the descriptors that nine of ten samples have as columns; the few gaps get the median."""
    columns: dict[str, Array] = {}
    for name in dict.fromkeys(name for table in tables for name in table):
        values = np.array([table.get(name, np.nan) for table in tables])
        if np.isfinite(values).mean() < 0.9:
            continue
        period = judging.period_of(name)
        if period is None:
            columns[name] = np.where(np.isfinite(values), values, np.nanmedian(values))
            continue
        turn = np.nan_to_num(2 * np.pi * values / period)
        columns |= {f"{name} (cosine)": np.cos(turn), f"{name} (sine)": np.sin(turn)}
    return columns


def find_directions(
    model: Model,
    found: Survey,
    count: int,
    *,
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
    **options: Any,
) -> Found:
    """Find the directions along which samples change most, or the principal components of a space that is not white."""
    white = list(found.moving) == list(found.latents)
    if white:
        rows = gradients(model, found, condition=condition, shape=shape, **options)
    else:
        rows = directions.flat(found.space, found.moving)
        rows = rows - rows.mean(axis=0)
    _, lengths, axes = np.linalg.svd(rows, full_matrices=False)
    shares = lengths**2 / max(float((lengths**2).sum()), 1e-300)
    chosen = [directions.direction_of(axis, found.space, found.moving) for axis in axes[:count]]
    return Found(chosen, [float(s) for s in shares[:count]], "gradients" if white else "principal components")


def gradients(
    model: Model,
    found: Survey,
    *,
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
    **options: Any,
) -> Array:
    """Return for each sample the gradient of a random mixture of its texture features ``(n, D)``.

    The mean of their outer products is that of ``J^T J``, with J the derivatives of all features in their standard
    deviations.
    """
    from microgen.models.families import FAMILIES

    family: Any = FAMILIES[model.family]
    request = model.request(condition, shape, **options)
    look = RandomFeatures(model.codec.ndim, model.codec.channels).to(model.device)
    weight = torch.from_numpy(feature_weights(found.features)).float().to(model.device)
    generator, rows = torch.Generator().manual_seed(0), []
    for first in range(0, len(found.samples), _BATCH):
        parts = {name: part[first : first + _BATCH].detach().clone() for name, part in found.space.items()}
        moving = [parts[name].requires_grad_() for name in found.moving]
        size = len(moving[0])
        like = torch.zeros((size, model.codec.channels, *request.shape), device=model.device)
        told = tell(model.conditions, [request.condition] * size, like=like)
        seen = look(family.decode(model, parts, told, request.shape, request.options)) * weight
        mixture = torch.randn(seen.shape, generator=generator).to(seen)
        slopes: Sequence[Tensor] = torch.autograd.grad((seen * mixture).sum(), moving)
        rows.append(torch.cat([slope.flatten(1) for slope in slopes], dim=1).double().cpu().numpy())
    return np.concatenate(rows)


def feature_weights(features: Array) -> Array:
    """Return 1 over the standard deviation of each feature, and 0 for those that hardly change."""
    spread = features.std(axis=0)
    return np.asarray(np.where(spread > 1e-3 * spread.max(), 1 / np.maximum(spread, 1e-300), 0.0))


def walk(
    model: Model,
    found: Survey,
    direction: Direction,
    seed: int,
    places: Sequence[float],
    *,
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
    **options: Any,
) -> list[Microstructure]:
    """Make the sample of one of the seeds at places along a direction, in standard deviations."""
    start = {name: part[seed : seed + 1] for name, part in found.space.items()}
    line = lines.Line("", lambda place: (direction.moved(start, place), condition or Condition()))
    return lines.decoded(model, line, places, shape, **options)


def explore_to_folder(
    model: Model | Path | str,
    out: Path | str,
    *,
    samples: int = 256,
    top: int = 5,
    names: Sequence[str] | None = None,
    rows: int = 3,
    frames: int = 7,
    condition: Condition | None = None,
    shape: Sequence[int] | None = None,
    device: str = "auto",
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Explore the latent space of a model: ``explore.json``, ``directions.png``, ``directions.h5``, ``codes_*.png``.

    Parameters
    ----------
    samples
        Seeds from 0 that are made and measured.
    top
        Directions that are looked at.
    names
        Descriptors; default all that apply.
    rows, frames
        Seeds to walk from along each direction, and steps of each walk.
    condition, shape, options
        As in :meth:`microgen.models.model.Model.sample`.

    Returns
    -------
    dict
        The key numbers of ``explore.json``.

    Raises
    ------
    InputError
        As :func:`survey`, and if `out` holds another exploration.
    """
    out, tell_user = Path(out), say or (lambda text: None)
    path = find_model(model) if isinstance(model, (str, Path)) else None
    loaded = load_model(path, device=resolve_device(device)) if path else model
    if isinstance(loaded, (str, Path)):
        raise InputError(f"there is no model {loaded}")
    asked: dict[str, Any] = {"condition": condition, "shape": shape, **options}
    about = {
        "model_sha256": loaded.sha256,
        "family": loaded.family,
        "samples": samples,
        "request": loaded.request(condition, shape, **options).to_dict(),
    }
    check_survey(samples, names)
    path_files.claim(out, {**about, "top": top, "names": list(names or [])}, "explore")
    found = survey(loaded, samples, names=names, **asked)
    tell_user(f"{samples} samples made and measured, {len(found.factors)} descriptors that differ")
    ways = find_directions(loaded, found, top, **asked)
    report = {**about, "descriptors": list(found.factors), **_parts(out, found)}
    report["directions"] = _directions(loaded, found, ways, out, range(min(rows, samples)), frames, asked)
    coordinates = np.stack([d.component(found.space).cpu().numpy() for d in ways.directions], axis=1)
    table = disentangling.disentanglement(coordinates, found.table)
    codes = [f"direction {k}" for k in range(1, len(ways.directions) + 1)]
    report["directions"]["disentanglement"] = table.to_dict(codes, list(found.factors))
    _write_directions(out / "directions.h5", ways)
    write_json(out / "explore.json", report)
    return {"out": str(out), **_key_numbers(report)}


def _parts(out: Path, found: Survey) -> dict[str, Any]:
    """Correlations and disentanglement of the small parts of the latent, number by number."""
    tables: dict[str, Any] = {}
    for name, part in found.latents.items():
        codes = part.flatten(1).double().cpu().numpy()
        if codes.shape[1] > SMALL:
            continue
        labels, factors = [f"{name}.{k}" for k in range(codes.shape[1])], list(found.factors)
        ranks = disentangling.rank_correlations(codes, found.table)
        tables[name] = {
            "chance": disentangling.chance(len(codes), ranks.size),
            "spearman": {
                label: dict(zip(factors, map(float, row), strict=True))
                for label, row in zip(labels, ranks, strict=True)
            },
            **{"table": disentangling.disentanglement(codes, found.table).to_dict(labels, factors)},
        }
        strongest = np.sort(np.argsort(-np.abs(ranks).max(axis=1))[:24])
        draw_table(out / f"codes_{name}.png", ranks[strongest], [labels[k] for k in strongest], factors)
    return {"parts": tables}


def _directions(
    model: Model,
    found: Survey,
    ways: Found,
    out: Path,
    seeds: Sequence[int],
    frames: int,
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    """Walk along each direction from several seeds, say what it moves, and draw it."""
    places = [float(p) for p in np.linspace(-REACH, REACH, frames)]
    rows, table = [], []
    for number, direction in enumerate(ways.directions, 1):
        walks = [walk(model, found, direction, seed, places, **asked) for seed in seeds]
        moved = _moved(walks, places, list(found.factors))
        table.append({"direction": number, "share": ways.shares[number - 1], "moves": moved})
        first = next(iter(moved), None)
        label = f"{number}: {first}" if first else str(number)
        rows += [Row(label if k == 0 else "", some, [f"{p:+g}" for p in places]) for k, some in enumerate(walks)]
    draw_strip(out / "directions.png", rows, model.codec)
    return {"method": ways.method, "found": table}


def _moved(
    walks: Sequence[Sequence[Microstructure]], places: Sequence[float], names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Mean rank correlation of each descriptor with the place on several walks, the strongest first.

    ``spearman`` is the mean over the walks, ``alone`` that of its size: large where a direction moves the descriptor
    from every seed, though not always the same way.
    """
    ranks: dict[str, list[float]] = {name: [] for name in names}
    for frames in walks:
        columns = factors_of(judging.measured(frames))
        for name in names:
            rank = judging.rank_correlation(places, list(columns[name])) if name in columns else None
            ranks[name].append(rank or 0.0)
    means = {n: {"spearman": float(np.mean(r)), "alone": float(np.mean(np.abs(r)))} for n, r in ranks.items()}
    return dict(sorted(means.items(), key=lambda item: -abs(item[1]["spearman"])))


def _write_directions(path: Path, ways: Found) -> None:
    """Write each direction, part by part, ``(directions, ...)``."""
    arrays = {
        f"directions/{n}": torch.stack([d.parts[n] for d in ways.directions]).cpu().numpy()
        for n in ways.directions[0].parts
    }
    numbers = {"mean": [d.mean for d in ways.directions], "spread": [d.spread for d in ways.directions]}
    path_files.write_arrays(path, {**arrays, **numbers, "shares": ways.shares})


def _key_numbers(report: Mapping[str, Any]) -> dict[str, Any]:
    ways = report["directions"]
    strongest = {}
    for name, part in report["parts"].items():
        best: dict[str, tuple[str, float]] = {}
        for code, ranks in part["spearman"].items():
            for factor, rank in ranks.items():
                if abs(rank) > max(part["chance"], abs(best.get(factor, ("", 0.0))[1])):
                    best[factor] = (code, rank)
        dci = {key: part["table"][key] for key in ("disentanglement", "completeness", "informativeness")}
        strongest[name] = {"strongest": {f: {"code": c, "spearman": r} for f, (c, r) in best.items()}, **dci}
    return {
        "samples": report["samples"],
        "method": ways["method"],
        "directions": [
            {"direction": d["direction"], "share": d["share"], "moves": next(iter(d["moves"].items()), None)}
            for d in ways["found"]
        ],
        "parts": strongest,
    }
