"""Finding the cells: pixels in, a label image and an objects table out."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import polars as pl

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import OBJECTS, conform
from kinocyte.experiment.position import Position
from kinocyte.pipeline.model import AnySegmenter
from kinocyte.pipeline.steps.base import Commit, Progress, Rows, Step, check_channels, computed_by, image_kind
from kinocyte.pipeline.steps.reference_images import trained_models
from kinocyte.segmentation.base import Found, Segmenter
from kinocyte.segmentation.spots import SpotDetector

#: Frames with more pixels (voxels) than this are segmented in tiles where the method can: by then a frame takes 3 GB.
LARGE_FRAME_PX = 2**25
_PLACE = ("x_um", "y_um", "z_um")


class Segmentation(Step):
    """Runs a segmenter on every frame."""

    name: ClassVar[str] = "segmentation"

    population: str
    method: AnySegmenter
    on_corrected: bool = False
    #: channels that the correction computes: they are there when this step runs
    stains: tuple[str, ...] = ()

    @property
    def _segmenter(self) -> Segmenter:
        if not isinstance(self.method, Segmenter):
            msg = f"{type(self.method).__qualname__} is not a Segmenter."
            raise TypeError(msg)
        return self.method

    def reads(self) -> tuple[str, ...]:
        """Return the correction where the movie is held still first."""
        return ("correction",) if self.on_corrected else ()

    def sources(self, position: Position) -> dict[str, str]:
        """Return the fingerprints of the pixels and of the files of a trained model."""
        return {"pixels": position.pixel_hash, **trained_models(self.method)}

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that decide the result; computed channels are the correction's."""
        places = {"places": "subpixel"} if isinstance(self.method, SpotDetector) else {}
        return {**self.model_dump(mode="json", exclude={"population", "stains"}), **places}

    def tables(self) -> tuple[str, ...]:
        """Return the objects table."""
        return (f"{self.population}_objects",)

    def labels(self) -> tuple[str, ...]:
        """Return the label image."""
        return (self.population,)

    def check(self, position: Position) -> None:
        """Check that the channels are there and that the method can run on such frames."""
        taken = tuple(c for c in self._segmenter.channels if c not in self.stains)
        check_channels(position, taken, f"population.{self.population}.segmentation")
        self._segmenter.ready(position.scale, len(position.image("raw").frame_shape))

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Segment frame by frame; memory holds one frame and the rows of the objects."""
        image = position.image(image_kind(corrected=self.on_corrected))
        method, scale = self._segmenter, position.scale
        rows = Rows()
        with position.write_labels(self.population, before_publish=commit) as writer:
            for frame in range(image.n_frames):
                pixels = image.frame_channels(frame, method.channels)
                found = _found(method, pixels, scale, seed + frame)
                writer.write(frame, found.labels)
                rows.add(object_rows(found.labels, frame, position, found.objects))
                progress((frame + 1) / image.n_frames)
        objects = number_objects(rows)
        position.write_table(self.tables()[0], objects, step=self.key)
        return {**object_summary(objects, image.n_frames), **computed_by(method)}


def _found(method: Segmenter, pixels: Any, scale: Scale, seed: int) -> Found:
    """Return the objects of a frame; a large one is worked on in tiles, with the same result in less memory."""
    from kinocyte.segmentation.tiled import find_tiled

    if in_tiles(method, max(prod(image.shape) for image in pixels.values())):
        try:
            return find_tiled(method, pixels, scale)
        except ParameterError:  # NaN, or hardly any range of values: told by the whole frame alone
            return method.find(pixels, scale, seed=seed)
    return method.find(pixels, scale, seed=seed)


def in_tiles(method: Segmenter, frame_px: int) -> bool:
    """Tell whether frames of so many pixels are segmented in tiles."""
    from kinocyte.segmentation.tiled import works_in_tiles

    return frame_px > LARGE_FRAME_PX and works_in_tiles(method)


def object_rows(labels: Any, frame: int, position: Position, known: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return the objects of one frame without their numbers, with what is known of each by its label."""
    from kinocyte.measurement.objects import find_objects

    rows = find_objects(labels, position.scale).select("label", *_PLACE)
    if known is not None:
        rows = rows.join(known, on="label", how="left", maintain_order="left", suffix="_known")
        placed = [c for c in _PLACE if f"{c}_known" in rows.columns]
        rows = rows.with_columns(pl.coalesce(f"{c}_known", c).alias(c) for c in placed)
    quality = [c for c in ("quality",) if c in rows.columns]
    return rows.select(
        pl.lit(frame, pl.Int32).alias("frame"),
        "label",
        pl.lit(position.scale.time_min(frame), pl.Float64).alias("time_min"),
        *_PLACE,
        *(pl.col(c).cast(pl.Float64) for c in quality),
    )


def number_objects(rows: Rows) -> pl.DataFrame:
    """Return the objects table, numbered from 1 in order of frame and label."""
    return conform(rows.table().with_row_index("object_id", offset=1), OBJECTS, table="objects")


def object_summary(objects: pl.DataFrame, n_frames: int) -> dict[str, Any]:
    """Return counts for the record, and a warning where frames hold no object."""
    without = n_frames - objects["frame"].n_unique()
    warnings = []
    if objects.height == 0:
        warnings.append("No object was found in any frame; check the channel and the threshold.")
    elif without:
        warnings.append(f"{without} of {n_frames} frames hold no object.")
    return {"objects": objects.height, "frames": n_frames, "frames_without_objects": without, "warnings": warnings}
