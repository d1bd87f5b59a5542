"""What filters left out: a table of rules, the limits they came to, and counts over all positions."""

from __future__ import annotations

from typing import Any

import polars as pl

from kinocyte.report.cells import pretty
from kinocyte.report.material import Material

_KINDS = (("filters", "filtering", "objects"), ("track_filters", "tracking", "lineages"))


def filters(material: Material) -> list[dict[str, Any]]:
    """Return one row a rule and population: what it asks, its limit by Otsu's rule, how many failed."""
    out: list[dict[str, Any]] = []
    for population in material.populations:
        for kind, step, what in _KINDS:
            parts = [t for p in material.positions if (t := _account(p, population, kind, step)) is not None]
            if parts:
                out += [_row(population, what, rule) for rule in _by_rule(parts)]
    return out


def _account(position: Any, population: str, kind: str, step: str) -> pl.DataFrame | None:
    """Return the account of a position, unless the step that stands wrote none."""
    record = position.records.get(step, population)
    name = f"{population}_{kind}"
    if record is None or f"tables/{name}" not in record.outputs or name not in position.tables:
        return None
    table = position.table(name).with_row_index("rule")
    return table if table.height else None


def _by_rule(parts: list[pl.DataFrame]) -> list[dict[str, Any]]:
    keys = ["rule", "feature", "min", "max", "otsu"]
    joined = pl.concat(parts, how="diagonal_relaxed").group_by(keys, maintain_order=True)
    return joined.agg(
        pl.col("otsu_limit").min().alias("lowest"), pl.col("otsu_limit").max().alias("highest"),
        pl.col("n_rows").sum(), pl.col("n_failed").sum(), pl.len().alias("positions"),
    ).to_dicts()  # fmt: skip


def _row(population: str, what: str, rule: dict[str, Any]) -> dict[str, Any]:
    asked = []
    if rule["min"] is not None:
        asked.append(f"at least {rule['min']:g}")
    if rule["max"] is not None:
        asked.append(f"at most {rule['max']:g}")
    if rule["otsu"] is not None:
        low, high = rule["lowest"], rule["highest"]
        found = "no limit found" if low is None else f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
        asked.append(f"{rule['otsu']} the limit of Otsu's rule ({found})")
    share = 100 * rule["n_failed"] / rule["n_rows"] if rule["n_rows"] else 0.0
    return {
        "population": population, "what": what, "feature": pretty(rule["feature"]), "asked": " and ".join(asked),
        "rows": rule["n_rows"], "failed": rule["n_failed"], "share": f"{share:.1f} %",
    }  # fmt: skip
