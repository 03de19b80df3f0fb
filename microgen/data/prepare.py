"""From a folder of micrographs to a data set with its fingerprint, split and plan."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from microgen.core import InputError
from microgen.core.files import sha256, write_json
from microgen.core.recipe import recipe
from microgen.data.dataset import VERSION, Dataset, Item, Split, write_dataset
from microgen.data.fingerprint import image_fingerprint, summary
from microgen.data.overlap import Overlap, View, content, copies, find_overlaps, groups
from microgen.data.plan import fingerprint_path, origin, plan_path, write_plan
from microgen.data.planning import Planned, make_plan, wanted_conditions, with_conditions
from microgen.data.sources import Inputs, Source, common_field
from microgen.data.split import MIN_SPECIMENS, halves, split_by_specimen
from microgen.io.sidecars import beside

Say = Callable[[str], None]


def _silent(message: str) -> None:
    pass


@dataclass(frozen=True)
class Options:
    """What a person may choose about preparing; see :func:`prepare`."""

    crop_bottom: int | None = None
    held_out: float = 0.2
    seed: int = 0
    specimen: str = "image"
    skip_bad: bool = False
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def how(self) -> dict[str, Any]:
        """Further arguments of :func:`microgen.io.read`."""
        return {"crop_bottom": self.crop_bottom, **self.reading}

    def request(self) -> dict[str, Any]:
        """JSON-able values that fix the result; of `reading` only what was said, so that old requests stay the same."""
        return {k: v for k, v in asdict(self).items() if k != "reading" or v}


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
    say: Say = _silent,
) -> dict[str, Any]:
    """Read micrographs into one data set file, with fingerprint and plan beside it.

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
    out = Path(out)
    given = [pixel_size_um] if isinstance(pixel_size_um, (str, int, float)) else list(pixel_size_um)
    said = {"dataset": dataset, "raw_shape": raw_shape, "raw_dtype": raw_dtype, "euler_frame": euler_frame}
    options = Options(crop_bottom, held_out, seed, specimen, skip_bad, {k: v for k, v in said.items() if v is not None})
    found = Inputs.find(inputs, pixel_size_um=given, how=options.how)
    if found.stray:
        say(f"{len(found.stray)} files cannot be read and are left out: {', '.join(p.name for p in found.stray[:5])}")
    files = _inputs(found)
    request = _hash([files, options.request()])
    done = None if dry_run else _already(out, request)
    if done:
        say(f"{out} is prepared already from the same inputs and options; nothing to do")
        return {**done, **_paths(out), "skipped": True}
    keep = not dry_run and _keeps_plan(out, files)
    gathered = _gather(found, options, say)
    items = list(_assign(gathered, options, say))
    planned = _plan(gathered, items, say)
    result = _result(out, gathered, items, planned)
    if not dry_run:
        if keep:
            say(f"{plan_path(out)} was edited and is kept; delete it to get a new one")
        else:
            write_plan(plan_path(out), planned.plan, planned.reasons, inputs=files)
        _write(out, gathered, items, {"inputs": files, "request": request, "result": result})
    return {**result, "skipped": False}


@dataclass(frozen=True)
class _Gathered:
    """What is known after reading every image once."""

    sources: dict[str, Source]
    fingerprint: dict[str, Any]
    overlaps: list[Overlap]
    scalars: list[Mapping[str, float]]
    left_out: dict[str, str]
    warnings: list[str]


@dataclass(frozen=True)
class _Assigned:
    """Where an image goes; parts of a divided image share their source."""

    name: str
    source: Source
    specimen: str
    split: Split
    divide: tuple[float, float] | None = None

    def items(self) -> list[Item]:
        item = Item(self.name, self.source.read(), self.specimen, self.split)
        return [item] if self.divide is None else halves(item, share=self.divide[0], gap_um=self.divide[1])


def _inputs(found: Inputs) -> str:
    """Hash of everything that is read, and of how it is stored: the images and what lies beside them."""
    files = [
        [name, sha256(path), found.sizes.of(path), [[side.name, sha256(side)] for side in beside(path)]]
        for name, path in found.files.items()
    ]
    return _hash([VERSION, files])


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


def _gather(found: Inputs, options: Options, say: Say) -> _Gathered:
    left_out: dict[str, str] = {}

    def bad(name: str, error: InputError) -> None:
        if not options.skip_bad:
            raise error
        left_out[name] = str(error)
        say(f"left out: {error}")

    def warn(message: str) -> None:
        warnings.append(message)
        say(message)

    sources, reports, scalars, fields = {}, [], [], []
    contents: dict[str, str] = {}
    views: dict[str, View] = {}
    warnings: list[str] = []
    for source, m in found.each(bad=bad):
        say(f"reading {source.name}")
        sources[source.name] = source
        fields.append(list(m.fields))
        field = common_field(fields)
        reports.append(image_fingerprint(source.name, m, field))
        digest = content(m[field])
        if m.ndim == 2 and m[field].ndim == 2 and digest not in views:
            views[digest] = View.of(source.name, m[field], m.spacing)
        contents[source.name] = digest
        scalars.append(m.scalars)
        warnings += list(m.source.get("warnings", ()))
    if not sources:
        raise InputError(
            f"none of the {len(found.files)} files can be used; the first: {next(iter(left_out.values()))}"
        )
    if len({len(r["shape"]) for r in reports}) > 1:
        raise InputError("pictures and volumes cannot be mixed in one data set; prepare them separately")
    say(f"comparing {len(views)} images for overlaps")
    overlaps = copies(contents, len(reports[0]["shape"])) + find_overlaps(list(views.values()), warn=warn)
    fingerprint = summary(reports, overlaps, common_field(fields))
    return _Gathered(sources, fingerprint, overlaps, scalars, left_out, warnings)


def specimens(files: Mapping[str, str], overlaps: Sequence[Overlap], rule: str) -> dict[str, str]:
    """Specimen of each image, given the file of each: by the rule, then joined along overlaps.

    >>> specimens({"a/1": "a/1", "a/2": "a/2", "b/1": "b/1"}, [], "folder")
    {'a/1': 'a', 'a/2': 'a', 'b/1': 'b'}
    >>> specimens({"s.tif#0000": "s.tif", "s.tif#0001": "s.tif"}, [], "image")
    {'s.tif#0000': 's.tif', 's.tif#0001': 's.tif'}
    """
    labels = {name: file if rule == "image" else _label(name, rule) for name, file in files.items()}
    pairs = [(labels[o.first], labels[o.second]) for o in overlaps]
    joined = groups(labels.values(), pairs)
    return {name: joined[label] for name, label in labels.items()}


def _label(name: str, rule: str) -> str:
    if rule == "folder":
        return name.rpartition("/")[0] or "."
    try:
        match = re.search(rule, name)
        return match[1] if match else name
    except (re.error, IndexError) as error:
        raise InputError(f"the specimen rule {rule!r} is no regular expression with one (group): {error}") from error


def _assign(gathered: _Gathered, options: Options, say: Say) -> Iterator[_Assigned]:
    """Give every image its specimen and split; divide images where there are too few to hold one out."""
    specimen = _specimens(gathered, options, say)
    for o in gathered.overlaps:
        say(f"{o.first} and {o.second} overlap by {o.share:.1%}; they stay on one side of the split")
    few = len(set(specimen.values())) < MIN_SPECIMENS
    if few and options.held_out and options.specimen != "image":
        raise InputError(
            f"the rule {options.specimen!r} gives {len(set(specimen.values()))} specimens, three are needed to hold "
            "one out; use --specimen image or --held-out 0"
        )
    if few and options.held_out:
        yield from _divided(gathered, specimen, options, say)
        return
    sizes = {i["name"]: (i["grains"] or {}).get("mean_intercept_um") for i in gathered.fingerprint["images"]}
    split = split_by_specimen(specimen, sizes, share=options.held_out, seed=options.seed)
    for name, source in gathered.sources.items():
        yield _Assigned(name, source, specimen[name], split[name])


def _specimens(gathered: _Gathered, options: Options, say: Say) -> dict[str, str]:
    """Pages of one file are one specimen, unless too few would be left to hold one out."""
    files = {name: source.file for name, source in gathered.sources.items()}
    found = specimens(files, gathered.overlaps, options.specimen)
    stacked = options.specimen == "image" and len(set(files.values())) < len(files)
    if not stacked or len(set(found.values())) >= MIN_SPECIMENS or not options.held_out:
        return found
    message = (
        "each page of a stack counts as a specimen, but neighbouring pages may be alike: say which belong together, "
        r'for example ten pages each with --specimen "#(\d\d\d)"'
    )
    gathered.warnings.append(message)
    say(message)
    return specimens({name: name for name in files}, gathered.overlaps, options.specimen)


def _divided(gathered: _Gathered, specimen: Mapping[str, str], options: Options, say: Say) -> Iterator[_Assigned]:
    count = len(set(specimen.values()))
    message = f"only {count} independent image{'s' * (count > 1)}: a part of each is held out, which proves less"
    gathered.warnings.append(message)
    say(message)
    grains, xi = gathered.fingerprint["grain_size_um"], gathered.fingerprint["correlation_length_um"]
    gap = 2 * grains["median"] if grains else 4 * (xi or 0.0)
    whole = make_plan(gathered.fingerprint).plan.data
    lengths = {report["name"]: max(report["extent_um"]) for report in gathered.fingerprint["images"]}
    seen: set[str] = set()
    for name, source in gathered.sources.items():
        if specimen[name] in seen:
            gathered.left_out[name] = f"overlaps with {specimen[name]}, which is divided"
            continue
        seen.add(specimen[name])
        one_patch = 1.02 * whole.patch_px * whole.spacing_um / lengths[name]
        share = min(max(options.held_out, one_patch), 0.5)
        yield _Assigned(name, source, specimen[name], "train", (share, gap))


def _plan(gathered: _Gathered, assigned: Sequence[_Assigned], say: Say) -> Planned:
    planned = make_plan({**gathered.fingerprint, "images": list(_parts(gathered, assigned))})
    names = wanted_conditions(gathered.fingerprint, gathered.scalars)
    if names:
        say(f"measuring {', '.join(names)} of patches at {planned.plan.data.spacing_um:g} um per pixel")
    training = (
        (i.name, i.microstructure) for a in assigned if a.split == "train" for i in a.items() if i.split == "train"
    )
    return with_conditions(planned, training, names)


def _parts(gathered: _Gathered, assigned: Sequence[_Assigned]) -> Iterator[dict[str, Any]]:
    """Reports of the items as they will be stored: both parts of a divided image must hold a patch."""
    reports = {report["name"]: report for report in gathered.fingerprint["images"]}
    for a in assigned:
        report = reports[a.name]
        if a.divide is None:
            yield report
        else:
            yield from ({**report, "name": i.name, "extent_um": list(i.microstructure.extent_um)} for i in a.items())


def _result(out: Path, gathered: _Gathered, assigned: Sequence[_Assigned], planned: Planned) -> dict[str, Any]:
    plan, fingerprint = planned.plan, gathered.fingerprint
    return {
        **_paths(out),
        "images": len(assigned),
        "train": sum(a.split == "train" for a in assigned),
        "held_out": [a.name if a.divide is None else f"{a.name}#held_out" for a in assigned if _holds_out(a)],
        "left_out": gathered.left_out,
        "overlaps": len(gathered.overlaps),
        "specimens": len({a.specimen for a in assigned}),
        "grain_size_um": fingerprint["grain_size_um"],
        "correlation_length_um": fingerprint["correlation_length_um"],
        "effective_samples": fingerprint["effective_samples"],
        "spacing_um": plan.data.spacing_um,
        "patch_px": plan.data.patch_px,
        "augment": list(plan.data.augment),
        "conditions": {name: [r.low, r.high] for name, r in plan.conditions.ranges.items()},
        "minutes": plan.train.minutes,
        "warnings": gathered.warnings,
    }


def _paths(out: Path) -> dict[str, str]:
    return {"dataset": str(out), "plan": str(plan_path(out)), "fingerprint": str(fingerprint_path(out))}


def _holds_out(assigned: _Assigned) -> bool:
    return assigned.split == "held_out" or assigned.divide is not None


def _write(out: Path, gathered: _Gathered, assigned: Sequence[_Assigned], meta: Mapping[str, Any]) -> None:
    """Write the fingerprint first: the data set, which says that all is done, comes last."""
    write_json(fingerprint_path(out), gathered.fingerprint)
    items = (item for a in assigned for item in a.items())
    write_dataset(out, items, {**recipe("prepare"), **meta}, fingerprint=gathered.fingerprint)
