"""Turning whatever a decoder throws into one clear error, and refusing files that explode when opened."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from microgen.core import InputError, MicrogenError

EXPANSION = 20
"""Times a file may grow in memory before the pixel limit applies to it."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any failure inside into an :class:`InputError` that names the file.

    Decoders raise a dozen kinds of exception on damaged files (``KeyError``, ``ZeroDivisionError`` ...);
    a caller needs to know one. Their warnings about small irregularities are not shown.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from error
    except MicrogenError:
        raise
    except OSError as error:
        if error.errno is not None and error.strerror:
            raise InputError(f"{path} cannot be opened: {error.strerror}") from error
        raise InputError(_damaged(path, error)) from error
    except Exception as error:
        raise InputError(_damaged(path, error)) from error


def check_size(path: Path, pixels: int, nbytes: int, max_pixels: int) -> None:
    """Refuse a file that is small on disk and huge in memory.

    The limit is for files that expand more than 20 times: an uncompressed volume of any size is honest
    about what it needs, a kilobyte that claims a gigapixel is not.

    Parameters
    ----------
    pixels, nbytes
        Values and bytes in memory.
    max_pixels
        Limit for such files.
    """
    if pixels > max_pixels and nbytes > EXPANSION * path.stat().st_size:
        raise InputError(
            f"{path} would expand to {pixels} pixels, more than the limit max_pixels={max_pixels}; "
            f"if you trust the file pass read(..., max_pixels={pixels})"
        )


def _damaged(path: Path, error: Exception) -> str:
    detail = " ".join(str(error).split())[:200] or type(error).__name__
    return f"{path} cannot be read, it may be damaged or truncated: {detail}"
