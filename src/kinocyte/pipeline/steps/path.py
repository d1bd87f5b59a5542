"""Measuring along whole tracks: tracks and pixels in, one row a track and frame out, with an outline or without."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl

from kinocyte.experiment.position import Position
from kinocyte.measurement.paths import PathDiscs
from kinocyte.pipeline.steps.base import Commit, Progress, Rows, Step, check_channels, image_kind
from kinocyte.pipeline.steps.cells import cells_of


class Path(Step):
    """Measures discs around the positions of every track, frame by frame."""

    name: ClassVar[str] = "path"

    population: str
    method: PathDiscs
    on_corrected: bool = False

    def reads(self) -> tuple[str, ...]:
        """Return the steps that made the tracks, and the correction where the movie is held still first."""
        own = (f"{self.population}.segmentation", f"{self.population}.tracking")
        return (*own, *(("correction",) if self.on_corrected else ()))

    def reads_if_there(self) -> tuple[str, ...]:
        """Return what leaves out cells, and the corrections of people."""
        return (f"{self.population}.filtering", f"{self.population}.replay")

    def sources(self, position: Position) -> dict[str, str]:
        """Return the fingerprint of the pixels."""
        return {"pixels": position.pixel_hash}

    def tables(self) -> tuple[str, ...]:
        """Return the table of paths."""
        return (f"{self.population}_path",)

    def check(self, position: Position) -> None:
        """Check that the movie has times and shows the channels; those a correction computes are looked for later."""
        if position.n_frames > 1:
            position.scale.time_min(position.n_frames - 1)
        if not self.on_corrected:
            check_channels(position, self.method.channels, f"population.{self.population}.path")

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Measure frame by frame; memory holds one frame and the rows of the tracks."""
        cells = cells_of(position, self.population, [f"{self.population}_members"])
        paths = self.method.positions(cells, position.times_min())
        image = position.image(image_kind(corrected=self.on_corrected))
        ndim = len(image.frame_shape)
        measured = Rows()
        for frame in range(position.n_frames):
            here = paths.filter(pl.col("frame") == frame)
            found = self.method.discs.measure_at(here, image.frame_channels(frame), position.scale, ndim=ndim)
            measured.add(here.hstack(found))
            progress((frame + 1) / position.n_frames)
        table = measured.table().sort("track_id", "frame")
        commit()
        position.write_table(self.tables()[0], table, step=self.key)
        without = int((table["seen"] != "object").sum())
        return {"rows": table.height, "without_outline": without, "warnings": []}
