"""The loop learns, and gets out of trouble by itself where it can."""

from __future__ import annotations

import itertools
import json
import os
import runpy
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from microgen.core import DivergedError, MemoryLimitError
from microgen.train.engine import make_fabric
from microgen.train.log import read_log
from microgen.train.loop import Trainer

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("train_fakes.py"))))


class Mean:
    """Learns one number, the mean of the field, without noise: a closed form."""

    def train_step(self, state: Any, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
        loss = (state.net(torch.ones(len(batch["x"]), 1)) - batch["x"].flatten(1)).square().mean()
        state.backward(loss)
        state.optimizer_step()
        return {"loss": loss}

    def make_optimizers(self, net: nn.Module, learning_rate: float) -> dict[str, torch.optim.Optimizer]:
        return {"net": torch.optim.SGD(net.parameters(), lr=learning_rate)}


class OneBatch:
    """Always the same values, whatever the generator."""

    def batch(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
        field = np.linspace(0, 2, n, dtype=np.float32).reshape(n, 1, 1, 1)
        return {"field": field, "scalars": {}, "maps": {}}


def mean_job(**changes: Any) -> Any:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    return fakes.make_job(Mean(), net=net, patches=OneBatch(), held_out=False, **changes)


def test_gradient_descent_takes_the_steps_of_its_closed_form(tmp_path: Path) -> None:
    job = mean_job()
    fakes.train(tmp_path, job, learning_rate=0.1, warmup=0, decay="none", images=40, clip_norm=100)
    assert job.net.weight.item() == pytest.approx(1 - (1 - 2 * 0.1) ** 10, rel=1e-5)


def test_clipped_steps_have_the_length_of_the_clip(tmp_path: Path) -> None:
    job = mean_job()
    fakes.train(tmp_path, job, learning_rate=0.1, warmup=0, decay="none", images=12, clip_norm=0.5)
    assert job.net.weight.item() == pytest.approx(3 * 0.1 * 0.5, rel=1e-4)


def test_one_batch_is_learned_and_the_average_follows(tmp_path: Path) -> None:
    class Copy(fakes.Denoiser):  # type: ignore[name-defined, misc]
        def train_step(self, state: Any, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            loss = (state.net(batch["x"]) - batch["x"]).square().mean()
            state.backward(loss)
            state.optimizer_step()
            return {"loss": loss}

    counters = fakes.train(
        tmp_path, fakes.make_job(Copy(), patches=fakes.Same(), held_out=fakes.Same()), images=1200, checkpoint_minutes=9
    )
    log = read_log(tmp_path)
    first = next(entry["loss"] for entry in log if entry["kind"] == "train")
    assert counters.latest["held_out_loss"] < 0.1 * first  # without dropout, by the averaged weights


def test_random_numbers_of_the_caller_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    job = fakes.make_job()
    before = torch.get_rng_state()
    fakes.train(tmp_path, job, images=8)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_lasting_nan_is_rolled_back_three_times_and_then_given_up(tmp_path: Path, where: str) -> None:
    family = fakes.Denoiser(nan_in=where, nan_from=5)
    with pytest.raises(DivergedError, match="halved 3 times") as caught:
        fakes.train(tmp_path, fakes.make_job(family), log_images=4)
    assert caught.value.exit_code == 6
    rollbacks = [entry for entry in read_log(tmp_path) if entry["kind"] == "rollback"]
    assert [entry["learning_rate_scale"] for entry in rollbacks] == [1 / 2, 1 / 4, 1 / 8]
    assert {entry["images"] for entry in rollbacks} == {20}  # back to the last good step
    saved = [json.loads(path.read_text())["images"] for path in (tmp_path / "checkpoints").glob("*.json")]
    assert max(saved) == 20
    for path in (tmp_path / "checkpoints").glob("*.safetensors"):
        assert all(value.isfinite().all() for value in load_file(path).values())


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_passing_nan_costs_half_the_learning_rate_and_nothing_else(tmp_path: Path, where: str) -> None:
    job = fakes.make_job(fakes.Denoiser(nan_in=where, nan_from=5, nan_times=1))
    counters = fakes.train(tmp_path, job)
    assert (counters.images, counters.rollbacks, counters.learning_rate_scale) == (96, 1, 0.5)
    assert all(p.isfinite().all() for p in job.net.parameters())


def test_short_memory_cuts_the_batch_into_pieces_with_the_same_gradient(tmp_path: Path) -> None:
    class Tight(Mean):
        def train_step(self, state: Any, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            if len(batch["x"]) > 3:
                raise torch.OutOfMemoryError("DefaultCPUAllocator: can't allocate memory")
            return super().train_step(state, batch, step)

    whole, cut = mean_job(), fakes.replace(mean_job(), family=Tight())
    options = {"images": 60, "batch": 10, "decay": "none", "warmup": 0, "learning_rate": 0.1}
    fakes.train(tmp_path / "whole", whole, **options)
    counters = fakes.train(tmp_path / "cut", cut, **options)
    assert counters.micro == 3  # 10, 5, 3
    assert cut.net.weight.item() == pytest.approx(whole.net.weight.item(), rel=1e-6)


def test_not_even_one_image_fits(tmp_path: Path) -> None:
    with pytest.raises(MemoryLimitError, match=r"smaller train\.batch") as caught:
        fakes.train(tmp_path, fakes.make_job(fakes.Denoiser(most=0)))
    assert caught.value.exit_code == 7


def test_other_errors_of_a_family_are_not_swallowed(tmp_path: Path) -> None:
    class Broken:
        def train_step(self, state: Any, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        fakes.train(tmp_path, fakes.make_job(Broken()))


def test_errors_of_the_background_reader_reach_the_caller(tmp_path: Path) -> None:
    class Gone:
        def batch(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
            raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"):
        fakes.train(tmp_path, fakes.make_job(patches=Gone()))


class Judged(Mean):
    """Gets better for a while when judged, then worse."""

    def __init__(self) -> None:
        self.judged = 0

    def train_step(self, state: Any, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
        if not state.net.training:
            self.judged += 1
            return {"loss": torch.tensor(abs(self.judged - 3.0))}
        return super().train_step(state, batch, step)


def test_training_stops_when_the_held_out_loss_gets_no_better(tmp_path: Path) -> None:
    job = fakes.replace(mean_job(), family=Judged(), held_out=OneBatch())
    counters = fakes.train(tmp_path, job, images=400, validations=10, validation_patches=4, patience=2)
    assert counters.stopped_early
    assert (counters.best, counters.best_images, counters.images) == (0.0, 120, 200)
    assert (tmp_path / "best.safetensors").is_file()


@pytest.mark.parametrize(
    ("held_out", "patience", "model", "best"),
    [(True, 0, False, True), (True, 99, True, True), (False, 99, False, None)],
)
def test_a_model_says_whether_held_out_images_chose_it(
    tmp_path: Path, held_out: bool, patience: int, model: bool, best: bool | None
) -> None:
    fakes.train(tmp_path, fakes.make_job(held_out=held_out), patience=patience)

    def chosen(name: str) -> bool:
        with safe_open(tmp_path / name, "pt") as file:
            return json.loads(file.metadata()["facts"])["chosen_on_held_out"]

    assert chosen("model.safetensors") is model
    assert (chosen("best.safetensors") if (tmp_path / "best.safetensors").is_file() else None) is best


def test_best_weights_never_come_from_a_course_that_was_given_up(tmp_path: Path) -> None:
    """The lowest loss comes between two timed checkpoints, and NaN right after it."""

    class Lucky(Judged):
        losses = iter([0.5, 0.1, 0.6, 0.6, 0.6, 0.6])
        struck = False

        def train_step(self, state: Any, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            if not state.net.training:
                return {"loss": torch.tensor(next(self.losses))}
            found = super().train_step(state, batch, step)
            if step == 5 and not self.struck:
                self.struck = True
                return {"loss": found["loss"] * float("nan")}
            return found

    job = fakes.replace(mean_job(), family=Lucky(), held_out=OneBatch())
    counters = fakes.train(tmp_path, job, images=40, validations=5, validation_patches=4, checkpoint_minutes=99)
    assert counters.rollbacks == 1
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["facts"])
    assert (facts["images"], facts["held_out_loss"]) == (counters.best_images, counters.best)
    assert counters.best == pytest.approx(0.1)


def test_processes_decide_by_numbers_they_agree_on(tmp_path: Path) -> None:
    """When to save and how many images to see follow from the agreed time, not from the clock of one process."""
    ticks = itertools.count()
    agreed: list[float] = []

    class Watched(Trainer):
        def _sync(self) -> bool:
            found = super()._sync()
            agreed.append(self.counters.seconds)
            return found

    config = fakes.make_config(checkpoint_minutes=0)
    trainer = Watched(fakes.make_job(), tmp_path, config, fabric=make_fabric(config), clock=lambda: next(ticks))
    trainer.fit()
    assert trainer._saved_at == agreed[-1]
    assert trainer.budget.first_seconds == agreed[0]


def test_judging_changes_nothing(tmp_path: Path) -> None:
    fakes.train(tmp_path / "with", fakes.make_job(), validations=12)
    fakes.train(tmp_path / "without", fakes.make_job(held_out=False))
    names = ("with", "without")
    one, other = ([line for line in fakes.losses(tmp_path / n) if line.startswith("train")] for n in names)
    assert one == other


def test_pictures_are_drawn_as_often_as_asked(tmp_path: Path) -> None:
    drawn: list[Path] = []

    def preview(net: nn.Module, path: Path) -> np.ndarray:
        drawn.append(path)
        return np.zeros((4, 6), np.uint8)

    fakes.train(tmp_path, fakes.make_job(preview=preview), previews=3)
    assert [path.name for path in drawn] == ["000000000032.png", "000000000064.png", "000000000096.png"]
    assert list((tmp_path / "events").iterdir())


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_the_step_and_leaves_a_checkpoint(tmp_path: Path, number: int, kind: type) -> None:
    class Struck(fakes.Denoiser):  # type: ignore[name-defined, misc]
        ended = 0

        def train_step(self, state: Any, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            if step == 7:
                os.kill(os.getpid(), number)
            result = super().train_step(state, batch, step)
            self.ended = step
            return result  # type: ignore[no-any-return]

    def leave(*args: object) -> None:
        raise SystemExit(143)

    family = Struck()
    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(kind):
            fakes.train(tmp_path, fakes.make_job(family), checkpoint_minutes=99, log_images=1000)
        assert signal.getsignal(signal.SIGTERM) is leave
    finally:
        signal.signal(signal.SIGTERM, before)
    assert family.ended == 7
    assert (tmp_path / "checkpoints" / "000000000032.json").is_file()
    fakes.train(tmp_path, fakes.make_job(), checkpoint_minutes=99, log_images=1000)
    fakes.train(tmp_path / "whole", fakes.make_job(), log_images=1000)
    assert fakes.losses(tmp_path) == fakes.losses(tmp_path / "whole")
    assert fakes.weights(tmp_path / "model.safetensors") == fakes.weights(tmp_path / "whole" / "model.safetensors")


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    class Hangs:
        def train_step(self, state: Any, batch: dict[str, Any], step: int) -> dict[str, torch.Tensor]:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise RuntimeError("the second signal was ignored")

    with pytest.raises(KeyboardInterrupt):
        fakes.train(tmp_path, fakes.make_job(Hangs()))
