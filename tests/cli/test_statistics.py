"""`kinocyte statistics` on tables of any program."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from kinocyte.cli import run
from kinocyte.statistics import kaplan_meier, log_rank

Capture = pytest.CaptureFixture[str]


def asked(capsys: Capture, *words: object) -> dict[str, Any]:
    assert run(["statistics", *map(str, words), "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    document: dict[str, Any] = json.loads(said.out)
    return document


def refused(capsys: Capture, *words: object) -> str:
    assert run(["statistics", *map(str, words)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("kinocyte: ")
    assert len(said.err.strip().splitlines()) == 1
    return said.err


@pytest.fixture
def lives() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    n = 300
    dose = rng.choice([0, 1, 10], n)
    true, losses = rng.exponential(60 / (1 + dose)), np.minimum(rng.exponential(150, n), 120)
    return pl.DataFrame({
        "lifetime": np.minimum(true, losses).round(1), "died": (true <= losses).astype(int), "dose": dose,
        "day": rng.choice(["mon", "tue", "wed"], n), "position": rng.integers(0, 4, n), "size": rng.normal(dose, 3),
    })  # fmt: skip


@pytest.fixture
def table(lives: pl.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "lives.csv"
    lives.write_csv(path)
    return path


SURVIVAL = ("--duration", "lifetime", "--event", "died", "--by", "dose")


def test_survival_of_each_group(lives: pl.DataFrame, table: Path, capsys: Capture) -> None:
    found = asked(capsys, "survival", table, *SURVIVAL)
    assert list(found) == ["file", "method", "rows", "columns", "groups", "tests", "notes"]
    assert [g["group"] for g in found["groups"]] == [0, 1, 10]
    for group in found["groups"]:
        rows = lives.filter(pl.col("dose") == group["group"])
        curve = kaplan_meier(rows["lifetime"], rows["died"])
        assert (group["n"], group["events"]) == (rows.height, rows["died"].sum())
        assert group["median"] == curve.median()[0]
        assert group["restricted_mean"] == pytest.approx(curve.restricted_mean(group["restricted_to"])[0])
        assert [p["survival"] for p in group["curve"]] == pytest.approx(curve.survival.tolist())
        assert set(group["curve"][0]) == {"time", "survival", "low", "high", "at_risk", "events", "censored"}
        assert group["n_positions"] == 4
        assert group["n_replicates"] is None
    overall = found["tests"][0]
    assert overall["test"] == "log-rank"
    assert overall["group_a"] is None
    assert overall["p"] == pytest.approx(log_rank(lives["lifetime"], lives["died"], lives["dose"]).p)
    assert any("No replicates are named" in n for n in found["notes"])


def test_survival_over_replicates(table: Path, capsys: Capture) -> None:
    found = asked(capsys, "survival", table, *SURVIVAL, "--replicate", "day", "--reference", "0", "--until", "50")
    assert [g["n_replicates"] for g in found["groups"]] == [3, 3, 3]
    assert [len(g["replicates"]) for g in found["groups"]] == [3, 3, 3]
    assert {g["restricted_to"] for g in found["groups"]} == {50.0}
    assert {(t["group_a"], t["group_b"]) for t in found["tests"]} == {(0, 1), (0, 10), (None, None)}
    for test in found["tests"]:
        assert (test["p"] is None) == (test["level"] == "cells")
        assert (test["refused"] is None) == (test["p"] is not None)
        assert test["n_cells"] > 0


def test_one_replicate_a_group_is_refused_a_test(lives: pl.DataFrame, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "one.parquet"
    lives.with_columns(day=pl.col("dose").cast(pl.String)).write_parquet(path)
    found = asked(capsys, "survival", path, *SURVIVAL, "--replicate", "day")
    assert all(t["p"] is None for t in found["tests"])
    assert any("has one replicate (0)" in t["sentence"] for t in found["tests"])
    assert run(["statistics", "survival", str(path), *SURVIVAL, "--replicate", "day"]) == 0
    assert "No p-value: the group '0' has one replicate (0)" in capsys.readouterr().out
    found = asked(capsys, "compare", path, "--value", "size", "--by", "dose", "--replicate", "day")
    assert all(t["p"] is None for t in found["tests"])


def test_comparing_a_number(table: Path, capsys: Capture) -> None:
    found = asked(capsys, "compare", table, "--value", "size", "--by", "dose", "--replicate", "day", "--draws", 200)
    assert {e["effect"] for e in found["effects"]} == {"Cliff's delta", "Hedges' g", "Cohen's d"}
    assert {e["interval"] for e in found["effects"]} == {"bootstrap over replicates"}
    assert [g["n_replicates"] for g in found["groups"]] == [3, 3, 3]
    assert sum(t["p"] is not None for t in found["tests"]) == 6
    again = asked(capsys, "compare", table, "--value", "size", "--by", "dose", "--replicate", "day", "--draws", 200)
    assert again == found, "a seed makes the bootstrap the same each time"


def test_tables_for_people(table: Path, capsys: Capture) -> None:
    assert run(["statistics", "survival", str(table), *SURVIVAL]) == 0
    said = capsys.readouterr()
    for words in ("lifetime to died", "mean restricted to 120", "cells at risk", "hazard ratio", "1 against 0"):
        assert words in said.out
    assert "No replicates are named" in said.err
    assert run(["statistics", "compare", str(table), "--value", "size", "--by", "dose", "--replicate", "day"]) == 0
    said = capsys.readouterr()
    assert "Cliff's delta" in said.out
    assert "mixed model" in said.out
    assert said.err == ""


def test_aligning_and_doses(tmp_path: Path, capsys: Capture) -> None:
    rng = np.random.default_rng(0)
    cell, time = np.repeat(np.arange(12), 10), np.tile(np.arange(10.0), 12)
    event = np.repeat(rng.integers(3, 7, 12), 10)
    rows = {"cell": cell, "t": time, "at": event, "s": (time >= event) * 2.0, "day": cell % 3}
    path = tmp_path / "signals.csv"
    pl.DataFrame(rows).write_csv(path)
    words = (
        "align",
        path,
        "--signal",
        "s",
        "--time",
        "t",
        "--event-time",
        "at",
        "--track",
        "cell",
        "--replicate",
        "day",
    )
    curve = asked(capsys, *words)["groups"][0]["curve"]
    assert [p["value"] for p in curve] == [0.0 if p["time"] < 0 else 2.0 for p in curve]
    assert run(["statistics", *map(str, words)]) == 0
    assert "s around at" in capsys.readouterr().out
    dose = np.repeat([0, 1, 3, 10, 30, 100], 6)
    value = 1 + 5 * dose / (dose + 8) + rng.normal(0, 0.2, 36)
    path = tmp_path / "doses.csv"
    pl.DataFrame({"dose": dose, "value": value}).write_csv(path)
    fit = asked(capsys, "dose", path, "--dose", "dose", "--value", "value")["groups"][0]
    assert fit["ec50_low"] < 8 < fit["ec50_high"]
    assert run(["statistics", "dose", str(path), "--dose", "dose", "--value", "value"]) == 0
    assert "EC50" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["true and false", "classes", "semicolon", "tab", "missing"])
def test_tables_of_other_programs(kind: str, lives: pl.DataFrame, table: Path, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "other.csv"
    if kind == "true and false":
        lives.with_columns(pl.col("died") == 1).write_csv(path)
    elif kind == "classes":
        words = pl.when(pl.col("died") == 1).then(pl.lit("event")).otherwise(pl.lit("none"))
        lives.with_columns(died=words).write_csv(path)
    elif kind == "semicolon":
        lives.write_csv(path, separator=";", decimal_comma=True)
    elif kind == "tab":
        lives.write_csv(path, separator="\t")
    else:
        extra = pl.DataFrame({"lifetime": ["NA"], "died": ["1"], "dose": ["1"], "day": ["mon"], "position": ["1"],
                              "size": ["nan"]})  # fmt: skip
        pl.concat([lives.select(pl.all().cast(pl.String)), extra]).write_csv(path)
    found = asked(capsys, "survival", path, *SURVIVAL)
    plain = asked(capsys, "survival", table, *SURVIVAL)
    assert found["groups"] == plain["groups"]
    assert (kind == "missing") == ("1 of 301 rows have no lifetime and are left out." in found["notes"])


def test_bad_input_gets_one_sentence(lives: pl.DataFrame, table: Path, tmp_path: Path, capsys: Capture) -> None:
    said = refused(capsys, "survival", table, "--duration", "lifetme", "--event", "died", "--by", "dose")
    assert "'lives.csv' lacks the column 'lifetme'; did you mean 'lifetime'?" in said
    assert "holds 10; an event is 1" in refused(
        capsys, "survival", table, "--duration", "lifetime", "--event", "dose", "--by", "day"
    )
    assert "must hold numbers" in refused(capsys, "compare", table, "--value", "day", "--by", "dose")
    assert "no group '7'" in refused(capsys, "survival", table, *SURVIVAL, "--reference", "7")
    assert "between 0 and 1" in refused(capsys, "survival", table, *SURVIVAL, "--confidence", "95")
    assert "does not exist" in refused(capsys, "survival", tmp_path / "no.csv", *SURVIVAL)
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert "is empty" in refused(capsys, "survival", empty, *SURVIVAL)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(256)))
    assert "cannot be read as a table" in refused(capsys, "survival", binary, *SURVIVAL)
    negative = tmp_path / "negative.csv"
    lives.with_columns(-pl.col("lifetime") - 1).write_csv(negative)
    assert "durations are not negative" in refused(capsys, "survival", negative, *SURVIVAL)


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize("replicate", [(), ("--replicate", "day")])
def test_hardly_any_cells(
    rows: int, replicate: tuple[str, ...], lives: pl.DataFrame, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "few.csv"
    lives.head(rows).write_csv(path)
    for words in (("survival", path, *SURVIVAL), ("compare", path, "--value", "size", "--by", "dose")):
        found = asked(capsys, *words, *replicate)
        assert sum(g["n"] for g in found["groups"]) == rows
        assert run(["statistics", *map(str, words), *replicate]) == 0
        capsys.readouterr()
    blank = tmp_path / "blank.csv"
    lives.with_columns(lifetime=pl.lit(math.nan), size=pl.lit(None, pl.Float64)).write_csv(blank)
    assert asked(capsys, "survival", blank, *SURVIVAL)["groups"] == []
    assert asked(capsys, "compare", blank, "--value", "size", "--by", "dose")["groups"] == []


def test_an_event_told_by_a_word(lives: pl.DataFrame, table: Path, tmp_path: Path, capsys: Capture) -> None:
    words = lives.with_columns(died=pl.col("died").replace_strict({1: "dead", 0: "alive"}, return_dtype=pl.String))
    words.write_csv(place := tmp_path / "words.csv")
    said = asked(capsys, "survival", place, *SURVIVAL, "--event-is", "dead")
    assert said["groups"] == asked(capsys, "survival", table, *SURVIVAL)["groups"]
    rates = [
        asked(capsys, "hazard", t, *SURVIVAL, *w)["groups"] for t, w in ((place, ["--event-is", "dead"]), (table, []))
    ]
    assert rates[0] == rates[1]
    assert "did you mean 'dead'" in refused(capsys, "survival", place, *SURVIVAL, "--event-is", "deda")
    assert "--event-is" in refused(capsys, "survival", place, *SURVIVAL)
