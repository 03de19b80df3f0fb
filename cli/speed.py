"""How fast this machine trains and samples the default network, from a measurement of a few seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from microgen.core import Condition, ConditionSpec
from microgen.data.plan import TrainPlan
from microgen.models import Codec, Model, diffusion
from microgen.models.batches import single_threaded
from microgen.train.engine import resolve_precision

SIDE = 64
SAMPLES = 4
_SPEC = ConditionSpec("grain_size_um", "scalar", 5, 50, "log")
_WANTED = Condition({"grain_size_um": 15.0})
SECONDS = 3.0
"""Time given to each measurement; one step is always taken."""


def speed() -> dict[str, Any]:
    """Measure one training image and one sampled image of 64 x 64 pixels, and estimate a default training run."""
    state = _State(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    batch = TrainPlan().batch
    train = _seconds_each(lambda: state.train(batch)) / batch
    one = None
    if state.device.type == "cpu" and torch.get_num_threads() > 1:
        with single_threaded():
            one = _seconds_each(lambda: state.train(batch)) / batch
    model = state.model()
    sample = _seconds_each(lambda: len(list(model.sample(range(SAMPLES), _WANTED)))) / SAMPLES
    return {
        "device": str(state.device),
        "precision": state.precision,
        "threads": torch.get_num_threads(),
        "train_image_ms": round(1000 * train, 2),
        "train_image_ms_one_thread": None if one is None else round(1000 * one, 2),
        "sample_image_ms": round(1000 * sample, 2),
        "default_training_minutes": round(TrainPlan().images * train / 60, 1),
    }


def describe(measured: dict[str, Any]) -> str:
    """The same in words, with advice where one thread is faster: on a machine that others use."""
    one = measured["train_image_ms_one_thread"]
    busy = one is not None and one < measured["train_image_ms"]
    return (
        f"{measured['train_image_ms']:.3g} ms to train on an image of {SIDE} x {SIDE}, "
        f"{measured['sample_image_ms']:.3g} ms to sample one, "
        f"about {measured['default_training_minutes']:.3g} min for a default training run"
    ) + (
        f"; one thread needs only {one:.3g} ms: this machine is busy, set OMP_NUM_THREADS=1 (docs/training.md, Threads)"
        if busy
        else ""
    )


class _State:
    """The part of a training run that one step of the default network needs."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.precision = device, resolve_precision("auto")
        with torch.random.fork_rng([]):
            self.net = diffusion.Network(diffusion.Config(), dims=2, channels=1, conditions=[_SPEC]).to(device)
        self.generator = torch.Generator(device).manual_seed(0)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-6)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def optimizer_step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()

    def train(self, batch: int) -> float:
        """One training step."""
        return float(diffusion.train_step(self, _batch(batch, self.device), 0)["loss"])

    def model(self) -> Model:
        """The same network as something that can be asked for samples."""
        codec = Codec("intensity", 128.0, 50.0, 0, 255, "uint8", (0.5, 0.5))
        return Model("diffusion", diffusion.Config().model_dump(mode="json"), self.net, codec, [_SPEC], (SIDE, SIDE))


def _batch(n: int, device: torch.device) -> dict[str, Any]:
    x = torch.zeros(n, 1, SIDE, SIDE, device=device)
    return {"x": x, "scalars": {"grain_size_um": torch.full((n,), 15.0, device=device)}, "maps": {}}


def _seconds_each(work: Callable[[], float]) -> float:
    """Mean time of a call that waits for the device; the first one allocates and is left out."""
    work()
    begin, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - begin < SECONDS:
        work()
        calls += 1
    return (time.perf_counter() - begin) / calls
