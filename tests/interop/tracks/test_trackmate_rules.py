"""A reader as strict as TrackMate's own, written from the facts of its format, over what we write."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from defusedxml.ElementTree import parse
from hypothesis import HealthCheck, given, settings

from kinocyte.interop.tracks.base import TrackData
from kinocyte.interop.tracks.formats import write_tracks
from tests.interop.tracks.conftest import movies

Element = Any
DIMENSIONS = {"NONE", "QUALITY", "COST", "INTENSITY", "POSITION", "LENGTH", "AREA", "VOLUME", "VELOCITY", "TIME",
              "ANGLE", "ANGLE_RATE"}  # fmt: skip
#: Java's Double.parseDouble takes these; Integer.parseInt takes no point
DOUBLE = re.compile(r"-?(?:NaN|Infinity|\d+(?:\.\d+)?(?:E-?\d+)?)")
WHOLE = re.compile(r"-?\d+")
LARGEST = 2**31 - 1


def number(text: str, *, whole: bool) -> float:
    assert (WHOLE if whole else DOUBLE).fullmatch(text), text
    return float(text.replace("Infinity", "inf"))


def declared(model: Element) -> dict[str, dict[str, bool]]:
    """Return for spots, edges and tracks the declared features, and whether each is a whole number."""
    out = {}
    for kind in ("SpotFeatures", "EdgeFeatures", "TrackFeatures"):
        features = model.findall(f"FeatureDeclarations/{kind}/Feature")
        for feature in features:
            assert list(feature.attrib)[:5] == ["feature", "name", "shortname", "dimension", "isint"]
            assert feature.attrib["dimension"] in DIMENSIONS
            assert feature.attrib["isint"] in {"true", "false"}
        names = [f.attrib["feature"] for f in features]
        assert len(set(names)) == len(names)
        out[kind] = {f.attrib["feature"]: f.attrib["isint"] == "true" for f in features}
    return out


def check_features(element: Element, known: dict[str, bool], *, besides: set[str]) -> None:
    for name, text in element.attrib.items():
        if name not in besides:
            assert name in known, f"{name} is not declared"
            number(text, whole=known[name])


def read_strictly(path: Path) -> Element:
    """Read a file as TrackMate does, and fail where it would stop or leave something out."""
    root: Element = parse(path).getroot()
    assert root.tag == "TrackMate"
    assert re.match(r"\d+\.\d+\.\d+", root.attrib["version"])
    assert [e.tag for e in root][:3] == ["Log", "Model", "Settings"]
    model, setup = root.find("Model"), root.find("Settings")
    assert model is not None
    assert setup is not None
    assert set(model.attrib) == {"spatialunits", "timeunits"}
    assert [e.tag for e in model] == ["FeatureDeclarations", "AllSpots", "AllTracks", "FilteredTracks"]
    features = declared(model)
    frame_of = check_spots(model, features["SpotFeatures"])
    check_tracks(model, features, frame_of)
    check_settings(setup, features["SpotFeatures"] | features["TrackFeatures"])
    return root


def check_spots(model: Element, known: dict[str, bool]) -> dict[str, int]:
    spots = model.find("AllSpots")
    assert spots is not None
    frame_of: dict[str, int] = {}
    frames = []
    for group in spots:
        assert group.tag == "SpotsInFrame"
        frames.append(int(group.attrib["frame"]))
        for spot in group:
            assert list(spot.attrib)[:2] == ["ID", "name"]
            check_features(spot, known, besides={"ID", "name", "ROI_N_POINTS"})
            for needed in ("QUALITY", "POSITION_X", "POSITION_Y", "POSITION_Z", "POSITION_T", "FRAME", "RADIUS"):
                assert needed in spot.attrib
            assert int(spot.attrib["FRAME"]) == frames[-1]
            assert number(spot.attrib["RADIUS"], whole=False) > 0
            name = spot.attrib["ID"]
            assert 0 <= int(name) <= LARGEST
            assert name not in frame_of
            frame_of[name] = frames[-1]
            if "ROI_N_POINTS" in spot.attrib:
                outline = (spot.text or "").split()
                assert len(outline) == 2 * int(spot.attrib["ROI_N_POINTS"])
                assert all(DOUBLE.fullmatch(v) for v in outline)
    assert frames == sorted(set(frames))
    assert int(spots.attrib["nspots"]) == len(frame_of)
    return frame_of


def check_tracks(model: Element, features: dict[str, dict[str, bool]], frame_of: dict[str, int]) -> None:
    ids, used = [], Counter[str]()
    for track in model.findall("AllTracks/Track"):
        assert list(track.attrib)[:2] == ["name", "TRACK_ID"]
        check_features(track, features["TrackFeatures"], besides={"name"})
        ids.append(track.attrib["TRACK_ID"])
        inside = set()
        assert len(track) > 0, "TrackMate knows no track of one spot"
        for edge in track:
            assert list(edge.attrib)[:2] == ["SPOT_SOURCE_ID", "SPOT_TARGET_ID"]
            check_features(edge, features["EdgeFeatures"], besides=set())
            ends = edge.attrib["SPOT_SOURCE_ID"], edge.attrib["SPOT_TARGET_ID"]
            assert frame_of[ends[0]] < frame_of[ends[1]], "edges run forward in time"
            inside |= set(ends)
        used.update(inside)
        if "NUMBER_SPOTS" in track.attrib:
            assert int(track.attrib["NUMBER_SPOTS"]) == len(inside)
    assert not [s for s, n in used.items() if n > 1], "a spot belongs to one track"
    assert len(set(ids)) == len(ids)
    visible = [e.attrib["TRACK_ID"] for e in model.findall("FilteredTracks/TrackID")]
    assert set(visible) <= set(ids)
    assert len(set(visible)) == len(visible)


def check_settings(setup: Element, known: dict[str, bool]) -> None:
    tags = [e.tag for e in setup]
    order = ["ImageData", "BasicSettings", "DetectorSettings", "InitialSpotFilter", "SpotFilterCollection",
             "TrackerSettings", "TrackFilterCollection", "AnalyzerCollection"]  # fmt: skip
    assert tags == order
    image, crop = setup[0].attrib, setup[1].attrib
    for name in ("width", "height", "nslices", "nframes"):
        assert int(image[name]) >= 1
    for name in ("pixelwidth", "pixelheight", "voxeldepth", "timeinterval"):
        assert number(image[name], whole=False) > 0
    for axis, size in (("x", "width"), ("y", "height"), ("z", "nslices"), ("t", "nframes")):
        assert 0 <= int(crop[f"{axis}start"]) <= int(crop[f"{axis}end"]) < max(1, int(image[size]))
    assert setup[2].attrib["DETECTOR_NAME"]
    assert setup[5].attrib["TRACKER_NAME"]
    for rule in [setup[3], *setup[4], *setup[6]]:
        assert rule.attrib["feature"] in known
        assert rule.attrib["isabove"] in {"true", "false"}
        number(rule.attrib["value"], whole=False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(movie=movies())
def test_what_we_write_is_read_by_the_strictest_reader(
    tmp_path_factory: pytest.TempPathFactory, movie: TrackData
) -> None:
    path = tmp_path_factory.mktemp("strict") / "movie.xml"
    write_tracks(path, movie.replace(image_file="/data/day 1/movie.ome.tif"), format="trackmate")
    root = read_strictly(path)
    image = root.find("Settings/ImageData")
    assert image is not None
    assert (image.attrib["folder"], image.attrib["filename"]) == ("/data/day 1/", "movie.ome.tif")


@pytest.mark.parametrize("name", ["with_merging", "with_splitting", "without_gap_closing"])
def test_the_rules_are_those_that_trackmates_own_files_keep(data: Path, name: str) -> None:
    root: Element = parse(data / "trackmate_oracles" / f"{name}.xml").getroot()
    model = root.find("Model")
    assert model is not None
    features = declared(model)
    frame_of = check_spots(model, features["SpotFeatures"])
    check_tracks(model, features, frame_of)
