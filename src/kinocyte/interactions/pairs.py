"""Two cells over time: how near, how they move towards each other, and what both show meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError, nearest
from kinocyte.core.scale import Scale
from kinocyte.core.schema import require
from kinocyte.interactions._cells import PLACE, as_tuple, checked, same_population
from kinocyte.interactions._clock import codes, frame_clock, running_sum, with_minutes
from kinocyte.interactions._pair_motion import bearing, cosine
from kinocyte.interactions.base import LabelSource

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

TRACKS = ("reference_track_id", "neighbour_track_id")
#: above it the number of a pair would not fit into 64 bits
_MAX_TRACK = 3_000_000_000


def pair_signals(
    pairs: pl.DataFrame,
    reference_cells: pl.DataFrame,
    neighbour_cells: pl.DataFrame | None = None,
    *,
    signals: Sequence[str] = (),
    window_frames: int = 1,
    frames: Literal["both", "either"] = "both",
    scale: Scale | None = None,
    reference_labels: LabelSource | None = None,
    neighbour_labels: LabelSource | None = None,
    by: str | Sequence[str] = (),
) -> pl.DataFrame:
    """Return every pair of tracks that ever were neighbours, frame by frame, also while they are apart.

    A pair lives from the first to the last frame in which both tracks are seen, wherever either begins and ends.

    Parameters
    ----------
    pairs : polars.DataFrame
        What a method of the kind ``interaction`` returned. Rows without a track on either side are left out.
    reference_cells, neighbour_cells : polars.DataFrame
        The populations the pairs were found in, with ``track_id``; the second is left out within one population.
    signals : sequence of str
        Columns to lay beside each other: ``reference_<name>`` and ``neighbour_<name>``; one that only one population
        has is given for that one.
    window_frames : int
        Velocities are slopes of straight lines through so many frames before and after as there are (1: three frames
        in all; fewer at the ends of a pair and beside gaps).
    frames : {'both', 'either'}
        ``either`` adds the frames in which only one of the two tracks is seen.
    scale : Scale, optional
        Calibration of the label images.
    reference_labels, neighbour_labels : callable, optional
        Label image of a frame; with them and ``scale`` every row has its ``edge_distance_um``, otherwise those that
        stand in ``pairs``.
    by : str or sequence of str
        Columns that tell positions apart; track ids and pair ids may repeat between them.

    Returns
    -------
    polars.DataFrame
        Sorted by pair and frame. To look for events of pairs, rename ``pair_id`` to ``track_id``.

        The ``by`` columns; ``pair_id``, a number made of both track ids alone, the same however and whenever the pairs
        are found; ``reference_track_id neighbour_track_id reference_id neighbour_id frame time_min``;
        ``pair_time_min`` (0 when they first are neighbours); ``together`` (neighbours in this frame); ``presence_min``
        (time together up to the end of this frame); ``distance_um edge_distance_um`` and other columns of ``pairs``;

        ``relative_velocity_um_per_min`` (change of the distance, negative while they approach),
        ``relative_speed_um_per_min`` (length of the difference of both velocities), ``reference_speed_um_per_min
        neighbour_speed_um_per_min``, ``angle_rad`` (direction from the reference to the neighbour in the x-y plane,
        from the x axis towards the y axis, unwrapped), ``angular_velocity_rad_per_min``, ``approach_angle_rad``
        (between the neighbour's motion and the way to the reference: 0 straight at it, pi straight away),
        ``motion_cosine`` (of both motions: 1 side by side, -1 opposite); then the signals.

        What needs a position, a motion or a second frame is null where that is missing. Within one population every
        pair stands once, the lower track id as the reference.

    Raises
    ------
    TableError
        If a column is missing, a track holds two objects in one frame, or a track id is negative.
    ParameterError
        If the window is empty, a signal is in neither table, or label images are given without a scale.
    """
    names = as_tuple(by)
    if window_frames < 1 or frames not in {"both", "either"}:
        msg = f"A window of {window_frames} frames and frames = '{frames}' are refused; give 1 or more, both or either."
        raise ParameterError(msg)
    within = same_population(reference_cells, neighbour_cells)
    others = reference_cells if neighbour_cells is None else neighbour_cells
    _known_signals(signals, reference_cells, others)
    met = _met(pairs, names, within=within)
    tracks = met.select(*names, *TRACKS).unique().sort(*names, *TRACKS)
    tracks = tracks.with_columns(pl.Series("pair_id", pair_ids(tracks)))
    first = _side(reference_cells, names, "reference", signals)
    second = _side(others, names, "neighbour", signals)
    rows = _meet(tracks, first, second, names, frames)
    rows = rows.join(met, on=[*names, *TRACKS, "frame"], how="left", nulls_equal=True, maintain_order="left")
    rows = rows.with_columns(pl.col("together").fill_null(value=False)).sort(*names, "pair_id", "frame")
    if reference_labels is not None or neighbour_labels is not None:
        labels = (reference_labels, reference_labels if within else neighbour_labels)
        rows = rows.with_columns(edge_distance_um=_edges(rows, labels, scale, names))
    group = codes(rows, [*names, "pair_id"])
    rows = rows.with_columns(*_motion(rows, group, window_frames), *_times(rows, group, names))
    return rows.select(*_order(rows, names, signals))


def pair_ids(tracks: pl.DataFrame) -> Ints:
    """Return the number of each pair of tracks: y² + x where x < y, else x² + x + y (Szudzik's pairing).

    Parameters
    ----------
    tracks : polars.DataFrame
        ``reference_track_id neighbour_track_id``, whole numbers from 0.

    Raises
    ------
    TableError
        If an id is negative or above 3e9.
    """
    x, y = (tracks[n].cast(pl.Int64).to_numpy() for n in TRACKS)
    for name, ids in zip(TRACKS, (x, y), strict=True):
        bad = ids[(ids < 0) | (ids > _MAX_TRACK)]
        if len(bad):
            msg = f"The column '{name}' holds {bad[0]}; track ids are whole numbers from 0 to {_MAX_TRACK}."
            raise TableError(msg)
    return np.asarray(np.where(x < y, y * y + x, x * x + x + y))


def _known_signals(signals: Sequence[str], reference: pl.DataFrame, neighbour: pl.DataFrame) -> None:
    both = {*reference.columns, *neighbour.columns}
    for name in signals:
        if name not in both:
            msg = f"Neither population has the column '{name}'; {nearest(name, both)}."
            raise ParameterError(msg)


def _met(pairs: pl.DataFrame, by: tuple[str, ...], *, within: bool) -> pl.DataFrame:
    """Return pair of tracks, frame and the columns of ``pairs`` that are no name of anything, with ``together``."""
    require(pairs, (*by, *TRACKS, "frame"), table="pairs")
    named = {"reference_id", "neighbour_id", "time_min", "distance_um", "presence_min", "together"}
    rest = [c for c in pairs.columns if c not in {*by, *TRACKS, "frame", *named}]
    met = pairs.filter(pl.all_horizontal(pl.col(TRACKS).is_not_null())).select(
        *by, *(pl.col(t).cast(pl.Int64) for t in TRACKS), pl.col("frame").cast(pl.Int32), *rest
    )
    if within:
        a, b = TRACKS
        # what one side of a pair has measured does not hold for the other
        swapped = met.filter(pl.col(a) > pl.col(b)).select(
            *by, pl.col(b).alias(a), pl.col(a).alias(b), *(pl.lit(None, met.schema[c]).alias(c) for c in rest), "frame"
        )
        met = pl.concat([met.filter(pl.col(a) < pl.col(b)), swapped.select(met.columns)])
    met = met.unique([*by, *TRACKS, "frame"], keep="first", maintain_order=True)
    return met.with_columns(together=pl.lit(value=True))


def _side(cells: pl.DataFrame, by: tuple[str, ...], side: str, signals: Sequence[str]) -> pl.DataFrame:
    """Return the tracked cells of one side with its columns named after it."""
    require(cells, ("track_id",), table=f"{side}_cells")
    table = checked(cells, None, by, f"{side}_cells")
    known = [s for s in signals if s in cells.columns]
    table = table.hstack([cells[s].alias(f"{side}_{s}") for s in known]).filter(pl.col("track_id").is_not_null())
    twice = table.select(*by, "track_id", "frame").is_duplicated()
    if twice.any():
        row = table.row(int(twice.arg_max() or 0), named=True)
        msg = f"Track {row['track_id']} holds two {side} objects in frame {row['frame']}; separate its branches."
        raise TableError(msg)
    renamed = {"track_id": f"{side}_track_id", "object_id": f"{side}_id", "time_min": f"_{side}_time"}
    return table.rename(renamed | {n: f"_{side}_{n}" for n in (*PLACE, "label")})


def _meet(
    tracks: pl.DataFrame, first: pl.DataFrame, second: pl.DataFrame, by: tuple[str, ...], frames: str
) -> pl.DataFrame:
    """Return a row for each pair of tracks and each frame in which both, or either, are seen."""
    a = tracks.join(first, on=[*by, TRACKS[0]], nulls_equal=True)
    keys = [*by, *TRACKS, "pair_id", "frame"]
    if frames == "both":
        rows = a.join(second, on=[*by, TRACKS[1], "frame"], nulls_equal=True)
    else:
        b = tracks.join(second, on=[*by, TRACKS[1]], nulls_equal=True)
        rows = a.join(b, on=keys, how="full", coalesce=True, nulls_equal=True)
    return rows.with_columns(time_min=pl.coalesce("_reference_time", "_neighbour_time"))


def _edges(
    rows: pl.DataFrame,
    labels: tuple[LabelSource | None, LabelSource | None],
    scale: Scale | None,
    by: tuple[str, ...],
) -> pl.Series:
    """Return the distance of both masks in every row, one frame in memory at a time."""
    from kinocyte.interactions._masks import edge_distances, read_masks

    if labels[0] is None or labels[1] is None or scale is None:
        msg = "Edge distances need the label images of both populations and the scale; give all three or none."
        raise ParameterError(msg)
    if by and rows.select(by).n_unique() > 1:
        msg = f"Label images belong to one position, but the cells come from several ({', '.join(by)}); take one each."
        raise ParameterError(msg)
    frames = rows["frame"].to_numpy()
    wanted = rows.select(pl.col("_reference_label", "_neighbour_label").fill_null(0)).to_numpy()
    out = np.full(len(rows), np.nan)
    for frame in np.unique(frames):
        here = np.flatnonzero(frames == frame)
        reference = read_masks(labels[0], int(frame))
        neighbour = reference if labels[1] is labels[0] else read_masks(labels[1], int(frame))
        out[here] = edge_distances(reference, neighbour, wanted[here], scale)
    return pl.Series("edge_distance_um", out, nan_to_null=True)


def _motion(rows: pl.DataFrame, group: Ints, window_frames: int) -> list[pl.Series]:
    """Return the columns of distance, motion and angle."""
    from kinocyte.interactions._slope_kernel import slopes

    place = {
        side: rows.select(pl.col(f"_{side}_{n}").fill_null(float("nan")) for n in PLACE).to_numpy()
        for side in ("reference", "neighbour")
    }
    time = rows["time_min"].fill_null(float("nan")).to_numpy()
    at = (group, rows["frame"].cast(pl.Int64).to_numpy())
    apart = place["neighbour"] - place["reference"]
    distance = np.sqrt((apart**2).sum(axis=1))
    own, other = (slopes(place[side], time, at, window_frames) for side in ("reference", "neighbour"))
    relative = slopes(np.column_stack([distance, apart]), time, at, window_frames)
    angle = bearing(apart, group)
    columns = {
        "distance_um": distance,
        "relative_velocity_um_per_min": relative[:, 0],
        "relative_speed_um_per_min": np.sqrt((relative[:, 1:] ** 2).sum(axis=1)),
        "reference_speed_um_per_min": np.sqrt((own**2).sum(axis=1)),
        "neighbour_speed_um_per_min": np.sqrt((other**2).sum(axis=1)),
        "angle_rad": angle,
        "angular_velocity_rad_per_min": slopes(angle[:, np.newaxis], time, at, window_frames)[:, 0],
        "approach_angle_rad": np.arccos(cosine(other, -apart)),
        "motion_cosine": cosine(own, other),
    }
    return [pl.Series(n, v, nan_to_null=True) for n, v in columns.items()]


def _times(rows: pl.DataFrame, group: Ints, by: tuple[str, ...]) -> list[pl.Series]:
    """Return the clock of each pair and the time together so far."""
    together, time = rows["together"].to_numpy(), rows["time_min"].to_numpy()
    met = np.full(int(group.max(initial=-1)) + 1, np.inf)
    np.minimum.at(met, group[together], time[together])
    timed = with_minutes(rows.select(*by, "frame"), frame_clock([rows], by), by)
    minutes = (timed["end_min"] - timed["begin_min"]).fill_null(float("nan")).to_numpy()
    presence = running_sum(np.where(together, minutes, 0.0), group, np.arange(len(group)))
    clock = time - met[group]
    return [
        pl.Series("pair_time_min", np.where(np.isfinite(clock), clock, np.nan), nan_to_null=True),
        pl.Series("presence_min", presence, nan_to_null=True),
    ]


def _order(rows: pl.DataFrame, by: tuple[str, ...], signals: Sequence[str]) -> list[str]:
    """Return the columns to show, in order."""
    head = [*by, "pair_id", *TRACKS, "reference_id", "neighbour_id", "frame", "time_min", "pair_time_min", "together"]
    beside = [f"{side}_{s}" for side in ("reference", "neighbour") for s in signals]
    last = [c for c in beside if c in rows.columns]
    head += ["presence_min", "distance_um", *(["edge_distance_um"] if "edge_distance_um" in rows.columns else [])]
    rest = [c for c in rows.columns if c not in {*head, *last} and not c.startswith("_")]
    return [*head, *rest, *last]
