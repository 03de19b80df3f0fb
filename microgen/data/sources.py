"""The images that go into a data set, read and checked one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microgen.core import InputError, Microstructure
from microgen.data.pixel_sizes import PixelSizes, Size
from microgen.data.split import MIN_SIDE
from microgen.io import read, scan_inputs

MIN_SIDE_3D = 32


@dataclass(frozen=True)
class Source:
    """One image inside a file; read again whenever it is needed, so that memory holds one file at a time.

    Attributes
    ----------
    name, file
        Name of the image, and of its file: they differ where a file has several pages.
    how
        Further arguments of :func:`microgen.io.read`.
    """

    name: str
    file: str
    path: Path
    page: int
    pixel_size_um: Size | None
    how: Mapping[str, Any]

    def read(self) -> Microstructure:
        """Read the image as recorded."""
        return read(self.path, pixel_size_um=self.pixel_size_um, **self.how)[self.page]


@dataclass(frozen=True)
class Inputs:
    """Files to read, what each is called, and what was left out.

    Attributes
    ----------
    files
        Files by name; names are paths relative to the folder that holds all of them.
    sizes
        Pixel sizes given by a person.
    how
        Further arguments of :func:`microgen.io.read` for every file.
    stray
        Files in the folders that are no images.
    """

    files: dict[str, Path]
    sizes: PixelSizes
    how: Mapping[str, Any] = field(default_factory=dict)
    stray: list[Path] = field(default_factory=list)

    @classmethod
    def find(
        cls, paths: Iterable[Path | str], *, pixel_size_um: Iterable[str | float], how: Mapping[str, Any]
    ) -> Inputs:
        """Search files and folders; see :func:`microgen.io.find_inputs` for what is refused."""
        sizes = PixelSizes.parse(pixel_size_um)
        found, stray = scan_inputs(Path(p) for p in paths)
        sizes.check_used(found)
        base = os.path.commonpath([str(path.absolute().parent) for path in found])
        names = [_printable(os.path.relpath(path.absolute(), base)) for path in found]
        if len(set(names)) < len(names):
            raise InputError("two input files have names that differ only in unprintable characters; rename one")
        stray = [path for path in stray if path.suffix != ".toml"]
        return cls(dict(zip(names, found, strict=True)), sizes, how, stray)

    def each(self, *, bad: Callable[[str, InputError], None]) -> Iterable[tuple[Source, Microstructure]]:
        """Yield every usable image; `bad` gets the name and error of others, and may raise."""
        for name, path in self.files.items():
            try:
                size = self.sizes.of(path)
                pages = read(path, pixel_size_um=size, **self.how)
                for m in pages:
                    check(m, path)
            except InputError as error:
                bad(name, error)
                continue
            for page, m in enumerate(pages):
                label = name if len(pages) == 1 else f"{name}#{page:04d}"
                yield Source(label, name, path, page, size, self.how), m


def check(m: Microstructure, path: Path) -> None:
    """Refuse an image that nothing can be learned from."""
    smallest = MIN_SIDE if m.ndim == 2 else MIN_SIDE_3D
    if min(m.shape) < smallest:
        size = " x ".join(map(str, m.shape))
        raise InputError(f"{path} is {size} pixels; at least {smallest} along every side are needed")
    if all(values.min() == values.max() for values in m.fields.values()):
        value = next(iter(m.fields.values())).flat[0]
        raise InputError(f"{path} has the same value {value} everywhere; leave it out")


def common_field(fields: Sequence[Iterable[str]]) -> str:
    """Choose the field to learn: one that all images have, gray values first."""
    common = set.intersection(*map(set, fields))
    for name in ("intensity", "phase", *sorted(common)):
        if name in common:
            return name
    raise InputError("the images have no field in common; prepare pictures of one kind at a time")


def _printable(path: str) -> str:
    return Path(path).as_posix().encode("utf-8", "replace").decode()
