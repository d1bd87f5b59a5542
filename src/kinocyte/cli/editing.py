"""`kinocyte edits`: who corrected what, what became of it, and taking it back."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kinocyte.cli._options import Json
from kinocyte.cli.console import out, table
from kinocyte.core.errors import ParameterError

if TYPE_CHECKING:
    from kinocyte.experiment.experiment import Experiment
    from kinocyte.experiment.position import Position

_COLUMNS = ("position", "number", "population", "action", "author", "time", "status", "message")


def edits(
    experiment: str,
    /,
    *,
    position: str | None = None,
    population: str | None = None,
    undo: int | None = None,
    redo: int | None = None,
    json: Json = False,
) -> int:
    """List the corrections that people made, with what became of them; exit code 1 where one could not be applied.

    Parameters
    ----------
    experiment : str
        The experiment: a folder ending in .zarr, or a URL.
    position : str
        Only this position, such as B2/1; needed to undo and redo.
    population : str
        Only this population.
    undo : int
        Take back so many of the newest corrections of the position; they stay in the history.
    redo : int
        Restore so many of those that were taken back last.
    """
    import kinocyte

    opened = kinocyte.open(experiment)
    changed = {"undone": 0, "redone": 0}
    if undo is not None or redo is not None:
        changed = _change(opened, position, undo, redo)
    chosen = list(opened.positions.values()) if position is None else [opened.position(position)]
    rows = [row for p in chosen for row in _rows(p, population)]
    if json:
        print(json_format.dumps({"experiment": opened.url, **changed, "corrections": rows}, ensure_ascii=False))  # noqa: T201 - for programs
    else:
        _show(rows, changed)
    return 1 if any(r["status"] == "conflict" for r in rows) else 0


def _change(opened: Experiment, position: str | None, undo: int | None, redo: int | None) -> dict[str, int]:
    if position is None:
        msg = "Undo and redo need one position: --position B2/1."
        raise ParameterError(msg)
    for name, value in (("undo", undo), ("redo", redo)):
        if value is not None and value < 1:
            msg = f"--{name} is {value}; give how many corrections, 1 or more."
            raise ParameterError(msg)
    opened.check_writable()
    journal = opened.position(position).journal
    undone = sum(journal.undo() is not None for _ in range(undo or 0))
    return {"undone": undone, "redone": sum(journal.redo() is not None for _ in range(redo or 0))}


def _rows(position: Position, population: str | None) -> list[dict[str, Any]]:
    return [{"position": position.id, **row} for row in position.corrections(population).to_dicts()]


def _show(rows: Sequence[dict[str, Any]], changed: dict[str, int]) -> None:
    for what, n in changed.items():
        if n:
            out.print(f"{n} {what}.", markup=False)
    if not rows:
        out.print("No corrections.", markup=False)
        return
    table("Corrections", _COLUMNS, [tuple(r[c] for c in _COLUMNS) for r in rows])
    waiting = sum(r["status"] == "pending" for r in rows)
    if waiting:
        out.print(f"{waiting} wait to be applied; run: kinocyte run PIPELINE.toml EXPERIMENT", markup=False)
