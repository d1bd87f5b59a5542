"""TrackMate XML: real files come back with every attribute; hostile ones are refused or survived."""

from __future__ import annotations

import gzip
import tracemalloc
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import HealthCheck, given, settings

from kinocyte.core.errors import InputFileError, StoreError
from kinocyte.core.scale import Scale
from kinocyte.interop.tracks._xml import java_double, number_texts
from kinocyte.interop.tracks.base import TrackData, track_data
from kinocyte.interop.tracks.trackmate import read_trackmate, visible
from kinocyte.interop.tracks.trackmate_write import write_trackmate
from tests.interop.tracks.conftest import edges, movies

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # noqa: TID251 - the type only

REAL = (
    "trackmate_oracles/with_merging.xml",
    "trackmate_oracles/with_splitting.xml",
    "trackmate_oracles/without_gap_closing.xml",
    "cmso_track_formats/biotracks_examples/FakeTracks.xml",
    "ecoli_trackmate_geff/FakeTracks.xml",
    "ecoli_trackmate_geff/Ecoli_growth_on_agar_pad.xml.gz",
    "hacat_fucci_label_movie_206f/trackmate_ht1080_merged.ome.xml.zip",
)


def content(path: Path) -> bytes:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.read(archive.namelist()[0])
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def same(a: Element, b: Element) -> None:
    """Compare two documents: names, attributes and texts, to the letter; white space between elements apart."""
    assert a.tag == b.tag
    assert a.attrib == b.attrib
    assert (a.text or "").strip() == (b.text or "").strip()
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        same(x, y)


@pytest.mark.parametrize("name", REAL)
def test_real_files_come_back_to_the_letter(data: Path, tmp_path: Path, name: str) -> None:
    original = content(data / name)
    source = tmp_path / "source.xml"
    source.write_bytes(original)
    read = read_trackmate(source)
    write_trackmate(tmp_path / "back.xml", read)
    same(fromstring(original), fromstring((tmp_path / "back.xml").read_bytes()))
    again = read_trackmate(tmp_path / "back.xml")
    assert again.objects.equals(read.objects)
    assert again.links.equals(read.links)


def test_the_edges_and_costs_are_those_that_were_published(data: Path) -> None:
    for case in ("with_merging", "with_splitting", "without_gap_closing"):
        folder = data / "trackmate_oracles"
        read = read_trackmate(folder / f"{case}.xml")
        spots = pl.read_csv(folder / f"{case}_spots.csv").sort("id")
        wanted = pl.read_csv(folder / f"{case}_edges.csv").sort("spot_source_id", "spot_target_id")
        objects = read.objects.sort("object_id")
        assert objects["object_id"].to_list() == spots["id"].to_list()
        assert objects["x_um"].to_list() == spots["position_x"].to_list()
        assert objects["frame"].to_list() == spots["frame"].to_list()
        assert edges(read) == sorted(wanted.select("spot_source_id", "spot_target_id").iter_rows())
        links = read.links.sort("source_id", "target_id")
        assert links["cost"].to_list() == wanted["link_cost"].to_list()
        assert links["TRACK_ID"].to_list() == wanted["track_id"].to_list()


def test_units_and_calibration_are_read(data: Path) -> None:
    read = read_trackmate(data / "ecoli_trackmate_geff/Ecoli_growth_on_agar_pad.xml.gz")
    assert read.scale is not None
    assert (read.scale.x_um, read.scale.frame_interval_min) == (0.06587, 5.0)
    assert read.shape == (23, 960, 660)
    assert len(read.contours) == 526
    assert (read.objects["time_min"] == read.objects["frame"] * 5.0).all()
    outline = read.contours.items()[8993]
    x, y = outline[:, 0], outline[:, 1]
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    stated = read.objects.filter(pl.col("object_id") == 8993)["AREA"][0]
    assert area == pytest.approx(stated, rel=1e-9)


def test_a_wrong_frame_interval_can_be_put_right(data: Path) -> None:
    read = read_trackmate(data / "trackmate_oracles/with_merging.xml", pixel_size_um=0.5, frame_interval_min=15)
    assert read.scale is not None
    assert (read.scale.x_um, read.scale.frame_interval_min) == (0.5, 15)
    assert (read.objects["x_um"] == read.objects["POSITION_X"] * 0.5).all()
    assert (read.objects["time_min"] == read.objects["frame"] * 15.0).all()
    assert read.notes == ()


def test_hidden_tracks_are_left_out_when_asked(data: Path) -> None:
    whole = read_trackmate(data / "ecoli_trackmate_geff/FakeTracks.xml")
    shown = read_trackmate(data / "ecoli_trackmate_geff/FakeTracks.xml", visible_only=True)
    assert set(shown.links["TRACK_ID"].unique()) == {0, 4}
    assert set(whole.links["TRACK_ID"].unique()) > {0, 4}
    assert shown.objects.height < whole.objects.height
    assert visible(shown).objects.equals(shown.objects)


def test_what_was_changed_is_written_and_the_rest_stays(data: Path, tmp_path: Path) -> None:
    read = read_trackmate(data / "ecoli_trackmate_geff/Ecoli_growth_on_agar_pad.xml.gz")
    moved = read.objects.with_columns(
        x_um=pl.when(pl.col("object_id") == 8993).then(1.25).otherwise("x_um"), mean_new=pl.lit(2.5)
    )
    dropped = read.links.filter(pl.col("target_id") != read.links["target_id"][0])
    write_trackmate(tmp_path / "new.xml", read.replace(objects=moved, links=dropped))
    again = read_trackmate(tmp_path / "new.xml")
    assert again.objects.filter(pl.col("object_id") == 8993)["POSITION_X"].to_list() == [1.25]
    rest = pl.col("object_id") != 8993
    assert again.objects.filter(rest)["POSITION_X"].equals(read.objects.filter(rest)["POSITION_X"])
    assert again.objects["mean_new"].unique().to_list() == [2.5]
    assert edges(again) == sorted(dropped.select("source_id", "target_id").iter_rows())
    root = fromstring((tmp_path / "new.xml").read_bytes())
    before = {t.attrib["TRACK_ID"]: t.attrib for t in fromstring(content(data / REAL[5])).iter("Track")}
    tracks = {t.attrib["TRACK_ID"]: t.attrib for t in root.iter("Track")}
    assert sum(before[t] == a for t, a in tracks.items() if t in before) == len(before) - 1  # all but the one cut
    for track in root.iter("Track"):
        ends = {e.attrib[k] for e in track.iter("Edge") for k in ("SPOT_SOURCE_ID", "SPOT_TARGET_ID")}
        assert int(track.attrib["NUMBER_SPOTS"]) == len(ends)


def test_track_features_are_those_of_trackmate(data: Path, tmp_path: Path) -> None:
    """Tracks that are computed anew get the numbers TrackMate computed for the same tracks."""
    for name in REAL[:6]:
        read = read_trackmate(data / name)
        fresh = read.replace(payload=None, links=read.links.drop("TRACK_ID"))
        path = tmp_path / f"{name.replace('/', '_')}.xml"
        write_trackmate(path, fresh)
        ours = {_members(t): t.attrib for t in fromstring(path.read_bytes()).iter("Track")}
        theirs = {_members(t): t.attrib for t in fromstring(content(data / name)).iter("Track")}
        assert ours.keys() == theirs.keys()
        counted = ["NUMBER_SPOTS", "NUMBER_GAPS", "NUMBER_SPLITS", "NUMBER_MERGES", "NUMBER_COMPLEX", "LONGEST_GAP"]
        for key, track in theirs.items():
            for feature in counted:
                assert int(float(ours[key][feature])) == int(float(track[feature])), feature
            for feature in ("TRACK_X_LOCATION", "TRACK_Y_LOCATION"):
                assert float(ours[key][feature]) == pytest.approx(float(track[feature]), abs=1e-9)


def _members(track: Element) -> frozenset[str]:
    return frozenset(e.attrib[k] for e in track.iter("Edge") for k in ("SPOT_SOURCE_ID", "SPOT_TARGET_ID"))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(movie=movies(big_ids=True))
def test_any_tracks_come_back(tmp_path: Path, movie: TrackData) -> None:
    write_trackmate(tmp_path / "any.xml", movie, overwrite=True)
    back = read_trackmate(tmp_path / "any.xml")
    for column in movie.objects.columns:
        if movie.objects[column].null_count() == movie.objects.height:
            continue
        a, b = (d.objects.sort("object_id")[column] for d in (movie, back))
        assert a.eq_missing(b.cast(a.dtype)).all(), column
    assert edges(back) == edges(movie)
    order = ["source_id", "target_id"]
    for column in ("cost", "similarity"):
        if movie.links[column].null_count() < movie.links.height:
            a, b = (d.links.sort(order)[column] for d in (movie, back))
            assert a.eq_missing(b.cast(a.dtype)).all()
    ours, theirs = movie.contours.items(), back.contours.items()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[k], theirs[k]) for k in ours)
    root = fromstring((tmp_path / "any.xml").read_bytes())
    for spot in root.iter("Spot"):
        assert 0 <= int(spot.attrib["ID"]) < 2**31
        assert {"POSITION_X", "POSITION_Y", "POSITION_Z", "POSITION_T", "FRAME", "RADIUS", "QUALITY"} <= set(
            spot.attrib
        )
    declared = {f.attrib["feature"] for f in root.iter("Feature")}
    used = {k for s in root.iter("Spot") for k in s.attrib} - {"ID", "name", "ROI_N_POINTS"}
    assert used <= declared


def test_features_that_trackmate_knows_have_its_names(tmp_path: Path) -> None:
    objects = pl.DataFrame({
        "object_id": [1, 2], "frame": [0, 1], "x_um": [1.0, 2.0], "y_um": [1.0, 1.0], "time_min": [0.0, 1.0],
        "area_um2": [3.0, 4.0], "perimeter_um": [6.0, 7.0], "mean_gfp": [5.0, 6.0],
    })  # fmt: skip
    links = pl.DataFrame({"source_id": [1], "target_id": [2], "cost": [1.0], "speed_um_per_min": [1.0]})
    movie = track_data(objects, links, scale=Scale.isotropic(0.5, frame_interval_min=1.0))
    write_trackmate(tmp_path / "a.xml", movie)
    root = fromstring((tmp_path / "a.xml").read_bytes())
    spot, edge = next(root.iter("Spot")).attrib, next(root.iter("Edge")).attrib
    assert (float(spot["AREA"]), float(spot["PERIMETER"]), float(spot["MEAN_GFP"])) == (3.0, 6.0, 5.0)
    assert float(edge["SPEED"]) == 1.0
    feature = next(f.attrib for f in root.iter("Feature") if f.attrib["feature"] == "AREA")
    assert (feature["name"], feature["dimension"], feature["isint"]) == ("Area", "AREA", "false")
    back = read_trackmate(tmp_path / "a.xml")
    assert back.objects["area_um2"].to_list() == [3.0, 4.0]
    assert back.links["speed_um_per_min"].to_list() == [1.0]


def test_numbers_are_written_as_java_writes_them() -> None:
    cases = [
        (0.0, "0.0"), (-0.0, "-0.0"), (1.0, "1.0"), (0.001, "0.001"), (1e-5, "1.0E-5"), (1e7, "1.0E7"),
        (0.0003102379850090923, "3.102379850090923E-4"), (12345678.9, "1.23456789E7"), (9999999.0, "9999999.0"),
        (float("inf"), "Infinity"), (5e-324, "5.0E-324"), (1.5e300, "1.5E300"), (-2.5e-8, "-2.5E-8"),
    ]  # fmt: skip
    for value, text in cases:
        assert java_double(value) == text
        assert float(java_double(value)) == value
    assert java_double(float("nan")) == "NaN"
    values = pl.Series([*(v for v, _ in cases), None, float("nan")])
    assert number_texts(values).to_list() == [*(t for _, t in cases), None, "NaN"]


SPOTS = '<AllSpots nspots="2"><SpotsInFrame frame="0"><Spot ID="{a}" name="s" POSITION_X="1.0" POSITION_Y="2.0" '
SPOTS += 'POSITION_Z="0.0" FRAME="0" /></SpotsInFrame><SpotsInFrame frame="1"><Spot ID="{b}" name="s" POSITION_X="1.0" '
SPOTS += 'POSITION_Y="2.0" POSITION_Z="0.0" FRAME="1" /></SpotsInFrame></AllSpots>'


def session(tmp_path: Path, model: str, *, head: str = "", tail: str = "") -> Path:
    path = tmp_path / "session.xml"
    units = 'spatialunits="micron" timeunits="min"'
    text = f'{head}<TrackMate version="7.0.0"><Model {units}>{model}</Model>{tail}</TrackMate>'
    path.write_text(text, encoding="utf-8")
    return path


def test_ids_that_trackmate_cannot_count_are_kept(tmp_path: Path) -> None:
    edge = f'<Edge SPOT_SOURCE_ID="-7" SPOT_TARGET_ID="{2**40}" />'
    track = f'<AllTracks><Track name="t" TRACK_ID="0">{edge}</Track></AllTracks>'
    read = read_trackmate(session(tmp_path, SPOTS.format(a=-7, b=2**40) + track))
    assert edges(read) == [(-7, 2**40)]
    write_trackmate(tmp_path / "out.xml", read)
    ids = {s.attrib["ID"] for s in fromstring((tmp_path / "out.xml").read_bytes()).iter("Spot")}
    assert ids == {"0", "1"}
    again = read_trackmate(tmp_path / "out.xml")
    assert edges(again) == [(-7, 2**40)]
    assert again.objects["object_id"].to_list() == [-7, 2**40]


def test_a_file_without_tracks_is_read(tmp_path: Path) -> None:
    read = read_trackmate(session(tmp_path, SPOTS.format(a=1, b=2)))
    assert read.objects.height == 2
    assert read.links.height == 0
    write_trackmate(tmp_path / "out.xml", read)
    assert read_trackmate(tmp_path / "out.xml").objects.equals(read.objects)


def test_unknown_elements_comments_and_text_stay(tmp_path: Path) -> None:
    tail = '<Strange a="&lt;&quot;&#xA;"><!-- kept --><Deep>x &amp; y&#xD;\nz</Deep></Strange>'
    read = read_trackmate(session(tmp_path, SPOTS.format(a=1, b=2), tail=tail))
    write_trackmate(tmp_path / "out.xml", read)
    text = (tmp_path / "out.xml").read_bytes()
    assert b"<!-- kept -->" in text
    strange = fromstring(text).find("Strange")
    assert strange is not None
    assert strange.attrib["a"] == '<"\n'
    assert strange.findtext("Deep") == "x & y\r\nz"


def test_edges_that_lead_nowhere_or_backward_are_named(tmp_path: Path) -> None:
    tracks = (
        '<AllTracks><Track name="t" TRACK_ID="0"><Edge SPOT_SOURCE_ID="2" SPOT_TARGET_ID="1" />'
        '<Edge SPOT_SOURCE_ID="1" SPOT_TARGET_ID="99" /></Track></AllTracks>'
    )
    read = read_trackmate(session(tmp_path, SPOTS.format(a=1, b=2) + tracks))
    assert edges(read) == [(1, 2)]
    assert any("backward" in n for n in read.notes)
    assert any("not in the file" in n for n in read.notes)


ONE = '<Spot ID="1" POSITION_X="1" POSITION_Y="1"'
ALL = '<TrackMate><Model><AllSpots><SpotsInFrame frame="{}">{}</SpotsInFrame></AllSpots></Model></TrackMate>'


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><TrackMate>&b;</TrackMate>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><TrackMate>&x;</TrackMate>',
        '<!DOCTYPE TrackMate SYSTEM "http://127.0.0.1/evil.dtd"><TrackMate/>',
        "<TrackMate><Model>",
        "",
        "no xml at all",
        "<Other/>",
        "<TrackMate/>",
        ALL.format("x", ""),
        ALL.format("0", '<Spot ID="1"/>'),
        ALL.format("0", '<Spot ID="a" POSITION_X="1" POSITION_Y="1"/>'),
        ALL.format("0", f"{ONE}/>{ONE}/>"),
        ALL.format("0", f'{ONE} ROI_N_POINTS="2">1 2 3</Spot>'),
    ],
)
def test_damaged_and_malicious_files_get_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputFileError) as error:
        read_trackmate(path)
    assert "bad.xml" in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    data = track_data(pl.DataFrame({"object_id": [1], "frame": [0], "x_um": [1.0], "y_um": [1.0]}))
    (tmp_path / "there.xml").write_text("mine")
    with pytest.raises(StoreError, match="exists already"):
        write_trackmate(tmp_path / "there.xml", data)
    assert (tmp_path / "there.xml").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["there.xml"]


def test_memory_grows_with_the_tables_not_with_the_document(tmp_path: Path) -> None:
    spot = '<Spot ID="{i}" name="ID{i}" QUALITY="1.5" POSITION_X="{i}.5" '
    spot += 'POSITION_Y="2.0" POSITION_Z="0.0" RADIUS="5.0" />\n'
    path = tmp_path / "large.xml"
    with path.open("w") as stream:
        stream.write('<TrackMate version="7"><Model spatialunits="micron" timeunits="min"><AllSpots nspots="1">')
        for t in range(6):
            stream.write(f'<SpotsInFrame frame="{t}">')
            stream.writelines(spot.format(i=5000 * t + k) for k in range(5000))
            stream.write("</SpotsInFrame>")
        stream.write("</AllSpots></Model></TrackMate>")
    tracemalloc.start()
    read = read_trackmate(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read.objects.height == 30_000
    assert peak < 30e6  # a tree of the document takes some 90 MB
