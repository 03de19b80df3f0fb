"""The card of a model: what it makes, from what it learned, how well, and under which licence; without torch.

What the model file says of itself is read from it each time. What it cannot know - how it was judged, its licence,
notes of people - is kept beside it in ``NAME.card.json``, with ``NAME.card.md`` for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from microgen.core import InputError
from microgen.core.files import write_bytes, write_json
from microgen.models.file import count_parameters, read_header

SAID = ("evaluation", "licence", "notes")
"""What is kept beside the model file."""


def read_card(model: Path | str) -> dict[str, Any]:
    """Return the card of a model file.

    Returns
    -------
    dict
        ``model`` (file, SHA-256, family, weights, megabytes), ``makes`` (field, spacing, patch, phases),
        ``conditions`` with the range of each, ``data``, ``training``, and what was said about it: ``evaluation``,
        ``licence``, ``notes``, each None where nothing was.

    Raises
    ------
    InputError
        If this is no model file of ours.
    """
    path = Path(model)
    header = read_header(path)
    return {**_own(path, header), **dict.fromkeys(SAID), **_said(path, header["sha256"])}


def write_card(
    model: Path | str,
    *,
    report: Mapping[str, Any] | None = None,
    licence: str | None = None,
    notes: str | None = None,
) -> dict[str, Any]:
    """Write the card of a model beside it, and return it; what is not said again stays as it was.

    Parameters
    ----------
    report
        Numbers of :func:`microgen.evaluate.evaluate` about samples of this model, as ``to_dict`` gives them.
    licence
        Under which others may use the model, ``"CC-BY-4.0"``.
    notes
        Anything a user should know.

    Raises
    ------
    InputError
        If the report is about samples of another model.
    """
    path, card = Path(model), read_card(model)
    if report is not None:
        card["evaluation"] = _evaluation(report, path, card["model"]["sha256"])
    card |= {name: text for name, text in (("licence", licence), ("notes", notes)) if text is not None}
    said = {"sha256": card["model"]["sha256"], **{name: card[name] for name in SAID}}
    write_json(_beside(path, "json"), said)
    write_bytes(_beside(path, "md"), as_markdown(card).encode())
    return card


def as_markdown(card: Mapping[str, Any]) -> str:
    """Return the card for people."""
    model, makes, training = card["model"], card["makes"], card["training"]
    spacing, patch = (" x ".join(f"{n:g}" for n in makes[name]) for name in ("spacing_um", "patch"))
    lines = [
        f"# {model['file']}",
        "",
        f"A model of the family `{model['family']}` with {model['parameters']:,} weights ({model['megabytes']:g} MB) "
        f"that makes the field `{makes['field']}` on a grid of {spacing} um; trained on crops of {patch} points.",
        "",
        *_conditions(card["conditions"]),
        *_data(card["data"]),
        f"Training: {training['images'] or 'an unknown number of'} crops, seed {training['seed']}, "
        f"microgen {training['microgen']}.",
        "",
        *_judged(card["evaluation"]),
        f"Licence of the weights: {card['licence'] or 'not stated'}.",
        "",
        *([card["notes"], ""] if card["notes"] else []),
        f"SHA-256 of the content: `{model['sha256']}`",
    ]
    return "\n".join(lines) + "\n"


def _own(path: Path, header: Mapping[str, Any]) -> dict[str, Any]:
    codec, provenance = header["codec"], header["provenance"]
    return {
        "model": {
            "file": path.name,
            "sha256": header["sha256"],
            "family": header["family"],
            "parameters": count_parameters(path),
            "megabytes": round(path.stat().st_size / 1e6, 2),
        },
        "makes": {
            **{name: codec[name] for name in ("field", "dtype", "spacing_um", "phases")},
            "patch": header["patch"],
        },
        "conditions": header["conditions"],
        "data": {"sha256": provenance.get("data_sha256"), **provenance.get("data", {})},
        "training": {
            **{name: provenance.get(name) for name in ("images", "microgen", "versions", "machine")},
            "seed": provenance.get("train", {}).get("seed"),
            "held_out": {name: value for name, value in provenance.items() if name.startswith("held_out_")},
        },
    }


def _said(path: Path, digest: str) -> dict[str, Any]:
    """What was said about this very model; of a file that was replaced since, nothing holds any more."""
    beside = _beside(path, "json")
    if not beside.is_file():
        return {}
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{beside} is damaged ({error}); remove it, then write the card again") from error
    fits = isinstance(said, dict) and said.get("sha256") == digest
    return {name: said.get(name) for name in SAID} if fits else {}


def _evaluation(report: Mapping[str, Any], path: Path, digest: str) -> dict[str, Any]:
    try:
        recipe = report["provenance"]["generated"]["recipe"]
        found = recipe["model_sha256"] if recipe else None
        rows, kept = report["rows"], {name: report[name] for name in ("headline", "verdict", "obeyed", "two_sample")}
        ratios = {row["descriptor"]: row["ratio"] for row in rows}
    except (KeyError, TypeError) as error:
        raise InputError(f"this is no report of microgen evaluate: it lacks {error}") from error
    if found != digest:
        raise InputError(f"the report is about samples of another model than {path}; evaluate samples of this one")
    return {**kept, "ratios": ratios, "windows": report["provenance"].get("windows")}


def _conditions(conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    if not conditions:
        return ["It cannot be asked for anything.", ""]
    rows = [f"| `{c['name']}` | {_range(c)} | {c['kind']} |" for c in conditions]
    return ["It can be asked for:", "", "| condition | range learned | one per |", "|---|---|---|", *rows, ""]


def _range(condition: Mapping[str, Any]) -> str:
    labels = condition.get("labels")
    return ", ".join(labels) if labels else f"{condition['low']:g} to {condition['high']:g} ({condition['scale']})"


def _data(data: Mapping[str, Any]) -> list[str]:
    sources = [
        f"- {s['title']}, licence {s['licence']}" + (f", {s['citation']}" if s.get("citation") else "")
        for s in data.get("sources", ())
    ]
    count = f"{data['pictures']} pictures" if data.get("pictures") else "pictures"
    digest = f" (data set {data['sha256'][:16]})" if data.get("sha256") else ""
    return [f"Learned from {count}{digest}" + (":" if sources else "."), "", *sources, *([""] if sources else [])]


def _judged(evaluation: Mapping[str, Any] | None) -> list[str]:
    if not evaluation:
        return ["Not judged yet: `microgen evaluate`, then `microgen models card MODEL --report REPORT.json`.", ""]
    rows = [f"| {name} | {ratio:.2f} |" for name, ratio in evaluation["ratios"].items() if ratio is not None]
    asked = [
        f"| {row['name']} = {row['requested']:g} | {row['measured']:.4g} | {_real(row)} |"
        for row in evaluation["obeyed"]
        if row.get("measured") is not None
    ]
    table = ["", "| asked for | measured | real crops of that kind |", "|---|---|---|", *asked] if asked else []
    return [
        evaluation["headline"],
        "",
        "| descriptor | distance to real, as a multiple of real to real |",
        "|---|---|",
        *rows,
        *table,
        "",
        evaluation["two_sample"]["sentence"] if evaluation["two_sample"] else "",
        "",
    ]


def _real(row: Mapping[str, Any]) -> str:
    return f"{row['real']:.4g}" if row.get("real") is not None else ""


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}.card.{ending}")
