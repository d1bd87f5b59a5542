"""Celldetective's project folder, written by us and read back."""

from __future__ import annotations

import configparser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile

import kinocyte
from kinocyte.core.errors import StoreError
from kinocyte.core.scale import Scale
from kinocyte.experiment.experiment import Experiment
from kinocyte.interop.export import writer
from kinocyte.interop.export.celldetective_tables import frames_of

TIMES = 3


def movie(experiment: Experiment, well: str, *, pixel_um: float = 0.5, planes: int = 1, dtype: Any = np.uint16) -> Any:
    rng = np.random.default_rng(ord(well[0]))
    shape = (TIMES, 2, planes, 12, 16)
    scale = Scale(y_um=pixel_um, x_um=pixel_um, z_um=1.0 if planes > 1 else None, frame_interval_min=3.0)
    target = experiment.new_position(
        well=well, field="1", shape=shape, dtype=dtype, channels=("Hoechst", "PI, far red"), scale=scale, name="movie"
    )
    for t in range(TIMES):
        block = rng.integers(0, 4000, shape[1:]).astype(dtype)
        target.write(t, block if planes > 1 else block[:, 0])
    position = target.finish()
    if planes > 1:
        return position
    with position.write_labels("targets") as labels:
        for t in range(TIMES):
            frame = np.zeros((12, 16), np.uint32)
            frame[2:5, 2 + t : 5 + t], frame[7:10, 9:12] = 7, 70_000 if t == 2 else 9
            labels.write(t, frame)
    rows = [(t, label, (3 + t, 3) if label == 7 else (10, 8)) for t in range(TIMES) for label in (7, 9)]
    objects = pl.DataFrame(
        {
            "object_id": range(1, 7),
            "frame": [r[0] for r in rows],
            "label": [70_000 if r[:2] == (2, 9) else r[1] for r in rows],
            "time_min": [3.0 * r[0] for r in rows],
            "x_um": [r[2][0] * pixel_um for r in rows],
            "y_um": [r[2][1] * pixel_um for r in rows],
            "z_um": [0.0] * 6,
        }
    )
    position.write_table("targets_objects", objects)
    features = {"object_id": range(1, 7), "area_um2": [9 * pixel_um**2] * 6, "mean_pi": [1.0, None, 3.5, 4.0, 5.0, 6.0]}
    position.write_table("targets_features", pl.DataFrame(features))
    position.write_table("targets_members", pl.DataFrame({"object_id": range(1, 7), "track_id": [4, 5] * 3}))
    tracks = {"track_id": [4, 5], "parent_id": [None, 4], "root_id": [4, 4], "generation": [0, 1]}
    ends = {"first_frame": [0, 0], "last_frame": [2, 2]}
    position.write_table("targets_tracks", pl.DataFrame({**tracks, **ends}, schema_overrides={"parent_id": pl.Int64}))
    events = pl.DataFrame(
        {
            "track_id": [4, 5, 4, 5],
            "event": ["death", "death", "lysis", "lysis"],
            "class": ["event", "none", "censored_left", "excluded"],
            "time_min": [4.5, None, None, None],
            "time_se_min": [0.2, None, None, None],
            "confidence": [None] * 4,
        },
        schema_overrides={"confidence": pl.Float64},
    )
    position.write_table("targets_events", events)
    return position


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    made = kinocyte.create(tmp_path / "ours.zarr", name="assay")
    for well in ("B2", "C4"):
        movie(made, well)
    made.set_conditions(
        pl.DataFrame(
            {
                "well": ["B2", "C4"],
                "cell_type": ["MCF-7, wild", "MCF-7"],
                "concentration": [0.0, 100.5],
                "unit": ["pM", "pM"],
                "serum": ["10 %", None],
            }
        )
    )
    return made


def test_what_is_written_comes_back(
    experiment: Experiment, tmp_path: Path, imported: Callable[..., Experiment], pixels: Callable[[Any], Any]
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    written = writer("celldetective")(experiment, folder, ["targets"])
    assert all(p.is_file() for p in written)
    back = imported(folder / "celldetective")
    assert sorted(back.positions) == ["A1/100", "A2/200"]
    for ours, read in zip(experiment.positions.values(), back.positions.values(), strict=True):
        np.testing.assert_array_equal(pixels(read), pixels(ours))
        assert read.channels == ("hoechst", "pi_far_red")
        assert read.scale == Scale.isotropic(0.5, 3.0)
        for t in range(TIMES):
            np.testing.assert_array_equal(read.labels("targets").frame(t), ours.labels("targets").frame(t))
        columns = ["frame", "label", "time_min", "x_um", "y_um", "track_id", "area_um2", "mean_pi"]
        mine, theirs = (p.objects("targets").select(columns).sort("track_id", "frame") for p in (ours, read))
        assert mine.equals(theirs.cast(mine.schema), null_equal=True)
        same = ["track_id", "event", "class", "time_min"]
        assert read.events("targets").select(same).sort("event", "track_id").equals(ours.events("targets").select(same))
        assert read.tracks("targets").select("track_id", "parent_id", "root_id", "generation").rows() == [
            (4, None, 4, 0), (5, 4, 4, 1),
        ]  # fmt: skip
    conditions = back.conditions
    assert conditions["celldetective_well"].to_list() == ["W1", "W2"]
    assert conditions["cell_type"].to_list() == ["MCF-7; wild", "MCF-7"]
    assert conditions["concentration"].to_list() == [0.0, 100.5]
    assert conditions["concentration_unit"].to_list() == ["pM", "pM"]
    assert conditions["serum"].to_list() == ["10 percent", None]


def test_codes_and_layout_are_those_of_celldetective(experiment: Experiment, tmp_path: Path) -> None:
    tmp_path.joinpath("out").mkdir()
    writer("celldetective")(experiment, tmp_path / "out", ["targets"])
    root = tmp_path / "out/celldetective"
    config = configparser.ConfigParser()  # with interpolation, as Celldetective reads it
    config.read(root / "config.ini")
    assert config.getfloat("MovieSettings", "pxtoum") == 0.5
    assert config.getfloat("MovieSettings", "frametomin") == 3.0
    assert config.getint("MovieSettings", "len_movie") == TIMES
    assert (config.get("MovieSettings", "shape_x"), config.get("MovieSettings", "shape_y")) == ("16", "12")
    assert dict(config.items("Channels")) == {"hoechst": "0", "pi_far_red": "1"}
    labels = {"cell_types", "antibodies", "concentrations", "pharmaceutical_agents"}
    assert labels <= set(config.options("Labels"))
    assert all(len(config.get("Labels", k).split(",")) == 2 for k in config.options("Labels"))
    pages = tifffile.imread(root / "W2/200/movie/200.tif", key=range(TIMES * 2))
    position = experiment.positions["C4/1"]
    for t in range(TIMES):
        for c in range(2):  # Celldetective takes plane frame * n_channels + channel
            np.testing.assert_array_equal(pages[t * 2 + c], position.image().frame(t, c))
    assert sorted(p.name for p in (root / "W1/100/labels_targets").iterdir()) == ["0000.tif", "0001.tif", "0002.tif"]
    table = pl.read_csv(root / "W1/100/output/tables/trajectories_targets.csv")
    one = table.filter(pl.col("TRACK_ID") == 4)
    assert one["class_death"].to_list() == [0, 0, 0]
    assert one["t_death"].to_list() == [1.5, 1.5, 1.5]
    assert one["status_death"].to_list() == [0, 0, 1]
    assert one["class_lysis"].to_list() == [2, 2, 2]
    assert one["t_lysis"].to_list() == [-1.0] * 3
    other = table.filter(pl.col("TRACK_ID") == 5)
    assert other["class_death"].to_list() == [1] * 3
    assert other["class_lysis"].to_list() == [42] * 3
    assert other["parent"].to_list() == [4] * 3
    assert table["area"].to_list() == pytest.approx([9.0] * 6)
    assert one["POSITION_X"].to_list() == pytest.approx([3, 4, 5])


def test_pairs_name_both_cells(experiment: Experiment, tmp_path: Path) -> None:
    pairs = pl.DataFrame(
        {
            "reference_id": [1, 3], "neighbour_id": [2, 4],
            "reference_track_id": [4, 4], "neighbour_track_id": [5, None],
            "frame": [0, 1], "time_min": [0.0, 3.0], "distance_um": [4.0, 3.0], "edge_distance_um": [0.5, 0.0],
        },
        schema_overrides={"frame": pl.Int32},
    )  # fmt: skip
    experiment.positions["B2/1"].write_table("targets_targets_pairs", pairs)
    tmp_path.joinpath("out").mkdir()
    writer("celldetective")(experiment, tmp_path / "out", ["targets"])
    table = pl.read_csv(tmp_path / "out/celldetective/W1/100/output/tables/trajectories_pairs.csv")
    said = table.select("reference_population", "neighbor_population", "REFERENCE_ID", "NEIGHBOR_ID", "FRAME")
    assert said.rows() == [("targets", "targets", 4, 5, 0)]  # a cell without a track is in no pair of tracks
    assert table["distance"].to_list() == [8.0]


def test_what_one_configuration_cannot_say_is_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("out").mkdir()
    made = kinocyte.create(tmp_path / "mixed.zarr", name="mixed")
    movie(made, "B2")
    movie(made, "C4", pixel_um=0.25)
    with pytest.raises(StoreError, match="B2/1 and C4/1 differ in pixel size"):
        writer("celldetective")(made, tmp_path / "out", ["targets"])
    deep = kinocyte.create(tmp_path / "deep.zarr", name="deep")
    movie(deep, "B2", planes=4)
    with pytest.raises(StoreError, match="B2/1 has 4 planes"):
        writer("celldetective")(deep, tmp_path / "out", [])
    empty = kinocyte.create(tmp_path / "empty.zarr", name="empty")
    with pytest.raises(StoreError, match="no positions"):
        writer("celldetective")(empty, tmp_path / "out", [])
    assert not any((tmp_path / "out").iterdir())


def test_times_in_frames_follow_unequal_intervals() -> None:
    times = np.array([0.0, 2.0, 6.0])
    asked = np.array([-1.0, 0.0, 1.0, 4.0, 6.0, 8.0, np.nan])
    np.testing.assert_allclose(frames_of(asked, times), [-0.5, 0.0, 0.5, 1.5, 2.0, 2.5, np.nan])
