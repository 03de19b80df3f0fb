"""Polycrystals graded in space, and the formulas that describe the gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label

from microgen.core import InputError
from microgen.stats import grains
from microgen.synth import graded_polycrystal
from microgen.synth.formulas import evaluate

SHAPE, STEP = (240, 240), (1.0, 1.0)


def realised(size: Any, seeds: range, window_um: float = 40.0, **options: Any) -> NDArray[Any]:
    """Local intercept of many structures over the one asked for, both averaged over the window."""
    density = 0.0
    for seed in seeds:
        made = graded_polycrystal(seed, SHAPE, STEP, size, **options)
        density = density + 1 / grains.local_size_map(made["grain"], spacing=1.0, window_um=window_um) / len(seeds)
    wanted = ndimage.gaussian_filter(1.0 / made["grain_size_um"], window_um / np.sqrt(12), mode="reflect")
    return np.asarray(wanted / density)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ("7 + 14*y", {}),
        ("10 + 6*cos(2*pi*x)", {}),
        (10.0, {"aspect_ratio": "1 + 3*x", "direction_deg": "90*y"}),
    ],
)
def test_the_local_size_follows_the_map(size: Any, options: dict[str, Any]) -> None:
    ratio = realised(size, range(20), **options)
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    inside = ratio[30:-30, 30:-30]
    blocks = inside.reshape(6, 30, 6, 30).mean(axis=(1, 3))
    np.testing.assert_allclose(blocks, 1, atol=0.15)  # a window of 40 um holds few grains
    np.testing.assert_allclose(inside.mean(axis=0), 1, atol=0.07)
    np.testing.assert_allclose(inside.mean(axis=1), 1, atol=0.07)


def test_a_step_stays_a_step() -> None:
    ratio = realised("6 + 12*step(x - 0.5)", range(12), window_um=30.0)
    assert ratio[:, 20:100].mean() == pytest.approx(1, abs=0.05)
    assert ratio[:, 140:220].mean() == pytest.approx(1, abs=0.05)


def test_grains_turn_with_the_direction_map() -> None:
    shape = (200, 400)
    made = graded_polycrystal(1, shape, STEP, 8.0, aspect_ratio=3.0, direction_deg="90*step(x - 0.5)")["grain"]
    left, right = (grains.directional_intercepts_um(part, spacing=1.0) for part in (made[:, :170], made[:, 230:]))
    assert left["x"] / left["y"] == pytest.approx(3.0, rel=0.12)
    assert right["y"] / right["x"] == pytest.approx(3.0, rel=0.12)


def test_formula_function_and_array_are_the_same_map() -> None:
    by_formula = graded_polycrystal(4, (60, 90), (1.0, 0.5), "4 + 6*y + 2*x")["grain"]
    by_function = graded_polycrystal(4, (60, 90), (1.0, 0.5), lambda y, x: 4 + 6 * y / 60 + 2 * x / 45)["grain"]
    y, x = (np.arange(60) + 0.5)[:, None] / 60, (np.arange(90) + 0.5) / 90
    by_array = graded_polycrystal(4, (60, 90), (1.0, 0.5), 4 + 6 * y + 2 * x)["grain"]
    np.testing.assert_array_equal(by_formula, by_function)
    np.testing.assert_array_equal(by_formula, by_array)


def test_a_volume_is_graded_too() -> None:
    grain = graded_polycrystal(0, (64, 48, 48), (1.0,) * 3, "5 + 10*z", aspect_ratio=1.5)["grain"]
    density = [
        np.mean([(part != np.roll(part, 1, a))[1:, 1:, 1:].mean() for a in range(3)])
        for part in (grain[:16], grain[-16:])
    ]
    assert 1 / density[0] == pytest.approx(6.25, rel=0.12)
    assert 1 / density[1] == pytest.approx(13.75, rel=0.2)


def test_a_periodic_gradient_has_no_seam() -> None:
    size = "8 + 3*cos(2*pi*x)*cos(2*pi*y)"
    grain = graded_polycrystal(2, (160, 160), STEP, size, aspect_ratio=2.0, periodic=True)["grain"]
    for axis in (0, 1):
        crossed = (grain != np.roll(grain, 1, axis)).mean(axis=1 - axis)
        assert crossed[0] < crossed.mean() + 3 * crossed.std()


@pytest.mark.parametrize("options", [{}, {"aspect_ratio": "1 + 5*x", "direction_deg": "360*y"}])
def test_grains_are_in_one_piece(options: dict[str, Any]) -> None:
    grain = graded_polycrystal(3, (150, 150), STEP, "6 + 9*x", **options)["grain"]
    assert label(grain, background=-1, connectivity=1).max() == grain.max() == len(np.unique(grain))


@pytest.mark.parametrize(
    ("size", "options", "says"),
    [
        ("8 + 20*q", {}, "cannot use 'q'"),
        ("8 - 20*y", {}, "finer grid"),
        (np.ones((3, 4)), {}, "shape"),
        (np.full(SHAPE, np.nan), {}, "finite"),
        (8.0, {"aspect_ratio": "2*x"}, "at least 1"),
        (300.0, {"periodic": True}, "room"),
        (8.0, {"direction_deg": "1/(x - x)"}, "finite"),
    ],
)
def test_impossible_maps_are_refused(size: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        graded_polycrystal(0, SHAPE, STEP, size, **options)


NUMBERS = st.floats(0.1, 10).map(lambda v: repr(round(v, 3)))
TERMS = st.recursive(
    st.one_of(NUMBERS, st.sampled_from(["x", "y"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["sin", "cos", "tanh", "abs"]), inner).map(lambda t: f"{t[0]}({t[1]})"),
        inner.map(lambda t: f"-{t}"),
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(text=TERMS, x=st.floats(0, 1), y=st.floats(0, 1))
def test_formulas_are_worked_out_as_python_does(text: str, x: float, y: float) -> None:
    names = {"x": x, "y": y, "sin": math.sin, "cos": math.cos, "tanh": math.tanh, "abs": abs}
    try:
        expected = eval(text, {"__builtins__": {}}, names)
    except ZeroDivisionError:
        return
    if math.isfinite(expected):
        assert evaluate(text, {"x": np.float64(x), "y": np.float64(y)}) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "x.__class__", "(lambda: 1)()", "[x for x in (1,)]", "x if x else y", "'8'",
        "True", "x; y", "x = 2", "", "sqrt()", "sqrt(x, y)", "min(x)", "abs(x=1)", "x @ y", "x < y", "1e999",
        "9**9**9**9", "1j", "x" * 1000, "(" * 400 + "x" + ")" * 400, "f'{x}'", "exec('1')", "\x00", "log(x - x)",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        evaluate(text, {"x": np.array([0.2, 0.8]), "y": np.array([0.5, 0.5])})
