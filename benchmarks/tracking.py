"""Linking against laptrack and trackpy: link and division F1 on simulated truth, time, memory.

    python -m venv PEERS && PEERS/bin/pip install laptrack trackpy numba
    python benchmarks/tracking.py --peers PEERS/bin/python [--full]

Without ``--peers`` only our own linkers run. ``--full`` lets the peers link all 500 frames of 2000 objects; otherwise
they get the first 25 of them, and so do we in that row. Prints a table and writes ``benchmarks/results/tracking.json``.
Every linker gets the same largest distances and runs in a process of its own on one thread, warmed up on three frames;
only the linking is timed, in seconds of the processor, which do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "tracking.json"
HERE = Path(__file__)

#: frames, objects, and what differs from the defaults of `simulate`; lengths in um
MOVIES = {
    "100 x 1000, gaps": {"frames": 100, "objects": 1000},
    "100 x 1000, gaps, divisions": {"frames": 100, "objects": 1000, "divide": 0.005, "die": 0.005},
    "100 x 1000, as close as they move": {"frames": 100, "objects": 1000, "step": 7.0},
    "100 x 1000, gaps, false detections": {"frames": 100, "objects": 1000, "false": 0.05},
    "500 x 2000, gaps": {"frames": 500, "objects": 2000},
    "500 x 2000, gaps, divisions": {"frames": 500, "objects": 2000, "divide": 0.002, "die": 0.002},
}
SPACING_UM = 20.0


def simulate(
    *, frames: int, objects: int, step: float = 3.0, missed: float = 0.05, divide: float = 0.0,
    die: float = 0.0, false: float = 0.0, seed: int = 1,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return detections and true links of cells that take normal steps of ``step`` um per axis and frame.

    They start on a jittered lattice of 20 um, bounce off the walls, divide into two daughters one and a half steps to
    either side, die, are missed, and false detections stand among them.
    """
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(objects)))
    size = side * SPACING_UM
    lattice = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)[:objects]
    xy = (lattice + 0.5 + rng.uniform(-0.3, 0.3, lattice.shape)) * SPACING_UM
    last = np.full(objects, -1)
    table, links, count = [], [], 0
    for frame in range(frames):
        if frame:
            xy = xy + rng.normal(0, step, xy.shape)
            alive = rng.random(len(xy)) >= die
            xy, last = xy[alive], last[alive]
            mothers = np.flatnonzero(rng.random(len(xy)) < divide)
            angle = rng.uniform(0, 2 * np.pi, len(mothers))
            offset = 1.5 * step * np.stack([np.cos(angle), np.sin(angle)], 1)
            xy = np.concatenate([xy, xy[mothers] - offset])
            xy[mothers] += offset
            last = np.concatenate([last, last[mothers]])
            xy = size - np.abs(size - np.abs(xy))
        seen = np.flatnonzero(rng.random(len(xy)) >= missed)
        ghosts = rng.random((rng.poisson(false * len(xy)), 2)) * size
        shown = np.concatenate([xy[seen], ghosts])
        # ids are given in random order, so that order tells nothing
        ids = count + rng.permutation(len(shown))
        linked = last[seen] >= 0
        links.append(np.stack([last[seen][linked], ids[: len(seen)][linked]], 1))
        last[seen] = ids[: len(seen)]
        block = np.empty((len(shown), 4))
        block[ids - count] = np.column_stack([ids, np.full(len(shown), frame), shown])
        table.append(block)
        count += len(shown)
    rows, true = np.concatenate(table), np.concatenate(links)
    gap = rows[true[:, 1], 1] - rows[true[:, 0], 1]
    return {"rows": rows, "links": true[gap <= 3].astype(np.int64), "step": np.array(step)}


def reach(step: float) -> tuple[float, float, float]:
    """Return largest distances of links, gaps and splits that every linker is given."""
    return 4.0 * step, 5.0 * step, 5.0 * step


def run_kinocyte(rows: np.ndarray, step: float, *, split: bool, mode: str = "kinocyte") -> tuple[np.ndarray, float]:
    import polars as pl

    from kinocyte.tracking import LAP

    distance, over_gap, to_daughter = reach(step)
    method = LAP(
        max_distance_um=distance, max_frame_gap=3, gap_max_distance_um=over_gap,
        splitting_max_distance_um=to_daughter if split else None, compatible=mode,
    )  # fmt: skip
    table = pl.DataFrame({
        "object_id": rows[:, 0].astype(np.int64), "frame": rows[:, 1].astype(np.int32),
        "x_um": rows[:, 2], "y_um": rows[:, 3],
    })  # fmt: skip
    method.link(table.filter(pl.col("frame") < 3))
    begin = time.process_time()
    links = method.link(table)
    return links.select("source_id", "target_id").to_numpy(), time.process_time() - begin


def run_laptrack(rows: np.ndarray, step: float, *, split: bool) -> tuple[np.ndarray, float]:
    import pandas as pd  # noqa: TID251 - what this peer takes
    from laptrack import LapTrack

    distance, over_gap, to_daughter = reach(step)
    tracker = LapTrack(
        cutoff=distance**2, gap_closing_cutoff=over_gap**2, gap_closing_max_frame_count=2,
        splitting_cutoff=to_daughter**2 if split else False,
    )  # fmt: skip
    frame = pd.DataFrame(rows, columns=["id", "frame", "x", "y"]).astype({"id": int, "frame": int})

    def link(part: pd.DataFrame) -> list[tuple[int, int]]:
        tracks, splits, _ = tracker.predict_dataframe(
            part, coordinate_cols=["x", "y"], frame_col="frame", only_coordinate_cols=False
        )
        tracks = tracks.reset_index()
        frames = "frame_y" if "frame_y" in tracks.columns else "frame"
        out, ends = [], {}
        for key, track in tracks.sort_values(frames).groupby("track_id"):
            ids = track["id"].to_numpy()
            out += itertools.pairwise(ids)
            ends[key] = (ids[0], ids[-1])
        for parent, child in splits[["parent_track_id", "child_track_id"]].to_numpy() if len(splits) else ():
            out.append((ends[parent][1], ends[child][0]))
        return out

    link(frame[frame["frame"] < 3])
    begin = time.process_time()
    links = link(frame)
    return np.array(links), time.process_time() - begin


def run_trackpy(rows: np.ndarray, step: float, *, split: bool) -> tuple[np.ndarray, float]:
    import pandas as pd  # noqa: TID251 - what this peer takes
    import trackpy

    del split  # it knows no divisions
    trackpy.quiet()
    frame = pd.DataFrame(rows, columns=["id", "frame", "x", "y"]).astype({"id": int, "frame": int})

    def link(part: pd.DataFrame) -> np.ndarray:
        linked = trackpy.link(part, reach(step)[0], memory=2).sort_values(["particle", "frame"])
        ids, track = linked["id"].to_numpy(), linked["particle"].to_numpy()
        same = track[1:] == track[:-1]
        return np.stack([ids[:-1][same], ids[1:][same]], 1)

    link(frame[frame["frame"] < 3])
    begin = time.process_time()
    links = link(frame)
    return links, time.process_time() - begin


LINKERS = {
    "kinocyte": run_kinocyte,
    "kinocyte, as TrackMate": lambda *a, **k: run_kinocyte(*a, **k, mode="trackmate"),
    "laptrack": run_laptrack,
    "trackpy": run_trackpy,
}


def divisions(links: np.ndarray) -> set[tuple[int, int, int]]:
    order = links[np.lexsort((links[:, 1], links[:, 0]))]
    first = np.flatnonzero(order[1:, 0] == order[:-1, 0])
    return {(int(order[k, 0]), int(order[k, 1]), int(order[k + 1, 1])) for k in first}


def f1(found: set, true: set) -> float | None:
    return 2 * len(found & true) / (len(found) + len(true)) if true else None


def work(name: str, source: Path, target: Path, *, split: bool) -> None:
    """Link one movie in this process and write links, seconds and peak memory."""
    movie = np.load(source)
    try:
        links, seconds = LINKERS[name](movie["rows"], float(movie["step"]), split=split)
        answer = {"seconds": seconds, "links": np.asarray(links).tolist()}
    except Exception as error:
        answer = {"refused": f"{type(error).__name__}: {error}"[:200]}
    answer["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    target.write_text(json.dumps(answer))


def measure(name: str, python: str, movie: dict[str, np.ndarray], *, split: bool, limit_s: float) -> dict:
    """Run one linker in a process of its own and score it."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "movie.npz", Path(folder) / "links.json"
        np.savez(source, **movie)
        command = [python, str(HERE), "--work", name, str(source), str(target)] + ["--split"] * split
        try:
            subprocess.run(command, check=True, timeout=limit_s, env={**os.environ, **single}, stdout=sys.stderr)
        except subprocess.TimeoutExpired:
            return {"refused": f"not done after {limit_s:.0f} s"}
        answer = json.loads(target.read_text())
    links = np.array(answer.pop("links", []), dtype=np.int64).reshape(-1, 2)
    if "seconds" in answer:
        true = movie["links"]
        answer["link_f1"] = f1(set(map(tuple, links.tolist())), set(map(tuple, true.tolist())))
        answer["division_f1"] = f1(divisions(links), divisions(true)) if split else None
        answer["links"] = len(links)
    return answer


def first_frames(movie: dict[str, np.ndarray], frames: int) -> dict[str, np.ndarray]:
    rows = movie["rows"][movie["rows"][:, 1] < frames]
    return {**movie, "rows": rows, "links": movie["links"][movie["links"][:, 1] < len(rows)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="python of the environment with laptrack and trackpy")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="", help="movies whose name contains this")
    parser.add_argument("--limit-s", type=float, default=3600.0)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--split", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        name, source, target = options.work
        work(name, Path(source), Path(target), split=options.split)
        return
    rows = []
    print(f"{'movie':44s} {'linker':24s} {'seconds':>9s} {'x ours':>7s} {'link F1':>8s} {'div. F1':>8s} {'GB':>5s}")
    for title, settings in MOVIES.items():
        if options.only not in title:
            continue
        movie = simulate(**settings)
        cases = [(title, movie, False)]
        if settings["frames"] > 100 and options.peers and not options.full:
            cases = [(title, movie, True), (f"{title}, first 25", first_frames(movie, 25), False)]
        for name, part, alone in cases:
            ours = None
            for linker in LINKERS:
                peer = linker in {"laptrack", "trackpy"}
                if peer and (alone or not options.peers):
                    continue
                answer = measure(
                    linker, options.peers if peer else sys.executable, part,
                    split="divide" in settings, limit_s=options.limit_s,
                )  # fmt: skip
                ours = ours or answer.get("seconds")
                row = {"movie": name, "objects": len(part["rows"]), "linker": linker, **answer}
                if "seconds" in answer:
                    row["times_ours"] = answer["seconds"] / ours
                rows.append(row)
                print(line(row), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"spacing_um": SPACING_UM, "rows": rows}, indent=1))


def line(row: dict) -> str:
    if "refused" in row:
        return f"{row['movie']:44s} {row['linker']:24s} {row['refused']}"
    division = row["division_f1"]
    return (
        f"{row['movie']:44s} {row['linker']:24s} {row['seconds']:9.2f} {row['times_ours']:7.1f} {row['link_f1']:8.4f} "
        f"{'' if division is None else f'{division:.3f}':>8s} {row['peak_gb']:5.2f}"
    )


if __name__ == "__main__":
    main()
