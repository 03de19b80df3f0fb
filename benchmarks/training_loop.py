"""The training loop against a bare loop of the same step: what batches, clipping, averaging, checks and log cost.

    python benchmarks/training_loop.py                  # a Markdown table on standard output
    python benchmarks/training_loop.py --steps 20       # quicker, noisier

Processor time on one thread. Before every step of the loop a bare step is taken on the same batch with a network and an
optimiser of its own, so that a busy machine hurts both alike. The loop is charged with all from one bare step to the
next. Start, checkpoints and the model at the end are left out: they come on top.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from microgen.core import ConditionSpec
from microgen.models import FAMILIES
from microgen.models.codec import Codec
from microgen.train.config import TrainConfig
from microgen.train.engine import make_fabric
from microgen.train.job import Job
from microgen.train.loop import Trainer

SIDE, BATCH = 64, 16
FAMILY = FAMILIES["diffusion"]
SPECS = [ConditionSpec("grain_size_um", "scalar", 1.0, 2.0, "log")]


class Crops:
    """Random crops of one picture of noise, each with a scalar."""

    picture = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)

    def batch(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
        """Draw `n` crops."""
        corners = rng.integers(0, 512 - SIDE, (n, 2))
        field = np.stack([self.picture[y : y + SIDE, x : x + SIDE] for y, x in corners])[:, None]
        return {"field": field, "scalars": {"grain_size_um": rng.uniform(1, 2, n).astype(np.float32)}, "maps": {}}


def network() -> nn.Module:
    """Return the U-Net of the diffusion family with 32, 64 and 96 channels."""
    torch.manual_seed(0)
    codec = Codec("intensity", 0.0, 1.0, -9.0, 9.0, "float32", (1.0, 1.0))
    return FAMILY.build(FAMILY.Config(channels=(32, 64, 96)), codec=codec, conditions=SPECS).train()


@dataclass
class Bare:
    """The least that a family's step needs: no clipping, no average, no checks."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    autocast: Callable[[], AbstractContextManager[Any]]

    def backward(self, loss: Tensor) -> None:
        """Add the gradients."""
        loss.backward()

    def optimizer_step(self, name: str = "net") -> None:
        """Take the step."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class Both:
    """A family that takes a bare step before each step of the loop, and notes the processor seconds of both."""

    def __init__(self) -> None:
        net = network()
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
        self.state = Bare(net, optimizer, torch.Generator(), lambda: torch.autocast("cpu", torch.bfloat16))
        self.bare: list[float] = []
        self.loop: list[float] = []
        self.end = 0.0

    def train_step(self, state: Any, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """Take both steps."""
        start = time.process_time()
        self.loop += [start - self.end] if self.bare else []
        FAMILY.train_step(self.state, batch, step)
        self.end = time.process_time()
        self.bare.append(self.end - start)
        return FAMILY.train_step(state, batch, step)


def measure(steps: int) -> Both:
    """Train, with a line of the log every ten steps, and return the times of each step."""
    config = TrainConfig(
        images=steps * BATCH, batch=BATCH, log_images=10 * BATCH, precision="bf16", checkpoint_minutes=999, previews=0
    )
    both = Both()
    job = Job(family=both, net=network(), encode=torch.from_numpy, patches=Crops())
    with tempfile.TemporaryDirectory() as folder:
        Trainer(job, Path(folder), config, fabric=make_fabric(config), quiet=True).fit()
    return both


def main() -> None:
    """Read the arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    torch.set_num_threads(1)
    both = measure(given.steps)
    print("| of the steps | bare s | loop s | ratio |\n|---|---|---|---|")
    for name, pick in (("least", min), ("median", statistics.median), ("mean", statistics.fmean)):
        plain, whole = pick(both.bare[3:-1]), pick(both.loop[3:])  # the first steps warm up
        print(f"| {name} | {plain:.4f} | {whole:.4f} | {whole / plain:.3f} |")


if __name__ == "__main__":
    main()
