"""Which rows of a table pass limits on their features, and which limit parts a feature best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, model_validator

from kinocyte.core.errors import TableError
from kinocyte.core.method import param
from kinocyte.core.schema import require


class FeatureFilter(BaseModel):
    """Keep rows whose feature lies within limits, ``{ feature = "area_um2", min = 30 }``; limits are included.

    In place of a number the limit may be found by Otsu's rule from all rows:
    ``{ feature = "quality", otsu = "above" }`` keeps the upper class. A row without a value does not pass.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    feature: str = param(help="Column to look at.")
    min: float | None = param(None, help="Smallest value that is kept; left out: no lower limit.")
    max: float | None = param(None, help="Largest value that is kept; left out: no upper limit.")
    otsu: Literal["above", "below"] | None = param(
        None, help="Keep the class above or below the limit that Otsu's rule finds in all rows."
    )

    @model_validator(mode="after")
    def _says_something(self) -> FeatureFilter:
        if self.min is None and self.max is None and self.otsu is None:
            msg = "give min, max, otsu or several."
            raise ValueError(msg)
        if self.min is not None and self.max is not None and self.min > self.max:
            msg = "min must not exceed max."
            raise ValueError(msg)
        return self


def suggested_limit(table: pl.DataFrame, feature: str) -> float | None:
    """Return the smallest value of the upper of two classes by Otsu's rule, None with fewer than two different values.

    The rule is applied to the values themselves, not to a histogram: of all ways to part them it takes the one with the
    greatest variance between the classes (Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979)). Of equal ones, the lowest.

    Parameters
    ----------
    table : polars.DataFrame
        Any table of objects, links or tracks.
    feature : str
        Column of numbers; null, NaN and infinite values do not count.

    Raises
    ------
    TableError
        If there is no such column.
    """
    require(table, (feature,), table="features")
    values = np.sort(table[feature].cast(pl.Float64).drop_nulls().to_numpy())
    values = values[np.isfinite(values)]
    cuts = np.flatnonzero(np.diff(values) > 0)
    if not cuts.size:
        return None
    centred = (values - values.mean()) / np.ptp(values)
    lower = np.cumsum(centred)[cuts]
    n = (cuts + 1).astype(np.float64)
    between = lower**2 / n + (centred.sum() - lower) ** 2 / (values.size - n)
    return float(values[cuts[int(np.argmax(between))] + 1])


def passes(table: pl.DataFrame, filters: Iterable[FeatureFilter]) -> pl.Series:
    """Return for each row of a table whether it passes all filters.

    Every limit found by Otsu's rule comes from all rows, not only from those that pass the filters before.

    Parameters
    ----------
    table : polars.DataFrame
        Objects with features, or tracks, or links.
    filters : iterable of FeatureFilter
        All must hold; none means that every row passes.

    Returns
    -------
    polars.Series of bool
        Named ``passes``; rows without a finite value in a feature do not pass its filter.

    Raises
    ------
    TableError
        If a feature is no column of the table, or one of words.
    """
    return sift(table, filters)[0]


#: Columns of the account of filters, one row a filter in order.
ACCOUNT: Mapping[str, type[pl.DataType]] = MappingProxyType(
    {
        "feature": pl.String,
        "min": pl.Float64,
        "max": pl.Float64,
        "otsu": pl.String,
        "otsu_limit": pl.Float64,
        "n_rows": pl.Int64,
        "n_failed": pl.Int64,
        "n_without_value": pl.Int64,
    }
)


def sift(table: pl.DataFrame, filters: Iterable[FeatureFilter]) -> tuple[pl.Series, pl.DataFrame]:
    """Return which rows of a table pass all filters, as `passes`, and an account of each filter.

    Parameters
    ----------
    table, filters : polars.DataFrame, iterable of FeatureFilter
        As in `passes`.

    Returns
    -------
    polars.Series of bool
        As `passes` returns it.
    polars.DataFrame
        One row a filter: ``feature min max otsu`` as asked, ``otsu_limit`` as it was found (the smallest value of the
        upper class; null where Otsu's rule was not asked, or every row has the same value and all pass), ``n_rows``
        that were looked at, ``n_failed`` of them, and ``n_without_value`` among those that failed.

    Raises
    ------
    TableError
        If a feature is no column of the table, or one of words.
    """
    kept = np.ones(table.height, dtype=np.bool_)
    account: list[tuple[object, ...]] = []
    for rule in filters:
        require(table, (rule.feature,), table="features")
        if not (table.schema[rule.feature].is_numeric() or table.schema[rule.feature] in {pl.Boolean, pl.Null}):
            msg = (
                f"The feature '{rule.feature}' holds no numbers ({table.schema[rule.feature]}); filter by another one."
            )
            raise TableError(msg)
        values = table[rule.feature].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        known = np.isfinite(values)
        mine = known.copy()
        if rule.min is not None:
            mine &= values >= rule.min
        if rule.max is not None:
            mine &= values <= rule.max
        limit = suggested_limit(table, rule.feature) if rule.otsu is not None else None
        if limit is not None:
            mine &= values >= limit if rule.otsu == "above" else values < limit
        kept &= mine
        n = table.height
        account.append(
            (rule.feature, rule.min, rule.max, rule.otsu, limit, n, n - int(mine.sum()), n - int(known.sum()))
        )
    return pl.Series("passes", kept), pl.DataFrame(account, schema=dict(ACCOUNT), orient="row")
