"""Neper's raster tessellations: our own come back, and those of Neper are read in every version and form."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from microgen.core import InputError
from microgen.core.orientations import from_euler
from microgen.io import inspect, read, read_recipe, write

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("volume_fakes.py"))))

RECIPE = {"command": "synth", "kind": "polycrystal"}
SHAPES = [(4, 5), (3, 4, 5)]


def _same_rotation(one: Any, other: Any) -> bool:
    return bool((np.abs((np.asarray(one) * np.asarray(other)).sum(-1)) > 1 - 1e-6).all())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("voids", [False, True])
@pytest.mark.parametrize("scatter", [False, True])
def test_a_tessellation_comes_back(shape: tuple[int, ...], voids: bool, scatter: bool, tmp_path: Path) -> None:
    m = fakes.polycrystal(shape, voids=voids, scatter=scatter)
    write(tmp_path / "a.tesr", m, RECIPE)
    (back,) = read(tmp_path / "a.tesr")
    assert fakes.same_fields(back, m)
    assert back.source["recipe"] == RECIPE == read_recipe(tmp_path / "a.tesr")
    assert ("**oridata" in (tmp_path / "a.tesr").read_text()) == (scatter or voids)


def test_without_its_header_a_tessellation_is_still_read(tmp_path: Path) -> None:
    m = fakes.polycrystal((4, 5), voids=True)
    write(tmp_path / "a.tesr", m)
    (tmp_path / "a.tesr.json").unlink()
    with pytest.raises(InputError, match="Neper voxel size, which has no unit"):
        read(tmp_path / "a.tesr")
    assert (tmp_path / "a.tesr").read_text().split()[5:9] == ["5", "4", "0.1", "2.0"], "x stands first"
    assert inspect(tmp_path / "a.tesr")["pixel_sizes"][0]["um"] == [2.0, 0.1]
    (back,) = read(tmp_path / "a.tesr", pixel_size_um=m.spacing)
    for name in ("grain", "phase", "mask"):
        assert np.array_equal(back[name], m[name])
    assert np.allclose(back["orientation"], m["orientation"], atol=1e-7)
    assert back.phases == ("not indexed", "group_1", "group_2")


def test_a_changed_tessellation_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "a.tesr", fakes.polycrystal((4, 5)))
    (tmp_path / "a.tesr").write_text((tmp_path / "a.tesr").read_text() + " ")
    with pytest.raises(InputError, match="was changed after"):
        read(tmp_path / "a.tesr")


NEPER = """***tesr
 **format
   {version}
 **general
   2
   3 2
   0.5 0.25
  *origin
   1.0 2.0
 **cell
   2
  *id
   7 9
  *seed
   1 0.1 0.1 0.0
   2 0.9 0.1 0.0
  *ori
   {descriptor}
   {first}
   0.0 0.0 0.0
  *crysym
   cubic
 **data
   {data}
***end
"""
ANGLES = np.array([30.0, 40.0, 50.0])


def _neper(path: Path, **changes: str) -> Path:
    usual = {"version": "2.1", "descriptor": "euler-bunge:active", "first": "30 40 50", "data": "ascii\n1 1 2 1 0 2"}
    path.write_text(NEPER.format(**{**usual, **changes}))
    return path


@pytest.mark.parametrize(
    ("version", "convention", "inverse"),
    [
        ("2.1", "", False), ("2.1", ":active", False), ("2.1", ":passive", True),
        ("2.2", "", False), ("2.2", ":active", True), ("2.2", ":passive", False),
    ],
)  # fmt: skip
def test_files_of_neper(version: str, convention: str, inverse: bool, tmp_path: Path) -> None:
    """What the two versions call by opposite words is the same orientation."""
    (m,) = read(_neper(tmp_path / "a.tesr", version=version, descriptor=f"euler-bunge{convention}"), pixel_size_um=1)
    assert m["grain"].tolist() == [[7, 7, 9], [7, 0, 9]]
    expected = from_euler(np.deg2rad(ANGLES)) * ([1, -1, -1, -1] if inverse else 1)
    assert _same_rotation(m["orientation"][0, 0], expected)
    assert m.crystals["crystal"].laue == "m-3m"
    assert m.source["origin"] == [2, 1]


def test_rodrigues_vectors_and_version_2_0(tmp_path: Path) -> None:
    q = from_euler(np.deg2rad(ANGLES))
    text = " ".join(map(repr, (q[1:] / q[0]).tolist()))
    changes = {"version": "2.0 ascii", "descriptor": "R", "first": text, "data": "1 1 2 1 0 2"}
    (m,) = read(_neper(tmp_path / "a.tesr", **changes), pixel_size_um=1)
    assert _same_rotation(m["orientation"][0, 0], q)


@pytest.mark.parametrize("form", ["binary8", "binary16", "binary16_big", "binary32", "binary32_big"])
@pytest.mark.parametrize("beside", [False, True])
def test_binary_data(form: str, beside: bool, tmp_path: Path) -> None:
    kinds = {"binary8": "u1", "binary16": "<i2", "binary16_big": ">i2", "binary32": "<i4", "binary32_big": ">i4"}
    data = np.array([1, 1, 2, 1, 0, 2], kinds[form]).tobytes()
    path = _neper(tmp_path / "a.tesr", data=f"{form}\n@")
    if beside:
        (tmp_path / "a.raw").write_bytes(data)
        data = b"*file a.raw"
    path.write_bytes(path.read_bytes().replace(b"@", data))
    (m,) = read(path, pixel_size_um=1)
    assert m["grain"].tolist() == [[7, 7, 9], [7, 0, 9]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "ascii\n1 1 2 1 0"}, "6 numbers are announced and 5"),
        ({"data": "ascii\n1 1 2 1 0 3"}, "cells 0 to 3, and lists 2"),
        ({"data": "ascii\n*file ../secret.raw"}, "must be a file in the same folder"),
        ({"data": "ascii\n*file /etc/passwd"}, "must be a file in the same folder"),
        ({"data": "binary9\nxx"}, "unknown format 'binary9'"),
        ({"version": "3.0"}, "version '3.0'"),
        ({"descriptor": "miller"}, "orientations as 'miller'"),
        ({"descriptor": "quaternion"}, "announced"),
    ],
)
def test_damaged_tessellations(change: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(_neper(tmp_path / "a.tesr", **change), pixel_size_um=1)


def _own(path: Path) -> None:
    write(path, fakes.polycrystal((4, 5), voids=True, scatter=True))
    path.with_name(path.name + ".json").unlink()


def _binary(path: Path) -> None:
    _neper(path, data="binary16\n@")
    path.write_bytes(path.read_bytes().replace(b"@", np.array([1, 1, 2, 1, 0, 2], "<i2").tobytes()))


BUILDERS = {"own.tesr": _own, "neper.tesr": _neper, "binary.tesr": _binary}


@pytest.mark.parametrize("name", BUILDERS)
def test_mutants(name: str, tmp_path: Path) -> None:
    fakes.check_mutants(BUILDERS[name], tmp_path / name, 150, pixel_size_um=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDERS)
def test_many_mutants(name: str, tmp_path: Path) -> None:
    fakes.check_mutants(BUILDERS[name], tmp_path / name, 2000, pixel_size_um=1)
