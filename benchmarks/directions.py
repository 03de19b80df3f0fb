"""Directions asked of a model against directions measured on its samples, and on real pictures of known direction.

    python benchmarks/directions.py DATA.h5 RUN [--size 128] [--samples 16] [--step 15] [--preset standard]

The direction of a sample is that of the structure tensor of the whole sample. Real windows of the same size are cut
from the held-out pictures of DATA.h5; their direction is compared with that of the whole picture they come from.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from microgen.core import Condition, Microstructure
from microgen.data.dataset import Dataset
from microgen.data.plan import plan_path, read_plan
from microgen.data.resample import resample
from microgen.evaluate.requests import axial_mean
from microgen.evaluate.windows import tiles
from microgen.models import Model, load_model
from microgen.models.file import find_model
from microgen.stats import structure_tensor


def direction(picture: Microstructure) -> float:
    """Direction of elongation in degrees."""
    return structure_tensor(picture["intensity"], spacing=picture.spacing).direction_deg


def asked(model: Model, degrees: float, options: argparse.Namespace) -> dict[str, float]:
    """Samples of one direction: error of their mean, and root mean square of theirs, in degrees."""
    sizes = [spec for spec in model.conditions if spec.name == "grain_size_um"]
    rest = {spec.name: float(np.sqrt(spec.low * spec.high)) for spec in sizes}
    condition = Condition({"orientation_deg": degrees, **rest})
    shape = (options.size,) * 2
    made = model.sample(range(options.samples), condition, shape, preset=options.preset)
    return {"asked": degrees, **errors(apart([direction(m) for m in made], degrees))}


def errors(off: NDArray[np.float64]) -> dict[str, float]:
    """Mean and root mean square of differences between directions."""
    return {"error": round(axial_mean(off), 2), "rms": round(float(np.sqrt(np.mean(off**2))), 2), "n": len(off)}


def apart(found: Iterable[float], known: float) -> NDArray[np.float64]:
    """Differences of directions, -90 to 90 degrees."""
    return (np.array(list(found)) - known + 90) % 180 - 90


def real(data: Dataset, spacing: float, size: int) -> dict[str, float]:
    """Windows of held-out pictures against the whole picture."""
    off = []
    for name in data.names_in("held_out"):
        m = data.read(name)
        small = Microstructure({"intensity": resample(m["intensity"], m.spacing, spacing)}, (spacing, spacing))
        windows = (small.crop(*(slice(c, c + size) for c in corner)) for corner in tiles(small.shape, (size, size)))
        off += list(apart(map(direction, windows), direction(small)))
    return errors(np.array(off))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("run")
    for name, value in (("size", 128), ("samples", 16), ("step", 15)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--preset", default="standard")
    options = parser.parse_args()
    plan = read_plan(plan_path(options.data))
    print(json.dumps({"real": real(Dataset.open(options.data), plan.data.spacing_um, options.size)}))
    model, started = load_model(find_model(options.run)), time.process_time()
    rows = [asked(model, float(degrees), options) for degrees in range(0, 180, options.step)]
    for row in rows:
        print(json.dumps(row))
    found = [row["error"] for row in rows]
    worst, rms = max(map(abs, found)), float(np.sqrt(np.mean(np.square([row["rms"] for row in rows]))))
    seconds = round(time.process_time() - started)
    print(
        json.dumps(
            {
                "largest_error": worst,
                "mean": round(float(np.mean(np.abs(found))), 2),
                "rms": round(rms, 2),
                "cpu_s": seconds,
            }
        )
    )


if __name__ == "__main__":
    main()
