"""Giving every image its specimen and split, and dividing images where there are too few to hold one out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microgen.core import InputError
from microgen.data.dataset import Item, Split
from microgen.data.gathering import Gathered
from microgen.data.overlap import Overlap, groups
from microgen.data.planning import make_plan
from microgen.data.sources import Source
from microgen.data.split import MIN_SPECIMENS, halves, split_by_specimen

Say = Callable[[str], None]


@dataclass(frozen=True)
class Assigned:
    """Where an image goes; parts of a divided image share their source.

    Attributes
    ----------
    divide
        Share held out and width of the gap in micrometres, where the image is divided.
    """

    name: str
    source: Source
    specimen: str
    split: Split
    divide: tuple[float, float] | None = None

    @property
    def holds_out(self) -> bool:
        """Whether the image, or a part of it, is held out."""
        return self.split == "held_out" or self.divide is not None

    def items(self) -> list[Item]:
        """Read the image, and divide it where that is wanted."""
        item = Item(self.name, self.source.read(), self.specimen, self.split)
        return [item] if self.divide is None else halves(item, share=self.divide[0], gap_um=self.divide[1])


def assign(gathered: Gathered, *, rule: str, held_out: float, seed: int, say: Say) -> Iterator[Assigned]:
    """Give every image its specimen and split; divide images where there are too few to hold one out.

    Parameters
    ----------
    rule
        What counts as one specimen; see :func:`microgen.data.prepare`.
    held_out
        Share to hold out.
    seed
        Which of equally good specimens are held out.
    """
    specimen = _specimens(gathered, rule, held_out, say)
    for o in gathered.overlaps:
        say(f"{o.first} and {o.second} overlap by {o.share:.1%}; they stay on one side of the split")
    few = len(set(specimen.values())) < MIN_SPECIMENS
    if few and held_out and rule != "image":
        raise InputError(
            f"the rule {rule!r} gives {len(set(specimen.values()))} specimens, three are needed to hold "
            "one out; use --specimen image or --held-out 0"
        )
    if few and held_out:
        yield from _divided(gathered, specimen, held_out, say)
        return
    sizes = {i["name"]: (i["grains"] or {}).get("mean_intercept_um") for i in gathered.fingerprint["images"]}
    classes = {name: ", ".join(known.values()) for name, known in gathered.classes.items()}
    split = split_by_specimen(specimen, sizes, share=held_out, seed=seed, classes=classes)
    for name, source in gathered.sources.items():
        yield Assigned(name, source, specimen[name], split[name])


def parts(gathered: Gathered, assigned: Sequence[Assigned]) -> Iterator[dict[str, Any]]:
    """Reports of the items as they will be stored: both parts of a divided image must hold a patch."""
    reports = {report["name"]: report for report in gathered.fingerprint["images"]}
    for a in assigned:
        report = reports[a.name]
        if a.divide is None:
            yield report
        else:
            yield from ({**report, "name": i.name, "extent_um": list(i.microstructure.extent_um)} for i in a.items())


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


def _specimens(gathered: Gathered, rule: str, held_out: float, say: Say) -> dict[str, str]:
    """Pages of one file are one specimen, unless too few would be left to hold one out."""
    files = {name: source.file for name, source in gathered.sources.items()}
    found = specimens(files, gathered.overlaps, rule)
    stacked = rule == "image" and len(set(files.values())) < len(files)
    if not stacked or len(set(found.values())) >= MIN_SPECIMENS or not held_out:
        return found
    message = (
        "each page of a stack counts as a specimen, but neighbouring pages may be alike: say which belong together, "
        r'for example ten pages each with --specimen "#(\d\d\d)"'
    )
    gathered.warnings.append(message)
    say(f"{message}; if the pages are slices of one volume, pass --volume")
    return specimens({name: name for name in files}, gathered.overlaps, rule)


def _divided(gathered: Gathered, specimen: Mapping[str, str], held_out: float, say: Say) -> Iterator[Assigned]:
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
        share = min(max(held_out, one_patch), 0.5)
        yield Assigned(name, source, specimen[name], "train", (share, gap))
