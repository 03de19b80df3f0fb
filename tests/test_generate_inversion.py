"""Digital twins and structures that measure as wanted."""

from __future__ import annotations

import json
import math
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter

from microgen import io, stats
from microgen.cli import cli
from microgen.core import Condition, DivergedError, InputError, Microstructure
from microgen.generate import remake_frame, search_to_folder
from microgen.generate.inversion import Likeness, twin_of
from microgen.generate.inversion_descent import descend
from microgen.generate.inversion_output import compared, require_reached
from microgen.generate.inversion_search import blended, search
from microgen.generate.inversion_space import Points, Space
from microgen.generate.properties import conductivity, stiffness
from microgen.generate.soft_descriptors import OF_REGION, OF_VALUES, Region, distances_um
from microgen.generate.soft_targets import SoftTargets, are_soft
from microgen.generate.targets import Meaning, Target, parse, read_curve
from microgen.models import Codec, Model, save_model

cases: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("family_cases.py"))))
SIDE, make_model = cases.SIDE, cases.make_model
GRIDS = [((24, 30), (0.5, 0.7)), ((10, 12, 9), (1.0, 0.5, 0.8))]


def smooth(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)


def two_phase_model(name: str = "cdcgan") -> Model:
    """A tiny model of a field of two phases."""
    model = make_model(name)
    codec = Codec("phase", 0.4, 0.5, 0, 1, "uint8", (0.8, 0.8), ("matrix", "second"))
    return Model(model.family, model.config, model.net, codec, model.conditions, model.patch)


def sample(model: Model, seed: int, size: float = 9.0) -> Microstructure:
    return next(model.sample([seed], Condition({"grain_size_um": size}), precision="fp32"))


def plain(found: stats.Measurement) -> np.ndarray:
    return np.asarray(found.value if found.y is None else found.y)


# soft descriptors


@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
@pytest.mark.parametrize("name", OF_REGION)
def test_soft_descriptors_of_a_sharp_region_are_the_counted_ones(
    name: str, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    field = smooth(shape)
    phase = Microstructure({"phase": (field > 0.05).astype(np.uint8)}, spacing)
    region = Region(0.05, width=1e-9)(torch.from_numpy(field)[None])
    found = OF_REGION[name](region, spacing=spacing)[0]
    counted = stats.measure(phase, [name], intervals=False)[name]
    np.testing.assert_allclose(found.numpy(), plain(counted), rtol=1e-9)
    if counted.x is not None:
        np.testing.assert_allclose(distances_um(shape, spacing).numpy(), counted.x, rtol=1e-12)


@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
@pytest.mark.parametrize("name", OF_VALUES)
def test_soft_descriptors_of_values_are_the_measured_ones(
    name: str, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    m = Microstructure({"intensity": smooth(shape)}, spacing)
    found = OF_VALUES[name](torch.from_numpy(m["intensity"].copy())[None], spacing=spacing)[0]
    assert float(found) == pytest.approx(stats.measure(m, [name], intervals=False)[name].value, rel=1e-5)


@pytest.mark.parametrize("name", [*OF_REGION, *OF_VALUES])
def test_gradients_of_soft_descriptors_are_those_of_finite_differences(name: str) -> None:
    values = torch.from_numpy(smooth((8, 9)))[None].requires_grad_()
    function = OF_REGION.get(name) or OF_VALUES[name]

    def measured(x: torch.Tensor) -> torch.Tensor:
        seen = Region(0.0, 0.4, width=0.1)(x) if name in OF_REGION else x
        return function(seen, spacing=(0.5, 0.7)).sum()

    assert torch.autograd.gradcheck(measured, (values,), eps=1e-6, atol=1e-5)


def test_straight_through_has_the_values_of_the_comparison_and_the_gradient_of_the_step() -> None:
    values = torch.linspace(-1, 2, 31, dtype=torch.float64)[None].requires_grad_()
    region = Region(0.01, 1.01, width=0.2)
    hard = region.straight_through(values)
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(hard.detach(), ((values > 0.01) & (values < 1.01)).double())
    own, smoothed = (torch.autograd.grad(f(values).sum(), values)[0] for f in (region.straight_through, region))
    assert torch.allclose(own, smoothed)
    assert own.abs().max() > 0.5


def test_soft_targets_measure_what_the_written_structure_measures() -> None:
    model = two_phase_model()
    space = Space(model, (SIDE, SIDE))
    points = space.drawn([3, 4], {})
    structures = list(space.structures(points))
    wanted = stats.s2(structures[1]["phase"] == 1, spacing=(0.8, 0.8))
    targets = [Target("phase_fraction", 0.3), Target("specific_surface_per_um", 0.4), Target("s2", wanted)]
    assert are_soft(space, targets, Meaning())
    assert not are_soft(space, [*targets, Target("lineal_path", wanted)], Meaning())
    for target in targets:
        soft = SoftTargets(space, [target], Meaning(), 0.02)(space.encoded(points))
        hard = [target.error(Meaning().measure(one, [target.name])[target.name]) for one in structures]
        np.testing.assert_allclose(soft.detach().numpy() * 0.02, hard, rtol=6e-3, atol=1e-6)


# targets


def test_errors_of_targets() -> None:
    curve = stats.Curve(np.array([0.0, 1.0, 2.0]), np.array([0.4, 0.2, 0.1]))
    assert Target("phase_fraction", 0.2).error(0.25) == pytest.approx(0.25)
    assert Target("phase_fraction", 0.0).error(0.25) == 0.25
    assert Target("phase_fraction", 0.2).error(None) == math.inf
    assert Target("orientation_deg", 175.0).error(5.0) == pytest.approx(10 / 90, rel=1e-2)
    shifted = stats.Curve(curve.x, curve.y + 0.07)
    assert Target("s2", curve).error(shifted) == pytest.approx(0.3)  # 0.07 / mean(0.4, 0.2, 0.1)
    with pytest.raises(InputError, match="give points there"):
        Target("s2", stats.Curve(curve.x + 50, curve.y)).error(curve)


def test_targets_are_read_from_numbers_tables_and_pictures(tmp_path: Path) -> None:
    table = tmp_path / "curve.csv"
    table.write_text("distance_um,value\n0,0.4\n1,0.2\n")
    picture = Microstructure({"phase": (smooth((32, 32)) > 0).astype(np.uint8)}, (1.0, 1.0))
    io.write(tmp_path / "p.png", picture)

    def read(path: Path) -> Microstructure:
        return io.read(path)[0]

    found = parse([f"s2={table}", "phase_fraction=0.3"], Meaning(), read)
    assert [(t.name, t.value) for t in found[1:]] == [("phase_fraction", 0.3)]
    np.testing.assert_array_equal(found[0].value.y, [0.4, 0.2])  # type: ignore[union-attr]
    five = {t.name: t.value for t in parse([str(tmp_path / "p.png")], Meaning(), read)}
    assert len(five) == 5
    assert five["phase_fraction"] == picture["phase"].mean()
    (one,) = parse([f"phase_fraction={tmp_path / 'p.png'}"], Meaning(), read)
    assert one.value == picture["phase"].mean()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s2=0.3", "a curve"),
        ("phase_fraction=nothing.csv", "written name=number"),
        ("phase_fraction", "written name=number"),
    ],
)
def test_targets_that_mean_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse([text], Meaning(), lambda path: io.read(path)[0])


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "1,x\n2,3\n", "1,2\n1,3\n", "1,nan\n2,3\n", "1\n2\n"])
def test_bad_tables_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(content)
    with pytest.raises(InputError, match=r"c\.csv"):
        read_curve(tmp_path / "c.csv")


def test_a_target_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="twice"):
        parse(["phase_fraction=0.3", "phase_fraction=0.4"], Meaning(), lambda path: io.read(path)[0])


def test_properties_of_layers() -> None:
    layers = Microstructure({"phase": np.repeat([[0], [1]], 8, axis=0).repeat(16, axis=1)}, (1.0, 1.0))
    materials = {"conductivity": (1.0, 4.0), "young": (1.0, 3.0), "poisson": (0.0, 0.0)}
    assert conductivity(layers, materials, axis="x") == pytest.approx(2.5)
    assert conductivity(layers, materials, axis="y") == pytest.approx(1.6)
    assert conductivity(layers, materials) == pytest.approx(2.05)
    assert stiffness(layers, materials, component="xx") == pytest.approx(2.0, rel=1e-3)
    assert stiffness(layers, materials, component="yy") == pytest.approx(1.5, rel=1e-3)
    with pytest.raises(InputError, match="say the conductivity"):
        conductivity(layers, {})
    with pytest.raises(InputError, match="1 phases"):
        conductivity(layers, {"conductivity": (1.0,)})


# the space


@pytest.mark.parametrize("name", ["vae", "cdcgan", "diffusion"])
def test_a_space_makes_what_the_model_makes(name: str) -> None:
    model = make_model(name)
    options: dict[str, Any] = {"precision": "fp32", **({"steps": 3} if name == "diffusion" else {})}
    space = Space(model, (SIDE, SIDE), options=options)
    points = space.drawn([7, 8], {"grain_size_um": 12.0})
    condition = space.condition(points.places[0])
    assert condition.scalars["grain_size_um"] == pytest.approx(12.0)
    expected = list(model.sample([7, 8], condition, **options))
    for own, values, other in zip(space.structures(points), space.values(space.encoded(points)), expected, strict=True):
        np.testing.assert_array_equal(own["intensity"], other["intensity"])
        assert np.abs(values.detach().numpy() - other["intensity"]).max() <= 1
    assert space.is_smooth


@pytest.mark.parametrize("name", sorted(cases.CASES))
def test_every_family_can_be_searched(name: str) -> None:
    model = make_model(name)
    options: dict[str, Any] = {"precision": "fp32"}
    if "diffusion" in name:
        options["steps"] = 3
    original = next(model.sample([4], Condition({s.name: 9.0 for s in model.conditions}), **options))
    space = Space(model, tuple(original.shape), options=options)
    likeness = Likeness(model.encoded(original))
    start = space.mapped(space.drawn([0, 1], {}))
    before = likeness(space.encoded(start)).detach()
    found = descend(space, start, likeness, steps=12, rate=0.05)
    assert (likeness(space.encoded(found.points)).detach() < before).all()
    assert float(space.unlikely(found.points).max()) < 0.5
    for one, values in zip(space.structures(found.points), space.values(space.encoded(found.points)), strict=True):
        assert np.abs(values.detach().numpy() - one["intensity"]).max() <= 1


def test_conditions_stay_in_their_range_and_given_ones_are_not_searched() -> None:
    model = make_model("cdcgan")
    space = Space(model, (SIDE, SIDE))
    ends = torch.tensor([[-3.0], [0.0], [3.0]])
    assert [space.condition(p).scalars["grain_size_um"] for p in ends] == pytest.approx([5.0, 10.0, 20.0])
    assert space.places({"grain_size_um": 90.0}).tolist() == [1.0]
    told = Space(model, (SIDE, SIDE), Condition({"grain_size_um": 7.0}))
    assert told.free == []
    points = told.drawn([3], {})
    expected = next(model.sample([3], Condition({"grain_size_um": 7.0}), precision="fp32"))
    np.testing.assert_array_equal(next(told.structures(points))["intensity"], expected["intensity"])


def test_white_noise_is_likely_and_coloured_noise_is_not() -> None:
    space = Space(make_model("diffusion"), (64, 64))
    points = space.drawn(range(4), {})
    blurred = torch.nn.functional.avg_pool2d(points.latents["noise"], 3, stride=1, padding=1)
    same_length = blurred / blurred.flatten(1).std(dim=1).reshape(-1, 1, 1, 1)
    assert float(space.unlikely(points).max()) < 0.05
    for wrong in (points.latents["noise"] * 1.5, points.latents["noise"] * 0.5, same_length):
        assert float(space.unlikely(Points({"noise": wrong}, points.places)).min()) > 0.2


def test_classes_have_no_gradient_and_a_twin_is_refused() -> None:
    model = two_phase_model("vae")
    from microgen.models import vae

    torch.manual_seed(0)
    config = vae.Config(**model.config)
    net = vae.build(config, codec=model.codec, conditions=model.conditions).eval()
    labels = Model("vae", model.config, net, model.codec, model.conditions, model.patch)
    assert not Space(labels, (SIDE, SIDE)).is_smooth
    with pytest.raises(InputError, match="no gradient"):
        twin_of(labels, Microstructure({"phase": np.eye(SIDE, dtype=np.uint8)}, (0.8, 0.8), model.codec.phases))


# twins


@pytest.mark.parametrize("name", ["cdcgan", "vae"])
def test_a_sample_of_the_model_is_its_own_twin(name: str) -> None:
    model = make_model(name)
    original = sample(model, 1234)
    twin = twin_of(model, original, starts=3, iterations=200)
    assert twin.explained > 0.99
    assert twin.rms == pytest.approx(np.sqrt((twin.residual**2).mean()))
    rows = {row["name"]: row for row in compared(original, twin.structure, Meaning())}
    assert rows["intensity_mean"]["twin"] == pytest.approx(twin.structure["intensity"].mean())
    assert rows["intensity_mean"]["difference_percent"] < 2


def test_twins_are_the_same_every_time() -> None:
    model = make_model("cdcgan")
    first, second = (twin_of(model, sample(model, 1), starts=2, iterations=10).structure for _ in range(2))
    np.testing.assert_array_equal(first["intensity"], second["intensity"])


def test_the_noise_of_a_diffusion_model_is_found() -> None:
    model = make_model("diffusion")
    twin = twin_of(model, sample(model, 5), starts=1, iterations=50, steps=3)
    assert twin.explained > 0.9


def test_descent_keeps_the_best_point_and_leaves_the_start_alone() -> None:
    space = Space(make_model("cdcgan"), (SIDE, SIDE))
    start = space.drawn([0, 1], {})
    before = start.latents["z"].clone()
    target = space.encoded(space.drawn([9], {})).detach()[0]
    wild = descend(space, start, Likeness(target), steps=8, rate=20.0)  # far too long steps
    first = Likeness(target)(space.encoded(start)) + 0.1 * space.unlikely(start)
    assert (wild.losses <= first.detach() + 1e-6).all()
    assert torch.equal(start.latents["z"], before)
    assert not start.latents["z"].requires_grad


def test_siblings_are_white_and_the_nearer_the_more_alike() -> None:
    model = make_model("cdcgan")
    twin = twin_of(model, sample(model, 3), starts=2, iterations=20)
    own = twin.points.latents["z"]
    assert torch.allclose(twin.siblings(1, 0.0).latents["z"], own, atol=1e-5)
    near, far = (twin.siblings(8, d).latents["z"] for d in (0.1, 0.5))
    assert ((near - own).norm(dim=1) < (far - own).norm(dim=1)).all()
    assert far.norm(dim=1).mean() == pytest.approx(float(own.norm()), rel=0.5)


def test_pictures_that_do_not_fit_are_refused() -> None:
    model = make_model("cdcgan")
    good = sample(model, 0)
    with pytest.raises(InputError, match="resample"):
        twin_of(model, good.replace(spacing=(0.5, 0.5)))
    with pytest.raises(InputError, match="--crop"):
        twin_of(model, good.with_fields(intensity=np.zeros((32, 32), np.uint8)))
    with pytest.raises(InputError, match="at least one start"):
        twin_of(model, good, starts=0)


# searches


class Gray:
    """A space of one free condition whose mean gray value is 100 + 50 place**3, whatever the latent."""

    is_smooth = False
    request = None
    model = SimpleNamespace(codec=SimpleNamespace(channels=1))

    def drawn(self, seeds: range, values: dict[str, float]) -> Points:
        z = torch.stack([torch.randn(6, generator=torch.Generator().manual_seed(s)) for s in seeds])
        return Points({"z": z}, torch.zeros(len(seeds), 1))

    def structures(self, points: Points) -> Iterator[Microstructure]:
        for place in points.places[:, 0].tolist():
            values = np.full((8, 8), 100 + 50 * place**3, np.float32)
            values[::2] += 10
            values[1::2] -= 10
            yield Microstructure({"intensity": values}, (1.0, 1.0))


def test_evolution_finds_a_known_optimum() -> None:
    space: Any = Gray()
    found = search(space, [Target("intensity_mean", 110.8)], tolerance=1e-4, budget=600)
    assert found.way == "evolution"
    assert found.worst <= 1e-4
    assert float(found.points.places[0, 0]) == pytest.approx(0.6, abs=1e-2)
    again = search(space, [Target("intensity_mean", 110.8)], tolerance=1e-4, budget=600)
    assert torch.equal(found.points.places, again.points.places)


def test_global_random_numbers_are_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    space: Any = Gray()
    search(space, [Target("intensity_mean", 110.8)], tolerance=1e-3, budget=60)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_what_cannot_be_reached_ends_with_the_budget_and_the_best() -> None:
    space: Any = Gray()
    found = search(space, [Target("intensity_mean", 200.0)], budget=200)
    assert 200 <= found.made <= 220
    assert found.worst == pytest.approx(0.25, abs=0.02)  # 150 is the most there is


def test_blends_of_white_noise_are_white() -> None:
    points = Points({"z": torch.randn(5, 4000, generator=torch.Generator().manual_seed(0))}, torch.zeros(5, 0))
    weights = np.random.default_rng(0).normal(size=(7, 5))
    made = blended(points, weights, np.zeros((7, 0)))
    assert made.latents["z"].std(dim=1).numpy() == pytest.approx(np.ones(7), abs=0.05)


def test_the_gradient_meets_soft_targets() -> None:
    model = two_phase_model()
    space = Space(model, (SIDE, SIDE))
    start = space.drawn([5], {})
    now = Meaning().measure(next(space.structures(start)), ["phase_fraction"])["phase_fraction"]
    assert isinstance(now, float)
    target = Target("phase_fraction", now + 0.1)
    loss = SoftTargets(space, [target], Meaning(), 0.02)
    end = descend(space, start, loss, steps=60, rate=0.1).points
    reached = Meaning().measure(next(space.structures(end)), ["phase_fraction"])["phase_fraction"]
    assert target.error(reached) < 0.3 * target.error(now)


def test_solutions_are_measured_on_the_files_and_kept(tmp_path: Path) -> None:
    model = two_phase_model()
    save_model(tmp_path / "m.safetensors", model)
    fractions = [float(np.mean(one["phase"])) for one in model.sample(range(40))]
    wanted = float(np.quantile(fractions, 0.8)) + 0.01
    targets = [Target("phase_fraction", wanted)]
    how: dict[str, Any] = {"count": 2, "budget": 400, "tolerance": 0.01}
    found = search_to_folder(tmp_path / "m.safetensors", tmp_path / "out", targets, **how)
    assert found["reached"]
    require_reached(found)
    for row in found["solutions"]:
        path = tmp_path / "out" / row["file"]
        (target,) = row["targets"]
        assert target["reached"] == float(np.mean(io.read(path)[0]["phase"]))
        assert target["error"] <= 0.01
        made = remake_frame(io.read_recipe(path), path.parent)  # type: ignore[arg-type]
        np.testing.assert_array_equal(made["phase"], io.read(path)[0]["phase"])
    first, second = (io.read(tmp_path / "out" / row["file"])[0]["phase"] for row in found["solutions"])
    assert (first != second).any()
    kept = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "out").glob("solution_000*")}
    for name in ("solution_001.json", "solution_001.png", "invert.json"):
        (tmp_path / "out" / name).unlink()
    assert search_to_folder(tmp_path / "m.safetensors", tmp_path / "out", targets, **how) == found
    np.testing.assert_array_equal(io.read(tmp_path / "out" / "solution_001.png")[0]["phase"], second)
    assert kept == {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "out").glob("solution_000*")}
    with pytest.raises(InputError, match="another targets"):
        search_to_folder(tmp_path / "m.safetensors", tmp_path / "out", [Target("phase_fraction", 0.9)], **how)


def test_descriptors_of_other_fields_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="measured on phases"):
        search_to_folder(make_model("cdcgan"), tmp_path, [Target("phase_fraction", 0.3)])


# the command line


def run(*arguments: object) -> tuple[int, Any]:
    result = CliRunner().invoke(cli, ["invert", *map(str, arguments)])
    return result.exit_code, result.exception or json.loads(result.stdout)


def test_a_twin_on_the_command_line(tmp_path: Path) -> None:
    model = make_model("cdcgan")
    save_model(tmp_path / "m.safetensors", model)
    io.write(tmp_path / "original.png", sample(model, 77))
    asked = (
        tmp_path / "m.safetensors",
        tmp_path / "original.png",
        tmp_path / "out",
        "--iterations",
        150,
        "--siblings",
        2,
    )
    code, found = run(*asked)
    assert code == 0, found
    assert found["variance_explained"] > 0.9
    twin, residual = (io.read(tmp_path / "out" / name)[0] for name in ("twin.png", "residual.tif"))
    original = io.read(tmp_path / "original.png")[0]
    left = twin["intensity"].astype(float) - original["intensity"]
    np.testing.assert_array_equal(residual[next(iter(residual.fields))], left.astype(np.float32))
    assert found["rms_residual"] == pytest.approx(np.sqrt((left**2).mean()))
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"comparison.png", "sibling_001.png", "latent.h5"}
    assert run(*asked) == (0, found)
    assert run(*asked[:3], "--iterations", 20)[0] == 1  # another twin is not laid over this one


def test_a_target_that_is_missed_is_written_and_told(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", make_model("cdcgan"))
    arguments = (tmp_path / "m.safetensors", tmp_path / "out", "--target", "intensity_mean=254", "--budget", 40)
    _, error = run(*arguments)
    assert isinstance(error, DivergedError)
    assert "intensity_mean is off by" in str(error)
    assert error.exit_code == 6
    assert (tmp_path / "out" / "solution_000.png").is_file()
    assert not json.loads((tmp_path / "out" / "invert.json").read_text())["reached"]


def test_wrong_usage_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", make_model("cdcgan"))
    assert run(tmp_path / "m.safetensors", tmp_path / "out")[0] == 2
    _, error = run(tmp_path / "m.safetensors", tmp_path / "out", "--target", "s2=0.3")
    assert isinstance(error, InputError)
    assert not (tmp_path / "out").exists()
