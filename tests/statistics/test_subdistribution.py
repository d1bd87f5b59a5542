"""The test of cumulative incidences: Gray's weights, known special cases, and how often it raises a false alarm."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kinocyte.statistics import compare_incidence, cumulative_incidence, kaplan_meier, log_rank
from kinocyte.statistics.subdistribution import _weights, subdistribution_test

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def drawn(rng: np.random.Generator, n: int, ratio: float = 1.0, censored: bool = True) -> Arrays:
    """Return times, events, competing events and groups; the hazard of the event in group 1 is ``ratio`` times."""
    group = rng.integers(0, 2, n)
    a, b = rng.exponential(30 / ratio**group), rng.exponential(50, n)
    end = rng.uniform(10, 80, n) if censored else np.full(n, np.inf)
    t = np.minimum(np.minimum(a, b), end)
    return t, (a <= b) & (a <= end), (b < a) & (b <= end), group


def test_those_at_risk_are_grays() -> None:
    """Gray (1988): R = n (1 - F(t-)) / S(t-), with the group's own incidence and survival, before each time."""
    t, e, c, g = drawn(np.random.default_rng(0), 200)
    times = np.unique(t[e])
    weight = _weights(t, e.astype(float), c.astype(float), g, times)
    for k in (0, 1):
        own = g == k
        curve, free = cumulative_incidence(t[own], e[own], c[own]), kaplan_meier(t[own], (e | c)[own])
        before = np.searchsorted(curve.time, times, side="left") - 1
        incidence = curve.incidence[before]
        survival = free.survival[np.searchsorted(free.time, times, side="left") - 1]
        n = (t[own][:, None] >= times).sum(axis=0)
        seen = n > 0
        np.testing.assert_allclose(weight[own].sum(axis=0)[seen], (n * (1 - incidence) / survival)[seen], rtol=1e-10)


def test_without_competing_events_or_losses_it_is_the_log_rank_test() -> None:
    rng = np.random.default_rng(1)
    t, e, _, g = drawn(rng, 2000, 1.2)
    alone = subdistribution_test(t, e, np.zeros(len(t)), g)
    assert alone.statistic == pytest.approx(log_rank(t, e, g).statistic, rel=0.05)
    t, e, c, g = drawn(rng, 2000, 1.2, censored=False)
    kept = np.where(c, t.max() + 1, t)  # who had the other event can never have this one, and was never lost
    assert subdistribution_test(t, e, c, g).statistic == pytest.approx(log_rank(kept, e, g).statistic, rel=0.05)


def test_false_alarms_are_as_many_as_promised() -> None:
    rng = np.random.default_rng(2)
    p = np.array([subdistribution_test(*drawn(rng, 120)).p for _ in range(400)])
    assert 0.025 <= (p < 0.05).mean() <= 0.08
    assert np.mean([subdistribution_test(*drawn(rng, 200, 2.5)).p < 0.05 for _ in range(40)]) > 0.8


def test_nothing_to_test_and_how_it_is_told() -> None:
    assert np.isnan(subdistribution_test([1, 2], [0, 0], [1, 0], [0, 1]).p)
    assert np.isnan(subdistribution_test([1, 2], [1, 1], [0, 0], [0, 0]).p)
    t, e, c, g = drawn(np.random.default_rng(3), 90)
    table = pl.DataFrame(
        {"t": t, "why": np.where(e, "death", np.where(c, "division", None)), "g": g, "r": [1, 2, 3] * 30}
    )
    found = compare_incidence(table, duration="t", cause="why", event="death", by="g")
    row = found.tests.filter(pl.col("test").str.starts_with("Gray")).row(0, named=True)
    assert row["p"] == pytest.approx(subdistribution_test(t, e, c, g).p)
    replicates = compare_incidence(table, duration="t", cause="why", event="death", by="g", replicate="r").tests
    assert replicates.filter(pl.col("test").str.starts_with("Gray"))["refused"].null_count() == 0
