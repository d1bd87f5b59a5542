"""What a cell's neighbourhood is like: how many, how near, for how long, before and after an event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import TableError
from kinocyte.core.schema import column_name, require
from kinocyte.interactions._cells import as_tuple, checked
from kinocyte.interactions._clock import codes, frame_clock, running_sum, with_minutes

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def neighbour_counts(
    pairs: pl.DataFrame,
    reference_cells: pl.DataFrame,
    neighbour_cells: pl.DataFrame | None = None,
    *,
    reference_state: str | None = None,
    neighbour_state: str | None = None,
    by: str | Sequence[str] = (),
) -> pl.DataFrame:
    """Return how many neighbours every reference cell has in every frame.

    Parameters
    ----------
    pairs : polars.DataFrame
        What a method of the kind ``interaction`` returned.
    reference_cells, neighbour_cells : polars.DataFrame
        The populations that the pairs were found in; the second is left out within one population.
    reference_state : str, optional
        Boolean column of the reference cells. Those that are false or null take no part: they have null counts and
        nobody's neighbour counts for them (dead cells do not compete for effectors, say).
    neighbour_state : str, optional
        Column of the neighbour cells (boolean, text or whole numbers); every value gets counts of its own.
    by : str or sequence of str
        Columns that tell positions apart.

    Returns
    -------
    polars.DataFrame
        One row a reference cell, in their order: the ``by`` columns, ``object_id track_id frame time_min``;

        ``n_inclusive`` all neighbours; ``n_exclusive`` those that have no reference nearer than this one (of two at
        one distance the lower object id has it); ``n_weighted`` each neighbour as 1 / number of its references, so
        that exclusive and weighted counts each sum to the number of neighbours; ``nearest_um`` distance of the nearest;
        the three counts again for each state, ``n_inclusive_dead n_inclusive_not_dead`` for a boolean column ``dead``,
        ``n_inclusive_<value>`` otherwise (a null state counts among all only);

        ``time_with_neighbours_min`` how long the track has had at least one neighbour, ``cumulated_presence_min``
        minutes of all its neighbours together, both up to the end of this frame.

        Null where the cell has no position, no part, or (last two) no track or a single frame without a known length.

    Raises
    ------
    TableError
        If a column is missing, or a pair names a cell that is not in the table.
    """
    names = as_tuple(by)
    cells = checked(reference_cells, None, names, "reference_cells")
    require(pairs, (*names, "reference_id", "neighbour_id", "distance_um"), table="pairs")
    row = _rows(pairs, cells, names, "reference")
    takes_part = _position_known(cells)
    if reference_state is not None:
        takes_part &= _boolean(reference_cells, reference_state)
        kept = takes_part[row]
        pairs, row = pairs.filter(pl.Series(kept)), row[kept]
    modes = _modes(pairs, row, names)
    columns = _tally(modes, row, np.ones(len(row), np.bool_), len(cells), "")
    nearest = np.full(len(cells), np.inf)
    np.minimum.at(nearest, row, pairs["distance_um"].to_numpy())
    columns["nearest_um"] = np.where(np.isfinite(nearest), nearest, np.nan)
    if neighbour_state is not None:
        others = reference_cells if neighbour_cells is None else neighbour_cells
        for suffix, chosen in _by_state(pairs, others, neighbour_state, names):
            columns |= _tally(modes, row, chosen, len(cells), suffix)
    out = cells.select(*names, "object_id", "track_id", "frame", "time_min").with_columns(
        pl.Series(n, v).fill_nan(None) if v.dtype.kind == "f" else pl.Series(n, v) for n, v in columns.items()
    )
    unknown = pl.Series(~takes_part)
    out = out.with_columns(pl.when(unknown).then(None).otherwise(pl.col(n)).alias(n) for n in columns)
    return out.with_columns(_presence(out, names))


def cumulated_presence(
    pairs: pl.DataFrame, cells: Sequence[pl.DataFrame] = (), *, by: str | Sequence[str] = ()
) -> pl.DataFrame:
    """Return the pairs with the time that each neighbour has been with its reference so far.

    Parameters
    ----------
    pairs : polars.DataFrame
        What a method of the kind ``interaction`` returned.
    cells : sequence of polars.DataFrame
        Tables with ``frame time_min`` that tell which frames the movie has; left out: the frames of the pairs.
    by : str or sequence of str
        Columns that tell positions apart.

    Returns
    -------
    polars.DataFrame
        The pairs in their order with ``presence_min``, minutes up to the end of this frame; absences in between do not
        count. Null where either side has no track.

    Raises
    ------
    TableError
        If a column is missing.
    """
    names = as_tuple(by)
    require(pairs, (*names, "reference_track_id", "neighbour_track_id", "frame", "time_min"), table="pairs")
    clock = frame_clock([pairs, *cells], names)
    timed = with_minutes(pairs.select(*names, "frame"), clock, names)
    minutes = (timed["end_min"] - timed["begin_min"]).fill_null(float("nan")).to_numpy()
    group = codes(pairs, [*names, "reference_track_id", "neighbour_track_id"])
    order = np.lexsort((pairs["frame"].to_numpy(), group))
    total = pl.Series("presence_min", running_sum(minutes, group, order)).fill_nan(None)
    tracked = pl.col("reference_track_id").is_not_null() & pl.col("neighbour_track_id").is_not_null()
    return pairs.with_columns(pl.when(tracked).then(total).alias("presence_min"))


def _rows(pairs: pl.DataFrame, cells: pl.DataFrame, by: tuple[str, ...], side: str) -> Ints:
    """Return the row of the cell on one side of each pair."""
    column = f"{side}_id"
    wanted = pairs.select(*by, pl.col(column).cast(pl.Int64).alias("object_id"))
    known = cells.select(*by, pl.col("object_id").cast(pl.Int64)).with_row_index("_row")
    found = wanted.join(known, on=[*by, "object_id"], how="left", nulls_equal=True, maintain_order="left")["_row"]
    if found.null_count():
        stranger = wanted["object_id"][int(found.is_null().arg_max() or 0)]
        msg = f"A pair names the {side} object {stranger}, which is not among the {side} cells; find the pairs again."
        raise TableError(msg)
    return found.cast(pl.Int64).to_numpy()


def _modes(pairs: pl.DataFrame, row: Ints, by: tuple[str, ...]) -> dict[str, Floats]:
    """Return what each pair counts for in the three ways of counting."""
    who = codes(pairs, [*by, "neighbour_id"])
    distance = pairs["distance_um"].to_numpy()
    shared = np.bincount(who)[who] if len(who) else np.empty(0)
    order = np.lexsort((row, distance, who))
    first = np.zeros(len(who))
    if len(who):
        first[order[np.append(True, np.diff(who[order]) > 0)]] = 1.0
    return {"n_inclusive": np.ones(len(who)), "n_exclusive": first, "n_weighted": 1.0 / np.maximum(shared, 1)}


def _tally(
    modes: dict[str, Floats], row: Ints, chosen: NDArray[np.bool_], n: int, suffix: str
) -> dict[str, NDArray[np.generic]]:
    """Return the counts of the chosen pairs for each of ``n`` cells."""
    out: dict[str, NDArray[np.generic]] = {}
    for name, weight in modes.items():
        total = np.bincount(row[chosen], weights=weight[chosen], minlength=n)
        out[name + suffix] = total if name == "n_weighted" else np.rint(total).astype(np.int64)
    return out


def _by_state(
    pairs: pl.DataFrame, cells: pl.DataFrame, state: str, by: tuple[str, ...]
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the end of the columns' names and the pairs for each state of the neighbour."""
    require(cells, (*by, "object_id", state), table="neighbour_cells")
    column = cells[state]
    if column.dtype.is_float():
        msg = f"The state '{state}' holds {column.dtype}; give true and false, text or whole numbers."
        raise TableError(msg)
    value = column.gather(pl.Series(_rows(pairs, cells, by, "neighbour")))
    if column.dtype == pl.Boolean:
        truth = value.fill_null(value=False).to_numpy()
        return [(f"_{state}", truth), (f"_not_{state}", (~value).fill_null(value=False).to_numpy())]
    values = column.drop_nulls().unique().sort().to_list()
    return [(f"_{column_name(str(v))}", (value == v).fill_null(value=False).to_numpy()) for v in values]


def _boolean(cells: pl.DataFrame, state: str) -> NDArray[np.bool_]:
    require(cells, (state,), table="reference_cells")
    if cells[state].dtype != pl.Boolean:
        msg = f"The state '{state}' of the reference cells holds {cells[state].dtype}; give true and false."
        raise TableError(msg)
    truth: NDArray[np.bool_] = cells[state].fill_null(value=False).to_numpy()
    return truth


def _position_known(cells: pl.DataFrame) -> NDArray[np.bool_]:
    return np.array(np.isfinite(cells.select("x_um", "y_um", "z_um").to_numpy()).all(axis=1))


def _presence(counts: pl.DataFrame, by: tuple[str, ...]) -> list[pl.Series]:
    """Return the two columns of time, summed along each track."""
    timed = with_minutes(counts.select(*by, "frame"), frame_clock([counts], by), by)
    minutes = (timed["end_min"] - timed["begin_min"]).fill_null(float("nan")).to_numpy()
    many = counts["n_inclusive"].fill_null(0).to_numpy()
    group = codes(counts, [*by, "track_id"])
    order = np.lexsort((counts["frame"].to_numpy(), group))
    untracked = counts["track_id"].is_null() | counts["n_inclusive"].is_null()
    out = []
    for name, weight in (("time_with_neighbours_min", many > 0), ("cumulated_presence_min", many)):
        total = pl.Series(name, running_sum(weight * minutes, group, order)).fill_nan(None)
        out.append(total.set(untracked, None))
    return out
