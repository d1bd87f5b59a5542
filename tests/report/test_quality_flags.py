"""From numbers to findings, and from findings to suggestions."""

from __future__ import annotations

import csv
import io
import tomllib
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinocyte.report.exclusions import as_csv, as_toml, ranges, suggest
from kinocyte.report.quality import PIXEL_QUALITY
from kinocyte.report.quality_flags import FLAGS, TRACES, Limits, flag_position, jumps, relative_focus

CELLS = {"population": pl.String, "frame": pl.Int32, "n_cells": pl.Int64, "confluence": pl.Float64}


def steady(n: int = 20, **changes: dict[int, Any]) -> pl.DataFrame:
    """Return a movie in which nothing happens, but for some values of some frames."""
    rows = [
        {
            "frame": t, "channel": "a", "focus": 0.3 + 0.01 * (t % 3), "saturated_fraction": 0.0,
            "invalid_fraction": 0.0,
            "brightness": 100.0 + t % 2, "dx_px": 0.1, "dy_px": 0.0, "drift_quality": 0.6,
        }
        for t in range(n)
    ]  # fmt: skip
    for column, values in changes.items():
        for t, value in values.items():
            rows[t][column] = value
    return pl.DataFrame(rows, schema=dict(PIXEL_QUALITY))


def flags(pixels: pl.DataFrame, cells: pl.DataFrame | None = None, **more: Any) -> pl.DataFrame:
    found, traces = flag_position(
        "B2/1", pixels, cells if cells is not None else pl.DataFrame(schema=CELLS), 200, limits=Limits(), **more
    )
    assert found.schema == pl.Schema(FLAGS)
    assert traces.schema == pl.Schema(TRACES)
    return found


def counts(values: list[int], covered: float | None = 0.2) -> pl.DataFrame:
    return pl.DataFrame(
        [{"population": "cells", "frame": t, "n_cells": n, "confluence": covered} for t, n in enumerate(values)],
        schema=CELLS,
    )


def test_a_steady_movie_has_no_finding() -> None:
    assert flags(steady(), counts([30, 31, 30, 29] * 5)).is_empty()


@pytest.mark.parametrize(
    ("column", "value", "check", "exclude"),
    [
        ("focus", 0.1, "focus", True),
        ("saturated_fraction", 0.005, "saturation", False),
        ("saturated_fraction", 0.05, "saturation", True),
        ("invalid_fraction", 0.001, "invalid pixels", False),
        ("invalid_fraction", 0.5, "invalid pixels", True),
        ("brightness", 300.0, "intensity", True),
        ("brightness", 0.0, "intensity", True),
        ("dx_px", 9.0, "drift", False),
    ],
)
def test_one_bad_frame_is_one_finding(column: str, value: float, check: str, exclude: bool) -> None:
    found = flags(steady(**{column: {7: value}}))
    assert found["check"].to_list() == [check]
    assert found["frame"].to_list() == [7]
    assert found["exclude"].to_list() == [exclude]


def test_bleaching_and_wandering_belong_to_the_whole_movie() -> None:
    bleached = steady(40, brightness={t: 100 * 0.97**t for t in range(40)})
    assert flags(bleached).select("check", "frame", "exclude").rows() == [("brightness trend", None, False)]
    wandering = flags(steady(40, dx_px=dict.fromkeys(range(40), 2.0)))
    assert wandering.select("check", "frame").rows() == [("drift", None)]
    assert wandering["value"][0] == pytest.approx(40 * 2 / 200)


def test_an_unclear_shift_is_no_drift() -> None:
    assert flags(steady(dx_px={7: 90.0}, drift_quality={7: 0.01})).is_empty()


def test_a_stored_drift_stands_in_for_the_estimate() -> None:
    drift = pl.DataFrame(
        {"frame": range(20), "dx_px": [3.0 * t for t in range(20)], "dy_px": [0.0] * 20, "quality": [1.0] * 19 + [0.0]}
    )
    found = flags(steady(dx_px={7: 90.0}), drift=drift)
    assert found.select("check", "frame", "reason").rows() == [("drift", 19, "could not be registered")]


def test_cell_counts_that_jump_and_a_movie_without_cells() -> None:
    found = flags(steady(), counts([40] * 9 + [3] + [41] * 10))
    assert found.select("check", "frame", "exclude").rows() == [("cell count", 9, True)]
    empty = flags(steady(), counts([0] * 20))
    assert empty.select("check", "frame", "exclude").rows() == [("cell count", None, True)]
    assert flags(steady(), counts([2, 3, 2, 4, 3] * 4)).is_empty()


def test_a_full_field_is_worth_a_look() -> None:
    found = flags(steady(), counts([50] * 20, covered=0.9))
    assert found.select("check", "frame", "exclude").rows() == [("confluence", None, False)]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_movies_are_not_judged_against_themselves(n: int) -> None:
    assert flags(steady(n), counts([5] * n)).is_empty()


def test_relative_focus_needs_five_values() -> None:
    assert np.isnan(relative_focus(np.array([1.0, 2, 3, np.nan]))).all()
    assert relative_focus(np.array([1.0, 2, 2, 2, 4])).tolist() == [0.5, 1, 1, 1, 2]


def test_jumps_follow_a_trend() -> None:
    values = np.arange(30.0)
    values[12] = 50
    residual, z = jumps(values, floor=1.0)
    assert int(np.argmax(np.abs(z))) == 12
    assert residual[12] == pytest.approx(37)  # the median of 10, 11, 50, 13, 14 is 13
    assert np.abs(np.delete(residual, 12)).max() <= 2


def row(position: str, frame: int | None, **more: Any) -> dict[str, Any]:
    base = {"check": "focus", "subject": "a", "value": 0.1, "limit": 0.5, "reason": "out of focus (a)", "exclude": True}
    return {"position": position, "frame": frame, **base, **more}


def test_suggestions_join_frames_and_take_whole_positions_past_half() -> None:
    table = pl.DataFrame(
        [
            row("A1/1", 3), row("A1/1", 4), row("A1/1", 9, check="intensity", reason="blank frame (a)"),
            *[row("A2/1", t) for t in range(6)], row("A3/1", None, check="cell count", reason="no cell"),
            row("A4/1", 2, exclude=False),
        ],
        schema=dict(FLAGS),
    )  # fmt: skip
    found = suggest(table, {f"A{i}/1": list(range(10)) for i in range(1, 5)})
    assert found["position"].to_list() == ["A1/1", "A2/1", "A3/1"]
    assert found["whole"].to_list() == [False, True, True]
    assert found["frames"][0].to_list() == [3, 4, 9]
    assert found["reason"][0] == "focus (a), frames 3-4; blank frame (a), frame 9"
    assert [d.get("frames") for d in tomllib.loads(as_toml(found))["exclude"]] == [[3, 4, 9], None, None]
    lines = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [line["frames"] for line in lines] == ["3-4, 9", "all", "all"]


def test_nothing_to_suggest() -> None:
    found = suggest(pl.DataFrame(schema=dict(FLAGS)), {})
    assert found.is_empty()
    assert as_toml(found) == as_csv(found) == ""


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_reason_survives_toml_and_csv(reason: str) -> None:
    table = pl.DataFrame(
        [{"position": "A1/1", "whole": False, "frames": [1], "reason": reason}],
        schema={"position": pl.String, "whole": pl.Boolean, "frames": pl.List(pl.Int32), "reason": pl.String},
    )
    assert tomllib.loads(as_toml(table))["exclude"] == [{"position": "A1/1", "frames": [1], "reason": reason}]
    assert next(csv.DictReader(io.StringIO(as_csv(table), newline="")))["reason"] == reason


@given(st.lists(st.integers(0, 500)))
def test_ranges_say_the_same_numbers(numbers: list[int]) -> None:
    said: set[int] = set()
    for part in filter(None, ranges(numbers).split(", ")):
        low, _, high = part.partition("-")
        said |= set(range(int(low), int(high or low) + 1))
    assert said == set(numbers)
