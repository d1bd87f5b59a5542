"""Where tracked cells are in the frames that show no outline of them: before the first, in gaps, after the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import model_validator

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import Method, param
from kinocyte.core.schema import require
from kinocyte.measurement._choices import Operation
from kinocyte.measurement.discs import Discs


class PathDiscs(Method):
    """Brightness in discs and rings along the whole path of every track, also in frames without an outline.

    Between two objects of a track its position is interpolated; before the first and after the last it is held. Columns
    are those of the feature set ``discs``.
    """

    kind: ClassVar[str] = "path"

    method: Literal["discs"] = "discs"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")
    radii_um: tuple[tuple[float, float], ...] = param(
        ((0.0, 2.0),), help="Inner and outer radius of each disc or ring; inner 0 is a disc.", unit="um"
    )
    operations: tuple[Operation, ...] = param(("mean",), help="What to compute of the pixels of a disc.")
    before_frames: int | None = param(
        None, ge=0, help="Frames before a track begins that are measured too; left out: from the start of the movie."
    )
    after_frames: int | None = param(
        0, ge=0, help="Frames after a track ends that are measured too; left out: to the end of the movie."
    )

    @model_validator(mode="after")
    def _radii_rise(self) -> PathDiscs:
        _ = self.discs
        return self

    @property
    def discs(self) -> Discs:
        """Return the feature set that measures around the positions."""
        return Discs(channels=self.channels, radii_um=self.radii_um, operations=self.operations)

    def positions(self, cells: pl.DataFrame, times_min: Sequence[float]) -> pl.DataFrame:
        """Return where every track is in every frame that is to be measured; see `path_positions`."""
        return path_positions(
            cells, times_min, before_frames=self.before_frames, after_frames=self.after_frames
        )  # fmt: skip


def path_positions(
    cells: pl.DataFrame, times_min: Sequence[float], *, before_frames: int | None = 0, after_frames: int | None = 0
) -> pl.DataFrame:
    """Return where every track is, frame by frame, also in frames that show no object of it.

    Parameters
    ----------
    cells : polars.DataFrame
        ``object_id track_id frame x_um y_um z_um``; rows without a track are left out.
    times_min : sequence of float, (frames,)
        Time of every frame of the movie, in minutes; positions in gaps are interpolated in time.
    before_frames, after_frames : int, optional
        How many frames before the first and after the last object are added, with the position held; None: all.

    Returns
    -------
    polars.DataFrame
        ``track_id frame time_min x_um y_um z_um object_id seen`` by track and frame; ``seen`` is ``object``, ``gap``,
        ``before`` or ``after``, and ``object_id`` is null but for ``object``.

    Raises
    ------
    TableError
        If a column is missing.
    ParameterError
        If a frame lies outside the movie, or a track has two objects in one frame.
    """
    axes = ("x_um", "y_um", "z_um")
    require(cells, ("object_id", "track_id", "frame", *axes), table="objects")
    known = cells.select("object_id", "track_id", pl.col("frame").cast(pl.Int64), *axes).drop_nulls("track_id")
    known = known.sort("track_id", "frame")
    times = np.asarray(times_min, np.float64)
    frame, track = known["frame"].to_numpy(), known["track_id"].to_numpy()
    if known.height and not (frame.min() >= 0 and frame.max() < times.size):
        msg = f"An object is in frame {frame.max()}, but the movie has {times.size} frames."
        raise ParameterError(msg)
    start = np.flatnonzero(np.diff(track, prepend=track[:1] - 1)) if known.height else np.empty(0, np.int64)
    end = np.append(start[1:], known.height)[: start.size]
    twice = np.flatnonzero((np.diff(frame) == 0) & (np.diff(track) == 0))
    if twice.size:
        msg = f"Track {track[twice[0]]} has two objects in frame {frame[twice[0]]}; a path has one."
        raise ParameterError(msg)
    first, last = frame[start], frame[end - 1]
    begin = np.zeros_like(first) if before_frames is None else np.maximum(first - before_frames, 0)
    latest = times.size - 1
    stop = np.full_like(last, latest) if after_frames is None else np.minimum(last + after_frames, latest)
    length = stop - begin + 1
    offset = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    frames = np.arange(offset[-1]) - np.repeat(offset[:-1] - begin, length)
    place, places = np.empty((frames.size, 3)), known.select(axes).to_numpy()
    for k, (a, b) in enumerate(zip(start, end, strict=True)):
        own = slice(offset[k], offset[k + 1])
        for axis in range(3):
            place[own, axis] = np.interp(times[frames[own]], times[frame[a:b]], places[a:b, axis])
    early, late = frames < np.repeat(first, length), frames > np.repeat(last, length)
    rows = pl.DataFrame(
        {"track_id": np.repeat(track[start], length), "frame": frames, "time_min": times[frames]}
        | {a: place[:, i] for i, a in enumerate(axes)}
    ).with_columns(where=pl.Series(np.where(early, "before", np.where(late, "after", "gap")), dtype=pl.String))
    ids = known.select("track_id", "frame", "object_id")
    rows = rows.cast({"track_id": ids.schema["track_id"], "frame": pl.Int64}).join(
        ids, on=["track_id", "frame"], how="left", maintain_order="left"
    )
    seen = pl.when(pl.col("object_id").is_not_null()).then(pl.lit("object")).otherwise("where")
    return rows.with_columns(seen=seen, frame=pl.col("frame").cast(pl.Int32)).drop("where")
