"""Shares with their intervals, against statsmodels, published values and coverage of draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError
from kinocyte.statistics.proportions import share_interval


@pytest.mark.parametrize(("method", "theirs"), [("wilson", "wilson"), ("clopper_pearson", "beta")])
@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (5, 50), (49, 50), (7, 7), (300, 1000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_intervals_are_those_of_statsmodels(method: str, theirs: str, hits: int, n: int, confidence: float) -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    ours = share_interval(hits, n, confidence=confidence, method=method)  # type: ignore[arg-type]
    low, high = proportion.proportion_confint(hits, n, alpha=1 - confidence, method=theirs)
    np.testing.assert_allclose((ours.low, ours.high), (low, high), atol=1e-12)
    assert ours.value == hits / n


def test_a_published_example() -> None:
    # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I: 15 of 148
    found = share_interval(15, 148)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0624, 0.1605)
    exact = share_interval(15, 148, method="clopper_pearson")
    assert (round(exact.low, 4), round(exact.high, 4)) == (0.0578, 0.1617)


def test_draws_without_putting_back_are_covered() -> None:
    rng = np.random.default_rng(5)
    everything = np.arange(200) < 30
    n, covered, narrower = 80, 0, 0
    for _ in range(2000):
        hits = int(rng.choice(everything, n, replace=False).sum())
        found = share_interval(hits, n, of=200)
        covered += found.low <= 0.15 <= found.high
        endless = share_interval(hits, n)
        narrower += found.high - found.low < endless.high - endless.low
    assert 0.93 <= covered / 2000 <= 0.985
    assert narrower == 2000
    assert share_interval(30, 200, of=200).low == share_interval(30, 200, of=200).high == 0.15


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from(["wilson", "clopper_pearson"]))
def test_the_share_lies_in_its_interval(a: int, b: int, method: str) -> None:
    hits, n = min(a, b), max(a, b)
    found = share_interval(hits, n, method=method)  # type: ignore[arg-type]
    assert 0 <= found.low <= found.high <= 1
    if n:
        assert found.low - 1e-12 <= found.value <= found.high + 1e-12
        other = share_interval(n - hits, n, method=method)  # type: ignore[arg-type]
        assert math.isclose(other.low, 1 - found.high, abs_tol=1e-9)
    else:
        assert math.isnan(found.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: share_interval(3, 2), "hits <= n"),
        (lambda: share_interval(-1, 2), "hits <= n"),
        (lambda: share_interval(1, 2, of=1), "hits <= n"),
        (lambda: share_interval(1, 2, confidence=1.0), "cannot be"),
        (lambda: share_interval(1, 2, method="wald"), "no interval 'wald'"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_refused(call: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        call()  # type: ignore[operator]
