"""Whether cells of some kinds meet more often than chance would have it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.schema import require
from kinocyte.interactions._cells import as_tuple
from kinocyte.interactions._clock import codes

Ints = NDArray[np.int64]


def contacts_beyond_chance(
    pairs: pl.DataFrame,
    cells: pl.DataFrame,
    *,
    state: str,
    n_shuffles: int = 999,
    seed: int = 0,
    by: str | Sequence[str] = (),
) -> pl.DataFrame:
    """Return how often tracks of each two states are neighbours, and how often were states dealt at random.

    The cells stay where they are and move as they do; only which track has which state is shuffled, within each
    position. A whole track keeps one state, because its frames are not independent of each other.

    Parameters
    ----------
    pairs : polars.DataFrame
        What a method of the kind ``interaction`` returned within one population.
    cells : polars.DataFrame
        That population, with ``track_id`` and the state.
    state : str
        Column that holds one value for each track; tracks where it is null are left out.
    n_shuffles : int
        How often states are dealt.
    seed : int
        Fixes the shuffles.
    by : str or sequence of str
        Columns that tell positions apart.

    Returns
    -------
    polars.DataFrame
        One row for every two states, sorted: ``state_a state_b`` (as text), ``n_contacts`` (pairs of cells in one
        frame, each once, over all positions), ``expected_contacts`` (mean of the shuffles), ``ratio``, ``p_more`` and
        ``p_fewer`` (part of the shuffles, the true dealing included, with at least or at most as many), ``n_tracks``,
        ``n_positions`` and ``n_shuffles``. The p values are not corrected for the number of rows.

    Raises
    ------
    TableError
        If a column is missing or a track changes its state.
    ParameterError
        If there are no shuffles.

    Notes
    -----
    Random labelling: Diggle, Statistical Analysis of Spatial Point Patterns, 2nd ed. (2003); p values that count the
    observation: Phipson and Smyth (2010) Stat Appl Genet Mol Biol 9:39, doi:10.2202/1544-6115.1585.
    """
    names = as_tuple(by)
    if n_shuffles < 1:
        msg = f"n_shuffles = {n_shuffles} is refused; give 1 or more, 999 for p values down to 0.001."
        raise ParameterError(msg)
    require(cells, (*names, "track_id", state), table="cells")
    require(pairs, (*names, "reference_track_id", "neighbour_track_id"), table="pairs")
    tracks = _tracks(cells, state, names)
    values = sorted(tracks["_state"].unique().to_list())
    position = codes(tracks, names) if names else np.zeros(len(tracks), np.int64)
    kind = np.searchsorted(np.array(values, dtype=object), tracks["_state"].to_numpy()) if values else position
    one, other, times = _meetings(pairs, tracks, names)
    observed = _count(kind, (one, other, times), len(values))
    rng = np.random.default_rng(seed)
    shuffled = np.empty((n_shuffles, *observed.shape))
    order = np.argsort(position, kind="stable")
    for k in range(n_shuffles):
        # a random order within each position
        dealt = np.empty_like(kind)
        dealt[order] = kind[np.lexsort((rng.random(len(kind)), position))]
        shuffled[k] = _count(dealt, (one, other, times), len(values))
    expected = shuffled.mean(axis=0)
    more = (1 + (shuffled >= observed).sum(axis=0)) / (n_shuffles + 1)
    fewer = (1 + (shuffled <= observed).sum(axis=0)) / (n_shuffles + 1)
    both = list(combinations_with_replacement(range(len(values)), 2))
    a, b = ([p[k] for p in both] for k in (0, 1))
    table = {
        "state_a": pl.Series([values[i] for i in a], dtype=pl.String),
        "state_b": pl.Series([values[j] for j in b], dtype=pl.String),
        "n_contacts": pl.Series(observed[a, b], dtype=pl.Float64).cast(pl.Int64),
        "expected_contacts": pl.Series(expected[a, b], dtype=pl.Float64),
        "p_more": pl.Series(more[a, b], dtype=pl.Float64),
        "p_fewer": pl.Series(fewer[a, b], dtype=pl.Float64),
    }
    ratio = pl.when(pl.col("expected_contacts") > 0).then(pl.col("n_contacts") / pl.col("expected_contacts"))
    counts = {"n_tracks": len(tracks), "n_positions": len(np.unique(position)), "n_shuffles": n_shuffles}
    head = ["state_a", "state_b", "n_contacts", "expected_contacts", "ratio", "p_more", "p_fewer"]
    return (
        pl.DataFrame(table)
        .with_columns(ratio=ratio, **{k: pl.lit(v) for k, v in counts.items()})
        .select(*head, *counts)
    )


def _tracks(cells: pl.DataFrame, state: str, by: tuple[str, ...]) -> pl.DataFrame:
    """Return every track with its state as text, sorted."""
    known = cells.filter(pl.col("track_id").is_not_null() & pl.col(state).is_not_null())
    tracks = known.select(*by, "track_id", pl.col(state).cast(pl.String).alias("_state")).unique()
    twice = tracks.select(*by, "track_id").is_duplicated()
    if twice.any():
        track = tracks["track_id"][int(twice.arg_max() or 0)]
        msg = f"Track {track} changes its '{state}'; give every track one value, such as that of most of its frames."
        raise TableError(msg)
    return tracks.sort(*by, "track_id")


def _meetings(pairs: pl.DataFrame, tracks: pl.DataFrame, by: tuple[str, ...]) -> tuple[Ints, Ints, Ints]:
    """Return the rows of both tracks that meet, and in how many frames; every two tracks once."""
    numbered = tracks.select(*by, "track_id").with_row_index("_row")
    met = pairs.select(*by, "frame", a="reference_track_id", b="neighbour_track_id")
    for side in ("a", "b"):
        renamed = numbered.rename({"track_id": side, "_row": f"_{side}"})
        met = met.join(renamed, on=[*by, side], nulls_equal=True)
    met = met.filter(pl.col("_a") != pl.col("_b")).select(
        "frame", low=pl.min_horizontal("_a", "_b"), high=pl.max_horizontal("_a", "_b")
    )
    met = met.unique().group_by("low", "high").len().sort("low", "high")
    low, high, times = (met[n].cast(pl.Int64).to_numpy() for n in ("low", "high", "len"))
    return low, high, times


def _count(kind: Ints, meetings: tuple[Ints, Ints, Ints], n: int) -> NDArray[np.float64]:
    """Return how often each two states meet, (n, n), above and on the diagonal."""
    one, other, times = meetings
    low, high = np.minimum(kind[one], kind[other]), np.maximum(kind[one], kind[other])
    return np.bincount(low * n + high, weights=times, minlength=n * n).reshape(n, n).astype(np.float64)
