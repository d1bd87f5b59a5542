"""Contacts beyond chance: exact expectations, and p values that are even where there is nothing to find."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.interactions import Radius, contacts_beyond_chance

SCALE = Scale.isotropic(1.0, 2.0)


def movie(seed: int, *, n: int = 60, frames: int = 4, gathered: bool = False) -> pl.DataFrame:
    """Return still tracks of which a third is marked: any of them, or those at the left."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 100, (n, 2))
    marked = place[:, 0] < 33 if gathered else rng.permutation(n) < n // 3
    frame, track = (g.ravel() for g in np.meshgrid(np.arange(frames), np.arange(n), indexing="ij"))
    return pl.DataFrame(
        {
            "object_id": np.arange(1, len(frame) + 1),
            "track_id": track + 1,
            "frame": frame.astype(np.int32),
            "time_min": frame * 2.0,
            "x_um": place[track, 0],
            "y_um": place[track, 1],
            "kind": np.where(marked, "green", "grey")[track],
        }
    )


def test_cells_that_gather_meet_their_like_more_often() -> None:
    cells = movie(1, gathered=True)
    found = contacts_beyond_chance(Radius(radius_um=12).pairs(cells, None, SCALE), cells, state="kind", seed=3)
    rows = {(r["state_a"], r["state_b"]): r for r in found.iter_rows(named=True)}
    assert rows.keys() == {("green", "green"), ("green", "grey"), ("grey", "grey")}
    assert rows["green", "green"]["p_more"] < 0.05
    assert rows["green", "green"]["ratio"] > 2
    assert rows["green", "grey"]["p_fewer"] == 0.001
    pairs = Radius(radius_um=12).pairs(cells, None, SCALE)
    assert found["n_contacts"].sum() == pairs.height // 2
    assert found["n_tracks"].to_list() == [60] * 3


def test_the_expectation_is_that_of_drawing_without_return() -> None:
    cells = movie(2)
    pairs = Radius(radius_um=15).pairs(cells, None, SCALE)
    found = contacts_beyond_chance(pairs, cells, state="kind", n_shuffles=4000).filter(pl.col("state_b") == "green")
    # two different tracks are both green with probability 20/60 * 19/59
    exact = pairs.height / 2 * 20 / 60 * 19 / 59
    assert found["expected_contacts"].to_list() == [pytest.approx(exact, rel=0.03)]


def test_where_nothing_is_to_be_found_p_values_are_even() -> None:
    values = []
    for seed in range(60):
        cells = movie(seed, n=40, frames=2)
        pairs = Radius(radius_um=15).pairs(cells, None, SCALE)
        found = contacts_beyond_chance(pairs, cells, state="kind", n_shuffles=99, seed=seed + 1000)
        row = found.filter(pl.col("state_b") == "green").row(0, named=True)
        values.append((row["p_more"], row["p_fewer"]))
    more, fewer = np.array(values).T
    # shuffles with as many contacts count half to either side
    assert np.mean((more + 1 - fewer) / 2) == pytest.approx(0.5, abs=0.12)
    assert np.mean(more <= 0.1) < 0.2


def test_states_are_dealt_within_each_position() -> None:
    # in one position all are green, in the other none: every dealing is the true one
    cells = pl.concat(
        [movie(1).with_columns(kind=pl.lit(k), well=pl.lit(w)) for k, w in (("green", "A"), ("grey", "B"))]
    )
    pairs = Radius(radius_um=12).pairs(cells, None, SCALE, by="well")
    found = contacts_beyond_chance(pairs, cells, state="kind", n_shuffles=20, by="well")
    assert found["ratio"].to_list() == [1.0, None, 1.0]
    assert found["p_more"].to_list() == [1.0, 1.0, 1.0]
    assert found["n_positions"].to_list() == [2, 2, 2]


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    cells = movie(5)
    pairs = Radius(radius_um=12).pairs(cells, None, SCALE)
    first = contacts_beyond_chance(pairs, cells, state="kind", n_shuffles=50, seed=1)
    again = contacts_beyond_chance(pairs.reverse(), cells.reverse(), state="kind", n_shuffles=50, seed=1)
    assert first.equals(again)
    assert not first.equals(contacts_beyond_chance(pairs, cells, state="kind", n_shuffles=50, seed=2))


def test_nothing_and_what_cannot_be() -> None:
    cells = movie(1)
    pairs = Radius(radius_um=12).pairs(cells, None, SCALE)
    none = contacts_beyond_chance(pairs.clear(), cells.clear(), state="kind")
    assert none.height == 0
    assert contacts_beyond_chance(pairs.clear(), cells, state="kind")["n_contacts"].to_list() == [0, 0, 0]
    changing = cells.with_columns(kind=pl.when(pl.col("frame") > 1).then(pl.lit("red")).otherwise("kind"))
    with pytest.raises(TableError, match="changes its 'kind'"):
        contacts_beyond_chance(pairs, changing, state="kind")
    with pytest.raises(ParameterError, match="n_shuffles = 0"):
        contacts_beyond_chance(pairs, cells, state="kind", n_shuffles=0)
