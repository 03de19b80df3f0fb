"""Job files: order, what is up to date, failures, and the same bytes through a Dask scheduler."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from microgen.cli import execution
from microgen.cli.steps import (
    Outcome,
    Task,
    content_hash,
    definition,
    input_hashes,
    plan,
    read_job,
    read_state,
    why_run,
)
from microgen.core import InputError


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--times", default=1)
@click.option("--loud", is_flag=True)
@click.option("--tag", multiple=True)
def copy(**_: Any) -> None:
    """Stand-in: write the content of SOURCE to OUT, some times over."""


COMMANDS = {"copy": copy}


def job(folder: Path, text: str) -> dict[str, Task]:
    path = folder / "job.toml"
    path.write_text(text, encoding="utf-8")
    return read_job(path, COMMANDS.get)


CHAIN = """
[[step]]
name = "last"
command = "copy"
arguments = ["middle.txt", "end.txt"]
[[step]]
name = "first"
command = "copy"
arguments = ["start.txt", "middle.txt"]
options = { times = 2 }
"""


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Replace the running of commands by :func:`copy` done here; the list collects what was run."""
    calls: list[list[str]] = []

    def execute(argv: list[str], folder: str, quiet: bool, started: Any = None) -> tuple[int, str, str, float]:
        calls.append(argv)
        source, out = Path(folder, argv[1]), Path(folder, argv[2])
        if not source.is_file():
            return 3, "", f"microgen: {source} is not there\n", 0.0
        times = int(argv[argv.index("--times") + 1]) if "--times" in argv else 1
        out.write_text(source.read_text() * times)
        return 0, json.dumps({"wrote": out.name}), "", 0.0

    monkeypatch.setattr(execution, "execute", execute)
    (tmp_path / "start.txt").write_text("a")
    return calls


def run(folder: Path, tasks: dict[str, Task], **options: Any) -> dict[str, Outcome]:
    return execution.run_tasks(tasks, folder / "job.state.json", **options)


def states(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.state for name, outcome in outcomes.items()}


def test_steps_run_in_the_order_of_their_files_not_of_the_text(tmp_path: Path, ran: list[list[str]]) -> None:
    assert states(run(tmp_path, job(tmp_path, CHAIN))) == {"last": "done", "first": "done"}
    assert ran == [["copy", "start.txt", "middle.txt", "--times", "2"], ["copy", "middle.txt", "end.txt"]]
    assert (tmp_path / "end.txt").read_text() == "aa"


def test_second_run_does_nothing(tmp_path: Path, ran: list[list[str]]) -> None:
    first = run(tmp_path, job(tmp_path, CHAIN))
    ran.clear()
    second = run(tmp_path, job(tmp_path, CHAIN))
    assert set(states(second).values()) == {"up to date"}
    assert ran == []
    assert second["first"].result == first["first"].result == {"wrote": "middle.txt"}


def change_input(folder: Path) -> None:
    (folder / "start.txt").write_text("b")


def lose_output(folder: Path) -> None:
    (folder / "end.txt").unlink()


def touch_input(folder: Path) -> None:
    (folder / "start.txt").write_text("a")


def lose_state(folder: Path) -> None:
    (folder / "job.state.json").write_text("{ torn")


@pytest.mark.parametrize(
    ("change", "expected"),
    [(change_input, ["first", "last"]), (lose_output, ["last"]), (touch_input, []), (lose_state, ["first", "last"])],
)
def test_only_what_is_out_of_date_runs_again(
    tmp_path: Path, ran: list[list[str]], change: Callable[[Path], None], expected: list[str]
) -> None:
    run(tmp_path, job(tmp_path, CHAIN))
    change(tmp_path)
    outcomes = run(tmp_path, job(tmp_path, CHAIN))
    assert sorted(name for name, state in states(outcomes).items() if state == "done") == expected


def test_changed_step_runs_again_and_the_next_one_only_if_its_input_changed(
    tmp_path: Path, ran: list[list[str]]
) -> None:
    run(tmp_path, job(tmp_path, CHAIN))
    same = job(tmp_path, CHAIN.replace("times = 2", "times = 2, loud = true"))
    assert states(run(tmp_path, same)) == {"first": "done", "last": "up to date"}
    other = job(tmp_path, CHAIN.replace("times = 2", "times = 3"))
    assert states(run(tmp_path, other)) == {"first": "done", "last": "done"}


def test_forced_step_runs(tmp_path: Path, ran: list[list[str]]) -> None:
    run(tmp_path, job(tmp_path, CHAIN))
    assert states(run(tmp_path, job(tmp_path, CHAIN), force=["last"])) == {"first": "up to date", "last": "done"}


def test_failure_stops_the_run_with_the_code_of_the_step(tmp_path: Path, ran: list[list[str]]) -> None:
    (tmp_path / "start.txt").unlink()
    outcomes = run(tmp_path, job(tmp_path, CHAIN))
    assert states(outcomes) == {"first": "failed", "last": "not run"}
    assert outcomes["first"].exit_code == 3
    (tmp_path / "start.txt").write_text("a")
    assert states(run(tmp_path, job(tmp_path, CHAIN))) == {"first": "done", "last": "done"}


def test_plan_says_why_and_touches_nothing(tmp_path: Path, ran: list[list[str]]) -> None:
    tasks = job(tmp_path, CHAIN)
    before = plan(tasks, read_state(tmp_path / "job.state.json"), ())
    assert {name: (o.state, o.why) for name, o in before.items()} == {
        "first": ("would run", "not run yet"),
        "last": ("would run", "not run yet"),
    }
    run(tmp_path, tasks)
    change_input(tmp_path)
    ran.clear()
    after = plan(tasks, read_state(tmp_path / "job.state.json"), ())
    assert after["first"].why.endswith("start.txt was changed")
    assert (after["last"].state, after["last"].why) == ("may run", "after first")
    assert ran == []


def test_result_is_saved_where_asked(tmp_path: Path, ran: list[list[str]]) -> None:
    text = CHAIN + 'save_result = "result.json"\n'
    run(tmp_path, job(tmp_path, text))
    assert json.loads((tmp_path / "result.json").read_text()) == {"wrote": "middle.txt"}
    (tmp_path / "result.json").unlink()
    assert states(run(tmp_path, job(tmp_path, text)))["first"] == "done"


def test_missing_output_of_a_step_that_ended_well_is_a_failure(tmp_path: Path, ran: list[list[str]]) -> None:
    outcomes = run(tmp_path, job(tmp_path, CHAIN + 'outputs = ["nothing.txt"]\n'))
    assert states(outcomes) == {"first": "failed", "last": "not run"}


def test_plan_beside_a_data_set_is_written_by_prepare_and_read_by_train(tmp_path: Path) -> None:
    """Whoever edits the plan changes what train reads; a plan given by name takes its place."""
    from microgen.cli import cli

    text = """
[[step]]
name = "train"
command = "train"
arguments = ["a/steel.h5", "run"]
[[step]]
name = "other"
command = "train"
arguments = ["a/steel.h5", "other"]
options = { plan = "mine.toml" }
[[step]]
name = "prepare"
command = "prepare"
arguments = ["micrographs", "a/steel.h5"]
"""
    path = tmp_path / "job.toml"
    path.write_text(text)
    tasks = read_job(path, lambda name: cli.get_command(click.Context(cli), name))
    plan_file = tmp_path / "a" / "steel.plan.toml"
    assert plan_file in tasks["train"].reads
    assert plan_file not in tasks["other"].reads
    assert {plan_file, tmp_path / "a" / "steel.fingerprint.json"} < set(tasks["prepare"].writes)
    plan_file.parent.mkdir()
    plan_file.write_text("batch = 8")
    (tmp_path / "run").mkdir()
    known = {"train": {"definition": definition(tasks["train"]), "inputs": input_hashes(tasks["train"])}}
    assert why_run(tasks["train"], known, forced=False) is None
    plan_file.write_text("batch = 4")
    assert why_run(tasks["train"], known, forced=False) == f"{plan_file} was changed"


def test_options_become_words() -> None:
    from microgen.cli.steps import Step

    options = {"loud": True, "quiet": False, "tag": ["a", "b"], "set_condition": {"grain_size_um": 12}, "n": 3}
    words = Step(name="s", command="copy", arguments=("x", "y"), options=options).argv()
    assert words == [
        "copy",
        "x",
        "y",
        "--loud",
        "--tag",
        "a",
        "--tag",
        "b",
        "--set-condition",
        "grain_size_um=12",
        "-n",
        "3",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "step"),
        ('[[step]]\nname = "a"\ncommand = "fly"\n', "'fly' is not a command"),
        ('[[step]]\nname = "a"\ncommand = "run"\n', "'run' is not a command a step can run"),
        ('[[step]]\nname = "a"\ncommand = "copy"\noptions = { wings = 2 }\n', "--wings"),
        ('[[step]]\nname = "a"\ncommand = "copy"\nwings = 2\n', "wings"),
        ('[[step]]\nname = "a"\ncommand = "copy"\narguments = ["x", "y", "z"]\n', "does not take the argument 'z'"),
        (CHAIN + CHAIN, "two steps are called"),
        (CHAIN + 'needs = ["nobody"]\n', "needs 'nobody'"),
        (CHAIN + 'needs = ["last"]\n', "wait for each other"),
        (CHAIN + '[[step]]\nname = "x"\ncommand = "copy"\narguments = ["a", "end.txt"]\n', "write the same path"),
        ("[[step", "cannot read"),
    ],
)
def test_bad_job_is_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        job(tmp_path, text)
    assert "\n" not in str(error.value)


def test_hash_of_a_folder_sees_names_and_contents_and_no_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    before = content_hash(tmp_path)
    (tmp_path / ".lock").write_text("x")
    assert content_hash(tmp_path) == before
    (tmp_path / "b").rename(tmp_path / "c")
    renamed = content_hash(tmp_path)
    (tmp_path / "c").write_text("3")
    assert len({before, renamed, content_hash(tmp_path)}) == 3
    assert content_hash(tmp_path, [tmp_path / "c"]) != content_hash(tmp_path)


def test_independent_steps_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps that wait for each other's start can only end if both were started."""
    import threading

    barrier = threading.Barrier(2, timeout=30)

    def execute(argv: list[str], folder: str, quiet: bool, started: Any = None) -> tuple[int, str, str, float]:
        barrier.wait()
        Path(folder, argv[2]).write_text("")
        return 0, "", "", 0.0

    monkeypatch.setattr(execution, "execute", execute)
    text = "".join(f'[[step]]\nname = "{n}"\ncommand = "copy"\narguments = ["x", "{n}.txt"]\n' for n in "ab")
    assert states(run(tmp_path, job(tmp_path, text), jobs=2)) == {"a": "done", "b": "done"}


def test_scheduler_that_does_not_answer_is_an_input_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("timed out")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        run(tmp_path, job(tmp_path, CHAIN), scheduler="tcp://127.0.0.1:1")


@pytest.mark.slow
def test_steps_run_on_the_workers_of_a_dask_scheduler(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        path = tmp_path / "job.toml"
        path.write_text(
            "".join(
                f'[[step]]\nname = "s{n}"\ncommand = "synth"\narguments = ["polycrystal", "{n}"]\n'
                f'options = {{ seeds = "{n}", size = "32x32", pixel_size_um = 1.0, grain_size_um = 8 }}\n'
                for n in range(2)
            )
        )
        from microgen.cli import cli

        tasks = read_job(path, lambda name: cli.get_command(click.Context(cli), name))
        outcomes = run(tmp_path, tasks, scheduler=cluster.scheduler_address)
    assert set(states(outcomes).values()) == {"done"}, outcomes


def test_interruption_stops_the_steps_that_are_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving the workers by an exception ends their processes, and steps not started yet never start."""
    import subprocess
    import sys
    import threading

    running = threading.Event()
    processes: list[subprocess.Popen[bytes]] = []

    def sleep(started: list[subprocess.Popen[bytes]]) -> tuple[int, str, str, float]:
        processes.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        started.append(processes[-1])
        running.set()
        return processes[-1].wait(), "", "", 0.0

    def interrupt_while_busy() -> None:
        with execution._workers(1, None) as submit:
            submit(sleep)
            submit(sleep)
            assert running.wait(30)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt_while_busy()
    assert [process.poll() is not None for process in processes] == [True]
