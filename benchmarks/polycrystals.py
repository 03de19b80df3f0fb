"""Polycrystals: sizes asked for against sizes made, and the time against DAMASK's tessellations.

    python benchmarks/polycrystals.py                                   # our figures
    MICROGEN_ORACLE_PYTHON=... python benchmarks/polycrystals.py        # and DAMASK's, in its own interpreter

Time is the best of three calls after a first one, on the clock and of the processor. DAMASK is given sites and weights
and only assigns grid points, so it is compared with our assignment (``cells``) on the same sites; finding the sites and
weights that give the sizes is microgen's alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

CASES = [((1024, 1024), 10_000), ((128, 128, 128), 5_000), ((512, 512), 1_000), ((128, 128, 128), 1_000)]
SIZES = [("lognormal", 0.35), ("gamma", 0.35), ("normal", 0.2), ("lognormal", 0.0)]

DAMASK = """
import json, sys, time
import numpy as np
import damask
shape, count = json.loads(sys.argv[1])
random = np.random.default_rng(0)
cells = np.array(shape if len(shape) == 3 else [1, *shape])
sites = random.uniform(0, 1, (count, 3)) * cells
weights = random.uniform(0, 1, count) * (cells.prod() / count) ** (2 / len(shape)) / 4
def voronoi(): damask.GeomGrid.from_Voronoi_tessellation(cells, cells.astype(float), sites)
def laguerre(): damask.GeomGrid.from_Laguerre_tessellation(cells, cells.astype(float), sites, weights)
found = {}
for name, call in (("damask Voronoi", voronoi), ("damask Laguerre", laguerre)):
    call()
    runs = []
    for _ in range(3):
        start = time.perf_counter(), time.process_time()
        call()
        runs.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    found[name] = [min(column) for column in zip(*runs)]
print(json.dumps(found))
"""


def best(call: Callable[[], Any]) -> tuple[float, float]:
    """Clock and processor seconds, each the least of three calls after a first one."""
    call()
    runs = []
    for _ in range(3):
        start = time.perf_counter(), time.process_time()
        call()
        runs.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    clock, processor = zip(*runs, strict=True)
    return min(clock), min(processor)


def assignment(shape: tuple[int, ...], count: int) -> Callable[[], Any]:
    """Assign the points of a periodic grid to given sites and weights."""
    from microgen.synth.power import Grid, cells

    random = np.random.default_rng(0)
    sites = random.uniform(0, 1, (count, len(shape))) * shape
    weights = random.uniform(0, 1, count) * (np.prod(shape) / count) ** (2 / len(shape)) / 4
    grid = Grid(shape, np.ones(len(shape)), np.eye(len(shape)), periodic=True)
    return lambda: cells(sites, weights, grid)


def sized(shape: tuple[int, ...], count: int, kind: str, spread: float) -> tuple[str, Any, Any]:
    """Make about `count` grains: clock and processor seconds, diameters found, distribution asked for."""
    from microgen.synth import SizeDistribution, laguerre
    from microgen.synth.sizes import ball, diameters_um

    unit = SizeDistribution(1.0, spread, kind).quantiles((np.arange(2000) + 0.5) / 2000)
    mean = float((np.prod(shape) / count / ball(unit, len(shape)).mean()) ** (1 / len(shape)))
    sizes = SizeDistribution(mean, spread * mean, kind)
    start = time.perf_counter(), time.process_time()
    made = laguerre(0, shape, (1.0,) * len(shape), sizes, periodic=True)
    spent = f"{time.perf_counter() - start[0]:.1f} | {time.process_time() - start[1]:.1f}"
    return spent, diameters_um(made["grain"], made.spacing), sizes


def main() -> None:
    """Print both tables."""
    from scipy import stats

    print(
        "| grid | grains | distribution | clock s | processor s | mean / asked | std / asked | KS |\n"
        + "|---" * 8
        + "|"
    )
    jobs = [(shape, count, *SIZES[0]) for shape, count in CASES[:2]]
    jobs += [(shape, 2000, *law) for shape in ((512, 512), (96, 96, 96)) for law in SIZES]
    for shape, count, kind, spread in jobs:
        spent, found, sizes = sized(shape, count, kind, spread)
        distance = f"{stats.kstest(found, sizes.cdf).statistic:.4f}" if spread else "-"
        std = f"{found.std() / sizes.std_um:.4f}" if spread else f"({found.std() / sizes.mean_um:.4f} of the mean)"
        row = ["x".join(map(str, shape)), len(found), f"{kind} {spread:g}", spent]
        row += [f"{found.mean() / sizes.mean_um:.4f}", std, distance]
        print("|", " | ".join(map(str, row)), "|", flush=True)
    print("\n| grid | sites | tool | clock s | processor s |\n|---|---|---|---|---|")
    oracle = os.environ.get("MICROGEN_ORACLE_PYTHON")
    for shape, count in CASES:
        rows = {"microgen cells": best(assignment(shape, count))}
        if oracle:
            command = [oracle, "-c", DAMASK, json.dumps([shape, count])]
            rows |= json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
        for name, (clock, processor) in rows.items():
            print(f"| {'x'.join(map(str, shape))} | {count} | {name} | {clock:.3f} | {processor:.3f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
