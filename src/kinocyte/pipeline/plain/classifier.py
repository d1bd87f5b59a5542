"""A pixel classifier for plain files: trained from strokes, and applied for maps of probability and label images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import CalibrationError, InputFileError, ParameterError, nearest
from kinocyte.core.scale import Scale
from kinocyte.pipeline.plain.movies import FileOptions, PlainMovie, opened
from kinocyte.pipeline.plain.writing import FrameProgress
from kinocyte.segmentation.pixel_classifier import PixelClassifier
from kinocyte.segmentation.pixel_model import PixelModel

#: Where somebody drew: name of the movie and frame, with an image of classes or a table of points.
Drawn = dict[tuple[str, int], NDArray[Any] | pl.DataFrame]

_TABLES = (".csv", ".tsv", ".txt", ".parquet", ".pq")


def read_strokes(paths: Sequence[Path], movies: Sequence[PlainMovie]) -> Drawn:
    """Return the strokes of movies.

    Parameters
    ----------
    paths : sequence of Path
        Images of whole numbers (0 = nothing drawn, k = class k) with the frames of the movies, found by their names or,
        where the names differ, in the order of the movies; or one table of points with the columns ``x_um y_um``
        (``z_um``), ``class``, and ``image`` and ``frame`` where there are several.
    movies : sequence of PlainMovie
        What was drawn on.

    Raises
    ------
    ParameterError, InputFileError
        If strokes and movies do not fit together, or nothing was drawn.
    """
    tables = [p for p in paths if p.suffix.lower() in _TABLES]
    if tables and len(paths) > 1:
        msg = f"{tables[0]} is a table of strokes; give one table for all images, or one image of strokes each."
        raise ParameterError(msg)
    drawn = _of_table(tables[0], movies) if tables else _of_images(paths, movies)
    if not drawn:
        named = ", ".join(str(p) for p in paths)
        msg = f"Nothing is drawn in {named}; draw some strokes of every class."
        raise ParameterError(msg)
    return drawn


def _of_images(paths: Sequence[Path], movies: Sequence[PlainMovie]) -> Drawn:
    with opened([str(p) for p in paths], FileOptions(override_metadata=False)) as strokes:
        by_name = {s.stem: s for s in strokes}
        named = [by_name.get(m.stem) for m in movies]
        chosen = named if all(named) else list(strokes)
        if len(chosen) != len(movies):
            msg = f"There are {len(movies)} images and {len(strokes)} images of strokes; give one of each name."
            raise ParameterError(msg)
        drawn: Drawn = {}
        for movie, stroke in zip(movies, chosen, strict=True):
            if stroke is None:
                continue
            shape, mine = movie.movie.shape, stroke.movie.shape
            if mine[0] != shape[0] or mine[1] != 1 or stroke.movie.plane_shape != movie.movie.plane_shape:
                frames = f"{mine[0]} frames of {mine[1]} channels, {stroke.movie.plane_shape}"
                wanted = f"{shape[0]} frames, {movie.movie.plane_shape}"
                msg = f"The strokes '{stroke.stem}' have {frames}; those of '{movie.stem}' need {wanted}, one channel."
                raise ParameterError(msg)
            for t in range(shape[0]):
                image = stroke.movie.read(t, 0)
                if image.any():
                    drawn[movie.stem, t] = image
        return drawn


def _of_table(path: Path, movies: Sequence[PlainMovie]) -> Drawn:
    try:
        table = pl.read_parquet(path) if path.suffix.lower() in {".parquet", ".pq"} else pl.read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = f"'{path}' cannot be read as a table of strokes: {' '.join(str(error).split())}"
        raise InputFileError(msg) from error
    stems = [m.stem for m in movies]
    if "image" not in table.columns:
        if len(stems) > 1:
            msg = f"'{path}' lacks the column 'image'; say for each point on which of {', '.join(stems)} it was drawn."
            raise ParameterError(msg)
        table = table.with_columns(pl.lit(stems[0]).alias("image"))
    if "frame" not in table.columns:
        table = table.with_columns(pl.lit(0).alias("frame"))
    drawn: Drawn = {}
    lengths = {m.stem: m.movie.shape[0] for m in movies}
    for (image, frame), points in table.group_by("image", "frame", maintain_order=True):
        name = str(image)
        if name not in lengths:
            msg = f"'{path}' names the image '{name}'; {nearest(name, stems)}."
            raise ParameterError(msg)
        if not isinstance(frame, int) or not 0 <= frame < lengths[name]:
            msg = f"'{path}' names frame {frame} of '{name}', which has the frames 0 to {lengths[name] - 1}."
            raise ParameterError(msg)
        drawn[name, frame] = points
    return drawn


def train(
    movies: Sequence[PlainMovie],
    strokes: Sequence[Path],
    *,
    channels: Sequence[str] = (),
    classes: Sequence[str] = ("background", "object"),
    **settings: Any,
) -> tuple[PixelModel, int]:
    """Return a classifier trained on the frames of movies that somebody drew on, and the number of such frames.

    Parameters
    ----------
    movies : sequence of PlainMovie
        All of one pixel size.
    strokes : sequence of Path
        See `read_strokes`.
    channels : sequence of str
        Channels to learn from; all of the first movie where left out.
    classes : sequence of str
        Names of the classes 1, 2, ..
    **settings
        Of `kinocyte.segmentation.pixel_training.train_pixel_classifier`.

    Raises
    ------
    ParameterError, CalibrationError, InputFileError
        If movies and strokes do not fit together.
    """
    from kinocyte.segmentation.pixel_training import train_pixel_classifier

    names = tuple(channels) or movies[0].channels
    for movie in movies:
        _check_channels(movie, names)
    drawn = read_strokes(strokes, movies)
    scales = {m.stem: scale_of(m) for m in movies}
    first = scales[next(iter(drawn))[0]]
    odd = next((m for m, s in scales.items() if _ratio(s, first) > 1.1 and any(n == m for n, _ in drawn)), None)
    if odd is not None:
        msg = f"The pixels of '{odd}' are of another size than those of the other images; train on images of one size."
        raise CalibrationError(msg)
    by_name = {m.stem: m for m in movies}
    frames = [_frame(by_name[name], names, t) for name, t in drawn]
    return train_pixel_classifier(
        frames, list(drawn.values()), first, channels=names, classes=classes, **settings
    ), len(frames)


def _ratio(a: Scale, b: Scale) -> float:
    ratio = a.pixel_size_um / b.pixel_size_um
    return max(ratio, 1 / ratio)


def _check_channels(movie: PlainMovie, names: Sequence[str]) -> None:
    for name in names:
        if name not in movie.channels:
            msg = f"'{movie.stem}' has no channel '{name}'; {nearest(name, movie.channels)}."
            raise ParameterError(msg)


def scale_of(movie: PlainMovie) -> Scale:
    """Return the calibration of a movie.

    Raises
    ------
    CalibrationError
        If its pixel size is not known.
    """
    if movie.scale is None:
        msg = f"'{movie.stem}' does not state its pixel size, which the classifier needs; give --pixel-size-um."
        raise CalibrationError(msg)
    return movie.scale


def _frame(movie: PlainMovie, names: Sequence[str], t: int) -> dict[str, NDArray[Any]]:
    return {n: movie.movie.read(t, movie.channels.index(n)) for n in names}


def write_maps(movie: PlainMovie, method: PixelClassifier, folder: Path, progress: FrameProgress) -> str:
    """Write the probability of each class, one channel a class, and the label image; return the sentence about them.

    Memory holds one frame. Files: ``NAME_probabilities.ome.tif`` (float32) and ``NAME_labels.ome.tif`` (uint32).
    """
    from kinocyte.interop.export.movie_tiff import write_movie
    from kinocyte.segmentation.pixel_classifier import opened_model

    model = opened_model(method.model)
    names = method.channels
    _check_channels(movie, names)
    scale = scale_of(movie)
    n = movie.movie.shape[0]
    progress.begin(n, n)
    plane = tuple(movie.movie.plane_shape)
    objects = 0
    labels: list[Path] = [folder / f"{movie.stem}_labels.ome.tif"]
    found = _Found(movie, method, names, scale, progress)
    try:
        write_movie(
            folder / f"{movie.stem}_probabilities.ome.tif", found.maps(), shape=(n, len(model.classes), *plane),
            dtype=np.dtype(np.float32), channels=model.classes, calibration=movie.calibration,
        )  # fmt: skip
        write_movie(
            labels[0], found.labels(), shape=(n, 1, *plane), dtype=np.dtype(np.uint32), channels=("labels",),
            calibration=movie.calibration,
        )  # fmt: skip
        objects = found.n_objects
    finally:
        found.close()
    return f"{movie.stem}: {objects} objects in {n} frames"


class _Found:
    """What the classifier sees in a movie: each frame is classified once, its labels wait in a file meanwhile."""

    def __init__(
        self, movie: PlainMovie, method: PixelClassifier, names: Sequence[str], scale: Scale, progress: FrameProgress
    ) -> None:
        import tempfile

        self._movie, self._method, self._names, self._scale = movie, method, names, scale
        self._progress, self._waiting = progress, tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self.n_objects = 0

    def maps(self) -> Iterator[NDArray[np.float32]]:
        for t in range(self._movie.movie.shape[0]):
            pixels = _frame(self._movie, self._names, t)
            probabilities = self._method.probabilities(pixels, self._scale)
            labels = self._method.objects(probabilities, pixels, self._scale)
            self.n_objects += int(labels.max(initial=0))
            self._waiting.write(np.ascontiguousarray(labels, np.uint32).tobytes())
            self._progress.read()
            yield from probabilities

    def labels(self) -> Iterator[NDArray[np.uint32]]:
        shape = tuple(self._movie.movie.plane_shape)
        self._waiting.seek(0)
        for _ in range(self._movie.movie.shape[0]):
            frame = self._waiting.read(4 * int(np.prod(shape)))
            yield np.frombuffer(frame, np.uint32).reshape(shape)

    def close(self) -> None:
        self._waiting.close()
