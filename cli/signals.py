"""SIGTERM unwinds the stack like Ctrl-C, so that temporary files are removed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from .errors import Terminated


@contextlib.contextmanager
def terminate_as_exception() -> Iterator[None]:
    """Raise :class:`Terminated` in the main thread when SIGTERM arrives."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise(number: int, frame: Any) -> None:
    raise Terminated
