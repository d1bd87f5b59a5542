"""TIFF in all its dialects against tifffile, and files that are not what they say."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError
from kinocyte.interop.source import Movie
from kinocyte.interop.tiff import read_stacks
from kinocyte.interop.tiff_layout import read_pages

Pixels = Callable[[Movie], NDArray[Any]]

#: file, sizes (t, c, z), pixel size in um, z step in um, interval in min, axes of tifffile's array
REAL = [
    ("vendor_files/xyt_calibrated_16bit__golgi_bfa_sum_projection.tif", (30, 1, 1), 1e6 / 2845474, None, 59.86 / 60),
    ("vendor_files/xyz_calibrated_16bit__golgi_bfa.tif", (1, 1, 25), 1e6 / 2845474, 0.3876, None),
    ("incucyte_mcf_3ch/HC01501_B2_1_crop_TCYX_PGR.tif", (11, 3, 1), None, None, 30.0),
    ("ecoli_3ch_and_3dt/coli_nucl_ori_ter_TCYX.tif", (30, 3, 1), None, None, None),
    ("ecoli_3ch_and_3dt/coli_nucl_ori_3d_6t.ome.tif", (6, 2, 11), None, None, None),
    ("yeast_mito_3dt/yeast_3d_mitochondria_6t.ome.tif", (6, 1, 17), 0.0655, 0.25, None),
    ("scratch_assay_labelled_10f/scratch-assay-labeled-10T-2Ch.tiff", (10, 4, 1), 0.619, None, None),
    ("telomere_timelapse_100f/timelapse_telomeres_2d.tif", (100, 1, 1), 1e6 / 9090909, None, 0.05 / 60),
    ("ctc_fluo_n3dh_cho_02_3dt/Fluo-N3DH-CHO_02_img.tif", (10, 1, 5), 0.202, None, 9.5),
    ("cancer_cell_nuclei_48f/cancer_cell_migration_crop.tif", (48, 1, 1), None, None, None),
    ("celldetective_adcc_and_ricm/sample.tif", (1, 4, 1), None, None, None),
    ("nuclear_plus_reporter_20f/im1_ch12_TCYX.tif", (20, 2, 1), None, None, None),
    ("laptrack_examples/c2c12_phase_10f_images.tif", (10, 1, 1), None, None, None),
    ("phase_to_fluorescence/fluorescence_NFH_DAPI_MAP2.tif", (1, 3, 1), None, None, None),
    ("phase_to_fluorescence/phase_z3_6_9.tif", (1, 1, 3), None, None, None),
    ("dapi_two_rounds_registration/anchor_nuclei_downsampled.tiff", (1, 1, 1), None, None, None),
    ("mitocheck_nuclei_labels/xyc_16bit__nup_nuclei.tif", (1, 2, 1), None, None, None),
    ("mitocheck_nuclei_labels/xy_8bit__mitocheck_incenp_t1.tif", (1, 1, 1), 0.1, None, None),
    ("nuclear_plus_reporter_20f/im1ch1t01.tif", (1, 1, 1), None, None, None),
    ("incucyte_mcf_3ch/HC01501_P_B2_1_00d00h00m.tif", (1, 1, 1), None, None, None),
]


def oracle(path: Path) -> NDArray[Any]:
    """Return tifffile's array as (t, c, z, y, x)."""
    with tifffile.TiffFile(path) as file:
        series = max(file.series, key=lambda s: s.size)
        array, axes = series.asarray(), series.axes
    order = [axes.index(a) for a in "TCZYX" if a in axes]
    array = array.transpose(order)
    for i, a in enumerate("TCZYX"):
        if a not in axes:
            array = np.expand_dims(array, i)
    return array


@pytest.mark.parametrize(("name", "sizes", "pixel", "z_step", "interval"), REAL, ids=[r[0].split("/")[1] for r in REAL])
def test_real_file(
    data: Path,
    movie_pixels: Pixels,
    name: str,
    sizes: tuple[int, int, int],
    pixel: float | None,
    z_step: float | None,
    interval: float | None,
) -> None:
    (stack,) = read_stacks(data / name)
    assert stack.shape[:3] == sizes
    assert not stack.questions
    found = movie_pixels(stack.movie("TIFF"))
    expected = oracle(data / name)
    assert stack.dtype == expected.dtype
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    known = stack.calibration
    if pixel is None:
        assert known.pixel_x_um is None
        assert known.pixel_y_um is None
    else:
        assert known.pixel_x_um == pytest.approx(pixel, rel=1e-9)
        assert known.pixel_y_um == pytest.approx(pixel, rel=1e-9)
    if sizes[2] > 1:
        assert (known.z_step_um is None) == (z_step is None)
        assert known.z_step_um == (None if z_step is None else pytest.approx(z_step, rel=1e-9))
    if sizes[0] > 1:
        assert known.frame_interval_min == (None if interval is None else pytest.approx(interval, rel=1e-9))


def test_channel_names_of_ome(data: Path) -> None:
    (stack,) = read_stacks(data / "scratch_assay_labelled_10f/scratch-assay-labeled-10T-2Ch.tiff")
    assert stack.channels == ("H3342", "oblique", "nuclei", "cyto")


def test_the_preview_of_an_incucyte_file_is_left_out(data: Path) -> None:
    (stack,) = read_stacks(data / "incucyte_mcf_3ch/HC01501_G_B2_1_00d00h00m.tif")
    assert stack.shape == (1, 1, 1, 1040, 1408)
    assert any("preview" in n for n in stack.notes)


@pytest.mark.parametrize("name", ["pystackreg_pc12_drift/pc12-unreg.tif", "laptrack_examples/example_images.tif"])
def test_an_unnamed_axis_is_asked_for(data: Path, movie_pixels: Pixels, name: str) -> None:
    (stack,) = read_stacks(data / name)
    assert "--axes" in stack.questions[0]
    (answered,) = read_stacks(data / name, axes="tyx")
    assert not answered.questions
    np.testing.assert_array_equal(movie_pixels(answered.movie("TIFF"))[:, 0], tifffile.imread(data / name))


def test_z_is_never_taken_for_time(tmp_path: Path, data: Path, movie_pixels: Pixels) -> None:
    image = np.arange(30 * 8 * 9, dtype=np.uint16).reshape(30, 8, 9)
    plain = tmp_path / "stack.tif"
    tifffile.imwrite(plain, image)
    (stack,) = read_stacks(plain)
    assert stack.questions
    assert stack.shape[0] == 1
    for axes, shape in (("tyx", (30, 1, 1)), ("zyx", (1, 1, 30)), ("cyx", (1, 30, 1))):
        (answered,) = read_stacks(plain, axes=axes)
        assert answered.shape[:3] == shape
        np.testing.assert_array_equal(movie_pixels(answered.movie("TIFF")).ravel(), image.ravel())
    slices = data / "vendor_files/xyz_calibrated_16bit__golgi_bfa.tif"
    (contradiction,) = read_stacks(slices, axes="tyx")
    assert "--override-metadata" in contradiction.questions[0]
    (overridden,) = read_stacks(slices, axes="tyx", override=True)
    assert overridden.shape[:3] == (25, 1, 1)
    assert not overridden.questions


def test_axes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((5, 8, 9), np.uint8))
    (stack,) = read_stacks(path, axes="tczyx")
    assert "does not fit" in stack.questions[0]


def test_three_frames_are_not_taken_for_colours(tmp_path: Path) -> None:
    path = tmp_path / "three.tif"
    tifffile.imwrite(path, np.zeros((3, 20, 21), np.uint8), photometric="rgb", planarconfig="separate")
    (stack,) = read_stacks(path)
    assert stack.questions
    (answered,) = read_stacks(path, axes="tyx")
    assert answered.shape == (3, 1, 1, 20, 21)


def test_colours_become_channels(tmp_path: Path, movie_pixels: Pixels) -> None:
    image = np.random.default_rng(1).integers(0, 255, (12, 13, 3), dtype=np.uint8)
    path = tmp_path / "rgb.tif"
    tifffile.imwrite(path, image, photometric="rgb")
    (stack,) = read_stacks(path)
    assert stack.channels == ("red", "green", "blue")
    np.testing.assert_array_equal(movie_pixels(stack.movie("TIFF"))[0], np.moveaxis(image, -1, 0))


@pytest.mark.parametrize("kind", ["bigtiff", "big endian", "imagej without directories", "deflate", "tiled"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_dialects(tmp_path: Path, movie_pixels: Pixels, kind: str, dtype: type) -> None:
    image = np.random.default_rng(2).integers(0, 200, (4, 2, 32, 48)).astype(dtype)
    path = tmp_path / "movie.tif"
    options: dict[str, Any] = {
        "bigtiff": {"bigtiff": True, "metadata": {"axes": "TCYX"}},
        "big endian": {"byteorder": ">", "imagej": True, "metadata": {"axes": "TCYX"}},
        "imagej without directories": {"imagej": True, "metadata": {"axes": "TCYX"}, "truncate": True},
        "deflate": {"compression": "zlib", "metadata": {"axes": "TCYX"}},
        "tiled": {"tile": (16, 16), "metadata": {"axes": "TCYX"}},
    }[kind]
    tifffile.imwrite(path, image, photometric="minisblack", **options)
    (stack,) = read_stacks(path)
    assert not stack.questions
    assert stack.dtype == np.dtype(dtype)
    found = movie_pixels(stack.movie("TIFF"))
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, image)


def test_twelve_channels(tmp_path: Path, movie_pixels: Pixels) -> None:
    image = np.random.default_rng(3).integers(0, 60000, (2, 12, 20, 21)).astype(np.uint16)
    path = tmp_path / "twelve.ome.tif"
    tifffile.imwrite(path, image, metadata={"axes": "TCYX", "Channel": {"Name": [f"m{i}" for i in range(12)]}})
    (stack,) = read_stacks(path)
    assert stack.channels == tuple(f"m{i}" for i in range(12))
    np.testing.assert_array_equal(movie_pixels(stack.movie("TIFF")), image)


def test_nan_and_infinity_survive(tmp_path: Path, movie_pixels: Pixels) -> None:
    image = np.array([[[np.nan, np.inf], [-np.inf, 1.5]]], np.float32)
    path = tmp_path / "odd.tif"
    tifffile.imwrite(path, image)
    np.testing.assert_array_equal(movie_pixels(read_stacks(path)[0].movie("TIFF"))[0, 0], image[0])


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [
        ("um", 2.0, 0.5),
        ("micron", 4.0, 0.25),
        ("\\u00B5m", 5.0, 0.2),
        ("nm", 0.002, 0.5),
        ("pixel", 2.0, None),
        ("inch", 72.0, None),
        ("inch", 254000.0, 0.1),
        ("um", 1.0, None),
        ("", 2.0, None),
        ("mm", 2000.0, 0.5),
        ("cm", 1.0, None),
    ],
)
def test_imagej_units(tmp_path: Path, unit: str, per_unit: float, expected: float | None) -> None:
    path = tmp_path / "movie.tif"
    metadata = {"axes": "TYX", "finterval": 0, **({"unit": unit} if unit else {})}
    tifffile.imwrite(
        path, np.zeros((3, 8, 9), np.uint8), imagej=True, resolution=(per_unit, per_unit), metadata=metadata
    )
    (stack,) = read_stacks(path)
    assert stack.calibration.pixel_x_um == (None if expected is None else pytest.approx(expected, rel=1e-6))
    assert stack.calibration.frame_interval_min is None


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [(72, 2, None), (96, 2, None), (1, 1, None), (1, 3, None), (300, 2, None), (20000, 3, 0.5)],
)
def test_resolution_tags(tmp_path: Path, resolution: float, unit: int, expected: float | None) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, np.zeros((8, 9), np.uint8), resolution=(resolution, resolution), resolutionunit=unit)
    assert read_stacks(path)[0].calibration.pixel_y_um == expected


# ---------------------------------------------------------------- OME-TIFF
OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{body}</OME>'


def pixels_xml(*, t: int = 1, c: int = 1, z: int = 1, inner: str = "<TiffData/>", attributes: str = "") -> str:
    return OME.format(
        body='<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="9" SizeY="8" '
        f'SizeC="{c}" '
        f'SizeZ="{z}" SizeT="{t}" {attributes}>{inner}</Pixels></Image>'
    )


def test_a_set_of_several_files(tmp_path: Path, movie_pixels: Pixels) -> None:
    image = np.random.default_rng(4).integers(0, 999, (4, 8, 9)).astype(np.uint16)
    blocks = "".join(
        f'<TiffData FirstT="{t}" IFD="0" PlaneCount="1"><UUID FileName="f{t}.ome.tif">urn:uuid:{t}</UUID></TiffData>'
        for t in range(4)
    )
    for t in range(4):
        tifffile.imwrite(
            tmp_path / f"f{t}.ome.tif",
            image[t],
            description=pixels_xml(t=4, inner=blocks),
            metadata=None,
            photometric="minisblack",
        )
    (stack,) = read_stacks(tmp_path / "f2.ome.tif")
    assert stack.shape == (4, 1, 1, 8, 9)
    assert len(stack.files) == 4
    np.testing.assert_array_equal(movie_pixels(stack.movie("TIFF"))[:, 0], image)
    (tmp_path / "f1.ome.tif").unlink()
    (holed,) = read_stacks(tmp_path / "f0.ome.tif")
    assert list(holed.missing) == [1]
    assert "f1.ome.tif" in holed.missing[1]


@pytest.mark.parametrize("order", ["XYCZT", "XYZCT", "XYTCZ", "XYZTC", "XYCTZ", "XYTZC"])
def test_every_order_of_planes(tmp_path: Path, movie_pixels: Pixels, order: str) -> None:
    image = np.random.default_rng(5).integers(0, 999, (2, 3, 4, 8, 9)).astype(np.uint16)  # t c z y x
    letters = order[2:][::-1]
    planes = image.transpose(["TCZ".index(a) for a in letters] + [3, 4]).reshape(24, 8, 9)
    text = pixels_xml(t=2, c=3, z=4).replace("XYCZT", order)
    tifffile.imwrite(tmp_path / "a.ome.tif", planes, description=text, metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(movie_pixels(read_stacks(tmp_path / "a.ome.tif")[0].movie("TIFF")), image)


def test_ome_units_and_times(tmp_path: Path) -> None:
    planes = "<TiffData/>" + "".join(
        f'<Plane TheT="{t}" TheC="0" TheZ="0" DeltaT="{d}" DeltaTUnit="ms"/>' for t, d in enumerate((0, 60000, 300000))
    )
    attributes = 'PhysicalSizeX="650" PhysicalSizeXUnit="nm" PhysicalSizeY="0.00065" PhysicalSizeYUnit="mm"'
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path,
        np.zeros((3, 8, 9), np.uint16),
        description=pixels_xml(t=3, inner=planes, attributes=attributes),
        metadata=None,
        photometric="minisblack",
    )
    known = read_stacks(path)[0].calibration
    assert known.pixel_x_um == pytest.approx(0.65, rel=1e-12)
    assert known.pixel_y_um == pytest.approx(0.65, rel=1e-12)
    assert known.times_min == (0.0, 1.0, 5.0)


def test_a_time_increment_is_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path,
        np.zeros((3, 8, 9), np.uint16),
        description=pixels_xml(t=3, attributes='TimeIncrement="90"'),
        metadata=None,
        photometric="minisblack",
    )
    assert read_stacks(path)[0].calibration.frame_interval_min == 1.5


def test_wells_of_an_ome_plate(tmp_path: Path) -> None:
    body = (
        '<Plate ID="Plate:0"><Well ID="Well:0" Row="1" Column="2"><WellSample ID="S:0" Index="0">'
        '<ImageRef ID="Image:0"/></WellSample>'
        "</Well></Plate>"
    )
    text = pixels_xml().replace("<Image ", body + "<Image ", 1)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.zeros((8, 9), np.uint16), description=text, metadata=None, photometric="minisblack")
    (stack,) = read_stacks(path)
    assert (stack.well, stack.field) == ("B3", "1")


def test_ome_that_does_not_fit_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path, np.zeros((8, 10), np.uint16), description=pixels_xml(), metadata=None, photometric="minisblack"
    )
    with pytest.raises(InputFileError, match="8 x 10"):
        read_stacks(path)


def test_entities_in_ome_are_refused(tmp_path: Path) -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + pixels_xml(
        attributes='Name="&b;"'
    )
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.zeros((8, 9), np.uint16), description=bomb, metadata=None, photometric="minisblack")
    with pytest.raises(InputFileError, match="damaged"):
        read_stacks(path)


def test_a_companion_that_is_not_there(tmp_path: Path) -> None:
    text = OME.format(body='<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:1"/>')
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.zeros((8, 9), np.uint16), description=text, metadata=None, photometric="minisblack")
    with pytest.raises(InputFileError, match=r"set\.companion\.ome"):
        read_stacks(path)
    (tmp_path / "set.companion.ome").write_text(
        pixels_xml(inner='<TiffData IFD="0"><UUID FileName="a.ome.tif">urn:uuid:2</UUID></TiffData>')
    )
    assert read_stacks(path)[0].shape == (1, 1, 1, 8, 9)


# ---------------------------------------------------------------- hostile files
def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "name with ümlaut and ...tif"
    path.touch()
    with pytest.raises(InputFileError, match=r"ümlaut.*0 bytes.*copy it again"):
        read_stacks(path)


@pytest.mark.parametrize(
    "content",
    [b"not a tiff at all, but long enough", b"II*\x00", b"MM\x00\x2a\xff\xff\xff\xff", b"II+\x00" + b"\x00" * 20],
)
def test_what_is_no_tiff(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=r"x\.tif"):
        read_stacks(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "movie.tif"
    image = np.random.default_rng(6).integers(0, 60000, (5, 24, 25)).astype(np.uint16)
    with tifffile.TiffWriter(path, imagej=True) as writer:
        writer.write(image, metadata={"axes": "TYX"})
    return path


@given(share=st.floats(0, 0.9999))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_cut_anywhere_is_named_or_whole(whole: Path, tmp_path: Path, movie_pixels: Pixels, share: float) -> None:
    data = whole.read_bytes()
    path = tmp_path / "cut.tif"
    path.write_bytes(data[: int(share * len(data))])
    try:
        (stack,) = read_stacks(path)
    except InputFileError as error:
        assert "cut.tif" in str(error)  # noqa: PT017 - both outcomes are right
    else:  # only padding behind the last directory was lost
        np.testing.assert_array_equal(movie_pixels(stack.movie("TIFF"))[:, 0], tifffile.imread(whole))


@pytest.mark.parametrize("big", [False, True])
def test_a_page_chain_that_ends_early_is_seen(tmp_path: Path, big: bool) -> None:
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path, bigtiff=big) as writer:
        for _ in range(4):
            writer.write(np.zeros((20, 20), np.uint8), contiguous=False)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(InputFileError, match="cut off"):
        read_stacks(path)


def test_a_circle_of_pages_ends(tmp_path: Path) -> None:
    path = tmp_path / "circle.tif"
    tifffile.imwrite(path, np.zeros((4, 5), np.uint8), metadata=None, photometric="minisblack")
    data = bytearray(path.read_bytes())
    first = struct.unpack("<I", data[4:8])[0]
    entries = struct.unpack("<H", data[first : first + 2])[0]
    data[first + 2 + 12 * entries : first + 6 + 12 * entries] = struct.pack("<I", first)
    path.write_bytes(bytes(data))
    with pytest.raises(InputFileError, match="circle"):
        read_pages(path)


@pytest.mark.parametrize("odd", [np.zeros((20, 19), np.uint8), np.zeros((20, 20), np.uint16)])
def test_pages_of_another_size_or_type_are_named(tmp_path: Path, odd: NDArray[Any]) -> None:
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as writer:
        for page in (np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8), odd):
            writer.write(page)
    with pytest.raises(InputFileError, match=r"[Pp]age [02] .*mixed\.tif.*one size and type"):
        read_stacks(path)


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "complex.tif"
    tifffile.imwrite(path, np.zeros((8, 9), np.complex64))
    with pytest.raises(InputFileError, match="no intensities"):
        read_stacks(path)
