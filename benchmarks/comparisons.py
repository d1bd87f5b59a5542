"""Do 95 % intervals hold the truth in 95 % of experiments? And how quick is survival beside lifelines?

    OMP_NUM_THREADS=1 python benchmarks/comparisons.py [--runs 1000] [--only mixed] [--cells 100000] [--json FILE]

Coverage: experiments with known truth are simulated, and the share of intervals that hold it is counted; 93 to 97 %
is wanted, and with 1000 runs chance alone moves a share by +-1.4 % (two standard errors). "False alarms" counts
p < 0.05 where the truth is no difference but replicates differ. Speed: the same curves and tests by lifelines
(``pip install lifelines``), values compared before times are; the best of three runs. ``--only`` takes a part of a
row's name, "false alarms" or "speed"; a JSON file that exists keeps what is not run again.

Not called statistics.py, because scripts beside it import the statistics module of Python.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import ndtr
from scipy.stats import ttest_ind

from kinocyte.statistics import (
    compare_doses,
    compare_survival,
    compare_values,
    cox,
    cumulative_incidence,
    effect_sizes,
    fit_dose_response,
    kaplan_meier,
    log_rank,
    mixed_model,
    piecewise_hazard,
)
from kinocyte.statistics.subdistribution import subdistribution_test, subdistribution_test_of_replicates

Generator = np.random.Generator
Interval = tuple[float, float, float]  # truth, low, high


def lost(rng: Generator, times: np.ndarray, until: float, mean: float) -> tuple[np.ndarray, np.ndarray]:
    """Censor at random losses and at the end of the movie."""
    censoring = np.minimum(rng.exponential(mean, len(times)), until)
    return np.minimum(times, censoring), times <= censoring


def km_median(rng: Generator) -> Interval:
    t, e = lost(rng, rng.exponential(20, 100), 60, 60)
    _, low, high = kaplan_meier(t, e).median()
    return 20 * math.log(2), low, high


def km_median_frames(rng: Generator) -> Interval:
    """Events at whole frames, and a fifth of the cells come late."""
    true = np.ceil(rng.exponential(20, 150))
    entry = np.where(rng.random(150) < 0.2, rng.integers(0, 15, 150), 0)
    seen = true > entry
    t, e = lost(rng, true[seen], 60, 80)
    keep = t > entry[seen]
    _, low, high = kaplan_meier(t[keep], e[keep], entry[seen][keep]).median()
    return float(np.ceil(20 * math.log(2))), low, high


def km_band(rng: Generator) -> Interval:
    t, e = lost(rng, rng.weibull(1.5, 80) * 30, 60, 80)
    curve = kaplan_meier(t, e)
    i = np.searchsorted(curve.time, 20, side="right") - 1
    return math.exp(-((20 / 30) ** 1.5)), curve.low[i], curve.high[i]


def restricted_mean(rng: Generator) -> Interval:
    t, e = lost(rng, rng.exponential(20, 100), 60, 60)
    mean, se = kaplan_meier(t, e).restricted_mean(30)
    return 20 * (1 - math.exp(-1.5)), mean - 1.959964 * se, mean + 1.959964 * se


def incidence(rng: Generator) -> Interval:
    a, b = rng.exponential(30, 120), rng.exponential(60, 120)
    t, e = lost(rng, np.minimum(a, b), 50, 80)
    curve = cumulative_incidence(t, e & (a < b), e & (b <= a))
    i = np.searchsorted(curve.time, 30, side="right") - 1
    return 2 / 3 * (1 - math.exp(-1.5)), curve.low[i], curve.high[i]


def hazard(rng: Generator) -> Interval:
    t, e = lost(rng, rng.exponential(20, 100), 60, 60)
    row = piecewise_hazard(t, e, [0, 10, 20, 40]).row(1, named=True)
    return 1 / 20, row["low"], row["high"]


def cells_of_days(
    rng: Generator, *, paired: bool, replicates: int, cells: int, day: float, unit: float
) -> pl.DataFrame:
    """Return cells of two groups whose log hazard ratio is log 2; replicates shift both groups, or each its own."""
    parts = []
    shared = rng.normal(0, day, replicates)
    for group in (0, 1):
        for r in range(replicates):
            shift = (shared[r] if paired else 0.0) + rng.normal(0, unit)
            n = int(rng.integers(cells // 2, cells * 3 // 2))
            t, e = lost(rng, rng.exponential(30 / np.exp(shift + group * math.log(2)), n), 60, 90)
            name = f"day {r}" if paired else f"{group} {r}"
            parts.append(pl.DataFrame({"t": t, "e": e, "g": [group] * n, "r": [name] * n}))
    return pl.concat(parts)


def tested(table: pl.DataFrame, test: str) -> dict[str, float]:
    found = compare_survival(table, duration="t", event="e", by="g", replicate="r", until=40)
    return found.tests.filter(pl.col("test").str.contains(test)).row(0, named=True)


def hazard_ratio_cells(rng: Generator) -> Interval:
    x = np.repeat([0, 1], 80)
    t, e = lost(rng, rng.exponential(30 / 2**x), 60, 90)
    low, high = cox(t, e, x).interval()[0]
    return 2.0, low, high


def hazard_ratio_days(rng: Generator) -> Interval:
    row = tested(cells_of_days(rng, paired=True, replicates=4, cells=80, day=0.5, unit=0.15), "Cox")
    return 2.0, row["effect_low"], row["effect_high"]


def hazard_ratio_wells(rng: Generator) -> Interval:
    row = tested(cells_of_days(rng, paired=False, replicates=4, cells=80, day=0, unit=0.25), "Cox")
    return 2.0, row["effect_low"], row["effect_high"]


def mean_truth(sd: float) -> float:
    """Return the true difference of means restricted to 40 over a population of replicates."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    rates = [np.exp(sd * nodes + g * math.log(2)) / 30 for g in (0, 1)]
    a, b = (float(weights @ ((1 - np.exp(-40 * k)) / k) / weights.sum()) for k in rates)
    return b - a


def mean_days(rng: Generator) -> Interval:
    row = tested(cells_of_days(rng, paired=True, replicates=4, cells=80, day=0.5, unit=0.15), "t-test")
    return mean_truth(math.hypot(0.5, 0.15)), row["effect_low"], row["effect_high"]


def mean_wells(rng: Generator) -> Interval:
    row = tested(cells_of_days(rng, paired=False, replicates=4, cells=80, day=0, unit=0.25), "t-test")
    return mean_truth(0.25), row["effect_low"], row["effect_high"]


def ec50_points(rng: Generator) -> Interval:
    dose = np.repeat([0, 0.3, 1, 3, 10, 30, 100, 300], 3)
    y = 2 + 8 / (1 + (12 / np.where(dose > 0, dose, 1e-30)) ** 1.3) + rng.normal(0, 0.7, len(dose))
    fit = fit_dose_response(dose, y)
    return 12.0, fit.ec50_low, fit.ec50_high


def ec50_cells(rng: Generator) -> Interval:
    """Cells in replicates at each dose; replicates scatter more than cells' numbers allow."""
    dose = np.repeat([0, 1, 3, 10, 30, 100], 4)
    unit = rng.normal(0, 0.5, len(dose))
    n = 30
    mean = np.repeat(2 + 6 / (1 + (10 / np.where(dose > 0, dose, 1e-30)) ** 1.5) + unit, n)
    frame = pl.DataFrame(
        {"dose": np.repeat(dose, n), "y": rng.normal(mean, 1.5), "r": np.repeat(np.tile(np.arange(4), 6), n)}
    )
    row = compare_doses(frame, dose="dose", value="y", replicate="r").groups.row(0, named=True)
    return 10.0, row["ec50_low"] or 0.0, row["ec50_high"] or math.inf


def values(rng: Generator, *, paired: bool, replicates: int, cells: int, day: float, unit: float, step: float) -> list:
    """Return values and replicates of two groups."""
    shared = rng.normal(0, day, replicates)
    out = []
    for group in (0, 1):
        n = rng.integers(cells // 2, cells * 3 // 2, replicates)
        shift = (shared if paired else 0) + rng.normal(0, unit, replicates) + step * group
        out.append((rng.normal(np.repeat(shift, n), 1), np.repeat(np.arange(replicates), n)))
    return out


def cliff_cells(rng: Generator) -> Interval:
    e = effect_sizes(rng.normal(0, 1, 60), rng.normal(0.6, 1, 60), draws=1000)[0]
    return 2 * ndtr(0.6 / math.sqrt(2)) - 1, e.low, e.high


def cliff_many_cells(rng: Generator) -> Interval:
    e = effect_sizes(rng.normal(0, 1, 3000), rng.normal(0.6, 1, 3000), draws=1000)[0]
    return 2 * ndtr(0.6 / math.sqrt(2)) - 1, e.low, e.high


def effect_wells(rng: Generator, which: int) -> Interval:
    (x, rx), (y, ry) = values(rng, paired=False, replicates=4, cells=60, day=0, unit=0.4, step=0.8)
    e = effect_sizes(x, y, replicate_a=rx, replicate_b=ry, draws=1000)[which]
    spread = math.sqrt(1 + 0.4**2)
    truth = 2 * ndtr(0.8 / (math.sqrt(2) * spread)) - 1 if which == 0 else 0.8 / spread
    return truth, e.low, e.high


def mixed(rng: Generator, *, paired: bool) -> Interval:
    (x, rx), (y, ry) = values(rng, paired=paired, replicates=4, cells=60, day=0.7, unit=0.3, step=0.5)
    d = mixed_model(x, y, rx, ry, paired=paired).difference
    return 0.5, d.low, d.high


def t_test(rng: Generator, *, paired: bool) -> Interval:
    (x, rx), (y, ry) = values(rng, paired=paired, replicates=4, cells=60, day=0.7, unit=0.3, step=0.5)
    table = pl.DataFrame({"v": np.concatenate([x, y]), "g": [0] * len(x) + [1] * len(y),
                          "r": np.concatenate([rx, ry if paired else ry + 100])})  # fmt: skip
    row = compare_values(table, value="v", by="g", replicate="r", draws=100).tests.row(0, named=True)
    return 0.5, row["effect_low"], row["effect_high"]


COVERAGE: dict[str, Callable[[Generator], Interval]] = {
    "Kaplan-Meier: median": km_median,
    "Kaplan-Meier: median, whole frames, late entry": km_median_frames,
    "Kaplan-Meier: band at one time": km_band,
    "restricted mean, cells": restricted_mean,
    "cumulative incidence, competing risk": incidence,
    "hazard in an interval": hazard,
    "hazard ratio, cells": hazard_ratio_cells,
    "hazard ratio, 4 days (paired)": hazard_ratio_days,
    "hazard ratio, 4 + 4 wells": hazard_ratio_wells,
    "restricted mean difference, 4 days (paired)": mean_days,
    "restricted mean difference, 4 + 4 wells": mean_wells,
    "EC50, points": ec50_points,
    "EC50, means of replicates": ec50_cells,
    "Cliff's delta, 60 + 60 cells (bootstrap)": cliff_cells,
    "Cliff's delta, 6000 cells (asymptotic)": cliff_many_cells,
    "Cliff's delta, 4 + 4 wells (bootstrap)": lambda rng: effect_wells(rng, 0),
    "Hedges' g, 4 + 4 wells (bootstrap)": lambda rng: effect_wells(rng, 1),
    "mixed model, 4 days (paired)": lambda rng: mixed(rng, paired=True),
    "mixed model, 4 + 4 wells": lambda rng: mixed(rng, paired=False),
    "t-test on replicates, 4 days (paired)": lambda rng: t_test(rng, paired=True),
    "t-test on replicates, 4 + 4 wells": lambda rng: t_test(rng, paired=False),
}


def coverage(runs: int, seed: int, only: str) -> dict[str, dict[str, float]]:
    found = {}
    print(f"\nCoverage of 95 % intervals, {runs} experiments each\n{'':52}{'holds':>8}{'too low':>9}{'too high':>9}")
    for name, experiment in COVERAGE.items():
        if only not in name:
            continue
        sides = np.zeros(3)
        for i in range(runs):
            truth, low, high = experiment(np.random.default_rng([seed, i]))
            # equal to the last digit of the truth counts as held, as frames are whole numbers
            sides += [low - 1e-9 <= truth <= high + 1e-9, truth > high + 1e-9, truth < low - 1e-9]
        share, below, above = (100 * sides / runs).tolist()
        flag = "" if 93 <= share <= 97 else "  <- outside 93 to 97"
        print(f"{name:52}{share:7.1f}%{below:8.1f}%{above:8.1f}%{flag}", flush=True)
        found[name] = {"runs": runs, "held_percent": share, "too_low_percent": below, "too_high_percent": above}
    return found


def false_alarms(runs: int, seed: int) -> dict[str, float]:
    """Count p < 0.05 without a difference, where wells of 500 cells differ by a third of the scatter of cells."""
    counts = dict.fromkeys(("t-test on cells", "t-test on replicates", "mixed model", "log-rank on cells",
                            "log-rank over replicates", "Cox over replicates", "Gray's test on cells",
                            "Gray's test over replicates"), 0)  # fmt: skip
    for i in range(runs):
        rng = np.random.default_rng([seed, 7, i])
        (x, rx), (y, ry) = values(rng, paired=False, replicates=4, cells=500, day=0, unit=0.33, step=0.0)
        table = pl.DataFrame({"v": np.concatenate([x, y]), "g": [0] * len(x) + [1] * len(y),
                              "r": np.concatenate([rx, ry + 100])})  # fmt: skip
        p = compare_values(table, value="v", by="g", replicate="r", draws=100).tests["p"]
        rate = np.concatenate([x, y])
        shift = pl.Series(rate).mean()
        medians = table.with_columns(pl.col("v").mean().over("r").alias("m"))["m"].to_numpy() - shift
        t, e = lost(rng, rng.exponential(30 / np.exp(medians)), 60, 90)
        lived = table.with_columns(t=t, e=e)
        q = compare_survival(lived, duration="t", event="e", by="g", replicate="r").tests["p"]
        some = lived.gather_every(8)  # what competes happens as often in all wells
        u, mine = some["t"].to_numpy(), some["e"].to_numpy()
        other = rng.exponential(50, some.height)
        lives = (np.minimum(u, other), mine * (u <= other), other < u, some["g"].to_numpy())
        found = (float(ttest_ind(x, y).pvalue), p[0], p[1], log_rank(t, e, lived["g"]).p, q[0], q[1],
                 subdistribution_test(*lives).p, subdistribution_test_of_replicates(*lives, some["r"]).p)  # fmt: skip
        for name, value in zip(counts, found, strict=True):
            counts[name] += value < 0.05
    print(f"\nFalse alarms at p < 0.05, {runs} experiments of 4 + 4 wells of 500 cells, no difference of groups")
    shares = {name: 100 * n / runs for name, n in counts.items()}
    for name, share in shares.items():
        print(f"{name:52}{share:7.1f}%")
    return shares


def best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def speed(cells: int, seed: int) -> dict[str, dict[str, float]]:
    if find_spec("lifelines") is None:
        print("\nlifelines is not installed: no speed beside it.")
        return {}
    warnings.simplefilter("ignore")
    import pandas as pd  # noqa: TID251 - lifelines takes nothing else
    from lifelines import CoxPHFitter, KaplanMeierFitter
    from lifelines.statistics import logrank_test

    rng = np.random.default_rng(seed)
    g = rng.integers(0, 2, cells)
    t, e = lost(rng, rng.exponential(30 / (1 + g)), 60, 90)
    x = np.stack([g, rng.normal(size=cells)], axis=1).astype(float)
    frame = pd.DataFrame({"t": t, "e": e, "g": x[:, 0], "z": x[:, 1]})
    a, b = g == 0, g == 1
    theirs = KaplanMeierFitter().fit(t, e).survival_function_.to_numpy()[:, 0]
    off = float(np.abs(kaplan_meier(t, e).survival - theirs).max())
    off_test = abs(log_rank(t, e, g).statistic - logrank_test(t[a], t[b], e[a], e[b]).test_statistic)
    off_cox = float(np.abs(cox(t, e, x).log_hazard_ratio - CoxPHFitter().fit(frame, "t", "e").params_).max())
    print(
        f"\nSpeed at {cells} cells beside lifelines{'':14}{'ours s':>9}{'lifelines s':>13}{'ratio':>8}{'differ by':>12}"
    )
    jobs = {
        "Kaplan-Meier with band": (lambda: kaplan_meier(t, e), lambda: KaplanMeierFitter().fit(t, e), off),
        "log-rank": (lambda: log_rank(t, e, g), lambda: logrank_test(t[a], t[b], e[a], e[b]), off_test),
        "Cox, 2 covariates": (lambda: cox(t, e, x), lambda: CoxPHFitter().fit(frame, "t", "e"), off_cox),
    }
    found = {}
    for name, (mine, peer, differ) in jobs.items():
        ours, them = best(mine), best(peer)
        print(f"{name:52}{ours:9.4f}{them:13.4f}{them / ours:8.1f}{differ:12.1e}", flush=True)
        found[name] = {"ours_s": ours, "lifelines_s": them, "largest_difference": differ}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", default="", help="coverage of the rows whose name holds this, and nothing else")
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = json.loads(args.json.read_text(encoding="utf-8")) if args.json is not None and args.json.exists() else {}
    found["coverage"] = {**found.get("coverage", {}), **coverage(args.runs, args.seed, args.only)}
    if args.only in "false alarms":
        found["false_alarms_percent"] = {"runs": args.runs, **false_alarms(args.runs, args.seed)}
    if args.only in "speed":
        found["speed"] = {"cells": args.cells, **speed(args.cells, args.seed)}
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
