"""Grains of an orientation map of a million points: time and peak memory, against DefDAP.

    python benchmarks/ebsd_segmentation.py                    # microgen alone
    python benchmarks/ebsd_segmentation.py --peer PYTHON      # and DefDAP, in the interpreter that has it

Both segment one synthetic map: Voronoi grains of a cubic crystal in random orientations, noise of half a degree, and at
each point any symmetrically equivalent orientation; 5 degrees, at least 10 points a grain, one thread. Both start from
orientations in memory: quaternions for microgen, DefDAP's array of Quat objects, made beforehand. Each runs in a fresh
process; memory is the growth of the resident set during the call. Linux only.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def write_map(folder: Path, side: int, grains: int) -> None:
    """Write the map as quaternions and as Euler angles."""
    from scipy.spatial import cKDTree

    from microgen.core import Crystal
    from microgen.core.orientations import from_euler, quaternions, random_orientations, rotations, to_euler

    rng = np.random.default_rng(0)
    cells = cKDTree(rng.uniform(0, side, (grains, 2))).query(np.indices((side, side)).reshape(2, -1).T)[1]
    noise = rotations(from_euler(np.deg2rad(rng.normal(0, 0.3, (side * side, 3)))))
    operations = Crystal("m-3m").operations
    turned = rotations(random_orientations(rng, grains)[cells]) * noise * operations[rng.integers(24, size=side**2)]
    found = quaternions(turned).reshape(side, side, 4)
    np.save(folder / "quaternions.npy", found.astype(np.float32))
    np.save(folder / "euler.npy", to_euler(found).astype(np.float32))


def microgen(folder: Path) -> Callable[[], int]:
    """Return the call to measure."""
    from microgen.core import Crystal, Microstructure
    from microgen.stats.ebsd import segment_orientation

    orientation = np.load(folder / "quaternions.npy")
    fields = {"phase": np.ones(orientation.shape[:2], np.uint8), "orientation": orientation}
    m = Microstructure(fields, (1.0, 1.0), ("not indexed", "nickel"), crystals={"nickel": Crystal("m-3m")})
    return lambda: int(segment_orientation(m, threshold_deg=5.0, smallest=10).max())


def defdap(folder: Path) -> Callable[[], int]:
    """Return the call to measure."""
    crystal, ebsd = (importlib.import_module(f"defdap.{name}") for name in ("crystal", "ebsd"))
    euler = np.load(folder / "euler.npy")
    shape = euler.shape[:2]
    cell = (0.357, 0.357, 0.357, np.pi / 2, np.pi / 2, np.pi / 2)
    known = {"step_size": 1.0, "phases": [crystal.Phase("nickel", 11, 225, cell)], "phase": np.ones(shape, np.uint8)}
    known |= {"euler_angle": np.moveaxis(euler, -1, 0), "band_contrast": np.zeros(shape, np.uint8)}
    m = ebsd.Map(known, data_type="PythonDict")
    m.data.orientation  # noqa: B018 makes the quaternions

    def segment() -> int:
        m.data.generate("grain_boundaries", misori_tol=5)
        m.data.generate("grains", min_grain_size=10)
        return len(m.grains)

    return segment


def measure(tool: str, folder: Path) -> dict[str, float]:
    """Time and memory of one tool in this process."""
    call = {"microgen": microgen, "defdap": defdap}[tool](folder)
    Path("/proc/self/clear_refs").write_text("5")
    before, wall, processor = _status("VmRSS"), time.perf_counter(), time.process_time()
    grains = call()
    found = {"s": time.perf_counter() - wall, "cpu": time.process_time() - processor, "grains": grains}
    return found | {"mb": (_status("VmHWM") - before) / 1024}


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(key)))


def main() -> None:
    """Run each tool in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="interpreter that has DefDAP")
    parser.add_argument("--side", type=int, default=1000)
    parser.add_argument("--grains", type=int, default=5000)
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one[0], Path(given.one[1]))))
        return
    print("| tool | grains | clock s | processor s | peak MB | clock ratio | processor ratio | memory ratio |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write_map(Path(folder), given.side, given.grains)
        ours: dict[str, float] = {}
        for tool, python in (("microgen", sys.executable), ("defdap", given.peer)):
            if python is None:
                continue
            command = [python, "-W", "ignore", __file__, "--one", tool, folder]
            run = subprocess.run(command, check=True, capture_output=True, env=os.environ | THREADS)
            found = json.loads(run.stdout.splitlines()[-1])
            ours = ours or found
            ratios = " | ".join(f"{found[key] / ours[key]:.1f}" for key in ("s", "cpu", "mb"))
            print(
                f"| {tool} | {found['grains']} | {found['s']:.2f} | {found['cpu']:.2f} | {found['mb']:.0f} | {ratios} |"
            )


if __name__ == "__main__":
    main()
