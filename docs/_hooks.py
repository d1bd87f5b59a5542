"""Fills the pages of the reference from the program itself while the docs are built.

A line ``<!-- generated: NAME -->`` in a page is replaced by what the function of that name in `GENERATED` returns.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kinocyte.core import registry, schema
from kinocyte.core.reference import kind_section, ordered_kinds, parameter_table
from kinocyte.pipeline.model import Pipeline

_MARK = re.compile(r"^<!-- generated: (?P<name>[a-z ]+) -->$", re.MULTILINE)
_TO_MODEL = re.compile(r"\[(?P<words>[^]]+)\]\(#model-(?P<model>[^)]+)\)")
_COMMAND = re.compile(r"^[│|]\s+(?P<name>[a-z][a-z-]+)\s{2,}", re.MULTILINE)
# one space, as the lines that go on with a description stand further in
_INNER_COMMAND = re.compile(r"^[│|] (?P<name>[a-z][a-z-]+)\s{2,}", re.MULTILINE)


def pipeline() -> str:
    """Return the tables of the pipeline file itself: everything that is not a method."""
    document = Pipeline.model_json_schema()
    parts = ["### The file\n", parameter_table(document)]
    for key, field in document["properties"].items():
        for title, name in _sections(key, field):
            parts += [f"### `{title}`\n", parameter_table(document["$defs"][name])]
    return _TO_MODEL.sub(_to_section, "\n".join(parts))


def _sections(key: str, field: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the heading in the file and the model of a key that holds a table, tables by name, or a list of tables."""
    forms = (
        (f"[{key}]", field),
        (f"[{key}.NAME]", field.get("additionalProperties")),
        (f"[[{key}]]", field.get("items")),
    )
    return [
        (title, form["$ref"].rpartition("/")[2]) for title, form in forms if isinstance(form, dict) and "$ref" in form
    ]


def _to_section(link: re.Match[str]) -> str:
    """Point a link to the section of a method, which stands on the same page."""
    for kind in registry.kinds():
        for name, cls in registry.methods(kind).items():
            if cls.__name__.lower() == link["model"]:
                return f"[{link['words']}](#{kind}-{name.replace('_', '-')})"
    return link["words"]


def methods() -> str:
    """Return the reference of every installed method, and say which ones a pipeline file cannot hold yet."""
    known = Pipeline.model_json_schema()["$defs"]
    parts = []
    for kind in ordered_kinds():
        heading, _, rest = kind_section(kind).partition("\n")
        in_pipeline = any(cls.__name__ in known for cls in registry.methods(kind).values())
        note = "" if in_pipeline else "\nFor use from Python; a pipeline file does not take these yet.\n"
        parts.append(f"{heading}\n{note}{rest}")
    return "\n".join(parts)


def table_columns() -> str:
    """Return the key columns of every table of an experiment."""
    parts = []
    for title, columns in (
        ("<population>_objects", schema.OBJECTS),
        ("<population>_links", schema.LINKS),
        ("<population>_tracks", schema.TRACKS),
        ("<population>_members", schema.MEMBERS),
        ("<population>_events", schema.EVENTS),
        ("<reference>_<neighbour>_pairs", schema.PAIRS),
        ("drift", schema.DRIFT),
    ):
        parts += [f"### `{title}`\n", "| column | type | unit | meaning |", "|---|---|---|---|"]
        for name, column in columns.items():
            notes = [*(["optional"] if not column.required else []), *(["may be null"] if column.nullable else [])]
            meaning = f"{column.help} ({', '.join(notes)})" if notes else column.help
            parts.append(f"| `{name}` | {column.dtype} | {column.unit or ''} | {meaning} |")
        parts.append("")
    return "\n".join(parts)


def command_line() -> str:
    """Return the help of the program and of every command, as it is printed."""
    top = _help()
    names = [n for n in dict.fromkeys(_COMMAND.findall(top)) if n not in {"help", "version"}]
    if not names:
        msg = f"kinocyte --help lists no command:\n{top}"
        raise RuntimeError(msg)
    parts = ["## kinocyte\n", _as_text(top)]
    for name in names:
        said = _help(name)
        parts += [f"## kinocyte {name}\n", _as_text(said)]
        if said.lstrip().startswith(f"Usage: kinocyte {name} COMMAND"):  # a group of commands
            for inner in _INNER_COMMAND.findall(said):
                parts += [f"### kinocyte {name} {inner}\n", _as_text(_help(name, inner))]
    return "\n".join(parts)


def _help(*command: str) -> str:
    """Return what ``kinocyte COMMAND --help`` prints in a terminal 88 characters wide."""
    env = {**os.environ, "COLUMNS": "88", "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    code = "from kinocyte.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "--help"],
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        msg = f"kinocyte {' '.join(command)} --help ends with code {done.returncode}: {done.stderr}"
        raise RuntimeError(msg)
    return done.stdout


def _as_text(said: str) -> str:
    body = "\n".join(line.rstrip() for line in said.strip("\n").splitlines())
    return f"```text\n{body}\n```\n"


def contributing() -> str:
    """Return CONTRIBUTING.md with its links as they are seen from the docs."""
    return _from_root("CONTRIBUTING.md")


def changelog() -> str:
    """Return CHANGELOG.md."""
    return _from_root("CHANGELOG.md")


def _from_root(name: str) -> str:
    text = (Path(__file__).parents[1] / name).read_text(encoding="utf-8")
    return text.replace("](docs/", "](").replace("](CHANGELOG.md)", "](changelog.md)")


GENERATED: dict[str, Callable[[], str]] = {
    "pipeline": pipeline,
    "methods": methods,
    "table columns": table_columns,
    "command line": command_line,
    "contributing": contributing,
    "changelog": changelog,
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page; an unknown one is an error."""
    return _MARK.sub(lambda m: GENERATED[m["name"]](), markdown)
