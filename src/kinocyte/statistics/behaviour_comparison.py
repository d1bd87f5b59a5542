"""From objects of tracks to states, their shares in each group, and tests over replicates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import require
from kinocyte.statistics.base import Comparison
from kinocyte.statistics.behaviour_clusters import k_medoids
from kinocyte.statistics.behaviour_density import density_clusters
from kinocyte.statistics.behaviour_space import (
    Discriminant,
    left_out_confusion,
    principal_components,
    standardise,
    umap_places,
)
from kinocyte.statistics.behaviour_states import (
    by_size,
    check_density,
    choose_n_states,
    exemplar_ranks,
    stability_of_density,
    stability_of_medoids,
    transitions,
)
from kinocyte.statistics.behaviour_windows import windows
from kinocyte.statistics.corrections import adjust
from kinocyte.statistics.value_comparison import compare_values

if TYPE_CHECKING:
    from kinocyte.statistics.behaviour import Behaviour

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_GROUP = "group"


_P_VALUE = re.compile(r"\bp = [^;( ]+")


@dataclass(frozen=True, eq=False)
class _Called:
    """The state of every window, -1 for none, and what to say about them."""

    labels: Ints
    names: tuple[str, ...]
    notes: tuple[str, ...]


def compare_behaviour(
    asked: Behaviour, objects: pl.DataFrame, *, replicate: str | None, position: str | None
) -> Comparison:
    """Find states and compare how large a part of the windows each group spends in them.

    Parameters
    ----------
    asked : Behaviour
        All parameters.
    objects : polars.DataFrame
        One row a cell and frame with the columns that ``asked`` names.
    replicate, position : str or None
        Columns of the biological replicate and of the field of view.

    Returns
    -------
    Comparison
        ``groups``: ``group n_cells n_positions n_replicates n_windows share_<state>``. ``points``: one row a window:
        ``group``, cell, ``window first_time_min last_time_min state component_1 component_2 exemplar`` (1 is the best
        of its state, null for most), and the features. ``curves``: transitions, ``group state next_state n probability
        n_cells``. ``tests`` and ``effects`` of the share of each state, over replicates, corrected over all of them.

    Raises
    ------
    TableError
        If a column is missing or holds words.
    ParameterError
        If there are too few windows or nothing to tell them apart.
    """
    require(objects, [c for c in (asked.by, replicate, position, asked.examples) if c], table="objects")
    kept = [c for c in dict.fromkeys((asked.by, replicate, position, asked.examples)) if c]
    table, names = windows(
        objects, features=asked.features, track=asked.track, time=asked.time, window_min=asked.window_min,
        min_frames=asked.min_frames, motion=asked.motion, keep=kept,
    )  # fmt: skip
    table, notes = _known(table, names, asked)
    values = table.select(names).to_numpy().astype(np.float64)
    scaled, used = standardise(values) if len(values) else (values[:, :0], np.zeros(len(names), bool))
    if not scaled.shape[1] or len(scaled) < 3:
        msg = f"States cannot be told apart: {len(scaled)} windows with {scaled.shape[1]} features that differ."
        raise ParameterError(msg)
    parts = principal_components(scaled, asked.explained)
    cell = table.select(pl.struct(*asked.track).rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
    called = _called(asked, table, parts.scores, cell)
    shown = umap_places(parts.scores, seed=asked.seed) if asked.embedding == "umap" else parts.scores
    points = _points(asked, table, called, shown, exemplar_ranks(parts.scores, called.labels, cell, asked.exemplars))
    steps = transitions(points, asked.track)
    tests, effects, groups, more = _compared(asked, points, called.names, replicate, position)
    held = ", ".join(f"{p:.0%}" for p in parts.explained[:2])
    first = f"{table.height} windows of {int(cell.max()) + 1} cells: {int(used.sum())} features in "
    first += f"{len(parts.explained)} components (the first two hold {held} of the variance)."
    return Comparison(
        "behaviour", groups, tests, curves=steps, points=points, effects=effects,
        notes=tuple(dict.fromkeys((first, *called.notes, *_shown(points, asked), *notes, *more))),
    )  # fmt: skip


def _known(table: pl.DataFrame, names: tuple[str, ...], asked: Behaviour) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the windows with all features and a group, and say how many are lost."""
    needed = [*names, *([asked.by] if asked.by else [])]
    whole = table.drop_nulls(needed)
    lost = table.height - whole.height
    note = f"{lost} of {table.height} windows have no value of some feature or no group and are left out."
    return whole, (note,) if lost else ()


def _called(asked: Behaviour, table: pl.DataFrame, scores: Floats, cell: Ints) -> _Called:
    if asked.examples is not None:
        return _from_examples(asked, table, scores, cell)
    notes: list[str] = []
    if asked.clustering == "density":
        check_density(len(scores))
        labels = density_clusters(scores, min_size=asked.min_windows)
        n = int(labels.max()) + 1
        if n < 2:
            msg = f"clustering = 'density' found no two states of {asked.min_windows} windows among {len(scores)}; "
            raise ParameterError(msg + "lower min_windows or use 'k_medoids'.")
        sure = stability_of_density(
            scores, labels, cell, min_size=asked.min_windows, n=asked.resamples, seed=asked.seed
        )
        notes = [f"{n} states by density.", f"{int((labels < 0).sum())} windows lie between states and have none."]
    else:
        n = asked.n_states or 0
        if not n:
            n, found = choose_n_states(scores, seed=asked.seed)
            notes.append(f"{n} states have the best silhouette of 2 to {max(found)} ({found[n]:.2f}).")
        labels = by_size(k_medoids(scores, n, seed=asked.seed).labels)
        sure = stability_of_medoids(scores, labels, cell, k=n, n=asked.resamples, seed=asked.seed)
    said = (
        f"Stability: adjusted Rand index {sure.median:.2f} [{sure.low:.2f}, {sure.high:.2f}] over {sure.n} {sure.how}; "
        "1 is the same states again, 0 chance."
    )
    return _Called(labels, tuple(f"state {k + 1}" for k in range(n)), (*notes, said))


def _from_examples(asked: Behaviour, table: pl.DataFrame, scores: Floats, cell: Ints) -> _Called:
    """Return the states a person named, learnt from the windows of the cells that have one."""
    told = table[str(asked.examples)].cast(pl.String)
    rows = np.flatnonzero(told.is_not_null().to_numpy())
    names = [str(told[int(r)]) for r in rows]
    trained = Discriminant.fit(scores[rows], names)
    labels = np.array([trained.names.index(n) for n in trained.predict(scores)], np.int64)
    labels[rows] = [trained.names.index(n) for n in names]  # what a person said stands
    counts = left_out_confusion(scores[rows], names, cell[rows].tolist())
    total = sum(counts.values())
    right = sum(n for (said, called), n in counts.items() if said == called)
    wrong = ", ".join(f"{n} of {s} called {c}" for (s, c), n in sorted(counts.items()) if s != c)
    checked = (
        f"Of {total} examples, each called without its cell, {right} are called right{f' ({wrong})' if wrong else ''}."
        if total
        else "No state has examples of two cells: how well they are called is unknown."
    )
    trained_on = f"Trained on {len(rows)} windows that a person named ({asked.examples})."
    return _Called(labels, trained.names, (trained_on, checked))


def _points(asked: Behaviour, table: pl.DataFrame, called: _Called, places: Floats, ranks: Ints) -> pl.DataFrame:
    state = [called.names[k] if k >= 0 else None for k in called.labels]
    group = pl.col(asked.by).alias(_GROUP) if asked.by else pl.lit("all").alias(_GROUP)
    second = places[:, 1] if places.shape[1] > 1 else np.zeros(len(places))
    added = table.with_columns(
        group,
        pl.Series("state", state, dtype=pl.String),
        pl.Series("component_1", places[:, 0]),
        pl.Series("component_2", second),
        pl.Series("exemplar", ranks).replace(0, None),
    )
    first = [_GROUP, *asked.track, "window", "first_time_min", "last_time_min", "n_frames", "state"]
    first += ["component_1", "component_2", "exemplar"]
    return added.select(*first, pl.all().exclude(*first))


def _shown(points: pl.DataFrame, asked: Behaviour) -> list[str]:
    """Return where the best examples of each state are, for a person who wants to look at them."""
    best = points.filter(pl.col("exemplar").is_not_null()).sort("state", "exemplar")
    notes = []
    for (state,), rows in best.group_by("state", maintain_order=True):
        told = [
            f"{_cell(row, asked.track)} ({row['first_time_min']:g} to {row['last_time_min']:g} min)"
            for row in rows.to_dicts()
        ]
        notes.append(f"Best examples of {state}: {', '.join(told)}.")
    return notes


def _cell(row: dict[str, Any], track: tuple[str, ...]) -> str:
    """Return what a cell is called; a position that begins with its well says the well already."""
    named = "well" in row and str(row.get("position", "")).startswith(f"{row['well']}/")
    return " ".join(str(row[c]) for c in track if not (named and c == "well"))


def _compared(
    asked: Behaviour, points: pl.DataFrame, names: tuple[str, ...], replicate: str | None, position: str | None
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, tuple[str, ...]]:
    """Return tests, effects and shares: the share of a state is that of each cell's windows, compared as a value."""
    tests, effects, shares = [], [], []
    notes: list[str] = []
    groups = pl.DataFrame()
    for name in names:
        # a window without a state is in none of them
        own = points.with_columns((pl.col("state") == name).fill_null(value=False).cast(pl.Float64).alias("share"))
        found = compare_values(
            own, value="share", by=_GROUP, cell=asked.track, replicate=replicate, position=position,
            reference=asked.reference, correction="none", confidence=asked.confidence, draws=500, seed=asked.seed,
            name="windows",
        )  # fmt: skip
        tests.append(found.tests.with_columns(pl.format("{}: {}", pl.lit(f"share of {name}"), "test").alias("test"),
                     pl.format("Share of {}, {}", pl.lit(name), "sentence").alias("sentence")))  # fmt: skip
        effects.append(found.effects.with_columns(pl.lit(name).alias("state")))
        groups = found.groups.select(_GROUP, "n_cells", "n_positions", "n_replicates")
        shares.append(found.groups.select(pl.col("mean").alias(f"share_{name.replace(' ', '_')}")))
        notes += [n for n in found.notes if n not in notes]
    counted = points.group_by(_GROUP).agg(pl.len().cast(pl.Int64).alias("n_windows"))
    groups = groups.join(counted, on=_GROUP, how="left", maintain_order="left", nulls_equal=True)
    groups = pl.concat([groups, *shares], how="horizontal")
    return _adjusted(pl.concat(tests), asked), pl.concat(effects), groups, tuple(notes)


def _adjusted(tests: pl.DataFrame, asked: Behaviour) -> pl.DataFrame:
    """Return tests with p-values corrected over all states and pairs of each kind of test."""
    # a statistic over cells without a p-value says no more of a share than the effects do
    tests = tests.filter((pl.col("level") == "replicates") | pl.col("p").is_not_null())
    if not tests.height:
        return tests
    kind = tests["test"].str.replace(r"^share of .*?: ", "")
    corrected: list[float | None] = [None] * tests.height
    for name in kind.unique(maintain_order=True):
        rows = np.flatnonzero((kind == name).to_numpy())
        for row, p in zip(rows, adjust(tests["p"].gather(rows).to_list(), asked.correction), strict=True):
            corrected[int(row)] = p
    sentences = [
        _P_VALUE.sub(rf"\g<0>, corrected {c:.3g}", s, count=1) if c is not None and c != p else s
        for s, c, p in zip(tests["sentence"], corrected, tests["p"], strict=True)
    ]
    return tests.with_columns(
        pl.Series("p_corrected", corrected, dtype=pl.Float64),
        pl.lit(asked.correction).alias("correction"),
        pl.Series("sentence", sentences, dtype=pl.String),
    )
