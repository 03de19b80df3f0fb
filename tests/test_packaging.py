"""What is installed is what is in the tree: packages, typing marker, data sets, version, constraints."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import microgen

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages_in_tree() -> set[str]:
    rooms = {f"microgen.{p.parent.name}" for p in (ROOT / "microgen").glob("*/__init__.py")}
    return rooms | {"microgen", "microgen.cli", "microgen.datasets"}


def test_packages_are_those_in_the_tree() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages_in_tree()


def test_rooms_are_one_level_deep() -> None:
    """A package below a room would be left out of the wheel."""
    assert not list((ROOT / "microgen").glob("*/*/**/__init__.py"))


def test_datasets_hold_no_code() -> None:
    assert not list((ROOT / "datasets").rglob("*.py"))


def test_version_is_written_once_in_each_place() -> None:
    assert microgen.__version__ == PROJECT["project"]["version"] == metadata.version("microgen-toolkit")


def test_changelog_has_the_version() -> None:
    assert f"## {microgen.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_are_plain_pins_of_no_particular_build() -> None:
    for name, version in pins().items():
        assert name == canonical(name)
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), f"{name}: {version} names a local build"


def test_constraints_pin_every_direct_dependency_inside_its_range() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    for text in PROJECT["project"]["dependencies"] + extras["dev"]:
        requirement = Requirement(text)
        pinned = pins().get(canonical(requirement.name))
        assert pinned, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(pinned), f"{requirement} does not allow {pinned}"


DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn"}
"""Where the name of a distribution is not that of its module."""


def imported(folder: str) -> set[str]:
    """Distributions that the modules of a folder import, anywhere in them."""
    nodes = [n for p in (ROOT / folder).rglob("*.py") for n in ast.walk(ast.parse(p.read_text(encoding="utf-8")))]
    names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 0 and n.module}
    tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"microgen"}
    return {canonical(DISTRIBUTIONS.get(top, top)) for top in tops}


@pytest.mark.parametrize(("folder", "extra"), [("microgen", None), ("cli", None), ("benchmarks", "bench")])
def test_everything_imported_is_declared(folder: str, extra: str | None) -> None:
    texts = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"].get(extra, [])
    missing = imported(folder) - {canonical(Requirement(text).name) for text in texts}
    assert not missing, f"{folder} imports {', '.join(sorted(missing))}, which pyproject.toml does not declare"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a wheel and an sdist made from a copy of the tree, without network."""
    out = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source")
    copy_tree(source)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source], check=True, capture_output=True
    )
    return out


def copy_tree(target: Path) -> None:
    import shutil

    for path in ROOT.iterdir():
        if path.name.startswith(".") or path.suffix == ".egg-info" or path.name in ("build", "dist", "demo_out"):
            continue
        if path.is_dir():
            shutil.copytree(path, target / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, target / path.name)


def test_wheel_holds_every_package_the_marker_and_the_data_sets(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    expected = {p.relative_to(ROOT).as_posix() for p in (ROOT / "microgen").rglob("*.py")}
    expected |= {f"microgen/cli/{p.name}" for p in (ROOT / "cli").glob("*.py")}
    expected |= {f"microgen/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "datasets").rglob("*") if p.is_file()}
    templates = {p.relative_to(ROOT).as_posix() for p in (ROOT / "microgen").rglob("*.html")}
    assert expected | templates | {"microgen/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "docs", "benchmarks", "datasets", "cli"))]


def test_sdist_holds_what_is_needed_to_test_and_build_again(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"Makefile", "constraints.txt", "CHANGELOG.md", "docs/architecture.md", "tests/conftest.py"} <= names
    assert {f"cli/{p.name}" for p in (ROOT / "cli").glob("*.py")} <= names


def test_wheel_runs_from_anywhere(built: Path, tmp_path: Path) -> None:
    """Unpacked on the path, the wheel answers and finds its data sets without the source tree."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path)
    code = "import microgen, microgen.cli, pathlib; print(pathlib.Path(microgen.__file__).parent)"
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, cwd="/")
    assert Path(done.stdout.strip()) == tmp_path / "microgen"
    assert list((tmp_path / "microgen" / "datasets").glob("*/card.toml"))
