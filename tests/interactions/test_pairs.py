"""Two cells over time: motions that are known, tracks that begin and end anywhere."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.interactions import Contact, Nearest, Radius, contact_episodes, pair_ids, pair_signals, pair_tracks

SCALE = Scale.isotropic(1.0, 2.0)


def track(number: int, frames: list[int], x: object, y: object = 0.0, **more: object) -> pl.DataFrame:
    """Return one track, 2 min a frame; x and y are numbers or functions of the time."""
    time = np.array(frames, float) * 2.0

    def values(what: object) -> np.ndarray:
        return np.array(
            [what(t) for t in time] if callable(what) else np.broadcast_to(np.asarray(what, float), len(time))
        )

    return pl.DataFrame(
        {
            "object_id": [number * 1000 + f for f in frames],
            "track_id": [number] * len(frames),
            "frame": pl.Series(frames, dtype=pl.Int32),
            "time_min": time,
            "x_um": values(x),
            "y_um": values(y),
            **{n: values(v) for n, v in more.items()},
        }
    )


def follow(a: pl.DataFrame, b: pl.DataFrame | None, radius: float = 10.0, **options: object) -> pl.DataFrame:
    return pair_signals(Radius(radius_um=radius).pairs(a, b, SCALE), a, b, **options)  # type: ignore[arg-type] # passed on


@pytest.mark.parametrize(("start", "stop"), [(5, 16), (20, 31), (0, 11), (59, 60)])
def test_a_pair_that_starts_late_keeps_every_frame(start: int, stop: int) -> None:
    # another program loses rows here: 11 frames from frame 5 keep 6, from frame 20 none
    frames = list(range(start, stop))
    found = follow(track(1, list(range(60)), 0.0), track(2, frames, 3.0))
    assert found["frame"].to_list() == frames
    assert found["together"].all()
    assert found["distance_um"].to_list() == [3.0] * len(frames)
    row = pair_tracks(found).row(0, named=True)
    assert (row["first_frame"], row["last_frame"], row["n_frames"]) == (start, stop - 1, len(frames))
    assert row["residence_min"] == (2.0 * len(frames) if len(frames) > 1 else None)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_every_frame_that_two_tracks_share_is_there(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def population(n: int) -> pl.DataFrame:
        tracks = [
            track(
                k,
                sorted(rng.choice(20, rng.integers(1, 20), replace=False).tolist()),
                rng.uniform(0, 30),
                rng.uniform(0, 30),
            )
            for k in range(1, n + 1)
        ]
        return pl.concat(tracks)

    a, b = population(4), population(5)
    pairs = Radius(radius_um=15).pairs(a, b, SCALE)
    met = set(pairs.select("reference_track_id", "neighbour_track_id").iter_rows())
    expected = set()
    for i, j in met:
        shared = set(a.filter(track_id=i)["frame"]) & set(b.filter(track_id=j)["frame"])
        expected |= {(i, j, f) for f in shared}
    for frames in ("both", "either"):
        found = pair_signals(pairs, a, b, frames=frames)  # type: ignore[arg-type] # one of both
        both = found.filter(pl.col("distance_um").is_not_null())
        assert set(both.select("reference_track_id", "neighbour_track_id", "frame").iter_rows()) == expected
        assert both.height == len(expected)
        assert found["together"].sum() == pairs.height
        assert found["pair_id"].n_unique() == len(met)


def test_velocities_of_a_straight_approach() -> None:
    frames = list(range(10))
    still = track(1, frames, 0.0)
    coming = track(2, frames, lambda t: 30 - 1.5 * t)
    found = follow(still, coming, radius=5)
    assert found["relative_velocity_um_per_min"].to_list() == pytest.approx([-1.5] * 10)
    assert found["relative_speed_um_per_min"].to_list() == pytest.approx([1.5] * 10)
    assert found["neighbour_speed_um_per_min"].to_list() == pytest.approx([1.5] * 10)
    assert found["reference_speed_um_per_min"].to_list() == pytest.approx([0.0] * 10)
    assert found["approach_angle_rad"].to_list() == pytest.approx([0.0] * 10)
    assert found["motion_cosine"].null_count() == 10
    assert found["angle_rad"].to_list() == pytest.approx([0.0] * 10)
    assert found["pair_time_min"].to_list() == [2.0 * (f - 9) for f in frames]


def test_an_orbit_turns_evenly_and_its_angle_does_not_jump() -> None:
    rate = 0.3
    frames = [f for f in range(60) if f not in {13, 14, 40}]
    orbit = track(2, frames, lambda t: 8 * math.cos(rate * t), lambda t: 8 * math.sin(rate * t))
    found = follow(track(1, list(range(60)), 0.0), orbit)
    assert found["angle_rad"].to_numpy() == pytest.approx(rate * 2.0 * np.array(frames))
    assert found["angular_velocity_rad_per_min"].to_numpy() == pytest.approx(np.full(57, rate))
    inside = found.filter(pl.col("frame").is_between(20, 30))
    # the chord over two frames is shorter than the arc
    chord = 8 * math.sin(rate * 2) / 2
    assert inside["neighbour_speed_um_per_min"].to_numpy() == pytest.approx(np.full(11, chord))
    assert inside["relative_velocity_um_per_min"].to_numpy() == pytest.approx(np.zeros(11), abs=1e-9)
    assert inside["approach_angle_rad"].to_numpy() == pytest.approx(np.full(11, math.pi / 2))


def test_cells_side_by_side_and_cells_that_meet() -> None:
    frames = list(range(6))
    right = track(1, frames, lambda t: t)
    assert follow(right, track(2, frames, lambda t: t, 3.0))["motion_cosine"].to_list() == pytest.approx([1.0] * 6)
    left = track(2, frames, lambda t: -t, 3.0)
    assert follow(right, left)["motion_cosine"].to_list() == pytest.approx([-1.0] * 6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_slopes_are_those_of_polyfit(seed: int, window: int) -> None:
    rng = np.random.default_rng(seed)
    frames = sorted(rng.choice(25, 15, replace=False).tolist())
    place = dict(zip(frames, rng.normal(5, 2, 15), strict=True))
    # the clock is late and uneven
    b = track(2, frames, lambda t: place[int(t / 2)])
    clock = 1e5 + np.cumsum(rng.uniform(0.5, 3, 25))
    stamp = pl.Series("time_min", clock)
    a, b = (
        t.with_columns(time_min=stamp.gather(t["frame"].cast(pl.UInt32))) for t in (track(1, list(range(25)), 0.0), b)
    )
    found = pair_signals(Radius(radius_um=50).pairs(a, b, SCALE), a, b, window_frames=window)
    for frame, slope in found.select("frame", "relative_velocity_um_per_min").iter_rows():
        near = [f for f in frames if abs(f - frame) <= window]
        if len(near) < 2:
            assert slope is None
            continue
        t = clock[near]
        expected = np.polyfit(t - t.mean(), [abs(place[f]) for f in near], 1)[0]
        assert slope == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_signals_of_both_lie_beside_each_other() -> None:
    a = track(1, [0, 1, 2, 3], 0.0, pi=lambda t: t, area=1.0)
    b = track(2, [1, 2, 3, 4], lambda t: 20 - 3 * t, lamp1=lambda t: 10 * t)
    found = follow(a, b, radius=9, signals=["pi", "lamp1"], frames="either")
    assert found["frame"].to_list() == [0, 1, 2, 3, 4]
    assert found["reference_pi"].to_list() == [0, 2, 4, 6, None]
    assert found["neighbour_lamp1"].to_list() == [None, 20, 40, 60, 80]
    # 14, 8, 2 um apart: they meet in frame 2
    assert found["pair_time_min"].to_list() == [-4, -2, 0, 2, 4]
    assert "reference_lamp1" not in found.columns
    with pytest.raises(ParameterError, match=r"Neither population has the column 'lamp'; did you mean 'lamp1'"):
        follow(a, b, radius=9, signals=["lamp"])


def test_within_one_population_a_pair_stands_once() -> None:
    cells = pl.concat([track(k, list(range(5)), float(k)) for k in (3, 1, 2)])
    for method in (Radius(radius_um=1.5), Nearest(k=1)):
        found = pair_signals(method.pairs(cells, None, SCALE), cells)
        pairs = set(found.select("reference_track_id", "neighbour_track_id").iter_rows())
        # the middle cell is the nearest of both others; itself it prefers the lower object id
        assert pairs == {(1, 2), (2, 3)}
        assert found["together"].all()
        assert found.height == 10


def test_pair_ids_depend_on_the_two_tracks_alone() -> None:
    x, y = (g.ravel() for g in np.meshgrid(np.arange(200), np.arange(200)))
    table = pl.DataFrame({"reference_track_id": x, "neighbour_track_id": y})
    numbers = pair_ids(table)
    assert len(set(numbers.tolist())) == 40000
    assert numbers.max() == 40000 - 1
    big = pl.DataFrame({"reference_track_id": [3_000_000_000], "neighbour_track_id": [3_000_000_000]})
    assert pair_ids(big)[0] == 9 * 10**18 + 6 * 10**9
    with pytest.raises(TableError, match="holds -1"):
        pair_ids(table.with_columns(neighbour_track_id=pl.lit(-1)))


def test_positions_whose_track_ids_repeat_stay_apart() -> None:
    frames = list(range(6))
    a, b = track(1, frames, 0.0), track(1, frames, 4.0)
    far = track(1, frames, 900.0)
    cells = pl.concat([a.with_columns(position=pl.lit(p)) for p in ("p1", "p2", "p3")])
    others = pl.concat(
        [
            b.with_columns(position=pl.lit("p1")),
            far.with_columns(position=pl.lit("p2")),
            b.with_columns(position=pl.lit("p3")),
        ]
    )
    pairs = Radius(radius_um=10).pairs(cells, others, SCALE, by="position")
    found = pair_signals(pairs, cells, others, by="position")
    assert found.group_by("position").len().sort("position").rows() == [("p1", 6), ("p3", 6)]
    assert pair_tracks(found, by="position")["residence_min"].to_list() == [12.0, 12.0]
    assert contact_episodes(found, by="position").height == 2


def alternating(shown: str, radius: float = 5.0) -> pl.DataFrame:
    """Return a pair that is together (x), apart (o) or half unseen (-) in each frame."""
    frames = [f for f, c in enumerate(shown) if c != "-"]
    there = {f: 3.0 if shown[f] == "x" else 50.0 for f in frames}
    return follow(track(1, list(range(len(shown))), 0.0), track(2, frames, lambda t: there[int(t / 2)]), radius)


@pytest.mark.parametrize(
    ("shown", "gap", "expected"),
    [
        ("oxxxo", 1, [(1, 3, 6.0, False, False)]),
        ("xxxoo", 1, [(0, 2, 6.0, True, False)]),
        ("ooxxx", 1, [(2, 4, 6.0, False, True)]),
        ("xxxxx", 1, [(0, 4, 10.0, True, True)]),
        ("oxxoxo", 1, [(1, 2, 4.0, False, False), (4, 4, 2.0, False, False)]),
        ("oxxoxo", 2, [(1, 4, 8.0, False, False)]),
        ("oxx-xo", 1, [(1, 2, 4.0, False, True), (4, 4, 2.0, True, False)]),
        ("oxx-xo", 2, [(1, 4, 8.0, False, False)]),
        ("oxx--xo", 2, [(1, 2, 4.0, False, True), (5, 5, 2.0, True, False)]),
        ("o-xxxo", 1, [(2, 4, 6.0, True, False)]),
        ("o-xxxo", 2, [(2, 4, 6.0, False, False)]),
    ],
)
def test_contact_episodes(shown: str, gap: int, expected: list[tuple[object, ...]]) -> None:
    found = contact_episodes(alternating(shown), max_frame_gap=gap)
    columns = ("start_frame", "end_frame", "duration_min", "censored_start", "censored_end")
    assert found.select(columns).rows() == expected
    assert found["episode"].to_list() == list(range(1, len(expected) + 1))
    assert found["n_frames"].sum() == shown.count("x")
    row = pair_tracks(alternating(shown), max_frame_gap=gap).row(0, named=True)
    assert row["residence_min"] == 2.0 * shown.count("x")
    assert row["n_episodes"] == len(expected)
    assert row["n_censored_episodes"] == sum(bool(e[3] or e[4]) for e in expected)


def test_uneven_frames_stand_for_their_time() -> None:
    stamps = pl.Series([0.0, 1.0, 2.0, 10.0, 11.0, 12.0])
    a, b = (track(k, list(range(6)), x).with_columns(time_min=stamps) for k, x in ((1, 0.0), (2, 3.0)))
    far = b.with_columns(x_um=pl.when(pl.col("frame") == 3).then(3.0).otherwise(50.0))
    found = pair_signals(Radius(radius_um=5).pairs(a, far, SCALE), a, far)
    episode = contact_episodes(found).row(0, named=True)
    assert (episode["start_min"], episode["end_min"]) == (6.0, 10.5)
    assert found["presence_min"].to_list() == [0, 0, 0, 4.5, 4.5, 4.5]


def test_masks_tell_the_way_between_edges_also_while_apart() -> None:
    def labels(frame: int) -> np.ndarray:
        image = np.zeros((20, 60), np.uint32)
        image[5:15, 5:15] = 1
        image[5:15, 15 + 5 * frame : 25 + 5 * frame] = 2
        return image

    scale = Scale.isotropic(0.5, 2)
    a = track(1, [0, 1, 2], 5.0, label=1.0)
    b = track(2, [0, 1, 2], lambda t: 10 + 1.25 * t, label=2.0)
    pairs = Contact().pairs(a, b, scale, labels, labels)
    assert pairs["frame"].to_list() == [0]
    found = pair_signals(pairs, a, b, scale=scale, reference_labels=labels, neighbour_labels=labels)
    assert found["edge_distance_um"].to_list() == [0.0, 2.5, 5.0]
    assert found["contact_length_um"].null_count() == 2
    assert pair_signals(pairs, a, b)["edge_distance_um"].to_list() == [0.0, None, None]
    with pytest.raises(ParameterError, match="both populations and the scale"):
        pair_signals(pairs, a, b, reference_labels=labels)


def test_a_lost_position_leaves_the_row_and_empties_it() -> None:
    b = track(2, list(range(5)), [3.0, 3.0, math.nan, 3.0, 3.0])
    found = follow(track(1, list(range(5)), 0.0), b)
    assert found["distance_um"].to_list() == [3, 3, None, 3, 3]
    assert found["relative_velocity_um_per_min"].to_list() == [0, 0, None, 0, 0]
    assert contact_episodes(found)["censored_end"].to_list() == [True, True]


def test_nothing_and_single_frames() -> None:
    a, b = track(1, [3], 0.0), track(2, [3], 2.0)
    single = follow(a, b)
    assert single.height == 1
    assert single["relative_velocity_um_per_min"].to_list() == [None]
    assert pair_tracks(single)["residence_min"].to_list() == [None]
    assert contact_episodes(single)["duration_min"].to_list() == [None]
    for none in (follow(a, b, radius=1), follow(a.clear(), b), follow(a.clear(), b.clear())):
        assert none.height == 0
        assert none.columns == single.columns
        assert pair_tracks(none).columns == pair_tracks(single).columns
        assert contact_episodes(none).schema == contact_episodes(single).schema
    untracked = b.with_columns(track_id=pl.lit(None, pl.Int64))
    assert follow(a, untracked).height == 0


def test_what_cannot_be_is_refused() -> None:
    a, b = track(1, [0, 1], 0.0), track(2, [0, 1], 2.0)
    twice = pl.concat([b, b.with_columns(object_id=pl.col("object_id") + 50)])
    with pytest.raises(TableError, match="Track 2 holds two neighbour objects in frame 0"):
        follow(a, twice)
    with pytest.raises(ParameterError, match="A window of 0 frames"):
        follow(a, b, window_frames=0)
    with pytest.raises(ParameterError, match="max_frame_gap = 0"):
        contact_episodes(follow(a, b), max_frame_gap=0)
    with pytest.raises(TableError, match="lacks the column 'together'"):
        contact_episodes(follow(a, b).drop("together"))
