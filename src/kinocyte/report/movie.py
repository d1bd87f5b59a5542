"""Movies of a position with outlines and tails: for the report as animated WebP, for talks as WebP, GIF or MP4."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from kinocyte.core.errors import MissingExtraError, ParameterError, StoreError, nearest
from kinocyte.experiment.position import Position
from kinocyte.report.cells import times_or_frames
from kinocyte.report.colours import category, rgb, track_rgb
from kinocyte.report.overlay import (
    RGB,
    Frame,
    Tail,
    draw,
    limits,
    picture_size,
    resize_labels,
    scale_bar,
    time_text,
    to_grey,
)

_SUFFIXES = (".webp", ".gif", ".mp4")


@dataclass(frozen=True)
class MovieMaker:
    """Draws the frames of a position.

    Parameters
    ----------
    position : Position
        The position.
    channel : str
        Channel shown in grey.
    populations : tuple of str
        Populations whose outlines and tracks are drawn.
    longest_px : int
        Longer side of the picture.
    tail_frames : int
        Frames a tail reaches back; 0 draws none.
    """

    position: Position
    channel: str
    populations: tuple[str, ...]
    longest_px: int = 320
    tail_frames: int = 12

    @cached_property
    def level(self) -> int:
        """Return the coarsest stored resolution that is still large enough."""
        image = self.position.image()
        longest = max(image.frame_shape[-2:])
        level = 0
        while level + 1 < image.n_levels and longest // 2 ** (level + 1) >= self.longest_px:
            level += 1
        return level

    @cached_property
    def size(self) -> tuple[int, int]:
        """Return height and width of the picture."""
        height, width = self.position.image().frame_shape[-2:]
        return picture_size(height, width, self.longest_px)

    @cached_property
    def grey_limits(self) -> tuple[float, float]:
        """Return the grey values shown as black and white: percentiles over the movie."""
        n = self.position.n_frames
        chosen = sorted({round(i * (n - 1) / 7) for i in range(8)})
        return limits(self.plane(t) for t in chosen)

    @cached_property
    def _objects(self) -> Mapping[str, pl.DataFrame]:
        return {p: _drawn_objects(self.position, p) for p in self.populations}

    def plane(self, frame: int) -> NDArray[Any]:
        """Return the channel of one frame as (y, x), the maximum over z of a stack."""
        pixels = self.position.image().frame(frame, self.channel, level=self.level)
        return np.asarray(pixels.max(axis=0) if pixels.ndim == 3 else pixels)

    def grey(self, frame: int) -> NDArray[np.uint8]:
        """Return one frame in grey at the size of the picture."""
        return to_grey(self.plane(frame), *self.grey_limits, self.size)

    def labels(self, population: str, frame: int) -> NDArray[np.uint32]:
        """Return the label image of one frame at the size of the picture, stacks seen from above."""
        image = self.position.labels(population)
        labels = image.frame(frame, level=min(self.level, image.n_levels - 1))
        flat = labels.max(axis=0) if labels.ndim == 3 else labels
        return resize_labels(flat, self.size)

    def frames_of(self, most: int | None = None) -> list[int]:
        """Return the frames that are shown: every one, or every n-th where there are more than ``most``."""
        n = self.position.n_frames
        return list(range(0, n, 1 if most is None else -(-n // most)))

    def picture(self, frame: int) -> Image.Image:
        """Return the picture of one frame."""
        outlines, tails = [], []
        for i, population in enumerate(self.populations):
            table = self._objects[population]
            now = table.filter(pl.col("frame") == frame)
            other = rgb(category(i + 1))
            colours: dict[int, RGB] = {
                int(label): track_rgb(int(track))
                for label, track in now.select("label", "track_id").drop_nulls().iter_rows()
            }
            if self.position.has_labels(population):
                outlines.append((self.labels(population, frame), colours, other))
            tails += self._tails(table, now, frame)
        return draw(Frame(self.grey(frame), tuple(outlines), tuple(tails), self._text(frame), self._bar))

    def _tails(self, table: pl.DataFrame, now: pl.DataFrame, frame: int) -> list[Tail]:
        if not self.tail_frames:
            return []
        alive = now["track_id"].drop_nulls().unique()
        recent = table.filter(
            pl.col("frame").is_between(frame - self.tail_frames, frame) & pl.col("track_id").is_in(alive.implode())
        ).sort("track_id", "frame")
        height, width = self.position.image().frame_shape[-2:]
        scale = self.position.scale
        fy, fx = self.size[0] / height, self.size[1] / width
        out = []
        for (track,), way in recent.group_by("track_id", maintain_order=True):
            x = (way["x_um"].to_numpy() / scale.x_um + 0.5) * fx - 0.5
            y = (way["y_um"].to_numpy() / scale.y_um + 0.5) * fy - 0.5
            out.append(Tail(tuple(zip(x.tolist(), y.tolist(), strict=True)), track_rgb(int(track))))
        return out

    def _text(self, frame: int) -> str:
        times, known = times_or_frames(self.position)
        return time_text(times[frame]) if known else f"frame {frame}"

    @property
    def _bar(self) -> tuple[int, str]:
        width = self.position.image().frame_shape[-1]
        return scale_bar(self.position.scale.x_um * width / self.size[1], self.size[1])


def _drawn_objects(position: Position, population: str) -> pl.DataFrame:
    """Return ``frame label track_id x_um y_um``; ``track_id`` is null where nothing was tracked."""
    schema = {"frame": pl.Int32, "label": pl.UInt32, "track_id": pl.Int64, "x_um": pl.Float64, "y_um": pl.Float64}
    if f"{population}_objects" not in position.tables:
        return pl.DataFrame(schema=schema)
    objects = position.scan_objects(population)
    if "track_id" not in objects.collect_schema():
        objects = objects.with_columns(track_id=pl.lit(None, dtype=pl.Int64))
    table = objects.select(list(schema)).collect().cast(schema)  # type: ignore[arg-type]  # a plain dict of types
    return table.filter(pl.col("x_um").is_finite() & pl.col("y_um").is_finite())


def display_channel(position: Position, populations: Sequence[str]) -> str:
    """Return the first channel in which one of the populations was segmented; the first of all where none is known."""
    named = {
        channel
        for record in position.records.all()
        if record.step == "segmentation" and record.population in populations
        for channel in _channels_in(record.method)
    }
    return next((c for c in position.channels if c in named), position.channels[0])


def _channels_in(document: Any) -> Iterator[str]:
    """Return every channel that a method names, which a record may hold in several others."""
    if isinstance(document, Mapping):
        if isinstance(document.get("channel"), str):
            yield document["channel"]
        for value in document.values():
            yield from _channels_in(value)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from _channels_in(value)


def movie_maker(
    position: Position,
    *,
    channel: str | None = None,
    populations: Sequence[str] | None = None,
    longest_px: int = 320,
    tail_frames: int = 12,
) -> MovieMaker:
    """Return what draws the movie of a position; by default all populations on the channel that was segmented.

    Raises
    ------
    ParameterError
        If there is no such channel or population; the nearest name is suggested.
    """
    known = position.populations
    chosen = list(known) if populations is None else list(populations)
    for name in chosen:
        if name not in known:
            msg = f"Position {position.id} has no population '{name}'; {nearest(name, known)}."
            raise ParameterError(msg)
    shown = display_channel(position, chosen) if channel is None else channel
    if shown not in position.channels:
        msg = f"Position {position.id} has no channel '{shown}'; {nearest(shown, position.channels)}."
        raise ParameterError(msg)
    return MovieMaker(position, shown, tuple(chosen), longest_px, tail_frames)


def webp(pictures: Sequence[Image.Image], frames_per_second: float, quality: int = 55) -> bytes:
    """Return pictures as an animated WebP that runs for ever (a still one for a single picture)."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": quality, "method": 2}
    if len(pictures) > 1:
        options |= {
            "save_all": True,
            "append_images": pictures[1:],
            "duration": round(1000 / frames_per_second),
            "loop": 0,
        }
    pictures[0].save(buffer, "WEBP", **options)
    return buffer.getvalue()


def write_movie(
    position: Position,
    target: str | Path,
    *,
    channel: str | None = None,
    populations: Sequence[str] | None = None,
    longest_px: int = 640,
    tail_frames: int = 12,
    frames_per_second: float = 10.0,
    every: int = 1,
) -> Path:
    """Write the movie of a position with outlines, tails, time and scale bar.

    Parameters
    ----------
    position : Position
        The position.
    target : str or Path
        File; its ending says what is written: ``.webp``, ``.gif``, or ``.mp4`` where imageio-ffmpeg is installed.
    channel : str, optional
        Channel shown in grey; by default the one that was segmented.
    populations : sequence of str, optional
        Populations whose cells are outlined; by default all.
    longest_px : int
        Longer side of the picture.
    tail_frames : int
        Frames a tail reaches back.
    frames_per_second : float
        Speed.
    every : int
        Show every n-th frame. WebP and GIF are encoded from all pictures at once (1.2 MB each at 640 x 640), MP4 one by
        one.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ParameterError
        If the ending, channel or population is unknown.
    MissingExtraError
        If MP4 is asked for and imageio-ffmpeg is not installed.
    StoreError
        If the file cannot be written.
    """
    path = Path(target)
    if path.suffix.lower() not in _SUFFIXES:
        msg = f"{path} ends in '{path.suffix}'; a movie ends in one of {', '.join(_SUFFIXES)}."
        raise ParameterError(msg)
    if not frames_per_second > 0 or longest_px < 16 or every < 1:
        msg = (
            "A movie needs frames_per_second > 0, longest_px >= 16 and every >= 1, "
            f"not {frames_per_second}, {longest_px} and {every}."
        )
        raise ParameterError(msg)
    maker = movie_maker(
        position, channel=channel, populations=populations, longest_px=longest_px, tail_frames=tail_frames
    )
    partial = path.with_name(f".{path.name}.partial{path.suffix.lower()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_pictures(partial, (maker.picture(t) for t in maker.frames_of()[::every]), frames_per_second)
        partial.replace(path)
    except OSError as error:
        if isinstance(error, StoreError | MissingExtraError):
            raise
        msg = f"The movie {path} cannot be written: {error.strerror or error}; choose another file."
        raise StoreError(msg) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def _write_pictures(path: Path, pictures: Iterator[Image.Image], frames_per_second: float) -> None:
    if path.suffix == ".mp4":
        _write_mp4(path, pictures, frames_per_second)
        return
    first = next(pictures)
    options: dict[str, Any] = {"quality": 80, "method": 4} if path.suffix == ".webp" else {"disposal": 1}
    first.save(path, save_all=True, append_images=pictures, duration=round(1000 / frames_per_second), loop=0, **options)


def _write_mp4(path: Path, pictures: Iterator[Image.Image], frames_per_second: float) -> None:
    """Write H.264 with even sides, as every player wants them."""
    try:
        ffmpeg = import_module("imageio_ffmpeg")
    except ImportError as error:
        msg = f"Writing {path.suffix} needs imageio-ffmpeg; install it with: pip install imageio-ffmpeg"
        raise MissingExtraError(msg) from error
    first = next(pictures)
    size = (first.width // 2 * 2, first.height // 2 * 2)
    writer = ffmpeg.write_frames(str(path), size, fps=frames_per_second, macro_block_size=2, quality=7)
    writer.send(None)
    try:
        for picture in chain((first,), pictures):
            writer.send(np.ascontiguousarray(np.asarray(picture)[: size[1], : size[0]]))
    finally:
        writer.close()
