"""Survival against lifelines, statsmodels, analytic values and simulations."""

from __future__ import annotations

import math
import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.statistics import (
    CompetingRisks,
    Survival,
    compare_incidence,
    compare_survival,
    cox,
    cumulative_incidence,
    kaplan_meier,
    kernel_hazard,
    log_rank,
    log_rank_of_replicates,
    number_at_risk,
    piecewise_hazard,
    survival_table,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    lifelines = pytest.importorskip("lifelines")
    pd = pytest.importorskip("pandas")
    from lifelines import AalenJohansenFitter, CoxPHFitter, KaplanMeierFitter
    from lifelines.statistics import logrank_test, multivariate_logrank_test
    from lifelines.utils import median_survival_times, restricted_mean_survival_time

Floats = NDArray[np.float64]
quiet = pytest.mark.filterwarnings("ignore")  # the peers' own warnings


def cells(n: int = 400, seed: int = 0, *, ties: bool = True) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, n)
    true, losses = rng.exponential(25 / (1 + group)), rng.exponential(40, n)
    duration = np.minimum(true, losses)
    duration = np.ceil(duration) if ties else duration
    entry = np.floor(rng.uniform(0, 12, n)) if ties else rng.uniform(0, 12, n)
    return {
        "t": duration, "e": (true <= losses).astype(float), "g": group.astype(float), "x": rng.normal(size=n),
        "r": rng.integers(0, 8, n).astype(float), "w": np.where(entry < duration, entry, 0.0),
    }  # fmt: skip


# Kaplan-Meier


@quiet
@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("late", [True, False])
def test_kaplan_meier_is_that_of_lifelines(ties: bool, late: bool) -> None:
    d = cells(ties=ties)
    entry = d["w"] if late else None
    peer = KaplanMeierFitter().fit(d["t"], d["e"], entry=entry)
    mine = kaplan_meier(d["t"], d["e"], entry)
    times = peer.survival_function_.index.to_numpy()
    assert np.abs(mine.at(times) - peer.survival_function_.to_numpy()[:, 0]).max() < 1e-12
    place = np.searchsorted(mine.time, times, side="right") - 1
    band = peer.confidence_interval_.to_numpy()
    ours = np.stack([mine.low, mine.high], axis=1)[place]
    known = np.isfinite(band).all(axis=1) & np.isfinite(ours).all(axis=1)
    assert known.sum() > len(times) * 0.9
    assert np.abs(ours - band)[known].max() < 1e-12
    if not late:
        assert mine.median()[0] == peer.median_survival_time_
        assert mine.median()[1:] == tuple(median_survival_times(peer.confidence_interval_).to_numpy()[0])
        for until in (5.0, 20.0):
            assert mine.restricted_mean(until)[0] == pytest.approx(restricted_mean_survival_time(peer, until), abs=1e-9)


def test_the_published_remission_times_of_leukaemia() -> None:
    """Freireich et al. 1963, treated arm; values of Kalbfleisch and Prentice and of every textbook since."""
    t = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    e = [1] * 9 + [0] * 12
    curve = kaplan_meier(t, e)
    assert curve.at([6, 7, 10, 13, 16, 22, 23]) == pytest.approx(
        [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=5e-4
    )
    assert curve.median()[0] == 23
    control = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    found = log_rank([*t, *control], [*e, *[1] * 21], [0] * 21 + [1] * 21)
    assert found.statistic == pytest.approx(16.79, abs=5e-3)
    fit = cox([*t, *control], [*e, *[1] * 21], [0] * 21 + [1] * 21)
    assert fit.log_hazard_ratio[0] == pytest.approx(1.572, abs=5e-4)
    assert fit.standard_error[0] == pytest.approx(0.412, abs=5e-4)


def test_a_track_lost_early_is_censored_where_it_was_lost() -> None:
    """Celldetective's cut extends censoring to the cut; a cell lost at 10 must not count as alive at 60."""
    t, e = [10.0, 20.0, 60.0], [0, 1, 0]
    curve = kaplan_meier(t, e)
    assert curve.at([15, 30]).tolist() == [1.0, 0.5], "the lost cell is not at risk at 20"
    assert number_at_risk(t, e, [0, 10, 11, 60, 61]).tolist() == [3, 3, 2, 1, 0]


def test_time_that_counts_from_between_two_frames_begins_with_all_cells() -> None:
    """The first frame that shows a cell comes half an interval after its landing: at 0 nobody was seen yet."""
    curve = kaplan_meier([1.5, 2.5, 4.5], [1, 1, 0], [0.5, 0.5, 0.5])
    assert curve.time.tolist() == [0, 1.5, 2.5, 4.5]
    assert curve.at_risk.tolist() == [3, 3, 2, 1]
    assert kaplan_meier([3, 4, 9], [1, 1, 0], [0, 0, 2]).at_risk.tolist() == [2, 3, 2, 1], "one comes at 2"
    rival = cumulative_incidence([1.5, 2.5], [1, 0], [0, 1], [0.5, 0.5])
    assert rival.at_risk.tolist() == [2, 2, 1]


def test_the_restricted_mean_without_censoring_is_the_mean() -> None:
    x = np.random.default_rng(3).exponential(10, 57)
    mean, se = kaplan_meier(x, np.ones(57)).restricted_mean(x.max())
    assert mean == pytest.approx(x.mean(), rel=1e-12)
    assert se == pytest.approx(x.std() / math.sqrt(57), rel=1e-12)


def test_late_entry_gives_the_curve_of_those_who_were_there_all_along() -> None:
    rng = np.random.default_rng(0)
    true = rng.exponential(20, 60_000)
    entry = np.where(rng.random(60_000) < 0.7, rng.uniform(0, 20, 60_000), 0.0)
    seen = true > entry
    late = kaplan_meier(true[seen], np.ones(seen.sum()), entry[seen])
    assert np.abs(late.at([10, 20, 40]) - np.exp(-np.array([10, 20, 40]) / 20)).max() < 0.01
    naive = kaplan_meier(true[seen], np.ones(seen.sum()))
    assert naive.at(20) > np.exp(-1) + 0.05, "without entry, survival looks too good"


times = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=40)


@given(times)
@settings(max_examples=60, deadline=None)
def test_properties_of_a_curve(rows: list[tuple[int, bool]]) -> None:
    t, e = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows], float)
    curve = kaplan_meier(t, e)
    assert (np.diff(curve.survival) <= 0).all()
    assert ((curve.survival >= 0) & (curve.survival <= 1)).all()
    known = np.isfinite(curve.low)
    assert (curve.low[known] <= curve.survival[known] + 1e-12).all()
    assert (curve.high[known] >= curve.survival[known] - 1e-12).all()
    assert curve.events.sum() + curve.censored.sum() == len(t)
    assert curve.at_risk[0] == len(t)
    order = np.random.default_rng(0).permutation(len(t))
    assert (kaplan_meier(t[order], e[order]).survival == curve.survival).all()
    twice = kaplan_meier(np.tile(t, 2), np.tile(e, 2))
    assert np.allclose(twice.survival, curve.survival)


@pytest.mark.parametrize(
    ("t", "e", "survival", "median"),
    [
        ([], [], [1.0], math.nan),
        ([5], [1], [1.0, 0.0], 5.0),
        ([5], [0], [1.0, 1.0], math.inf),
        ([0], [1], [0.0], 0.0),
        ([0, 4], [1, 1], [0.5, 0.0], 0.0),
        ([0, 0, 0], [0, 0, 0], [1.0], math.inf),
        ([3, 3, 3], [1, 1, 1], [1.0, 0.0], 3.0),
    ],
)
def test_small_and_odd_samples(t: list[float], e: list[float], survival: list[float], median: float) -> None:
    curve = kaplan_meier(t, e)
    assert curve.survival.tolist() == survival
    assert curve.median()[0] == pytest.approx(median, nan_ok=True)


@pytest.mark.parametrize(
    ("t", "e", "w", "match"),
    [
        ([-1], [1], None, "not negative"),
        ([math.nan], [1], None, "finite"),
        ([1], [2], None, "neither 0 nor 1"),
        ([1, 2], [1], None, "one length"),
        ([1], [1], [2], "cannot leave before"),
    ],
)
def test_what_is_refused(t: list[float], e: list[float], w: list[float] | None, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        kaplan_meier(t, e, w)


# log-rank and Cox


@quiet
def test_log_rank_is_that_of_lifelines() -> None:
    d = cells()
    two = d["g"] < 2
    found = log_rank(d["t"][two], d["e"][two], d["g"][two])
    a, b = (two & (d["g"] == g) for g in (0, 1))
    assert found.statistic == pytest.approx(logrank_test(d["t"][a], d["t"][b], d["e"][a], d["e"][b]).test_statistic)
    peer = multivariate_logrank_test(d["t"], d["g"], d["e"])
    found = log_rank(d["t"], d["e"], d["g"])
    assert (found.statistic, found.df, found.p) == pytest.approx((peer.test_statistic, 2, peer.p_value))


@quiet
@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("extra", [None, "entry_col", "strata"])
def test_cox_is_that_of_lifelines(ties: bool, extra: str | None) -> None:
    d = cells(ties=ties)
    frame = pd.DataFrame(d)
    column = {None: None, "entry_col": "w", "strata": "r"}[extra]
    peer = CoxPHFitter().fit(frame[["t", "e", "g", "x", *([column] if column else [])]], "t", "e",
                             **({extra: column} if extra else {}))  # fmt: skip
    mine = cox(d["t"], d["e"], np.stack([d["g"], d["x"]], axis=1), entry=d["w"] if extra == "entry_col" else None,
               stratum=d["r"] if extra == "strata" else None)  # fmt: skip
    assert mine.log_hazard_ratio == pytest.approx(peer.params_.to_numpy(), abs=1e-6)
    assert mine.standard_error == pytest.approx(peer.standard_errors_.to_numpy(), abs=1e-6)
    assert mine.log_likelihood == pytest.approx(peer.log_likelihood_)


@quiet
def test_the_sandwich_over_replicates_is_that_of_lifelines() -> None:
    d = cells(ties=False)  # with ties lifelines leaves Efron's terms out of its residuals
    peer = CoxPHFitter().fit(pd.DataFrame(d)[["t", "e", "g", "x", "r"]], "t", "e", cluster_col="r")
    mine = cox(d["t"], d["e"], np.stack([d["g"], d["x"]], axis=1), cluster=d["r"], small_sample=False)
    assert mine.standard_error == pytest.approx(peer.standard_errors_.to_numpy(), rel=1e-5)
    assert mine.clusters == 8


def test_score_residuals_with_ties_are_the_slopes_of_the_gradient() -> None:
    """Removing a little of one cell's weight moves the estimate by its residual (infinitesimal jackknife)."""
    d = cells(60)
    fit = cox(d["t"], d["e"], d["x"], cluster=np.arange(60), small_sample=False)
    moved = []
    for i in range(60):
        many = np.concatenate([np.repeat(np.arange(60), 40), np.delete(np.arange(60), i)])
        whole = np.repeat(np.arange(60), 41)
        moved.append((many, whole))
    changes = [
        cox(d["t"][a], d["e"][a], d["x"][a]).log_hazard_ratio[0]
        - cox(d["t"][b], d["e"][b], d["x"][b]).log_hazard_ratio[0]
        for a, b in moved[:12]
    ]
    # forty copies of each cell: Efron's correction within the copies differs a little from that of the sample
    from kinocyte.statistics._partial_likelihood import score_residuals, strata

    inf = np.full(60, -np.inf)
    s = next(strata(d["x"][:, None] - d["x"].mean(), d["t"], d["e"], inf, np.zeros(60, int), efron=True))
    residuals = score_residuals(s, fit.log_hazard_ratio)[:, 0]
    information = 1 / cox(d["t"], d["e"], d["x"]).covariance[0, 0]
    assert abs(residuals.sum()) < 1e-6
    assert -np.array(changes) * 41 == pytest.approx(residuals[:12] / information, abs=0.02)


def test_replicates_make_the_variance_not_cells() -> None:
    d = cells(300, ties=False)
    once = cox(d["t"], d["e"], d["g"], cluster=d["r"])
    many = cox(np.tile(d["t"], 20), np.tile(d["e"], 20), np.tile(d["g"], 20), cluster=np.tile(d["r"], 20))
    assert many.standard_error == pytest.approx(once.standard_error, rel=0.05)
    naive = cox(np.tile(d["t"], 20), np.tile(d["e"], 20), np.tile(d["g"], 20))
    assert naive.standard_error[0] < once.standard_error[0] / 3
    a = log_rank_of_replicates(d["t"], d["e"], d["g"] > 0, d["r"], stratified=True)
    b = log_rank_of_replicates(*(np.tile(v, 20) for v in (d["t"], d["e"], d["g"] > 0, d["r"])), stratified=True)
    assert b.p == pytest.approx(a.p, rel=0.2)


def test_no_hazard_ratio_where_there_is_none() -> None:
    with pytest.raises(ParameterError, match="there are none"):
        cox([1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 1, 1])
    with pytest.raises(ParameterError, match="infinite or zero"):
        cox([3, 4, 1, 2], [0, 0, 1, 1], [0, 0, 1, 1])
    with pytest.raises(ParameterError, match="too few"):
        cox([1, 2, 3, 4], [1, 1, 1, 1], [0, 1, 0, 1], cluster=[1, 1, 2, 2])


# competing risks and hazards


@quiet
def test_cumulative_incidence_is_that_of_lifelines() -> None:
    rng = np.random.default_rng(5)
    t, kind = rng.exponential(20, 300), rng.integers(0, 3, 300)
    peer = AalenJohansenFitter(calculate_variance=True).fit(t, kind, event_of_interest=1)
    mine = cumulative_incidence(t, kind == 1, kind == 2)
    theirs = peer.cumulative_density_
    place = np.searchsorted(mine.time, theirs.index.to_numpy(), side="right") - 1
    assert np.abs(mine.incidence[place] - theirs.to_numpy()[:, 0]).max() < 1e-12
    early = place < len(mine.time) * 0.9
    # lifelines leaves the last cells' variance infinite; its variance is the Aalen form of the same sum
    spread = np.sqrt(np.asarray(peer.variance_)).ravel()
    assert mine.standard_error[place][early] == pytest.approx(spread[early], rel=0.05, abs=1e-4)


def test_one_kind_of_event_gives_one_minus_kaplan_meier() -> None:
    d = cells()
    curve = kaplan_meier(d["t"], d["e"], d["w"])
    share = cumulative_incidence(d["t"], d["e"], np.zeros(400), d["w"])
    assert np.abs(share.incidence - (1 - curve.survival)).max() < 1e-12
    known = curve.survival > 0  # when the last cell is gone the variance of the logarithm is infinite
    greenwood = curve.survival[known] * np.sqrt(curve.cumulative_variance[known])
    assert share.standard_error[known] == pytest.approx(greenwood, abs=1e-9)
    assert share.low[known] == pytest.approx(1 - curve.high[known], abs=1e-9)


def test_incidences_of_all_kinds_and_survival_sum_to_one() -> None:
    rng = np.random.default_rng(1)
    t, kind = np.ceil(rng.exponential(20, 200)), rng.integers(0, 3, 200)
    one, two = (cumulative_incidence(t, kind == a, kind == b).incidence for a, b in ((1, 2), (2, 1)))
    assert np.abs(one + two + kaplan_meier(t, kind > 0).survival - 1).max() < 1e-12


def test_piecewise_hazard_is_events_over_exposure() -> None:
    found = piecewise_hazard([1, 2, 3, 10], [1, 0, 1, 0], [0, 2, 6], entry=[0, 0, 1, 4])
    assert found["exposure"].to_list() == [1 + 2 + 1, 1 + 2]
    assert found["events"].to_list() == [1, 1]
    assert found["hazard"].to_list() == pytest.approx([1 / 4, 1 / 3])
    # exact Poisson interval of one event: 0.0253 to 5.572
    assert found.row(0)[-2:] == pytest.approx((0.025318 / 4, 5.571643 / 4), rel=1e-5)
    assert piecewise_hazard([1], [0], [0, 5, 9])["hazard"].to_list() == [0.0, None]


def test_kernel_hazard_of_a_constant_and_of_a_rising_hazard() -> None:
    rng = np.random.default_rng(0)
    at = np.linspace(0, 20, 21)
    flat = kernel_hazard(*_until(rng.exponential(20, 15_000), 20), at, bandwidth=3)
    assert flat["hazard"].to_numpy() == pytest.approx(np.full(21, 0.05), rel=0.15)
    rising = kernel_hazard(*_until(20 * rng.weibull(2, 15_000), 20), at[2:-2], bandwidth=2)
    assert rising["hazard"].to_numpy() == pytest.approx(2 * at[2:-2] / 400, rel=0.15)
    assert (flat["low"] < flat["hazard"]).all()
    assert kernel_hazard([], [], [1.0])["hazard"].to_list() == [None]


def _until(t: Floats, end: float) -> tuple[Floats, Floats]:
    return np.minimum(t, end), (t <= end).astype(float)


# tables


def lives(n: int = 240, seed: int = 0, replicates: int = 3) -> pl.DataFrame:
    d = cells(n, seed)
    return pl.DataFrame({
        "duration_min": d["t"], "observed": d["e"] == 1, "dose": np.array([0.0, 1.0, 10.0])[d["g"].astype(int)],
        "replicate": [f"day {i % replicates}" for i in range(n)], "position": [f"p{i % 9}" for i in range(n)],
    })  # fmt: skip


def test_each_result_names_its_sample_and_its_test() -> None:
    found = Survival(event="death", by="dose").compare(lives())
    assert found.groups["group"].to_list() == [0.0, 1.0, 10.0]
    assert found.groups["n_cells"].sum() == 240
    assert found.groups["n_replicates"].to_list() == [3, 3, 3]
    assert found.groups["n_positions"].to_list() == [9, 9, 9]
    assert found.points.height == 9
    for row in found.tests.iter_rows(named=True):
        assert row["test"] in row["sentence"]
        assert f"{row['n_cells']} cells, 9 positions, 3 replicates" in row["sentence"]
    over = found.tests.filter(pl.col("level") == "replicates")
    assert over.height == 9
    assert over["p"].null_count() == 0
    assert (over["p_corrected"] >= over["p"]).all()


def test_naming_replicates_leaves_no_p_value_to_cells() -> None:
    found = compare_survival(lives(), duration="duration_min", event="observed", by="dose", replicate="replicate")
    over_cells = found.tests.filter(pl.col("level") == "cells")
    assert over_cells["p"].null_count() == over_cells.height > 0
    assert over_cells["statistic"].null_count() == 0
    without = compare_survival(lives(), duration="duration_min", event="observed", by="dose")
    assert without.tests["p"].null_count() == 0
    assert any("No replicates are named" in n for n in without.notes)


def test_a_group_with_one_replicate_is_not_tested() -> None:
    table = lives().filter((pl.col("dose") > 0) | (pl.col("replicate") == "day 0"))
    found = Survival(event="death", by="dose", reference=0).compare(table)
    assert found.tests["p"].null_count() == found.tests.height
    reasons = found.tests.filter(pl.col("level") == "replicates")["refused"]
    assert all("'0.0' has one replicate (day 0)" in r for r in reasons)
    assert found.groups["restricted_mean_low"].to_list()[0] is None


def test_the_replicate_test_is_the_paired_t_test_on_restricted_means() -> None:
    from scipy.stats import ttest_ind, ttest_rel

    table = lives().filter(pl.col("dose") < 5)
    for pairing, test in (("paired", ttest_rel), ("unpaired", lambda b, a: ttest_ind(b, a, equal_var=False))):
        found = Survival(event="death", by="dose", pairing=pairing, restricted_at_min=15).compare(table)
        a, b = (found.points.filter(pl.col("group") == g)["restricted_mean"].to_numpy() for g in (0.0, 1.0))
        row = found.tests.filter(pl.col("test").str.contains("t-test")).row(0, named=True)
        assert row["p"] == pytest.approx(test(b, a).pvalue)
        assert row["effect_value"] == pytest.approx(b.mean() - a.mean())


@pytest.mark.parametrize("kind", ["bool", "number", "classes", "text"])
def test_events_may_be_written_in_many_ways(kind: str) -> None:
    table = lives()
    seen = table["observed"]
    ways = {
        "bool": seen, "number": seen.cast(pl.Int8), "text": seen.cast(pl.String),
        "classes": seen.replace_strict({True: "event", False: "none"}, return_dtype=pl.String),
    }  # fmt: skip
    found = compare_survival(table.with_columns(ways[kind].alias("e")), duration="duration_min", event="e", by="dose")
    plain = compare_survival(table, duration="duration_min", event="observed", by="dose")
    assert found.groups.equals(plain.groups)


def test_left_censored_and_excluded_cells_are_left_out_and_named() -> None:
    table = pl.DataFrame({"t": [1.0, 2, 3, 4], "e": ["event", "censored_left", "excluded", "none"], "g": ["a"] * 4})
    found = compare_survival(table, duration="t", event="e", by="g")
    assert found.groups["n_cells"].to_list() == [2]
    assert len([n for n in found.notes if "left out" in n]) == 2
    with pytest.raises(TableError, match="holds 'dead'"):
        compare_survival(table.with_columns(e=pl.lit("dead")), duration="t", event="e", by="g")


def test_tables_that_say_nothing() -> None:
    table = lives(60)
    ask = {"duration": "duration_min", "event": "observed", "by": "dose", "replicate": "replicate"}
    empty = compare_survival(table.head(0), **ask)
    assert (empty.groups.height, empty.tests.height, empty.curves.height) == (0, 0, 0)
    blank = compare_survival(table.with_columns(duration_min=pl.lit(math.nan)), **ask)
    assert blank.groups.height == 0
    assert "60 of 60 rows have no duration_min" in blank.notes[0]
    one = compare_survival(table.head(1), **ask)
    assert one.groups["n_cells"].to_list() == [1]
    none = compare_survival(table.with_columns(observed=pl.lit(value=False)), **ask)
    assert none.groups["median"].null_count() == 3
    assert none.tests["p"].null_count() == none.tests.height
    assert none.tests["refused"].null_count() == 0
    for replicate in (None, "replicate"):
        zero = compare_survival(table.with_columns(duration_min=pl.lit(0.0)), **{**ask, "replicate": replicate})
        assert zero.groups["n_cells"].sum() == 60


def test_wrong_names_are_met_with_the_nearest() -> None:
    with pytest.raises(TableError, match="lacks the column 'dos'; did you mean 'dose'"):
        compare_survival(lives(), duration="duration_min", event="observed", by="dos")
    with pytest.raises(ParameterError, match="no group '7'"):
        compare_survival(lives(), duration="duration_min", event="observed", by="dose", reference=7)
    with pytest.raises(TableError, match="must hold numbers"):
        compare_survival(lives(), duration="position", event="observed", by="dose")


def tracks_and_events() -> tuple[pl.DataFrame, pl.DataFrame]:
    tracks = pl.DataFrame({
        "well": ["A1"] * 6, "position": ["1", "1", "1", "1", "2", "2"], "track_id": [1, 2, 3, 4, 1, 2],
        "first_time_min": [0.0, 0, 15, 0, 0, 0], "last_time_min": [60.0, 10, 60, 60, 60, 60],
        "dose": [0, 0, 0, 1, 1, 1],
    })  # fmt: skip
    events = pl.DataFrame({
        "well": ["A1"] * 9, "position": ["1", "1", "1", "1", "2", "2", "1", "1", "2"],
        "track_id": [1, 2, 3, 4, 1, 2, 1, 3, 2], "event": ["death"] * 6 + ["contact"] * 3,
        "class": ["event", "none", "event", "censored_left", "event", "excluded", "event", "none", "event"],
        "time_min": [30.0, None, 45, None, 20, None, 12, None, 5],
    })  # fmt: skip
    return tracks, events


def test_durations_from_tracks_and_events() -> None:
    table = survival_table(*tracks_and_events(), "death")
    assert table.select("position", "track_id", "duration_min", "observed", "entry_min").rows() == [
        ("1", 1, 30.0, True, 0.0),
        ("1", 2, 10.0, False, 0.0),  # lost at 10: censored at 10, not at the end of the movie
        ("1", 3, 45.0, True, 15.0),  # comes late
        ("2", 1, 20.0, True, 0.0),  # the same track_id in another position
    ]
    assert "dose" in table.columns
    since = survival_table(*tracks_and_events(), "death", since="contact")
    assert since.select("track_id", "duration_min", "observed", "entry_min").rows() == [(1, 18.0, True, 0.0)]
    with pytest.raises(TableError, match="no event 'deth'; did you mean 'death'"):
        survival_table(*tracks_and_events(), "deth")
    twice = pl.concat([tracks_and_events()[1]] * 2)
    with pytest.raises(TableError, match="stands twice"):
        survival_table(tracks_and_events()[0], twice, "death")


def test_the_first_of_two_events_counts() -> None:
    tracks, events = tracks_and_events()
    table = survival_table(tracks, events, "death", competing="contact")
    assert table.select("duration_min", "cause").rows()[:2] == [(12.0, "contact"), (10.0, None)]


def test_competing_risks_of_groups() -> None:
    rng = np.random.default_rng(0)
    n = 1200
    dose = rng.integers(0, 2, n)
    a, b = rng.exponential(30 / (1 + dose)), rng.exponential(60, n)
    t = np.minimum(np.minimum(a, b), 50)
    cause = np.where(t == 50, None, np.where(a < b, "death", "division"))
    table = pl.DataFrame({"duration_min": t, "cause": cause.tolist(), "dose": dose,
                          "replicate": rng.integers(0, 4, n)})  # fmt: skip
    method = CompetingRisks(event="death", competing="division", by="dose", position=None, incidence_at_min=40)
    found = method.compare(table)
    truth = [k / (k + 1 / 60) * (1 - math.exp(-40 * (k + 1 / 60))) for k in (1 / 30, 2 / 30)]
    assert found.groups["incidence"].to_list() == pytest.approx(truth, abs=0.05)
    assert (found.groups["events"] + found.groups["competing"] + found.groups["censored"]).sum() == n
    ratio = found.tests.filter(pl.col("effect") == "hazard ratio").row(0, named=True)
    assert ratio["effect_low"] < 2 < ratio["effect_high"]
    assert ratio["test"] == "cause-specific Cox regression over replicates"
    empty = compare_incidence(table.head(0), duration="duration_min", cause="cause", event="death", by="dose")
    assert empty.groups.height == 0


def test_usual_columns_may_be_missing_and_named_ones_may_not() -> None:
    table = lives().drop("replicate", "position")
    found = Survival(event="death", by="dose").compare(table)
    assert found.groups["n_replicates"].null_count() == 3
    assert any("No replicates are named" in n for n in found.notes)
    with pytest.raises(TableError, match="lacks the column 'replicate'"):
        Survival(event="death", by="dose", replicate="replicate").compare(table)
    assert Survival(event="death", by="dose", replicate="").compare(lives()).groups["n_replicates"].null_count() == 3


def test_the_variance_of_replicates_is_that_of_welch_and_holds_for_unequal_sizes() -> None:
    from scipy.stats import ttest_ind

    from kinocyte.statistics.clusters import variance_of_total

    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 4), rng.normal(1, 2, 6)
    # each group's mean is the sum of its replicates' shares of it, which are as large as the replicates
    sums, size = np.concatenate([-a / 4, b / 6]), np.repeat([1 / 4, 1 / 6], [4, 6])
    variance, df = variance_of_total(sums, size, np.repeat([0, 1], [4, 6]))
    peer = ttest_ind(b, a, equal_var=False)
    assert sums.sum() / math.sqrt(variance) == pytest.approx(peer.statistic)
    assert df == pytest.approx(peer.df)
    assert variance_of_total(np.ones(2), np.ones(2), np.array([0, 1]))[0] == 0
    # unequal sizes: without bias over many draws of replicates with a common mean
    n = np.array([1.0, 2, 3, 10])
    draws = n * (5 + rng.normal(0, 1, (20_000, 4)))
    found = [variance_of_total(d, n, np.zeros(4, int))[0] for d in draws[:4000]]
    assert np.mean(found) == pytest.approx(draws.sum(axis=1).var(), rel=0.05)


def test_medians_of_durations_known_to_a_frame_hold_the_truth() -> None:
    """Times in steps of the frames crowd the bounds of a median; 79 % of such intervals held it, 95 % are meant."""
    rng = np.random.default_rng(0)
    truth, held = 0.6 + 0.83 * np.log(2), 0
    for _ in range(400):
        ends = 0.6 + rng.exponential(0.83, 54) + (begin := rng.uniform(0, 0.3, 54))
        seen = (np.floor(ends / 0.3) - np.floor(begin / 0.3)) * 0.3
        _, low, high = kaplan_meier(seen, np.ones(54)).median(resolution=np.sqrt(2) * 0.3)
        held += bool(low <= truth <= high)
    assert 0.92 <= held / 400 <= 0.985


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=30), st.floats(0.01, 5))
def test_a_resolution_moves_a_median_by_no_more_than_its_half(times: list[float], resolution: float) -> None:
    curve = kaplan_meier(times, np.ones(len(times)))
    for exact, fine in zip(curve.median(), curve.median(resolution=resolution), strict=True):
        if np.isfinite(exact):
            assert abs(fine - exact) <= 0.5 * resolution + 1e-6


def test_means_are_restricted_to_what_all_replicates_are_known_to() -> None:
    table = pl.DataFrame({
        "t": [5.0, 9.0, 20.0, 6.0, 8.0, 12.0, 4.0, 7.0, 18.0, 5.0, 9.0, 19.0],
        "e": [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0],
        "g": ["a"] * 6 + ["b"] * 6, "r": [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4],
    })  # fmt: skip
    found = compare_survival(table, duration="t", event="e", by="g", replicate="r")
    assert found.groups["restricted_to"].to_list() == [12.0, 12.0]
    assert found.points["restricted_mean"].null_count() == 0
    assert any("restricted to 12" in note and "'2' of 'a'" in note for note in found.notes)
    assert (found.groups["restricted_mean_low"] >= 0).all()
    assert (found.groups["restricted_mean_high"] <= 12).all()


def test_waits_between_peaks_are_not_shortened_by_the_end_of_the_movie() -> None:
    """Waits of 30 +- 8 min in movies of 60: those that end in sight last 28 on average, the curve's median is right."""
    from kinocyte.statistics import waiting_table

    rng = np.random.default_rng(3)
    n = 1500
    at = rng.uniform(0, 30, n)[:, None] + np.cumsum(np.clip(rng.normal(30, 8, (n, 4)), 5, None), axis=1) - 30
    track, k = np.nonzero((at >= 0) & (at <= 60))
    episodes = pl.DataFrame({"track_id": track, "event": "red", "time_min": at[track, k]})
    tracks = pl.DataFrame({"track_id": np.arange(n), "first_time_min": 0.0, "last_time_min": 60.0, "drug": "a"})
    table = waiting_table(tracks, episodes, "red")
    assert table.height == episodes.height
    assert table.filter(~pl.col("observed")).height == episodes["track_id"].n_unique()
    seen = table.filter("observed")["duration_min"]
    assert "duration_se_min" not in table.columns
    known = waiting_table(tracks, episodes.with_columns(time_se_min=3.0), "red")["duration_se_min"]
    assert known.drop_nulls().to_list() == pytest.approx([3 * math.sqrt(2)] * seen.len())
    curve = kaplan_meier(table["duration_min"], table["observed"])
    assert seen.mean() < 29
    assert abs(curve.median()[0] - 30) < 0.7
    with pytest.raises(TableError, match="count from one to the next with peaks only"):
        waiting_table(tracks, episodes, "green")
