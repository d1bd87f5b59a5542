"""Runs side by side: what was asked differently, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from kinocyte.core.errors import InputFileError
from kinocyte.learning.training.run_folder import RunFolder


def runs_below(folder: Path) -> list[RunFolder]:
    """Return the run in a folder, or those in the folders below it, in order of their names.

    Raises
    ------
    InputFileError
        If there is none.
    """
    found = [RunFolder(p.parent) for p in sorted([*folder.glob("training.json"), *folder.glob("*/training.json")])]
    if not found:
        msg = f"There is no run of a training in {folder}; name the folder that was given to --out."
        raise InputFileError(msg)
    return found


def compared(runs: Sequence[RunFolder]) -> pl.DataFrame:
    """Return one row a run: where it is, how far it came, its scores, and the settings in which runs differ.

    Parameters
    ----------
    runs : sequence of RunFolder
        Finished or not.

    Returns
    -------
    polars.DataFrame
        ``run state step best_step seconds held_out_loss`` and more scores of held-out images where a run is finished,
        then one column a setting that is not alike in all runs, such as ``training.learning_rate``.
    """
    asked = [_flat(run.asked) for run in runs]
    names = list(dict.fromkeys(name for one in asked for name in one))
    differing = [n for n in names if len({repr(_shown(one.get(n))) for one in asked}) > 1]
    rows = [
        {"run": str(run.path), **_outcome(run), **{n: _shown(one.get(n)) for n in differing}}
        for run, one in zip(runs, asked, strict=True)
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame([{c: row.get(c) for c in columns} for row in rows], infer_schema_length=None, strict=False)


def _outcome(run: RunFolder) -> dict[str, Any]:
    rows, record = run.history(), run.record()
    held = [row for row in rows if "held_out_loss" in row]
    best = min(held, key=lambda row: row["held_out_loss"], default=None)
    found = {
        "state": "finished" if run.finished else "begun",
        "step": int(rows[-1]["step"]) if rows else 0,
        "best_step": None if best is None else int(best["step"]),
        "seconds": rows[-1]["seconds"] if rows else None,
        "held_out_loss": None if best is None else best["held_out_loss"],
    }
    scores = record.get("held_out", {})
    return found | {k: v for k, v in scores.items() if not k.startswith("held_out_")}


def _flat(table: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{place}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def _shown(value: Any) -> Any:
    if value == []:  # as good as nothing
        return None
    return value if value is None or isinstance(value, (int, float, str)) else str(value)
