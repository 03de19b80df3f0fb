"""The process behind :mod:`microgen.io.sandbox`: starting it, talking with it, and giving up on it.

It is started by the first file that needs it and kept for the next ones; a thread that finds it busy starts another.
It lives as long as this process does, or until a file made it crash, hang or use too much.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io.recording import MAX_PIXELS

PATIENCE_S = 10
"""Seconds that any file gets; large ones get more, at 10 MB per second."""

MEMORY = 1 << 30
"""Bytes that the process may use for any file; large ones get four times their size more."""

WORKER = Path(__file__).with_name("sandbox_worker.py")
"""Its program."""

_BYTES_PER_S = 10_000_000
_LONGEST = 1 << 24  # bytes of one message
_START_S = 120  # loading h5py from a busy network disk
_MOST_IDLE = 2
_FORKS = hasattr(os, "fork")


class Child:
    """The process, and the conversation with it."""

    def __init__(self) -> None:
        quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        alone: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {"creationflags": 0x08000000}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={**os.environ, **quiet},
                **alone,
            )
        except OSError as error:
            raise InputError(f"the process that reads HDF5 files cannot be started: {error}") from error
        self._path, self._seconds, self._memory = Path(), 0.0, 0
        self._ready = self._late = self._midway = self._open = False

    def open(self, path: Path, size: int, max_pixels: int) -> None:
        """Let the process open a file, with limits that grow with it."""
        if not self._ready:
            self._await_start()
        self._path, self._open = path, True
        self._seconds = PATIENCE_S + size / _BYTES_PER_S
        self._memory = MEMORY + 4 * size + 24 * max(0, max_pixels - MAX_PIXELS)
        seconds = math.ceil(self._seconds) + 2 * math.ceil(8 * max_pixels / _BYTES_PER_S)
        self.ask({"path": os.path.abspath(path), "memory": self._memory, "seconds": seconds})

    @property
    def is_alive(self) -> bool:
        """False where something else has ended the process."""
        return self._process.poll() is None

    def _await_start(self) -> None:
        try:
            with self._patience(_START_S):
                self._receive()
        except InputError as error:
            python = sys.executable or "without Python's own program"
            raise InputError(f"the process that reads HDF5 files did not start ({python}); is h5py whole?") from error
        self._ready = True

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Send a question and return the answer."""
        with self._patience(self._seconds):
            self._send(question)
            message = self._receive()
        return self._checked(message)

    def fill(self, question: Mapping[str, Any], values: NDArray[Any]) -> None:
        """Ask for an array and read it into `values`."""
        room = values.reshape(-1).view(np.uint8).data
        with self._patience(self._seconds + values.nbytes / _BYTES_PER_S):
            self._send(question)
            message = about = self._receive()
            while "error" not in message and "end" not in message:
                count = message.get("bytes", 0)
                self._read_into(room[:count])
                room = room[count:]
                message = self._receive()
        self._checked(message)
        if room or (tuple(about["shape"]), about["dtype"]) != (values.shape, values.dtype.name):
            raise InputError(f"{self._path} changed while it was read")

    def close(self) -> bool:
        """Let go of the file; False where the process cannot serve another one."""
        if self._open and not self._midway:
            with contextlib.suppress(InputError):
                self.ask({"ask": "close"})
                self._open = False
        return not self._midway and not self._open

    def end(self) -> None:
        """Kill the process and all it started; it holds nothing worth saving."""
        _kill(self._process)
        self._process.wait()
        self.forget()

    def forget(self) -> None:
        """Close our ends of the pipes, and leave the process to whoever has other ends."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        if self._process.returncode is None:
            self._process.returncode = 0  # it is no child of this process, which must not wait for it

    @contextlib.contextmanager
    def _patience(self, seconds: float) -> Iterator[None]:
        """Kill the process if the block takes longer than this."""
        self._late, self._midway = False, True
        watchdog = threading.Timer(seconds, self._lose_patience)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        except (BrokenPipeError, EOFError) as error:
            raise InputError(self._obituary(seconds)) from error
        finally:
            watchdog.cancel()
        self._midway = False

    def _lose_patience(self) -> None:
        self._late = True
        _kill(self._process)

    def _obituary(self, seconds: float) -> str:
        code = self._process.wait()
        if self._late:
            how = f"came to no end within {seconds:.0f} s; the file is damaged"
        elif code in (128 + 24, 128 + 9):  # SIGXCPU, SIGKILL
            how = f"was stopped for using too much; the limit is {self._memory >> 20} MiB of memory"
        else:
            how = "crashed on it; the file is damaged"
        return f"{self._path} cannot be read: the HDF5 library {how}"

    def _send(self, message: Mapping[str, Any]) -> None:
        body = json.dumps(message).encode()
        data = memoryview(len(body).to_bytes(4, "little") + body)
        stream = self._process.stdin
        while data and stream is not None:
            data = data[stream.write(data) :]

    def _receive(self) -> dict[str, Any]:
        length = int.from_bytes(self._read(4), "little")
        if length > _LONGEST:
            raise InputError(f"{self._path} holds too many objects")
        return dict(json.loads(self._read(length)))

    def _checked(self, message: dict[str, Any]) -> dict[str, Any]:
        if "error" in message:  # the fork that had the file open has ended
            self._open = not _FORKS
            raise InputError(self._complaint(message["error"], str(message["text"])))
        return message

    def _complaint(self, kind: str, text: str) -> str:
        if kind == "memory":
            return (
                f"{self._path} cannot be read: it is damaged, or needs more than its limit of "
                f"{self._memory >> 20} MiB of memory; if you trust it pass read(..., max_pixels=2**30)"
            )
        if kind == "refused":
            return f"{self._path} {text}"
        return f"{self._path} cannot be read, it may be damaged or truncated: {text}"

    def _read(self, count: int) -> bytearray:
        data = bytearray(count)
        self._read_into(memoryview(data))
        return data

    def _read_into(self, room: memoryview) -> None:
        stream = self._process.stdout
        while room and stream is not None:
            count = stream.readinto(room)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            room = room[count:]


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


_idle: list[Child] = []
_lock = threading.Lock()


def borrow() -> Child:
    """Return a process that has no file open."""
    while True:
        with _lock:
            child = _idle.pop() if _idle else None
        if child is None:
            return Child()
        if child.is_alive:
            return child
        child.end()


def give_back(child: Child) -> None:
    """Keep a process for the next file, unless enough of them wait already."""
    with _lock:
        if len(_idle) < _MOST_IDLE:
            _idle.append(child)
            return
    child.end()


def _end_all() -> None:
    while _idle:
        _idle.pop().end()


def _forget_all() -> None:
    """A fork of this process shares the pipes of its children: it must not talk to them."""
    global _lock
    _lock = threading.Lock()
    while _idle:
        _idle.pop().forget()


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
