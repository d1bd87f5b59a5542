"""The assays at full size, from movie to report by the commands a user types: time, and estimate against truth.

    python benchmarks/assays.py [--only ricm] [--replicates 3] [--seed 1] [--json FILE]

CPU seconds are those of all processes of a command. Counted are objects of the main population and their events;
``error_frames`` is the median distance of a true event from the nearest found one of its movie, in frames. ``sizes``
says for each effect what went in, what came out with its 95 % interval over wells, and whether that holds it. What went
in is the same number made from the true events and signals of these very cells, or the setting of the simulator.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

import kinocyte
from kinocyte.experiment.comparisons import StoredComparison, read_comparisons
from kinocyte.statistics import compare_survival, survival_table

MAIN = {"adcc": "targets", "ricm": "cells", "fucci": "nuclei", "erk": "nuclei", "flow": "cells"}
EVENT = {"adcc": "death", "ricm": "spreading", "fucci": "g1_end", "erk": "response", "flow": "arrest"}


def typed(*words: str) -> tuple[float, float]:
    """Run a command and return its wall and CPU seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    program = str(Path(sys.executable).with_name("kinocyte"))
    done = subprocess.run([program, *words], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"kinocyte {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu


def event_times(table: pl.DataFrame, event: str) -> dict[str, list[float]]:
    """Return the times of an event by position."""
    table = table.filter((pl.col("event") == event) & (pl.col("class") == "event"))
    return {str(k[0]): v["time_min"].cast(pl.Float64).to_list() for k, v in table.group_by("position")}


BY = {"adcc": "dose_pm", "ricm": "dose_pm", "fucci": "drug", "erk": "stimulus", "flow": "cell_line"}
#: title of the survival comparison, where its time starts, and the two groups whose difference counts
LIVES: dict[str, tuple[str, str | None, tuple[Any, Any]]] = {
    "adcc": ("Survival of targets", None, (0.0, 100.0)),
    "ricm": ("Hovering", "contact", (0.0, 300.0)),
    "erk": ("Time to the response", None, ("none", "growth factor")),
    "flow": ("Cells that drift", None, ("AsPC1", "Panc10")),
}
Sizes = list[dict[str, Any]]


def size(what: str, went_in: float, came_out: Any, low: Any, high: Any) -> dict[str, Any]:
    """Return one line of the table of effects."""
    held = None if low is None or high is None else low <= went_in <= high
    return {"what": what, "went_in": went_in, "came_out": came_out, "low": low, "high": high, "held": held}


def truth_of(folder: Path, table: str) -> pl.DataFrame:
    """Return a table of the truth."""
    return pl.read_csv(folder / "truth" / f"{table}.csv", infer_schema_length=None)


def of_survival(assay: str, folder: Path, answer: StoredComparison) -> Sizes:
    """Return restricted means by group, and their difference, beside those of the true events."""
    _, since, (a, b) = LIVES[assay]
    by, population = BY[assay], MAIN[assay]
    keys = ["position", "track_id"]
    objects = truth_of(folder, f"{population}_objects").select("position", "object_id", "time_min", by, "replicate")
    members = truth_of(folder, f"{population}_members").select("position", "object_id", "track_id")
    tracks = objects.join(members, on=["position", "object_id"]).group_by(*keys, by, "replicate").agg(
        first_time_min=pl.col("time_min").min(), last_time_min=pl.col("time_min").max()
    )  # fmt: skip
    events = truth_of(folder, f"{population}_events").select(*keys, "event", "class", "time_min")
    lives = survival_table(tracks, events, EVENT[assay], since=since, keys=keys)
    found = answer.frames["groups"]
    until = float(found["restricted_to"][0])
    true = compare_survival(
        lives, duration="duration_min", event="observed", entry="entry_min", by=by, replicate="replicate", until=until
    )
    means = dict(true.groups.select("group", "restricted_mean").rows())
    rows = [
        size(f"{answer.document['title']}, {r['group']}: mean restricted to {until:.3g} min", means[r["group"]],
             r["restricted_mean"], r["restricted_mean_low"], r["restricted_mean_high"])
        for r in found.to_dicts() if means.get(r["group"]) is not None
    ]  # fmt: skip
    return [*rows, *of_test(answer, "t-test", (a, b), means)]


def of_test(answer: StoredComparison, test: str, groups: tuple[Any, Any], means: dict[Any, float]) -> Sizes:
    """Return the difference of two groups beside the true one."""
    a, b = groups
    same = (pl.col("group_a").is_in([a, b])) & (pl.col("group_b").is_in([a, b]))
    for row in answer.frames["tests"].filter(pl.col("test").str.contains(test) & same).to_dicts():
        true = means[row["group_b"]] - means[row["group_a"]]
        title = f"{answer.document['title']}: {row['group_b']} less {row['group_a']}"
        return [size(title, true, row["effect_value"], row["effect_low"], row["effect_high"])]
    return []


def of_values(answer: StoredComparison, means: dict[Any, float], groups: tuple[Any, Any] | None = None) -> Sizes:
    """Return means by group beside the true ones."""
    rows = [
        size(f"{answer.document['title']}, {r['group']}: mean", means[r["group"]], r["mean"], r["mean_low"],
             r["mean_high"])
        for r in answer.frames["groups"].to_dicts() if r["group"] in means
    ]  # fmt: skip
    return rows if groups is None else [*rows, *of_test(answer, "t-test", groups, means)]


def by_group(table: pl.DataFrame, by: str, value: str) -> dict[Any, float]:
    """Return the mean of a column in each group: of its wells, as the comparisons take it."""
    wells = table.group_by(by, "position").agg(pl.col(value).mean())
    return dict(wells.group_by(by).agg(pl.col(value).mean()).rows())


def of_cycle(answers: dict[str, StoredComparison]) -> Sizes:
    """Return the medians of G1 and of the cycle, and their delays, beside the settings of the simulator."""
    g1, rest = {"control": 60 * 12.0, "inhibitor": 60 * 18.0}, 60 * 14.0
    # mean and standard deviation of what goes in
    normal = {
        "G1 of cells whose birth was seen": {k: (v, 0.12 * v) for k, v in g1.items()},
        "Length of the cycle": {k: (v + rest, 0.12 * math.hypot(v, rest)) for k, v in g1.items()},
    }
    rows = []
    for title, true in normal.items():
        groups = answers[title].frames["groups"]
        rows += [
            size(f"{title}, {r['group']}: median", true[r["group"]][0], r["median"], r["median_low"], r["median_high"])
            for r in groups.to_dicts()
        ]
        until = float(groups["restricted_to"][0])
        means = {group: mean_below(*law, until) for group, law in true.items()}
        rows += of_test(answers[title], "t-test", ("control", "inhibitor"), means)
    return rows


def mean_below(mean: float, sd: float, until: float) -> float:
    """Return the mean of normal numbers of which those above a limit count as the limit."""
    z = (until - mean) / sd
    above = 0.5 * math.erfc(z / math.sqrt(2))
    return mean - sd * (math.exp(-z * z / 2) / math.sqrt(2 * math.pi) - z * above)


def of_activity(folder: Path, answers: dict[str, StoredComparison]) -> Sizes:
    """Return the mean ratio by stimulus, and that of 4 to 10 minutes after the response, beside the truth."""
    signals = truth_of(folder, "signals")
    mean = answers["Mean ratio of cytoplasm to nucleus"]
    rows = of_values(mean, by_group(signals, "stimulus", "ratio"), ("none", "growth factor"))
    events = truth_of(folder, "nuclei_events").filter(pl.col("class") == "event")
    around = signals.join(events.select("position", "track_id", at="time_min"), on=["position", "track_id"])
    span = (pl.col("time_min") - pl.col("at")).is_between(4.0, 10.0)
    true = around.filter(span)["ratio"].mean()
    curves = answers["Activity around the response"].frames["curves"].filter(pl.col("group") == "growth factor")
    after = curves.filter(pl.col("time").is_between(4.0, 10.0))
    low, high = (after[c].mean() for c in ("low", "high"))
    return [*rows, size("Ratio 4 to 10 min after the response", float(true), after["value"].mean(), low, high)]  # type: ignore[arg-type] # numbers


def of_adhesion(folder: Path, experiment: Any) -> Sizes:
    """Return how quickly arrested cells become more in each stretch of flow but the wash, beside the truth."""
    true = truth_of(folder, "adhering")
    rows = []
    for flow in (400.0, 200.0, 100.0):
        for line in ("AsPC1", "MiaPaCa2", "Panc10"):
            slopes = []
            for (place,), one in true.filter(pl.col("cell_line") == line).group_by("position", maintain_order=True):
                last = int(one["frame"].max()) - 2  # type: ignore[arg-type] # no track shows its motion at its end
                first_wash = int(one.filter(pl.col("flow_um_per_s") == 100.0)["frame"].max()) + 1  # type: ignore[arg-type]
                stretch = one.filter((pl.col("flow_um_per_s") == flow) & (pl.col("frame") < min(first_wash, last)))
                cells = experiment.position(place).objects("cells").filter(pl.col("arrest_state"))
                both = stretch.join(cells.group_by("frame").len(name="found").cast({"frame": pl.Int64}), on="frame",
                                    how="left").with_columns(pl.col("found").fill_null(0).cast(pl.Float64))  # fmt: skip
                per_s = pl.col("time_min") * 60
                slopes.append([
                    both.select(pl.cov(per_s, pl.col(c).cast(pl.Float64)) / per_s.var()).item()
                    for c in ("adhering", "found")
                ])  # fmt: skip
            table = pl.DataFrame(slopes, schema=["true", "found"], orient="row")
            spread = table["found"].std() if table.height > 1 else None
            reach = None if spread is None else 4.303 * float(spread) / table.height**0.5  # type: ignore[arg-type] # t, 2 df
            mean = float(table["found"].mean())  # type: ignore[arg-type]
            low, high = (None, None) if reach is None or table.height != 3 else (mean - reach, mean + reach)
            went_in = float(table["true"].mean())  # type: ignore[arg-type]
            rows.append(size(f"Attachment, {line} at {flow:g} um/s: cells per second", went_in, mean, low, high))
    return rows


def sizes(assay: str, folder: Path, experiment: Any) -> Sizes:
    """Return what went in and what came out of one assay."""
    answers = {str(c.document["title"]): c for c in read_comparisons(experiment.storage)}
    rows = of_survival(assay, folder, answers[LIVES[assay][0]]) if assay in LIVES else []
    if assay == "ricm":
        growth = by_group(truth_of(folder, "lives"), "dose_pm", "spreading_um2_per_min")
        rows += of_values(answers["Rate of spreading"], growth)
    elif assay == "fucci":
        rows += of_cycle(answers)
    elif assay == "erk":
        rows += of_activity(folder, answers)
    elif assay == "flow":
        rows += of_adhesion(folder, experiment)
    return rows


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
        "sizes": sizes(assay, folder, experiment),
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
    rows: list[dict[str, Any]] = []
    if arguments.only and arguments.json is not None and arguments.json.exists():
        kept = json.loads(arguments.json.read_text(encoding="utf-8"))
        rows = [row for row in kept if row["assay"] not in arguments.only]
    for assay in arguments.only or MAIN:
        row = measured(assay, arguments.replicates, arguments.seed)
        rows.append(row)
        print(
            f"{assay:6} run {row['run_wall_s']:6.1f} s ({row['run_cpu_s']:.0f} s CPU)  objects {row['objects_found']} "
            f"of {row['objects_true']}  {row['event']} {row['events_found']} of {row['events_true']}, "
            f"error {row['error_frames']:.2f} frames",
            flush=True,
        )
        for one in row["sizes"]:
            low, high = (f"{one[k]:.4g}" if one[k] is not None else "-" for k in ("low", "high"))
            came_out = "-" if one["came_out"] is None else f"{one['came_out']:.4g}"
            flag = "" if one["held"] in {True, None} else "  <- not held"
            print(f"    {one['what']:70} {one['went_in']:9.4g} {came_out:>9} [{low}, {high}]{flag}", flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
