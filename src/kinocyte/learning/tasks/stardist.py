"""Instances of roundish objects, such as nuclei: from each pixel, how far the object reaches along a set of rays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.learning.networks.extent import divisor, reach
from kinocyte.learning.tasks._instances import best_settings, sigmoid
from kinocyte.learning.tasks.base import Module, Reading, Singles, Task, Tensor

#: pixels that an output of 1 means, so that first weights give distances of the order of nuclei
_DISTANCE_UNIT_PX = 10.0
#: mean radius below which an error of distance counts no more
_LEAST_RADIUS_PX = 3.0
_PROBABILITIES = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
_OVERLAPS = (0.2, 0.3, 0.4, 0.5)
#: times as many pixels as lie in objects, above which proposed shapes are not assembled in tuning
_MOST_PROPOSING = 2.0


class StarDist(Task):
    """Learns to tell touching roundish objects apart (nuclei, cells without long processes)."""

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "labels"
    result: ClassVar[Literal["labels", "classes", "image"]] = "labels"
    untuned: ClassVar[Mapping[str, float]] = MappingProxyType({"probability_threshold": 0.5, "overlap_threshold": 0.4})
    references: ClassVar[tuple[str, ...]] = (
        "Schmidt et al., MICCAI (2018), doi:10.1007/978-3-030-00934-2_30",
        "Weigert et al., WACV (2020), doi:10.1109/WACV45572.2020.9093435",
    )

    method: Literal["stardist"] = "stardist"
    n_rays: int = param(32, ge=3, le=256, help="Directions in which the edge is looked for; 96 are usual in volumes.")
    grid: Literal[1, 2, 4] = param(
        2, help="Pixels along each axis for which one shape is proposed; 1 for tiny objects."
    )
    width: int = param(32, ge=1, le=256, help="Channels of the network at its finest scale.")
    depth: int = param(3, ge=0, le=6, help="How often the network halves the image; more sees farther.")
    last_width: int = param(128, ge=1, le=512, advanced=True, help="Channels of the last layer before the output.")
    flat: int = param(
        0, ge=0, le=6, advanced=True, help="In volumes: how many of the halvings, the first ones, leave z as it is."
    )
    anisotropy: float = param(
        1.0, gt=0, advanced=True, help="In volumes: how many times longer objects are in y and x than in z, in pixels."
    )
    refine: bool = param(
        True, advanced=True, help="Correct each shape by what the pixels nearer to its edge say of the edge."
    )
    distance_weight: float = param(
        1.0, ge=0, advanced=True, help="Weight of the error of distances beside that of the object probability."
    )
    background_weight: float = param(
        1e-4, ge=0, advanced=True, help="How strongly distances in the background are drawn to 0."
    )

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:  # noqa: ARG002 - one label image
        """Return the U-Net; its first output is the logit of the object probability, the others are distances.

        Raises
        ------
        ParameterError
            If flat is asked for together with a grid: shapes would be proposed on a grid that differs by axis.
        """
        from kinocyte.learning.networks.unet import UNet

        if ndim == 3 and self.flat and self.grid > 1:
            msg = f"flat = {self.flat} needs grid = 1 in volumes, not {self.grid}."
            raise ParameterError(msg)
        outputs = 1 + self.n_rays
        return UNet(
            n_inputs, outputs, ndim, width=self.width, depth=self.depth, stride=self.grid, last_width=self.last_width,
            flat=self.flat,
        )  # fmt: skip

    def prepare(self, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> tuple[Singles, Singles]:  # noqa: ARG002 - others draw
        """Return the image, and how deep in its object each grid point lies with its distances in pixels."""
        from kinocyte.learning.star_convex import distances, edge_distance

        if target is None:
            msg = "stardist learns from label images; a pair without labels cannot be used."
            raise ParameterError(msg)
        depth = edge_distance(target, stride=self.grid)
        return image, np.concatenate([depth[None], distances(target, self.rays(target.ndim), stride=self.grid)])

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return cross-entropy of the probability plus the error of distances relative to the size of the object.

        An error counts by how deep in its object a pixel lies, since shapes are read at the deepest.
        """
        from torch.nn.functional import binary_cross_entropy_with_logits

        depth = target[:, 0]
        probability = binary_cross_entropy_with_logits(output[:, 0].float(), depth)
        said, within = output.movedim(1, -1).flatten(0, -2), depth.reshape(-1)
        inside = within.nonzero()[:, 0]  # few pixels have distances, and the others would cost most of the time
        deep = within[inside]
        edge = target.movedim(1, 0).flatten(1)[1:].index_select(1, inside).T
        radius = edge.mean(dim=1).clamp(min=_LEAST_RADIUS_PX)
        off = (said.index_select(0, inside)[:, 1:].float() * _DISTANCE_UNIT_PX - edge).abs().mean(dim=1) / radius
        distance = (deep * off).sum() / deep.sum().clamp(min=1.0)
        loss = probability + self.distance_weight * distance
        if self.background_weight:
            outside = said.index_select(0, (within <= 0).nonzero()[:, 0])[:, 1:].float().abs().mean(dim=1)
            loss = loss + self.background_weight * outside.sum() / len(within)
        return {"loss": loss, "probability": probability, "distance": distance}

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:
        """Return label image and probability of each object."""
        probability, distances = self.maps(output)
        labels, quality = self._assembled(probability, distances, settings)
        return Reading(labels=labels, quality=quality, maps={"probability": probability})

    def maps(self, output: Singles) -> tuple[Singles, Singles]:
        """Return object probability and distances in pixels, as the output of the network says them."""
        return sigmoid(output[0]), np.maximum(output[1:] * np.float32(_DISTANCE_UNIT_PX), np.float32(1e-3))

    def _assembled(
        self, probability: Singles, distances: Singles, settings: Mapping[str, float]
    ) -> tuple[NDArray[np.uint32], Singles]:
        from kinocyte.learning.star_convex import polygons_to_labels

        return polygons_to_labels(
            probability, distances, self.rays(probability.ndim), stride=self.grid, refine=self.refine,
            probability_threshold=settings["probability_threshold"], overlap_threshold=settings["overlap_threshold"],
        )  # fmt: skip

    def tune(self, outputs: Sequence[Singles], targets: Sequence[NDArray[Any]]) -> dict[str, float]:
        """Return the thresholds under which validation images are found and outlined best (`best_settings`).

        Where far more pixels than objects have propose a shape, as in a network that has hardly learnt, nothing counts
        as found: to tell so many shapes apart would take hours in volumes, and no such threshold is good.
        """
        said = [self.maps(o) for o in outputs]
        most = [_MOST_PROPOSING * np.count_nonzero(t) / self.grid**t.ndim for t in targets]

        def found(settings: Mapping[str, float]) -> list[NDArray[np.uint32]]:
            bound = settings["probability_threshold"]
            return [
                self._assembled(p, d, settings)[0]
                if np.count_nonzero(p > bound) <= n
                else np.zeros([side * self.grid for side in p.shape], np.uint32)
                for (p, d), n in zip(said, most, strict=True)
            ]

        grid = {"probability_threshold": _PROBABILITIES, "overlap_threshold": _OVERLAPS}
        return best_settings(found, targets, grid, self.untuned)

    def rays(self, ndim: int) -> Any:
        """Return the directions, a `kinocyte.learning.star_convex.Rays`."""
        from kinocyte.learning.star_convex import rays_2d, rays_3d

        return rays_2d(self.n_rays) if ndim == 2 else rays_3d(self.n_rays, (1.0, self.anisotropy, self.anisotropy))

    def divisor(self, ndim: int) -> tuple[int, ...]:
        """Return what each length of an input must be a multiple of, in order of axes."""
        return divisor(ndim, depth=self.depth, stride=self.grid, flat=self.flat)

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Return how many pixels away the farthest input lies that an output can depend on, in order of axes."""
        return reach(ndim, depth=self.depth, stride=self.grid, last=True, flat=self.flat)

    @property
    def stride(self) -> int:
        """Return the grid."""
        return self.grid
