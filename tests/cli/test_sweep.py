"""`kinocyte sweep` as a person types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Scale
from kinocyte.cli import run
from kinocyte.pipeline.parse import load_pipeline

Capture = pytest.CaptureFixture[str]
DISTANCE = "population.cells.tracking.max_distance_um"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with an experiment of two positions, a pipeline, and the way of one cell."""
    y, x = np.mgrid[:48, :64]
    experiment = kinocyte.create(tmp_path / "e.zarr")
    scale = Scale(y_um=1.0, x_um=1.0, frame_interval_min=5.0)
    for field in ("1", "2"):
        writer = experiment.new_position(
            well="A1", field=field, shape=(4, 1, 1, 48, 64), dtype=np.uint8, channels=["dna"], scale=scale
        )
        for t in range(4):
            writer.write(t, (200 * (np.hypot(y - 20, x - 10 - 9 * t) < 5)).astype(np.uint8)[None])
        writer.finish()
    (tmp_path / "p.toml").write_text(
        '[population.cells.segmentation]\nmethod = "threshold"\nchannel = "dna"\n[population.cells.tracking]\n'
        'method = "lap"\nmax_distance_um = 3.0  # too short\n'
    )
    way = pl.DataFrame({"track": [1] * 4, "frame": range(4), "x_um": [10.0, 19, 28, 37], "y_um": [20.0] * 4})
    way.write_csv(tmp_path / "way.csv")
    return tmp_path


def sweep(files: Path, *words: str) -> int:
    command = ["sweep", str(files / "p.toml"), str(files / "e.zarr"), "--out", str(files / "s"), "--workers", "0"]
    return run([*command, *words])


def test_a_sweep_ends_with_a_table_and_a_winner(files: Path, capsys: Capture) -> None:
    truths = [w for p in ("A1/1", "A1/2") for w in ("--truth", f"{p}={files / 'way.csv'}")]
    assert sweep(files, "--over", f"{DISTANCE}=3,12", *truths) == 0
    said = capsys.readouterr().out
    assert "against the truth" in said
    assert "max_distance_um = 12" in said
    winner = load_pipeline(files / "s" / "winner.toml")
    assert winner.population["cells"].tracking.max_distance_um == 12  # type: ignore[union-attr]
    assert "# too short" in (files / "s" / "winner.toml").read_text()
    assert (files / "s" / "curve_max_distance_um.png").read_bytes().startswith(b"\x89PNG")
    assert pl.read_csv(files / "s" / "trials.csv")["LNK"].to_list() == [0, 1]


def test_without_truth_nothing_is_called_accuracy(files: Path, capsys: Capture) -> None:
    assert sweep(files, "--over", f"{DISTANCE}=3..30", "--search", "random", "--trials", "4") == 0
    said = capsys.readouterr().out
    assert "no accuracy" in said
    assert "TRA" not in said


def test_time_that_is_up_is_said(files: Path, capsys: Capture) -> None:
    assert sweep(files, "--over", f"{DISTANCE}=3,12", "--minutes", "1e-9") == 1
    assert "the time was up" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--over", "population.cells.tracking.max_distanc_um=3"], "did you mean 'max_distance_um'"),
        (["--over", f"{DISTANCE}=3", "--truth", "A1/1=way.csv"], "does not exist"),
        (["--over", f"{DISTANCE}=3", "--truth", "{way}"], "has 2 positions; say which one"),
        (["--over", f"{DISTANCE}=3", "--truth", "A1/9={way}"], "has no position 'A1/9'"),
        (["--over", f"{DISTANCE}=3", "--truth", "{way}", "--truth", "{way}"], "POSITION=PATH"),
        (["--over", f"{DISTANCE}=3", "--trials", "0"], "give 1 or more"),
        (["--over", f"{DISTANCE}=3", "--minutes", "-1"], "above 0"),
        (["--over", f"{DISTANCE}=3", "--search", "gird"], "grid"),
        (["--over", f"{DISTANCE}=3", "--population", "cels"], "did you mean 'cells'"),
        ([], "over"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(
    files: Path, capsys: Capture, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files / "e.zarr")
    assert sweep(files, *(w.replace("{way}", str(files / "way.csv")) for w in words)) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.startswith("kinocyte: ")
    assert not (files / "s").exists()
