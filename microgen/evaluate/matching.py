"""Which windows may be compared: all of them, or those of like value where the samples were made for given values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microgen.data.measures import scale_of
from microgen.evaluate import requests
from microgen.evaluate.draws import Pool
from microgen.evaluate.job import Job
from microgen.evaluate.windows import Indices, chances

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plan:
    """Windows that may be compared, and how many of each class.

    Attributes
    ----------
    pools
        By name of the set.
    wanted
        Windows per class on each side of each comparison.
    notes
        What was done, in sentences.
    """

    pools: dict[str, Pool]
    wanted: Indices
    notes: list[str]


def plan(job: Job, asked: Mapping[str, Array]) -> Plan:
    """Choose what to compare with what.

    Samples whose requests are distributed like the held-out windows are compared with all windows. Else real windows
    are sorted by the requested quantity as measured in their whole pictures, which is what a model is trained with,
    so the windows' own measurements are compared without having been selected.
    """
    everything = {name: Pool(rows, job.groups[rows], np.zeros(len(rows), np.int64)) for name, rows in job.sets.items()}
    name = next((name for name in asked if name in job.conditions and scale_of(name) != "axial"), None)
    if name is None:
        return Plan(everything, _wanted(everything, 1), [_free_note(asked)])
    values = np.full(len(job.windows), np.nan)
    for kind in ("held_out", "train"):
        values[job.sets[kind]] = job.conditions[name][kind][1]
    free = _wanted(everything, 1)
    if not _is_unlike(asked[name], values, everything["held_out"], int(free[0])):
        note = f"The requested {name} is distributed like that of the held-out windows, so all windows are compared."
        return Plan(everything, free, [note])
    found = requests.match(asked[name], values)
    classes = {name: found.real[job.origin[pool.index]] for name, pool in everything.items()}
    classes["generated"] = found.generated
    pools = {name: Pool(pool.index, pool.groups, classes[name]) for name, pool in everything.items()}
    wanted = _wanted(pools, len(found.edges))
    if not wanted.any():
        return Plan(everything, np.zeros(1, np.int64), [_nothing_note(name, asked[name], values)])
    notes = _matched_notes(name, pools["generated"], wanted, found)
    used = np.append(wanted > 0, False)  # the last entry answers for class -1
    return Plan({name: pool.part(used[pool.strata]) for name, pool in pools.items()}, wanted, notes)


def _is_unlike(asked: Array, values: Array, held_out: Pool, drawn: int) -> bool:
    """Whether requests are distributed unlike held-out windows, these weighted by their chance to be drawn."""
    weight = chances(held_out.groups, max(drawn, 1))
    known = np.isfinite(values[held_out.index])
    return not known.any() or requests.unlike(asked, values[held_out.index][known], weight[known])


def _wanted(pools: Mapping[str, Pool], classes: int) -> Indices:
    """Windows per class that every side can give; without training pictures held-out ones must serve both sides."""
    there = {name: pools[name].available(classes) for name in ("generated", "held_out", "train")}
    if there["train"].sum():
        return np.asarray(np.minimum.reduce(list(there.values())))
    return np.asarray(np.minimum(there["generated"], there["held_out"] // 2))


def _free_note(asked: Mapping[str, Array]) -> str:
    if not asked:
        return "The generated pictures carry no requested values, so all windows are compared."
    return "The requested values cannot be measured on the pictures, so all windows are compared."


def _nothing_note(name: str, asked: Array, values: Array) -> str:
    known = values[np.isfinite(values)]
    real = f"have {known.min():.3g} to {known.max():.3g}" if len(known) else "do not show it"
    return (
        f"Nothing could be compared: samples were made for {name} {asked.min():.3g} to {asked.max():.3g}, and not "
        f"enough real windows are near a requested value (real windows {real}); sample at values that they have."
    )


def _matched_notes(name: str, generated: Pool, wanted: Indices, found: requests.Matching) -> list[str]:
    """Say which real windows were picked, and what found no counterpart."""
    how = f"within {requests.TOLERANCE:.0%} of a requested value" if found.fixed else "in classes of like value"
    notes = [
        f"The samples were made for given {name}, so they are compared with real windows {how} (as the whole picture "
        f"shows it), at most so many per class: {', '.join(map(str, wanted))}."
    ]
    lost = int((generated.available(len(wanted)) * (wanted == 0)).sum())
    if lost:
        notes.append(f"{lost} samples of {len(generated.index)} have no real windows of like {name} and are left out.")
    return notes
