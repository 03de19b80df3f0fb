"""The data set file: many microstructures in one HDF5 file, with their split, fingerprint and origin."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from microgen.core import InputError, MicrogenError, Microstructure
from microgen.core.crystals import crystals_from_json, crystals_to_json
from microgen.core.files import write_whole

Split = Literal["train", "held_out"]
SPLITS: tuple[Split, ...] = ("train", "held_out")
FORMAT = "microgen-dataset"
VERSION = 1
CHUNK = 128
"""Longest side of a stored chunk, so that a crop of a large picture reads little more than itself."""


@dataclass(frozen=True, eq=False)
class Item:
    """One microstructure of a data set, before it is written.

    Attributes
    ----------
    name
        Unique name, by habit the path of the source file relative to the folder that was given.
    microstructure
        Values as recorded: native resolution and bit depth.
    specimen
        Items that show the same material (overlaps, duplicates, one sample) share it.
    split
        ``"train"`` or ``"held_out"``.
    """

    name: str
    microstructure: Microstructure
    specimen: str
    split: Split


@dataclass(frozen=True)
class _Row:
    key: str
    specimen: str
    split: Split


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set file, opened for reading.

    The file is opened anew for every read, so the object is small, can be passed to other processes, and
    never keeps a handle.

    Attributes
    ----------
    path
        The HDF5 file.
    meta
        How it was prepared: command, options, hash of the inputs.
    fingerprint
        What the data are like, see :func:`microgen.data.fingerprint.fingerprint`.

    Examples
    --------
    >>> import tempfile
    >>> picture = Microstructure({"intensity": np.eye(64, dtype=np.uint8)}, spacing=(0.5, 0.5))
    >>> path = Path(tempfile.mkdtemp()) / "steel.h5"
    >>> write_dataset(path, [Item("a.png", picture, "a", "train")], meta={"made_by": "hand"})
    >>> data = Dataset.open(path)
    >>> data.names, data.split_of("a.png"), data.read("a.png").spacing
    (['a.png'], 'train', (0.5, 0.5))
    """

    path: Path
    meta: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    _rows: Mapping[str, _Row]

    @classmethod
    def open(cls, path: Path | str) -> Dataset:
        """Open a data set file and read its table of contents.

        Raises
        ------
        InputError
            If the file is absent, damaged, not a data set, of a newer version, or points outside itself.
        """
        path = Path(path)
        with _opened(path) as file:
            _check_format(file, path)
            rows = {}
            for key in sorted(_group(file, "images")):
                attrs = _group(file, "images", key).attrs
                rows[str(attrs["name"])] = _Row(key, str(attrs["specimen"]), _split(attrs["split"]))
            return cls(path, _json(file, "meta"), _json(file, "fingerprint"), rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def names(self) -> list[str]:
        """Names of all items, in the order they were written."""
        return list(self._rows)

    def names_in(self, split: Split) -> list[str]:
        """Names of the items of one split."""
        if split not in SPLITS:
            raise InputError(f"the split is one of {', '.join(SPLITS)}, not {split!r}")
        return [name for name, row in self._rows.items() if row.split == split]

    def split_of(self, name: str) -> Split:
        """``"train"`` or ``"held_out"``."""
        return self._row(name).split

    def specimen_of(self, name: str) -> str:
        """Name of the specimen that the item shows."""
        return self._row(name).specimen

    def read(self, name: str, window: tuple[slice, ...] | None = None) -> Microstructure:
        """Read one item, or only a window of it.

        Parameters
        ----------
        name
            One of :attr:`names`.
        window
            One slice per axis, ``(Y, X)`` or ``(Z, Y, X)``, without steps.

        Raises
        ------
        InputError
            For an unknown name, or where the stored values fail their checksum.
        """
        with _opened(self.path) as file:
            group = _group(file, "images", self._row(name).key)
            fields = _group(group, "fields")
            attrs = group.attrs
            return Microstructure(
                {field: _values(fields, field, window) for field in fields},
                spacing=tuple(map(float, attrs["spacing_um"])),
                phases=tuple(json.loads(attrs["phases"])),
                scalars=json.loads(attrs["scalars"]),
                source=_json(group, "source"),
                crystals=crystals_from_json(json.loads(attrs.get("crystals", "{}"))),
            )

    def _row(self, name: str) -> _Row:
        if name not in self._rows:
            raise InputError(f"{self.path} has no item {name!r}; it has {', '.join(self.names[:5])} ...")
        return self._rows[name]


def write_dataset(
    path: Path | str, items: Iterable[Item], meta: Mapping[str, Any], *, fingerprint: Mapping[str, Any] | None = None
) -> None:
    """Write a data set file, whole or not at all; equal inputs give equal bytes.

    Parameters
    ----------
    path
        File to write, by habit ``*.h5``.
    items
        The microstructures, each with its specimen and split; may be a generator.
    meta, fingerprint
        JSON-able values stored beside them.

    Raises
    ------
    InputError
        For no items or two of one name.
    StorageError
        If the disk is full or the folder cannot be written.
    """
    write_whole(path, lambda temporary: _write(temporary, items, meta, fingerprint or {}))


def _write(path: Path, items: Iterable[Item], meta: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
    names: set[str] = set()
    memory = io.BytesIO()  # on a full disk the HDF5 library does not raise, it crashes: it never sees the disk
    with h5py.File(memory, "w") as file:
        file.attrs.update(format=FORMAT, version=VERSION)
        _store_json(file, "meta", meta)
        _store_json(file, "fingerprint", fingerprint)
        images = file.create_group("images")
        for number, item in enumerate(items):
            if item.name in names:
                raise InputError(f"two items are named {item.name!r}; names must differ")
            names.add(item.name)
            _store_item(images.create_group(f"{number:06d}"), item)
        if not names:
            raise InputError("a data set needs at least one item")
    path.write_bytes(memory.getbuffer())


def _store_item(group: h5py.Group, item: Item) -> None:
    m = item.microstructure
    group.attrs.update(
        name=item.name,
        specimen=item.specimen,
        split=_split(item.split),
        spacing_um=np.asarray(m.spacing),
        phases=json.dumps(m.phases),
        scalars=json.dumps(dict(m.scalars)),
    )
    if m.crystals:
        group.attrs["crystals"] = json.dumps(crystals_to_json(m.crystals))
    _store_json(group, "source", m.source)
    fields = group.create_group("fields")
    for name, values in m.fields.items():
        chunks = tuple(min(CHUNK if m.ndim == 2 else CHUNK // 4, n) for n in values.shape)
        fields.create_dataset(
            name, data=values, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True, fletcher32=True
        )


def _store_json(group: h5py.Group, name: str, value: Mapping[str, Any]) -> None:
    text = json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
    group.create_dataset(name, data=text, dtype=h5py.string_dtype())


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open read-only; whatever HDF5 says about a damaged file becomes one InputError."""
    if not path.is_file():
        raise InputError(f"there is no data set file {path}; make one with: microgen prepare FOLDER {path}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except MicrogenError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or not a data set file ({error}); prepare it again") from error


def _check_format(file: h5py.File, path: Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise InputError(f"{path} is an HDF5 file but not a data set of microgen; make one with: microgen prepare")
    version = int(file.attrs["version"])
    if version > VERSION:
        raise InputError(f"{path} has format version {version}, this microgen reads up to {VERSION}; update microgen")


def _member(group: h5py.Group, name: str) -> Any:
    """A member that lies in this very file: links to elsewhere could read any file of the user."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise InputError(f"{group.file.filename}: {group.name}/{name} is absent or points outside the file; refused")
    return group[name]


def _group(group: h5py.Group, *names: str) -> h5py.Group:
    for name in names:
        group = _member(group, name)
        if not isinstance(group, h5py.Group):
            raise InputError(f"{group.file.filename}: {group.name} is not a group; the file is damaged")
    return group


def _values(group: h5py.Group, name: str, window: tuple[slice, ...] | None) -> NDArray[Any]:
    stored = _dataset(group, name)
    values: NDArray[Any] = stored[window] if window is not None else stored[()]
    return values


def _json(group: h5py.Group, name: str) -> dict[str, Any]:
    value = json.loads(_dataset(group, name)[()])
    if not isinstance(value, dict):
        raise InputError(f"{group.file.filename}: {group.name}/{name} is not a JSON object; the file is damaged")
    return value


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    stored = _member(group, name)
    if not isinstance(stored, h5py.Dataset) or stored.is_virtual or stored.external:
        raise InputError(f"{group.file.filename}: {group.name}/{name} keeps its values outside the file; refused")
    # deflate reaches about 1030:1, so a larger claim is an array that was never written
    if stored.chunks and stored.nbytes > 2000 * stored.id.get_storage_size():
        raise InputError(f"{group.file.filename}: {group.name}/{name} claims more values than the file holds; refused")
    return stored


def _split(value: Any) -> Split:
    for split in SPLITS:
        if value == split:
            return split
    raise InputError(f"the split is one of {', '.join(SPLITS)}, not {value!r}")
