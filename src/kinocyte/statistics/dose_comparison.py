"""Dose-response curves of several groups side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.statistics.base import Comparison, Correction, Outcome, outcome_frame
from kinocyte.statistics.dose_fit import DoseFit, fit_dose_response
from kinocyte.statistics.means import difference
from kinocyte.statistics.samples import GROUP, NO_REPLICATES, REPLICATE, Samples, samples

_DOSE, _VALUE = "__dose__", "__value__"
_DRAWN = 101


def compare_doses(
    table: pl.DataFrame,
    *,
    dose: str,
    value: str,
    by: str | None = None,
    replicate: str | None = None,
    position: str | None = None,
    reference: object = None,
    correction: Correction = "holm",
    confidence: float = 0.95,
    name: str = "cells",
) -> Comparison:
    """Fit a dose-response curve to each group and compare their EC50.

    Parameters
    ----------
    table : polars.DataFrame
        One row a cell.
    dose, value : str
        Columns of the dose (not negative) and the response.
    by, replicate, position : str or None
        Columns of the group, the biological replicate and the field of view. With replicates, the points of the fit
        are the means of the replicates at each dose; without, cells.
    reference, correction, confidence, name
        As in `kinocyte.statistics.value_comparison.compare_values`.

    Returns
    -------
    Comparison
        ``groups``: ``group n_cells n_positions n_replicates n_points n_doses ec50 ec50_low ec50_high hill bottom top
        at_zero at_infinity residual_sd r_squared refused``; hill is negative for a curve that falls; a bound that the
        data do not give is null. ``curves``: ``group dose value``. ``points``: ``group dose replicate n_cells
        value``. ``tests``: F test of each curve against no effect of the dose, and of the ratio of EC50 for pairs of
        groups.

    Raises
    ------
    TableError, ParameterError
        If a column is missing or holds words, a dose is negative, or there is no such reference.
    """
    picked = samples(table, numbers=[dose, value], by=by, replicate=replicate, position=position, name=name)
    negative = picked.rows.filter(pl.col(dose) < 0)
    if negative.height:
        msg = f"The column '{dose}' of table '{name}' holds {negative[dose][0]:g}; doses are not negative."
        raise TableError(msg)
    rows = picked.rows.select(
        pl.col(GROUP, REPLICATE), pl.col("__position__"), pl.col(dose).alias(_DOSE), pl.col(value).alias(_VALUE)
    )
    picked = Samples(rows, picked.order, picked.has_replicates, picked.has_positions, picked.notes)
    points = _points(picked)
    fits = {g: _fit(points.filter(pl.col("group") == g), confidence) for g in picked.order}
    found = {g: f for g, (f, _) in fits.items() if f is not None}
    outcomes = [_no_effect(picked, g, *fits[g]) for g in picked.order]
    if by:
        outcomes += [_ratio(picked, a, b, fits, confidence) for a, b in picked.pairs(reference)]
    notes = [*picked.notes, *(n for g, f in found.items() for n in _remarks(g, f, rows))]
    if not picked.has_replicates and found:
        notes.append(NO_REPLICATES)
    return Comparison(
        "dose_response", _groups(picked, fits), outcome_frame(outcomes, picked.dtype, correction),
        _curves(picked, found), points, notes=tuple(notes),
    )  # fmt: skip


def _points(picked: Samples) -> pl.DataFrame:
    names = {GROUP: "group", _DOSE: "dose", REPLICATE: "replicate"}
    if picked.has_replicates:
        found = picked.rows.group_by(*names).agg(pl.len().cast(pl.Int64).alias("n_cells"), value=pl.col(_VALUE).mean())
    else:
        found = picked.rows.select(*names, pl.lit(1, pl.Int64).alias("n_cells"), pl.col(_VALUE).alias("value"))
    return found.sort(*names, maintain_order=True).rename(names)


def _fit(points: pl.DataFrame, confidence: float) -> tuple[DoseFit | None, str | None]:
    try:
        return fit_dose_response(points["dose"], points["value"], confidence=confidence), None
    except ParameterError as error:
        text = str(error).rstrip(".")
        return None, text[0].lower() + text[1:]


def _remarks(group: Any, fit: DoseFit, rows: pl.DataFrame) -> list[str]:
    """Return what a reader of an EC50 has to know: not bounded, or beyond the doses."""
    tested = rows.filter((pl.col(GROUP) == group) & (pl.col(_DOSE) > 0))[_DOSE]
    said = []
    least, most = float(tested.min()), float(tested.max())  # type: ignore[arg-type] # floats, and a fit has some
    if not least <= fit.ec50 <= most:
        said.append(f"The EC50 of the group '{group}' lies outside its doses ({least:g} to {most:g}) and is a guess.")
    if not (np.isfinite(fit.ec50_high) and fit.ec50_low > 0):
        said.append(f"The doses of the group '{group}' do not bound its EC50 on both sides; test more of them.")
    return said


def _no_effect(picked: Samples, group: Any, fit: DoseFit | None, why: str | None) -> Outcome:
    n = picked.counts([group])
    if why is None and picked.has_replicates and n["n_replicates"] < 2:
        why = f"the group '{group}' has one replicate, and a test needs at least two"
    df = None if fit is None else float(fit.n_points - 4)
    low, high = (None, None) if fit is None else (fit.ec50_low or None, fit.ec50_high)
    return Outcome(
        "F test of the curve against one mean", "replicates" if picked.has_replicates else "cells", group_b=group,
        group_a=None, df=df, p=None if why or fit is None else fit.p_no_effect, effect="EC50",
        effect_value=None if fit is None else fit.ec50, effect_low=low, effect_high=high, refused=why, **n,
    )  # fmt: skip


def _ratio(
    picked: Samples, a: Any, b: Any, fits: dict[Any, tuple[DoseFit | None, str | None]], confidence: float
) -> Outcome:
    """Compare two EC50 on the log scale; standard errors from the width of the profile intervals."""
    from scipy.stats import t

    shared = {"group_a": a, "group_b": b, "effect": "ratio of EC50", **picked.counts([a, b])}
    level: Any = "replicates" if picked.has_replicates else "cells"
    errors, logs, df = [], [], 0
    why = None
    for g in (a, b):
        fit, reason = fits[g]
        if picked.has_replicates and picked.counts([g])["n_replicates"] < 2:
            reason = f"the group '{g}' has one replicate, and a test needs at least two"
        if fit is None or reason is not None or not (fit.ec50_low > 0 and np.isfinite(fit.ec50_high)):
            why = why or reason or f"the doses of the group '{g}' do not bound its EC50"
            continue
        reach = float(t.ppf(0.5 + confidence / 2, fit.n_points - 4))
        errors.append(np.log(fit.ec50_high / fit.ec50_low) / (2 * reach))
        logs.append(np.log(fit.ec50))
        df += fit.n_points - 4
    if why is not None:
        return Outcome("t-test on log EC50", level, refused=why, **shared)
    d = difference(float(logs[1] - logs[0]), float(np.hypot(*errors)), df, confidence)
    return Outcome(
        "t-test on log EC50", level, statistic=d.statistic, df=d.df, p=d.p, effect_value=float(np.exp(d.value)),
        effect_low=float(np.exp(d.low)), effect_high=float(np.exp(d.high)), **shared,
    )  # fmt: skip


def _groups(picked: Samples, fits: dict[Any, tuple[DoseFit | None, str | None]]) -> pl.DataFrame:
    numbers = ("ec50", "ec50_low", "ec50_high", "hill", "bottom", "top", "at_zero", "at_infinity", "residual_sd",
               "r_squared")  # fmt: skip
    rows = []
    for g, (fit, why) in fits.items():
        row = {"group": g, **picked.counts([g]), "refused": why}
        if fit is not None:
            row |= {n: getattr(fit, n) for n in (*numbers, "n_points", "n_doses") if hasattr(fit, n)}
            row |= {"bottom": min(fit.at_zero, fit.at_infinity), "top": max(fit.at_zero, fit.at_infinity)}
            row["hill"] = fit.hill if fit.at_infinity >= fit.at_zero else -fit.hill
            row["ec50_low"] = fit.ec50_low if fit.ec50_low > 0 else None
            row["ec50_high"] = fit.ec50_high if np.isfinite(fit.ec50_high) else None
        rows.append(row)
    counted = ("n_cells", "n_positions", "n_replicates", "n_points", "n_doses")
    schema = {"group": picked.dtype, **dict.fromkeys(counted, pl.Int64), **dict.fromkeys(numbers, pl.Float64),
              "refused": pl.String}  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def _curves(picked: Samples, fits: dict[Any, DoseFit]) -> pl.DataFrame:
    schema = {"group": picked.dtype, "dose": pl.Float64, "value": pl.Float64}
    parts = [pl.DataFrame(schema=schema)]
    for g, fit in fits.items():
        doses = picked.of(g)[_DOSE].unique().sort().to_numpy()
        positive = doses[doses > 0]
        at = np.concatenate([doses[doses == 0], np.geomspace(positive[0], positive[-1], _DRAWN)])
        parts.append(pl.DataFrame({"group": [g] * len(at), "dose": at, "value": fit.predict(at)}, schema=schema))
    return pl.concat(parts)
