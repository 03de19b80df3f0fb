"""What a format reader hands back: the arrays as stored, and everything the file says about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from microgen.core import Microstructure
from microgen.io.own import Own
from microgen.io.pixel_size import PixelSize

Array = NDArray[Any]

MAX_PIXELS = 2**28
"""Pixels (or voxels) that a strongly compressed file may expand to, unless the caller allows more."""


@dataclass(frozen=True)
class Options:
    """What the caller asked of a format reader.

    Attributes
    ----------
    volume
        True for one ``(Z, Y, X)`` volume, False for a stack of pictures, None for the custom of the format.
    max_pixels
        Limit for files that expand strongly, see :func:`microgen.io.guard.check_size`.
    dataset
        Path of the array inside an HDF5 file, for files that hold several.
    raw_shape, raw_dtype
        Grid ``(Y, X)`` or ``(Z, Y, X)`` and numpy type of a file of bare numbers.
    """

    volume: bool | None = None
    max_pixels: int = MAX_PIXELS
    dataset: str | None = None
    raw_shape: tuple[int, ...] | None = None
    raw_dtype: str | None = None


@dataclass(frozen=True)
class Recording:
    """Content of a file before colour, scale and data bar are settled.

    Attributes
    ----------
    pages
        Pictures ``(Y, X)`` or ``(Y, X, channels)``, or volumes ``(Z, Y, X)`` where `kind` says so.
    kind
        ``"picture"`` or ``"volume"``.
    bit_depth
        Bits per value as recorded, 12 for a 12-bit camera stored in 16.
    sizes
        Pixel sizes found, best first.
    bar
        Rows of data bar at the bottom, by metadata.
    own
        Header that microgen wrote, if it did.
    structure
        The whole Microstructure, for files that hold one. With `own` its values are ours and only the scale is
        settled. Without, it comes from another program: its ``source`` becomes part of the result's (``format``,
        ``euler_frame``, facts of the header, ``warnings``), and its scale is the first of `sizes`, or where there
        are none the ``spacing`` it has, as the file header's word.
    """

    pages: tuple[Array, ...] = ()
    kind: Literal["picture", "volume"] = "picture"
    bit_depth: int = 8
    sizes: tuple[PixelSize, ...] = ()
    bar: int = 0
    own: Own | None = None
    structure: Microstructure | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the first picture or slice."""
        page = self.pages[0]
        rows, columns = page.shape[-2:] if self.kind == "volume" else page.shape[:2]
        return rows, columns
