"""Nuclei of the 50 test images of the DSB2018 selection of StarDist: our model beside other trained weights.

    python benchmarks/nuclei.py [--model nuclei-fluo] [--only nuclei-fluo] [--overlays FOLDER]

Prints a table and writes ``benchmarks/results/nuclei.json``; with ``--only`` the rows of other methods stay as they
were. No image of the test set was used to train our model or to set its thresholds. Our model began with the weights of
the peer. The peer is a PyTorch network of StarDist's design with published weights (BSD-3, grid 1, 32 rays),
built here from the description that goes with its weights and read by the package ``stardist`` (probability 0.5,
overlap 0.4, as published); it was trained on the same 400 images. "Otsu" is a global threshold after a blur, split by
distance, which needs no training. Scores are pooled over all objects of all images.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from torch import nn

from kinocyte.evaluation.segmentation import score_segmentations
from kinocyte.learning.inference.apply import apply
from kinocyte.learning.model import ImageModel, load_image_model

Array = NDArray[Any]
RESULTS = Path(__file__).parent / "results" / "nuclei.json"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


class _Pair(nn.Sequential):
    def __init__(self, a: int, b: int) -> None:
        parts = [nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(b // 8, b), nn.ELU()]
        super().__init__(*parts, nn.Conv2d(b, b, 3, padding=1), nn.GroupNorm(b // 8, b), nn.ELU())


class Peer(nn.Module):
    """The peer's network: widths 32, 64, 128, 128."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([_Pair(1, 32), _Pair(32, 64), _Pair(64, 128), _Pair(128, 128)])
        self.up = nn.ModuleList([_Pair(256, 64), _Pair(128, 32), _Pair(64, 32)])
        self.features = nn.Conv2d(32, 128, 3, padding=1)
        self.ray, self.probability = nn.Conv2d(128, 32, 1), nn.Conv2d(128, 1, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        beside = []
        for level, pair in enumerate(self.down):
            x = pair(x if level == 0 else nn.functional.max_pool2d(x, 2))
            beside.append(x)
        x = beside.pop()
        for pair in self.up:
            x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = pair(torch.cat([beside.pop(), x], dim=1))
        x = self.features(x)
        return torch.sigmoid(self.probability(x)), torch.relu(self.ray(x))


def peer(path: Path) -> Peer:
    network = Peer()
    saved = torch.load(path, weights_only=True, map_location="cpu")
    places = {"inc.conv.conv": "down.0", "features": "features", "out_ray.conv": "ray", "out_prob.conv": "probability"}
    places |= {f"down{i}.mpconv.1.conv": f"down.{i}" for i in (1, 2, 3)}
    places |= {f"up{i}.conv.conv": f"up.{i - 1}" for i in (1, 2, 3)}
    named = {}
    for name, value in saved.items():
        old = next(p for p in places if name.startswith(f"{p}."))
        named[places[old] + name.removeprefix(old)] = value
    network.load_state_dict(named)
    return network.eval()


def by_peer(network: Peer) -> Callable[[Array], Array]:
    from stardist.geometry import polygons_to_label
    from stardist.nms import non_maximum_suppression

    def segment(image: Array) -> Array:
        low, high = np.percentile(image, (1, 99.8))
        x = ((image - low) / (high - low)).astype(np.float32)
        rest = [(0, -n % 8) for n in x.shape]
        with torch.no_grad():
            p, d = network(torch.from_numpy(np.pad(x, rest, mode="reflect")[None, None]))
        p, d = p[0, 0].numpy(), np.moveaxis(d[0].numpy(), 0, -1)
        p, d = p[: image.shape[0], : image.shape[1]], d[: image.shape[0], : image.shape[1]]
        points, scores, dist = non_maximum_suppression(d, p, prob_thresh=0.5, nms_thresh=0.4)
        return polygons_to_label(dist, points, shape=image.shape, prob=scores)

    return segment


def by_ours(model: ImageModel, *, augment: bool) -> Callable[[Array], Array]:
    def segment(image: Array) -> Array:
        labels = apply(model, image[None], augment=augment, device="cpu").labels
        assert labels is not None
        return labels

    return segment


def by_otsu(image: Array) -> Array:
    from scipy.ndimage import distance_transform_edt, gaussian_filter, label
    from skimage.feature import peak_local_max
    from skimage.filters import threshold_otsu
    from skimage.segmentation import watershed

    smooth = gaussian_filter(image.astype(float), 1)
    mask = smooth > threshold_otsu(smooth)
    depth = gaussian_filter(distance_transform_edt(mask), 1)
    peaks = np.zeros(image.shape, bool)
    peaks[tuple(peak_local_max(depth, min_distance=5, labels=mask.astype(int)).T)] = True
    return watershed(-depth, label(peaks)[0], mask=mask)


def overlay(image: Array, truth: Array, found: Array, path: Path) -> None:
    """Write a picture: outlines of the truth in cyan, of the result in magenta, where both agree white."""
    from PIL import Image
    from skimage.segmentation import find_boundaries

    low, high = np.percentile(image, (1, 99.8))
    grey = np.clip((image - low) / (high - low), 0, 1) ** 0.6 * 200
    shown = np.repeat(np.kron(grey, np.ones((2, 2)))[..., None], 3, axis=2)
    big = [np.kron(a, np.ones((2, 2), int)) for a in (truth, found)]
    for labels, colour in zip(big, ((0, 255, 255), (255, 0, 255)), strict=True):
        edge = find_boundaries(labels, mode="inner")
        shown[edge] = np.maximum(shown[edge] * (shown[edge] > 200), colour)
    Image.fromarray(shown.astype(np.uint8)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="nuclei-fluo")
    parser.add_argument("--overlays", type=Path)
    parser.add_argument("--only", default="", help="methods whose name holds this")
    parser.add_argument("--split", default="test")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    folder = DATA / "dsb2018" / asked.split
    names = sorted(p.name for p in (folder / "images").glob("*.tif"))
    images = [tifffile.imread(folder / "images" / n) for n in names]
    truths = [tifffile.imread(folder / "masks" / n).astype(np.int32) for n in names]
    model = load_image_model(asked.model)
    methods: dict[str, Callable[[Array], Array]] = {
        "Otsu, split by distance": by_otsu,
        "published weights (grid 1)": by_peer(peer(DATA / "starshape_dsb2018_pytorch" / "model_weights.t7")),
        f"{asked.model} (grid {model.task.stride})": by_ours(model, augment=False),
        f"{asked.model}, 8 orientations": by_ours(model, augment=True),
    }
    before = json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else []
    kept = {row["method"]: row for row in before if row["method"] in methods and asked.only not in row["method"]}
    rows = []
    for name, segment in methods.items():
        if asked.only not in name:
            rows += [kept[name]] if name in kept else []
            continue
        segment(images[0])
        began = time.perf_counter()
        found = [segment(image) for image in images]
        seconds = time.perf_counter() - began
        pooled = score_segmentations(zip(truths, found, strict=True)).pooled
        ap = pooled.average_precision
        rows.append({
            "method": name, "f1": pooled.f1, "precision": pooled.precision, "recall": pooled.recall,
            "ap_0.50": ap[0.5], "ap_0.75": ap[0.75], "ap_0.90": ap[0.9], "mean_ap": pooled.mean_average_precision,
            "panoptic_quality": pooled.panoptic_quality, "seconds": round(seconds, 2),
        })  # fmt: skip
        print(" ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{v:30s}" for k, v in rows[-1].items()), flush=True)
        if asked.overlays is not None and name.endswith(f"(grid {model.task.stride})"):
            asked.overlays.mkdir(parents=True, exist_ok=True)
            for n, image, truth, labels in zip(names, images, truths, found, strict=True):
                overlay(image, truth, labels, asked.overlays / f"{Path(n).stem[:8]}.png")
    if asked.model == "nuclei-fluo" and asked.split == "test":
        RESULTS.write_text(
            json.dumps({"images": len(images), "objects": pooled.reference_objects, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
