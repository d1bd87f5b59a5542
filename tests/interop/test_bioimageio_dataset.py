"""BioImage.IO data sets: described folders of images, found, checked and learnt from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml

from kinocyte.core import registry
from kinocyte.core.errors import CalibrationError, InputFileError, ParameterError
from kinocyte.interop.bioimageio_dataset import read_dataset
from kinocyte.learning.data.pairs import Pair
from kinocyte.pipeline.training.file import parse_image_training
from kinocyte.pipeline.training.sources import at_one_size, chosen_channels

RDF = {
    "format_version": "0.3.0", "type": "dataset", "name": "Nuclei of two cells", "description": "Made up.",
    "authors": [{"name": "The tests"}], "license": "CC0-1.0", "source": "https://example.org/nuclei.zip",
    "cite": [{"text": "A paper", "doi": "10.5281/zenodo.5749260"}],
}  # fmt: skip


def described(folder: Path, *places: str, **more: Any) -> Path:
    """Write a data set whose folders hold two images each."""
    for i, place in enumerate(places):
        (folder / place).mkdir(parents=True)
        for name in ("a", "b"):
            tifffile.imwrite(folder / place / f"{name}.tif", np.full((8, 8), i, np.uint8))
    folder.mkdir(exist_ok=True)
    (folder / "rdf.yaml").write_text(yaml.safe_dump({**RDF, **more}))
    return folder


@pytest.mark.parametrize(
    ("places", "inputs", "targets"),
    [
        (("images", "masks"), "images", "masks"),
        (("train/source", "train/target", "test/source", "test/target"), "train/source", "train/target"),
        (("Training - Images", "Training - Masks", "Test - Images", "Test - Masks"), "Training - Images",
         "Training - Masks"),
        (("noisy",), "noisy", None),
    ],
)  # fmt: skip
def test_folders_are_known_by_their_names(
    tmp_path: Path, places: tuple[str, ...], inputs: str, targets: str | None
) -> None:
    found = read_dataset(described(tmp_path, *places))
    assert found.inputs == tmp_path / inputs
    assert found.targets == (None if targets is None else tmp_path / targets)
    assert (found.name, found.license) == ("Nuclei of two cells", "CC0-1.0")
    assert found.cite == ("A paper 10.5281/zenodo.5749260",)


def test_the_description_is_one_that_their_library_reads(tmp_path: Path) -> None:
    spec = pytest.importorskip("bioimageio.spec")
    with spec.ValidationContext(perform_io_checks=False):
        assert type(spec.build_description({**RDF, "format_version": "0.3.0"})).__name__ == "DatasetDescr"


def test_folders_may_be_named(tmp_path: Path) -> None:
    named = {"kinocyte": {"inputs": "b", "targets": "a"}}
    found = read_dataset(described(tmp_path, "a", "b", config=named) / "rdf.yaml")
    assert (found.inputs.name, found.targets) == ("b", tmp_path / "a")


def test_a_training_file_learns_from_it(tmp_path: Path) -> None:
    described(tmp_path / "set", "images", "masks")
    wanted = parse_image_training({"task": {"method": "stardist"}, "data": {"dataset": "set"}}, "here")
    lesson, _ = wanted.lesson(tmp_path)
    assert [p.name for p in lesson.pairs] == ["a", "b"]
    assert lesson.pairs[0].target is not None
    assert lesson.card["data"]["license"] == "CC0-1.0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "model"}, "describes a model, no data set"),
        ({"attachments": [{"source": "extra.csv"}]}, "lists 'extra.csv', which is not there"),
        ({"attachments": [{"source": "images/a.tif", "sha256": "0" * 64}]}, "its checksum is another"),
        ({"attachments": {"files": ["../secret.tif"]}}, "leads out of its folder"),
        ({"config": {"kinocyte": {"inputs": "/etc", "targets": "masks"}}}, "leads out of its folder"),
        ({"config": {"kinocyte": {"inputs": "imgs"}}}, "names the folder 'imgs', which is not there"),
    ],
)
def test_what_is_not_as_described_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    described(tmp_path / "set", "images", "masks", **change)
    with pytest.raises(InputFileError, match=words):
        read_dataset(tmp_path / "set")


def test_what_cannot_be_found_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"get them from https://example.org/nuclei.zip"):
        read_dataset(described(tmp_path / "empty"))
    with pytest.raises(InputFileError, match=r"holds images in 'cy5', 'dapi'; say which"):
        read_dataset(described(tmp_path / "odd", "dapi", "cy5"))
    with pytest.raises(InputFileError, match=r"no BioImage.IO data set"):
        read_dataset(tmp_path)
    with pytest.raises(InputFileError, match="unpack it"):
        read_dataset(tmp_path / "set.zip")
    (tmp_path / "rdf.yaml").write_text("type: [dataset")
    with pytest.raises(InputFileError, match="cannot be read"):
        read_dataset(tmp_path)
    described(tmp_path / "noisy", "images")
    wanted = parse_image_training({"task": {"method": "stardist"}, "data": {"dataset": "noisy"}}, "here")
    with pytest.raises(ParameterError, match="has images only"):
        wanted.lesson(tmp_path)


def test_a_listed_file_is_compared_with_its_checksum(tmp_path: Path) -> None:
    described(tmp_path, "images", "masks")
    digest = hashlib.sha256((tmp_path / "images" / "a.tif").read_bytes()).hexdigest()
    listed = {"attachments": [{"source": "images/a.tif", "sha256": digest}, "https://example.org/b.tif"]}
    (tmp_path / "rdf.yaml").write_text(yaml.safe_dump({**RDF, **listed}))
    assert read_dataset(tmp_path).inputs.name == "images"


def test_images_are_brought_to_one_pixel_size() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[4:12, 4:12] = 3
    fine = Pair("fine", np.ones((1, 20, 20)), labels, pixel_um=(0.5, 0.5))
    unknown = Pair("unknown", np.ones((1, 20, 20)), labels)
    found = at_one_size([fine, unknown], (1.0, 1.0))
    assert found[0].image.shape == (1, 10, 10)
    assert np.asarray(found[0].target).shape == (10, 10)
    assert set(np.unique(found[0].target)) == {0, 3}
    assert found[1].image.shape == (1, 20, 20)
    assert at_one_size([fine], None)[0] is fine
    with pytest.raises(CalibrationError, match=r"'fine' has pixels of 0.5 x 0.5 um, the model has 10 x 10 um"):
        at_one_size([fine], (10.0, 10.0))


def test_a_training_file_rescales_to_the_size_it_names(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name, um in (("a", 0.5), ("b", 1.0)):
            tifffile.imwrite(
                tmp_path / folder / f"{name}.tif", np.zeros((16, 16), np.uint16), imagej=True,
                resolution=(1 / um, 1 / um), metadata={"unit": "um"},
            )  # fmt: skip
    asked = {"task": {"method": "stardist"}, "data": {"inputs": "images", "targets": "masks"}, "pixel_um": [1.0, 1.0]}
    lesson, _ = parse_image_training(asked, "here").lesson(tmp_path)
    assert [p.image.shape[-1] for p in lesson.pairs] == [8, 16]
    assert lesson.pixel_um == (1.0, 1.0)


def test_channels_are_chosen_by_name_or_number() -> None:
    pair = Pair("a", np.stack([np.full((4, 4), i) for i in range(3)]), channels=("phase", "dna", "gfp"))
    assert chosen_channels([pair], ["gfp", "1"], [])[0].image[:, 0, 0].tolist() == [2, 0]
    assert chosen_channels([pair], [], ["dna"])[0].channels == ("dna",)
    assert chosen_channels([pair], [], ["channel 1"])[0] is pair
    with pytest.raises(ParameterError, match="no channel 'dan'; did you mean 'dna'"):
        chosen_channels([pair], ["dan"], [])


def test_only_one_place_is_named() -> None:
    task = registry.parse("task", {"method": "stardist"})
    for data in ({}, {"inputs": "a", "dataset": "b"}, {"experiment": "e.zarr"}):
        wanted = parse_image_training({"task": {"method": "stardist"}, "data": data}, "here")
        with pytest.raises(ParameterError, match=r"\[data\] must name one of: inputs"):
            wanted.data.pairs(Path(), task)  # type: ignore[arg-type]  # a task


def test_it_is_checked_as_a_whole(tmp_path: Path) -> None:
    from kinocyte.pipeline.training.checking import check_folders

    report = check_folders(described(tmp_path, "images", "masks"), target="labels")
    assert report.target == "labels"
    assert {f.check for f in report.findings} >= {"constant"}
