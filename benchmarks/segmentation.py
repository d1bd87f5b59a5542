"""Threshold segmentation and measurement against a plain scikit-image loop that does the same work.

python benchmarks/segmentation.py [--frames 5] [--side 1024] [--json FILE]
python benchmarks/segmentation.py --nuclei DATA [--every 3] [--json FILE]    # F1 on labelled nuclei, see `nuclei`

Both sides smooth, find the Otsu level, fill holes, label, split by distance, drop small objects and measure; the label
images and the measured numbers are compared too. The ratio is that of the medians over frames within one process; set
OMP_NUM_THREADS=1. Our tables hold several times as many features. Where seeds of one object are equally high, the
watershed of scikit-image follows the inner order of its heap, which is not defined; the loop raises the seeds by some
1e-9 in the order of rows, which is our order.
Compilation is done once before and printed apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage as ndi
from skimage import feature, filters, measure, segmentation

from kinocyte.core.scale import Scale
from kinocyte.measurement.intensity import Intensity
from kinocyte.measurement.shape import Shape
from kinocyte.segmentation.components import renumber
from kinocyte.segmentation.label_algebra import overlaps, relabel
from kinocyte.segmentation.pixel_model import box_rows
from kinocyte.segmentation.pixel_training import train_pixel_classifier
from kinocyte.segmentation.threshold import Threshold

PIXEL_UM = 0.65
SIGMA_UM = 1.0
SEED_DISTANCE_UM = 5.0
MIN_AREA_UM2 = 20.0
SCALE = Scale.isotropic(PIXEL_UM)
NUCLEI = Scale.isotropic(0.5)
LEVELS = ("otsu", "adaptive", "triangle", "background")


def frame(side: int, seed: int) -> np.ndarray:
    """Return a uint16 frame of elliptic nuclei, some touching, with blur and photon noise."""
    rng = np.random.default_rng(seed)
    image = np.zeros((side, side))
    for _ in range(side * side // 1600):
        a, b = rng.uniform(6, 13, 2)
        cy, cx, turn = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0, np.pi)
        y0, y1 = max(int(cy - 15), 0), min(int(cy + 16), side)
        x0, x1 = max(int(cx - 15), 0), min(int(cx + 16), side)
        y, x = np.mgrid[y0:y1, x0:x1]
        u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        v = -(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn)
        inside = (u / a) ** 2 + (v / b) ** 2 <= 1
        patch = image[y0:y1, x0:x1]
        patch[inside] = np.maximum(patch[inside], rng.uniform(250, 700))
    return rng.poisson(ndi.gaussian_filter(image, 1.2) + 100).astype(np.uint16)


def method(split: str) -> Threshold:
    return Threshold(
        channel="dna",
        filters=({"filter": "gaussian", "sigma_um": SIGMA_UM},),
        split=split,
        seed_distance_um=SEED_DISTANCE_UM,
        min_area_um2=MIN_AREA_UM2,
    )


def ours(image: np.ndarray, split: str) -> np.ndarray:
    return method(split).segment(image, SCALE)


def plain(image: np.ndarray, split: str) -> np.ndarray:
    smooth = filters.gaussian(image, SIGMA_UM / PIXEL_UM, preserve_range=True)
    mask = ndi.binary_fill_holes(smooth > filters.threshold_otsu(smooth))
    labels = measure.label(mask)
    if split == "distance":
        distance = ndi.distance_transform_edt(mask)
        peaks = feature.peak_local_max(
            distance,
            footprint=np.ones((3, 3)),
            min_distance=SEED_DISTANCE_UM / PIXEL_UM,
            p_norm=2,
            labels=labels,
            exclude_border=False,
        )
        peaks = peaks[np.lexsort(peaks.T[::-1])]
        markers = np.zeros(mask.shape, np.int32)
        markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
        distance[tuple(peaks.T)] += np.linspace(2e-9, 1e-9, len(peaks))
        labels = segmentation.watershed(-distance, markers, mask=mask, connectivity=2)
    sizes = np.bincount(labels.ravel())
    sizes[sizes * PIXEL_UM**2 < MIN_AREA_UM2] = 0
    return segmentation.relabel_sequential(np.where(sizes[labels] > 0, labels, 0))[0]


PROPERTIES = (
    "label",
    "area",
    "centroid",
    "axis_major_length",
    "axis_minor_length",
    "eccentricity",
    "solidity",
    "perimeter",
    "intensity_mean",
    "intensity_max",
    "intensity_min",
    "intensity_std",
)


SAME = {
    "area_um2": "area", "major_axis_um": "axis_major_length", "minor_axis_um": "axis_minor_length",
    "eccentricity": "eccentricity", "solidity": "solidity", "perimeter_um": "perimeter", "mean_dna": "intensity_mean",
    "max_dna": "intensity_max", "min_dna": "intensity_min", "std_dna": "intensity_std",
}  # fmt: skip


def timed(run, *args):
    """Return processor seconds, which other programs on the machine do not lengthen, and the result."""
    start = time.process_time()
    out = run(*args)
    return time.process_time() - start, out


def measured(labels: np.ndarray, image: np.ndarray):
    shape = Shape().measure(labels, {"dna": image}, SCALE)
    return shape.join(Intensity().measure(labels, {"dna": image}, SCALE), on="label")


def table_of(labels: np.ndarray, image: np.ndarray):
    return measure.regionprops_table(labels, image, properties=PROPERTIES, spacing=(PIXEL_UM, PIXEL_UM))


def strays(mine: np.ndarray, peer: np.ndarray) -> int:
    """Return the pixels outside the best overlap of each object, of both sides."""
    n = int(peer.max()) + 1
    table = np.bincount(mine.ravel().astype(np.int64) * n + peer.ravel(), minlength=(int(mine.max()) + 1) * n)
    table = table.reshape(-1, n)
    return int(table.sum() - table[0, 0] - table[1:, 1:].max(axis=1, initial=0).sum())


def worst_difference(table, props) -> float:
    """Return the largest relative difference of columns that both measure; inf where numbers of objects differ."""
    if len(table) != len(props["label"]):
        return float("inf")
    gaps = [abs(table[a].to_numpy() - props[b]) / np.maximum(abs(props[b]), 1.0) for a, b in SAME.items()]
    return float(np.nanmax(gaps))


def compare(split: str, side: int, frames: int) -> dict[str, float | int | str]:
    times: dict[str, list[float]] = {"ours": [], "plain": [], "ours_measure": [], "plain_measure": []}
    changed = objects = 0
    worst = 0.0
    for seed in range(frames):
        image = frame(side, seed)
        seconds, mine = timed(ours, image, split)
        times["ours"].append(seconds)
        seconds, peer = timed(plain, image, split)
        times["plain"].append(seconds)
        peer = renumber(peer)[0]
        seconds, table = timed(measured, mine, image)
        times["ours_measure"].append(seconds)
        seconds, props = timed(table_of, peer, image)
        times["plain_measure"].append(seconds)
        objects += int(mine.max())
        changed += strays(mine, peer)
        worst = max(worst, worst_difference(table, props))
    median = {k: statistics.median(v) for k, v in times.items()}
    both = (median["plain"] + median["plain_measure"]) / (median["ours"] + median["ours_measure"])
    return {
        "split": split, "side": side, "objects": objects, "pixels_that_differ": changed,
        "worst_relative_difference": worst, **{f"{k}_s": round(v, 4) for k, v in median.items()},
        "ratio_segment": round(median["plain"] / median["ours"], 2), "ratio_both": round(both, 2),
    }  # fmt: skip


def labelled(data: Path, every: int) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Return images and label images of real nuclei: every so manieth test image of dsb2018, and two of mitocheck."""
    read = tifffile.imread
    dsb, mito = data / "dsb2018" / "test", data / "mitocheck_nuclei_labels"
    files = sorted((dsb / "images").glob("*.tif"))[::every]
    return {
        "dsb2018": [(read(f), read(dsb / "masks" / f.name)) for f in files],
        "mitocheck": [
            (
                read(mito / f"xy_8bit__mitocheck_incenp_{t}.tif"),
                read(mito / f"xy_8bit_labels__mitocheck_incenp_{t}.tif"),
            )
            for t in ("t1", "t70")
        ],
    }


def forest_labels(
    image: np.ndarray, truth: np.ndarray, part: float, seconds: dict[str, float]
) -> dict[str, np.ndarray]:
    """Return the objects of our forest and of scikit-learn's on the same features, trained on part of the pixels."""
    from sklearn.ensemble import RandomForestClassifier  # the other subject needs no scikit-learn

    strokes = np.where(np.random.default_rng(0).random(truth.shape) < part, (truth > 0) + 1, 0)
    start = time.process_time()
    model = train_pixel_classifier([image], [strokes], NUCLEI, trees=100)
    seconds["train ours"] = seconds.get("train ours", 0.0) + time.process_time() - start
    rows = box_rows(model.bank, [image], [None], (tuple((0, n) for n in image.shape), NUCLEI.spacing_um(2)))
    known = strokes.reshape(-1) > 0
    start = time.process_time()
    peer = RandomForestClassifier(100, random_state=0).fit(rows[known], strokes.reshape(-1)[known])
    seconds["train scikit-learn"] = seconds.get("train scikit-learn", 0.0) + time.process_time() - start
    out = {}
    for name, predict in (("forest", model.forest.predict), ("forest of scikit-learn", peer.predict_proba)):
        start = time.process_time()
        likely = predict(rows)[:, 1].reshape(image.shape)
        seconds[f"ask {name}"] = seconds.get(f"ask {name}", 0.0) + time.process_time() - start
        rule = Threshold(channel="p", filters=(), threshold="fixed", low=0.5)
        out[f"{name}, {part:.1%} drawn"] = rule.segment(likely.astype(np.float32), NUCLEI)
    return out


def nuclei(data: Path, every: int) -> list[dict[str, float | str]]:
    """Return F1 (intersection over union above one half) of thresholds and of forests trained on few drawn pixels.

    Each forest sees some pixels of the image itself, as a person would draw them, and is scored on all of it.
    """
    rows: list[dict[str, float | str]] = []
    for name, pairs in labelled(data, every).items():
        counts: dict[str, np.ndarray] = {}
        seconds: dict[str, float] = {}
        for image, truth in pairs:
            found = {f"threshold {t}": Threshold(channel="a", threshold=t).segment(image, NUCLEI) for t in LEVELS}
            for part in (0.005, 0.02):
                found |= forest_labels(image, truth, part, seconds)
            for method_name, labels in found.items():
                hits = int((overlaps(relabel(truth), labels).iou > 0.5).sum())
                score = np.array([hits, labels.max(), len(np.unique(truth)) - 1])
                counts[method_name] = counts.get(method_name, np.zeros(3)) + score
        rows += [
            {
                "data": name,
                "method": k,
                "f1": round(float(2 * c[0] / (c[1] + c[2])), 3),
                "recall": round(float(c[0] / c[2]), 3),
            }
            for k, c in counts.items()
        ]
        rows += [{"data": name, "method": k, "seconds": round(v, 2)} for k, v in seconds.items()]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--side", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--nuclei", type=Path, help="folder of the labelled nuclei: F1 instead of timings")
    parser.add_argument("--every", type=int, default=3)
    options = parser.parse_args()
    if options.nuclei:
        rows = nuclei(options.nuclei, options.every)
        for row in rows:
            print(row)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1))
        return
    start = time.perf_counter()
    warm = frame(256, 0)
    measured(ours(warm, "distance"), warm)
    print(f"first call, compilation or its cache: {time.perf_counter() - start:.2f} s")
    rows = [compare(split, side, options.frames) for side in options.side for split in ("none", "distance")]
    for row in rows:
        print(row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
