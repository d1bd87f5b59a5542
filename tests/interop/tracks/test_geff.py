"""GEFF against the geff library and against the TrackMate file it was made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings

from kinocyte.core.errors import InputFileError
from kinocyte.interop.tracks.base import TrackData
from kinocyte.interop.tracks.formats import read_tracks, write_tracks
from kinocyte.interop.tracks.geff import frames_of, read_geff
from kinocyte.interop.tracks.geff_write import write_geff
from kinocyte.interop.tracks.trackmate import read_trackmate
from tests.interop.tracks.conftest import edges, movies

HELA = "ctc_fluo_n2dl_hela_01_gt_tracks_and_res"


def test_the_graph_is_that_of_the_trackmate_file(data: Path) -> None:
    folder = data / "ecoli_trackmate_geff"
    xml = read_trackmate(folder / "Ecoli_growth_on_agar_pad.xml.gz")
    graph = read_geff(folder / "Ecoli_growth_on_agar_pad.geff")
    a, b = xml.objects.sort("object_id"), graph.objects.sort("object_id")
    for column in ("object_id", "frame", "time_min", "x_um", "y_um", "AREA", "MEAN_INTENSITY_CH1"):
        assert a[column].equals(b[column]), column
    assert edges(xml) == edges(graph)
    ours, theirs = xml.contours.items(), graph.contours.items()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[k], theirs[k]) for k in ours)


def test_the_early_layout_is_read(data: Path) -> None:
    graph = read_geff(data / HELA / "Fluo-N2DL-HeLa-01_fixed.zarr")
    assert graph.objects.height == 8639
    assert graph.links.height == 8562
    outs = graph.links.group_by("source_id").len()
    assert (outs["len"] == 2).sum() == 94  # divisions, as the folder's note states


def test_the_malformed_store_gets_a_sentence(data: Path) -> None:
    with pytest.raises(InputFileError, match="damaged GEFF"):
        read_geff(data / HELA / "Fluo-N2DL-HeLa-01.zarr")


@pytest.mark.parametrize("name", ["Ecoli_growth_on_agar_pad.geff", "FakeTracks_export.geff"])
def test_real_graphs_come_back(data: Path, tmp_path: Path, name: str) -> None:
    read = read_geff(data / "ecoli_trackmate_geff" / name)
    write_geff(tmp_path / "back.geff", read)
    back = read_geff(tmp_path / "back.geff")
    assert back.objects.select(read.objects.columns).equals(read.objects)
    assert back.links.select(read.links.columns).equals(read.links)


def test_the_library_reads_what_we_write(data: Path, tmp_path: Path) -> None:
    geff = pytest.importorskip("geff", reason="the geff library is not installed")
    read = read_geff(data / "ecoli_trackmate_geff/FakeTracks_export.geff")
    write_geff(tmp_path / "back.geff", read)
    geff.validate_structure(tmp_path / "back.geff")
    graph, metadata = geff.read(tmp_path / "back.geff")
    assert set(graph.nodes) == set(read.objects["object_id"])
    assert sorted(graph.edges) == edges(read)
    for number, x, area in read.objects.select("object_id", "x_um", "AREA").iter_rows():
        assert graph.nodes[number]["x"] == x
        assert graph.nodes[number]["AREA"] == area
    assert [a.name for a in metadata.axes] == ["t", "y", "x"]


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(movie=movies(big_ids=True))
def test_any_tracks_come_back(tmp_path: Path, movie: TrackData) -> None:
    place = tmp_path / "any.geff"
    write_tracks(place, movie, overwrite=True)
    back = read_tracks(place)
    for column in movie.objects.columns:
        if movie.objects[column].null_count() < movie.objects.height:
            assert back.objects[column].eq_missing(movie.objects[column]).all(), column
    assert edges(back) == edges(movie)
    assert back.scale == movie.scale
    ours, theirs = movie.contours.items(), back.contours.items()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[k], theirs[k]) for k in ours)
    geff = pytest.importorskip("geff", reason="the geff library is not installed")
    geff.validate_structure(place)


def test_codecs_that_run_code_are_refused(data: Path, tmp_path: Path) -> None:
    place = tmp_path / "evil.geff"
    shutil.copytree(data / "ecoli_trackmate_geff/FakeTracks_export.geff", place)
    for folder in (place, *place.rglob("*")):
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    array = place / "nodes/props/cell_name/values/.zarray"
    declared = json.loads(array.read_text())
    declared |= {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}], "fill_value": None}
    array.write_text(json.dumps(declared))
    with pytest.raises(InputFileError, match=r"pickle|damaged"):
        read_geff(place)


def test_a_store_that_is_no_graph_gets_a_sentence(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "plain.zarr", mode="w", zarr_format=2).attrs["geff"] = {"geff_version": "1.1"}
    with pytest.raises(InputFileError, match="without nodes or edges"):
        read_geff(tmp_path / "plain.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputFileError, match="no tracks that are known"):
        read_tracks(tmp_path / "empty")


def test_frames_follow_from_times() -> None:
    assert frames_of(np.array([0.0, 5.0, 15.0])).tolist() == [0, 1, 3]
    assert frames_of(np.array([48.0, 24.0, 72.0]) / 60).tolist() == [2, 1, 3]
    assert frames_of(np.array([0.3, 1.0, 2.71, 2.71])).tolist() == [0, 1, 2, 2]
    assert frames_of(np.array([7.0])).tolist() == [0]
