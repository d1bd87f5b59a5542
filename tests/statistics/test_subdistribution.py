"""The test of cumulative incidences: Gray's weights, known special cases, and how often it raises a false alarm."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kinocyte.core.errors import ParameterError
from kinocyte.statistics import compare_incidence, cumulative_incidence, kaplan_meier, log_rank
from kinocyte.statistics.logrank import log_rank_of_replicates
from kinocyte.statistics.subdistribution import _weights, subdistribution_test, subdistribution_test_of_replicates

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
    gray = replicates.filter(pl.col("test").str.starts_with("Gray"))
    assert gray["level"].to_list() == ["replicates", "cells"]
    over = subdistribution_test_of_replicates(t, e, c, g, table["r"], stratified=True)
    assert gray["p"].to_list() == [pytest.approx(over.p), None], "cells of three days make no p-value"
    alone = compare_incidence(
        table.filter(pl.col("r") == 1), duration="t", cause="why", event="death", by="g", replicate="r"
    ).tests
    assert alone.filter(pl.col("test").str.starts_with("Gray"))["refused"].null_count() == 0


@pytest.mark.parametrize("stratified", [False, True])
def test_over_replicates_it_is_the_log_rank_test_where_nothing_competes(stratified: bool) -> None:
    t, e, _, g = drawn(np.random.default_rng(4), 300, 1.3)
    day = np.random.default_rng(5).integers(0, 4, 300)
    found = subdistribution_test_of_replicates(t, e, np.zeros(300), g, day, stratified=stratified)
    peer = log_rank_of_replicates(t, e, g, day, stratified=stratified)
    assert (found.statistic, found.df, found.p) == pytest.approx((peer.statistic, peer.df, peer.p))
    with pytest.raises(ParameterError, match="too few"):
        subdistribution_test_of_replicates(t, e, np.zeros(300), g, np.zeros(300), stratified=stratified)


def of_days(rng: np.random.Generator, *, paired: bool, ratio: float) -> tuple[Arrays, np.ndarray]:
    """Return cells of four days (or wells a group) that differ in how often both events happen."""
    day = np.repeat(np.arange(4 if paired else 8), 24 if paired else 12)
    group = np.tile([0, 1], day.size // 2) if paired else (day >= 4).astype(int)
    often, other = (np.exp(rng.normal(0, 0.6, 8))[day] for _ in range(2))
    a, b = rng.exponential(30 / ratio**group / often), rng.exponential(50 / other)
    end = rng.uniform(10, 80, day.size)
    t = np.minimum(np.minimum(a, b), end)
    return (t, (a <= b) & (a <= end), (b < a) & (b <= end), group), day


@pytest.mark.parametrize("paired", [False, True])
def test_replicates_that_differ_raise_no_false_alarms(paired: bool) -> None:
    rng = np.random.default_rng(6)
    cells, over, seen = 0, 0, 0
    for _ in range(100):
        lives, day = of_days(rng, paired=paired, ratio=1.0)
        cells += subdistribution_test(*lives).p < 0.05
        over += subdistribution_test_of_replicates(*lives, day, stratified=paired).p < 0.05
    assert over <= 10, "5 % of 100 are 5 +- 2"
    assert paired or cells > 15, "cells that share a well are no independent samples"
    for _ in range(20):
        lives, day = of_days(rng, paired=paired, ratio=4.0)
        seen += subdistribution_test_of_replicates(*lives, day, stratified=paired).p < 0.05
    assert seen >= (15 if paired else 8)
