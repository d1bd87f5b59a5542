"""Tracking scores: what must hold for any movie, other forms of input, and hostile ones."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.evaluation.lineages import branching
from kinocyte.evaluation.movies import LabelMovie, ObjectMovie
from kinocyte.evaluation.tracking import score_comparison, score_tracking, segmentation_measure
from kinocyte.simulation.cells import CellMovie, simulate_cells

SHARES = ("SEG", "TRA", "DET", "LNK", "CT", "TF", "CCA", "BC(0)", "BC(3)", "HOTA", "DetA", "AssA", "IDF1", "IDP", "IDR")
NO_TRACKS = np.empty((0, 4), np.int64)
LIVELY = CellMovie(
    frames=14,
    height_px=128,
    width_px=128,
    cells=8,
    division_rate_per_h=1.2,
    shortest_cycle_min=15,
    death_rate_per_h=0.2,
)


@pytest.fixture(scope="module")
def movie() -> Any:
    """Return a simulated movie with divisions and whole cell cycles."""
    return simulate_cells(LIVELY, seed=5)


def _labels(movie: Any) -> LabelMovie:
    return LabelMovie(movie.labels, movie.ctc_tracks, movie.settings.frames)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scores_are_shares_and_perfect_is_one(ctc_cases: ModuleType, seed: int) -> None:
    case = ctc_cases.fuzz(seed)
    truth = LabelMovie(case.truth, case.truth_tracks)
    scores = score_tracking(truth, LabelMovie(case.result, case.result_tracks), masks=case.masks).as_dict()
    for name in SHARES:
        assert scores[name] is None or 0 <= scores[name] <= 1, name
    perfect = score_tracking(truth, truth, masks=case.masks).as_dict()
    for name in SHARES:
        assert perfect[name] in {None, 1.0}, name
    assert perfect["AOGM"] == 0
    assert scores["AOGM"] == pytest.approx(
        5 * scores["NS"] + 10 * scores["FN"] + scores["FP"] + scores["ED"] + 1.5 * scores["EA"] + scores["EC"]
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), shuffle=st.integers(0, 10_000), offset=st.sampled_from([0, 70_000, 3_000_000_000]))
def test_numbering_of_tracks_does_not_matter(ctc_cases: ModuleType, seed: int, shuffle: int, offset: int) -> None:
    case = ctc_cases.fuzz(seed)
    truth = LabelMovie(case.truth, case.truth_tracks)
    before = score_tracking(truth, LabelMovie(case.result, case.result_tracks), masks=case.masks).as_dict()
    labels = case.result_tracks[:, 0].tolist()
    renamed = labels.copy()
    random.Random(shuffle).shuffle(renamed)
    table = np.zeros(max([0, *labels]) + 1, np.int64)
    table[labels] = np.array(renamed, np.int64) + offset
    rows = case.result_tracks.copy()
    rows[:, 0], rows[:, 3] = table[rows[:, 0]], table[rows[:, 3]]
    after = score_tracking(truth, LabelMovie([table[i] for i in case.result], rows), masks=case.masks).as_dict()
    # the challenge's own definition of TF depends on the order of labels
    for name in set(before) - {"TF"}:
        assert after[name] == (None if before[name] is None else pytest.approx(before[name], abs=1e-12)), name


def test_a_function_of_the_frame_scores_as_an_array(ctc_cases: ModuleType) -> None:
    case = ctc_cases.fuzz(1)
    lists = score_tracking(LabelMovie(case.truth, case.truth_tracks), LabelMovie(case.result, case.result_tracks))
    stack = np.stack(case.result)
    asked: list[int] = []

    def image(t: int) -> np.ndarray:
        asked.append(t)
        return stack[t]

    lazily = score_tracking(
        LabelMovie(np.stack(case.truth), case.truth_tracks), LabelMovie(image, case.result_tracks, len(stack))
    )
    assert lazily.as_dict() == lists.as_dict()
    assert asked == list(range(len(stack)))  # every frame is read once
    names = pl.DataFrame(case.result_tracks, schema=["label", "begin", "end", "parent"])
    table = score_tracking(LabelMovie(case.truth, case.truth_tracks), LabelMovie(case.result, names))
    assert table.as_dict() == lists.as_dict()


def test_objects_and_links_score_as_labels(movie: Any) -> None:
    tables = ObjectMovie(movie.objects, movie.links, movie.labels, LIVELY.frames)
    scores = score_tracking(tables, tables)
    assert scores.as_dict()["TRA"] == 1
    across = score_tracking(_labels(movie), tables)
    assert across.tra == across.lnk == across.ct == across.tf == across.cca == 1
    assert [d.bc for d in across.divisions] == [1, 1, 1, 1]
    assert across.identity.hota == across.identity.idf1 == 1
    assert across.problems == ()


def test_objects_are_matched_by_distance_or_under_points(movie: Any) -> None:
    truth = ObjectMovie(movie.objects, movie.links)
    moved = movie.objects.with_columns(pl.col("x_um") + 0.4, object_id=pl.col("object_id") + 1000)
    links = movie.links.with_columns(pl.col("source_id", "target_id") + 1000)
    near = score_tracking(truth, ObjectMovie(moved, links), max_distance_um=1)
    assert near.tra == near.identity.hota == near.cca == 1
    assert score_tracking(truth, ObjectMovie(moved, links), max_distance_um=0.3).tra == 0
    under = score_tracking(truth, _labels(movie), scale=movie.scale)
    assert under.tra == under.ct == 1
    assert under.errors.is_empty()


def test_a_missing_object_costs_what_it_must(movie: Any) -> None:
    tracks = movie.members.group_by("track_id").len().filter(pl.col("len") > 5)
    lost = movie.members.filter(track_id=tracks["track_id"][0]).join(movie.objects, on="object_id").sort("frame")[2]
    objects = movie.objects.filter(pl.col("object_id") != lost["object_id"][0])
    links = movie.links.filter(~pl.any_horizontal(pl.col("source_id", "target_id") == lost["object_id"][0]))
    scores = score_tracking(_labels(movie), ObjectMovie(objects, links, movie.labels, LIVELY.frames))
    assert scores.graph.counts == {
        "split": 0, "missed": 1, "spurious": 0, "redundant_link": 0, "missing_link": 2, "wrong_kind": 0
    }  # fmt: skip
    assert scores.tra == 1 - 13 / scores.graph.aogm_empty
    assert scores.errors.filter(error="missed")["frame"].to_list() == lost["frame"].to_list()


def test_links_across_gaps_count() -> None:
    images = np.zeros((3, 6, 6), np.uint8)
    images[0, :3, :3] = images[2, :3, :3] = 1
    tracks = np.array([[1, 0, 2, 0]])
    scores = score_tracking(LabelMovie(images, tracks), LabelMovie(images, tracks))
    assert scores.graph.aogm_empty == 2 * 10 + 1.5
    assert scores.tra == 1


def test_partial_truth_does_not_punish_what_it_does_not_name(movie: Any) -> None:
    some = [1, 2]
    few = [np.where(np.isin(movie.labels(t), some), movie.labels(t), 0) for t in range(LIVELY.frames)]
    truth = LabelMovie(few, movie.ctc_tracks.filter(pl.col("label").is_in(some)))
    whole = score_tracking(truth, _labels(movie))
    partial = score_tracking(truth, _labels(movie), partial=True)
    assert whole.graph.counts["spurious"] > 0
    assert whole.ct is not None
    assert whole.ct < 1
    assert partial.tra == partial.ct == partial.identity.hota == partial.identity.idf1 == 1


def test_branching_tolerates_what_it_is_told_to(movie: Any) -> None:
    late = [movie.labels(max(t - 1, 0)) for t in range(LIVELY.frames)]
    still = simulate_cells(LIVELY.replace(speed_um_per_min=0), seed=5)
    rows = still.ctc_tracks
    begins = rows.with_columns(
        begin=pl.when(pl.col("begin") > 0).then(pl.col("begin") + 1).otherwise(0),
        end=pl.min_horizontal(pl.col("end") + 1, LIVELY.frames - 1),
    ).filter(pl.col("begin") < LIVELY.frames)
    late = [still.labels(max(t - 1, 0)) for t in range(LIVELY.frames)]
    scores = score_tracking(_labels(still), LabelMovie(late, begins))
    assert scores.divisions[0].bc == 0
    exact, off_by_one = scores.divisions[0], scores.divisions[1]
    assert off_by_one.found > 0.6 * (off_by_one.found + off_by_one.missed)
    assert set(exact.table["error"]) == {"missed_division", "false_division"}
    assert branching(scores.graph.comparison, 1).table.equals(off_by_one.table)
    assert score_comparison(scores.graph.comparison, division_offsets=1).divisions[1].bc == off_by_one.bc


def test_seg_of_planes_of_a_3d_movie() -> None:
    truth = np.zeros((4, 6, 6), np.uint16)
    truth[1:3, 1:4, 1:4] = 7
    result = truth.copy()
    result[1, 1, 1:4] = 0
    assert segmentation_measure({0: truth}, [result]) == pytest.approx(15 / 18)
    assert segmentation_measure({0: {1: truth[1]}}, [result]) == pytest.approx(6 / 9)
    assert segmentation_measure({0: {2: truth[2], 1: truth[1]}}, [result]) == pytest.approx(15 / 18)
    assert segmentation_measure({0: np.zeros_like(truth)}, [result]) is None


# hostile input


def _blank(frames: int = 3) -> LabelMovie:
    return LabelMovie(np.zeros((frames, 8, 8), np.uint16), NO_TRACKS)


def _one(label: int = 1, dtype: type = np.uint32) -> LabelMovie:
    images = np.zeros((3, 8, 8), dtype)
    images[:, 2:5, 2:5] = label
    return LabelMovie(images, np.array([[label, 0, 2, 0]]))


def test_empty_movies() -> None:
    nothing = score_tracking(_blank(), _blank()).as_dict()
    assert {nothing[k] for k in SHARES} == {None}
    assert nothing["AOGM"] == 0
    missed = score_tracking(_one(), _blank(), masks={0: _one().images[0]}).as_dict()
    for name in ("SEG", "TRA", "DET", "LNK", "CT", "TF", "HOTA", "IDF1"):
        assert missed[name] == 0, name
    assert (missed["FN"], missed["EA"], missed["FP"]) == (3, 2, 0)
    invented = score_tracking(_blank(), _one()).as_dict()
    assert (invented["TRA"], invented["HOTA"], invented["IDF1"], invented["FP"]) == (None, 0, 0, 3)
    assert score_tracking(_blank(0), _blank(0)).errors.is_empty()
    none = ObjectMovie(
        pl.DataFrame(schema={"object_id": pl.Int64, "frame": pl.Int32, "x_um": pl.Float64, "y_um": pl.Float64}),
        pl.DataFrame(schema={"source_id": pl.Int64, "target_id": pl.Int64}),
    )
    assert score_tracking(none, none, max_distance_um=1).tra is None


@pytest.mark.parametrize(
    ("label", "dtype"), [(65_535, np.uint16), (70_000, np.int32), (2**32 - 1, np.uint32), (2**62, np.int64)]
)
def test_large_labels(label: int, dtype: type) -> None:
    scores = score_tracking(_one(), _one(label, dtype)).as_dict()
    assert [scores[k] for k in ("TRA", "CT", "TF", "HOTA", "IDF1")] == [1, 1, 1, 1, 1]


def test_tables_that_contradict_the_images_are_scored_and_reported() -> None:
    truth = _one()
    lacking = score_tracking(truth, LabelMovie(truth.images, NO_TRACKS))
    assert lacking.ct == lacking.tra == 1
    assert lacking.problems == ("Label 1 of the result is not in the track table.",)
    rows = np.array([[1, 0, 1, 9], [4, 0, 1, 0]])
    wrong = score_tracking(truth, LabelMovie(truth.images, rows))
    assert wrong.problems == (
        "Track 4 of the result is in no label image.",
        "Track 1 of the result should be seen from frame 0 to 1 but is from 0 to 2.",
        "Parent 9 of track 1 of the result does not exist.",
    )
    assert wrong.tra == 1
    loop = score_tracking(truth, LabelMovie(truth.images, np.array([[1, 0, 2, 1]])))
    assert loop.problems == ("Track 1 of the result begins before its parent 1.",)


@pytest.mark.parametrize(
    ("truth", "result", "options", "says"),
    [
        (_one(), _blank(2), {}, "3 frames and the result 2"),
        (_one(), LabelMovie(np.zeros((3, 8, 9), int), NO_TRACKS), {}, "Frame 0: .*differ in shape"),
        (_one(), LabelMovie(np.zeros((3, 8, 8)), NO_TRACKS), {}, "float64 values"),
        (_one(), LabelMovie(np.full((3, 8, 8), -1), NO_TRACKS), {}, "the label -1"),
        (_one(), LabelMovie(lambda t: np.zeros((8, 8), int), NO_TRACKS), {}, "give the number of frames"),
        (_one(), LabelMovie(np.zeros((3, 8, 8), int), NO_TRACKS, 4), {}, "3 label images, not 4"),
        (_one(), _one(), {"max_distance_um": 2}, "needs objects with positions"),
        (_one(), _one(), {"division_offsets": -1}, "division_offsets"),
    ],
)
def test_what_cannot_be_compared_is_refused(truth: Any, result: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        score_tracking(truth, result, **options)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.zeros((2, 3), int), "needs the columns"),
        (np.array([[1, 0, 2, 0], [1, 0, 1, 0]]), "two rows for label 1"),
        (pl.DataFrame({"label": [1], "begin": [0], "ends": [2], "parent": [0]}), "lacks the column 'end'.*ends"),
        (pl.DataFrame({"label": [1.5], "begin": [0], "end": [2], "parent": [None]}), "label 1.5 in row 0"),
    ],
)
def test_bad_track_tables_are_refused(rows: Any, says: str) -> None:
    with pytest.raises(TableError, match=says):
        score_tracking(_one(), LabelMovie(_one().images, rows))


def _objects(ids: list[int], frames: list[int], links: list[tuple[int, int]], **more: Any) -> ObjectMovie:
    n = len(ids)
    objects = pl.DataFrame({"object_id": ids, "frame": frames, "x_um": [1.0] * n, "y_um": [2.0] * n} | more)
    return ObjectMovie(objects, pl.DataFrame(links, schema=["source_id", "target_id"], orient="row"))


@pytest.mark.parametrize(
    ("result", "error", "says"),
    [
        (_objects([1, 1], [0, 1], [(1, 1)]), TableError, "object_id 1 twice"),
        (_objects([1, 2], [0, 1], [(1, 3)]), TableError, "names the object 3"),
        (_objects([1, 2], [0, 1], [(2, 1)]), TableError, "does not lead to a later frame"),
        (_objects([1, 2], [0, 1], [(1, 2)], x_um=[1.0, None]), ParameterError, "lack a position"),
        (_objects([1, None], [0, 1], []), TableError, "object_id None in row"),
        (_objects([1, 2], [0.0, 0.5], []), TableError, "frame 0.5 in row"),
        (_objects([1, 2], [0, 1], [(1, None)]), TableError, "target_id None in row 0"),
        (_objects([1, 2], [0, 1], [("1", "a")]), TableError, "no whole number"),
    ],
)
def test_bad_objects_and_links_are_refused(result: ObjectMovie, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        score_tracking(_objects([1, 2], [0, 1], [(1, 2)]), result, max_distance_um=3)


def test_images_need_labels_in_the_objects() -> None:
    tables = _objects([1, 2], [0, 1], [(1, 2)])
    with pytest.raises(ParameterError, match="no column 'label'"):
        score_tracking(_one(), ObjectMovie(tables.objects, tables.links, _one().images))
    twice = ObjectMovie(tables.objects.with_columns(frame=0, label=1), tables.links.clear(), _one().images)
    with pytest.raises(ParameterError, match="same label in one frame"):
        score_tracking(_one(), twice)
    with pytest.raises(ParameterError, match="cannot be matched"):
        score_tracking(tables, _one())
    off = ObjectMovie(tables.objects.with_columns(label=pl.Series([1, 6])), tables.links, _one().images)
    assert score_tracking(_one(), off).problems == (
        "Object with label 6 of the result is not in the label image of frame 1.",
    )
    deep = LabelMovie(np.zeros((3, 2, 8, 8), int), NO_TRACKS)
    with pytest.raises(ParameterError, match="no z_um"):
        score_tracking(tables, deep, scale=Scale.isotropic(1.0, z_um=1.0))
    outside = ObjectMovie(tables.objects.with_columns(x_um=1e6), tables.links)
    assert score_tracking(outside, _one(), scale=Scale.isotropic(1.0)).tra == 0


def test_a_merge_keeps_both_links() -> None:
    merge = _objects([1, 2, 3], [0, 0, 1], [(1, 3), (2, 3)], x_um=[0.0, 50.0, 25.0])
    scores = score_tracking(merge, merge, max_distance_um=1)
    assert scores.graph.aogm_empty == 33
    assert scores.tra == scores.identity.hota == 1


def test_whole_pipeline_of_the_challenge_folder_is_quick_to_read(data: Path, ctc_cases: ModuleType) -> None:
    case = ctc_cases.official_03(data)
    scores = score_tracking(LabelMovie(case.truth, case.truth_tracks), LabelMovie(case.result, case.result_tracks))
    assert scores.seg is None
    assert set(scores.as_dict()) >= {"TRA", "DET", "LNK", "CT", "TF", "CCA", "BC(0)", "HOTA", "IDF1", "AOGM", "NS"}
