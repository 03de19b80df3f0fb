"""The PyMKS adaptor against our own statistics."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from microgen.core import InputError
from microgen.stats import correlate, mks
from microgen.stats.mks import Statistics

needs_pymks = pytest.mark.skipif(sys.version_info >= (3, 12), reason="PyMKS installs on Python 3.11 only")


@pytest.fixture(scope="module")
def structures() -> Any:
    """Level cuts of smoothed noise with many grain sizes and fractions."""
    rng = np.random.default_rng(0)
    cuts = []
    for _ in range(60):
        field = ndimage.gaussian_filter(rng.normal(size=(41, 41)), rng.uniform(1.5, 3.0), mode="wrap")
        cuts.append(field / field.std() > rng.uniform(-0.6, 0.6))
    return np.array(cuts).astype(np.uint8)


@needs_pymks
@pytest.mark.parametrize("periodic", [True, False])
def test_statistics_equal_ours(structures: Any, periodic: bool) -> None:
    found = mks.two_point_stats(structures[:3], statistics=Statistics(periodic=periodic))
    for structure, statistics in zip(structures, found, strict=False):
        ours = correlate(structure == 0, periodic=periodic, cutoff=20)
        np.testing.assert_allclose(statistics[..., 0], ours, atol=1e-12)


@needs_pymks
def test_three_phases_give_two_independent_maps() -> None:
    labels = np.random.default_rng(1).integers(3, size=(2, 9, 9, 9))
    found = mks.two_point_stats(labels, statistics=Statistics(phases=3, cutoff=3))
    assert found.shape == (2, 7, 7, 7, 2)
    ours = correlate(labels[1] == 0, labels[1] == 1, periodic=True, cutoff=3)
    np.testing.assert_allclose(found[1, ..., 1], ours, atol=1e-12)


@needs_pymks
def test_a_mask_leaves_its_points_out(structures: Any) -> None:
    mask = np.random.default_rng(2).random((1, 41, 41)) < 0.8
    found = mks.two_point_stats(structures[:1], statistics=Statistics(periodic=False), mask=mask)
    np.testing.assert_allclose(found[0, ..., 0], correlate(structures[0] == 0, mask=mask[0], cutoff=20), atol=1e-12)


@needs_pymks
def test_embedding_is_the_principal_components_of_the_statistics(structures: Any) -> None:
    found = mks.embed(structures, components=3)
    ours = np.array([correlate(s == 0, periodic=True).ravel() for s in structures])
    centred = ours - ours.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(found.explained, (singular**2 / (singular**2).sum())[:3], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.scores, axis=0), singular[:3], rtol=1e-6)
    np.testing.assert_allclose(found.project(structures[:5]), found.scores[:5], atol=1e-9)


@needs_pymks
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: mks.two_point_stats(s[0]), "labels"),
        (lambda s: mks.two_point_stats(s + 1), "0 to 1"),
        (lambda s: mks.two_point_stats(s, mask=np.ones((2, 2))), "mask has shape"),
        (lambda s: mks.embed(s[:3], components=3), "at least 4 structures"),
    ],
)
def test_mistakes_are_one_clear_sentence(structures: Any, call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(structures)


def test_without_pymks_the_error_says_what_to_do(structures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pymks":
            raise ImportError("No module named 'pymks'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"Python 3.11.*pip install pymks"):
        mks.two_point_stats(structures)
