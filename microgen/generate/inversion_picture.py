"""Pictures of inversions: original beside twin and residual, and curves wanted beside curves reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from microgen import stats
from microgen.core import Microstructure
from microgen.generate.targets import Target
from microgen.stats.drawing import save, styled


def draw_twin(path: Path, original: Microstructure, twin: Microstructure, field: str) -> None:
    """Draw original, twin and residual side by side, with one gray scale; of volumes the middle section."""
    first, second = (np.asarray(one[field], np.float64) for one in (original, twin))
    if first.ndim == 3:
        first, second = first[len(first) // 2], second[len(second) // 2]
    low, high = np.quantile(first, [0.002, 0.998])
    height, width = original.shape[-2] * original.spacing[-2], original.shape[-1] * original.spacing[-1]
    residual = second - first
    limit = max(float(high - low) / 2, 1e-9)
    panels = [("original", first, "gray", low, high), ("twin", second, "gray", low, high)]
    panels.append((f"residual, rms {np.sqrt((residual**2).mean()):.3g}", residual, "RdBu_r", -limit, limit))
    with styled():
        figure = Figure(figsize=(9, 0.4 + 3 * height / width))
        for axis, (title, values, colours, low, high) in zip(figure.subplots(1, 3), panels, strict=True):
            extent = (0, width, height, 0)
            axis.imshow(values, cmap=colours, vmin=low, vmax=high, extent=extent, interpolation="nearest")
            axis.set_title(title)
            axis.set_yticks([])
            axis.set_xlabel("um")
        figure.tight_layout()
        save(figure, path, dpi=150)


def draw_curves(path: Path, targets: Sequence[Target], rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw each curve that was wanted with those of all solutions; nothing where no target is a curve."""
    curves = [(target.name, target.value) for target in targets if isinstance(target.value, stats.Curve)]
    if not curves:
        return
    with styled():
        figure = Figure(figsize=(4.5 * len(curves), 3.2))
        for axis, (name, wanted) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
            axis.plot(wanted.x, wanted.y, "k.", label="wanted")
            for row in rows:
                reached = next(t["reached"] for t in row["targets"] if t["name"] == name)
                if reached is not None:
                    axis.plot(reached["x"], reached["y"], label=Path(row["file"]).stem)
            axis.set_xlabel(f"distance in {stats.DESCRIPTORS[name.partition(':')[0]].x_unit}")
            axis.set_ylabel(name)
            axis.legend()
        figure.tight_layout()
        save(figure, path, dpi=150)
