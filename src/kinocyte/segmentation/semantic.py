"""Segmentation by a network that gives each pixel a probability of each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.segmentation import splitting
from kinocyte.segmentation._deep import DeepSegmenter, Labels, Quality

if TYPE_CHECKING:
    from kinocyte.learning.model import ImageModel
    from kinocyte.learning.tasks.base import Reading


class Semantic(DeepSegmenter):
    """Finds objects where a network sees one class, and splits those that touch.

    Models that were trained to part objects by their boundary make the objects themselves; ``object_class``,
    ``probability`` and the ways of splitting mean nothing for them. Models of other programs that give a probability
    of each pixel (BioImage.IO packages) are read this way too. ``quality`` of an object is the mean probability of its
    pixels.
    """

    references: ClassVar[tuple[str, ...]] = ("Ronneberger et al., MICCAI (2015), doi:10.1007/978-3-319-24574-4_28",)

    method: Literal["semantic"] = "semantic"
    object_class: str = param("", help="Class whose pixels make up the objects; left out: the last one.")
    probability: float = param(0.5, help="Pixels that are at least this likely belong to objects.", gt=0, le=1)
    fill_holes: bool = param(True, help="Fill background that is enclosed by an object.")
    split: splitting.Split = splitting.split("peaks of the probability")
    max_neck: float = splitting.max_neck()
    seed_distance_um: float = splitting.seed_distance_um()
    seed_h_um: float = splitting.seed_h_um()

    def overrides(self) -> Mapping[str, float | None]:
        """There is nothing to replace: objects are made here."""
        return {}

    def fits(self, model: ImageModel) -> bool:
        """Tell whether a model gives classes, or images that may be probabilities."""
        return model.task.result == "classes" or model.task.name() in _READABLE

    def _read(self, model: ImageModel, image: NDArray[Any], scale: Scale) -> tuple[Labels, Quality]:
        from kinocyte.learning.inference.apply import apply
        from kinocyte.segmentation._threshold_kernel import segment
        from kinocyte.segmentation.threshold import Threshold

        reading = apply(model, image, pixel_um=scale.spacing_um(model.ndim), **self.how)
        if model.task.result == "labels":  # the task makes objects itself
            return self.objects(reading, model)
        chance = self._probability(reading, model)
        shared = {name: getattr(self, name) for name in _SHARED}
        low = float(np.float32(self.probability))
        rule = Threshold(channel="probability", threshold="fixed", low=low, min_area_um2=None, **shared)
        labels = segment(chance, rule, scale)
        if image.dtype.kind == "f":
            from kinocyte.segmentation.components import renumber

            labels = renumber(np.where(np.isfinite(image).all(axis=0), labels, 0).astype(np.uint32))[0]
        n = int(labels.max(initial=0))
        count = np.maximum(np.bincount(labels.reshape(-1), minlength=n + 1), 1)
        mean = np.bincount(labels.reshape(-1), chance.reshape(-1), minlength=n + 1) / count
        return labels, np.clip(mean[1:], 0, 1).astype(np.float32)

    def _probability(self, reading: Reading, model: ImageModel) -> NDArray[np.float32]:
        """Return the probability of the class of the objects."""
        every = reading.image if reading.image is not None else reading.maps.get("probability")
        if every is None:
            msg = f"The model '{self.model}' gives no probabilities; segmentation 'semantic' cannot read it."
            raise ParameterError(msg)
        every = every if every.ndim == model.ndim + 1 else every[None]
        names = [c.name for c in model.targets]
        if not self.object_class:
            return np.asarray(every[-1], np.float32)
        if self.object_class not in names or len(names) != len(every):
            msg = f"The model '{self.model}' has no class '{self.object_class}'; {nearest(self.object_class, names)}."
            raise ParameterError(msg)
        return np.asarray(every[names.index(self.object_class)], np.float32)


#: tasks without classes that can be read all the same
_READABLE = {"packaged", "boundary", "denoise_segment"}
#: parameters that mean what they mean in a threshold segmentation
_SHARED = ("fill_holes", "split", "max_neck", "seed_distance_um", "seed_h_um")
