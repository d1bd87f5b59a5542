"""Motion of links and tracks against TrackMate's own files, walks of known kind, and hostile tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from defusedxml.ElementTree import fromstring

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.measurement.links import link_features
from kinocyte.measurement.speeds import object_motion
from kinocyte.measurement.tracks import track_features

TRACKMATE_FILES = [
    "ecoli_trackmate_geff/Ecoli_growth_on_agar_pad.xml.gz",
    "ecoli_trackmate_geff/FakeTracks.xml",
    "trackmate_oracles/with_merging.xml",
    "trackmate_oracles/with_splitting.xml",
    "trackmate_oracles/without_gap_closing.xml",
    "cmso_track_formats/biotracks_examples/FakeTracks.xml",
]
OF_EDGES = {
    "DISPLACEMENT": "displacement_um",
    "SPEED": "speed_um_per_min",
    "VELOCITY": "speed_um_per_min",
    "DIRECTIONAL_CHANGE_RATE": "directional_change_rate_rad_per_min",
    "EDGE_TIME": "time_min",
    "EDGE_X_LOCATION": "x_um",
    "EDGE_Y_LOCATION": "y_um",
    "EDGE_Z_LOCATION": "z_um",
}
OF_TRACKS = {
    "NUMBER_SPOTS": "n_objects",
    "NUMBER_GAPS": "n_gaps",
    "LONGEST_GAP": "longest_gap",
    "NUMBER_SPLITS": "n_splits",
    "NUMBER_MERGES": "n_merges",
    "NUMBER_COMPLEX": "n_complex",
    "TRACK_DURATION": "duration_min",
    "TRACK_START": "start_min",
    "TRACK_STOP": "stop_min",
    "TRACK_X_LOCATION": "mean_x_um",
    "TRACK_Y_LOCATION": "mean_y_um",
    "TRACK_MEAN_SPEED": "mean_speed_um_per_min",
    "TRACK_MEDIAN_SPEED": "median_speed_um_per_min",
    "TRACK_MIN_SPEED": "min_speed_um_per_min",
    "TRACK_MAX_SPEED": "max_speed_um_per_min",
    "TRACK_STD_SPEED": "std_speed_um_per_min",
    "TOTAL_DISTANCE_TRAVELED": "total_distance_um",
    "MEAN_DIRECTIONAL_CHANGE_RATE": "mean_directional_change_rate_rad_per_min",
    "MAX_DISTANCE_TRAVELED": "max_distance_um",
}
#: these hang on which of several first or last spots TrackMate happens to take
OF_ENDS = {
    "TRACK_DISPLACEMENT": "displacement_um",
    "CONFINEMENT_RATIO": "confinement_ratio",
    "MEAN_STRAIGHT_LINE_SPEED": "mean_straight_line_speed_um_per_min",
    "LINEARITY_OF_FORWARD_PROGRESSION": "linearity",
}


@pytest.fixture(params=TRACKMATE_FILES)
def trackmate(request: pytest.FixtureRequest, data: Path) -> tuple[pl.DataFrame, list[dict], list[dict]]:
    path = data / request.param
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    root = fromstring(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    spots = [spot.attrib for spot in root.iter("Spot")]
    edges = [e.attrib | {"TRACK_ID": t.attrib["TRACK_ID"]} for t in root.iter("Track") for e in t.iter("Edge")]
    member = {int(e[end]): int(e["TRACK_ID"]) for e in edges for end in ("SPOT_SOURCE_ID", "SPOT_TARGET_ID")}
    objects = pl.DataFrame(
        {
            "object_id": [int(s["ID"]) for s in spots],
            "frame": [int(s["FRAME"]) for s in spots],
            "time_min": [float(s["POSITION_T"]) for s in spots],
            **{f"{c}_um": [float(s[f"POSITION_{c.upper()}"]) for s in spots] for c in "xyz"},
            "root_id": [member.get(int(s["ID"])) for s in spots],
        }
    )
    return objects, edges, [t.attrib for t in root.iter("Track")]


def links_of(edges: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(
        {f"{end.lower()}_id": [int(e[f"SPOT_{end}_ID"]) for e in edges] for end in ("SOURCE", "TARGET")}
    )


def test_links_equal_trackmate(trackmate) -> None:
    objects, edges, _ = trackmate
    ours = link_features(objects, links_of(edges))
    compared = {key: name for key, name in OF_EDGES.items() if key in edges[0]}
    assert len(compared) >= 5
    for key, name in compared.items():
        theirs = np.array([float(e[key]) for e in edges])
        np.testing.assert_allclose(ours[name].to_numpy(), theirs, rtol=1e-6, atol=1e-9, err_msg=name)


def test_tracks_equal_trackmate(trackmate) -> None:
    objects, edges, tracks = trackmate
    ours = track_features(objects, links_of(edges), by="root_id")
    theirs = sorted(tracks, key=lambda t: int(t["TRACK_ID"]))
    assert ours["root_id"].to_list() == [int(t["TRACK_ID"]) for t in theirs]
    compared = {key: name for key, name in OF_TRACKS.items() if key in theirs[0]}
    assert len(compared) >= 16
    for key, name in compared.items():
        expected = np.array([float(t[key]) for t in theirs])
        found = ours[name].cast(pl.Float64).to_numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9, err_msg=name)
    for number, track in enumerate(theirs):
        spots = objects.filter(pl.col("root_id") == int(track["TRACK_ID"]))
        times = spots["time_min"]
        if (times == times.min()).sum() == 1 and (times == times.max()).sum() == 1:
            for key, name in OF_ENDS.items():
                if key in track:
                    assert ours[name][number] == pytest.approx(float(track[key]), rel=1e-6)


def walk(places: np.ndarray, minutes: float = 1.0) -> pl.DataFrame:
    """Return the objects table of tracks (n, frames, dimensions)."""
    n, frames, dimensions = places.shape
    flat = places.reshape(n * frames, dimensions)
    return pl.DataFrame(
        {
            "object_id": np.arange(n * frames) + 1,
            "frame": np.tile(np.arange(frames), n),
            "time_min": np.tile(np.arange(frames) * minutes, n),
            **{name: flat[:, k] for k, name in enumerate(["x_um", "y_um", "z_um"][:dimensions])},
            "track_id": np.repeat(np.arange(n) + 1, frames),
        }
    )


def test_a_straight_walk_has_alpha_2_and_no_turns() -> None:
    steps = np.arange(20.0)[None, :, None] * np.array([3.0, 4.0, 12.0])
    row = track_features(walk(steps, minutes=2)).row(0, named=True)
    assert row["msd_alpha"] == pytest.approx(2)
    assert row["msd_1_frame_um2"] == pytest.approx(169)
    assert row["mean_speed_um_per_min"] == pytest.approx(6.5)
    assert row["confinement_ratio"] == pytest.approx(1)
    assert row["linearity"] == pytest.approx(1)
    assert row["mean_turning_angle_rad"] == pytest.approx(0, abs=1e-7)
    assert row["arrest_coefficient"] == 0


def test_diffusion_has_alpha_1_and_its_step() -> None:
    steps = np.random.default_rng(0).normal(size=(400, 200, 2))
    ours = track_features(walk(steps.cumsum(axis=1)))
    assert ours["msd_alpha"].mean() == pytest.approx(1, abs=0.02)
    assert ours["msd_1_frame_um2"].mean() == pytest.approx(2, rel=0.01)
    # 2 um/min is exceeded by a step of two normal coordinates with probability exp(-2)
    assert ours["arrest_coefficient"].mean() == pytest.approx(1 - np.exp(-2), abs=0.01)
    assert ours["mean_turning_angle_rad"].mean() == pytest.approx(np.pi / 2, abs=0.01)


@pytest.mark.parametrize("persistence_min", [4.0, 15.0])
def test_persistence_of_an_ornstein_uhlenbeck_walk_is_found(persistence_min: float) -> None:
    rng = np.random.default_rng(1)
    minutes, parts, frames, n = 2.0, 20, 300, 120
    decay = np.exp(-minutes / parts / persistence_min)
    velocity = rng.normal(size=(n, 2))
    place = [np.zeros((n, 2))]
    for _ in range(frames):
        moved = np.zeros((n, 2))
        for _ in range(parts):
            moved += velocity * minutes / parts
            velocity = velocity * decay + np.sqrt(1 - decay**2) * rng.normal(size=(n, 2))
        place.append(place[-1] + moved)
    ours = track_features(walk(np.stack(place, axis=1), minutes))
    assert ours["persistence_time_min"].median() == pytest.approx(persistence_min, rel=0.1)


def test_mean_squared_displacement_minds_gaps() -> None:
    rng = np.random.default_rng(2)
    table = walk(rng.normal(size=(1, 60, 2)).cumsum(axis=1)).filter(pl.Series(rng.random(60) < 0.7))
    frame, place = table["frame"].to_numpy(), table.select("x_um", "y_um").to_numpy()
    lags = np.subtract.outer(frame, frame)
    span = frame[-1] - frame[0] + 1
    squared = ((place[:, None] - place[None]) ** 2).sum(axis=2)
    means = [squared[lags == k].mean() for k in range(1, min(span // 4, 10) + 1)]
    slope = np.polyfit(np.log(np.arange(1, len(means) + 1)), np.log(means), 1)[0]
    row = track_features(table).row(0, named=True)
    assert row["msd_alpha"] == pytest.approx(slope, rel=1e-9)
    assert row["n_gaps"] == (np.diff(frame) > 1).sum()
    assert row["longest_gap"] == np.diff(frame).max() - 1


def test_given_links_and_implied_links_agree() -> None:
    table = walk(np.random.default_rng(3).normal(size=(7, 12, 3)).cumsum(axis=1)).sample(
        fraction=1, shuffle=True, seed=1
    )
    ordered = table.sort("track_id", "frame")
    pairs = ordered.select(
        pl.col("object_id").shift(1).over("track_id").alias("source_id"), pl.col("object_id").alias("target_id")
    ).drop_nulls()
    assert track_features(table, pairs.sample(fraction=1, shuffle=True, seed=2)).equals(track_features(table))


def test_a_division_link_belongs_to_no_branch() -> None:
    table = walk(np.random.default_rng(4).normal(size=(2, 8, 2)).cumsum(axis=1))
    second = pl.col("track_id") == 2
    later = table.with_columns(pl.when(second).then(pl.col(c) + 8).otherwise(pl.col(c)) for c in ("frame", "time_min"))
    pairs = pl.DataFrame({"source_id": [*range(1, 8), *range(9, 16)], "target_id": [*range(2, 9), *range(10, 17)]})
    with_division = pl.concat([pairs, pl.DataFrame({"source_id": [8], "target_id": [9]})])
    assert track_features(later, with_division).equals(track_features(later, pairs))


def test_one_object_no_objects_and_no_tracks() -> None:
    table = walk(np.ones((1, 1, 2)))
    row = track_features(table).row(0, named=True)
    assert (row["n_objects"], row["duration_min"], row["total_distance_um"], row["n_gaps"]) == (1, 0, 0, 0)
    assert row["mean_speed_um_per_min"] is None
    assert row["confinement_ratio"] is None
    none = track_features(table.clear())
    assert none.height == 0
    assert none.schema == track_features(table).schema
    untracked = table.with_columns(track_id=pl.lit(None, dtype=pl.Int64))
    assert track_features(untracked).height == 0
    links = pl.DataFrame(schema={"source_id": pl.Int64, "target_id": pl.Int64})
    assert (
        link_features(table, links).schema
        == link_features(walk(np.ones((1, 2, 2))), pl.DataFrame({"source_id": [1], "target_id": [2]})).schema
    )


def test_objects_without_a_position_count_as_missed() -> None:
    table = walk(np.random.default_rng(5).normal(size=(1, 9, 2)))
    torn = table.with_columns(x_um=pl.when(pl.col("frame") == 4).then(float("nan")).otherwise("x_um"))
    assert track_features(torn).equals(track_features(table.filter(pl.col("frame") != 4)))
    assert track_features(torn)["n_gaps"].item() == 1


def test_objects_that_never_move_have_speed_0_and_no_alpha() -> None:
    row = track_features(walk(np.zeros((1, 12, 2)))).row(0, named=True)
    assert row["mean_speed_um_per_min"] == 0
    assert row["arrest_coefficient"] == 1
    assert row["msd_alpha"] is None
    assert row["persistence_time_min"] is None


def test_what_is_contradictory_is_refused() -> None:
    table = walk(np.zeros((2, 3, 2)))
    with pytest.raises(TableError, match="two objects in frame 0"):
        track_features(table.with_columns(track_id=pl.lit(1)))
    with pytest.raises(TableError, match="two rows"):
        track_features(pl.concat([table, table]))
    with pytest.raises(TableError, match="object 99"):
        link_features(table, pl.DataFrame({"source_id": [1], "target_id": [99]}))
    with pytest.raises(TableError, match="'time_min'"):
        track_features(table.drop("time_min"))
    with pytest.raises(ParameterError, match="at least 3"):
        track_features(table, max_lag_frames=2)


@pytest.mark.parametrize(("direction", "back", "ahead"), [("centred", 2, 2), ("forward", 0, 2), ("backward", 2, 0)])
def test_velocity_over_a_window_is_that_of_numpy(direction: str, back: int, ahead: int) -> None:
    places = np.random.default_rng(6).normal(size=(5, 30, 3)).cumsum(axis=1)
    table = walk(places, minutes=0.5).sample(fraction=1, shuffle=True, seed=3)
    ours = object_motion(table, window_frames=2, direction=direction)
    velocity = ours.select(f"velocity_{c}_um_per_min" for c in "xyz").to_numpy().reshape(5, 30, 3)
    expected = np.full_like(places, np.nan)
    window = back + ahead
    expected[:, back : 30 - ahead] = (places[:, window:] - places[:, : 30 - window]) / (window * 0.5)
    np.testing.assert_allclose(velocity, expected, rtol=1e-12)
    path = np.linalg.norm(np.diff(places, axis=1), axis=2).cumsum(axis=1)
    np.testing.assert_allclose(ours["path_um"].to_numpy().reshape(5, 30)[:, 1:], path, rtol=1e-9)
    net = np.linalg.norm(places - places[:, :1], axis=2)
    np.testing.assert_allclose(ours["directionality"].to_numpy().reshape(5, 30)[:, 1:], net[:, 1:] / path, rtol=1e-9)


def test_backward_velocity_is_that_of_the_link_and_minds_gaps() -> None:
    table = walk(np.random.default_rng(7).normal(size=(3, 10, 2))).filter(pl.col("frame") != 4)
    ours = object_motion(table, direction="backward").join(table.select("object_id", "frame"), on="object_id")
    assert ours.filter(pl.col("frame") == 5)["speed_um_per_min"].null_count() == 3
    assert ours.filter(pl.col("frame") == 0)["speed_um_per_min"].null_count() == 3
    pairs = table.select(pl.col("object_id").alias("source_id"), (pl.col("object_id") + 1).alias("target_id"))
    real = pairs.filter(pl.col("target_id").is_in(table["object_id"].implode()), pl.col("source_id") % 10 != 0)
    links = link_features(table, real).select(
        pl.col("target_id").alias("object_id"), pl.col("speed_um_per_min").alias("of_link")
    )
    both = ours.join(links, on="object_id")
    assert both.height == 3 * 7
    np.testing.assert_allclose(both["speed_um_per_min"], both["of_link"], rtol=1e-12)


def test_object_motion_of_nothing_and_of_nonsense() -> None:
    table = walk(np.zeros((1, 3, 2)))
    assert object_motion(table.clear()).schema == object_motion(table).schema
    assert object_motion(table)["directionality"].null_count() == 3
    torn = table.with_columns(x_um=pl.when(pl.col("frame") == 1).then(None).otherwise(pl.col("frame") * 3.0))
    assert object_motion(torn)["path_um"].to_list() == [0, None, 6]
    with pytest.raises(ParameterError, match="0 frames"):
        object_motion(table, window_frames=0)
    with pytest.raises(TableError, match="two objects"):
        object_motion(pl.concat([table, table.with_columns(pl.col("object_id") + 10)]))
