"""`kinocyte statistics hazard, incidence, additive, table` on tables of any program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from kinocyte.cli import run

Capture = pytest.CaptureFixture[str]
STEPS = """\
[[step]]
method = "query"
when = "size > 0"
[[step]]
method = "differentiate"
column = "size"
direction = "forward"
[[step]]
method = "collapse_tracks"
columns = ["size", "size_per_min"]
statistics = ["mean", "max"]
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    n = 200
    t, end = rng.exponential(30, n), np.full(n, 40.0)
    why = np.where(t > end, None, np.where(rng.random(n) < 0.7, "died", "divided"))
    rows = {"lifetime": np.minimum(t, end), "left": why, "died": [int(w == "died") for w in why],
            "drug": rng.choice(["a", "b", "c"], n), "size": rng.normal(2, 1, n)}  # fmt: skip
    path = tmp_path / "lives.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


def asked(capsys: Capture, *words: object) -> dict[str, Any]:
    assert run(["statistics", *map(str, words), "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    document: dict[str, Any] = json.loads(said.out)
    return document


def refused(capsys: Capture, *words: object) -> str:
    assert run(["statistics", *map(str, words)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("kinocyte: ")
    return err


def test_hazard_and_incidence(table: Path, capsys: Capture) -> None:
    rows = pl.read_csv(table, null_values="")
    found = asked(capsys, "hazard", table, "--duration", "lifetime", "--event", "died", "--by", "drug")
    for group in found["groups"]:
        own = rows.filter(pl.col("drug") == group["group"])
        assert group["rate"] == pytest.approx(own["died"].sum() / own["lifetime"].sum())
        assert {"time", "hazard", "low", "high"} == set(group["curve"][0])
    assert sum(d["events"] for d in found["details"]) == rows["died"].sum()
    words = ("--duration", "lifetime", "--cause", "left", "--event", "died", "--by", "drug", "--at", "20")
    incidence = asked(capsys, "incidence", table, *words)
    for group in incidence["groups"]:
        assert group["events"] + group["competing"] + group["censored"] == group["n"]
        assert 0 < group["incidence_low"] < group["incidence"] < group["incidence_high"] < 1
    assert run(["statistics", "incidence", str(table), *words]) == 0
    assert "share with died by 20" in " ".join(capsys.readouterr().out.split())


def test_additive(table: Path, capsys: Capture) -> None:
    words = ("--value", "size", "--by", "drug", "--observed", "a", "--first", "b", "--second", "c")
    found = asked(capsys, "additive", table, *words)
    assert found["effects"][0]["cliffs_delta"] < -0.5  # one is less than the sum of two
    assert found["tests"][0]["p"] is None
    assert "did you mean" in refused(capsys, "additive", table, *words[:-1], "cc")


def test_a_table_is_made_step_by_step(tmp_path: Path, capsys: Capture) -> None:
    cells = pl.DataFrame({"id": [1, 1, 1, 2, 2], "t": [0.0, 2.0, 4.0, 0.0, 2.0], "size": [1.0, 3.0, -1.0, 5.0, 9.0]})
    cells.write_csv(tmp_path / "cells.csv")
    (tmp_path / "steps.toml").write_text(STEPS)
    words = ("table", tmp_path / "cells.csv", "--steps", tmp_path / "steps.toml", "--track", "id", "--time", "t")
    out = tmp_path / "new" / "tracks.csv"
    assert run(["statistics", *map(str, words), "--out", str(out)]) == 0
    made = pl.read_csv(out).sort("track_id")
    assert made["mean_size"].to_list() == [2.0, 7.0]
    assert made["mean_size_per_min"].to_list() == [1.0, 2.0]
    assert "2 rows" in capsys.readouterr().out
    assert "exists already" in refused(capsys, *words, "--out", out)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STEPS.replace("when =", "wen ="), "line 3: there is no key 'step.0.wen'; did you mean 'when'"),
        (STEPS.replace("size > 0", "siez > 0"), "names the column 'siez', which the table lacks; did you mean 'size'"),
        ("step = 3", "holds no [[step]]"),
        ("[[steps]]\nmethod = 'query'", "there is no key 'steps'; did you mean 'step'"),
        ("[[step", "is not valid TOML"),
    ],
)  # fmt: skip
def test_wrong_steps_are_one_sentence(text: str, said: str, tmp_path: Path, capsys: Capture) -> None:
    pl.DataFrame({"track_id": [1], "time_min": [0.0], "size": [1.0]}).write_csv(tmp_path / "c.csv")
    (tmp_path / "s.toml").write_text(text)
    words = ("table", tmp_path / "c.csv", "--steps", tmp_path / "s.toml", "--out", tmp_path / "o.csv")
    assert said.lower() in refused(capsys, *words).lower()
    assert not (tmp_path / "o.csv").exists()
