"""Linkers on real movies with a truth: TRA, LNK and BC at defaults and after a sweep, beside laptrack at its own.

    python -m venv PEERS && PEERS/bin/pip install laptrack
    python benchmarks/sweep.py --peers PEERS/bin/python [--minutes 5] [--only NAME] [--linkers lap kalman ..]

Detection is given (the objects of the truth), so that only the linking is judged. Ours are swept with
`kinocyte.pipeline.sweep.sweep` (Bayesian search on LNK, at most ``--minutes`` and ``--trials`` a linker and movie), and
so is laptrack: the same search proposes its cut-offs, the same scores judge its links. "Defaults" are those of each
program; laptrack's default cut-off is 15 in the unit of its coordinates, here um, as ours. Choosing parameters on the
movie that is scored flatters every linker alike. Prints a table and writes ``benchmarks/results/sweep.json``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "sweep.json"
HERE = Path(__file__)
DATA = HERE.resolve().parents[1] / "shared" / "data"
if not DATA.is_dir():
    DATA = HERE.resolve().parents[2] / "shared" / "data"

_TRACKING = "population.cells.tracking"
SCORES = ("TRA", "LNK", "BC(0)", "BC(1)")


def movies() -> dict[str, dict]:
    """Return label movies whose links people or a simulation stated: labels, parents, um a pixel and a plane.

    Left out: Fluo-N3DH-CHO 02, whose labels exchange cells from frame to frame (every linker then makes the same eight
    "errors"), and sequence 03 of the challenge's test data, which was made to test scores. In the 10 frames of SIM
    daughters have labels but no parent, so its divisions cannot be scored.
    """
    import tifffile

    found: dict[str, dict] = {}
    sim = DATA / "ctc_sim_nuclei"
    found["Fluo-N2DH-SIM 10f"] = {"labels": tifffile.imread(sim / "Fluo-N2DH-SIM_01_labels_10f.tif"), "um": 0.125}
    folder = sim / "Fluo-N2DH-SIM+_01_GT_TRA"
    found["Fluo-N2DH-SIM+ 65f"] = {**challenge(folder), "um": 0.125}
    found["Fluo-N2DL-HeLa 92f"] = {**hela(), "um": 0.645}
    return found


def challenge(folder: Path) -> dict:
    import tifffile

    files = sorted(folder.glob("man_track*.tif"))
    rows = np.loadtxt(folder / "man_track.txt", ndmin=2, dtype=int)
    return {"labels": np.stack([tifffile.imread(f) for f in files]), "parents": {r[0]: r[3] for r in rows if r[3]}}


def hela() -> dict:
    """Return discs at the annotated points; the truth has no masks."""
    import polars as pl

    folder = DATA / "ctc_fluo_n2dl_hela_01_gt_tracks_and_res"
    nodes = pl.read_csv(folder / "gt_nodes.csv")
    edges = pl.read_csv(folder / "gt_edges.csv").rows()
    after: dict[int, list[int]] = {}
    for a, b in edges:
        after.setdefault(a, []).append(b)
    track, parents, count = {}, {}, 0
    before = {b: a for a, b in edges}
    for node, _ in nodes.sort("t", "id").select("id", "t").iter_rows():
        source = before.get(node)
        if source is not None and len(after[source]) == 1:
            track[node] = track[source]
        else:
            count += 1
            track[node] = count
            if source is not None:
                parents[count] = track[source]
    labels = np.zeros((nodes["t"].max() + 1, 700, 1100), np.uint16)
    for node, t, y, x in nodes.select("id", "t", "y", "x").iter_rows():
        cy, cx = round(y), round(x)
        labels[t, max(cy - 1, 0) : cy + 2, max(cx - 1, 0) : cx + 2] = track[node]
    return {"labels": labels, "parents": parents}


def prepare(movie: dict, folder: Path) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """Write an experiment and a truth folder; return them, the objects and the true links."""
    import tifffile

    import kinocyte
    from kinocyte import Scale

    labels = movie["labels"]
    truth = folder / "TRA"
    truth.mkdir()
    rows = []
    for t, image in enumerate(labels):
        tifffile.imwrite(truth / f"man_track{t:03d}.tif", image.astype(np.uint16), photometric="minisblack")
    for label in np.unique(labels)[1:]:
        frames = np.flatnonzero((labels == label).reshape(len(labels), -1).any(axis=1))
        rows.append(f"{label} {frames[0]} {frames[-1]} {movie.get('parents', {}).get(label, 0)}")
    (truth / "man_track.txt").write_text("\n".join(rows) + "\n")
    experiment = kinocyte.create(folder / "e.zarr")
    z = labels.shape[1] if labels.ndim == 4 else 1
    scale = Scale(y_um=movie["um"], x_um=movie["um"], z_um=movie.get("z_um") if z > 1 else None, frame_interval_min=1.0)
    writer = experiment.new_position(
        well="A1", field="1", shape=(len(labels), 1, z, *labels.shape[-2:]), dtype=np.uint8, channels=["none"],
        scale=scale,
    )  # fmt: skip
    for t, image in enumerate(labels):
        writer.write(t, np.zeros((1, *image.shape), np.uint8))
    writer.finish()
    position = kinocyte.open(experiment.url).position("A1/1")
    with experiment.lock(), position.write_labels("cells") as out:
        for t, image in enumerate(labels):
            out.write(t, relabelled(image, t))
    return folder / "e.zarr", truth, *objects_of(labels, scale)


def relabelled(image: np.ndarray, t: int) -> np.ndarray:
    """Return labels in an order that tells no linker who is who."""
    values = np.unique(image)[1:]
    new = np.zeros(int(image.max(initial=0)) + 1, np.uint32)
    new[values] = 1 + np.random.default_rng(t).permutation(len(values))
    return new[image]


def objects_of(labels: np.ndarray, scale) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (id, frame, x, y, z) as our segmentation step numbers them, and the track of each."""
    from kinocyte.measurement.objects import find_objects

    rows, tracks = [], []
    for t, image in enumerate(labels):
        mixed = relabelled(image, t)
        table = find_objects(mixed, scale)
        of = np.zeros(int(mixed.max(initial=0)) + 1, np.int64)
        of[mixed.ravel()] = image.ravel()
        for label, x, y, z in table.select("label", "x_um", "y_um", "z_um").iter_rows():
            rows.append((len(rows) + 1, t, x, y, z))
            tracks.append(of[label])
    return np.array(rows), np.array(tracks)


#: what is swept of each linker, as a share of the typical distance to the neighbour
def axes_of(linker: str, spacing: float) -> list[str]:
    def reach(key: str) -> str:
        return f"{_TRACKING}.{key}={0.2 * spacing:.3g}..{2.5 * spacing:.3g} log"

    def choices(key: str) -> str:
        values = ",".join(f"{share * spacing:.3g}" for share in (0.5, 0.8, 1.2, 1.8))
        return f"{_TRACKING}.{key}=none,{values}"

    return {
        "lap": [reach("max_distance_um"), f"{_TRACKING}.max_frame_gap=1,2,3", choices("splitting_max_distance_um")],
        "lap iou": [
            reach("max_distance_um"), f"{_TRACKING}.min_iou=0.02,0.1,0.3", choices("splitting_max_distance_um"),
        ],
        "lap trackmate": [
            reach("max_distance_um"), choices("gap_max_distance_um"), choices("splitting_max_distance_um"),
        ],
        "kalman": [reach("max_distance_um"), reach("search_radius_um"), choices("splitting_max_distance_um")],
        "nearest": [reach("max_distance_um")],
        "overlap": [f"{_TRACKING}.min_iou=0.02..0.6", f"{_TRACKING}.scale=1.0..2.0"],
        "bayesian": [reach("max_distance_um"), reach("hypothesis_max_distance_um"), f"{_TRACKING}.max_frame_gap=1,2,3"],
    }[linker]  # fmt: skip


LINKERS = ("lap", "lap iou", "lap trackmate", "kalman", "nearest", "overlap", "bayesian")
_KEYS = {"lap iou": 'cost = "iou"\n', "lap trackmate": 'compatible = "trackmate"\n'}


def sweep_ours(linker: str, place: Path, options: argparse.Namespace, spacing: float) -> list[dict]:
    from kinocyte.pipeline.sweep import sweep

    experiment, truth = place / "e.zarr", place / "TRA"
    text = place / f"{linker.replace(' ', '_')}.toml"
    text.write_text(f'[{_TRACKING}]\nmethod = "{linker.partition(" ")[0]}"\n{_KEYS.get(linker, "")}')
    default = sweep(text, experiment, [f"{_TRACKING}.method={linker.partition(' ')[0]}"], truth=truth, workers=0,
                    out=place / f"default {linker}", keep_scratch=True)  # fmt: skip
    begin = time.monotonic()
    best = sweep(text, experiment, axes_of(linker, spacing), truth=truth, search="bayes", trials=options.trials,
                 minutes=options.minutes, out=place / f"sweep {linker}", workers=0)  # fmt: skip
    rows = []
    for at, result in (("defaults", default), ("sweep", best)):
        trial = result.best
        if trial is None:
            reason = next((t.error for t in result.trials if t.error), "no score")
            rows.append({"linker": linker, "at": at, "refused": reason})
            continue
        scores = {n: trial.scores.get(n) for n in SCORES}
        settings = {} if at == "defaults" else dict(trial.settings)
        rows.append({"linker": linker, "at": at, **scores, "tried": len(result.trials), "settings": settings})
    rows[-1]["minutes"] = (time.monotonic() - begin) / 60
    return rows


def sweep_laptrack(objects: np.ndarray, place: Path, options: argparse.Namespace, spacing: float) -> list[dict]:
    """Let the same search propose laptrack's cut-offs; one process links them all."""
    import polars as pl

    from kinocyte.experiment.experiment import open as open_experiment
    from kinocyte.pipeline.sweep import Axis, truth_at
    from kinocyte.pipeline.sweep.search import Proposals
    from kinocyte.pipeline.sweep.truth import prepare as match
    from kinocyte.pipeline.sweep.truth import score

    scratch = place / "objects.npy"
    np.save(scratch, objects)
    position = open_experiment(place / "e.zarr").position("A1/1")
    table = pl.DataFrame({"object_id": objects[:, 0].astype(np.int64), "frame": objects[:, 1].astype(np.int32)})
    table = table.with_columns(label=label_column(position))
    prepared = match(
        truth_at(place / "TRA"), table, position.labels("cells").frame, frames=position.n_frames, scale=position.scale
    )
    choices = (None, *(s * spacing for s in (0.5, 0.8, 1.2, 1.8)))
    axes = [Axis("reach", (), 0.2 * spacing, 2.5 * spacing, log=True), Axis("gap", choices), Axis("split", choices)]
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    worker = subprocess.Popen(
        [options.peers, str(HERE), "--laptrack", str(scratch)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, **single},
    )  # fmt: skip

    def judge(settings: dict) -> dict | None:
        print(json.dumps(settings), file=worker.stdin, flush=True)
        answer = json.loads(worker.stdout.readline())
        if "links" not in answer:
            return None
        ends = np.array(answer["links"], np.int64).reshape(-1, 2)
        return score(prepared, table, pl.DataFrame({"source_id": ends[:, 0], "target_id": ends[:, 1]}))

    rows = []
    scores = judge({})
    rows.append({"linker": "laptrack", "at": "defaults", **{n: (scores or {}).get(n) for n in SCORES}, "tried": 1})
    begin, done = time.monotonic(), []
    proposals = Proposals(axes, "bayes", options.trials, 1)
    while (proposed := proposals.next_round([(s, (r or {}).get("LNK")) for s, r in done])) and (
        time.monotonic() - begin < 60 * options.minutes
    ):
        done += [(p, judge(p)) for p in proposed]
    worker.stdin.close()
    worker.wait()
    best = max((d for d in done if d[1]), key=lambda d: d[1]["LNK"])
    rows.append({"linker": "laptrack", "at": "sweep", **{n: best[1].get(n) for n in SCORES}, "tried": len(done),
                 "settings": best[0], "minutes": (time.monotonic() - begin) / 60})  # fmt: skip
    return rows


def label_column(position):
    import polars as pl

    return pl.concat([
        pl.Series("label", np.unique(position.labels("cells").frame(t))[1:].astype(np.int64))
        for t in range(position.n_frames)
    ])  # fmt: skip


def serve_laptrack(path: str) -> None:
    """Link the objects of a file with each settings that come in, one JSON object a line."""
    import pandas as pd  # noqa: TID251 - what this peer takes
    from laptrack import LapTrack

    rows = np.load(path)
    frame = pd.DataFrame(rows, columns=["id", "frame", "x", "y", "z"]).astype({"id": int, "frame": int})
    columns = ["x", "y", "z"] if rows[:, 4].any() else ["x", "y"]
    for line in sys.stdin:
        given = json.loads(line)
        try:
            tracker = LapTrack()
            if given:
                tracker = LapTrack(
                    cutoff=given["reach"] ** 2, gap_closing_cutoff=given["gap"] ** 2 if given["gap"] else False,
                    gap_closing_max_frame_count=2, splitting_cutoff=given["split"] ** 2 if given["split"] else False,
                )  # fmt: skip
            answer = {"links": laptrack_links(tracker, frame, columns)}
        except Exception as error:
            answer = {"refused": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), flush=True)


def laptrack_links(tracker, frame, columns: list[str]) -> list[tuple[int, int]]:
    tracks, splits, _ = tracker.predict_dataframe(
        frame, coordinate_cols=columns, frame_col="frame", only_coordinate_cols=False
    )
    tracks = tracks.reset_index()
    by = "frame_y" if "frame_y" in tracks.columns else "frame"
    out, ends = [], {}
    for key, track in tracks.sort_values(by).groupby("track_id"):
        ids = track["id"].tolist()
        out += itertools.pairwise(ids)
        ends[key] = (ids[0], ids[-1])
    for parent, child in splits[["parent_track_id", "child_track_id"]].to_numpy() if len(splits) else ():
        out.append((ends[parent][1], ends[child][0]))
    return out


def neighbour_distance(objects: np.ndarray) -> float:
    from scipy.spatial import cKDTree

    parts = [objects[objects[:, 1] == t, 2:] for t in np.unique(objects[:, 1])]
    return float(np.median(np.concatenate([cKDTree(p).query(p, k=2)[0][:, 1] for p in parts if len(p) > 1])))


def line(row: dict) -> str:
    if "refused" in row:
        return f"{row['movie']:22s} {row['linker']:14s} {row['at']:9s} {row['refused'][:80]}"
    values = "  ".join(f"{n} {'-' if row[n] is None else f'{row[n]:.4f}'}" for n in SCORES)
    return f"{row['movie']:22s} {row['linker']:14s} {row['at']:9s} {values}  {row['tried']} tried"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="python of the environment with laptrack")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--only", default="", help="movies whose name contains this")
    parser.add_argument("--linkers", nargs="+", choices=LINKERS, default=list(LINKERS))
    parser.add_argument("--laptrack", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.laptrack:
        serve_laptrack(options.laptrack)
        return
    RESULTS.parent.mkdir(exist_ok=True)
    for title, movie in movies().items():
        if options.only not in title:
            continue
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            _, _, objects, _ = prepare(movie, place)
            spacing = neighbour_distance(objects)
            for linker in options.linkers:
                rows += show(title, spacing, sweep_ours(linker, place, options, spacing))
            if options.peers:
                rows += show(title, spacing, sweep_laptrack(objects, place, options, spacing))
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps({**known, title: rows}, indent=1) + "\n")


def show(title: str, spacing: float, rows: list[dict]) -> list[dict]:
    for row in rows:
        row |= {"movie": title, "spacing_um": spacing}
        print(line(row), flush=True)
    return rows


if __name__ == "__main__":
    main()
