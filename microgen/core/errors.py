"""The errors a caller may want to catch; each knows the exit code of the command line.

::

    MicrogenError
    ├── InputError        3  what was given cannot be read or is not usable
    ├── LockedError       4  another process works on the same output
    ├── StorageError      5  the disk is full or cannot be written
    ├── DivergedError     6  training gave NaN or infinite values and could not be rescued
    └── MemoryLimitError  7  not enough memory even for the smallest step

Wrong usage of the command line (exit code 2) is click's own error.
Every message says what is wrong, where, and what to do.
"""

from __future__ import annotations


class MicrogenError(Exception):
    """Base of all errors that microgen raises on purpose."""

    exit_code = 1


class InputError(MicrogenError, ValueError):
    """An input cannot be read, or what it holds cannot be used."""

    exit_code = 3


class LockedError(MicrogenError):
    """Another process works on the same output."""

    exit_code = 4


class StorageError(MicrogenError, OSError):
    """An output cannot be written."""

    exit_code = 5


class DivergedError(MicrogenError, ArithmeticError):
    """Training left the finite numbers and could not be brought back."""

    exit_code = 6


class MemoryLimitError(MicrogenError, MemoryError):
    """Not enough memory, even for the smallest step."""

    exit_code = 7
