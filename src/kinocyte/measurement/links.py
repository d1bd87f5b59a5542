"""Motion along links: how far, how fast, how sharp a turn."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import TableError
from kinocyte.core.schema import require

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PLACE = ("x_um", "y_um", "z_um")


def link_features(objects: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Return displacement, speed and turn of every link.

    Parameters
    ----------
    objects : polars.DataFrame
        ``object_id frame time_min x_um y_um`` and, in 3D, ``z_um``; one position.
    links : polars.DataFrame
        ``source_id target_id``, object ids.

    Returns
    -------
    polars.DataFrame
        One row a link in the order given: ``source_id target_id``, ``frame_gap`` (int32, 1 = consecutive),
        ``duration_min``, ``time_min x_um y_um z_um`` (middle of both ends), ``displacement_um``, ``speed_um_per_min``
        (null where both ends have one time), ``directional_change_rad`` (0 = straight on, pi = back; null unless
        exactly one link leads to the source; 0 where one of both links does not move) and
        ``directional_change_rate_rad_per_min`` (that over the duration of the link).

    Raises
    ------
    TableError
        If a column is missing, an object id is repeated, or a link names an object that is not there.

    Notes
    -----
    Definitions are those of TrackMate's edge features (Ershov et al. (2022) Nat Methods 19:829,
    doi:10.1038/s41592-022-01507-1).
    """
    objects = placed(objects)
    source, target = link_rows(objects, links)
    ids = objects["object_id"].to_numpy()
    ends = pl.DataFrame({"source_id": ids[source], "target_id": ids[target]})
    return ends.hstack(motion(objects, source, target))


def placed(objects: pl.DataFrame) -> pl.DataFrame:
    """Return the objects with ids, frames and positions in all three dimensions, after checking them.

    Raises
    ------
    TableError
        If a column is missing or an object id is repeated.
    """
    require(objects, ("object_id", "frame", "time_min", "x_um", "y_um"), table="objects")
    if "z_um" not in objects.columns:
        objects = objects.with_columns(z_um=pl.lit(0.0))
    if objects["object_id"].n_unique() < objects.height:
        twice = objects.filter(pl.col("object_id").is_duplicated())["object_id"][0]
        msg = f"Object {twice} stands in two rows; measure one position at a time."
        raise TableError(msg)
    return objects.with_columns(
        pl.col("object_id", "frame").cast(pl.Int64), pl.col("time_min", *PLACE).cast(pl.Float64)
    )


def link_rows(objects: pl.DataFrame, links: pl.DataFrame) -> tuple[Ints, Ints]:
    """Return the rows of the objects at both ends of each link.

    Raises
    ------
    TableError
        If a column is missing or a link names an object that is not there.
    """
    require(links, ("source_id", "target_id"), table="links")
    ids = objects["object_id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    rows: list[Ints] = []
    for end in ("source_id", "target_id"):
        wanted = links[end].cast(pl.Int64).to_numpy()
        at = np.minimum(np.searchsorted(ordered, wanted), max(ids.size - 1, 0))
        if wanted.size and (ids.size == 0 or np.any(ordered[at] != wanted)):
            stranger = wanted[0] if ids.size == 0 else wanted[ordered[at] != wanted][0]
            msg = f"A link names the object {stranger}, which is not in the table of objects; link again."
            raise TableError(msg)
        rows.append(order[at])
    return rows[0], rows[1]


def motion(objects: pl.DataFrame, source: Ints, target: Ints) -> pl.DataFrame:
    """Return the motion of links given as rows of the objects; columns as `link_features`, without the ids."""
    place = objects.select(PLACE).to_numpy().astype(np.float64)
    time, frame = (objects[name].to_numpy() for name in ("time_min", "frame"))
    step = place[target] - place[source]
    minutes = np.abs(time[target] - time[source])
    length = np.sqrt((step * step).sum(axis=1))
    turn = _turns(step, source, target, place.shape[0])
    middle = (place[source] + place[target]) / 2
    return pl.DataFrame(
        {
            "frame_gap": np.abs(frame[target] - frame[source]).astype(np.int32),
            "duration_min": minutes,
            "time_min": (time[source] + time[target]) / 2,
            **{name: middle[:, k] for k, name in enumerate(PLACE)},
            "displacement_um": length,
            "speed_um_per_min": _per(length, minutes),
            "directional_change_rad": turn,
            "directional_change_rate_rad_per_min": _per(turn, minutes),
        },
        nan_to_null=True,
    )


def _turns(step: Floats, source: Ints, target: Ints, n_objects: int) -> Floats:
    """Return the angle (rad) of each link to the one link before it, NaN where there is not exactly one."""
    arriving = np.bincount(target, minlength=n_objects)
    arrives_by = np.zeros(n_objects, dtype=np.int64)
    arrives_by[target] = np.arange(target.size)
    turns = np.full(source.size, np.nan)
    some = np.flatnonzero(arriving[source] == 1)
    before, after = step[arrives_by[source[some]]], step[some]
    cross = np.cross(before, after)
    turns[some] = np.arctan2(np.sqrt((cross * cross).sum(axis=1)), (before * after).sum(axis=1))
    return turns


def _per(what: Floats, minutes: Floats) -> Floats:
    """Return a rate, NaN where no time passes."""
    rate: Floats = np.divide(what, minutes, out=np.full(what.shape, np.nan), where=minutes > 0)
    return rate
