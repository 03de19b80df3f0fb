"""Reading configuration: TOML file, then ``key=value`` settings, checked against a pydantic model."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from microgen.core.errors import InputError


class Config(BaseModel):
    """Base of every configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


C = TypeVar("C", bound=Config)


def read_toml(path: Path | str) -> dict[str, Any]:
    """Read a TOML file, or raise an :class:`InputError` that names the line."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read {path} as TOML: {error}") from error


def merge(table: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Return `table` with dotted ``key=value`` settings laid over it; values are read as TOML, else as text.

    >>> merge({"train": {"batch": 8}}, ["train.batch=16", "name=steel"])
    {'train': {'batch': 16}, 'name': 'steel'}
    """
    merged = _copy(table)
    for setting in settings:
        key, found, text = setting.partition("=")
        if not found:
            raise InputError(f"settings are written key=value; {setting!r} is not")
        *parents, last = key.strip().split(".")
        target = merged
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise InputError(f"setting {setting!r}: {parent!r} is a value, not a table")
        target[last] = _value(text.strip())
    return merged


def validate(model: type[C], table: Mapping[str, Any], *, where: str) -> C:
    """Check `table` against `model`, or raise an :class:`InputError` with one line per problem."""
    try:
        return model.model_validate(dict(table))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"{where}: {problems}") from error


def _copy(table: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in table.items()}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
