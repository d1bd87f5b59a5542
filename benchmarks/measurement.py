"""Features of many objects: ours against scikit-image's regionprops_table and nyxus, in one run, one thread.

    OMP_NUM_THREADS=1 python benchmarks/measurement.py [--frames 20] [--size 2048] [--json measurement.json]

Peers that are not installed are left out (``pip install nyxus``). Each peer's values are checked against ours
before its time counts. regionprops_table computes the same features as our two feature sets do ("all") on some of
the frames, and without hull and diameter ("plain") on all of them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
from skimage.measure import regionprops_table

from kinocyte.core.scale import Scale
from kinocyte.measurement.intensity import Intensity
from kinocyte.measurement.shape import Shape
from kinocyte.measurement.texture import Texture
from kinocyte.measurement.tracks import track_features

SCALE = Scale(y_um=1, x_um=1)
PLAIN = {
    "area": "area_um2",
    "area_bbox": "area_bbox_um2",
    "axis_major_length": "major_axis_um",
    "axis_minor_length": "minor_axis_um",
    "eccentricity": "eccentricity",
    "equivalent_diameter_area": "equivalent_diameter_um",
    "extent": "extent",
    "intensity_mean": "mean_c",
    "intensity_median": "median_c",
    "intensity_min": "min_c",
    "intensity_max": "max_c",
    "intensity_std": "std_c",
}
ALL = PLAIN | {
    "area_convex": "area_convex_um2",
    "area_filled": "area_filled_um2",
    "euler_number": "euler_number",
    "feret_diameter_max": "feret_max_um",
    "perimeter": "perimeter_um",
    "perimeter_crofton": "perimeter_crofton_um",
    "solidity": "solidity",
}
NYXUS = {
    "AREA_PIXELS_COUNT": "area_um2",
    "MAJOR_AXIS_LENGTH": None,
    "MINOR_AXIS_LENGTH": None,
    "ECCENTRICITY": None,
    "ORIENTATION": None,
    "EXTENT": "extent",
    "PERIMETER": None,
    "CONVEX_HULL_AREA": None,
    "SOLIDITY": None,
    "EULER_NUMBER": None,
    "CIRCULARITY": None,
    "STAT_FERET_DIAM_MIN": None,
    "STAT_FERET_DIAM_MAX": None,
    "MEAN": "mean_c",
    "MEDIAN": None,
    "MIN": "min_c",
    "MAX": "max_c",
    "STANDARD_DEVIATION": None,
    "INTEGRATED_INTENSITY": "sum_c",
    "P25": None,
    "P75": None,
    "P90": None,
    "P99": None,
}


def frame_of_cells(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and pixels of a frame of wobbly ellipses of 30 to 700 pixels, one in each cell of a grid."""
    rng = np.random.default_rng(seed)
    pitch = 29
    per_side = size // pitch
    y, x = np.mgrid[:size, :size]
    cell_y, cell_x = np.minimum(y // pitch, per_side - 1), np.minimum(x // pitch, per_side - 1)
    cell = cell_y * per_side + cell_x
    n = per_side**2
    angle, wobble = rng.uniform(0, math.pi, n), rng.uniform(0, 0.25, n)
    long, short = rng.uniform(5, 14, n), rng.uniform(2, 10, n)
    dy, dx = y - cell_y * pitch - 14, x - cell_x * pitch - 14
    u = dy * np.cos(angle)[cell] + dx * np.sin(angle)[cell]
    v = dx * np.cos(angle)[cell] - dy * np.sin(angle)[cell]
    theta = np.arctan2(v, u)
    inside = np.hypot(u / long[cell], v / short[cell]) < 1 + wobble[cell] * np.cos(3 * theta)
    labels = np.where(inside, cell + 1, 0).astype(np.uint32)
    pixels = rng.poisson(200 + 300 * rng.random(n)[cell] * inside).astype(np.uint16)
    return labels, pixels


def ours(labels: np.ndarray, pixels: np.ndarray) -> pl.DataFrame:
    shape = Shape().measure(labels, {}, SCALE)
    return shape.hstack(Intensity().measure(labels, {"c": pixels}, SCALE).drop("label"))


def regionprops(names: dict[str, str]) -> Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]:
    return lambda labels, pixels: regionprops_table(labels, pixels, properties=["label", *names])


def nyxus() -> Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]:
    from nyxus import Nyxus

    engine = Nyxus(list(NYXUS), n_feature_calc_threads=1)

    def features(labels: np.ndarray, pixels: np.ndarray) -> dict[str, np.ndarray]:
        table = engine.featurize(pixels.astype(np.uint32), labels)
        return {"label": table["ROI_label"].to_numpy(), **{name: table[name].to_numpy() for name in NYXUS}}

    return features


def timed(work: Callable[[np.ndarray, np.ndarray], object], frames: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the median seconds of processor time a frame takes: what else runs on the machine counts less."""
    seconds = []
    for labels, pixels in frames:
        start = time.process_time()
        work(labels, pixels)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def difference(table: pl.DataFrame, peer: dict[str, np.ndarray], names: dict[str, str | None]) -> float:
    """Return the largest relative difference of the values that both define alike."""
    assert table["label"].to_list() == list(peer["label"])
    return max(
        float(np.max(np.abs(table[name].to_numpy() - peer[key]) / np.maximum(np.abs(peer[key]), 1e-12)))
        for key, name in names.items()
        if name is not None
    )


def walks(n_tracks: int, frames: int) -> pl.DataFrame:
    place = np.random.default_rng(0).normal(size=(n_tracks, frames, 2)).cumsum(axis=1).reshape(-1, 2)
    return pl.DataFrame(
        {
            "object_id": np.arange(len(place)) + 1,
            "frame": np.tile(np.arange(frames), n_tracks),
            "time_min": np.tile(np.arange(frames) * 2.0, n_tracks),
            "x_um": place[:, 0],
            "y_um": place[:, 1],
            "track_id": np.repeat(np.arange(n_tracks) + 1, frames),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    frames = [frame_of_cells(options.size, seed) for seed in range(options.frames)]
    table = ours(*frames[0])
    objects = table.height * options.frames
    rows = [("kinocyte shape + intensity", timed(ours, frames), 0.0)]
    cells = table.height
    peers = [
        ("regionprops_table, plain", regionprops(PLAIN), PLAIN, frames[: max(2, options.frames // 4)]),
        ("regionprops_table, all", regionprops(ALL), ALL, frames[:1]),
    ]
    if find_spec("nyxus"):
        peers.append(("nyxus", nyxus(), NYXUS, frames))
    for name, work, names, some in peers:
        error = difference(table, work(*frames[0]), names)
        rows.append((name, timed(work, some), error))
    print(f"{objects} objects in {options.frames} frames of {options.size} x {options.size}, one channel")
    print(f"{'':34}{'s for all':>10}{'ratio':>8}{'largest difference':>20}")
    for name, seconds, error in rows:
        print(f"{name:34}{seconds * options.frames:>10.2f}{seconds / rows[0][1]:>8.1f}{error:>20.1e}")
    texture = Texture()
    texture.measure(frames[0][0], {"c": frames[0][1]}, SCALE)
    haralick = timed(lambda labels, pixels: texture.measure(labels, {"c": pixels}, SCALE), frames) / cells * 1000
    print(f"{'Haralick texture, 1000 objects':34}{haralick:>10.3f}")
    movie = walks(10_000, 100)
    track_features(movie)
    start = time.process_time()
    track_features(movie)
    seconds = time.process_time() - start
    print(f"{'track features, 1e6 objects':34}{seconds:>10.2f}")
    if options.json:
        record = [{"what": name, "seconds": s * options.frames, "ratio": s / rows[0][1]} for name, s, _ in rows]
        record.append({"what": "Haralick texture of 1000 objects", "seconds": haralick, "ratio": 1.0})
        record.append({"what": "track features of 1e6 objects", "seconds": seconds, "ratio": 1.0})
        options.json.write_text(json.dumps({"objects": objects, "results": record}, indent=2))


if __name__ == "__main__":
    main()
