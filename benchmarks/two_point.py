"""Two-point statistics against PyMKS and PoreSpy: time and peak memory, each call in a fresh process.

    python benchmarks/two_point.py            # all cases, a Markdown table on standard output

Time is the best of several calls after a first one, on the clock and of the processor (all threads; it hardly
depends on what else the machine does); memory is the growth of the resident set during the first
call (VmHWM, reset before it, minus VmRSS), so inputs and imports do not count. Linux only. Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PERIODIC, FRAMED = "periodic", "non-periodic"
CASES: list[tuple[str, tuple[int, ...], list[str]]] = [
    (PERIODIC, (1024, 1024), ["microgen map", "microgen curve", "pymks float64", "pymks float32"]),
    (PERIODIC, (256, 256, 256), ["microgen map", "microgen curve", "pymks float64", "pymks float32"]),
    (FRAMED, (1024, 1024), ["microgen map", "microgen curve", "pymks float64", "pymks float32", "porespy"]),
    (FRAMED, (128, 128, 128), ["microgen map", "microgen curve", "pymks float64", "pymks float32", "porespy"]),
    (FRAMED, (256, 256, 256), ["microgen map", "microgen curve"]),
]


def call(tool: str, case: str, shape: tuple[int, ...]) -> Callable[[], Any]:
    """Return the call to measure, with its input ready and its library imported."""
    region = np.random.default_rng(0).random(shape, dtype=np.float32) < 0.4
    periodic = case == PERIODIC
    if tool.startswith("microgen"):
        from microgen.stats import correlate, s2

        if tool == "microgen map":
            return lambda: correlate(region, periodic=periodic)
        return lambda: s2(region, spacing=(1.0,) * region.ndim, periodic=periodic)
    if tool.startswith("pymks"):
        import pymks

        values = region[None].astype(tool.split()[1])
        return lambda: np.asarray(pymks.two_point_stats(values, values, periodic_boundary=periodic))
    import porespy

    porespy.settings.tqdm["disable"] = True
    return lambda: porespy.metrics.two_point_correlation(region)


def measure(tool: str, case: str, shape: tuple[int, ...]) -> dict[str, float]:
    """Time and peak memory of one tool; runs in its own process."""
    function = call(tool, case, shape)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    start = time.perf_counter()
    function()
    first = time.perf_counter() - start
    peak = _status("VmHWM") - before
    runs = [_timed(function) for _ in range(max(2, min(20, int(3 / first))))]
    wall, processor = (min(column) for column in zip(*runs, strict=True))
    return {"wall": wall, "cpu": processor, "mb": peak / 1024}


def _timed(function: Callable[[], Any]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(key)))


def _row(case: str, shape: tuple[int, ...], tool: str, found: dict[str, float], ours: dict[str, float]) -> str:
    values = f"{found['wall']:.4f} | {found['cpu']:.4f} | {found['mb']:.0f}"
    ratios = " | ".join(f"{found[key] / ours[key]:.1f}" for key in ("wall", "cpu", "mb"))
    return f"| {case} | {shape[0]}^{len(shape)} | {tool} | {values} | {ratios} |"


def main() -> None:
    """Run every case in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "CASE_NUMBER"))
    one = parser.parse_args().one
    if one:
        warnings.simplefilter("ignore")
        case, shape, _ = CASES[int(one[1])]
        print(json.dumps(measure(one[0], case, shape)))
        return
    print("| boundary | grid | tool | clock s | processor s | peak MB | clock ratio | processor ratio | memory ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for number, (case, shape, tools) in enumerate(CASES):
        command = [sys.executable, "-W", "ignore", __file__, "--one"]
        runs = {t: subprocess.run([*command, t, str(number)], check=True, capture_output=True) for t in tools}
        found = {tool: json.loads(run.stdout.splitlines()[-1]) for tool, run in runs.items()}
        for tool, values in found.items():
            like = "microgen curve" if tool == "porespy" or tool == "microgen curve" else "microgen map"
            print(_row(case, shape, tool, values, found[like]), flush=True)


if __name__ == "__main__":
    main()
