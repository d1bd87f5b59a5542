"""The section of answers: each comparison with its figure, the numbers of each group, and its tests as sentences."""

from __future__ import annotations

from typing import Any

import polars as pl

from kinocyte.experiment.comparisons import StoredComparison, read_comparisons
from kinocyte.experiment.experiment import Experiment
from kinocyte.report.cells import pretty
from kinocyte.report.comparison_figures import MOST_GROUPS, comparison_figure
from kinocyte.report.material import Drawn, Sketchbook
from kinocyte.report.matrix_figures import transition_matrices

_CAPTIONS = {
    "survival": "Kaplan-Meier curves with pointwise bands; ticks: cells lost from sight. Below: cells still watched.",
    "competing_risks": "Cumulative incidence (Aalen-Johansen) with pointwise bands.",
    "aligned_signal": "Mean over replicates (over cells where there are none), band: its interval.",
    "values": "Bar: quartiles over cells, with the median. Points: means of replicates. Diamond and line: mean and its "
    "interval.",
    "behaviour": "Above: windows of tracks by their features; rings: best examples of each state, one window a cell. "
    "Below: share of the windows of each group.",
    "dose_response": "Points: means of replicates. Curve: four-parameter logistic; dotted line: EC50. A dose of 0 "
    "stands at the left edge.",
}
_KEYS = ("group", "n_cells", "n_positions", "n_replicates")
#: Columns of a group that are not worth a place in a narrow table.
_LEFT_OUT = ("interval_over", "refused")


def comparisons(experiment: Experiment, book: Sketchbook) -> list[dict[str, Any]]:
    """Return every stored comparison as the page shows it."""
    return [_shown(c, book) for c in read_comparisons(experiment.storage)]


def _more(stored: StoredComparison, book: Sketchbook) -> list[Drawn]:
    """Return further figures: of behaviour, what follows what, where tracks have more than one window."""
    steps = stored.frames.get("curves")
    if stored.document.get("method") != "behaviour" or steps is None or not steps.height:
        return []
    caption = "How often a window in one state is followed by each; n: pairs of windows that follow each other."
    return [book.add(f"comparison_{stored.name}_transitions", transition_matrices(steps), "Transitions", caption)]


def _nested(table: pl.DataFrame) -> bool:
    """Tell whether a table has a column that a CSV cannot hold."""
    return any(t.is_nested() for t in table.dtypes)


def _shown(stored: StoredComparison, book: Sketchbook) -> dict[str, Any]:
    said = stored.document
    method, title = str(said.get("method")), str(said.get("title") or stored.name)
    parameters = said.get("parameters") or {}
    figure = comparison_figure(method, stored.frames, parameters)
    drawn = None
    if figure is not None:
        behind = {n: t for n, t in stored.frames.items() if t.width and not _nested(t)}
        drawn = book.add(f"comparison_{stored.name}", figure, title, _CAPTIONS.get(method, ""), data=behind)
    groups, tests = stored.frames["groups"], stored.frames.get("tests", pl.DataFrame())
    names = [c for c in groups.columns if c not in (*_KEYS, *_LEFT_OUT) and groups[c].dtype.is_numeric()]
    sentences = tests["sentence"].to_list() if "sentence" in tests.columns else []
    return {
        "name": stored.name,
        "title": title,
        "subject": said.get("subject"),
        "by": parameters.get("by") or "group",
        "figure": drawn,
        "more": _more(stored, book),
        "columns": [pretty(n) for n in names],
        "rows": [{"keys": [r[k] for k in _KEYS], "values": [r[n] for n in names]} for r in groups.to_dicts()],
        "sentences": sentences,
        "notes": list(said.get("notes") or ()),
        "n_left": max(0, groups.height - MOST_GROUPS),
    }
