"""The model file: whole, verified, and refused in one sentence when it is not what it should be."""

from __future__ import annotations

import hashlib
import json
import runpy
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from microgen.core import InputError, StorageError
from microgen.models import load_model, read_header, save_model

fakes = runpy.run_path(str(Path(__file__).with_name("model_fakes.py")))
save_tiny, tiny_model = fakes["save_tiny"], fakes["tiny_model"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("model") / "model.safetensors")


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(str(path), framework="pt") as stream:
        return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118


def rewritten(saved: Path, to: Path, header: str) -> Path:
    """The same tensors under another header."""
    save_file(tensors_of(saved), str(to), {"microgen-model": header})
    return to


def test_round_trip_keeps_everything(saved: Path) -> None:
    before, after = tiny_model(), load_model(saved)
    assert after.sha256 == before.sha256
    assert after.header() == before.header()
    assert after.codec == before.codec
    assert list(after.conditions) == list(before.conditions)
    assert after.patch == before.patch
    for name, tensor in before.net.state_dict().items():
        assert torch.equal(after.net.state_dict()[name], tensor)
    one, two = next(before.sample([1])), next(after.sample([1]))
    change = np.abs(one["intensity"].astype(int) - two["intensity"].astype(int))
    assert change.max() <= 1  # the weights lie otherwise in memory, so sums are rounded otherwise
    assert not after.net.training


def test_saving_twice_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "again.safetensors", load_model(saved))
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_views_with_gaps_are_saved_too(tmp_path: Path) -> None:
    model = tiny_model()
    model.net.to(memory_format=torch.channels_last)
    save_model(tmp_path / "m.safetensors", model)
    assert load_model(tmp_path / "m.safetensors").sha256 == model.sha256


def test_header_is_read_without_torch_and_loading_runs_no_code(saved: Path) -> None:
    """Nothing is executed, started or fetched while a model file is read."""
    code = (
        "import sys\n"
        "from microgen.models import read_header, load_model\n"
        f"header = read_header({str(saved)!r})\n"
        "assert 'torch' not in sys.modules\n"
        "print(header['family'], header['provenance']['note'], header['codec']['field'])\n"
        "import microgen.models.families, safetensors.torch, torch\n"
        f"load_model({str(saved)!r})\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, a: seen.append(event) if event in "
        "('exec', 'compile', 'pickle.find_class', 'subprocess.Popen', 'os.system', 'socket.connect') else None)\n"
        f"load_model({str(saved)!r})\n"
        "print(seen)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["diffusion", "tiny", "intensity", "[]"]
    assert read_header(saved)["sha256"] == load_model(saved).sha256


@pytest.mark.parametrize(("number", "words"), [(28, "no space left"), (27, "File too large"), (None, "cannot write")])
def test_a_disk_that_refuses_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None, words: str
) -> None:
    def refuse(*arguments: object) -> None:
        raise SafetensorError("Error while serializing: I/O error" + (f" (os error {number})" if number else ""))

    monkeypatch.setattr("safetensors.torch.save_file", refuse)
    with pytest.raises(StorageError, match=words):
        save_tiny(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
@pytest.mark.parametrize("name", ["m.safetensors", "m.h5"])
def test_the_kernel_refuses_as_on_a_full_disk(tmp_path: Path, name: str) -> None:
    import resource

    from microgen import io
    from microgen.core import Microstructure

    noise = Microstructure({"intensity": np.random.default_rng(0).random((64, 64))}, (1, 1))
    write = partial(io.write, microstructure=noise) if name.endswith(".h5") else partial(save_model, model=tiny_model())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            write(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_identity_changes_with_weights_and_with_configuration() -> None:
    ids = {tiny_model().sha256, tiny_model(seed=1).sha256, tiny_model(dropout=0.5).sha256, tiny_model(ndim=3).sha256}
    assert len(ids) == 4


def test_hash_is_the_one_of_the_written_specification(saved: Path) -> None:
    """docs/file_formats.md, followed with nothing but json, struct and hashlib."""
    raw = saved.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    table = json.loads(raw[8 : 8 + length])
    about = json.loads(table.pop("__metadata__")["microgen-model"])
    assert about.pop("version") == 1
    said = about.pop("sha256")
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, ensure_ascii=False).encode())
    for name in sorted(table):
        entry = table[name]
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        kind = {"F32": "torch.float32"}[entry["dtype"]]
        digest.update(f"\0{name}\0{kind}\0{tuple(entry['shape'])}\0".encode() + raw[start:end])
    assert digest.hexdigest() == said


def test_every_flipped_byte_is_found(saved: Path, tmp_path: Path) -> None:
    good, bad = saved.read_bytes(), tmp_path / "bad.safetensors"
    for place in range(0, len(good), 997):
        bad.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        with pytest.raises(InputError) as caught:
            load_model(bad)
        assert "\n" not in str(caught.value)


def test_every_truncation_is_found(saved: Path, tmp_path: Path) -> None:
    good, bad = saved.read_bytes(), tmp_path / "bad.safetensors"
    for part in range(100):
        bad.write_bytes(good[: len(good) * part // 100])
        with pytest.raises(InputError):
            load_model(bad)


def test_foreign_files_are_told_apart(saved: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("hello, this is no model")
    with pytest.raises(InputError, match="not a model file"):
        load_model(text)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, str(foreign))
    with pytest.raises(InputError, match="not a model of microgen"):
        load_model(foreign)
    with pytest.raises(InputError, match="there is no model file"):
        load_model(tmp_path / "missing.safetensors")
    newer = json.dumps({"version": 99, **read_header(saved)})
    with pytest.raises(InputError, match="format 99"):
        load_model(rewritten(saved, tmp_path / "new.safetensors", newer))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("family", "cubism", "family"),
        ("config", {"channels": [8, 16], "colour": "blue"}, "colour"),
        ("config", {"channels": [8, 16, 32]}, "does not fit"),
        ("codec", {"field": "intensity"}, "does not fit"),
        ("conditions", [{"name": "a"}], "does not fit"),
    ],
)
def test_headers_that_do_not_fit_are_refused(saved: Path, tmp_path: Path, key: str, value: object, words: str) -> None:
    """Also with a hash that fits: as a newer or a hand-made file would have it."""
    from microgen.models.file import content_hash

    header = {**read_header(saved), key: value}
    header.pop("sha256")
    header |= {"version": 1, "sha256": content_hash(header, tensors_of(saved))}
    made = rewritten(saved, tmp_path / "m.safetensors", json.dumps(header))
    with pytest.raises(InputError, match=words):
        load_model(made)


def test_incomplete_header_is_refused(saved: Path, tmp_path: Path) -> None:
    for header in ("{}", "[]", "not json", '{"version": 1}'):
        with pytest.raises(InputError, match="damaged"):
            read_header(rewritten(saved, tmp_path / "m.safetensors", header))
