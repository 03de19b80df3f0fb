"""From an exception to one clear sentence and the right exit code."""

from __future__ import annotations

import contextlib
import errno
import warnings
from collections.abc import Iterator

import click

from microgen.core import MicrogenError
from microgen.train.memory import is_out_of_memory

STORAGE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM})
"""System errors that speak of the disk, not of the input."""


class Terminated(BaseException):
    """SIGTERM arrived; files in progress are cleaned up on the way out."""


def exit_code_of(error: BaseException) -> int:
    """Exit code for an exception that reached the top."""
    if isinstance(error, SystemExit):
        return int(error.code) if isinstance(error.code, int) else 1
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return 130
    if isinstance(error, Terminated):
        return 143
    if isinstance(error, MicrogenError):
        return error.exit_code
    if is_out_of_memory(error):
        return 7
    if isinstance(error, OSError):
        return 5 if error.errno in STORAGE else 3
    return 1


def report(error: BaseException) -> None:
    """Say on standard error what went wrong, in one line."""
    if isinstance(error, SystemExit):
        return
    if isinstance(error, click.ClickException):
        error.show()
        return
    click.echo(f"microgen: {' '.join(_sentence(error).split())}", err=True)


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Show warnings as one line each, without the place in the code."""

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if not issubclass(category, (DeprecationWarning, FutureWarning)):
            click.echo(f"warning: {' '.join(str(message).split())}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _sentence(error: BaseException) -> str:
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "interrupted; run the same command again to go on"
    if isinstance(error, Terminated):
        return "terminated; run the same command again to go on"
    if isinstance(error, OSError) and error.strerror and isinstance(error, MicrogenError):
        return error.strerror
    if isinstance(error, MicrogenError):
        return str(error)
    if is_out_of_memory(error):
        return "not enough memory; use a smaller --batch or a smaller size"
    if isinstance(error, OSError):
        return f"{error.filename or 'file'}: {error.strerror or error}"
    name = type(error).__name__
    return f"unexpected {name}: {error}; this is a bug in microgen, run again with --debug to see where"
