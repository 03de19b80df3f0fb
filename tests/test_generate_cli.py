"""``microgen sample``: what a person types, and what comes back."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from microgen import io
from microgen.cli import cli
from microgen.core import Microstructure
from microgen.generate.watch import count_samples
from microgen.generate.workers import worker_of_environment
from microgen.models.batches import usable_cores

fakes = runpy.run_path(str(Path(__file__).with_name("model_fakes.py")))
FAST = ["--preset", "fast", "--steps", "3"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = fakes["save_tiny"](tmp_path_factory.mktemp("model") / "model.safetensors")
    return path


def run(*words: Any) -> Result:
    return CliRunner().invoke(cli, ["sample", *map(str, words)])


def test_samples_are_written_and_reported(model: Path, tmp_path: Path) -> None:
    words = (
        model,
        tmp_path / "out",
        "--seeds",
        "0-2,7",
        "--set-condition",
        "grain_size_um=12",
        "--size",
        "24x40",
        *FAST,
    )
    done = run(*words)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["count"], result["made"], result["skipped"]) == (4, 4, 0)
    assert result["seconds"] > 0
    made = io.read(tmp_path / "out" / "seed_000007.png")[0]
    assert made.shape == (24, 40)
    assert made.scalars["grain_size_um"] == 12.0
    again = json.loads(run(*words).stdout)
    assert (again["made"], again["skipped"]) == (0, 4)
    assert "4 of 4" in done.stderr


def test_several_values_are_combined(model: Path, tmp_path: Path) -> None:
    wishes = ["--set-condition", "grain_size_um=8,16", "--set-condition", "orientation_deg=0,90"]
    result = json.loads(run(model, tmp_path, "--seeds", "0", *wishes, *FAST).stdout)
    assert [Path(folder).name for folder in result["folders"]] == [
        "grain_size_um_8_orientation_deg_0",
        "grain_size_um_8_orientation_deg_90",
        "grain_size_um_16_orientation_deg_0",
        "grain_size_um_16_orientation_deg_90",
    ]
    assert result["made"] == 4


def test_dry_run_makes_nothing(model: Path, tmp_path: Path) -> None:
    result = json.loads(run(model, tmp_path / "out", "--seeds", "0-9", "--guidance", "2", "--dry-run").stdout)
    assert result["count"] == 10
    assert result["requests"][0]["options"]["guidance"] == 2.0
    assert not (tmp_path / "out").exists()


def test_every_option_arrives(model: Path, tmp_path: Path) -> None:
    words = ["--guidance", "0", "--guidance-interval", "0.1", "5", "--schedule", "karras", "--window", "16"]
    result = json.loads(run(model, tmp_path / "out", "--dry-run", "--seeds", "0", "--size", "24x40", *words).stdout)
    options = result["requests"][0]["options"]
    assert (options["guidance"], options["guidance_interval"]) == (0.0, [0.1, 5.0])
    assert (options["schedule"], options["window"]) == ("karras", 16)
    assert "periodic" not in options
    assert result["requests"][0]["shape"] == [24, 40]


@pytest.mark.parametrize("size", ["big", "64", "0x64", "8x8x8x8", "16x"])
def test_sizes_that_are_none_are_wrong_usage(model: Path, tmp_path: Path, size: str) -> None:
    for words in (
        ["sample", model, tmp_path / "out"],
        ["synth", "two-phase", tmp_path / "out", "--pixel-size-um", "1", "--fraction", "0.3", "--length-um", "3"],
    ):
        done = CliRunner().invoke(cli, [*map(str, words), "--size", size])
        assert done.exit_code == 2
        assert "512x768" in done.stderr
    assert not (tmp_path / "out").exists()


def test_reproduce_never_writes_over_what_it_compares_with(tmp_path: Path) -> None:
    io.write(
        tmp_path / "a.png", Microstructure({"intensity": np.zeros((9, 9), np.uint8)}, (1, 1)), {"command": "sample"}
    )
    (tmp_path / "b.png").hardlink_to(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    for out in ("a.png", "b.png", "../" + tmp_path.name + "/a.png"):
        done = CliRunner().invoke(cli, ["reproduce", str(tmp_path / "a.png"), str(tmp_path / out)])
        assert done.exit_code == 2
        assert "another name" in done.stderr
    assert (tmp_path / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set-condition", "grain_size_um=99"], "outside 5 .. 20"),
        (["--set-condition", "colour=1"], "it knows grain_size_um"),
        (["--set-condition", "grain_size_um"], "name=value"),
        (["--set-condition", "grain_size_um=a"], "name=value"),
        (["--set-condition", "grain_size_um=8", "--set-condition", "grain_size_um=9"], "once each"),
        (["--size", "24x24x24"], "2 axes"),
        (["--preset", "best"], "choose one of draft, fast"),
        (["--seeds", "a-b"], "seeds are written"),
    ],
)
def test_wrong_requests_are_one_clear_sentence(model: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done = run(model, tmp_path / "out", *words)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert getattr(done.exception, "exit_code", None) == 3
    assert not (tmp_path / "out").exists()


def test_without_a_launcher_there_is_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert worker_of_environment() == (0, 1, 0)


@pytest.mark.parametrize("name", ["KUBERNETES_PORT", "OMPI_COMM_WORLD_SIZE"])
def test_variables_of_a_launcher_we_cannot_ask_do_no_harm(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "1")
    assert worker_of_environment() == (0, 1, 0)


def test_rank_of_torchrun_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TORCHELASTIC_RUN_ID": "x",
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "29500",
    }.items():
        monkeypatch.setenv(name, value)
    assert worker_of_environment() == (5, 8, 1)


def test_workers_of_torchrun_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert usable_cores() == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert usable_cores() == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "20")
    assert usable_cores() == 1


def test_terminated_run_leaves_whole_files_only_and_goes_on(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-m", "microgen.cli", "sample", str(model), str(out), "--seeds", "0-299", "--steps", "20"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while count_samples([out], "png") < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert b"run the same command again" in said
    assert b"Traceback" not in said
    names = [path.name for path in out.iterdir()]
    assert not [name for name in names if name.startswith(".seed")]
    assert 3 <= count_samples([out], "png") < 300
    for path in out.glob("seed_*.png"):
        io.read(path)
