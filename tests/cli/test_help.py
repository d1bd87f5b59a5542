"""Help reads as sentences, whatever the width of its source."""

from __future__ import annotations

import itertools

import pytest

from kinocyte.cli import run
from kinocyte.cli._help import joined


def test_lines_of_a_paragraph_are_joined_and_paragraphs_are_kept() -> None:
    assert joined("One line\nand its rest.\n\nAnother.") == "One line and its rest.\n\nAnother."
    assert joined("Columns:\n- one\n- two") == "Columns:\n- one\n- two"


@pytest.mark.parametrize("words", [["train"], ["statistics", "survival"], ["link"], ["data", "rank"]])
def test_no_line_of_an_explanation_ends_early(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run([*words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"Usage: kinocyte {words[0]}")
    inside = [line for line in lines if line.startswith("│") and line.endswith("│")]
    assert inside
    for line, after in itertools.pairwise(inside):
        words_here, words_after = line.strip("│"), after.strip("│")
        explained = len(words_after) - len(words_after.lstrip())
        if explained > 20 and words_here.strip():  # the line after goes on with the explanation: no room was left
            first = words_after.split()[0]
            room = len(words_here) - len(words_here.rstrip()) - 1
            assert room <= len(first) + 1, f"{line}\n{after}"
