"""``.cpr`` and ``.crc`` of Oxford Instruments' Channel 5 and AZtec: a header, and records of bytes beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, files
from microgen.io.ebsd import Phase, ebsd_map, grid_text
from microgen.io.oxford import listed_phase, turned_surface
from microgen.io.pixel_size import PixelSize, sized
from microgen.io.recording import Options, Recording
from microgen.io.table import Lattice, decode, lay_out, number, sizes_of

Array = NDArray[Any]
Sections = Mapping[str, Mapping[str, str]]

EXTENSIONS = (".cpr", ".crc")

FIELDS: dict[int, tuple[str, str]] = {
    1: ("x", "<f4"), 2: ("y", "<f4"), 3: ("phi1", "<f4"), 4: ("Phi", "<f4"), 5: ("phi2", "<f4"),
    6: ("mean_angular_deviation_deg", "<f4"), 7: ("band_contrast", "u1"), 8: ("band_slope", "u1"),
    9: ("field_9", "u1"), 10: ("bands", "u1"), 11: ("error", "u1"), 12: ("reliability_index", "<f4"),
}  # fmt: skip
"""Name and type of a field by its number in ``[Fields]``; before all of them each record has the phase, one byte."""

_ANGLES = ("phi1", "Phi", "phi2")
_MOST_FIELDS = 200
_LARGEST_HEADER = 1 << 20  # bytes; real ones have some kilobytes


def read(path: Path, options: Options) -> Recording:
    """Read the pair of files by the name of either; the angles are radians."""
    header, data = pair(path)
    if header.stat().st_size > _LARGEST_HEADER:
        raise InputError(f"{header} is no .cpr file: it is larger than any header")
    sections = parse(decode(header.read_bytes()))
    shape, step = _grid(sections)
    record = layout(sections)
    _check_size(data, shape, record, sections)
    table = np.fromfile(data, record)
    lattice, sizes = _lattice(table, shape, step)
    if lattice.order is not None:
        table = table[lattice.order]
    surface = sections.get("acquisitionsurface", {})
    remarks = turned_surface([number(surface.get(f"euler{k}")) for k in (1, 2, 3)])
    phases = _phases(sections, remarks)
    named = [name for name in record.names or () if name not in ("phase", "x", "y", *_ANGLES)]
    return ebsd_map(
        {name: table[name] for name in named},
        phase=table["phase"],
        orientation=np.stack([table[name] for name in _ANGLES], axis=1),
        shape=shape,
        spacing=step,
        phases=phases,
        frame="oxford",
        source={"format": "cpr", "writer": "Oxford Instruments", "grid": "square", **_facts(sections, data)},
        sizes=sizes,
        warnings=remarks,
    )


def recognises(path: Path) -> bool:
    """False for a ``.crc`` whose ``.cpr`` lies beside it: in a folder the two are one map."""
    return path.suffix.lower() == ".cpr" or _other(path, ".cpr") is None


def main_file(path: Path) -> Path:
    """Return the ``.cpr`` of a pair."""
    return path if path.suffix.lower() == ".cpr" else _other(path, ".cpr") or path


def pair(path: Path) -> tuple[Path, Path]:
    """Return the ``.cpr`` and the ``.crc`` of a map by the name of either."""
    path.open("rb").close()  # an absent file is not a file without its companion
    found = {ending: _other(path, ending) for ending in EXTENSIONS}
    header, data = (path if path.suffix.lower() == ending else found[ending] for ending in EXTENSIONS)
    if header is None:
        raise InputError(f"{path} holds bare records; its header {path.stem}.cpr is not beside it")
    if data is None:
        raise InputError(f"{path} is only a header; its data file {path.stem}.crc is not beside it")
    return header, data


def parse(text: str) -> Sections:
    """Read ``[section]`` and ``key=value`` lines; names in lower case without blanks."""
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = sections.setdefault(_plain(line[1:-1]), {})
        elif "=" in line and not line.startswith(";"):
            key, _, value = line.partition("=")
            section.setdefault(_plain(key), value.strip())
    if "fields" not in sections or "job" not in sections:
        raise InputError("is no header of a map: it has no sections [Job] and [Fields]")
    return sections


def layout(sections: Sections) -> np.dtype[Any]:
    """Return the type of a record: the phase, then the fields that the header lists."""
    fields = sections["fields"]
    count = _count(fields, "count", "[Fields]")
    if not 0 < count <= _MOST_FIELDS:
        raise InputError(f"lists {count} fields per point in [Fields]")
    windows = sections.get("edxwindows", {})
    columns: list[tuple[str, str]] = [("phase", "u1")]
    for k in range(1, count + 1):
        code = _count(fields, f"field{k}", "[Fields]")
        name, kind = FIELDS.get(code, (f"field_{code}", "<f4"))
        if code > 100 and (element := windows.get(f"window{code - 100}")):
            name = "edx_" + "".join(c if c.isalnum() else "_" for c in element.lower())[:40]
        taken = [other for other, _ in columns]
        columns.append((name if name not in taken else f"field_{k}_of_record", kind))
    if missing := [name for name in _ANGLES if name not in dict(columns)]:
        raise InputError(f"holds no orientations: {missing[0]} is not among its fields")
    return np.dtype(columns)


def _grid(sections: Sections) -> tuple[tuple[int, int], tuple[float, float]]:
    job = sections["job"]
    if "xcells" not in job or "ycells" not in job:
        raise InputError(
            f"holds {job.get('noofpoints', 'some')} points at places of their own and no grid (no xCells and yCells "
            "in [Job]); only maps are read"
        )
    shape = _count(job, "ycells", "[Job]"), _count(job, "xcells", "[Job]")
    if min(shape) < 1:
        raise InputError(f"states a grid of {grid_text(shape)} points")
    dy, dx = number(job.get("griddisty")), number(job.get("griddistx"))
    step = (dy or dx or 0.0, dx or dy or 0.0)
    if not all(0 < v < 1e5 for v in step):
        raise InputError("states no step between points (GridDistX and GridDistY in [Job])")
    return shape, step


def _check_size(data: Path, shape: tuple[int, int], record: np.dtype[Any], sections: Sections) -> None:
    """Refuse data that are not one record for each point of the grid."""
    size, points = data.stat().st_size, shape[0] * shape[1]
    if size == points * record.itemsize:
        return
    held = f"{size} bytes, {size / record.itemsize:.10g} records of {record.itemsize}"
    mode = sections.get("general", {}).get("jobmode", "RegularGrid")
    if mode.lower() not in ("regulargrid", "grid") or (
        size % record.itemsize == 0 and size < points * record.itemsize and {"x", "y"} <= set(record.names or ())
    ):
        raise InputError(
            f"is a sparse map: {data.name} has {held}, for a grid of {grid_text(shape)} = {points} points (mode "
            f"{mode}); points that are not one per place of a grid are no picture"
        )
    raise InputError(
        f"promises a grid of {grid_text(shape)} = {points} points, but {data.name} has {held}; the two files do not "
        "belong together, or one is truncated"
    )


def _lattice(table: Array, shape: tuple[int, int], step: tuple[float, float]) -> tuple[Lattice, tuple[PixelSize, ...]]:
    """Return grid and scale of the header, compared with the coordinates where the records have them."""
    if not {"x", "y"} <= set(table.dtype.names or ()):
        return Lattice(shape, step), sized(step, "file header", "high")
    lattice = lay_out(table["x"].astype(np.float64), table["y"].astype(np.float64), shape, step)
    return lattice, sizes_of(lattice, step)


def _phases(sections: Sections, remarks: list[str]) -> dict[int, Phase]:
    """Read the sections ``[Phase1]``, ``[Phase2]`` ...; lattices are in angstrom and degrees."""
    count = _count(sections.get("phases", {}), "count", "[Phases]") if "phases" in sections else 0
    found: dict[int, Phase] = {}
    for k in range(1, min(count, 255) + 1):
        section = sections.get(f"phase{k}")
        if section is None:
            remarks.append(f"its header promises {count} phases, but has no section [Phase{k}]")
            continue
        lattice = [number(section.get(key)) for key in ("a", "b", "c", "alpha", "beta", "gamma")]
        laue, space_group = (int(number(section.get(key)) or 0) for key in ("lauegroup", "spacegroup"))
        known = [v for v in lattice if v is not None]
        found[k] = listed_phase(section.get("structurename", ""), known, laue, space_group, remarks)
    return found


def _facts(sections: Sections, data: Path) -> dict[str, Any]:
    chosen = {name: dict(sections[name]) for name in ("general", "job", "acquisitionsurface") if name in sections}
    facts = {f"{name}.{k}"[:60]: v[:200] for name, section in chosen.items() for k, v in section.items() if v}
    return {"data_file": data.name, "data_sha256": files.sha256(data), "header": dict(list(facts.items())[:60])}


def _count(section: Mapping[str, str], key: str, where: str) -> int:
    text = section.get(key, "")
    if not text.isdecimal() or len(text) > 9:
        raise InputError(f"has {text!r} for {key} in {where}, which is no whole number")
    return int(text)


def _plain(name: str) -> str:
    return name.replace(" ", "").lower()


def _other(path: Path, ending: str) -> Path | None:
    """Return the file of the same name with this ending, in either case, beside a path."""
    candidates = (path.with_suffix(ending), path.with_suffix(ending.upper()))
    return next((candidate for candidate in candidates if candidate.is_file()), None)
