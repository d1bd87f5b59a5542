"""Pairs from folders and from experiments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.experiment.editing import Disc
from kinocyte.learning.data.split import split
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.pairs import experiment_pairs, image_pairs, read_pairs
from kinocyte.pipeline.run import run
from tests.pipeline.conftest import blobs

Maker = Callable[..., Experiment]


def test_real_denoising_pairs_are_held_out_by_field(data: Path) -> None:
    folder = data / "denoising_pairs"
    pairs = read_pairs(folder / "noisy", folder / "clean", target="image", group=r"^(\d+)_")
    assert len(pairs) == 18
    parts = split(pairs, 0.2, 1)
    assert len(parts.held_out) == 3
    assert len({p.group for p in parts.held_out}) == 1
    pair = pairs[0]
    assert pair.target is not None
    assert pair.image.shape == pair.target.shape == (1, 512, 512)


def test_frames_of_a_movie_are_one_group(tmp_path: Path) -> None:
    for side, kind in (("in", np.uint16), ("out", np.uint8)):
        (tmp_path / side).mkdir()
        frames = np.arange(3 * 8 * 9).reshape(3, 8, 9).astype(kind)
        tifffile.imwrite(tmp_path / side / "movie.tif", frames, imagej=kind is np.uint16, photometric="minisblack")
    pairs = read_pairs(tmp_path / "in", tmp_path / "out", axes="tyx")
    assert [p.name for p in pairs] == ["movie, frame 0", "movie, frame 1", "movie, frame 2"]
    assert {p.group for p in pairs} == {"movie"}
    assert pairs[1].target is not None
    assert pairs[1].target.shape == (8, 9)
    np.testing.assert_array_equal(pairs[1].image[0], np.arange(72, 144).reshape(8, 9))
    assert not read_pairs(tmp_path / "in", None, target="none")[0].has_target


def test_what_does_not_pair_is_refused(tmp_path: Path) -> None:
    for side, names in (("in", "abc"), ("out", "ab")):
        (tmp_path / side).mkdir()
        for name in names:
            tifffile.imwrite(tmp_path / side / f"{name}.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(InputFileError, match=r"no target has the name of 'c\.tif'"):
        read_pairs(tmp_path / "in", tmp_path / "out")
    assert len(read_pairs(tmp_path / "in", tmp_path / "out", partial=True)) == 2
    tifffile.imwrite(tmp_path / "out" / "c.tif", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputFileError, match="has 3 channels; a label image has one"):
        read_pairs(tmp_path / "in", tmp_path / "out")
    tifffile.imwrite(tmp_path / "out" / "c.tif", np.zeros((2, 4, 4), np.uint8), imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(InputFileError, match=r"1 frames and .* 2"):
        read_pairs(tmp_path / "in", tmp_path / "out")


def test_an_experiment_gives_its_corrected_labels(make_experiment: Maker, pipeline: Pipeline) -> None:
    made = make_experiment({f"A{i}": blobs(4, i) for i in (1, 2)})
    assert run(pipeline, made, where=Workers(workers=0)).ok
    pairs = experiment_pairs(Path(made.url), "nuclei", channels=["dna"])
    assert [p.name for p in pairs][:2] == ["A1/1, frame 0", "A1/1, frame 1"]
    assert {p.group for p in pairs} == {"A1/1", "A2/1"}
    assert pairs[0].pixel_um == (0.5, 0.5)
    np.testing.assert_array_equal(pairs[1].image[0], blobs(4, 1)[1])
    assert pairs[0].target is not None
    assert pairs[0].target.max() == 5
    with pytest.raises(ParameterError, match="no corrected labels of 'nuclei'"):
        experiment_pairs(Path(made.url), "nuclei", corrected_only=True)
    kinocyte.open(made.url).position("A2/1").edit("nuclei").add(2, Disc(1.0, 1.0, 1.5))
    assert run(pipeline, kinocyte.open(made.url), where=Workers(workers=0)).ok
    (corrected,) = experiment_pairs(Path(made.url), "nuclei", corrected_only=True)
    assert corrected.name == "A2/1, frame 2"
    assert corrected.target is not None
    assert len(np.unique(corrected.target)) - 1 == 6
    assert [p.name for p in experiment_pairs(Path(made.url), "nuclei", every=3)][:2] == [
        "A1/1, frame 0",
        "A1/1, frame 3",
    ]
    with pytest.raises(ParameterError, match="no channel 'dma'; did you mean 'dna'"):
        experiment_pairs(Path(made.url), "nuclei", channels=["dma"])


def test_images_without_labels_can_be_kept(tmp_path: Path) -> None:
    for folder, names in (("in", "abc"), ("out", "b")):
        (tmp_path / folder).mkdir()
        for name in names:
            np.save(tmp_path / folder / f"{name}.npy", np.ones((8, 8), np.uint8))
    found = read_pairs(tmp_path / "in", tmp_path / "out", axes="yx", keep_unlabelled=True)
    assert sorted((p.name, p.has_target) for p in found) == [("a", False), ("b", True), ("c", False)]
    np.save(tmp_path / "out" / "z.npy", np.ones((8, 8), np.uint8))
    with pytest.raises(InputFileError, match="z"):
        read_pairs(tmp_path / "in", tmp_path / "out", axes="yx", keep_unlabelled=True)


def test_images_of_an_experiment_and_of_files_without_targets(make_experiment: Maker, tmp_path: Path) -> None:
    made = make_experiment({"A1": blobs(3, 1), "B2": blobs(2, 2)})
    pairs = image_pairs(Path(made.url))
    assert [p.name for p in pairs] == [f"A1/1, frame {t}" for t in range(3)] + [f"B2/1, frame {t}" for t in range(2)]
    assert pairs[0].channels == ("dna",)
    assert not pairs[0].has_target
    np.testing.assert_array_equal(pairs[4].image[0], blobs(2, 2)[1])
    tifffile.imwrite(tmp_path / "one.tif", np.ones((4, 5), np.uint8))
    (single,) = image_pairs(tmp_path / "one.tif")
    assert single.image.shape == (1, 4, 5)
