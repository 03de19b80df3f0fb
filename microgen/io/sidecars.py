"""Text files that microscopes put beside a picture: Hitachi and JEOL ``<stem>.txt``, TESCAN ``<stem>-tif.hdr``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from microgen.io.pixel_size import PixelSize, sized, unit_um
from microgen.io.recording import Recording
from microgen.io.vendor import tescan_text

_LARGEST = 1 << 20  # bytes; real ones have a few kilobytes


@dataclass(frozen=True)
class Sidecar:
    """What a file beside a picture says."""

    sizes: tuple[PixelSize, ...] = ()
    bar: int = 0


def beside(path: Path) -> list[Path]:
    """Files beside a picture that may describe it.

    Candidates are asked for by name: listing the folder for each of ten thousand pictures would take minutes.
    """
    suffix = path.suffix.lstrip(".")
    ends = {".txt", ".TXT", ".hdr", ".HDR", *(f"-{s}.hdr" for s in (suffix, suffix.lower()))}
    if suffix.lower() == "cpr":
        ends |= {".crc", ".CRC"}  # the other half of the map
    candidates = {*(path.with_name(path.stem + end) for end in ends), path.with_name(path.name + ".json")}
    return sorted(p for p in candidates if p.is_file())


def find(path: Path, shape: tuple[int, int]) -> Sidecar:
    """Read the first file beside `path` that states a pixel size; ``Sidecar()`` where none does."""
    for candidate in beside(path):
        if candidate.suffix.lower() in (".txt", ".hdr") and candidate.stat().st_size <= _LARGEST:
            found = _parse(_decode(candidate.read_bytes()), candidate.name, shape)
            if found.sizes:
                return found
    return Sidecar()


def add(path: Path, recording: Recording) -> Recording:
    """Add what files beside a picture say; a picture that microgen wrote needs nothing more than its own header."""
    if recording.own:
        return replace(recording, sizes=(PixelSize(recording.own.spacing, "microgen", "high"),), bar=0)
    found = find(path, recording.grid)
    return replace(recording, sizes=(*recording.sizes, *found.sizes), bar=recording.bar or found.bar)


def _parse(text: str, name: str, shape: tuple[int, int]) -> Sidecar:
    if "[SemImageFile]" in text:
        return _hitachi(text, name, shape)
    if "SM_MICRON_BAR" in text:
        return _jeol(text, name, shape)
    sizes = tescan_text(text, f"TESCAN file {name}")
    return Sidecar(sizes, _bar(_numbers(text, r"^ImageStripSize\s*=\s*(\d+)"), shape))


def _hitachi(text: str, name: str, shape: tuple[int, int]) -> Sidecar:
    """Hitachi: ``PixelSize`` in nanometres, for a picture of ``DataSize`` columns and rows."""
    values = _numbers(text, r"^PixelSize\s*=\s*([-+\d.eE]+)")
    full = _numbers(text, r"^DataSize\s*=\s*(\d+)\s*x\s*(\d+)")
    um = 1e-3 * values[0] if values else None
    return _scaled(um, full, f"Hitachi file {name} PixelSize", shape, resized_only=True)


def _jeol(text: str, name: str, shape: tuple[int, int]) -> Sidecar:
    """JEOL: length of the scale bar in micrometres over its length in pixels, for ``$CM_FULL_SIZE`` columns."""
    bar = _numbers(text, r"^\$+SM_MICRON_BAR\s+([\d.]+)")
    marker = re.search(r"^\$+SM_MICRON_MARKER\s+([\d.]+)\s*(\S+)", text, re.MULTILINE)
    unit = unit_um(marker[2]) if marker else None
    um = float(marker[1]) * unit / bar[0] if marker and unit and bar and bar[0] else None
    full = _numbers(text, r"^\$+CM_FULL_SIZE\s+(\d+)\s+(\d+)")
    return _scaled(um, full, f"JEOL file {name} scale bar", shape, resized_only=False)


def _scaled(um: float | None, full: list[float], origin: str, shape: tuple[int, int], *, resized_only: bool) -> Sidecar:
    """Carry a size over from the recorded width to the width of the file, with less confidence if they differ."""
    same = len(full) < 2 or full[0] == shape[1]
    if um is None or (not same and full[0] == 0):
        return Sidecar()
    spacing = um if same else um * full[0] / shape[1]
    rows = _bar([shape[0] - full[1]], shape) if same and len(full) == 2 else 0
    return Sidecar(sized((spacing, spacing), origin, "high" if same and resized_only else "medium"), rows)


def _bar(rows: list[float], shape: tuple[int, int]) -> int:
    return int(rows[0]) if rows and 0 < rows[0] < shape[0] else 0


def _numbers(text: str, pattern: str) -> list[float]:
    match = re.search(pattern, text, re.MULTILINE)
    try:
        return [float(group) for group in match.groups()] if match else []
    except ValueError:
        return []


def _decode(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8" if _is_utf8(data) else "latin-1")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
