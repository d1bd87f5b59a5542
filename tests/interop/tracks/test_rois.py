"""ImageJ regions against roifile, which we did not write."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import InputFileError
from kinocyte.core.scale import Scale
from kinocyte.interop.tracks.base import Contours, TrackData, track_data
from kinocyte.interop.tracks.imagej_rois import Roi, centroid, pack, read_rois, unpack, write_rois
from tests.interop.tracks.conftest import movies, partition


@settings(deadline=None, max_examples=25)
@given(
    xy=st.lists(st.tuples(st.floats(-500, 5000, width=32), st.floats(-500, 5000, width=32)), min_size=3, max_size=9),
    is_point=st.booleans(),
    frame=st.integers(0, 9999),
    plane=st.integers(0, 99),
    name=st.text(
        st.characters(codec="utf-16", exclude_characters="\0", max_codepoint=0xFFFF, exclude_categories=["Cs"]),
        max_size=12,
    ),
)
def test_regions_are_read_by_roifile(
    xy: list[tuple[float, float]], is_point: bool, frame: int, plane: int, name: str
) -> None:
    roifile = pytest.importorskip("roifile", reason="roifile is not installed")
    ours = Roi(name, np.array(xy), is_point, frame, plane)
    read = roifile.ImagejRoi.frombytes(pack(ours))
    assert np.allclose(read.coordinates(), np.array(xy, np.float32))
    assert read.name == name
    assert (read.t_position, read.z_position) == (frame, plane)
    assert read.roitype == (roifile.ROI_TYPE.POINT if is_point else roifile.ROI_TYPE.POLYGON)
    back = unpack(pack(ours), "x")
    assert back is not None
    assert np.array_equal(back.xy, np.array(xy, np.float32).astype(float))
    assert (back.name, back.frame, back.is_point) == (name, frame, is_point)


@pytest.mark.parametrize("kind", ["polygon", "point", "float"])
def test_regions_of_roifile_are_read(kind: str) -> None:
    roifile = pytest.importorskip("roifile", reason="roifile is not installed")
    xy = np.array([[3, 4], [13, 4], [13, 9], [3, 9]], np.float64 if kind == "float" else np.int32)
    xy = xy + 0.25 if kind == "float" else xy
    made = roifile.ImagejRoi.frompoints(xy, name="cell", t=3, z=2)
    if kind == "point":
        made.roitype = roifile.ROI_TYPE.POINT
    read = unpack(made.tobytes(), "x")
    assert read is not None
    assert np.allclose(read.xy, xy)
    assert read.name == "cell"
    assert read.is_point == (kind == "point")


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(movie=movies(deep=False))
def test_any_tracks_come_back(tmp_path: Path, movie: TrackData) -> None:
    if not movie.objects.height:
        return
    write_rois(tmp_path / "any.zip", movie, overwrite=True)
    back = read_rois(tmp_path / "any.zip", pixel_size_um=1.0)
    x, y = back.objects["x_um"], back.objects["y_um"]
    back = back.replace(objects=back.objects.with_columns(x_um=x * 0.25, y_um=y * 0.5))
    assert back.objects.height == movie.objects.height
    outlines = {i: len(o) for i, o in movie.contours.items().items()}
    assert {i: len(o) for i, o in back.contours.items().items()} == outlines
    if not outlines:  # the centre of an outline need not be that of its object
        places = movie.objects.sort("object_id").select("x_um", "y_um").to_numpy()
        assert np.allclose(back.objects.sort("object_id").select("x_um", "y_um").to_numpy(), places, atol=1e-4)
        assert len(partition(back)) == len(partition(movie))


def test_pixel_centres_are_half_a_pixel_from_corners(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile", reason="roifile is not installed")
    objects = pl.DataFrame({"object_id": [1, 2], "frame": [0, 1], "x_um": [0.0, 4.0], "y_um": [0.0, 2.0]})
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    data = track_data(objects, contours=Contours.of({2: square}), scale=Scale.isotropic(2.0, 1.0))
    write_rois(tmp_path / "r.zip", data)
    found = sorted(roifile.roiread(tmp_path / "r.zip"), key=lambda r: r.t_position)
    assert found[0].coordinates().tolist() == [[0.5, 0.5]]
    assert np.allclose(found[1].coordinates(), square / 2 + [2.5, 1.5])
    assert [r.t_position for r in found] == [1, 2]


def test_the_centre_of_an_area_is_that_of_its_polygon() -> None:
    triangle = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 3.0]])
    assert np.allclose(centroid(triangle), [2, 1])
    assert np.allclose(centroid(np.array([[1.0, 1.0], [3.0, 3.0], [5.0, 5.0]])), [3, 3])


def test_damaged_regions_get_a_sentence(tmp_path: Path) -> None:
    good = pack(Roi("a", np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 5.0]]), is_point=False))
    for content in (good[:30], b"Iout", good[:70], b"xxxx" + good[4:], good[:16] + b"\xff\xff" + good[18:]):
        with pytest.raises(InputFileError, match="damaged ImageJ region"):
            unpack(content, "r.roi")
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.writestr("../../evil.roi", good)
    read = read_rois(tmp_path / "e.zip")  # a name in a zip is only a name
    assert read.objects.height == 1
    assert not (tmp_path.parent.parent / "evil.roi").exists()
    (tmp_path / "cut.zip").write_bytes((tmp_path / "e.zip").read_bytes()[:40])
    with pytest.raises(InputFileError):
        read_rois(tmp_path / "cut.zip")
