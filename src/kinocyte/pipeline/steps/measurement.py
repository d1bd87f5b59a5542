"""Measuring the cells: labels and pixels in, one row of features an object out."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl

from kinocyte.core.errors import ParameterError
from kinocyte.experiment.position import Position
from kinocyte.measurement.base import FeatureSet
from kinocyte.pipeline.model import AnyFeatureSet
from kinocyte.pipeline.steps.base import Commit, Progress, Rows, Step, image_kind


class Measurement(Step):
    """Runs feature sets on every frame and joins them into one table."""

    name: ClassVar[str] = "measurement"

    population: str
    methods: tuple[AnyFeatureSet, ...]
    on_corrected: bool = False

    @property
    def _sets(self) -> list[FeatureSet]:
        return [m for m in self.methods if isinstance(m, FeatureSet)]

    def reads(self) -> tuple[str, ...]:
        """Return the segmentation, and the correction where the movie is held still first."""
        return (f"{self.population}.segmentation", *(("correction",) if self.on_corrected else ()))

    def sources(self, position: Position) -> dict[str, str]:
        """Return the fingerprint of the pixels."""
        return {"pixels": position.pixel_hash}

    def tables(self) -> tuple[str, ...]:
        """Return the features table."""
        return (f"{self.population}_features",)

    def check(self, position: Position) -> None:
        """Nothing can be missing: every channel is measured."""

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Measure frame by frame; memory holds one frame and the rows of the objects."""
        image = position.image(image_kind(corrected=self.on_corrected))
        labels = position.labels(self.population, corrected=False)
        found = Rows()
        for frame in range(labels.n_frames):
            rows = measure_frame(self._sets, labels.frame(frame), image.frame_channels(frame), position)
            found.add(rows.select(pl.lit(frame, pl.Int32).alias("frame"), pl.all()))
            progress((frame + 1) / labels.n_frames)
        measured = found.table()
        ids = position.table(f"{self.population}_objects").select("object_id", "frame", "label")
        table = ids.join(measured, on=["frame", "label"], how="left", maintain_order="left").drop("frame", "label")
        commit()
        position.write_table(self.tables()[0], table, step=self.key)
        return {"objects": table.height, "features": table.width - 1, "warnings": _null_warnings(table)}


def measure_frame(sets: list[FeatureSet], labels: Any, pixels: Any, position: Position) -> pl.DataFrame:
    """Return the features of every object of one frame, by label."""
    table: pl.DataFrame | None = None
    for feature_set in sets:
        found = feature_set.measure(labels, pixels, position.scale)
        if table is None:
            table = found
            continue
        twice = (set(table.columns) & set(found.columns)) - {"label"}
        if twice:
            msg = f"Two feature sets both give the column '{min(twice)}'; leave one of them out of 'measure'."
            raise ParameterError(msg)
        table = table.join(found, on="label", how="left", maintain_order="left")
    if table is None:
        msg = "A measurement needs at least one feature set."
        raise ParameterError(msg)
    return table


def _null_warnings(table: pl.DataFrame) -> list[str]:
    empty = [c for c in table.columns if table.height and table[c].null_count() == table.height]
    return [f"Feature '{c}' could not be measured on any object." for c in empty]
