"""Signals of single cells of which some step up for good, with exact truth: what detectors of events are tried on.

No pixels: one row a cell and frame, as measurement leaves them, with all that makes steps hard to see: baselines that
drift, bleaching, noise, stray values, frames that are missing, tracks that start late or after the step, flashes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import Method, param

Floats = NDArray[np.float64]

#: tracks shorter than this are not cut further
_LEAST_FRAMES = 12


class StepSignals(Method):
    """Settings of the signals of one field of view; heights are in units of the mean step unless they say otherwise."""

    kind: ClassVar[str] = "simulation"

    method: Literal["step_signals"] = "step_signals"
    cells: int = param(60, ge=1, help="Number of cells.")
    frames: int = param(80, ge=4, help="Number of frames.")
    frame_interval_min: float = param(3.0, gt=0, help="Time between frames.", unit="min")
    direction: Literal["up", "down"] = param("up", help="Which way the signal steps.")
    event_fraction: float = param(0.45, ge=0, le=1, help="Share of cells that step while the movie runs.")
    turned_fraction: float = param(0.15, ge=0, le=1, help="Share of cells that stepped before the movie began.")
    level: float = param(200.0, gt=0, help="Mean signal before the step.")
    step: float = param(200.0, gt=0, help="Mean height of the step, in units of the signal.")
    level_variation: float = param(0.15, ge=0, help="Deviation of the level between cells.")
    step_variation: float = param(0.2, ge=0, help="Relative deviation of the height of the step between cells.")
    snr: float = param(6.0, gt=0, help="Mean step divided by the deviation of the noise.")
    width_frames: float = param(0.5, ge=0, help="Mean scale of the sigmoid that the step is.")
    fading: float = param(0.2, ge=0, le=1, help="Part of the step that is lost again over 100 frames.")
    drift: float = param(0.6, ge=0, help="Change of the baseline of all cells over the movie.")
    cell_drift: float = param(0.2, ge=0, help="Change of the baseline of single cells over the movie (deviation).")
    wobble: float = param(0.08, ge=0, help="Deviation of slow fluctuations of single cells.")
    bleaching: float = param(0.1, ge=0, lt=1, help="Part of all signal that is bleached at the end of the movie.")
    flash_fraction: float = param(0.15, ge=0, le=1, help="Share of cells that flash once for a few frames.")
    stray_fraction: float = param(0.005, ge=0, le=1, help="Share of values that are far off, as under debris.")
    missing_fraction: float = param(0.03, ge=0, lt=1, help="Share of frames in which a cell is not found.")
    late_fraction: float = param(0.25, ge=0, le=1, help="Share of tracks that start after the first frame.")
    lost_fraction: float = param(0.25, ge=0, le=1, help="Share of tracks that end before the last frame.")


@dataclass(frozen=True, eq=False)
class SimulatedSignals:
    """Cells and what happened to them.

    ``cells``: ``object_id track_id frame time_min signal``, one row a cell and frame in which it is found.
    ``events``: ``track_id class time_min before step``, one row a cell, with its level and its step.
    """

    cells: pl.DataFrame
    events: pl.DataFrame


def simulate_steps(settings: StepSignals, *, seed: int) -> SimulatedSignals:
    """Return signals of cells of which some step.

    A cell that stepped before its own track begins is ``censored_left``; one that steps after its track has ended has
    no event (``none``). Times lie between frames.

    Parameters
    ----------
    settings : StepSignals
        What the cells do.
    seed : int
        The same seed gives the same signals.

    Raises
    ------
    ParameterError
        If the shares of cells add up to more than 1.
    """
    s = settings
    if s.event_fraction + s.turned_fraction > 1:
        msg = f"event_fraction {s.event_fraction} and turned_fraction {s.turned_fraction} add up to more than 1."
        raise ParameterError(msg)
    rng = np.random.default_rng(seed)
    fate = rng.choice(3, s.cells, p=[s.event_fraction, s.turned_fraction, 1 - s.event_fraction - s.turned_fraction])
    at = np.select([fate == 0, fate == 1], [rng.uniform(0, s.frames - 1, s.cells), -1e6], 1e6)
    first, last = _seen(s, rng)
    height = s.step * np.maximum(rng.normal(1, s.step_variation, s.cells), 0.3)
    level = s.level + s.step * rng.normal(0, s.level_variation, s.cells)
    signal = _signals(s, rng, at, last, level=level, height=height)
    frame = np.arange(s.frames)
    found = (frame >= first[:, None]) & (frame <= last[:, None]) & (rng.random(signal.shape) >= s.missing_fraction)
    found[np.arange(s.cells), first] = True  # the end points say what is censored
    found[np.arange(s.cells), last] = True
    return SimulatedSignals(_table(s, signal, found), _truth(s, at, first, last, level=level, height=height))


def _seen(s: StepSignals, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and last frame of each track."""
    room = max(s.frames - _LEAST_FRAMES, 0)
    late = rng.random(s.cells) < s.late_fraction
    lost = rng.random(s.cells) < s.lost_fraction
    first = np.where(late, rng.integers(0, room // 2 + 1, s.cells), 0)
    last = s.frames - 1 - np.where(lost, rng.integers(0, room - room // 2 + 1, s.cells), 0)
    return first, last


def _signals(
    s: StepSignals, rng: np.random.Generator, at: Floats, last: NDArray[np.int64], *, level: Floats, height: Floats
) -> Floats:
    """Return the signal of every cell in every frame, shape (cells, frames)."""
    n, frames = s.cells, s.frames
    frame = np.arange(frames, dtype=float)
    since = frame - at[:, None]
    width = s.width_frames * rng.gamma(4.0, 0.25, (n, 1))
    risen = np.where(
        width > 0.05, 1 / (1 + np.exp(-np.clip(since / np.maximum(width, 0.05), -60, 60))), (since > 0).astype(float)
    )
    age = np.clip(np.where(at[:, None] < 0, frame + 20, since), 0, None)
    fade = 1 - s.fading * rng.uniform(0, 1, (n, 1)) * (1 - np.exp(-age / 50))
    sign = 1.0 if s.direction == "up" else -1.0
    clean = level[:, None] + sign * height[:, None] * risen * fade
    part = frame / max(frames - 1, 1)
    clean = clean + s.step * _drift(s, rng, part)
    clean += sign * height[:, None] * _flashes(s, rng, last)
    clean = clean * np.exp(np.log1p(-s.bleaching) * part)
    noise = s.step / s.snr
    # photons: the noise grows with the signal, and is as asked for in the middle of the step
    growth = np.sqrt(np.maximum(clean, 0.05 * s.level) / (s.level + 0.5 * s.step))
    signal: Floats = clean + noise * growth * rng.normal(0, 1, (n, frames))
    stray = rng.random((n, frames)) < s.stray_fraction
    signal[stray] += s.step * rng.normal(0, 1.5, int(stray.sum()))
    return signal


def _drift(s: StepSignals, rng: np.random.Generator, part: Floats) -> Floats:
    """Return the change of the baselines, of all cells alike, of each cell, and slow fluctuations."""
    shape = rng.normal(size=3)
    phase = rng.uniform(0, 2 * np.pi)
    alike = shape[0] * part + shape[1] * part**2 + 0.5 * shape[2] * (np.sin(np.pi * part + phase) - np.sin(phase))
    alike *= s.drift / max(float(np.ptp(alike)), 1e-9)
    own = s.cell_drift * rng.normal(size=(s.cells, 1)) * part
    steps = rng.normal(size=(s.cells, part.size))
    slow = np.zeros_like(steps)
    for t in range(1, part.size):  # a fluctuation that forgets in ten frames
        slow[:, t] = 0.9 * slow[:, t - 1] + np.sqrt(1 - 0.81) * steps[:, t]
    moved: Floats = alike + own + s.wobble * slow
    return moved


def _flashes(s: StepSignals, rng: np.random.Generator, last: NDArray[np.int64]) -> Floats:
    """Return what flashes add: a cell that flashes is back at its level three frames before its track ends."""
    n, frames = s.cells, s.frames
    long = rng.integers(1, 9, n)
    begin = rng.uniform(0, 1, n) * np.maximum(last - long - 3, 0)
    some = (rng.random(n) < s.flash_fraction) & (last - long - 3 > 0)
    tall = rng.uniform(0.3, 1.2, n) * some
    frame = np.arange(frames)
    added: Floats = tall[:, None] * ((frame >= begin[:, None]) & (frame < (begin + long)[:, None]))
    return added


def _table(s: StepSignals, signal: Floats, found: NDArray[np.bool_]) -> pl.DataFrame:
    cell, frame = np.nonzero(found)
    table = {
        "object_id": np.arange(1, cell.size + 1),
        "track_id": cell + 1,
        "frame": frame.astype(np.int32),
        "time_min": frame * s.frame_interval_min,
        "signal": signal[found],
    }
    return pl.DataFrame(table)


def _truth(
    s: StepSignals, at: Floats, first: NDArray[np.int64], last: NDArray[np.int64], *, level: Floats, height: Floats
) -> pl.DataFrame:
    kind = np.select([at < first, at >= last], ["censored_left", "none"], "event")
    table = {
        "track_id": np.arange(1, s.cells + 1),
        "class": kind,
        "time_min": np.where(kind == "event", at * s.frame_interval_min, np.nan),
        "before": level,
        "step": height,
    }
    return pl.DataFrame(table).with_columns(pl.col("time_min").fill_nan(None))


def varied_steps(n: int, *, seed: int) -> list[tuple[StepSignals, int]]:
    """Return settings and seeds of movies that differ in all that can differ: what a detector is trained on.

    Parameters
    ----------
    n : int
        Number of movies.
    seed : int
        Fixes the draw.

    Returns
    -------
    list of (StepSignals, int)
        SNR 2.5 to 20, 16 to 160 frames, drift up to 1.5 steps, from no events at all to 80 % of the cells.
    """
    rng = np.random.default_rng(seed)
    movies = []
    for _ in range(n):
        turned = float(rng.choice([0.0, rng.uniform(0.0, 0.4)], p=[0.2, 0.8]))
        level = float(np.exp(rng.uniform(np.log(50), np.log(2000))))
        settings = StepSignals(
            cells=int(rng.integers(8, 120)),
            frames=int(rng.integers(16, 161)),
            event_fraction=float(rng.choice([0.0, rng.uniform(0.05, 0.8)], p=[0.1, 0.9])) * (1 - turned),
            turned_fraction=turned,
            level=level,
            step=level * float(np.exp(rng.uniform(np.log(0.3), np.log(5)))),
            level_variation=float(rng.uniform(0, 0.2)),
            step_variation=float(rng.uniform(0, 0.3)),
            snr=float(np.exp(rng.uniform(np.log(2.5), np.log(20)))),
            width_frames=float(rng.choice([0.0, rng.uniform(0.2, 2.5)], p=[0.3, 0.7])),
            fading=float(rng.uniform(0, 0.6)),
            drift=float(rng.choice([0.0, rng.uniform(0, 1.5)], p=[0.2, 0.8])),
            cell_drift=float(rng.uniform(0, 0.3)),
            wobble=float(rng.uniform(0, 0.12)),
            bleaching=float(rng.uniform(0, 0.3)),
            flash_fraction=float(rng.uniform(0, 0.3)),
            stray_fraction=float(rng.uniform(0, 0.01)),
            missing_fraction=float(rng.uniform(0, 0.1)),
            late_fraction=float(rng.uniform(0, 0.5)),
            lost_fraction=float(rng.uniform(0, 0.5)),
        )
        movies.append((settings, int(rng.integers(2**31))))
    return movies
