"""Micro-Manager, NDTiff, ND2, CZI, LIF and OME-Zarr against the libraries that read nothing else."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image as Pillow

from kinocyte.core.errors import MissingExtraError
from kinocyte.interop.micromanager import load_metadata
from kinocyte.interop.ndtiff import read_ndtiff
from kinocyte.interop.omezarr import read_omezarr
from kinocyte.interop.options import import_options
from kinocyte.interop.recognise import recognise
from kinocyte.interop.source import Movie, Unreadable
from kinocyte.interop.vendor import read_vendor

Pixels = Callable[[Movie], NDArray[Any]]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the vendors' libraries from printing tracebacks they handle themselves."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def movies(path: Path, **options: Any) -> list[Movie]:
    found = recognise([path], import_options(**options))[0]
    assert all(isinstance(m, Movie) for m in found), found
    return [m for m in found if isinstance(m, Movie)]


# ---------------------------------------------------------------- Micro-Manager
@pytest.mark.parametrize(
    ("folder", "channels", "shape", "interval"),
    [
        ("testimages", ("CFP", "YFP"), (4, 2, 1, 200, 200), 4.0),
        ("testimages3", ("YFP", "CFP"), (2, 2, 1, 200, 200), 4.0),
        ("il1b_pos1", ("DAPI", "TRITC", "YFP"), (4, 3, 1, 512, 512), None),
    ],
)
def test_image_sequences(
    data: Path,
    movie_pixels: Pixels,
    folder: str,
    channels: tuple[str, ...],
    shape: tuple[int, ...],
    interval: float | None,
) -> None:
    path = data / "ktr_reporter_covertlab" / folder
    (movie,) = movies(path)
    assert (movie.shape, movie.channels, movie.reader) == (shape, channels, "Micro-Manager")
    assert movie.calibration.frame_interval_min == interval
    assert movie.calibration.pixel_x_um is None  # 0 in the metadata
    got = movie_pixels(movie)
    for t in range(shape[0]):
        for c, name in enumerate(channels):
            old = path / f"img_{t:09d}_{name}_000.png"
            new = path / f"img_channel{c:03d}_position001_time{t:09d}_z000.png"
            np.testing.assert_array_equal(got[t, c], np.asarray(Pillow.open(old if old.is_file() else new)))


def test_an_acquisition_that_was_stopped_leaves_json_without_its_end(data: Path, tmp_path: Path) -> None:
    text = gzip.decompress((data / "ktr_reporter_covertlab/testimages/metadata.txt.gz").read_bytes()).decode()
    (tmp_path / "metadata.txt").write_text(text.rstrip().removesuffix("}").rstrip() + ",")
    metadata = load_metadata(tmp_path)
    assert metadata is not None
    assert metadata["Summary"]["Interval_ms"] == 240000


def test_damaged_metadata_are_named(data: Path, tmp_path: Path) -> None:
    for path in (data / "ktr_reporter_covertlab/testimages").glob("*.png"):
        shutil.copy(path, tmp_path)
    (tmp_path / "metadata.txt").write_text('{"Summary": {"Inter')
    (movie,) = movies(tmp_path)
    assert "metadata.txt' is damaged" in movie.problems[0]


def test_metadata_of_version_2(tmp_path: Path) -> None:
    records: dict[str, Any] = {
        "Summary": {"ChNames": ["GFP"], "Interval_ms": 0.0, "PixelSize_um": 0.65, "z-step_um": 1.5}
    }
    for t in range(3):
        for z in range(2):
            name = f"img_channel000_position000_time{t:09d}_z{z:03d}.tif"
            tifffile.imwrite(tmp_path / name, np.full((8, 9), 10 * t + z, np.uint16))
            records[f"Metadata-Default/{name}"] = {
                "ElapsedTime-ms": 120000.0 * t + 100 * z,
                "PositionName": "C3-Site_2",
            }
    (tmp_path / "metadata.txt").write_text(json.dumps(records))
    (movie,) = movies(tmp_path)
    assert (movie.well, movie.field, movie.channels) == ("C3", "2", ("GFP",))
    known = movie.calibration
    assert (known.pixel_x_um, known.z_step_um, known.frame_interval_min, known.times_min) == (0.65, 1.5, 2.0, None)


@pytest.mark.parametrize(
    ("folder", "shape", "channels"),
    [
        ("ndtiff_12_bit_pycromanager_mda", (4, 2, 1, 64, 64), ("DAPI", "FITC")),
        ("ndtiff_ndtiff3.2_11bit_1", (10, 1, 1, 64, 64), ("DAPI",)),
        ("ndtiff_ndtiffv3.0_test", (5, 2, 1, 32, 32), ("DAPI", "FITC")),
    ],
)
def test_ndtiff(
    data: Path, movie_pixels: Pixels, folder: str, shape: tuple[int, ...], channels: tuple[str, ...]
) -> None:
    path = data / "vendor_files" / folder
    (movie,) = movies(path)
    assert (movie.reader, movie.shape, movie.channels) == ("NDTiff", shape, channels)
    assert movie.calibration.pixel_x_um == 1.0
    np.testing.assert_array_equal(movie_pixels(movie).ravel(), tifffile.imread(next(path.glob("*.tif"))).ravel())
    assert movies(next(path.glob("*.tif")))[0].shape == shape


@pytest.mark.parametrize("cut", [0, 1, 40, 200])
def test_a_cut_ndtiff_is_named(data: Path, tmp_path: Path, cut: int) -> None:
    folder = tmp_path / "nd"
    shutil.copytree(data / "vendor_files/ndtiff_ndtiffv3.0_test", folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    index = folder / "NDTiff.index"
    index.write_bytes(index.read_bytes()[:cut])
    (found,) = read_ndtiff(folder)
    assert isinstance(found, Unreadable)
    assert "NDTiff.index" in found.problem


def test_a_cut_ndtiff_stack_is_named(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nd"
    shutil.copytree(data / "vendor_files/ndtiff_ndtiffv3.0_test", folder)
    stack = next(folder.glob("*.tif"))
    stack.chmod(0o644)
    stack.write_bytes(stack.read_bytes()[:30000])
    (found,) = read_ndtiff(folder)
    assert isinstance(found, Unreadable)
    assert "was cut off" in found.problem


# ---------------------------------------------------------------- vendors
def test_nd2(data: Path, movie_pixels: Pixels) -> None:
    nd2 = pytest.importorskip("nd2", reason="the extra 'formats' is not installed")
    path = data / "vendor_files/cluster.nd2"
    (movie,) = movies(path)
    assert (movie.reader, movie.shape, movie.channels) == (
        "ND2",
        (3, 2, 10, 31, 38),
        ("5-FAM/pH 9.0", "FM 4-64/2% CHAPS"),
    )
    np.testing.assert_array_equal(movie_pixels(movie), nd2.imread(path).transpose(0, 2, 1, 3, 4))
    with nd2.ND2File(path) as file:
        voxel = file.voxel_size()
        times = [file.frame_metadata(i).channels[0].time.relativeTimeMs / 60000 for i in (0, 10, 20)]
    known = movie.calibration
    assert (known.pixel_x_um, known.pixel_y_um, known.z_step_um) == pytest.approx((voxel.x, voxel.y, voxel.z), rel=1e-9)
    assert known.frame_interval_min == pytest.approx((times[2] - times[0]) / 2, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "shapes", "channels", "pixel", "z_step", "interval_s"),
    [
        ("CD_s_1_t_3_c_2_z_5", [(3, 2, 5, 170, 240)], ("LED555", "LED470"), 0.090576674152210312, 0.32, [60.045434]),
        ("10T-4C-0Z", [(10, 4, 1, 32, 32)], ("AF647", "AF568", "AF488", "DAPI"), 0.62048273556827216, None, [1.006312]),
        (
            "3T-4C-3Z-2pos",
            [(3, 4, 3, 32, 32)] * 2,
            ("AF647", "AF568", "AF488", "DAPI"),
            0.62048273556827216,
            2.54,
            [7.247634, 7.293786],
        ),
        ("xyz__multiple_images", [(1, 1, 2, 251, 251)] * 2, ("ChA",), 0.19564437607395324, 0.3, [None, None]),
    ],
)
def test_czi(
    data: Path,
    movie_pixels: Pixels,
    name: str,
    shapes: list[tuple[int, ...]],
    channels: tuple[str, ...],
    pixel: float,
    z_step: float | None,
    interval_s: list[float | None],
) -> None:
    pyczi = pytest.importorskip("pylibCZIrw.czi", reason="the extra 'formats' is not installed")
    path = data / f"vendor_files/{name}.czi"
    found = read_vendor(path)
    assert len(found) == len(shapes)
    for scene, (movie, shape, seconds) in enumerate(zip(found, shapes, interval_s, strict=True)):
        assert isinstance(movie, Movie)
        assert (movie.shape, movie.channels) == (shape, channels)
        assert movie.calibration.pixel_x_um == pytest.approx(pixel, rel=1e-9)
        assert movie.calibration.z_step_um == (None if z_step is None else pytest.approx(z_step, rel=1e-9))
        expected = None if seconds is None else pytest.approx(seconds / 60, rel=1e-9)
        assert movie.calibration.frame_interval_min == expected
        got = movie_pixels(movie).reshape(shape)
        with pyczi.open_czi(str(path)) as file:
            for t, c, z in np.ndindex(*shape[:3]):
                scenes = {"scene": scene} if file.scenes_bounding_rectangle else {}
                plane = file.read(plane={"T": t, "C": c, "Z": z}, **scenes)
                np.testing.assert_array_equal(got[t, c, z], plane[..., 0])


def test_lif_keeps_every_wavelength(data: Path, movie_pixels: Pixels) -> None:
    liffile = pytest.importorskip("liffile", reason="the extra 'formats' is not installed")
    path = data / "vendor_files/LeicaLASX_wavelength-sweep_example.lif"
    emission, excitation, volume = movies(path)
    assert emission.shape == (1, 20, 1, 64, 64)
    assert excitation.shape == (1, 15, 1, 64, 64)
    assert volume.shape == (2, 10, 11, 64, 64)
    assert emission.channels is not None
    assert emission.channels[:2] == ("emission 550 nm", "emission 560 nm")
    assert volume.calibration.z_step_um == pytest.approx(0.5002027, rel=1e-9)
    assert volume.calibration.frame_interval_min == pytest.approx(80.91 / 60, rel=1e-9)
    assert volume.calibration.pixel_x_um == pytest.approx(0.10481442857142857, rel=1e-9)
    with liffile.LifFile(path) as file:
        raw = [image.asarray() for image in file.images]
    np.testing.assert_array_equal(movie_pixels(emission)[0], raw[0])
    np.testing.assert_array_equal(movie_pixels(excitation)[0], raw[1])
    np.testing.assert_array_equal(movie_pixels(volume), raw[2])


def test_lif_sizes_against_bioio(data: Path) -> None:
    plugin = pytest.importorskip("bioio_lif", reason="the extra 'formats' is not installed")
    path = data / "vendor_files/LeicaLASX_wavelength-sweep_example.lif"
    reader = plugin.Reader(path)
    for number, movie in enumerate(movies(path)):
        reader.set_scene(number)
        sizes = reader.physical_pixel_sizes
        assert movie.calibration.pixel_y_um == pytest.approx(sizes.Y, rel=1e-9)
        assert movie.calibration.z_step_um == (None if sizes.Z is None else pytest.approx(sizes.Z, rel=1e-9))
        assert (movie.shape[0], *movie.shape[2:]) == tuple(getattr(reader.dims, a) for a in "TZYX")


@pytest.mark.parametrize("name", ["cluster.nd2", "CD_s_1_t_3_c_2_z_5.czi", "LeicaLASX_wavelength-sweep_example.lif"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3])
def test_a_cut_vendor_file_is_named(data: Path, tmp_path: Path, movie_pixels: Pixels, name: str, share: float) -> None:
    pytest.importorskip("bioio_nd2", reason="the extra 'formats' is not installed")
    content = (data / "vendor_files" / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * share)])
    found = read_vendor(path)
    for movie in found:
        if isinstance(movie, Unreadable):
            assert name in movie.problem
        elif name.endswith(".lif"):  # images before the cut are whole
            assert "was cut off" in " ".join(movie.problems) or movie.name.endswith(("x_y_lambdaEmi", "x_y_lambdaExc"))
        else:
            with pytest.raises(OSError, match=name):
                movie_pixels(movie)
            movie.close()


@pytest.mark.parametrize(("suffix", "module"), [(".nd2", "bioio_nd2"), (".czi", "bioio_czi"), (".lif", "liffile")])
def test_without_the_extra_the_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"x")
    with pytest.raises(MissingExtraError, match=r'pip install "kinocyte\[formats\]"'):
        read_vendor(path)


# ---------------------------------------------------------------- OME-Zarr
def write_omezarr(path: Path, image: NDArray[Any], version: str, axes: str = "tcyx") -> None:
    units = {"t": "second", "z": "nanometer", "y": "micrometer", "x": "micrometer"}
    scale = {"t": 90.0, "c": 1.0, "z": 500.0, "y": 0.65, "x": 0.65}
    types = {"t": "time", "c": "channel"}
    described = [{"name": a, "type": types.get(a, "space")} for a in axes]
    described = [{**d, "unit": units[d["name"]]} if d["name"] in units else d for d in described]
    document = {
        "multiscales": [
            {
                "version": version,
                "axes": described,
                "datasets": [
                    {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [scale[a] for a in axes]}]}
                ],
            }
        ],
        "omero": {"channels": [{"label": "h2b"}, {"label": "pi"}]},
    }
    attributes = document if version == "0.4" else {"ome": {"version": version, **document}}
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3, attributes=attributes)
    chunks = tuple(1 if a in "tcz" else 16 for a in axes)
    array = group.create_array("0", shape=image.shape, dtype=image.dtype, chunks=chunks)
    array[...] = image


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_omezarr_images(tmp_path: Path, movie_pixels: Pixels, version: str) -> None:
    image = np.random.default_rng(10).integers(0, 60000, (3, 2, 4, 20, 21)).astype(np.uint16)
    write_omezarr(tmp_path / "movie.ome.zarr", image, version, axes="tczyx")
    (movie,) = movies(tmp_path / "movie.ome.zarr")
    assert (movie.name, movie.channels, movie.is_3d) == ("movie", ("h2b", "pi"), True)
    known = movie.calibration
    assert (known.pixel_x_um, known.z_step_um, known.frame_interval_min) == pytest.approx((0.65, 0.5, 1.5), rel=1e-12)
    np.testing.assert_array_equal(movie_pixels(movie), image)


def test_an_omezarr_without_units_states_nothing(tmp_path: Path) -> None:
    path = tmp_path / "movie.zarr"
    write_omezarr(path, np.zeros((3, 2, 20, 21), np.uint8), "0.5")
    attributes = json.loads((path / "zarr.json").read_text())
    for axis in attributes["attributes"]["ome"]["multiscales"][0]["axes"]:
        axis.pop("unit", None)
    (path / "zarr.json").write_text(json.dumps(attributes))
    known = movies(path)[0].calibration
    assert (known.pixel_x_um, known.frame_interval_min) == (None, None)


def test_a_plate_and_its_labels_make_the_round_trip(
    data: Path,
    tmp_path: Path,
    imported: Callable[..., Any],
    movie_pixels: Pixels,
    pixels: Callable[[Any], NDArray[Any]],
) -> None:
    first = imported(data / "celldetective_adcc_and_ricm/ricm_demo")
    (position,) = first.positions.values()
    (movie,) = movies(tmp_path / "experiment.zarr")
    assert (movie.well, movie.field, movie.channels) == ("A1", "100", ("adhesion_channel",))
    assert movie.calibration.pixel_x_um == pytest.approx(0.2, rel=1e-12)
    np.testing.assert_array_equal(movie_pixels(movie), pixels(position))
    (labels,) = movie.labels
    for t in range(movie.shape[0]):
        np.testing.assert_array_equal(labels.read(t), position.labels("effectors").frame(t))


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    image = np.random.default_rng(11).integers(0, 60000, (3, 2, 20, 21)).astype(np.uint16)
    path = tmp_path / "movie.zarr"
    write_omezarr(path, image, "0.5")
    for chunk in (path / "0" / "c" / "1").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"rubbish")
    (movie,) = movies(path)
    movie.read_frame(0)
    with pytest.raises(OSError, match="Frame 1"):
        movie.read_frame(1)


def test_a_folder_that_is_zarr_but_no_image(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "x.zarr", mode="w")
    (found,) = read_omezarr(str(tmp_path / "x.zarr"))
    assert isinstance(found, Unreadable)
    assert "OME-Zarr" in found.problem
