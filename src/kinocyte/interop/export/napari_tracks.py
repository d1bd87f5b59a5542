"""Tracks in the layout of napari's Tracks layer: ``track_id t z y x`` in pixels, and the lineage graph as JSON.

Source: napari Tracks layer, https://napari.org/stable/howtos/layers/tracks.html.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from kinocyte.experiment.experiment import Experiment


def write_napari(experiment: Experiment, folder: Path, populations: Sequence[str]) -> list[Path]:
    """Write one CSV (``track_id,t[,z],y,x``, pixels) and one JSON (track to its parents) a position and population."""
    written = []
    for position in experiment.positions.values():
        for population in populations:
            if not position.stands(f"{population}_members"):
                continue
            scale, is_3d = position.scale, position.image("raw").is_3d
            depth = [(pl.col("z_um") / (scale.z_um or 1.0)).alias("z")] if is_3d else []
            rows = (
                position.objects(population)
                .filter(pl.col("track_id").is_not_null())
                .select(
                    "track_id",
                    pl.col("frame").alias("t"),
                    *depth,
                    (pl.col("y_um") / scale.y_um).alias("y"),
                    (pl.col("x_um") / scale.x_um).alias("x"),
                )
                .sort("track_id", "t")
            )
            stem = f"{position.well}_{position.field}_{population}_tracks"
            table, graph = folder / f"{stem}.csv", folder / f"{stem}_graph.json"
            rows.write_csv(table)
            tracks = position.tracks(population).filter(pl.col("parent_id").is_not_null())
            parents = {str(t): [p] for t, p in tracks.select("track_id", "parent_id").iter_rows()}
            graph.write_text(json.dumps(parents, indent=1), encoding="utf-8")
            written += [table, graph]
    return written
