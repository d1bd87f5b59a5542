"""What every comparison returns, and how a test says what it found."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any, ClassVar, Literal

import polars as pl

from kinocyte.core.method import Method
from kinocyte.statistics.corrections import adjust

Correction = Literal["holm", "benjamini_hochberg", "bonferroni", "none"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between groups, in frames that are ready to print or to draw.

    Attributes
    ----------
    method : str
        Name of the comparison.
    groups : polars.DataFrame
        One row a group: ``group``, ``n_cells``, ``n_positions``, ``n_replicates`` (null where the column is not named)
        and what the method estimates for a group.
    curves : polars.DataFrame
        Lines to draw: ``group`` and the columns of the method; empty where there are none.
    points : polars.DataFrame
        What stands behind the estimates, mostly one row a replicate.
    tests : polars.DataFrame
        One row a test: see `outcome_frame`.
    effects : polars.DataFrame
        One row a pair of groups and effect size.
    details : polars.DataFrame
        More to draw, as the method says: cells behind the values, intervals of time; empty where there is nothing.
    notes : tuple of str
        Sentences a reader needs: what was left out, what was refused, what the numbers rest on.
    """

    method: str
    groups: pl.DataFrame
    tests: pl.DataFrame
    curves: pl.DataFrame = field(default_factory=pl.DataFrame)
    points: pl.DataFrame = field(default_factory=pl.DataFrame)
    effects: pl.DataFrame = field(default_factory=pl.DataFrame)
    details: pl.DataFrame = field(default_factory=pl.DataFrame)
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> dict[str, pl.DataFrame]:
        """Return all frames by name."""
        return {n: getattr(self, n) for n in ("groups", "curves", "points", "tests", "effects", "details")}


class Comparer(Method):
    """Says what differs between the groups of a table."""

    kind: ClassVar[str] = "comparison"

    @abstractmethod
    def compare(self, table: pl.DataFrame) -> Comparison:
        """Return what differs between the groups of a table that has one row a cell (or as the method says).

        Raises
        ------
        TableError
            If a column is missing or holds what it may not.
        """

    def named_column(self, field_name: str, table: pl.DataFrame) -> str | None:
        """Return the column a field names; None for "" and for a default that the table does not have.

        A column that was asked for and is missing is refused later; one that is only usual may be missing, and the
        notes of the comparison say so where it matters.
        """
        column: str | None = getattr(self, field_name)
        if not column or (field_name not in self.model_fields_set and column not in table.columns):
            return None
        return column


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test before its p-value is corrected; ``refused`` is the reason why there is none."""

    test: str
    level: Literal["cells", "replicates"]
    group_a: Any = None
    group_b: Any = None
    statistic: float | None = None
    df: float | None = None
    p: float | None = None
    effect: str | None = None
    effect_value: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    n_cells: int = 0
    n_positions: int | None = None
    n_replicates: int | None = None
    refused: str | None = None


_SCHEMA: dict[str, Any] = {
    "test": pl.String, "level": pl.String, "group_a": pl.String, "group_b": pl.String, "statistic": pl.Float64,
    "df": pl.Float64, "p": pl.Float64, "p_corrected": pl.Float64, "correction": pl.String, "effect": pl.String,
    "effect_value": pl.Float64, "effect_low": pl.Float64, "effect_high": pl.Float64, "n_cells": pl.Int64,
    "n_positions": pl.Int64, "n_replicates": pl.Int64, "refused": pl.String, "sentence": pl.String,
}  # fmt: skip


def outcome_frame(outcomes: Sequence[Outcome], dtype: Any, correction: Correction = "holm") -> pl.DataFrame:
    """Return tests as a table, p-values corrected over the pairs of groups of each test.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Tests in the order in which they are shown.
    dtype : polars data type
        Type of the groups.
    correction : str
        ``holm``, ``benjamini_hochberg``, ``bonferroni`` or ``none``.

    Returns
    -------
    polars.DataFrame
        ``test level group_a group_b statistic df p p_corrected correction effect effect_value effect_low effect_high
        n_cells n_positions n_replicates refused sentence``. ``level`` tells whether cells or replicates are the sample;
        ``group_b`` is compared with ``group_a`` (both null: all groups at once); ``refused`` holds the reason where
        there is no p-value; ``sentence`` says all of it.
    """
    rows = []
    families = {n: [o.p for o in g] for n, g in groupby(sorted(outcomes, key=_family), key=_family)}
    corrected = {n: iter(adjust(ps, correction)) for n, ps in families.items()}
    for outcome in outcomes:
        p = next(corrected[_family(outcome)])
        numbers: dict[str, Any] = {k: _finite(getattr(outcome, k)) for k in _NUMBERS}
        shown = replace(outcome, **numbers)
        rows.append({**asdict(shown), "p_corrected": p, "correction": correction, "sentence": _sentence(shown, p)})
    schema = {**_SCHEMA, "group_a": dtype, "group_b": dtype}
    return pl.DataFrame(rows, schema=schema, orient="row")


_NUMBERS = ("statistic", "df", "p", "effect_value", "effect_low", "effect_high")


def _family(outcome: Outcome) -> tuple[str, bool]:
    return outcome.test, outcome.group_a is None


def _finite(value: float | None) -> float | None:
    return None if value is None or not abs(value) < float("inf") else float(value)


def _sentence(outcome: Outcome, corrected: float | None) -> str:
    """Return what a person reads: test, groups, statistic, p-value, effect, and the sample it rests on."""
    pair = "all groups" if outcome.group_a is None else f"{outcome.group_b} against {outcome.group_a}"
    parts = []
    if outcome.statistic is not None:
        df = f" (df {outcome.df:.3g})" if outcome.df is not None else ""
        parts.append(f"statistic {outcome.statistic:.4g}{df}")
    if outcome.p is not None:
        more = f", corrected {corrected:.3g}" if corrected is not None and corrected != outcome.p else ""
        parts.append(f"p = {outcome.p:.3g}{more}")
    if outcome.effect is not None and outcome.effect_value is not None:
        low, high = (("open" if v is None else f"{v:.4g}") for v in (outcome.effect_low, outcome.effect_high))
        interval = "" if outcome.effect_low is None and outcome.effect_high is None else f" [{low}, {high}]"
        parts.append(f"{outcome.effect} {outcome.effect_value:.4g}{interval}")
    if outcome.refused is not None:
        parts.append(f"no p-value: {outcome.refused}")
    return f"{outcome.test}, {pair}: {'; '.join(parts)} ({sample(outcome)})."


def sample(outcome: Outcome) -> str:
    """Return ``120 cells, 6 positions, 3 replicates``; what is not known is called so."""
    counts = ((outcome.n_cells, "cell"), (outcome.n_positions, "position"), (outcome.n_replicates, "replicate"))
    return ", ".join(f"{w}s not named" if n is None else f"{n} {w}{'' if n == 1 else 's'}" for n, w in counts)
