"""Two forms in which a tracked movie comes to be scored: label images with a track table, or objects with links."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import TableError
from kinocyte.core.schema import require
from kinocyte.evaluation.overlaps import Floats, Ints, LabelImages, unique_pairs

#: Columns of a track table of the Cell Tracking Challenge.
CTC_COLUMNS = ("label", "begin", "end", "parent")


@dataclass(frozen=True, eq=False)
class LabelMovie:
    """Label images whose values are tracks, and who came from whom, as the Cell Tracking Challenge keeps them.

    Parameters
    ----------
    images : sequence of arrays, array (t, ...) or callable
        Label image of every frame; the label of an object is its track.
    tracks : polars.DataFrame or array (n, 4)
        ``label begin end parent``; parent 0 or null for none. A label without a row is a track without parent.
    frames : int, optional
        Number of frames; needed where the images are a function.
    """

    images: LabelImages
    tracks: pl.DataFrame | Ints
    frames: int | None = None


@dataclass(frozen=True, eq=False)
class ObjectMovie:
    """Objects and links of the house's tables, with or without label images.

    Parameters
    ----------
    objects : polars.DataFrame
        ``object_id frame``, and ``label`` where images are given; ``x_um y_um [z_um]`` to be matched by distance.
    links : polars.DataFrame
        ``source_id target_id``. An object with one successor, which has one predecessor, is of one track with it.
    images : sequence of arrays, array (t, ...) or callable, optional
        Label image of every frame, in which ``label`` finds the object.
    frames : int, optional
        Number of frames; the last frame of the objects where it is left out and there are no images.
    """

    objects: pl.DataFrame
    links: pl.DataFrame
    images: LabelImages | None = None
    frames: int | None = None


@dataclass(frozen=True, eq=False)
class Side:
    """One movie as a graph: objects in order of frame and label, links between them, tracks in between."""

    frame: Ints
    label: Ints
    track: Ints
    centre: Floats
    """(n, ndim), order (z) y x; NaN where unknown."""
    links: Ints
    """(m, 2), indices of objects."""
    division: NDArray[np.bool_]
    """True where a link joins two tracks."""
    tracks: Ints
    """(k, 4): track, first frame, last frame, parent track or 0."""
    problems: tuple[str, ...] = field(default=())
    """What contradicts the form, one sentence each; the rest is scored all the same."""

    @property
    def frames(self) -> int:
        """Number of frames up to the last object."""
        return int(self.frame.max()) + 1 if len(self.frame) else 0


def whole_numbers(frame: pl.DataFrame, column: str, *, table: str) -> Ints:
    """Return a column as whole numbers.

    Raises
    ------
    TableError
        If a value is missing or no whole number.
    """
    values = frame[column]
    try:
        whole = values.cast(pl.Int64)
    except pl.exceptions.PolarsError as error:
        msg = f"Table '{table}' has a {column} that is no whole number: {error}"
        raise TableError(msg) from error
    wrong = whole.is_null() | (whole != values) if values.dtype.is_float() else whole.is_null()
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        msg = f"Table '{table}' has the {column} {values[row]} in row {row}; every row needs a whole number."
        raise TableError(msg)
    return whole.to_numpy()


def track_rows(tracks: pl.DataFrame | Ints, *, name: str) -> Ints:
    """Return a track table as an array (n, 4).

    Raises
    ------
    TableError
        If a column is missing, a label occurs twice, or the array does not have four columns.
    """
    if isinstance(tracks, pl.DataFrame):
        require(tracks, CTC_COLUMNS, table=f"tracks of the {name}")
        table = tracks.with_columns(pl.col("parent").fill_null(0))
        rows = np.column_stack([whole_numbers(table, c, table=f"tracks of the {name}") for c in CTC_COLUMNS])
    else:
        rows = np.asarray(tracks, np.int64)
        if rows.size == 0:
            rows = rows.reshape(0, 4)
        if rows.ndim != 2 or rows.shape[1] != 4:
            msg = f"The track table of the {name} has shape {rows.shape}; it needs the columns label begin end parent."
            raise TableError(msg)
    labels, counts = np.unique(rows[:, 0], return_counts=True)
    if (counts > 1).any():
        msg = f"The track table of the {name} has two rows for label {labels[counts > 1][0]}; keep one."
        raise TableError(msg)
    return np.asarray(rows, np.int64)


def side_of_labels(frame: Ints, label: Ints, centre: Floats, tracks: Ints, *, name: str) -> Side:
    """Build the graph of a movie whose labels are tracks.

    A track's links join its appearances one after the other, also over frames in which it is missing; a division joins
    the last appearance of the parent before the daughter to the daughter's first.
    """
    order = np.lexsort((frame, label))
    found, first, count = np.unique(label[order], return_index=True, return_counts=True)
    last = first + count - 1
    tracks, problems = _consistent(tracks, found, frame[order[first]], frame[order[last]], name=name)
    inner = np.flatnonzero(label[order][1:] == label[order][:-1])
    links = [np.column_stack([order[inner], order[inner + 1]])]
    for child, _, _, parent in tracks[tracks[:, 3] > 0]:
        target = order[first[np.searchsorted(found, child)]]
        p = np.searchsorted(found, parent)
        appearances = order[first[p] : last[p] + 1]
        before = appearances[frame[appearances] < frame[target]]
        if len(before) == 0:
            problems.append(f"Track {child} of the {name} begins before its parent {parent}.")
            continue
        links.append(np.array([[before[-1], target]]))
    division = np.repeat([False, True], [len(inner), sum(map(len, links)) - len(inner)])
    return Side(frame, label, label, centre, np.concatenate(links), division, tracks, tuple(problems))


def _consistent(rows: Ints, found: Ints, begins: Ints, ends: Ints, *, name: str) -> tuple[Ints, list[str]]:
    """Return the rows of tracks that the images show, with those the table lacks, and what did not agree."""
    problems = []
    unseen = ~np.isin(rows[:, 0], found)
    problems += [f"Track {t} of the {name} is in no label image." for t in rows[unseen, 0]]
    rows = rows[~unseen].copy()
    unlisted = ~np.isin(found, rows[:, 0])
    problems += [f"Label {t} of the {name} is not in the track table." for t in found[unlisted]]
    extra = np.column_stack([found, begins, ends, np.zeros_like(found)])[unlisted]
    at = np.searchsorted(found, rows[:, 0])
    wrong = (rows[:, 1] != begins[at]) | (rows[:, 2] != ends[at])
    problems += [
        f"Track {r[0]} of the {name} should be seen from frame {r[1]} to {r[2]} but is from {b} to {e}."
        for r, b, e in zip(rows[wrong], begins[at][wrong], ends[at][wrong], strict=True)
    ]
    orphan = (rows[:, 3] != 0) & ~np.isin(rows[:, 3], found)
    problems += [f"Parent {r[3]} of track {r[0]} of the {name} does not exist." for r in rows[orphan]]
    rows[orphan, 3] = 0
    return np.concatenate([rows, extra]), problems


def side_of_objects(movie: ObjectMovie, *, name: str) -> tuple[Side, Ints]:
    """Build the graph of a movie of objects and links; return it and the object ids in its order.

    Raises
    ------
    TableError
        If a column is missing, an id occurs twice, or a link names an object that does not exist or runs backwards.
    """
    require(movie.objects, ["object_id", "frame"], table=f"objects of the {name}")
    require(movie.links, ["source_id", "target_id"], table=f"links of the {name}")
    by = "label" if "label" in movie.objects.columns else "object_id"
    objects = movie.objects.sort("frame", by)
    ids, frame, label = (whole_numbers(objects, c, table=f"objects of the {name}") for c in ("object_id", "frame", by))
    links = _link_indices(ids, frame, movie.links, name=name)
    successors = np.bincount(links[:, 0], minlength=len(ids))
    predecessors = np.bincount(links[:, 1], minlength=len(ids))
    division = (successors[links[:, 0]] != 1) | (predecessors[links[:, 1]] != 1)
    track = _follow(frame, links[~division])
    axes = [a for a in ("z_um", "y_um", "x_um") if a in objects.columns]
    centre = objects.select(pl.col(axes).cast(pl.Float64)).to_numpy() if axes else np.full((len(ids), 2), np.nan)
    tracks = _track_table(frame, track, links[division])
    return Side(frame, label, track, centre, links, division, tracks), ids


def _link_indices(ids: Ints, frame: Ints, links: pl.DataFrame, *, name: str) -> Ints:
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    if (np.diff(ordered) == 0).any():
        msg = f"The objects of the {name} have the object_id {ordered[1:][np.diff(ordered) == 0][0]} twice; keep one."
        raise TableError(msg)
    table = f"links of the {name}"
    ends = np.column_stack([whole_numbers(links, c, table=table) for c in ("source_id", "target_id")])
    place = np.searchsorted(ordered, ends)
    known = (
        (place < len(ids)) & (ordered[np.minimum(place, max(len(ids) - 1, 0))] == ends)
        if len(ids)
        else np.zeros(ends.shape, np.bool_)
    )
    if not known.all():
        msg = f"A link of the {name} names the object {ends[~known][0]}, which is not among its objects."
        raise TableError(msg)
    source, target, *_ = unique_pairs(*order[place].T) if len(ends) else (ends[:, 0], ends[:, 1])
    index = np.column_stack([source, target])
    backwards = frame[index[:, 0]] >= frame[index[:, 1]]
    if backwards.any():
        a, b = ids[index[backwards][0]]
        msg = f"The link {a} -> {b} of the {name} does not lead to a later frame."
        raise TableError(msg)
    return np.asarray(index, np.int64)


def _follow(frame: Ints, links: Ints) -> Ints:
    """Return tracks numbered from 1 by their first objects; links lead from one object to its only successor."""
    before = np.full(len(frame), -1)
    before[links[:, 1]] = links[:, 0]
    track = np.zeros(len(frame), np.int64)
    starts = before < 0
    track[starts] = np.arange(1, int(starts.sum()) + 1)
    # objects are in order of frame, so that what comes before has its track
    later = np.flatnonzero(~starts)
    for here in np.split(later, np.flatnonzero(np.diff(frame[later])) + 1):
        track[here] = track[before[here]]
    return track


def _track_table(frame: Ints, track: Ints, divisions: Ints) -> Ints:
    n = int(track.max()) if len(track) else 0
    begin, end, parent = np.full(n + 1, np.iinfo(np.int64).max), np.full(n + 1, -1), np.zeros(n + 1, np.int64)
    np.minimum.at(begin, track, frame)
    np.maximum.at(end, track, frame)
    # where tracks merge, a table with one parent keeps the first; the links keep all
    parent[track[divisions[::-1, 1]]] = track[divisions[::-1, 0]]
    return np.column_stack([np.arange(n + 1), begin, end, parent])[1:]
