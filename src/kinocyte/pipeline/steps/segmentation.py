"""Finding the cells: pixels in, a label image and an objects table out."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl

from kinocyte.core.schema import OBJECTS, conform
from kinocyte.experiment.position import Position
from kinocyte.pipeline.model import AnySegmenter
from kinocyte.pipeline.steps.base import Commit, Progress, Rows, Step, check_channels, image_kind
from kinocyte.pipeline.steps.reference_images import trained_models
from kinocyte.segmentation.base import Segmenter


class Segmentation(Step):
    """Runs a segmenter on every frame."""

    name: ClassVar[str] = "segmentation"

    population: str
    method: AnySegmenter
    on_corrected: bool = False

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

    def tables(self) -> tuple[str, ...]:
        """Return the objects table."""
        return (f"{self.population}_objects",)

    def labels(self) -> tuple[str, ...]:
        """Return the label image."""
        return (self.population,)

    def check(self, position: Position) -> None:
        """Check that the channels are there and that the method can run on such frames."""
        check_channels(position, self._segmenter.channels, f"population.{self.population}.segmentation")
        self._segmenter.ready(position.scale, len(position.image("raw").frame_shape))

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Segment frame by frame; memory holds one frame and the rows of the objects."""
        image = position.image(image_kind(corrected=self.on_corrected))
        method, scale = self._segmenter, position.scale
        rows = Rows()
        with position.write_labels(self.population, before_publish=commit) as writer:
            for frame in range(image.n_frames):
                pixels = image.frame_channels(frame, method.channels)
                labels, quality = method.segment_with_quality(pixels, scale, seed=seed + frame)
                writer.write(frame, labels)
                rows.add(object_rows(labels, frame, position, quality))
                progress((frame + 1) / image.n_frames)
        objects = number_objects(rows)
        position.write_table(self.tables()[0], objects, step=self.key)
        return object_summary(objects, image.n_frames)


def object_rows(labels: Any, frame: int, position: Position, quality: Any = None) -> pl.DataFrame:
    """Return the objects of one frame without their numbers, with the quality of each where it is known."""
    from kinocyte.measurement.objects import find_objects

    time_min = position.scale.time_min(frame)
    told = [] if quality is None else [pl.Series("quality", quality, pl.Float64)]
    return find_objects(labels, position.scale).select(
        pl.lit(frame, pl.Int32).alias("frame"),
        "label",
        pl.lit(time_min, pl.Float64).alias("time_min"),
        "x_um",
        "y_um",
        "z_um",
        *told,
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
