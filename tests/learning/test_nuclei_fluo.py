"""The model that comes with Kinocyte for nuclei in fluorescence."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tifffile

from kinocyte.evaluation.segmentation import score_segmentations
from kinocyte.learning.inference.apply import apply
from kinocyte.learning.model import load_image_model

torch = pytest.importorskip("torch")

MODELS = Path(str(files("kinocyte") / "data" / "models"))


def test_it_finds_nuclei_of_images_it_never_saw(data: Path) -> None:
    model, found = load_image_model("nuclei-fluo"), []
    for path in sorted((data / "dsb2018" / "test" / "images").glob("*.tif"))[2:5]:
        truth = tifffile.imread(path.parent.parent / "masks" / path.name).astype(np.int32)
        labels = apply(model, tifffile.imread(path)[None], device="cpu").labels
        assert labels is not None
        found.append((truth, labels))
    assert (score_segmentations(found).pooled.f1 or 0) > 0.95


def test_the_size_of_tiles_changes_nothing(data: Path) -> None:
    model = load_image_model("nuclei-fluo")
    image = tifffile.imread(next((data / "dsb2018" / "test" / "images").glob("*.tif")))[None, :256, :256]
    whole, tiled = (apply(model, image, device="cpu", tile_px=n).labels for n in (256, 96))
    assert whole is not None
    assert whole.max() > 0
    np.testing.assert_array_equal(whole, tiled)


def test_it_is_small_and_says_where_it_comes_from() -> None:
    folder, model = MODELS / "nuclei-fluo", load_image_model("nuclei-fluo")
    assert sum(p.stat().st_size for p in folder.iterdir()) < 20e6
    asked = tomllib.loads((MODELS / "nuclei-fluo.toml").read_text(encoding="utf-8"))
    assert model.card["about"] == asked["about"]
    assert "copyright 2022 Ashis Ravindran" in model.card["about"]
    assert "Copyright (c) 2022, Ashis Ravindran" in (MODELS / "nuclei-fluo.LICENSE.txt").read_text(encoding="utf-8")
    assert model.card["test"]["f1"] > 0.91
    assert model.task.reach(2) == (72, 72)
