"""The report of a walk: what was asked for in each frame, what is measured, and whether it looks like a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from microgen.core import Condition, Microstructure
from microgen.generate import judging, lines
from microgen.generate.lines import Line
from microgen.generate.sampling import usual_format

if TYPE_CHECKING:
    from microgen.models.model import Model


@dataclass(frozen=True, eq=False)
class Route:
    """Lines with the places of their frames.

    Attributes
    ----------
    lines, places
        One list of places per line, all of one length.
    ts
        How far each frame is on its leg, 0 .. 1.
    legs
        First and last frame of each leg.
    name, requested
        What is asked for along the lines and the values, where anything is.
    note
        JSON-able facts: of a learned direction.
    """

    lines: Sequence[Line]
    places: Sequence[Sequence[float]]
    ts: Sequence[float]
    legs: Sequence[tuple[int, int]]
    name: str | None = None
    requested: Sequence[float] | None = None
    note: Mapping[str, Any] | None = None


def walk_report(
    model: Model,
    route: Route,
    frames: Sequence[Sequence[Microstructure]],
    shape: Sequence[int] | None,
    references: int,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Measure and judge the frames of a walk.

    Parameters
    ----------
    frames
        Of each line of the route.
    references
        Independent samples to compare with.

    Returns
    -------
    dict
        JSON-able: ``rows`` of frames, ``independent`` samples, and what is ``followed``, where anything is.
    """
    conditions = [lines.points(line, places)[1] for line, places in zip(route.lines, route.places, strict=True)]
    others = judging.population(model, conditions[0], shape, references, **options)
    rows = [_row(model, route, k, row, conditions[k], others) for k, row in enumerate(frames)]
    found: dict[str, Any] = {"learned": dict(route.note)} if route.note else {}
    if route.name:
        found["followed"] = _followed(route, rows)
    typical = [float(q) for q in np.quantile(others.own_distances(), [0.5, 0.95])]
    return {**found, "independent": {"samples": references, "median": typical[0], "p95": typical[1]}, "rows": rows}


def _row(
    model: Model,
    route: Route,
    number: int,
    frames: Sequence[Microstructure],
    conditions: Sequence[Condition],
    others: judging.Population,
) -> dict[str, Any]:
    features = judging.features_of(model, frames)
    distances = others.distances(judging.regressors_of(model, conditions), features)
    tables = judging.measured(frames)
    faded = _fades(model, route, frames)
    entries = [
        {
            **_asked(model, route, number, k, conditions[k]),
            "measured": table,
            "distance": float(distances[k]),
            **faded[k],
        }
        for k, table in enumerate(tables)
    ]
    goal, ends = route.requested or route.places[number], sorted({k for leg in route.legs for k in leg})
    ranks = {n: judging.rank_correlation(goal, _values(n, tables, route)) for n in judging.common(tables)}
    return {
        "name": route.lines[number].name,
        "spearman": {name: rank for name, rank in ranks.items() if rank is not None},
        **judging.smoothness(features, others.scatter),
        "distance_ends": float(distances[ends].mean()),
        "distance_between": float(np.delete(distances, ends).mean()),
        "cross_fades": sum(entry["looks_like_cross_fade"] for entry in entries),
        "frames": entries,
    }


def _asked(model: Model, route: Route, row: int, k: int, condition: Condition) -> dict[str, Any]:
    """What a frame is and was asked for."""
    suffix = usual_format(model.codec.ndim, model.codec.dtype)
    return {
        "file": f"frames/{frame_name(route.lines[row], k, suffix)}",
        "place": route.places[row][k],
        "t": route.ts[k],
        **({"requested": route.requested[k]} if route.requested else {}),
        "condition": dict(condition.scalars),
    }


def _fades(model: Model, route: Route, frames: Sequence[Microstructure]) -> list[dict[str, Any]]:
    """Compare each frame with the pixel average of the ends of its leg."""
    x = torch.stack([model.encoded(frame).cpu() for frame in frames])
    found: list[dict[str, Any]] = [{} for _ in frames]
    for first, last in route.legs:
        fade = judging.cross_fade(x[first : last + 1], [*route.ts[first:last], 1.0])
        for k in range(first, last + 1):
            found[k] = {name: values[k - first] for name, values in fade.items()}
    return found


def _values(name: str, tables: Sequence[Mapping[str, float]], route: Route) -> Any:
    near = route.requested if name == route.name else None
    return judging.unwrapped([table[name] for table in tables], near, judging.period_of(name))


def _followed(route: Route, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the descriptor of the name that was asked along follows, in each row and in their mean."""
    name, requested = str(route.name), route.requested or []
    tables = [[frame["measured"] for frame in row["frames"]] for row in rows]
    whole = [table for table in tables if all(name in frame for frame in table)]
    if not whole:
        return {"name": name, "spearman": {}, "requested": list(requested)}
    found = np.array([_values(name, table, route) for table in whole])
    mean = found.mean(axis=0)
    return {
        "name": name,
        "requested": list(requested),
        "measured_mean": mean.tolist(),
        "spearman": {row["name"]: row["spearman"].get(name) for row in rows},
        "spearman_of_mean": judging.rank_correlation(requested, mean),
        "largest_error": float(np.abs(found - np.asarray(requested)).max()),
    }


def frame_name(line: Line, frame: int, suffix: str) -> str:
    """Name of the file of a frame."""
    return f"{line.name}_frame_{frame:03d}.{suffix}"


def key_numbers(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a report that a person looks at first."""
    rows = report["rows"]
    followed = report.get("followed")
    return {
        "model_sha256": report["model_sha256"],
        "frames": sum(len(row["frames"]) for row in rows),
        **({"followed": followed} if followed else {}),
        **({"learned": report["learned"]} if "learned" in report else {}),
        "straightness": float(np.mean([row["straightness"] for row in rows])),
        "distance_ends": float(np.mean([row["distance_ends"] for row in rows])),
        "distance_between": float(np.mean([row["distance_between"] for row in rows])),
        "distance_independent": report["independent"]["median"],
        "cross_fades": sum(row["cross_fades"] for row in rows),
    }
