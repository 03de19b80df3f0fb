"""The child process behind :mod:`microgen.io.sandbox`: it opens HDF5 files that nobody vouches for.

It runs as a file of its own, not as part of the library, so that it starts fast and needs nothing of its caller.
A message is four bytes of length, then JSON; a message that announces bytes is followed by them.

Where the system can fork, every file is opened in a fork of its own with hard limits: what one file does to the HDF5
library no other file meets. If that fork dies, this process ends too and its exit code says why. Elsewhere (Windows)
the process itself opens the files, and ends after the first that failed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

MOST_OBJECTS = 200_000
LONGEST_TEXT = 1 << 20  # characters of one text that are handed over
MOST_VALUES = 1 << 12  # numbers or texts in one attribute or small data set
BLOCK = 1 << 24  # bytes read and sent at a time
ISOLATED = hasattr(os, "fork")

_IN = _OUT = -1


class RefusedError(Exception):
    """The file is whole, but it is not one that may be read."""


def main() -> None:
    """Serve one file after another until the caller is gone."""
    global _IN, _OUT
    _IN, _OUT = os.dup(0), os.dup(1)
    with open(os.devnull, "r+b") as nowhere:  # the library must not print between the messages
        for stream in (0, 1):
            os.dup2(nowhere.fileno(), stream)
    _warm_up()
    _send({})
    while (request := _receive()) is not None:
        if not ISOLATED:
            _serve(request)
        elif (child := os.fork()) == 0:
            _serve(request)
            os._exit(0)
        elif code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            os._exit(128 - code if code < 0 else code)


def _warm_up() -> None:
    """Load everything that reading needs, since a fork with a file open can open nothing more."""
    with h5py.File("warm", "w", driver="core", backing_store=False) as file:
        file.attrs.update(text="a", number=1.0, bytes=np.bytes_("a"), texts=["a"])
        file.create_dataset("d", data=np.zeros((2, 2)), compression="gzip", shuffle=True)
        for path, values in {"texts": ["a", "b"], "bytes": np.array([b"a"]), "flags": [True]}.items():
            file[path] = values
        for path, entry in _objects(file).items():
            if entry["kind"] == "data":
                _plain(_data_set(file, path)[()])
        _check_filters(file["d"])
        list(_blocks(file["d"]))
        json.loads(json.dumps(_root(file)))
    for code in ("ascii", "latin-1", "utf-8"):
        b"".decode(code)


def _serve(request: dict[str, Any]) -> None:
    """Answer questions about one file until the caller closes it or one of them fails."""
    try:
        _limit(request["memory"], request["seconds"])
        with h5py.File(os.fsencode(request["path"]).decode("utf-8", "surrogateescape"), "r") as file:
            _no_more_files()
            _send({})
            while (question := _receive()) is not None and question["ask"] != "close":
                _answer(file, question)
        if question is None:
            os._exit(0)
        _send({})
    except MemoryError:
        _fail("memory", "")
    except RefusedError as refusal:
        _fail("refused", str(refusal))
    except Exception as error:  # whatever the library throws at a damaged file
        text = " ".join(str(error).split())[:200] or type(error).__name__
        _fail("memory" if _of_memory(text) else "damaged", text)


def _answer(file: h5py.File, question: dict[str, Any]) -> None:
    match question["ask"]:
        case "root":
            _send({"root": _root(file)})
        case "objects":
            _send({"objects": _objects(file)})
        case "small":
            _send({"value": _small(_data_set(file, question["path"]))})
        case "array":
            _send_array(_data_set(file, question["path"]))


def _fail(kind: str, text: str) -> None:
    _send({"error": kind, "text": text})
    if not ISOLATED:
        os._exit(1)


def _of_memory(text: str) -> bool:
    return any(words in text.lower() for words in ("memory allocation", "unable to allocate", "can't allocate"))


def _limit(memory: int, seconds: int) -> None:
    """Limit memory and processor time, and allow no file to be written."""
    with contextlib.suppress(ImportError):
        import resource

        wishes = {"RLIMIT_AS": _size_now() + memory, "RLIMIT_CPU": seconds, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0}
        for name, wish in wishes.items():
            with contextlib.suppress(AttributeError, ValueError, OSError):  # not every system has every limit
                kind = getattr(resource, name)
                hard = resource.getrlimit(kind)[1]
                most = wish if hard == resource.RLIM_INFINITY else min(wish, hard)
                resource.setrlimit(kind, (most, most))


def _size_now() -> int:
    try:
        with open("/proc/self/statm") as stream:
            return int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 1 << 32


def _no_more_files() -> None:
    """Take away the right to open any further file, whatever the open one may say."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _root(file: h5py.File) -> dict[str, Any]:
    """Attributes of the file and the names at its top."""
    return {"attrs": _attributes(file), "names": _names(file)}


def _objects(file: h5py.File) -> dict[str, Any]:
    """Everything in the file by its path; each group once, links named but never followed."""
    found: dict[str, Any] = {"/": {"kind": "group", "attrs": _attributes(file)}}
    seen = {_address(file)}
    groups: deque[tuple[str, Any]] = deque([("", file)])
    while groups:
        above, group = groups.popleft()
        for name in _names(group):
            path = f"{above}/{name}"
            found[path] = entry = _entry(group, name)
            if len(found) > MOST_OBJECTS:
                raise RefusedError(f"holds more than {MOST_OBJECTS} objects")
            if entry["kind"] == "group" and _address(group[name]) not in seen:
                seen.add(_address(group[name]))
                groups.append((path, group[name]))
    return found


def _names(group: h5py.Group) -> list[str]:
    if len(group) > MOST_OBJECTS:
        raise RefusedError(f"holds more than {MOST_OBJECTS} objects")
    return list(group)


def _address(thing: h5py.HLObject) -> int:
    return int(h5py.h5o.get_info(thing.id).addr)


def _entry(group: h5py.Group, name: str) -> dict[str, Any]:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return {"kind": "link", "attrs": {}}
    thing = group[name]
    if isinstance(thing, h5py.Dataset):
        return {"kind": "data", "attrs": _attributes(thing), **_about(thing)}
    return {"kind": "group" if isinstance(thing, h5py.Group) else "other", "attrs": _attributes(thing)}


def _about(data: h5py.Dataset) -> dict[str, Any]:
    """Shape and type of a data set; a shape of None where it is a single empty value."""
    if data.shape is None:
        return {"shape": None, "dtype": "other", "outside": False}
    outside = bool(data.external) or bool(data.is_virtual)
    return {"shape": list(data.shape), "dtype": _dtype(data), "outside": outside}


def _dtype(data: h5py.Dataset) -> str:
    try:
        dtype = data.dtype
    except TypeError:
        return "other"
    if h5py.check_string_dtype(dtype) is not None:
        return "text"
    if dtype.names:
        return "table"
    plain = dtype.kind in "buif" and dtype.itemsize in (1, 2, 4, 8) and not dtype.subdtype
    return str(dtype.name) if plain else "other"


def _attributes(thing: h5py.HLObject) -> dict[str, Any]:
    found = {}
    for name in thing.attrs:
        attribute = thing.attrs.get_id(name)
        if attribute.get_space().get_simple_extent_npoints() <= MOST_VALUES:
            with contextlib.suppress(TypeError):  # of a type that h5py does not know
                found[name] = _plain(thing.attrs[name])
    return found


def _plain(value: Any) -> Any:
    """Texts, numbers and lists of them; None for everything else."""
    if isinstance(value, (bytes, str)):
        return _text(value)
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in "buif":
            return value.tolist()
        if value.dtype.kind in "SO":
            return [_text(v) if isinstance(v, (bytes, str)) else None for v in np.ravel(value).tolist()]
    return None


def _text(value: bytes | str) -> str:
    if isinstance(value, str):
        return value[:LONGEST_TEXT].rstrip("\0")
    try:
        return value[:LONGEST_TEXT].decode().rstrip("\0")
    except UnicodeDecodeError:
        return value[:LONGEST_TEXT].decode("latin-1").rstrip("\0")


def _data_set(file: h5py.File, path: str) -> h5py.Dataset:
    """Return a data set after going to it step by step through hard links only."""
    thing = file
    for name in path.strip("/").split("/"):
        if not isinstance(thing, h5py.Group) or name not in thing:
            raise RefusedError(f"has no data set {path}")
        if not isinstance(thing.get(name, getlink=True), h5py.HardLink):
            raise RefusedError(f"has a link instead of {path}")
        thing = thing[name]
    if not isinstance(thing, h5py.Dataset):
        raise RefusedError(f"has no data set {path}")
    if thing.external or thing.is_virtual:
        raise RefusedError(f"keeps {path} in another file")
    return thing


def _small(data: h5py.Dataset) -> Any:
    """A few numbers or texts."""
    if data.shape is None:
        return None
    if data.size > MOST_VALUES:
        raise RefusedError(f"has {data.size} values in {data.name}, where a few are expected")
    return _plain(data[()])


def _send_array(data: h5py.Dataset) -> None:
    about = _about(data)
    if about["shape"] is None or about["dtype"] in ("text", "table", "other"):
        raise RefusedError(f"holds no numbers in {data.name}")
    _check_filters(data)
    _send({"shape": about["shape"], "dtype": about["dtype"]})
    for block in _blocks(data):
        _send({"bytes": block.nbytes})
        _write(block.view(np.uint8).data)
    _send({"end": True})


def _check_filters(data: h5py.Dataset) -> None:
    properties = data.id.get_create_plist()
    for position in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(position)
        if not h5py.h5z.filter_avail(code):
            known = name.decode(errors="replace") or "unnamed"
            raise RefusedError(
                f"has {data.name} compressed by {known} (HDF5 filter {code}), which is not installed here"
            )


def _blocks(data: h5py.Dataset) -> Iterator[np.ndarray[Any, Any]]:
    """Values in C order and native byte order, some rows at a time."""
    dtype = data.dtype.newbyteorder("=")
    if data.ndim == 0 or data.size == 0:
        yield np.array(data[()], dtype=dtype).reshape(-1)
        return
    row = math.prod(data.shape[1:]) * dtype.itemsize
    along = data.chunks[0] if data.chunks else 1
    rows = max(1, BLOCK // max(1, row) // along) * along
    for start in range(0, data.shape[0], rows):
        yield np.ascontiguousarray(data[start : start + rows], dtype=dtype).reshape(-1)


def _receive() -> dict[str, Any] | None:
    length = _read(4)
    if length is None:
        return None
    body = _read(int.from_bytes(length, "little"))
    return None if body is None else dict(json.loads(body))


def _read(count: int) -> bytes | None:
    parts = b""
    while len(parts) < count:
        part = os.read(_IN, count - len(parts))
        if not part:
            return None
        parts += part
    return parts


def _send(message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    _write(memoryview(len(body).to_bytes(4, "little") + body))


def _write(data: memoryview) -> None:
    while data:
        data = data[os.write(_OUT, data) :]


if __name__ == "__main__":
    sys.setrecursionlimit(1000)
    main()
