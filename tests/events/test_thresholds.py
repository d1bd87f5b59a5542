"""Suggested thresholds against the mixture the values were drawn from."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from kinocyte.core.errors import TableError
from kinocyte.events import suggest_threshold
from kinocyte.events.functions import condition


def test_equal_groups_are_parted_in_the_middle() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 20_000), rng.normal(4, 1, 20_000)])
    found = suggest_threshold(values)
    assert not found.log
    assert found.threshold == pytest.approx(2.0, abs=0.05)
    # two normal tails beyond two deviations
    assert found.error == pytest.approx(0.5 * math.erfc(2 / math.sqrt(2)), rel=0.1)
    assert found.means == pytest.approx((0, 4), abs=0.05)


def test_crossing_of_unequal_groups_is_the_analytic_one() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 90_000), rng.normal(5, 1, 10_000)])
    # equal deviations: the middle, moved by ln(w0 / w1) s^2 / distance
    assert suggest_threshold(values).threshold == pytest.approx(2.5 + math.log(9) / 5, abs=0.05)


def test_logarithm_is_recognised() -> None:
    rng = np.random.default_rng(2)
    values = np.exp(np.concatenate([rng.normal(2, 0.4, 5000), rng.normal(5, 0.4, 5000)]))
    found = suggest_threshold(values)
    assert found.log
    assert math.log(found.threshold) == pytest.approx(3.5, abs=0.1)


@pytest.mark.parametrize("values", [[], [1.0] * 50, [1.0, 2.0], [math.nan] * 40])
def test_nothing_to_part(values: list[float]) -> None:
    with pytest.raises(TableError, match="too few or all alike"):
        suggest_threshold(values)


def test_one_group_is_not_parted() -> None:
    with pytest.raises(TableError, match="do not fall into two groups"):
        suggest_threshold(np.random.default_rng(3).normal(100, 1, 2000), log=False)
    with pytest.raises(TableError, match="no logarithm"):
        suggest_threshold(np.linspace(-1, 5, 50), log=True)


def test_auto_in_a_condition_is_stored() -> None:
    rng = np.random.default_rng(4)
    frame = pl.DataFrame({"x": np.concatenate([rng.normal(0, 1, 500), rng.normal(9, 1, 500)])})
    compiled = condition("x > auto", frame)
    assert compiled.threshold == pytest.approx(4.5, abs=0.7)
    assert compiled.text == f"x > {compiled.threshold!r}"
    assert frame.select(compiled.expr).to_series().sum() == pytest.approx(500, abs=2)
