"""Many positions, and very long movies: flat memory, linear time, and where the time goes.

    python benchmarks/endurance.py quick            under five minutes on one core
    python benchmarks/endurance.py full             96 wells x 2 positions x 50 frames, 2000 frames of 1024 x 1024 x 2
    python benchmarks/endurance.py full --part movie --workers 4

Every command runs as a process of its own, as a user would start it. Peak memory is the largest sum of resident sizes
of that process and its workers. ``plate`` runs a third, two thirds and all of the wells, ``movie`` lengths that double:
memory against size must be flat, time linear. ``overhead`` is the share of a run's time in which no step was at work:
starting, planning, locks, records, waiting for the last worker. Objects are counted against the truth of the
simulation, so that a quick wrong run does not count. Prints tables and writes ``benchmarks/results/endurance.json``;
figures of other parts and settings stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import kinocyte
from kinocyte import Scale
from kinocyte.pipeline.runfile import read_run
from kinocyte.simulation.cells import CellMovie, simulate_cells

RESULTS = Path(__file__).parent / "results" / "endurance.json"
PIPELINE = """\
name = "endurance"
seed = 1
[population.nuclei.segmentation]
method = "threshold"
channel = "nuclei"
[[population.nuclei.measure]]
method = "shape"
[population.nuclei.tracking]
method = "lap"
max_distance_um = 8.0
[[population.nuclei.event]]
name = "large"
method = "threshold_transition"
when = "area_um2 > 150"
"""


@dataclass(frozen=True)
class Setting:
    """Sizes of both parts."""

    wells: int
    fields: int
    plate_frames: int
    plate_px: int
    lengths: tuple[int, ...]
    movie_px: int
    channels: int


SETTINGS = {
    "quick": Setting(12, 2, 10, 128, (50, 100, 200), 256, 2),
    "full": Setting(96, 2, 50, 256, (500, 1000, 2000), 1024, 2),
}


class Measured:
    """A command with its seconds and the peak memory of all its processes, in MB."""

    def __init__(self, *arguments: str) -> None:
        start = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "kinocyte.cli", *arguments]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as process:
            self.peak_mb = 0.0
            while process.poll() is None:
                self.peak_mb = max(self.peak_mb, _resident_mb(process.pid))
                time.sleep(0.1)
            said = process.stderr.read().decode() if process.stderr else ""
        self.seconds = time.perf_counter() - start
        assert process.returncode == 0, f"kinocyte {' '.join(arguments)} failed: {said}"


def _resident_mb(pid: int) -> float:
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
        return sum(p.memory_info().rss for p in processes) / 1e6
    except psutil.Error:
        return 0.0


def add_position(experiment: Any, well: str, field: str, *, frames: int, px: int, channels: int, seed: int) -> int:
    """Write a simulated movie, the further channels as noise, and return the true number of objects."""
    settings = CellMovie(
        frames=frames, height_px=px, width_px=px, cells=max(4, px * px // 6000), division_rate_per_h=0,
        death_rate_per_h=0,
    )  # fmt: skip
    movie = simulate_cells(settings, seed)
    rng = np.random.default_rng(seed)
    writer = experiment.new_position(
        well=well, field=field, shape=(frames, channels, 1, px, px), dtype="uint16",
        channels=["nuclei", *(f"c{i}" for i in range(1, channels))],
        scale=Scale(
            y_um=movie.scale.y_um, x_um=movie.scale.x_um, frame_interval_min=movie.scale.frame_interval_min or 1.0
        ),
    )  # fmt: skip
    for t in range(frames):
        more = rng.integers(100, 200, (channels - 1, px, px), dtype=np.uint16)
        writer.write(t, np.concatenate([movie.frame(t).astype(np.uint16)[:1], more]))
    writer.finish()
    return int(movie.objects.height)


def steps_of(store: Path, seconds: float, workers: int) -> dict[str, Any]:
    """Return megapixels per second of each step, and the share of the time in which no step was at work."""
    run = read_run(kinocyte.open(store).storage)
    assert run is not None
    work: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for task in run["tasks"]:
        work[task["step"]][0] += task["megapixels"]
        work[task["step"]][1] += task["seconds"]
    busy = sum(s for _, s in work.values())
    speeds = {k: mp / s for k, (mp, s) in work.items()}
    return {"steps_mp_per_s": speeds, "overhead": max(0.0, 1.0 - busy / (seconds * max(workers, 1))), "busy_s": busy}


def run_store(store: Path, folder: Path, truth: int, workers: int) -> dict[str, Any]:
    """Run the pipeline on an experiment and return what it took."""
    command = ("run", str(folder / "p.toml"), str(store), "--workers", str(workers), "--no-report")
    measured = Measured(*command)
    found = kinocyte.open(store).objects("nuclei").collect().height
    assert abs(found - truth) <= 0.05 * truth, f"{found} objects found, {truth} are there"
    parts = steps_of(store, measured.seconds, workers)
    again, asked = Measured(*command), Measured("status", str(store))
    return {
        "seconds": measured.seconds, "peak_mb": measured.peak_mb, "objects": found, "resume_s": again.seconds,
        "status_s": asked.seconds, **parts,
    }  # fmt: skip


def plate(folder: Path, setting: Setting, workers: int) -> list[dict[str, Any]]:
    """Run a third, two thirds and all of a plate."""
    rows = []
    for part in (1, 2, 3):
        wells = [f"{'ABCDEFGH'[i // 12]}{i % 12 + 1}" for i in range(setting.wells * part // 3)]
        store = folder / "plate.zarr"
        experiment = kinocyte.create(store)
        truth = sum(
            add_position(
                experiment, well, str(field), frames=setting.plate_frames, px=setting.plate_px, channels=1,
                seed=10 * i + field,
            )
            for i, well in enumerate(wells)
            for field in range(setting.fields)
        )  # fmt: skip
        size = {"positions": len(wells) * setting.fields, "frames": setting.plate_frames, "px": setting.plate_px}
        rows.append(size | run_store(store, folder, truth, workers))
        show("plate", rows[-1], size["positions"])
        shutil.rmtree(store)
    return rows


def movie(folder: Path, setting: Setting, workers: int) -> list[dict[str, Any]]:
    """Run movies of growing length."""
    rows = []
    for frames in setting.lengths:
        store = folder / "movie.zarr"
        experiment = kinocyte.create(store)
        truth = add_position(
            experiment, "A1", "1", frames=frames, px=setting.movie_px, channels=setting.channels, seed=1
        )
        size = {"frames": frames, "px": setting.movie_px, "channels": setting.channels}
        rows.append(size | run_store(store, folder, truth, workers))
        show("movie", rows[-1], frames)
        shutil.rmtree(store)
    return rows


def show(part: str, row: dict[str, Any], size: int) -> None:
    """Print one row."""
    speeds = "  ".join(f"{k} {v:.3g}" for k, v in row["steps_mp_per_s"].items())
    print(
        f"{part} {size}: {row['seconds']:.1f} s, peak {row['peak_mb']:.0f} MB, overhead {100 * row['overhead']:.0f} %, "
        f"resume {row['resume_s']:.1f} s, status {row['status_s']:.1f} s; megapixels/s: {speeds}",
        flush=True,
    )


def growth(rows: list[dict[str, Any]], size: str) -> dict[str, float]:
    """Return how memory and the time of the steps grow from the smallest to the largest size; 1 is flat and linear."""
    first, last = rows[0], rows[-1]
    times = last[size] / first[size]
    return {
        "size": times,
        "memory": last["peak_mb"] / first["peak_mb"],
        "time_per_size": last["busy_s"] / first["busy_s"] / times,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--part", choices=("plate", "movie", "both"), default="both")
    parser.add_argument("--workers", type=int, default=0, help="0 works in the process itself")
    parser.add_argument("--folder", type=Path, help="where to put the movies (the full setting needs about 20 GB)")
    options = parser.parse_args()
    setting = SETTINGS[options.setting]
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        (folder / "p.toml").write_text(PIPELINE)
        warm = folder / "warm.zarr"
        truth = add_position(kinocyte.create(warm), "A1", "1", frames=3, px=128, channels=1, seed=0)
        run_store(warm, folder, truth, 0)  # compiles the kernels
        for part, size in (("plate", "positions"), ("movie", "frames")):
            if options.part not in {part, "both"}:
                continue
            rows = (plate if part == "plate" else movie)(folder, setting, options.workers)
            told = growth(rows, size)
            print("  ".join(f"{part} growth of {k}: {v:.3g}" for k, v in told.items()))
            known[f"{part} {options.setting}"] = {"workers": options.workers, "rows": rows, "growth": told}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
