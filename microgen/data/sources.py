"""The images that go into a data set, read and checked one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microgen.core import InputError, Microstructure
from microgen.core.files import sha256
from microgen.data.facts import Facts
from microgen.data.learnable import Kind, check
from microgen.data.meaning import Meaning, with_field
from microgen.data.pixel_sizes import PixelSizes, Size
from microgen.io import read, read_slices, scan_inputs
from microgen.io.sidecars import beside
from microgen.stats.interpret import label_values


@dataclass(eq=False)
class Reader:
    """Reads files, gives their values their meaning, and remembers the last file: memory holds one at a time.

    Attributes
    ----------
    how
        Further arguments of :func:`microgen.io.read`.
    meaning
        What the values are.
    slices
        Each path is a folder whose pictures are the slices of one volume.
    facts
        What is known of each image besides.
    values
        Values of all phases in all files, once they are known: a picture may lack a phase.
    """

    how: Mapping[str, Any] = field(default_factory=dict)
    meaning: Meaning = field(default_factory=Meaning)
    slices: bool = False
    facts: Facts = field(default_factory=Facts)
    values: Sequence[int] | None = None
    _last: tuple[Path, list[Microstructure]] | None = None

    def pages(self, path: Path, size: Size | None) -> list[Microstructure]:
        """All images of a file, or the volume of a folder of slices."""
        if self._last is None or self._last[0] != path:
            self._last = None
            meant = (self.meaning.of(m, path, values=self.values) for m in self.recorded(path, size))
            self._last = (path, [self.facts.of(m, path) for m in meant])
        return self._last[1]

    def recorded(self, path: Path, size: Size | None) -> list[Microstructure]:
        """The same with the values as recorded."""
        if not self.slices:
            return read(path, pixel_size_um=size, **self.how)
        if size is None:
            raise InputError(f"{path}: pass --pixel-size-um Z,Y,X; pictures do not know the distance of slices")
        return [read_slices(path, pixel_size_um=size, crop_bottom=self.how.get("crop_bottom"))]


@dataclass(frozen=True)
class Source:
    """One image inside a file; read again whenever it is needed.

    Attributes
    ----------
    name, file
        Name of the image, and of its file: they differ where a file has several pages.
    learned
        Field that is learned; where it follows from others it is made.
    """

    name: str
    file: str
    path: Path
    page: int
    pixel_size_um: Size | None
    reader: Reader
    learned: str

    def read(self) -> Microstructure:
        """Read the image as recorded, with what follows from it."""
        return with_field(self.reader.pages(self.path, self.pixel_size_um)[self.page], self.learned)


@dataclass(frozen=True)
class Inputs:
    """Files to read, what each is called, and what was left out.

    Attributes
    ----------
    files
        Files, or folders of slices, by name; names are paths relative to the folder that holds all of them.
    sizes
        Pixel sizes given by a person.
    reader
        How every file is read.
    stray
        Files in the folders that are no images.
    """

    files: dict[str, Path]
    sizes: PixelSizes
    reader: Reader = field(default_factory=Reader)
    stray: list[Path] = field(default_factory=list)

    @classmethod
    def find(
        cls,
        paths: Iterable[Path | str],
        *,
        pixel_size_um: Iterable[str | float],
        reader: Reader,
    ) -> Inputs:
        """Search files and folders; see :func:`microgen.io.find_inputs` for what is refused."""
        sizes = PixelSizes.parse(pixel_size_um)
        given = [Path(p) for p in paths]
        found, stray = scan_inputs(given)
        if reader.slices:
            found = _folders_of_slices(given, found)
        sizes.check_used(found)
        base = os.path.commonpath([str(path.absolute().parent) for path in found])
        names = [_printable(os.path.relpath(path.absolute(), base)) for path in found]
        if len(set(names)) < len(names):
            raise InputError("two input files have names that differ only in unprintable characters; rename one")
        stray = [path for path in stray if path.suffix != ".toml"]
        return cls(dict(zip(names, found, strict=True)), sizes, reader, stray)

    def each(
        self, wanted: str | None, *, bad: Callable[[str, InputError], None]
    ) -> Iterator[tuple[Source, Microstructure]]:
        """Yield every usable image; `bad` gets the name and error of others, and may raise.

        `wanted` names the field to learn; see :func:`microgen.data.learnable.choose`.
        """
        if self.reader.meaning.labels == "phase":
            self.reader.values = label_values(m for path in self.files.values() for m in self._recorded(path))
        kind: Kind | None = None
        for name, path in self.files.items():
            try:
                size = self.sizes.of(path)
                pages = self.reader.pages(path, size)
                for m in pages:
                    check(m, path)
                found = kind or Kind.of(pages[0], path, wanted)
                pages = [found.admit(m, path) for m in pages]
            except InputError as error:
                bad(name, error)
                continue
            kind = found
            for page, m in enumerate(pages):
                label = name if len(pages) == 1 else f"{name}#{page:04d}"
                yield Source(label, name, path, page, size, self.reader, kind.field), m

    def _recorded(self, path: Path) -> list[Microstructure]:
        """Images of a file as recorded; none of one that cannot be read, which is said when it is its turn."""
        try:
            return self.reader.recorded(path, self.sizes.of(path))
        except InputError:
            return []

    def content(self) -> list[list[Any]]:
        """Hashes of everything that is read: the images and what lies beside them, with their pixel sizes."""
        return [[name, *self._hashes(path)] for name, path in self.files.items()]

    def _hashes(self, path: Path) -> list[Any]:
        size = self.sizes.of(path)
        if self.reader.slices:
            files = [file for file in scan_inputs([path])[0] if file.parent == path]
            return [[[file.name, sha256(file)] for file in files], size]
        return [sha256(path), size, [[side.name, sha256(side)] for side in beside(path)]]


def _folders_of_slices(given: Sequence[Path], files: Sequence[Path]) -> list[Path]:
    """Folders that hold files, in their order."""
    single = next((path for path in given if path.is_file()), None)
    if single is not None:
        raise InputError(f"{single} is a file; --slices takes folders, each picture in one a slice of its volume")
    return list(dict.fromkeys(file.parent for file in files))


def _printable(path: str) -> str:
    return Path(path).as_posix().encode("utf-8", "replace").decode()
