"""All formats: recognised by content, written whole or not at all, and what they can hold comes back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from kinocyte.cli import run
from kinocyte.core.errors import InputFileError, KinocyteError, ParameterError, StoreError
from kinocyte.interop.tracks.base import TrackData, track_data
from kinocyte.interop.tracks.branches import branches, with_tracks
from kinocyte.interop.tracks.formats import FORMATS, kept_links, read_tracks, recognise, write_tracks
from kinocyte.tracking.lineage import build_tracks
from tests.interop.tracks.conftest import edges, movies, partition

KNOWN = {
    "trackmate_oracles/with_merging.xml": "trackmate",
    "ecoli_trackmate_geff/Ecoli_growth_on_agar_pad.xml.gz": "trackmate",
    "hacat_fucci_label_movie_206f/trackmate_ht1080_merged.ome.xml.zip": "trackmate",
    "ecoli_trackmate_geff/Ecoli_growth_on_agar_pad.geff": "geff",
    "ctc_fluo_n2dl_hela_01_gt_tracks_and_res/Fluo-N2DL-HeLa-01_fixed.zarr": "geff",
    "ctc_official_evaluation_testset/03_GT": "ctc",
    "ctc_official_evaluation_testset/03_RES": "ctc",
    "celltrackr_immune_tracks/TCells.csv": "table",
    "cmso_track_formats/biotracks_examples/mosaic_tracks.csv": "table",
    "neutrophil_swarming_tracks_imaris/samplecelltracks_converted.csv": "table",
}


def test_what_lies_there_is_recognised(data: Path) -> None:
    assert {name: recognise(data / name) for name in KNOWN} == KNOWN
    for strange in ("cmso_track_formats/mitosis.txt", "cmso_track_formats/PROVENANCE.md", "README.md"):
        with pytest.raises(InputFileError, match="no tracks that are known"):
            recognise(data / strange)


@pytest.mark.parametrize(
    ("name", "tracks", "rows"),
    [("TCells.csv", 199, 4094), ("BCells.csv", 74, 2230), ("TCellsRaw.csv", 258, 5157), ("BCellsRaw.csv", 97, 2585)],
)
def test_published_tracks_are_read_and_written_as_they_are(
    data: Path, tmp_path: Path, name: str, tracks: int, rows: int
) -> None:
    source = data / "celltrackr_immune_tracks" / name
    read = read_tracks(source)
    assert read.objects.height == rows
    assert branches(read).n_tracks == tracks
    write_tracks(tmp_path / "out.csv", read, format="celltrackr")
    a, b = (pl.read_csv(f, infer_schema_length=None) for f in (source, tmp_path / "out.csv"))
    assert b.columns == a.columns
    keys = ["t", "x", "y"]
    assert np.allclose(b.sort(keys).select(keys).to_numpy(), a.sort(keys).select(keys).to_numpy(), rtol=1e-12)
    assert sorted(b["track"].value_counts()["count"]) == sorted(a["track"].value_counts()["count"])


#: Formats to whether links between branches survive, and whether positions are in pixels.
TABLES = {
    "napari": True, "isbi": False, "motilitylab": False, "motilitylab-json": False, "mastodon": None,
    "celltrackr": False, "celltrackscolab": False, "kinocyte": False, "trackmate-csv": None,
}  # fmt: skip


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(movie=movies())
def test_any_tracks_come_back_from_tables(tmp_path: Path, movie: TrackData) -> None:
    if not movie.objects.height:
        return
    alone = branches(movie)
    for name, lineage in TABLES.items():
        place = tmp_path / f"{name}{FORMATS[name].ending}"
        write_tracks(place, movie, format=name, overwrite=True)
        back = read_tracks(place)
        if name in ("napari", "isbi"):  # pixels of 0.25 x 0.5 um
            scaled = back.objects.with_columns(x_um=pl.col("x_um") * 0.25, y_um=pl.col("y_um") * 0.5)
            back = back.replace(objects=scaled)
        frames = movie.objects["frame"]
        if name == "celltrackr":  # it has times, no frames: they begin anew
            movie_frames = frames - int(back.objects["frame"].min() or 0)
            assert movie_frames.len() == back.objects.height
            continue
        assert back.objects.height == movie.objects.height, name
        key = ["frame", "x_um", "y_um"]
        ours, theirs = (d.objects.sort(key).select(key).to_numpy() for d in (movie, back))
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-9), name
        if lineage is None and name == "trackmate-csv":
            assert edges(back) == edges(movie)
            assert back.objects.sort("object_id")["area_um2"].equals(movie.objects.sort("object_id")["area_um2"])
        elif name == "mastodon":
            one = movie.links.unique("target_id").height
            assert back.links.height == one
            assert set(edges(back)) <= set(edges(movie))
        elif name == "napari":
            assert branches(back).n_tracks <= alone.n_tracks
        elif _unmistakable(movie):
            assert partition(back) == partition(movie), name


def _unmistakable(movie: TrackData) -> bool:
    """Tell whether no two objects of a frame lie at one place."""
    rounded = movie.objects.select("frame", pl.col("x_um").round(3), pl.col("y_um").round(3))
    return not rounded.is_duplicated().any()


@settings(deadline=None, max_examples=40)
@given(movie=movies())
def test_branches_are_those_of_tracking(movie: TrackData) -> None:
    tracks, members = build_tracks(movie.objects, movie.links)
    ours = with_tracks(movie)
    assert ours.tracks is not None
    assert ours.members is not None
    assert ours.members.equals(members)
    assert ours.tracks.equals(tracks.select(ours.tracks.columns))


def test_empty_data_is_written_and_read(tmp_path: Path) -> None:
    nothing = track_data(pl.DataFrame({"object_id": [], "frame": [], "x_um": [], "y_um": []}))
    for name in FORMATS:
        place = tmp_path / f"{name}{FORMATS[name].ending}"
        if name == "cellphe":
            with pytest.raises(KinocyteError, match="outlines"):
                write_tracks(place, nothing, format=name)
            continue
        write_tracks(place, nothing, format=name)
        if name not in ("rois", "celltrackscolab"):
            assert read_tracks(place).objects.height == 0, name


def test_every_object_in_one_place_survives(tmp_path: Path) -> None:
    same = track_data(
        pl.DataFrame(
            {
                "object_id": list(range(40)),
                "frame": [k // 20 for k in range(40)],
                "x_um": [3.0] * 40,
                "y_um": [3.0] * 40,
            }
        ),
        pl.DataFrame({"source_id": list(range(20)), "target_id": list(range(20, 40))}),
    )
    for name in ("trackmate", "ctc", "geff", "mastodon", "trackmate-csv", "napari"):
        place = tmp_path / f"{name}{FORMATS[name].ending}"
        write_tracks(place, same, format=name)
        back = read_tracks(place)
        assert (back.objects.height, back.links.height) == (40, 20), name


def test_cellphe_gets_a_table_and_the_outlines_it_names(data: Path, tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile", reason="roifile is not installed")
    read = read_tracks(data / "ecoli_trackmate_geff/FakeTracks.xml")
    write_tracks(tmp_path / "phe", read, format="cellphe")
    table = pl.read_csv(tmp_path / "phe/tracks.csv")
    assert table.columns[:3] == ["FRAME", "TRACK_ID", "ROI_FILENAME"]
    assert table["FRAME"].min() == 1
    names = {r.name for r in roifile.roiread(tmp_path / "phe/rois.zip")}
    assert names == set(table["ROI_FILENAME"])


def test_a_folder_for_cellphe_comes_back_with_its_outlines(data: Path, tmp_path: Path) -> None:
    read = read_tracks(data / "ecoli_trackmate_geff/FakeTracks.xml")
    write_tracks(tmp_path / "phe", read, format="cellphe")
    back = read_tracks(tmp_path / "phe")
    truth = read.objects  # those without links are tracks of their own
    places = [
        d.select("frame", "x_um", "y_um", "time_min").sort("frame", "x_um", "y_um") for d in (truth, back.objects)
    ]
    assert places[0].equals(places[1])
    assert back.links.height == kept_links(read, "cellphe")
    assert back.scale is not None
    assert read.scale is not None
    assert back.scale.x_um == pytest.approx(read.scale.x_um, rel=1e-3)  # found from the places of the outlines
    true, found = read.contours.items(), read_tracks(tmp_path / "phe", pixel_size_um=read.scale.x_um).contours.items()
    row = {tuple(xy): i for i, *xy in truth.select("object_id", "x_um", "y_um").iter_rows()}
    for i, *xy in back.objects.select("object_id", "x_um", "y_um").iter_rows():
        np.testing.assert_allclose(found[i], true[row[tuple(xy)]], atol=1e-3)


def test_a_folder_for_cellphe_that_lacks_an_outline_is_refused(data: Path, tmp_path: Path) -> None:
    read = read_tracks(data / "ecoli_trackmate_geff/FakeTracks.xml")
    write_tracks(tmp_path / "phe", read, format="cellphe")
    table = tmp_path / "phe/tracks.csv"
    table.write_text(table.read_text().replace(",1-", ",x-", 1))
    with pytest.raises(InputFileError, match="names the region 'x-"):
        read_tracks(tmp_path / "phe")


def test_trackmate_tables_have_four_header_rows_and_come_back(data: Path, tmp_path: Path) -> None:
    read = read_tracks(data / "ecoli_trackmate_geff/Ecoli_growth_on_agar_pad.xml.gz")
    write_tracks(tmp_path / "tables", read, format="trackmate-csv")
    lines = (tmp_path / "tables/tables_spots.csv").read_text().splitlines()
    assert lines[0].startswith("LABEL,ID,TRACK_ID,")
    assert lines[1].startswith("Label,Spot ID,Track ID,")
    assert "(micrometer)" in lines[3]
    assert len(lines) == 4 + 526
    back = read_tracks(tmp_path / "tables")
    a, b = (d.objects.sort("object_id") for d in (read, back))
    for column in ("object_id", "frame", "x_um", "y_um", "time_min", "AREA", "SNR_CH1"):
        assert a[column].equals(b[column]), column
    assert edges(back) == edges(read)
    assert back.links.sort("source_id", "target_id")["cost"].equals(read.links.sort("source_id", "target_id")["cost"])


def test_tables_with_one_header_row_are_read(tmp_path: Path) -> None:
    old = "Label,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_Z,POSITION_T,FRAME,RADIUS\n"
    old += "ID1,1,0,5.0,1.5,2.5,0.0,0.0,0,4.0\nID2,2,0,5.0,1.5,2.5,0.0,1.0,1,4.0\nID3,3,None,5.0,9,9,0.0,1.0,1,4.0\n"
    (tmp_path / "old.csv").write_text(old)
    read = read_tracks(tmp_path / "old.csv")
    assert edges(read) == [(1, 2)]
    assert read.objects["x_um"].to_list() == [1.5, 1.5, 9.0]
    assert any("no table of edges" in n for n in read.notes)


def test_icy_and_simple_trackmate_exports_are_read(tmp_path: Path) -> None:
    (tmp_path / "icy.xml").write_text(
        '<?xml version="1.0"?><root><trackfile version="1"/><trackgroup description="g">'
        '<track id="7"><detection t="0" x="1" y="2" z="0" type="1"/><detection t="1" x="2" y="2" z="0"/></track>'
        '<track id="9"><detection t="3" x="5" y="6" z="0"/></track></trackgroup>'
        '<linklist><link from="7" to="9"/></linklist></root>'
    )
    icy = read_tracks(tmp_path / "icy.xml", pixel_size_um=0.5, frame_interval_min=2)
    assert edges(icy) == [(1, 2), (2, 3)]
    assert icy.objects["x_um"].to_list() == [0.5, 1.0, 2.5]
    assert icy.objects["time_min"].to_list() == [0.0, 2.0, 6.0]
    (tmp_path / "simple.xml").write_text(
        '<?xml version="1.0"?><Tracks nTracks="1" spaceUnits="nm" frameInterval="30.0" timeUnits="sec">'
        '<particle nSpots="2"><detection t="0" x="1000.0" y="0" z="0"/>'
        '<detection t="1" x="2000.0" y="0" z="0"/></particle></Tracks>'
    )
    simple = read_tracks(tmp_path / "simple.xml")
    assert simple.objects["x_um"].to_list() == [1.0, 2.0]
    assert simple.objects["time_min"].to_list() == [0.0, 0.5]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "track,t,x,y\n1,0,a,2\n"),
        ("b.csv", "track,t,x,y\n1,0,2\n"),
        ("c.csv", "track,t,x,y\n1,5,1,1\n1,5,2,2\n"),
        ("d.csv", "id,parent_id,frame,x,y\n1,9,0,1,1\n"),
        ("e.csv", "id,parent_id,frame,x,y\n1,-1,0.5,1,1\n"),
        ("f.json", '{"tracks": [1]}'),
        ("g.json", "{"),
        ("h.xml", '<root><particle><detection t="0" x="1"/></particle></root>'),
        ("i.xml", '<root><particle><detection t="0.5" x="1" y="1"/></particle></root>'),
        ("j.xml", '<!DOCTYPE root [<!ENTITY a "b">]><root>&a;</root>'),
        ("k.csv", "LABEL,ID,TRACK_ID,POSITION_X,POSITION_Y,FRAME\nx,1,0,1,1,zero\n"),
        ("l.txt", ""),
        ("m.bin", "\x00\x01\x02"),
        ("n.csv", "x,x\n1,2\n"),
    ],
)
def test_damaged_files_get_one_sentence(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputFileError) as error:
        read_tracks(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 450


def test_nothing_is_overwritten_and_no_part_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = track_data(pl.DataFrame({"object_id": [1], "frame": [0], "x_um": [1.0], "y_um": [1.0]}))
    for name in FORMATS:
        place = tmp_path / f"{name}{FORMATS[name].ending}"
        place.write_text("mine")
        with pytest.raises((StoreError, KinocyteError)):
            write_tracks(place, data, format=name)
        assert place.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == len(FORMATS)
    with pytest.raises(ParameterError, match="says no format"):
        write_tracks(tmp_path / "out.csv", data)
    with pytest.raises(ParameterError, match="did you mean 'trackmate'"):
        write_tracks(tmp_path / "out.xml", data, format="trackmat")


def test_the_command_converts_and_says_what_it_took_for_granted(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = str(data / "trackmate_oracles/with_splitting.xml"), tmp_path / "out.geff"
    assert run(["convert", "tracks", source, str(target)]) == 0
    shown = capsys.readouterr()
    assert "134 objects and 130 links" in shown.out
    assert "--pixel-size-um" in shown.err
    assert run(["convert", "tracks", str(target), str(tmp_path / "res"), "--to", "ctc"]) == 0
    capsys.readouterr()
    assert run(["convert", "tracks", source, str(target)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["convert", "tracks", source, str(target), "--overwrite", "--pixel-size-um", "0.3"]) == 0
    assert read_tracks(target).scale is not None
    assert run(["convert", "tracks", source, str(tmp_path / "x"), "--to", "geef"]) == 2
    assert "did you mean 'geff'" in capsys.readouterr().err
    assert run(["convert", "tracks", str(tmp_path / "none.xml"), str(tmp_path / "x.geff")]) == 2
    assert run(["convert", "tracks", source, str(tmp_path / "y.geff"), "--pixel-size-um", "-1"]) == 2


def test_json_of_tracks_is_plain(tmp_path: Path) -> None:
    data = track_data(
        pl.DataFrame({"object_id": [1, 2], "frame": [0, 1], "x_um": [1.0, 2.0], "y_um": [0.5, 0.5]}),
        pl.DataFrame({"source_id": [1], "target_id": [2]}),
    )
    write_tracks(tmp_path / "t.json", data)
    document = json.loads((tmp_path / "t.json").read_text())
    assert document["tracks"][0]["points"] == [[0.0, 1.0, 0.5, 0.0], [60.0, 2.0, 0.5, 0.0]]


def test_what_a_format_cannot_hold_is_counted() -> None:
    objects = pl.DataFrame({"object_id": [1, 2, 3, 4], "frame": [0, 1, 2, 2], "x_um": [0.0] * 4, "y_um": [0.0] * 4})
    division = track_data(objects, pl.DataFrame({"source_id": [1, 2, 2], "target_id": [2, 3, 4]}))
    assert {n: kept_links(division, n) for n in FORMATS if kept_links(division, n) < 3} == dict.fromkeys(
        ("isbi", "motilitylab", "motilitylab-json", "rois", "celltrackr", "cellphe", "celltrackscolab", "kinocyte"), 1
    )
