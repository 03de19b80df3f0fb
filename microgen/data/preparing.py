"""From a folder of micrographs to a data set with its fingerprint, split and plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from microgen.core import InputError
from microgen.core.files import write_json
from microgen.core.recipe import recipe
from microgen.data.assigning import Assigned, assign, parts, specimens
from microgen.data.cards import cards_beside
from microgen.data.dataset import VERSION, Dataset, write_dataset
from microgen.data.facts import Facts
from microgen.data.gathering import Gathered, gather
from microgen.data.meaning import Meaning
from microgen.data.plan import Plan, fingerprint_path, origin, plan_path, write_plan
from microgen.data.planning import (
    Planned,
    estimate_memory_gb,
    labels_of,
    make_plan,
    wanted_conditions,
    with_conditions,
)
from microgen.data.sources import Inputs, Reader
from microgen.io.folders import left_out_text

__all__ = ["prepare", "specimens"]

Say = Callable[[str], None]


def _silent(message: str) -> None:
    pass


@dataclass(frozen=True)
class Options:
    """What a person may choose about preparing; see :func:`prepare`.

    Attributes
    ----------
    reading
        Of the arguments of :func:`microgen.io.read` only those that were said.
    learned
        Field to learn, meaning of the values, slices, classes and table, as far as they were said.
    conditions
        Conditions that were asked for.
    """

    crop_bottom: int | None
    held_out: float
    seed: int
    specimen: str
    skip_bad: bool
    reading: Mapping[str, Any]
    learned: Mapping[str, Any]
    conditions: tuple[str, ...] = ()

    @property
    def how(self) -> dict[str, Any]:
        """Further arguments of :func:`microgen.io.read`."""
        return {"crop_bottom": self.crop_bottom, **self.reading}

    def request(self) -> dict[str, Any]:
        """JSON-able values that fix the result; what was not said is left out, so that old requests stay the same."""
        return {k: v for k, v in asdict(self).items() if k not in ("reading", "learned", "conditions") or v}


def prepare(
    inputs: Iterable[Path | str],
    out: Path | str,
    *,
    pixel_size_um: str | float | Iterable[str | float] = (),
    crop_bottom: int | None = None,
    held_out: float = 0.2,
    seed: int = 0,
    specimen: str = "image",
    skip_bad: bool = False,
    dry_run: bool = False,
    dataset: str | None = None,
    raw_shape: Sequence[int] | None = None,
    raw_dtype: str | None = None,
    euler_frame: str | None = None,
    volume: bool = False,
    slices: bool = False,
    threshold: float | Literal["otsu"] | None = None,
    labels: Literal["phase", "grain"] | None = None,
    phase_names: Sequence[str] = (),
    field: str | None = None,
    class_folders: str | None = None,
    table: Path | str | None = None,
    conditions: Sequence[str] = (),
    say: Say = _silent,
) -> dict[str, Any]:
    """Read micrographs, maps or volumes into one data set file, with fingerprint and plan beside it.

    Parameters
    ----------
    inputs
        Files and folders; folders are searched with their subfolders.
    out
        Data set to write, ``steel.h5``; the plan is ``steel.plan.toml``, the fingerprint ``steel.fingerprint.json``.
    pixel_size_um
        Micrometres per pixel: one number, or entries ``"PATTERN=VALUE"`` matched against the end of each path
        (``"304-200=0.37"``); a value may be one per axis, ``"0.5,0.4,0.4"`` for z, y, x. Files without an entry are
        looked up in a ``pixel_sizes.toml`` beside or above them, then in their own metadata.
    crop_bottom
        Rows to cut off at the bottom of every image (the data bar); None goes by the metadata.
    held_out
        Share of the specimens kept back for evaluation.
    seed
        Which of equally good specimens are held out.
    specimen
        What counts as one specimen: ``"image"`` (each file, joined with those it overlaps), ``"folder"``, or a
        regular expression whose first group, found in the name, is the specimen. With fewer than three files, each
        page of a stack is a specimen, and a warning says that neighbouring pages may be alike.
    skip_bad
        Leave out files that cannot be used instead of refusing them all.
    dry_run
        Write nothing.
    dataset, raw_shape, raw_dtype, euler_frame
        What to know about files of other programs; see :func:`microgen.io.read`.
    volume
        The pages of a file are one volume ``(Z, Y, X)``, not pictures.
    slices
        `inputs` are folders; each one that holds pictures is a volume, each picture a slice of it.
    threshold, labels, phase_names
        What the values mean, see :mod:`microgen.stats.interpret`: gray split into two phases at a value or at
        ``"otsu"``, or whole numbers as phases (with names by ascending value) or grains.
    field
        Field to learn, where a file holds several that could be. Orientation maps always do: they are stored with all
        their fields and their segmented ``grain``; ``"boundary"`` is drawn from the grains.
    class_folders
        Name of a condition, ``"steel"``: the class of each image is the name of the folder that it lies in.
    table
        CSV file with a column ``file`` (the end of the path of each image) and one column per condition: numbers are
        quantities with the unit in their name, texts are classes.
    conditions
        Quantities to ask for besides those that the data suggest, like ``"orientation_deg"`` or ``"aspect_ratio"``.
    say
        Receives messages for people.

    Returns
    -------
    dict
        Paths, counts, held-out names, overlaps, warnings and the key numbers of the plan; ``"skipped"`` is True
        where the same inputs and options had been prepared already.

    Raises
    ------
    InputError
        If a file cannot be used, has no pixel size, nothing is left to learn from, or an edited plan of other images
        is in the way.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = Path(tempfile.mkdtemp())
    >>> for k in range(4):
    ...     np.save(folder / f"{k}.npy", np.random.default_rng(k).random((96, 96)))
    >>> result = prepare([folder], folder / "set.h5", pixel_size_um=0.5)
    >>> result["images"], result["train"], len(result["held_out"])
    (4, 3, 1)
    """
    out, places = Path(out), [Path(path) for path in inputs]
    given = [pixel_size_um] if isinstance(pixel_size_um, (str, int, float)) else list(pixel_size_um)
    said: dict[str, Any] = {"dataset": dataset, "raw_shape": raw_shape, "raw_dtype": raw_dtype}
    said |= {"euler_frame": euler_frame, "volume": volume or None}
    meaning = Meaning(threshold, labels, tuple(phase_names))
    facts = Facts.read(table, class_folders)
    learned = meaning.request() | ({"field": field} if field else {}) | ({"slices": True} if slices else {})
    learned |= facts.request()
    reading = {k: v for k, v in said.items() if v is not None}
    options = Options(crop_bottom, held_out, seed, specimen, skip_bad, reading, learned, tuple(conditions))
    found = Inputs.find(places, pixel_size_um=given, reader=Reader(options.how, meaning, slices, facts))
    if found.stray:
        say(left_out_text(found.stray))
    files = _hash([VERSION, found.content(), *([learned] if learned else [])])
    request = _hash([files, options.request()])
    done = None if dry_run else _already(out, request)
    if done:
        say(f"{out} is prepared already from the same inputs and options; nothing to do")
        return {**done, **_paths(out), "skipped": True}
    keep = not dry_run and _keeps_plan(out, files)
    gathered = gather(found, field, skip_bad=skip_bad, say=say)
    items = list(assign(gathered, rule=specimen, held_out=held_out, seed=seed, say=say))
    planned = _plan(gathered, items, options.conditions, say)
    result = _result(out, gathered, items, planned)
    if not dry_run:
        if keep:
            say(f"{plan_path(out)} was edited and is kept; delete it to get a new one")
        else:
            write_plan(plan_path(out), planned.plan, planned.reasons, inputs=files)
        about = {"inputs": files, "request": request, "result": result, "sources": cards_beside(places)}
        _write(out, gathered, items, about)
    return {**result, "skipped": False}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _already(out: Path, request: str) -> dict[str, Any] | None:
    if not all(path.is_file() for path in (out, plan_path(out), fingerprint_path(out))):
        return None
    try:
        meta = Dataset.open(out).meta
    except InputError:
        return None  # not ours or damaged: it is written anew
    result: dict[str, Any] | None = meta.get("result") if meta.get("request") == request else None
    return result


def _keeps_plan(out: Path, inputs: str) -> bool:
    """Whether an edited plan of these very images lies there; refuse one that may be of others."""
    path = plan_path(out)
    if not path.is_file():
        return False
    made = origin(path)
    if made.edited and (made.inputs or _inputs_before(out)) != inputs[:16]:
        raise InputError(
            f"{path} was edited, and not for these images; delete it to get a new one, or move it elsewhere and pass "
            "it to: microgen train --plan"
        )
    return made.edited


def _inputs_before(out: Path) -> str:
    """Which images the data set that lies there was made from."""
    try:
        return str(Dataset.open(out).meta.get("inputs", ""))[:16]
    except InputError:
        return ""


def _plan(gathered: Gathered, assigned: Sequence[Assigned], asked: Sequence[str], say: Say) -> Planned:
    planned = make_plan({**gathered.fingerprint, "images": list(parts(gathered, assigned))})
    labels = labels_of(list(gathered.classes.values()))
    names = list(dict.fromkeys([*wanted_conditions(gathered.fingerprint, gathered.scalars), *labels, *asked]))
    if names:
        say(f"measuring {', '.join(names)} of patches at {planned.plan.data.spacing_um:g} um per pixel")
    training = (
        (i.name, i.microstructure) for a in assigned if a.split == "train" for i in a.items() if i.split == "train"
    )
    return with_conditions(planned, training, names, asked=asked, labels=labels)


def _result(out: Path, gathered: Gathered, assigned: Sequence[Assigned], planned: Planned) -> dict[str, Any]:
    plan, fingerprint = planned.plan, gathered.fingerprint
    return {
        **_paths(out),
        "images": len(assigned),
        "train": sum(a.split == "train" for a in assigned),
        "held_out": [a.name if a.divide is None else f"{a.name}#held_out" for a in assigned if a.holds_out],
        "left_out": gathered.left_out,
        "overlaps": len(gathered.overlaps),
        "specimens": len({a.specimen for a in assigned}),
        "grain_size_um": fingerprint["grain_size_um"],
        "correlation_length_um": fingerprint["correlation_length_um"],
        "effective_samples": fingerprint["effective_samples"],
        "spacing_um": plan.data.spacing_um,
        "patch_px": plan.data.patch_px,
        "augment": list(plan.data.augment),
        "conditions": {name: list(r.labels) or [r.low, r.high] for name, r in plan.conditions.ranges.items()},
        "minutes": plan.train.minutes,
        **_memory(plan, fingerprint),
        "warnings": gathered.warnings,
    }


def _memory(plan: Plan, fingerprint: Mapping[str, Any]) -> dict[str, float]:
    """Peak memory of training, of volumes: pictures take little."""
    if fingerprint["ndim"] == 2:
        return {}
    gigabytes = estimate_memory_gb(plan.model, plan.train, plan.data, fingerprint["images"])
    return {"memory_gb": float(f"{gigabytes:.2g}")}


def _paths(out: Path) -> dict[str, str]:
    return {"dataset": str(out), "plan": str(plan_path(out)), "fingerprint": str(fingerprint_path(out))}


def _write(out: Path, gathered: Gathered, assigned: Sequence[Assigned], meta: Mapping[str, Any]) -> None:
    """Write the fingerprint first: the data set, which says that all is done, comes last."""
    write_json(fingerprint_path(out), gathered.fingerprint)
    items = (item for a in assigned for item in a.items())
    write_dataset(out, items, {**recipe("prepare"), **meta}, fingerprint=gathered.fingerprint)
