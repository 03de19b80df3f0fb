"""Stages of a long command, remembered so that the same command given again skips those that are done."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from microgen.core.files import write_json

from .steps import content_hash


class Stages:
    """Runs stages one after the other and remembers in `state` which are done.

    A stage is done when its settings and the content of what it reads are as they were, and what it writes is
    there. After a stage that ran, later ones see new inputs and decide for themselves.

    Parameters
    ----------
    state
        JSON file, written whole after every stage.
    say
        Receives one line per stage.
    """

    def __init__(self, state: Path, say: Callable[[str], None]) -> None:
        self.state, self.say = state, say
        self.done: dict[str, Any] = _read(state)
        self.seconds: dict[str, float] = {}

    def do(
        self,
        name: str,
        work: Callable[[], Mapping[str, Any]],
        *,
        settings: Mapping[str, Any],
        reads: Iterable[Path],
        writes: Iterable[Path],
    ) -> dict[str, Any]:
        """Run `work` unless it is done already, and return its result (JSON-able) either way."""
        reads, writes = list(reads), list(writes)
        before = self.done.get(name)
        key = _key(settings, reads, writes)
        if before and before["key"] == key and all(path.exists() for path in writes):
            self.say(f"{name}: done already")
            result: dict[str, Any] = before["result"]
            return result
        self.say(f"{name} ...")
        begin = time.monotonic()
        result = json.loads(json.dumps(dict(work())))
        self.seconds[name] = round(time.monotonic() - begin, 1)
        self.done[name] = {"key": key, "result": result}
        write_json(self.state, self.done)
        return result


def _key(settings: Mapping[str, Any], reads: Iterable[Path], writes: Iterable[Path]) -> str:
    parts = [dict(settings), [content_hash(path) for path in reads], [path.name for path in writes]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        done = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    good = isinstance(done, dict) and all(isinstance(v, dict) and {"key", "result"} <= set(v) for v in done.values())
    return done if good else {}
