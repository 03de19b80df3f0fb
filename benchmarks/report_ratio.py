"""How often the ratio of the report is wrong: simulated experiments with known truth.

    python benchmarks/report_ratio.py            # a Markdown table on standard output

Pictures have a mean of their own (0.3 standard deviations of a window), 20 windows each. A perfect model makes windows
of randomly chosen training pictures; a biased one adds a constant to them. In the case with sizes every picture
belongs to one of five size classes, whose means are one standard deviation apart, and samples are made per class.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from microgen.evaluate.draws import Pool
from microgen.evaluate.features import features
from microgen.evaluate.ratio import distances, make_draws

WINDOWS, BETWEEN, SAMPLES, SIZES, EXPERIMENTS = 20, 0.3, 100, 5, 50


def ratio(seed: int, held_out: int, train: int, bias: float, *, sized: bool) -> float:
    """Ratio that one experiment finds."""
    rng = np.random.default_rng(seed)
    pictures = held_out + train
    classes = SIZES if sized else 1
    sizes = np.concatenate([rng.permutation(np.arange(n) % classes) for n in (held_out, train)])
    means = sizes + rng.normal(0, BETWEEN, pictures)
    asked = np.arange(SAMPLES) % classes
    like = np.array([rng.choice(np.flatnonzero(sizes[held_out:] == size)) for size in asked]) + held_out
    generated = means[like] + rng.normal(0, 1, SAMPLES) + bias
    real = (means[:, None] + rng.normal(0, 1, (pictures, WINDOWS))).ravel()
    owner = np.repeat(np.arange(pictures), WINDOWS)
    pools = [
        Pool(np.arange(SAMPLES), np.arange(SAMPLES), asked),
        *(
            Pool(SAMPLES + np.flatnonzero(part), owner[part], sizes[owner[part]])
            for part in (owner < held_out, owner >= held_out)
        ),
    ]
    wanted = np.minimum.reduce([pool.available(classes) for pool in pools])
    draws = make_draws(rng, *pools, {}, wanted=wanted, total=SAMPLES + len(real), repeats=40)
    column = [{"intensity_mean": SimpleNamespace(value=v)} for v in np.concatenate([generated, real])]
    return distances(features(column)["intensity_mean"], draws).ratio


def main() -> None:
    """Print the table."""
    print("| held-out, training pictures | bias | median ratio | 5 to 95 % | above 1.5 |\n|---|---|---|---|---|")
    for held_out, train, sized in ((5, 15, False), (6, 14, True)):
        for bias in (0.0, 0.6, 0.8):
            found = np.array([ratio(seed, held_out, train, bias, sized=sized) for seed in range(EXPERIMENTS)])
            low, high = np.quantile(found, [0.05, 0.95])
            case = f"{held_out}, {train}" + (", five sizes" if sized else "")
            print(
                f"| {case} | {bias} | {np.median(found):.2f} | {low:.2f} to {high:.2f} | {np.mean(found > 1.5):.0%} |"
            )


if __name__ == "__main__":
    main()
