"""The model that comes with Kinocyte for whole cells."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tifffile

from kinocyte.evaluation.segmentation import score_segmentations
from kinocyte.learning.inference.apply import apply
from kinocyte.learning.model import load_image_model

torch = pytest.importorskip("torch")


def test_it_finds_cells_in_the_part_of_the_field_it_never_saw(data: Path) -> None:
    movie = tifffile.imread(data / "scratch_assay_labelled_10f" / "scratch-assay-labeled-10T-2Ch.tiff")[..., 400:]
    model, found = load_image_model("cells-oblique"), []
    for t in (3, 6):
        labels = apply(model, movie[[1, 0], t], device="cpu").labels
        assert labels is not None
        found.append((movie[3, t].astype(np.int32), labels))
    assert (score_segmentations(found).pooled.f1 or 0) > 0.5


def test_it_says_how_narrow_it_is() -> None:
    model = load_image_model("cells-oblique")
    assert [c.name for c in model.inputs] == ["oblique", "nuclei"]
    assert model.pixel_um == (0.619, 0.619)
    assert model.card["about"].startswith("A narrow model.")
    folder = Path(str(files("kinocyte") / "data" / "models" / "cells-oblique"))
    assert sum(p.stat().st_size for p in folder.iterdir()) < 20e6
