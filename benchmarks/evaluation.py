"""Scores of tracking and segmentation: ours against py-ctcmetrics and stardist's matching, in one run, one thread.

    OMP_NUM_THREADS=1 python benchmarks/evaluation.py [--data shared/data] [--json evaluation.json]

Both sides read the same TIFF files of the Cell Tracking Challenge's layout and compute SEG, TRA, DET, LNK, CT, TF,
CCA, BC(0..3), HOTA and IDF1; the largest difference of any of them stands beside the times. Movies: the real ones of
the test data, and a simulated one. Peers that are not installed are left out
(``pip install py-ctcmetrics stardist``).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tifffile

from kinocyte.evaluation.movies import LabelMovie
from kinocyte.evaluation.particles import score_particles
from kinocyte.evaluation.segmentation import AP_THRESHOLDS, score_segmentation
from kinocyte.evaluation.tracking import score_tracking
from kinocyte.simulation.cells import CellMovie, simulate_cells

DATA = next(
    (p for up in (1, 2) if (p := Path(__file__).resolve().parents[up] / "shared" / "data").is_dir()),
    Path("shared/data"),
)
ORACLES = Path(__file__).resolve().parents[1] / "tests" / "evaluation" / "oracles"
METRICS = ["SEG", "TRA", "DET", "LNK", "CT", "TF", "CCA", "BC", "HOTA", "IDF1"]
THEIRS = {n: f"AOGM_{n}" for n in ("NS", "FN", "FP", "ED", "EA", "EC")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [*tracking(options.data), segmentation(), particles(), simulation()]
    with pl.Config(tbl_rows=-1, tbl_width_chars=140, fmt_str_lengths=60, tbl_hide_dataframe_shape=True):
        print(pl.DataFrame(rows, infer_schema_length=None))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Return the median time and the result of the last repeat."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        out = work()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), out


def row(subject: str, ours: float, peer: float | None = None, **more: Any) -> dict[str, Any]:
    ratio = None if peer is None else round(peer / ours, 1)
    return {"subject": subject, "ours_s": round(ours, 4), "peer_s": peer and round(peer, 3), "ratio": ratio} | {
        "note": ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in more.items())
    }


def tracking(data: Path) -> list[dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("ctc_cases", ORACLES / "ctc_cases.py")
    assert spec is not None
    assert spec.loader is not None
    cases = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cases)
    movies: dict[str, Callable[[], Any]] = {"simulated, 60 frames x 300 cells, 1024 x 1024": lambda: simulated(cases)}
    if data.is_dir():
        movies |= {n: (lambda n=n: getattr(cases, n)(data)) for n in ("official_03", "hela_01", "sim_plus_01")}
    rows = []
    for name, build in movies.items():
        with tempfile.TemporaryDirectory() as folder:
            rows.append(one_movie(name, build(), Path(folder)))
    return rows


def simulated(cases: Any) -> Any:
    """Return a simulated movie and a result with one track in a hundred broken per frame and 2 % of objects missing."""
    movie = simulate_cells(
        CellMovie(frames=60, cells=300, height_px=1024, width_px=1024, division_rate_per_h=0.1), seed=1
    )
    truth = [movie.labels(t).astype(np.uint16) for t in range(60)]
    rng, result, parents = np.random.default_rng(0), [], {}
    names = np.arange(60_000, dtype=np.uint16)
    parents |= dict(movie.tracks.filter(pl.col("parent_id").is_not_null()).select("track_id", "parent_id").iter_rows())
    top = int(max(t.max() for t in truth)) + 1
    for frame in truth:
        there = np.unique(frame[frame > 0])
        for label in there[rng.random(len(there)) < 0.01]:
            names[label], top = top, top + 1
        lost = names.copy()
        lost[there[rng.random(len(there)) < 0.02]] = 0
        result.append(lost[frame])
    images, rows = cases.tidy(result, parents, random.Random(0))  # noqa: S311 - no secrets here
    return cases.Case(truth, movie.ctc_tracks.to_numpy(), images, rows, {t: truth[t] for t in range(0, 60, 10)})


def one_movie(name: str, case: Any, folder: Path) -> dict[str, Any]:
    write(case, folder)
    truth, result = (sorted((folder / p).glob("m*.tif")) for p in ("01_GT/TRA", "01_RES"))

    def ours() -> dict[str, Any]:
        masks = {t: tifffile.imread(folder / f"01_GT/SEG/man_seg{t:03d}.tif") for t in case.masks}
        rows = [np.loadtxt(folder / p, np.int64, ndmin=2) for p in ("01_GT/TRA/man_track.txt", "01_RES/res_track.txt")]
        return score_tracking(
            LabelMovie(lambda t: tifffile.imread(truth[t]), rows[0], len(truth)),
            LabelMovie(lambda t: tifffile.imread(result[t]), rows[1], len(result)),
            masks=masks or None,
        ).as_dict()

    ours()
    mine_s, mine = timed(ours)
    if find_spec("ctc_metrics") is None:
        return row(f"tracking, {name}", mine_s, TRA=round(mine["TRA"], 6))
    from ctc_metrics.scripts.evaluate import evaluate_sequence

    metrics = METRICS if case.masks else METRICS[1:]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer_s, theirs = timed(lambda: evaluate_sequence(f"{folder}/01_RES", f"{folder}/01_GT", list(metrics), 1), 1)
    pairs = [(v, theirs.get(THEIRS.get(k, k))) for k, v in mine.items()]
    difference = max(abs(a - b) for a, b in pairs if a is not None and b is not None)
    return row(f"tracking, {name}", mine_s, peer_s, TRA=round(mine["TRA"], 6), largest_difference=f"{difference:.1e}")


def write(case: Any, folder: Path) -> None:
    for part in ("01_GT/TRA", "01_GT/SEG", "01_RES"):
        (folder / part).mkdir(parents=True)
    for t, (a, b) in enumerate(zip(case.truth, case.result, strict=True)):
        tifffile.imwrite(folder / f"01_GT/TRA/man_track{t:03d}.tif", a)
        tifffile.imwrite(folder / f"01_RES/mask{t:03d}.tif", b)
    for t, mask in case.masks.items():
        tifffile.imwrite(folder / f"01_GT/SEG/man_seg{t:03d}.tif", mask)
    np.savetxt(folder / "01_GT/TRA/man_track.txt", case.truth_tracks, fmt="%d")
    np.savetxt(folder / "01_RES/res_track.txt", case.result_tracks, fmt="%d")


def segmentation() -> dict[str, Any]:
    movie = simulate_cells(CellMovie(frames=2, cells=1500, height_px=2048, width_px=2048), seed=0)
    truth, result = movie.labels(0), np.roll(movie.labels(0), (2, 3), (0, 1))
    mine_s, mine = timed(lambda: score_segmentation(truth, result))
    name = "segmentation, 1500 cells, 2048 x 2048, IoU .1 and .5 to .95"
    if find_spec("stardist") is None:
        return row(name, mine_s, mAP=round(mine.mean_average_precision, 6))
    from stardist.matching import matching

    thresholds = (0.1, *AP_THRESHOLDS)
    a, b = truth.astype(np.int32), result.astype(np.int32)
    matching(a, b, thresh=thresholds)
    peer_s, theirs = timed(lambda: matching(a, b, thresh=thresholds), 1)
    difference = max(
        abs(t.accuracy - mine.average_precision[p]) for p, t in zip(AP_THRESHOLDS, theirs[1:], strict=True)
    )
    return row(name, mine_s, peer_s, mAP=round(mine.mean_average_precision, 6), largest_difference=f"{difference:.1e}")


def particles() -> dict[str, Any]:
    movie = simulate_cells(CellMovie(frames=100, cells=2000, height_px=4096, width_px=4096, gap_rate=0.02), seed=0)
    truth = movie.objects.join(movie.members, on="object_id")
    noise = np.random.default_rng(0).normal(0, 0.5, len(truth))
    seconds, scores = timed(lambda: score_particles(truth, truth.with_columns(pl.col("x_um") + noise), gate_um=5))
    return row(f"particles, {len(truth)} positions", seconds, alpha=round(scores.alpha, 4))


def simulation() -> dict[str, Any]:
    movie = simulate_cells(CellMovie(), seed=0)
    movie.frame(0)
    seconds, _ = timed(lambda: [movie.frame(t) for t in range(50)])
    return row("simulation, 50 frames x 50 cells, 512 x 512", seconds, frames_per_s=round(50 / seconds))


if __name__ == "__main__":
    main()
