"""The assays at full size, from movie to report by the commands a user types: time, and estimate against truth.

    python benchmarks/assays.py [--only ricm] [--replicates 3] [--seed 1] [--json FILE]

CPU seconds are those of all processes of a command. Counted are objects of the main population and their events;
``error_frames`` is the median distance of a true event from the nearest found one of its movie, in frames.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

import kinocyte
from kinocyte.experiment.comparisons import read_comparisons

MAIN = {"adcc": "targets", "ricm": "cells", "fucci": "nuclei", "erk": "nuclei", "flow": "cells"}
EVENT = {"adcc": "death", "ricm": "spreading", "fucci": "g1_end", "erk": "response", "flow": "arrest"}


def typed(*words: str) -> tuple[float, float]:
    """Run a command and return its wall and CPU seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    program = str(Path(sys.executable).with_name("kinocyte"))
    subprocess.run([program, *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu


def event_times(table: pl.DataFrame, event: str) -> dict[str, list[float]]:
    """Return the times of an event by position."""
    table = table.filter((pl.col("event") == event) & (pl.col("class") == "event"))
    return {str(k[0]): v["time_min"].cast(pl.Float64).to_list() for k, v in table.group_by("position")}


def accuracy(assay: str, folder: Path) -> dict[str, Any]:
    """Return counts and event times beside the truth, and what the comparisons say of each group."""
    experiment = kinocyte.open(folder / f"{assay}.zarr")
    main, event = MAIN[assay], EVENT[assay]
    objects = pl.read_csv(folder / "truth" / f"{main}_objects.csv", infer_schema_length=None).height
    truth = event_times(pl.read_csv(folder / "truth" / f"{main}_events.csv", infer_schema_length=None), event)
    positions = experiment.positions.values()
    parts = [p.events(main).with_columns(pl.lit(p.id).alias("position")) for p in positions]
    found = event_times(pl.concat(parts, how="diagonal_relaxed"), event)
    interval = next(iter(positions)).scale.frame_interval_min
    errors = [min(abs(t - f) for f in found[p]) / interval for p, ts in truth.items() if found.get(p) for t in ts]
    groups = {
        str(c.document["title"]): c.frames["groups"].drop(pl.selectors.by_dtype(pl.List), strict=False).to_dicts()
        for c in read_comparisons(experiment.storage)
    }
    return {
        "objects_true": objects,
        "objects_found": sum(p.objects(main).height for p in positions),
        "event": event,
        "events_true": sum(map(len, truth.values())),
        "events_found": sum(map(len, found.values())),
        "error_frames": pl.Series(errors, dtype=pl.Float64).median(),
        "groups": groups,
    }


def measured(assay: str, replicates: int, seed: int) -> dict[str, Any]:
    """Simulate, import and run one assay."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / assay
        store = str(folder / f"{assay}.zarr")
        commands = {
            "simulate": ("simulate", assay, str(folder), "--replicates", str(replicates), "--seed", str(seed)),
            "import": ("import", str(folder / "movies"), store, "--wells", str(folder / "plate.csv")),
            "run": ("run", str(folder / "pipeline.toml"), store),
        }
        row: dict[str, Any] = {"assay": assay, "replicates": replicates, "seed": seed}
        for name, words in commands.items():
            wall, cpu = typed(*words)
            row |= {f"{name}_wall_s": round(wall, 1), f"{name}_cpu_s": round(cpu, 1)}
        return row | accuracy(assay, folder)


def main() -> None:
    """Print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(MAIN), action="append")
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for assay in arguments.only or MAIN:
        row = measured(assay, arguments.replicates, arguments.seed)
        rows.append(row)
        print(
            f"{assay:6} run {row['run_wall_s']:6.1f} s ({row['run_cpu_s']:.0f} s CPU)  objects {row['objects_found']} "
            f"of {row['objects_true']}  {row['event']} {row['events_found']} of {row['events_true']}, "
            f"error {row['error_frames']:.2f} frames",
            flush=True,
        )
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
