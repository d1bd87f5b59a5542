"""The section on the plate: its map, and what each condition rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from kinocyte.report.cells import pretty
from kinocyte.report.material import Material, Sketchbook
from kinocyte.report.plate_map import plate_data, plate_figure, well_means

#: Most quantities on the plate map.
MOST_QUANTITIES = 120


def overview(material: Material) -> dict[str, Any]:
    """Return the table of conditions with the number of wells, positions, cells and tracks in each."""
    conditions = material.experiment.conditions
    columns = [c for c in conditions.columns if c != "well"]
    rows = []
    for label in material.grouping.labels:
        wells = [w for w in material.plate.wells if material.grouping.of_well[w] == label]
        mine = [p for p in material.positions if p.well in wells]
        row: dict[str, Any] = {"condition": label, "wells": wells, "n_positions": len(mine), "populations": []}
        for population in material.populations:
            count = material.counts[population].filter(pl.col("well").is_in(wells))
            table = material.cells[population]
            known = table.values.filter(pl.col("well").is_in(wells)) if table.values.height else table.values
            row["populations"].append(
                {
                    "objects": int(count["n_cells"].sum()),
                    "per_frame": count.group_by("position").agg(pl.col("n_cells").mean())["n_cells"].mean(),
                    "tracks": known.height if table.tracked else None,
                }
            )
        rows.append(row)
    return {"rows": rows, "columns": columns, "wells": _well_rows(material, columns)}


def _well_rows(material: Material, columns: Sequence[str]) -> list[dict[str, Any]]:
    stated = {str(r["well"]): r for r in material.experiment.conditions.iter_rows(named=True)}
    fields: dict[str, list[str]] = {}
    for position in material.experiment.positions.values():
        fields.setdefault(position.well, []).append(position.field)
    return [
        {"well": w, "fields": ", ".join(fields.get(w, [])), "values": [stated.get(w, {}).get(c) for c in columns]}
        for w in material.plate.wells
    ]


def quantities(material: Material) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return one row a well with every quantity of the plate map, and what each is called."""
    wells = pl.DataFrame({"well": list(material.plate.wells)}, schema={"well": pl.String})
    names: dict[str, str] = {}
    parts: list[tuple[str, pl.DataFrame]] = []
    several = len(material.populations) > 1
    for population in material.populations:
        prefix = f"{population}: " if several else ""
        count = material.counts[population].group_by("well").agg(pl.col("n_cells").mean())
        parts.append((f"{prefix}cells per frame and position", count))
        table = material.cells[population]
        means = well_means(table.values, table.features)
        shown = table.features[: MOST_QUANTITIES // max(1, len(material.populations))]
        parts += [(f"{prefix}{pretty(f)}", means.select("well", f)) for f in shown]
    parts += _quality_quantities(material)
    for i, (name, part) in enumerate(parts):
        column = f"q{i}"
        names[column] = name
        wells = wells.join(
            part.select("well", pl.col(part.columns[1]).cast(pl.Float64).alias(column)), on="well", how="left"
        )
    conditions = material.experiment.conditions
    for name in [c for c in conditions.columns if c != "well" and conditions[c].dtype.is_numeric()]:
        column = f"condition:{name}"
        names[column] = f"{name} (condition)"
        wells = wells.join(
            conditions.select("well", pl.col(name).cast(pl.Float64).alias(column)), on="well", how="left"
        )
    return wells, names


def _quality_quantities(material: Material) -> list[tuple[str, pl.DataFrame]]:
    well_of = {p.id: p.well for p in material.positions}
    traces = material.examination.traces
    out = []
    for check, name in (
        ("confluence", "covered area, %"),
        ("drift", "shift between frames, % of the field"),
    ):
        part = traces.filter((pl.col("check") == check) & pl.col("value").is_not_null())
        if part.is_empty():
            continue
        well = pl.col("position").replace_strict(well_of, return_dtype=pl.String).alias("well")
        out.append((f"{name} (quality)", part.group_by(well).agg(100 * pl.col("value").mean())))
    counted = pl.DataFrame(
        [
            {"well": p.well, "n": float(material.examination.flags.filter(pl.col("position") == p.id).height)}
            for p in material.positions
        ],
        schema={"well": pl.String, "n": pl.Float64},
    )
    out.append(("findings (quality)", counted.group_by("well").agg(pl.col("n").sum())))
    return out


def plate(material: Material, book: Sketchbook) -> dict[str, Any]:
    """Return the data of the plate map; its main quantities become files where they were asked for."""
    wells, names = quantities(material)
    if book.folder is not None:
        for column in [c for c in wells.columns if c != "well"][:6]:
            values = dict(wells.select("well", column).iter_rows())
            book.save(f"plate_{names[column]}", plate_figure(material.plate, values, names[column]))
    return plate_data(material.plate, material.grouping, wells, names)
