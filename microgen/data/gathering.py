"""Reading every image once: what is known of them before any is assigned or stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from microgen.core import InputError, Microstructure
from microgen.data.facts import classes_of
from microgen.data.fingerprint import image_fingerprint, summary
from microgen.data.overlap import Overlap, View, content, copies, find_overlaps
from microgen.data.sources import Inputs, Source
from microgen.stats.interpret import distinct

Say = Callable[[str], None]

SEAM = (
    "phases are learned on one scale, in the order of their numbers: between the first and the third a model draws a "
    "thin seam of the second"
)
"""What is said of more than two phases."""


@dataclass(frozen=True)
class Gathered:
    """What is known after reading every image once.

    Attributes
    ----------
    sources
        Images by name, in their order.
    fingerprint
        See :func:`microgen.data.fingerprint.summary`.
    overlaps
        Pairs that show the same place.
    scalars
        Numbers stored with each image.
    classes
        Classes of each image, by its name.
    left_out
        Why an image is not used, by name.
    warnings
        Sentences for people.
    """

    sources: dict[str, Source]
    fingerprint: dict[str, Any]
    overlaps: list[Overlap]
    scalars: list[Mapping[str, float]]
    classes: dict[str, Mapping[str, str]]
    left_out: dict[str, str]
    warnings: list[str]


@dataclass
class _Notes:
    """What is written down while images are read."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    scalars: list[Mapping[str, float]] = field(default_factory=list)
    classes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    phases: int = 0

    def take(self, name: str, m: Microstructure, learned: str) -> None:
        """Describe one image."""
        values = m[learned]
        self.reports.append(image_fingerprint(name, m, learned))
        digest = content(values)
        if m.ndim == 2 and values.ndim == 2 and digest not in self.views:
            self.views[digest] = View.of(name, values, m.spacing)
        self.contents[name] = digest
        self.scalars.append(m.scalars)
        self.classes[name] = classes_of(m)
        if learned == "phase":
            self.phases = max(self.phases, len(distinct(values)))
        self.warnings += list(m.source.get("warnings", ()))


def gather(found: Inputs, wanted: str | None, *, skip_bad: bool, say: Say) -> Gathered:
    """Read, check and describe every image, and look for those that show the same place.

    Parameters
    ----------
    wanted
        Field to learn, None for the only one.
    skip_bad
        Leave out files that cannot be used instead of refusing them all.
    """
    left_out: dict[str, str] = {}

    def bad(name: str, error: InputError) -> None:
        if not skip_bad:
            raise error
        left_out[name] = str(error)
        say(f"left out: {error}")

    def warn(message: str) -> None:
        notes.warnings.append(message)
        say(message)

    sources: dict[str, Source] = {}
    notes = _Notes()
    for source, m in found.each(wanted, bad=bad):
        say(f"reading {source.name}")
        sources[source.name] = source
        notes.take(source.name, m, source.learned)
    if not sources:
        raise InputError(
            f"none of the {len(found.files)} files can be used; the first: {next(iter(left_out.values()))}"
        )
    say(f"comparing {len(notes.views)} images for overlaps")
    overlaps = copies(notes.contents, len(notes.reports[0]["shape"]))
    overlaps += find_overlaps(list(notes.views.values()), warn=warn)
    learned = next(iter(sources.values())).learned
    if learned == "phase" and notes.phases > 2:
        say(SEAM)
    fingerprint = summary(notes.reports, overlaps, learned)
    return Gathered(sources, fingerprint, overlaps, notes.scalars, notes.classes, left_out, notes.warnings)
