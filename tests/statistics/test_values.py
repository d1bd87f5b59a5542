"""Effects, tests over replicates, mixed model, corrections, against scipy, statsmodels and analytic values."""

from __future__ import annotations

import math
import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.statistics import (
    Values,
    additive_test,
    adjust,
    cliffs_delta,
    cohens_d,
    compare_values,
    effect_sizes,
    hedges_g,
    mixed_model,
    monte_carlo_sum,
)
from kinocyte.statistics.effects import MOST_DRAWN, cliffs_name, cohens_name

quiet = pytest.mark.filterwarnings("ignore")  # the peers' own warnings


def cells(seed: int = 0, *, groups: int = 2, replicates: int = 4, step: float = 0.5) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for r in range(replicates):
        day = rng.normal(0, 0.6)
        for g in range(groups):
            n = int(rng.integers(20, 50))
            v = rng.normal(day + rng.normal(0, 0.3) + step * g, 1, n)
            rows.append(pl.DataFrame({"v": v, "g": [f"g{g}"] * n, "replicate": [r] * n, "well": [f"{g}{r}"] * n}))
    return pl.concat(rows)


# corrections


@pytest.mark.parametrize(
    ("ours", "peer"), [("holm", "holm"), ("benjamini_hochberg", "fdr_bh"), ("bonferroni", "bonferroni")]
)
@quiet
def test_corrections_are_those_of_statsmodels(ours: str, peer: str) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).uniform(0, 0.2, 12)
    assert adjust(p.tolist(), ours) == pytest.approx(multitest.multipletests(p, method=peer)[1])  # type: ignore[arg-type]


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=12))
def test_properties_of_corrections(p: list[float | None]) -> None:
    for method in ("holm", "benjamini_hochberg", "bonferroni", "none"):
        found = adjust(p, method)
        for before, after in zip(p, found, strict=True):
            assert (before is None) == (after is None)
            assert before is None or (after is not None and before - 1e-15 <= after <= 1)


# effect sizes


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_cliffs_delta_counts_pairs(a: list[int], b: list[int]) -> None:
    pairs = [(y > x) - (y < x) for x in a for y in b]
    assert cliffs_delta(a, b) == pytest.approx(sum(pairs) / len(pairs))
    assert cliffs_delta(b, a) == pytest.approx(-cliffs_delta(a, b))
    u = stats.mannwhitneyu(b, a, method="asymptotic").statistic if len(set(a + b)) > 1 else len(a) * len(b) / 2
    assert cliffs_delta(a, b) == pytest.approx(2 * u / (len(a) * len(b)) - 1)


def test_names_of_effects_change_at_their_bounds() -> None:
    assert [cliffs_name(d) for d in (0.146, -0.147, 0.33, 0.474, math.nan)] == [
        "negligible", "small", "medium", "large", ""]  # fmt: skip
    assert [cohens_name(d) for d in (0.19, 0.2, -0.5, 0.8)] == ["negligible", "small", "medium", "large"]


def test_cohens_d_and_hedges_g_by_their_formulas() -> None:
    a, b = np.array([1.0, 2, 3, 4]), np.array([3.0, 5, 4, 8, 6])
    pooled = math.sqrt((3 * a.var(ddof=1) + 4 * b.var(ddof=1)) / 7)
    assert cohens_d(a, b) == pytest.approx((b.mean() - a.mean()) / pooled)
    assert cohens_d(a, b) == pytest.approx(stats.ttest_ind(b, a).statistic * math.sqrt(1 / 4 + 1 / 5))
    exact = math.gamma(3.5) / (math.sqrt(3.5) * math.gamma(3))
    assert hedges_g(a, b) == pytest.approx(cohens_d(a, b) * exact)
    assert math.isnan(cohens_d([2.0, 2.0], [2.0, 2.0]))
    assert math.isnan(cohens_d([], [1.0]))


def test_intervals_are_the_same_each_time_and_alike_by_every_way() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, 2000), rng.normal(0.4, 1, 2000)
    first, again = effect_sizes(a, b, seed=3), effect_sizes(a, b, seed=3)
    assert first == again
    assert first != effect_sizes(a, b, seed=4)
    assert len(a) + len(b) <= MOST_DRAWN
    from kinocyte.statistics.effects import _asymptotic

    other = _asymptotic(a, b, first[0].value, first[2].value, 0.95)
    assert [first[0].low, first[0].high] == pytest.approx(other[0], abs=0.006)
    assert [first[2].low, first[2].high] == pytest.approx(other[1], abs=0.012)
    peer = stats.bootstrap((a, b), cohens_d, vectorized=False, n_resamples=200,
                           method="percentile", rng=0).confidence_interval  # fmt: skip
    assert [first[2].low, first[2].high] == pytest.approx([peer.low, peer.high], abs=0.03)
    grown = effect_sizes(np.tile(a, 2), np.tile(b, 2))
    assert grown[0].interval == "asymptotic over cells"


def test_more_cells_of_the_same_replicates_make_no_surer_effect() -> None:
    t = cells()
    a, b = (t.filter(pl.col("g") == g) for g in ("g0", "g1"))
    for paired in (True, False):
        few = effect_sizes(a["v"], b["v"], replicate_a=a["replicate"], replicate_b=b["replicate"], paired=paired)
        v = [np.tile(x["v"], 30) for x in (a, b)]
        r = [np.tile(x["replicate"], 30) for x in (a, b)]
        many = effect_sizes(*v, replicate_a=r[0], replicate_b=r[1], paired=paired)
        assert many[0].interval == "bootstrap over replicates"
        assert many[0].high - many[0].low == pytest.approx(few[0].high - few[0].low, rel=0.02)
    assert effect_sizes(*v)[0].high - effect_sizes(*v)[0].low < 0.2 * (many[0].high - many[0].low)


def test_no_interval_over_one_replicate() -> None:
    one = effect_sizes([1.0, 2, 3], [2.0, 3, 4], replicate_a=[1, 1, 1], replicate_b=[1, 1, 2])
    assert {e.interval for e in one} == {"none"}
    assert all(math.isnan(e.low) for e in one)
    assert one[0].value == pytest.approx(cliffs_delta([1, 2, 3], [2, 3, 4]))
    with pytest.raises(ParameterError, match="one group only"):
        effect_sizes([1.0], [2.0], replicate_a=[1])
    with pytest.raises(ParameterError, match="100 or more"):
        effect_sizes([1.0], [2.0], draws=5)


# mixed model


@quiet
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("paired", [True, False])
def test_the_mixed_model_is_that_of_statsmodels(seed: int, paired: bool) -> None:
    smf = pytest.importorskip("statsmodels.formula.api")
    pd = pytest.importorskip("pandas")
    t = cells(seed, replicates=6)
    frame = pd.DataFrame({"v": t["v"], "g": (t["g"] == "g1").cast(pl.Int8), "r": t["replicate"], "well": t["well"]})
    a, b = (t.filter(pl.col("g") == g) for g in ("g0", "g1"))
    fit = mixed_model(a["v"], b["v"], a["replicate"], b["replicate"], paired=paired)
    if paired:
        peer = smf.mixedlm("v ~ g", frame, groups="r", re_formula="1", vc_formula={"w": "0 + C(well)"}).fit()
        assert fit.replicate_variance == pytest.approx(float(peer.cov_re.iloc[0, 0]), abs=5e-3)
        assert fit.unit_variance == pytest.approx(float(peer.vcomp[0]), abs=5e-3)
    else:
        peer = smf.mixedlm("v ~ g", frame, groups="well").fit(method="powell")  # its default stops short
        assert fit.unit_variance == pytest.approx(float(peer.cov_re.iloc[0, 0]), rel=2e-3, abs=1e-4)
    assert fit.difference.value == pytest.approx(peer.params["g"], abs=1e-4)
    # the difference's error is from REML in both
    assert fit.difference.standard_error == pytest.approx(peer.bse["g"], rel=1e-2)
    assert fit.cell_variance == pytest.approx(peer.scale, rel=1e-3)


@pytest.mark.parametrize("paired", [True, False])
def test_with_equal_numbers_of_cells_it_is_the_t_test_on_means(paired: bool) -> None:
    rng = np.random.default_rng(1)
    r = np.repeat(np.arange(5), 20)
    day = rng.normal(0, 2, 5)  # a paired model with days that differ less than cells by chance is not the t-test
    a, b = (rng.normal(np.repeat(day + rng.normal(m, 1, 5), 20), 1) for m in (0, 1))
    found = mixed_model(a, b, r, r, paired=paired).difference
    means = [v.reshape(5, 20).mean(axis=1) for v in (b, a)]
    peer = stats.ttest_rel(*means) if paired else stats.ttest_ind(*means)
    assert found.statistic == pytest.approx(peer.statistic, rel=1e-4)
    assert found.p == pytest.approx(peer.pvalue, rel=1e-3)


def test_a_million_cells_cost_no_more_and_prove_no_more() -> None:
    rng = np.random.default_rng(0)
    r = np.repeat(np.arange(4), 125_000)
    a, b = (rng.normal(np.repeat(rng.normal(0, 0.3, 4), 125_000), 1) for _ in range(2))
    assert stats.ttest_ind(a, b).pvalue < 1e-10, "cells alone would claim a difference"
    assert mixed_model(a, b, r, r).difference.p > 0.05


def test_where_a_mixed_model_cannot_be() -> None:
    with pytest.raises(ParameterError, match="two replicates"):
        mixed_model([1.0, 2], [1.0, 2], [1, 2], [1, 1])
    with pytest.raises(ParameterError, match="All values are equal"):
        mixed_model([1.0, 1], [1.0, 1], [1, 2], [1, 2])
    one_each = mixed_model([1.0, 2.0, 4.0], [3.0, 3.5, 6.0], [1, 2, 3], [4, 5, 6])
    peer = stats.ttest_ind([3.0, 3.5, 6.0], [1.0, 2.0, 4.0])
    assert one_each.difference.p == pytest.approx(peer.pvalue, rel=1e-4)


# tables


def test_over_cells_the_tests_are_those_of_scipy() -> None:
    t = cells()
    found = compare_values(t, value="v", by="g")
    a, b = (t.filter(pl.col("g") == g)["v"].to_numpy() for g in ("g0", "g1"))
    p = dict(found.tests.select("test", "p").rows())
    assert p["Welch's t-test"] == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert p["Mann-Whitney"] == pytest.approx(stats.mannwhitneyu(a, b).pvalue)
    assert p["Kolmogorov-Smirnov"] == pytest.approx(stats.ks_2samp(a, b).pvalue)
    welch = stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    row = found.tests.row(0, named=True)
    assert (row["effect_low"], row["effect_high"]) == pytest.approx((welch.low, welch.high))


def test_over_replicates_no_cell_makes_a_p_value() -> None:
    t = cells()
    found = Values(value="v", by="g", position=None).compare(t)
    means = t.group_by("g", "replicate").agg(pl.col("v").mean()).sort("g", "replicate")
    a, b = (means.filter(pl.col("g") == g)["v"].to_numpy() for g in ("g0", "g1"))
    rows = {r["test"]: r for r in found.tests.iter_rows(named=True)}
    assert rows["paired t-test on means of replicates"]["p"] == pytest.approx(stats.ttest_rel(b, a).pvalue)
    assert rows["mixed model with replicate as random intercept"]["p"] is not None
    x, y = (t.filter(pl.col("g") == g)["v"].to_numpy() for g in ("g0", "g1"))
    for name, peer in (("Mann-Whitney", stats.mannwhitneyu(x, y)), ("Kolmogorov-Smirnov", stats.ks_2samp(x, y))):
        assert rows[name]["p"] is None
        assert rows[name]["statistic"] == pytest.approx(peer.statistic)
        assert "no independent samples" in rows[name]["sentence"]
    assert "4 replicates" in rows["Mann-Whitney"]["sentence"]
    assert found.points["mean"].to_list() == pytest.approx([*a, *b])
    assert found.effects["interval"].unique().to_list() == ["bootstrap over replicates"]


def test_unpaired_replicates_get_the_test_of_welch() -> None:
    t = cells().with_columns(replicate=pl.col("well"))
    found = compare_values(t, value="v", by="g", replicate="replicate", position="well")
    a, b = (found.points.filter(pl.col("group") == g)["mean"] for g in ("g0", "g1"))
    row = found.tests.row(0, named=True)
    assert row["test"] == "Welch's t-test on means of replicates"
    assert row["p"] == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert (row["n_replicates"], row["n_positions"], row["n_cells"]) == (8, 8, t.height)


def test_a_group_with_one_replicate_is_refused_with_the_reason() -> None:
    t = cells(groups=3).filter((pl.col("g") != "g2") | (pl.col("replicate") == 1))
    found = Values(value="v", by="g", position=None).compare(t)
    refused = found.tests.filter((pl.col("level") == "replicates") & pl.col("p").is_null())
    assert refused.height == 4
    assert all("the group 'g2' has one replicate (1)" in s for s in refused["sentence"])
    assert found.groups.filter(pl.col("group") == "g2")["mean_low"].to_list() == [None]


def test_several_rows_of_a_cell_count_once() -> None:
    t = cells().with_row_index("track")
    frames = pl.concat([t.with_columns(pl.col("v") + d) for d in (-1.0, 0.0, 1.0)])
    once = compare_values(t, value="v", by="g", replicate="replicate")
    many = compare_values(frames, value="v", by="g", replicate="replicate", cell=["track"])
    assert many.groups["n_cells"].to_list() == once.groups["n_cells"].to_list()
    assert many.tests["p"].drop_nulls().to_list() == pytest.approx(once.tests["p"].drop_nulls().to_list())


def test_pairs_references_and_corrections() -> None:
    t = cells(groups=4)
    assert compare_values(t, value="v", by="g", draws=100).tests.height == 6 * 3
    found = compare_values(t, value="v", by="g", reference="g1", correction="bonferroni", draws=100)
    assert found.tests["group_a"].unique().to_list() == ["g1"]
    welch = found.tests.filter(pl.col("test") == "Welch's t-test")
    assert welch["p_corrected"].to_list() == pytest.approx([min(1, 3 * p) for p in welch["p"]])


@pytest.mark.parametrize("replicate", [None, "replicate"])
def test_tables_that_say_nothing(replicate: str | None) -> None:
    t = cells()
    ask = {"value": "v", "by": "g", "replicate": replicate, "draws": 100}
    assert compare_values(t.head(0), **ask).tests.height == 0
    nan = compare_values(t.with_columns(v=pl.lit(math.nan)), **ask)
    assert nan.groups.height == 0
    assert "have no v" in nan.notes[0]
    one = compare_values(t.head(1), **ask)
    assert (one.groups["n_cells"].to_list(), one.groups["sd"].to_list(), one.tests.height) == ([1], [None], 0)
    flat = compare_values(t.with_columns(v=pl.lit(3.0)), **ask)
    assert flat.tests["p"].null_count() == flat.tests.height
    assert flat.tests["refused"].null_count() == 0
    two = compare_values(pl.concat([t.filter(pl.col("g") == g).head(1) for g in ("g0", "g1")]), **ask)
    assert two.tests["p"].null_count() == two.tests.height
    with pytest.raises(TableError, match="did you mean 'g'"):
        compare_values(t, **{**ask, "by": "gg"})


def test_nothing_overflows_far_from_zero() -> None:
    t = cells().with_columns(pl.col("v") + 1e7)
    near, far = (compare_values(x, value="v", by="g", replicate="replicate") for x in (cells(), t))
    assert far.tests["p"].drop_nulls().to_list() == pytest.approx(near.tests["p"].drop_nulls().to_list(), rel=1e-3)
    assert far.effects["value"].to_list() == pytest.approx(near.effects["value"].to_list(), rel=1e-6)


# the additive test


def test_sums_have_the_moments_of_sums() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.exponential(2, 5000), rng.normal(1, 1, 4000)
    sums = monte_carlo_sum(a, b, size=200_000, seed=1)
    assert sums.mean() == pytest.approx(a.mean() + b.mean(), abs=0.02)
    assert sums.var() == pytest.approx(a.var() + b.var(), rel=0.02)
    assert (sums == monte_carlo_sum(a, b, size=200_000, seed=1)).all()
    with pytest.raises(ParameterError, match="at least one value"):
        monte_carlo_sum([], [1.0])


def test_a_sum_is_told_from_more_than_a_sum() -> None:
    rng = np.random.default_rng(0)
    n, names = 400, np.tile(np.arange(5), 80)
    a, b = rng.gamma(3, 1, n), rng.gamma(2, 1, n)
    additive, more = rng.permutation(a) + rng.permutation(b), rng.permutation(a) + rng.permutation(b) + 1.5
    replicates = (names, names, names)
    null = additive_test(additive, a, b, replicates=replicates, size=20_000)
    assert abs(null.cliffs_delta) < 0.08
    assert null.over_replicates.p > 0.05
    found = additive_test(more, a, b, replicates=replicates, size=20_000)
    assert found.cliffs_delta > 0.3
    assert found.over_replicates.p < 0.01
    assert found.replicates["n_observed"].to_list() == [80] * 5
    assert found.kolmogorov_smirnov > 3 * null.kolmogorov_smirnov
    assert found.curves["expected"].is_sorted()
    alone = additive_test(more, a, b, size=1000)
    assert alone.refused is not None
    assert math.isnan(alone.over_replicates.p)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_swapping_the_groups_turns_every_sign(seed: int, paired: bool) -> None:
    with warnings.catch_warnings():
        t = cells(seed)
    a, b = (t.filter(pl.col("g") == g) for g in ("g0", "g1"))
    there = mixed_model(a["v"], b["v"], a["replicate"], b["replicate"], paired=paired).difference
    back = mixed_model(b["v"], a["v"], b["replicate"], a["replicate"], paired=paired).difference
    assert there.value == pytest.approx(-back.value, abs=1e-5)
    assert there.p == pytest.approx(back.p, abs=1e-4)


def test_a_group_without_values_is_named() -> None:
    t = cells(groups=3).with_columns(v=pl.when(pl.col("g") == "g1").then(None).otherwise("v"))
    found = compare_values(t, value="v", by="g", draws=100)
    assert found.groups["group"].to_list() == ["g0", "g2"]
    assert "The group 'g1' has no row that can be used and is left out." in found.notes


def test_intervals_do_not_depend_on_the_order_of_rows() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(0, 1, 60), rng.normal(0.5, 1, 50)
    for one, other in zip(effect_sizes(a, b), effect_sizes(rng.permutation(a), rng.permutation(b)), strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-12)
        assert one.low < one.value < one.high
