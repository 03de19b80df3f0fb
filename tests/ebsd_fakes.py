"""EBSD maps for tests, as structures and as texts of other programs, and mutations of their files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microgen.core import Crystal, Microstructure
from microgen.core.orientations import random_orientations
from microgen.io import read

NICKEL = Crystal("m-3m", (0.352, 0.352, 0.352, 90, 90, 90))
TITANIUM = Crystal("6/mmm", (0.295, 0.295, 0.4686, 90, 90, 120))

ANG_HEADER = """# HEADER: Start
# TEM_PIXperUM          1.000000
# x-star                0.5
# WorkingDistance       15.2
#
# Phase 1
# MaterialName  \tNickel
# Formula     \tNi
# Info\t\t
# Symmetry              43
# PointGroupID          131
# LatticeConstants      3.520 3.520 3.520  90.000  90.000  90.000
# NumberFamilies        1
# hklFamilies   \t 1 -1 -1 1 11.936152 1
# Phase 2
# MaterialName  \tTitanium (Alpha)
# Formula     \tTi
# Symmetry              62
# LatticeConstants      2.950 2.950 4.686  90.000  90.000 120.000
# GRID: {grid}
# XSTEP: {dx}
# YSTEP: {dy}
# NCOLS_ODD: {odd}
# NCOLS_EVEN: {even}
# NROWS: {rows}
#
# OPERATOR: \tsomebody
# SCANID: \t
# HEADER: End
"""

CTF_HEADER = """Channel Text File
Prj\tmap
Author\tAZtec
JobMode\tGrid
XCells\t{columns}
YCells\t{rows}
XStep\t{dx}
YStep\t{dy}
AcqE1\t0
AcqE2\t0
AcqE3\t0
Euler angles refer to Sample Coordinate system (CS0)!\tMag\t800\tCoverage\t94\tDevice\t1\tKV\t20\tTiltAngle\t70
Phases\t2
3.52;3.52;3.52\t90;90;90\tNickel\t11\t225\t\t\tsomebody
2.95;2.95;4.686\t90;90;120\tTi\t9\t194\t\t\tsomebody
Phase\tX\tY\tBands\tError\tEuler1\tEuler2\tEuler3\tMAD\tBC\tBS
"""


def ebsd_map(shape: tuple[int, int] = (9, 12), *, frame: str = "edax", seed: int = 0) -> Microstructure:
    """Two phases of random orientations, a tenth of the points not indexed."""
    rng = np.random.default_rng(seed)
    phase = rng.integers(1, 3, shape).astype(np.uint8)
    phase[rng.random(shape) < 0.1] = 0
    orientation = random_orientations(rng, phase.size).reshape(*shape, 4).astype(np.float32)
    orientation[phase == 0] = (1, 0, 0, 0)
    quality = np.where(phase > 0, rng.random(shape) * 1000, 0).astype(np.float32)
    confidence = np.where(phase > 0, rng.random(shape), -1).astype(np.float32)
    fields = {"phase": phase, "mask": (phase > 0).astype(np.uint8), "orientation": orientation}
    fields |= {"image_quality": quality, "confidence_index": confidence}
    crystals = {"Nickel": NICKEL, "Titanium (Alpha)": TITANIUM}
    names = ("not indexed", *crystals)
    return Microstructure(fields, (0.4, 0.3), names, source={"euler_frame": frame}, crystals=crystals)


def ang_rows(rows: int, columns: int, *, dx: float = 0.5, dy: float = 0.5) -> list[str]:
    """Lines of a square map in eight columns; each has its own angles and quality."""
    lines = []
    for k in range(rows * columns):
        y, x = divmod(k, columns)
        lines.append(
            f"{0.01 * k % 6:9.5f} {0.5:9.5f} {1.5:9.5f} {x * dx:12.5f} {y * dy:12.5f} {k}.5 0.{k % 9 + 1} {1 + k % 2}"
        )
    return lines


def ang_text(rows: Sequence[str], shape: tuple[int, int], *, dx: float = 0.5, dy: float = 0.5) -> str:
    """A whole ``.ang``."""
    header = ANG_HEADER.format(grid="SqrGrid", dx=dx, dy=dy, odd=shape[1], even=shape[1], rows=shape[0])
    return header + "\n".join(rows) + "\n"


def hexagonal_text(rows: int = 5, odd: int = 6, even: int = 5, *, step: float = 1.0) -> str:
    """A hexagonal ``.ang`` whose image quality counts the points."""
    lines, count = [], 0
    dy = step * np.sqrt(0.75)
    for row in range(rows):
        for k in range(odd if row % 2 == 0 else even):
            x = step * (k + 0.5 * (row % 2))
            lines.append(f"{0.1:9.5f} {0.2:9.5f} {0.3:9.5f} {x:12.5f} {row * dy:12.5f} {count}.0 0.9 1 7 1.25")
            count += 1
    header = ANG_HEADER.format(grid="HexGrid", dx=step, dy=f"{dy:.6f}", odd=odd, even=even, rows=rows)
    return header + "\n".join(lines) + "\n"


def ctf_text(shape: tuple[int, int] = (4, 5), *, dx: float = 0.12, dy: float = 0.12) -> str:
    """A ``.ctf`` with phases 0, 1 and 2 in turn."""
    lines = []
    for k in range(shape[0] * shape[1]):
        y, x = divmod(k, shape[1])
        lines.append(
            f"{k % 3}\t{x * dx:.4f}\t{y * dy:.4f}\t{k % 8}\t0\t{10.0 + k}\t42.65\t87.222\t0.{k % 9}344\t{k + 50}\t300"
        )
    return CTF_HEADER.format(columns=shape[1], rows=shape[0], dx=dx, dy=dy) + "\n".join(lines) + "\n"


def one(path: Path, text: str | None = None, **how: Any) -> Microstructure:
    """Read the only map of a file, which gets this text first."""
    if text is not None:
        path.write_text(text, encoding="utf-8", newline="")
    (found,) = read(path, **how)
    return found


def same(a: Microstructure, b: Microstructure) -> None:
    """Every field exactly, orientations to 1e-6."""
    assert set(a.fields) == set(b.fields)
    for name in a.fields:
        if name == "orientation":
            np.testing.assert_allclose(b[name], a[name], atol=1e-6)
        else:
            np.testing.assert_array_equal(b[name], a[name], err_msg=name)
            assert b[name].dtype == a[name].dtype, name


def mutant(data: bytes, rng: random.Random) -> bytes:
    """Change a few bytes, numbers, lines or whole blocks of a file."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        data = rng.choice(_CHANGES)(data, rng) or b"#"
    return data


def _bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 3, 10])):
        changed[rng.randrange(len(changed))] = rng.choice([rng.randrange(256), 0, 9, 10, 32, 45, 255])
    return bytes(changed)


def _number(data: bytes, rng: random.Random) -> bytes:
    """Put a strange number in place of a word."""
    at = rng.randrange(len(data))
    strange = [
        b"-1",
        b"0",
        b"1e308",
        b"nan",
        b"inf",
        b"99999999999999999999",
        b"4294967296",
        b"0x10",
        b"1_0",
        b"",
        b"-0.5",
    ]
    end = at + rng.randrange(1, 8)
    return data[:at] + rng.choice(strange) + data[end:]


def _lines(data: bytes, rng: random.Random) -> bytes:
    """Delete, repeat or swap lines."""
    lines = data.split(b"\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(3)
    if kind == 0:
        del lines[a]
    elif kind == 1:
        lines.insert(b, lines[a])
    else:
        lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


def _block(data: bytes, rng: random.Random) -> bytes:
    """Cut the end off, remove a block, or repeat one."""
    a, b = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    return rng.choice([data[:b], data[:a] + data[b:], data[:b] + data[a:]])


_CHANGES = (_bytes, _number, _lines, _block)
