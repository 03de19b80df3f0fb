"""The record of a run and the line on the screen."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

import pytest

from microgen.train.feed import Feed
from microgen.train.log import Log, read_log
from microgen.train.progress import ProgressLine, line


def test_a_log_goes_on_without_the_lines_after_the_checkpoint_and_without_a_torn_one(tmp_path: Path) -> None:
    with Log(tmp_path, images=0) as log:
        for images in (10, 20, 30):
            log.write("train", images, {"loss": 1 / images})
        log.sync()
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"kind": "train", "ima')
    with Log(tmp_path, images=20) as log:
        log.write("held_out", 20, {"loss": 0.5})
    assert [(entry["kind"], entry["images"], entry["loss"]) for entry in read_log(tmp_path)] == [
        ("train", 10, 1 / 10),
        ("train", 20, 1 / 20),
        ("held_out", 20, 0.5),
    ]


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    with Log(tmp_path, images=0, active=False) as log:
        log.write("train", 10, {"loss": 1.0})
        log.sync()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    with Log(tmp_path, images=0) as log:
        log.write("train", 10, {"loss": 0.25})
    data = next((tmp_path / "events").iterdir()).read_bytes()
    found = []
    while data:  # each record: length (8), its checksum (4), event, its checksum (4)
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        data = data[16 + size :]
    assert found == [(10, "train/loss", 0.25)]


def test_plain_lines_come_now_and_then_and_messages_at_once() -> None:
    stream = io.StringIO()
    numbers = {"total": 100, "loss": 0.5, "rate": 10.0, "to_go": 9.0}
    with ProgressLine(stream, every=3600) as progress:
        progress.update(10, **numbers)
        progress.update(20, **numbers)
        progress.say("something happened")
    assert stream.getvalue().splitlines() == [line(10, **numbers), "something happened"]
    silent = ProgressLine(stream, quiet=True)
    silent.update(30, **numbers)
    silent.say("unheard")
    assert len(stream.getvalue().splitlines()) == 2


def _all_of(terminal: int) -> bytes:
    """Read what was written, which may come in pieces; Linux ends with an error."""
    found = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 100_000):
            found += piece
    return found


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal to pretend")
def test_a_terminal_shows_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    read, write = os.openpty()
    with os.fdopen(write, "w") as terminal, ProgressLine(terminal) as progress:
        for images in (10, 50, 100):
            progress.update(images, total=100, loss=0.5, rate=10.0, to_go=None)
        progress.say("a [bracketed] message")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", _all_of(read).decode())  # without colours
    os.close(read)
    assert "100 of 100 images" in shown
    assert "a [bracketed] message" in shown


def test_a_line_without_a_known_end_says_that_speed_is_measured() -> None:
    assert (
        line(8, total=None, loss=1, rate=0, to_go=None) == "training 8 images, measuring speed  0 images/s  loss 1.0000"
    )


@pytest.mark.parametrize("ahead", [0, 3])
def test_a_feed_gives_every_position_its_own_batch_whatever_the_order(ahead: int) -> None:
    made: list[int] = []

    def make(images: int) -> dict[str, int]:
        made.append(images)
        return {"images": images}

    with Feed(make, batch=5, ahead=ahead) as feed:
        assert [feed.get(n)["images"] for n in (0, 5, 10, 5, 10, 40)] == [0, 5, 10, 5, 10, 40]
    assert len(made) <= 6 * (ahead + 1)
