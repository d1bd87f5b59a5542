"""One value a cell, and what is counted over them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from kinocyte.experiment.experiment import Experiment
from kinocyte.report.cells import DURATION, cell_table, counts_over_time, pretty, summarise
from kinocyte.report.grouping import group_wells


def test_a_tracked_cell_counts_once(experiment: Experiment) -> None:
    positions = list(experiment.positions.values())
    grouping = group_wells(experiment.conditions)
    table = cell_table(positions, "cells", grouping)
    assert table.tracked
    assert table.features == ("area_um2", "mean_speed_um_per_min", "mean_dye", DURATION)
    assert table.values.height == sum(p.tracks("cells").height for p in positions)
    mine = table.values.filter((pl.col("position") == "B2/1") & (pl.col("track_id") == 3)).row(0, named=True)
    objects = experiment.position("B2/1").objects("cells").filter(pl.col("track_id") == 3)
    assert mine["area_um2"] == pytest.approx(float(np.mean(objects["area_um2"].to_numpy())))
    assert mine[DURATION] == objects["time_min"].max() - objects["time_min"].min()  # type: ignore[operator]
    assert mine["condition"] == "none, 0\u00a0nM"


def test_the_well_is_the_replicate(experiment: Experiment) -> None:
    grouping = group_wells(experiment.conditions)
    table = cell_table(list(experiment.positions.values()), "cells", grouping)
    rows = summarise(table, "area_um2", grouping)
    assert rows["condition"].to_list() == list(grouping.labels)
    assert rows["n_wells"].to_list() == [2, 2]
    assert rows["n_positions"].to_list() == [4, 4]
    wells = table.values.group_by("well").agg(pl.col("area_um2").mean()).sort("well")["area_um2"].to_numpy()
    assert rows["mean"].to_list() == pytest.approx([wells[:2].mean(), wells[2:].mean()])
    assert rows["sd"].to_list() == pytest.approx([wells[:2].std(ddof=1), wells[2:].std(ddof=1)])


def test_counts_have_a_row_for_every_frame(experiment: Experiment) -> None:
    counts = counts_over_time(list(experiment.positions.values()), "cells")
    assert counts.height == 8 * 12
    one = counts.filter((pl.col("position") == "C3/2") & (pl.col("frame") == 7)).row(0, named=True)
    labels = experiment.position("C3/2").labels("cells").frame(7)
    assert one["n_cells"] == len(np.unique(labels)) - 1
    assert one["time_min"] == 70.0


def test_objects_without_tracks_count_each(new_experiment: Callable[..., Experiment]) -> None:
    from tests.report.conftest import add_position

    position = add_position(new_experiment(), "A1", "1", n_frames=3, n_cells=4)
    position.remove_table("cells_tracks")
    position.remove_table("cells_members")
    features = position.table("cells_features").with_columns(
        odd=pl.Series([float("nan"), float("inf")] + [1.0, 2.0] * ((position.table("cells_features").height - 2) // 2)),
        empty=pl.lit(None, dtype=pl.Float64),
        text=pl.lit("x"),
    )
    position.write_table("cells_features", features)
    table = cell_table([position], "cells", group_wells(pl.DataFrame({"well": ["A1"]})))
    assert not table.tracked
    assert table.values.height == position.objects("cells").height
    assert table.values["odd"].null_count() == 2
    assert set(table.features) == {"area_um2", "mean_dye", "odd"}


def test_a_population_that_is_nowhere_is_empty() -> None:
    grouping = group_wells(pl.DataFrame({"well": ["A1"]}))
    assert cell_table([], "cells", grouping).features == ()
    assert counts_over_time([], "cells").is_empty()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("area_um2", "area (µm²)"),
        ("mean_speed_um_per_min", "mean speed (µm/min)"),
        ("track_duration_min", "track duration (min)"),
        ("mean_hoechst", "mean hoechst"),
        ("orientation_rad", "orientation (rad)"),
        ("division_rate_per_min", "division rate (1/min)"),
        ("volume_um3", "volume (µm³)"),
        ("angle_deg", "angle (°)"),
    ],
)
def test_names_of_columns_for_people(name: str, text: str) -> None:
    assert pretty(name) == text
