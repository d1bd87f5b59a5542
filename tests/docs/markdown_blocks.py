"""Finds the fenced blocks of a Markdown page and what its comments say about them.

A block runs unless a comment on the line above says why not: ``<!-- not run: REASON -->``, or
``<!-- command: NAME -->`` for the README's commands, which CI types as they stand. ``<!-- exit code: 2 -->``
announces a command that is refused.
A fence with ``title="NAME"`` is a file that later blocks of the page find. ``<!-- starts with: demo -->`` anywhere
on a page lets it start beside the experiment that ``kinocyte demo`` makes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

RUNS = ("python", "pycon", "console")
SHELLS = ("sh", "bash", "powershell", "bat")
DATA = ("text", "toml", "json", "yaml", "csv", "bibtex", "markdown")

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})\s*(?P<info>[^`]*)$")
_COMMENT = re.compile(r"^\s*<!--\s*(?P<word>not run|command|exit code)\s*:\s*(?P<text>.+?)\s*-->\s*$")
_TITLE = re.compile(r'title="(?P<name>[^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, its language, its text, and what the comment above it says."""

    path: Path
    line: int
    language: str
    text: str
    title: str | None = None
    reason: str | None = None
    exit_code: int = 0

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found: list[Block] = []
    i = 0
    while i < len(lines):
        fence = _FENCE.match(lines[i])
        if fence is None:
            i += 1
            continue
        indent, ticks = len(fence["indent"]), fence["ticks"]
        end = next((j for j in range(i + 1, len(lines)) if lines[j].strip() == ticks), None)
        if end is None:
            msg = f"{path}:{i + 1}: the block has no end"
            raise ValueError(msg)
        text = "\n".join(line[indent:] for line in lines[i + 1 : end]) + "\n"
        found.append(_block(path, i + 1, fence["info"].strip(), text, lines[i - 1] if i else ""))
        i = end + 1
    return found


def _block(path: Path, line: int, info: str, text: str, above: str) -> Block:
    language = info.split(maxsplit=1)[0].strip("{}.") if info else ""
    title = _TITLE.search(info)
    said = _COMMENT.match(above)
    reason = said["text"] if said and said["word"] in {"not run", "command"} else None
    code = int(said["text"]) if said and said["word"] == "exit code" else 0
    return Block(path, line, language, text, title["name"] if title else None, reason, code)


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Return each command of a console block with the lines of output that the page promises."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found and found[-1][0].endswith("\\"):
            found[-1] = (found[-1][0][:-1] + line.removeprefix("> "), [])
        elif found and line.strip():
            found[-1][1].append(line)
    return found


def missing_output(promised: list[str], said: str) -> str | None:
    """Return the first promised line that the output does not hold in this order; ``...`` stands for anything."""
    lines = [" ".join(line.split()) for line in said.splitlines()]
    position = 0
    for line in promised:
        parts = [re.escape(" ".join(p.split())) for p in line.split("...")]
        if not any(parts):
            continue
        pattern = re.compile(r".*?".join(parts))
        hit = next((i for i in range(position, len(lines)) if pattern.search(lines[i])), None)
        if hit is None:
            return line
        position = hit + 1
    return None
