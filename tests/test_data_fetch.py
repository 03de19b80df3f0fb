"""Fetching data sets: from a server of our own that misbehaves in every way we know, and from folders."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgen import io
from microgen.cli import cli, main
from microgen.cli.errors import exit_code_of
from microgen.cli.generated import generate
from microgen.cli.steps import read_job
from microgen.core import InputError
from microgen.data import fetch as module
from microgen.data.cards import cards, read_card
from microgen.data.fetch import PARTS, fetch
from microgen.data.pixel_sizes import PixelSizes
from microgen.stats import measure
from microgen.synth.sizes import diameters_um

CONTENT = bytes(np.random.default_rng(0).integers(256, size=50_000, dtype=np.uint8))
NOTICE = b"Permission is hereby granted ...\n"
FILES = {"pictures/a b#1.png": CONTENT, "LICENSE": NOTICE, "notes.txt": b"n" * 300}


def write_card(folder: Path, files: dict[str, bytes] = FILES, extra: str = "") -> Path:
    """Write a card of these files and return its folder, whose name is that of the set."""
    rows = [
        f'{{ path = "{p}", bytes = {len(c)}, sha256 = "{hashlib.sha256(c).hexdigest()}" }}' for p, c in files.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.toml").write_text(
        f'title = "Three files"\nkind = "image"\nlicence = "MIT"\n{extra}files = [{", ".join(rows)}]\n'
        '[pixel_size_um]\n"pictures" = 0.25\n'
    )
    return folder


@dataclass
class Site:
    """What the server has, how it behaves, and what it was asked for."""

    content: dict[str, bytes]
    ranges: bool = True
    break_after: list[int] = field(default_factory=list)  # bytes sent before the connection is cut, one an answer
    stall: threading.Event | None = None  # what a connection waits for before it is cut
    moved: str | None = None  # prefix that every path was moved to
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    encodings: set[str | None] = field(default_factory=set)
    address: str = ""

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        path, wanted = unquote(self.path).lstrip("/"), self.headers["Range"]
        self.site.asked.append((path, wanted))
        self.site.encodings.add(self.headers["Accept-Encoding"])
        if self.site.moved and not path.startswith(self.site.moved):
            self.send_response(302)
            self.send_header("Location", f"/{self.site.moved}{self.path}")
            self.end_headers()
            return
        data = self.site.content.get(path.removeprefix(f"{self.site.moved}/"))
        if data is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.site.ranges else 0
        if start and start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = start + self.site.break_after.pop(0) if self.site.break_after else len(data)
        self.wfile.write(data[start:end])
        if self.site.stall and end < len(data):
            self.wfile.flush()
            self.site.stall.wait(60)
        self.close_connection = True

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def site(server: ThreadingHTTPServer) -> Site:
    return serve(server, {f"three/{path}": content for path, content in FILES.items()})


def serve(server: ThreadingHTTPServer, content: dict[str, bytes]) -> Site:
    Handler.site = Site(content, address=f"http://127.0.0.1:{server.server_address[1]}")
    return Handler.site


@pytest.fixture
def three(tmp_path: Path) -> Path:
    return write_card(tmp_path / "cards" / "three")


def fetched(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def complete(three: Path) -> dict[str, bytes]:
    card = read_card(three / "card.toml")
    return {
        **FILES,
        "card.toml": (three / "card.toml").read_bytes(),
        "pixel_sizes.toml": str(card.sidecar()).encode(),
    }


def test_fetch_brings_every_file_the_card_and_the_pixel_sizes(three: Path, site: Site, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = fetch(three, out, mirror=site.address + "/")
    assert (done.new, done.kept, done.left_out) == (tuple(FILES), (), ())
    assert fetched(out) == complete(three)
    assert not (out / PARTS).exists()
    assert PixelSizes().of(out / "pictures" / "a b#1.png") == 0.25
    assert PixelSizes().of(out / "notes.txt") is None


def test_files_that_are_there_are_kept_without_asking_again(three: Path, site: Site, tmp_path: Path) -> None:
    fetch(three, tmp_path / "out", mirror=site.address)
    (tmp_path / "out" / "notes.txt").unlink()
    site.asked.clear()
    done = fetch(three, tmp_path / "out", mirror=site.address)
    assert (done.new, set(done.kept)) == (("notes.txt",), {"pictures/a b#1.png", "LICENSE"})
    assert site.paths() == ["three/notes.txt"]


def test_a_download_that_breaks_off_goes_on_where_it_was(three: Path, site: Site, tmp_path: Path) -> None:
    site.break_after = [10240, 15360, 1024]
    fetch(three, tmp_path / "out", mirror=site.address, only=["pictures/*"])
    assert [wanted for path, wanted in site.asked if "pictures" in path] == [
        None,
        "bytes=10240-",
        "bytes=25600-",
        "bytes=26624-",
    ]
    assert fetched(tmp_path / "out")["pictures/a b#1.png"] == CONTENT
    assert site.encodings == {"identity"}


def test_a_later_call_goes_on_too(three: Path, site: Site, tmp_path: Path) -> None:
    site.break_after = [10240, 0]
    with pytest.raises(InputError, match="broke off after 10240 bytes; run the same command again to go on"):
        fetch(three, tmp_path / "out", mirror=site.address)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert fetched(tmp_path / "out") == {f"{PARTS}/{digest}": CONTENT[:10240]}
    site.asked.clear()
    fetch(three, tmp_path / "out", mirror=site.address)
    assert site.asked[0] == ("three/pictures/a b#1.png", "bytes=10240-")
    assert fetched(tmp_path / "out") == complete(three)


def test_a_server_without_ranges_is_asked_for_everything_again(three: Path, site: Site, tmp_path: Path) -> None:
    site.ranges, site.break_after = False, [10240, 40960, 2048]
    with pytest.raises(InputError, match="broke off after 2048 bytes"):
        fetch(three, tmp_path / "out", mirror=site.address)
    fetch(three, tmp_path / "out", mirror=site.address)
    assert fetched(tmp_path / "out") == complete(three)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1024, 20_000), max_size=6))
def test_wherever_it_breaks_the_file_is_whole_and_less_than_a_chunk_is_sent_twice(
    server: ThreadingHTTPServer, breaks: list[int]
) -> None:
    site = serve(server, {"one/a": CONTENT})
    site.break_after = list(breaks)
    with tempfile.TemporaryDirectory() as folder:
        card = write_card(Path(folder) / "one", {"a": CONTENT})
        fetch(card, Path(folder) / "out", mirror=site.address)
        assert (Path(folder) / "out" / "a").read_bytes() == CONTENT
    starts = [int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0 for _, wanted in site.asked]
    for start, sent, after in zip(starts, breaks, starts[1:], strict=False):
        assert start + sent - 1024 < after <= start + sent


@pytest.mark.parametrize(
    "wrong", [b"<html>log in first</html>", CONTENT[:-1], CONTENT + b"x", CONTENT[::-1], b"x" * 90_000]
)
def test_wrong_content_is_refused_and_nothing_is_left(three: Path, site: Site, tmp_path: Path, wrong: bytes) -> None:
    site.content["three/pictures/a b#1.png"] = wrong
    with pytest.raises(InputError, match="is not the published file"):
        fetch(three, tmp_path / "out", mirror=site.address)
    assert fetched(tmp_path / "out") == {}


@pytest.mark.parametrize("stale", [b"x" * 700, b"y" * 50_000, b"z" * 60_000])
def test_what_an_earlier_download_left_of_something_else_does_no_harm(
    three: Path, site: Site, tmp_path: Path, stale: bytes
) -> None:
    part = tmp_path / "out" / PARTS / hashlib.sha256(CONTENT).hexdigest()
    part.parent.mkdir(parents=True)
    part.write_bytes(stale)
    fetch(three, tmp_path / "out", mirror=site.address)
    assert fetched(tmp_path / "out") == complete(three)


def test_less_on_the_server_than_is_here_already(three: Path, site: Site, tmp_path: Path) -> None:
    """416 Range Not Satisfiable: start again, once."""
    site.break_after = [10240, 0]
    with pytest.raises(InputError, match="broke off"):
        fetch(three, tmp_path / "out", mirror=site.address)
    site.content["three/pictures/a b#1.png"] = CONTENT[:5000]
    with pytest.raises(InputError, match="is not the published file"):
        fetch(three, tmp_path / "out", mirror=site.address)
    assert fetched(tmp_path / "out") == {}


def test_missing_files_are_named_with_the_answer(three: Path, site: Site, tmp_path: Path) -> None:
    del site.content["three/notes.txt"]
    with pytest.raises(InputError, match=r"/three/notes.txt answered 404"):
        fetch(three, tmp_path / "out", mirror=site.address)
    assert set(fetched(tmp_path / "out")) == {"pictures/a b#1.png", "LICENSE"}


def test_a_mirror_may_be_laid_out_by_the_folder_that_the_card_names(site: Site, tmp_path: Path) -> None:
    card = write_card(tmp_path / "three", extra='mirror_folder = "big set/part"\n')
    site.content = {f"big set/part/{path}": content for path, content in FILES.items()}
    fetch(card, tmp_path / "out", mirror=site.address)
    assert fetched(tmp_path / "out") == complete(card)
    assert site.paths()[:2] == ["three/pictures/a b#1.png", "big set/part/pictures/a b#1.png"]


def test_redirections_are_followed_also_in_the_middle(three: Path, site: Site, tmp_path: Path) -> None:
    site.moved, site.break_after = "elsewhere", [10240]
    fetch(three, tmp_path / "out", mirror=site.address)
    assert fetched(tmp_path / "out") == complete(three)
    assert ("elsewhere/three/pictures/a b#1.png", "bytes=10240-") in site.asked


def test_a_connection_on_which_nothing_comes_any_more_is_given_up_and_goes_on(
    three: Path, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.2)
    site.stall, site.break_after = threading.Event(), [10240]
    fetch(three, tmp_path / "out", mirror=site.address)
    site.stall.set()
    assert site.asked[1] == ("three/pictures/a b#1.png", "bytes=10240-")
    assert fetched(tmp_path / "out") == complete(three)


def test_a_server_that_does_not_answer_leads_to_the_mirror(three: Path, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(InputError, match=rf"cannot reach 127.0.0.1:{port} .*--mirror"):
        fetch(three, tmp_path / "out", mirror=f"http://127.0.0.1:{port}")
    assert fetched(tmp_path / "out") == {}
    assert not (tmp_path / "out" / PARTS).exists()


def test_interruption_leaves_no_file_and_loses_nothing(three: Path, site: Site, tmp_path: Path) -> None:
    def stop(_: Any, done: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(three, tmp_path / "out", mirror=site.address, report=stop)
    assert [path.split("/")[0] for path in fetched(tmp_path / "out")] == [PARTS]
    fetch(three, tmp_path / "out", mirror=site.address)
    assert fetched(tmp_path / "out") == complete(three)


def test_a_full_disk_is_a_storage_error_not_one_of_the_network(
    three: Path, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        fetch(three, tmp_path / "out", mirror=site.address)
    assert exit_code_of(caught.value) == 5


def test_progress_is_reported_in_bytes(three: Path, site: Site, tmp_path: Path) -> None:
    seen: dict[str, list[int]] = {}
    fetch(three, tmp_path / "out", mirror=site.address, report=lambda f, n: seen.setdefault(f.path, []).append(n))
    for path, done in seen.items():
        assert done[0] == 0
        assert done == sorted(done)
        assert done[-1] == len(FILES[path])


def test_a_file_that_was_changed_is_refused_before_anything_is_fetched(three: Path, site: Site, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("my own notes")
    with pytest.raises(InputError, match=r"notes.txt is there but is not the published file; .*--renew"):
        fetch(three, out, mirror=site.address)
    assert site.asked == []
    assert fetched(out) == {"notes.txt": b"my own notes"}
    assert "notes.txt" in fetch(three, out, mirror=site.address, renew=True).new
    assert fetched(out) == complete(three)


def test_pixel_sizes_that_a_person_corrected_are_kept(three: Path, site: Site, tmp_path: Path) -> None:
    fetch(three, tmp_path / "out", mirror=site.address)
    sidecar = tmp_path / "out" / "pixel_sizes.toml"
    sidecar.write_text("[pixel_size_um]\npictures = 0.3\n")
    fetch(three, tmp_path / "out", mirror=site.address)
    assert PixelSizes().of(tmp_path / "out" / "pictures" / "a b#1.png") == 0.3


def test_two_sets_do_not_share_a_folder(three: Path, site: Site, tmp_path: Path) -> None:
    fetch(three, tmp_path / "out", mirror=site.address)
    with pytest.raises(InputError, match=r"holds another data set \(Three files\)"):
        fetch("nist_gsat_steel", tmp_path / "out", mirror=site.address)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Mirror in a folder."""
    for path, content in FILES.items():
        file = tmp_path / "mirror" / "three" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "mirror"


def test_a_folder_is_a_mirror(three: Path, folder: Path, tmp_path: Path) -> None:
    fetch(three, tmp_path / "out", mirror=folder)
    assert fetched(tmp_path / "out") == complete(three)


def test_a_wrong_file_in_the_mirror_is_refused(three: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "three" / "LICENSE").write_bytes(NOTICE[::-1])
    with pytest.raises(InputError, match=r"LICENSE is not the published file .*nothing was copied"):
        fetch(three, tmp_path / "out", mirror=folder)
    assert set(fetched(tmp_path / "out")) == {"pictures/a b#1.png"}
    (folder / "three" / "LICENSE").unlink()
    with pytest.raises(InputError, match=r"the mirror has no .*LICENSE"):
        fetch(three, tmp_path / "out", mirror=folder)


def test_a_mirror_that_is_none_is_named(three: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder, nor an http"):
        fetch(three, tmp_path / "out", mirror=tmp_path / "nowhere")


def test_only_some_files_and_always_the_licence(three: Path, folder: Path, tmp_path: Path) -> None:
    assert set(fetch(three, tmp_path / "out", mirror=folder, only=["*.png"]).new) == {"pictures/a b#1.png", "LICENSE"}
    with pytest.raises(InputError, match=r"no file of three matches \*.jpg"):
        fetch(three, tmp_path / "out", mirror=folder, only=["*.jpg"])


def test_files_without_an_address_need_a_mirror(three: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a b#1.png of three has no published address .*--mirror"):
        fetch(three, tmp_path / "out")
    fetch(three, tmp_path / "out", mirror=folder, only=["notes.txt"])
    assert fetch(three, tmp_path / "out").left_out == ("pictures/a b#1.png",)
    with pytest.raises(InputError, match="no published address"):
        fetch(three, tmp_path / "out", only=["*.png"])


def test_addresses_are_tried_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def download(file: Any, url: str, target: Path, *_: Any) -> None:
        tried.append(url)
        if "first" in url:
            raise InputError(f"{url} answered 404 Not Found")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(CONTENT)

    monkeypatch.setattr(module, "_download", download)
    card = write_card(tmp_path / "one", {"a": CONTENT})
    text = (card / "card.toml").read_text()
    urls = ["https://first.example/a", "https://second.example/a"]
    (card / "card.toml").write_text(text.replace("bytes =", f"urls = {json.dumps(urls)}, bytes ="))
    assert fetch(card, tmp_path / "out").new == ("a",)
    assert tried == urls


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_in_the_folder_leads_nowhere(three: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pictures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="through a link"):
        fetch(three, tmp_path / "out", mirror=folder)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", [name for name, card in cards().items() if card.kind != "generated"])
def test_every_published_set_from_the_shared_mirror(name: str, shared_data: Path, tmp_path: Path) -> None:
    card = cards()[name]
    if not (shared_data / (card.mirror_folder or name)).is_dir():
        pytest.skip(f"no {name}")
    done = fetch(name, tmp_path / "out", mirror=shared_data)
    assert done.new == tuple(file.path for file in card.files)
    assert fetch(name, tmp_path / "out", mirror=shared_data).kept == done.new
    assert (tmp_path / "out" / "pixel_sizes.toml").is_file() == bool(card.pixel_size_um)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    with pytest.raises(SystemExit) as leave:
        main(["datasets", *arguments])
    out, err = capsys.readouterr()
    return int(leave.value.code or 0), json.loads(out) if out else None, err


def test_command_fetches_into_a_folder_of_its_name(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICROGEN_DATA_MIRROR", str(shared_data))
    code, result, err = run(capsys, "fetch", "ebsd_ti64", "--only", "*.ang")
    assert code == 0
    assert result["new"] == ["LICENSE.md", "Ti64-200x200.ang"]
    assert result["licence"] == "MIT"
    assert "ebsd_ti64: Ti64-200x200.ang" in err
    assert "a step of 0.4999 um" in err
    assert io.read(tmp_path / "ebsd_ti64" / "Ti64-200x200.ang")[0].shape == (200, 200)
    assert run(capsys, "fetch", "ebsd_ti64", "--only", "*.ang")[1]["kept"] == result["new"]


def test_command_without_a_network_ends_with_one_sentence_and_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.chdir(tmp_path)
    code, result, err = run(capsys, "fetch", "wire_cell_octagon", "--mirror", f"http://127.0.0.1:{port}")
    assert (code, result) == (3, None)
    assert len(err.strip().splitlines()) == 1
    assert "--mirror" in err


def test_fetched_pictures_are_measured_at_their_scale(shared_data: Path, tmp_path: Path) -> None:
    """NIST's own intercepts on the drawn boundaries have the mean 8.9 um."""
    fetch("nist_gsat_steel", tmp_path / "nist", mirror=shared_data)
    path = tmp_path / "nist" / "grains_steel_highlighted.tif"
    found = io.read(path, pixel_size_um=PixelSizes().of(path))[0]
    assert measure(found, ["grain_size_um"])["grain_size_um"].value == pytest.approx(8.9, rel=0.1)


def quiet(_: str) -> None: ...


def test_generated_polycrystals_have_the_sizes_of_their_recipe(tmp_path: Path) -> None:
    done = generate("polycrystals_laguerre", tmp_path, only=["e*/seed_000000.h5"], say=quiet)
    assert done.new == ("equiaxed/seed_000000.h5", "elongated/seed_000000.h5")
    for path in done.new:
        grains = io.read(tmp_path / path)[0]
        sizes = diameters_um(grains["grain"], grains.spacing)
        assert sizes.mean() == pytest.approx(14.0, rel=0.02)
        assert sizes.std() == pytest.approx(4.5, rel=0.1)
    assert generate("polycrystals_laguerre", tmp_path, only=["e*/seed_000000.h5"], say=quiet).kept == done.new
    assert (tmp_path / "card.toml").is_file()


def test_generated_phases_have_the_fractions_of_their_recipe(tmp_path: Path) -> None:
    for name, share in {"random_field": 0.3, "spinodal": 0.5, "separated": 0.4}.items():
        (path,) = generate("two_phase_generated", tmp_path, only=[f"{name}/seed_000000.h5"], say=quiet).new
        assert io.read(tmp_path / path)[0]["phase"].mean() == pytest.approx(share, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, card in cards().items() if card.kind == "generated"])
def test_whole_generated_sets_are_readable_and_made_again_byte_for_byte(name: str, tmp_path: Path) -> None:
    first = generate(name, tmp_path / "first", say=quiet)
    again = generate(name, tmp_path / "again", say=quiet)
    assert first.new
    assert first == again
    for path in first.new:
        assert (tmp_path / "first" / path).read_bytes() == (tmp_path / "again" / path).read_bytes()
        assert io.read(tmp_path / "first" / path)


@pytest.mark.parametrize("name", ["two_phase_generated", "particles_and_fibres"])
def test_only_for_generated_sets(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no file of {name} matches nothing"):
        generate(name, tmp_path, only=["nothing"], say=quiet)


def test_the_pictures_of_the_demonstration_are_a_data_set(tmp_path: Path) -> None:
    wishes = ["pictures.count=2", "pictures.size=[64, 64]"]
    done = generate("etched_polycrystal", tmp_path, settings=wishes, say=quiet)
    assert done.new == ("micrographs/polycrystal_000.png", "micrographs/polycrystal_001.png")
    assert io.read(tmp_path / done.new[0])[0].spacing == (0.5, 0.5)


def test_generated_sets_are_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is generated, not downloaded"):
        fetch("two_phase_generated", tmp_path)


def test_job_files_know_what_a_fetch_writes(tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    job.write_text(
        '[[step]]\nname = "get"\ncommand = "datasets"\narguments = ["fetch", "nist_gsat_steel", "nist"]\n'
        '[[step]]\nname = "look"\ncommand = "info"\narguments = ["nist/grains_steel_highlighted.tif"]\n'
    )
    tasks = read_job(job, lambda name: cli.get_command(click.Context(cli), name))
    assert tasks["get"].writes == (tmp_path / "nist",)
    assert tasks["look"].after == {"get"}
    job.write_text(job.read_text().replace('"fetch"', '"feth"'))
    with pytest.raises(InputError, match="feth"):
        read_job(job, lambda name: cli.get_command(click.Context(cli), name))
