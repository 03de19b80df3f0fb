"""``.ang`` of EDAX and of the programs that imitate it: Euler angles in radians, square and hexagonal grids."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.core.crystals import laue_group
from microgen.core.recipe import RECIPE_KEY
from microgen.io import ang_write
from microgen.io.ang_write import CODES, NAMES
from microgen.io.ebsd import Phase, crystal_of, ebsd_map, grid_text
from microgen.io.guard import check_size
from microgen.io.recording import Options, Recording
from microgen.io.table import Lattice, decode, lay_out, number, numbers, sizes_of, step_of, stored, writer_of

Array = NDArray[Any]

EXTENSIONS = (".ang",)
FLAT = True

write = ang_write.write

WHOLE = True
"""A file holds all fields of a map."""

SYMMETRIES = {code: laue for laue, code in CODES.items()}
"""Laue group by EDAX's code of symmetry; 2 and 21 are monoclinic about c and a, which :class:`Crystal` has not."""

_POINT = ("phi1", "Phi", "phi2", "x", "y")
_MEASURED = ("image_quality", "confidence_index", "sem_signal", "fit_deg", "dot_product")
_EDAX = (*_POINT, "image_quality", "confidence_index", "phase", "sem_signal", "fit_deg")
_EMSOFT = (*_POINT, "image_quality", "dot_product", "phase")
_ASTAR = (*_POINT, "correlation_index", "reliability", "phase", "reliability_percent")
_OF_PHASE = frozenset({
    "MaterialName", "Formula", "Info", "Symmetry", "PointGroupID", "LatticeConstants", "NumberFamilies", "hklFamilies",
    "ElasticConstants", "Categories",
})  # fmt: skip
_NO_FACTS = ("HEADER", "COLUMN", "Column", "NOTES", "microgen")
_TAKEN = frozenset({"mask", "orientation"})
_MARKS = {"microgen": "microgen", "EMsoft": "EMsoft", "ACOM": "ASTAR", "orix(_v.*)?": "orix", "mtex": "MTEX"}
_FRAMES = {"EDAX": "edax", "EMsoft": "edax"}  # EMsoft computes in the frame of EDAX


@dataclass(frozen=True)
class Header:
    """What the lines with ``#`` say."""

    lines: tuple[str, ...]
    values: Mapping[str, str]
    phases: Mapping[int, Phase]
    remarks: tuple[str, ...] = ()

    @property
    def writer(self) -> str:
        """Program that wrote the file, as far as it leaves traces."""
        return writer_of("\n".join(self.lines), _MARKS, "EDAX" if self.phases else "unknown")

    @property
    def frame(self) -> str:
        """Frame of the Euler angles: that of EDAX where its own program wrote, or what microgen wrote down."""
        stated = self.values.get("EulerFrame")
        return stated if stated in ("edax", "unknown") else _FRAMES.get(self.writer, "unknown")

    @property
    def hexagonal(self) -> bool:
        """True for a hexagonal grid."""
        return self.values.get("GRID", "").lower().startswith("hex")

    def number(self, key: str) -> float | None:
        """Return the number that stands under a key."""
        return number(self.values.get(key))


def read(path: Path, options: Options) -> Recording:
    """Read a map; points that EDAX marks (4 pi, confidence index -1) stay not indexed."""
    head, body = split(path.read_bytes())
    header = parse(head)
    table = numbers(body)
    check_size(path, table.size, table.nbytes, options.max_pixels)
    remarks = list(header.remarks)
    column = dict(zip(columns_of(header, table.shape[1], remarks), table.T, strict=True))
    unit = 1e-3 if header.writer == "ASTAR" else 1.0  # ASTAR counts in nanometres
    dy, dx = header.number("YSTEP"), header.number("XSTEP")
    step = (dy and dy * unit, dx and dx * unit)
    x, y = column["x"] * unit, column["y"] * unit
    if header.hexagonal:
        lattice = hexagonal(header, x, y, remarks)
        step = (step[0], step[1] and step[1] / 2)
    else:
        lattice = lay_out(x, y, _shape(header), step)
    placed = {name: v if lattice.order is None else v[lattice.order] for name, v in column.items()}
    phases, phase = _phases(header, placed.get("phase"), lattice)
    return ebsd_map(
        dict(_fields(placed)),
        phase=phase,
        orientation=np.stack([placed[a] for a in _POINT[:3]], axis=1),
        shape=lattice.shape,
        spacing=lattice.step,
        phases=phases,
        frame=header.frame,
        source=_facts(header) | ({"recipe": recipe} if (recipe := _recipe(head)) else {}),
        indexed=_solved(placed),
        sizes=sizes_of(lattice, step),
        warnings=remarks,
    )


def read_own(path: Path) -> dict[str, Any]:
    """Recipe that microgen wrote among the comments."""
    recipe = _recipe(split(path.read_bytes())[0])
    return {} if recipe is None else {RECIPE_KEY: recipe}


def split(data: bytes) -> tuple[list[str], bytes]:
    """Return the lines of the header without their ``#``, and the bytes of the table."""
    lines, start = [], 3 if data.startswith(codecs.BOM_UTF8) else 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        line = data[start:end].strip()
        if line and not line.startswith(b"#"):
            break
        lines.append(line.lstrip(b"#").strip())
        start = end + 1
    return decode(b"\n".join(lines)).split("\n"), data[start:]


def parse(lines: Sequence[str]) -> Header:
    """Read keys, phases and remarks from the lines of a header."""
    values: dict[str, str] = {}
    blocks: list[dict[str, str]] = []
    for line in lines:
        match = re.match(r"([A-Za-z][\w\-]*|Column names)(?:\s*:\s*|\s+|$)(.*)", line)
        if not match:
            continue
        key, value = match[1], match[2].strip()
        if line.startswith("Column names"):
            key, value = "COLUMN_HEADERS", line.partition(":")[2].strip()
        if key == "Phase" and value.isdecimal():
            blocks.append({"Phase": value})
        elif blocks and key in _OF_PHASE:
            blocks[-1].setdefault(key, value)
        elif key == "MaterialName":
            blocks.append({"Phase": "1", key: value})  # very old files do not number the only phase
        else:
            values.setdefault(key, value)
    remarks: list[str] = []
    phases = {int(block["Phase"]): _phase(block, remarks) for block in blocks}
    return Header(tuple(lines), values, phases, tuple(remarks))


def columns_of(header: Header, count: int, remarks: list[str]) -> list[str]:
    """Return a name for each column of the table."""
    stated = [_name(part) for part in header.values.get("COLUMN_HEADERS", "").split(",") if part.strip()]
    if len(stated) == count and set(_POINT) <= set(stated):
        names = stated
    elif count < 7:
        raise InputError(f"has {count} columns; phi1, Phi, phi2, x, y, image quality and confidence index are needed")
    else:
        if stated:
            remarks.append(f"its header names {len(stated)} columns but it has {count}; the usual names are taken")
        usual = {"EMsoft": _EMSOFT, "ASTAR": _ASTAR}.get(header.writer, _EDAX)
        names = [*usual[:count], *(f"column_{k + 1}" for k in range(len(usual), count))]
    return [name if name not in names[:k] and name not in _TAKEN else f"column_{k + 1}" for k, name in enumerate(names)]


def hexagonal(header: Header, x: Array, y: Array, remarks: list[str]) -> Lattice:
    """Lay a hexagonal grid out as bricks: every point becomes two pixels side by side, each half a step wide.

    This is nearest-neighbour interpolation onto a grid of half the step in x. It keeps every point, its neighbours
    (each brick touches the six of its point) and, away from the left and right edge, its share of the area.
    """
    odd, even, rows = (int(header.number(key) or 0) for key in ("NCOLS_ODD", "NCOLS_EVEN", "NROWS"))
    promised = (rows + 1) // 2 * odd + rows // 2 * even
    if promised != len(x) or rows < 1:
        raise InputError(
            f"promises a hexagonal grid of {rows} rows of {odd} and {even} = {promised} points but holds {len(x)}"
        )
    lengths = np.where(np.arange(rows) % 2 == 0, odd, even)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    row = np.repeat(np.arange(rows), lengths)
    dx = step_of(x[: lengths[0]]) or header.number("XSTEP") or 0.0
    dy = step_of(y) or header.number("YSTEP") or dx * np.sqrt(0.75)
    if not (np.isfinite(dx) and np.isfinite(dy) and dx > 0 and dy > 0):
        raise InputError("has a hexagonal grid without a step")
    shift = np.rint(2 * (x[starts] - x.min()) / dx)
    beside = np.abs(x - x.min() - dx * (np.arange(len(x)) - starts[row] + shift[row] / 2)) / dx
    below = np.abs(y - y.min() - dy * row) / dy
    alternating = np.isin(shift, (0, 1)).all() and (shift[1:] != shift[:-1]).all()
    if not alternating or max(beside.max(), below.max()) > 0.25:
        raise InputError("says that its grid is hexagonal, but its coordinates are not those of such a grid")
    width = 2 * int(lengths.max())
    place = (np.arange(width) - shift[:, None].astype(int)) // 2
    order = starts[:, None] + np.clip(place, 0, lengths[:, None] - 1)
    remarks.append(
        f"its hexagonal grid of {rows} rows of {odd} and {even} points, {dx:g} um apart, was resampled by nearest "
        f"neighbour: each point is two pixels side by side, on a grid of {grid_text((rows, width))}"
    )
    return Lattice((rows, width), (float(dy), float(dx) / 2), order.reshape(-1))


def _shape(header: Header) -> tuple[int, int] | None:
    rows, columns, even = (header.number(key) for key in ("NROWS", "NCOLS_ODD", "NCOLS_EVEN"))
    if even is not None and columns is not None and even != columns:
        raise InputError(f"says that its grid is square, but its rows have {columns:g} and {even:g} points")
    columns = columns or even
    return (int(rows), int(columns)) if rows and columns else None


def _phase(block: Mapping[str, str], remarks: list[str]) -> Phase:
    name = block.get("MaterialName") or block.get("Formula") or ""
    code = block.get("Symmetry", "")
    laue = SYMMETRIES.get(code) or _laue(code)
    if laue is None:
        remarks.append(f"phase {name!r} has the symmetry {code!r}, which is not known here; it has no crystal")
    lattice = [number(part) for part in block.get("LatticeConstants", "").split()[:6]]
    known = [v for v in lattice if v is not None]
    return Phase(name, crystal_of(laue, known, x_along="a"))


def _laue(point_group: str) -> str | None:
    try:
        return None if point_group in ("2", "21") else laue_group(point_group)
    except InputError:
        return None


def _name(part: str) -> str:
    """Return our name of a column, or a plain one made from what the header calls it."""
    plain = re.sub(r"\W+", "_", part.strip()).strip("_")
    return NAMES.get(plain.lower(), plain or "unnamed")


def _solved(column: Mapping[str, Array]) -> Array:
    """Points that the file does not mark as without solution."""
    solved = ~np.logical_and.reduce([np.abs(column[a] - 4 * np.pi) < 1e-2 for a in _POINT[:3]])
    if "confidence_index" in column:
        solved &= column["confidence_index"] > -1 + 1e-6
    return np.asarray(solved)


def _phases(header: Header, numbers_of: Array | None, lattice: Lattice) -> tuple[dict[int, Phase], Array]:
    """Return phases by number, and the number of each point: in maps of one phase EDAX writes 0 for it."""
    phases = dict(header.phases) or {1: Phase("")}
    if numbers_of is None:
        return phases, np.full(lattice.shape, next(iter(phases)))
    numbers_of = numbers_of if np.isfinite(numbers_of).all() else np.nan_to_num(numbers_of, posinf=0, neginf=0)
    if (numbers_of != np.rint(numbers_of)).any() or np.abs(numbers_of).max() >= 2**31:
        raise InputError("has numbers of phases that are not whole; its columns are not as expected")
    found = numbers_of.astype(np.int64)
    if len(phases) == 1 and not (found > 0).any():
        found = np.where(found == 0, next(iter(phases)), found)
    return phases, found


def _fields(column: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Columns besides orientation, phase and place: measured ones in single precision, others exactly."""
    for name, values in column.items():
        if name in _MEASURED:
            yield name, values.astype(np.float32)
        elif name not in (*_POINT, "phase"):
            yield name, stored(values)


def _recipe(lines: Sequence[str]) -> Any:
    line = next((line for line in lines if line.startswith(RECIPE_KEY + " ")), None)
    return None if line is None else json.loads(line.removeprefix(RECIPE_KEY))


def _facts(header: Header) -> dict[str, Any]:
    kept = {k: v[:200] for k, v in header.values.items() if v and not k.startswith(_NO_FACTS)}
    grid = "hexagonal" if header.hexagonal else "square"
    return {"format": "ang", "writer": header.writer, "grid": grid, "header": dict(list(kept.items())[:40])}
