"""Import and full run: megapixels per second and peak memory against movie length, workers, resume.

    python benchmarks/pipeline.py [--frames 20 200 2000] [--size 512] [--json pipeline.json]

Every command runs as a process of its own, as a user would start it; peak memory is the largest resident size the
operating system saw of that process (the run uses ``--workers 0``, so all work is in it). Movies come from
`kinocyte.simulation`; the tables are checked against the truth, so that a quick wrong run does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tifffile

import kinocyte
from kinocyte.simulation.cells import CellMovie, simulate_cells

PIPELINE = """\
seed = 1
[population.nuclei.segmentation]
method = "threshold"
channel = "nuclei"
[population.nuclei.tracking]
method = "lap"
max_distance_um = 8.0
splitting_max_distance_um = 10.0
"""


def timed(*arguments: str) -> tuple[float, float]:
    """Run kinocyte and return seconds and peak memory in MB."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "kinocyte.cli", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"kinocyte {' '.join(arguments)} failed"
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def write_movie(target: Path, frames: int, size: int, seed: int) -> int:
    """Write a simulated movie as a calibrated ImageJ TIFF and return the true number of objects."""
    # as many cells at the end as at the start: the work of a frame must not depend on the length of the movie
    cells = max(4, size * size // 6000)
    settings = CellMovie(
        frames=frames, height_px=size, width_px=size, cells=cells, division_rate_per_h=0, death_rate_per_h=0
    )
    movie = simulate_cells(settings, seed)
    scale = movie.scale
    with tifffile.TiffWriter(target, bigtiff=frames * size * size * 2 > 2**32 - 2**25) as tif:
        tif.write(
            (movie.frame(t)[0] for t in range(frames)), shape=(frames, size, size), dtype="uint16",
            resolution=(1 / scale.x_um, 1 / scale.y_um),
            description=f"ImageJ=1.54f\nimages={frames}\nframes={frames}\nhyperstack=true\nunit=um\n"
            f"finterval={60 * (scale.frame_interval_min or 0)}\n",
            photometric="minisblack", metadata=None,
        )  # fmt: skip
    return movie.objects.height


def one_length(folder: Path, frames: int, size: int) -> dict[str, float]:
    """Import and run one movie."""
    movie, store = folder / f"m{frames}.tif", folder / f"m{frames}.zarr"
    truth = write_movie(movie, frames, size, seed=1)
    megapixels = frames * size * size / 1e6
    seconds_in, memory_in = timed("import", str(movie), str(store), "--channels", "nuclei", "--wells", "A1")
    command = ("run", str(folder / "p.toml"), str(store), "--workers", "0", "--no-report")
    seconds_run, memory_run = timed(*command)
    seconds_resume, _ = timed(*command)
    found = kinocyte.open(store).objects("nuclei").collect().height
    assert abs(found - truth) <= 0.05 * truth, f"{found} objects found, {truth} are there"
    movie.unlink()
    return {
        "frames": frames,
        "import_mp_per_s": megapixels / seconds_in,
        "import_peak_mb": memory_in,
        "run_mp_per_s": megapixels / seconds_run,
        "run_peak_mb": memory_run,
        "resume_s": seconds_resume,
        "objects": found,
    }


def workers(folder: Path, size: int, frames: int, positions: int = 8) -> dict[str, float]:
    """Run the same positions with one and with two workers."""
    for i in range(positions):
        write_movie(folder / f"w_{i}.tif", frames, size, seed=i)
    seconds = {}
    for n in (1, 2):
        store = folder / f"w{n}.zarr"
        files = [str(folder / f"w_{i}.tif") for i in range(positions)]
        timed("import", *files, str(store), "--channels", "nuclei", "--wells", "A1")
        seconds[n], _ = timed("run", str(folder / "p.toml"), str(store), "--workers", str(n), "--no-report")
    return {"one_worker_s": seconds[1], "two_workers_s": seconds[2], "speed_up": seconds[1] / seconds[2]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[20, 200, 2000])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--worker-frames", type=int, default=150)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "p.toml").write_text(PIPELINE)
        one_length(folder, 3, options.size)  # compiles the kernels
        rows = []
        for frames in options.frames:
            rows.append(one_length(folder, frames, options.size))
            print("  ".join(f"{k}={v:.4g}" for k, v in rows[-1].items()), flush=True)
        pair = workers(folder, options.size, options.worker_frames)
        print("  ".join(f"{k}={v:.4g}" for k, v in pair.items()))
    if options.json:
        options.json.write_text(json.dumps({"lengths": rows, "workers": pair}, indent=1))


if __name__ == "__main__":
    main()
