"""Tracks of other programs as a population of an experiment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

import kinocyte
from kinocyte import Experiment
from kinocyte.cli import run
from kinocyte.interop.export.track_files import tracks_of
from kinocyte.interop.tracks.formats import read_tracks
from kinocyte.tracking.lineage import build_tracks


@pytest.fixture
def movie(tmp_path: Path, imported: Callable[..., Experiment]) -> Experiment:
    """Return an experiment with one movie of 50 frames of 128 x 128 pixels, as FakeTracks was made on."""
    place = tmp_path / "fake.tif"
    tifffile.imwrite(place, np.zeros((50, 128, 128), np.uint8), imagej=True, metadata={"axes": "TYX"})
    return imported(place, pixel_size_um=0.5, frame_interval_min=15.0, channels=["dna"])


def test_a_trackmate_session_becomes_a_population(
    data: Path, movie: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    source = data / "trackmate_oracles/with_splitting.xml"
    assert run(["convert", "population", str(source), str(movie.url), "--name", "spots"]) == 0
    assert "134 objects and 130 links" in capsys.readouterr().out
    position = next(iter(kinocyte.open(movie.url).positions.values()))
    objects, links = position.objects("spots"), position.links("spots")
    read = read_tracks(source, pixel_size_um=0.5, frame_interval_min=15.0)
    new = dict(objects.select("original_id", "object_id").iter_rows())
    wanted = sorted((new[a], new[b]) for a, b in read.links.select("source_id", "target_id").iter_rows())
    assert sorted(links.select("source_id", "target_id").iter_rows()) == wanted
    assert objects["object_id"].to_list() == list(range(1, 135))
    assert (objects["x_um"] == objects["POSITION_X"] * 0.5).all()
    assert (objects["time_min"] == objects["frame"] * 15.0).all()
    labels = position.labels("spots")
    for t in range(50):
        there = set(np.unique(labels.frame(t)).tolist()) - {0}
        assert there == set(objects.filter(pl.col("frame") == t)["label"].to_list())
    tracks, members = build_tracks(objects, links)
    assert position.members("spots").equals(members)
    assert position.tracks("spots").height == tracks.height
    assert tracks_of(position, "spots").links.height == 130


def test_what_does_not_fit_is_refused_and_nothing_is_left(
    data: Path, movie: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(movie.url)
    long = str(data / "celltrackr_immune_tracks/TCells.csv")
    assert run(["convert", "population", long, url, "--name", "cells"]) == 2
    assert "outside the image" in capsys.readouterr().err
    hela = str(data / "ctc_fluo_n2dl_hela_01_gt_tracks_and_res/Fluo-N2DL-HeLa-01_fixed.zarr")
    assert run(["convert", "population", hela, url, "--name", "cells"]) == 2
    assert "50 frames" in capsys.readouterr().err
    assert run(["convert", "population", long, url, "--name", "../x"]) == 2
    assert run(["convert", "population", long, url, "--name", "x", "--position", "Z9/1"]) == 2
    assert "no position 'Z9/1'" in capsys.readouterr().err
    assert kinocyte.open(url).populations == []
    source = str(data / "trackmate_oracles/with_merging.xml")
    assert run(["convert", "population", source, url, "--name", "spots"]) == 0
    assert run(["convert", "population", source, url, "--name", "spots"]) == 2
    assert "already" in capsys.readouterr().err
