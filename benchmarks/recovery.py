"""Does the answer that went into a simulated assay come out? Coverage of 95 % intervals over many experiments.

    OMP_NUM_THREADS=1 python benchmarks/recovery.py [--runs 200] [--only hovering] [--json FILE]

Each experiment is a plate of the simulators of `kinocyte.simulation.assays` at full size (positions, contacts, deaths,
landings, divisions with their truth). What a camera would measure of a cell is made from its truth with noise, at the
frames of the movie, and goes through the same event methods and comparisons as in a pipeline; no pixels are drawn,
as 200 plates of them would take a day. Wells are the replicates. 93 to 97 % is wanted; with 200 runs chance alone
moves a share by +-3.1 % (two standard errors).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from kinocyte.events import FirstDetection, ThresholdTransition
from kinocyte.simulation.assays.adcc import KillingAssay, simulate_killing
from kinocyte.simulation.assays.fucci import CycleAssay, simulate_cycle
from kinocyte.simulation.assays.ricm import SpreadingAssay, cell_light, simulate_spreading
from kinocyte.statistics import compare_doses, compare_hazard, compare_survival, survival_table

#: truth, low, high
Interval = tuple[float, float | None, float | None]
Found = Iterator[tuple[str, Interval]]


def seed_of(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def lives_of(cells: pl.DataFrame, events: pl.DataFrame, event: str, since: str) -> pl.DataFrame:
    """Return durations from one event to another, as the pipeline makes them."""
    times = pl.col("time_min")
    tracks = cells.group_by("track_id", maintain_order=True).agg(
        times.min().alias("first_time_min"), times.max().alias("last_time_min")
    )
    return survival_table(tracks, events, event, since=since)


# --------------------------------------------------------------------------------------------------- RICM
HOVER_UNTIL = 3.0


def landed(settings: SpreadingAssay, seed: int) -> pl.DataFrame:
    """Return the hovering times of one well, from intensities with noise at the frames of the movie."""
    truth = simulate_spreading(settings, seed).truth
    rng = np.random.default_rng([seed, 1])
    cells = truth["cells_objects"].join(truth["cells_members"], on="object_id").join(truth["lives"], on="track_id")
    since = (cells["time_min"] - cells["spreading_min"]).to_numpy()
    value = 1.0 + cell_light(since) + rng.normal(0, 0.02, cells.height)
    cells = cells.with_columns(mean_ricm=value)
    contact = FirstDetection().detect(cells, "contact").events
    spreading = ThresholdTransition(when="mean_ricm < 1").detect(cells, "spreading").events
    return lives_of(cells, pl.concat([contact, spreading], how="diagonal_relaxed"), "spreading", "contact")


def hovering(run: int, seed: int) -> Found:
    parts = []
    for dose in (0.0, 30.0, 300.0):
        for well in range(3):
            s = SpreadingAssay(dose_pm=dose)
            table = landed(s, seed_of(seed, 1, run, int(dose), well))
            parts.append(table.with_columns(dose=pl.lit(dose), well=pl.lit(f"{dose:g} {well}")))
    table = pl.concat(parts)
    found = compare_survival(
        table, duration="duration_min", event="observed", entry="entry_min", by="dose", replicate="well",
        until=HOVER_UNTIL, duration_se="duration_se_min",
    )  # fmt: skip
    rows = {r["group"]: r for r in found.groups.to_dicts()}
    means = {}
    for dose in (30.0, 300.0):
        s = SpreadingAssay(dose_pm=dose)
        rest = s.hovering_min - s.least_hovering_min
        means[dose] = s.least_hovering_min + rest * (1 - math.exp(-(HOVER_UNTIL - s.least_hovering_min) / rest))
        median = s.least_hovering_min + rest * math.log(2)
        r = rows[dose]
        yield f"hovering, {dose:g} pM: median", (median, r["median_low"], r["median_high"])
        low, high = r["restricted_mean_low"], r["restricted_mean_high"]
        yield f"hovering, {dose:g} pM: mean restricted to 3 min, 3 wells", (means[dose], low, high)
    test = found.tests.filter(
        pl.col("test").str.contains("t-test") & (pl.col("group_a") == 30.0) & (pl.col("group_b") == 300.0)
    ).row(0, named=True)
    yield (
        "hovering, 300 against 30 pM: difference of means, 3 + 3 wells",
        (means[300.0] - means[30.0], test["effect_low"], test["effect_high"]),
    )


def doses(run: int, seed: int) -> Found:
    """The logarithm of a hovering time is a Hill curve of the dose with the EC50 of the simulator, 30 pM."""
    parts = []
    for dose in (0.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1400.0):
        for well in range(3):
            s = SpreadingAssay(dose_pm=dose, least_hovering_min=0.0, frames=4)
            lives = simulate_spreading(s, seed_of(seed, 2, run, int(dose), well)).truth["lives"]
            parts.append(
                lives.select(
                    pl.col("hovering_min").log().alias("log_hovering"), dose=pl.lit(dose), well=pl.lit(f"{dose} {well}")
                )
            )
    found = compare_doses(pl.concat(parts), dose="dose", value="log_hovering", replicate="well").groups
    row = found.row(0, named=True)
    yield "EC50 of hovering, 7 doses of 3 wells", (30.0, row["ec50_low"] or 0.0, row["ec50_high"] or math.inf)


# --------------------------------------------------------------------------------------------------- FUCCI
def cycled(settings: CycleAssay, seed: int) -> pl.DataFrame:
    """Return how long G1 lasted in cells whose birth was seen, from green light with noise every two hours."""
    truth = simulate_cycle(settings, seed).truth
    rng = np.random.default_rng([seed, 1])
    cells = truth["nuclei_objects"].join(truth["nuclei_members"], on="object_id").join(truth["cycles"], on="track_id")
    age = cells["time_min"] - cells["born_min"]
    rest = 60 * (cells["cycle_h"] - cells["g1_h"])
    late = ((age - 60 * cells["g1_h"]) / rest).to_numpy()
    green = np.where(late < 0, 0.0, np.where(late < 0.97, np.minimum(1.0, 0.15 + late / 0.5), 0.5))
    cells = cells.with_columns(mean_green=110 + 300 * green + rng.normal(0, 8, cells.height))
    birth = FirstDetection().detect(cells, "birth").events
    g1_end = ThresholdTransition(when="mean_green > 132").detect(cells, "g1_end").events
    table = lives_of(cells, pl.concat([birth, g1_end], how="diagonal_relaxed"), "g1_end", "birth")
    born = truth["nuclei_tracks"].filter(pl.col("generation") > 0).select("track_id")
    return table.join(born, on="track_id", how="semi")


def g1(run: int, seed: int) -> Found:
    parts = []
    for drug, delay in (("control", 0.0), ("inhibitor", 6.0)):
        for well in range(3):
            table = cycled(CycleAssay(g1_delay_h=delay, frames=48), seed_of(seed, 3, run, int(delay), well))
            parts.append(table.with_columns(drug=pl.lit(drug), well=pl.lit(f"{drug} {well}")))
    until = 30 * 60.0
    found = compare_survival(
        pl.concat(parts), duration="duration_min", event="observed", entry="entry_min", by="drug", replicate="well",
        until=until, duration_se="duration_se_min",
    )  # fmt: skip
    for row, mean_h in zip(found.groups.sort("group").to_dicts(), (12.0, 18.0), strict=True):
        held = (60 * mean_h, row["restricted_mean_low"], row["restricted_mean_high"])
        yield f"G1, {row['group']}: mean, 3 wells", held
    test = found.tests.filter(pl.col("test").str.contains("t-test")).row(0, named=True)
    yield "G1, delay by the drug, 3 + 3 wells", (360.0, test["effect_low"], test["effect_high"])


# --------------------------------------------------------------------------------------------------- ADCC
SPONTANEOUS_PER_H = 0.3


def episodes(settings: KillingAssay, seed: int) -> pl.DataFrame:
    """Return the stretches in which a target is held by as many effectors: when they begin, end, and whether by death.

    The frames are the steps of the simulator, so that who holds whom is known at all times, as from a quick camera.
    """
    truth = simulate_killing(settings, seed).truth
    n, frames, step = settings.targets, settings.frames, settings.frame_interval_min
    held = np.zeros((n, frames), np.int64)
    contacts = truth["contacts"]
    np.add.at(held, (contacts["target_track_id"].to_numpy() - 1, contacts["frame"].to_numpy()), 1)
    events = truth["targets_events"].filter(pl.col("event") == "death").sort("track_id")
    death = events["time_min"].fill_null(math.inf).to_numpy()
    rows = []
    for k in range(n):
        if events["class"][k] == "censored_left":
            continue
        last = min(frames - 1, math.ceil(death[k] / step)) if math.isfinite(death[k]) else frames - 1
        states = held[k, 1 : last + 1]
        cuts = np.flatnonzero(np.diff(states)) + 1
        for a, b in zip(np.concatenate([[0], cuts]), np.concatenate([cuts, [last]]), strict=True):
            died = b == last and math.isfinite(death[k]) and death[k] <= last * step
            rows.append((k, a * step, death[k] if died else b * step, died, int(states[a])))
    schema = {"target": pl.Int64, "begin": pl.Float64, "end": pl.Float64, "died": pl.Boolean, "held_by": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").filter(pl.col("end") > pl.col("begin"))


def contacts(run: int, seed: int) -> Found:
    s = KillingAssay(
        dose_pm=10.0, spontaneous_death_per_h=SPONTANEOUS_PER_H, frame_interval_min=0.5, frames=301, dead_at_start=0.0
    )
    parts = [episodes(s, seed_of(seed, 4, run, w)).with_columns(well=pl.lit(f"w{w}")) for w in range(4)]
    table = pl.concat(parts).filter(pl.col("held_by") <= 1)
    killing = s.killing_per_h
    found = compare_survival(table, duration="end", event="died", entry="begin", by="held_by", replicate="well")
    test = found.tests.filter(pl.col("test").str.contains("Cox")).row(0, named=True)
    ratio = (killing + SPONTANEOUS_PER_H) / SPONTANEOUS_PER_H
    yield "contact: hazard ratio of one effector, 4 wells", (ratio, test["effect_low"], test["effect_high"])
    rates = {r["group"]: r for r in compare_hazard(
        table, duration="end", event="died", entry="begin", by="held_by", replicate="well"
    ).groups.to_dicts()}  # fmt: skip
    for state, truth in ((0, SPONTANEOUS_PER_H), (1, killing + SPONTANEOUS_PER_H)):
        name = "hazard without contact" if state == 0 else "hazard in contact with one effector"
        yield f"{name}, 4 wells", (truth / 60, rates[state]["rate_low"], rates[state]["rate_high"])


EXPERIMENTS: dict[str, Callable[[int, int], Found]] = {
    "hovering": hovering, "doses": doses, "g1": g1, "contacts": contacts,
}  # fmt: skip


#: Why a row may lie outside 93 to 97 % besides by chance.
NOTES = {
    "hovering, 30 pM: median": "bounds are averaged over the resolution of the frames, which errs to the safe side",
    "hovering, 300 against 30 pM: difference of means, 3 + 3 wells": (
        "Welch's interval of 3 + 3 normal numbers holds 96.5 % where their variances are equal"
    ),
}


def main() -> None:
    """Print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=sorted(EXPERIMENTS), action="append")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = json.loads(args.json.read_text(encoding="utf-8")) if args.json is not None and args.json.exists() else {}
    print(f"Coverage of 95 % intervals, {args.runs} experiments each\n{'':66}{'holds':>8}{'too low':>9}{'too high':>9}")
    for name in args.only or EXPERIMENTS:
        start = time.process_time()
        sides: dict[str, list[int]] = {}
        for run in range(args.runs):
            for what, (truth, low, high) in EXPERIMENTS[name](run, args.seed):
                counted = sides.setdefault(what, [0, 0, 0])
                above, below = high is not None and truth > high, low is not None and truth < low
                counted[1 if above else 2 if below else 0] += 1
        for what, counted in sides.items():
            share, below, above = (100 * n / args.runs for n in counted)
            note = NOTES.get(what, "")
            flag = "" if 93 <= share <= 97 else f"  <- outside 93 to 97{': ' + note if note else ''}"
            print(f"{what:66}{share:7.1f}%{below:8.1f}%{above:8.1f}%{flag}", flush=True)
            numbers = {"held_percent": share, "too_low_percent": below, "too_high_percent": above}
            found[what] = {"runs": args.runs, **numbers, **({"note": note} if note else {})}
        print(f"{'':66}{time.process_time() - start:8.0f} s CPU", flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
