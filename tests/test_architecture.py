"""The drawing of the table in docs/architecture.md: who may import whom, and where torch may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "microgen"
TORCH = {"torch", "monai", "lightning_fabric"}
TORCH_ROOMS = {"nets", "models", "train", "generate"}
CORE_MAY_IMPORT = {"numpy", "scipy", "pydantic"}


def table() -> dict[str, set[str]]:
    """Read the rows ``| `room` | owns | may import |`` of the architecture page."""
    rows = {}
    for line in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3:
            rows[cells[0].strip("`/")] = {name.strip() for name in cells[2].split(";")[0].split(",")}
    return rows


TABLE = table()
ROOMS = {name: allowed for name, allowed in TABLE.items() if name != "cli"}


def imports(path: Path, package: str) -> Iterator[str]:
    """Yield the absolute dotted name of everything a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def package_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


def rooms_imported(path: Path) -> set[str]:
    names = [name.split(".") for name in imports(path, package_of(path))]
    return {parts[1] for parts in names if parts[0] == "microgen" and len(parts) > 1 and parts[1] in {*ROOMS, "cli"}}


def others_imported(path: Path) -> set[str]:
    names = {name.split(".")[0] for name in imports(path, package_of(path))}
    return names - set(sys.stdlib_module_names) - {"microgen"}


def test_every_room_has_a_row_and_every_row_a_room() -> None:
    on_disk = {path.name for path in LIBRARY.iterdir() if (path / "__init__.py").is_file()}
    assert on_disk <= set(ROOMS), f"rooms without a row in docs/architecture.md: {on_disk - set(ROOMS)}"
    assert set(ROOMS) <= on_disk, f"rows without a room: {set(ROOMS) - on_disk}"


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_what_its_row_allows(room: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports microgen.{other}"
        for path in files(LIBRARY / room)
        for other in rooms_imported(path) - ROOMS[room] - {room}
    }
    assert not wrong


def test_table_has_no_circle() -> None:
    reached: set[str] = set()
    left = {room: allowed & set(ROOMS) for room, allowed in ROOMS.items()}
    while left:
        ready = {room for room, needs in left.items() if needs <= reached}
        assert ready, f"these rooms import each other in a circle: {sorted(left)}"
        reached |= ready
        left = {room: needs for room, needs in left.items() if room not in ready}


def test_core_imports_only_numbers_and_configuration() -> None:
    assert {name for path in files(LIBRARY / "core") for name in others_imported(path)} <= CORE_MAY_IMPORT


def test_nobody_imports_the_command_line() -> None:
    assert not [path for path in files(LIBRARY) if "cli" in rooms_imported(path)]


@pytest.mark.parametrize("room", sorted(set(ROOMS) - TORCH_ROOMS))
def test_torch_stays_in_its_rooms(room: str) -> None:
    assert not [path for path in files(LIBRARY / room) if others_imported(path) & TORCH]


def test_command_line_uses_relative_imports_inside_and_absolute_ones_outside() -> None:
    for path in files(ROOT / "cli"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert not (node.module or "").startswith("microgen.cli"), path
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, path


def loaded(code: str) -> set[str]:
    """Top-level modules that are loaded after `code` ran in a fresh interpreter."""
    program = f"import sys\n{code}\nprint('\\n'.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n"))


def test_rooms_without_networks_load_without_torch() -> None:
    code = "\n".join(f"import microgen.{room}" for room in sorted(set(ROOMS) - TORCH_ROOMS))
    assert not loaded(code) & TORCH


def test_no_command_module_loads_torch() -> None:
    code = "import importlib\nfrom microgen.cli import COMMANDS\n"
    code += "for name in COMMANDS: importlib.import_module('microgen.cli.' + name)"
    assert not loaded(code) & TORCH


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_answer_without_heavy_imports(argument: str) -> None:
    code = "from microgen.cli import main\n"
    code += f"try: main([{argument!r}])\nexcept SystemExit as leave: assert leave.code == 0"
    assert not loaded(code) & (TORCH | {"scipy", "matplotlib", "skimage", "sklearn", "h5py", "dask", "PIL"})


@pytest.mark.parametrize("arguments", [["datasets", "list"], ["datasets", "--help"]])
def test_cards_are_read_without_what_measures(arguments: list[str]) -> None:
    code = "import io\nfrom contextlib import redirect_stdout\nfrom microgen.cli import main\n"
    code += f"with redirect_stdout(io.StringIO()):\n    try: main({arguments!r})\n"
    code += "    except SystemExit as leave: assert not leave.code"
    assert not loaded(code) & (TORCH | {"scipy", "matplotlib", "skimage", "sklearn", "h5py", "dask", "PIL"})
