"""``.ctf`` (Channel Text File) of Oxford Instruments and of the programs that imitate it: Euler angles in degrees."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError
from microgen.io import ctf_write
from microgen.io.ebsd import Phase, ebsd_map
from microgen.io.guard import check_size
from microgen.io.oxford import listed_phase, turned_surface
from microgen.io.recording import Options, Recording
from microgen.io.table import decode, lay_out, number, numbers, sizes_of, stored, writer_of

Array = NDArray[Any]

EXTENSIONS = (".ctf",)
FLAT = True
WHOLE, HOLDS = True, ctf_write.HELD
"""A file holds several fields of a map, these."""

write = ctf_write.write

NAMES = {
    "phase": "phase", "x": "x", "y": "y", "bands": "bands", "error": "error", "euler1": "phi1", "euler2": "Phi",
    "euler3": "phi2", "mad": "mean_angular_deviation_deg", "bc": "band_contrast", "bs": "band_slope",
}  # fmt: skip
"""Our name of a column by the name in the file."""

_NEEDED = ("phase", "phi1", "Phi", "phi2")
_POINT = ("phase", "x", "y", "phi1", "Phi", "phi2")
_TAKEN = frozenset({"mask", "orientation"})
_LONGEST_HEADER = 1 << 20  # bytes; real ones have a kilobyte
_MARKS = {"microgen": "microgen", "EMsoft": "EMsoft", "ACOM": "ASTAR", "mtex": "MTEX", "bruker|esprit": "Bruker"}
_FEW = 100  # points, below which a map may well have small angles only


@dataclass(frozen=True)
class Header:
    """What the lines above the table say."""

    values: Mapping[str, str]
    phases: Mapping[int, Phase]
    columns: tuple[str, ...]
    text: str
    remarks: tuple[str, ...] = ()

    @property
    def writer(self) -> str:
        """Program that wrote the file, as far as it leaves traces."""
        return writer_of(self.text, _MARKS, "Oxford Instruments")

    @property
    def frame(self) -> str:
        """Frame of the Euler angles: that of Oxford, or what microgen wrote down."""
        if self.writer == "microgen":
            return "oxford" if "Euler frame oxford" in self.text else "unknown"
        return {"Oxford Instruments": "oxford", "Bruker": "bruker"}.get(self.writer, "unknown")

    def number(self, key: str) -> float | None:
        """Return the number that stands under a key."""
        return number(self.values.get(key))


def read(path: Path, options: Options) -> Recording:
    """Read a map; phase 0 is not indexed."""
    header, body = parse(path.read_bytes())
    table = numbers(body)
    check_size(path, table.size, table.nbytes, options.max_pixels)
    column = dict(zip(_named(header, table.shape[1]), table.T, strict=True))
    step, shape = (header.number("YStep"), header.number("XStep")), _shape(header)
    x, y = _coordinates(column, shape, step)
    lattice = lay_out(x, y, shape, step)
    placed = {name: v if lattice.order is None else v[lattice.order] for name, v in column.items()}
    phase = _whole_phase(placed["phase"])
    degrees = np.stack([placed[a] for a in ("phi1", "Phi", "phi2")], axis=1)
    surface = [header.number(key) for key in ("AcqE1", "AcqE2", "AcqE3")]
    remarks = [*header.remarks, *suspicions(degrees[phase > 0]), *turned_surface(surface)]
    return ebsd_map(
        dict(_fields(placed)),
        phase=phase,
        orientation=np.deg2rad(degrees),
        shape=lattice.shape,
        spacing=lattice.step,
        phases=header.phases,
        frame=header.frame,
        source=_facts(header),
        sizes=sizes_of(lattice, step),
        warnings=remarks,
    )


def parse(data: bytes) -> tuple[Header, bytes]:
    """Return the header, and the bytes of the table below its line of column names."""
    match = re.search(rb"^[ \t]*Phase[ \t]+X[ \t]+Y[ \t].*$", data[:_LONGEST_HEADER], re.MULTILINE | re.IGNORECASE)
    if not match:
        raise InputError("has no line of column names (Phase, X, Y, ...): it is no Channel Text File")
    text = decode(data[: match.start()])
    lines = [line.strip("\r\n") for line in text.split("\n")]
    if not lines[0].lower().startswith("channel text file"):
        raise InputError("does not begin with 'Channel Text File'")
    values: dict[str, str] = {}
    remarks: list[str] = []
    phases: dict[int, Phase] = {}
    for place, line in enumerate(lines):
        parts = [part.strip() for part in line.split("\t")]
        if parts[0] == "Phases":
            phases = _phases(lines[place + 1 :], parts, remarks)
            break
        # the line of the microscope holds several keys: "... Mag 800 Coverage 94.1 ..."
        values |= {k: v for k, v in zip(parts[0::2], parts[1::2], strict=False) if k and len(parts) == 2}
        if parts[0].startswith("Euler angles refer"):
            values |= dict(zip(parts[1::2], parts[2::2], strict=False))
    columns = tuple(decode(match[0]).split())
    return Header(values, phases, columns, text, tuple(remarks)), data[match.end() :]


def suspicions(degrees: Array) -> list[str]:
    """Return a warning where angles in degrees look like radians; degrees are what such a file holds."""
    if len(degrees) < _FEW or not np.isfinite(degrees).all() or np.abs(degrees).max() > 2 * np.pi + 1e-3:
        return []
    return [
        f"none of its Euler angles is above {np.abs(degrees).max():.3g} degrees; they look like radians, but are "
        "taken as degrees, which this format has"
    ]


def _phases(lines: Sequence[str], title: Sequence[str], remarks: list[str]) -> dict[int, Phase]:
    """Read lines of ``a;b;c <tab> alpha;beta;gamma <tab> name <tab> Laue group <tab> space group ...``."""
    count = int(number(title[1] if len(title) > 1 else None) or 0)
    listed = [line for line in lines if line.strip()]
    if count != len(listed):
        remarks.append(f"its header promises {count} phases but lists {len(listed)}")
    phases = {}
    for k, line in enumerate(listed, 1):
        parts = [part.strip() for part in line.split("\t")] + [""] * 5
        lattice = [number(part) for part in f"{parts[0]};{parts[1]}".split(";")]
        laue, space_group = (int(number(part) or 0) for part in parts[3:5])
        known = [v for v in lattice if v is not None]
        phases[k] = listed_phase(parts[2], known, laue, space_group, remarks)
    return phases


def _named(header: Header, count: int) -> list[str]:
    """Return a name for each column of the table."""
    if len(header.columns) != count:
        raise InputError(f"names {len(header.columns)} columns but has {count}")
    names = [NAMES.get(c.lower(), re.sub(r"\W+", "_", c.lower()).strip("_")) for c in header.columns]
    if missing := [name for name in _NEEDED if name not in names]:
        raise InputError(f"has no column of {missing[0]}")
    return [n if n and n not in (*names[:k], *_TAKEN) else f"column_{k + 1}" for k, n in enumerate(names)]


def _shape(header: Header) -> tuple[int, int] | None:
    rows, columns = header.number("YCells"), header.number("XCells")
    return (int(rows), int(columns)) if rows and columns else None


def _coordinates(
    column: Mapping[str, Array], shape: tuple[int, int] | None, step: tuple[float | None, float | None]
) -> tuple[Array, Array]:
    """Return x and y; where all are zero, as in some exports, those of the grid in the header."""
    x, y = column["x"], column["y"]
    written = bool(np.any(x != x[0]) or np.any(y != y[0]))
    if written or len(x) == 1 or shape is None or shape[0] * shape[1] != len(x) or not (step[0] and step[1]):
        return x, y
    rows, columns = np.divmod(np.arange(len(x)), shape[1])
    return columns * step[1], rows * step[0]


def _whole_phase(values: Array) -> Array:
    if not np.isfinite(values).all() or (values != np.rint(values)).any() or np.abs(values).max() >= 2**31:
        raise InputError("has numbers of phases that are not whole; its columns are not as expected")
    return np.asarray(values, np.int64)


def _fields(column: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Columns besides orientation, phase and place: deviations in single precision, others exactly."""
    for name, values in column.items():
        if name == "mean_angular_deviation_deg":
            yield name, values.astype(np.float32)
        elif name not in _POINT:
            yield name, stored(values)


def _facts(header: Header) -> dict[str, Any]:
    facts = {k[:60]: v[:200] for k, v in header.values.items() if v}
    return {"format": "ctf", "writer": header.writer, "grid": "square", "header": dict(list(facts.items())[:40])}
