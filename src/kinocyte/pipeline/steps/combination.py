"""A population made of others: label images in, a label image and an objects table out."""

from __future__ import annotations

from typing import Any, ClassVar

from kinocyte.core.errors import ParameterError
from kinocyte.experiment.position import Position
from kinocyte.pipeline.model import AnySegmenter
from kinocyte.pipeline.steps.base import Commit, Progress, Rows, Step
from kinocyte.pipeline.steps.segmentation import number_objects, object_rows, object_summary
from kinocyte.segmentation.combined import Combined


class Combination(Step):
    """Combines the label images of other populations, frame by frame."""

    name: ClassVar[str] = "segmentation"

    population: str
    method: AnySegmenter
    on_corrected: bool = False

    @property
    def _combined(self) -> Combined:
        if not isinstance(self.method, Combined):
            msg = f"{type(self.method).__qualname__} does not combine populations."
            raise TypeError(msg)
        return self.method

    def reads(self) -> tuple[str, ...]:
        """Return the segmentations that are combined."""
        corrected = ("correction",) if self.on_corrected else ()
        return (*corrected, *(f"{name}.segmentation" for name in self._combined.populations))

    def reads_if_there(self) -> tuple[str, ...]:
        """Return what leaves out objects of the populations that are combined."""
        return tuple(f"{name}.filtering" for name in self._combined.populations)

    def tables(self) -> tuple[str, ...]:
        """Return the objects table."""
        return (f"{self.population}_objects",)

    def labels(self) -> tuple[str, ...]:
        """Return the label image."""
        return (self.population,)

    def check(self, position: Position) -> None:
        """Nothing can be missing: the segmentations are steps of the same pipeline."""

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Combine frame by frame; memory holds one frame of each population."""
        sources = {name: position.labels(name) for name in self._combined.populations}
        shapes = {name: (s.n_frames, *s.frame(0).shape) for name, s in sources.items()}
        if len(set(shapes.values())) > 1:
            msg = f"population.{self.population}.segmentation combines label images of different shapes: {shapes}."
            raise ParameterError(msg)
        n_frames = next(iter(sources.values())).n_frames
        rows = Rows()
        with position.write_labels(self.population, before_publish=commit) as writer:
            for frame in range(n_frames):
                labels = self._combined.combine({n: s.frame(frame) for n, s in sources.items()}, position.scale)
                writer.write(frame, labels)
                rows.add(object_rows(labels, frame, position))
                progress((frame + 1) / n_frames)
        objects = number_objects(rows)
        position.write_table(self.tables()[0], objects, step=self.key)
        return object_summary(objects, n_frames)
