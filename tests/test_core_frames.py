"""Frames of Euler angles against the rotations that MTEX and DREAM.3D document, and Miller indices against geometry."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from microgen.core import Crystal, InputError, Microstructure
from microgen.core.crystals import LAUE_GROUPS
from microgen.core.frames import MAP_AXES, frame_axes, from_map_frame, in_map_frame, to_map_frame
from microgen.core.lattice import direction, parse_indices, plane_normal, structure_matrix
from microgen.core.orientations import disorientation_angle, quaternions, random_orientations, rotations

FRAMES = [*MAP_AXES, "down-right", "right-up", "up-right"]
HEXAGONAL = (0.3, 0.3, 0.5, 90, 90, 120)
TRICLINIC = (0.5, 0.6, 0.7, 80.0, 95.0, 110.0)


@pytest.mark.parametrize(
    ("frame", "axis"),
    [("down-right", (1, 1, 0)), ("up-left", (1, -1, 0)), ("right-up", (1, 0, 0)), ("left-down", (0, 1, 0))],
)
def test_settings_of_edax_are_half_turns_about_the_axes_that_mtex_states(frame: str, axis: tuple[int, ...]) -> None:
    """eulerCorrectionRotation of MTEX: settings 1 to 4 turn by 180 degrees about x + y, x - y, x and y."""
    half_turn = Rotation.from_rotvec(np.pi * np.array(axis) / np.linalg.norm(axis))
    np.testing.assert_allclose(frame_axes(frame), half_turn.as_matrix(), atol=1e-12)


def test_edax_is_what_dream3d_recommends() -> None:
    """Euler frame 90 degrees about <001>, passive, then the sample 180 degrees about <010>."""
    sample = Rotation.from_euler("Y", 180, degrees=True).as_matrix()
    euler = Rotation.from_euler("Z", 90, degrees=True).as_matrix().T
    np.testing.assert_allclose(frame_axes("edax"), sample @ euler, atol=1e-12)
    np.testing.assert_allclose(frame_axes("oxford"), sample, atol=1e-12)


def test_oxford_is_edax_less_90_degrees_of_phi1() -> None:
    """As EMsoft has it: an orientation in Oxford's frame gets 90 degrees more of phi1 in EDAX's."""
    in_oxford = random_orientations(np.random.default_rng(0), 50)
    in_edax = quaternions(Rotation.from_euler("Z", 90, degrees=True) * rotations(in_oxford))
    same = to_map_frame(in_oxford, "oxford"), to_map_frame(in_edax, "edax")
    np.testing.assert_allclose(disorientation_angle(*same, Crystal("-1")), 0, atol=1e-6)


@pytest.mark.parametrize("frame", FRAMES)
def test_there_and_back_and_right_handed(frame: str) -> None:
    q = random_orientations(np.random.default_rng(1), 30).reshape(5, 6, 4)
    assert np.linalg.det(frame_axes(frame)) == pytest.approx(1)
    np.testing.assert_allclose(from_map_frame(to_map_frame(q, frame), frame), q, atol=1e-12)


@pytest.mark.parametrize("frame", FRAMES)
def test_disorientations_do_not_depend_on_the_frame(frame: str) -> None:
    a, b = random_orientations(np.random.default_rng(2), 40).reshape(2, 20, 4)
    crystal = Crystal("m-3m")
    turned = disorientation_angle(to_map_frame(a, frame), to_map_frame(b, frame), crystal)
    np.testing.assert_allclose(turned, disorientation_angle(a, b, crystal), atol=1e-6)


@pytest.mark.parametrize("frame", ["unknown", "up", "up-down", "left-left", "EDAX", ""])
def test_unknown_frames_are_refused(frame: str) -> None:
    with pytest.raises(InputError, match="up-left"):
        frame_axes(frame)


def ebsd(frame: str | None) -> Microstructure:
    q = random_orientations(np.random.default_rng(3), 6).reshape(2, 3, 4).astype(np.float32)
    mask = np.array([[1, 1, 1], [1, 1, 0]], np.uint8)
    q[mask == 0] = [1, 0, 0, 0]
    source = {"euler_frame": frame} if frame else {}
    return Microstructure({"orientation": q, "mask": mask}, (1, 1), source=source)


def test_map_is_turned_once_and_says_so() -> None:
    given = ebsd("edax")
    turned = in_map_frame(given)
    assert turned.source["euler_frame"] == "map"
    assert turned.source["euler_frame_was"] == "edax"
    assert turned["orientation"].dtype == np.float32
    np.testing.assert_allclose(turned["orientation"][0], to_map_frame(given["orientation"][0], "edax"), atol=1e-6)
    assert turned["orientation"][1, 2].tolist() == [1, 0, 0, 0], "not indexed"
    again = in_map_frame(turned)
    np.testing.assert_allclose(again["orientation"], turned["orientation"], atol=1e-6)
    assert again.source["euler_frame_was"] == "edax"


@pytest.mark.parametrize("frame", [None, "unknown"])
def test_map_of_unknown_frame_needs_to_be_told(frame: str | None) -> None:
    with pytest.raises(InputError, match="unknown"):
        in_map_frame(ebsd(frame))
    assert in_map_frame(ebsd(frame), "oxford").source["euler_frame_was"] == "oxford"


@pytest.mark.parametrize("x_along", ["a", "a*"])
@pytest.mark.parametrize("lattice", [HEXAGONAL, TRICLINIC])
def test_structure_matrix_has_the_lengths_and_angles_of_the_lattice(x_along: str, lattice: tuple[float, ...]) -> None:
    basis = structure_matrix(Crystal("-1", lattice, x_along))  # type: ignore[arg-type]
    metric = basis.T @ basis
    lengths = np.sqrt(np.diag(metric))
    np.testing.assert_allclose(lengths, lattice[:3])
    cosines = (metric / np.outer(lengths, lengths))[[1, 0, 0], [2, 2, 1]]
    np.testing.assert_allclose(np.rad2deg(np.arccos(cosines)), lattice[3:])
    assert np.linalg.det(basis) > 0
    reciprocal = np.linalg.inv(basis).T
    along = {"a": (basis[:, 0], reciprocal[:, 2]), "a*": (reciprocal[:, 0], basis[:, 2])}[x_along]
    for vector, axis in zip(along, np.eye(3)[[0, 2]], strict=True):
        np.testing.assert_allclose(vector / np.linalg.norm(vector), axis, atol=1e-12)


@pytest.mark.parametrize("lattice", [HEXAGONAL, TRICLINIC])
def test_directions_lie_in_planes_where_their_indices_say_so(lattice: tuple[float, ...]) -> None:
    """The zone law hu + kv + lw = 0."""
    crystal = Crystal("-1", lattice)
    for uvw, hkl in [((1, 0, 0), (0, 1, 1)), ((1, -1, 2), (1, 3, 1)), ((2, 1, -3), (1, 1, 1))]:
        assert np.dot(uvw, hkl) == 0
        assert direction(crystal, uvw) @ plane_normal(crystal, hkl) == pytest.approx(0, abs=1e-12)
    assert direction(crystal, (1, 0, 0)) @ plane_normal(crystal, (1, 0, 0)) > 0


def test_four_indices() -> None:
    crystal = Crystal("6/mmm", HEXAGONAL)
    np.testing.assert_allclose(direction(crystal, (1, 1, -2, 0)), plane_normal(crystal, (1, 1, -2, 0)), atol=1e-12)
    np.testing.assert_allclose(direction(crystal, (2, -1, -1, 3)), direction(crystal, (1, 0, 1)), atol=1e-12)
    tilt = np.arccos(plane_normal(crystal, (1, 0, -1, 1))[2])
    assert np.tan(tilt) == pytest.approx(2 / np.sqrt(3) * 0.5 / 0.3), "tan = 2 c / (sqrt 3 a)"
    for wrong in [(1, 0, 0, 0), (1, 2), (1, 1, 1, 1)]:
        with pytest.raises(InputError):
            direction(crystal, wrong)
    with pytest.raises(InputError, match="hexagonal"):
        direction(Crystal("m-3m"), (1, 1, -2, 0))


def test_x_along_turns_trigonal_and_hexagonal_frames_by_30_degrees() -> None:
    a, reciprocal = (direction(Crystal("6/mmm", HEXAGONAL, x), (1, 0, 0)) for x in ("a", "a*"))  # type: ignore[arg-type]
    assert np.rad2deg(np.arctan2(a[1], a[0]) - np.arctan2(reciprocal[1], reciprocal[0])) == pytest.approx(30)


@pytest.mark.parametrize("laue", ["-3m", "6/mmm", "4/mmm", "mmm", "2/m", "-3"])
@pytest.mark.parametrize("x_along", ["a", "a*"])
def test_operations_map_the_lattice_onto_itself(laue: str, x_along: str) -> None:
    lattices = {"4/mmm": (0.3, 0.3, 0.5, 90, 90, 90), "mmm": (0.3, 0.4, 0.5, 90, 90, 90)}
    lattices["2/m"] = (0.3, 0.4, 0.5, 90, 105, 90)
    crystal = Crystal(laue, lattices.get(laue, HEXAGONAL), x_along)  # type: ignore[arg-type]
    basis = structure_matrix(crystal)
    for operation in crystal.operations.as_matrix():
        indices = np.linalg.inv(basis) @ operation @ basis
        np.testing.assert_allclose(indices, np.round(indices), atol=1e-9)


def test_lattice_is_needed_but_in_cubic_crystals() -> None:
    for laue in set(LAUE_GROUPS) - {"m-3", "m-3m"}:
        with pytest.raises(InputError, match="lattice"):
            plane_normal(Crystal(laue), (1, 0, 0))
    with pytest.raises(InputError, match="unit cell"):
        structure_matrix(Crystal("-1", (1, 1, 1, 40, 40, 100)))
    with pytest.raises(InputError, match="no direction"):
        direction(Crystal("m-3m"), (0, 0, 0))


@pytest.mark.parametrize(
    ("text", "indices"),
    [("111", (1, 1, 1)), ("{1 1 -2 0}", (1, 1, -2, 0)), ("1,-1,12", (1, -1, 12)), ("<-1-12>", (-1, -1, 2))],
)
def test_indices_as_people_write_them(text: str, indices: tuple[int, ...]) -> None:
    assert parse_indices(text) == indices


@pytest.mark.parametrize("text", ["", "11", "000", "abc", "1 0 0 1", "1x1", "11111"])
def test_wrong_indices_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_indices(text)
