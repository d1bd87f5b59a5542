"""Measured ERK activity: cells that were all stimulated at one known time."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from kinocyte.events import ChangePoint


def test_stimulation_is_found_when_it_happened(data: Path) -> None:
    # PC-12 cells, EGF at 43 min, frames every 2 min (Blum et al. 2019, doi:10.15252/msb.20198947)
    table = pl.read_csv(data / "erk_biosensor_timeseries" / "test-case-2" / "sustained_EGF_ekar.csv.gz")
    cells = table.with_row_index("object_id").rename({"trackid": "track_id"})
    cells = cells.with_columns(time_min=pl.col("realtime").cast(pl.Float64))
    method = ChangePoint(signal="meas", direction="up")
    found = method.detect(cells, "activation", by=("treat", "fov")).events
    table = found.group_by("treat").agg(
        called=(pl.col("class") == "event").mean(),
        early=pl.col("time_min").quantile(0.1),
        late=pl.col("time_min").quantile(0.9),
    )
    assert table.height == 4
    assert table["called"].min() > 0.75
    # the frame before and the one after the stimulus are at 42 and 44 min, cells answer within the next
    assert table["early"].min() > 42
    assert table["late"].max() < 46
