"""Signals aligned on events, and dose-response curves, against analytic values, scipy and simulations."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.statistics import AlignedSignal, DoseResponse, align_signal, compare_doses, fit_dose_response
from kinocyte.statistics.alignment import median_interval

# alignment


def signals(cells: int = 40, *, step: float = 3.0) -> pl.DataFrame:
    """Return signals that are 1 before the event and 1 + step after it; every cell has its own offset and event."""
    rng = np.random.default_rng(0)
    rows = []
    for c in range(cells):
        event = float(rng.integers(5, 15)) * 2
        t = np.arange(0, 50, 2.0)
        rows.append(pl.DataFrame({
            "position": [f"p{c % 4}"] * 25, "track_id": [c // 4] * 25, "time_min": t,
            "event_time_min": [event] * 25, "s": 1 + step * (t >= event) + rng.normal(0, 0.2, 25),
            "replicate": [c % 3] * 25, "dose": [c % 2] * 25,
        }))  # fmt: skip
    return pl.concat(rows)


ASK = {"signal": "s", "time": "time_min", "event_time": "event_time_min", "track": ["position", "track_id"]}


def test_the_step_stands_at_time_zero() -> None:
    found = align_signal(signals(), **ASK, by="dose", replicate="replicate", position="position")
    for g in (0, 1):
        curve = found.curves.filter(pl.col("group") == g)
        before, after = (curve.filter(c)["value"].to_numpy() for c in (pl.col("time") < 0, pl.col("time") >= 0))
        assert before == pytest.approx(np.ones(len(before)), abs=0.2)
        assert after == pytest.approx(np.full(len(after), 4.0), abs=0.2)
        assert (np.diff(curve["time"]) == 2).all()
    assert found.groups["n_cells"].to_list() == [20, 20]
    assert found.groups["n_replicates"].to_list() == [3, 3]
    assert found.tests.height == 0
    assert "no test" in found.notes[-1]


def test_intervals_are_those_of_t_over_cells_and_over_replicates() -> None:
    table = signals()
    found = align_signal(table, **ASK, replicate="replicate")
    row = found.curves.filter(pl.col("time") == 4).row(0, named=True)
    at = table.filter(pl.col("time_min") - pl.col("event_time_min") == 4)
    peer = stats.ttest_1samp(at["s"], 0).confidence_interval()
    assert (row["value"], row["low"], row["high"]) == pytest.approx((at["s"].mean(), peer.low, peer.high))
    means = at.group_by("replicate").agg(pl.col("s").mean())["s"]
    peer = stats.ttest_1samp(means, 0).confidence_interval()
    assert (row["replicate_value"], row["replicate_low"], row["replicate_high"]) == pytest.approx(
        (means.mean(), peer.low, peer.high)
    )
    assert (row["n_cells"], row["n_replicates"]) == (40, 3)


def test_times_with_few_cells_are_left_out() -> None:
    found = align_signal(signals(), **ASK, min_cells=40)
    assert found.curves["n_cells"].to_list() == [40] * found.curves.height
    assert align_signal(signals(3), **ASK, min_cells=5).curves.height == 0


def test_tracks_start_anywhere_lack_frames_and_repeat_their_numbers() -> None:
    table = signals().filter((pl.col("track_id") % 2 == 0) | (pl.col("time_min") > 12))
    table = table.sample(fraction=0.7, seed=1)
    found = align_signal(table, **ASK, before=10, after=10)
    assert found.curves["time"].to_list() == [float(t) for t in range(-10, 11, 2)]
    assert found.groups["n_cells"].to_list() == [40]
    with pytest.raises(TableError, match="several values of 'event_time_min'"):
        align_signal(table, **{**ASK, "track": ["track_id"]})


def test_several_frames_of_a_cell_in_one_bin_count_once() -> None:
    table = pl.DataFrame({"c": [1, 1, 1, 2], "t": [0.0, 0.1, 0.2, 0.0], "e": [0.0] * 4, "s": [0.0, 0, 0, 4]})
    found = align_signal(table, signal="s", time="t", event_time="e", track=["c"], bin_width=1, min_cells=1)
    assert found.curves.select("time", "n_cells", "value").rows() == [(0.0, 2, 2.0)]


def test_cells_without_event_and_empty_tables() -> None:
    table = signals().with_columns(
        event_time_min=pl.when(pl.col("track_id") == 0).then(None).otherwise("event_time_min")
    )
    found = AlignedSignal(signal="s", event="death", track=("position", "track_id"), by="dose").compare(table)
    assert "4 cells have no event time" in found.notes[0]
    assert found.groups["n_cells"].sum() == 36
    nothing = table.with_columns(event_time_min=pl.lit(None, pl.Float64))
    assert align_signal(nothing, **ASK).curves.height == 0
    assert align_signal(table.head(0), **ASK).groups.height == 0
    assert align_signal(table.with_columns(s=pl.lit(math.nan)), **ASK).curves.height == 0
    with pytest.raises(ParameterError, match="bin_width is 0"):
        align_signal(table, **ASK, bin_width=0)
    with pytest.raises(TableError, match="did you mean 's'"):
        align_signal(table, **{**ASK, "signal": "ss"})


@given(st.integers(1, 40), st.sampled_from([0.9, 0.95]))
def test_the_interval_of_the_median_keeps_its_promise(n: int, confidence: float) -> None:
    median, low, high = median_interval(np.arange(1.0, n + 1), confidence)
    assert median == (n + 1) / 2
    if math.isnan(low):
        assert 1 - 2 * 0.5**n < confidence, "even the whole range does not reach the confidence"
        return
    below = int(low) - 1
    inside = stats.binom.cdf(n - below - 1, n, 0.5) - stats.binom.cdf(below, n, 0.5)
    assert inside >= confidence - 1e-12
    assert low + high == n + 1


# doses


def response(dose: np.ndarray, ec50: float, hill: float, zero: float, full: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return zero + (full - zero) / (1 + (ec50 / dose) ** hill)


DOSES = np.repeat([0, 0.3, 1, 3, 10, 30, 100, 300.0], 3)


@settings(max_examples=20, deadline=None)
@given(st.floats(1, 80), st.floats(0.6, 3), st.floats(-5, 5), st.sampled_from([-4.0, 2.0, 900.0]))
def test_a_curve_without_noise_is_found(ec50: float, hill: float, zero: float, rise: float) -> None:
    fit = fit_dose_response(DOSES, response(DOSES, ec50, hill, zero, zero + rise))
    assert fit.ec50 == pytest.approx(ec50, rel=1e-3)
    assert fit.hill == pytest.approx(hill, rel=1e-3)
    assert (fit.at_zero, fit.at_infinity) == pytest.approx((zero, zero + rise), abs=abs(rise) * 1e-3)


def test_the_fit_and_its_interval_against_scipy() -> None:
    rng = np.random.default_rng(0)
    y = response(DOSES, 12, 1.3, 2, 10) + rng.normal(0, 0.4, len(DOSES))
    fit = fit_dose_response(DOSES, y)

    def curve(x: np.ndarray, log_ec50: float, hill: float, zero: float, full: float) -> np.ndarray:
        return response(x, math.exp(log_ec50), hill, zero, full)

    best, covariance = optimize.curve_fit(curve, DOSES, y, p0=[2, 1, 2, 10])
    assert fit.ec50 == pytest.approx(math.exp(best[0]), rel=1e-4)
    assert fit.residual_sd == pytest.approx(math.sqrt(np.sum((y - curve(DOSES, *best)) ** 2) / 20), rel=1e-6)
    reach = stats.t.ppf(0.975, 20) * math.sqrt(covariance[0, 0])
    # the profile is not symmetric, but near the linear interval with little noise
    assert math.log(fit.ec50_high / fit.ec50_low) == pytest.approx(2 * reach, rel=0.1)
    least = 20 * fit.residual_sd**2
    for bound in (fit.ec50_low, fit.ec50_high):
        others, _ = optimize.curve_fit(
            lambda x, h, a, b, at=bound: curve(x, math.log(at), h, a, b), DOSES, y, [1, 2, 10]
        )
        rest = np.sum((y - curve(DOSES, math.log(bound), *others)) ** 2)
        assert rest == pytest.approx(least * (1 + stats.f.ppf(0.95, 1, 20) / 20), rel=1e-4)
    assert fit.predict([0, 12, 1e9]) == pytest.approx(curve(np.array([0, 12, 1e9]), *best), rel=1e-4)
    assert fit.p_no_effect < 1e-10


def test_doses_that_do_not_bound_an_ec50_give_no_bound() -> None:
    rng = np.random.default_rng(1)
    dose = np.repeat([0, 1, 2, 4, 8.0], 4)
    fit = fit_dose_response(dose, response(dose, 200, 1, 0, 50) + rng.normal(0, 0.5, 20))
    assert fit.ec50_high == math.inf
    flat = fit_dose_response(dose, rng.normal(5, 1, 20))
    assert flat.p_no_effect > 0.05
    table = pl.DataFrame({"d": dose, "v": response(dose, 200, 1, 0, 50) + rng.normal(0, 0.5, 20)})
    found = compare_doses(table, dose="d", value="v")
    assert found.groups["ec50_high"].to_list() == [None]
    assert any("do not bound" in n for n in found.notes)


def drugs(replicates: int = 3) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for drug, ec50 in (("a", 5.0), ("b", 40.0)):
        for r in range(replicates):
            for d in (0, 1, 3, 10, 30, 100, 300.0):
                v = response(np.array(d), ec50, 1.2, 10, 2) + rng.normal(0, 0.3) + rng.normal(0, 2, 20)
                rows.append(pl.DataFrame({"drug": [drug] * 20, "replicate": [r] * 20, "dose": [float(d)] * 20, "v": v}))
    return pl.concat(rows)


def test_curves_of_groups_and_the_ratio_of_their_ec50() -> None:
    found = DoseResponse(dose="dose", value="v", by="drug", position=None).compare(drugs())
    rows = {r["group"]: r for r in found.groups.iter_rows(named=True)}
    for drug, ec50 in (("a", 5.0), ("b", 40.0)):
        assert rows[drug]["ec50_low"] < ec50 < rows[drug]["ec50_high"]
        assert rows[drug]["hill"] < 0, "it falls"
        assert rows[drug]["bottom"] == pytest.approx(2, abs=1.2)
        assert rows[drug]["top"] == pytest.approx(10, abs=1)
        assert (rows[drug]["n_points"], rows[drug]["n_doses"], rows[drug]["n_replicates"]) == (21, 7, 3)
    ratio = found.tests.filter(pl.col("effect") == "ratio of EC50").row(0, named=True)
    assert ratio["effect_low"] < 8 < ratio["effect_high"]
    assert ratio["p"] < 1e-4
    assert "840 cells" in ratio["sentence"]
    assert found.curves.filter(pl.col("group") == "a")["dose"].min() == 0


def test_one_replicate_is_not_tested_and_few_doses_not_fitted() -> None:
    found = DoseResponse(dose="dose", value="v", by="drug", position=None).compare(drugs(1))
    assert found.groups["ec50"].null_count() == 0
    assert found.tests["p"].null_count() == found.tests.height
    assert all("one replicate" in s for s in found.tests["sentence"])
    few = compare_doses(drugs().filter(pl.col("dose") < 5), dose="dose", value="v", by="drug", replicate="replicate")
    assert all("too few" in r for r in few.groups["refused"])
    assert few.groups["ec50"].null_count() == 2
    assert compare_doses(drugs().head(0), dose="dose", value="v", by="drug").groups.height == 0
    blank = compare_doses(drugs().with_columns(v=pl.lit(math.nan)), dose="dose", value="v")
    assert blank.groups.height == 0
    with pytest.raises(TableError, match="doses are not negative"):
        compare_doses(drugs().with_columns(-pl.col("dose")), dose="dose", value="v")
    for dose, value, match in (
        ([0, 1, 2, 3, 4], [1.0] * 5, "All responses are equal"),
        ([-1.0] * 5, [1.0] * 5, "negative"),
    ):
        with pytest.raises(ParameterError, match=match):
            fit_dose_response(dose, value)
