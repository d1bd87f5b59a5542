"""The sections on cells: features by condition, numbers over time, tracks."""

from __future__ import annotations

from typing import Any

import polars as pl

from kinocyte.experiment.position import Position
from kinocyte.report.cells import CellTable, pretty, summarise, times_or_frames
from kinocyte.report.figures import MOST_CONDITIONS, counts_figure, rose, superplot
from kinocyte.report.material import Drawn, Material, Sketchbook

#: Most features drawn for one population.
MOST_FEATURES = 8


def features(material: Material, book: Sketchbook) -> list[dict[str, Any]]:
    """Return the distribution of the main features of every population, with the numbers behind them."""
    out = []
    for population in material.populations:
        table = material.cells[population]
        panes = []
        for feature in table.features[:MOST_FEATURES]:
            name = pretty(feature)
            figure = superplot(
                table.values, feature, material.grouping.labels, x_label=name,
                replicate_of=material.replicate_of, seed=material.seed,
            )  # fmt: skip
            drawn = book.add(f"{population}_{feature}", figure, f"{name} of {population}", _superplot_caption(table))
            rows = summarise(table, feature, material.grouping).to_dicts()
            panes.append({"name": name, "figure": drawn, "rows": rows})
        left = [pretty(f) for f in table.features[MOST_FEATURES:]]
        out.append({"population": population, "panes": panes, "left": left, "unit": table.unit_of_count})
    return out


def _superplot_caption(table: CellTable) -> str:
    cell = "mean of a track over its frames" if table.tracked else "object in a frame"
    return (
        f"Cloud and points: cells (each the {cell}). Ticks: means of positions. Large markers: means of wells. "
        "Bar: mean of the wells. The well is the replicate."
    )


def over_time(material: Material, book: Sketchbook) -> list[Drawn]:
    """Return the number of cells over time, by condition, with every position."""
    out = []
    for population, counts in material.counts.items():
        if counts.is_empty():
            continue
        known = all(times_or_frames(p)[1] for p in material.positions)
        last = float(counts["time_min"].max() or 0)  # type: ignore[arg-type]  # numbers only
        hours = known and last > 180
        with_names = counts.with_columns(
            condition=pl.col("well").replace_strict(dict(material.grouping.of_well), return_dtype=pl.String),
            time_min=pl.col("time_min") / (60 if hours else 1),
        )
        x_label = ("time (h)" if hours else "time (min)") if known else "frame"
        figure = counts_figure(with_names, material.grouping.labels, x_label=x_label, y_label="cells in a position")
        caption = "Thin lines: positions. Thick line: mean of the wells." + _left_out(material)
        out.append(book.add(f"{population}_counts", figure, f"Number of {population} over time", caption))
    return out


def roses(material: Material, book: Sketchbook) -> list[Drawn]:
    """Return the tracks of every population from a common origin."""
    out = []
    for population in material.populations:
        parts = [_steps(p, population) for p in material.positions if f"{population}_members" in p.tables]
        if not parts or not sum(p.height for p in parts):
            continue
        steps = pl.concat(parts).with_columns(
            condition=pl.col("well").replace_strict(dict(material.grouping.of_well), return_dtype=pl.String)
        )
        figure = rose(steps, material.grouping.labels, seed=material.seed)
        caption = "Every track starts at the cross; one shade a well; at most 60 tracks drawn a panel." + _left_out(
            material
        )
        out.append(book.add(f"{population}_tracks", figure, f"Tracks of {population} from their start", caption))
    return out


def _steps(position: Position, population: str) -> pl.DataFrame:
    """Return the way of at most 400 tracks of a position, the ones with the lowest numbers."""
    columns = ["track_id", "frame", "x_um", "y_um"]
    finite = pl.col("x_um").is_finite() & pl.col("y_um").is_finite() & pl.col("track_id").is_not_null()
    table = position.scan_objects(population).select(columns).filter(finite).collect()
    first = table["track_id"].unique().sort().head(400)
    where = (pl.lit(position.id).alias("position"), pl.lit(position.well).alias("well"))
    return table.filter(pl.col("track_id").is_in(first.implode())).select(*where, pl.all())


def _left_out(material: Material) -> str:
    n = len(material.grouping.labels) - MOST_CONDITIONS
    return f" The first {MOST_CONDITIONS} conditions are drawn, {n} more are not." if n > 0 else ""
