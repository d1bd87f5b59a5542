"""Every block of code in the README and the docs runs, or says why not."""

from __future__ import annotations

import doctest
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from markdown_blocks import DATA, RUNS, SHELLS, Block, blocks, commands, missing_output

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ALL = [block for page in PAGES for block in blocks(page)]
RUNNABLE = [page for page in PAGES if any(b.language in RUNS and not b.reason for b in blocks(page))]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as the page's reader would, with this environment's programs first."""
    scripts = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120", "NO_COLOR": "1"}
    program = shutil.which(command[0], path=env["PATH"])
    assert program, f"there is no program {command[0]}"
    return subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        env={**env, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Run ``kinocyte demo`` once for all pages, whichever process comes first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "demo"
    with FileLock(str(folder) + ".lock"):
        if not folder.exists():
            unfinished = folder.with_name("demo-unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            done = run(["kinocyte", "demo"], unfinished)
            assert done.returncode == 0, done.stdout + done.stderr
            unfinished.rename(folder)
    return folder


@pytest.mark.parametrize("block", ALL, ids=str)
def test_every_block_runs_or_says_why_not(block: Block) -> None:
    assert block.language in {*RUNS, *SHELLS, *DATA}, "name the language of the block"
    if block.language in SHELLS:
        assert block.reason, "say why it does not run: <!-- not run: REASON -->"
    if block.reason is not None:
        assert len(block.reason) > 3
    if block.language == "toml":
        tomllib.loads(block.text)
    if block.language == "console" and not block.reason:
        assert commands(block.text), "a console block holds commands that start with '$ '"


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda p: str(p.relative_to(ROOT)))
@pytest.mark.timeout(600)
def test_the_page_does_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "reader"
    if "<!-- starts with: demo -->" in page.read_text(encoding="utf-8"):
        shutil.copytree(request.getfixturevalue("demo"), folder)
    else:
        folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    names: dict[str, Any] = {"__name__": "__page__"}
    for block in blocks(page):
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language in RUNS and not block.reason:
            {"python": run_python, "pycon": run_session, "console": run_console}[block.language](block, names)


def run_python(block: Block, names: dict[str, Any]) -> None:
    """Run a block of Python; blank lines put its line numbers where the page has them."""
    source = "\n" * block.line + block.text
    exec(compile(source, str(block.path), "exec"), names)  # noqa: S102 - running the page's code is the test


def run_session(block: Block, names: dict[str, Any]) -> None:
    """Run a Python session and compare what it shows."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(block.text, names, str(block), str(block.path), block.line)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=flags).run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    assert result.failed == 0, "".join(said)


def run_console(block: Block, names: dict[str, Any]) -> None:
    """Run the commands of a block and look for the output that the page promises."""
    for command, promised in commands(block.text):
        done = run(shlex.split(command), Path.cwd())
        said = done.stdout + done.stderr
        assert done.returncode == block.exit_code, f"{block}: {command}\n{said}"
        lacking = missing_output(promised, said)
        assert lacking is None, f"{block}: {command} does not say '{lacking}' but\n{said}"
