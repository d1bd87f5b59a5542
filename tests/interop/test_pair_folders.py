"""Files that belong together by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.interop.pair_folders import group_name, image_file, match_names, unpaired


def write(path: Path, image: NDArray[Any] | None = None, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((4, 5), np.uint8) if image is None else image
    if path.suffix == ".npy":
        np.save(path, image)
    elif path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(image))
    else:
        tifffile.imwrite(path, image, **more)
    return path


def folders(root: Path, inputs: list[str], targets: list[str]) -> tuple[Path, Path]:
    for name in inputs:
        write(root / "in" / name)
    for name in targets:
        write(root / "out" / name)
    return root / "in", root / "out"


def test_equal_names_pair_first_then_names_with_words(tmp_path: Path) -> None:
    inputs = ["a.tif", "b.ome.tif", "c_raw.png", "D_img.tif", "e_mask.tif", "input_f.tif"]
    targets = ["a.png", "b_masks.tif", "c-clean.npy", "d_label.tif", "e_mask.tif", "gt_f.tif"]
    found = match_names(*folders(tmp_path, inputs, targets))
    assert {k: (a.name, b.name) for k, (a, b) in found.pairs.items()} == {
        "a": ("a.tif", "a.png"),
        "b": ("b.ome.tif", "b_masks.tif"),
        "c_raw": ("c_raw.png", "c-clean.npy"),
        "D_img": ("D_img.tif", "d_label.tif"),
        "e_mask": ("e_mask.tif", "e_mask.tif"),
        "input_f": ("input_f.tif", "gt_f.tif"),
    }
    assert not found.only_inputs
    assert not found.only_targets


def test_one_folder_may_hold_both(tmp_path: Path) -> None:
    folder, _ = folders(tmp_path, ["a.tif", "a_masks.tif", "b.tif", "b_masks.tif"], [])
    found = match_names(folder, folder)
    assert [(a.name, b.name) for a, b in found.pairs.values()] == [("a.tif", "a_masks.tif"), ("b.tif", "b_masks.tif")]


def test_lonely_files_are_named_with_the_nearest(tmp_path: Path) -> None:
    found = match_names(*folders(tmp_path, ["a.tif", "cell_07.tif"], ["a.tif", "cel_07.tif"]))
    sentences = unpaired(found)
    assert len(sentences) == 2
    assert "no target has the name of 'cell_07.tif'" in sentences[0]
    assert "did you mean 'cel_07'" in sentences[0]
    assert "no image has the name of 'cel_07.tif'" in sentences[1]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="have one name"):
        match_names(*folders(tmp_path, ["a.tif", "a.png"], ["a.tif"]))
    with pytest.raises(InputFileError, match="holds no image"):
        match_names(tmp_path / "in", (tmp_path / "empty" if (tmp_path / "empty").mkdir() is None else tmp_path))
    with pytest.raises(InputFileError, match="is no folder"):
        match_names(tmp_path / "absent", tmp_path / "in")


def test_axes_of_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (6, 7, 3), np.uint8)
    colour = image_file(write(tmp_path / "rgb.png", rgb))
    assert colour.channels == ("red", "green", "blue")
    np.testing.assert_array_equal(colour.read(), rgb.transpose(2, 0, 1))
    pages = rng.integers(0, 999, (3, 6, 7)).astype(np.uint16)
    unnamed = write(tmp_path / "pages.tif", pages, photometric="minisblack")
    assert image_file(unnamed).read().shape == (1, 3, 6, 7)
    movie = image_file(unnamed, axes="tyx")
    assert movie.frames == 3
    np.testing.assert_array_equal(movie.read(2), pages[None, 2])
    named = write(tmp_path / "ij.tif", pages[None], imagej=True, metadata={"axes": "TCYX"})
    assert image_file(named).read().shape == (3, 6, 7)


def test_a_calibrated_file_says_its_pixel_size(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.ome.tif", np.zeros((2, 3, 4, 5), np.uint8), ome=True, photometric="minisblack",
        metadata={
            "axes": "CZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.3, "PhysicalSizeZ": 1.5,
            "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm", "PhysicalSizeZUnit": "µm",
        },
    )  # fmt: skip
    file = image_file(path)
    assert file.pixel_um == pytest.approx((1.5, 0.3, 0.2))
    assert file.read().shape == (2, 3, 4, 5)


def test_numpy_files(tmp_path: Path) -> None:
    whole = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    path = write(tmp_path / "a.npy", whole)
    np.testing.assert_array_equal(image_file(path).read(), whole)
    np.testing.assert_array_equal(image_file(path, axes="tcyx").read(1), whole[1])
    np.testing.assert_array_equal(image_file(path, axes="cyxz").read()[:, 1], whole[..., 1])
    unsafe = tmp_path / "unsafe.npy"
    np.save(unsafe, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputFileError, match="no plain NumPy array"):
        image_file(unsafe)
    (tmp_path / "cut.npy").write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputFileError, match="no plain NumPy array"):
        image_file(tmp_path / "cut.npy")
    with pytest.raises(InputFileError, match="name the axes"):
        image_file(write(tmp_path / "line.npy", np.zeros(5)))
    with pytest.raises(InputFileError, match="each axis is named once"):
        image_file(path, axes="ccyx")


@pytest.mark.parametrize("ending", [".tif", ".png"])
def test_damaged_files_are_named(tmp_path: Path, ending: str) -> None:
    broken = tmp_path / f"a{ending}"
    broken.write_bytes(b"not an image at all")
    with pytest.raises(InputFileError, match=f"a{ending}"):
        image_file(broken).read()


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("movie1_t003", "movie1"),
        ("pos-2_T00012", "pos-2"),
        ("slide.tile_4", "slide"),
        ("a_z01_c2", "a"),
        ("well_B3_frame7_cells", "well_B3_cells"),
        ("treated_12", "treated_12"),
        ("0123c92466da21", "0123c92466da21"),
        ("t01", "t01"),
    ],
)
def test_numbers_of_frames_and_cut_outs_are_no_part_of_a_group(name: str, group: str) -> None:
    assert group_name(name) == group


def test_a_pattern_names_the_group() -> None:
    assert group_name("001_2", r"(\d+)_") == "001"
    assert group_name("001_2", r"^\d+") == "001"
    with pytest.raises(ParameterError, match="fits no part of 'abc'"):
        group_name("abc", r"\d")
    with pytest.raises(ParameterError, match="no regular expression"):
        group_name("abc", "(")
