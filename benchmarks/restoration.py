"""Restoration: errors against simulated truth beside naive peers, and the time of a frame beside scikit-image.

    OMP_NUM_THREADS=1 python benchmarks/restoration.py [--size 512] [--json restoration.json]

Fields are compared after both have mean 1. Peers: the median of the frames (the usual field without references), an
ordinary least-squares paraboloid without a mask, and scikit-image's functions where it has one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage as ndi
from skimage.morphology import disk, white_tophat
from skimage.restoration import denoise_tv_chambolle, rolling_ball

from kinocyte import restoration as r
from kinocyte.core.scale import Scale

SCALE = Scale(y_um=0.5, x_um=0.5, frame_interval_min=5)


def scene(rng: np.random.Generator, size: int, crowd: float, radius: int = 10) -> Any:
    """Return cells that cover about ``crowd`` of the frame, each of its own brightness."""
    n = round(-np.log1p(-crowd) * size * size / (np.pi * radius**2))
    out = np.zeros((size, size))
    span = np.arange(-radius, radius + 1)
    disc = np.argwhere(span[:, None] ** 2 + span[None] ** 2 <= radius**2) - radius
    for y, x in rng.integers(0, size, (n, 2)):
        at = disc + np.array([y, x])
        at = at[((at >= 0) & (at < size)).all(axis=1)]
        out[at[:, 0], at[:, 1]] = rng.uniform(100, 300)
    return out


def vignette(size: int) -> Any:
    y, x = np.mgrid[:size, :size] / size
    field = 1 - 0.8 * ((y - 0.45) ** 2 + (x - 0.55) ** 2)
    return field / field.mean()


def seconds(run: Callable[[], Any], repeats: int = 3) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def fields(size: int) -> list[dict[str, Any]]:
    rows, truth = [], vignette(size)
    for crowd in (0.1, 0.3, 0.5):
        rng = np.random.default_rng(1)
        frames = [
            (rng.uniform(0.8, 1.2) * 150 + scene(rng, size, crowd)) * truth + rng.normal(0, 3, (size, size))
            for _ in range(24)
        ]
        start = time.perf_counter()
        found = r.Illumination().fit(frames, SCALE).arrays["field"]
        took = time.perf_counter() - start
        naive = np.median(frames, axis=0)
        row = {"task": "illumination_24_frames", "crowd": crowd, "fit_s": round(took, 2)}
        for name, field in (("ours", found), ("peer_median", naive)):
            row[f"{name}_rms_percent"] = round(100 * float(np.std(field / field.mean() / truth)), 3)
        rows.append(row)
    return rows


def surfaces(size: int) -> list[dict[str, Any]]:
    rows = []
    y, x = np.mgrid[:size, :size] / size
    truth = 300 + 80 * x - 50 * y + 60 * x * y - 90 * x * x
    design = np.stack([np.ones(size * size), *(a.ravel() for a in (y, x, x * y, y * y, x * x))], axis=1)
    for crowd in (0.1, 0.3, 0.5):
        rng = np.random.default_rng(2)
        image = truth + scene(rng, size, crowd) + rng.normal(0, 5, truth.shape)
        naive = (design @ np.linalg.lstsq(design, image.ravel(), rcond=None)[0]).reshape(truth.shape)
        ours = r.ModelFit().background(image)
        rows.append(
            {
                "task": "paraboloid",
                "crowd": crowd,
                "ours_rms_grey": round(float(np.sqrt(np.mean((ours - truth) ** 2))), 3),
                "peer_least_squares_rms_grey": round(float(np.sqrt(np.mean((naive - truth) ** 2))), 3),
            }
        )
    return rows


def times(size: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    image = 100 + scene(rng, size, 0.2) + rng.normal(0, 5, (size, size))
    frame = np.rint(image).astype(np.uint16)
    peers: dict[str, Callable[[], Any]] = {
        "rolling_ball": lambda: rolling_ball(image, radius=50),
        "top_hat": lambda: white_tophat(image, disk(20)),
        "gaussian": lambda: ndi.gaussian_filter(image, 1.0),
        "total_variation": lambda: denoise_tv_chambolle(image, weight=5.0),
    }
    rows = []
    for model in (
        r.ModelFit(), r.RollingBall(), r.TopHat(), r.Median(), r.Gaussian(), r.Bilateral(), r.NonLocalMeans(),
        r.Wavelet(), r.TotalVariation(), r.ChannelOffset(dx_px=0.5),
    ):  # fmt: skip
        state = model.fit([frame], SCALE)
        ours = seconds(lambda m=model, s=state: m.apply(frame, 0, s))
        row = {"task": "time", "method": model.name(), "ours_s": round(ours, 4)}
        if model.name() in peers:
            row["peer_s"] = round(seconds(peers[model.name()], 1), 4)
            row["times_faster"] = round(row["peer_s"] / ours, 2)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for part in (fields, surfaces, times):
        for row in part(options.size):
            print("  ".join(f"{k} {v}" for k, v in row.items()), flush=True)
            rows.append(row)
    if options.json:
        options.json.write_text(json.dumps({"size": options.size, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
