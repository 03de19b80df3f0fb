"""A run that is killed and started again ends exactly as one that was left alone."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from microgen.train import checkpoint
from microgen.train.engine import make_fabric
from microgen.train.loop import Trainer

SCRIPT = Path(__file__).with_name("train_fakes.py")
fakes = SimpleNamespace(**runpy.run_path(str(SCRIPT)))


def start(run: Path, **changes: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen([sys.executable, SCRIPT, run, json.dumps(changes)], env=environment, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()


def kill_after(process: subprocess.Popen[bytes], log: Path, lines: int, delay: float) -> None:
    """Kill once the log has grown by so many lines, and a little later."""
    before = log.read_bytes().count(b"\n") if log.exists() else 0
    while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < before + lines):
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    process.communicate()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_equals_uninterrupted(tmp_path: Path, kills: int) -> None:
    options = {"images": 48 * kills, "log_images": 12, "validations": 6}
    fakes.train(tmp_path / "whole", **options)
    rng = np.random.default_rng(kills)
    for _ in range(kills):
        process = start(tmp_path / "killed", **options)
        kill_after(process, tmp_path / "killed" / "log.jsonl", int(rng.integers(1, 4)), float(rng.uniform(0, 0.05)))
    fakes.train(tmp_path / "killed", **options)
    assert fakes.losses(tmp_path / "killed") == fakes.losses(tmp_path / "whole")
    names = ("model.safetensors", "best.safetensors", f"checkpoints/{48 * kills:012d}.safetensors")
    for name in names:
        assert fakes.weights(tmp_path / "killed" / name) == fakes.weights(tmp_path / "whole" / name), name
    assert len(list((tmp_path / "killed" / "checkpoints").iterdir())) == 4


@pytest.mark.parametrize("name", ["write_model", "write_checkpoint"])
def test_a_death_at_the_last_save_leaves_no_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Power is cut before the model or before the checkpoint is written, at the end of the run."""

    def cut(write: Callable[..., None], *arguments: Any) -> None:
        if trainer.counters.finished:
            raise OSError("power cut")
        write(*arguments)

    config = fakes.make_config(checkpoint_minutes=99)
    job = fakes.make_job(held_out=False)
    with monkeypatch.context() as patch:
        if name == "write_model":
            job = fakes.replace(job, write_model=partial(cut, job.write_model))
        else:
            patch.setattr(checkpoint, name, partial(cut, checkpoint.write_checkpoint))
        trainer = Trainer(job, tmp_path / "cut", config, fabric=make_fabric(config))
        with pytest.raises(OSError, match="power cut"):
            trainer.fit()
    for folder in ("cut", "whole"):
        fakes.train(tmp_path / folder, fakes.make_job(held_out=False), checkpoint_minutes=99)
    model = "model.safetensors"
    assert fakes.weights(tmp_path / "cut" / model) == fakes.weights(tmp_path / "whole" / model)


def test_a_damaged_checkpoint_costs_a_step_and_changes_nothing(tmp_path: Path) -> None:
    fakes.train(tmp_path / "whole")
    fakes.train(tmp_path / "hurt", images=96, patience=0)
    newest = tmp_path / "hurt" / "checkpoints" / "000000000096.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    fakes.train(tmp_path / "hurt")
    assert fakes.losses(tmp_path / "hurt") == fakes.losses(tmp_path / "whole")
    assert fakes.weights(newest) == fakes.weights(tmp_path / "whole" / "checkpoints" / newest.name)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_whole_batch(tmp_path: Path) -> None:
    finish(start(tmp_path / "two", devices=2, batch=8, without_chance=True, images=64, warmup=16))
    fakes.train(tmp_path / "one", fakes.without_chance(), batch=4, images=32, validation_patches=4)
    one, two = ([line.split() for line in fakes.losses(tmp_path / n)] for n in ("one", "two"))
    assert [2 * int(line[1]) for line in one] == [int(line[1]) for line in two]
    assert [float.fromhex(x[2]) for x in one] == pytest.approx([float.fromhex(x[2]) for x in two], rel=1e-4)
