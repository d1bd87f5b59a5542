"""Folders of the Cell Tracking Challenge and of Celldetective."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray
from skimage.measure import regionprops

from kinocyte.core.errors import InputFileError
from kinocyte.core.scale import Scale
from kinocyte.interop.ctc import read_lineage
from kinocyte.interop.options import import_options
from kinocyte.interop.recognise import recognise
from kinocyte.interop.source import Movie, Unreadable

Pixels = Callable[[Movie], NDArray[Any]]


def only(path: Path) -> Movie:
    (movie,) = recognise([path], import_options())[0]
    assert isinstance(movie, Movie), movie
    return movie


@pytest.fixture
def challenge(data: Path, tmp_path: Path) -> Path:
    """Return a folder in the layout of the challenge: real truth and lineage, made-up images."""
    truth = data / "ctc_sim_nuclei/Fluo-N2DH-SIM+_01_GT_TRA"
    folder = tmp_path / "Fluo-N2DH-SIM+"
    shutil.copytree(truth, folder / "01_GT/TRA")
    (folder / "01").mkdir()
    (folder / "01_GT/SEG").mkdir()
    rng = np.random.default_rng(12)
    for path in [*(folder / "01_GT/TRA").glob("*.tif")]:
        if int(path.stem[-3:]) >= 40:
            path.unlink()
    lines = np.loadtxt(truth / "man_track.txt", dtype=int)
    lines = lines[lines[:, 1] < 40]
    lines[:, 2] = np.minimum(lines[:, 2], 39)
    np.savetxt(folder / "01_GT/TRA/man_track.txt", lines, fmt="%d")
    for t in range(40):
        tifffile.imwrite(folder / f"01/t{t:03d}.tif", rng.integers(0, 999, (690, 628)).astype(np.uint16))
    shutil.copy(truth / "man_track004.tif", folder / "01_GT/SEG/man_seg004.tif")
    return folder


def test_images_masks_and_lineage_of_the_challenge(
    challenge: Path, imported: Callable[..., Any], pixels: Callable[[Any], NDArray[Any]]
) -> None:
    experiment = imported(challenge, pixel_size_um=0.125, frame_interval_min=29)
    (position,) = experiment.positions.values()
    images = np.stack([tifffile.imread(challenge / f"01/t{t:03d}.tif") for t in range(40)])
    np.testing.assert_array_equal(pixels(position)[:, 0], images)
    assert position.label_names == ["truth_segmentation", "truth_tracking"]
    for t in (0, 30, 39):
        expected = tifffile.imread(challenge / f"01_GT/TRA/man_track{t:03d}.tif")
        np.testing.assert_array_equal(position.labels("truth_tracking").frame(t), expected)
    assert not position.labels("truth_segmentation").frame(3).any()
    assert position.labels("truth_segmentation").frame(4).any()
    assert position.attributes["source"]["annotated_frames"] == {"truth_segmentation": [4]}
    _check_lineage(challenge / "01_GT/TRA/man_track.txt", position)
    _check_centres(challenge / "01_GT/TRA/man_track030.tif", position.objects("truth_tracking"), 30)


def _check_lineage(path: Path, position: Any) -> None:
    """Compare tracks and links with the text file, read here by numpy."""
    rows = np.loadtxt(path, dtype=int)
    tracks = position.tracks("truth_tracking").sort("track_id")
    by_label = rows[rows[:, 0].argsort()]
    assert tracks["track_id"].to_list() == by_label[:, 0].tolist()
    assert tracks["first_frame"].to_list() == by_label[:, 1].tolist()
    assert tracks["last_frame"].to_list() == by_label[:, 2].tolist()
    assert tracks["parent_id"].fill_null(0).to_list() == by_label[:, 3].tolist()
    links = position.links("truth_tracking")
    within = int((rows[:, 2] - rows[:, 1]).sum())
    assert links.height == within + int((rows[:, 3] > 0).sum())
    daughters = position.tracks("truth_tracking").filter(pl.col("parent_id").is_not_null())
    parents = dict(tracks.select("track_id", "generation").iter_rows())
    assert all(g == parents[p] + 1 for g, p in daughters.select("generation", "parent_id").iter_rows())


def _check_centres(path: Path, objects: pl.DataFrame, frame: int) -> None:
    """Compare centres with scikit-image's."""
    mine = objects.filter(pl.col("frame") == frame).sort("label")
    theirs = regionprops(tifffile.imread(path))
    assert mine["label"].to_list() == [r.label for r in theirs]
    np.testing.assert_allclose(
        mine.select("y_um", "x_um").to_numpy(), [np.multiply(r.centroid, 0.125) for r in theirs], rtol=1e-12
    )
    assert mine["time_min"].to_list() == [frame * 29.0] * mine.height


def test_the_challenge_states_no_calibration(challenge: Path) -> None:
    movie = only(challenge)
    assert movie.calibration.pixel_x_um is None  # the tags say 0.1238 um, the challenge 0.125 um
    assert movie.calibration.frame_interval_min is None


def test_planes_of_the_challenge_are_z(tmp_path: Path, movie_pixels: Pixels) -> None:
    image = np.random.default_rng(13).integers(0, 99, (3, 5, 20, 21)).astype(np.uint8)
    (tmp_path / "01").mkdir()
    (tmp_path / "01_GT/SEG").mkdir(parents=True)
    for t in range(3):
        tifffile.imwrite(tmp_path / f"01/t{t:03d}.tif", image[t], photometric="minisblack")
    mask = np.zeros((20, 21), np.uint16)
    mask[2:5, 3:6] = 4
    tifffile.imwrite(tmp_path / "01_GT/SEG/man_seg_001_003.tif", mask)
    movie = only(tmp_path)
    assert movie.shape == (3, 1, 5, 20, 21)
    assert not movie.questions
    np.testing.assert_array_equal(movie_pixels(movie)[:, 0], image)
    (labels,) = movie.labels
    np.testing.assert_array_equal(labels.read(1)[3], mask)
    assert labels.read(1).sum() == mask.sum()


def test_masks_without_images_are_refused(data: Path) -> None:
    (found,) = recognise([data / "ctc_official_evaluation_testset"], import_options())[0]
    assert isinstance(found, Unreadable)
    assert "no images" in found.problem
    (found,) = recognise([data / "ctc_fluo_n2dl_hela_01_gt_tracks_and_res/01_RES"], import_options())[0]
    assert isinstance(found, Unreadable)


def test_the_official_result_is_read(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "ctc_official_evaluation_testset/03_RES", tmp_path / "03_RES")
    (tmp_path / "03").mkdir()
    for t in range(7):
        tifffile.imwrite(tmp_path / f"03/t{t:03d}.tif", np.zeros((700, 1100), np.uint16))
    movie = only(tmp_path)
    (labels,) = movie.labels
    assert labels.population == "result"
    for t in range(7):
        np.testing.assert_array_equal(
            labels.read(t), tifffile.imread(data / f"ctc_official_evaluation_testset/03_RES/mask{t:03d}.tif")
        )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 0 5", "Line 1"),
        ("1 0 5 0\n1 6 7 0", "Line 2"),
        ("1 5 4 0", "ends before"),
        ("1 0 5 0\n2 4 6 1", "parent 1"),
        ("2 0 3 9", "parent 9"),
        ("a b c d", "four whole"),
    ],
)
def test_a_damaged_lineage_is_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "man_track.txt"
    path.write_text(text)
    with pytest.raises(InputFileError, match=why):
        read_lineage(path)


def test_a_gap_is_no_generation(challenge: Path) -> None:
    path = challenge / "res.txt"
    path.write_text("1 0 3 0\n2 6 9 1\n3 10 12 2\n4 10 13 2\n")
    assert [b.parent for b in read_lineage(path)] == [0, 1, 2, 2]
    from kinocyte.interop.label_tables import tracks_table

    tracks = tracks_table({b.label: b for b in read_lineage(path)}, "t")
    assert tracks["generation"].to_list() == [0, 0, 1, 1]
    assert tracks["root_id"].to_list() == [1, 1, 1, 1]


# ---------------------------------------------------------------- Celldetective
@pytest.fixture
def ricm(data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "a ricm demo"
    shutil.copytree(data / "celldetective_adcc_and_ricm/ricm_demo", folder)
    for path in folder.rglob("*"):
        path.chmod(0o755)
    return folder


def test_a_celldetective_experiment(
    data: Path, imported: Callable[..., Any], pixels: Callable[[Any], NDArray[Any]]
) -> None:
    folder = data / "celldetective_adcc_and_ricm/ricm_demo"
    experiment = imported(folder)
    (position,) = experiment.positions.values()
    assert position.id == "A1/100"
    assert position.channels == ("adhesion_channel",)
    assert position.scale.pixel_size_um == pytest.approx(0.2, rel=1e-9)
    assert position.scale.frame_interval_min == 1.0
    np.testing.assert_array_equal(pixels(position)[:, 0], tifffile.imread(folder / "W1/100/movie/stack.tif"))
    for t in range(6):
        expected = tifffile.imread(folder / f"W1/100/labels_effectors/000{t}.tif")
        np.testing.assert_array_equal(position.labels("effectors").frame(t), expected)
    table = pl.read_csv(folder / "W1/100/output/tables/trajectories_effectors.csv")
    objects = position.objects("effectors")
    assert objects.height == table.height
    np.testing.assert_allclose(objects["x_um"], table["POSITION_X_um"], rtol=1e-12)
    np.testing.assert_allclose(objects["y_um"], table["POSITION_Y_um"], rtol=1e-12)
    assert objects["track_id"].to_list() == table["TRACK_ID"].cast(pl.Int64).to_list()
    assert set(position.tracks("effectors")["track_id"]) == set(objects["track_id"])
    assert position.links("effectors").height == table.height - table["TRACK_ID"].n_unique()
    events = position.table("effectors_events")
    assert events.select("event", "class", "time_min").rows() == [("firstdetection", "censored_left", None)]
    assert experiment.conditions["celldetective_well"].to_list() == ["W1"]


def test_objects_lie_on_their_masks(data: Path, imported: Callable[..., Any]) -> None:
    experiment = imported(data / "celldetective_adcc_and_ricm/ricm_demo")
    (position,) = experiment.positions.values()
    for row in position.objects("effectors").iter_rows(named=True):
        labels = position.labels("effectors").frame(row["frame"])
        assert labels[round(row["y_um"] / 0.2), round(row["x_um"] / 0.2)] == row["label"]


def test_planes_are_frames_when_the_configuration_says_so(ricm: Path, movie_pixels: Pixels) -> None:
    image = np.random.default_rng(14).integers(0, 999, (6, 2, 185, 179)).astype(np.uint16)
    stack = ricm / "W1/100/movie/stack.tif"
    config = (ricm / "config.ini").read_text().replace("brightfield_channel = nan", "brightfield_channel = 1")
    (ricm / "config.ini").write_text(config)
    for axes in ("ZYX", None):
        metadata = {"axes": axes} if axes else None
        tifffile.imwrite(
            stack, image.reshape(12, 185, 179), imagej=axes is not None, metadata=metadata, photometric="minisblack"
        )
        movie = only(ricm)
        assert movie.shape == (6, 2, 1, 185, 179)
        assert movie.channels == ("adhesion_channel", "brightfield_channel")
        np.testing.assert_array_equal(movie_pixels(movie), image)


def test_a_stack_that_does_not_fit_the_configuration(ricm: Path) -> None:
    config = (ricm / "config.ini").read_text().replace("len_movie = 6", "len_movie = 7")
    (ricm / "config.ini").write_text(config)
    (found,) = recognise([ricm], import_options())[0]
    assert isinstance(found, Unreadable)
    assert "6 planes" in found.problem
    assert "config.ini' speaks of 7 frames" in found.problem


def test_pickles_are_never_opened(ricm: Path, tmp_path: Path) -> None:
    trap = ricm / "W1/100/output/tables/trajectories_targets.pkl"
    trap.write_bytes(f"cos\nsystem\n(S'touch {tmp_path}/ran'\ntR.".encode())
    movie = only(ricm)
    assert any("pickles" in n for n in movie.notes)
    assert not (tmp_path / "ran").exists()


def test_a_damaged_configuration_is_named(ricm: Path) -> None:
    (ricm / "config.ini").write_text("[MovieSettings]\npxtoum = 0.2\n[Channels]\na = 0\nb = 0\n")
    (found,) = recognise([ricm], import_options())[0]
    assert isinstance(found, Unreadable)
    assert "channel 0 to both a and b" in found.problem


def test_a_bad_mask_is_named(ricm: Path) -> None:
    (ricm / "W1/100/labels_effectors/0003.tif").write_bytes(b"")
    assert "0003.tif' is empty" in only(ricm).labels[0].problems[0]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("1.0,0.0,", "1.0,x,"), "Column FRAME .* no number"),
        (("1.0,0.0,", "1.0,,"), "Column FRAME .* empty"),
        (("1.0,0.0,", "1.0,99,"), "Column FRAME .* 6 frames"),
        (("1.0,0.0,", "1.5,0,"), "Column TRACK_ID"),
        (("POSITION_X,", "P_X,"), "lacks the column POSITION_X"),
    ],
)
def test_a_bad_table_is_named(ricm: Path, change: tuple[str, str], why: str) -> None:
    path = ricm / "W1/100/output/tables/trajectories_effectors.csv"
    path.write_text(path.read_text().replace(*change, 1))
    tables = only(ricm).tables
    assert tables is not None
    with pytest.raises(InputFileError, match=why):
        tables(Scale.isotropic(0.2, 1.0))


def test_negative_labels_are_refused(ricm: Path) -> None:
    bad = np.full((185, 179), -1, np.int16)
    tifffile.imwrite(ricm / "W1/100/labels_effectors/0003.tif", bad)
    with pytest.raises(InputFileError, match=r"0003\.tif.*-1"):
        only(ricm).labels[0].read(3)


def test_one_position_of_an_experiment(ricm: Path) -> None:
    shutil.copytree(ricm / "W1/100", ricm / "W1/101")
    assert [m.name for m in recognise([ricm], import_options())[0]] == ["W1 100", "W1 101"]
    assert [m.name for m in recognise([ricm / "W1/101"], import_options())[0]] == ["W1 101"]
