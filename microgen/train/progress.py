"""The one line that says how far training is: rich on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO


def clock_text(seconds: float) -> str:
    """Write a length of time for people.

    >>> clock_text(62), clock_text(3725)
    ('1:02', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class ProgressLine:
    """Shows images seen, speed, loss and time to go.

    Parameters
    ----------
    stream
        Where to write, standard error by default; silent if None is given by another process than the first.
    every
        Seconds between plain lines.
    """

    def __init__(self, stream: TextIO | None = None, *, every: float = 10.0, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._every, self._quiet = every, quiet
        self._next = 0.0
        self._live: Any = None

    def __enter__(self) -> ProgressLine:
        if not self._quiet and self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._stream), refresh_per_second=4, transient=False)
            self._live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.__exit__(*exception)

    def update(self, images: int, *, total: int | None, loss: float, rate: float, to_go: float | None) -> None:
        """Show the present numbers; `rate` in images per second, `to_go` in seconds."""
        now = time.monotonic()
        if self._quiet or (self._live is None and now < self._next):
            return
        self._next = now + self._every
        text = line(images, total=total, loss=loss, rate=rate, to_go=to_go)
        if self._live is not None:
            self._live.update(text)
        else:
            print(text, file=self._stream, flush=True)

    def say(self, message: str) -> None:
        """Print a message without breaking the line."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.console.print(message, markup=False, highlight=False)
        else:
            print(message, file=self._stream, flush=True)


def line(images: int, *, total: int | None, loss: float, rate: float, to_go: float | None) -> str:
    """Compose the line.

    >>> line(500, total=2000, loss=0.25, rate=50, to_go=30)
    'training  25 %  500 of 2000 images  50 images/s  loss 0.2500  0:30 to go'
    """
    part = f"{100 * images // total:3d} %  {images} of {total} images" if total else f"{images} images, measuring speed"
    rest = f"  {clock_text(to_go)} to go" if to_go is not None else ""
    return f"training {part}  {rate:.3g} images/s  loss {loss:.4f}{rest}"
