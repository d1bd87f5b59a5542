"""Mending: what must go, what must be put in, and what must stay untouched."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kinocyte.core.errors import TableError
from kinocyte.core.registry import get
from kinocyte.tracking import LAP
from kinocyte.tracking.mending import Mending


def movie(*rows: tuple[int, float, float], area: list[float] | None = None) -> pl.DataFrame:
    frame, x, y = zip(*rows, strict=True)
    table = pl.DataFrame({
        "object_id": range(1, len(rows) + 1), "frame": frame, "label": [1] * len(rows), "x_um": x, "y_um": y,
    }, schema_overrides={"label": pl.UInt32, "x_um": pl.Float64, "y_um": pl.Float64})  # fmt: skip
    return table if area is None else table.with_columns(area_um2=pl.Series(area, dtype=pl.Float64))


def links(*pairs: tuple[int, int], of: pl.DataFrame) -> pl.DataFrame:
    frame = dict(of.select("object_id", "frame").iter_rows())
    return pl.DataFrame({
        "source_id": [a for a, _ in pairs], "target_id": [b for _, b in pairs], "cost": [1.0] * len(pairs),
        "frame_gap": [frame[b] - frame[a] for a, b in pairs], "confidence": [1.0] * len(pairs),
    })  # fmt: skip


def test_no_rule_changes_nothing() -> None:
    cells = movie((0, 0, 0), (1, 1, 0), (3, 2, 0), (0, 9, 9))
    done = Mending().mend(cells, links((1, 2), (2, 3), of=cells))
    assert done.objects.drop("interpolated").equals(cells.with_columns(pl.col("frame").cast(pl.Int32)))
    assert not done.objects["interpolated"].any()
    assert done.members["track_id"].to_list() == [1, 1, 1, 2]


def test_gaps_are_filled_on_a_straight_line() -> None:
    cells = movie((0, 0, 0), (3, 3, 6), (4, 4, 6), area=[10, 40, 50])
    done = Mending(interpolate_gaps=True).mend(cells, links((1, 2), (2, 3), of=cells))
    added = done.objects.filter("interpolated")
    assert added.select("frame", "x_um", "y_um", "area_um2", "label").rows() == [
        (1, 1.0, 2.0, 20.0, 0), (2, 2.0, 4.0, 30.0, 0),
    ]  # fmt: skip
    assert done.links.select("source_id", "target_id").rows() == [(1, 4), (2, 3), (4, 5), (5, 2)]
    assert done.links["frame_gap"].to_list() == [1] * 4
    assert len(done.tracks) == 1


def test_short_and_late_lineages_go() -> None:
    cells = movie((0, 0, 0), (1, 0, 0), (2, 0, 0), (1, 9, 9), (2, 9, 9), (0, 5, 5))
    known = links((1, 2), (2, 3), (4, 5), of=cells)

    def left(**rules: object) -> list[int]:
        return Mending(**rules).mend(cells, known).members["object_id"].to_list()

    assert left(min_frames=2) == [1, 2, 3, 4, 5]
    assert left(min_frames=3) == [1, 2, 3]
    assert left(in_first_frame=True) == [1, 2, 3, 6]
    assert left(in_last_frame=True) == [1, 2, 3, 4, 5]
    assert left(in_last_frame=True, in_first_frame=True) == [1, 2, 3]


def test_tracks_are_continued_to_both_ends() -> None:
    cells = movie((2, 5, 5), (3, 6, 5), (0, 0, 0), (5, 1, 0))
    done = Mending(extend_to_first_frame=True, extend_to_last_frame=True, min_frames=2).mend(
        cells, links((1, 2), of=cells)
    )
    assert done.objects.sort("frame").select("frame", "x_um", "interpolated").rows() == [
        (0, 5.0, True), (1, 5.0, True), (2, 5.0, False), (3, 6.0, False), (4, 6.0, True), (5, 6.0, True),
    ]  # fmt: skip
    assert done.tracks.select("first_frame", "last_frame").rows() == [(0, 5)]


def family(area: list[float] | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a mother, two daughters at 2 um and a third at 9 um that is seen once."""
    cells = movie(
        (0, 0, 0), (1, 0, 2), (1, 0, -2), (1, 9, 0), (2, 0, 2), (2, 0, -2), (3, 0, 2), (3, 0, -2), area=area
    )  # fmt: skip
    return cells, links((1, 2), (1, 3), (1, 4), (2, 5), (3, 6), (5, 7), (6, 8), of=cells)


@pytest.mark.parametrize(
    "rules", [{"max_daughter_distance_um": 5.0}, {"two_daughters": True}, {"min_daughter_frames": 2}]
)
def test_the_third_daughter_is_cut(rules: dict[str, float]) -> None:
    done = Mending(**rules).mend(*family())
    assert done.links.filter(pl.col("source_id") == 1)["target_id"].to_list() == [2, 3]
    assert done.tracks["generation"].to_list()[:3] == [0, 1, 1]


def test_a_fragment_is_no_daughter() -> None:
    cells, known = family(area=[100, 50, 50, 3, 50, 50, 50, 50])
    done = Mending(min_daughter_area_ratio=0.3).mend(cells, known)
    assert done.links.filter(pl.col("source_id") == 1)["target_id"].to_list() == [2, 3]
    with pytest.raises(TableError, match="area_um2"):
        Mending(min_daughter_area_ratio=0.3).mend(cells.drop("area_um2"), known)


def test_swap_of_crossing_tracks_is_undone() -> None:
    # two straight lines that meet; links exchanged in the middle
    cells = movie(
        *[(t, float(t), 0.3 * (t - 2.5)) for t in range(6)], *[(t, float(t), -0.3 * (t - 2.5)) for t in range(6)]
    )
    straight = [(k, k + 1) for k in range(1, 6)] + [(k, k + 1) for k in range(7, 12)]
    swapped = [p for p in straight if p not in {(3, 4), (9, 10)}] + [(3, 10), (9, 4)]
    done = Mending(repair_swaps=True).mend(cells, links(*swapped, of=cells))
    assert set(done.links.select("source_id", "target_id").iter_rows()) == set(straight)
    kept = Mending(repair_swaps=True).mend(cells, links(*straight, of=cells))
    assert set(kept.links.select("source_id", "target_id").iter_rows()) == set(straight)


def test_empty() -> None:
    cells = movie((0, 0, 0)).head(0)
    rules = Mending(
        min_frames=3, interpolate_gaps=True, extend_to_first_frame=True, repair_swaps=True, min_daughter_frames=2,
        two_daughters=True, max_daughter_distance_um=3.0,
    )  # fmt: skip
    assert rules.mend(cells, LAP().link(cells)).tracks.is_empty()


def test_a_real_movie_has_no_gap_left(hela: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    cells = hela[0].filter(pl.Series(np.random.default_rng(1).random(len(hela[0])) > 0.05))
    found = LAP(max_distance_um=20, max_frame_gap=3, splitting_max_distance_um=25).link(cells)
    done = Mending(interpolate_gaps=True, min_frames=3).mend(cells, found)
    assert (done.links["frame_gap"] == 1).all()
    length = done.members.group_by("track_id").len()
    span = done.tracks.select("track_id", span=pl.col("last_frame") - pl.col("first_frame") + 1)
    assert length.join(span, on="track_id").select((pl.col("len") == pl.col("span")).all()).item()


def test_entry_point_and_features() -> None:
    assert get("mending", "rules") is Mending
    assert Mending().features == ()
    assert Mending(min_daughter_area_ratio=0.5).features == ("area_um2",)


def test_what_is_put_in_has_the_time_of_its_frame() -> None:
    # frames were not taken at even intervals; one other cell tells when
    cells = movie((1, 0, 0), (4, 3, 0), *[(t, 9.0, 9.0) for t in range(6)])
    clock = {0: 0.0, 1: 5.0, 2: 10.0, 3: 60.0, 4: 65.0, 5: 70.0}
    cells = cells.with_columns(time_min=pl.col("frame").replace_strict(clock, return_dtype=pl.Float64))
    rules = Mending(interpolate_gaps=True, extend_to_first_frame=True, extend_to_last_frame=True, min_frames=2)
    known = links((1, 2), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8), of=cells)
    done = rules.mend(cells, known)
    own = done.objects.filter(pl.col("y_um") == 0).sort("frame")
    assert own["frame"].to_list() == [0, 1, 2, 3, 4, 5]
    assert own["time_min"].to_list() == list(clock.values())
    assert own["label"].to_list() == [0, 1, 0, 0, 1, 0]
    assert own["x_um"].to_list() == [0.0, 0.0, 1.0, 2.0, 3.0, 3.0]
    assert len(done.tracks) == 2


def test_a_wrong_frame_does_not_fill_the_memory() -> None:
    cells = movie((0, 0, 0), (2**30, 1, 0))
    with pytest.raises(TableError, match="look for wrong frame numbers"):
        Mending(interpolate_gaps=True).mend(cells, links((1, 2), of=cells))
    with pytest.raises(TableError, match="look for wrong frame numbers"):
        Mending(extend_to_last_frame=True).mend(cells, links(of=cells))
