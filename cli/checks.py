"""What `microgen doctor` looks at: each check finds one fact, and says what to do where it is not good."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from microgen.core import StorageError
from microgen.core.files import write_bytes
from microgen.core.recipe import version, versions

NEEDED = ("numpy", "scipy", "torch", "h5py", "pillow", "tifffile", "scikit-image", "scikit-learn", "safetensors")
REINSTALL_TORCH = "install torch again, see docs/install.md"
FREE_GB = 2.0
"""Room that a fit with its samples and checkpoints should find."""


@dataclass(frozen=True)
class Check:
    """One fact about this machine, and what to do where it is not good."""

    name: str
    ok: bool
    found: str
    advice: str = ""

    def line(self) -> str:
        """One line for people.

        >>> Check("disk", False, "1.0 GB free", "free some").line()
        'FAIL disk: 1.0 GB free; free some'
        """
        return f"{'ok  ' if self.ok else 'FAIL'} {self.name}: {self.found}" + ("" if self.ok else f"; {self.advice}")


def all_checks(folder: Path) -> list[Check]:
    """Run every check; `folder` is where results will be written."""
    found = [check() for check in CHECKS]
    return [*found, writable(folder), space(folder)]


def python() -> Check:
    """Python 3.11 or newer."""
    return Check("python", sys.version_info >= (3, 11), platform.python_version(), "install Python 3.11 or newer")


def packages() -> Check:
    """The distributions that every command may need."""
    found = versions(("microgen-toolkit", *NEEDED))
    missing = [name for name, number in found.items() if number == "unknown"]
    text = ", ".join(f"{name} {number}" for name, number in found.items())
    return Check("packages", not missing, text, f"install {', '.join(missing)}, see docs/install.md")


def torch_works() -> Check:
    """Torch loads and computes."""
    try:
        import torch

        total = float(torch.ones(4).sum())
    except (ImportError, OSError, RuntimeError) as error:
        return Check("torch", False, str(error).splitlines()[0], REINSTALL_TORCH)
    return Check("torch", total == 4.0, f"{torch.__version__}, {torch.get_num_threads()} threads", REINSTALL_TORCH)


def device() -> Check:
    """The fastest device torch sees; a CPU alone is good enough."""
    if importlib.util.find_spec("torch") is None:
        return Check("device", False, "unknown", "install torch first")
    import torch

    from microgen.train.engine import resolve_precision

    kind = f"cuda: {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else f"cpu: {os.cpu_count()} cores"
    return Check("device", True, f"{kind}, trains in {resolve_precision('auto')}")


def codecs() -> Check:
    """Picture formats that Pillow was built with, and whether imagecodecs adds more."""
    from PIL import features

    missing = [name for name in ("jpg", "zlib", "libtiff") if not features.check(name)]
    more = version("imagecodecs")
    text = f"Pillow {version('pillow')}" + (", no imagecodecs" if more == "unknown" else f", imagecodecs {more}")
    return Check("codecs", not missing, text, f"this Pillow lacks {', '.join(missing)}: install its wheel again")


def pymks() -> Check:
    """PyMKS, which installs on Python 3.11 only; microgen does without it elsewhere."""
    if importlib.util.find_spec("pymks") is None:
        wanted = sys.version_info < (3, 12)
        return Check("pymks", not wanted, "not installed", "pip install -c constraints.txt pymks")
    import subprocess

    done = subprocess.run([sys.executable, "-c", "import pymks"], capture_output=True, text=True, check=False)
    last = (done.stderr.strip().splitlines() or [""])[-1]
    found = version("pymks") if done.returncode == 0 else last
    return Check("pymks", done.returncode == 0, found, "pip install -c constraints.txt pyarrow 'setuptools<82'")


def writable(folder: Path) -> Check:
    """A file can be written whole in `folder` (or where it would be made), and taken away again."""
    here = existing(folder)
    probe = here / f".microgen-doctor-{os.getpid()}"
    try:
        write_bytes(probe, b"ok")
        probe.unlink()
    except StorageError as error:
        return Check("writing", False, str(error.strerror), "choose another folder with --folder")
    return Check("writing", True, str(here))


def space(folder: Path) -> Check:
    """Free space on the disk of `folder`."""
    free = shutil.disk_usage(existing(folder)).free / 1e9
    advice = f"free at least {FREE_GB:g} GB or choose another folder with --folder"
    return Check("disk", free >= FREE_GB, f"{free:.1f} GB free", advice)


def existing(folder: Path) -> Path:
    """The folder itself, or the nearest folder above it that exists."""
    here = folder.resolve()
    return next(path for path in (here, *here.parents) if path.is_dir())


CHECKS: tuple[Callable[[], Check], ...] = (python, packages, torch_works, device, codecs, pymks)
