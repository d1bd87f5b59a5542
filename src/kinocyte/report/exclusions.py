"""Which frames and positions had better be left out, as a table and as text to copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import polars as pl


def suggest(flags: pl.DataFrame, frames_of: Mapping[str, Sequence[int]]) -> pl.DataFrame:
    """Return which frames had better be left out: one row a position.

    Parameters
    ----------
    flags : polars.DataFrame
        Findings, columns of `FLAGS`.
    frames_of : mapping of str to sequence of int
        The frames that were looked at, by position.

    Returns
    -------
    polars.DataFrame
        ``position whole frames reason``: ``whole`` where more than half of the frames are spoilt or the movie has no
        cell, ``frames`` a list of frame numbers (all of them if ``whole``).
    """
    schema: dict[str, Any] = {
        "position": pl.String,
        "whole": pl.Boolean,
        "frames": pl.List(pl.Int32),
        "reason": pl.String,
    }
    rows = []
    for (position,), part in flags.filter("exclude").group_by("position", maintain_order=True):
        looked_at = list(frames_of.get(str(position), ()))
        spoilt = sorted({int(t) for t in part["frame"].drop_nulls()})
        whole = bool(part["frame"].null_count()) or 2 * len(spoilt) > len(looked_at)
        rows.append(
            {
                "position": str(position),
                "whole": whole,
                "frames": looked_at if whole else spoilt,
                "reason": "; ".join(_reasons(part)),
            }
        )
    return pl.DataFrame(rows, schema=schema)


def _reasons(part: pl.DataFrame) -> list[str]:
    """Return each kind of finding once, with the frames it was seen in where they are few."""
    out = []
    for (check, subject), same in part.group_by(["check", "subject"], maintain_order=True):
        frames = [int(t) for t in same["frame"].drop_nulls()]
        what = str(same["reason"][0]) if same.height == 1 else f"{check} ({subject})"
        out.append(f"{what}, frame{'s' if len(frames) > 1 else ''} {ranges(frames)}" if frames else what)
    return out


def ranges(numbers: Sequence[int]) -> str:
    """Return whole numbers as ranges: 1, 2, 3, 7 becomes ``1-3, 7``."""
    parts = []
    for _, run in groupby(enumerate(sorted(set(numbers))), key=lambda item: item[1] - item[0]):
        block = [n for _, n in run]
        parts.append(str(block[0]) if len(block) == 1 else f"{block[0]}-{block[-1]}")
    return ", ".join(parts)


def as_toml(suggestions: pl.DataFrame) -> str:
    """Return the suggestions as TOML, one ``[[exclude]]`` table a position."""
    return "\n".join(
        f"[[exclude]]\nposition = {_quoted(row['position'])}\n"
        + ("" if row["whole"] else f"frames = {row['frames']}\n")
        + f"reason = {_quoted(row['reason'])}\n"
        for row in suggestions.iter_rows(named=True)
    )


def as_csv(suggestions: pl.DataFrame) -> str:
    """Return the suggestions as CSV with the columns ``position frames reason``; ``all`` means every frame."""
    listed = [
        {"position": r["position"], "frames": "all" if r["whole"] else ranges(r["frames"]), "reason": r["reason"]}
        for r in suggestions.iter_rows(named=True)
    ]
    return pl.DataFrame(listed, schema=["position", "frames", "reason"]).write_csv() if listed else ""


def _quoted(text: str) -> str:
    """Return a TOML basic string."""
    out = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in out) + '"'
