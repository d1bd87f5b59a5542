"""One step a track, or none, by BIC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.events._series import TRACK, Calls, arrange, states, tables
from kinocyte.events._step_kernel import scan
from kinocyte.events._steps import Turns, fit_turns
from kinocyte.events.base import EventTables
from kinocyte.events.expression import parse
from kinocyte.events.functions import formula

if TYPE_CHECKING:
    from kinocyte.events.change_point import ChangePoint

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_SIGN = {"up": 1, "down": -1, "either": 0}
#: free numbers of constant, line, step, and step on a line, the deviation and the time counted
_FREE = np.array([2, 3, 4, 5])


def detect_change_points(
    method: ChangePoint, cells: pl.DataFrame, name: str, *, earlier: pl.DataFrame | None, by: Sequence[str]
) -> EventTables:
    """Return the tables; see `kinocyte.events.ChangePoint.detect`."""
    along = parse(method.signal).needs_time
    series = arrange(cells, method.columns, by=by, after=method.after, earlier=earlier, along_track=along)
    value = series.numbers(formula(method.signal, series.rows, track=TRACK).expr)
    known = ~np.isnan(value)
    start, time = series.only(known)
    x = value[known]
    n, n_tracks, sign = np.diff(start), start.size - 1, _SIGN[method.direction]
    out = np.zeros((n_tracks, 6))
    scan(x, time, start, method.min_frames, sign, out)
    gain, line = _gain(out, n, drift=method.drift)
    cut = np.where(line, out[:, 5], out[:, 4]).astype(np.int64)
    some = np.flatnonzero((gain >= method.min_bic_gain) & (cut > 0) & (n >= 6))
    fit = _fit(x, time, start, some, cut=cut, line=line, sign=sign, least=method.min_frames)
    step = _spread(fit.step, some, n_tracks)
    with np.errstate(invalid="ignore"):
        happened = np.isfinite(_spread(fit.time, some, n_tracks)) & (np.abs(step) >= method.min_step)
    kind = np.where(n == 0, "excluded", np.where(happened, "event", "none"))
    when = _spread(fit.time, some, n_tracks)
    extra: dict[str, pl.Series | NDArray[np.generic]] = {
        "time_low_min": _spread(fit.low, some, n_tracks),
        "time_high_min": _spread(fit.high, some, n_tracks),
        "r2": _spread(fit.r_squared, some, n_tracks),
        "before": _spread(fit.before, some, n_tracks),
        "step": step,
        "width_min": _spread(fit.width, some, n_tracks),
    }
    extra = {k: np.where(happened, v, np.nan) for k, v in extra.items()}
    sure = 1.0 / (1.0 + np.exp(-0.5 * np.clip(gain, -700, 700)))
    extra |= {"bic_gain": np.where(n > 0, gain, np.nan), "drifts": line & happened}
    calls = Calls(kind, when, _spread(fit.error, some, n_tracks), np.where(happened, sure, 1.0 - sure), extra)
    past = series.time >= np.where(happened, when, np.inf)[series.track]
    lost = (kind == "excluded") | (series.verdict == "excluded")
    return tables(series, name, calls, states(past, ~lost[series.track]))


def _gain(scanned: Floats, n: Ints, *, drift: bool) -> tuple[Floats, NDArray[np.bool_]]:
    """Return how much smaller the BIC is with a step than without, and whether a line lies under it."""
    # a signal without noise would have no BIC
    left = np.maximum(scanned[:, :4], 1e-12 * scanned[:, :1] + 1e-300)
    many = np.maximum(n, 1)[:, np.newaxis]
    bic = many * np.log(left / many) + _FREE * np.log(many)
    if not drift:
        bic[:, 1], bic[:, 3] = np.inf, np.inf
    gain = bic[:, :2].min(axis=1) - bic[:, 2:].min(axis=1)
    gain[scanned[:, 0] <= 0.0] = 0.0
    return gain, bic[:, 3] < bic[:, 2]


def _fit(
    x: Floats, time: Floats, start: Ints, some: Ints, *, cut: Ints, line: NDArray[np.bool_], sign: int, least: int
) -> Turns:
    """Return when some of the tracks turn."""
    length = np.diff(start)[some]
    row = np.concatenate([[0], np.cumsum(length)])
    take = np.repeat(start[some] - row[:-1], length) + np.arange(row[-1])
    nothing = np.full(some.size, np.nan)
    return fit_turns(
        x[take], time[take], row, cut=cut[some], line=line[some], sign=np.full(some.size, sign), level=nothing,
        least=least, widest=8.0,
    )  # fmt: skip


def _spread(values: Floats, some: Ints, n_tracks: int) -> Floats:
    out = np.full(n_tracks, np.nan)
    out[some] = values
    return out
