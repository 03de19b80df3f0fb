"""Which process of how many this is, by the variables that launchers set."""

from __future__ import annotations

import os

import pytest
import torch

from microgen.core import InputError
from microgen.train.config import TrainConfig
from microgen.train.engine import make_fabric
from microgen.train.launcher import is_main_process, processes

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "LOCAL_RANK": "1"}
SRUN = {"SLURM_NTASKS": "8", "SLURM_JOB_NAME": "train", "SLURM_LOCALID": "1", "SLURM_NTASKS_PER_NODE": "4"}


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_", "LSB_", "OMPI_")) or name.endswith(("RANK", "WORLD_SIZE")):
            monkeypatch.delenv(name)


def given(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], **more: str) -> None:
    for name, value in {**values, **more}.items():
        monkeypatch.setenv(name, value)


def test_without_a_launcher_the_devices_count(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, {}, KUBERNETES_PORT="tcp://10.0.0.1:443")  # set in every pod, launched or not
    assert processes(2) == (2, 2)
    assert is_main_process()


def test_a_process_that_we_started_ourselves_knows_that_it_is_not_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, {"LOCAL_RANK": "1", "WORLD_SIZE": "2"})
    assert processes(2) == (2, 2)
    assert not is_main_process()


@pytest.mark.parametrize("rank", ["0", "5"])
def test_torchrun(monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    given(monkeypatch, TORCHRUN, RANK=rank)
    assert processes(1) == (8, 4)
    assert is_main_process() == (rank == "0")


@pytest.mark.parametrize("rank", ["0", "5"])
@pytest.mark.parametrize(("told", "local"), [("4(x2)", 4), ("8", 8)])
def test_srun(monkeypatch: pytest.MonkeyPatch, rank: str, told: str, local: int) -> None:
    given(monkeypatch, SRUN, SLURM_PROCID=rank, SLURM_STEP_TASKS_PER_NODE=told, SLURM_TASKS_PER_NODE="8")
    assert processes(1) == (8, local)
    assert is_main_process() == (rank == "0")


@pytest.mark.parametrize("told", ["5,3", "2(x3),1(x2)", "3"])
def test_different_numbers_on_the_machines_are_refused(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    given(monkeypatch, SRUN, SLURM_PROCID="0", SLURM_STEP_TASKS_PER_NODE=told)
    with pytest.raises(InputError, match="the same number on each machine"):
        processes(1)


def test_what_the_launcher_lacks_is_said_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SRUN, SLURM_PROCID="0")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(InputError, match="ntasks-per-node"):
        processes(1)


def test_a_batch_is_shared_by_all_processes_of_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SRUN, SLURM_PROCID="0", SLURM_STEP_TASKS_PER_NODE="4(x2)")
    with pytest.raises(InputError, match="which 8 devices cannot share"):
        make_fabric(TrainConfig(images=1, batch=12))


def test_convolutions_of_a_gpu_are_chosen_to_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    make_fabric(TrainConfig(images=1))
    assert torch.backends.cudnn.deterministic
