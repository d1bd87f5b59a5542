"""A segmenter, a linker and a network for Kinocyte, as somebody else would publish them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.core.schema import LINKS, conform
from kinocyte.learning.tasks.base import Module, Reading, Singles, Task, Tensor
from kinocyte.segmentation.base import Pixels, Segmenter, single_channel
from kinocyte.tracking.base import LabelSource, Linker


class ConstantThreshold(Segmenter):
    """Takes every connected group of pixels above one value as an object."""

    method: Literal["constant_threshold"] = "constant_threshold"
    channel: str = param(help="Channel to read.")
    value: float = param(help="Pixels above this value belong to objects.")
    min_area_um2: float = param(0.0, help="Smaller objects are left out.", unit="um2", ge=0)

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that the method reads."""
        return (self.channel,)

    def segment(self, pixels: Pixels, scale: Scale, *, seed: int = 0) -> NDArray[np.uint32]:
        """Return the label image of one frame."""
        from scipy.ndimage import label

        found, _ = label(single_channel(pixels, self.channel) > self.value)
        area_um2 = np.bincount(found.ravel()) * np.prod(scale.spacing_um(found.ndim))
        large = area_um2 >= self.min_area_um2
        large[0] = False
        return np.asarray((np.cumsum(large) * large)[found], dtype=np.uint32)


class NearestCentre(Linker):
    """Links every object to the nearest object of the next frame."""

    method: Literal["nearest_centre"] = "nearest_centre"
    max_distance_um: float = param(10.0, help="Largest distance of a link.", unit="um", gt=0)

    def link(self, objects: pl.DataFrame, *, labels: LabelSource | None = None, seed: int = 0) -> pl.DataFrame:
        """Return the links between objects of one position."""
        rows: list[dict[str, Any]] = []
        for source in objects.iter_rows(named=True):
            later = objects.filter(pl.col("frame") == source["frame"] + 1).with_columns(
                cost=((pl.col("x_um") - source["x_um"]) ** 2 + (pl.col("y_um") - source["y_um"]) ** 2).sqrt()
            )
            near = later.filter(pl.col("cost") <= self.max_distance_um).sort("cost", "object_id").head(1)
            rows += [
                {"source_id": source["object_id"], "target_id": t["object_id"], "cost": t["cost"], "frame_gap": 1}
                for t in near.iter_rows(named=True)
            ]
        table = pl.DataFrame(rows, schema={n: c.dtype for n, c in LINKS.items()})
        return conform(table.sort("source_id", "target_id"), LINKS, table="links")


class OneFilter(Task):
    """Learns one linear filter that makes the target out of the image."""

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "image"
    result: ClassVar[Literal["labels", "classes", "image"]] = "image"

    method: Literal["one_filter"] = "one_filter"
    size_px: int = param(5, help="Height and width of the filter, an odd number.", unit="px", ge=1, le=31)

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return a single convolution."""
        from torch import nn

        convolution = nn.Conv2d if ndim == 2 else nn.Conv3d
        return convolution(n_inputs, n_targets, self.size_px, padding=self.size_px // 2)

    def prepare(self, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> tuple[Singles, Singles]:
        """Return the image and its target."""
        assert target is not None
        return image, target.astype(np.float32)

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the mean squared error."""
        return {"loss": (output - target).square().mean()}

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:
        """Return the output as an image."""
        return Reading(image=output)

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Return half of the filter."""
        return (self.size_px // 2,) * ndim
