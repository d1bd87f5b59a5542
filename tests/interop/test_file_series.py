"""Frames, channels and planes in files of their own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow

import kinocyte
from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.interop.options import import_options
from kinocyte.interop.plan import plan_import
from kinocyte.interop.recognise import recognise
from kinocyte.interop.source import Movie, Unreadable

Pixels = Callable[[Movie], NDArray[Any]]


def found(path: Path, **options: Any) -> list[Movie | Unreadable]:
    return recognise([path], import_options(**options))[0]


def only(path: Path, **options: Any) -> Movie:
    (movie,) = found(path, **options)
    assert isinstance(movie, Movie), movie
    return movie


def series(folder: Path, n: int = 4, **change: Any) -> Path:
    """Write ``exp_c1_t0.tif`` and so on; ``change`` maps a stem to another image."""
    folder.mkdir(parents=True, exist_ok=True)
    for t in range(n):
        for c in (1, 2):
            image = np.full((8, 9), 10 * t + c, np.uint16)
            tifffile.imwrite(folder / f"exp_c{c}_t{t}.tif", change.get(f"c{c}_t{t}", image))
    return folder


def test_incucyte_export(data: Path, tmp_path: Path, movie_pixels: Pixels) -> None:
    for path in (data / "incucyte_mcf_3ch").glob("*h00m.tif"):
        shutil.copy(path, tmp_path)
    movie = only(tmp_path)
    assert movie.reader == "Incucyte"
    assert (movie.well, movie.field, movie.channels) == ("B2", "1", ("G", "P", "R"))
    assert movie.calibration.frame_interval_min == 60.0
    assert movie.calibration.pixel_x_um is None  # 72 dpi is no calibration
    assert movie.dtype == np.uint16
    got = movie_pixels(movie)
    for c, channel in enumerate("GPR"):
        for t in range(2):
            expected = tifffile.imread(tmp_path / f"HC01501_{channel}_B2_1_00d0{t}h00m.tif", series=0)
            np.testing.assert_array_equal(got[t, c], expected)


def test_wells_of_row_c_are_no_channels(tmp_path: Path) -> None:
    """Beside B2_1 and D2_1, C2_1 is a well; alone it may be channel 2."""
    movie = np.zeros((3, 2, 8, 9), np.uint16)
    for well in ("B2", "C2", "C3", "D2"):
        place = tmp_path / "plate" / f"{well}_1.ome.tif"
        place.parent.mkdir(exist_ok=True)
        tifffile.imwrite(place, movie, metadata={"axes": "TCYX"}, ome=True)
    movies = found(tmp_path / "plate")
    assert [m.name for m in movies] == ["B2_1", "C2_1", "C3_1", "D2_1"]
    assert {m.shape[:2] for m in movies if isinstance(m, Movie)} == {(3, 2)}
    for name in ("c1_a", "c2_a"):
        tifffile.imwrite(tmp_path / f"{name}.tif", movie[0, 0])
    assert only(tmp_path / "c1_a.tif").channels == only(tmp_path / "c2_a.tif").channels


def test_mitocheck_names(data: Path, movie_pixels: Pixels) -> None:
    movie = only(data / "mitocheck_movie_30f")
    assert movie.shape == (30, 1, 1, 190, 211)
    files = sorted((data / "mitocheck_movie_30f").glob("*.tif"))
    np.testing.assert_array_equal(movie_pixels(movie)[:, 0], np.stack([tifffile.imread(f) for f in files]))


def test_colour_plate(data: Path, movie_pixels: Pixels) -> None:
    movies = found(data / "fis_organoids_drift_plate")
    wells = [m for m in movies if isinstance(m, Movie) and m.reader == "screening"]
    assert len(wells) == 2
    folder = data / "fis_organoids_drift_plate/W0001--fsk--0.008"
    expected = np.stack([tifffile.imread(f) for f in sorted(folder.glob("*.tif"))])
    np.testing.assert_array_equal(movie_pixels(wells[0]), np.moveaxis(expected, -1, 1))


def test_unpadded_numbers_are_in_order_and_holes_are_named(data: Path) -> None:
    movie = only(data / "file_naming_traps/tifseries_good")
    assert sorted(movie.missing) == [3, 4, 5, 6, 7, 8]
    known = import_options(pixel_size_um=0.1, frame_interval_min=2)
    plan = plan_import([data / "file_naming_traps/tifseries_good"], known)
    assert "lacks time 3" in plan.positions[0].problems[0]
    assert "--missing-frames" in plan.positions[0].problems[0]


def test_left_out_frames_keep_the_times_of_the_others(
    data: Path, imported: Callable[..., Any], pixels: Callable[[Any], NDArray[Any]]
) -> None:
    folder = data / "file_naming_traps/tifseries_good"
    experiment = imported(folder, pixel_size_um=0.1, frame_interval_min=2, missing_frames="skip")
    (position,) = experiment.positions.values()
    assert position.times_min() == [0.0, 2.0, 4.0, 18.0, 20.0, 22.0]
    files = [folder / f"channel1/C1-MAX_mitosis_t{t}.tif" for t in (0, 1, 2, 9, 10, 11)]
    np.testing.assert_array_equal(pixels(position)[:, 0], np.stack([tifffile.imread(f) for f in files]))


def test_filled_frames_are_black_and_noted(
    data: Path, imported: Callable[..., Any], pixels: Callable[[Any], NDArray[Any]]
) -> None:
    folder = data / "file_naming_traps/tifseries_good"
    experiment = imported(folder, pixel_size_um=0.1, frame_interval_min=2, missing_frames="fill")
    (position,) = experiment.positions.values()
    assert position.n_frames == 12
    assert not pixels(position)[3:9].any()
    assert position.attributes["source"]["missing_frames"] == {"policy": "fill", "frames": [3, 4, 5, 6, 7, 8]}


def test_numbers_without_a_meaning_are_asked_about(data: Path) -> None:
    folder = data / "file_naming_traps/tifseries_badnaming"
    plan = plan_import([folder], import_options(pixel_size_um=0.1, wells="A1"))
    assert any("--pattern" in q for q in plan.questions)
    movie = only(folder, pattern="C{channel}-MAX{time}mitosis")
    assert movie.shape[0] == 15
    assert sorted(movie.missing) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_stack_beside_its_frames(data: Path) -> None:
    names = {m.name: m for m in found(data / "nuclear_plus_reporter_20f")}
    assert isinstance(names["im1"], Movie)
    assert names["im1"].shape == (2, 2, 1, 512, 512)
    assert names["im1"].channels is None


def test_patterns_with_folders_and_conditions(tmp_path: Path) -> None:
    for well, drug in (("B2", "dmso"), ("C3", "taxol")):
        folder = tmp_path / "a plate ü" / f"{well} {drug}"
        folder.mkdir(parents=True)
        for t in range(3):
            tifffile.imwrite(folder / f"frame {t}.tif", np.full((8, 9), t, np.uint8))
    options = import_options(pattern="{well} {condition:drug}/frame {time}", pixel_size_um=1, frame_interval_min=5)
    plan = plan_import([tmp_path / "a plate ü"], options)
    assert not plan.questions
    assert [p.well for p in plan.positions] == ["B2", "C3"]
    assert plan.conditions is not None
    assert plan.conditions.to_dicts() == [{"well": "B2", "drug": "dmso"}, {"well": "C3", "drug": "taxol"}]


def test_a_pattern_must_fit_all_files(tmp_path: Path) -> None:
    folder = series(tmp_path)
    with pytest.raises(ParameterError, match="fits none"):
        found(folder, pattern="{well}_x{time}")
    tifffile.imwrite(folder / "other.tif", np.zeros((8, 9), np.uint8))
    with pytest.raises(ParameterError, match=r"does not fit 1 of 9.*other\.tif"):
        found(folder, pattern="exp_c{channel}_t{time}")


def test_stacks_in_a_series(tmp_path: Path, movie_pixels: Pixels) -> None:
    image = np.random.default_rng(7).integers(0, 999, (3, 2, 4, 8, 9)).astype(np.uint16)
    for t in range(3):
        for c in range(2):
            tifffile.imwrite(tmp_path / f"p_t{t}_ch{c}.tif", image[t, c], imagej=True, metadata={"axes": "ZYX"})
    movie = only(tmp_path)
    assert movie.is_3d
    np.testing.assert_array_equal(movie_pixels(movie), image)


def test_time_in_names_and_in_files_is_refused(tmp_path: Path) -> None:
    for t in range(2):
        tifffile.imwrite(tmp_path / f"p_t{t}.tif", np.zeros((3, 8, 9), np.uint8), imagej=True, metadata={"axes": "TYX"})
    (movie,) = found(tmp_path)
    assert isinstance(movie, Unreadable)
    assert "--pattern" in movie.problem


def test_planes_in_files_of_their_own(tmp_path: Path, movie_pixels: Pixels) -> None:
    image = np.random.default_rng(8).integers(0, 999, (2, 11, 8, 9)).astype(np.uint16)
    for t in range(2):
        for z in range(11):
            tifffile.imwrite(tmp_path / f"p_t{t}_z{z}.tif", image[t, z])
    np.testing.assert_array_equal(movie_pixels(only(tmp_path))[:, 0], image)


def test_png_frames(tmp_path: Path, movie_pixels: Pixels) -> None:
    image = np.random.default_rng(9).integers(0, 65535, (3, 8, 9)).astype(np.uint16)
    for t in range(3):
        Pillow.fromarray(image[t]).save(tmp_path / f"movie_t{t}.png")
    movie = only(tmp_path)
    assert movie.dtype == np.uint16
    np.testing.assert_array_equal(movie_pixels(movie)[:, 0], image)


# ---------------------------------------------------------------- hostile folders
def problem(folder: Path) -> str:
    movie = found(folder)[0]
    return movie.problem if isinstance(movie, Unreadable) else " ".join(movie.problems)


def test_an_empty_file_in_a_series_is_named(tmp_path: Path) -> None:
    (series(tmp_path) / "exp_c2_t1.tif").write_bytes(b"")
    assert "exp_c2_t1.tif' is empty (0 bytes)" in problem(tmp_path)


def test_the_first_file_may_be_the_bad_one(tmp_path: Path) -> None:
    (series(tmp_path) / "exp_c1_t0.tif").write_bytes(b"")
    assert "exp_c1_t0.tif' is empty" in problem(tmp_path)


def test_a_cut_file_in_a_series_is_named(tmp_path: Path) -> None:
    path = series(tmp_path) / "exp_c1_t3.tif"
    path.write_bytes(path.read_bytes()[:-40])
    assert "exp_c1_t3.tif' was cut off" in problem(tmp_path)


def test_a_cut_png_is_named(tmp_path: Path) -> None:
    for t in range(3):
        Pillow.fromarray(np.zeros((30, 31), np.uint8)).save(tmp_path / f"m_t{t}.png")
    path = tmp_path / "m_t2.png"
    path.write_bytes(path.read_bytes()[:-5])
    assert "m_t2.png' was cut off" in problem(tmp_path)


def test_frames_of_another_size_are_named(tmp_path: Path) -> None:
    series(tmp_path, c1_t2=np.zeros((8, 10), np.uint16))
    assert "exp_c1_t2.tif' is 8 x 10 pixels, 'exp_c1_t0.tif' is 8 x 9" in problem(tmp_path)


def test_frames_of_another_type_are_named(tmp_path: Path) -> None:
    series(tmp_path, c2_t3=np.zeros((8, 9), np.uint8))
    assert "exp_c2_t3.tif' holds uint8, 'exp_c2_t0.tif' of the same channel uint16" in problem(tmp_path)


def test_many_bad_files_are_counted(tmp_path: Path) -> None:
    series(tmp_path, n=8)
    for t in range(1, 8):
        (tmp_path / f"exp_c1_t{t}.tif").write_bytes(b"")
    assert "and 4 more files" in problem(tmp_path)


def test_a_missing_channel_of_a_frame_is_named(tmp_path: Path) -> None:
    (series(tmp_path) / "exp_c2_t1.tif").unlink()
    assert dict(only(tmp_path).missing) == {1: "time 1, channel 2"}


def test_every_second_frame_is_a_rhythm_not_a_hole(tmp_path: Path) -> None:
    for t in (0, 2, 4, 6):
        tifffile.imwrite(tmp_path / f"a_t{t}.tif", np.zeros((8, 9), np.uint8))
    assert not only(tmp_path).missing


def test_a_scan_that_another_well_has_is_missing(tmp_path: Path) -> None:
    for well in ("B2", "B3"):
        for h in range(4):
            if (well, h) != ("B3", 2):
                tifffile.imwrite(tmp_path / f"exp_Phase_{well}_1_00d0{h}h00m.tif", np.zeros((8, 9), np.uint8))
    movies = {m.well: m for m in found(tmp_path) if isinstance(m, Movie)}
    assert not movies["B2"].missing
    assert list(movies["B3"].missing) == [2]


def test_a_hole_in_regular_scans_is_missing(tmp_path: Path) -> None:
    for h in range(12):
        if h != 5:
            tifffile.imwrite(tmp_path / f"exp_Phase_B2_1_00d{h:02d}h00m.tif", np.zeros((8, 9), np.uint8))
    assert list(only(tmp_path).missing) == [5]


def test_irregular_scans_keep_their_times(tmp_path: Path) -> None:
    for name in ("00d00h00m", "00d00h30m", "00d02h00m", "01d00h00m"):
        tifffile.imwrite(tmp_path / f"exp_Phase_B2_1_{name}.tif", np.zeros((8, 9), np.uint8))
    movie = only(tmp_path)
    assert not movie.missing
    assert movie.calibration.times_min == (0.0, 30.0, 120.0, 1440.0)


def test_two_files_for_one_frame_are_named(tmp_path: Path) -> None:
    for name in ("a_t1", "a_t01"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((8, 9), np.uint8))
    assert "claim the same frame" in problem(tmp_path)


def test_hidden_files_are_left_alone(tmp_path: Path) -> None:
    series(tmp_path)
    (tmp_path / "._exp_c1_t0.tif").write_bytes(b"resource fork")
    assert not only(tmp_path).problems


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    series(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert only(tmp_path).shape[0] == 4


def test_the_experiment_in_the_imported_folder_is_left_out(tmp_path: Path) -> None:
    series(tmp_path)
    kinocyte.create(tmp_path / "made.zarr")
    movies, notes = recognise([tmp_path], import_options())
    assert len(movies) == 1
    assert any("made.zarr' is an experiment" in n for n in notes)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser reads everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    folder = series(tmp_path / "closed")
    folder.chmod(0)
    try:
        with pytest.raises(InputFileError, match="closed' cannot be read"):
            found(tmp_path)
    finally:
        folder.chmod(0o755)


def test_nothing_to_import(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no image"):
        found(tmp_path)
    with pytest.raises(ParameterError, match="does not exist"):
        found(tmp_path / "absent")
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(ParameterError, match="not read"):
        found(tmp_path / "a.docx")
