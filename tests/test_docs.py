"""The documentation is current: generated pages, links, commands, job files, and a tutorial that runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from microgen.cli import COMMANDS, cli, main
from microgen.cli.reference import described, reference
from microgen.cli.steps import read_job

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CONTEXT = click.Context(cli, info_name="microgen")


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def names(page: Path) -> str:
    return page.name


def test_command_reference_is_current() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == reference(), "docs/cli.md is out of date: make docs"


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text)
    broken = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not broken


def test_every_page_can_be_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert not [
        page.name for page in (ROOT / "docs").glob("*.md") if page.name not in index and page.name != "index.md"
    ]


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_nobody_is_told_to_install_the_other_microgen(page: Path) -> None:
    commands = "\n".join(blocks(page, "bash") + blocks(page, "powershell") + blocks(page, "text"))
    assert not re.search(r"pip install\s+microgen\b(?!-toolkit)", commands)


def microgen_lines(page: Path) -> list[list[str]]:
    """Arguments of every ``microgen ...`` line in the shell blocks of a page."""
    text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [line[1:] for line in lines if line and line[0].split("/")[-1] == "microgen"]


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_commands_in_the_pages_parse(page: Path) -> None:
    """Every option a page mentions exists, and every command has the arguments it needs."""
    for name, *rest in microgen_lines(page):
        assert name in COMMANDS, f"{page.name}: microgen {name}"
        command = cli.get_command(CONTEXT, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=CONTEXT)
        given, left_over, _ = command.make_parser(context).parse_args(list(rest))
        missing = [p.name for p in command.params if p.required and not given.get(p.name or "")]
        assert not missing, f"{page.name}: microgen {name} {' '.join(rest)} lacks {missing}"
        assert not left_over or isinstance(command, click.Group)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_command_says_what_it_does_and_shows_an_example_that_parses(name: str, tmp_path: Path) -> None:
    command = cli.get_command(CONTEXT, name)
    assert command is not None
    prose, example = described(command)
    first = prose.split("\n\n")[0]
    assert first.endswith("."), f"{name}: the first line is one sentence"
    assert example.startswith(f"microgen {name}"), f"{name}: the help needs an example"
    page = tmp_path / "page.md"
    page.write_text(f"```bash\n{example}\n```\n", encoding="utf-8")
    test_commands_in_the_pages_parse(page)


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_job_files_in_the_pages_are_read(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(block for block in blocks(page, "toml") if "[[step]]" in block):
        path = tmp_path / f"{number}.toml"
        path.write_text(text, encoding="utf-8")
        assert read_job(path, lambda name: cli.get_command(CONTEXT, name))


def test_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command and every line of Python of the tutorial, in order, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(compile(block, "tutorial.md", "exec"), names)
            continue
        for line in block.splitlines():
            _, *arguments = shlex.split(line, comments=True)
            with pytest.raises(SystemExit) as leave:
                main(arguments)
            assert leave.value.code == 0, f"{line}\n{capsys.readouterr().err}"


def test_readme_names_only_targets_the_makefile_has() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    for page in PAGES:
        used = set(re.findall(r"^(?:\w+=\S+ )?make ([a-z]+)", "\n".join(blocks(page, "bash")), flags=re.MULTILINE))
        assert used <= targets, page.name
