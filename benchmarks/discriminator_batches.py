"""Real and generated samples in one batch of the discriminator, or in two: how sure it gets of them.

    python benchmarks/discriminator_batches.py                  # a Markdown table on standard output
    python benchmarks/discriminator_batches.py --steps 3000     # quicker

The fully connected GAN of courses (family ``gan``: 256, 512, 1024 and 512, 256 units, Adam with 2e-4 and beta1 0.5,
batches of 32 real and 32 generated samples, no augmentation) on crops of 28 x 28 points of etched polycrystals that
microgen draws. All rows have the same first weights, crops and noise; numbers are means over the last tenth of the
steps, of batches that the discriminator had not learned from yet. "separate" takes two steps a turn; two more rows tell
what more steps do from what the batches do: separate ones at half the rate, and two steps on mixed ones.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from microgen.models import FAMILIES
from microgen.models.codec import Codec
from microgen.nets.features import RandomFeatures
from microgen.synth import polycrystal, render_micrograph
from microgen.train.state import TrainState

SIDE, BATCH, RATE = 28, 32, 2e-4
FAMILY: Any = FAMILIES["gan"]
ROWS: dict[str, tuple[dict[str, Any], int]] = {
    "mixed": ({"batches": "mixed"}, 1),
    "separate": ({"batches": "separate"}, 1),
    "separate, half the rate": ({"batches": "separate", "discriminator_rate": 0.5}, 1),
    "mixed, two steps a turn": ({"batches": "mixed", "discriminator_steps": 2}, 2),
}
"""Settings, and real crops a turn in batches."""
NUMBERS = ("accuracy_real", "accuracy_fake", "loss_discriminator", "loss", "diversity")


def pictures() -> NDArray[np.uint8]:
    """Draw four etched micrographs ``(4, 512, 512)`` of grains of 6 to 9 points."""
    drawn = [polycrystal(s, (512, 512), (1.0, 1.0), 6.0 + s) for s in range(4)]
    return np.stack([render_micrograph(s, grains)["intensity"] for s, grains in enumerate(drawn)])


def crops(rng: np.random.Generator, of: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Cut `count` crops ``(count, 1, 28, 28)`` at random."""
    which, *corners = rng.integers(0, [len(of), *(n - SIDE for n in of.shape[1:])], (count, 3)).T
    return np.stack([of[i, y : y + SIDE, x : x + SIDE] for i, y, x in zip(which, *corners, strict=True)])[:, None]


def made_ready(settings: dict[str, Any], of: NDArray[np.uint8], seed: int) -> tuple[TrainState, Codec]:
    """Return the networks with their first weights, ready to train."""
    codec = Codec("intensity", float(of.mean()), float(of.std()), 0, 255, "uint8", (1.0, 1.0))
    torch.manual_seed(seed)
    pair = FAMILY.build_trained(
        FAMILY.Config(patch_px=SIDE, augment=(), **settings), codec=codec, conditions=[]
    ).train()
    pair.features = RandomFeatures(2, 1, filters=4, scales=2)  # for the diversity: a quicker view
    noise = torch.Generator().manual_seed(seed)
    optimizers = FAMILY.make_optimizers(pair, RATE)
    return TrainState(pair, optimizers, noise, torch.device("cpu"), clip_norm=1e6), codec


def measure(name: str, of: NDArray[np.uint8], *, steps: int, seed: int) -> dict[str, tuple[float, float, float]]:
    """Train, and return mean, 5 and 95 % of the numbers over the last tenth of the steps."""
    settings, batches = ROWS[name]
    state, codec = made_ready(settings, of, seed)
    rng = np.random.default_rng(seed)
    last: deque[list[float]] = deque(maxlen=max(1, steps // 10))
    for step in range(steps):
        x = codec.encode(crops(rng, of, batches * BATCH))
        found = FAMILY.train_step(state, {"x": x, "scalars": {}}, step)
        last.append([float(found[n]) for n in NUMBERS])
    table = np.array(last)
    low, high = np.quantile(table, [0.05, 0.95], axis=0)
    numbers = zip(table.mean(axis=0).tolist(), low.tolist(), high.tolist(), strict=True)
    return dict(zip(NUMBERS, numbers, strict=True))


def main() -> None:
    """Read the arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    of = pictures()
    print("| batches | accuracy real | accuracy fake | loss discriminator | loss generator | diversity | processor s |")
    print("|---|---|---|---|---|---|---|")
    for name in given.rows:
        start = time.process_time()
        found = measure(name, of, steps=given.steps, seed=given.seed)
        cells = [f"{mean:.2f} ({low:.2f} to {high:.2f})" for mean, low, high in found.values()]
        print(f"| {name} | {' | '.join(cells)} | {time.process_time() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
