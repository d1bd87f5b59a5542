"""Events of 100,000 tracks: time; and who is called what, how far off, against noise, beside published numbers.

    python benchmarks/events.py [--tracks 100000]

Prints tables and writes ``benchmarks/results/events.json``. Tracks turn from 100 to 200 at a random time (half of
them), never (a quarter) or before the start (a quarter); the signal-to-noise ratio is the step over the deviation of
the noise, the width the scale of the sigmoid in frames (0 = a step). Classes and times are scored by
`kinocyte.evaluation`. Seconds are those of the processor in one process, after a first call that compiles.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import polars as pl

RESULTS = Path(__file__).parent / "results" / "events.json"

#: Torro et al., eLife 14, RP105302 (2025), on its own movies: not the same data, for orientation only
PUBLISHED = (
    "Celldetective (eLife 2025): death by PI threshold and irreversible fit, about 15 % of called deaths false, MAE "
    "7.1 min at 3 min per frame (2.4 frames); spreading, no confusion, MAE 0.35 min at 15-20 s per frame (1.1 frames); "
    "deep model, 3 % false. Its irreversible fit took 25-29 s for 1000 tracks x 60 frames (one thread)."
)


def simulate(n: int, frames: int, *, snr: float, width: float = 0.0, drift: float = 0.0, seed: int = 1):
    rng = np.random.default_rng(seed)
    kind = rng.choice(["none", "event", "censored_left"], n, p=[0.25, 0.5, 0.25])
    at = rng.uniform(0, frames - 1, n)
    at[kind == "none"], at[kind == "censored_left"] = 1e6, -1e6
    since = np.arange(frames) - at[:, np.newaxis]
    turn = (since > 0).astype(float) if width == 0 else 1 / (1 + np.exp(-np.clip(since / width, -50, 50)))
    slope = drift * rng.uniform(-1, 1, (n, 1)) * np.arange(frames) / frames
    cells = pl.DataFrame({
        "object_id": np.arange(n * frames),
        "track_id": np.repeat(np.arange(1, n + 1), frames),
        "time_min": np.tile(np.arange(frames, dtype=float), n),
        "mean_pi": (100 + 100 * (turn + slope) + rng.normal(0, 100 / snr, (n, frames))).ravel(),
    })  # fmt: skip
    truth = pl.DataFrame(
        {"track_id": np.arange(1, n + 1), "class": kind, "time_min": np.where(kind == "event", at, np.nan)}
    )
    return cells, truth.with_columns(pl.col("time_min").fill_nan(None))


def score(method, cells: pl.DataFrame, truth: pl.DataFrame, *, left: bool) -> dict[str, float]:
    from kinocyte.evaluation.events import score_events

    begin = time.process_time()
    found = method.detect(cells, "death").events
    seconds = time.process_time() - begin
    if not left:
        # without a threshold nothing tells that a track turned before it was seen
        truth = truth.with_columns(pl.col("class").replace({"censored_left": "none"}))
    scores = score_events(truth, found)
    hit = truth.filter(pl.col("class") == "event").join(found.filter(pl.col("class") == "event"), on="track_id")
    error = hit["time_min_right"] - hit["time_min"]
    inside = (hit["time_min"] >= hit["time_low_min"]) & (hit["time_min"] <= hit["time_high_min"])
    return {
        "precision": scores.precision, "recall": scores.recall, "accuracy": scores.accuracy,
        "mae_frames": scores.mean_absolute_error_min, "bias_frames": scores.bias_min,
        "sd_of_z": (error / hit["time_se_min"]).std(), "coverage_95": inside.mean(), "seconds": seconds,
        "confusion": {f"{a} -> {c}": n for a, c, n in scores.confusion.iter_rows()},
    }  # fmt: skip


def against_noise() -> list[dict[str, object]]:
    from kinocyte.events import ChangePoint, ThresholdTransition

    rows = []
    cases = [(s, w, 0.0) for s in (3, 5, 10) for w in (0.0, 0.5, 1.0, 2.0)] + [(5, 0.0, 1.0), (5, 1.0, 1.0)]
    for snr, width, drift in cases:
        cells, truth = simulate(3000, 60, snr=snr, width=width, drift=drift)
        for method in (ThresholdTransition(when="mean_pi > 150"), ChangePoint(signal="mean_pi", direction="up")):
            result = score(method, cells, truth, left=method.name() != "change_point")
            row = {"method": method.name(), "snr": snr, "width": width, "drift": drift, **result}
            rows.append(row)
            print(
                f"{method.name():22} {snr:4} {width:6} {drift:6}   {row['precision']:.3f}  {row['recall']:.3f}   "
                f"{row['mae_frames']:.3f}  {row['bias_frames']:+.3f}  {row['sd_of_z']:.2f}  {row['coverage_95']:.3f}"
            )
    return rows


def speed(tracks: int) -> dict[str, float]:
    from kinocyte.events import ThresholdTransition

    cells, _ = simulate(tracks, 200, snr=5)
    method = ThresholdTransition(when="mean_pi > 150")
    by_frame = cells.sort("time_min", "track_id")
    out = {}
    for name, table in (("in order of tracks", cells), ("in order of frames", by_frame)):
        begin, wall = time.process_time(), time.perf_counter()
        method.detect(table, "death")
        out[name] = time.process_time() - begin
        out[f"{name}, by the clock"] = time.perf_counter() - wall
    small, _ = simulate(1000, 60, snr=5)
    begin = time.process_time()
    method.detect(small, "death")
    out["1000 tracks x 60 frames"] = time.process_time() - begin
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=100_000)
    options = parser.parse_args()
    from kinocyte.events import ThresholdTransition

    begin = time.process_time()
    ThresholdTransition(when="mean_pi > 150").detect(simulate(50, 30, snr=3)[0], "death")
    compiled = time.process_time() - begin
    print(f"first call, which compiles or loads what was compiled: {compiled:.1f} s of the processor\n")
    print("method                  SNR  width  drift  precision recall   MAE    bias   sd(z)  95 % covered   (frames)")
    noise = against_noise()
    print(f"\n{PUBLISHED}\n")
    seconds = speed(options.tracks)
    for name, value in seconds.items():
        print(
            f"{options.tracks} tracks x 200 frames, {name}: {value:.2f} s"
            if "x" not in name
            else f"{name}: {value:.3f} s"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    result = {
        "first_call_s": compiled,
        "tracks": options.tracks,
        "seconds": seconds,
        "noise": noise,
        "published": PUBLISHED,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
