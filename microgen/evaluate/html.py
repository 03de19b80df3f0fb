"""The report as one page."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from importlib import resources
from typing import Any

from microgen.evaluate.figures import charts
from microgen.evaluate.panels import pictures
from microgen.evaluate.report import (
    BAD,
    ENOUGH_PICTURES,
    GOOD,
    MIN_GENERATED,
    MIN_PICTURES,
    SILENT,
    TARGET,
    UNSURE,
    WIDE,
    Report,
)
from microgen.evaluate.requests import Obeyed
from microgen.stats import DESCRIPTORS

CLASSES = {GOOD: "good", UNSURE: "unsure", BAD: "bad", SILENT: "silent"}

WORDS = {
    GOOD: "The generated structures are as near to held-out real ones as real ones are to each other.",
    UNSURE: "Mostly like real; some descriptors lie above the target, but not certainly.",
    BAD: "Some descriptors of the generated structures differ from real ones by more than real pictures differ.",
    SILENT: "Nothing can be concluded from these pictures.",
}


def render(report: Report) -> str:
    """Return the report as one HTML page without references to anything outside it."""
    import jinja2

    source = resources.files("microgen.evaluate").joinpath("report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"number": number, "percent": percent, "micro": micro, "off": off}
    page: str = environment.from_string(source).render(
        report=report,
        words=WORDS[report.verdict],
        classes=CLASSES,
        meaning={row.descriptor: meaning(row.descriptor) for row in report.rows},
        images=defaultdict(str, charts(report) | pictures(report.evidence)),
        provenance=json.dumps(report.to_dict()["provenance"], indent=2, ensure_ascii=False),
        target=TARGET,
        minimum=(MIN_GENERATED, MIN_PICTURES, ENOUGH_PICTURES, WIDE),
        obedience=obedience(report),
    )
    return page


def obedience(report: Report) -> str:
    """Say in one sentence how well requests were met."""
    kinds = [[row for row in report.obeyed if row.in_degrees == which] for which in (False, True)]
    said = [words for rows in kinds if (words := _largest(rows))]
    if not said:
        return "Requested against measured: no sample could be measured."
    return f"Requested against measured: {'; '.join(said)}."


def _largest(rows: Sequence[Obeyed]) -> str:
    """The largest errors of rows of one kind, in words; nothing where nothing was measured."""
    errors, against = (
        [abs(e) for row in rows if math.isfinite(e := getattr(row, name))] for name in ("error", "error_real")
    )
    if not errors:
        return ""
    largest, other = (_written(max(found, default=0.0), in_degrees=rows[0].in_degrees) for found in (errors, against))
    kind = "an average direction" if rows[0].in_degrees else "a median"
    words = f"the largest error of {kind} is {largest}"
    words += f" ({other} against real windows measured in the same way)" if against else ""
    return f"{words} over {len(errors)} requested values"


def _written(error: float, *, in_degrees: bool) -> str:
    return f"{error:.1f}°" if in_degrees else f"{error:.1%}"


def off(value: float, row: Obeyed) -> str:
    """Write a signed error of a row, of directions in degrees."""
    return f"{value:+.1f}°" if row.in_degrees and math.isfinite(value) else percent(value)


def number(value: Any, digits: int = 3) -> str:
    """Write a number for people: three digits, no exponent where it can be avoided.

    >>> number(0.012345), number(12345.6), number(float("nan"))
    ('0.0123', '12346', '–')
    """
    if value is None or not math.isfinite(value):
        return "∞" if value is not None and value > 0 else "–"
    return f"{value:.0f}" if abs(value) >= 1000 and abs(value) < 1e7 else f"{value:.{digits}g}"


def percent(value: float) -> str:
    """Write a share as a signed percentage."""
    return f"{100 * value:+.1f} %" if math.isfinite(value) else "–"


def micro(unit: str) -> str:
    """Write a unit for people; numbers without a unit have none.

    >>> micro("1/um"), micro("1")
    ('1/µm', '')
    """
    return "" if unit == "1" else unit.replace("um", "µm")


def meaning(descriptor: str) -> str:
    """What a row compares, in one line."""
    if descriptor == "mmd":
        return "all descriptors and texture features together (maximum mean discrepancy)"
    return DESCRIPTORS[descriptor.partition(":")[0]].meaning
