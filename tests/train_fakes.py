"""A tiny family and tiny patches for the tests of the training loop; run as a script it trains in a folder."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from microgen.core.files import write_whole
from microgen.train.config import TrainConfig
from microgen.train.engine import make_fabric
from microgen.train.job import Counters, Job
from microgen.train.loop import Trainer


class Net(nn.Module):
    """Two convolutions and dropout, so that both the generator and dropout matter."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.drop(torch.tanh(self.first(x))))


class Denoiser:
    """Learns to remove noise; may be told to give NaN or to run out of memory."""

    def __init__(
        self, *, noise: float = 1.0, nan_in: str = "", nan_from: int = -1, nan_times: int = 99, most: int = 10**9
    ) -> None:
        self.noise = noise
        self.nan_in, self.nan_from, self.nan_left, self.most = nan_in, nan_from, nan_times, most
        self.sizes: list[int] = []

    def train_step(self, state: Any, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
        x = batch["x"]
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("out of memory: this is a test")
        noise = self.noise * torch.randn(x.shape, generator=state.generator, device=state.device)
        with state.autocast():
            loss = (state.net(x + noise) - x).square().mean()
        if self.nan_in == "loss" and self._strike(step):
            loss = loss * float("nan")
        state.backward(loss)
        if self.nan_in == "gradient" and self._strike(step):
            next(state.net.parameters()).grad.fill_(float("inf"))
        state.optimizer_step("net")
        return {"loss": loss}

    def _strike(self, step: int) -> bool:
        if step < self.nan_from or self.nan_left == 0:
            return False
        self.nan_left -= 1
        return True


class Stripes:
    """Random sinusoids; the same generator gives the same ones."""

    def batch(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
        phase = rng.uniform(0, 2 * np.pi, (n, 1, 1, 1))
        x = np.linspace(0, 4 * np.pi, 8)
        field = np.broadcast_to(np.sin(x + phase), (n, 1, 8, 8)).astype(np.float32)
        return {"field": field, "scalars": {"phase": phase[:, 0, 0, 0]}, "maps": {}}


class Same(Stripes):
    """The same crops whatever the generator."""

    def batch(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
        return super().batch(np.random.default_rng(1), n)


def write_model(path: Path, net: nn.Module, facts: Any) -> None:
    write_whole(path, lambda temporary: save_file(net.state_dict(), temporary, {"facts": json.dumps(dict(facts))}))


__all__ = ["replace"]


def make_job(family: Any = None, *, dropout: float = 0.2, held_out: Any = True, **changes: Any) -> Job:
    torch.manual_seed(0)
    values = {"family": family or Denoiser(), "net": Net(dropout), "encode": torch.from_numpy, "patches": Stripes()}
    return Job(
        **{
            **values,
            "held_out": Stripes() if held_out is True else held_out or None,
            "write_model": write_model,
            **changes,
        }
    )


def make_config(**changes: Any) -> TrainConfig:
    values = {"images": 96, "batch": 4, "warmup": 8, "learning_rate": 1e-2, "log_images": 4, "precision": "fp32"}
    return TrainConfig(**{**values, "validations": 4, "validation_patches": 8, "checkpoint_minutes": 0, **changes})


def train(run: Path, job: Job | None = None, **changes: Any) -> Counters:
    config = make_config(**changes)
    return Trainer(job or make_job(), run, config, fabric=make_fabric(config)).fit()


def losses(run: Path) -> list[str]:
    """Every logged number of a run, exact to the last bit."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [f"{entry['kind']} {entry['images']} {float(entry['loss']).hex()}" for entry in lines if "loss" in entry]


def weights(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def without_chance() -> Job:
    """A job in which all crops are the same and nothing is random."""
    return make_job(Denoiser(noise=0.0), dropout=0.0, patches=Same(), held_out=Same())


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    train(Path(sys.argv[1]), without_chance() if options.pop("without_chance", False) else None, **options)
