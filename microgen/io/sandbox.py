"""Foreign HDF5 files, read in a child process that may crash, hang or run out of memory without harm.

The HDF5 library was not made for files that nobody vouches for: damaged ones crash it, hang it, expand a megabyte to
gigabytes, or make it follow links into other files. So no such file is opened here. A child
(:mod:`microgen.io.sandbox_worker`) opens it under hard limits, and what comes back is JSON and bare numbers.

The child is started by the first file that needs it and kept for the next ones; a thread that finds it busy starts
another. Files that microgen sealed with their SHA-256 do not come here.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io.guard import check_size
from microgen.io.recording import MAX_PIXELS

Array = NDArray[Any]

PATIENCE_S = 10
"""Seconds that any file gets; large ones get more, at 10 MB per second."""

MEMORY = 1 << 30
"""Bytes that the child may use for any file; large ones get four times their size more."""

WORKER = Path(__file__).with_name("sandbox_worker.py")
"""Program of the child."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BYTES_PER_S = 10_000_000
_LONGEST = 1 << 28  # bytes of one message
_MOST_IDLE = 2
_FORKS = hasattr(os, "fork")
_NUMBERS = frozenset(
    {"bool", *(f"{k}{b}" for k in ("int", "uint") for b in (8, 16, 32, 64)), "float16", "float32", "float64"}
)


@dataclass(frozen=True)
class Entry:
    """What a file says about one of its objects.

    Attributes
    ----------
    kind
        ``"group"``, ``"data"``, ``"link"`` (which is never followed) or ``"other"``.
    attrs
        Attributes by name: texts, numbers, lists of them, or None for those of other types.
    shape, dtype
        Of a data set; the type is the name of a numpy type of numbers, ``"text"``, ``"table"`` or ``"other"``.
    outside
        True where the values lie in another file; they are never read.
    """

    kind: str
    attrs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None
    dtype: str = "other"
    outside: bool = False

    @property
    def is_numbers(self) -> bool:
        """True for a data set of numbers that the file itself holds."""
        return self.kind == "data" and self.shape is not None and self.dtype in _NUMBERS and not self.outside


class Hdf5:
    """An HDF5 file that is open in the child; made by :func:`opened`.

    Parameters
    ----------
    path
        The file.
    child
        The process that has it open.
    max_pixels
        Limit for files that expand strongly, see :func:`microgen.io.guard.check_size`.
    """

    def __init__(self, path: Path, child: _Child, max_pixels: int) -> None:
        self.path = path
        self._child = child
        self._max_pixels = max_pixels
        self._objects: dict[str, Entry] | None = None
        self._pixels = self._bytes = 0

    def root(self) -> tuple[dict[str, Any], list[str]]:
        """Attributes of the file and the names at its top: enough to tell formats apart."""
        root = self._child.ask({"ask": "root"})["root"]
        return dict(root["attrs"]), [str(name) for name in root["names"]]

    @property
    def objects(self) -> Mapping[str, Entry]:
        """Everything in the file by its path, ``"/"`` first."""
        if self._objects is None:
            found = self._child.ask({"ask": "objects"})["objects"]
            self._objects = {str(path): _entry(about) for path, about in found.items()}
        return self._objects

    def children(self, group: str) -> list[str]:
        """Names inside a group."""
        above = group.rstrip("/") + "/"
        return [
            p[len(above) :] for p in self.objects if p.startswith(above) and "/" not in p[len(above) :] and p != "/"
        ]

    def small(self, path: str, default: Any = None) -> Any:
        """Value of a small data set: a number, a text, or a list; `default` where there is none."""
        if path not in self.objects:
            return default
        return self._child.ask({"ask": "small", "path": path})["value"]

    def first(self, path: str, default: Any = None) -> Any:
        """First value of a small data set, however deep it lies in lists."""
        value = self.small(path, default)
        while isinstance(value, list):
            value = value[0] if value else default
        return value

    def text(self, path: str) -> str | None:
        """First value of a small data set of texts, None where there is none."""
        value = self.first(path)
        return value if isinstance(value, str) else None

    def number(self, path: str) -> float | None:
        """First value of a small data set of numbers, None where there is no finite one; see :func:`decimal`."""
        value = self.first(path)
        if not isinstance(value, (int, float)) or not np.isfinite(value):
            return None
        return decimal(value) if self.objects[path].dtype == "float32" else float(value)

    def attribute(self, name: str) -> Any:
        """Attribute of the file itself, None where there is none."""
        return self.objects["/"].attrs.get(name)

    def array(self, path: str) -> Array:
        """Values of a data set of numbers, all of them.

        Raises
        ------
        InputError
            If there is no such data set, if it lies in another file, or if it is too large, see `max_pixels`.
        """
        entry = self.objects.get(path)
        if entry is None or entry.kind == "group":
            raise InputError(f"has no data set {path}")
        if entry.kind == "link" or entry.outside:
            raise InputError(f"keeps {path} in another file; only files that hold their own data are read")
        if not entry.is_numbers or entry.shape is None:
            raise InputError(f"holds no numbers in {path}")
        values = self._zeros(entry.shape, np.dtype(entry.dtype))
        self._child.fill({"ask": "array", "path": path}, values)
        return values

    def _zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Make room for an array, or refuse it together with those read before."""
        pixels = math.prod(shape)
        self._pixels += pixels
        self._bytes += pixels * dtype.itemsize
        check_size(self.path, self._pixels, self._bytes, self._max_pixels)
        try:
            return np.zeros(shape, dtype)
        except (MemoryError, ValueError) as error:
            raise InputError(
                f"{self.path} needs {pixels * dtype.itemsize} bytes of memory, more than there are"
            ) from error


@contextlib.contextmanager
def opened(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Hdf5]:
    """Open a foreign HDF5 file in a child process.

    Parameters
    ----------
    max_pixels
        Limit for files that expand more than 20 times.

    Raises
    ------
    InputError
        If the file is no HDF5 file, is damaged, or if the child crashes, hangs or needs too much memory.
    """
    size = path.stat().st_size
    if not _has_signature(path, size):
        raise InputError(f"{path} is not an HDF5 file")
    child = _borrow()
    try:
        child.open(path, size, max_pixels)
        yield Hdf5(path, child, max_pixels)
    finally:
        if child.close():
            _give_back(child)
        else:
            child.end()


def _has_signature(path: Path, size: int) -> bool:
    """Look for the signature where it may be: at the start, or after a user block of 512, 1024, 2048 ... bytes."""
    at = 0
    with path.open("rb") as stream:
        while at < size:
            stream.seek(at)
            if stream.read(len(_SIGNATURE)) == _SIGNATURE:
                return True
            at = 2 * at or 512
    return False


class _Child:
    """The process, and the conversation with it."""

    def __init__(self) -> None:
        quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        alone: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {"creationflags": 0x08000000}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, **quiet},
            **alone,
        )
        self._path, self._seconds, self._memory = Path(), 0.0, 0
        self._late = self._midway = self._open = False

    def open(self, path: Path, size: int, max_pixels: int) -> None:
        """Let the process open a file, with limits that grow with it."""
        self._path, self._open = path, True
        self._seconds = PATIENCE_S + size / _BYTES_PER_S
        self._memory = MEMORY + 4 * size + 24 * max(0, max_pixels - MAX_PIXELS)
        seconds = math.ceil(self._seconds) + 2 * math.ceil(8 * max_pixels / _BYTES_PER_S)
        self.ask({"path": os.path.abspath(path), "memory": self._memory, "seconds": seconds})

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Send a question and return the answer."""
        with self._patience(self._seconds):
            self._send(question)
            message = self._receive()
        return self._checked(message)

    def fill(self, question: Mapping[str, Any], values: Array) -> None:
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
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

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
            how = f"was stopped for using too much; {self._room()}"
        else:
            how = "crashed on it; the file is damaged"
        return f"{self._path} cannot be read: the HDF5 library {how}"

    def _room(self) -> str:
        return f"the limit is {self._memory >> 20} MiB of memory"

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
            return f"{self._path} cannot be read: {self._room()}; if you trust it pass read(..., max_pixels=2**30)"
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


def decimal(value: float) -> float:
    """Return the shortest decimal number that a single-precision one stands for.

    >>> decimal(0.10000000149011612)
    0.1
    """
    return float(str(np.float32(value)))


def _entry(about: Mapping[str, Any]) -> Entry:
    shape = about.get("shape")
    return Entry(
        kind=str(about["kind"]),
        attrs=dict(about["attrs"]),
        shape=None if shape is None else tuple(int(n) for n in shape),
        dtype=str(about.get("dtype", "other")),
        outside=bool(about.get("outside", False)),
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


_idle: list[_Child] = []
_lock = threading.Lock()


def _borrow() -> _Child:
    with _lock:
        if _idle:
            return _idle.pop()
    return _Child()


def _give_back(child: _Child) -> None:
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
    _idle.clear()


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
