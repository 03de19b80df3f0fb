"""What doctor finds, and that it says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microgen.cli import checks, main
from microgen.cli.checks import Check


def doctor(*arguments: str) -> int:
    with pytest.raises(SystemExit) as leave:
        main(["doctor", "--fast", *arguments])
    assert isinstance(leave.value.code, int)
    return leave.value.code


def test_healthy_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = doctor("--folder", str(tmp_path))
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert code == 0, err
    assert result["ok"] is True
    assert {"python", "packages", "torch", "device", "codecs", "pymks", "writing", "disk"} == set(result["checks"])
    assert list(tmp_path.iterdir()) == []


def test_folder_that_does_not_exist_yet_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "CHECKS", (checks.python,))
    assert doctor("--folder", str(tmp_path / "later" / "on")) == 0
    assert json.loads(capsys.readouterr().out)["checks"]["writing"]["found"] == str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "CHECKS", (checks.python,))
    monkeypatch.setattr(checks, "FREE_GB", 1e9)
    assert doctor("--folder", str(tmp_path)) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["checks"]["disk"]["advice"].startswith("free at least")
    assert "FAIL disk" in err


def test_folder_that_cannot_be_written_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from microgen.core import StorageError

    def refuse(*_: object) -> None:
        raise StorageError(errno.EROFS, "cannot write here: Read-only file system")

    monkeypatch.setattr(checks, "write_bytes", refuse)
    found = checks.writable(tmp_path)
    assert (found.ok, found.found) == (False, "cannot write here: Read-only file system")


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "NEEDED", ("numpy", "no-such-distribution"))
    found = checks.packages()
    assert not found.ok
    assert "install no-such-distribution" in found.line()


def test_line_gives_advice_only_where_it_is_needed() -> None:
    assert Check("a", True, "fine", "do this").line() == "ok   a: fine"
    assert Check("a", False, "broken", "do this").line() == "FAIL a: broken; do this"


def test_advice_of_threads_comes_only_where_one_is_faster() -> None:
    from microgen.cli.speed import describe

    found = {"train_image_ms": 90.0, "sample_image_ms": 200.0, "default_training_minutes": 120.0}
    assert "OMP_NUM_THREADS=1" in describe({**found, "train_image_ms_one_thread": 30.0})
    assert "OMP_NUM_THREADS" not in describe({**found, "train_image_ms_one_thread": 150.0})
    assert "OMP_NUM_THREADS" not in describe({**found, "train_image_ms_one_thread": None})


def test_one_thread_is_given_back_whatever_happens() -> None:
    import torch

    from microgen.models.batches import single_threaded

    def stop() -> None:
        assert torch.get_num_threads() == 1
        raise RuntimeError("stop")

    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="stop"), single_threaded():
        stop()
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_speed_is_measured_and_adds_up() -> None:
    from microgen.cli.speed import speed
    from microgen.data.plan import TrainPlan

    found = speed()
    assert found["train_image_ms"] > 0
    assert (found["train_image_ms_one_thread"] is None) == (found["threads"] == 1 or found["device"] != "cpu")
    minutes = TrainPlan().images * found["train_image_ms"] / 60_000
    assert found["default_training_minutes"] == pytest.approx(minutes, abs=0.06)
