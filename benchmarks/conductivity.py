"""Tortuosity of random pores against TauFactor and plain conjugate gradients, each call in a fresh process.

    python benchmarks/conductivity.py                       # a Markdown table on standard output
    python benchmarks/conductivity.py nmc-1-cal_generatedCBD_bridge.tif   # and the pores (label 0) of a volume

Memory is the growth of the resident set (VmHWM, reset before the call, minus VmRSS). Linux only.
TauFactor (``pip install --no-deps taufactor``) runs on the processor here; it is made for a GPU. Its rows are left out
where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

Region = NDArray[np.bool_]
TOOLS = ("microgen", "scipy cg, Jacobi", "taufactor", "taufactor, finer")
SIZES = (64, 96, 128)


def pores(edge: int) -> Region:
    """Blobs of about 8 voxels that fill 40 % of a cube and percolate."""
    noise = np.random.default_rng(0).normal(size=(edge,) * 3)
    field = ndimage.gaussian_filter(noise, 2, mode="wrap")
    return np.asarray(field < np.quantile(field, 0.4))


def call(tool: str, region: Region) -> Callable[[], float]:
    """Return the call to measure."""
    if tool == "microgen":
        from microgen.physics.conductivity import tortuosity

        return lambda: tortuosity(region, spacing=(1.0, 1.0, 1.0), axis=0)
    if tool.startswith("taufactor"):
        taufactor = importlib.import_module("taufactor")
        criterion = 0.01 if tool == "taufactor" else 1e-4  # the first is its default

        def solve() -> float:
            solver = taufactor.Solver(region.astype(np.uint8), device="cpu")
            return float(np.ravel(solver.solve(iter_limit=100_000, verbose=False, conv_crit=criterion))[0])

        return solve
    return lambda: plain(region)


def plain(region: Region) -> float:
    """The same balances, solved to the same difference of flux between sections by the simplest good method."""
    from microgen.physics import conduction
    from microgen.physics.conductivity import percolating

    active = percolating(region, axis=0)
    system = conduction.between_plates(region, active, (1.0, 1.0, 1.0), 0)
    matrix, right = system.matrix, system.right[0]
    inverse = 1 / matrix.diagonal()
    potential = (system.place[0] + 0.5) / region.shape[0]
    while np.abs(missing := right - matrix @ potential).sum() > 1e-4 * (system.constant[0] - right @ potential):
        step = sparse.linalg.LinearOperator(matrix.shape, matvec=lambda r: inverse * r)
        potential += sparse.linalg.cg(matrix, missing, M=step, rtol=1e-2)[0]
    flux = system.constant[0] - right @ potential
    return float(region.mean() / (flux * region.shape[0] ** 2 / region.size))


def measure(tool: str, source: str) -> dict[str, float]:
    """Time, peak memory and result of one tool; runs in its own process."""
    region = pores(int(source)) if source.isdigit() else _volume(source)
    function = call(tool, region)
    call(tool, pores(16))()  # what is compiled or imported at first use does not count
    Path("/proc/self/clear_refs").write_text("5")
    before, clock, processor = _status("VmRSS"), time.perf_counter(), time.process_time()
    found = function()
    took = {"wall": time.perf_counter() - clock, "cpu": time.process_time() - processor}
    return {**took, "mb": (_status("VmHWM") - before) / 1024, "tortuosity": found}


def _volume(path: str) -> Region:
    import tifffile

    return np.asarray(tifffile.imread(path) == 0)


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(key)))


def _run(tool: str, source: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", __file__, "--one", tool, source]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Run every case in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("volume", nargs="?")
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "SOURCE"))
    given = parser.parse_args()
    if given.one:
        warnings.simplefilter("ignore")
        print(json.dumps(measure(*given.one)))
        return
    columns = (
        "grid | tool | tortuosity | clock s | processor s | peak MB | clock ratio | processor ratio | memory ratio"
    )
    print(f"| {columns} |\n|{'---|' * 9}")
    for source in (*map(str, SIZES), *([given.volume] if given.volume else [])):
        name = f"{source}^3" if source.isdigit() else "volume"
        tools = TOOLS[: 2 if importlib.util.find_spec("taufactor") is None else None]
        found = {tool: _run(tool, source) for tool in (tools if source.isdigit() else tools[:1])}
        for tool, run in found.items():
            ratios = " | ".join(f"{run[key] / found['microgen'][key]:.1f}" for key in ("wall", "cpu", "mb"))
            values = f"{run['tortuosity']:.4f} | {run['wall']:.2f} | {run['cpu']:.2f} | {run['mb']:.0f}"
            print(f"| {name} | {tool} | {values} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
