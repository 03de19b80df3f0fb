"""Exploring a latent space whose meaning is known: directions, correlations, disentanglement."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from microgen.core import InputError
from microgen.generate import directions, disentangling, exploration, explore_to_folder
from microgen.models.families import FAMILIES

fakes: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("latent_fakes.py"))))
NAMES = ("intensity_mean", "intensity_std")
HALF = 0.5**0.5


@pytest.fixture(params=["straight", "mixed"])
def stripes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The codes mean brightness and contrast, or their sum and difference do."""
    mixing = torch.tensor([[HALF, HALF, 0], [HALF, -HALF, 0], [0, 0, 1]]) if request.param == "mixed" else None
    monkeypatch.setitem(FAMILIES, "stripes", fakes.family(mixing))
    return SimpleNamespace(model=fakes.model(), mixed=request.param == "mixed")


def test_what_each_code_moves_is_found(stripes: Any, tmp_path: Path) -> None:
    done = explore_to_folder(stripes.model, tmp_path, samples=100, top=2, rows=2, frames=5, names=NAMES)
    report = json.loads((tmp_path / "explore.json").read_text())
    codes = report["parts"]["codes"]
    assert "noise" not in report["parts"]  # too many numbers to look at one by one
    table = codes["table"]
    if stripes.mixed:
        assert table["disentanglement"] < 0.4
        assert table["completeness"] < 0.6
        assert 0.5 < codes["spearman"]["codes.0"]["intensity_mean"] < 0.85
        assert -0.85 < codes["spearman"]["codes.1"]["intensity_std"] < -0.5
    else:
        assert table["disentanglement"] > 0.9
        assert table["completeness"] > 0.9
        assert codes["spearman"]["codes.0"]["intensity_mean"] > 0.98
        assert codes["spearman"]["codes.1"]["intensity_std"] > 0.98
        best = done["parts"]["codes"]["strongest"]
        assert {name: best[name]["code"] for name in NAMES} == {"intensity_mean": "codes.0", "intensity_std": "codes.1"}
    assert table["informativeness"] > 0.7
    assert abs(codes["spearman"]["codes.2"]["intensity_mean"]) < codes["chance"]
    assert {p.name for p in tmp_path.iterdir()} == {
        "codes_codes.png", "directions.h5", "directions.png", "explore.json", "manifest.json"
    }  # fmt: skip
    with h5py.File(tmp_path / "directions.h5") as file:
        assert file["directions/codes"].shape == (2, 3)
        assert np.allclose(np.linalg.norm(file["directions/codes"], axis=1), 1, atol=0.2)
    with pytest.raises(InputError, match="another samples"):
        explore_to_folder(stripes.model, tmp_path, samples=64, top=2, names=NAMES)


def test_directions_of_the_gradients_are_those_that_matter(stripes: Any) -> None:
    """Samples depend on two directions of three codes, whatever their axes, and hardly on the noise."""
    found = exploration.survey(stripes.model, 60, names=NAMES)
    ways = exploration.find_directions(stripes.model, found, 3)
    assert ways.method == "gradients"
    assert sum(ways.shares[:2]) > 0.8
    for direction in ways.directions[:2]:
        assert abs(float(direction.parts["codes"][2])) < 0.1
        assert float(direction.parts["codes"][:2].norm()) > 0.9
    brightest = max(ways.directions[:2], key=lambda d: abs(_effect(stripes, found, d)))
    assert abs(_effect(stripes, found, brightest)) == pytest.approx(1.0)


def _effect(stripes: Any, found: Any, direction: Any) -> float:
    walk = exploration.walk(stripes.model, found, direction, 0, [-2.0, -1.0, 0.0, 1.0, 2.0])
    steps = np.diff([m["intensity"].mean() for m in walk])
    return float(np.sign(steps).mean())


def test_gradients_are_those_of_the_features(stripes: Any) -> None:
    """Against finite differences, with the same random mixture of the features."""
    model = stripes.model
    found = exploration.survey(model, 16, names=NAMES)
    slopes = exploration.gradients(model, found)
    assert slopes.shape == (16, 3 + 32 * 32)
    look = exploration.RandomFeatures(2, 1)
    mixture = torch.randn(8, found.features.shape[1], generator=torch.Generator().manual_seed(0))[5]
    spread = found.features.std(axis=0)
    changing = torch.from_numpy(spread > 1e-3 * spread.max())
    request = model.request()
    like = torch.zeros((1, 1, 32, 32))
    told = exploration.tell(model.conditions, [request.condition], like=like)

    def value(step: float) -> float:
        parts = {name: part[5:6].double() for name, part in found.latents.items()}
        parts["codes"] = parts["codes"] + torch.tensor([step, 0.0, 0.0])
        seen = look(FAMILIES["stripes"].decode(model, parts, told, (32, 32), request.options))[0]
        return float((seen / torch.from_numpy(spread) * mixture)[changing].sum())

    assert slopes[5, 0] == pytest.approx((value(0.01) - value(-0.01)) / 0.02, rel=0.02)


def test_in_a_mapped_space_the_directions_are_principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    family = fakes.family()
    plain = family.decode
    stretch = torch.tensor([1.0, 5.0, 0.2])

    def decode(model: Any, latents: Any, *rest: Any) -> Any:
        codes = latents["w"] / stretch if "w" in latents else latents["codes"]
        return plain(model, {**latents, "codes": codes}, *rest)

    family.decode = decode
    family.mapped = lambda model, latents, told: {"w": latents["codes"] * stretch, "noise": latents["noise"]}
    monkeypatch.setitem(FAMILIES, "stripes", family)
    model = fakes.model()
    found = exploration.survey(model, 100, names=NAMES)
    assert list(found.moving) == ["w"]
    ways = exploration.find_directions(model, found, 1)
    assert ways.method == "principal components"
    assert abs(float(ways.directions[0].parts["w"][1])) > 0.99
    assert ways.shares[0] == pytest.approx(25 / 26.04, abs=0.02)
    assert ways.directions[0].spread == pytest.approx(5, rel=0.15)
    walk = exploration.walk(model, found, ways.directions[0], 3, [-1.0, 0.0, 1.0])
    contrast = np.diff([m["intensity"].std() for m in walk])
    assert abs(np.sign(contrast).sum()) == 2


def test_disentanglement_of_known_tables() -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(300, 4))
    tidy = disentangling.disentanglement(codes, 2 * codes[:, [2, 0]] + 1)
    assert tidy.importance[2, 0] > 0.95
    table = tidy.to_dict(list("abcd"), ["x", "y"])
    assert table["disentanglement"] > 0.95
    assert table["completeness"] > 0.9
    assert table["informativeness"] > 0.85
    assert table["codes"]["c"]["weight"] + table["codes"]["a"]["weight"] > 0.95
    even = disentangling.disentanglement(codes, np.stack([codes.sum(axis=1), codes @ [1, -1, 1, -1]], axis=1))
    assert even.to_dict(list("abcd"), ["x", "y"])["disentanglement"] < 0.15
    assert even.to_dict(list("abcd"), ["x", "y"])["completeness"] < 0.15
    lost = disentangling.disentanglement(codes, rng.normal(size=(300, 1))).to_dict(list("abcd"), ["x"])
    assert lost["informativeness"] < 0.1
    with pytest.raises(InputError, match="samples"):
        disentangling.disentanglement(codes[:5], codes[:5])


def test_tidiness_is_one_minus_the_entropy() -> None:
    table = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    expected = [1 - 1.5 * np.log(2) / np.log(3), 1.0, 0.0]
    assert disentangling.tidiness(table, axis=1) == pytest.approx(expected)
    assert disentangling.tidiness(np.ones((3, 1)), axis=1).tolist() == [1.0, 1.0, 1.0]


def test_rank_correlations_agree_with_scipy_and_chance_is_exceeded_once_in_twenty_times() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(1)
    codes, factors = rng.normal(size=(50, 3)), rng.integers(0, 9, size=(50, 2)).astype(float)
    found = disentangling.rank_correlations(codes, factors)
    assert found[1, 1] == pytest.approx(spearmanr(codes[:, 1], factors[:, 1]).statistic)
    limit, exceeded = disentangling.chance(100, 20), 0
    for _ in range(400):
        exceeded += (
            np.abs(disentangling.rank_correlations(rng.normal(size=(100, 5)), rng.normal(size=(100, 4)))).max() > limit
        )
    assert 8 <= exceeded <= 34


def test_factors_differ_and_angles_become_points_of_a_circle() -> None:
    tables = [{"a": float(k), "orientation_deg": 10.0 * k, **({"rare": 1.0} if k < 5 else {})} for k in range(18)]
    columns = exploration.factors_of(tables)
    assert list(columns) == ["a", "orientation_deg (cosine)", "orientation_deg (sine)"]
    assert columns["orientation_deg (cosine)"][9] == pytest.approx(np.cos(np.pi))
    kept = disentangling.distinct(
        {"a": columns["a"], "b": columns["a"] ** 2, "c": 0 * columns["a"], "d": np.arange(18.0) % 5}
    )
    assert list(kept) == ["a", "d"]


def test_impossible_explorations_are_refused(stripes: Any, tmp_path: Path) -> None:
    for bad, message in (
        ({"samples": 4}, "at least 16"),
        ({"samples": 16, "names": ["beauty"]}, "no descriptor 'beauty'"),
    ):
        with pytest.raises(InputError, match=message):
            explore_to_folder(stripes.model, tmp_path / "x", **bad)
    assert not (tmp_path / "x").exists()
    assert directions.searchable(stripes.model, stripes.model.latents([0]))[1] == ["codes", "noise"]
