"""What the wizard of a new experiment does beside the window: reading files, importing, and asking in plain words."""

from __future__ import annotations

import csv
import dataclasses
import re
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from kinocyte.app.jobs import Job
from kinocyte.pipeline.importing import ImportOptions, ImportPlan, Progress, plan_import, run_import

#: Kinds of files that say which well is which, and what it got.
MAPS = (".csv", ".toml")

_OPTIONS_IN_WORDS = {
    "--pixel-size-um": "the pixel size",
    "--frame-interval-min": "the time between frames",
    "--z-step-um": "the distance of planes",
    "--channels": "the channels",
    "--override-metadata": "the tick at the bottom of 'Channels and calibration'",
    "--pattern": "what file names say",
    "--axes": "the axes of the files",
    "--missing-frames": "what to do where frames are missing",
    "--wells": "the column 'well'",
}
#: The end of a question as the command line puts it; what to do in this window, and why it is asked.
_WELLS = (
    ". Type wells into the first column of the table, or drop a plate map: CSV with the columns 'file' and 'well', "
    "and any condition. Comparisons are made between wells."
)
_ASKED = (
    (r"; give --wells with a plate map .*", _WELLS),
    (r"; give --pixel-size-um\.", ". Write it on the page 'Channels and calibration': areas and distances are in µm."),
    (r"; give --frame-interval-min\.", ". Write it on the page 'Channels and calibration': speeds follow from it."),
    (
        r", --[a-z-]+ says ([^;]+); leave --[a-z-]+ out or add --override-metadata to trust the option\.",
        r", and here stands \1. Empty the field, or tick the last line of 'Channels and calibration'.",
    ),
    (r"; give --axes, such as --axes (\w+)\.", r". Write them on the page 'Channels and calibration', such as \1."),
    (r"; give --z-step-um\.", ". Write it on the page 'Channels and calibration': volumes are in µm³."),
)


def plain_question(question: str) -> str:
    """Return a question of the plan with what this window offers in the place of options, and the reason."""
    for pattern, words in _ASKED:
        question = re.sub(pattern, words, question)
    for option, words in _OPTIONS_IN_WORDS.items():
        question = question.replace(option, words)
    return question


def shown_questions(questions: list[str], most: int = 3) -> str:
    """Return the first questions, of each kind one, as lines; a plate of many movies asks the same of each."""
    kinds: dict[str, list[str]] = {}
    for question in questions:
        kinds.setdefault(re.sub(r"'[^']*'", "", question), []).append(question)
    lines = []
    for alike in list(kinds.values())[:most]:
        more = f" The same holds for {len(alike) - 1} more." if len(alike) > 1 else ""
        lines.append(f"Needed: {plain_question(alike[0])}{more}")
    left = sum(len(alike) for alike in list(kinds.values())[most:])
    return "\n".join([*lines, f"And {left} more questions."] if left else lines)


def conditions_of(plan: ImportPlan | None) -> dict[str, dict[str, Any]]:
    """Return what the files say that each well got."""
    if plan is None or plan.conditions is None:
        return {}
    rows = plan.conditions.iter_rows(named=True)
    return {str(r["well"]): {k: v for k, v in r.items() if k != "well" and v is not None} for r in rows}


def found_values(plan: ImportPlan | None) -> dict[str, str]:
    """Return what the files say of calibration and channels, in words; only what they say."""
    if plan is None:
        return {}
    table = plan.table()
    said = {
        key: table[key].drop_nulls().unique(maintain_order=True).to_list()
        for key in ("pixel_size_um", "frame_interval_min", "z_step_um")
    }
    words = {key: ", ".join(f"{v:.5g}" for v in values[:3]) for key, values in said.items() if values}
    channels = list(dict.fromkeys(", ".join(p.channels) for p in plan.positions if p.channels))
    return words | ({"channels": channels[0]} if len(channels) == 1 else {})


def number(value: float | None) -> str | None:
    """Return a number as a person would write it."""
    return None if value is None else f"{value:.5g}"


def make_plan(paths: list[str], options: ImportOptions, wells: dict[str, str]) -> ImportPlan:
    """Read the files; wells that were typed go through a plate map, as on the command line."""
    plan = plan_import(list(paths), options)
    if not wells:
        return plan
    stated = {p.name: p.well for p in plan.positions if p.well} | wells
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "plate.csv"
        with place.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "well"), *stated.items()])
        moved = any(p.well and p.well != stated.get(p.name) for p in plan.positions)
        changes: dict[str, Any] = {"wells": str(place)} | ({"override_metadata": True} if moved else {})
        typed = plan_import(list(paths), options.model_copy(update=changes))
    return dataclasses.replace(typed, conditions=plan.conditions) if options.wells is not None else typed


def import_all(plan: ImportPlan, target: str, conditions: Any, job: Job) -> tuple[str, list[str]]:
    """Import, write the conditions that were painted, and return the place and what could not be imported."""
    from kinocyte.experiment.experiment import open as open_experiment

    def tell(progress: Progress) -> None:
        job.tell(progress.done / max(1, progress.total), progress.position)

    report = run_import(plan, target, on_progress=tell)
    if conditions is not None:
        experiment = open_experiment(target)
        before = experiment.conditions  # of wells that were there already
        others = before.filter(~before["well"].is_in(conditions["well"].to_list()))
        experiment.set_conditions(pl.concat([others, conditions], how="diagonal_relaxed"))
    return target, [f"{movie} was not imported: {why}" for movie, why in report.failed]
