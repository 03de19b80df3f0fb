"""Evaluation from files: a prepared data set or a folder of pictures against a folder of samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from microgen.core import InputError, Microstructure
from microgen.core.files import sha256
from microgen.data.dataset import Dataset, Split
from microgen.data.plan import plan_path, read_plan
from microgen.evaluate.compare import evaluate
from microgen.evaluate.report import Report
from microgen.io import find_inputs, hdf5, read


@dataclass(frozen=True, eq=False)
class _Real:
    """Real pictures and the specimen that each shows."""

    held_out: list[Microstructure]
    train: list[Microstructure]
    held_out_groups: list[str]
    train_groups: list[str]
    facts: dict[str, Any]


def evaluate_files(
    real: Path | str,
    generated: Path | str | Sequence[Path],
    *,
    conditioned: Path | str | Sequence[Path] = (),
    pixel_size_um: float | None = None,
    max_windows: int = 320,
    seed: int = 0,
) -> Report:
    """Compare generated files with real ones.

    Parameters
    ----------
    real
        A data set made by ``prepare``: its held-out pictures are the reference, its training pictures the ceiling
        and the place to look for copies. Or a folder of pictures that were not trained on.
    generated
        A folder of samples, one file that holds several, or a list of such; all from one model.
    conditioned
        Further samples of the same model, made at single values: the part of the report on requested against
        measured is made of them instead of `generated`.
    pixel_size_um
        Of real pictures in a folder, where their files do not say.
    max_windows, seed
        As in :func:`evaluate`.

    Raises
    ------
    InputError
        For files that cannot be read or compared.
    """
    made, single = _generated(_paths(generated)), _generated(_paths(conditioned))
    _check_model(made + single)
    found = _dataset(Path(real)) if _is_dataset(Path(real)) else _folder(Path(real), pixel_size_um)
    return evaluate(
        found.held_out,
        made,
        train=found.train,
        conditioned=single,
        real_groups=found.held_out_groups,
        train_groups=found.train_groups,
        max_windows=max_windows,
        seed=seed,
        provenance={"real": found.facts, "generated": _origin(_paths(generated), made)}
        | ({"conditioned": _origin(_paths(conditioned), single)} if single else {}),
    )


def _paths(given: Path | str | Sequence[Path]) -> list[Path]:
    return [Path(given)] if isinstance(given, (str, Path)) else list(given)


def _generated(paths: Sequence[Path]) -> list[Microstructure]:
    made = [m for file in find_inputs(paths) for m in read(file)] if paths else []
    if len({m.ndim for m in made}) > 1:
        raise InputError(f"{paths[0]} holds pictures and volumes; evaluate them one kind at a time")
    return made


def _check_model(made: Sequence[Microstructure]) -> None:
    models = {(m.source.get("recipe") or {}).get("model_sha256") for m in made}
    if len(models) > 1:
        raise InputError(f"the samples come from {len(models)} different models; evaluate those of each by themselves")


def _is_dataset(path: Path) -> bool:
    return path.is_file() and h5py.is_hdf5(path) and hdf5.kind(path) == "dataset"


def _dataset(path: Path) -> _Real:
    data = Dataset.open(path)
    skip = read_plan(plan_path(path)).data.skip if plan_path(path).is_file() else ()

    def split(which: Split) -> Iterator[tuple[Microstructure, str]]:
        return ((data.read(n), data.specimen_of(n)) for n in data.names_in(which) if n not in skip)

    held, train = list(split("held_out")), list(split("train"))
    if not held:
        raise InputError(f"{path} has no held-out pictures to compare with; prepare it from more pictures")
    facts = {"file": path.name, "sha256": sha256(path), "held_out": len(held), "train": len(train)}
    return _Real([m for m, _ in held], [m for m, _ in train], [s for _, s in held], [s for _, s in train], facts)


def _folder(path: Path, pixel_size_um: float | None) -> _Real:
    pictures = [(m, str(file)) for file in find_inputs([path]) for m in read(file, pixel_size_um=pixel_size_um)]
    facts = {"folder": path.name, "pictures": len(pictures)}
    return _Real([m for m, _ in pictures], [], [name for _, name in pictures], [], facts)


def _origin(paths: Sequence[Path], made: list[Microstructure]) -> dict[str, Any]:
    """Where samples come from, as far as all their recipes agree."""
    recipes = [m.source.get("recipe") or {} for m in made]
    keys = [k for k in recipes[0] if k not in ("seed", "condition") and all(r.get(k) == recipes[0][k] for r in recipes)]
    return {
        "path": paths[0].name if len(paths) == 1 else f"{len(paths)} paths",
        "samples": len(made),
        "recipe": {k: recipes[0][k] for k in keys},
    }
