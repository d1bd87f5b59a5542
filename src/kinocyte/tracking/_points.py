"""Objects as arrays in the order in which every linker visits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import TableError
from kinocyte.core.schema import LINKS, empty, require

TABLE = "objects"

#: a position farther away than this is none; its square would no longer be a number that can be counted with
_FARTHEST_UM = 1e15
_LAST_FRAME = 2**30 - 1


@dataclass(frozen=True, slots=True)
class Points:
    """Objects that can be linked, sorted by frame and then by object id.

    Parameters
    ----------
    object_id : numpy.ndarray of int64, shape (n,)
        Object ids.
    position_um : numpy.ndarray of float64, shape (n, 3)
        x, y, z in micrometres; z is 0 in 2D.
    frames : numpy.ndarray of int64, shape (f,)
        Frames that hold an object, ascending.
    first : numpy.ndarray of int64, shape (f + 1,)
        Objects ``first[k]:first[k + 1]`` stand in frame ``frames[k]``.
    row : numpy.ndarray of int64, shape (n,)
        Row of each object in the table it came from.
    """

    object_id: NDArray[np.int64]
    position_um: NDArray[np.float64]
    frames: NDArray[np.int64]
    first: NDArray[np.int64]
    row: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Return the number of objects."""
        return len(self.object_id)

    def frame(self) -> NDArray[np.int64]:
        """Return the frame of each object."""
        return np.repeat(self.frames, np.diff(self.first))

    def frame_index(self) -> NDArray[np.int64]:
        """Return the position of each object's frame in ``frames``."""
        return np.repeat(np.arange(len(self.frames)), np.diff(self.first))

    def gaps(self, largest: int) -> int:
        """Return the largest difference of frames that is asked for and occurs, at least 1."""
        return max(min(largest, int(self.frames[-1] - self.frames[0])), 1) if len(self.frames) else 1

    def dimensions(self) -> int:
        """Return 3 when the objects differ in z, else 2."""
        z = self.position_um[:, 2]
        return 3 if self.n and float(np.ptp(z)) > 0.0 else 2

    def backwards(self) -> Points:
        """Return the same objects with time running backwards, last object first."""
        return Points(
            self.object_id[::-1],
            np.ascontiguousarray(self.position_um[::-1]),
            -self.frames[::-1],
            self.n - self.first[::-1],
            self.row[::-1],
        )


def points(objects: pl.DataFrame) -> Points:
    """Return the objects of a table that have a finite position.

    An object whose position is NaN, infinite, null or beyond 10^15 um is nowhere, so that no linker can link it; it is
    left out here and remains without links.

    Parameters
    ----------
    objects : polars.DataFrame
        Columns ``object_id frame x_um y_um`` and, in 3D, ``z_um``.

    Raises
    ------
    TableError
        If a column is missing or not numeric, an id or frame is null, a frame is beyond 2^30, or two objects
        share an id.
    """
    require(objects, ("object_id", "frame", "x_um", "y_um"), table=TABLE)
    ids = integers(objects, "object_id")
    frame = _frames(objects)
    axes = [_floats(objects, a) for a in ("x_um", "y_um")]
    axes.append(_floats(objects, "z_um") if "z_um" in objects.columns else np.zeros(len(ids)))
    order = by_frame(ids, frame)
    _refuse_duplicates(ids)
    somewhere = np.ones(len(ids), np.bool_)
    for axis in axes:
        somewhere &= np.abs(axis) <= _FARTHEST_UM  # False for NaN
    order = order[somewhere[order]]
    ids, frame = ids[order], frame[order]
    position = np.stack([axis[order] for axis in axes], axis=1)
    begin = np.concatenate([[True], frame[1:] != frame[:-1]])[: len(frame)]
    first = np.append(np.flatnonzero(begin), len(frame)).astype(np.int64)
    return Points(ids, position, frame[begin], first, order)


def features(objects: pl.DataFrame, at: Points, names: Sequence[str]) -> NDArray[np.float64]:
    """Return columns of the table in the order of the points, shape (n, len(names)), null = NaN.

    Raises
    ------
    TableError
        If the table lacks a column or it is not numeric.
    """
    require(objects, names, table=TABLE)
    out = np.empty((at.n, len(names)))
    for k, name in enumerate(names):
        out[:, k] = _floats(objects, name)[at.row]
    return out


def links_frame(
    at: Points,
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    *,
    cost: NDArray[np.float64],
    confidence: NDArray[np.float64],
) -> pl.DataFrame:
    """Return a links table from positions in ``at``, sorted by source and target id.

    Parameters
    ----------
    at : Points
        The objects.
    source, target : numpy.ndarray of int64, shape (m,)
        Positions of both ends.
    cost, confidence : numpy.ndarray of float64, shape (m,)
        NaN becomes null.
    """
    if not len(source):
        return empty(LINKS)
    ids, ends = at.object_id[source], at.object_id[target]
    later = ids[1:] > ids[:-1]
    # mostly they are in order, as ids count the objects frame by frame
    if not (later | ((ids[1:] == ids[:-1]) & (ends[1:] > ends[:-1]))).all():
        order = np.lexsort((ends, ids))
        source, target, cost, confidence = source[order], target[order], cost[order], confidence[order]
        ids, ends = ids[order], ends[order]
    frame = at.frame()
    return pl.DataFrame(
        {
            "source_id": ids,
            "target_id": ends,
            "cost": pl.Series(cost, nan_to_null=True),
            "frame_gap": (frame[target] - frame[source]).astype(np.int32),
            "confidence": pl.Series(confidence, nan_to_null=True),
        }
    )


def integers(objects: pl.DataFrame, name: str, table: str = TABLE) -> NDArray[np.int64]:
    """Return a column of whole numbers.

    Raises
    ------
    TableError
        If it holds something else, or nulls.
    """
    column = objects[name]
    if column.is_empty():
        return np.empty(0, np.int64)
    if not column.dtype.is_numeric():
        msg = f"Column '{name}' of table '{table}' holds {column.dtype}; whole numbers are needed."
        raise TableError(msg)
    if column.null_count():
        row = int(column.is_null().arg_max() or 0)
        msg = f"Table '{table}' has no {name} in row {row}; every object needs one."
        raise TableError(msg)
    try:
        whole = column.cast(pl.Int64)
    except pl.exceptions.PolarsError as error:
        msg = f"Column '{name}' of table '{table}' holds a value that is no 64-bit whole number."
        raise TableError(msg) from error
    if column.dtype.is_float() and bool((whole.cast(column.dtype) != column).any()):
        row = int((whole.cast(column.dtype) != column).arg_max() or 0)
        msg = f"Table '{table}' has {name} = {column[row]} in row {row}; give a whole number."
        raise TableError(msg)
    return whole.to_numpy().astype(np.int64, copy=False)


def _frames(objects: pl.DataFrame) -> NDArray[np.int64]:
    """Return the frames, which must lie so that their differences fit into the links table, too."""
    frame = integers(objects, "frame")
    beyond = (frame > _LAST_FRAME) | (frame < -_LAST_FRAME)
    if beyond.any():
        row = int(np.argmax(beyond))
        msg = f"Table '{TABLE}' has frame = {frame[row]} in row {row}; number the frames from 0 to {_LAST_FRAME}."
        raise TableError(msg)
    return frame


def by_frame(ids: NDArray[np.int64], frame: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the rows by frame and then id; a table that is in that order already is not sorted again."""
    later = frame[1:] > frame[:-1]
    if (later | ((frame[1:] == frame[:-1]) & (ids[1:] >= ids[:-1]))).all():
        return np.arange(len(ids))
    return np.lexsort((ids, frame))


def _floats(objects: pl.DataFrame, name: str) -> NDArray[np.float64]:
    column = objects[name]
    if column.is_empty():  # a CSV without rows says nothing of its columns
        return np.empty(0)
    if not (column.dtype.is_numeric() or column.dtype in {pl.Boolean, pl.Null}):
        msg = f"Column '{name}' of table '{TABLE}' holds {column.dtype}; numbers are needed."
        raise TableError(msg)
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _refuse_duplicates(ids: NDArray[np.int64]) -> None:
    ordered = ids if (ids[1:] > ids[:-1]).all() else np.sort(ids)
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        msg = (
            f"Table '{TABLE}' has object_id {ordered[twice[0]]} more than once; "
            "give each object of a position its own id."
        )
        raise TableError(msg)
