"""Hazard over time and the additive test, between groups."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import poisson, ttest_1samp

from kinocyte.core.errors import ParameterError
from kinocyte.statistics import Additive, Hazard, cliffs_delta, compare_additive, compare_hazard


@pytest.fixture(scope="module")
def lives() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    n = 600
    group = rng.integers(0, 2, n)
    t, end = rng.exponential(40 / (1 + group)), np.minimum(rng.exponential(120, n), 60)
    return pl.DataFrame({"t": np.minimum(t, end), "e": t <= end, "g": group, "r": rng.integers(0, 4, n)})


def test_the_rate_is_events_over_time_with_its_exact_interval(lives: pl.DataFrame) -> None:
    found = compare_hazard(lives, duration="t", event="e", by="g")
    for row in found.groups.iter_rows(named=True):
        own = lives.filter(pl.col("g") == row["group"])
        assert row["rate"] == pytest.approx(own["e"].sum() / own["t"].sum())
        # Garwood: at its ends the count that was seen is as rare as 2.5 %
        events, exposure = int(own["e"].sum()), float(own["t"].sum())
        assert poisson.sf(events - 1, row["rate_low"] * exposure) == pytest.approx(0.025, rel=1e-6)
        assert poisson.cdf(events, row["rate_high"] * exposure) == pytest.approx(0.025, rel=1e-6)
    steps = found.details.group_by("group").agg(pl.col("events").sum(), pl.col("exposure").sum()).sort("group")
    assert steps["events"].to_list() == found.groups["events"].to_list()
    assert steps["exposure"].to_list() == pytest.approx(found.groups["exposure"].to_list())
    assert found.curves.filter(pl.col("time") < 40)["hazard"].drop_nulls().len() > 100


def test_replicates_are_the_sample_of_rates_and_tests(lives: pl.DataFrame) -> None:
    found = Hazard(event="death", by="g", replicate="r").compare(lives.rename({"t": "duration_min", "e": "observed"}))
    assert found.groups["interval_over"].unique().to_list() == ["replicates"]
    rates = found.points.group_by("group").agg(pl.col("rate").min().alias("a"), pl.col("rate").max().alias("b"))
    both = found.groups.join(rates, on="group")
    assert ((both["rate"] >= both["a"]) & (both["rate"] <= both["b"])).all()
    tested = found.tests.filter(pl.col("p").is_not_null())
    assert set(tested["level"]) == {"replicates"}
    assert tested.filter(pl.col("effect") == "difference of rates").height == 1
    one = compare_hazard(lives.with_columns(r=pl.lit("only")), duration="t", event="e", by="g", replicate="r")
    assert one.tests["p"].null_count() == one.tests.height
    assert one.groups["rate_low"].null_count() == 2


def test_nobody_at_risk_and_no_events() -> None:
    nobody = pl.DataFrame(schema={"t": pl.Float64, "e": pl.Boolean, "g": pl.String})
    assert compare_hazard(nobody, duration="t", event="e", by="g").groups.height == 0
    quiet = pl.DataFrame({"t": [5.0, 6.0], "e": [False, False], "g": ["a", "b"]})
    found = compare_hazard(quiet, duration="t", event="e", by="g")
    assert found.groups["rate"].to_list() == [0.0, 0.0]
    assert found.tests["p"].null_count() == found.tests.height
    with pytest.raises(ParameterError, match="interval is -1"):
        compare_hazard(quiet, duration="t", event="e", by="g", interval=-1.0)


def cells(shift: float, replicates: int = 3) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    n, parts = 80, []
    for r in range(replicates):
        for name, values in (("free", rng.normal(1, 0.5, n)), ("control", rng.normal(2, 0.5, n)),
                             ("contact", rng.normal(3 + shift, np.hypot(0.5, 0.5), n))):  # fmt: skip
            parts.append(pl.DataFrame({"v": values, "g": name, "r": f"day {r}", "frame": np.arange(n) % 2}))
    return pl.concat(parts)


def test_a_sum_is_recognised_and_more_than_the_sum_too() -> None:
    kinds = {"value": "v", "by": "g", "observed": "contact", "first": "free", "second": "control", "replicate": "r"}
    for shift, differs in ((0.0, False), (1.5, True)):
        table = cells(shift)
        found = Additive(**kinds, size=20_000).compare(table)
        row = found.tests.row(0, named=True)
        deltas = found.points["cliffs_delta"]
        assert row["p"] == pytest.approx(ttest_1samp(deltas, 0).pvalue)
        assert (row["p"] < 0.05) == differs
        assert (row["effect_low"] > 0) == differs
        rng = np.random.default_rng(5)
        first, second = (table.filter(pl.col("g") == g)["v"].to_numpy() for g in ("free", "control"))
        drawn = rng.choice(first, 50_000) + rng.choice(second, 50_000)
        again = cliffs_delta(drawn, table.filter(pl.col("g") == "contact")["v"])
        assert found.effects["cliffs_delta"][0] == pytest.approx(again, abs=0.02)


def test_each_time_has_its_own_test_and_p_values_are_corrected_over_times() -> None:
    found = compare_additive(cells(1.5), value="v", by="g", observed="contact", first="free", second="control",
                             at="frame", replicate="r", size=5000)  # fmt: skip
    assert found.effects["at"].to_list() == [0.0, 1.0]
    p = sorted(found.tests["p"])
    least = min(1.0, 2 * p[0])
    assert sorted(found.tests["p_corrected"]) == pytest.approx([least, max(least, p[1])])  # Holm
    assert found.points.height == 6


def test_one_replicate_or_none_gives_an_effect_and_no_p_value() -> None:
    asked = {"value": "v", "by": "g", "observed": "contact", "first": "free", "second": "control", "size": 5000}
    for table, replicate in ((cells(1.0, 1), "r"), (cells(1.0), None)):
        row = compare_additive(table, **asked, replicate=replicate).tests.row(0, named=True)
        assert row["p"] is None
        assert row["refused"]
        assert row["effect_value"] > 0.3
    with pytest.raises(ParameterError, match="did you mean 'contact'"):
        compare_additive(cells(0.0), **{**asked, "observed": "contct"})
    with pytest.raises(ParameterError, match="three groups that differ"):
        compare_additive(cells(0.0), **{**asked, "first": "contact"})
