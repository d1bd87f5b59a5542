"""How `kinocyte statistics` shows a comparison: one JSON object, or tables for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from kinocyte.cli.console import err, out, print_json, table
from kinocyte.statistics.base import Comparison

_TIMES = 6
Row = Mapping[str, Any]


def present(file: Path, read: pl.DataFrame, columns: Row, found: Comparison, *, json: bool) -> int:
    """Print a comparison of a table; notes go to standard error, or into the JSON object. Returns 0."""
    notes = [*found.notes, *_advice(read, columns)]
    if json:
        print_json(_document(file, read, columns, found, notes))
        return 0
    _SHOWN[found.method](found, columns)
    for note in notes:
        err.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    return 0


def _advice(read: pl.DataFrame, columns: Row) -> Iterator[str]:
    if columns.get("replicate") is None and "replicate" in read.columns:
        yield "The table has a column 'replicate'; to make replicates the sample of tests, add --replicate replicate."


def _document(
    file: Path, read: pl.DataFrame, columns: Row, found: Comparison, notes: Sequence[str]
) -> dict[str, Any]:  # fmt: skip
    """Return one object: each group with its curve and its replicates."""
    groups = []
    for row in found.groups.iter_rows(named=True):
        group = {"group": row["group"], "n": row["n_cells"], **row}
        if found.curves.width and found.method != "additive":
            group["curve"] = _of_group(found.curves, row["group"])
        group["replicates"] = _of_group(found.points, row["group"]) if columns.get("replicate") else []
        groups.append(group)
    document = {
        "file": str(file),
        "method": found.method,
        "rows": read.height,
        "columns": dict(columns),
        "groups": groups,
        "tests": found.tests.to_dicts(),
        "notes": list(notes),
    }
    for name in ("effects", "details"):
        if name in _MORE.get(found.method, ()):
            document[name] = getattr(found, name).to_dicts()
    return document


def _of_group(rows: pl.DataFrame, group: Any) -> list[dict[str, Any]]:
    if "group" not in rows.columns:
        return []
    return rows.filter(rows["group"] == group).drop("group").to_dicts()


def _interval(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    return f" [{'open' if low is None else f'{low:.4g}'}, {'open' if high is None else f'{high:.4g}'}]"


def _with_interval(row: Row, name: str) -> str:
    value = row[name]
    return "-" if value is None else f"{value:.4g}{_interval(row[f'{name}_low'], row[f'{name}_high'])}"


def _show_groups(title: str, found: Comparison, cells: Mapping[str, Callable[[Row], object]]) -> None:
    """Print one row a group: its sample, and what is asked for; counts nobody named are left out."""
    named = [c for c in ("n_positions", "n_replicates") if found.groups[c].null_count() < found.groups.height]
    heads = ("group", "cells", *(c.removeprefix("n_") for c in named), *cells)
    rows = [
        (r["group"], r["n_cells"], *(r[c] for c in named), *(cell(r) for cell in cells.values()))
        for r in found.groups.iter_rows(named=True)
    ]
    table(title, heads, rows)


def _show_tests(found: Comparison) -> None:
    rows = []
    for r in found.tests.iter_rows(named=True):
        pair = "all" if r["group_b"] is None else str(r["group_b"])
        if r["group_a"] is not None:
            pair = f"{pair} against {r['group_a']}"
        p, corrected = (("-" if v is None else f"{v:.3g}") for v in (r["p"], r["p_corrected"]))
        effect = ""
        if r["effect_value"] is not None:
            effect = f"{r['effect']} {r['effect_value']:.4g}{_interval(r['effect_low'], r['effect_high'])}"
        statistic = "-" if r["statistic"] is None else f"{r['statistic']:.4g}"
        rows.append((pair, r["test"], statistic, p, corrected, effect))
    if rows:
        table("Tests", ("groups", "test", "statistic", "p", "corrected", "effect"), rows)
    for reason in dict.fromkeys(found.tests["refused"].drop_nulls()):
        out.print(f"No p-value: {reason}.", markup=False, soft_wrap=True)


def _show_survival(found: Comparison, columns: Row) -> None:
    until = next((f"{t:g}" for t in found.groups["restricted_to"].drop_nulls()), "-")
    cells: dict[str, Callable[[Row], object]] = {
        "events": lambda r: r["events"],
        "median": lambda r: _with_interval(r, "median"),
        f"mean restricted to {until}": lambda r: _with_interval(r, "restricted_mean"),
    }
    _show_groups(f"{columns['duration']} to {columns['event']}", found, cells)
    ends = found.curves["time"].max() if found.curves.height else None
    if isinstance(ends, float) and ends > 0:
        times = _round_times(ends)
        rows = [(g, *_along(found.curves.filter(found.curves["group"] == g), times)) for g in found.groups["group"]]
        table("Share without the event (cells at risk)", ("group", *(f"{t:g}" for t in times)), rows)
    _show_tests(found)


def _along(curve: pl.DataFrame, times: Sequence[float]) -> Iterator[str]:
    """Yield survival and number at risk at each time."""
    time, share = curve["time"].to_numpy(), curve["survival"].to_numpy()
    for t in times:
        later = time >= t
        if not later.any() and share[-1] > 0:
            yield ""
            continue
        at_risk = curve["at_risk"].to_numpy()[later][0] if later.any() else 0
        yield f"{share[time <= t][-1]:.3f} ({at_risk})"


def _round_times(end: float) -> list[float]:
    """Return a few round times up to the end."""
    raw = end / _TIMES
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * k for k in (1, 2, 2.5, 5, 10) if unit * k >= raw * (1 - 1e-9))
    return [i * step for i in range(int(end / step + 1e-9) + 1)]


def _show_values(found: Comparison, columns: Row) -> None:
    cells: dict[str, Callable[[Row], object]] = {
        "mean": lambda r: _with_interval(r, "mean"),
        "sd": lambda r: r["sd"],
        "median": lambda r: r["median"],
    }
    _show_groups(f"{columns['value']} by {columns['by']}", found, cells)
    _show_tests(found)
    rows = [
        (f"{r['group_b']} against {r['group_a']}", r["effect"], r["value"], _interval(r["low"], r["high"]).strip(),
         r["magnitude"])
        for r in found.effects.iter_rows(named=True)
    ]  # fmt: skip
    if rows:
        table("Effect sizes", ("groups", "effect", "value", "interval", "magnitude"), rows)


def _show_aligned(found: Comparison, columns: Row) -> None:
    _show_groups(f"{columns['signal']} around {columns['event_time']}", found, {})
    heads = ("group", "time", "cells", "replicates", "value", "over cells", "over replicates")
    rows = [
        (r["group"], r["time"], r["n_cells"], r["n_replicates"], r["value"], _interval(r["low"], r["high"]).strip(),
         _interval(r["replicate_low"], r["replicate_high"]).strip())
        for r in found.curves.iter_rows(named=True)
    ]  # fmt: skip
    table("Along the time from the event", heads, rows)


def _show_dose(found: Comparison, columns: Row) -> None:
    cells: dict[str, Callable[[Row], object]] = {
        "points": lambda r: r["n_points"],
        "EC50": lambda r: _with_interval(r, "ec50"),
        "hill": lambda r: r["hill"],
        "bottom": lambda r: r["bottom"],
        "top": lambda r: r["top"],
    }
    _show_groups(f"{columns['value']} against {columns['dose']}", found, cells)
    _show_tests(found)


def _show_hazard(found: Comparison, columns: Row) -> None:
    cells: dict[str, Callable[[Row], object]] = {
        "events": lambda r: r["events"],
        "watched": lambda r: f"{r['exposure']:.4g}",
        "rate": lambda r: _with_interval(r, "rate"),
    }
    _show_groups(f"{columns['event']} per time under observation ({columns['duration']})", found, cells)
    rows = [
        (r["group"], f"{r['start']:.4g} to {r['stop']:.4g}", r["events"], _with_interval_of(r))
        for r in found.details.iter_rows(named=True)
    ]
    if rows:
        table("Hazard over time", ("group", "time", "events", "hazard"), rows)
    _show_tests(found)


def _with_interval_of(row: Row) -> str:
    value = row["hazard"]
    return "-" if value is None else f"{value:.4g}{_interval(row['low'], row['high'])}"


def _show_incidence(found: Comparison, columns: Row) -> None:
    at = next((f"{t:g}" for t in found.groups["incidence_at"].drop_nulls()), "-")
    cells: dict[str, Callable[[Row], object]] = {
        "events": lambda r: r["events"],
        "competing": lambda r: r["competing"],
        f"share with {columns['event']} by {at}": lambda r: _with_interval(r, "incidence"),
    }
    _show_groups(f"{columns['event']} by {columns['cause']}", found, cells)
    _show_tests(found)


def _show_additive(found: Comparison, columns: Row) -> None:
    cells: dict[str, Callable[[Row], object]] = {n: lambda r, n=n: r[n] for n in ("mean", "sd", "median")}  # type: ignore[misc]
    _show_groups(f"{columns['value']} by {columns['by']}", found, cells)
    rows = [
        ("all" if r["at"] is None else r["at"], r["n_cells"], r["cliffs_delta"], r["magnitude"],
         r["kolmogorov_smirnov"])
        for r in found.effects.iter_rows(named=True)
    ]  # fmt: skip
    said = f"{columns['observed']} against sums of {columns['first']} and {columns['second']}"
    table(said, ("time", "cells", "Cliff's delta", "magnitude", "KS distance"), rows)
    _show_tests(found)


#: Frames that go into the JSON of a method beside groups and tests.
_MORE: Mapping[str, tuple[str, ...]] = {"values": ("effects",), "hazard": ("details",), "additive": ("effects",)}
_SHOWN: Mapping[str, Callable[[Comparison, Row], None]] = {
    "survival": _show_survival,
    "values": _show_values,
    "aligned_signal": _show_aligned,
    "dose_response": _show_dose,
    "hazard": _show_hazard,
    "competing_risks": _show_incidence,
    "additive": _show_additive,
}
