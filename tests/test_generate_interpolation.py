"""Walks through a latent space: their ends, what is asked for along them, what is measured, and cross-fades."""

from __future__ import annotations

import itertools
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from microgen import io
from microgen.core import Condition, ConditionSpec, InputError
from microgen.generate import directions, interpolate, interpolate_to_folder, judging, lines, remake_frame
from microgen.generate.interpolation import frames_of
from microgen.models import diffusion, samplers, schedules
from microgen.models.families import FAMILIES

fakes: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("latent_fakes.py"))))
cases: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("family_cases.py"))))


@pytest.fixture
def stripes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setitem(FAMILIES, "stripes", fakes.family())
    return fakes.model()


@pytest.mark.parametrize("name", ["diffusion", "dcgan", "vae"])
@pytest.mark.parametrize("how", ["spherical", "straight"])
def test_stations_of_a_walk_are_the_samples_of_their_seeds(name: str, how: str) -> None:
    model = cases.make_model(name)
    route = interpolate(model, seeds=[3, 8, 5], frames=3, how=how)
    (frames,) = frames_of(model, route)
    samples = {m.source["seed"]: m["intensity"] for m in model.sample([3, 8, 5])}
    assert len(frames) == 5
    for place, seed in ((0, 3), (2, 8), (4, 5)):
        assert np.array_equal(frames[place]["intensity"], samples[seed])
    assert not np.array_equal(frames[1]["intensity"], samples[3])


def test_a_spherical_walk_stays_as_loud_as_white_noise_and_a_straight_one_does_not() -> None:
    model = cases.make_model("diffusion")
    lengths = {}
    for how in ("spherical", "straight"):
        (line,) = interpolate(model, seeds=[0, 1], how=how).lines
        lengths[how] = float(line.at(0.5)[0]["noise"].norm())
    ends = [float(model.latents([s])["noise"].norm()) for s in (0, 1)]
    assert lengths["spherical"] == pytest.approx(sum(ends) / 2, rel=1e-5)
    assert lengths["straight"] == pytest.approx(sum(ends) / 2 / 2**0.5, rel=0.1)  # of 256 numbers, and at random angles


def test_a_walk_along_a_condition_asks_for_values_on_its_scale(stripes: Any) -> None:
    route = interpolate(stripes, along=("intensity_mean", 90.0, 150.0), seeds=[0, 4], frames=5)
    assert route.requested == pytest.approx([90, 105, 120, 135, 150])
    for frames in frames_of(stripes, route):
        found = [m["intensity"].mean() for m in frames]
        assert np.diff(found) == pytest.approx([15] * 4, abs=1.5)


def test_directions_go_the_short_way_and_on_beyond_half_a_turn() -> None:
    spec = ConditionSpec("a", "scalar", 0, 180, "axial")
    assert lines.values_between(spec, 0, 90, 3) == [0, 45, 90]
    assert lines.values_between(spec, 160, 20, 3) == [160, 180, 200]
    assert lines.values_between(spec, 20, 160, 3) == [20, 0, -20]
    assert lines.values_between(spec, 0, 360, 3) == [0, 180, 360]
    log = ConditionSpec("d", "scalar", 1, 100, "log")
    assert lines.values_between(log, 1, 100, 3) == pytest.approx([1, 10, 100])


def test_an_asked_direction_is_measured_and_followed_around(stripes: Any, tmp_path: Path) -> None:
    done = interpolate_to_folder(stripes, tmp_path, along=("orientation_deg", 150, 60), seeds=[0, 1], frames=5)
    followed = done["followed"]
    assert followed["requested"][-1] == 240
    assert followed["spearman_of_mean"] == 1.0
    assert all(rank == 1.0 for rank in followed["spearman"].values())
    assert np.allclose(followed["measured_mean"], followed["requested"], atol=4)


def test_a_walk_along_one_number_changes_that_number_only(stripes: Any) -> None:
    route = interpolate(stripes, code=("codes.1", -1.0, 1.0), seeds=[2], frames=3)
    latents, _ = lines.points(route.lines[0], route.places[0])
    start = stripes.latents([2])
    assert latents["codes"][:, 1].tolist() == [-1.0, 0.0, 1.0]
    assert (latents["codes"][:, [0, 2]] == start["codes"][:, [0, 2]]).all()
    assert (latents["noise"] == start["noise"]).all()
    contrast = [m["intensity"].std() for m in frames_of(stripes, route)[0]]
    assert contrast[1] / contrast[0] == pytest.approx(np.exp(0.25), rel=0.02)


def test_a_learned_direction_is_the_one_that_moves_the_descriptor(
    stripes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brightness is 120 + 16 codes.0 and nothing else, on the other conditions as they are hidden."""
    monkeypatch.setattr(directions, "searchable", lambda model, latents, *_: (dict(latents), ["codes"]))
    direction = directions.direction_of_descriptor(stripes, "intensity_mean", samples=100)
    assert direction.r2 > 0.95
    assert direction.parts["codes"].tolist() == pytest.approx([1, 0, 0], abs=0.05)
    exact = directions.learn_direction(
        {"codes": stripes.latents(range(200))["codes"]}, stripes.latents(range(200))["codes"][:, 0].tolist()
    )
    assert exact.parts["codes"].tolist() == pytest.approx([1, 0, 0], abs=1e-3)
    assert exact.r2 == pytest.approx(1, abs=1e-3)
    moved = exact.moved(stripes.latents([0]), 2.0)
    assert float(exact.component(moved)) == pytest.approx(2.0, abs=1e-5)
    assert moved["codes"][0, 1:].tolist() == pytest.approx(stripes.latents([0])["codes"][0, 1:].tolist(), abs=5e-3)


def test_a_walk_along_a_descriptor_reaches_the_wanted_values(stripes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directions, "searchable", lambda model, latents, *_: (dict(latents), ["codes"]))
    route = interpolate(stripes, along=("intensity_std", 24.0, 36.0), seeds=[0, 1], frames=5, learn_from=60)
    for frames in frames_of(stripes, route):
        assert [m["intensity"].std() for m in frames] == pytest.approx(np.linspace(24, 36, 5), abs=0.5)
    with pytest.raises(InputError, match=r"goes from .* to .* on this line"):
        interpolate(stripes, along=("intensity_std", 24.0, 99.0), seeds=[0], learn_from=60)


def test_conditions_are_calibrated_by_what_is_measured(stripes: Any) -> None:
    plain = interpolate(stripes, along=("intensity_mean", 100.0, 140.0), seeds=[5], frames=5)
    exact = interpolate(stripes, along=("intensity_mean", 100.0, 140.0), seeds=[5], frames=5, calibrate=True)
    gaps = [
        np.abs([m["intensity"].mean() for m in frames_of(stripes, r)[0]] - np.array(r.requested)).max()
        for r in (plain, exact)
    ]
    assert gaps[1] < 0.3 < gaps[0]


def test_places_are_found_in_noisy_falling_and_flat_functions() -> None:
    def wave(xs: Any) -> list[float]:
        return [-(x**3) + 0.02 * float(np.sin(40 * x)) for x in xs]

    found = directions.places_of(wave, [-0.5, 0.0, 0.5], between=(-1.0, 1.0))
    assert found == pytest.approx([0.79, 0.0, -0.79], abs=0.25)
    assert np.all(np.diff(found) < 0)
    with pytest.raises(InputError, match="ask for values in between"):
        directions.places_of(wave, [2.0], between=(-1.0, 1.0))
    with pytest.raises(InputError, match="cannot be measured"):
        directions.places_of(lambda xs: [float("nan") for _ in xs], [2.0], between=(-1.0, 1.0))


def test_a_cross_fade_is_told_from_samples() -> None:
    """Of independent noise a pixel average keeps sqrt(t^2 + (1-t)^2) of the contrast, its square of gradient energy."""
    ends = torch.randn(2, 1, 200, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ts = [0.0, 0.25, 0.5, 1.0]
    fade = torch.stack([torch.lerp(ends[0], ends[1], t) for t in ts])
    found = judging.cross_fade(fade, ts)
    assert found["contrast"] == pytest.approx([1, 0.625**0.5, 0.5**0.5, 1], abs=0.01)
    assert found["gradient_energy"] == pytest.approx([1, 0.625, 0.5, 1], abs=0.02)
    assert found["looks_like_cross_fade"] == [False, True, True, False]
    turned = torch.stack([np.cos(t * np.pi / 2) * ends[0] + np.sin(t * np.pi / 2) * ends[1] for t in ts])
    assert not any(judging.cross_fade(turned, ts)["looks_like_cross_fade"])
    same = ends[:1].expand(4, -1, -1, -1)
    assert not any(judging.cross_fade(same, ts)["looks_like_cross_fade"])


def test_distances_are_about_one_for_samples_and_large_for_others() -> None:
    rng = np.random.default_rng(0)
    t = np.linspace(-1, 1, 60)[:, None]
    regressors = np.concatenate([np.ones_like(t), t, t**2], axis=1)
    slopes = rng.normal(size=(1, 40))
    known = judging.Population(regressors, 3 * t * slopes + rng.normal(size=(60, 40)))
    assert known.own_distances().mean() == pytest.approx(1, abs=0.1)
    new = 3 * t * slopes + rng.normal(size=(60, 40))
    assert known.distances(regressors, new).mean() == pytest.approx(1, abs=0.1)
    assert known.distances(regressors, new + 3).min() > 2


def test_a_folder_holds_frames_strip_animation_and_numbers(stripes: Any, tmp_path: Path) -> None:
    done = interpolate_to_folder(
        stripes, tmp_path / "w", along=("intensity_mean", 90, 150), seeds=[0, 7], frames=4, fps=5
    )
    assert done["frames"] == 8
    assert done["followed"]["spearman_of_mean"] == 1.0
    names = sorted(p.name for p in (tmp_path / "w").iterdir())
    assert names == ["frames", "manifest.json", "path.gif", "path.h5", "path.json", "strip.png"]
    report = json.loads((tmp_path / "w" / "path.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["seed_000000", "seed_000007"]
    with h5py.File(tmp_path / "w" / "path.h5") as file:
        assert file["frames/intensity"].shape == (2, 4, 32, 32)
        assert file["latents/codes"].shape == (2, 4, 3)
        assert file["conditions/intensity_mean"][1].tolist() == pytest.approx([90, 110, 130, 150])
        assert file["frames/intensity"].attrs["spacing_um"].tolist() == [0.5, 0.5]
        stack = file["frames/intensity"][()]
    for row, entry in enumerate(report["rows"]):
        for k, frame in enumerate(entry["frames"]):
            read = io.read(tmp_path / "w" / frame["file"])[0]
            assert np.array_equal(read["intensity"], stack[row, k])
            assert read.spacing == (0.5, 0.5)
            assert frame["measured"]["intensity_mean"] == pytest.approx(stack[row, k].mean())
    with Image.open(tmp_path / "w" / "path.gif") as animation:
        assert animation.n_frames == 4  # type: ignore[attr-defined]
        assert animation.info["duration"] == 200
        animation.seek(3)
        shown = np.asarray(animation.convert("L"))
        assert np.array_equal(shown[:, :32], stack[0, 3])
    assert Image.open(tmp_path / "w" / "strip.png").size[0] > 400


def test_a_folder_is_taken_up_again_and_never_mixed(stripes: Any, tmp_path: Path) -> None:
    walk: dict[str, Any] = {"along": ("intensity_mean", 90, 150), "seeds": [0], "frames": 3}
    interpolate_to_folder(stripes, tmp_path / "w", **walk)
    files = {p: p.read_bytes() for p in (tmp_path / "w").rglob("*") if p.is_file()}
    frame = tmp_path / "w" / "frames" / "seed_000000_frame_001.png"
    frame.unlink()
    kept = (tmp_path / "w" / "frames" / "seed_000000_frame_000.png").stat().st_mtime_ns
    interpolate_to_folder(stripes, tmp_path / "w", **walk)
    assert {p: p.read_bytes() for p in files} == files
    assert (tmp_path / "w" / "frames" / "seed_000000_frame_000.png").stat().st_mtime_ns == kept
    with pytest.raises(InputError, match="another frames"):
        interpolate_to_folder(stripes, tmp_path / "w", **{**walk, "frames": 4})
    frame.write_bytes(b"mine")
    with pytest.raises(InputError, match="move it away"):
        interpolate_to_folder(stripes, tmp_path / "w", **walk)
    assert frame.read_bytes() == b"mine"


@pytest.mark.parametrize("walk", [{"seeds": [0, 1]}, {"code": ("codes.0", -1, 1), "seeds": [3]}, {"learned": True}])
def test_a_frame_is_made_again_from_its_recipe(
    stripes: Any, walk: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if walk.pop("learned", False):
        monkeypatch.setattr(directions, "searchable", lambda model, latents, *_: (dict(latents), ["codes"]))
        walk = {"along": ("intensity_std", 25, 35), "seeds": [1], "learn_from": 60}
    interpolate_to_folder(stripes, tmp_path, frames=3, **walk)
    from microgen.generate import interpolation

    monkeypatch.setattr(interpolation, "find_model", lambda path: path)
    monkeypatch.setattr(interpolation, "load_model", lambda path, device: stripes)
    for file in sorted((tmp_path / "frames").iterdir()):
        recipe = io.read_recipe(file)
        assert recipe is not None
        again = remake_frame(recipe, file.parent, model=Path("here"))
        assert np.array_equal(again["intensity"], io.read(file)[0]["intensity"])


@pytest.mark.parametrize(
    ("walk", "message"),
    [
        ({"seeds": [0]}, "at least two"),
        ({"seeds": [0, 1], "frames": 2}, "at least 3 frames"),
        ({"seeds": [0, 1], "how": "curved"}, "no way 'curved'"),
        ({"along": ("intensity_mean", 90, 300), "seeds": [0]}, "outside 80 .. 160"),
        ({"along": ("beauty", 0, 1), "seeds": [0]}, "neither a condition of this model nor a descriptor"),
        ({"along": ("grain_direction_deg", 0, 1), "seeds": [0]}, "is an angle"),
        ({"along": ("intensity_mean", 90, 99), "seeds": []}, "at least one seed"),
        ({"along": ("intensity_mean", 90, 99), "code": ("codes.0", 0, 1), "seeds": [0]}, "one of them"),
        ({"code": ("codes.3", 0, 1), "seeds": [0]}, "codes.0 .. codes.2"),
        ({"code": ("w.0", 0, 1), "seeds": [0]}, "has no number 'w.0'"),
        ({"seeds": [0, 1], "references": 3}, "at least 8"),
    ],
)
def test_impossible_walks_are_refused_and_leave_nothing(
    stripes: Any, walk: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        interpolate_to_folder(stripes, tmp_path / "w", **walk)
    assert not (tmp_path / "w").exists()


def test_a_descriptor_that_no_direction_foretells_is_refused(stripes: Any) -> None:
    with pytest.raises(InputError, match="no direction of this latent space foretells intensity_skewness"):
        interpolate(stripes, along=("intensity_skewness", 0, 1), seeds=[0], learn_from=60)


def test_real_structures_are_encoded_and_their_conditions_measured() -> None:
    model = cases.make_model("diffusion")
    first, last = list(model.sample([0, 1], Condition({"grain_size_um": 9.0})))
    route = interpolate(model, between=[first, last], frames=3)
    latents, conditions = lines.points(route.lines[0], route.places[0])
    assert latents["noise"].shape == (3, 1, 16, 16)
    assert route.lines[0].origin is None
    known = [c.scalars.get("grain_size_um") for c in conditions]
    assert known[0] is None or 5 <= known[0] <= 20


def test_the_way_up_is_exact_to_second_order_for_gaussian_data() -> None:
    """Of data N(0, s^2) the denoiser is s^2 x / (s^2 + sigma^2), and the flow keeps x / sqrt(s^2 + sigma^2)."""
    spread, low, high = 0.7, 0.02, 50.0
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = x * ((spread**2 + high**2) / (spread**2 + low**2)) ** 0.5

    def denoise(y: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return spread**2 / (spread**2 + float(sigma) ** 2) * y

    errors = []
    for steps in (40, 80, 160):
        sigmas = schedules.exponential(steps, low, high)[:-1].flip(0)
        errors.append(float((diffusion.unsampled(denoise, x, sigmas) / exact - 1).abs().max()))
    assert errors[0] < 0.02
    assert [a / b for a, b in itertools.pairwise(errors)] == pytest.approx([4, 4], rel=0.15)
    down = schedules.exponential(160, low, high)
    back = samplers.heun(denoise, diffusion.unsampled(denoise, x, down[:-1].flip(0)), down)
    assert float((back / (x * spread**2 / (spread**2 + low**2)) - 1).abs().max()) < 0.01


def test_what_diffusion_encodes_it_decodes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = cases.make_model("diffusion")
    samples = list(model.sample([0, 1], Condition({"grain_size_um": 9.0}), steps=50))
    monkeypatch.setattr(diffusion, "ENCODING_STEPS", 50)
    latents = model.encode(samples, [Condition({"grain_size_um": 9.0})] * 2)
    again = list(model.decode(latents, Condition({"grain_size_um": 9.0}), steps=50))
    gaps = [np.abs(a["intensity"].astype(float) - b["intensity"]).mean() for a, b in zip(again, samples, strict=True)]
    assert max(gaps) < 0.05 * samples[0]["intensity"].std()
    blind = model.encode(samples)
    assert not torch.allclose(blind["noise"], latents["noise"])
