"""Time and peak memory of every default descriptor on a large volume, each in a fresh process.

    python benchmarks/volume_memory.py              # 512^3, a Markdown table on standard output
    python benchmarks/volume_memory.py --edge 256 --periodic

The volume has two phases (a Gaussian random field, 40 % of phase 1, correlation length 8 voxels), made once at half
the edge and laid side by side. Memory is the peak resident set of the whole process (VmHWM), with Python, the libraries
and the volume (134 MB at 512^3) in it; time is on the clock and of the processor, intervals included. The row "all"
measures all of them in one process. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PARTS = (2, 2, 2)
PHASE = ("phase", "region", "signal")


def volume(edge: int) -> np.ndarray:
    """Two phases, 8 bit, periodic."""
    from microgen.synth import two_phase

    cell = two_phase(0, (edge // 2,) * 3, (1.0,) * 3, 0.4, 8.0)["phase"]
    return np.tile(cell, PARTS)


def measure_one(path: str, name: str, *, periodic: bool) -> dict[str, float | str]:
    """Measure one descriptor (or all) of a stored volume; runs in its own process."""
    from microgen import Microstructure
    from microgen.stats import measure

    structure = Microstructure({"phase": np.load(path)}, (1.0, 1.0, 1.0))
    wall, processor = time.perf_counter(), time.process_time()
    found = measure(structure, None if name == "all" else [name], periodic=periodic)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    value = found[name].value if name in found else None
    return {"wall": wall, "cpu": processor, "gb": _peak_kb() / 2**20, "value": "" if value is None else f"{value:.4g}"}


def _peak_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def main() -> None:
    """Run every descriptor in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge", type=int, default=512)
    parser.add_argument("--periodic", action="store_true")
    parser.add_argument("--only", action="append", metavar="NAME", help="one descriptor, or all")
    parser.add_argument("--one", nargs=2, metavar=("FILE", "NAME"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure_one(*given.one, periodic=given.periodic)))
        return
    from microgen.stats import DESCRIPTORS

    default = [n for n, d in DESCRIPTORS.items() if 3 in d.dims and not d.costly and d.needs[0] in PHASE]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.npy"
        np.save(path, volume(given.edge))
        print("| descriptor | clock s | processor s | peak GB | value |\n|---|---|---|---|---|", flush=True)
        for name in given.only or [*default, "all"]:
            command = [sys.executable, __file__, *["--periodic"][: given.periodic], "--one", str(path), name]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(run.stdout.splitlines()[-1])
            figures = f"{found['wall']:.1f} | {found['cpu']:.1f} | {found['gb']:.2f}"
            print(f"| {name} | {figures} | {found['value']} |", flush=True)


if __name__ == "__main__":
    main()
