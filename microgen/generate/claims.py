"""Claims: which process works on which seed, so that several share one folder without doing anything twice."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Any

_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_LAST = 2**62


class Claims:
    """Locks on the single bytes of one small file: byte i stands for seed i.

    The operating system gives a claim up when its process ends, however it ends. Where a file system has no locks
    everything is granted: work may then be done twice, but files are still published once.

    The file is never deleted: whoever came later would make a new one and share no locks with those who still
    hold the old one.

    Parameters
    ----------
    path
        The lock file; made where it is missing.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Claims(Path(folder) / "claims") as claims:
    ...     claims.take(17)
    True
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1

    def __enter__(self) -> Claims:
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    def take(self, seed: int) -> bool:
        """Claim a seed; False if another process has it."""
        try:
            _lock(self._handle, seed % _LAST, free=False)
        except OSError as error:
            return error.errno not in _TAKEN
        return True

    def release(self, seed: int) -> None:
        """Give a claim back; one that was never taken is no error."""
        try:
            _lock(self._handle, seed % _LAST, free=True)
        except OSError as error:
            if error.errno in _TAKEN:
                raise

    def others(self) -> bool:
        """Tell whether another process holds any claim at this moment; claims of this one are given back."""
        try:
            _lock(self._handle, 0, free=False, count=_LAST)
        except OSError as error:
            return error.errno in _TAKEN
        _lock(self._handle, 0, free=True, count=_LAST)
        return False


def _lock(handle: int, byte: int, *, free: bool, count: int = 1) -> None:
    if os.name == "nt":
        import msvcrt

        windows: Any = msvcrt
        os.lseek(handle, byte % 2**30, os.SEEK_SET)
        windows.locking(handle, windows.LK_UNLCK if free else windows.LK_NBLCK, min(count, 2**30))
        return
    import fcntl

    fcntl.lockf(handle, fcntl.LOCK_UN if free else fcntl.LOCK_EX | fcntl.LOCK_NB, count, byte)
