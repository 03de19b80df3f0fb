"""Linkages of structure and elastic property against what one would use without them.

    python benchmarks/mks_linkage.py                 # the tables of docs/mks.md on standard output
    python benchmarks/mks_linkage.py docs/images     # and its two figures

Structures are two-phase random fields, stretched along x or y by up to 1:2; the truth is microgen.physics. All errors
are those of structures that were not learned from.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.physics.bounds import voigt_reuss
from microgen.physics.elasticity import local_fields
from microgen.physics.stiffness import isotropic, plane_strain
from microgen.stats.linkage import homogenise, localise
from microgen.synth.two_phase import two_phase

Array = NDArray[Any]
LEARN = 400


def structures(seed: int, count: int, shape: tuple[int, ...]) -> Array:
    """Two-phase structures on a grid of 1 um: fraction 0.2 to 0.8, length 3 to 6 um, stretched by up to 1:2."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        stretch = 2 ** random.uniform(-0.5, 0.5)
        step = (1.0,) * (len(shape) - 2) + (stretch, 1 / stretch)
        fraction, length = random.uniform(0.2, 0.8), random.uniform(3, 6)
        found.append(two_phase(1000 * seed + number, shape, step, fraction, length)["phase"])
    return np.stack(found)


def responses(labels: Array, materials: Array) -> tuple[Array, Array]:
    """Effective stiffness C11 of each structure, and the strain xx in it under a mean strain xx of 1."""
    load = np.eye({3: 3, 4: 6}[labels.ndim])[0]
    spacing = (1.0,) * (labels.ndim - 1)
    fields = [local_fields(s, materials, load, spacing=spacing, tolerance=1e-3) for s in labels]
    return np.array([f.stress[0].mean() for f in fields]), np.stack([f.strain[0] for f in fields])


def rms(values: Array) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(values**2)))


def compare(contrast: float, learn: Array, held_out: Array) -> dict[str, Any]:
    """Errors of both linkages and of their baselines on the structures held out."""
    materials = np.array([isotropic(1.0, 0.3), isotropic(contrast, 0.3)])
    (c11, strain), (c11_true, strain_true) = responses(learn, materials), responses(held_out, materials)
    fraction, fraction_held = (s.reshape(len(s), -1).mean(axis=1) for s in (learn, held_out))
    table = plane_strain(materials) if learn.ndim == 3 else materials
    hill = np.array([sum(b[0, 0] for b in voigt_reuss([1 - f, f], table)) / 2 for f in fraction_held])
    cubic = np.polyval(np.polyfit(fraction, c11, 3), fraction_held)
    homogenisation, localisation = homogenise(learn, c11), localise(learn, strain)
    predicted, predicted_strain = homogenisation.predict(held_out), localisation.predict(held_out)
    in_phase = np.array([strain[learn == phase].mean() for phase in (0, 1)])
    return {
        "c11": {
            "mean of the structures learned from": rms(c11.mean() - c11_true),
            "mean of Voigt and Reuss": rms(hill - c11_true),
            "cubic in the fraction": rms(cubic - c11_true),
            "linkage": rms(predicted - c11_true),
            "linkage, cross-validated": homogenisation.error,
        },
        "strain": {
            "mean strain": rms(1 - strain_true),
            "mean strain of each phase": rms(in_phase[held_out] - strain_true),
            "linkage": rms(predicted_strain - strain_true),
            "linkage, cross-validated": localisation.error,
        },
        "scale": {"c11": float(c11_true.mean()), "strain": 1.0},
        "pictures": (c11_true, predicted, cubic, held_out, strain_true, predicted_strain),
    }


def table(results: dict[float, dict[str, Any]], what: str) -> str:
    """One row per predictor and one column per contrast, in per cent of the mean."""
    head = " | ".join(f"contrast {c:g}" for c in results)
    lines = [f"| error of {what} in % of its mean | {head} |", "|---" * (len(results) + 1) + "|"]
    for name in next(iter(results.values()))[what]:
        values = " | ".join(f"{100 * r[what][name] / r['scale'][what]:.2f}" for r in results.values())
        lines.append(f"| {name} | {values} |")
    return "\n".join(lines)


def draw(results: dict[float, dict[str, Any]], folder: Path) -> None:
    """Parity of the stiffness, and one field beside its prediction."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results), figsize=(9, 2.9), layout="constrained")
    for axis, (contrast, result) in zip(axes, results.items(), strict=True):
        truth, linked, cubic, *_ = result["pictures"]
        axis.plot(truth, cubic, "x", color="0.6", ms=4, label="cubic in the fraction")
        axis.plot(truth, linked, "o", color="tab:blue", ms=3, label="linkage")
        axis.plot([truth.min(), truth.max()], [truth.min(), truth.max()], "k-", lw=0.7)
        axis.set(title=f"contrast {contrast:g}", xlabel="C11 computed", ylabel="C11 predicted")
    axes[0].legend(fontsize=7)
    figure.savefig(folder / "mks_stiffness.png", dpi=90)

    contrast, result = list(results.items())[-2]
    *_, held_out, truth, predicted = result["pictures"]
    shown = int(np.argmin(np.abs(held_out.mean(axis=(1, 2)) - 0.5)))
    figure, axes = pyplot.subplots(1, 3, figsize=(9, 3), layout="constrained")
    axes[0].imshow(held_out[shown], cmap="gray")
    axes[0].set_title(f"held out; white is {contrast:g} times stiffer", fontsize=9)
    low, high = np.percentile(truth[shown], [1, 99])
    for axis, field, name in zip(axes[1:], (truth[shown], predicted[shown]), ("computed", "predicted"), strict=True):
        image = axis.imshow(field, vmin=low, vmax=high, cmap="viridis")
        axis.set_title(f"strain xx, {name}", fontsize=9)
    figure.colorbar(image, ax=axes[1:], shrink=0.8, label="share of the mean strain")
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    figure.savefig(folder / "mks_strain.png", dpi=90)


def main() -> None:
    """Print the tables, and draw the figures into a folder if one is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    folder = parser.parse_args().folder
    learn, held_out = structures(1, LEARN, (64, 64)), structures(2, 100, (64, 64))
    results = {contrast: compare(contrast, learn, held_out) for contrast in (1.5, 5.0, 10.0)}
    print(f"64 x 64 in plane strain, {LEARN} learned from, 100 held out\n")
    print(table(results, "c11"), table(results, "strain"), sep="\n\n", flush=True)
    learn, held_out = structures(3, 160, (24, 24, 24)), structures(4, 40, (24, 24, 24))
    volumes = {contrast: compare(contrast, learn, held_out) for contrast in (1.5, 5.0)}
    print("\n24 x 24 x 24, 160 learned from, 40 held out\n")
    print(table(volumes, "c11"), table(volumes, "strain"), sep="\n\n")
    if folder:
        draw(results, folder)


if __name__ == "__main__":
    main()
