"""Simulated tracks with known truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl


def tracks(
    *signals: Sequence[float | None], interval_min: float = 1.0, start_frames: Sequence[int] = ()
) -> pl.DataFrame:
    """Return a table of one track a signal, 1, 2, ..; None leaves the object out, NaN leaves it in without a value."""
    rows = []
    for t, signal in enumerate(signals):
        begin = start_frames[t] if start_frames else 0
        rows += [
            {"track_id": t + 1, "frame": begin + i, "time_min": (begin + i) * interval_min, "signal": float(v)}
            for i, v in enumerate(signal)
            if v is not None
        ]
    schema = {"track_id": pl.Int64, "frame": pl.Int32, "time_min": pl.Float64, "signal": pl.Float64}
    return pl.DataFrame(rows, schema=schema).with_row_index("object_id", 1).cast({"object_id": pl.Int64})


def population(
    n: int, frames: int, *, snr: float, tau: float = 0.0, drift: float = 0.0, seed: int = 1
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return tracks of which half turn from 100 to 200, a quarter never, a quarter before the start; and the truth.

    ``tau`` is the scale of the sigmoid and ``drift`` the change over the whole track, both in units of a frame and of
    the step.
    """
    rng = np.random.default_rng(seed)
    kind = rng.choice(["none", "event", "censored_left"], n, p=[0.25, 0.5, 0.25])
    at = rng.uniform(0, frames - 1, n)
    at[kind == "none"], at[kind == "censored_left"] = 1e6, -1e6
    time = np.arange(frames, dtype=float)
    since = time - at[:, np.newaxis]
    turn = (since > 0).astype(float) if tau == 0 else 1 / (1 + np.exp(-np.clip(since / tau, -50, 50)))
    slope = drift * rng.uniform(-1, 1, (n, 1)) * time / frames
    value = 100 + 100 * (turn + slope) + rng.normal(0, 100 / snr, (n, frames))
    cells = pl.DataFrame(
        {
            "object_id": np.arange(n * frames),
            "track_id": np.repeat(np.arange(1, n + 1), frames),
            "time_min": np.tile(time, n),
            "mean_pi": value.ravel(),
        }
    )
    truth = pl.DataFrame(
        {"track_id": np.arange(1, n + 1), "class": kind, "time_min": np.where(kind == "event", at, np.nan)}
    )
    return cells, truth.with_columns(pl.col("time_min").fill_nan(None))
