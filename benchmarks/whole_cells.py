"""Whole cells in a scratch assay: our flow model beside a watershed from nuclei, on a part of the field it never saw.

    python benchmarks/whole_cells.py --prepare FOLDER      # what cells-oblique.toml learns from
    python benchmarks/whole_cells.py [--model cells-oblique] [--overlay FILE.png]

The data are ten frames of one movie (Hoechst and oblique illumination, 0.619 um a pixel, cells drawn by its author;
PyPI package ndev-sampledata, BSD-3-Clause). The left 384 columns are learnt from, in three parts of which one is held
out to tune thresholds; the next 16 columns are left out, and the right 176 are the test. It is the same movie: this
says how well the model does on more of the same, and nothing about other cells or microscopes. The watershed grows
from the drawn nuclei, which ours is not shown, over the smoothed oblique image within a mask of its local contrast,
with the parameters that do best on the left part. Prints a table and writes ``benchmarks/results/whole_cells.json``.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import find_boundaries, watershed

from kinocyte.evaluation.segmentation import score_segmentations

Array = NDArray[Any]
RESULTS = Path(__file__).parent / "results" / "whole_cells.json"
MOVIE = (
    Path(__file__).resolve().parents[2] / "shared/data/scratch_assay_labelled_10f/scratch-assay-labeled-10T-2Ch.tiff"
)
_LEARNT, _TEST = slice(0, 384), slice(400, None)
_PART_PX, _UM = 128, 0.619


def frames(columns: slice) -> list[tuple[Array, Array, Array]]:
    """Return image (oblique, Hoechst), cells and nuclei of each frame."""
    movie = tifffile.imread(MOVIE)[..., columns]
    return [(movie[[1, 0], t], movie[3, t].astype(np.int32), movie[2, t].astype(np.int32)) for t in range(10)]


def prepare(folder: Path) -> None:
    """Write the parts of the left of the field as pairs of files."""
    for name in ("images", "cells"):
        (folder / name).mkdir(parents=True)
    for t, (image, cells, _) in enumerate(frames(_LEARNT)):
        for part in range(3):
            columns = slice(part * _PART_PX, (part + 1) * _PART_PX)
            file = f"part{part}_frame{t}.tif"
            tifffile.imwrite(
                folder / "images" / file, image[..., columns], imagej=True, resolution=(1 / _UM, 1 / _UM),
                metadata={"axes": "CYX", "unit": "um"},
            )  # fmt: skip
            tifffile.imwrite(folder / "cells" / file, cells[:, columns].astype(np.uint16))


def grown(image: Array, nuclei: Array, *, blur_px: float, contrast: float) -> Array:
    """Return cells grown from nuclei over the oblique image."""
    plane = image[0].astype(float)
    spread = np.sqrt(ndimage.gaussian_filter((plane - ndimage.gaussian_filter(plane, 8)) ** 2, 3))
    mask = (spread > contrast * np.median(spread)) | (nuclei > 0)
    return watershed(ndimage.gaussian_gradient_magnitude(plane, blur_px), nuclei, mask=mask)


def chosen() -> dict[str, float]:
    """Return the parameters of `grown` that do best on the left of the field."""
    learnt = frames(_LEARNT)

    def score(settings: dict[str, float]) -> float:
        return score_segmentations((c, grown(i, n, **settings)) for i, c, n in learnt).pooled.f1 or 0.0

    tried = [{"blur_px": b, "contrast": c} for b, c in product((1.0, 2.0, 4.0), (0.6, 0.8, 1.0, 1.2))]
    return max(tried, key=score)


def overlay(tested: list[tuple[Array, Array, Array]], found: list[Array], path: Path) -> None:
    """Write a picture of some frames: outlines of the truth in cyan, of the result in magenta."""
    from PIL import Image

    shown = []
    for t in (0, 4, 9):
        (image, cells, _), labels = tested[t], found[t]
        low, high = np.percentile(image[0], (1, 99.8))
        grey = np.clip((image[0] - low) / (high - low), 0, 1) * 255
        rgb = np.repeat(np.kron(grey, np.ones((3, 3)))[..., None], 3, axis=2)
        for edges, colour in ((cells, (0, 255, 255)), (labels, (255, 0, 255))):
            rgb[find_boundaries(np.kron(edges, np.ones((3, 3), int)), mode="inner")] = colour
        shown.append(rgb)
    Image.fromarray(np.concatenate(shown, axis=1).astype(np.uint8)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", type=Path)
    parser.add_argument("--model", default="cells-oblique")
    parser.add_argument("--overlay", type=Path)
    asked = parser.parse_args()
    if asked.prepare is not None:
        prepare(asked.prepare)
        return
    import torch

    from kinocyte.learning.inference.apply import apply
    from kinocyte.learning.model import load_image_model

    torch.set_num_threads(1)
    model, tested, settings = load_image_model(asked.model), frames(_TEST), chosen()
    ours = [np.asarray(apply(model, image, device="cpu").labels) for image, _, _ in tested]
    rows = []
    for name, found in (
        ("nuclei as they are drawn", [n for _, _, n in tested]),
        (f"watershed from the drawn nuclei {settings}", [grown(i, n, **settings) for i, _, n in tested]),
        (asked.model, ours),
    ):
        pooled = score_segmentations(zip([c for _, c, _ in tested], found, strict=True)).pooled
        rows.append({
            "method": name, "f1": pooled.f1, "precision": pooled.precision, "recall": pooled.recall,
            "mean_ap": pooled.mean_average_precision, "panoptic_quality": pooled.panoptic_quality,
        })  # fmt: skip
        print(" ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{v:60s}" for k, v in rows[-1].items()))
    if asked.overlay is not None:
        overlay(tested, ours, asked.overlay)
    if asked.model == "cells-oblique":
        found = {"frames": len(tested), "cells": pooled.reference_objects, "rows": rows}
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
