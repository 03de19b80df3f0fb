"""Quality against the number of evaluations: a consistency model and the diffusion model that it learned from.

    python benchmarks/few_steps.py steel.h5 runs/diffusion runs/consistency --pictures docs/images

Samples are made for the conditions of as many held-out crops and compared with them: the energy distance of random
texture features together with the conditions (0: the same set; two sets of n crops are about 2 / n apart), the power
of the samples over that of the crops in four bands of cycles per pixel, and the grain size that the samples measure
when asked for. Processor time on one thread, the whole call counted.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from microgen.core import Condition, Microstructure
from microgen.data.dataset import Dataset
from microgen.data.patches import Patches
from microgen.data.plan import plan_path, read_plan
from microgen.models import Model, consistency, load_model
from microgen.models.conditions import summary, tell
from microgen.models.file import find_model
from microgen.models.gan_losses import conditional_distance
from microgen.models.latents import white
from microgen.nets.features import RandomFeatures
from microgen.stats import boundaries, grains

BANDS = (0.02, 0.06, 0.12, 0.25, 0.5)
SIZE = "grain_size_um"
ROWS: dict[str, tuple[dict[str, Any], ...]] = {
    "diffusion": (
        {"preset": "draft", "steps": 3},
        {"preset": "draft"},
        {"preset": "draft", "steps": 6},
        {"preset": "fast", "steps": 4},
        {"preset": "fast"},
        {"preset": "standard"},
    ),
    "consistency": tuple({"steps": steps} for steps in (1, 2, 3, 4)),
}
"""Options that are compared, by family."""


def power(x: Tensor) -> Tensor:
    """Return the mean power ``(bands,)`` of fields ``(B, 1, Y, X)`` without their means, under a Hann window."""
    side = x.shape[-1]
    window = torch.hann_window(side, periodic=False)
    field = (x[:, 0] - x[:, 0].mean(dim=(1, 2), keepdim=True)) * window[:, None] * window
    spectrum = torch.fft.fft2(field).abs().square().mean(dim=0)
    frequency = torch.fft.fftfreq(side)
    radius = (frequency[:, None].square() + frequency.square()).sqrt()
    pairs = itertools.pairwise(BANDS)
    return torch.stack([spectrum[(radius >= low) & (radius < high)].mean() for low, high in pairs])


def intercept(structure: Microstructure) -> float:
    """Measure the mean lineal intercept of a sample, in micrometres."""
    mask = boundaries.segment(structure["intensity"], spacing=structure.spacing, polarity="dark")
    return grains.mean_intercept_um(mask, spacing=structure.spacing)


def made(model: Model, conditions: Sequence[Condition], options: dict[str, Any]) -> tuple[list[Microstructure], float]:
    """Make one sample for each condition, and say how many processor milliseconds each took."""
    shape = (model.codec.channels, *model.patch)
    latents = white(range(len(conditions)), dict.fromkeys(consistency.PARTS, shape))
    before = time.process_time()
    samples = list(model.decode(latents, conditions, batch=32, **options))
    return samples, 1e3 * (time.process_time() - before) / len(conditions)


def compared(
    model: Model, crops: Tensor, conditions: Sequence[Condition], options: dict[str, Any]
) -> tuple[list[str], list[Microstructure]]:
    """Return the cells of the table that compare samples with crops, and the samples."""
    samples, milliseconds = made(model, conditions, options)
    fields = torch.stack([model.encoded(one) for one in samples])
    numbers = summary(model.conditions, tell(model.conditions, conditions, like=fields))
    features = RandomFeatures(2, 1)
    distance = float(conditional_distance(features(crops), features(fields), numbers))
    ratios = power(fields) / power(crops)
    return [f"{distance:.3f}", *(f"{r:.2f}" for r in ratios), f"{milliseconds:.0f}"], samples


def asked(model: Model, options: dict[str, Any], *, count: int) -> list[str]:
    """Return the grain sizes measured where 6, 8 and 11 um are asked for."""
    values = [[intercept(s) for s in made(model, [Condition({SIZE: size})] * count, options)[0]] for size in (6, 8, 11)]
    return [f"{np.mean(v):.2f} +- {np.std(v):.2f}" for v in values]


def sheet(samples: Sequence[Microstructure]) -> Image.Image:
    """Draw samples side by side, eight in a row."""
    tiles = [np.pad(s["intensity"], 1, constant_values=255) for s in samples]
    return Image.fromarray(np.vstack([np.hstack(tiles[i : i + 8]) for i in range(0, len(tiles), 8)]))


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+", help="model files or run folders")
    parser.add_argument("--crops", type=int, default=256)
    parser.add_argument("--asked", type=int, default=32, help="samples of each grain size")
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    held_out = Patches(Dataset.open(given.data), read_plan(plan_path(given.data)), "held_out")
    batch = held_out.batch(np.random.default_rng(0), given.crops)
    conditions = [Condition({SIZE: float(v)}) for v in batch["scalars"][SIZE]]
    head = ["model", "distance", *(f"{a} to {b}" for a, b in itertools.pairwise(BANDS)), "ms", "6", "8", "11"]
    print("|".join(["", *head, ""]), "|".join(["", *("---" for _ in head), ""]), sep="\n")
    for model in (load_model(find_model(place)) for place in given.models):
        for options in ROWS[model.family]:
            crops = model.codec.encode(batch["field"])
            name = ", ".join([model.family, *(f"{k} {v}" for k, v in options.items())])
            cells, samples = compared(model, crops, conditions, options)
            print("| " + " | ".join([name, *cells, *asked(model, options, count=given.asked)]) + " |", flush=True)
            if given.pictures:
                sheet(samples[:32]).save(given.pictures / f"few_steps_{name.replace(', ', '_').replace(' ', '_')}.png")


if __name__ == "__main__":
    main()
