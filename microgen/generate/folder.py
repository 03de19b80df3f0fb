"""A folder of samples of one model, one condition and one set of options: one file per seed, each written once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from microgen import io
from microgen.core import InputError, Microstructure
from microgen.core.files import write_bytes
from microgen.core.recipe import RECIPE_KEY, recipe
from microgen.generate.claims import Claims
from microgen.generate.watch import count_samples, sample_name

FORMATS = ("png", "tif", "h5", "npy", "vti")
FORMAT = "microgen-samples"
MANIFEST = "manifest.json"
CLAIMS = ".claims"
_PATIENCE = 0.2
"""Seconds between looks at what other processes still work on."""

_ANY = 2**62
_MARKS = (RECIPE_KEY.encode(), b"microgen-sample")
_FOREIGN = "{} was not made with these settings; move it away or choose another folder"

Draw = Callable[[Iterable[int]], Iterator[Microstructure]]
"""Makes one Microstructure per seed, with the seed in its source; takes seeds only as it needs them."""


class SampleFolder:
    """Where samples are published, by one process or by many at once.

    Parameters
    ----------
    path
        The folder; made where it is missing.
    about
        JSON-able facts that all samples of the folder share: model hash, condition, shape, options.
    suffix
        One of :data:`FORMATS`.
    model_path
        Named in the recipes, relative to the folder.

    Raises
    ------
    InputError
        If the folder already holds samples made with other settings; the message names the first difference.
        A folder that was prepared and holds no samples takes the new settings.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], *, suffix: str, model_path: str) -> None:
        if suffix not in FORMATS:
            raise InputError(f"samples are written as {', '.join(FORMATS)}; {suffix!r} is not one of them")
        self.path, self.suffix, self._about, self._model_path = path, suffix, dict(about), model_path
        manifest = {"format": FORMAT, "version": 1, "file_format": suffix, **about}
        text = (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode()
        if not write_bytes(path / MANIFEST, text, exclusive=True):
            try:
                _check_same(path / MANIFEST, manifest)
            except InputError:
                if not (_is_manifest(path / MANIFEST) and self._is_unused()):
                    raise
                write_bytes(path / MANIFEST, text)

    def file(self, seed: int) -> Path:
        """Path of a sample."""
        return self.path / sample_name(seed, self.suffix)

    def fill(self, seeds: Sequence[int], draw: Draw) -> int:
        """Make every sample that is missing, side by side with other processes; return how many were made here.

        Returns when all files are there and valid, also those that others were working on: what a killed process
        leaves is taken over.
        """
        made = 0
        with Claims(self.path / CLAIMS) as claims:
            todo = list(seeds)
            while todo:
                done: set[int] = set()
                for sample in draw(self._claimed(todo, claims, done)):
                    made += self._publish(sample)
                    seed = sample.source["seed"]
                    claims.release(seed)
                    done.add(seed)
                todo = [seed for seed in todo if seed not in done]
                if todo and not done:
                    time.sleep(_PATIENCE)
        return made

    def _is_unused(self) -> bool:
        """Tell whether there are no samples, of any format, and nobody works on one."""
        with Claims(self.path / CLAIMS) as claims:
            return not claims.others() and not any(count_samples([self.path], suffix) for suffix in FORMATS)

    def _claimed(self, seeds: Sequence[int], claims: Claims, done: set[int]) -> Iterator[int]:
        """Yield the seeds to work on: claimed, and not there yet. Those found complete are added to `done`."""
        leftovers = self._leftovers()
        for seed in seeds:
            if not claims.take(seed):
                continue
            for path in leftovers.get(self.file(seed).stem, ()):
                path.unlink(missing_ok=True)
            if self._is_valid(seed):
                claims.release(seed)
                done.add(seed)
            else:
                yield seed

    def _leftovers(self) -> dict[str, list[Path]]:
        """Unfinished files by the name they were to get; whoever holds the claim knows that nobody writes them."""
        found: dict[str, list[Path]] = {}
        for path in self.path.glob(f".seed_*.*.{self.suffix}"):
            found.setdefault(path.name.split(".")[1], []).append(path)
        return found

    def _is_valid(self, seed: int) -> bool:
        """Tell whether the sample is there; a damaged one of ours, which we hold the claim of, is removed."""
        path = self.file(seed)
        if not path.exists():
            return False
        try:
            found = io.read(path, max_pixels=_ANY)[0].source.get("recipe")
        except InputError as error:
            if not _is_damaged(path, error):
                raise InputError(_FOREIGN.format(path)) from error
            path.unlink(missing_ok=True)
            return False
        expected = {"maps": None, "batch": None, **self._about, "seed": seed}
        if found is None or any(found.get(key) != value for key, value in expected.items()):
            raise InputError(_FOREIGN.format(path))
        return True

    def _publish(self, sample: Microstructure) -> bool:
        details = recipe("sample", model=self._model_path, **sample.source)
        return io.write(self.file(sample.source["seed"]), sample, details, exclusive=True)


def _is_damaged(path: Path, error: InputError) -> bool:
    """Tell a sample that lost a part from a file of somebody else, or one that cannot be opened just now."""
    if isinstance(error.__cause__, OSError) and error.__cause__.errno is not None:
        raise error.__cause__
    data = path.read_bytes()
    described = path.with_name(path.name + ".json")  # of .npy, which has no place for the mark
    data += described.read_bytes() if described.is_file() else b""
    return not data.strip(b"\0") or any(mark in data for mark in _MARKS)


def _is_manifest(path: Path) -> bool:
    """Tell our manifest from a file of somebody else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("format") == FORMAT


def _check_same(path: Path, wanted: Mapping[str, Any]) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read; choose another folder") from error
    for key in {**wanted, **(found if isinstance(found, dict) else {})}:
        if not isinstance(found, dict) or found.get(key) != wanted.get(key):
            raise InputError(
                f"{path.parent} holds samples made with another {key.replace('_', ' ')}; "
                "give the same settings again or choose another folder"
            )
