"""Training in a run folder with the real family on tiny pictures, through the library and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

from microgen.cli.train import command
from microgen.core import InputError, LockedError, MicrogenError, Microstructure
from microgen.core.files import lock
from microgen.data.dataset import Item, write_dataset
from microgen.data.plan import ConditionsPlan, DataPlan, ModelPlan, Plan, Range, TrainPlan, plan_path, write_plan
from microgen.models.file import load_model, read_header
from microgen.train.log import read_log
from microgen.train.run import _on_main, dry_run, train
from microgen.train.setup import make_job, resolve

QUIET: dict[str, Any] = {"say": lambda message: None}
SIDE = 16


def blobs(seed: int, size: float) -> np.ndarray[Any, Any]:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(48, 48)), size, mode="wrap")
    return np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of six pictures with a temperature, and a plan of 64 images."""
    out = tmp_path_factory.mktemp("data")
    items = []
    for i in range(6):
        picture = Microstructure(
            {"intensity": blobs(i, 1 + i % 3)}, (1.0, 1.0), scalars={"anneal_temperature_K": 900.0 + i}
        )
        items.append(Item(f"{i}.png", picture, f"s{i}", "held_out" if i == 5 else "train"))
    write_dataset(out / "steel.h5", items, {"made_by": "test"})
    names = ("anneal_temperature_K",)
    conditions = ConditionsPlan(scalars=names, ranges={names[0]: Range(low=900, high=905)})
    plan = Plan(
        data=DataPlan(spacing_um=1.0, patch_px=SIDE, augment=("flip_x", "flip_y")),
        conditions=conditions,
        model=ModelPlan(channels=(8, 16), blocks=1),
        train=TrainPlan(images=64, batch=8, warmup=16, precision="fp32", minutes=99),
    )
    write_plan(plan_path(out / "steel.h5"), plan)
    return out


@pytest.fixture(scope="module")
def done(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    run = tmp_path_factory.mktemp("runs") / "a"
    return run, train(folder / "steel.h5", run, settings=["train.previews=2", "train.log_images=16"], **QUIET)


def test_a_run_leaves_all_that_it_promises(done: tuple[Path, dict[str, Any]]) -> None:
    run, result = done
    assert result["images"] == 64
    assert result["model_sha256"] == load_model(run / "model.safetensors").sha256
    assert np.isfinite([result["loss"], result["held_out_loss"], result["seconds"]]).all()
    assert [entry["images"] for entry in read_log(run) if entry["kind"] == "train"] == [16, 32, 48, 64]
    assert list((run / "events").iterdir())
    with Image.open(run / "samples" / "000000000064.png") as picture:
        assert picture.size == (3 * SIDE + 4, 3 * SIDE + 4)
    assert resolve(run, plan=run / "plan.toml").plan.train.images == 64


def test_the_model_file_holds_the_average_and_where_it_comes_from(done: tuple[Path, dict[str, Any]]) -> None:
    run, _ = done
    from safetensors.torch import load_file

    model, newest = load_model(run / "model.safetensors"), load_file(run / "checkpoints" / "000000000064.safetensors")
    assert model.patch == (SIDE, SIDE)
    assert model.codec.dtype == "uint8"
    assert all((value == newest[f"average/{name}"]).all() for name, value in model.net.state_dict().items())
    assert any((value != newest[f"net/{name}"]).any() for name, value in model.net.state_dict().items())
    provenance = read_header(run / "model.safetensors")["provenance"]
    assert provenance["command"] == "train"
    assert len(provenance["data_sha256"]) == 64
    assert next(iter(model.sample([0]))).shape == (SIDE, SIDE)


def test_another_pace_of_saving_and_drawing_makes_the_same_model(
    folder: Path, tmp_path: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    settings = ["train.log_images=24", "train.checkpoint_minutes=0", "train.previews=0"]
    again = train(folder / "steel.h5", tmp_path / "b", settings=settings, **QUIET)
    assert again["model_sha256"] == done[1]["model_sha256"]


KILLED = """
import os, signal, sys
from pathlib import Path
from microgen.train import checkpoint, train

write = checkpoint.write_checkpoint

def write_and_die(folder, images, *rest):
    write(folder, images, *rest)
    if images == 24:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.write_checkpoint = write_and_die
train(Path(sys.argv[1]), Path(sys.argv[2]), settings=["train.checkpoint_minutes=0"])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill so hard")
def test_killed_and_resumed_makes_the_same_model(
    folder: Path, tmp_path: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    """The whole way of a plan: data set, network, averaging and model file, over the death of a process."""
    data, run = folder / "steel.h5", tmp_path / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, data, run], env=environment, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (run / "result.json").exists()
    said: list[str] = []
    resumed = train(data, run, say=said.append)
    assert (resumed["images"], resumed["model_sha256"]) == (64, done[1]["model_sha256"])
    assert resumed["held_out_loss"] == done[1]["held_out_loss"]
    newest = [load_file(folder / "checkpoints" / "000000000064.safetensors") for folder in (run, done[0])]
    assert newest[0].keys() == newest[1].keys()
    assert all(torch.equal(newest[0][name], newest[1][name]) for name in newest[0])


def test_making_a_job_leaves_the_random_numbers_of_the_caller_alone(folder: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    chosen = resolve(folder / "steel.h5", plan=None)
    jobs = [make_job(folder / "steel.h5", chosen, provenance={}, **QUIET) for _ in range(2)]
    assert torch.equal(before, torch.get_rng_state())
    first, second = (list(job.net.parameters()) for job in jobs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class TwoProcesses:
    """The first or second of two processes, connected by a list."""

    world_size = 2

    def __init__(self, sent: list[Any], *, first: bool) -> None:
        self.sent, self.is_global_zero = sent, first

    def broadcast(self, answer: Any) -> Any:
        if self.is_global_zero:
            self.sent.append(answer)
        return self.sent[-1]


@pytest.mark.parametrize("error", [InputError("no such plan"), OSError("disk on fire"), KeyError("name")])
def test_an_error_of_the_first_process_ends_all(error: Exception) -> None:
    def fail() -> None:
        raise error

    sent: list[Any] = []
    with pytest.raises(type(error)) as first:
        _on_main(TwoProcesses(sent, first=True), fail)  # type: ignore[arg-type]
    assert first.value is error
    with pytest.raises(MicrogenError, match=str(error.args[0])):
        _on_main(TwoProcesses(sent, first=False), lambda: pytest.fail("only the first acts"))  # type: ignore[arg-type]


def test_all_processes_get_what_the_first_found() -> None:
    sent: list[Any] = []
    assert _on_main(TwoProcesses(sent, first=True), lambda: 7) == 7  # type: ignore[arg-type]
    assert _on_main(TwoProcesses(sent, first=False), lambda: 8) == 7  # type: ignore[arg-type]


def test_a_run_whose_plan_had_a_table_that_is_gone_goes_on(folder: Path, tmp_path: Path) -> None:
    run, settings = tmp_path / "run", ["train.images=8", "train.previews=0"]
    train(folder / "steel.h5", run, settings=settings, **QUIET)
    kept = json.loads((run / "run.json").read_text())
    kept["plan"]["sample"] = {"sampler": "heun", "steps": 20}
    (run / "run.json").write_text(json.dumps(kept))
    assert train(folder / "steel.h5", run, settings=settings, **QUIET)["images"] == 8


def test_a_finished_run_is_left_alone(folder: Path, done: tuple[Path, dict[str, Any]]) -> None:
    run, result = done
    said: list[str] = []
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert train(folder / "steel.h5", run, settings=["train.log_images=99"], say=said.append) == result
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert "is finished" in said[0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.batch=4", r"was started with train\.batch = 8, now it is 4"),
        ("model.blocks=2", r"was started with model\.blocks = 1, now it is 2"),
        ("train.minutes=3", r"was started with train\.images = 64, now it is None"),
    ],
)
def test_other_settings_are_refused(
    folder: Path, done: tuple[Path, dict[str, Any]], setting: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(folder / "steel.h5", done[0], settings=[setting], **QUIET)


def test_other_data_are_refused(folder: Path, tmp_path: Path, done: tuple[Path, dict[str, Any]]) -> None:
    picture = Microstructure({"intensity": blobs(9, 2)}, (1.0, 1.0), scalars={"anneal_temperature_K": 900.0})
    write_dataset(tmp_path / "other.h5", [Item("x", picture, "x", "train")], {})
    with pytest.raises(InputError, match="another data set"):
        train(tmp_path / "other.h5", done[0], plan=plan_path(folder / "steel.h5"), **QUIET)


def test_a_folder_in_use_is_refused(folder: Path, tmp_path: Path) -> None:
    with lock(tmp_path / ".lock"), pytest.raises(LockedError):
        train(folder / "steel.h5", tmp_path, **QUIET)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.batsh=4", "batsh"),
        ("model.family=magic", "'magic' is not known; choose from diffusion"),
        ("train.devices=3", "cannot share evenly"),
        ("train.minutes=-1", "minutes"),
        ("data.patch_px=64", "none of the 5 train images holds a crop"),
    ],
)
def test_wrong_settings_are_told_apart(folder: Path, tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(folder / "steel.h5", tmp_path / "run", settings=[setting], **QUIET)


def test_an_absent_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.plan\.toml"):
        resolve(tmp_path / "nothing.h5", plan=None)


def test_the_minutes_of_the_plan_are_an_estimate_and_those_of_a_setting_a_budget(folder: Path) -> None:
    data = folder / "steel.h5"
    assert resolve(data, plan=None).train.model_dump(include={"images", "minutes"}) == {"images": 64, "minutes": None}
    budget = resolve(data, plan=None, settings=["train.minutes=5"]).train
    assert (budget.images, budget.minutes) == (None, 5)
    both = resolve(data, plan=None, settings=["train.minutes=5", "train.images=80"])
    assert (both.train.images, both.train.minutes, both.plan.train.images) == (80, 5, 80)


def test_training_without_held_out_pictures_says_so(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    settings = ['data.skip=["5.png"]', "train.images=8", "train.previews=0"]
    result = train(folder / "steel.h5", tmp_path / "run", settings=settings, say=said.append)
    assert any("held-out" in message for message in said)
    assert "held_out_loss" not in result


def test_a_budget_in_minutes_ends_about_then(folder: Path, tmp_path: Path) -> None:
    result = train(folder / "steel.h5", tmp_path / "run", settings=["train.minutes=0.05", "train.previews=0"], **QUIET)
    assert result["images"] % 8 == 0
    assert result["images"] > 64
    newest = max((tmp_path / "run" / "checkpoints").glob("*.json"))
    assert json.loads(newest.read_text())["total"] == result["images"]


def test_dry_run_trains_nothing(folder: Path, tmp_path: Path) -> None:
    look = dry_run(folder / "steel.h5", settings=["train.images=600"], **QUIET)
    assert look["estimated_minutes"] == pytest.approx(600 / look["images_per_s"] / 60, abs=0.011)
    assert look["train"]["images"] == 600


def test_the_command_prints_one_json_object(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text("[train]\nprevious = 1\n")
    run = tmp_path / "run"
    words = [str(folder / "steel.h5"), str(run), "--images", "16", "--batch", "4", "--set", "train.previews=0"]
    wrong = CliRunner().invoke(command, [*words, "--config", str(tmp_path / "more.toml")])
    assert isinstance(wrong.exception, InputError)
    (tmp_path / "more.toml").write_text("[train]\nseed = 3\nlog_images = 4\n[model]\nchannels = [8, 8]\n")
    right = CliRunner().invoke(command, [*words, "--config", str(tmp_path / "more.toml")], catch_exceptions=False)
    result = json.loads(right.stdout)
    assert (result["images"], result["model"]) == (16, str(run / "model.safetensors"))
    kept = json.loads((run / "run.json").read_text())
    assert (kept["train"]["seed"], kept["train"]["batch"], kept["plan"]["model"]["channels"]) == (3, 4, [8, 8])
    assert len(read_log(run)) >= 4
