"""Which windows may be compared: all of them, or those of like size where the samples were made for given sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microgen.evaluate import requests
from microgen.evaluate.draws import Pool
from microgen.evaluate.job import Job
from microgen.evaluate.windows import Indices

Array = NDArray[np.float64]

SIZE = "grain_size_um"
"""The condition by which real windows are matched."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Windows that may be compared, and how many of each size class.

    Attributes
    ----------
    pools
        By name of the set.
    wanted
        Windows per size class on each side of each comparison.
    notes
        What was done, in sentences.
    """

    pools: dict[str, Pool]
    wanted: Indices
    notes: list[str]


def plan(job: Job, asked: Mapping[str, Array]) -> Plan:
    """Choose what to compare with what.

    Real windows are sorted by their size as measured on the whole pictures, which is what a model is trained with,
    so the windows' own measurements are compared without having been selected.
    """
    everything = {name: Pool(rows, job.groups[rows], np.zeros(len(rows), np.int64)) for name, rows in job.sets.items()}
    if SIZE not in asked or SIZE not in job.conditions:
        return Plan(everything, _wanted(everything, 1), [_free_note(asked)])
    sizes = np.full(len(job.windows), np.nan)
    for name in ("held_out", "train"):
        sizes[job.sets[name]] = job.conditions[SIZE][name][1]
    if not requests.unlike(asked[SIZE], sizes[np.isfinite(sizes)]):
        note = "The requested sizes are distributed like those of the real windows, so all windows are compared."
        return Plan(everything, _wanted(everything, 1), [note])
    found = requests.match(asked[SIZE], sizes)
    classes = {name: found.real[job.origin[pool.index]] for name, pool in everything.items()}
    classes["generated"] = found.generated
    pools = {name: Pool(pool.index, pool.groups, classes[name]) for name, pool in everything.items()}
    wanted = _wanted(pools, len(found.edges))
    notes = _matched_notes(pools["generated"], wanted, found)
    used = np.append(wanted > 0, False)  # the last entry answers for class -1
    return Plan({name: pool.part(used[pool.strata]) for name, pool in pools.items()}, wanted, notes)


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


def _matched_notes(generated: Pool, wanted: Indices, found: requests.Matching) -> list[str]:
    """Say which real windows were picked, and what found no counterpart."""
    how = f"within {requests.TOLERANCE:.0%} of a requested size" if found.fixed else "in classes of like size"
    notes = [
        f"The samples were made for given grain sizes, so they are compared with real windows {how} (mean "
        f"intercept measured on the whole picture), equally many per size: {', '.join(map(str, wanted))} windows."
    ]
    lost = int((generated.available(len(wanted)) * (wanted == 0)).sum())
    if lost:
        notes.append(f"{lost} samples of {len(generated.index)} have no real windows of like size and are left out.")
    return notes
