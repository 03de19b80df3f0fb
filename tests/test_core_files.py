"""Files that appear whole, also on file systems that can do less; and locks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from microgen.core import LockedError, StorageError, files


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("number", [None, errno.EPERM, errno.ENOTSUP])
def test_of_several_writers_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None) -> None:
    """With hard links, and where the file system has none."""

    def refuse(*paths: Path) -> None:
        raise OSError(number, "no hard links here")

    if number is not None:
        monkeypatch.setattr(os, "link", refuse)
    assert files.write_bytes(tmp_path / "a", b"first", exclusive=True)
    assert not files.write_bytes(tmp_path / "a", b"second", exclusive=True)
    assert (tmp_path / "a").read_bytes() == b"first"
    assert names(tmp_path) == ["a"]


def test_a_name_that_was_won_is_given_back_on_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    def fail(*paths: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(StorageError, match="no space left"):
        files.write_bytes(tmp_path / "a", b"first", exclusive=True)
    assert names(tmp_path) == []


def test_other_failures_to_link_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*paths: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StorageError, match="cannot write"):
        files.write_bytes(tmp_path / "a", b"first", exclusive=True)
    assert names(tmp_path) == []


def test_a_held_lock_names_its_owner(tmp_path: Path) -> None:
    held = pytest.raises(LockedError, match=f"process {os.getpid()}")
    with files.lock(tmp_path / "lock"), held, files.lock(tmp_path / "lock"):
        raise AssertionError
    with files.lock(tmp_path / "lock"):
        pass


def test_a_disk_without_locks_is_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(StorageError, match="cannot lock"), files.lock(tmp_path / "lock"):
        raise AssertionError
