"""How tracks spread over time: mean squared displacement and persistence, for all tracks at once."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: fewest lags that make a slope, and the frames a track needs for them
_FEWEST_LAGS = 3
_FEWEST_FRAMES = 2 * _FEWEST_LAGS


def spreading(objects: pl.DataFrame, track: Ints, max_lag_frames: int) -> pl.DataFrame:
    """Return exponent and size of the mean squared displacement and the persistence time of each track.

    Parameters
    ----------
    objects : polars.DataFrame
        ``frame time_min x_um y_um z_um``, sorted by track and frame.
    track : array of int64
        Number of the track of each object, from 0, rising.
    max_lag_frames : int
        Longest lag.

    Returns
    -------
    polars.DataFrame
        ``msd_alpha msd_1_frame_um2 persistence_time_min``, one row a track in the order of ``objects``; null for tracks
        that hold two objects in one frame (lineages).
    """
    frame = objects["frame"].to_numpy().astype(np.int64)
    time = objects["time_min"].to_numpy().astype(np.float64)
    place = objects.select("x_um", "y_um", "z_um").to_numpy().astype(np.float64)
    n = int(track[-1]) + 1 if track.size else 0
    begin = np.searchsorted(track, np.arange(n + 1))
    single = _single(track, frame, n)
    squared, minutes = _displacements(begin, frame, time, place, max_lag_frames)
    frames = frame[begin[1:] - 1] - frame[begin[:-1]] + 1
    lags = np.clip(frames // 4, _FEWEST_LAGS, max_lag_frames)
    lags[(frames < _FEWEST_FRAMES) | ~single] = 0
    return pl.DataFrame(
        {
            "msd_alpha": _slope(squared, minutes, lags),
            "msd_1_frame_um2": np.where(single, squared[:, 0], np.nan),
            "persistence_time_min": np.where(single, _persistence(track, frame, time, place, n), np.nan),
        },
        nan_to_null=True,
    )


def _single(track: Ints, frame: Ints, n: int) -> NDArray[np.bool_]:
    """Tell which tracks hold at most one object a frame."""
    single = np.ones(n, dtype=np.bool_)
    single[track[1:][(track[1:] == track[:-1]) & (frame[1:] == frame[:-1])]] = False
    return single


@kernel
def _displacements(begin, frame, time, place, longest):  # type: ignore[no-untyped-def] # numba
    """Return mean squared displacement (um2) and mean duration (min) of each track at lags 1..longest, (n, longest)."""
    n = begin.size - 1
    squared = np.zeros((n, longest))
    minutes = np.zeros((n, longest))
    count = np.zeros(longest, np.int64)
    for i in range(n):
        count[:] = 0
        for a in range(begin[i], begin[i + 1]):
            for b in range(a + 1, begin[i + 1]):
                lag = frame[b] - frame[a]
                if lag > longest:
                    break
                if lag > 0:
                    count[lag - 1] += 1
                    minutes[i, lag - 1] += time[b] - time[a]
                    for k in range(place.shape[1]):
                        squared[i, lag - 1] += (place[b, k] - place[a, k]) ** 2
        for k in range(longest):
            squared[i, k] = squared[i, k] / count[k] if count[k] else np.nan
            minutes[i, k] = minutes[i, k] / count[k] if count[k] else np.nan
    return squared, minutes


def _slope(squared: Floats, minutes: Floats, lags: Ints) -> Floats:
    """Return the least-squares slope of log squared over log minutes within the first ``lags`` of each track."""
    used = (np.arange(squared.shape[1]) < lags[:, np.newaxis]) & (squared > 0) & (minutes > 0)
    x = np.log(minutes, out=np.zeros_like(minutes), where=used)
    y = np.log(squared, out=np.zeros_like(squared), where=used)
    number = used.sum(axis=1)
    size = np.maximum(number, 1)
    x -= np.where(used, (x.sum(axis=1) / size)[:, np.newaxis], 0)
    y -= np.where(used, (y.sum(axis=1) / size)[:, np.newaxis], 0)
    spread = (x * x).sum(axis=1)
    enough = (number >= _FEWEST_LAGS) & (spread > 0)
    slope: Floats = np.divide((x * y).sum(axis=1), spread, out=np.full(spread.shape, np.nan), where=enough)
    return slope


def _persistence(track: Ints, frame: Ints, time: Floats, place: Floats, n: int) -> Floats:
    """Return the persistence time (min) of each track from the correlation of steps that follow one another."""
    step = np.diff(place, axis=0)
    minutes = np.diff(time)
    within = (np.diff(track) == 0) & (np.diff(frame) == 1)
    follows = np.flatnonzero(within[1:] & within[:-1])
    owner = track[:-1]
    number = np.bincount(owner[within], minlength=n)
    size = np.bincount(owner[within], (step[within] ** 2).sum(axis=1), n)
    duration = np.bincount(owner[within], minutes[within], n)
    product = np.bincount(owner[follows], (step[follows] * step[follows + 1]).sum(axis=1), n)
    pairs = np.bincount(owner[follows], minlength=n)
    usable = (pairs >= _FEWEST_FRAMES - 2) & (size > 0) & (product > 0)
    out = np.full(n, np.nan)
    correlation = (product[usable] / pairs[usable]) / (size[usable] / number[usable])
    out[usable] = duration[usable] / number[usable] / _steps_per_persistence(correlation)
    return out


def _steps_per_persistence(correlation: Floats) -> Floats:
    """Return h with (1 - e^-h)^2 / (2 (h - 1 + e^-h)) = correlation, by bisection; NaN from 1 on (a straight line)."""
    low, high = np.full(correlation.shape, 1e-6), np.full(correlation.shape, 1e6)
    for _ in range(80):
        h = np.sqrt(low * high)
        above = np.expm1(-h) ** 2 / (2 * (h + np.expm1(-h))) > correlation
        low, high = np.where(above, h, low), np.where(above, high, h)
    return np.where(correlation < 1, np.sqrt(low * high), np.nan)
