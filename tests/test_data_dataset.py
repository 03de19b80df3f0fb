"""The data set file: nothing lost, nothing half written, nothing read from outside."""

from __future__ import annotations

import hashlib

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microgen.core import InputError, Microstructure, StorageError
from microgen.data import Dataset, Item, write_dataset

DTYPES = st.sampled_from([np.uint8, np.uint16, np.int32, np.float32, np.float64, np.bool_])
ARRAYS = DTYPES.flatmap(
    lambda t: hnp.arrays(
        t,
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=9),
        elements={"allow_nan": False, "allow_infinity": False} if np.dtype(t).kind == "f" else None,
    )
)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


def item(name="a", values=None, split="train"):
    values = np.arange(600, dtype=np.uint16).reshape(20, 30) if values is None else values
    return Item(name, Microstructure({"intensity": values}, (0.5,) * values.ndim), f"specimen {name}", split)


@given(
    values=ARRAYS,
    name=NAMES,
    phases=st.lists(NAMES, max_size=3),
    scalars=st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    spacing=st.floats(1e-4, 1e4),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_everything_comes_back(tmp_path, values, name, phases, scalars, spacing):
    m = Microstructure(
        {"intensity": values}, (spacing,) * values.ndim, tuple(phases), scalars, {"file": name, "n": [1, 2]}
    )
    write_dataset(tmp_path / "d.h5", [Item(name, m, "s", "held_out")], {"by": name}, fingerprint={"count": 1})
    data = Dataset.open(tmp_path / "d.h5")
    back = data.read(name)
    assert back["intensity"].dtype == values.dtype
    np.testing.assert_array_equal(back["intensity"], values)
    assert (back.spacing, back.phases, dict(back.scalars)) == (m.spacing, m.phases, dict(m.scalars))
    assert dict(back.source) == dict(m.source)
    assert (data.names, data.split_of(name), data.specimen_of(name)) == ([name], "held_out", "s")
    assert (dict(data.meta), dict(data.fingerprint)) == ({"by": name}, {"count": 1})


def test_window_reads_the_part_and_nothing_else(tmp_path):
    values = np.random.default_rng(0).integers(0, 65535, (300, 400), dtype=np.uint16)
    write_dataset(tmp_path / "d.h5", [item(values=values)], {})
    part = Dataset.open(tmp_path / "d.h5").read("a", (slice(10, 290), slice(250, 260)))
    np.testing.assert_array_equal(part["intensity"], values[10:290, 250:260])


def test_channels_orders_and_splits_are_kept(tmp_path):
    euler = np.random.default_rng(0).random((7, 8, 4))
    mixed = Microstructure({"orientation": euler, "phase": np.zeros((7, 8), np.uint8)}, (1, 2), ("iron",))
    items = [item("b"), Item("a", mixed, "x", "held_out"), item("c")]
    write_dataset(tmp_path / "d.h5", iter(items), {})
    data = Dataset.open(tmp_path / "d.h5")
    assert data.names == ["b", "a", "c"]
    assert data.names_in("train") == ["b", "c"]
    assert data.names_in("held_out") == ["a"]
    np.testing.assert_array_equal(data.read("a")["orientation"], euler)
    assert data.read("a").spacing == (1, 2)


def test_same_content_gives_the_same_bytes(tmp_path):
    for name in ("one.h5", "two.h5"):
        write_dataset(tmp_path / name, [item()], {"a": 1})
    digests = [hashlib.sha256((tmp_path / n).read_bytes()).hexdigest() for n in ("one.h5", "two.h5")]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("items", [[], [item(), item()], [item(split="test")]], ids=["none", "twice", "split"])
def test_refused_items_leave_nothing_behind(tmp_path, items):
    (tmp_path / "d.h5").write_bytes(b"before")
    with pytest.raises(InputError):
        write_dataset(tmp_path / "d.h5", items, {})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"d.h5": b"before"}


def test_a_failing_source_leaves_nothing_behind(tmp_path):
    def items():
        yield item()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "d.h5", items(), {})
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_dataset(tmp_path / "file" / "d.h5", [item()], {})


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_files_are_input_errors(tmp_path, share):
    values = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    write_dataset(tmp_path / "d.h5", [item(values=values)], {})
    raw = (tmp_path / "d.h5").read_bytes()
    (tmp_path / "d.h5").write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(InputError, match=r"d\.h5"):
        Dataset.open(tmp_path / "d.h5").read("a")


def test_a_flipped_bit_in_the_values_is_found(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    write_dataset(tmp_path / "d.h5", [item(values=values)], {})
    with h5py.File(tmp_path / "d.h5") as file:
        place = file["images/000000/fields/intensity"].id.get_chunk_info(0)
    raw = bytearray((tmp_path / "d.h5").read_bytes())
    raw[place.byte_offset + place.size // 2] ^= 4
    (tmp_path / "d.h5").write_bytes(raw)
    with pytest.raises(InputError, match="damaged"):
        Dataset.open(tmp_path / "d.h5").read("a")


def tampered(tmp_path, change):
    write_dataset(tmp_path / "d.h5", [item()], {})
    with h5py.File(tmp_path / "d.h5", "a") as file:
        change(file)
    return tmp_path / "d.h5"


def test_external_links_are_refused(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as other:
        other["x"] = np.zeros((4, 4))

    def link(file):
        del file["images/000000/fields/intensity"]
        file["images/000000/fields/intensity"] = h5py.ExternalLink("secret.h5", "/x")

    with pytest.raises(InputError, match="outside"):
        Dataset.open(tampered(tmp_path, link)).read("a")


def test_external_storage_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"s" * 16)

    def point(file):
        del file["images/000000/fields/intensity"]
        file["images/000000/fields"].create_dataset(
            "intensity", (4, 4), np.uint8, external=[(str(tmp_path / "secret"), 0, 16)]
        )

    with pytest.raises(InputError, match="outside"):
        Dataset.open(tampered(tmp_path, point)).read("a")


def test_virtual_datasets_and_soft_links_are_refused(tmp_path):
    def virtual(file):
        del file["images/000000/fields/intensity"]
        layout = h5py.VirtualLayout((4, 4), np.uint8)
        layout[:] = h5py.VirtualSource("secret.h5", "x", (4, 4))
        file["images/000000/fields"].create_virtual_dataset("intensity", layout)

    with pytest.raises(InputError, match="outside"):
        Dataset.open(tampered(tmp_path, virtual)).read("a")

    def soft(file):
        del file["meta"]
        file["meta"] = h5py.SoftLink("/fingerprint")

    with pytest.raises(InputError, match="outside"):
        Dataset.open(tampered(tmp_path, soft))


def test_arrays_that_were_never_written_are_refused(tmp_path):
    def claim(file):
        del file["images/000000/fields/intensity"]
        file["images/000000/fields"].create_dataset("intensity", (2**20, 2**20), np.uint8, chunks=(64, 64))

    with pytest.raises(InputError, match="more values than the file holds"):
        Dataset.open(tampered(tmp_path, claim)).read("a")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.attrs.__setitem__("format", "other"), "not a data set of microgen"),
        (lambda f: f.attrs.__setitem__("version", 99), "update microgen"),
        (lambda f: f.__delitem__("images"), "images"),
        (lambda f: f["images/000000"].attrs.__delitem__("split"), "damaged"),
        (lambda f: f["images/000000"].attrs.__setitem__("split", "test"), "held_out"),
    ],
)
def test_wrong_contents_are_named(tmp_path, change, says):
    with pytest.raises(InputError, match=says):
        Dataset.open(tampered(tmp_path, change))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="microgen prepare"):
        Dataset.open(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(InputError, match="damaged or not"):
        Dataset.open(tmp_path / "text.h5")
    write_dataset(tmp_path / "d.h5", [item()], {})
    with pytest.raises(InputError, match="no item 'b'"):
        Dataset.open(tmp_path / "d.h5").read("b")
    with pytest.raises(InputError, match="split"):
        Dataset.open(tmp_path / "d.h5").names_in("test")
