"""Generated against held-out real: from pictures to a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, Microstructure
from microgen.core.recipe import version, versions
from microgen.evaluate import memory, requests, twosample
from microgen.evaluate.conditions import of_classes
from microgen.evaluate.draws import common
from microgen.evaluate.embedding import embed
from microgen.evaluate.evidence import Evidence
from microgen.evaluate.features import Feature
from microgen.evaluate.job import Job, check, prepare
from microgen.evaluate.matching import Plan, plan
from microgen.evaluate.ratio import Distances, Draws, distances, make_draws, summary
from microgen.evaluate.report import Memorisation, Numbers, Report, Row, TwoSample, make_row
from microgen.evaluate.surrogates import FLOORS
from microgen.evaluate.texture import plane
from microgen.evaluate.windows import Indices, balanced

Array = NDArray[np.float64]

SEARCHED = 16
"""Samples, and as many held-out windows, whose nearest training patch is searched for."""

SHOWN = 6
"""Pictures of each kind that the report shows side by side."""

MAPPED = 100
"""Windows of each set on the map of two-point statistics, at most."""

SIZES = ("mean_intercept_um", "grain_size_um")


def evaluate(
    real: Sequence[Microstructure],
    generated: Sequence[Microstructure],
    *,
    train: Sequence[Microstructure] = (),
    conditioned: Sequence[Microstructure] = (),
    real_groups: Sequence[str] | None = None,
    train_groups: Sequence[str] | None = None,
    requested: Mapping[str, Sequence[float]] | None = None,
    max_windows: int = 320,
    seed: int = 0,
    provenance: Mapping[str, Any] | None = None,
) -> Report:
    """Compare generated structures with held-out real ones.

    Parameters
    ----------
    real
        Held-out pictures (whole ones: they are cut into windows of the generated size).
    generated
        Samples of one spacing. Real pictures are brought to it.
    train
        Pictures that the model was trained on: for the distance between real and real, and to find copies.
        Without them the held-out pictures are divided into halves, and copies are not looked for.
    conditioned
        Further samples, made at single values: on them it is measured what came of a request, instead of on
        `generated`. They carry their requests in ``source``.
    real_groups, train_groups
        Specimen of each picture, by default each picture is its own. Intervals and cross-validation draw whole
        specimens, since windows of one are alike.
    requested
        Scalar conditions that the samples were asked for, one number per sample; by default read from their
        ``source``.
    max_windows
        Windows used of each set at most.
    seed
        The same inputs and seed give the same report.
    provenance
        Further facts to store, hashes of the inputs for example.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        For fewer than two samples or real windows, different spacings or dimensions, or constant pictures.
    """
    classes = requests.requested_classes(generated)
    real, real_groups = of_classes(real, real_groups, classes)
    train, train_groups = of_classes(train, train_groups, classes)
    check(real, generated, max_windows)
    asked = _asked(requested, generated)
    single = requests.requested(conditioned) if conditioned else asked
    job = prepare(
        real,
        generated,
        train,
        real_groups,
        train_groups,
        conditioned=conditioned or generated,
        conditions={**asked, **single},
        limit=max_windows,
        seed=seed,
    )
    asked = {name: values[job.groups[job.sets["generated"]]] for name, values in asked.items()}
    single = {name: values[job.conditioned] for name, values in single.items() if name in job.conditions}
    said = [f"Compared with {name} {', '.join(sorted(labels))} only." for name, labels in classes.items()]
    return _report(replace(job, notes=[*said, *job.notes]), asked, single, dict(provenance or {}), seed)


def _asked(given: Mapping[str, Sequence[float]] | None, generated: Sequence[Microstructure]) -> dict[str, Array]:
    if given is None:
        return requests.requested(generated)
    for name, values in given.items():
        if len(values) != len(generated):
            raise InputError(f"requested {name!r} has {len(values)} values for {len(generated)} samples; give one each")
    return {name: np.asarray(values, dtype=np.float64) for name, values in given.items()}


def _report(
    job: Job, asked: dict[str, Array], single: dict[str, Array], provenance: dict[str, Any], seed: int
) -> Report:
    """Compare everything that was measured."""
    matched = plan(job, asked)
    rng = np.random.default_rng([seed, 2])
    total = len(job.windows)
    draws = make_draws(
        rng,
        matched.pools["generated"],
        matched.pools["held_out"],
        matched.pools["train"] if len(matched.pools["train"].index) else None,
        {name: matched.pools[name] for name in FLOORS},
        wanted=matched.wanted,
        total=total,
    )
    real = np.concatenate([job.sets["held_out"], job.sets["train"]])
    numbers = twosample.table(list(job.features.values()), job.textures, real)
    gram = twosample.kernel(numbers, real)
    rows = [_row(f, draws, matched) for f in job.features.values()]
    rows.append(_joint_row(gram, draws, matched))
    copies = _copies(job, matched, seed)
    return Report(
        rows,
        [row for name, values in single.items() for row in _obeyed(name, values, job, seed)],
        _two_sample(numbers, gram, job, matched, draws, seed),
        _memorisation(*copies),
        [*job.notes, *matched.notes],
        _provenance(job, matched, seed) | provenance,
        _evidence(job, matched, single, draws, copies, seed),
    )


def _row(feature: Feature, draws: Draws, matched: Plan) -> Row:
    medians = (_drawn_median(feature, draws.generated[1]), _drawn_median(feature, draws.generated[0]))
    found = distances(feature, draws)
    n = _numbers(feature.valid, draws, matched)
    return make_row(feature.name, feature.unit, feature.kind, found, n, medians=medians)


def _joint_row(gram: Array, draws: Draws, matched: Plan) -> Row:
    """Maximum mean discrepancy of all features together, judged like any descriptor."""
    found: Distances = summary(lambda pair: twosample.discrepancy(gram, *pair), draws)
    n = _numbers(np.ones(len(gram), dtype=bool), draws, matched)
    return make_row("mmd", "1", "all features", found, n, medians=(float("nan"), float("nan")))


def _numbers(valid: NDArray[np.bool_], draws: Draws, matched: Plan) -> Numbers:
    """Count the windows on which something could be measured (`valid`)."""
    known = {name: int(valid[pool.index].sum()) for name, pool in matched.pools.items()}
    drawn = [counts @ valid for counts in draws.generated]
    held = matched.pools["held_out"]
    return Numbers(
        known["generated"],
        known["held_out"],
        known["train"],
        compared=int(np.median(np.minimum(*drawn))) if len(drawn[0]) else 0,
        pictures=len(np.unique(held.groups[valid[held.index]])),
        generated_missing=len(matched.pools["generated"].index) - known["generated"],
        held_out_missing=len(held.index) - known["held_out"],
    )


def _drawn_median(feature: Feature, counts: Array) -> float:
    """Median over all draws, so that sizes are mixed as they were compared."""
    return _median(np.repeat(feature.values, (counts.sum(axis=0) * feature.valid).astype(int)))


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _obeyed(name: str, asked: Array, job: Job, seed: int) -> list[requests.Obeyed]:
    known = job.conditions[name]
    alone, within = (np.concatenate([known["held_out"][k], known["train"][k]]) for k in (0, 1))
    return requests.obeyed(name, asked, known["conditioned"][0], (alone, within), seed=seed)


def _two_sample(numbers: Array, gram: Array, job: Job, matched: Plan, draws: Draws, seed: int) -> TwoSample:
    """Classifier and kernel test for one draw of each pair, the same for generated and for real."""
    pairs = {
        name: [np.flatnonzero(side[:1].sum(axis=0)) for side in pair]
        for name, pair in (("generated", draws.generated), ("real", draws.actual))
    }
    accuracy = {name: _accuracy(numbers, pair, job.groups, seed) for name, pair in pairs.items()}
    p = {
        name: twosample.permutation_p(gram, *pair, seed=seed) if len(pair[0]) and len(pair[1]) else float("nan")
        for name, pair in pairs.items()
    }
    return TwoSample(accuracy["generated"], accuracy["real"], p["generated"], p["real"], numbers.shape[1])


def _accuracy(numbers: Array, pair: list[Indices], groups: Indices, seed: int) -> twosample.Accuracy | None:
    first, second = pair
    enough = min(len(first), len(second)) >= 16 and min(len(np.unique(groups[p])) for p in pair) >= 2
    return twosample.tell_apart(numbers, first, second, groups, seed=seed) if enough else None


Copies = tuple[list[memory.Nearest], list[memory.Nearest]]


def _copies(job: Job, matched: Plan, seed: int) -> Copies:
    rng = np.random.default_rng([seed, 3])
    training = [plane(m) for m in job.training] if len(job.shape) == 2 else []

    def searched(name: str) -> list[memory.Nearest]:
        pool = matched.pools[name]
        some = balanced(rng, np.arange(len(pool.index)), pool.groups, min(SEARCHED, len(pool.index)))
        return memory.nearest([plane(job.windows[pool.index[i]]) for i in some], training)

    return searched("generated"), searched("held_out")


def _memorisation(generated: list[memory.Nearest], held_out: list[memory.Nearest]) -> Memorisation:
    def share(found: list[memory.Nearest]) -> float:
        return float(np.mean([n.copied for n in found])) if found else float("nan")

    def middle(found: list[memory.Nearest], name: str) -> float:
        return _median(np.array([getattr(n, name) for n in found]))

    return Memorisation(
        (len(generated), len(held_out)),
        share(generated),
        share(held_out),
        middle(generated, "ratio"),
        middle(held_out, "ratio"),
        middle(generated, "distance"),
        middle(held_out, "distance"),
    )


def _provenance(job: Job, matched: Plan, seed: int) -> dict[str, Any]:
    return {
        "microgen": version("microgen-toolkit"),
        "versions": versions(("numpy", "scipy", "scikit-image", "scikit-learn")),
        "seed": seed,
        "spacing_um": list(job.spacing),
        "window_px": list(job.shape),
        "windows": {name: len(rows) for name, rows in job.sets.items()},
        "compared_per_side": int(matched.wanted.sum()),
    }


def _evidence(
    job: Job, matched: Plan, single: Mapping[str, Array], draws: Draws, copies: Copies, seed: int
) -> Evidence:
    shown = _shown(job, matched, seed)
    sets = {name: pool.index for name, pool in matched.pools.items()}
    if len(matched.wanted) > 1 and len(
        draws.generated[0]
    ):  # one draw, in which both sides have the same mixture of sizes
        sets |= {name: np.flatnonzero(draws.generated[k][0]) for k, name in enumerate(("generated", "held_out"))}
    points, share = _points(job, sets)
    return Evidence(
        job.features,
        sets,
        {name: [plane(job.windows[i]) for i in rows] for name, rows in shown.items()},
        {name: [_caption(job, i) for i in rows] for name, rows in shown.items()},
        job.spacing[-1],
        {name: (values, job.conditions[name]["conditioned"][0]) for name, values in single.items()},
        *copies,
        points,
        share,
    )


def _caption(job: Job, row: int) -> str:
    size = next((job.features[name].values[row] for name in SIZES if name in job.features), np.nan)
    return f"{size:.3g} um" if np.isfinite(size) else ""


def _shown(job: Job, matched: Plan, seed: int) -> dict[str, Indices]:
    """Rows of some held-out and generated windows: drawn at random, never picked, in pairs of one size class."""
    rng = np.random.default_rng([seed, 7])
    share = np.bincount(np.arange(SHOWN) * len(matched.wanted) // SHOWN, minlength=len(matched.wanted))
    pools = {name: matched.pools[name] for name in ("held_out", "generated")}
    return {name: pool.draw(rng, common(share, *pools.values())) for name, pool in pools.items()}


def _points(job: Job, sets: Mapping[str, Indices]) -> tuple[Array | None, Array | None]:
    """Principal components of up to :data:`MAPPED` windows of each set; NaN for the others."""
    some = {name: rows[:: max(1, -(-len(rows) // MAPPED))] for name, rows in sets.items() if name != "shuffled pixels"}
    rows = np.concatenate(list(some.values()))
    real = np.flatnonzero(np.isin(rows, np.concatenate([some["held_out"], some["train"]])))
    points, share = embed([job.windows[i] for i in rows], real)
    if points is None:
        return None, None
    everything = np.full((len(job.windows), 2), np.nan)
    everything[rows] = points
    return everything, share
