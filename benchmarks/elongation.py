"""Direction and aspect ratio of windows of polycrystals that were made with known ones.

    python benchmarks/elongation.py [--count 16]

Each way to measure: known grains and the cells that a micrograph shows by crossed boundaries, gray values and the
boundary mask by their gradient. Polycrystals of 256 x 256 pixels of 0.5 um with mean intercepts of 5 to 10 um.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from numpy.typing import NDArray

from microgen.data import elongation
from microgen.data.measures import boundaries
from microgen.data.windows import Windows
from microgen.stats.grains import label_grains
from microgen.synth import polycrystal, render_micrograph

SIDE = 256
WAYS = {"grains": elongation.of_cells, "cells": elongation.of_cells} | dict.fromkeys(
    ("gray", "mask"), elongation.of_gray
)


def shown(seed: int, ratio: float, direction: float) -> dict[str, NDArray[np.generic]]:
    """What each way measures, of one polycrystal."""
    size = float(np.random.default_rng([seed, 1]).uniform(5, 10))
    made = polycrystal(seed, (SIDE, SIDE), (0.5, 0.5), size, aspect_ratio=ratio, direction_deg=direction)
    gray = render_micrograph(seed, made)["intensity"]
    mask = boundaries(gray, 0.5)
    return {"grains": made["grain"], "cells": label_grains(mask), "gray": gray, "mask": mask}


def read(windows: Windows, side: int) -> NDArray[np.float64]:
    """Windows of a side at half overlap."""
    starts = range(0, SIDE - side + 1, side // 2)
    return windows(np.array(list(product(starts, starts))), (side, side))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=16)
    count = parser.parse_args().count
    print("true ratio, way, window: rms error of the direction in degrees; median ratio (10 to 90 %)")
    for ratio in (1.0, 1.5, 2.0, 3.0):
        directions = [float(np.random.default_rng(seed).uniform(0, 180)) for seed in range(count)]
        pictures = [shown(seed, ratio, direction) for seed, direction in enumerate(directions)]
        for way, side in product(WAYS, (64, 256)):
            found = [read(WAYS[way](p[way], elongation.direction_deg), side) for p in pictures]
            off = np.concatenate([(f - d + 90) % 180 - 90 for f, d in zip(found, directions, strict=True)])
            ratios = np.concatenate([read(WAYS[way](p[way], elongation.aspect_ratio), side) for p in pictures])
            low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
            rms = np.sqrt(np.mean(off**2))
            print(f"{ratio:g} {way:7} {side:4}: {rms:5.1f}; {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
