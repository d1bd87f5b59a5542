"""Tracking scores against py-ctcmetrics and against the log of the challenge's own software."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from kinocyte.core.scale import Scale
from kinocyte.evaluation.movies import LabelMovie, ObjectMovie
from kinocyte.evaluation.tracking import TrackingScores, score_tracking

THEIR_NAMES = {n: f"AOGM_{n}" for n in ("NS", "FN", "FP", "ED", "EA", "EC")}


def _score(case: Any) -> TrackingScores:
    truth, result = LabelMovie(case.truth, case.truth_tracks), LabelMovie(case.result, case.result_tracks)
    return score_tracking(truth, result, masks=case.masks or None)


def _assert_equal(scores: TrackingScores, theirs: dict[str, float | None]) -> None:
    compared = 0
    for name, mine in scores.as_dict().items():
        their_name = THEIR_NAMES.get(name, name)
        if their_name not in theirs:
            assert name in {"DetA", "AssA", "SEG", "CCA"} or (name.startswith("BC") and mine is None), name
            continue
        expected = theirs[their_name]
        compared += 1
        if expected is None:
            assert mine is None, name
        else:
            assert mine == pytest.approx(expected, abs=1e-9), name
    assert compared >= 16
    for d in scores.divisions:
        if d.found + d.missed:
            counts = {"tp": d.found, "fp": d.false, "fn": d.missed}
            assert counts == {k: theirs[f"{k}_div({d.max_offset_frames})"] for k in counts}
    assert scores.problems == ()


@pytest.mark.parametrize("name", ["official_03", "hela_01", "sim_plus_01"])
def test_real_movies_score_as_py_ctcmetrics_says(
    name: str, data: Path, ctc_cases: ModuleType, ctcmetrics: dict[str, dict[str, Any]]
) -> None:
    _assert_equal(_score(getattr(ctc_cases, name)(data)), ctcmetrics[name])


def test_made_up_movies_score_as_py_ctcmetrics_says(
    ctc_cases: ModuleType, ctcmetrics: dict[str, dict[str, Any]]
) -> None:
    names = [n for n in ctcmetrics if n.startswith("fuzz")]
    assert len(names) > 50
    for name in names:
        _assert_equal(_score(ctc_cases.fuzz(int(name[5:]))), ctcmetrics[name])


def test_official_measures(data: Path, ctc_cases: ModuleType) -> None:
    scores = _score(ctc_cases.official_03(data))
    assert f"{scores.tra:.6f}" == "0.622980"
    assert f"{scores.det:.6f}" == "0.688000"


def test_errors_are_those_of_the_official_log(data: Path, ctc_cases: ModuleType) -> None:
    errors = _score(ctc_cases.official_03(data)).errors
    log = (data / "ctc_official_evaluation_testset" / "03_RES" / "TRA_log.txt").read_text()
    titles = {
        "Splitting": "split", "False Negative": "missed", "False Positive": "spurious",
        "Redundant": "redundant_link", "Edges To Be Added": "missing_link", "Wrong Semantics": "wrong_kind",
    }  # fmt: skip
    expected: list[tuple[str, tuple[int, ...]]] = []
    kind = ""
    for line in log.splitlines():
        if line.startswith("---"):
            kind = next(v for k, v in titles.items() if k in line)
        elif line.startswith(("T=", "[T=")):
            expected.append((kind, tuple(int(v) for v in re.findall(r"\d+", line))))
    mine = [
        (row["error"], tuple(v for v in (row["frame"], row["reference_label"], row["result_label"], row["to_frame"],
                                         row["to_reference_label"], row["to_result_label"]) if v is not None))
        for row in errors.iter_rows(named=True)
    ]  # fmt: skip
    assert sorted(mine) == sorted(expected)
    assert errors["penalty"].sum() == 105
    assert errors["frame"].is_sorted()
    assert errors.select(pl.col("x", "y").is_not_null().all()).row(0) == (True, True)


def test_errors_are_found_where_they_are(data: Path, ctc_cases: ModuleType) -> None:
    case = ctc_cases.official_03(data)
    for row in _score(case).errors.filter(pl.col("error") == "missed").iter_rows(named=True):
        ys, xs = (case.truth[row["frame"]] == row["reference_label"]).nonzero()
        assert (row["y"], row["x"]) == (pytest.approx(ys.mean()), pytest.approx(xs.mean()))


def test_errors_per_frame_add_up(data: Path, ctc_cases: ModuleType) -> None:
    scores = _score(ctc_cases.official_03(data))
    table = scores.errors_per_frame
    assert table["frame"].to_list() == list(range(7))
    assert {k: table[k].sum() for k in scores.graph.counts} == scores.graph.counts
    assert table["penalty"].sum() == scores.graph.aogm


def test_positions_over_masks_score_nearly_as_discs(
    data: Path, ctc_cases: ModuleType, ctcmetrics: dict[str, dict[str, Any]]
) -> None:
    base = data / "ctc_fluo_n2dl_hela_01_gt_tracks_and_res"
    nodes = pl.read_csv(base / "gt_nodes.csv").with_row_index("object_id", 1)
    objects = nodes.select("object_id", pl.col("t").alias("frame"), x_um="x", y_um="y")
    number = nodes.select("id", "object_id")
    links = pl.read_csv(base / "gt_edges.csv").select(
        pl.col(end).replace_strict(number["id"], number["object_id"]).alias(f"{end}_id") for end in ("source", "target")
    )
    case = ctc_cases.hela_01(data)
    result = LabelMovie(case.result, case.result_tracks)
    scores = score_tracking(ObjectMovie(objects, links), result, scale=Scale.isotropic(1.0)).as_dict()
    for name in ("TRA", "DET", "LNK", "HOTA", "IDF1", "TF"):
        assert scores[name] == pytest.approx(ctcmetrics["hela_01"][name], abs=0.01), name
