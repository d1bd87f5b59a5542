"""What a sweep leaves: table, best settings, figures, and the pipeline file that won."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.beside import files_beside
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.sweep.toml_text import key_text, with_values
from kinocyte.pipeline.sweep.truth import LOWER_IS_BETTER

if TYPE_CHECKING:
    from kinocyte.pipeline.sweep.run import SweepResult

_MOST_FIGURES = 10


def write_outputs(result: SweepResult, folder: Path, beside: Path) -> list[Path]:
    """Write ``trials.csv``, ``best.csv``, figures and ``winner.toml``; older ones of the same sweep are replaced.

    Parameters
    ----------
    result : SweepResult
        What was found.
    folder : Path
        The folder of the sweep.
    beside : Path
        Folder of the pipeline file: files it names are found from there.
    """
    storage = Storage(folder)
    written: list[Path] = []

    def put(name: str, content: bytes) -> None:
        storage.write_bytes(name, content)
        written.append(folder / name)

    if result.trials:
        put("trials.csv", _csv(result.table()))
        put("best.csv", _csv(best_table(result)))
    for name, content in figures(result):
        put(name, content)
    if result.best is not None:
        put("winner.toml", winner_text(result, beside).encode())
    return written


def _csv(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_csv(buffer)
    return buffer.getvalue()


def best_table(result: SweepResult) -> pl.DataFrame:
    """Return one row a score: ``metric``, ``better``, its best ``value``, the ``trial`` and its settings."""
    rows: list[dict[str, Any]] = []
    for metric in result.metrics:
        trial = result.best_by(metric)
        if trial is None:
            continue
        rows.append(
            {"metric": metric, "better": "lower" if metric in LOWER_IS_BETTER else "higher",
             "value": trial.scores[metric], "trial": result.trials.index(trial) + 1,
             **{a.key: "" if trial.settings.get(a.key) is None else str(trial.settings[a.key]) for a in result.axes}}
        )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def winner_text(result: SweepResult, beside: Path) -> str:
    """Return the pipeline file of the best trial, with the comments of the one that was varied."""
    best = result.best
    if best is None:
        msg = "No trial has a score; there is no winner."
        raise ValueError(msg)
    text = with_values(_anchored(result.text, beside), best.settings)
    kind = "against the truth" if result.has_truth else "consistency with itself, which is no accuracy"
    settings = ", ".join(f"{k} = {v}" for k, v in best.settings.items())
    value = best.scores[result.metric]
    head = f"# Best of {len(result.trials)} trials by {result.metric} ({kind}): {value:.6g}\n# {settings}\n\n"
    parse_pipeline(head + text, place="winner.toml")
    return head + text


def _anchored(text: str, beside: Path) -> str:
    """Return the text with files that lie beside the pipeline named by their full path."""
    files = files_beside(parse_pipeline(text), beside)
    return with_values(text, {key_text(place): path for place, path in files.items()})


def figures(result: SweepResult) -> list[tuple[str, bytes]]:
    """Return file names and contents: one heat map a pair of axes, or one curve, as SVG and PNG."""
    from kinocyte.pipeline.sweep.heatmaps import draw_curve, draw_map
    from kinocyte.report.drawing import render

    if result.best is None or result.best_by(result.metric) is None:
        return []
    table = result.table()
    varied = [a for a in result.axes if table[a.key].n_unique() > 1]
    drawn = []
    if len(varied) == 1:
        drawn.append((f"curve_{_short(varied[0].key)}", draw_curve(result, varied[0])))
    for down, across in list(itertools.combinations(varied, 2))[:_MOST_FIGURES]:
        drawn.append((f"map_{_short(down.key)}_{_short(across.key)}", draw_map(result, down, across)))
    names = _apart([n for n, _ in drawn])
    return [
        (f"{n}.{form}", render(figure, form, n))
        for n, (_, figure) in zip(names, drawn, strict=True)
        for form in ("svg", "png")
    ]


def _short(key: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in key.rpartition(".")[2])


def _apart(names: Sequence[str]) -> list[str]:
    return [n if names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names, start=1)]
