"""Where foreign HDF5 can be read from: threads, forks, daemons, scripts; and that no process is left behind."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from microgen.io import sandbox, sandbox_process

IMAGE = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.h5"
    with h5py.File(path, "w") as file:
        file["image"] = IMAGE
    return path


def array(path: Path) -> np.ndarray:
    with sandbox.opened(path) as file:
        return file.array("/image")


def ended(pid: int) -> bool:
    """Wait a while for a process to be gone; one that nobody has waited for counts as gone."""
    for _ in range(100):
        status = Path(f"/proc/{pid}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return True
        time.sleep(0.05)
    return False


def test_threads_read_at_the_same_time(good: Path) -> None:
    found: list[bool] = []

    def run() -> None:
        found.extend(np.array_equal(array(good), IMAGE) for _ in range(5))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 30
    assert len(sandbox_process._idle) <= 2


DAEMON = """
import multiprocessing, sys
from pathlib import Path
from microgen.io import read

def total(path, queue):
    queue.put(int(read(path, pixel_size_um=1)[0]["intensity"].sum()))

if __name__ == "__main__":
    path, method = sys.argv[1:]
    read(path, pixel_size_um=1)  # the child process that reads is running when the daemon starts
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=total, args=(path, queue), daemon=True)
    process.start()
    print(queue.get(timeout=60))
    process.join(60)
    print(process.exitcode, int(read(path, pixel_size_um=1)[0]["intensity"].sum()))
"""


@pytest.mark.parametrize("method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()])
def test_daemonic_children_read_too(method: str, good: Path, tmp_path: Path) -> None:
    """As in Dask's workers and torch's loaders: a daemon may start no multiprocessing child, a fork shares pipes."""
    script = tmp_path / "daemon.py"
    script.write_text(DAEMON, encoding="utf-8")
    done = subprocess.run([sys.executable, script, good, method], capture_output=True, text=True, timeout=120)
    total = str(int(IMAGE.sum()))
    assert done.stdout.split() == [total, "0", total], done.stderr


def test_a_script_without_main_guard(good: Path, tmp_path: Path) -> None:
    """Its lines run once: the child never imports the script. Nor does the child outlive it."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nprint('once')\nfrom microgen.io import read, sandbox_process\n"
        "assert sandbox_process._idle == []\nread(sys.argv[1], pixel_size_um=1)\n"
        "print(sandbox_process._idle[0]._process.pid)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, "-W", "error", script, good], capture_output=True, text=True, check=True)
    once, pid = done.stdout.split()
    assert (once, done.stderr) == ("once", "")
    if os.name == "posix":
        assert ended(int(pid))


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_the_child_ends_with_a_parent_that_was_killed(good: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys, signal\nfrom microgen.io import read, sandbox_process\nread(sys.argv[1], pixel_size_um=1)\n"
        "print(sandbox_process._idle[0]._process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, good], capture_output=True, text=True, check=False)
    assert ended(int(done.stdout))
