"""The record of a run: ``log.jsonl`` for programs, TensorBoard events for people."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from microgen.core.files import write_bytes


class Log:
    """Appends lines of numbers, each with the images seen.

    Parameters
    ----------
    run
        Folder of the run; ``log.jsonl`` and ``events/`` are in it.
    images
        Where the run goes on: later lines, written before a crash, are dropped.
    active
        False in all processes but the first: nothing is written.
    """

    def __init__(self, run: Path, *, images: int, active: bool = True) -> None:
        self._stream: TextIO | None = None
        if active:
            from tensorboardX import SummaryWriter

            kept = [line for line in read_log(run) if line["images"] <= images]
            write_bytes(run / "log.jsonl", "".join(_line(entry) for entry in kept).encode())
            self._stream = (run / "log.jsonl").open("a", encoding="utf-8")
            self._events = SummaryWriter(str(run / "events"), purge_step=images + 1)

    def write(self, kind: str, images: int, values: Mapping[str, float]) -> None:
        """Add one line; `kind` is ``"train"``, ``"held_out"`` or ``"rollback"``."""
        if self._stream is None:
            return
        self._stream.write(_line({"kind": kind, "images": images, **values}))
        self._stream.flush()
        for name, value in values.items():
            self._events.add_scalar(f"{kind}/{name}", value, images)

    def picture(self, name: str, images: int, pixels: NDArray[np.uint8]) -> None:
        """Show a picture ``(Y, X)`` in TensorBoard."""
        if self._stream is not None:
            self._events.add_image(name, pixels, images, dataformats="HW")

    def sync(self) -> None:
        """Bring everything to the disk."""
        if self._stream is not None:
            self._events.flush()
            os.fsync(self._stream.fileno())

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._events.close()


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return the whole lines of ``log.jsonl``; a last line cut by a crash is left out."""
    path = run / "log.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, allow_nan=False) + "\n"
