"""The report: rows with verdicts, the whole in words, and its JSON and HTML forms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microgen.core.files import write_bytes, write_json
from microgen.evaluate.ratio import Distances
from microgen.evaluate.requests import Obeyed
from microgen.evaluate.twosample import Accuracy

if TYPE_CHECKING:
    from microgen.evaluate.evidence import Evidence

TARGET = 1.5
"""Up to this multiple of the distance between real pictures, generated ones count as like real ones."""

MIN_GENERATED = 16
MIN_PICTURES = 2

ENOUGH_PICTURES = 4
"""Fewer independent held-out pictures are too few to call anything like real."""

WIDE = 3.0
"""Nothing is called like real whose interval reaches beyond this ratio."""

REDUNDANT = {"astm_g": "mean_intercept_um", "anisotropy": "aspect_ratio"}
"""Descriptors that are another one on a different scale: shown, but counted once."""

GOOD, UNSURE, BAD, SILENT = "like real", "unsure", "differs", "no verdict"
"""The four kinds of verdict."""


@dataclass(frozen=True)
class Numbers:
    """How many stand behind a row.

    Attributes
    ----------
    generated, held_out, train
        Windows on which the descriptor could be measured.
    compared
        Windows on each side of a comparison (median over the draws).
    pictures
        Independent held-out pictures or specimens.
    generated_missing, held_out_missing
        Windows on which it could not be measured.
    """

    generated: int
    held_out: int
    train: int
    compared: int
    pictures: int
    generated_missing: int = 0
    held_out_missing: int = 0

    @property
    def missing(self) -> tuple[float, float]:
        """Share of the generated and of the held-out windows on which the descriptor could not be measured."""
        pairs = ((self.generated_missing, self.generated), (self.held_out_missing, self.held_out))
        return (pairs[0][0] / max(sum(pairs[0]), 1), pairs[1][0] / max(sum(pairs[1]), 1))

    @property
    def doubt(self) -> str:
        """Why the descriptor cannot be called like real whatever its ratio, or nothing."""
        if self.pictures < ENOUGH_PICTURES:
            least = f"at least {ENOUGH_PICTURES} needed"
            return f"too few pictures to conclude: {self.pictures} independent real ones, {least}"
        made, held = (self.generated + self.generated_missing, self.held_out + self.held_out_missing)
        share = (self.generated_missing + self.held_out_missing) / (made + held)
        noise = 2 * math.sqrt(share * (1 - share) * (1 / made + 1 / held))
        if abs(self.missing[0] - self.missing[1]) <= 0.05 + noise:
            return ""
        return f"could not be measured on {self.missing[0]:.0%} of generated and {self.missing[1]:.0%} of real windows"

    @property
    def too_few(self) -> str:
        """Why nothing can be concluded, or nothing."""
        if not self.compared:
            return "nothing to compare: too few real windows of the requested values on both sides"
        if min(self.generated, self.held_out, self.compared) < MIN_GENERATED:
            smallest = min(self.generated, self.held_out, self.compared)
            return f"too few to conclude: n={smallest} windows, at least {MIN_GENERATED} needed"
        if self.pictures < MIN_PICTURES:
            return f"too few to conclude: n={self.pictures} independent real picture, at least {MIN_PICTURES} needed"
        return ""


@dataclass(frozen=True)
class Row:
    """One descriptor: generated against held-out real.

    Attributes
    ----------
    descriptor, unit, kind
        What was compared; distances are in `unit`.
    reference, generated
        Median over the held-out and over the generated windows (of the window means, for curves and distributions).
    distance, interval
        Distance between generated and held-out, with its 95 % bootstrap interval over pictures and samples.
    floor, floors
        Distance of surrogates from held-out: the smaller one, and each by name.
    ceiling
        Distance between real and real.
    ratio, ratio_interval
        Distance over ceiling; NaN where there are too few.
    n
        Numbers behind it.
    verdict, why
        One of :data:`GOOD`, :data:`UNSURE`, :data:`BAD`, :data:`SILENT`, and the sentence for it.
    same_as
        Another row that says the same (:data:`REDUNDANT`), or nothing.
    """

    descriptor: str
    unit: str
    kind: str
    reference: float
    generated: float
    distance: float
    interval: tuple[float, float]
    floor: float
    floors: dict[str, float]
    ceiling: float
    ratio: float
    ratio_interval: tuple[float, float]
    n: Numbers
    verdict: str
    why: str
    same_as: str = ""


def make_row(
    name: str,
    unit: str,
    kind: str,
    found: Distances,
    n: Numbers,
    *,
    medians: tuple[float, float],
) -> Row:
    """Assemble a row and judge it.

    Parameters
    ----------
    medians
        Of held-out and generated.
    """
    floor = min((v for v in found.floors.values() if math.isfinite(v)), default=math.nan)
    verdict, why = _judge(found, floor, n)
    ratio, interval = (math.nan, (math.nan, math.nan)) if n.too_few else (found.ratio, found.ratio_interval)
    return Row(
        name,
        unit,
        kind,
        medians[0],
        medians[1],
        found.distance,
        found.interval,
        floor,
        found.floors,
        found.ceiling,
        ratio,
        interval,
        n,
        verdict,
        why,
        _same_as(name),
    )


def _same_as(name: str) -> str:
    """The row that says the same, of the same phase."""
    base, colon, phase = name.partition(":")
    return REDUNDANT[base] + colon + phase if base in REDUNDANT else ""


def _judge(found: Distances, floor: float, n: Numbers) -> tuple[str, str]:
    if n.too_few:
        return SILENT, n.too_few
    if math.isnan(found.ratio):
        return SILENT, "could not be measured on both sides"
    if found.ratio <= TARGET:
        if n.doubt:
            return UNSURE, n.doubt
        if found.ratio_interval[1] > WIDE:
            return UNSURE, f"the interval reaches above {WIDE:g}: too few pictures or samples to conclude"
        if floor <= TARGET * found.ceiling:
            return GOOD, "but noise of the same gray values passes too: it says little"
        return GOOD, "" if found.ratio_interval[1] <= TARGET else f"the interval reaches above {TARGET:g}"
    if found.ratio_interval[0] <= TARGET:
        return UNSURE, f"above {TARGET:g}, but the interval reaches below"
    if found.distance >= floor:
        return BAD, "differs from real as much as a random field does"
    return BAD, "differs from real by more than real pictures differ"


@dataclass(frozen=True)
class TwoSample:
    """Tests on all descriptors and texture features together.

    Attributes
    ----------
    generated, real
        Accuracy of telling generated from held-out, and training from held-out (or one half of the real pictures
        from the other).
    p_generated, p_real
        Permutation p-values of the kernel test for the same two pairs.
    features
        Numbers per window that the tests see.
    """

    generated: Accuracy | None
    real: Accuracy | None
    p_generated: float
    p_real: float
    features: int

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.generated is None:
            return "Too few windows or pictures for a classifier test."
        words = f"A classifier tells generated from held-out real with accuracy {_accuracy(self.generated)}"
        return words + (f"; real from real with {_accuracy(self.real)}." if self.real else ".")


def _accuracy(a: Accuracy) -> str:
    return f"{a.best:.2f} ({a.interval[0]:.2f} to {a.interval[1]:.2f})"


@dataclass(frozen=True)
class Memorisation:
    """How near samples come to training patches, and how near held-out windows do.

    Attributes
    ----------
    checked
        Samples and held-out windows searched for, each.
    copied, copied_held_out
        Share with ``d1 / d2 < 1/3``.
    ratio, ratio_held_out
        Median ``d1 / d2``.
    distance, distance_held_out
        Median distance to the nearest training patch.
    """

    checked: tuple[int, int]
    copied: float
    copied_held_out: float
    ratio: float
    ratio_held_out: float
    distance: float
    distance_held_out: float

    @property
    def suspicious(self) -> bool:
        """Whether copies were found beyond what held-out windows show, or samples lie much nearer than these."""
        nearer = self.checked[1] > 0 and self.distance < 0.7 * self.distance_held_out
        reference = self.copied_held_out if self.checked[1] else 0.0
        return self.checked[0] > 0 and (self.copied > reference or nearer)

    @property
    def sentence(self) -> str:
        """The result in words."""
        if not self.checked[0]:
            return "Memorisation was not checked: no training pictures of at least the window size were given."
        words = f"{self.copied:.0%} of {self.checked[0]} samples are copies of a training patch"
        if self.checked[1]:
            words += f" ({self.copied_held_out:.0%} of {self.checked[1]} held-out windows by the same measure)"
        return words + ("; the samples come suspiciously near to the training pictures." if self.suspicious else ".")


@dataclass(frozen=True, eq=False)
class Report:
    """Generated against held-out real, in numbers.

    Attributes
    ----------
    rows
        One per descriptor, and one for all features together (``mmd``).
    obeyed
        Requested against measured, one per requested value.
    two_sample, memorisation
        The tests on everything together.
    notes
        What was done to the pictures, in sentences.
    provenance
        Versions, seeds, hashes, numbers.
    evidence
        Arrays behind the figures; not part of the JSON.
    """

    rows: Sequence[Row]
    obeyed: Sequence[Obeyed]
    two_sample: TwoSample
    memorisation: Memorisation
    notes: Sequence[str]
    provenance: Mapping[str, Any]
    evidence: Evidence = field(repr=False)

    def __getitem__(self, descriptor: str) -> Row:
        return next(row for row in self.rows if row.descriptor == descriptor)

    @property
    def verdict(self) -> str:
        """The worst verdict of all rows, or no verdict where nothing could be concluded."""
        found = {row.verdict for row in self.rows}
        return next((v for v in (BAD, UNSURE, GOOD) if v in found), SILENT)

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        judged = [row for row in self.rows if row.verdict != SILENT and not self._repeats(row)]
        if not judged:
            reasons = [row.why for row in self.rows if row.n.too_few] or ["nothing could be measured on both sides"]
            return f"No conclusion: {reasons[0]}."
        good = [row for row in judged if row.verdict == GOOD]
        words = (
            f"{len(good)} of {len(judged)} descriptors lie within {TARGET:g} times the distance between real pictures"
        )
        worst = max(judged, key=lambda row: row.ratio)
        return f"{words}; the largest ratio is {worst.ratio:.2f} ({worst.descriptor})."

    def _repeats(self, row: Row) -> bool:
        """Whether another judged row says the same."""
        return any(other.descriptor == row.same_as and other.verdict != SILENT for other in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; numbers that do not exist are None."""
        content = {
            "headline": self.headline,
            "verdict": self.verdict,
            "target_ratio": TARGET,
            "rows": [asdict(row) for row in self.rows],
            "obeyed": [asdict(row) for row in self.obeyed],
            "two_sample": {**asdict(self.two_sample), "sentence": self.two_sample.sentence},
            "memorisation": {
                **asdict(self.memorisation),
                "suspicious": self.memorisation.suspicious,
                "sentence": self.memorisation.sentence,
            },
            "notes": list(self.notes),
            "provenance": dict(self.provenance),
        }
        plain: dict[str, Any] = _finite(content)
        return plain

    def to_json(self, path: Path | str) -> None:
        """Write the numbers as JSON, whole or not at all."""
        write_json(path, self.to_dict())

    def to_html(self, path: Path | str) -> None:
        """Write a page that needs no other file and no network, whole or not at all."""
        from microgen.evaluate.html import render

        write_bytes(path, render(self).encode())


def _finite(value: Any) -> Any:
    """The same with NaN and infinity replaced by None."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
