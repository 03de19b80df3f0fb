"""Damaged, truncated and hostile files: one clear error that names the file, never part of the data."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from microgen.core import InputError, Microstructure
from microgen.io import own_hdf5, read, read_recipe, write

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 200, (24, 31), dtype=np.uint8)
SAMPLE = Microstructure({"intensity": GRAY}, (0.5, 0.25), scalars={"anneal_K": 1.5})
VOLUME = Microstructure({"phase": RNG.integers(0, 3, (4, 9, 8))}, (0.5, 0.25, 0.3), phases=("a", "b", "c"))


def _sample(path: Path) -> None:
    write(path, SAMPLE, {"command": "sample", "seed": 1})


def _volume(path: Path) -> None:
    write(path, VOLUME)


def _pillow(**options: Any) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(GRAY).save(path, **options)


def _imagej(path: Path) -> None:
    meta = {"unit": "um", "spacing": 0.4, "axes": "ZYX"}
    tifffile.imwrite(path, np.stack([GRAY] * 3), compression="zlib", imagej=True, resolution=(4, 4), metadata=meta)


def _ome(path: Path) -> None:
    tifffile.imwrite(path, np.stack([GRAY] * 2), ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.1})


def _tiled(path: Path) -> None:
    tifffile.imwrite(path, GRAY.astype(np.float32), tile=(16, 16), bigtiff=True)


def _fei(path: Path) -> None:
    text = b"[Scan]\r\nPixelWidth=1e-07\r\n[Image]\r\nResolutionX=31\r\nResolutionY=20\r\n"
    tifffile.imwrite(path, GRAY, metadata=None, extratags=[(34682, 2, len(text), text, True)])


FILES: dict[str, Callable[[Path], None]] = {
    "sample.png": _sample,
    "sample.tif": _sample,
    "sample.npy": _sample,
    "sample.h5": _sample,
    "volume.tif": _volume,
    "volume.h5": _volume,
    "plain.jpg": _pillow(quality=90),
    "plain.bmp": _pillow(),
    "lzw.tif": _pillow(compression="tiff_lzw"),
    "packbits.tif": _pillow(compression="packbits"),
    "imagej.tif": _imagej,
    "ome.ome.tif": _ome,
    "tiled.tif": _tiled,
    "fei.tif": _fei,
}


def attempt(path: Path) -> list[Microstructure] | None:
    """Read, or None for the one error allowed, which must name the file."""
    try:
        return read(path, pixel_size_um=0.5, crop_bottom=0)
    except InputError as error:
        if str(path) not in str(error):
            pytest.fail(f"the error does not name the file: {error}")
        return None


def same(one: list[Microstructure], other: list[Microstructure]) -> bool:
    return len(one) == len(other) and all(
        list(a.fields) == list(b.fields) and all(np.array_equal(a[n], b[n]) for n in a.fields)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", FILES)
def test_truncated_anywhere_is_an_error_or_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    FILES[name](path)
    data, whole = path.read_bytes(), attempt(path)
    assert whole
    for percent in range(0, 100, 5):
        path.write_bytes(data[: len(data) * percent // 100])
        found = attempt(path)
        assert found is None or same(found, whole), f"{name} cut at {percent} % gave other data"
        if percent <= 50:
            assert found is None


def mutant(data: bytes, rng: random.Random) -> bytes:
    """Overwrite, delete or insert a few bytes, half of them in the header."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(changed) if rng.random() < 0.5 else min(len(changed), 400))
        kind = rng.random()
        if kind < 0.8:
            changed[at] = rng.choice([rng.randrange(256), 0, 127, 128, 255])
        elif kind < 0.9:
            del changed[at : at + rng.randrange(1, 16)]
        else:
            changed[at:at] = rng.randbytes(rng.randrange(1, 8))
    return bytes(changed)


@pytest.mark.parametrize("name", FILES)
def test_mutants_give_an_error_or_a_structure(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    FILES[name](path)
    data, whole = path.read_bytes(), attempt(path)
    assert whole
    rng = random.Random(name)
    refused = 0
    for _ in range(300):
        path.write_bytes(mutant(data, rng))
        found = attempt(path)
        refused += found is None
        if found is not None and name.startswith("sample") and path.suffix in (".h5", ".npy", ".png"):
            assert same(found, whole), "formats with a checksum must notice every change of values"
    assert refused > 30


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "a.npy", "a.h5"])
@pytest.mark.parametrize("content", [b"", b"\0", b"not a picture at all\n" * 40, b"II*\0", b"\x93NUMPY\x01\x00"])
def test_other_content(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read(path, pixel_size_um=1)
    if path.suffix in (".png", ".tif", ".h5"):
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            read_recipe(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "a.h5", "a.jpg"])
def test_absent_file_and_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / name, pixel_size_um=1)
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="find_inputs"):
        read(tmp_path / name, pixel_size_um=1)


def test_unknown_extension(tmp_path: Path) -> None:
    (tmp_path / "a.dm3").write_bytes(b"x")
    with pytest.raises(InputError, match=r"\.dm3 are not read; known are \.png"):
        read(tmp_path / "a.dm3", pixel_size_um=1)


def test_npy_with_python_objects_runs_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (canary,)

    np.save(tmp_path / "a.npy", np.array([[Evil()]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        read(tmp_path / "a.npy", pixel_size_um=1)
    assert not canary.exists()


def test_npy_that_claims_more_than_it_has(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "<f8", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
        )
    with pytest.raises(InputError, match="truncated"):
        read(tmp_path / "a.npy", pixel_size_um=1)


def test_tiff_bomb(tmp_path: Path) -> None:
    """A kilobyte that claims 2^40 pixels is refused by size before anything is decoded; so is a real one."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2048, 2048), np.uint8), compression="zlib")
    with pytest.raises(InputError, match=r"4194304 pixels.*max_pixels=1000000.*read\(\.\.\., max_pixels=4194304\)"):
        read(tmp_path / "a.tif", pixel_size_um=1, max_pixels=1_000_000)
    assert read(tmp_path / "a.tif", pixel_size_um=1)[0].shape == (2048, 2048)
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((8, 8), np.uint8), compression="zlib")
    with tifffile.TiffFile(tmp_path / "b.tif", mode="r+") as tif:
        for code in (256, 257, 278):
            tif.pages[0].tags[code].overwrite(1 << 20)
    with pytest.raises(InputError, match="max_pixels"):
        read(tmp_path / "b.tif", pixel_size_um=1)


def test_honest_large_file_needs_no_permission(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((256, 256), np.uint8))
    assert read(tmp_path / "a.tif", pixel_size_um=1, max_pixels=100)[0].shape == (256, 256)


def test_png_bomb(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    for side, message in ((12_000, "max_pixels"), (60_000, "save it as TIFF")):
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
        with pytest.raises(InputError, match=message):
            read(tmp_path / "a.png", pixel_size_um=1, max_pixels=10**8)


def test_hdf5_bomb(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", Microstructure({"phase": np.zeros((2048, 2048), np.uint8)}, (1, 1)))
    with pytest.raises(InputError, match="max_pixels"):
        read(tmp_path / "a.h5", max_pixels=1_000_000)


def _sealed(path: Path, build: Callable[[h5py.File], None]) -> None:
    """Write a sample file that looks genuine but whose field is built by `build`."""
    with h5py.File(path, "w", userblock_size=own_hdf5.SEAL_BYTES) as file:
        file.attrs.update(format=own_hdf5.FORMAT, version=1)
        texts = {"spacing_um": [1, 1], "phases": [], "scalars": {}, "source": {}, "fields": ["phase"]}
        for key, value in texts.items():
            file.attrs[f"microgen:{key}"] = json.dumps(value)
        build(file)
    seal = own_hdf5._seal(path)
    with path.open("r+b") as stream:
        stream.write(seal)


def test_hdf5_never_reaches_outside_itself(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"\7" * 16)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["phase"] = np.full((4, 4), 7, np.uint8)
    layout = h5py.VirtualLayout((4, 4), np.uint8)
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "phase", (4, 4))
    external = [(str(secret), 0, 16)]
    builds: dict[str, Callable[[h5py.File], Any]] = {
        "external link": lambda f: f.__setitem__(
            "fields/phase", h5py.ExternalLink(str(tmp_path / "other.h5"), "phase")
        ),
        "external group": lambda f: f.__setitem__("fields", h5py.ExternalLink(str(tmp_path / "other.h5"), "/")),
        "soft link": lambda f: f.__setitem__("fields/phase", h5py.SoftLink("/elsewhere")),
        "external storage": lambda f: f.create_dataset("fields/phase", (4, 4), np.uint8, external=external),
        "virtual": lambda f: f.create_virtual_dataset("fields/phase", layout),
        "group": lambda f: f.create_group("fields/phase"),
        "absent": lambda f: f.create_group("fields"),
        "strings": lambda f: f.create_dataset("fields/phase", data=[[b"a"]]),
    }
    path = tmp_path / "a.h5"
    for build in builds.values():
        _sealed(path, build)
        with pytest.raises(InputError, match=r"a\.h5"):
            read(path)
    _sealed(path, lambda f: f.create_dataset("fields/phase", data=np.ones((4, 4), np.uint8)))
    assert read(path)[0]["phase"].sum() == 16


def test_own_hdf5_without_its_seal_is_not_taken_for_a_foreign_file(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", SAMPLE)
    with (tmp_path / "a.h5").open("r+b") as stream:
        stream.write(b"microgen-sampl_")
    with pytest.raises(InputError, match="seal is damaged"):
        read(tmp_path / "a.h5")
    with pytest.raises(InputError, match="seal is damaged"):
        read_recipe(tmp_path / "a.h5")


def test_newer_version_asks_for_an_update(tmp_path: Path) -> None:
    _sealed(tmp_path / "a.h5", lambda f: f.attrs.update(version=2))
    with pytest.raises(InputError, match="newer microgen"):
        read(tmp_path / "a.h5")


def test_tiff_with_circular_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GRAY, metadata=None)
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * entries, start)
    path.write_bytes(data)
    with pytest.raises(InputError, match="runs in a circle"):
        read(path, pixel_size_um=1)


def test_imagej_stack_with_missing_images(tmp_path: Path) -> None:
    """One listed image of five declared is how very large ImageJ stacks look: never return just the first."""
    tifffile.imwrite(tmp_path / "a.tif", GRAY, metadata=None, description="ImageJ=1.53t\nimages=5\nslices=5\n")
    with pytest.raises(InputError, match="holds 5 images but lists 1"):
        read(tmp_path / "a.tif", pixel_size_um=1)
