"""What every reader of tracks returns and every writer takes: objects, links, outlines and what the format adds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import LINKS, OBJECTS, conform, empty, require

#: Label image of a frame, (y, x) or (z, y, x), unsigned integers.
Masks = Callable[[int], NDArray[Any]]


@dataclass(frozen=True)
class Contours:
    """Outlines of objects, one polygon an object.

    Parameters
    ----------
    object_id : array (n,), int64
        Whose outline it is; each object at most once.
    start : array (n + 1,), int64
        Outline ``i`` is ``xy_um[start[i]:start[i + 1]]``.
    xy_um : array (m, 2), float64
        Vertices as x and y in micrometres, relative to the centre of the object.
    """

    object_id: NDArray[np.int64]
    start: NDArray[np.int64]
    xy_um: NDArray[np.float64]

    @classmethod
    def of(cls, outlines: Mapping[int, NDArray[np.float64]]) -> Contours:
        """Return the outlines of a mapping from ``object_id`` to vertices (n, 2) relative to the centre."""
        sizes = [len(o) for o in outlines.values()]
        xy = np.concatenate([np.asarray(o, np.float64).reshape(-1, 2) for o in outlines.values()] or [np.empty((0, 2))])
        return cls(np.array(list(outlines), np.int64), np.cumsum([0, *sizes]).astype(np.int64), xy)

    def __len__(self) -> int:
        """Return how many objects have an outline."""
        return len(self.object_id)

    def items(self) -> dict[int, NDArray[np.float64]]:
        """Return the vertices (n, 2) of each object."""
        return {int(i): self.xy_um[self.start[k] : self.start[k + 1]] for k, i in enumerate(self.object_id)}

    def scaled(self, factor: float) -> Contours:
        """Return the outlines with all vertices multiplied by a factor."""
        return self if factor == 1.0 else dataclasses.replace(self, xy_um=self.xy_um * factor)


NO_CONTOURS = Contours(np.empty(0, np.int64), np.zeros(1, np.int64), np.empty((0, 2)))


@dataclass(frozen=True)
class TrackData:
    """Objects and links of one movie, with what the file held beyond them.

    Parameters
    ----------
    objects : polars.DataFrame
        `kinocyte.core.schema.OBJECTS`, then the features the file held, named and in the unit as they were there.
        ``label`` is the value in the label image, or the running number within the frame where there is none.
    links : polars.DataFrame
        `kinocyte.core.schema.LINKS`, then the features of links.
    name : str
        Name of the movie.
    scale : Scale, optional
        Calibration; None where the file states none, then a pixel counts as a micrometre and a frame as a minute.
    tracks, members : polars.DataFrame, optional
        `kinocyte.core.schema.TRACKS` and ``MEMBERS`` where the source has them; else `kinocyte.interop.tracks.branches`
        makes them.
    contours : Contours
        Outlines.
    shape : tuple of int, optional
        Size of the movie, (t, y, x) or (t, z, y, x), where known.
    masks : callable, optional
        ``masks(frame)`` returns the label image of a frame, values are ``label``.
    payload : object, optional
        What only the format it came from can express; other formats leave it out.
    notes : tuple of str
        What a person should know about the reading: what was left out or taken for granted.
    image_file : str
        Full path of the movie, where known: programs that show tracks on it open it.
    """

    objects: pl.DataFrame
    links: pl.DataFrame
    name: str = "tracks"
    scale: Scale | None = None
    tracks: pl.DataFrame | None = None
    members: pl.DataFrame | None = None
    contours: Contours = NO_CONTOURS
    shape: tuple[int, ...] | None = None
    masks: Masks | None = None
    payload: object = None
    notes: tuple[str, ...] = ()
    image_file: str = ""

    def replace(self, **changes: Any) -> TrackData:
        """Return a copy with some parts changed."""
        return dataclasses.replace(self, **changes)

    @property
    def object_features(self) -> list[str]:
        """Return the columns of objects beyond the schema."""
        return [c for c in self.objects.columns if c not in OBJECTS]

    @property
    def link_features(self) -> list[str]:
        """Return the columns of links beyond the schema."""
        return [c for c in self.links.columns if c not in LINKS]

    @property
    def is_3d(self) -> bool:
        """Tell whether any object lies outside the plane z = 0."""
        return bool((self.objects["z_um"] != 0).any())


def track_data(objects: pl.DataFrame, links: pl.DataFrame | None = None, **parts: Any) -> TrackData:
    """Return track data after checking it; what a table lacks is filled in where it follows from the rest.

    Parameters
    ----------
    objects : polars.DataFrame
        At least ``object_id frame x_um y_um``. ``z_um`` is 0, ``label`` the running number within the frame and
        ``time_min`` follows from the scale (or is the frame) where missing.
    links : polars.DataFrame, optional
        At least ``source_id target_id``; none when left out.
    **parts
        The other parts of `TrackData`.

    Raises
    ------
    TableError
        If ids repeat, a link names an object that is not there, or does not run forward in time.
    """
    require(objects, ("object_id", "frame", "x_um", "y_um"), table="objects")
    objects = _filled(objects, parts.get("scale"))
    if objects["object_id"].n_unique() < objects.height:
        twice = objects["object_id"].filter(objects["object_id"].is_duplicated())[0]
        msg = f"The object {twice} stands twice in the table of objects; each object_id is used once."
        raise TableError(msg)
    return TrackData(objects, _checked_links(links, objects), **parts)


def _filled(objects: pl.DataFrame, scale: Scale | None) -> pl.DataFrame:
    """Return the objects with every column of the schema."""
    given = objects.columns
    if "frame" in given and objects.height and objects["frame"].cast(pl.Int64, strict=False).min() is None:
        msg = "The column 'frame' of the objects holds no numbers; frames are whole numbers from 0."
        raise TableError(msg)
    more: list[Any] = []
    if "z_um" not in given:
        more.append(pl.lit(0.0).alias("z_um"))
    if "label" not in given:
        more.append(pl.int_range(1, pl.len() + 1).over("frame").cast(pl.UInt32).alias("label"))
    if "time_min" not in given:
        more.append(frame_times(objects["frame"], scale).alias("time_min"))
    return conform(objects.with_columns(more) if objects.height else _typed(objects), OBJECTS, table="objects")


def _typed(objects: pl.DataFrame) -> pl.DataFrame:
    """Return a table without rows with every column of the schema, features behind."""
    rest = [c for c in objects.columns if c not in OBJECTS]
    return pl.concat([empty(OBJECTS), objects.select(rest)], how="horizontal") if rest else empty(OBJECTS)


def frame_times(frames: pl.Series, scale: Scale | None) -> pl.Series:
    """Return the times of frames in minutes; without a calibration a frame counts as a minute."""
    if scale is not None and scale.times_min is not None:
        times = dict(enumerate(scale.times_min))
        step = scale.frame_interval_min or 1.0
        last = max(times)
        return pl.Series(
            [times[f] if f in times else scale.times_min[last] + (f - last) * step for f in frames.to_list()],
            dtype=pl.Float64,
        )
    interval = scale.frame_interval_min if scale is not None and scale.frame_interval_min is not None else 1.0
    return frames.cast(pl.Float64) * interval


def _checked_links(links: pl.DataFrame | None, objects: pl.DataFrame) -> pl.DataFrame:
    if links is None or not links.height:
        rest = [] if links is None else [c for c in links.columns if c not in LINKS]
        return (
            pl.concat([empty(LINKS), links.select(rest)], how="horizontal")
            if links is not None and rest
            else empty(LINKS)
        )
    require(links, ("source_id", "target_id"), table="links")
    frames = objects.select("object_id", "frame")
    order = [c for c in links.columns if c != "frame_gap"]
    joined = (
        links.select(order)
        .with_columns(pl.col("source_id").cast(pl.Int64), pl.col("target_id").cast(pl.Int64))
        .join(
            frames.rename({"frame": "_a"}), left_on="source_id", right_on="object_id", how="left", maintain_order="left"
        )
        .join(
            frames.rename({"frame": "_b"}), left_on="target_id", right_on="object_id", how="left", maintain_order="left"
        )
    )
    for column, end in (("_a", "source_id"), ("_b", "target_id")):
        if joined[column].null_count():
            lost = joined.filter(pl.col(column).is_null())[end][0]
            msg = f"A link names the object {lost}, which is not in the table of objects; take the link out."
            raise TableError(msg)
    wrong = joined.filter(pl.col("_b") <= pl.col("_a"))
    if wrong.height:
        a, b = wrong.select("source_id", "target_id").row(0)
        msg = f"The link from object {a} to {b} does not run forward in time; exchange its ends or take it out."
        raise TableError(msg)
    missing = [pl.lit(None, dtype=pl.Float64).alias(c) for c in ("cost", "confidence") if c not in order]
    joined = joined.with_columns((pl.col("_b") - pl.col("_a")).alias("frame_gap"), *missing).drop("_a", "_b")
    return conform(joined, LINKS, table="links")


def calibrated(data: TrackData, what: str) -> Scale:
    """Return the calibration that a format in pixels needs; without one a pixel is a micrometre, as it was read.

    Parameters
    ----------
    data : TrackData
        The tracks.
    what : str
        The format, for the message.

    Raises
    ------
    ParameterError
        If planes have no distance but objects lie in several.
    """
    scale = data.scale or Scale(y_um=1.0, x_um=1.0, z_um=1.0)
    if data.is_3d and scale.z_um is None:
        msg = f"{what} counts planes, and '{data.name}' states no distance of planes; give it with --z-step-um."
        raise ParameterError(msg)
    return scale
