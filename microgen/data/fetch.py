"""Getting the files of a data set: from where they are published or from a mirror, whole and with the right hash."""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from microgen.core import InputError
from microgen.core.config import read_toml
from microgen.core.files import sha256, write_bytes, write_whole
from microgen.data.cards import CARD, Card, CardFile, card_folder, read_card
from microgen.data.pixel_sizes import SIDECAR

Report = Callable[[CardFile, int], None]
"""Told how many bytes of a file are there: 0 at the start, all at the end."""

PARTS = ".part"
"""Folder of what has arrived of unfinished files, named by their SHA-256."""

_CHUNK = 1024  # what a connection that breaks may lose
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Fetched:
    """What a fetch did, as paths inside the folder of the data set.

    Attributes
    ----------
    new
        Files that were fetched now.
    kept
        Files that were there already and are right.
    left_out
        Files without a published address, where no mirror was given.
    """

    new: tuple[str, ...]
    kept: tuple[str, ...]
    left_out: tuple[str, ...]


def fetch(
    name: str | Path,
    out: Path | str,
    *,
    mirror: str | Path | None = None,
    only: Iterable[str] = (),
    renew: bool = False,
    report: Report | None = None,
) -> Fetched:
    """Bring the files of a data set into a folder, and beside them its card and its pixel sizes.

    Every file is checked against the SHA-256 of the card and appears whole or not at all. Downloads that broke off go
    on where they stopped, also in the next call.

    Parameters
    ----------
    name
        Name of the data set, or the folder of a card of your own.
    out
        Folder for the files.
    mirror
        Folder or http(s) address to take files from instead of the internet. It holds ``<name>/<path>``, or the
        ``mirror_folder`` of the card instead of the name.
    only
        Shell patterns of paths; the texts of licences come along always.
    renew
        Replace files that are there but differ from the published ones.
    report
        Called with a file and its bytes so far.

    Raises
    ------
    InputError
        If the data set is unknown or generated, nothing matches `only`, a file that is there differs, or a file
        cannot be had or is not the published one.

    Examples
    --------
    >>> fetch("etched_polycrystal", "here")
    Traceback (most recent call last):
    microgen.core.errors.InputError: etched_polycrystal is generated, not downloaded: microgen datasets fetch makes it
    """
    folder = card_folder(name) if isinstance(name, str) else name.resolve()
    card, out = read_card(folder / CARD), Path(out)
    if card.kind == "generated":
        raise InputError(f"{folder.name} is generated, not downloaded: microgen datasets fetch makes it")
    wanted = _chosen(folder.name, card, tuple(only))
    _refuse_another(card, out)
    there = {file: _is_there(_inside(out, file.path), file, renew=renew) for file in wanted}
    kept = [file for file in wanted if there[file]]
    missing = [file for file in wanted if not there[file]]
    places = {file.path: _places(folder.name, card, file, mirror) for file in missing}
    new = [file for file in missing if places[file.path]]
    left_out = [file for file in missing if not places[file.path]]
    if left_out and all(file in left_out or file.is_notice for file in wanted):
        raise InputError(
            f"{left_out[0].path} of {folder.name} has no published address that is known; give a mirror with --mirror"
        )
    for file in new:
        _bring(file, places[file.path], out, report or _silent)
    write_notes(folder, out)
    return Fetched(*(tuple(file.path for file in files) for files in (new, kept, left_out)))


def write_notes(folder: Path, out: Path) -> None:
    """Write the card of `folder` into `out`, and ``pixel_sizes.toml`` for files that do not carry their scale.

    One that is there is kept: a person may have corrected it.
    """
    write_bytes(out / CARD, (folder / CARD).read_bytes())
    card = read_card(folder / CARD)
    sizes = card.sidecar()
    if sizes is not None and card.kind != "generated":
        write_bytes(out / SIDECAR, sizes.encode(), exclusive=True)


def _refuse_another(card: Card, out: Path) -> None:
    there = out / CARD
    if there.is_file() and (title := read_toml(there).get("title")) != card.title:
        raise InputError(f"{out} holds another data set ({title}); fetch into a folder of its own")


def _chosen(name: str, card: Card, only: tuple[str, ...]) -> list[CardFile]:
    if not only:
        return list(card.files)
    matched = {file for pattern in only for file in card.files if fnmatch.fnmatchcase(file.path, pattern)}
    if not matched:
        raise InputError(f"no file of {name} matches {' or '.join(only)}; see microgen datasets show {name}")
    return [file for file in card.files if file in matched or file.is_notice]


def _inside(out: Path, path: str) -> Path:
    """Place of a file in `out`, refused where a link leads elsewhere."""
    target = out / path
    if not target.resolve().is_relative_to(out.resolve()):
        raise InputError(f"{target} leads out of {out} through a link; fetch into another folder")
    return target


def _is_there(target: Path, file: CardFile, *, renew: bool) -> bool:
    if not os.path.lexists(target):
        return False
    if not target.is_file():
        raise InputError(f"{target} is in the way: a file belongs there; move it")
    if _is_right(target, file):
        return True
    if not renew:
        raise InputError(f"{target} is there but is not the published file; move it, or replace it with --renew")
    return False


def _is_right(path: Path, file: CardFile) -> bool:
    return path.stat().st_size == file.bytes and sha256(path) == file.sha256


def _places(name: str, card: Card, file: CardFile, mirror: str | Path | None) -> list[str | Path]:
    """Return paths or addresses of a file, the likeliest first."""
    if mirror is None:
        return list(file.urls)
    folders = [name, *([card.mirror_folder] if card.mirror_folder not in (None, name) else [])]
    if re.match(r"https?://", str(mirror)):
        return [f"{str(mirror).rstrip('/')}/{quote(f'{folder}/{file.path}')}" for folder in folders]
    if not Path(mirror).is_dir():
        raise InputError(f"the mirror {mirror} is not a folder, nor an http(s) address")
    return [Path(mirror, folder, file.path) for folder in folders]


def _bring(file: CardFile, places: list[str | Path], out: Path, report: Report) -> None:
    """Take a file from the first place that has it."""
    target = _inside(out, file.path)
    report(file, 0)
    problems = []
    for place in places:
        try:
            if isinstance(place, Path):
                _copy(file, place, target)
            else:
                _download(file, place, target, out / PARTS, report)
        except InputError as problem:
            problems.append(str(problem))
        else:
            report(file, file.bytes)
            return
    raise InputError("; ".join(problems))


def _copy(file: CardFile, place: Path, target: Path) -> None:
    if not place.is_file():
        raise InputError(f"the mirror has no {place}")

    def checked(temporary: Path) -> None:
        shutil.copyfile(place, temporary)
        if not _is_right(temporary, file):
            raise InputError(f"{place} is not the published file (its SHA-256 differs); nothing was copied")

    write_whole(target, checked)


def _download(file: CardFile, url: str, target: Path, parts: Path, report: Report) -> None:
    """Download through pooch, which checks the hash and puts the file in its place."""
    import pooch

    resuming = _Resuming(file, parts / file.sha256, report)
    went_on = resuming.part.exists()
    try:
        with _quiet(pooch.get_logger()):
            pooch.retrieve(
                url, f"sha256:{file.sha256}", fname=target.name, path=target.parent.absolute(), downloader=resuming
            )
    except OSError as error:
        if not hasattr(error, "request"):
            raise  # of the disk, not of the network
        raise InputError(_why(error, url, resuming.part)) from error
    except ValueError as error:
        resuming.part.unlink(missing_ok=True)
        if not went_on:
            raise InputError(f"{url} is not the published file (its SHA-256 differs); nothing was written") from error
        _download(file, url, target, parts, report)  # what an earlier download left was perhaps something else
    finally:
        _tidy(resuming.part)


class _Resuming:
    """Downloader for pooch that goes on where a download of the same content stopped."""

    def __init__(self, file: CardFile, part: Path, report: Report) -> None:
        self.file, self.part, self.report = file, part, report

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        self.part.parent.mkdir(parents=True, exist_ok=True)
        self.part.touch()
        with self.part.open("r+b") as stream:
            if stream.seek(0, os.SEEK_END) != self.file.bytes:
                self._fill(url, stream)
            stream.flush()
            os.fsync(stream.fileno())
        self.part.replace(output_file)

    def _fill(self, url: str, stream: BinaryIO) -> None:
        """Ask for the rest as long as something arrives."""
        restarts = 1
        while True:
            had = stream.tell()
            try:
                return self._ask(url, stream)
            except OSError as error:
                if getattr(getattr(error, "response", None), "status_code", None) == 416 and restarts:
                    restarts -= 1
                    _empty(stream)  # the server has less than is here already: that was something else
                elif stream.tell() <= had:
                    raise

    def _ask(self, url: str, stream: BinaryIO) -> None:
        from pooch import HTTPDownloader

        def answered(response: Any, **_: Any) -> None:
            if response.status_code == 200:  # the whole file, also where the rest was asked for
                _empty(stream)

        # compressed on the way, the rest could not be asked for by its place in the file
        headers = {"Accept-Encoding": "identity"}
        if stream.tell():
            headers["Range"] = f"bytes={stream.tell()}-"
        download = HTTPDownloader(chunk_size=_CHUNK, timeout=_TIMEOUT_S, headers=headers, hooks={"response": answered})
        download(url, _Counted(stream, self.file, self.report), None)


def _tidy(part: Path) -> None:
    """Leave a part only where something has arrived."""
    if part.exists() and part.stat().st_size == 0:
        part.unlink()
    with contextlib.suppress(OSError):
        part.parent.rmdir()


def _empty(stream: BinaryIO) -> None:
    stream.seek(0)
    stream.truncate()


class _Counted:
    """Stream that reports what arrives, and takes no more than belongs there."""

    def __init__(self, stream: BinaryIO, file: CardFile, report: Report) -> None:
        self.stream, self.file, self.report = stream, file, report

    def write(self, chunk: bytes) -> None:
        self.stream.write(chunk)
        if self.stream.tell() > self.file.bytes:
            raise ValueError(f"more than the {self.file.bytes} bytes of the published file")
        self.report(self.file, self.stream.tell())

    def flush(self) -> None:
        """Leave the stream its buffer; pooch asks for this after every chunk."""


def _why(error: OSError, url: str, part: Path) -> str:
    answer = getattr(error, "response", None)
    if answer is not None:
        return f"{url} answered {answer.status_code} {answer.reason}"
    if part.exists() and part.stat().st_size:
        return f"{url} broke off after {part.stat().st_size} bytes; run the same command again to go on"
    return (
        f"cannot reach {urlsplit(url).netloc} ({type(error).__name__}); on a machine without internet, give a folder "
        "with the files with --mirror"
    )


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Let pooch speak of trouble only; what it does is reported by us."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _silent(_: CardFile, __: int) -> None: ...
