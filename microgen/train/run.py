"""Training in a run folder: the public entry, with its lock, identity and result."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from microgen.core import InputError, MicrogenError
from microgen.core.files import lock, sha256, write_bytes, write_json, write_whole
from microgen.data.dataset import Dataset
from microgen.data.plan import Plan
from microgen.models.card import write_card
from microgen.models.file import read_header
from microgen.train.config import FREE_KEYS, flatten
from microgen.train.engine import leave, make_fabric
from microgen.train.job import Counters
from microgen.train.loop import Trainer
from microgen.train.progress import ProgressLine
from microgen.train.setup import Settings, make_job, resolve

OVERFIT = 1.02
"""A final held-out loss this many times the best one means that the best weights are kept beside the final ones."""
_GONE = "plan.sample."
"""Table that plans of earlier versions had; it never changed a run."""


def train(
    data: Path | str,
    run: Path | str,
    *,
    plan: Plan | Path | None = None,
    settings: Iterable[str] = (),
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train a generator on a data set; the same call again resumes, and a finished run is left alone.

    Parameters
    ----------
    data
        Data set made by :func:`microgen.data.prepare`.
    run
        Folder of the run. It will hold ``model.safetensors`` (averaged weights, renewed at every checkpoint),
        ``checkpoints/``, ``log.jsonl``, TensorBoard ``events/``, ``samples/*.png``, ``plan.toml``, ``run.json`` and
        at the end ``result.json``.
    plan
        The plan or its file, by default the one beside the data set.
    settings
        Dotted ``key=value`` changes of the plan, ``"train.minutes=30"``; see :class:`TrainConfig`.
    say
        Called with messages for people, by default printed on standard error.

    Returns
    -------
    dict
        Model file with the SHA-256 of its content, images seen, losses, seconds, images per second.

    Raises
    ------
    InputError
        For a wrong plan or setting, or a folder that holds a run of other data, plan or settings.
    LockedError
        If another process trains in this folder.
    DivergedError, MemoryLimitError
        See :meth:`Trainer.fit`.
    """
    data, run = Path(data), Path(run)
    chosen = resolve(data, plan=plan, settings=settings)
    Dataset.open(data)  # a damaged file is refused before the run folder is made
    fabric = make_fabric(chosen.train)
    tell = say or ProgressLine().say
    with contextlib.ExitStack() as held:
        identity = _on_main(fabric, lambda: _open_run(data, run, chosen, held))
        if (run / "result.json").is_file():
            tell(f"{run} is finished; train into another folder to train again")
            before = _read_json(run / "result.json")
            return {**before, **_places(run, keep_best=before["best_model"] is not None)}
        job = make_job(data, chosen, provenance=_provenance(identity, Dataset.open(data)), say=tell)
        counters = Trainer(job, run, chosen.train, fabric=fabric).fit()
        result: dict[str, Any] = _on_main(fabric, lambda: _finish(run, counters))
        leave(fabric)
        return result


def dry_run(
    data: Path | str,
    *,
    plan: Plan | Path | None = None,
    settings: Iterable[str] = (),
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Return the plan and settings that :func:`train` would use, with the speed measured over a few steps."""
    chosen = resolve(Path(data), plan=plan, settings=settings)
    rate = measure_speed(Path(data), chosen, say=say or ProgressLine().say)
    minutes = chosen.train.images / rate / 60 if chosen.train.images else chosen.train.minutes
    return {
        "plan": chosen.plan.model_dump(mode="json"),
        "train": chosen.train.model_dump(mode="json"),
        "images_per_s": round(rate, 2),
        "estimated_minutes": round(min(filter(None, (minutes, chosen.train.minutes))), 2),
    }


def measure_speed(data: Path, chosen: Settings, *, say: Callable[[str], None]) -> float:
    """Train a few steps, throw them away, and return images per second on this machine."""
    update = {"images": 4 * chosen.train.batch, "minutes": None, "validations": 0, "previews": 0}
    few = chosen.train.model_copy(update=update)
    job = make_job(data, chosen, provenance={}, say=say)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(job, Path(folder), few, fabric=make_fabric(few), quiet=True)
        counters = trainer.fit()
    return trainer.budget.rate(images=counters.images, seconds=counters.seconds)


def _open_run(data: Path, run: Path, chosen: Settings, held: contextlib.ExitStack) -> dict[str, Any]:
    """Lock the folder and check, or note, whose run it is."""
    held.enter_context(lock(run / ".lock"))
    now = {
        "data": {"sha256": sha256(data)},
        "plan": chosen.plan.model_dump(mode="json"),
        "train": chosen.train.model_dump(mode="json", exclude=set(FREE_KEYS)),
    }
    path = run / "run.json"
    if path.is_file():
        _check_same(run, _read_json(path), now)
    else:
        write_bytes(run / "plan.toml", chosen.plan.to_toml().encode())
        write_json(path, now)
    for left in run.glob(".*.safetensors"):  # of a model file whose writer was killed
        left.unlink()
    return now


def _check_same(run: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    was, is_now = ({k: v for k, v in flatten(t).items() if not k.startswith(_GONE)} for t in (before, now))
    changed = [key for key in {**was, **is_now} if was.get(key) != is_now.get(key)]
    if "data.sha256" in changed:
        raise InputError(f"{run} was started with another data set; use a new folder, or that data set again")
    if changed:
        key = changed[0]
        name = key.removeprefix("plan.")
        raise InputError(
            f"{run} was started with {name} = {was.get(key)}, now it is {is_now.get(key)}; "
            "use a new folder, or the same plan and settings again"
        )


def _provenance(identity: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    about = {"pictures": len(dataset.names_in("train")), "sources": dataset.meta.get("sources", [])}
    said = {"plan": identity["plan"], "train": identity["train"]}
    return {"data_sha256": identity["data"]["sha256"], "data": about, **said}


def _finish(run: Path, counters: Counters) -> dict[str, Any]:
    """Settle which weights are the result, and write it down."""
    model, best = run / "model.safetensors", run / "best.safetensors"
    loss = counters.latest.get("held_out_loss")
    overfit = counters.best is not None and loss is not None and loss > OVERFIT * counters.best
    if counters.stopped_early and best.exists():
        write_whole(model, lambda temporary: _fill(temporary, best.read_bytes()))
    keep_best = overfit and not counters.stopped_early
    result = {
        **_places(run, keep_best=keep_best),
        "model_sha256": read_header(model)["sha256"],
        "images": counters.images,
        **counters.latest,
        "seconds": round(counters.seconds, 2),
        "images_per_s": round(counters.images / counters.seconds, 2),
        "stopped_early": counters.stopped_early,
        "best": {"images": counters.best_images, "held_out_loss": counters.best},
    }
    write_card(model)
    write_json(run / "result.json", result)
    if not keep_best:
        best.unlink(missing_ok=True)
    return result


def _places(run: Path, *, keep_best: bool) -> dict[str, str | None]:
    best = str(run / "best.safetensors") if keep_best else None
    return {"run": str(run), "model": str(run / "model.safetensors"), "best_model": best}


def _on_main(fabric: Fabric, action: Callable[[], Any]) -> Any:
    """Let the first process act; all others get its result, or raise its error, and nobody waits for ever."""
    answer: tuple[Any, MicrogenError | None] = (None, None)
    unexpected: Exception | None = None
    if fabric.is_global_zero:
        try:
            answer = (action(), None)
        except MicrogenError as error:
            answer = (None, error)
        except Exception as error:  # may be of a kind that cannot be sent
            answer, unexpected = (None, MicrogenError(f"the first process failed: {error}")), error
    if fabric.world_size > 1:
        answer = fabric.broadcast(answer)
    if unexpected is not None or answer[1] is not None:
        raise unexpected or answer[1]  # type: ignore[misc]
    return answer[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return value
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); remove the run folder and train again") from error


def _fill(path: Path, data: bytes) -> None:
    path.write_bytes(data)
