"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets with known truths; tests that need it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("MICROGEN_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip("the folder of real data is absent; set MICROGEN_SHARED_DATA to it")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _signals_heeded() -> None:
    """Heed SIGINT, which a shell lets the tests ignore where it starts them in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """Undo what a test wrote into the environment: Dask's workers, for one, leave ``MKL_NUM_THREADS=1`` behind."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
