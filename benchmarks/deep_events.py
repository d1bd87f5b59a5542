"""Events told by the network that comes with Kinocyte, beside a threshold and change points, on simulated movies.

    python benchmarks/deep_events.py [--movies 10] [--train 14 --passes 6]

Prints tables and writes ``benchmarks/results/deep_events.json``. The movies' seeds are not among those of training;
all of them drift in the baseline but the first row's. The threshold is given the middle between the mean levels before
and after, which nobody knows on real data; "auto" is what is suggested from the data. Change points do not tell what
was before the track from never, so for them both count as none. Errors of time are in frames. With ``--train`` (needs
PyTorch) the one network for class and time is trained beside the two of the paper, on the same movies for the same
number of passes, with whole movies held out.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import polars as pl

RESULTS = Path(__file__).parent / "results" / "deep_events.json"
CASES = (
    {"snr": 6.0, "drift": 0.0}, {"snr": 3.0, "drift": 0.8}, {"snr": 5.0, "drift": 0.8}, {"snr": 10.0, "drift": 0.8},
    {"snr": 6.0, "drift": 1.5}, {"snr": 6.0, "drift": 0.8, "flash_fraction": 0.6},
    {"snr": 6.0, "drift": 0.8, "width_frames": 2.0},
)  # fmt: skip
#: Torro et al., eLife 14, RP105302 (2025), on its own movies: not the same data, for orientation only
PUBLISHED = "Celldetective (eLife 2025), deep models: 3 % of called deaths false; 20 % of left-censored called events."


def movies(n: int, case: dict[str, float]) -> tuple[pl.DataFrame, pl.DataFrame]:
    from kinocyte.simulation.signals import StepSignals, simulate_steps

    cells, events = [], []
    for i in range(n):
        made = simulate_steps(StepSignals(frame_interval_min=1.0, **case), seed=90_000 + i)
        place = (pl.col("track_id") + 1000 * i).alias("track_id")
        cells.append(made.cells.with_columns(place, position=pl.lit(i)))
        events.append(made.events.with_columns(place))
    return pl.concat(cells), pl.concat(events)


def detect(method, cells: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return the events, each movie looked at by itself, as in a pipeline; and how many movies were refused."""
    from kinocyte.core.errors import TableError

    parts, refused = [], 0
    for part in cells.partition_by("position"):
        try:
            parts.append(method.detect(part, "death").events)
        except TableError:  # no threshold can be suggested: nothing is called in this movie
            refused += 1
    return pl.concat(parts, how="diagonal_relaxed"), refused


def score(found: pl.DataFrame, truth: pl.DataFrame, *, left: bool) -> dict[str, float | None]:
    from kinocyte.evaluation.events import score_events

    compared = truth if left else truth.with_columns(pl.col("class").replace({"censored_left": "none"}))
    scores = score_events(compared, found)
    before = truth.filter(pl.col("class") == "censored_left").join(found, on="track_id")
    hit = truth.filter(pl.col("class") == "event").join(found.filter(pl.col("class") == "event"), on="track_id")
    off, error = hit["time_min_right"] - hit["time_min"], hit["time_se_min"]
    return {
        "precision": scores.precision, "recall": scores.recall, "accuracy": scores.accuracy,
        "left_called_event": (before["class_right"] == "event").mean(), "mae_frames": scores.mean_absolute_error_min,
        "median_error_frames": scores.median_absolute_error_min, "bias_frames": scores.bias_min,
        "covered_95": (off.abs() <= 1.96 * error).mean(),
    }  # fmt: skip


def beside(n: int) -> list[dict[str, object]]:
    from kinocyte.events import ChangePoint, Deep, ThresholdTransition

    rows = []
    print("case                                              method             precision recall accuracy  left->event"
          "   MAE  median   bias  95 % covered")  # fmt: skip
    for case in CASES:
        cells, truth = movies(n, case)
        middle = float((truth["before"] + truth["step"] / 2).mean())
        methods = {
            "deep": Deep(signals=("signal",)),
            "threshold (known)": ThresholdTransition(when=f"signal > {middle:.1f}"),
            "threshold (auto)": ThresholdTransition(when="signal > auto"),
            "change_point": ChangePoint(signal="signal", direction="up"),
        }
        for name, method in methods.items():
            begin = time.process_time()
            found, refused = detect(method, cells)
            seconds = time.process_time() - begin
            got = score(found, truth, left=name != "change_point")
            rows.append(
                {**case, "method": name, "tracks": truth.height, "refused_movies": refused, "seconds": seconds, **got}
            )
            print(f"{case!s:49} {name:18} {got['precision']:9.3f} {got['recall']:6.3f} {got['accuracy']:8.3f} "
                  f"{got['left_called_event']:12.3f} {got['mae_frames']:5.2f} {got['median_error_frames']:7.2f} "
                  f"{got['bias_frames']:+6.2f} {got['covered_95']:13.3f}", flush=True)  # fmt: skip
    return rows


def networks(n: int, passes: int) -> list[dict[str, object]]:
    """Train both kinds of networks on the same movies, and score them on others."""
    from kinocyte.cli._training_file import simulated
    from kinocyte.events.deep_training import annotated_tracks
    from kinocyte.learning.signals.fit import fit, score
    from kinocyte.learning.signals.training import SignalTraining

    learnt = annotated_tracks(*simulated(n, seed=1), ("signal",), by=("movie",))
    others = annotated_tracks(*simulated(20, seed=4711), ("signal",), by=("movie",))
    rows = []
    for kind in ("joint", "paper"):
        begin = time.process_time()
        rate = 2e-3 if kind == "joint" else 1e-3
        how = SignalTraining(
            networks=kind, epochs=passes, patience=passes, held_out=0.15, device="cpu", learning_rate=rate
        )
        model = fit(learnt, ("signal",), how, seed=1)
        seconds = time.process_time() - begin
        got = {k: v for k, v in score(model, others).items() if k != "reliability"}
        rows.append({"networks": kind, "movies": n, "passes": passes, "training_s": seconds, **got})
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in rows[-1].items()})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--movies", type=int, default=10)
    parser.add_argument("--train", type=int, default=0, help="movies to train both kinds of networks on")
    parser.add_argument("--passes", type=int, default=6)
    options = parser.parse_args()
    result = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    result |= {"published": PUBLISHED, "movies": options.movies, "methods": beside(options.movies)}
    print(f"\n{PUBLISHED}\n")
    if options.train:
        result["networks"] = networks(options.train, options.passes)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
