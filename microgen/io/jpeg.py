"""JPEG, read only: it loses detail, so nothing is written as JPEG."""

from __future__ import annotations

from microgen.io import pillow

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif")

read = pillow.read
