"""Every family on one data set: size, time to train, speed, faithfulness, obedience; one Markdown table.

    microgen datasets fetch etched_polycrystal pictures && microgen prepare pictures steel.h5
    python benchmarks/families.py steel.h5 runs                     # trains what is missing in runs/, then measures
    python benchmarks/families.py steel.h5 runs --only vae,dcgan --images 20000

Everything runs on one thread; times are processor time. What was trained and measured is kept and not done again.
Samples are asked for the values of real held-out crops, so that both sets have the same conditions. A ratio is the
distance of generated to held-out crops over that of training to held-out crops, as in the report of `microgen
evaluate`; the last row, training crops themselves, shows what a perfect family would reach.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from microgen.core import Condition, ConditionSpec, InputError, Microstructure
from microgen.core.seeds import rng
from microgen.data import Dataset, Patches, read_plan
from microgen.data.plan import plan_path
from microgen.evaluate import evaluate
from microgen.evaluate.distances import frechet_distance, kernel_distance
from microgen.evaluate.texture import texture
from microgen.models import Model, load_model
from microgen.models.card import read_card
from microgen.stats import measure
from microgen.train import train

SMALL = ("model.channels=[32,64,96]", "train.learning_rate=1e-3", "train.warmup=500")
NARROW = ("model.width=16", "model.discriminator_width=16")
LEVELS, EACH = 8, 16
"""Values asked for over the middle of the range, and samples of each."""


@dataclass(frozen=True)
class Recipe:
    """How a row of the table is trained.

    Attributes
    ----------
    images
        Crops that it sees.
    settings
        As after ``--set``; ``{runs}`` stands for the folder of the runs.
    """

    family: str
    images: int
    settings: tuple[str, ...] = ()


RECIPES: dict[str, Recipe] = {
    "diffusion": Recipe("diffusion", 150_000, SMALL),
    "consistency": Recipe("consistency", 30_000, ("model.teacher={runs}/diffusion",)),
    "autoencoder": Recipe("vae", 20_000, (*SMALL, "model.latent=map")),
    "latent-diffusion": Recipe("latent-diffusion", 60_000, ("model.autoencoder={runs}/autoencoder",)),
    "vae": Recipe("vae", 20_000, SMALL),
    "gan": Recipe("gan", 30_000),
    "dcgan": Recipe("dcgan", 30_000, NARROW),
    "wgan-gp": Recipe(
        "dcgan",
        30_000,
        (*NARROW, "model.loss=wasserstein", "model.r1=0", "model.discriminator_steps=5", "model.beta2=0.9"),
    ),
    "cdcgan": Recipe("cdcgan", 60_000, NARROW),
    "infogan": Recipe("infogan", 40_000, NARROW),
    "psgan": Recipe("psgan", 60_000),
    "stylegan": Recipe("stylegan", 60_000),
}
"""Rows of the table, in the order in which they can be trained."""
PARTS = frozenset({"autoencoder"})
"""Rows that others are made of; they are trained, not judged."""


@dataclass(frozen=True)
class Crops:
    """Real crops of one split and the value of the condition in each."""

    structures: list[Microstructure]
    values: NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--only", type=lambda text: text.split(","), help="rows of the table, separated by commas")
    parser.add_argument("--images", type=int, help="crops that every family sees, instead of its recipe's")
    parser.add_argument("--samples", type=int, default=192)
    given = parser.parse_args()
    torch.set_num_threads(1)
    held_out, real = (crops_of(given.data, split, given.samples) for split in ("held_out", "train"))
    curve = reading(real)
    rows = {}
    for name in given.only or RECIPES:
        run = trained(name, given.data, given.runs, given.images)
        if name not in PARTS:
            rows[name] = kept(run / "benchmark.json", lambda m: measured(m, held_out, real, curve), run)
    rows["training crops"] = {**judged(real.structures, held_out, real), **(curve.of_real(real) if curve else {})}
    print(table(rows))


def trained(name: str, data: Path, runs: Path, images: int | None) -> Path:
    """Train a row of the table if that was not done, and return the folder of its run."""
    recipe, run = RECIPES[name], runs / name
    settings = [s.format(runs=runs) for s in recipe.settings]
    wanted = [f"model.family={recipe.family}", *settings, f"train.images={images or recipe.images}", "train.previews=2"]
    started = time.process_time()
    train(data, run, settings=wanted)
    times = run / "processor_seconds.json"
    if not times.exists():
        times.write_text(json.dumps(time.process_time() - started))
    return run


def kept(path: Path, measure_model: Any, run: Path) -> dict[str, Any]:
    """Measure a model, or read what was measured of this very model."""
    model = load_model(run / "model.safetensors")
    if path.exists() and (found := json.loads(path.read_text()))["sha256"] == model.sha256:
        return dict(found)
    card = read_card(run / "model.safetensors")
    seconds = json.loads((run / "processor_seconds.json").read_text())
    about = {"sha256": model.sha256, "parameters": card["model"]["parameters"], "train_s": seconds}
    row = {**about, **measure_model(model)}
    path.write_text(json.dumps(row, indent=2))
    return row


def crops_of(data: Path, split: Any, count: int) -> Crops:
    """Draw crops of one split at the spacing of the plan."""
    plan = read_plan(plan_path(data))
    patches = Patches(Dataset.open(data), plan, split)
    batch = patches.batch(rng(0, split == "train"), count)
    spacing = (plan.data.spacing_um,) * len(patches.shape)
    fields = np.rint(batch["field"][:, 0]).clip(0, 255).astype(np.uint8)
    structures = [Microstructure({plan.data.field: field}, spacing) for field in fields]
    scalars = next(iter(batch["scalars"].values()), np.zeros(count))
    return Crops(structures, np.asarray(scalars, np.float64))


def measured(model: Model, held_out: Crops, real: Crops, curve: Reading | None) -> dict[str, Any]:
    """Sample a model and judge it."""
    spec = next(iter(model.conditions), None)  # one number is spread over the grid where the model knows a map
    asked = [Condition({spec.name: v}) if spec else Condition() for v in held_out.values]
    started = time.process_time()
    samples = [next(model.sample([seed], c, extrapolate=True)) for seed, c in enumerate(asked)]
    speed = len(samples) / (time.process_time() - started)
    row = {"samples_per_s": speed, **judged(samples, held_out, real)}
    return {**row, **obeyed(model, spec, curve)} if spec and curve else row


def judged(samples: Sequence[Microstructure], held_out: Crops, real: Crops) -> dict[str, Any]:
    """Compare samples with held-out crops."""
    report = evaluate(held_out.structures, samples, train=real.structures, max_windows=len(samples))
    ratios = [row.ratio for row in report.rows if row.ratio is not None and not row.same_as]
    features = [np.stack([texture(s) for s in part]) for part in (held_out.structures, samples)]
    middle, scale = features[0].mean(axis=0), features[0].std(axis=0) + 1e-6
    views = [(f - middle) / scale for f in features]
    two = report.two_sample
    return {
        "like_real": sum(r <= 1.5 for r in ratios),
        "of": len(ratios),
        "median_ratio": float(np.median(ratios)),
        "two_sample": two.generated.best if two and two.generated else None,
        "frechet": frechet_distance(*views),
        "kernel": kernel_distance(*views),
    }


@dataclass(frozen=True)
class Reading:
    """What real crops of a condition measure when they are measured alone, as samples are.

    The condition of a crop is measured in its whole picture; alone, a crop of few grains measures otherwise.
    """

    low: float
    high: float
    line: NDArray[np.float64]

    def __call__(self, asked: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expected measurement, from a quadratic fit of logarithms."""
        return np.asarray(np.exp(np.polyval(self.line, np.log(asked))))

    def of_real(self, real: Crops) -> dict[str, float]:
        """How closely real crops follow it: what no family can do better."""
        sizes = np.array([size_of(s) for s in real.structures])
        return {"r2_samples": r_squared(self(real.values), sizes)}


def reading(real: Crops) -> Reading | None:
    """Measure real crops alone, and fit; None where the data have no condition."""
    if not real.values.any():
        return None
    sizes = np.array([size_of(s) for s in real.structures])
    known = np.isfinite(sizes)
    low, high = np.quantile(real.values, [0.05, 0.95])
    return Reading(low, high, np.polyfit(np.log(real.values[known]), np.log(sizes[known]), 2))


def obeyed(model: Model, spec: ConditionSpec, curve: Reading) -> dict[str, Any]:
    """Ask for values over the range, and compare with what real crops of these values measure."""
    wanted = np.geomspace(max(spec.low, curve.low), min(spec.high, curve.high), LEVELS)
    seeds = range(1000, 1000 + EACH)
    found = np.array([[size_of(s) for s in model.sample(seeds, Condition({spec.name: float(v)}))] for v in wanted])
    expected, means = curve(wanted), np.nanmean(found, axis=1)
    each = np.repeat(expected[:, None], EACH, axis=1)
    return {
        "r2_means": r_squared(expected, means),
        "r2_samples": r_squared(each.ravel(), found.ravel()),
        "asked": [[float(f"{v:.4g}") for v in row] for row in zip(wanted, expected, means, strict=True)],
    }


def size_of(structure: Microstructure) -> float:
    """Mean intercept in micrometres, or the phase fraction where there are phases."""
    name = "phase_fraction" if "phase" in structure else "mean_intercept_um"
    try:
        value = measure(structure, [name], intervals=False)[name].value
    except InputError:
        return float("nan")
    return float("nan") if value is None else float(value)


def r_squared(asked: NDArray[np.float64], got: NDArray[np.float64]) -> float:
    """One minus the squared deviation from what was asked for, over the variance of that; no line is fitted."""
    known = np.isfinite(got)
    missed = np.square(got[known] - asked[known]).sum()
    return float(1 - missed / np.square(asked[known] - asked[known].mean()).sum())


COLUMNS: dict[str, tuple[str, str]] = {
    "weights, million": ("parameters", "{:.2f}"),
    "training, s": ("train_s", "{:.0f}"),
    "samples/s": ("samples_per_s", "{:.3g}"),
    "like real": ("like_real", "{}"),
    "median ratio": ("median_ratio", "{:.2f}"),
    "two-sample": ("two_sample", "{:.2f}"),
    "Frechet": ("frechet", "{:.2f}"),
    "kernel": ("kernel", "{:.3f}"),
    "R2, means": ("r2_means", "{:.3f}"),
    "R2, samples": ("r2_samples", "{:.3f}"),
}


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| family | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, row in rows.items():
        cells = [text.format(shown(key, row)) if row.get(key) is not None else "" for key, text in COLUMNS.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(key: str, row: Mapping[str, Any]) -> Any:
    if key == "like_real":
        return f"{row[key]} of {row['of']}"
    return row[key] / 1e6 if key == "parameters" else row[key]


if __name__ == "__main__":
    main()
