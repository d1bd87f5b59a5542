"""Signals of tracks as networks read them: on a grid of frames, in units of the population, with what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

#: a longer gap counts as one of so many frames
LONGEST_GAP = 16
#: what of the population lies below the level "low" and below "high"
_QUANTILES = (0.1, 0.9)
#: channels for each signal, and one more that is 1 inside the track
CHANNELS = ("population", "track", "low", "high", "seen")


@dataclass(frozen=True, eq=False)
class SignalSet:
    """Signals of tracks, in order of track and time.

    ``values`` (rows, signals), NaN where not known; ``time_min`` (rows,), rising within a track; track t has the rows
    ``start[t]`` to ``start[t + 1]``; ``movie`` (tracks,) numbers the movie of each: its cells are one population.
    """

    values: Floats
    time_min: Floats
    start: Ints
    movie: Ints

    def __len__(self) -> int:
        """Return the number of tracks."""
        return self.start.size - 1


@dataclass(frozen=True, eq=False)
class Track:
    """One track on a grid of frames; arrays are (frames, signals), ``time_min`` is (frames,).

    ``value`` in units of the population (0 its lower, 1 its upper level), filled where nothing is ``seen``; ``low``
    and ``high`` the levels of the population at that time; ``noise`` (signals,) the deviation of the track's noise.
    """

    value: Singles
    seen: NDArray[np.bool_]
    low: Singles
    high: Singles
    noise: Singles
    time_min: Floats

    def cut(self, begin: int, end: int) -> Track:
        """Return the frames from begin to before end."""
        part = slice(begin, end)
        return Track(
            self.value[part], self.seen[part], self.low[part], self.high[part], self.noise, self.time_min[part]
        )


def prepare(signals: SignalSet) -> list[Track | None]:
    """Return every track on a grid of frames, None where a track has no value of any signal.

    The frame interval is the median of all intervals of the movie. A track without gaps keeps its rows; where time
    passed without a row, frames are put in that are not seen (at most `LONGEST_GAP` in a row).
    """
    tracks: list[Track | None] = [None] * len(signals)
    for movie in np.unique(signals.movie):
        members = np.flatnonzero(signals.movie == movie)
        for number, track in zip(members, _movie(signals, members), strict=True):
            tracks[number] = track
    return tracks


def _movie(signals: SignalSet, members: Ints) -> Iterator[Track | None]:
    rows = [slice(signals.start[m], signals.start[m + 1]) for m in members]
    values = np.concatenate([signals.values[r] for r in rows]) if rows else np.empty((0, signals.values.shape[1]))
    times = [signals.time_min[r] for r in rows]
    intervals = np.concatenate([np.diff(t) for t in times])
    interval = float(np.median(intervals)) if intervals.size else 1.0
    zero, unit = _levels(values)
    every = np.concatenate(times)
    begin = every.min() if every.size else 0.0
    bins, low, high = _population((values - zero) / unit, np.rint((every - begin) / interval))
    for r, time in zip(rows, times, strict=True):
        track = _on_grid((signals.values[r] - zero) / unit, time, interval)
        if track is not None:
            at = np.rint((track.time_min - begin) / interval)
            near = np.clip(np.searchsorted(bins, at), 0, bins.size - 1)
            track.low[:], track.high[:] = low[near], high[near]
        yield track


def _levels(values: Floats) -> tuple[Floats, Floats]:
    """Return the zero and the unit of each signal of a movie."""
    zero, unit = np.zeros(values.shape[1]), np.ones(values.shape[1])
    for s in range(values.shape[1]):
        known = values[:, s][np.isfinite(values[:, s])]
        if known.size:
            lower, upper = np.quantile(known, _QUANTILES)
            zero[s] = lower
            unit[s] = max(upper - lower, 1e-6 * max(abs(lower), abs(upper)), 1e-12)
    return zero, unit


def _population(values: Floats, bins: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the times at which there are cells, and the levels of the population at each."""
    at, code = np.unique(bins, return_inverse=True)
    low, high = np.zeros((at.size, values.shape[1])), np.zeros((at.size, values.shape[1]))
    order = np.argsort(code, kind="stable")
    edges = np.concatenate([[0], np.cumsum(np.bincount(code, minlength=at.size))]) if at.size else np.zeros(1, int)
    for i in range(at.size):
        here = values[order[edges[i] : edges[i + 1]]]
        for s in range(values.shape[1]):
            known = here[:, s][np.isfinite(here[:, s])]
            if known.size:
                low[i, s], high[i, s] = np.quantile(known, _QUANTILES)
    return at, low, high


def _on_grid(value: Floats, time: Floats, interval: float) -> Track | None:
    known = np.isfinite(value)
    if not known.any():
        return None
    jumps = np.clip(np.rint(np.diff(time) / interval), 1, LONGEST_GAP).astype(np.int64)
    place = np.concatenate([[0], np.cumsum(jumps)])
    frames = np.arange(place[-1] + 1)
    filled = np.zeros((frames.size, value.shape[1]), np.float32)
    seen = np.zeros(filled.shape, np.bool_)
    noise = np.ones(value.shape[1], np.float32)
    for s in range(value.shape[1]):
        here = known[:, s]
        seen[place[here], s] = True
        if here.any():
            filled[:, s] = np.interp(frames, place[here], value[here, s])
            jump = np.abs(np.diff(value[here, s]))
            noise[s] = max(float(np.median(jump)) / 0.954 if jump.size else 1.0, 0.01)
    context = np.zeros_like(filled), np.zeros_like(filled)
    return Track(filled, seen, context[0], context[1], noise, np.interp(frames, place, time))


def batch(tracks: Sequence[Track], *, length: int | None = None) -> Singles:
    """Return tracks as the input of the joint network.

    Parameters
    ----------
    tracks : sequence of Track
        All with the same number of signals.
    length : int, optional
        Frames to pad to; those of the longest track when left out. Padding never changes what a network says.

    Returns
    -------
    ndarray, float32, shape (tracks, 5 signals + 1, frames)
        `CHANNELS` of each signal, and 1 inside the track; 0 outside it.
    """
    n_signals = tracks[0].value.shape[1]
    longest = max(t.value.shape[0] for t in tracks)
    out = np.zeros((len(tracks), len(CHANNELS) * n_signals + 1, length or longest), np.float32)
    for i, track in enumerate(tracks):
        frames = track.value.shape[0]
        middle = np.median(track.value, axis=0)
        own = np.arcsinh((track.value - middle) / (3 * track.noise))
        level = (squash(track.value), own, squash(track.low), squash(track.high), track.seen)
        out[i, :-1, :frames] = np.stack(level, axis=1).reshape(frames, -1, order="C").T
        out[i, -1, :frames] = 1.0
    return out


def squash(value: Singles) -> Singles:
    """Return a value in units of the population, far ones drawn in."""
    drawn: Singles = (2 * np.arcsinh(value / 2)).astype(np.float32)
    return drawn


def resized(tracks: Sequence[Track], *, length: int) -> Singles:
    """Return tracks as the networks of the paper read them: padded with their last value, or squeezed, to one length.

    Returns
    -------
    ndarray, float32, shape (tracks, signals, length)
    """
    out = np.zeros((len(tracks), tracks[0].value.shape[1], length), np.float32)
    for i, track in enumerate(tracks):
        value = squash(track.value)
        frames = value.shape[0]
        if frames <= length:
            out[i] = np.pad(value, ((0, length - frames), (0, 0)), mode="edge").T
        else:
            at = np.linspace(0, frames - 1, length)
            out[i] = np.stack([np.interp(at, np.arange(frames), v) for v in value.T])
    return out


def check(signals: SignalSet) -> None:
    """Refuse signals whose arrays do not belong together.

    Raises
    ------
    ParameterError
        If lengths differ or time does not rise within a track.
    """
    rows = signals.time_min.size
    fits = signals.values.ndim == 2 and len(signals.values) == rows and signals.start[-1] == rows
    if not fits or signals.movie.size != len(signals):
        msg = f"Signals of {rows} times, {len(signals.values)} rows and {len(signals)} tracks do not belong together."
        raise ParameterError(msg)
    inside = np.ones(max(rows - 1, 0), np.bool_)
    inside[signals.start[1:-1][(signals.start[1:-1] > 0) & (signals.start[1:-1] < rows)] - 1] = False
    if not (np.diff(signals.time_min)[inside] > 0).all():
        msg = "The times of a track do not rise; sort its rows, and give each time once."
        raise ParameterError(msg)
