"""Peaks along tracks, found by SciPy and measured in minutes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.signal import find_peaks, peak_widths

from kinocyte.core.errors import ParameterError
from kinocyte.events._series import TRACK, Calls, arrange, episode_table, states, tables
from kinocyte.events.base import EventTables
from kinocyte.events.expression import parse
from kinocyte.events.functions import formula

if TYPE_CHECKING:
    from kinocyte.events.peaks import Peaks

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_COLUMNS = (
    "time_min",
    "time_se_min",
    "height",
    "prominence",
    "fwhm_min",
    "start_min",
    "end_min",
    "distance_min",
    "at_edge",
)


#: part of its prominence by which a peak stands higher at an end of the track than on its other side if it is cut
_CUT = 0.1


def detect_peaks(
    method: Peaks, cells: pl.DataFrame, name: str, *, earlier: pl.DataFrame | None, by: Sequence[str]
) -> EventTables:
    """Return the tables; see `kinocyte.events.Peaks.detect`."""
    if method.smooth_frames % 2 == 0:
        msg = f"smooth_frames is {method.smooth_frames}; give an odd number, so that peaks stay in place."
        raise ParameterError(msg)
    along = parse(method.signal).needs_time
    series = arrange(cells, method.columns, by=by, after=method.after, earlier=earlier, along_track=along)
    value = series.numbers(formula(method.signal, series.rows, track=TRACK).expr)
    known = ~np.isnan(value)
    start, time = series.only(known)
    x, n_tracks = value[known], start.size - 1
    found = [_peaks_of(method, x[a:b], time[a:b]) for a, b in pairwise(start)]
    number = np.array([len(f) for f in found], dtype=np.int64)
    peaks = np.concatenate(found) if found else np.empty((0, len(_COLUMNS)))
    track = np.repeat(np.arange(n_tracks), number)
    order = np.arange(track.size) - np.searchsorted(track, track)
    columns = {c: peaks[:, k] for k, c in enumerate(_COLUMNS)}
    cut = peaks[:, -1] > 0
    kind = np.where(np.diff(start) == 0, "excluded", np.where(number > 0, "event", "none"))
    first = np.full((n_tracks, 2), np.nan)
    first[track[order == 0]] = peaks[order == 0, :2]
    whole = np.where(cut, np.nan, columns["fwhm_min"])
    extra: dict[str, pl.Series | NDArray[np.generic]] = {
        "n_peaks": number,
        "mean_distance_min": _mean(columns["distance_min"], track, n_tracks),
        "mean_fwhm_min": _mean(whole, track, n_tracks),
    }
    calls = Calls(kind, first[:, 0], first[:, 1], np.full(n_tracks, np.nan), extra)
    return tables(
        series, name, calls, states(_inside(series.time, series.start, track, columns), known),
        episode_table(series, name, track, {"episode": order + 1, **columns, "at_edge": cut}),
    )  # fmt: skip


def _peaks_of(method: Peaks, x: Floats, time: Floats) -> Floats:
    """Return the peaks of one track, (peak, column)."""
    if x.size < 3:
        return np.empty((0, len(_COLUMNS)))
    if method.smooth_frames > 1:
        half = method.smooth_frames // 2
        total = np.concatenate([[0.0], np.cumsum(x)])
        low, high = np.maximum(np.arange(x.size) - half, 0), np.minimum(np.arange(x.size) + half + 1, x.size)
        x = (total[high] - total[low]) / (high - low)
    least = method.min_prominence
    if least is None:
        low_value, high_value = np.quantile(x, [0.05, 0.95])
        # what a curve departs from a line between neighbours is mostly noise
        noise = 1.4826 * np.median(np.abs(np.diff(x, 2))) / np.sqrt(6.0)
        least = max(method.min_prominence_share * (high_value - low_value), 5.0 * noise, np.finfo(float).tiny)
    peak, about = find_peaks(x, prominence=least)
    if not peak.size:
        return np.empty((0, len(_COLUMNS)))
    taken = _apart(time[peak], x[peak], method.min_distance_min)
    peak, bases = peak[taken], tuple(about[k][taken] for k in ("prominences", "left_bases", "right_bases"))
    _, _, left, right = peak_widths(x, peak, rel_height=0.5, prominence_data=bases)
    rows = np.arange(x.size)
    begin, end = np.interp(left, rows, time), np.interp(right, rows, time)
    # the higher of the two bases decides the width; at an end of the track the signal may still be coming down
    limit = np.where(x[bases[1]] >= x[bases[2]], bases[1], bases[2])
    around = time[np.minimum(peak + 1, x.size - 1)] - time[np.maximum(peak - 1, 0)]
    distance = np.concatenate([[np.nan], np.diff(time[peak])])
    higher = np.abs(x[bases[1]] - x[bases[2]]) > _CUT * bases[0]
    at_edge = higher & ((limit == 0) | (limit == x.size - 1))
    columns = (time[peak], 0.5 * around / np.sqrt(12.0), x[peak], bases[0], end - begin, begin, end, distance, at_edge)
    return np.asarray(np.stack(columns, axis=1), dtype=np.float64)


def _apart(at: Floats, height: Floats, least: float) -> Ints:
    """Return which peaks to keep: the highest first, and none that is too close to one that was kept."""
    kept: list[int] = []
    for i in np.lexsort((at, -height)):
        if all(abs(at[i] - at[k]) >= least for k in kept):
            kept.append(int(i))
    return np.array(sorted(kept), dtype=np.int64)


def _mean(values: NDArray[np.float64], track: Ints, n_tracks: int) -> Floats:
    """Return the mean over the peaks of each track that have a value."""
    there = ~np.isnan(values)
    count = np.bincount(track[there], minlength=n_tracks)
    total = np.bincount(track[there], weights=values[there], minlength=n_tracks)
    return np.asarray(np.divide(total, count, out=np.full(n_tracks, np.nan), where=count > 0))


def _inside(time: Floats, start: Ints, track: Ints, columns: dict[str, Floats]) -> NDArray[np.bool_]:
    """Return whether each row lies between start and end of a peak of its track."""
    inside = np.zeros(time.size, np.bool_)
    for t, a, b in zip(track, columns["start_min"], columns["end_min"], strict=True):
        rows = time[start[t] : start[t + 1]]
        low, high = np.searchsorted(rows, a, side="left"), np.searchsorted(rows, b, side="right")
        inside[start[t] + low : start[t] + high] = True
    return inside
