"""Conditions and formulas: what they mean, and that nothing else gets in."""

from __future__ import annotations

import contextlib
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinocyte.core.errors import KinocyteError, ParameterError, TableError
from kinocyte.events.expression import columns_of, parse
from kinocyte.events.functions import compile_expression, condition, formula

FRAME = pl.DataFrame(
    {
        "a": [1.0, 5.0, None, float("nan")],
        "b": [2, 2, 2, 2],
        "label": pl.Series([1, 2, 3, 4], dtype=pl.UInt32),
        "dead_state": [True, False, None, True],
        "kind": ["x", "y", "x", None],
        "class": [1, 2, 3, 4],
        "mean signal": [1.0, 2.0, 3.0, 4.0],
    }
)


def value(text: str) -> list[object]:
    return FRAME.with_columns(compile_expression(text, FRAME).expr.alias("v"))["v"].to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a > 2", [False, True, None, None]),  # neither null nor NaN is larger than anything
        ("a > 2 or b == 2", [True, True, True, True]),
        ("a > 2 and b == 3", [False, False, False, False]),
        ("a>2 & b<3", [False, True, None, None]),  # binds as loosely as the word, unlike Python's
        ("a > 2 OR dead_state", [True, True, None, True]),
        ("not dead_state", [False, True, None, False]),
        ("!dead_state || kind == 'x'", [True, True, True, None]),
        ("0 < a < 3", [True, False, None, None]),
        ("kind in ('x', 'z')", [True, False, True, None]),
        ("b in (1, -2, 2)", [True] * 4),
        ("is_null(a)", [False, False, True, True]),
        ("label - 5", [-4.0, -3.0, -2.0, -1.0]),  # unsigned numbers do not wrap around
        ("a / 0 - a / 0", [None] * 4),
        ("log(a - 1)", [-math.inf, math.log(4), None, None]),
        ("sqrt(-a)", [None] * 4),
        ("max(a, b, 3)", [3.0, 5.0, None, None]),
        ("-b ** 2 + 7 % 4 + 7 // 2", [2.0] * 4),
        ("class * 2", [2.0, 4.0, 6.0, 8.0]),  # a word of Python is a column like any other
        ("`mean signal` >= 3", [False, False, True, True]),
        ("dead_state == true", [True, False, None, True]),
        ("9**9**9 > 1", [True] * 4),
    ],
)
def test_means_what_it_says(text: str, expected: list[object]) -> None:
    assert value(text) == expected


def test_looks_along_tracks() -> None:
    frame = pl.DataFrame({"t": [1, 1, 1, 2, 2], "time_min": [0.0, 1, 3, 0, 2], "x": [1.0, 3, 7, 10, 20]})

    def along(text: str) -> list[float | None]:
        return frame.select(formula(text, frame, track="t").expr.alias("v"))["v"].to_list()

    assert along("diff(x)") == [None, 2, 4, None, 10]
    assert along("rate(x)") == [None, 2, 2, None, 5]
    assert along("rate(x, 1, 'forward')") == [2, 2, None, 5, None]
    assert along("diff(x, 1, 'centred')") == [None, 6, None, None, None]
    assert along("x / first(x)") == [1, 3, 7, 1, 2]
    assert along("rolling_median(x, 3)") == [2, 3, 5, 15, 15]
    assert along("track_max(x) - x") == [6, 4, 0, 10, 0]
    with pytest.raises(ParameterError, match="no track_id"):
        formula("diff(x)", frame)


def test_columns_of() -> None:
    found = columns_of("log(area_um2) > 3 and mean_pi / `a b` > auto or rate(x) > 1")
    assert set(found) == {"area_um2", "mean_pi", "a b", "time_min", "x"}
    assert columns_of("b > a and b > 1") == ("b", "a")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__.__bases__[0]",
        "a.__class__",
        "a[0]",
        "[x for x in a]",
        "lambda: 1",
        "(a := 3)",
        "f'{a}'",
        "open('x')",
        "eval('1')",
        "a if b else 1",
        "{1: 2}",
        "a; b",
        "a\nb",
        "a = 3",
        "a ==",
        "a @ b",
        "1j + a",
        "'a' 'b'.x",
        "a is b",
        "log(a, base=2)",
        "log(*a)",
        "log()",
        "rolling_mean(a, -3)",
        "rolling_mean(a, b)",
        "a > '3'",
        "a and b > 1",
        "kind > 'x'",
        "kind + 1",
        "auto + 1 > a",
        "(1, 2)",
        "a in ()",
        "1e999 > a",
        "",
        " ",
        "\x00",
        "(" * 300 + "a" + ")" * 300,
        "-" * 3000 + "a",
        "not " * 900 + "dead_state",
        "a" * 5000,
        "+".join(["a"] * 900),
    ],
)
def test_refuses_everything_else(text: str) -> None:
    with pytest.raises(ParameterError) as refused:
        compile_expression(text, FRAME)
    assert str(refused.value).endswith((".", "'"))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@given(st.text(max_size=60) | st.text("ab()<>=&|!~'\"` .,0123456789+-*/%[]{}:;\\", max_size=40))
def test_hostile_text_is_refused_or_computed(text: str) -> None:
    with contextlib.suppress(KinocyteError):
        compiled = compile_expression(text, FRAME)
        assert FRAME.select(compiled.expr.alias("v")).height in {1, 4}


def test_missing_column_names_the_nearest() -> None:
    with pytest.raises(TableError, match="'meen_pi', which the table lacks; did you mean 'mean_pi'"):
        condition("meen_pi > 2", pl.DataFrame({"mean_pi": [1.0], "area_um2": [2.0]}))
    with pytest.raises(ParameterError, match="no function 'lgo'; did you mean 'log'"):
        parse("lgo(a) > 1")


def test_number_and_truth_are_told_apart() -> None:
    with pytest.raises(ParameterError, match="must be true or false"):
        condition("a + b", FRAME)
    with pytest.raises(ParameterError, match="must be a number"):
        formula("a > b", FRAME)
    with pytest.raises(TableError, match="holds List"):
        condition("l > 1", pl.DataFrame({"l": [[1.0]]}))


def test_the_threshold_is_told() -> None:
    assert condition("a > -3", FRAME).threshold == -3
    assert condition("1 < a < 3", FRAME).thresholds == (1.0, 3.0)
    assert condition("1 < a < 3", FRAME).threshold is None
