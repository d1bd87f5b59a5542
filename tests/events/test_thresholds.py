"""Suggested thresholds against the mixture the values were drawn from."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from kinocyte.core.errors import TableError
from kinocyte.events import Group, suggest_threshold
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


def test_between_unequal_groups_lies_where_both_are_equally_probable_or_as_good() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 90_000), rng.normal(5, 1, 10_000)])

    def wrong(at: float) -> float:
        return 0.45 * math.erfc(at / math.sqrt(2)) + 0.05 * math.erfc((5 - at) / math.sqrt(2))

    # equal deviations: the middle, moved by ln(w0 / w1) s^2 / distance
    best = 2.5 + math.log(9) / 5
    found = suggest_threshold(values)
    assert 2.5 < found.threshold < best
    assert wrong(best) < wrong(found.threshold) == pytest.approx(wrong(best) + 1e-3, rel=0.1)
    assert found.error == pytest.approx(wrong(found.threshold), rel=0.1)


@pytest.mark.parametrize("low", [50.0, 300.0])
def test_a_wide_gap_is_parted_in_its_middle(low: float) -> None:
    # the values passed through between the groups widen one of them more; the crossing lay at 118 instead of 100
    rng = np.random.default_rng(8)
    passed = 1 / (1 + np.exp(-(np.arange(80) - rng.uniform(4, 75, (300, 1)))))
    values = low + 100 * passed + rng.normal(0, 5, passed.shape)
    assert suggest_threshold(values).threshold == pytest.approx(low + 50, abs=2)


def test_logarithm_is_recognised() -> None:
    rng = np.random.default_rng(2)
    values = np.exp(np.concatenate([rng.normal(2, 0.4, 5000), rng.normal(5, 0.4, 5000)]))
    found = suggest_threshold(values)
    assert found.log
    assert found.means == pytest.approx((2, 5), abs=0.05)
    # equally probable at 3.5; as good (one value in 1000) up to where the upper group has 0.2 % below
    assert math.log(found.threshold) == pytest.approx(5 - 2.86 * 0.4, abs=0.05)


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
    assert compiled.threshold == pytest.approx(4.5, abs=0.3)
    assert compiled.text == f"x > {compiled.threshold!r}"
    assert frame.select(compiled.expr).to_series().sum() == pytest.approx(500, abs=2)


def test_the_threshold_of_a_group_is_told() -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(100, 5, 300), rng.normal(200, 5, 300)])
    cells = pl.DataFrame({"object_id": np.arange(600), "track_id": np.arange(600), "time_min": 0.0, "x": values})
    found = Group(when="x > auto").detect(cells, "high")
    (note,) = found.notes
    assert float(note.rsplit(" ", 1)[1].rstrip("'.")) == pytest.approx(150, abs=5)
    assert found.states["high_state"].sum() == 300
    assert Group(when="x > 150").detect(cells, "high").notes == ()
