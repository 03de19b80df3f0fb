"""The model file: one ``.safetensors`` with a JSON header; opening it never runs code.

See the section *Model file* of ``docs/file_formats.md`` for the layout.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microgen.core import ConditionSpec, InputError
from microgen.core.config import validate
from microgen.core.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from microgen.models.model import Model

FORMAT = "microgen-model"
VERSION = 1
_KEYS = {"family", "config", "codec", "conditions", "patch", "provenance", "sha256"}


def save_model(path: Path | str, model: Model) -> None:
    """Write `model` whole or not at all.

    Raises
    ------
    StorageError
        If the disk is full or the folder cannot be written.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.net.state_dict().items()}
    header = model.header()
    about = {"version": VERSION, **header, "sha256": content_hash(header, tensors)}
    metadata = {FORMAT: _canonical(about)}  # one key: safetensors writes several in random order
    write_tensors(path, tensors, metadata)


def write_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors on the CPU as safetensors, whole or not at all.

    Raises
    ------
    StorageError
        If the disk is full or the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    def fill(temporary: Path) -> None:
        try:
            save_file(dict(tensors), str(temporary), dict(metadata) if metadata else None)
        except SafetensorError as error:  # it hides the error of the system in its text
            found = re.search(r"os error (\d+)", str(error))
            number = int(found[1]) if found else errno.EIO
            raise OSError(number, os.strerror(number)) from error

    write_whole(path, fill)


def load_model(path: Path | str, *, device: str = "cpu") -> Model:
    """Read a model file, check its hash, and build its network on `device`.

    Raises
    ------
    InputError
        If the file is missing, damaged, of a newer version or of an unknown family, or if its configuration does not
        fit; the message says which.
    """
    import torch
    from safetensors.torch import load_file

    from microgen.models.codec import Codec
    from microgen.models.families import FAMILIES
    from microgen.models.model import Model

    header = read_header(path)
    digest = header.pop("sha256")
    try:
        tensors = load_file(str(path))
    except Exception as error:  # safetensors has its own exception types, none of them public
        raise InputError(f"the model file {path} is damaged ({error}); get it again") from error
    if content_hash(header, tensors) != digest:
        raise InputError(f"the model file {path} is damaged: its content does not match its hash; get it again")
    if header["family"] not in FAMILIES:
        raise InputError(f"{path} is of the family {header['family']!r}, which this version of microgen does not know")
    try:
        codec = Codec(**header["codec"])
        conditions = tuple(ConditionSpec(**spec) for spec in header["conditions"])
        family = FAMILIES[header["family"]]
        config = validate(family.Config, header["config"], where="config")
        net = family.build(config, codec=codec, conditions=conditions)
        net.load_state_dict(tensors)
    except (TypeError, RuntimeError, InputError) as error:
        raise InputError(f"the model file {path} does not fit this version of microgen: {_first(error)}") from error
    layout = torch.channels_last if codec.ndim == 2 else torch.preserve_format  # faster on large canvases
    net = net.to(device, memory_format=layout).eval().requires_grad_(False)
    return Model(
        header["family"], header["config"], net, codec, conditions, tuple(header["patch"]), header["provenance"]
    )


def read_header(path: Path | str) -> dict[str, Any]:
    """Read everything but the weights, without torch: family, config, codec, conditions, patch, provenance, sha256.

    Raises
    ------
    InputError
        If this is no model file of ours, or one of a newer version.
    """
    from safetensors import safe_open

    if not Path(path).is_file():
        raise InputError(f"there is no model file {path}")
    try:
        with safe_open(str(path), framework="numpy") as stream:
            metadata = stream.metadata() or {}
    except Exception as error:  # safetensors has its own exception types, none of them public
        raise InputError(f"{path} is not a model file, or it is damaged ({error})") from error
    if FORMAT not in metadata:
        raise InputError(f"{path} is a safetensors file, but not a model of microgen")
    return _header(path, metadata[FORMAT])


def find_model(model: Path | str) -> Path:
    """Return the model file of a run folder, or the file itself.

    Raises
    ------
    InputError
        If there is none.
    """
    path = Path(model)
    inside = path / "model.safetensors" if path.is_dir() else path
    if not inside.is_file():
        hint = "train has not finished there" if path.is_dir() else "give a model file or the folder of a training run"
        raise InputError(f"there is no model {inside}; {hint}")
    return inside


def count_parameters(path: Path | str) -> int:
    """Return how many numbers the tensors of a model file hold, from its table of contents alone."""
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as stream:
        return sum(math.prod(stream.get_slice(name).get_shape()) for name in stream.keys())  # noqa: SIM118


def content_hash(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the header and every tensor's name, type, shape and bytes."""
    import torch

    digest = hashlib.sha256(_canonical(header).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _header(path: Path | str, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError as error:
        raise InputError(f"the model file {path} is damaged: its header cannot be read; get it again") from error
    version = header.pop("version", None) if isinstance(header, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise InputError(f"{path} is of model format {version}, this microgen reads {VERSION}; update microgen")
    if version is None or set(header) != _KEYS:
        raise InputError(f"the model file {path} is damaged: its header is incomplete; get it again")
    return dict(header)


def _canonical(header: Mapping[str, Any]) -> str:
    return json.dumps(header, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _first(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
