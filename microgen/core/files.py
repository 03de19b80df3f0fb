"""Files that are written whole or not at all, their hashes, and locks."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from microgen.core.errors import LockedError, StorageError

_HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


def write_whole(path: Path | str, write: Callable[[Path], None], *, exclusive: bool = False) -> bool:
    """Let `write` fill a temporary file beside `path`, then put it in place in one step.

    The data reach the disk before the name does, so a crash at any moment leaves the old file, or the new
    one, or nothing: never a part.

    Parameters
    ----------
    exclusive
        Keep a file that is already there (several writers may race: exactly one wins).

    Returns
    -------
    bool
        False where `exclusive` found the file already there, else True.

    Raises
    ------
    StorageError
        If the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary, missing = None, list[Path]()
    try:
        missing = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        placed = _place(temporary, path, exclusive=exclusive)
        _sync(path.parent)
        return placed
    except OSError as error:
        if isinstance(error, StorageError) or error.errno is None:
            raise
        raise StorageError(error.errno, _storage_message(path, error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        _remove_empty(missing)


def write_bytes(path: Path | str, data: bytes, *, exclusive: bool = False) -> bool:
    """Write bytes whole or not at all; see :func:`write_whole`."""
    return write_whole(path, lambda temporary: _fill(temporary, data), exclusive=exclusive)


def write_json(path: Path | str, value: Any) -> None:
    """Write a JSON file whole or not at all, keys in order given."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def lock(path: Path | str) -> Iterator[None]:
    """Hold an exclusive lock file; the operating system frees it even if the process is killed.

    Raises
    ------
    LockedError
        If another process holds it; the message names its process number.
    StorageError
        If the file system cannot lock files.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        try:
            _lock(stream)
        except OSError as error:
            if error.errno not in _HELD:
                raise StorageError(error.errno, f"cannot lock {path}: {error.strerror}; use another disk") from error
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            raise LockedError(f"{path.parent} is in use by process {owner}; wait for it or stop it first") from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
        stream.truncate(0)


def _lock(stream: Any) -> None:
    if os.name == "nt":
        import msvcrt

        stream.seek(1 << 30)
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        return
    import fcntl

    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _place(temporary: Path, path: Path, *, exclusive: bool) -> bool:
    if not exclusive:
        temporary.replace(path)
        return True
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        return _place_claimed(temporary, path)
    return True


def _place_claimed(temporary: Path, path: Path) -> bool:
    """Win the name with an empty file, then replace that: for file systems without hard links."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    try:
        temporary.replace(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders that were made for a file that was not written then, innermost first."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def _fill(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows has no way to flush a folder
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _storage_message(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left to write {path}; free some space and run the same command again"
    return f"cannot write {path}: {error.strerror}"
