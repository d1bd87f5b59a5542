"""The report: one HTML file that opens offline and says what was done, how good the data are and what was found."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from kinocyte.core.errors import ParameterError, StoreError, nearest
from kinocyte.core.version import __version__
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.groups import read_json
from kinocyte.report import cells_section, plate_section, quality_section
from kinocyte.report import methods_text as wording
from kinocyte.report.comparisons_section import comparisons
from kinocyte.report.drawing import FORMATS
from kinocyte.report.events_section import events
from kinocyte.report.examination import examine, readable
from kinocyte.report.filters_section import filters
from kinocyte.report.grouping import group_wells
from kinocyte.report.interactions_section import interactions
from kinocyte.report.lineages_section import lineages
from kinocyte.report.material import Sketchbook, gather
from kinocyte.report.movies_section import movies
from kinocyte.report.overlay import time_text
from kinocyte.report.plate_layout import row_name
from kinocyte.report.quality_flags import Limits


def write_report(
    experiment: Experiment,
    target_html: str | Path,
    *,
    title: str | None = None,
    run: Mapping[str, Any] | None = None,
    figures_dir: str | Path | None = None,
    formats: Sequence[str] = ("svg", "pdf"),
    by: str | None = None,
    limits: Limits | None = None,
    seed: int = 0,
) -> Path:
    """Write the report of an experiment: one HTML file that needs no network.

    Parameters
    ----------
    experiment : Experiment
        What is reported.
    target_html : str or Path
        File to write; an older one is replaced.
    title : str, optional
        Heading; by default the name of the experiment.
    run : mapping, optional
        The last run: ``pipeline`` (mapping), ``versions`` (mapping), ``tasks`` (list of mappings with ``step population
        position status seconds message warnings``). By default the newest one that the experiment keeps.
    figures_dir : str or Path, optional
        Folder that receives every figure as a file as well.
    formats : sequence of str
        Formats of those files: ``svg``, ``pdf``, ``png``.
    by : str, optional
        Condition column to group wells by; by default all columns that differ between wells, without replicate numbers.
    limits : Limits, optional
        Where a number of the quality control becomes a finding.
    seed : int
        Chooses which cells are drawn where not all are. The same experiment and seed give the same file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ParameterError
        If a format or the column ``by`` is unknown.
    StoreError
        If the file cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            msg = f"Figures cannot be written as '{name}'; {nearest(name, FORMATS)}."
            raise ParameterError(msg)
    book = Sketchbook(Path(figures_dir) if figures_dir is not None else None, tuple(formats))
    html = _page(experiment, book, title=title, run=run, by=by, limits=limits, seed=seed)
    path = Path(target_html)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(html, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        msg = f"The report {path} cannot be written: {error.strerror or error}; choose another place."
        raise StoreError(msg) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def _page(
    experiment: Experiment,
    book: Sketchbook,
    *,
    title: str | None,
    run: Mapping[str, Any] | None,
    by: str | None,
    limits: Limits | None,
    seed: int,
) -> str:
    grouping = group_wells(experiment.conditions, by)
    examination = examine(experiment, limits)
    positions, _ = readable(experiment)
    material = gather(experiment, positions, grouping, examination, seed)
    done = wording.steps(experiment)
    last = run if run is not None else _newest_run(experiment)
    shown = movies(material)
    plate = plate_section.plate(material, book)
    context = {
        "title": title or experiment.name,
        "experiment": experiment,
        "material": material,
        "positions": list(experiment.positions.values()),
        "overview": plate_section.overview(material),
        "quality": quality_section.quality(material, book),
        "plate": plate,
        "wells_at": {(w["row"], w["column"]): w for w in plate["wells"]},
        "row_names": [row_name(r) for r in range(material.plate.n_rows)],
        "comparisons": comparisons(experiment, book),
        "events": events(material, book),
        "interactions": interactions(material, book),
        "features": cells_section.features(material, book),
        "over_time": cells_section.over_time(material, book),
        "roses": cells_section.roses(material, book),
        "lineages": lineages(material, book),
        "filters": filters(material),
        "movies": shown,
        "steps": [_step(s, len(experiment.positions)) for s in done],
        "methods": wording.methods_text(experiment, done),
        "trouble": _trouble(done, last, {**examination.unreadable, **shown["failed"]}),
        "run": _run(last),
        "version": __version__,
    }
    return _render(context)


def _newest_run(experiment: Experiment) -> Mapping[str, Any] | None:
    """Return the document of the last run that the experiment keeps, if any."""
    kept = [n for n in experiment.storage.listdir("runs") if n.endswith(".json") and not n.startswith(".")]
    return read_json(experiment.storage, f"runs/{max(kept)}") if kept else None


def _step(step: wording.Step, n_positions: int) -> dict[str, Any]:
    where = "all positions" if len(step.positions) == n_positions else ", ".join(step.positions)
    methods = [
        {
            "name": str(m.get("method", step.step)),
            "parameters": wording.parameters(step.step, m),
            "changed": [name for name, _ in wording.parameters(step.step, m, changed_only=True)],
        }
        for m in step.methods
    ]
    return {"title": step.title, "where": where, "methods": methods, "seeds": step.seeds, "seconds": step.seconds}


def _trouble(
    done: Sequence[wording.Step], run: Mapping[str, Any] | None, unreadable: Mapping[str, str]
) -> dict[str, list[dict[str, str]]]:
    """Return failures and warnings, those of the records and those of the last run, each once."""
    failures = [{"what": "reading for this report", "where": p, "text": text} for p, text in unreadable.items()]
    warnings = [{"what": s.title, "where": p, "text": w} for s in done for p, w in s.warnings]
    for task in _tasks(run):
        what = str(task.get("step", ""))
        what += f" of {task['population']}" if task.get("population") else ""
        where = str(task.get("position") or "whole experiment")
        if task.get("status") == "failed":
            failures.append({"what": what, "where": where, "text": str(task.get("message") or "no message")})
        warnings += [{"what": what, "where": where, "text": str(warning)} for warning in task.get("warnings") or ()]
    return {"failures": _joined(failures), "warnings": _joined(warnings)}


def _joined(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return rows that say the same about several positions as one row."""
    places: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        known = places.setdefault((row["what"], row["text"]), [])
        if row["where"] not in known:
            known.append(row["where"])
    return [
        {
            "what": what,
            "text": text,
            "where": ", ".join(where[:8]) + (f" and {len(where) - 8} more" if len(where) > 8 else ""),
        }
        for (what, text), where in places.items()
    ]


def _tasks(run: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    tasks = run.get("tasks") if run is not None else None
    return [t for t in tasks if isinstance(t, Mapping)] if isinstance(tasks, Sequence) else []


def _run(run: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return how many tasks ended how, how long they took, and the pipeline as it was given."""
    if run is None:
        return None
    counts: dict[str, int] = {}
    for task in _tasks(run):
        status = str(task.get("status", "unknown"))
        counts[status] = counts.get(status, 0) + 1
    seconds = sum(float(t.get("seconds") or 0) for t in _tasks(run))
    pipeline, versions = run.get("pipeline"), run.get("versions")
    return {
        "state": str(run.get("state") or ""),
        "counts": counts,
        "seconds": seconds,
        "pipeline": pipeline
        if isinstance(pipeline, str)
        else json.dumps(pipeline, indent=1, ensure_ascii=False, default=str),
        "versions": versions if isinstance(versions, Mapping) else {},
    }


# -------------------------------------------------------------------------------------------------- rendering
def _asset(name: str) -> str:
    return files("kinocyte.report").joinpath("templates", name).read_text(encoding="utf-8")


def _render(context: Mapping[str, Any]) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_asset)
    )
    environment.filters["number"] = number
    environment.filters["duration"] = lambda seconds: time_text(seconds / 60) if seconds >= 60 else f"{seconds:.2g} s"
    environment.filters["drawn"] = Markup  # only for SVG of ours, in which matplotlib has escaped every name
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template("report.html.j2")
    return page.render(
        **context,
        css=Markup(_asset("report.css")),  # noqa: S704 - a file of ours
        script=Markup(script),  # noqa: S704 - a file of ours
        digest=digest,
    )


def number(value: Any, digits: int = 3) -> str:
    """Return a number for a table: three digits, a dash where there is none, other things as they are."""
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, float):
        if value and (abs(value) >= 1e6 or abs(value) < 1e-4):
            return f"{value:.{digits - 1}e}"
        return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return str(value)
