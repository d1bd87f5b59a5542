"""Segmentation by a network that says in which direction the middle of an object lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from kinocyte.core.method import param
from kinocyte.segmentation._deep import DeepSegmenter

if TYPE_CHECKING:
    from kinocyte.learning.model import ImageModel


class Flows(DeepSegmenter):
    """Finds objects of any shape (whole cells) by following a field of directions to their middles.

    ``quality`` of an object is the mean probability of its pixels.
    """

    references: ClassVar[tuple[str, ...]] = ("Stringer et al., Nat. Methods 18, 100 (2021)",)

    method: Literal["flows"] = "flows"
    probability: float | None = param(
        None, help="Only pixels above this probability belong to objects; left out: as tuned in training.", ge=0, le=1
    )
    flow_error: float | None = param(
        None,
        help="Objects whose directions differ from those of their shape by more than this are left out; left out: as "
        "tuned in training.",
        ge=0,
    )

    def overrides(self) -> Mapping[str, float | None]:
        """Return the settings that were given."""
        return {"probability_threshold": self.probability, "flow_error": self.flow_error}

    def fits(self, model: ImageModel) -> bool:
        """Tell whether a model gives directions and a probability."""
        from kinocyte.learning.tasks.flows import Flows as Task

        return isinstance(model.task, Task)
