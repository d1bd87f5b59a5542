"""Partial likelihood of Cox's model, its derivatives and its score residuals, without loops over cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Stratum:
    """Cells that share a baseline hazard, with the order of their times worked out once."""

    rows: Ints
    """Places of these cells in the whole table."""
    x: Floats
    duration: Floats
    entry: Floats
    by_duration: Ints
    by_entry: Ints
    """Order of the entries; empty where none is late."""
    left: Ints
    came: Ints
    """For each event time, how many leave before it and how many come too late for it."""
    dead: Ints
    dead_place: Ints
    """Cells with the event, and the index of their time."""
    time: Floats
    """Distinct times of events."""
    place: Ints
    """Index into ``time`` for each event, in order of time."""
    fraction: Floats
    """Efron's share of tied events already gone, for each event; 0 for Breslow."""


def strata(
    x: Floats, duration: Floats, event: Floats, entry: Floats, stratum: Ints, *, efron: bool
) -> Iterator[Stratum]:
    """Split cells by baseline; those that leave when they come are left out."""
    watched = entry < duration
    for s in np.unique(stratum):
        rows = np.flatnonzero((stratum == s) & watched)
        t, e, start = duration[rows], event[rows], entry[rows]
        time, place, count = np.unique(t[e == 1], return_inverse=True, return_counts=True)
        place = np.sort(place)
        first = np.cumsum(count) - count
        fraction = (np.arange(len(place)) - first[place]) / count[place] if len(place) else np.empty(0)
        order, dead = np.argsort(t, kind="stable"), np.flatnonzero(e == 1)
        late = np.argsort(start, kind="stable") if np.isfinite(start).any() else np.empty(0, np.int64)
        yield Stratum(
            rows, x[rows], t, start, order, late, np.searchsorted(t[order], time), np.searchsorted(start[late], time),
            dead, np.searchsorted(time, t[dead]), time, place, fraction if efron else np.zeros(len(place)),
        )  # fmt: skip


def _at_risk(s: Stratum, values: Floats) -> Floats:
    """Sum values over the cells at risk at each event time: ``entry < t <= duration``."""
    zero = np.zeros((1, *values.shape[1:]))

    def tail(order: Ints, place: Ints) -> Floats:
        sums = np.concatenate([np.cumsum(values[order][::-1], axis=0)[::-1], zero])
        return np.asarray(sums[place])

    still = tail(s.by_duration, s.left)
    return still - tail(s.by_entry, s.came) if len(s.by_entry) else still


def _deaths(s: Stratum, values: Floats) -> Floats:
    """Sum values over the cells with the event at each event time."""
    out = np.zeros((len(s.time), *values.shape[1:]))
    np.add.at(out, s.dead_place, values[s.dead])
    return out


def _sums(s: Stratum, beta: Floats) -> tuple[Floats, Floats, Floats]:
    """Return risk of each cell, and for each event the summed risk and the mean of x under it."""
    risk = np.exp(s.x @ beta)
    weighted = risk[:, None] * s.x
    share = s.fraction
    total, first = _at_risk(s, risk)[s.place], _at_risk(s, weighted)[s.place]
    if share.any():
        total = total - share * _deaths(s, risk)[s.place]
        first = first - share[:, None] * _deaths(s, weighted)[s.place]
    return risk, total, first / total[:, None]


def derivatives(s: Stratum, beta: Floats) -> tuple[float, Floats, Floats]:
    """Return log partial likelihood, gradient (p,) and information (p, p) of one stratum; ties after Efron (1977)."""
    p = s.x.shape[1]
    if len(s.place) == 0:
        return 0.0, np.zeros(p), np.zeros((p, p))
    risk, total, mean = _sums(s, beta)
    square = (risk[:, None, None] * s.x[:, :, None]) * s.x[:, None, :]
    second = (_at_risk(s, square)[s.place] / total[:, None, None]).sum(axis=0)
    if s.fraction.any():
        second = second - (s.fraction[:, None, None] * _deaths(s, square)[s.place] / total[:, None, None]).sum(axis=0)
    dead = s.x[s.dead]
    value = float((dead @ beta).sum() - np.log(total).sum())
    return value, dead.sum(axis=0) - mean.sum(axis=0), second - mean.T @ mean


def score_residuals(s: Stratum, beta: Floats) -> Floats:
    """Return what each cell of the stratum adds to the gradient, (n, p) (Lin and Wei 1989; ties after Efron).

    They sum to the gradient, so that their sums over replicates give a variance that replicates, not cells, make.
    """
    n, p = s.x.shape
    if len(s.place) == 0:
        return np.zeros((n, p))
    risk, total, mean = _sums(s, beta)
    m = len(s.time)

    def per_time(values: Floats) -> Floats:
        out = np.zeros((m, *values.shape[1:]))
        np.add.at(out, s.place, values)
        return out

    def before(values: Floats, at: Ints) -> Floats:
        return np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])[at]

    hazard, drift = per_time(1 / total), per_time(mean / total[:, None])
    last = np.searchsorted(s.time, s.duration, side="right")
    first = np.searchsorted(s.time, s.entry, side="right")
    seen = before(hazard, last) - before(hazard, first)
    moved = before(drift, last) - before(drift, first)
    out = -risk[:, None] * (s.x * seen[:, None] - moved)
    dead, at = s.dead, s.dead_place
    ties = np.bincount(s.place, minlength=m).astype(np.float64)
    out[dead] += s.x[dead] - (per_time(mean) / ties[:, None])[at]
    spared = per_time(s.fraction / total)[at]
    spared_drift = per_time((s.fraction / total)[:, None] * mean)[at]
    out[dead] += risk[dead, None] * (s.x[dead] * spared[:, None] - spared_drift)
    return out
