"""The overview picture of a fit: real windows above samples at each value asked for, with scale bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import ConditionSpec, Microstructure
from microgen.core.files import write_whole

if TYPE_CHECKING:
    from .fit_samples import Samples
    from .pipeline import Paths

COLUMNS = 6
Image = NDArray[Any]


def draw_gallery(
    path: Path,
    paths: Paths,
    condition: ConditionSpec | None,
    requested: Sequence[dict[str, Any]],
    samples: Samples,
) -> None:
    """Write the picture; one row of held-out crops, then one row per value asked for (or one of samples)."""
    from microgen.evaluate.drawing import STYLE, panels, picture

    rows = [("real, held out", *_held_out(paths)), *_samples(samples, condition, requested)]
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = panels(len(rows) * COLUMNS, columns=COLUMNS, width=1.5, height=1.62)
        limits = _limits([image for _, images, _ in rows for image in images])
        for number, (title, images, spacing_um) in enumerate(rows):
            line = axes[number * COLUMNS : (number + 1) * COLUMNS]
            for column, axis in enumerate(line):
                if column < len(images):
                    picture(axis, images[column], limits, spacing_um=spacing_um if column == 0 else 0.0)
                else:
                    axis.set_visible(False)
            line[0].set_title(title, fontsize=7.5)
        write_whole(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))


def _held_out(paths: Paths) -> tuple[list[Image], float]:
    """Crops of held-out images at the pixel size of the plan, from the finest structure to the coarsest."""
    from microgen.data import Dataset, Patches, read_plan

    plan = read_plan(paths.plan)
    crops = Patches(Dataset.open(paths.data), plan, "held_out").grid()
    order = np.argsort(next(iter(crops["scalars"].values()))) if crops["scalars"] else np.arange(len(crops["field"]))
    chosen = order[np.linspace(0, len(order) - 1, min(COLUMNS, len(order))).astype(int)]
    return [_plane(crops["field"][k, 0]) for k in chosen], plan.data.spacing_um


def _samples(
    samples: Samples, condition: ConditionSpec | None, requested: Sequence[dict[str, Any]]
) -> list[tuple[str, list[Image], float]]:
    from microgen import io

    if condition is None:
        made = [io.read(file)[0] for file in samples.like_held_out[:COLUMNS]]
        return [("generated", *_images(made))]
    rows = []
    unit = "µm" if condition.name.endswith("_um") else ""
    found = {row["requested"]: row["measured"] for row in requested}
    folders = dict.fromkeys(file.parent for file in samples.at_values)
    for folder in sorted(folders, key=lambda folder: float(folder.name.rsplit("_", 1)[1])):
        made = [io.read(file)[0] for file in samples.at_values if file.parent == folder][:COLUMNS]
        value = made[0].scalars[condition.name]
        measured = f", measured {found[value]:.3g} {unit}" if value in found else ""
        rows.append((f"asked {value:.3g} {unit}{measured}", *_images(made)))
    return rows


def _images(made: Sequence[Microstructure]) -> tuple[list[Image], float]:
    return [_plane(next(iter(m.fields.values()))) for m in made], made[0].spacing[-1]


def _plane(values: Image) -> Image:
    """The picture itself, or the middle slice of a volume."""
    return values[len(values) // 2] if values.ndim == 3 else values


def _limits(images: Sequence[Image]) -> tuple[float, float]:
    low, high = np.quantile(np.concatenate([image.ravel() for image in images]), [0.002, 0.998])
    return float(low), float(max(high, low + 1e-9))
