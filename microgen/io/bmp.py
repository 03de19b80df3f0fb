"""BMP, read only."""

from __future__ import annotations

from microgen.io import pillow

EXTENSIONS = (".bmp", ".dib")

read = pillow.read
