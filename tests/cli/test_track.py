"""`kinocyte track` on plain files: what is written, what is kept, and what a failing file does to the others."""

from __future__ import annotations

import json
import xml.sax
import xml.sax.handler
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from kinocyte.cli import run
from kinocyte.interop.tracks.formats import read_tracks

Capture = pytest.CaptureFixture[str]
PIPELINE = """\
[population.nuclei.segmentation]
method = "threshold"
channel = "dna"
[population.nuclei.tracking]
method = "lap"
max_distance_um = 6.0
"""
CALIBRATION = {"axes": "TYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "TimeIncrement": 2.0,
               "TimeIncrementUnit": "min", "Channel": {"Name": ["dna"]}}  # fmt: skip


def movie(seed: int = 0, frames: int = 5) -> NDArray[np.uint16]:
    """Return three cells that walk 2 px a frame."""
    y, x = np.mgrid[:64, :80]
    out = np.full((frames, 64, 80), 100.0)
    for t in range(frames):
        for n in range(3):
            out[t] += 800 * (np.hypot(y - 12 - 20 * n, x - 10 - 2 * t - 3 * seed) < 5)
    return out.astype(np.uint16)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, seed in (("one", 0), ("two", 1)):
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", movie(seed), ome=True, metadata=CALIBRATION)
    (tmp_path / "p.toml").write_text(PIPELINE)
    return tmp_path


def track(files: Path, *words: str, pipeline: bool = True) -> int:
    with_pipeline = ["--pipeline", str(files / "p.toml")] if pipeline else []
    return run(["track", *words, *with_pipeline, "--out", str(files / "out"), "--workers", "1"])


def test_every_file_gets_tables_xml_labels_and_a_movie(files: Path, capsys: Capture) -> None:
    assert track(files, str(files / "one.ome.tif"), str(files / "two.ome.tif")) == 0
    assert "nuclei: 15 objects in 3 tracks" in capsys.readouterr().out
    folder = files / "out" / "one"
    objects = pl.read_csv(folder / "one_nuclei_objects.csv")
    links = pl.read_csv(folder / "one_nuclei_links.csv")
    tracks = pl.read_csv(folder / "one_nuclei_tracks.csv")
    assert (objects.height, links.height, tracks.height) == (15, 12, 3)
    assert tracks["total_distance_um"].to_list() == pytest.approx([4.0] * 3, abs=0.05)
    labels = tifffile.imread(folder / "one_nuclei_labels.ome.tif")
    assert labels.shape == (5, 64, 80)
    row = objects.row(0, named=True)
    assert labels[row["frame"], round(row["y_um"] / 0.5), round(row["x_um"] / 0.5)] == row["label"]
    read = read_tracks(folder / "one_nuclei.xml")
    assert (read.objects.height, read.links.height) == (15, 12)
    shown = next(p for p in folder.iterdir() if p.suffix in {".mp4", ".webp"})
    if shown.suffix == ".webp":
        with Image.open(shown) as picture:
            assert picture.n_frames == 5  # type: ignore[attr-defined] # of animated formats
    note = json.loads((folder / "track.json").read_text())
    assert note["pipeline"]["population"]["nuclei"]["tracking"]["max_distance_um"] == 6
    left = [p.name for p in (files / "out").iterdir()]
    assert sorted(left) == ["one", "two"], "no scratch stays"


def test_the_xml_is_what_trackmate_calls_it(files: Path) -> None:
    assert track(files, str(files / "one.ome.tif"), "--no-movie") == 0
    names: list[str] = []

    class Names(xml.sax.handler.ContentHandler):
        def startElement(self, name: str, attrs: object) -> None:
            names.append(name)

    xml.sax.parse(str(files / "out" / "one" / "one_nuclei.xml"), Names())  # noqa: S317 - written by us
    assert names[0] == "TrackMate"
    assert (names.count("Spot"), names.count("Edge"), names.count("Track")) == (15, 12, 3)


def test_a_broken_file_is_named_and_the_others_go_on(files: Path, capsys: Capture) -> None:
    broken = files / "broken.tif"
    broken.write_bytes((files / "one.ome.tif").read_bytes()[:900])
    code = track(files, str(broken), str(files / "absent.tif"), str(files / "one.ome.tif"), "--no-movie")
    assert code == 1
    said = capsys.readouterr()
    assert "broken.tif" in said.err
    assert "absent.tif" in said.err
    assert [p.name for p in (files / "out").iterdir()] == ["one"]


def test_a_failure_in_the_middle_leaves_nothing_half_done(files: Path, capsys: Capture) -> None:
    tifffile.imwrite(files / "flat.ome.tif", np.zeros((3, 20, 20), np.uint16), ome=True, metadata=CALIBRATION)
    red = {**CALIBRATION, "Channel": {"Name": ["red"]}}
    tifffile.imwrite(files / "red.ome.tif", movie(), ome=True, metadata=red)
    names = ("red", "flat", "one")
    assert track(files, *(str(files / f"{n}.ome.tif") for n in names), "--no-movie") == 1
    said = capsys.readouterr()
    assert "has no channel 'dna'" in said.err
    assert "nuclei: 0 objects in 0 tracks" in said.out, "an empty movie is a result"
    assert sorted(p.name for p in (files / "out").iterdir()) == ["flat", "one"]


def test_what_is_done_is_kept_and_nothing_is_overwritten(files: Path, capsys: Capture) -> None:
    assert track(files, str(files / "one.ome.tif"), "--no-movie") == 0
    table = files / "out" / "one" / "one_nuclei_objects.csv"
    before = (table.stat().st_mtime_ns, table.read_bytes())
    assert track(files, str(files / "one.ome.tif"), str(files / "two.ome.tif"), "--no-movie") == 0
    assert "kept from before" in capsys.readouterr().out
    (files / "p.toml").write_text(PIPELINE.replace("6.0", "7.0"))
    assert track(files, str(files / "one.ome.tif"), "--no-movie") == 1
    assert "exists already and is left as it is" in capsys.readouterr().err
    assert (table.stat().st_mtime_ns, table.read_bytes()) == before


def test_a_folder_that_a_killed_call_left_is_no_hindrance(files: Path) -> None:
    (files / "out" / ".one.scratch.zarr").mkdir(parents=True)
    (files / "out" / ".one.scratch.zarr" / "junk").write_text("x")
    (files / "out" / ".one.0123abcd.partial").mkdir()
    assert track(files, str(files / "one.ome.tif"), "--no-movie") == 0
    assert [p.name for p in (files / "out").iterdir()] == ["one"]


def test_without_a_pipeline_the_size_of_a_cell_suffices(files: Path, capsys: Capture) -> None:
    assert track(files, str(files / "one.ome.tif"), "--diameter-um", "5", "--no-movie", pipeline=False) == 0
    said = capsys.readouterr().out
    assert "cells: " in said
    tracks = pl.read_csv(files / "out" / "one" / "one_cells_tracks.csv")
    assert (tracks["last_frame"] - tracks["first_frame"] == 4).sum() >= 3, "each cell is followed to the end"


@pytest.mark.slow
def test_two_processes_write_what_one_writes(files: Path) -> None:
    words = [str(files / "one.ome.tif"), str(files / "two.ome.tif"), "--pipeline", str(files / "p.toml")]
    for workers in ("1", "2"):
        out = str(files / f"w{workers}")
        assert run(["track", *words, "--out", out, "--workers", workers, "--no-movie"]) == 0
    for name in ("one/one_nuclei_links.csv", "two/two_nuclei_tracks.csv", "two/two_nuclei_objects.csv"):
        assert (files / "w1" / name).read_bytes() == (files / "w2" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{one}"], "Give --pipeline FILE.toml, or --diameter-um"),
        (["{one}", "--diameter-um", "-3"], "--diameter-um = -3"),
        (["{one}", "--pipeline", "{p}", "--channel", "dna"], "leave one of them out"),
        (["{one}", "--pipeline", "{bare}"], "is not followed; add [population.nuclei.tracking]"),
        (["--pipeline", "{p}"], "Name at least one file"),
        (["{none}", "--pipeline", "{p}"], "none.tif"),
        (["{one}", "{copy}", "--pipeline", "{p}"], "would both be written to 'one'"),
        (["{one}", "--pipeline", "{p}", "--workers", "0"], "give 1 or more"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(files: Path, capsys: Capture, words: list[str], said: str) -> None:
    (files / "bare.toml").write_text(PIPELINE.partition("[population.nuclei.tracking]")[0])
    (files / "copy").mkdir()
    (files / "copy" / "one.ome.tif").write_bytes((files / "one.ome.tif").read_bytes())
    names = {"one": "one.ome.tif", "p": "p.toml", "bare": "bare.toml", "none": "none.tif", "copy": "copy/one.ome.tif"}
    typed = [w.format(**{k: str(files / v) for k, v in names.items()}) for w in words]
    assert run(["track", *typed, "--out", str(files / "out")]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.startswith("kinocyte: ")
    assert not (files / "out").exists()
