"""The README's two commands: one line each, and the same wherever they are repeated."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from markdown_blocks import blocks

ROOT = Path(__file__).resolve().parents[2]


def commands() -> dict[str, str]:
    found = {b.reason: b.text.strip() for b in blocks(ROOT / "README.md") if b.language == "sh" and b.reason}
    assert set(found) == {"demo", "test"}
    return {str(name): text for name, text in found.items()}


def test_each_is_one_line_in_an_environment_of_its_own() -> None:
    for text in commands().values():
        assert "\n" not in text
        assert text.startswith("python3 -m venv .venv && .venv/bin/pip install ")


@pytest.mark.parametrize(("name", "page"), [("demo", "docs/install.md"), ("test", "CONTRIBUTING.md")])
def test_a_repeated_command_is_the_same(name: str, page: str) -> None:
    assert commands()[name] in {b.text.strip() for b in blocks(ROOT / page)}


def test_ci_types_both() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.findall(r"readme_command (\w+)\)", script) == ["demo", "test"]


def test_extras_in_the_docs_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert named == set(project["optional-dependencies"]) - {"bench", "docs", "dev"}
