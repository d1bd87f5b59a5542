"""The section on quality: findings, suggestions, pictures of every check, the edge of the plate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from kinocyte.report.exclusions import as_csv, as_toml, ranges
from kinocyte.report.material import Material, Sketchbook, plural_s
from kinocyte.report.plate_edges import FEWEST_WELLS, LIMIT_SD, edge_effects
from kinocyte.report.plate_section import quantities
from kinocyte.report.quality_figure import quality_raster

#: Most positions in a picture of a check.
MOST_ROWS = 48

_CHECKS = (
    ("focus", "focus, relative to the median of the movie", "min", 1),
    ("saturation", "saturated pixels (%)", "max", 100),
    ("intensity", "brightness against the median of the movie (%)", "max", 100),
    ("drift", "shift from the frame before (% of shorter side)", "max", 100),
    ("cell count", "number of cells", "max", 1),
    ("confluence", "area covered by cells (%)", "max", 100),
)


def quality(material: Material, book: Sketchbook) -> dict[str, Any]:
    """Return findings, pictures of every check, suggested exclusions and the comparison of edge and inner wells."""
    seen = material.examination
    limits = {
        "focus": seen.limits.focus,
        "saturation": seen.limits.saturation,
        "drift": seen.limits.drift_step,
        "confluence": seen.limits.confluence,
    }
    shown = _rows_shown(material)
    figures = []
    for check, title, worst, factor in _CHECKS:
        traces = seen.traces.filter((pl.col("check") == check) & pl.col("position").is_in(shown))
        if traces["value"].drop_nulls().is_empty():
            continue
        traces = traces.with_columns(pl.col("value") * factor)
        limit = limits[check] * factor if check in limits else None
        flags = seen.flags.filter(pl.col("check") == check)
        figure = quality_raster(traces, flags, shown, title=title, limit=limit, worst=worst)
        found = flags.filter(pl.col("frame").is_not_null()).height
        caption = f"{found} finding{plural_s(found)}, marked by orange dots." if found else "No frame is conspicuous."
        caption += " Empty: no measurement." if traces["value"].null_count() else ""
        figures.append(book.add(f"quality_{check}", figure, f"{check}, every position and frame", caption))
    return {
        "figures": figures,
        "findings": _findings(seen.flags),
        "n_shown": len(shown),
        "suggestions": [
            {**row, "frames_text": "all" if row["whole"] else ranges(row["frames"])}
            for row in seen.suggestions.iter_rows(named=True)
        ],
        "toml": as_toml(seen.suggestions),
        "csv": as_csv(seen.suggestions),
        "every": seen.every,
        "limits": seen.limits,
        "edges": edges(material),
    }


def _rows_shown(material: Material) -> list[str]:
    """Return the positions in the quality pictures: all, or those with most findings."""
    ids = [p.id for p in material.positions if p.id not in material.examination.unreadable]
    if len(ids) <= MOST_ROWS:
        return ids
    counted = dict(material.examination.flags.group_by("position").agg(pl.len()).iter_rows())
    worst = set(sorted(ids, key=lambda i: (-counted.get(i, 0), ids.index(i)))[:MOST_ROWS])
    return [i for i in ids if i in worst]


def _findings(flags: pl.DataFrame) -> list[dict[str, Any]]:
    """Return one row a position and check, with the frames joined."""
    out = []
    for (position, check, _), part in flags.group_by(["position", "check", "subject"], maintain_order=True):
        frames = part["frame"].drop_nulls().to_list()
        whole = part.filter(pl.col("frame").is_null())["reason"].to_list()
        single = part.filter(pl.col("frame").is_not_null())["reason"].to_list()
        text = single[0] if len(single) == 1 else _common(single)
        out.append(
            {
                "position": position,
                "check": check,
                "frames": ranges(frames) if frames else "all",
                "text": "; ".join([*([text] if text else []), *whole]),
                "exclude": bool(part["exclude"].any()),
            }
        )
    return out


def _common(reasons: Sequence[str]) -> str:
    """Return the first of several reasons, which differ in their numbers only."""
    return f"{reasons[0]} and the like" if len(set(reasons)) > 1 else (reasons[0] if reasons else "")


def edges(material: Material) -> dict[str, Any]:
    """Return the comparison of wells at the edge of the plate with inner wells."""
    wells, names = quantities(material)
    columns = [c for c in wells.columns if c != "well" and not c.startswith("condition:")]
    table = edge_effects(wells, columns, material.plate, material.grouping)
    n_edge = sum(material.plate.is_edge(w) for w in material.plate.wells)
    return {
        "rows": [{**r, "name": names[r["quantity"]]} for r in table.head(12).iter_rows(named=True)],
        "n_more": max(0, table.height - 12),
        "n_edge": n_edge,
        "n_inner": len(material.plate.wells) - n_edge,
        "plate": f"{material.plate.n_rows} x {material.plate.n_columns}",
        "fewest": FEWEST_WELLS,
        "limit_sd": LIMIT_SD,
    }
