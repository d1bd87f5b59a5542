"""Objects from a channel that already holds them: a mask or a label image made elsewhere."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.segmentation.base import Pixels, Segmenter, single_channel


class FromLabels(Segmenter):
    """Objects are read from a channel: each value of a label image, or each connected part of a mask.

    Values that are not above 0, NaN included, are background.
    """

    method: Literal["labels"] = "labels"
    channel: str = param(help="Channel that holds the mask or the labels.")
    holds: Literal["labels", "mask"] = param(
        "labels", help="Whether each object has a value of its own (labels) or all share theirs (mask)."
    )
    split_parts: bool = param(
        False, help="With labels: make each connected part of a value an object of its own, as a mask always does."
    )
    connectivity: Literal["face", "full"] = param(
        "full", help="Whether pixels of one part must share an edge (face) or a corner is enough (full).", advanced=True
    )
    stitch_min_iou: float | None = param(
        None,
        gt=0,
        le=1,
        help="Stacks that were segmented plane by plane: objects of neighbouring planes are one when their "
        "intersection over union reaches this; left out: a value, or what touches, is one object through all planes.",
    )
    min_area_um2: float | None = param(None, help="Smaller objects are left out (2D).", unit="um2", ge=0)
    min_volume_um3: float | None = param(None, help="Smaller objects are left out (3D).", unit="um3", ge=0)

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that the method reads."""
        return (self.channel,)

    def segment(self, pixels: Pixels, scale: Scale, *, seed: int = 0) -> NDArray[np.uint32]:
        """Return the label image of one frame, numbered 1..n; see `kinocyte.segmentation.base.Segmenter.segment`.

        Raises
        ------
        ParameterError
            If the channel is missing, complex or not 2D or 3D, or labels are not whole numbers.
        """
        from kinocyte.segmentation import components
        from kinocyte.segmentation.label_algebra import relabel, remove_by_size, split_parts
        from kinocyte.segmentation.stitching import stitch

        image = single_channel(pixels, self.channel)
        if image.ndim not in {2, 3} or image.dtype.kind not in "biuf":
            found = f"Channel '{self.channel}' has shape {image.shape} of {image.dtype}"
            msg = f"{found}; give (y, x) or (z, y, x) of real numbers."
            raise ParameterError(msg)
        solid = image > 0
        if self.stitch_min_iou is not None and image.ndim == 3:
            plane = self.replace(stitch_min_iou=None, min_area_um2=None)
            planes = np.stack([plane.segment({self.channel: p}, scale, seed=seed) for p in image])
            labels = stitch(planes, min_iou=self.stitch_min_iou)
        elif self.holds == "mask":
            labels = components.label(solid, self.connectivity)[0]
        else:
            whole = np.where(solid, image, 0)
            values = whole.astype(np.int64)
            if not (values == whole).all():
                msg = (
                    f"Channel '{self.channel}' holds fractions and is no label image; set holds = 'mask' or segment it."
                )
                raise ParameterError(msg)
            labels = split_parts(values, self.connectivity) if self.split_parts else relabel(values)
        smallest = self.min_area_um2 if labels.ndim == 2 else self.min_volume_um3
        return labels if smallest is None else remove_by_size(labels, scale, smallest=smallest)
