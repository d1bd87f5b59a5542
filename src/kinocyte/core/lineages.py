"""What the branches of a lineage are called, and where each stands in a drawing."""

from __future__ import annotations

from collections import defaultdict

import polars as pl

from kinocyte.core.errors import TableError
from kinocyte.core.schema import require

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def lineage_layout(tracks: pl.DataFrame, *, gap: float = 1.0) -> pl.DataFrame:
    """Return the place of each branch in a drawing with time running downwards.

    Branches that do not divide stand side by side, one unit apart, sisters in order of their ids; a branch that divides
    stands in the middle above its daughters. Lineages follow each other in order of their roots. No two branches
    overlap, and the lines that join mothers to daughters do not cross. (For dendrograms this is the usual
    arrangement; its rules are those of Wetherell and Shannon, IEEE Trans. Softw. Eng. 5, 514-520 (1979),
    doi:10.1109/TSE.1979.234212, for one row of leaves.)

    Parameters
    ----------
    tracks : polars.DataFrame
        Columns ``track_id parent_id root_id first_frame last_frame``, as `kinocyte.tracking.build_tracks` returns them;
        a selection of whole lineages will do.
    gap : float
        Free space between two lineages in units of the distance of two branches.

    Returns
    -------
    polars.DataFrame
        Sorted by ``track_id``:

        - ``track_id parent_id root_id``
        - ``x`` : place of the branch from left to right, from 0
        - ``first_frame``, ``last_frame`` : where its line begins and ends
        - ``parent_x``, ``parent_last_frame`` : where the line from its parent comes from; null without a parent
        - ``width`` : number of branches without daughters in and below it

    Raises
    ------
    TableError
        If a column is missing, a parent is not in the table or is its own descendant.
    """
    require(tracks, ("track_id", "parent_id", "root_id", "first_frame", "last_frame"), table="tracks")
    rows = tracks.select("track_id", "parent_id", "root_id", "first_frame", "last_frame").sort("track_id")
    daughters: dict[int | None, list[int]] = defaultdict(list)
    known = set(rows["track_id"].to_list())
    for track, parent in rows.select("track_id", "parent_id").iter_rows():
        if parent is not None and parent not in known:
            msg = f"Track {track} has the parent {parent}, which is not in table 'tracks'; select whole lineages."
            raise TableError(msg)
        daughters[parent].append(track)
    x, width = _places(daughters, gap)
    if len(x) < len(known):
        lost = min(known - x.keys())
        msg = f"Track {lost} descends from itself in table 'tracks'; build the tracks again from their links."
        raise TableError(msg)
    ids = rows["track_id"].to_list()
    placed = rows.with_columns(
        x=pl.Series([x[t] for t in ids], dtype=pl.Float64), width=pl.Series([width[t] for t in ids], dtype=pl.Int32)
    )
    parents = placed.select(parent_id="track_id", parent_x="x", parent_last_frame="last_frame")
    return placed.join(parents, on="parent_id", how="left", maintain_order="left").select(
        "track_id", "parent_id", "root_id", "x", "first_frame", "last_frame", "parent_x", "parent_last_frame", "width"
    )  # fmt: skip


def lineage_names(tracks: pl.DataFrame) -> pl.Series:
    """Return the names of tracks by descent: ``7`` has the daughters ``7a`` and ``7b``, and these ``7aa``, ``7ab`` ..

    The track after a merge, where nobody was born, is called as its parent with an apostrophe.

    Parameters
    ----------
    tracks : polars.DataFrame
        Columns ``track_id parent_id generation``; whole lineages, a parent's id smaller than its daughters'.

    Returns
    -------
    polars.Series of str
        In order of the ids of the tracks.
    """
    names: dict[int, str] = {}
    born: dict[int, int] = {}
    generation: dict[int, int] = {}
    rows = tracks.select("track_id", "parent_id", "generation").sort("track_id").iter_rows()
    for track, parent, age in rows:
        generation[track] = age
        if parent is None:
            names[track] = str(track)
            continue
        if age == generation[parent]:  # a merge: nobody was born
            names[track] = f"{names[parent]}'"
            continue
        k = born.get(parent, 0)
        born[parent] = k + 1
        names[track] = names[parent] + (_LETTERS[k] if k < len(_LETTERS) else f"({k + 1})")
    return pl.Series("lineage_name", list(names.values()), dtype=pl.String)


def _places(daughters: dict[int | None, list[int]], gap: float) -> tuple[dict[int, float], dict[int, int]]:
    """Return place and width of each track, those of daughters before that of their mother (lineages may be deep)."""
    x: dict[int, float] = {}
    width: dict[int, int] = {}
    free = 0.0
    for root in daughters.get(None, ()):
        waiting = [(root, False)]
        while waiting:
            track, below_done = waiting.pop()
            mine = daughters.get(track, [])
            if mine and not below_done:
                waiting.append((track, True))
                waiting.extend((d, False) for d in reversed(mine))
            elif mine:
                x[track] = (x[mine[0]] + x[mine[-1]]) / 2.0
                width[track] = sum(width[d] for d in mine)
            else:
                x[track], width[track] = free, 1
                free += 1.0
        free += gap
    return x, width
