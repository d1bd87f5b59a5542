"""Linking against laptrack and trackpy: link and division F1 on simulated and real truth, time, memory.

    python -m venv PEERS && PEERS/bin/pip install laptrack trackpy numba
    python benchmarks/tracking.py --peers PEERS/bin/python [--part peers million density accuracy real] [--full]

Parts: ``peers`` simulated movies, every linker with the same largest distances; ``million`` a million objects with gaps
and divisions; ``density`` time against the number of objects in a field; ``accuracy`` F1 against gap rate and against
step over spacing; ``real`` TRA, LNK and BC on real movies (``../shared/data``) at defaults and after a sweep. Features
are timed in ``measurement.py``. Without ``--peers`` only our own linkers run. ``--full`` lets the peers link all 500
frames of 2000 objects; otherwise they get the first 25 of them, and so do we in that row. Prints a table and writes
``benchmarks/results/tracking.json``; parts that are not run keep their place in it. Every linker runs in a process
of its own on one thread, warmed up on three frames; only the linking is timed, in seconds of the processor, which do
not depend on what else the machine does.
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
DATA = HERE.resolve().parents[1] / "shared" / "data"
if not DATA.is_dir():
    DATA = HERE.resolve().parents[2] / "shared" / "data"

#: frames, objects, and what differs from the defaults of `simulate`; lengths in um
MOVIES = {
    "100 x 1000, gaps": {"frames": 100, "objects": 1000},
    "100 x 1000, gaps, divisions": {"frames": 100, "objects": 1000, "divide": 0.005, "die": 0.005},
    # trackpy refuses, laptrack finds 0.89 of the links: half the distance to the nearest neighbour is one step
    "100 x 1000, dense": {"frames": 100, "objects": 1000, "step": 4.0},
    "100 x 1000, dense, divisions": {"frames": 100, "objects": 1000, "step": 4.0, "divide": 0.005, "die": 0.005},
    "100 x 1000, as close as they move": {"frames": 100, "objects": 1000, "step": 7.0},
    "100 x 1000, as close as they move, divisions": {
        "frames": 100,
        "objects": 1000,
        "step": 7.0,
        "divide": 0.005,
        "die": 0.005,
    },
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
    # largest distances of links, gaps and splits that every linker is given
    reach = np.array([4.0, 5.0, 5.0]) * step
    return {"rows": rows, "links": true[gap <= 3].astype(np.int64), "reach": reach}


def our_method(name: str, reach: np.ndarray, *, split: bool):
    """Return one of our linkers with these largest distances, or with its defaults where there are none."""
    from kinocyte.tracking import LAP, Bayesian, Kalman, Nearest

    if not len(reach):
        return {"lap": LAP, "kalman": Kalman, "nearest": Nearest, "bayesian": Bayesian}.get(name, LAP)()
    distance, over_gap, to_daughter = map(float, reach)
    daughters = to_daughter if split else None
    if name == "kalman":
        return Kalman(
            max_distance_um=distance, search_radius_um=distance, max_frame_gap=3, splitting_max_distance_um=daughters
        )
    if name == "nearest":
        return Nearest(max_distance_um=distance)
    if name == "bayesian":
        return Bayesian(max_distance_um=distance, hypothesis_max_distance_um=over_gap, max_frame_gap=3)
    return LAP(
        max_distance_um=distance, max_frame_gap=3, gap_max_distance_um=over_gap, splitting_max_distance_um=daughters,
        compatible="trackmate" if name == "trackmate" else "kinocyte",
    )  # fmt: skip


def run_kinocyte(rows: np.ndarray, reach: np.ndarray, *, split: bool, name: str = "lap") -> tuple[np.ndarray, float]:
    import polars as pl

    method = our_method(name, reach, split=split)
    table = pl.DataFrame({
        "object_id": rows[:, 0].astype(np.int64), "frame": rows[:, 1].astype(np.int32),
        "x_um": rows[:, 2], "y_um": rows[:, 3],
    })  # fmt: skip
    method.link(table.filter(pl.col("frame") < 3))
    begin = time.process_time()
    links = method.link(table)
    return links.select("source_id", "target_id").to_numpy(), time.process_time() - begin


def run_laptrack(rows: np.ndarray, reach: np.ndarray, *, split: bool) -> tuple[np.ndarray, float]:
    import pandas as pd  # noqa: TID251 - what this peer takes
    from laptrack import LapTrack

    tracker = LapTrack()
    if len(reach):
        distance, over_gap, to_daughter = map(float, reach)
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


def run_trackpy(rows: np.ndarray, reach: np.ndarray, *, split: bool) -> tuple[np.ndarray, float]:
    import pandas as pd  # noqa: TID251 - what this peer takes
    import trackpy

    del split  # it knows no divisions
    trackpy.quiet()
    frame = pd.DataFrame(rows, columns=["id", "frame", "x", "y"]).astype({"id": int, "frame": int})

    def link(part: pd.DataFrame) -> np.ndarray:
        linked = trackpy.link(part, float(reach[0]), memory=2).sort_values(["particle", "frame"])
        ids, track = linked["id"].to_numpy(), linked["particle"].to_numpy()
        same = track[1:] == track[:-1]
        return np.stack([ids[:-1][same], ids[1:][same]], 1)

    link(frame[frame["frame"] < 3])
    begin = time.process_time()
    links = link(frame)
    return links, time.process_time() - begin


PEERS = {"laptrack", "trackpy"}
MAIN = ("kinocyte", "kinocyte, as TrackMate", "laptrack", "trackpy")
LINKERS = {
    "kinocyte": run_kinocyte,
    "kinocyte, as TrackMate": lambda *a, **k: run_kinocyte(*a, **k, name="trackmate"),
    "kinocyte, Kalman": lambda *a, **k: run_kinocyte(*a, **k, name="kalman"),
    "kinocyte, nearest": lambda *a, **k: run_kinocyte(*a, **k, name="nearest"),
    "kinocyte, Bayesian": lambda *a, **k: run_kinocyte(*a, **k, name="bayesian"),
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
    links: np.ndarray = np.empty((0, 2), np.int64)
    try:
        links, seconds = LINKERS[name](movie["rows"], movie["reach"], split=split)
        answer: dict = {"seconds": seconds}
    except Exception as error:
        answer = {"refused": f"{type(error).__name__}: {error}"[:200]}
    answer["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    np.savez(target, links=links, answer=json.dumps(answer))


def run(name: str, options: argparse.Namespace, movie: dict[str, np.ndarray], *, split: bool) -> dict:
    """Run one linker in a process of its own; return its links and what it took."""
    python = options.peers if name in PEERS else sys.executable
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "movie.npz", Path(folder) / "links.npz"
        np.savez(source, **movie)
        command = [python, str(HERE), "--work", name, str(source), str(target)] + ["--split"] * split
        try:
            subprocess.run(
                command, check=True, timeout=options.limit_s, env={**os.environ, **single}, stdout=sys.stderr
            )
        except subprocess.TimeoutExpired:
            return {"refused": f"not done after {options.limit_s:.0f} s"}
        done = np.load(target)
        return {"links": done["links"].reshape(-1, 2).astype(np.int64), **json.loads(str(done["answer"]))}


def measure(name: str, options: argparse.Namespace, movie: dict[str, np.ndarray], *, split: bool) -> dict:
    """Run one linker and score it."""
    answer = run(name, options, movie, split=split)
    links = answer.pop("links", np.empty((0, 2), np.int64))
    if "seconds" in answer:
        true = movie["links"]
        answer["link_f1"] = f1(set(map(tuple, links.tolist())), set(map(tuple, true.tolist())))
        answer["division_f1"] = f1(divisions(links), divisions(true)) if split else None
        answer["links"] = len(links)
    return answer


def compared(title: str, options: argparse.Namespace, movie: dict, linkers: tuple[str, ...], *, split: bool) -> list:
    """Return and print one row per linker on one movie."""
    ours, rows = None, []
    for linker in linkers:
        if linker in PEERS and not options.peers:
            continue
        answer = measure(linker, options, movie, split=split)
        ours = ours or answer.get("seconds")
        row = {"movie": title, "objects": len(movie["rows"]), "linker": linker, **answer}
        if "seconds" in answer and ours:
            row["times_ours"] = answer["seconds"] / ours
        rows.append(row)
        print(line(row), flush=True)
    return rows


def first_frames(movie: dict[str, np.ndarray], frames: int) -> dict[str, np.ndarray]:
    rows = movie["rows"][movie["rows"][:, 1] < frames]
    return {**movie, "rows": rows, "links": movie["links"][movie["links"][:, 1] < len(rows)]}


def part_peers(options: argparse.Namespace) -> list:
    rows = []
    for title, settings in MOVIES.items():
        if options.only not in title:
            continue
        movie, split = simulate(**settings), "divide" in settings
        if settings["frames"] > 100 and options.peers and not options.full:
            rows += compared(title, options, movie, MAIN[:2], split=split)
            rows += compared(f"{title}, first 25", options, first_frames(movie, 25), MAIN, split=split)
        else:
            rows += compared(title, options, movie, MAIN, split=split)
    return rows


def part_million(options: argparse.Namespace) -> list:
    movie = simulate(frames=500, objects=2200, divide=0.002, die=0.002)
    return compared("a million, gaps, divisions", options, movie, ("kinocyte",), split=True)


def part_density(options: argparse.Namespace) -> list:
    rows = []
    for objects in (250, 1000, 4000, 16000):
        movie = simulate(frames=20, objects=objects)
        rows += compared(f"20 x {objects}, gaps", options, movie, MAIN, split=False)
    for step in (1.0, 3.0, 7.0, 14.0):  # the same field, reached ever farther into
        movie = simulate(frames=20, objects=1000, step=step)
        rows += compared(f"20 x 1000, step {step:g} of {SPACING_UM:g} um", options, movie, MAIN, split=False)
    return rows


def part_accuracy(options: argparse.Namespace) -> list:
    rows = []
    linkers = ("kinocyte", "kinocyte, Kalman", "kinocyte, nearest", "kinocyte, as TrackMate", "laptrack", "trackpy")
    for missed in (0.0, 0.05, 0.1, 0.2, 0.3):
        movie = simulate(frames=40, objects=400, missed=missed, divide=0.005, die=0.005)
        rows += compared(f"40 x 400, {missed:.0%} missed, divisions", options, movie, linkers, split=True)
    for share in (0.05, 0.1, 0.2, 0.35, 0.5):
        movie = simulate(frames=40, objects=400, step=share * SPACING_UM, divide=0.005, die=0.005)
        rows += compared(f"40 x 400, step {share:g} of spacing, divisions", options, movie, linkers, split=True)
    return rows


def real_movies() -> dict[str, dict[str, np.ndarray]]:
    """Return detections and true links of real movies that people annotated."""
    import polars as pl
    import tifffile

    movies = {}
    folder = DATA / "ctc_fluo_n2dl_hela_01_gt_tracks_and_res"
    if folder.is_dir():
        nodes = pl.read_csv(folder / "gt_nodes.csv").sort("t", "id").with_row_index("number")
        number = dict(nodes.select("id", "number").iter_rows())
        edges = pl.read_csv(folder / "gt_edges.csv").rows()
        rows = nodes.select("number", "t", pl.col("x") * 0.645, pl.col("y") * 0.645).to_numpy().astype(float)
        movies["Fluo-N2DL-HeLa 01"] = {"rows": rows, "links": np.array([(number[a], number[b]) for a, b in edges])}
    folders = {
        "Fluo-N2DH-SIM+ 01": (DATA / "ctc_sim_nuclei" / "Fluo-N2DH-SIM+_01_GT_TRA", 0.125),
    }
    for name, (folder, um) in folders.items():
        if not folder.is_dir():
            continue
        rows, links, last = [], [], {}
        parents = {int(r[0]): int(r[3]) for r in np.loadtxt(folder / "man_track.txt", ndmin=2)}
        for path in sorted(folder.glob("man_track*.tif")):
            image = tifffile.imread(path)
            where = np.nonzero(image)
            label, index = np.unique(image[where], return_inverse=True)
            centre = [np.bincount(index, axis) / np.bincount(index) for axis in where[-2:]]
            for k, value in enumerate(label.tolist()):
                before = last.get(value, last.get(parents.get(value, 0)))
                if before is not None:
                    links.append((before, len(rows)))
                last[value] = len(rows)
                frame = int("".join(c for c in path.stem if c.isdigit()))
                rows.append((len(rows), frame, centre[1][k] * um, centre[0][k] * um))
        movies[name] = {"rows": np.array(rows), "links": np.array(links)}
    return movies


def challenge_scores(movie: dict[str, np.ndarray], links: np.ndarray) -> dict[str, float | None]:
    import polars as pl

    from kinocyte.evaluation.movies import ObjectMovie
    from kinocyte.evaluation.tracking import score_tracking

    names = ("object_id", "frame", "x_um", "y_um")
    objects = pl.DataFrame(dict(zip(names, movie["rows"].T, strict=True))).with_columns(
        pl.col("object_id", "frame").cast(pl.Int64)
    )
    true, found = (
        ObjectMovie(objects, pl.DataFrame({"source_id": x[:, 0], "target_id": x[:, 1]}))
        for x in (movie["links"], links)
    )
    scores = score_tracking(true, found, max_distance_um=1e-6).as_dict()
    return {n: scores[n] for n in ("TRA", "LNK", "BC(0)", "BC(1)", "CT")}


def part_real(options: argparse.Namespace) -> list:
    """Score every linker at its defaults and at the best distances of a sweep of at most five minutes."""
    from scipy.spatial import cKDTree

    rows = []
    for title, movie in real_movies().items():
        if options.only not in title:
            continue
        some = [movie["rows"][movie["rows"][:, 1] == f, 2:] for f in np.unique(movie["rows"][:, 1])[::5]]
        spacing = np.median(np.concatenate([cKDTree(p).query(p, k=2)[0][:, 1] for p in some if len(p) > 1]))
        for linker in (*(k for k in LINKERS if k not in PEERS), "laptrack"):
            if linker in PEERS and not options.peers:
                continue
            best, begin, tried = None, time.monotonic(), 0
            for share, far in ((0.0, 0.0), *itertools.product((0.8, 0.5, 1.2, 0.3, 1.8), (1.0, 1.5))):
                if time.monotonic() - begin > 300:
                    break
                reach = np.array([share, share * far, share * far]) * spacing if share else np.empty(0)
                answer = run(linker, options, {**movie, "reach": reach}, split=bool(share))
                if "links" not in answer or "seconds" not in answer:
                    continue
                tried += 1
                scores = challenge_scores(movie, answer["links"])
                row = {"movie": title, "linker": linker, "reach_um": reach.tolist(), "tried": tried, **scores}
                if not share:
                    rows.append({**row, "at": "defaults"})
                    print(real_line(rows[-1]), flush=True)
                if best is None or scores["LNK"] > best["LNK"]:
                    best = row
            if best is not None:
                rows.append({**best, "at": "sweep", "tried": tried})
                print(real_line(rows[-1]), flush=True)
    return rows


def real_line(row: dict) -> str:
    scores = "  ".join(
        f"{n} {row[n]:.4f}" if row[n] is not None else f"{n} -" for n in ("TRA", "LNK", "BC(0)", "BC(1)")
    )
    return f"{row['movie']:24s} {row['linker']:24s} {row['at']:9s} {scores}"


PARTS = {
    "peers": part_peers, "million": part_million, "density": part_density, "accuracy": part_accuracy, "real": part_real,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="python of the environment with laptrack and trackpy")
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
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
    print(f"{'movie':44s} {'linker':24s} {'seconds':>9s} {'x ours':>7s} {'link F1':>8s} {'div. F1':>8s} {'GB':>5s}")
    RESULTS.parent.mkdir(exist_ok=True)
    for part in options.part:
        rows = PARTS[part](options)
        if options.only:
            continue  # an excerpt is shown, not recorded
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"spacing_um": SPACING_UM}
        RESULTS.write_text(json.dumps({**results, part: rows}, indent=1))


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
