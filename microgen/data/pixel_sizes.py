"""Which pixel size a person gave for which file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from microgen.core import InputError
from microgen.core.config import read_toml

Size = float | tuple[float, ...]
"""Micrometres per pixel: one number, or one per axis in the order (y, x) or (z, y, x)."""

SIDECAR = "pixel_sizes.toml"
"""File in an input folder with a table ``[pixel_size_um]`` of ``"folder" = 0.37`` or ``"a/*.png" = 0.37``."""


@dataclass(frozen=True)
class PixelSizes:
    """Pixel sizes given by a person: for all files, by pattern, or in a sidecar file.

    Attributes
    ----------
    everywhere
        Micrometres per pixel of all files that no pattern matches.
    patterns
        Micrometres per pixel by shell pattern, matched against the end of a file's path; a pattern that names a
        folder stands for all files in it. The last pattern that matches counts.

    Examples
    --------
    >>> sizes = PixelSizes.parse(["0.5", "304-200/*=0.3698"])
    >>> sizes.of(Path("steels/304-200/a.jpg")), sizes.of(Path("steels/other/a.jpg"))
    (0.3698, 0.5)
    >>> PixelSizes.parse(["0.5,0.4,0.4"]).of(Path("volume.raw"))
    (0.5, 0.4, 0.4)
    """

    everywhere: Size | None = None
    patterns: Mapping[str, Size] = field(default_factory=dict)

    @classmethod
    def parse(cls, given: Iterable[str | float]) -> PixelSizes:
        """Read ``"0.37"`` or ``"PATTERN=0.37"``; the value may be one number per axis, ``"0.5,0.4,0.4"`` for z, y, x.

        Raises
        ------
        InputError
            If a value is not a positive number, or two values are given for all files.
        """
        everywhere: Size | None = None
        patterns: dict[str, Size] = {}
        for entry in given:
            pattern, found, text = str(entry).rpartition("=")
            if found:
                patterns[pattern] = _positive(text, pattern)
            elif everywhere is None:
                everywhere = _positive(text, "all files")
            else:
                raise InputError(
                    f"two pixel sizes for all files ({_written(everywhere)} and {text}); write PATTERN=VALUE"
                )
        return cls(everywhere, patterns)

    def of(self, path: Path) -> Size | None:
        """Pixel size given for this file, or None to look into the file itself."""
        matches = [size for pattern, size in self.patterns.items() if _matches(path, pattern)]
        if matches:
            return matches[-1]
        return self.everywhere if self.everywhere is not None else _from_sidecar(path)

    def check_used(self, paths: Iterable[Path]) -> None:
        """Refuse patterns that match none of the files: they are typing mistakes."""
        paths = list(paths)
        for pattern in self.patterns:
            if not any(_matches(path, pattern) for path in paths):
                raise InputError(f"the pixel size pattern {pattern!r} matches none of the {len(paths)} files")


def _from_sidecar(path: Path) -> Size | None:
    """Look into ``pixel_sizes.toml`` beside the file, then one and two folders above it."""
    for folder in list(path.absolute().parents)[:3]:
        sidecar = folder / SIDECAR
        if sidecar.is_file():
            relative = path.absolute().relative_to(folder)
            matches = [size for pattern, size in _sidecar(sidecar).items() if _matches(relative, pattern)]
            if matches:
                return matches[-1]
    return None


def _sidecar(path: Path) -> dict[str, Size]:
    table = read_toml(path).get("pixel_size_um")
    if isinstance(table, (int, float)):
        table = {"*": table}
    if not isinstance(table, dict):
        raise InputError(f'{path} needs a table [pixel_size_um] with lines like "304-200" = 0.3698')
    return {pattern: _positive(value, f"{path}: {pattern}") for pattern, value in table.items()}


def _matches(path: Path, pattern: str) -> bool:
    posix = PurePosixPath(path.as_posix())
    return posix.match(pattern) or any(parent.match(pattern) for parent in posix.parents)


def _positive(value: object, where: str) -> Size:
    """Read one positive number, or two or three (one per axis)."""
    parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
    try:
        numbers = tuple(float(str(part)) for part in parts)
    except ValueError:
        numbers = ()
    if not 1 <= len(numbers) <= 3 or not all(0 < number < float("inf") for number in numbers):
        raise InputError(
            f"the pixel size of {where} must be a positive number of micrometres, or one per axis, not {value!r}"
        )
    return numbers[0] if len(numbers) == 1 else numbers


def _written(size: Size) -> str:
    return ",".join(f"{number:g}" for number in (size if isinstance(size, tuple) else (size,)))
