"""What the engine costs beside the science: planning, overhead of a task, memory of the steps.

    python benchmarks/engine.py plan [--positions 2000]      seconds of processor time to plan (5 tasks a position)
    python benchmarks/engine.py overhead [--tasks 60] [--seconds 2]
    python benchmarks/engine.py memory [--px 2048]

``overhead`` does tasks that wait for a given time (they stand for work; on a machine that others use too, waiting is
what can be compared) and compares the time of the whole run, from the first task begun, with that of its tasks: in this
process, with 1 and 2 workers. ``memory`` runs each step on a movie of two channels in a process of its own and compares
its peak with the estimate by which a task is refused or given a larger job. Prints tables and writes
``benchmarks/results/engine.json``; figures of other parts stay as they are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import kinocyte
from kinocyte import Experiment, Scale
from kinocyte.pipeline.execute import Watch, Workers, execute
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.plan import Plan, Task, plan_run
from kinocyte.pipeline.steps.base import Step

RESULTS = Path(__file__).parent / "results" / "engine.json"
PIPELINE = """\
name = "engine"
[registration]
method = "phase_correlation"
channel = "a"
[population.cells.segmentation]
method = "threshold"
channel = "a"
[population.cells.tracking]
method = "lap"
max_distance_um = 6.0
"""


def plate(folder: Path, n_positions: int, *, n_frames: int = 2, px: int = 16, n_cells: int = 4) -> Experiment:
    """Make a plate of small movies of bright squares."""
    experiment = kinocyte.create(folder / "plate.zarr")
    rng = np.random.default_rng(0)
    movie = rng.normal(100, 3, (n_frames, 2, 1, px, px))
    for y, x in rng.integers(0, max(1, px - 8), (n_cells, 2)):
        movie[..., y : y + 8, x : x + 8] += 500
    movie = movie.astype(np.uint16)
    for i in range(n_positions):
        writer = experiment.new_position(
            well=f"{'ABCDEFGHIJKLMNOP'[i // 24 % 16]}{i % 24 + 1}",
            field=str(i // 384 + 1),
            shape=movie.shape,
            dtype="uint16",
            channels=["a", "b"],
            scale=Scale(y_um=0.5, x_um=0.5, frame_interval_min=1.0),
        )
        for t in range(n_frames):
            writer.write(t, movie[t, :, 0])
        writer.finish()
    return kinocyte.open(experiment.url)


# ---------------------------------------------------------------- planning
def plan(n_positions: int) -> dict[str, Any]:
    """Time the plan of a plate that nothing was run on."""
    with tempfile.TemporaryDirectory() as folder:
        url = plate(Path(folder), n_positions).url
        declared = parse_pipeline(PIPELINE)
        start, wall = time.process_time(), time.perf_counter()
        made = plan_run(declared, kinocyte.open(url))
        row = {
            "tasks": len(made.tasks),
            "processor_s": round(time.process_time() - start, 2),
            "wall_s": round(time.perf_counter() - wall, 2),
        }
    print(f"{row['tasks']} tasks planned in {row['processor_s']} s of processor time ({row['wall_s']} s by the clock)")
    return row


# ---------------------------------------------------------------- overhead
class Waiting(Step):
    """Stands for work that takes a known time."""

    name: ClassVar[str] = "waiting"
    population: str
    seconds: float

    def tables(self) -> tuple[str, ...]:
        return (f"{self.population}_waited",)

    def check(self, position: Any) -> None:
        """Every position will do."""

    def run(self, position: Any, *, seed: int, progress: Any, commit: Any) -> dict[str, Any]:  # noqa: ARG002
        import polars as pl

        time.sleep(self.seconds)
        progress(1.0)
        commit()
        position.write_table(self.tables()[0], pl.DataFrame({"x": [1]}), step=self.key)
        return {}


def _waiting_plan(experiment: Experiment, n_tasks: int, seconds: float, tag: str) -> Plan:
    """Return a plan of chains of three waiting tasks, one chain a position."""
    tasks = []
    for position in experiment.positions.values():
        before: str | None = None
        for part in "abc":
            step = Waiting(population=f"{part}{tag}", seconds=seconds)
            tasks.append(
                Task(
                    position=position.id, path=position.path, step=step, fingerprint=f"{position.id}{part}{tag}",
                    inputs={}, needs=(before,) if before else (), seed=0, n_frames=1, megapixels=1e6,
                )
            )  # fmt: skip
            before = tasks[-1].id
    tasks = tasks[:n_tasks]
    return Plan(tuple(tasks), {t.id: t for t in tasks})


def overhead(n_tasks: int, seconds: float) -> list[dict[str, Any]]:
    """Time chains of waiting tasks in this process and with workers."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        experiment = plate(Path(folder), -(-n_tasks // 3))
        for workers in (0, 1, 2):
            made = _waiting_plan(experiment, n_tasks, seconds, f"w{workers}")
            begun: list[float] = []
            watch = Watch(began=lambda *_, begun=begun: begun.append(time.perf_counter()))
            start, cpu = time.perf_counter(), time.process_time()
            outcomes = list(execute(made, experiment.storage, Workers(workers=workers), watch))
            end = time.perf_counter()
            assert {o.status for o in outcomes} == {"done"}, outcomes
            ideal = seconds * n_tasks / max(1, workers)
            row = {
                "workers": workers,
                "tasks": n_tasks,
                "task_s": seconds,
                "start_s": round(begun[0] - start, 2),
                "run_s": round(end - begun[0], 2),
                "overhead_percent": round(100 * ((end - begun[0]) / ideal - 1), 2),
                "scheduler_processor_ms_per_task": round(1000 * (time.process_time() - cpu) / n_tasks, 1),
            }
            rows.append(row)
            print("  ".join(f"{k} {v}" for k, v in row.items()))
    return rows


# ---------------------------------------------------------------- memory
def memory(px: int) -> list[dict[str, Any]]:
    """Measure the peak of each step in a process of its own, and of a process that does nothing."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        experiment = plate(Path(folder), 1, n_frames=6, px=px, n_cells=(px // 40) ** 2)
        (Path(folder) / "p.toml").write_text(PIPELINE)
        names = [t.id for t in plan_run(parse_pipeline(PIPELINE), experiment).tasks]
        for name in ["", *names]:
            command = [sys.executable, __file__, "one-step", folder, experiment.url, name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row = json.loads(done.stdout.splitlines()[-1])
            rows.append(row)
            print("  ".join(f"{k} {v}" for k, v in row.items()))
    return rows


def one_step(folder: str, url: str, name: str) -> None:
    """Do one task (or none) and print the peak of memory of this process."""
    plan = plan_run(parse_pipeline((Path(folder) / "p.toml").read_text()), kinocyte.open(url))
    estimate = 0
    if name:
        task = plan.by_id[name]
        estimate = task.memory_bytes
        [outcome] = execute(Plan((task,), plan.by_id), kinocyte.open(url).storage, Workers(workers=0), Watch())
        assert outcome.status == "done", outcome
    status = Path("/proc/self/status").read_text()  # the resource module would report the parent's peak
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
    print(json.dumps({"step": name or "nothing", "peak_mb": round(peak / 1e6), "estimate_mb": round(estimate / 1e6)}))


def main() -> None:
    """Do what is asked and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["plan", "overhead", "memory", "one-step"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--positions", type=int, default=2000)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--px", type=int, default=2048)
    asked = parser.parse_args()
    if asked.what == "one-step":
        one_step(*(asked.rest or ["", "", ""]))
        return
    part = {
        "plan": lambda: plan(asked.positions),
        "overhead": lambda: overhead(asked.tasks, asked.seconds),
        "memory": lambda: memory(asked.px),
    }
    found = {asked.what: part[asked.what]()}
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**known, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
