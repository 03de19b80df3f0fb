"""Linkages against known kernels, against PyMKS, and against solved elasticity."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from microgen.core import InputError
from microgen.physics.elasticity import local_fields
from microgen.physics.stiffness import isotropic, plane_strain
from microgen.stats.linkage import homogenise, localise
from microgen.stats.mks import Statistics
from microgen.synth.two_phase import two_phase

needs_pymks = pytest.mark.skipif(sys.version_info >= (3, 12), reason="PyMKS installs on Python 3.11 only")


def convolved(labels: Any, kernels: Any) -> Any:
    """Sum over phases of the indicator convolved with the kernel of the phase, wrapped at the frame."""
    axes = range(1, labels.ndim)
    total = np.zeros(labels.shape)
    for phase, kernel in enumerate(kernels):
        for offset in np.ndindex(*kernel.shape):
            shift = [o - n // 2 for o, n in zip(offset, kernel.shape, strict=True)]
            total += kernel[offset] * np.roll(labels == phase, shift, tuple(axes))
    return total


def structures(seed: int, count: int, shape: tuple[int, ...]) -> Any:
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        stretch = 2 ** random.uniform(-0.5, 0.5)
        fraction, length = random.uniform(0.25, 0.75), random.uniform(2, 4)
        found.append(two_phase(1000 * seed + number, shape, (stretch, 1 / stretch), fraction, length)["phase"])
    return np.stack(found)


@pytest.fixture(scope="module")
def composite() -> Any:
    """Structures with C11 and the strain xx in them, at contrast 4."""
    labels = structures(1, 160, (24, 24))
    table = plane_strain(np.array([isotropic(1.0, 0.3), isotropic(4.0, 0.3)]))
    fields = [local_fields(s, table, [1, 0, 0], spacing=(1.0, 1.0), tolerance=1e-3) for s in labels]
    return labels, np.array([f.stress[0].mean() for f in fields]), np.stack([f.strain[0] for f in fields])


@pytest.mark.parametrize(("shape", "phases"), [((8, 9), 2), ((7, 8), 3), ((5, 4, 6), 2)])
def test_known_influence_is_found(shape: tuple[int, ...], phases: int) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, phases, (60, *shape))
    kernels = random.normal(size=(phases, *(3,) * len(shape)))
    learned = localise(labels[:50], convolved(labels[:50], kernels), phases=phases)
    np.testing.assert_allclose(learned.predict(labels[50:]), convolved(labels[50:], kernels), atol=1e-8)
    assert learned.r2 == pytest.approx(1.0)
    assert learned.error < 1e-8


def test_influence_lies_where_the_kernel_lies() -> None:
    labels = np.random.default_rng(1).integers(0, 2, (40, 8, 9))
    kernel = np.arange(9.0).reshape(3, 3)
    learned = localise(labels, convolved(labels, [kernel, 0 * kernel]))
    influence = learned.influence()[..., 0]
    influence -= influence[0, 0]  # the mean is shared between the phases
    expected = np.zeros((8, 9))
    expected[3:6, 3:6] = kernel
    np.testing.assert_allclose(influence, expected, atol=1e-9)


def test_resized_influence_serves_larger_structures() -> None:
    random = np.random.default_rng(2)
    kernels = random.normal(size=(2, 3, 3))
    labels, larger = random.integers(0, 2, (40, 8, 9)), random.integers(0, 2, (3, 13, 16))
    learned = localise(labels, convolved(labels, kernels)).resized((13, 16))
    np.testing.assert_allclose(learned.predict(larger), convolved(larger, kernels), atol=1e-8)


def test_nothing_is_found_where_there_is_nothing() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, (60, 8, 8))
    learned = localise(labels, random.normal(size=labels.shape))
    assert learned.r2 < 0.05
    assert learned.error > 0.95


@needs_pymks
def test_localisation_equals_that_of_pymks(composite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "complex", complex, raising=False)  # which numpy took away and PyMKS asks for
    dask, pymks = pytest.importorskip("dask.array"), pytest.importorskip("pymks")
    labels, _, strain = composite
    basis = pymks.PrimitiveTransformer(n_state=2, min_=0.0, max_=1.0)

    def states(given: Any) -> Any:
        return basis.transform(dask.from_array(given.astype(float), chunks=given.shape))

    theirs = pymks.LocalizationRegressor(redundancy_func=_without_last)
    theirs.fit(states(labels[:120]), dask.from_array(strain[:120], chunks=strain[:120].shape))
    expected = np.stack([np.asarray(theirs.predict(states(one[None])))[0] for one in labels[120:130]])
    ours = localise(labels[:120], strain[:120]).predict(labels[120:130])
    np.testing.assert_allclose(ours, expected.reshape(ours.shape), atol=1e-9)


def _without_last(wave: tuple[int, ...]) -> tuple[slice]:
    return (slice(None),) if not any(wave) else (slice(-1),)


def test_strain_of_unseen_composites(composite: Any) -> None:
    labels, _, strain = composite
    learned = localise(labels[:120], strain[:120])
    wrong = np.sqrt(np.mean((learned.predict(labels[120:]) - strain[120:]) ** 2))
    in_phase = np.array([strain[:120][labels[:120] == phase].mean() for phase in (0, 1)])
    assert wrong < 0.5 * np.sqrt(np.mean((in_phase[labels[120:]] - strain[120:]) ** 2))
    assert wrong == pytest.approx(learned.error, rel=0.25)
    np.testing.assert_allclose(learned.predict(labels[120:]).mean(axis=(1, 2)), 1, atol=1e-6)


@needs_pymks
def test_stiffness_of_unseen_composites(composite: Any) -> None:
    labels, c11, _ = composite
    learned = homogenise(labels[:120], c11[:120], components=6)
    wrong = np.sqrt(np.mean((learned.predict(labels[120:]) - c11[120:]) ** 2))
    fraction = labels.mean(axis=(1, 2))
    cubic = np.polyval(np.polyfit(fraction[:120], c11[:120], 3), fraction[120:])
    assert wrong < 0.8 * np.sqrt(np.mean((cubic - c11[120:]) ** 2))
    assert wrong == pytest.approx(learned.error, rel=0.4)


@needs_pymks
def test_property_of_fractions_and_covariances_is_found() -> None:
    """A property made of what the linkage knows: powers of the fraction, and neighbours along x weighted by it."""
    labels = structures(5, 90, (13, 13))
    f = labels.mean(axis=(1, 2))
    pairs = (labels * np.roll(labels, 1, axis=2)).mean(axis=(1, 2)) - f**2
    truth = 1 + f - 2 * f**3 + (3 + f) * pairs
    learned = homogenise(labels, truth, components=5, statistics=Statistics(cutoff=1))
    assert learned.error < 1e-6 * truth.std()
    assert homogenise(labels, truth, components=1, statistics=Statistics(cutoff=1)).error > 1e-3 * truth.std()
    chance = homogenise(labels, np.random.default_rng(3).permutation(truth), components=3)
    assert chance.r2 < 0.3


@needs_pymks
def test_three_phases_have_two_fractions() -> None:
    field = ndimage.gaussian_filter(np.random.default_rng(6).normal(size=(60, 15, 15)), (0, 2, 2), mode="wrap")
    cuts = np.quantile(field, np.random.default_rng(7).uniform(0.1, 0.9, (2, 60)).T.ravel()).reshape(60, 2)
    labels = (field > cuts.min(axis=1)[:, None, None]).astype(int) + (field > cuts.max(axis=1)[:, None, None])
    share = np.stack([(labels == phase).mean(axis=(1, 2)) for phase in range(3)])
    truth = share[0] + 3 * share[1] * share[2]
    learned = homogenise(labels, truth, components=1, degree=2, statistics=Statistics(phases=3))
    assert learned.error < 1e-6
    np.testing.assert_allclose(learned.predict(labels[:7]), truth[:7], atol=1e-6)


@needs_pymks
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: homogenise(s[:6], np.ones(6)), "at least 43 structures"),
        (lambda s: homogenise(s, np.ones(3)), "one property for each"),
        (lambda s: homogenise(s, np.ones(50)), "the same property"),
        (lambda s: localise(s, np.ones(s.shape)), "the same everywhere"),
        (lambda s: localise(s, s[:, :4].astype(float)), "of the shape"),
        (lambda s: localise(s, np.full(s.shape, np.nan)), "finite"),
        (lambda s: localise(s[:3], s[:3].astype(float)), "5 folds"),
        (lambda s: localise(s + 1, s.astype(float)), "0 to 1"),
        (lambda s: localise(s, s.astype(float)).predict(s[:, :, :5]), "use resized"),
        (lambda s: localise(s, s.astype(float)).resized((4, 4)), "larger grid only"),
    ],
)
def test_mistakes_are_one_clear_sentence(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(np.random.default_rng(4).integers(0, 2, (50, 7, 7)))


def run_page(name: str) -> dict[str, Any]:
    """Run every line of Python of a page, in order, and return the names it leaves."""
    text = (Path(__file__).resolve().parents[1] / "docs" / name).read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        exec(compile(block, name, "exec"), names)
    return names


@needs_pymks
@pytest.mark.slow
def test_the_page_about_linkages_runs() -> None:
    names = run_page("mks.md")
    assert names["stiffness_error"] < 0.2 * names["without"]
    assert names["strain_error"] < 0.6 * names["strain_without"]


@pytest.mark.slow
def test_the_page_about_properties_runs() -> None:
    names = run_page("physics.md")
    assert names["strain"].shape == names["stress"].shape == (3, 64, 64)
