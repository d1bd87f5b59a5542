"""Threshold segmentation and measurement against a plain scikit-image loop that does the same work.

python benchmarks/segmentation.py [--frames 5] [--side 1024] [--json FILE]

Both sides smooth, find the Otsu level, fill holes, label, split by distance, drop small objects and measure; the label
images and the measured numbers are compared before any time is reported. The ratio is that of the medians over frames
within one process and one thread. Compilation is done once before and printed apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi
from skimage import feature, filters, measure, segmentation

from kinocyte.core.scale import Scale
from kinocyte.measurement.intensity import Intensity
from kinocyte.measurement.shape import Shape
from kinocyte.segmentation.threshold import Threshold

PIXEL_UM = 0.65
SIGMA_UM = 1.0
SEED_DISTANCE_UM = 5.0
MIN_AREA_UM2 = 20.0
SCALE = Scale.isotropic(PIXEL_UM)


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
        markers = np.zeros(mask.shape, np.int32)
        markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
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


def timed(run, *args):
    start = time.perf_counter()
    out = run(*args)
    return time.perf_counter() - start, out


def measured(labels: np.ndarray, image: np.ndarray):
    shape = Shape().measure(labels, {"dna": image}, SCALE)
    return shape.join(Intensity().measure(labels, {"dna": image}, SCALE), on="label")


def compare(split: str, side: int, frames: int) -> dict[str, float | int | str]:
    times: dict[str, list[float]] = {"ours": [], "plain": [], "ours_all": [], "plain_all": []}
    differing = objects = 0
    worst = 0.0
    for seed in range(frames):
        image = frame(side, seed)
        t_ours, mine = timed(ours, image, split)
        t_plain, peer = timed(plain, image, split)
        t_table, table = timed(measured, mine, image)
        t_peer, props = timed(
            lambda labels, pixels: measure.regionprops_table(
                labels, pixels, properties=PROPERTIES, spacing=(PIXEL_UM,) * 2
            ),
            peer,
            image,
        )
        objects += int(mine.max())
        pairs = np.unique(mine.astype(np.int64) << 32 | peer)
        differing += int((np.bincount(mine.ravel(), minlength=1)[0] != 0) and (pairs.size - 1 != mine.max()))
        if mine.max() == peer.max():
            order = np.argsort([int(peer[mine == 0].max(initial=0))])
            del order
            worst = max(worst, float(abs(np.sort(table["area_um2"].to_numpy()) - np.sort(props["area"])).max()))
        for key, value in (
            ("ours", t_ours),
            ("plain", t_plain),
            ("ours_all", t_ours + t_table),
            ("plain_all", t_plain + t_peer),
        ):
            times[key].append(value)
    median = {k: statistics.median(v) for k, v in times.items()}
    return {
        "split": split,
        "side": side,
        "objects": objects,
        "frames_that_differ": differing,
        "worst_area_difference": worst,
        **{f"{k}_s": round(v, 4) for k, v in median.items()},
        "ratio_segment": round(median["plain"] / median["ours"], 2),
        "ratio_segment_and_measure": round(median["plain_all"] / median["ours_all"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--side", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
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
