"""The section of answers: each comparison with its figure, the numbers of each group, and its tests as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from kinocyte.experiment.comparisons import StoredComparison, read_comparisons
from kinocyte.experiment.experiment import Experiment
from kinocyte.report.cells import pretty
from kinocyte.report.comparison_figures import MOST_GROUPS, comparison_figure
from kinocyte.report.distribution_figures import distributions, ecdf
from kinocyte.report.gallery import track_strip
from kinocyte.report.material import Drawn, Sketchbook
from kinocyte.report.matrix_figures import transition_matrices
from kinocyte.report.movie import movie_maker
from kinocyte.report.movies_section import strip_shown

_CAPTIONS = {
    "survival": "Kaplan-Meier curves with pointwise bands; ticks: cells lost from sight. Below: cells still watched.",
    "competing_risks": "Cumulative incidence (Aalen-Johansen) with pointwise bands.",
    "aligned_signal": "Mean over replicates (over cells where there are none), band: its interval.",
    "values": "Dots: cells. Bar: their quartiles, with the median. Points: means of replicates. Diamond and line: mean "
    "and its interval.",
    "hazard": "Events per hour under observation: smooth curve with its pointwise band; points: intervals of time.",
    "additive": "Observed values beside sums of values drawn at random from the two other groups.",
    "behaviour": "Above: windows of tracks by their features; rings: best examples of each state, one window a cell. "
    "Below: share of the windows of each group.",
    "dose_response": "Points: means of replicates. Curve: four-parameter logistic; dotted line: EC50. A dose of 0 "
    "stands at the left edge.",
}
_KEYS = ("group", "n_cells", "n_positions", "n_replicates")
#: Best examples of each state of behaviour that are shown as crops, and most of all of them.
_EXAMPLES, _MOST_EXAMPLES = 2, 16
#: Columns of a group that are not worth a place in a narrow table.
_LEFT_OUT = ("interval_over", "refused")


def comparisons(experiment: Experiment, book: Sketchbook) -> list[dict[str, Any]]:
    """Return every stored comparison as the page shows it."""
    return [_shown(experiment, c, book) for c in read_comparisons(experiment.storage)]


def _more(stored: StoredComparison, parameters: Mapping[str, Any], book: Sketchbook) -> list[Drawn]:
    """Return further figures: distributions of values; of behaviour, what follows what."""
    method = stored.document.get("method")
    steps, cells = (stored.frames.get(n, pl.DataFrame()) for n in ("curves", "details"))
    if method == "behaviour" and steps.height:
        caption = "How often a window in one state is followed by each; n: pairs of windows that follow each other."
        figure = transition_matrices(steps)
        return [book.add(f"comparison_{stored.name}_transitions", figure, "Transitions", caption, data=steps)]
    if method != "values" or not cells.height:
        return []
    value = pretty(str(parameters.get("value") or "value"))
    replicate = "replicate" if cells["replicate"].null_count() == 0 else None
    thick = "a line a group" if replicate is None else "a thin line a replicate, a thick one all cells"
    shares = ecdf(cells, "value", replicate=replicate, x_label=value)
    violins = distributions(cells, "value", kind="violin", y_label=value)
    name = f"comparison_{stored.name}"
    said = "Outline: density. Bar: quartiles. Ring: median."
    return [
        book.add(f"{name}_ecdf", shares, "Share of cells", f"Cells up to each value: {thick}.", data=cells),
        book.add(f"{name}_violin", violins, "Distribution", said, data=cells),
    ]


def _examples(experiment: Experiment, stored: StoredComparison) -> list[dict[str, Any]]:
    """Return crops of the best examples of each state of behaviour, where the cells are on hand."""
    points, subject = stored.frames.get("points", pl.DataFrame()), str(stored.document.get("subject"))
    wanted = {"exemplar", "state", "position", "track_id", "first_time_min", "last_time_min"}
    if stored.document.get("method") != "behaviour" or not wanted <= set(points.columns):
        return []
    best = points.filter(pl.col("exemplar").is_not_null() & (pl.col("exemplar") <= _EXAMPLES)).sort("state", "exemplar")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in best.head(_MOST_EXAMPLES).iter_rows(named=True):
        position = experiment.positions.get(str(row["position"]))
        if position is None or subject not in position.populations or not position.stands(f"{subject}_members"):
            continue
        maker = movie_maker(position, populations=[subject])
        strip = track_strip(maker, subject, int(row["track_id"]), (row["first_time_min"], row["last_time_min"]))
        if strip is not None:
            found.setdefault(str(row["state"]), []).append({**strip_shown(position, strip), "position": position.id})
    return [{"state": state, "strips": strips} for state, strips in found.items()]


def _nested(table: pl.DataFrame) -> bool:
    """Tell whether a table has a column that a CSV cannot hold."""
    return any(t.is_nested() for t in table.dtypes)


def _shown(experiment: Experiment, stored: StoredComparison, book: Sketchbook) -> dict[str, Any]:
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
        "more": _more(stored, parameters, book),
        "examples": _examples(experiment, stored),
        "columns": [pretty(n) for n in names],
        "rows": [{"keys": [r[k] for k in _KEYS], "values": [r[n] for n in names]} for r in groups.to_dicts()],
        "sentences": sentences,
        "notes": list(said.get("notes") or ()),
        "n_left": max(0, groups.height - MOST_GROUPS),
    }
