"""The process that reads foreign HDF5: what a bad file does there, it does nowhere else."""

from __future__ import annotations

import math
import os
import textwrap
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microgen.core import InputError
from microgen.io import read, sandbox, sandbox_process

IMAGE = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
posix = pytest.mark.skipif(os.name != "posix", reason="limits and forks are those of POSIX")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.h5"
    with h5py.File(path, "w") as file:
        file["image"] = IMAGE
    return path


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program that is the real one until a test adds lines to it, started for this test alone."""
    real = sandbox_process.WORKER
    program = tmp_path / "worker.py"
    program.write_text(real.read_text(encoding="utf-8").partition('if __name__ == "__main__"')[0], encoding="utf-8")
    monkeypatch.setattr(sandbox_process, "WORKER", program)
    sandbox_process._end_all()
    yield program
    sandbox_process._end_all()


def misbehave(worker: Path, on_question: str) -> None:
    """Let the worker run `on_question` instead of answering."""
    body = textwrap.indent(textwrap.dedent(on_question), "    ")
    with worker.open("a", encoding="utf-8") as stream:
        stream.write(f"def _answer(file, question):\n{body}\nmain()\n")


def array(path: Path, name: str = "/image", **options: int) -> np.ndarray:
    with sandbox.opened(path, **options) as file:
        return file.array(name)


def test_values_attributes_and_texts_come_back(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.update(text="grüß", number=1.5, list=[1, 2], flag=True, bytes=np.bytes_("ab"), none=h5py.Empty("f"))
        file["group/big"] = IMAGE.astype(">i4")
        file["group/latin"] = np.array([b"\xb5m"])
        file["group/names"] = ["a", "b"]
        file["group/table"] = np.zeros(3, [("x", "f4"), ("y", "i4")])
        file["nothing"] = h5py.Empty("f")
        file["group/again"] = file["group"]
    with sandbox.opened(tmp_path / "a.h5") as file:
        attrs, names = file.root()
        assert attrs == {"text": "grüß", "number": 1.5, "list": [1, 2], "flag": True, "bytes": "ab", "none": None}
        assert names == ["group", "nothing"]
        assert file.children("/group") == ["again", "big", "latin", "names", "table"]
        assert file.objects["/group/big"] == sandbox.Entry("data", {}, (20, 30), "int32")
        assert [file.objects[f"/group/{n}"].dtype for n in ("names", "table")] == ["text", "table"]
        assert (file.text("/group/latin"), file.small("/group/names"), file.small("/nothing")) == (
            "µm",
            ["a", "b"],
            None,
        )
        assert (file.text("/absent"), file.number("/group/names")) == (None, None)
        np.testing.assert_array_equal(file.array("/group/big"), IMAGE)
        assert file.array("/group/big").dtype == np.dtype(np.int32)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=hnp.arrays(
        st.sampled_from(["?", "i1", ">u2", "<i4", ">i8", "u8", "<f2", ">f4", "f8"]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
    ),
    chunked=st.booleans(),
)
def test_arrays_are_the_same_as_in_this_process(tmp_path: Path, values: np.ndarray, chunked: bool) -> None:
    options = (
        {"chunks": True, "compression": "gzip", "shuffle": True} if chunked and values.size and values.ndim else {}
    )
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("v", data=values, **options)
    found = array(tmp_path / "a.h5", "/v")
    assert (found.shape, found.dtype) == (values.shape, values.dtype.newbyteorder("="))
    np.testing.assert_array_equal(found, values)


def test_large_arrays_come_in_parts(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((300, 90, 100))  # 21.6 MB; parts have 16.8
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("plain", data=values)
        file.create_dataset("chunked", data=values, chunks=(7, 40, 33), compression="lzf")
    for name in ("/plain", "/chunked"):
        np.testing.assert_array_equal(array(tmp_path / "a.h5", name), values)


def test_crash_is_an_error_and_the_next_file_is_read(worker: Path, good: Path) -> None:
    misbehave(worker, "import signal; os.kill(os.getpid(), signal.SIGSEGV)")
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"good\.h5 cannot be read: the HDF5 library crashed on it; the file is damaged"
        ):
            array(good)
    assert sandbox_process._idle == []
    worker.write_text(
        worker.read_text(encoding="utf-8").partition("def _answer(file, question):\n    import")[0] + "main()"
    )
    np.testing.assert_array_equal(array(good), IMAGE)


def test_hang_ends_with_patience(worker: Path, good: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    misbehave(worker, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nwhile True: pass")
    code = (
        worker.read_text(encoding="utf-8")
        .replace("            _no_more_files()\n", "")
        .replace('"RLIMIT_FSIZE": 0, ', "")
    )
    worker.write_text(code, encoding="utf-8")
    monkeypatch.setattr(sandbox_process, "PATIENCE_S", 1)
    with pytest.raises(InputError, match=r"came to no end within 1 s; the file is damaged"):
        array(good)
    assert ended(int((tmp_path / "pid").read_text()))


def ended(pid: int) -> bool:
    """Wait a while for a process to be gone; one that nobody has waited for counts as gone."""
    for _ in range(100):
        status = Path(f"/proc/{pid}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return True
        time.sleep(0.05)
    return False


@posix
def test_memory_is_limited(worker: Path, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    misbehave(worker, "np.zeros(1 << 28)\nraise ValueError('there was room')")  # 2 GiB
    with pytest.raises(InputError, match=r"limit of 1024 MiB of memory.*max_pixels"):
        array(good)
    monkeypatch.setattr(sandbox_process, "MEMORY", 3 << 30)
    with pytest.raises(InputError, match="there was room"):
        array(good)


@posix
def test_no_other_file_can_be_opened_or_written(worker: Path, good: Path) -> None:
    misbehave(worker, f"open({str(good)!r}).read()")
    with pytest.raises(InputError, match="Too many open files"):
        array(good)


@posix
def test_no_file_can_be_written(worker: Path, good: Path) -> None:
    misbehave(worker, f"open({str(worker)!r}, 'w').write('x' * 99999)")
    code = worker.read_text(encoding="utf-8").replace("            _no_more_files()\n", "")
    worker.write_text(code, encoding="utf-8")
    with pytest.raises(InputError, match=r"crashed|File too large"):
        array(good)


def test_a_program_that_does_not_start_is_not_blamed_on_the_file(worker: Path, good: Path) -> None:
    worker.write_text("import no_such_module", encoding="utf-8")
    with pytest.raises(InputError, match="the process that reads HDF5 files did not start"):
        array(good)


def test_a_process_that_was_ended_meanwhile_is_replaced(worker: Path, good: Path) -> None:
    worker.write_text(worker.read_text(encoding="utf-8") + "main()", encoding="utf-8")
    array(good)
    (child,) = sandbox_process._idle
    child._process.kill()
    child._process.wait()
    np.testing.assert_array_equal(array(good), IMAGE)


def test_one_process_serves_all_files_also_after_errors(good: Path, tmp_path: Path) -> None:
    sandbox_process._end_all()
    (tmp_path / "bad.h5").write_bytes(good.read_bytes()[:600])
    array(good)
    (child,) = sandbox_process._idle
    for _ in range(3):
        with pytest.raises(InputError, match=r"bad\.h5 cannot be read, it may be damaged or truncated"):
            array(tmp_path / "bad.h5")
        with pytest.raises(InputError, match="no data set /absent"):
            array(good, "/absent")
        array(good)
        assert sandbox_process._idle == [child]


def test_a_file_is_free_as_soon_as_it_was_read(good: Path) -> None:
    for k in range(5):
        array(good)
        with h5py.File(good, "a") as file:
            file.attrs["k"] = k


def test_damage_in_the_middle_of_an_array(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        noise = np.random.default_rng(0).integers(0, 255, (40, 1 << 20), dtype=np.uint8)
        data = file.create_dataset("v", data=noise, chunks=(4, 1 << 20), fletcher32=True)
        place = data.id.get_chunk_info(8).byte_offset
    with (tmp_path / "a.h5").open("r+b") as stream:
        stream.seek(place + 100)
        stream.write(b"damaged")
    with pytest.raises(InputError, match="damaged or truncated"):
        array(tmp_path / "a.h5", "/v")
    assert sandbox_process._idle


def test_nothing_outside_the_file_is_read(tmp_path: Path) -> None:
    secret, other = tmp_path / "secret.bin", tmp_path / "other.h5"
    secret.write_bytes(bytes(IMAGE))
    with h5py.File(other, "w") as file:
        file["image"] = IMAGE
    layout = h5py.VirtualLayout(IMAGE.shape, np.uint8)
    layout[:] = h5py.VirtualSource(other, "image", IMAGE.shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["link"] = h5py.ExternalLink(str(other), "image")
        file["group"] = h5py.ExternalLink(str(other), "/")
        file["soft"] = h5py.SoftLink("/link")
        file.create_dataset("storage", IMAGE.shape, np.uint8, external=[(str(secret), 0, IMAGE.nbytes)])
        file.create_virtual_dataset("virtual", layout)
    with sandbox.opened(tmp_path / "a.h5") as opened:
        assert not any(entry.is_numbers for entry in opened.objects.values())
        assert {opened.objects[f"/{n}"].kind for n in ("link", "group", "soft")} == {"link"}
    for name in ("link", "group/image", "soft", "storage", "virtual"):
        with pytest.raises(InputError, match=r"in another file|no data set"):
            array(tmp_path / "a.h5", f"/{name}")
        with pytest.raises(InputError, match=r"a\.h5"):
            read(tmp_path / "a.h5", dataset=name, pixel_size_um=1)


@posix
def test_the_worker_itself_refuses_what_lies_outside(worker: Path, tmp_path: Path) -> None:
    """Even if this side asked for it."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["link"] = h5py.ExternalLink("other.h5", "image")
        file.create_dataset("storage", (4, 4), np.uint8, external=[("secret.bin", 0, 16)])
    worker.write_text(worker.read_text(encoding="utf-8") + "main()", encoding="utf-8")
    for name in ("link", "storage"):
        with (
            sandbox.opened(tmp_path / "a.h5") as opened,
            pytest.raises(InputError, match=r"link instead|in another file"),
        ):
            opened._child.fill({"ask": "array", "path": f"/{name}"}, np.zeros((4, 4), np.uint8))


def bomb(path: Path, chunks: int) -> None:
    """Chunks of 16 MiB zeros, each compressed to 16 KiB."""
    with h5py.File(path, "w") as file:
        shape = (chunks * 4096, 4096)
        data = file.create_dataset("image", shape, np.uint8, chunks=(4096, 4096), compression="gzip")
        packed = zlib.compress(bytes(1 << 24), 9)
        for k in range(chunks):
            data.id.write_direct_chunk((k * 4096, 0), packed)


def test_bombs_are_refused_by_their_size(tmp_path: Path) -> None:
    bomb(tmp_path / "a.h5", 120)  # 2 GB from 2 MB
    assert (tmp_path / "a.h5").stat().st_size < 3e6
    with pytest.raises(InputError, match=r"would expand to 2013265920 pixels.*max_pixels=2013265920"):
        read(tmp_path / "a.h5", pixel_size_um=1)
    with h5py.File(tmp_path / "b.h5", "w") as file:  # 2^60 values that nobody ever wrote
        file.create_dataset("image", (1 << 30, 1 << 30), np.uint8, chunks=(1 << 10, 1 << 10))
    with pytest.raises(InputError, match=f"would expand to {1 << 60} pixels"):
        read(tmp_path / "b.h5", pixel_size_um=1)
    bomb(tmp_path / "c.h5", 2)
    assert array(tmp_path / "c.h5").nbytes == 1 << 25


def test_many_small_bombs_count_together(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for k in range(5):
            file.create_dataset(f"d{k}", (1000, 1000), np.uint8, chunks=True)
    with sandbox.opened(tmp_path / "a.h5", max_pixels=3_500_000) as opened:
        for k in range(3):
            opened.array(f"/d{k}")
        with pytest.raises(InputError, match="would expand to 4000000 pixels"):
            opened.array("/d3")


def test_large_values_where_small_ones_are_expected(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("X Step", (1 << 30,), np.float64, chunks=True)
        file.attrs["small"] = 1
        file.attrs.create("large", np.zeros(5000))
    with sandbox.opened(tmp_path / "a.h5") as opened:
        assert opened.root()[0] == {"small": 1}
        with pytest.raises(InputError, match=r"a\.h5 has 1073741824 values in /X Step, where a few are expected"):
            opened.small("/X Step")


def test_groups_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/b/image"] = IMAGE
        file["a/b/up"] = file["a"]
        file["a/b/top"] = file["/"]
    with sandbox.opened(tmp_path / "a.h5") as opened:
        assert list(opened.objects) == ["/", "/a", "/a/b", "/a/b/image", "/a/b/top", "/a/b/up"]
    assert read(tmp_path / "a.h5", pixel_size_um=1)[0].shape == IMAGE.shape


def test_too_many_objects(worker: Path, good: Path) -> None:
    with h5py.File(good, "a") as file:
        for k in range(30):
            file.create_group(f"g{k}")
    worker.write_text(worker.read_text(encoding="utf-8") + "MOST_OBJECTS = 20\nmain()", encoding="utf-8")
    with pytest.raises(InputError, match=r"good\.h5 holds more than 20 objects"):
        array(good)


def test_unknown_compression_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((8, 8))
        properties.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (2, 2))
        space = h5py.h5s.create_simple((8, 8))
        data = h5py.h5d.create(file.id, b"image", h5py.h5t.NATIVE_UINT8, space, properties)
        data.write_direct_chunk((0, 0), bytes(20))
    with pytest.raises(InputError, match=r"/image compressed by .*HDF5 filter 32001.*not installed"):
        array(tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["grün.h5", "with space.h5", "new\nline.h5", "bytes\udcff.h5"])
def test_names_of_files(name: str, good: Path) -> None:
    other = good.with_name(name)
    try:
        good.rename(other)
    except OSError:
        pytest.skip("no such name on this file system")
    np.testing.assert_array_equal(array(other), IMAGE)


def test_relative_names_follow_the_working_folder(good: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.h5").write_bytes(good.read_bytes())
        monkeypatch.chdir(tmp_path / folder)
        (tmp_path / "one" / "a.h5").unlink(missing_ok=folder == "two")
        if folder == "two":
            np.testing.assert_array_equal(array(Path("a.h5")), IMAGE)


def test_what_is_no_hdf5_needs_no_process(tmp_path: Path, worker: Path) -> None:
    worker.unlink()
    for content in (b"", b"\x89HDF", b"text" * 500):
        (tmp_path / "a.h5").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.h5 is not an HDF5 file"):
            array(tmp_path / "a.h5")
    with pytest.raises(FileNotFoundError):
        array(tmp_path / "absent.h5")


def test_user_block_before_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=2048) as file:
        file["image"] = IMAGE
    np.testing.assert_array_equal(array(tmp_path / "a.h5"), IMAGE)


def test_decimal() -> None:
    for value in (0.1, 0.12, 1.5, 2.0, 0.4999, 1e-7, 123456.0):
        assert sandbox.decimal(float(np.float32(value))) == value
    assert math.isclose(sandbox.decimal(math.pi), math.pi, rel_tol=1e-7)
