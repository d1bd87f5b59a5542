"""One population seen in several channels: red and green nuclei of a FUCCI movie."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.segmentation.base import Pixels, Segmenter
from kinocyte.segmentation.threshold import Threshold


class Union(Segmenter):
    """Objects are found by a threshold in each of several channels, and what overlaps enough is one object.

    A pixel belongs to an object when it does so in any channel. A nucleus that changes its colour, as with FUCCI,
    stays one object as long as it shows in one of them.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Sakaue-Sawano et al., Cell 132, 487 (2008), doi:10.1016/j.cell.2007.12.033",
    )

    method: Literal["union"] = "union"
    of: tuple[Threshold, ...] = param(
        help="How objects are found in each channel, one table a channel: [[population.NAME.segmentation.of]]."
    )
    min_iou: float = param(
        0.2, help="Objects of two channels are one when their intersection over union reaches this.", ge=0, le=1
    )
    min_area_um2: float | None = param(None, help="Smaller objects are left out at the end (2D).", unit="um2", ge=0)
    min_volume_um3: float | None = param(None, help="Smaller objects are left out at the end (3D).", unit="um3", ge=0)

    @field_validator("of")
    @classmethod
    def _some(cls, value: tuple[Threshold, ...]) -> tuple[Threshold, ...]:
        if not value:
            msg = "name at least one channel."
            raise ValueError(msg)
        return value

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that the method reads."""
        return tuple(dict.fromkeys(one.channel for one in self.of))

    def segment(self, pixels: Pixels, scale: Scale, *, seed: int = 0) -> NDArray[np.uint32]:
        """Return the label image of one frame; see `kinocyte.segmentation.base.Segmenter.segment`.

        Raises
        ------
        ParameterError
            If a channel is missing, or an array is complex or not 2D or 3D.
        """
        from kinocyte.segmentation.label_algebra import combine, remove_by_size

        found = [one.segment(pixels, scale, seed=seed) for one in self.of]
        labels = combine(found, "union", min_iou=self.min_iou)
        smallest = self.min_area_um2 if labels.ndim == 2 else self.min_volume_um3
        return labels if smallest is None else remove_by_size(labels, scale, smallest=smallest)
