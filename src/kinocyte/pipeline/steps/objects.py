"""Cells that were segmented elsewhere: imported labels in, an objects table out."""

from __future__ import annotations

from typing import Any, ClassVar

from kinocyte.core.errors import ParameterError
from kinocyte.experiment.position import Position
from kinocyte.pipeline.steps.base import Commit, Progress, Rows, Step
from kinocyte.pipeline.steps.segmentation import number_objects, object_rows, object_summary


class ImportedObjects(Step):
    """Lists the objects of a label image that came with the experiment."""

    name: ClassVar[str] = "segmentation"

    population: str

    def sources(self, position: Position) -> dict[str, str]:
        """Return the fingerprint of the label image."""
        return {"labels": position.labels_hash(self.population)}

    def tables(self) -> tuple[str, ...]:
        """Return the objects table."""
        return (f"{self.population}_objects",)

    def check(self, position: Position) -> None:
        """Check that there is a label image."""
        if not position.has_labels(self.population):
            msg = (
                f"population.{self.population} has no segmentation and position {position.id} has no labels of that "
                f"name; add [population.{self.population}.segmentation] or import the labels."
            )
            raise ParameterError(msg)

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """List the objects frame by frame."""
        labels = position.labels(self.population, corrected=False)
        rows = Rows()
        for frame in range(labels.n_frames):
            rows.add(object_rows(labels.frame(frame), frame, position))
            progress((frame + 1) / labels.n_frames)
        objects = number_objects(rows)
        commit()
        position.write_table(self.tables()[0], objects, step=self.key)
        return object_summary(objects, labels.n_frames)
