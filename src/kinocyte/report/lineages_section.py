"""The section on lineages: who descends from whom."""

from __future__ import annotations

import polars as pl

from kinocyte.core.lineages import lineage_layout, lineage_names
from kinocyte.experiment.position import Position
from kinocyte.report.cells import times_or_frames
from kinocyte.report.lineage_figures import lineage_tree
from kinocyte.report.material import Drawn, Material, Sketchbook

#: Most branches without daughters in one drawing.
MOST_LEAVES = 30


def lineages(material: Material, book: Sketchbook) -> list[Drawn]:
    """Return the lineages of each population that divided, of the position with the most divisions."""
    out = []
    for population in material.populations:
        found = [(p, t) for p in material.positions if (t := _tracks(p, population)) is not None]
        divided = [(int(t["parent_id"].drop_nulls().n_unique()), p, t) for p, t in found]
        if not divided or max(n for n, _, _ in divided) == 0:
            continue
        n, position, tracks = max(divided, key=lambda d: d[0])
        shown, n_shown = _most_branched(tracks)
        layout = lineage_layout(shown).hstack([lineage_names(shown)])
        times, known = times_or_frames(position)
        figure = lineage_tree(layout, times_min=times if known else None)
        of = f"{n_shown} of {tracks['root_id'].n_unique()} lineages"
        total = sum(d for d, _, _ in divided)
        caption = (
            f"Position {position.id}, where most cells divided ({n} of {total} divisions): {of}, those with most "
            "branches. A line is a cell, a bar a division; 7a and 7b are the daughters of 7."
        )
        out.append(book.add(f"{population}_lineages", figure, f"Lineages of {population}", caption, data=layout))
    return out


def _tracks(position: Position, population: str) -> pl.DataFrame | None:
    name = f"{population}_tracks"
    if not position.stands(name):
        return None
    columns = ["track_id", "parent_id", "root_id", "generation", "first_frame", "last_frame"]
    return position.scan_tracks(population).select(columns).sort("track_id").collect()


def _most_branched(tracks: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return the lineages with the most branches, as many as fit, at least one; and how many they are."""
    ends = ~pl.col("track_id").is_in(tracks["parent_id"].drop_nulls().implode())
    sizes = tracks.group_by("root_id").agg(ends.sum().alias("leaves"), pl.len().alias("n")).filter(pl.col("n") > 1)
    sizes = sizes.sort("leaves", "root_id", descending=[True, False])
    fitting = sizes.filter((pl.col("leaves").cum_sum() <= MOST_LEAVES) | (pl.int_range(pl.len()) == 0))
    return tracks.filter(pl.col("root_id").is_in(fitting["root_id"].implode())), fitting.height
