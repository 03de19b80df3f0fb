"""What a person knows of each image besides its pixels: its class, or numbers such as a temperature."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from microgen.core import InputError, Microstructure
from microgen.core.files import sha256

FILE = "file"
"""Column of a table that says which image a row is about."""

CLASSES = "classes"
"""Key of ``source`` under which a data set keeps the classes of an image."""


@dataclass(frozen=True)
class Facts:
    """Classes and numbers of images, from their folders and from a table.

    Attributes
    ----------
    class_folders
        Name of the condition whose class is the folder that an image lies in.
    table
        The file that was read, None without one.
    rows
        Values by file; files are matched by the end of their path.
    numbers
        Columns in which every value is a number; the others are classes.
    """

    class_folders: str | None = None
    table: Path | None = None
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    numbers: frozenset[str] = frozenset()

    @classmethod
    def read(cls, table: Path | str | None, class_folders: str | None) -> Facts:
        """Read a CSV file with a column ``file`` and one column per condition; either may be None.

        Raises
        ------
        InputError
            If the table cannot be read, lacks the column, names a file twice or leaves a value open.

        Examples
        --------
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "samples.csv"
        >>> _ = path.write_text("file,steel,anneal_K\\na.png,304,900\\nb.png,435Q,1100\\n")
        >>> facts = Facts.read(path, None)
        >>> facts.classes_of(Path("x/b.png")), facts.numbers_of(Path("x/b.png"))
        ({'steel': '435Q'}, {'anneal_K': 1100.0})
        """
        if table is None:
            return cls(class_folders)
        path = Path(table)
        rows = _rows(path)
        columns = [name for name in next(iter(rows.values())) if name != FILE]
        if class_folders in columns:
            raise InputError(f"{path} has a column {class_folders!r} already; give the folders another name")
        numbers = frozenset(name for name in columns if all(_number(row[name]) is not None for row in rows.values()))
        return cls(class_folders, path, rows, numbers)

    def of(self, m: Microstructure, path: Path) -> Microstructure:
        """Return an image with its numbers as scalars, and its classes in ``source``."""
        classes, numbers = self.classes_of(path), self.numbers_of(path)
        source = {**m.source, CLASSES: classes} if classes else m.source
        return m.replace(scalars={**m.scalars, **numbers}, source=source)

    def classes_of(self, path: Path) -> dict[str, str]:
        """Classes of the image in a file."""
        folder = {self.class_folders: path.absolute().parent.name} if self.class_folders else {}
        return {**folder, **{name: text for name, text in self._row(path).items() if name not in self.numbers}}

    def numbers_of(self, path: Path) -> dict[str, float]:
        """Numbers of the image in a file."""
        return {name: float(text) for name, text in self._row(path).items() if name in self.numbers}

    def request(self) -> dict[str, Any]:
        """JSON-able form of what was given; empty where nothing was."""
        said = {"class_folders": self.class_folders, "table": sha256(self.table) if self.table else None}
        return {name: value for name, value in said.items() if value}

    def _row(self, path: Path) -> dict[str, str]:
        if self.table is None:
            return {}
        whole = PurePosixPath(path.absolute().as_posix())
        found = [row for file, row in self.rows.items() if whole.match(file)]
        if len(found) != 1:
            what = "no row" if not found else f"{len(found)} rows"
            raise InputError(f"{self.table} has {what} for {path}; write one row for each image, with its folder")
        return {name: text for name, text in found[0].items() if name != FILE}


def classes_of(m: Microstructure) -> Mapping[str, str]:
    """Classes that are stored with an image of a data set."""
    found: Mapping[str, str] = m.source.get(CLASSES, {})
    return found


def _rows(path: Path) -> dict[str, dict[str, str]]:
    """Rows by file, all cells filled."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the table {path} as text in UTF-8: {error}") from error
    head = text.partition("\n")[0]
    table = [row for row in csv.reader(text.splitlines(), delimiter=max(",;\t", key=head.count)) if any(row)]
    names = [name.strip() for name in table[0]] if table else []
    if FILE not in names or len(names) < 2 or len(set(names)) < len(names) or not all(names) or len(table) < 2:
        raise InputError(f"{path} must be a CSV file with a column {FILE!r} and one named column for each condition")
    rows: dict[str, dict[str, str]] = {}
    for cells in table[1:]:
        _add(rows, names, [cell.strip() for cell in cells], path)
    return rows


def _add(rows: dict[str, dict[str, str]], names: Sequence[str], cells: Sequence[str], path: Path) -> None:
    if len(cells) != len(names) or not all(cells):
        raise InputError(f"{path}: the row {','.join(cells)!r} needs a value in each of {', '.join(names)}")
    row = dict(zip(names, cells, strict=True))
    if row[FILE] in rows:
        raise InputError(f"{path} has two rows for {row[FILE]}; write one")
    rows[row[FILE]] = row


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
