"""Counts, presence and means around events, against sums written out."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import TableError
from kinocyte.core.scale import Scale
from kinocyte.interactions import Nearest, Radius, cumulated_presence, local_density, neighbour_counts

SCALE = Scale.isotropic(1.0, 2.0)


def population(seed: int, n: int, frames: int, size: float = 60.0, missing: float = 0.2) -> pl.DataFrame:
    """Return tracks that miss frames, with a state that changes."""
    rng = np.random.default_rng(seed)
    kept = rng.random((frames, n)) >= missing
    frame, track = np.nonzero(kept)
    return pl.DataFrame(
        {
            "object_id": rng.permutation(len(frame)) + 1,
            "track_id": track + 1,
            "frame": frame.astype(np.int32),
            "time_min": frame * 2.0,
            "x_um": rng.uniform(0, size, len(frame)),
            "y_um": rng.uniform(0, size, len(frame)),
            "dead": rng.random(len(frame)) < 0.3,
            "phase": rng.choice(["G1", "S/G2"], len(frame)),
        },
        schema_overrides={"object_id": pl.Int64, "track_id": pl.Int64},
    )


def by_hand(a: pl.DataFrame, b: pl.DataFrame, radius: float, alive: np.ndarray | None = None) -> dict[int, list[float]]:
    """Return inclusive, exclusive and weighted counts of each reference, one loop each."""
    out = {i: [0.0, 0.0, 0.0] for i in a["object_id"]}
    alive = np.ones(a.height, bool) if alive is None else alive
    for neighbour in b.iter_rows(named=True):
        near = []
        for k, cell in enumerate(a.iter_rows(named=True)):
            away = math.hypot(cell["x_um"] - neighbour["x_um"], cell["y_um"] - neighbour["y_um"])
            if cell["frame"] == neighbour["frame"] and away <= radius and alive[k]:
                near.append((away, cell["object_id"]))
        for _, who in near:
            out[who][0] += 1
            out[who][2] += 1 / len(near)
        if near:
            out[min(near)[1]][1] += 1
    return out


MODES = ("n_inclusive", "n_exclusive", "n_weighted")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_counts_are_those_of_the_loops(seed: int) -> None:
    a, b = population(seed, 6, 4), population(seed + 1, 9, 4)
    pairs = Radius(radius_um=20).pairs(a, b, SCALE)
    found = neighbour_counts(pairs, a, b)
    expected = by_hand(a, b, 20)
    assert found["object_id"].to_list() == a["object_id"].to_list()
    for who, *counts in found.select("object_id", *MODES).iter_rows():
        assert counts == pytest.approx(expected[who])
    # each neighbour that has a reference at all counts once
    reached = pairs["neighbour_id"].n_unique()
    assert found["n_exclusive"].sum() == reached
    assert found["n_weighted"].sum() == pytest.approx(reached)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_states_of_either_side(seed: int) -> None:
    a, b = population(seed, 6, 4), population(seed + 1, 9, 4)
    pairs = Radius(radius_um=20).pairs(a, b, SCALE)
    a = a.with_columns(alive=~pl.col("dead"))
    found = neighbour_counts(pairs, a, b, reference_state="alive", neighbour_state="dead")
    expected = by_hand(a, b, 20, a["alive"].to_numpy())
    for row, alive in zip(found.iter_rows(named=True), a["alive"], strict=True):
        if not alive:
            assert [row[m] for m in MODES] == [None] * 3
            continue
        assert [row[m] for m in MODES] == pytest.approx(expected[row["object_id"]])
        for m in MODES:
            assert row[f"{m}_dead"] + row[f"{m}_not_dead"] == pytest.approx(row[m])
    dead = by_hand(a, b.filter("dead"), 20, a["alive"].to_numpy())
    living = found.filter(pl.col("n_inclusive").is_not_null())
    for who, *counts in living.select("object_id", *(f"{m}_dead" for m in MODES)).iter_rows():
        assert counts == pytest.approx(dead[who])
    phases = neighbour_counts(pairs, a, b, neighbour_state="phase")
    assert phases["n_inclusive"].equals(phases["n_inclusive_G1"] + phases["n_inclusive_S_G2"], check_names=False)


def test_a_cell_shared_by_three_counts_a_third_for_each() -> None:
    a = pl.DataFrame(
        {
            "object_id": [1, 2, 3, 4],
            "frame": [0] * 4,
            "time_min": [0.0] * 4,
            "x_um": [0.0, 10, 4, 300],
            "y_um": [0.0] * 4,
        }
    )
    b = pl.DataFrame({"object_id": [1], "frame": [0], "time_min": [0.0], "x_um": [5.0], "y_um": [0.0]})
    found = neighbour_counts(Radius(radius_um=6).pairs(a, b, SCALE), a, b)
    assert found["n_inclusive"].to_list() == [1, 1, 1, 0]
    assert found["n_exclusive"].to_list() == [0, 0, 1, 0]
    assert found["n_weighted"].to_list() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert found["nearest_um"].to_list() == [5, 5, 1, None]
    assert found["cumulated_presence_min"].null_count() == 4  # no tracks


def walk(frames: list[int], x: list[float], number: int = 1) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "object_id": [number * 100 + f for f in frames],
            "track_id": [number] * len(frames),
            "frame": pl.Series(frames, dtype=pl.Int32),
            "time_min": [2.0 * f for f in frames],
            "x_um": x,
            "y_um": [0.0] * len(x),
        }
    )


def test_presence_adds_up_over_time() -> None:
    a = walk([0, 1, 2, 3, 4], [0.0] * 5)
    b = pl.concat([walk([0, 1, 3, 4], [5.0, 50, 5, 5], 1), walk([1, 2, 3, 4], [5.0, 50, 50, 5], 2)])
    pairs = Radius(radius_um=10).pairs(a, b, SCALE)
    each = cumulated_presence(pairs, (a, b))
    assert each.select("frame", "neighbour_track_id", "presence_min").rows() == [
        (0, 1, 2.0), (1, 2, 2.0), (3, 1, 4.0), (4, 1, 6.0), (4, 2, 4.0)
    ]  # fmt: skip
    found = neighbour_counts(pairs, a, b)
    assert found["n_inclusive"].to_list() == [1, 1, 0, 1, 2]
    assert found["time_with_neighbours_min"].to_list() == [2, 4, 4, 6, 8]
    assert found["cumulated_presence_min"].to_list() == [2, 4, 4, 6, 10]
    untracked = cumulated_presence(pairs.with_columns(neighbour_track_id=pl.lit(None, pl.Int64)))
    assert untracked["presence_min"].null_count() == pairs.height


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_presence_of_all_neighbours_is_the_presence_of_the_neighbourhood(seed: int) -> None:
    a, b = population(seed, 5, 8), population(seed + 1, 8, 8)
    pairs = Radius(radius_um=25).pairs(a, b, SCALE)
    last = (
        cumulated_presence(pairs, (a, b))
        .group_by("reference_track_id", "neighbour_track_id")
        .agg(pl.max("presence_min"))
    )
    whole = neighbour_counts(pairs, a, b).group_by("track_id").agg(pl.max("cumulated_presence_min"))
    sums = last.group_by("reference_track_id").agg(pl.sum("presence_min"))
    joined = whole.join(sums, left_on="track_id", right_on="reference_track_id", how="left").fill_null(0.0)
    assert joined["cumulated_presence_min"].to_numpy() == pytest.approx(joined["presence_min"].to_numpy())


def test_within_one_population_and_with_nothing() -> None:
    cells = population(1, 10, 3)
    found = neighbour_counts(Radius(radius_um=15).pairs(cells, None, SCALE), cells)
    assert found["n_inclusive"].sum() % 2 == 0
    none = neighbour_counts(
        Radius(radius_um=15).pairs(cells.clear(), None, SCALE), cells.clear(), neighbour_state="dead"
    )
    assert none.height == 0
    assert {"n_inclusive_dead", "cumulated_presence_min", "nearest_um"} <= set(none.columns)
    lost = cells.with_columns(x_um=pl.when(pl.col("track_id") == 1).then(float("nan")).otherwise("x_um"))
    gone = neighbour_counts(Radius(radius_um=15).pairs(lost, None, SCALE), lost)
    assert gone.filter(pl.col("track_id") == 1)["n_inclusive"].null_count() == (cells["track_id"] == 1).sum()


def test_positions_are_counted_apart() -> None:
    one, two, other = population(1, 6, 3), population(2, 6, 3), population(3, 9, 3)
    a = pl.concat([one.with_columns(well=pl.lit("A")), two.with_columns(well=pl.lit("B"))])
    b = pl.concat([other.with_columns(well=pl.lit("A")), other.with_columns(well=pl.lit("B"))])
    found = neighbour_counts(Radius().pairs(a, b, SCALE, by="well"), a, b, neighbour_state="dead", by="well")
    apart = [
        neighbour_counts(Radius().pairs(t, other, SCALE), t, other, neighbour_state="dead").select(
            pl.lit(w).alias("well"), pl.all()
        )
        for t, w in ((one, "A"), (two, "B"))
    ]
    assert found.equals(pl.concat(apart))


def test_what_does_not_fit_is_refused() -> None:
    a, b = population(1, 5, 2), population(2, 5, 2)
    pairs = Nearest().pairs(a, b, SCALE)
    with pytest.raises(TableError, match="not among the reference cells"):
        neighbour_counts(pairs, a.head(1), b)
    with pytest.raises(TableError, match="holds String; give true and false"):
        neighbour_counts(pairs, a, b, reference_state="phase")
    with pytest.raises(TableError, match="'x_um' holds Float64"):
        neighbour_counts(pairs, a, b, neighbour_state="x_um")
    with pytest.raises(TableError, match=r"lacks the column 'deed'; did you mean 'dead'"):
        neighbour_counts(pairs, a, b, neighbour_state="deed")


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 100), st.floats(0, 60), st.floats(1, 80))
def test_the_part_of_a_disc_inside_the_field(x: float, y: float, radius: float) -> None:
    from kinocyte.interactions.density import part_inside

    part = part_inside(np.array([[x, y]]), radius, (100.0, 60.0))[0]
    grid = (np.arange(400) + 0.5) / 200 - 1
    dx, dy = np.meshgrid(grid, grid)
    disc = dx**2 + dy**2 <= 1
    inside = (np.abs(x + radius * dx - 50) <= 50) & (np.abs(y + radius * dy - 30) <= 30)
    assert part == pytest.approx((disc & inside).sum() / disc.sum(), abs=0.006)


def test_density_of_cells_strewn_at_random_is_what_was_strewn() -> None:
    rng = np.random.default_rng(4)
    frames = [rng.uniform(0, 1, (rng.poisson(500), 3)) * (500, 400, 1) for _ in range(20)]
    place = np.concatenate(frames)
    cells = pl.DataFrame(
        {
            "object_id": np.arange(len(place)),
            "frame": np.repeat(np.arange(20), [len(f) for f in frames]),
            "time_min": 0.0,
            "x_um": place[:, 0],
            "y_um": place[:, 1],
        }
    )
    dense = local_density(cells, radius_um=60, field_um=(500, 400))
    assert dense["density_per_um2"].mean() == pytest.approx(500 / 200000, rel=0.03)
    # without the field, cells at the rim seem to stand alone
    naive = local_density(cells, radius_um=60)
    assert naive["density_per_um2"].mean() < 0.95 * 500 / 200000
    assert dense["n_within"].equals(naive["n_within"])
    assert local_density(cells.clear(), radius_um=60, field_um=(500, 400)).height == 0
