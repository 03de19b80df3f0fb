"""The command line itself: lazy loading, help, exit codes and one-line messages."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest

import microgen.cli as house
from microgen.cli import COMMANDS, cli, main
from microgen.cli.errors import Terminated
from microgen.core import (
    DivergedError,
    InputError,
    LockedError,
    MemoryLimitError,
    MicrogenError,
    StorageError,
)

CODES = [
    (InputError("the picture is empty"), 3),
    (LockedError("in use"), 4),
    (StorageError(errno.ENOSPC, "no space left"), 5),
    (DivergedError("not finite"), 6),
    (MemoryLimitError("too small"), 7),
    (MemoryError(), 7),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 7),
    (OSError(errno.ENOSPC, "No space left on device", "x.png"), 5),
    (OSError(errno.EACCES, "Permission denied", "x.png"), 5),
    (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.png"), 3),
    (KeyboardInterrupt(), 130),
    (Terminated(), 143),
    (MicrogenError("other"), 1),
    (KeyError("surprise"), 1),
]


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> NoReturn:
        raise error

    return command


def run_main(*arguments: str) -> int:
    with pytest.raises(SystemExit) as leave:
        main(list(arguments))
    code = leave.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda value: type(value).__name__)
def test_error_ends_with_its_code_and_one_line(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(type(cli), "get_command", lambda *_: raising(error))
    assert run_main("info") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip().startswith("microgen: ")
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err


def test_message_of_many_lines_becomes_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(type(cli), "get_command", lambda *_: raising(ValueError("first\n  second")))
    assert run_main("info") == 1
    assert "first second" in capsys.readouterr().err


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(cli), "get_command", lambda *_: raising(InputError("the picture is empty")))
    with pytest.raises(InputError):
        main(["--debug", "info"])
    with pytest.raises(InputError):
        main(["info", "--debug"])


def test_code_given_by_a_command_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.pass_context
    def command(ctx: click.Context) -> None:
        ctx.exit(3)

    monkeypatch.setattr(type(cli), "get_command", lambda *_: command)
    assert run_main("info") == 3


def test_wrong_usage_is_2_and_suggests_the_command_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main("smaple") == 2
    assert "Did you mean" in capsys.readouterr().err
    assert run_main("run") == 2
    assert run_main("run", "no-such-job.toml") == 2


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help_with_its_one_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(name, "--help") == 0
    shown = capsys.readouterr().out
    assert "Usage: microgen" in shown
    assert "Example:" in shown


def test_group_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_every_module_of_a_command_is_in_the_table() -> None:
    folder = Path(house.__file__).parent
    modules = {path.stem for path in folder.glob("*.py") if "\ndef command(" in path.read_text(encoding="utf-8")}
    assert modules == set(COMMANDS)


def test_every_path_parameter_is_known_to_job_files_as_read_or_written() -> None:
    """A path parameter with a new name has to be sorted into cli/steps.py, or jobs would not see an output."""
    from microgen.cli.steps import INPUTS_AND_OUT, OUTPUTS

    read = {"inputs", "data", "model", "job", "config", "plan", "real", "generated", "conditioned", "path"}
    read |= {"folder", "folders", "like", "table", "numbers"} | INPUTS_AND_OUT
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        for one in command.commands.values() if isinstance(command, click.Group) else [command]:
            paths = {p.name for p in one.params if isinstance(p.type, click.Path)}
            assert paths <= read | OUTPUTS, f"{name}: {paths - read - OUTPUTS}"


def start(tmp_path: Path, code: str) -> subprocess.Popen[str]:
    """Start a command that says it is ready and then waits."""
    program = f"""
import sys, time, click
import microgen.cli as house
from microgen.core.files import write_whole

@click.command()
def command():
    {code}

type(house.cli).get_command = lambda *_: command
house.main(["info"])
"""
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


HALF_WRITTEN = """
    def write(path):
        path.write_bytes(b"half")
        print("ready", flush=True)
        time.sleep(60)
    write_whole("out.bin", write)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can catch")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_has_its_code_one_line_and_leaves_nothing_half_written(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = start(tmp_path, HALF_WRITTEN)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert len(err.strip().splitlines()) == 1
    assert "run the same command again" in err
    assert list(tmp_path.iterdir()) == []


def test_warning_is_one_plain_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    @click.command()
    def command() -> None:
        warnings.warn("three files\nwere left out", UserWarning, stacklevel=1)
        warnings.warn("numpy will change", FutureWarning, stacklevel=1)

    monkeypatch.setattr(type(cli), "get_command", lambda *_: command)
    before = warnings.showwarning
    assert run_main("info") == 0
    assert capsys.readouterr().err == "warning: three files were left out\n"
    assert warnings.showwarning is before


def test_result_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    from microgen.cli.options import print_result

    value: dict[str, Any] = {"name": "Größe", "value": 1.5}
    print_result(value)
    assert json.loads(capsys.readouterr().out) == value
