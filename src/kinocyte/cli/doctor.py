"""`kinocyte doctor`: what is installed, what is missing, and the command that mends it."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kinocyte.cli import _environment
from kinocyte.cli._environment import Check, Extra, Library
from kinocyte.cli._options import Json

_MARKS = {True: "[green]yes[/]", False: "[red]no[/]", None: "[dim]-[/]"}


def doctor(*, json: Json = False) -> int:
    """Say what is installed, what is missing, and the command that mends it.

    Returns
    -------
    int
        Exit code: 0 if everything the base needs works, 1 otherwise. Optional parts do not count.
    """
    report = examine()
    if json:
        print(json_format.dumps(report, indent=2, ensure_ascii=False))  # noqa: T201 - what a program reads is not styled
    else:
        _show(report, Console(highlight=False))
    return 0 if report["ok"] else 1


def examine() -> dict[str, Any]:
    """Return everything `kinocyte doctor` knows, as plain values.

    Returns
    -------
    dict
        ``ok`` (bool), ``machine`` (str to str), ``libraries``, ``extras`` and ``checks`` (lists of dicts), ``mend``
        (list of str: what to do when ``ok`` is false).
    """
    libraries = _environment.base_libraries()
    checks = _environment.checks()
    wrong = [library for library in libraries if library.state != "works"]
    mend = [_reinstall(wrong)] if wrong else []
    mend += [f"{c.name}: {c.detail}{f'; {c.mend}' if c.mend else ''}" for c in checks if c.ok is False]
    return {
        "ok": not wrong and all(c.ok is not False for c in checks),
        "machine": _environment.machine(),
        "libraries": [asdict(library) for library in libraries],
        "extras": [asdict(extra) for extra in _environment.extras()],
        "checks": [asdict(check) for check in checks],
        "mend": mend,
    }


def _reinstall(wrong: Sequence[Library]) -> str:
    """Return the command for libraries that are absent, too old, or fail at import."""
    needed = tuple(f"{library.name}{library.needed}" for library in wrong)
    command = _environment.pip_install(needed)
    broken = any(library.state == "broken" for library in wrong)
    return command.replace(" install ", " install --force-reinstall --no-deps ", 1) if broken else command


def _show(report: dict[str, Any], console: Console) -> None:
    extras = [Extra(**row) for row in report["extras"]]
    console.print(_machine_table(report["machine"]))
    console.print(_library_table([Library(**row) for row in report["libraries"]]))
    console.print(_extra_table(extras))
    console.print(_check_table([Check(**row) for row in report["checks"]]))
    _tell("To complete an optional part:", [f"{e.name}: {e.mend}" for e in extras if not e.complete], console)
    optional = [Check(**row) for row in report["checks"] if row["ok"] is None and row["mend"]]
    _tell("To add what is optional:", [f"{c.name}: {c.mend}" for c in optional], console)
    if report["ok"]:
        console.print("\nEverything the base needs works.", style="green")
    else:
        console.print("\nNot everything the base needs works.", style="red")
        _tell("To mend it:", report["mend"], console)


def _tell(title: str, lines: Sequence[str], console: Console) -> None:
    """Print each line unbroken, so that a command in it can be copied."""
    if lines:
        console.print(f"\n[bold]{title}[/]")
    for line in lines:
        console.print(f"  {escape(line)}", soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _machine_table(machine: dict[str, str]) -> Table:
    table = _table("This machine", "what", "found")
    for name, value in machine.items():
        table.add_row(name, escape(value))
    return table


def _library_table(libraries: Sequence[Library]) -> Table:
    table = _table("\nLibraries of the base", "library", "version", "needed", "works")
    for row in libraries:
        state = "[green]yes[/]" if row.state == "works" else f"[red]{row.state}[/] {escape(row.detail)}"
        table.add_row(row.name, row.version, row.needed, state)
    return table


def _extra_table(extras: Sequence[Extra]) -> Table:
    table = _table("\nOptional parts", "extra", "for", "installed", "missing")
    for row in extras:
        missing = ", ".join(escape(m) for m in row.missing)
        table.add_row(row.name, row.purpose, "[green]complete[/]" if row.complete else "[dim]no[/]", missing)
    return table


def _check_table(checks: Sequence[Check]) -> Table:
    table = _table("\nTried on this machine", "what", "works", "found")
    for row in checks:
        table.add_row(row.name, _MARKS[row.ok], escape(row.detail))
    return table
