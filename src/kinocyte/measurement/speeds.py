"""Motion of each object at its time: velocity over a window, distance and directionality so far."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.schema import require
from kinocyte.measurement.links import PLACE, placed

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Direction = Literal["centred", "forward", "backward"]


def object_motion(
    objects: pl.DataFrame, *, by: str = "track_id", window_frames: int = 1, direction: Direction = "centred"
) -> pl.DataFrame:
    """Return velocity and progress of every object on its track.

    Parameters
    ----------
    objects : polars.DataFrame
        ``object_id frame time_min x_um y_um``, in 3D ``z_um``, and the column named by ``by``; one position, at most
        one object of a track in a frame.
    by : str
        Column of the track; objects without one are left out.
    window_frames : int
        Frames the window reaches forward, backward, or both ways (``centred``); 1 and ``backward`` is the speed of the
        link that leads to the object.
    direction : {'centred', 'forward', 'backward'}
        Where the window lies.

    Returns
    -------
    polars.DataFrame
        Sorted by track and frame: ``object_id``, ``velocity_x_um_per_min velocity_y_um_per_min velocity_z_um_per_min``
        and ``speed_um_per_min`` (straight from one end of the window to the other, over its duration; null where the
        track has no object at an end), ``distance_from_start_um``, ``path_um`` (sum of steps so far),
        ``directionality`` (first over second; null before it moves).

    Raises
    ------
    TableError
        If a column is missing or a track holds two objects in one frame.
    ParameterError
        If the window is empty or the direction unknown.
    """
    if window_frames < 1 or direction not in {"centred", "forward", "backward"}:
        msg = (
            f"A window of {window_frames} frames, {direction!r}, is none; give 1 or more, centred, forward or backward."
        )
        raise ParameterError(msg)
    require(objects, (by,), table="objects")
    known = placed(objects).filter(pl.col(by).is_not_null()).sort(by, "frame", "object_id")
    track = known[by].rle_id().cast(pl.Int64).to_numpy()
    frame, time = known["frame"].to_numpy(), known["time_min"].to_numpy()
    place = known.select(pl.col(PLACE).fill_null(float("nan"))).to_numpy()
    twice = np.flatnonzero((np.diff(track) == 0) & (np.diff(frame) == 0))
    if twice.size:
        msg = f"Track {known[by][int(twice[0])]} holds two objects in frame {frame[twice[0]]}; separate its branches."
        raise TableError(msg)
    back = window_frames if direction != "forward" else 0
    ahead = window_frames if direction != "backward" else 0
    start, end = _at(track, frame, -back), _at(track, frame, ahead)
    both = (start >= 0) & (end >= 0)
    velocity = np.full(place.shape, np.nan)
    minutes = time[end[both]] - time[start[both]]
    minutes[minutes <= 0] = np.nan
    velocity[both] = (place[end[both]] - place[start[both]]) / minutes[:, np.newaxis]
    from_start, path = _progress(track, place)
    return pl.DataFrame(
        {
            "object_id": known["object_id"],
            **{f"velocity_{c[0]}_um_per_min": velocity[:, k] for k, c in enumerate(PLACE)},
            "speed_um_per_min": np.sqrt((velocity**2).sum(axis=1)),
            "distance_from_start_um": from_start,
            "path_um": path,
            "directionality": np.divide(from_start, path, out=np.full(path.shape, np.nan), where=path > 0),
        },
        nan_to_null=True,
    )


def _at(track: Ints, frame: Ints, shift: int) -> Ints:
    """Return the row of the same track ``shift`` frames on, -1 where there is none; rows rise by track and frame."""
    if not track.size:
        return track
    low = int(frame.min()) - abs(shift)
    width = int(frame.max()) + abs(shift) - low + 1
    key = track * width + (frame - low)
    found = np.searchsorted(key, key + shift)
    hit = (found < key.size) & (key[np.minimum(found, key.size - 1)] == key + shift)
    return np.where(hit, found, -1)


def _progress(track: Ints, place: Floats) -> tuple[Floats, Floats]:
    """Return the distance from the first object of the track and the length of the path to each object."""
    if not track.size:
        return np.empty(0), np.empty(0)
    first = np.searchsorted(track, track)
    step = np.zeros(track.size)
    step[1:] = np.where(np.diff(track) == 0, np.sqrt((np.diff(place, axis=0) ** 2).sum(axis=1)), 0.0)
    # an object without a position is stepped over; its own path stays unknown
    lost = np.isnan(place).any(axis=1)
    if lost.any():
        kept = np.flatnonzero(~lost)
        from_start, path = np.full(track.size, np.nan), np.full(track.size, np.nan)
        from_start[kept], path[kept] = _progress(track[kept], place[kept])
        return from_start, path
    total = np.cumsum(step)
    return np.sqrt(((place - place[first]) ** 2).sum(axis=1)), total - total[first]
