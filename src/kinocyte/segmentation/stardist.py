"""Segmentation by a network that proposes star-convex shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from kinocyte.core.method import param
from kinocyte.segmentation._deep import DeepSegmenter

if TYPE_CHECKING:
    from kinocyte.learning.model import ImageModel


class StarDist(DeepSegmenter):
    """Finds roundish objects (nuclei, cells without long processes) and tells touching ones apart.

    The model that comes with Kinocyte, ``nuclei-fluo``, finds nuclei in fluorescence. ``quality`` of an object is how
    deep inside an object the network says its centre lies.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Schmidt et al., MICCAI (2018), doi:10.1007/978-3-030-00934-2_30",
        "Weigert et al., WACV (2020), doi:10.1109/WACV45572.2020.9093435",
    )

    method: Literal["stardist"] = "stardist"
    probability: float | None = param(
        None, help="Shapes are taken from pixels above this probability; left out: as tuned in training.", ge=0, le=1
    )
    overlap: float | None = param(
        None,
        help="Of two shapes that share more than this part of the smaller, the likelier stays; left out: as tuned.",
        ge=0,
        le=1,
    )

    def overrides(self) -> Mapping[str, float | None]:
        """Return the thresholds that were given."""
        return {"probability_threshold": self.probability, "overlap_threshold": self.overlap}

    def fits(self, model: ImageModel) -> bool:
        """Tell whether a model proposes star-convex shapes."""
        from kinocyte.learning.tasks.stardist import StarDist as Task

        return isinstance(model.task, Task)
