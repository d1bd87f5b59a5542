"""Real cells with known links."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest


@pytest.fixture(scope="session")
def hela(data: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return objects and true links of 92 frames of HeLa nuclei (Cell Tracking Challenge, 0.645 um a pixel)."""
    folder = data / "ctc_fluo_n2dl_hela_01_gt_tracks_and_res"
    nodes = pl.read_csv(folder / "gt_nodes.csv").with_row_index("object_id", offset=1)
    number = dict(nodes.select("id", "object_id").iter_rows())
    edges = pl.read_csv(folder / "gt_edges.csv")
    objects = nodes.select(
        pl.col("object_id").cast(pl.Int64), frame="t", x_um=pl.col("x") * 0.645, y_um=pl.col("y") * 0.645
    )
    links = edges.select(
        source_id=pl.col("source").replace_strict(number, return_dtype=pl.Int64),
        target_id=pl.col("target").replace_strict(number, return_dtype=pl.Int64),
    )
    return objects, links
