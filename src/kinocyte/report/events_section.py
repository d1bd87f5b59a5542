"""The section of events: how many cells of each condition had one, the signals of all cells, and single ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from kinocyte.core.schema import EVENT_CLASSES
from kinocyte.experiment.position import Position
from kinocyte.report.cells import pretty, times_or_frames
from kinocyte.report.gates_section import condition_of, corrections_figure, gate_figure
from kinocyte.report.material import Drawn, Material, Sketchbook
from kinocyte.report.methods_text import methods_in
from kinocyte.report.signal_figures import cell_order, counted, example_cells, heat_map

#: Most cells of a condition that become rows, and cells drawn one by one.
_MOST_CELLS, _EXAMPLES = 150, 6
_STEPS = ("events", "neighbour_events")
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class _Found:
    """One event of one population over all positions.

    ``events`` holds ``group position well cell track_id class time_min time_se_min``; ``signal`` is the column the
    event was found in, if there is one, ``threshold`` the only number it is compared with, ``condition`` what had to
    hold.
    """

    population: str
    name: str
    events: pl.DataFrame
    signal: str | None
    threshold: float | None
    condition: str | None


def events(material: Material, book: Sketchbook) -> list[dict[str, Any]]:
    """Return every event of every population as the page shows it."""
    return [*(_shown(material, book, found) for found in _found(material)), *_groups(material, book)]


def _found(material: Material) -> Iterator[_Found]:
    for population in material.populations:
        parts = []
        for position in material.positions:
            rows = position.events(population)
            if rows.height:
                group = pl.lit(material.grouping.of_well[position.well])
                cell = pl.format("{} {}", pl.lit(position.id), pl.col("track_id")).alias("cell")
                where = (pl.lit(position.id).alias("position"), pl.lit(position.well).alias("well"))
                parts.append(rows.select(group.alias("group"), *where, cell, pl.all()))
        if not parts:
            continue
        table = pl.concat(parts, how="diagonal_relaxed")
        for (name,), rows in table.group_by("event", maintain_order=True):
            method = _method(material, population, str(name))
            signal, threshold = _named(material.positions, population, method) if method is not None else (None, None)
            condition = None if method is None else condition_of(method)
            yield _Found(population, str(name), _in_order(rows, material.grouping.labels), signal, threshold, condition)


def _groups(material: Material, book: Sketchbook) -> Iterator[dict[str, Any]]:
    """Return groups of objects frame by frame: their share in each condition, and the gate where there is one."""
    for population, method in _group_methods(material):
        name = str(method.get("name") or method.get("event_name"))
        shares = _shares(material, population, f"{name}_state")
        condition = condition_of(method)
        gate = None if condition is None else gate_figure(material, book, population, name, condition)
        if shares or gate is not None:
            yield {
                "population": population, "name": name, "title": f"{name} of {population}", "rows": [], "classes": [],
                "unit": "", "shares": shares, "figures": [] if gate is None else [gate], "note": None,
            }  # fmt: skip


def _group_methods(material: Material) -> list[tuple[str, Mapping[str, Any]]]:
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for position in material.positions:
        for record in position.records.all():
            if record.step in _STEPS and record.population in material.populations:
                for method in methods_in(record.method):
                    if method.get("method") == "group":
                        key = (str(record.population), str(method.get("name") or method.get("event_name")))
                        found.setdefault(key, method)
    return [(population, method) for (population, _), method in found.items()]


def _shares(material: Material, population: str, column: str) -> list[dict[str, Any]]:
    """Return how many objects of all frames each condition has in each group, and which share of them that is."""
    parts = []
    for position in material.positions:
        if f"{population}_objects" not in position.tables:
            continue
        objects = position.scan_objects(population)
        if column in objects.collect_schema():
            group = pl.lit(material.grouping.of_well[position.well]).alias("group")
            parts.append(objects.select(group, pl.col(column).cast(pl.String).alias("state")).collect())
    if not parts:
        return []
    known = pl.concat(parts).drop_nulls()
    counted = known.group_by("group", "state").len("n").sort("state")
    total = counted.with_columns((pl.col("n") / pl.col("n").sum().over("group")).alias("share"))
    return _in_order(total, material.grouping.labels).to_dicts()


def _in_order(rows: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    place = {n: i for i, n in enumerate(labels)}
    order = rows["group"].replace_strict(place, return_dtype=pl.Int64)
    return rows.with_columns(order.alias("__o")).sort("__o", maintain_order=True).drop("__o")


def _method(material: Material, population: str, name: str) -> Mapping[str, Any] | None:
    """Return the method of an event as the records keep it."""
    for position in material.positions:
        for record in position.records.all():
            if record.step not in _STEPS or record.population != population:
                continue
            for method in methods_in(record.method):
                if name in (method.get("name"), method.get("event_name")):
                    return method
    return None


def _named(
    positions: Sequence[Position], population: str, method: Mapping[str, Any]
) -> tuple[str | None, float | None]:
    """Return the first measured column that a method names, and the number it is compared with."""
    position = next((p for p in positions if f"{population}_objects" in p.tables), None)
    if position is None:
        return None, None
    schema = position.scan_objects(population).collect_schema()
    numbers = {c for c, t in schema.items() if t.is_numeric()}
    said = [v for k, v in method.items() if k not in {"method", "name", "event_name"}]
    texts = [v for each in said for v in (each if isinstance(each, list | tuple) else [each]) if isinstance(v, str)]
    for text in texts:
        for word in _WORD.findall(text):
            if word in numbers:
                limit = re.fullmatch(rf"\s*{word}\s*[<>]=?\s*([-+\d.eE]+)\s*", text)
                return word, _number(limit[1]) if limit else None
    return None, None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _shown(material: Material, book: Sketchbook, found: _Found) -> dict[str, Any]:
    table = counted(found.events, EVENT_CLASSES)
    unknown = sum(times_or_frames(p)[1] is False for p in material.positions)
    rows = []
    for row in table.to_dicts():
        own = found.events.filter(pl.col("group") == row["group"])
        timed = own.filter(pl.col("class") == "event")["time_min"].drop_nulls()
        counts = {"n_wells": own["well"].n_unique(), "n_positions": own["position"].n_unique()}
        rows.append({**row, **counts, "median": timed.median()})
    signals = _signals(material, found) if found.signal is not None else pl.DataFrame()
    return {
        "population": found.population,
        "name": found.name,
        "title": f"{found.name} of {found.population}",
        "classes": list(EVENT_CLASSES),
        "rows": rows,
        "shares": [],
        "unit": "frame" if unknown else "min",
        "figures": [*(_drawn(book, found, signals) if signals.height else []), *_more(material, book, found)],
        "note": None if signals.height else "No measured signal lies behind it that could be drawn.",
    }


def _more(material: Material, book: Sketchbook, found: _Found) -> list[Drawn]:
    """Return the gate of a condition on two columns, and what people corrected."""
    gate = None
    if found.condition is not None:
        gate = gate_figure(material, book, found.population, found.name, found.condition)
    corrected = corrections_figure(material, book, found.population, found.name)
    return [d for d in (gate, corrected) if d is not None]


def _signals(material: Material, found: _Found) -> pl.DataFrame:
    """Return ``group cell time_min value`` of cells with a verdict; a spread choice where there are too many."""
    judged = found.events.filter(pl.col("class") != "excluded")
    chosen = [_spread(part) for _, part in judged.group_by("group", maintain_order=True)]
    if not chosen:
        return pl.DataFrame()
    cells = pl.concat(chosen).select("group", "position", "cell", "track_id")
    parts = []
    for position in material.positions:
        own = cells.filter(pl.col("position") == position.id)
        objects = position.scan_objects(found.population)
        if not own.height or found.signal not in objects.collect_schema():
            continue
        value = pl.col(str(found.signal)).cast(pl.Float64).alias("value")
        rows = objects.filter(pl.col("track_id").is_not_null()).select("track_id", "frame", value).collect()
        clock = np.array(times_or_frames(position)[0])
        timed = rows.with_columns(pl.Series("time_min", clock[rows["frame"].to_numpy()]))
        parts.append(timed.join(own, on="track_id", how="inner").select("group", "cell", "time_min", "value"))
    if not parts:
        return pl.DataFrame()
    drawn = pl.concat(parts).filter(pl.col("value").is_finite())
    return drawn.unique(["cell", "time_min"], keep="first", maintain_order=True)


def _spread(part: pl.DataFrame) -> pl.DataFrame:
    """Return at most `_MOST_CELLS` cells of a condition, evenly over the times of their events."""
    if part.height <= _MOST_CELLS:
        return part
    ordered = part.sort("time_min", nulls_last=True, maintain_order=True)
    return ordered.select(pl.all().gather(np.linspace(0, part.height - 1, _MOST_CELLS).round().astype(np.int64)))


def _drawn(book: Sketchbook, found: _Found, signals: pl.DataFrame) -> list[Any]:
    name = f"{found.population}_{found.name}"
    when = pl.when(pl.col("class") == "event").then(pl.col("time_min")).alias("event_time_min")
    title = pl.format("{}, track {}", "position", "track_id").alias("title")
    times = found.events.select("cell", when, "time_se_min", title, "class")
    order = _ordered(signals, times, found)
    signal = pretty(str(found.signal))
    figure = heat_map(signals, order, events=times, signal=signal, event=found.name)
    data = signals.join(order, on=["group", "cell"], how="inner").join(times.drop("title"), on="cell", how="left")
    most = max(order["group"].value_counts()["count"].to_list())
    caption = f"A row a cell, sorted by the time of {found.name} (points); cells without it below, by their mean."
    if most >= _MOST_CELLS:
        caption += f" At most {_MOST_CELLS} cells of a condition are drawn."
    out = [book.add(f"{name}_heat_map", figure, f"{signal} of {found.population}", caption, data=data)]
    chosen = _examples(times, signals)
    if chosen:
        own = pl.concat([signals.filter(pl.col("cell") == c) for c in chosen])
        few = example_cells(own, times, signal=signal, event=found.name, threshold=found.threshold)
        said = f"Cells spread over the times of {found.name}; line: fitted time, shade: its 95 % interval."
        if found.threshold is not None:
            said += " Dashed: threshold."
        behind = own.join(times, on="cell", how="left")
        out.append(book.add(f"{name}_examples", few, f"Examples of {found.name}", said, data=behind))
    return out


def _ordered(signals: pl.DataFrame, times: pl.DataFrame, found: _Found) -> pl.DataFrame:
    """Return the rows of the heat map with conditions in the order of the page."""
    order = cell_order(signals, times)
    groups = found.events.select(pl.col("group").unique(maintain_order=True)).with_row_index("__o")
    return order.join(groups, on="group", how="left").sort("__o", "row").drop("__o")


def _examples(times: pl.DataFrame, signals: pl.DataFrame) -> list[str]:
    """Return cells with an event, evenly from the earliest to the latest, the same ones each time."""
    seen = signals.select(pl.col("cell").unique())
    known = times.drop_nulls("event_time_min").join(seen, on="cell", how="semi").sort("event_time_min", "cell")
    if not known.height:
        return []
    at = np.linspace(0, known.height - 1, min(_EXAMPLES, known.height)).round().astype(np.int64)
    return [str(known["cell"][int(i)]) for i in at]
