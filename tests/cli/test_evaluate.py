"""`kinocyte evaluate` on the challenge's own test data and on small folders made here, whole and broken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile

from kinocyte.cli import run

Capture = pytest.CaptureFixture[str]
SHAPE = (20, 30)


@pytest.fixture
def official(data: Path) -> Path:
    """Return sequence 03 of the challenge's own test data."""
    return data / "ctc_official_evaluation_testset"


def square(label: int, y: int, x: int, size: int = 4, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    image = np.zeros(shape, np.uint16)
    image[..., y : y + size, x : x + size] = label
    return image


def write_movie(folder: Path, prefix: str, images: list[np.ndarray], tracks: str, start: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for t, image in enumerate(images, start):
        tifffile.imwrite(folder / f"{prefix}{t:03d}.tif", image, photometric="minisblack")
    (folder / ("man_track.txt" if prefix == "man_track" else "res_track.txt")).write_text(tracks)
    return folder


def walk(n: int = 4) -> list[np.ndarray]:
    """Return a cell that walks, and one that stays and is not in the last frame."""
    return [square(1, 2, 3 + 2 * t) + square(2, 12, 20) * (t < n - 1) for t in range(n)]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Return a truth and a result equal to it."""
    write_movie(tmp_path / "01_GT" / "TRA", "man_track", walk(), "1 0 3 0\n2 0 2 0\n")
    return tmp_path / "01_GT", write_movie(tmp_path / "01_RES", "mask", walk(), "1 0 3 0\n2 0 2 0\n")


def scores(capsys: Capture, *words: object) -> dict[str, Any]:
    assert run(["evaluate", *map(str, words), "--json"]) == 0
    said = capsys.readouterr()
    assert said.out.count("\n") == 1, "one object on one line"
    return dict(json.loads(said.out))


def refused(capsys: Capture, *words: object) -> str:
    assert run(["evaluate", *map(str, words)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("kinocyte: ")
    assert said.err.count("\n") == 1, "one sentence"
    return said.err


@pytest.mark.parametrize("truth", ["03_GT", "03_GT/TRA"])
def test_official_test_data(official: Path, truth: str, tmp_path: Path, capsys: Capture) -> None:
    errors = tmp_path / "errors.csv"
    found = scores(capsys, "tracking", official / truth, official / "03_RES", "--errors", errors)
    assert found["TRA"] == pytest.approx(0.622980, abs=5e-7)
    assert found["DET"] == pytest.approx(0.688000, abs=5e-7)
    assert found["SEG"] is None, "there is no SEG folder"
    assert found["frames"] == 7
    rows = pl.read_csv(errors)
    assert rows["penalty"].sum() == found["AOGM"] == 105
    assert rows["frame"].is_sorted()
    per_frame = {row["frame"]: row["penalty"] for row in found["errors_per_frame"]}
    assert per_frame == dict(rows.group_by("frame").agg(pl.col("penalty").sum()).iter_rows())


def test_the_errors_are_those_of_the_official_log(official: Path, tmp_path: Path, capsys: Capture) -> None:
    heads = {
        "Splitting": "split", "False Negative": "missed", "False Positive": "spurious",
        "Redundant": "redundant_link", "Edges To Be": "missing_link", "Edges with": "wrong_kind",
    }  # fmt: skip
    logged, kind = [], ""
    for line in (official / "03_RES" / "TRA_log.txt").read_text().splitlines():
        if line.startswith("-----"):
            kind = next(v for k, v in heads.items() if line.strip("-").startswith(k))
        elif line.lstrip("[").startswith("T="):
            numbers = [int(n) for n in re.findall(r"=(\d+)", line)]
            logged.append((kind, *numbers, *[None] * (4 - len(numbers))))
    assert len(logged) == 32
    errors = tmp_path / "errors.parquet"
    scores(capsys, "tracking", official / "03_GT", official / "03_RES", "--errors", errors)
    either = [pl.coalesce(f"{to}reference_label", f"{to}result_label").alias(f"{to}label") for to in ("", "to_")]
    mine = pl.read_parquet(errors).with_columns(either).select("error", "frame", "label", "to_frame", "to_label")
    assert sorted(map(str, mine.rows())) == sorted(map(str, logged))


def test_tables_for_people(official: Path, capsys: Capture) -> None:
    assert run(["evaluate", "tracking", str(official / "03_GT"), str(official / "03_RES")]) == 0
    said = capsys.readouterr().out
    assert "0.6230" in said
    assert "0.6880" in said
    assert "--errors FILE.csv" in said
    assert run(["evaluate", "segmentation", str(official / "03_GT" / "TRA"), str(official / "03_RES")]) == 0
    assert "panoptic quality" in capsys.readouterr().out


def test_a_result_equal_to_the_truth(pair: tuple[Path, Path], capsys: Capture) -> None:
    found = scores(capsys, "tracking", *pair)
    assert [found[n] for n in ("TRA", "DET", "LNK", "CT", "TF", "HOTA", "IDF1")] == pytest.approx([1.0] * 7)
    assert (found["SEG"], found["errors_per_frame"], found["problems"]) == (None, [], [])
    assert run(["evaluate", "tracking", *map(str, pair)]) == 0
    assert "There is no error." in capsys.readouterr().out


def test_seg_comes_from_the_seg_folder_or_from_where_it_is_asked(pair: tuple[Path, Path], capsys: Capture) -> None:
    truth, result = pair
    assert scores(capsys, "tracking", truth, result, "--seg", truth / "TRA")["SEG"] == 1
    (truth / "SEG").mkdir()
    tifffile.imwrite(truth / "SEG" / "man_seg002.tif", square(9, 2, 8))  # 16 pixels, of which the result covers 12
    assert scores(capsys, "tracking", truth, result)["SEG"] == pytest.approx(12 / 20)
    assert scores(capsys, "tracking", truth / "TRA", result)["SEG"] == pytest.approx(12 / 20)
    tifffile.imwrite(truth / "SEG" / "man_seg009.tif", square(9, 2, 8))
    assert "man_seg009.tif" in refused(capsys, "tracking", truth, result)


def test_seg_of_single_planes_in_3d(tmp_path: Path, capsys: Capture) -> None:
    images = [square(1, 2, 3, shape=(3, *SHAPE)) for _ in range(2)]
    truth = write_movie(tmp_path / "GT" / "TRA", "man_track", images, "1 0 1 0\n").parent
    result = write_movie(tmp_path / "RES", "mask", images, "1 0 1 0\n")
    (truth / "SEG").mkdir()
    tifffile.imwrite(truth / "SEG" / "man_seg_001_002.tif", square(4, 2, 4))
    assert scores(capsys, "tracking", truth, result)["SEG"] == pytest.approx(12 / 20)
    tifffile.imwrite(truth / "SEG" / "man_seg_001_003.tif", square(4, 2, 4))
    assert "man_seg_001_003.tif" in refused(capsys, "tracking", truth, result)


def test_errors_are_listed_by_the_number_in_the_file_names(tmp_path: Path, capsys: Capture) -> None:
    images = walk()
    truth = write_movie(tmp_path / "T", "man_track", images, "1 5 8 0\n2 5 7 0\n", start=5)
    images[2] = square(2, 12, 20)  # the walking cell is missed
    result = write_movie(tmp_path / "R", "mask", images, "1 5 8 0\n2 5 7 0\n", start=5)
    out = tmp_path / "errors.csv"
    found = scores(capsys, "tracking", truth, result, "--errors", out)
    rows = pl.read_csv(out).filter(pl.col("error") == "missed")
    assert rows.select("frame", "reference_label", "y", "x").row(0) == (7, 1, 3.5, 8.5)
    assert (found["FN"], found["frames"]) == (1, 4)
    assert 7 in [row["frame"] for row in found["errors_per_frame"]]
    assert "exists already" in refused(capsys, "tracking", truth, result, "--errors", out)
    assert "must end in" in refused(capsys, "tracking", truth, result, "--errors", tmp_path / "errors.xls")


def remove(folder: Path, pattern: str) -> None:
    for path in sorted(folder.glob(pattern)):
        path.unlink()


def redraw(result: Path, image: np.ndarray, pattern: str = "mask002.tif") -> None:
    for path in sorted(result.glob(pattern)):
        tifffile.imwrite(path, image, photometric="rgb" if image.ndim == 3 else "minisblack")


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


BREAKS: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "missing mask": ("frame 2", lambda _, r: remove(r, "mask002.tif")),
    "missing last mask": ("frame 3", lambda _, r: remove(r, "mask003.tif")),
    "no masks": ("no masks", lambda _, r: remove(r, "*.tif")),
    "unequal frames": ("mask002.tif", lambda _, r: redraw(r, np.zeros((20, 31), np.uint16))),
    "unequal movies": ("man_track000.tif", lambda _, r: redraw(r, np.zeros((21, 30), np.uint16), "*.tif")),
    "colours": ("channels", lambda _, r: redraw(r, np.zeros((*SHAPE, 3), np.uint8))),
    "fractions": ("mask002.tif", lambda _, r: redraw(r, np.full(SHAPE, 0.5, np.float32))),
    "negative": ("mask002.tif", lambda _, r: redraw(r, np.full(SHAPE, -1, np.int16))),
    "cut off": ("mask002.tif", lambda _, r: cut(r / "mask002.tif", 300)),
    "empty file": ("mask002.tif", lambda _, r: cut(r / "mask002.tif", 0)),
    "no table": ("res_track.txt", lambda _, r: remove(r, "res_track.txt")),
    "empty truth": ("01_GT", lambda t, _: remove(t / "TRA", "*")),
    "broken line": ("res_track.txt", lambda _, r: (r / "res_track.txt").write_text("1 0 3\n")),
    "words": ("res_track.txt", lambda _, r: (r / "res_track.txt").write_text("a b c d\n")),
    "parent": ("res_track.txt", lambda _, r: (r / "res_track.txt").write_text("1 0 3 7\n")),
    "huge": ("res_track.txt", lambda _, r: (r / "res_track.txt").write_text(f"{10**30} 0 3 0\n")),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_folder_is_refused_in_one_sentence(name: str, pair: tuple[Path, Path], capsys: Capture) -> None:
    expected, spoil = BREAKS[name]
    spoil(*pair)
    assert expected in refused(capsys, "tracking", *pair)


def test_a_folder_that_is_not_there(tmp_path: Path, pair: tuple[Path, Path], capsys: Capture) -> None:
    assert "nowhere" in refused(capsys, "tracking", pair[0], tmp_path / "nowhere")
    assert "nowhere" in refused(capsys, "segmentation", tmp_path / "nowhere", pair[1])
    assert "nowhere.csv" in refused(capsys, "tracking", tmp_path / "nowhere.csv", pair[1])


def test_a_table_that_contradicts_the_masks_is_scored_and_named(pair: tuple[Path, Path], capsys: Capture) -> None:
    (pair[1] / "res_track.txt").write_text("1 0 2 0\n2 0 2 0\n")
    found = scores(capsys, "tracking", *pair)
    assert found["TRA"] == 1
    assert "Track 1 of the result" in found["problems"][0]
    assert run(["evaluate", "tracking", *map(str, pair)]) == 0
    assert "warning: Track 1 of the result" in capsys.readouterr().err


def write_tables(folder: Path, name: str, shift_um: float = 0.0, ending: str = "csv") -> Path:
    """Write objects and links of two cells in three frames; positions are those of pixels of 0.5 um."""
    objects = pl.DataFrame(
        {"object_id": [11, 12, 13, 21, 22, 23], "frame": [0, 1, 2] * 2, "x_um": [2.0, 3.0, 4.0] + [10.0] * 3}
    ).with_columns(pl.col("x_um") + shift_um, y_um=pl.Series([1.5] * 3 + [6.5] * 3), z_um=pl.lit(None, pl.Float64))
    links = pl.DataFrame({"source_id": [11, 12, 21, 22], "target_id": [12, 13, 22, 23]})
    for kind, frame in (("objects", objects), ("links", links)):
        path = folder / f"{name}_{kind}.{ending}"
        frame.write_csv(path) if ending == "csv" else frame.write_parquet(path)
    return folder / f"{name}_objects.{ending}"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_matched_by_distance(tmp_path: Path, ending: str, capsys: Capture) -> None:
    truth, result = write_tables(tmp_path, "truth", ending=ending), write_tables(tmp_path, "found", 0.5, ending)
    assert scores(capsys, "tracking", truth, result, "--max-distance-um", 0.6)["TRA"] == 1
    assert scores(capsys, "tracking", truth, result, "--max-distance-um", 0.4)["TRA"] == 0
    links = tmp_path / "elsewhere.csv"
    links.write_text("source_id,target_id\n11,12\n21,22\n22,23\n")
    found = scores(capsys, "tracking", truth, result, "--max-distance-um", 0.6, "--result-links", links)
    assert (found["EA"], found["DET"], found["LNK"]) == (1, 1, 0.75)
    assert "max_distance_um" in refused(capsys, "tracking", truth, result)


def test_positions_are_scored_as_particles(pair: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    truth, result = write_tables(tmp_path, "truth"), write_tables(tmp_path, "found", 0.5)
    near = scores(capsys, "tracking", truth, result, "--max-distance-um", 0.6)
    assert (near["alpha"], near["beta"]) == pytest.approx((1 / 6, 1 / 6))
    assert (near["JSC"], near["JSC_theta"], near["RMSE_um"]) == pytest.approx((1.0, 1.0, 0.5))
    wide = scores(capsys, "tracking", truth, result, "--max-distance-um", 0.6, "--gate-um", 2.0)
    assert wide["alpha"] == pytest.approx(0.75)
    cut = tmp_path / "elsewhere.csv"
    cut.write_text("source_id,target_id\n11,12\n21,22\n22,23\n")  # the third position of a track is one of its own
    found = scores(capsys, "tracking", truth, truth, "--max-distance-um", 0.6, "--result-links", cut)
    assert (found["alpha"], found["beta"], found["JSC_theta"]) == pytest.approx((5 / 6, 5 / 7, 2 / 3))
    same = scores(capsys, "tracking", *pair)
    assert (same["alpha"], same["beta"], same["RMSE_px"]) == (1, 1, 0)
    assert scores(capsys, "tracking", *pair, "--pixel-size-um", 0.5, "--gate-um", 1.0)["RMSE_um"] == 0
    assert "--pixel-size-um" in refused(capsys, "tracking", *pair, "--gate-um", 1.0)
    assert "gate_um" in refused(capsys, "tracking", truth, result, "--max-distance-um", 0.6, "--gate-um", -1.0)


def test_a_table_as_truth_of_masks(tmp_path: Path, capsys: Capture) -> None:
    truth = write_tables(tmp_path, "truth")
    result = write_movie(tmp_path / "RES", "mask", walk()[:3], "1 0 2 0\n2 0 2 0\n")
    found = scores(capsys, "tracking", truth, result, "--pixel-size-um", 0.5)
    assert (found["TRA"], found["frames"], found["RMSE_um"]) == (1, 3, pytest.approx(0.375**0.5))
    assert "--pixel-size-um" in refused(capsys, "tracking", truth, result, "--pixel-size-um", -1)
    (result / "mask002.tif").unlink()
    assert "has the frame 2" in refused(capsys, "tracking", truth, result, "--pixel-size-um", 0.5)


@pytest.mark.parametrize(
    ("objects", "links", "expected"),
    [
        ("", "source_id,target_id\n", "is empty"),
        ("object_id,frame,x_um,y_um\n1,0,a,b\n", "source_id,target_id\n", "micrometres"),
        ("object_id,frame,x_um,y_um\n1,-1,1,1\n", "source_id,target_id\n", "frame -1"),
        ("object_id,frame,x_um,y_um\n1,0,1,1\n1,1,1,1\n", "source_id,target_id\n", "twice"),
        ("object_id,frame,x_um,y_um\n1,0,1,1\n", "source_id,target_id\n1,2\n", "object 2"),
        ("object_id,frame,x_um,y_um\n1,0,,1\n", "source_id,target_id\n", "lack a position"),
        ("object_id,frame,position\n1,0,A1/1\n1,0,A1/2\n", "source_id,target_id\n", "2 positions"),
        ("object_id,x_um,y_um\n1,1,1\n", "source_id,target_id\n", "frame"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, objects: str, links: str, expected: str, capsys: Capture) -> None:
    truth = write_tables(tmp_path, "truth")
    result = tmp_path / "found_objects.csv"
    result.write_text(objects)
    assert "--result-links" in refused(capsys, "tracking", truth, result, "--max-distance-um", 1)
    (tmp_path / "found_links.csv").write_text(links)
    assert expected in refused(capsys, "tracking", truth, result, "--max-distance-um", 1)


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    """Return two folders of label images: TIFF as truth, PNG as result, with one cell missed in ``b``."""
    import imagecodecs

    truth, result = tmp_path / "truth", tmp_path / "result"
    truth.mkdir()
    result.mkdir()
    both = square(1, 2, 3) + square(2, 12, 20)
    for name, found in (("a", both), ("b", square(7, 12, 20))):
        tifffile.imwrite(truth / f"{name}.tif", both)
        (result / f"{name}.png").write_bytes(imagecodecs.png_encode(found))
    return truth, result


def test_segmentation_pairs_images_by_name(images: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    errors = tmp_path / "errors.csv"
    found = scores(capsys, "segmentation", *images, "--errors", errors)
    assert (found["images"], found["true_positives"], found["false_negatives"], found["f1"]) == (2, 3, 1, 6 / 7)
    assert found["mean_over_images"]["recall"] == 0.75
    assert [row["image"] for row in found["per_image"]] == ["a", "b"]
    assert pl.read_csv(errors).rows() == [("b", "missed", 1, 3.5, 4.5)]


def test_images_without_a_partner_are_named(images: tuple[Path, Path], capsys: Capture) -> None:
    truth, result = images
    (result / "a.png").rename(result / "c.png")
    assert "'a.tif'" in refused(capsys, "segmentation", truth, result)
    found = scores(capsys, "segmentation", truth, result, "--matched-only")
    assert (found["only_in_truth"], found["only_in_result"], found["images"]) == (["a.tif"], ["c.png"], 1)
    assert run(["evaluate", "segmentation", str(truth), str(result), "--matched-only"]) == 0
    assert "'c.png'" in capsys.readouterr().err
    (result / "b.png").rename(result / "d.png")
    assert "'c.png', 'd.png'" in refused(capsys, "segmentation", truth, result, "--matched-only")


def test_frames_of_a_movie_in_one_file_are_images_of_their_own(tmp_path: Path, capsys: Capture) -> None:
    movie = np.stack(walk(3))
    for folder in ("truth", "result"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "m.tif", movie, imagej=True, metadata={"axes": "TYX"})
    found = scores(capsys, "segmentation", tmp_path / "truth", tmp_path / "result")
    assert [row["image"] for row in found["per_image"]] == ["m frame 0", "m frame 1", "m frame 2"]
    assert found["f1"] == 1


def test_two_files_are_a_pair_and_a_challenge_folder_stands_for_its_masks(
    images: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    truth, result = images
    assert scores(capsys, "segmentation", truth / "a.tif", result / "a.png")["images"] == 1
    truth.rename(tmp_path / "SEG")
    assert scores(capsys, "segmentation", tmp_path, result)["true_positives"] == 3


def test_whole_numbers_kept_as_floats_are_labels(images: tuple[Path, Path], capsys: Capture) -> None:
    truth, result = images
    tifffile.imwrite(truth / "a.tif", tifffile.imread(truth / "a.tif").astype(np.float32))
    assert scores(capsys, "segmentation", truth, result)["true_positives"] == 3


def test_broken_label_images_are_refused(images: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    truth, result = images
    tifffile.imwrite(truth / "a.tif", np.zeros((5, 5), np.uint8))
    said = refused(capsys, "segmentation", truth, result)
    assert "a.tif" in said
    assert "a.png" in said
    (tmp_path / "empty").mkdir()
    assert "no label image" in refused(capsys, "segmentation", truth, tmp_path / "empty")
    (truth / "a.png").write_bytes((result / "a.png").read_bytes())
    assert "keep one" in refused(capsys, "segmentation", truth, result)
