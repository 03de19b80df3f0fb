"""The charts of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from microgen.evaluate.drawing import FLOOR, GENERATED, INK, REAL, STYLE, TRAIN, as_svg, panels
from microgen.evaluate.evidence import Evidence
from microgen.evaluate.features import Feature
from microgen.evaluate.report import TARGET, Report, Row
from microgen.stats import DESCRIPTORS

SHOWN_NAMES = {"held_out": ("real, held out", REAL), "generated": ("generated", GENERATED)}


def charts(report: Report) -> dict[str, str]:
    """Every chart that the data allow, by name, as ``data:`` addresses."""
    with mpl.rc_context(STYLE):
        made = {
            "ratios": _ratios(report.rows),
            "curves": _curves(report.evidence),
            "distributions": _distributions(report.evidence),
            "obeyed": _obeyed(report),
            "map": _map(report.evidence),
        }
        return {name: as_svg(figure) for name, figure in made.items() if figure is not None}


def _ratios(rows: Sequence[Row]) -> Any:
    """Ratio of each descriptor with its interval, the target, and where the floor lies."""
    known = [row for row in rows if math.isfinite(row.ratio)][::-1]
    if not known:
        return None
    figure, (axis,) = panels(1, width=7.5, height=0.7 + 0.24 * len(known))
    axis.axvspan(0, TARGET, color=REAL, alpha=0.08, lw=0)
    axis.axvline(1, color=INK, lw=0.8)
    for y, row in enumerate(known):
        low, high = row.ratio_interval
        inside = row.ratio <= TARGET
        axis.plot([low, high], [y, y], color=REAL if inside else GENERATED, lw=1.5)
        axis.plot(row.ratio, y, "o" if inside else "D", color=REAL if inside else GENERATED, ms=5)
        if row.ceiling > 0 and math.isfinite(row.floor):
            axis.plot(row.floor / row.ceiling, y, "x", color=FLOOR, ms=5)
    axis.set_yticks(range(len(known)), [row.descriptor for row in known])
    axis.set_xscale("log")
    ends = [row.ratio for row in known] + [row.ratio_interval[1] for row in known] + [3.0]
    axis.set_xlim(0.2, max(v for v in ends if math.isfinite(v)) * 4)
    axis.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axis.set_xticks([v for v in (0.25, 0.5, 1, 1.5, 3, 10, 30, 100) if v <= axis.get_xlim()[1]])
    axis.minorticks_off()
    axis.set_xlabel("distance from held-out real / distance between real and real   (× floor, shaded: target)")
    axis.set_ylim(-0.6, len(known) - 0.4)
    return figure


def _curves(evidence: Evidence) -> Any:
    """Mean curves with the range of the middle 68 % of windows."""
    curves = [f for f in evidence.features.values() if f.kind == "curve"]
    if not curves:
        return None
    figure, axes = panels(len(curves), width=3.1, height=2.5)
    for axis, feature in zip(axes, curves, strict=True):
        _curve(axis, feature, evidence)
    axes[0].legend(fontsize=7)
    return figure


def _curve(axis: Any, feature: Feature, evidence: Evidence) -> None:
    for name, (label, colour) in SHOWN_NAMES.items():
        vectors = _vectors(feature, evidence.sets[name])
        if len(vectors):
            low, high = np.quantile(vectors, [0.16, 0.84], axis=0)
            axis.fill_between(feature.x, low, high, color=colour, alpha=0.18, lw=0)
            axis.plot(
                feature.x, vectors.mean(axis=0), color=colour, label=label, ls="-" if name == "held_out" else "--"
            )
    for floor, style in (("same spectrum", ":"), ("shuffled pixels", "-.")):
        vectors = _vectors(feature, evidence.sets[floor])
        if len(vectors):
            axis.plot(feature.x, vectors.mean(axis=0), color=FLOOR, ls=style, lw=1, label=f"floor: {floor}")
    descriptor = DESCRIPTORS[feature.name.partition(":")[0]]
    axis.set_title(feature.name + (" (log10)" if feature.unit == "decades" else ""))
    axis.set_xlabel(f"x / {descriptor.x_unit}".replace("um", "µm"))
    if feature.unit == "decades":
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter("")  # the figures between the decades would overlap


def _vectors(feature: Feature, rows: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(feature.vectors[rows[feature.valid[rows]]])


def _distributions(evidence: Evidence) -> Any:
    """Histograms over windows of every number, over all chords of chord lengths."""
    kept = [f for f in evidence.features.values() if f.kind in ("scalar", "distribution", "axial")]
    if not kept:
        return None
    figure, axes = panels(len(kept), columns=4, width=2.35, height=1.9)
    for axis, feature in zip(axes, kept, strict=True):
        _distribution(axis, feature, evidence)
    axes[0].legend(fontsize=6.5)
    return figure


def _distribution(axis: Any, feature: Feature, evidence: Evidence) -> None:
    held, made = (evidence.sets[name] for name in SHOWN_NAMES)
    values = feature.values[np.concatenate([held, made])]
    values = values[np.isfinite(values)]
    axis.set_title(feature.name.replace("_um", " / µm").replace("_deg", " / °").replace("_", " "), fontsize=8)
    axis.set_yticks([])
    if not len(values):
        return
    low, high = np.quantile(feature.x if feature.kind == "distribution" else values, [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, 21)
    for name, (label, colour) in SHOWN_NAMES.items():
        share = _share(feature, evidence.sets[name], edges)
        axis.stairs(
            share,
            edges,
            color=colour,
            fill=name == "held_out",
            alpha=0.35 if name == "held_out" else 1,
            lw=1.4,
            label=label,
        )


def _share(feature: Feature, rows: NDArray[Any], edges: NDArray[Any]) -> NDArray[np.float64]:
    """Share of the values in each bin; of a distribution from its mean distribution function."""
    if feature.kind == "distribution":
        vectors = _vectors(feature, rows)
        return np.diff(np.interp(edges, feature.x, vectors.mean(axis=0))) if len(vectors) else np.zeros(len(edges) - 1)
    values = feature.values[rows]
    values = values[np.isfinite(values)]
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(len(values), 1)


def _obeyed(report: Report) -> Any:
    """Requested against measured: every sample a dot, medians with their intervals, and 10 % either way."""
    names = [n for n in report.evidence.asked if any(row.name == n for row in report.obeyed)]
    if not names:
        return None
    figure, axes = panels(len(names), width=4.2, height=3.6)
    for axis, name in zip(axes, names, strict=True):
        asked, measured = report.evidence.asked[name]
        rows = [row for row in report.obeyed if row.name == name]
        degrees = rows[0].in_degrees
        jitter = np.random.default_rng(0).uniform(-0.015, 0.015, len(asked))
        if degrees:  # on the branch that is nearest to the request
            measured = asked + (measured - asked + 90) % 180 - 90
        places = asked + 90 * jitter if degrees else asked * (1 + jitter)
        axis.plot(places, measured, ".", color=GENERATED, alpha=0.3, ms=4, mew=0, label="sample")
        centres = np.array([row.measured for row in rows])
        around = np.abs(np.array([row.interval for row in rows]).T - centres)
        requested = [row.requested for row in rows]
        axis.errorbar(requested, centres, around, fmt="o", color=INK, ms=5, capsize=3, label="median, 95 %")
        real = [row.measured - row.error_real if degrees else row.real for row in rows]
        axis.plot(requested, real, "_", color=REAL, ms=16, mew=2, label="real windows of this value")
        line = np.array([min(asked) - 10, max(asked) + 10] if degrees else [min(asked) * 0.85, max(asked) * 1.15])
        axis.plot(line, line, color=INK, lw=0.8)
        low, high = (line - 10, line + 10) if degrees else (0.9 * line, 1.1 * line)
        axis.fill_between(line, low, high, color=INK, alpha=0.1, lw=0, label="± 10°" if degrees else "± 10 %")
        if not degrees and min(asked) > 0 and max(asked) / min(asked) > 1.5:
            _plain_log(axis, line)
        axis.set_xlabel(f"requested {name}")
        axis.set_ylabel(f"measured {name}")
        axis.legend(fontsize=7)
    return figure


def _plain_log(axis: Any, line: NDArray[Any]) -> None:
    """Logarithmic axes with plain numbers."""
    axis.set_xscale("log")
    axis.set_yscale("log")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        side.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
        side.set_minor_formatter(mpl.ticker.NullFormatter())
    axis.set_xlim(*line)


def _map(evidence: Evidence) -> Any:
    """Windows in the plane of the first two principal components of their two-point statistics."""
    points, share = evidence.points, evidence.share
    if points is None or share is None:
        return None
    figure, (axis,) = panels(1, width=4.6, height=3.6)
    sets = {
        "same spectrum": ("floor: same spectrum", FLOOR, "x"),
        "train": ("real, training", TRAIN, "s"),
        "held_out": ("real, held out", REAL, "o"),
        "generated": ("generated", GENERATED, "^"),
    }
    for name, (label, colour, marker) in sets.items():
        where = points[evidence.sets[name]]
        if len(where):
            axis.scatter(
                *where.T, s=12, marker=marker, color=colour, alpha=0.55, lw=0.8 if marker == "x" else 0, label=label
            )
    axis.set_xlabel(f"first component ({share[0]:.1%} of variance)")
    axis.set_ylabel(f"second component ({share[1]:.1%})")
    axis.legend(fontsize=7)
    return figure
