"""Cell Tracking Challenge folders: written ones are valid, score 1 against what they came from, and come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings

from kinocyte.cli import run
from kinocyte.core.errors import InputFileError, ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.interop.tracks.base import Contours, TrackData, track_data
from kinocyte.interop.tracks.branches import branches
from kinocyte.interop.tracks.ctc import read_ctc_tracks, relabelled, write_ctc_tracks
from kinocyte.interop.tracks.trackmate import read_trackmate
from kinocyte.interop.tracks.trackmate_write import write_trackmate
from tests.interop.tracks.conftest import movies

REAL = ("ctc_official_evaluation_testset/03_RES", "ctc_official_evaluation_testset/03_GT")


@pytest.mark.parametrize("name", REAL)
def test_a_real_folder_comes_back(data: Path, tmp_path: Path, name: str) -> None:
    read = read_ctc_tracks(data / name)
    write_ctc_tracks(tmp_path / "01_RES", read)
    back = read_ctc_tracks(tmp_path / "01_RES")
    order = ["frame", "x_um", "y_um"]
    assert back.objects.sort(order).select(order).equals(read.objects.sort(order).select(order))
    assert _places(back) == _places(read)


@pytest.mark.slow
def test_the_benchmark_sees_no_difference(data: Path, tmp_path: Path) -> None:
    """py-ctcmetrics scores a folder that was read and written again as equal to the original."""
    ctcmetrics = pytest.importorskip("ctc_metrics", reason="py-ctcmetrics is not installed")
    source = data / "ctc_official_evaluation_testset/03_GT"
    write_ctc_tracks(tmp_path / "03_RES", read_ctc_tracks(source))
    scores = ctcmetrics.evaluate_sequence(
        str(tmp_path / "03_RES"), str(source), metrics=["TRA", "LNK", "Valid"], threads=1
    )
    assert scores["Valid"] == 1
    assert (scores["TRA"], scores["LNK"]) == (1.0, 1.0)


def test_our_own_scores_see_no_difference(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = data / "ctc_official_evaluation_testset/03_GT"
    write_ctc_tracks(tmp_path / "03_RES", read_ctc_tracks(source))
    assert run(["evaluate", "tracking", str(source), str(tmp_path / "03_RES"), "--json"]) == 0
    assert '"TRA": 1.0' in capsys.readouterr().out


def _places(data: TrackData) -> set[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return the links as pairs of places, which no numbering changes."""
    at = {
        i: (f, round(x, 6), round(y, 6))
        for i, f, x, y in data.objects.select("object_id", "frame", "x_um", "y_um").iter_rows()
    }
    return {(at[a], at[b]) for a, b in data.links.select("source_id", "target_id").iter_rows()}


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(movie=movies())
def test_any_tracks_make_a_valid_folder(tmp_path: Path, movie: TrackData) -> None:
    write_ctc_tracks(tmp_path / "01_RES", movie, overwrite=True)
    back = read_ctc_tracks(tmp_path / "01_RES")
    assert back.objects.height == movie.objects.height  # every object has a pixel, wherever it lies
    cut = branches(movie, cut_gaps=True)
    assert back.tracks is not None
    assert back.tracks.height == cut.n_tracks
    for track, first, last in back.tracks.select("track_id", "first_frame", "last_frame").iter_rows():
        there = back.objects.filter(pl.col("label") == track)["frame"].sort().to_list()
        assert there == list(range(first, last + 1))
    merges = movie.links.unique(["source_id", "target_id"]).group_by("target_id").len()
    lost = int((merges["len"] - 1).sum()) if merges.height else 0
    assert back.links.height == movie.links.unique(["source_id", "target_id"]).height - lost


def test_outlines_and_discs_are_drawn_in_place(tmp_path: Path) -> None:
    objects = pl.DataFrame(
        {"object_id": [1, 2], "frame": [0, 0], "x_um": [5.0, 20.0], "y_um": [5.0, 10.0], "radius_um": [3.0, 3.0]}
    )
    square = np.array([[-2.2, -2.2], [2.2, -2.2], [2.2, 2.2], [-2.2, 2.2]])
    data = track_data(objects, contours=Contours.of({1: square}), shape=(1, 30, 30), scale=Scale.isotropic(1.0, 1.0))
    write_ctc_tracks(tmp_path / "01_RES", data)
    mask = read_ctc_tracks(tmp_path / "01_RES").masks
    assert mask is not None
    image = mask(0)
    assert np.array_equal(np.argwhere(image == 1).min(0), [3, 3])
    assert (image == 1).sum() == 25
    assert (image == 2).sum() == 29  # pixels within 3 of the centre
    assert image.dtype.itemsize <= 4


def test_what_masks_cannot_hold_gets_a_sentence(tmp_path: Path) -> None:
    def objects(**columns: list[float]) -> TrackData:
        return track_data(pl.DataFrame({"object_id": [1], "frame": [0], "x_um": [1.0], "y_um": [1.0]} | columns))

    with pytest.raises(ParameterError, match="no position"):
        write_ctc_tracks(tmp_path / "a", objects(x_um=[float("nan")]))
    with pytest.raises(ParameterError, match="outside the image"):
        write_ctc_tracks(tmp_path / "b", objects(x_um=[-40.0]))
    with pytest.raises(ParameterError, match="frames of"):
        write_ctc_tracks(tmp_path / "c", objects(x_um=[1e9]))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputFileError, match="label 7"):
        relabelled(np.zeros((3, 3), np.uint32), np.array([7]), np.array([1]), "Frame 0")
    high = np.array([[2**31 + 5, 0]], np.uint32)
    assert relabelled(high, np.array([2**31 + 5]), np.array([3]), "Frame 0").tolist() == [[3, 0]]


def test_links_that_cannot_be_are_refused() -> None:
    objects = pl.DataFrame({"object_id": [1, 2], "frame": [0, 0], "x_um": [1.0, 2.0], "y_um": [1.0, 2.0]})
    with pytest.raises(TableError, match="forward in time"):
        track_data(objects, pl.DataFrame({"source_id": [1], "target_id": [2]}))
    with pytest.raises(TableError, match="not in the table"):
        track_data(objects, pl.DataFrame({"source_id": [1], "target_id": [3]}))
    with pytest.raises(TableError, match="stands twice"):
        track_data(objects.with_columns(object_id=pl.lit(1)))


@pytest.mark.parametrize("deep", [False, True])
def test_masks_keep_their_outlines_or_size_in_trackmate(tmp_path: Path, deep: bool) -> None:
    shape, centre = ((8, 40, 40), (4, 20, 15)) if deep else ((40, 40), (20, 15))
    grid = np.indices(shape) - np.reshape(centre, (-1, *[1] * len(shape)))
    mask = ((grid**2).sum(axis=0) <= 9).astype(np.uint16)
    (tmp_path / "01_RES").mkdir()
    for t in range(2):
        tifffile.imwrite(tmp_path / f"01_RES/mask{t:03d}.tif", mask * 700)
    (tmp_path / "01_RES/res_track.txt").write_text("700 0 1 0\n")
    write_trackmate(tmp_path / "x.xml", read_ctc_tracks(tmp_path / "01_RES", pixel_size_um=0.5, z_step_um=0.5))
    back = read_trackmate(tmp_path / "x.xml")
    size = int(mask.sum())
    radius = 0.5 * (np.cbrt(size * 3 / (4 * np.pi)) if deep else np.sqrt(size / np.pi))
    assert back.objects["RADIUS"].to_numpy() == pytest.approx(radius)
    write_ctc_tracks(tmp_path / "02_RES", back)
    again = tifffile.imread(tmp_path / "02_RES/mask001.tif") > 0
    assert (again & (mask > 0)).sum() / (again | (mask > 0)).sum() > (0.8 if deep else 0.999)
