"""`kinocyte evaluate events` and outlines of segmentations on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile

from kinocyte.cli import run

Capture = pytest.CaptureFixture[str]


def scored(capsys: Capture, *words: object) -> dict[str, Any]:
    assert run(["evaluate", *map(str, words), "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def refused(capsys: Capture, *words: object) -> str:
    assert run(["evaluate", *map(str, words)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    truth = pl.DataFrame(
        {
            "position": ["A1/1"] * 3 + ["A1/2"] * 2, "track_id": [1, 2, 3, 1, 2], "event": "death",
            "class": ["event", "none", "event", "event", "excluded"], "time_min": [10.0, None, 20.0, 30.0, None],
        }
    )  # fmt: skip
    found = truth.with_columns(
        pl.Series("class", ["event", "event", "none", "event", "event"]),
        pl.Series("time_min", [12.0, 5.0, None, 29.0, 1.0]),
    )
    other = truth.with_columns(pl.lit("contact").alias("event"))
    truth.write_csv(tmp_path / "truth.csv")
    pl.concat([found, other]).write_csv(tmp_path / "found.csv")
    return tmp_path / "truth.csv", tmp_path / "found.csv"


def test_events_of_several_positions(tables: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    document = scored(capsys, "events", *tables, "--event", "death", "--errors", tmp_path / "errors.csv")
    assert (document["tracks"], document["accuracy"]) == (4, 0.5)
    assert [document[n] for n in ("true_positives", "false_positives", "false_negatives")] == [2, 1, 1]
    assert (document["mean_absolute_error_min"], document["bias_min"]) == (1.5, 0.5)
    assert {"annotated": "event", "called": "none", "n": 1} in document["confusion"]
    errors = pl.read_csv(tmp_path / "errors.csv")
    assert errors.select("position", "track").rows() == [("A1/1", 2), ("A1/1", 3)]
    near = scored(capsys, "events", *tables, "--event", "death", "--tolerance-min", 1.5)
    assert [near[n] for n in ("true_positives", "false_positives", "false_negatives")] == [1, 2, 2]
    assert run(["evaluate", "events", *map(str, tables), "--event", "death"]) == 0
    said = capsys.readouterr().out
    assert "error of their times, mean" in said
    assert "--errors FILE.csv" in said


def test_tables_of_events_that_cannot_be_scored(tables: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    assert "name one with --event" in refused(capsys, "events", *tables)
    assert "no event 'deth'; did you mean 'death'" in refused(capsys, "events", *tables, "--event", "deth")
    pl.read_csv(tables[0]).drop("class").write_csv(tmp_path / "none.csv")
    assert "lacks the column class" in refused(capsys, "events", tmp_path / "none.csv", tables[1], "--event", "death")
    twice = pl.read_csv(tables[0])
    pl.concat([twice, twice]).write_csv(tmp_path / "twice.csv")
    assert "two rows" in refused(capsys, "events", tmp_path / "twice.csv", tables[0])


def test_outlines_are_scored_when_asked(tmp_path: Path, capsys: Capture) -> None:
    image = np.zeros((40, 40), np.uint16)
    image[10:30, 10:30] = 1
    for side, shift in (("truth", 0), ("found", 2)):
        (tmp_path / side).mkdir()
        tifffile.imwrite(tmp_path / side / "a.tif", np.roll(image, shift, axis=1))
    words = ("segmentation", tmp_path / "truth", tmp_path / "found")
    assert "boundary_f1" not in scored(capsys, *words)["mean_over_images"]
    tight, wide = (scored(capsys, *words, "--boundary-px", p)["mean_over_images"] for p in (1, 2))
    assert wide["boundary_f1"] == 1.0
    assert 0.4 < tight["boundary_f1"] < 0.7
    assert wide["boundary_hausdorff_px"] == 2.0
    assert run(["evaluate", *map(str, words), "--boundary-px", "2"]) == 0
    assert "boundary f1" in capsys.readouterr().out
    assert "tolerance" in refused(capsys, *words, "--boundary-px", -1)
