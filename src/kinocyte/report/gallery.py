"""Single cells over time: crops around the cells that were seen longest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from kinocyte.experiment.position import Position
from kinocyte.report.colours import category, rgb, track_rgb
from kinocyte.report.movie import MovieMaker, display_channel
from kinocyte.report.overlay import RGB, Frame, draw, resize_labels, time_text, to_grey

CROP_PX = 64

#: A frame in grey and its labels, if there are any.
Planes = tuple[NDArray[np.uint8], NDArray[np.uint32] | None]


@dataclass(frozen=True, slots=True)
class Strip:
    """Crops of one cell in a row.

    Attributes
    ----------
    track_id : int
        The cell.
    colour : str
        Colour of the track in the movie, ``#rrggbb``.
    picture : PIL.Image.Image
        The crops side by side, a gap of 2 pixels between them.
    frames : tuple of int
        Frame of each crop.
    n_frames : int
        Frames from the first to the last of the track.
    channel : str
        Channel shown in grey: the one in which the population was segmented.
    """

    track_id: int
    colour: str
    picture: Image.Image
    frames: tuple[int, ...]
    n_frames: int
    channel: str


def longest_tracks(objects: pl.DataFrame, most: int) -> list[int]:
    """Return the tracks seen in most frames, the longest first, ties by number.

    Parameters
    ----------
    objects : polars.DataFrame
        ``track_id frame``; rows without a track are left out.
    most : int
        How many.
    """
    known = objects.filter(pl.col("track_id").is_not_null())
    seen = known.group_by("track_id").agg(n=pl.col("frame").n_unique())
    return seen.sort(["n", "track_id"], descending=[True, False]).head(most)["track_id"].to_list()


def strips(maker: MovieMaker, population: str, *, most_tracks: int = 4, crops: int = 8) -> list[Strip]:
    """Return the longest tracks of a position as strips; none where nothing was tracked."""
    position = maker.position
    maker = _in_its_channel(maker, population)
    tables = position.tables
    if f"{population}_objects" not in tables or f"{population}_members" not in tables:
        return []
    columns = ["track_id", "frame", "label", "x_um", "y_um"]
    objects = position.scan_objects(population).select(columns).collect().sort("track_id", "frame")
    cache: dict[int, Planes] = {}
    longest = longest_tracks(objects, most_tracks)
    return [_strip_of(maker, population, objects.filter(pl.col("track_id") == t), crops, cache) for t in longest]


def track_strip(
    maker: MovieMaker, population: str, track: int, between_min: tuple[float, float], *, crops: int = 6
) -> Strip | None:
    """Return crops of one cell between two times; None where it was not seen then."""
    here = (pl.col("track_id") == track) & pl.col("time_min").is_between(*between_min)
    columns = ["track_id", "frame", "label", "x_um", "y_um"]
    way = maker.position.scan_objects(population).filter(here).select(columns).collect().sort("frame")
    return _strip_of(maker, population, way, crops, {}) if way.height else None


def _in_its_channel(maker: MovieMaker, population: str) -> MovieMaker:
    """Return the maker, in the channel of the population where it was made for several."""
    if len(maker.populations) < 2:
        return maker
    return replace(maker, channel=display_channel(maker.position, [population]), populations=(population,))


def _strip_of(maker: MovieMaker, population: str, way: pl.DataFrame, crops: int, cache: dict[int, Planes]) -> Strip:
    """Return crops along the way of one cell, evenly over its frames."""
    position, track = maker.position, int(way["track_id"][0])
    chosen = sorted({round(i * (way.height - 1) / max(1, crops - 1)) for i in range(min(crops, way.height))})
    side = _side_px(position, population, way)
    pictures = []
    for row in (way.row(i, named=True) for i in chosen):
        planes = _planes(maker, population, int(row["frame"]), cache)
        pictures.append(_crop(position, row, planes, side, track_rgb(track)))
    colour = "#{:02x}{:02x}{:02x}".format(*track_rgb(track))
    frames = tuple(int(way["frame"][i]) for i in chosen)
    n_frames = int(way["frame"][-1]) - int(way["frame"][0]) + 1
    return Strip(track, colour, _side_by_side(pictures), frames, n_frames, maker.channel)


def _planes(
    maker: MovieMaker,
    population: str,
    frame: int,
    cache: dict[int, Planes],
) -> Planes:
    """Return one frame in grey and its labels at full resolution; the newest few frames are kept."""
    if frame not in cache:
        if len(cache) >= 12:
            cache.pop(next(iter(cache)))
        pixels = maker.position.image().frame(frame, maker.channel)
        plane = pixels.max(axis=0) if pixels.ndim == 3 else pixels
        grey = to_grey(plane, *maker.grey_limits, (plane.shape[0], plane.shape[1]))
        labels = None
        if maker.position.has_labels(population):
            labels = maker.position.labels(population).frame(frame)
            labels = labels.max(axis=0) if labels.ndim == 3 else labels
        cache[frame] = (grey, labels)
    return cache[frame]


def _side_px(position: Position, population: str, way: pl.DataFrame) -> int:
    """Return the side of a crop in pixels of the image: three diameters of the cell in the middle of its track."""
    diameter = 20.0
    if position.has_labels(population):
        row = way.row(way.height // 2, named=True)
        mask = position.labels(population).frame(int(row["frame"])) == row["label"]
        area = int(np.count_nonzero(mask.any(axis=0) if mask.ndim == 3 else mask))
        diameter = 2 * math.sqrt(area / math.pi) if area else diameter
    return max(16, round(3 * diameter))


def _crop(position: Position, row: Mapping[str, float], planes: Planes, side: int, colour: RGB) -> Image.Image:
    grey, labels = planes
    centre = round(row["y_um"] / position.scale.y_um), round(row["x_um"] / position.scale.x_um)
    size = (CROP_PX, CROP_PX)
    window = _window(grey, centre, side)
    picture = np.asarray(Image.fromarray(window).resize(size, Image.Resampling.BICUBIC))
    outlines = []
    if labels is not None:
        shown = resize_labels(_window(labels, centre, side), size)
        faint = rgb(category(6))
        outlines.append((shown, {int(row["label"]): colour}, faint))
    times = position.scale
    known = times.frame_interval_min is not None or times.times_min is not None
    text = time_text(times.time_min(int(row["frame"]))) if known else f"{int(row['frame'])}"
    return draw(Frame(picture, tuple(outlines), text=text))


def _window(plane: NDArray[Any], centre: tuple[int, int], side: int) -> NDArray[Any]:
    """Return a square around a pixel; what lies outside the image is 0."""
    out = np.zeros((side, side), dtype=plane.dtype)
    top, left = centre[0] - side // 2, centre[1] - side // 2
    y0, y1 = max(0, top), min(plane.shape[0], top + side)
    x0, x1 = max(0, left), min(plane.shape[1], left + side)
    if y1 > y0 and x1 > x0:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = plane[y0:y1, x0:x1]
    return out


def _side_by_side(pictures: list[Image.Image]) -> Image.Image:
    gap = 2
    strip = Image.new("RGB", (len(pictures) * (CROP_PX + gap) - gap, CROP_PX), (255, 255, 255))
    for i, picture in enumerate(pictures):
        strip.paste(picture, (i * (CROP_PX + gap), 0))
    return strip
