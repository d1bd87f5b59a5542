"""Nucleus and cytoplasm of the same cell: the labels of two populations in, ratios of every nucleus out."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl

from kinocyte.experiment.position import Position
from kinocyte.pipeline.steps.base import Commit, Progress, Rows, Step, image_kind


class Compartments(Step):
    """Pairs the nuclei of one population with the cells of another and measures both sides."""

    name: ClassVar[str] = "compartments"

    population: str
    """The nuclei."""
    cells: str
    on_corrected: bool = False

    def reads(self) -> tuple[str, ...]:
        """Return both segmentations, and the correction where the movie is held still first."""
        corrected = ("correction",) if self.on_corrected else ()
        return (f"{self.population}.segmentation", f"{self.cells}.segmentation", *corrected)

    def reads_if_there(self) -> tuple[str, ...]:
        """Return what leaves out nuclei and cells."""
        return (f"{self.population}.filtering", f"{self.cells}.filtering")

    def sources(self, position: Position) -> dict[str, str]:
        """Return the fingerprint of the pixels."""
        return {"pixels": position.pixel_hash}

    def tables(self) -> tuple[str, ...]:
        """Return the table of compartments."""
        return (f"{self.population}_compartments",)

    def check(self, position: Position) -> None:
        """Nothing can be missing: every channel is measured."""

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Measure frame by frame; memory holds one frame and the rows of the nuclei."""
        from kinocyte.measurement.compartments import pair_compartments

        image = position.image(image_kind(corrected=self.on_corrected))
        nuclei, cells = position.labels(self.population), position.labels(self.cells)
        rows = Rows()
        for frame in range(nuclei.n_frames):
            found = pair_compartments(
                nuclei.frame(frame), cells.frame(frame), image.frame_channels(frame), position.scale
            )
            rows.add(found.select(pl.lit(frame, pl.Int32).alias("frame"), pl.all()))
            progress((frame + 1) / nuclei.n_frames)
        ids = position.table(f"{self.population}_objects").select("object_id", "frame", "label")
        table = ids.join(rows.table(), on=["frame", "label"], how="left", maintain_order="left").drop("frame", "label")
        commit()
        position.write_table(self.tables()[0], table, step=self.key)
        alone = int(table["cell_label"].null_count())
        warnings = [f"{alone} of {table.height} nuclei lie in no cell of {self.cells}."] if alone else []
        return {"nuclei": table.height, "without_cell": alone, "warnings": warnings}
