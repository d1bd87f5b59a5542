"""`kinocyte events transitions` on tables of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kinocyte.cli import run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Ten tracks that step up between frames 14 and 15, five that never do, five that always did."""
    rng = np.random.default_rng(1)
    rows = []
    for k in range(20):
        steps = np.arange(30) >= 15 if k < 10 else np.full(30, k >= 15)
        for t, high in enumerate(steps):
            rows.append(("A" if k % 2 else "B", f"cell {k // 2}", 2.0 * t, 100 + 200 * high + rng.normal(0, 10)))
    place = tmp_path / "cells.csv"
    pl.DataFrame(rows, schema=["well", "cell", "minutes", "pi"], orient="row").write_csv(place)
    return place


def call(table: Path, out: Path, *more: str) -> int:
    options = ["--track", "cell", "--by", "well", "--time", "minutes", "--signal", "pi", "--out", str(out)]
    return run(["events", "transitions", str(table), *options, *more])


@pytest.mark.parametrize("threshold", ["200", "auto"])
def test_times_and_classes(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], threshold: str) -> None:
    assert call(table, tmp_path / "out.csv", "--threshold", threshold, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["counts"] == {"event": 10, "none": 5, "censored_left": 5, "excluded": 0}
    assert said["threshold"] == pytest.approx(200, abs=40)
    found = pl.read_csv(tmp_path / "out.csv")
    events = found.filter(pl.col("class") == "event")
    assert events["time_min"].to_numpy() == pytest.approx(29.0, abs=1.0)
    assert set(events["track_id"]) == {f"cell {k}" for k in range(5)}
    assert set(found.columns) >= {"well", "track_id", "event", "class", "time_min", "time_se_min", "confidence"}


def test_columns_whose_names_are_no_words(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = pl.read_csv(table).rename({"pi": "PI mean [a.u.]", "minutes": "Time (min)", "cell": "TRACK ID"})
    odd.write_csv(place := tmp_path / "odd.csv")
    named = ["--track", "TRACK ID", "--time", "Time (min)", "--by", "well", "--threshold", "200"]
    assert run(["events", "transitions", str(place), *named, "--signal", "PI mean [a.u.]", "--out",
                str(tmp_path / "o.csv")]) == 0  # fmt: skip
    assert pl.read_csv(tmp_path / "o.csv")["class"].to_list().count("event") == 10
    capsys.readouterr()
    assert run(["events", "transitions", str(place), *named, "--signal", "PI maen", "--out",
                str(tmp_path / "p.csv")]) == 2  # fmt: skip
    assert "did you mean 'PI mean [a.u.]'" in capsys.readouterr().err


def test_a_fall_of_a_formula(table: Path, tmp_path: Path) -> None:
    options = ["--track", "cell", "--by", "well", "--time", "minutes", "--signal", "0 - pi / 100"]
    out = tmp_path / "sub" / "out.csv"
    assert (
        run(["events", "transitions", str(table), *options, "--threshold=-2", "--direction", "fall", "--out", str(out)])
        == 0
    )
    assert pl.read_csv(out)["class"].to_list().count("event") == 10


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--threshold", "high", "give a number, or auto"),
        ("--signal", "p", "did you mean 'pi'"),
        ("--time", "minute", "did you mean 'minutes'"),
        ("--time", "cell", "holds words"),
        ("--signal", "pi >", "cannot be read"),
    ],
)
def test_wrong_words_are_refused_and_nothing_is_written(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, said: str
) -> None:
    given = {"--track": "cell", "--by": "well", "--time": "minutes", "--signal": "pi", "--threshold": "200"}
    given[option] = value
    words = [w for pair in given.items() for w in pair]
    assert run(["events", "transitions", str(table), *words, "--out", str(tmp_path / "o.csv")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o.csv").exists()


def test_nothing_is_overwritten(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out.csv").write_text("mine")
    assert call(table, tmp_path / "out.csv", "--threshold", "200") == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_a_track_with_two_rows_at_one_time_is_named_as_the_table_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text("cell,t,s\nc7,0,1\nc7,0,2\nc7,,3\nc7,,4\n")
    words = ["events", "transitions", str(tmp_path / "t.csv"), "--track", "cell", "--time", "t", "--signal", "s"]
    assert run([*words, "--threshold", "1", "--out", str(tmp_path / "o.csv")]) == 2
    assert "Track c7 has several rows at t = 0" in capsys.readouterr().err


def test_tracks_of_one_name_in_several_wells_are_told_apart(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their times need not coincide, so that nothing else would tell that two cells were taken for one."""
    later = pl.when(pl.col("well") == "A").then(0.5).otherwise(0.0)
    pl.read_csv(table).with_columns(pl.col("minutes") + later).write_csv(table)
    words = [str(table), "--track", "cell", "--time", "minutes", "--signal", "pi", "--threshold", "200"]
    assert run(["events", "transitions", *words, "--out", str(tmp_path / "out.csv")]) == 2
    assert "--by well" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_a_network_and_how_far_it_is_off(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--track", "cell", "--by", "well", "--time", "minutes"]
    made, fallen = tmp_path / "deep.csv", tmp_path / "fallen.csv"
    assert run(["events", "deep", str(table), *words, "--signal", "pi", "--out", str(made), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    found = pl.read_csv(made)
    steps = found.filter(pl.col("track_id").is_in([f"cell {k}" for k in range(5)]))
    assert said["tracks"] == found.height == 20
    assert said["counts"]["event"] == (found["class"] == "event").sum() >= 8
    assert steps["time_min"].drop_nulls().to_numpy() == pytest.approx(29.0, abs=2.0)
    assert found["p_event"].is_between(0, 1).all()
    assert run(["events", "deep", str(table), *words, "--signal=-pi", "--out", str(fallen)]) == 0
    assert (pl.read_csv(fallen)["class"] == "event").sum() == 0, "the model knows steps up"
    assert run(["events", "deep", str(table), *words, "--signal", "pi", "--model", "mine", "--out", "x.csv"]) == 2
    assert "no model 'mine'" in capsys.readouterr().err
    truth = found.with_columns(pl.col("track_id").str.extract(r"(\d+)").cast(pl.Int64)).rename({"well": "film"})
    truth.write_csv(tmp_path / "truth.csv")
    same = ["evaluate", "events", str(tmp_path / "truth.csv"), str(tmp_path / "truth.csv"), "--json"]
    assert run(same) == 2
    assert "--by" in capsys.readouterr().err
    assert run([*same, "--by", "film"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1.0
    assert run([*same, "--by", "fim"]) == 2
    assert "did you mean 'film'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["transitions", "deep"])
def test_a_signal_without_values_and_a_table_without_rows(command: str, table: Path, tmp_path: Path) -> None:
    words = ["--track", "cell", "--by", "well", "--time", "minutes", "--signal", "pi"]
    words += ["--threshold", "150"] if command == "transitions" else []
    rows = pl.read_csv(table)
    for name, given, n in (("lost", rows.with_columns(pi=pl.lit(None, pl.Float64)), 20), ("none", rows.clear(), 0)):
        given.write_csv(tmp_path / f"{name}.csv")
        out = tmp_path / f"{name}_out.csv"
        assert run(["events", command, str(tmp_path / f"{name}.csv"), *words, "--out", str(out)]) == 0
        assert pl.read_csv(out, schema_overrides={"class": pl.String})["class"].to_list() == ["excluded"] * n
