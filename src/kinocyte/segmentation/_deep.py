"""What the segmenters share that apply a trained network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.learning.applied import ReadsChannels
from kinocyte.segmentation.base import Pixels, Segmenter

if TYPE_CHECKING:
    from kinocyte.learning.model import ImageModel
    from kinocyte.learning.tasks.base import Reading

Labels = NDArray[np.uint32]
Quality = NDArray[np.float32]


class DeepSegmenter(ReadsChannels, Segmenter):
    """Base of the segmenters with a trained network: channels, and what is left out of what it finds."""

    min_area_um2: float | None = param(None, help="Smaller objects are left out (2D).", unit="um2", ge=0)
    max_area_um2: float | None = param(None, help="Larger objects are left out (2D).", unit="um2", gt=0)
    min_volume_um3: float | None = param(None, help="Smaller objects are left out (3D).", unit="um3", ge=0)
    max_volume_um3: float | None = param(None, help="Larger objects are left out (3D).", unit="um3", gt=0)
    exclude_border_um: float | None = param(
        None,
        help="Leave out objects that come this close to a side of the frame; 0 leaves out those that touch it.",
        unit="um",
        ge=0,
    )
    min_quality: float = param(0.0, help="Objects that the network is less sure of are left out.", ge=0, le=1)
    min_iou: float = param(
        0.25,
        help="In stacks, with a model for planes: objects of neighbouring planes are one when they overlap this much.",
        gt=0,
        le=1,
        advanced=True,
    )

    @abstractmethod
    def overrides(self) -> Mapping[str, float | None]:
        """Return the settings that replace those of the model; None keeps the model's."""

    @abstractmethod
    def fits(self, model: ImageModel) -> bool:
        """Tell whether the method can read the output of a model."""

    def misfit(self, model: ImageModel) -> str | None:
        """Return that the method cannot read the output of a model."""
        return (
            None if self.fits(model) else f"is for {model.task.name()}, which segmentation '{self.name()}' cannot read"
        )

    def ready(self, scale: Scale, ndim: int) -> None:
        """Refuse what cannot run before anything does: no torch, a model that does not compute or does not fit.

        Parameters
        ----------
        scale : Scale
            Calibration of the frames.
        ndim : int
            2 for frames (y, x), 3 for (z, y, x).

        Raises
        ------
        MissingExtraError
            If torch is not installed.
        InputFileError
            If there is no such model, or it does not compute what it says it does.
        ParameterError
            If it is for another task, for volumes where frames are planes, or reads another number of channels.
        CalibrationError
            If the pixel size is too far from that of the training images.
        """
        self.check_channels(self.check_model(scale, ndim))

    def segment(self, pixels: Pixels, scale: Scale, *, seed: int = 0) -> Labels:
        """Return the label image of one frame; see `kinocyte.segmentation.base.Segmenter.segment`.

        Raises
        ------
        MissingExtraError
            If torch is not installed.
        InputFileError
            If the model cannot be read.
        ParameterError
            If channels are missing or do not fit the model, or it is for another task.
        CalibrationError
            If the pixel size is too far from that of the training images.
        """
        return self.segment_with_quality(pixels, scale, seed=seed)[0]

    def segment_with_quality(self, pixels: Pixels, scale: Scale, *, seed: int = 0) -> tuple[Labels, Quality]:
        """Return the label image of one frame and how sure the network is of each object, between 0 and 1."""
        del seed  # nothing is drawn
        model = self.opened()
        image = self.stacked(pixels, model)
        if image.ndim == 4 and model.ndim == 2:
            labels, quality = self._stitched(model, image, scale)
        else:
            labels, quality = self._read(model, image, scale)
        return self._wanted(labels, quality, scale)

    def _read(self, model: ImageModel, image: NDArray[Any], scale: Scale) -> tuple[Labels, Quality]:
        from kinocyte.learning.inference.apply import apply, has_values

        if not has_values(image):  # such as a frame that was not taken
            return np.zeros(image.shape[1:], np.uint32), np.zeros(0, np.float32)
        settings = {name: value for name, value in self.overrides().items() if value is not None}
        reading = apply(model, image, pixel_um=scale.spacing_um(model.ndim), settings=settings, **self.how)
        return self.objects(reading, model)

    def objects(self, reading: Reading, model: ImageModel) -> tuple[Labels, Quality]:
        """Return labels and quality of a reading."""
        if reading.labels is None:
            msg = f"The model '{model.name}' gives images, not objects; see kinocyte model info {self.model}."
            raise ParameterError(msg)
        n = int(reading.labels.max(initial=0))
        return reading.labels, reading.quality if reading.quality is not None else np.ones(n, np.float32)

    def _stitched(self, model: ImageModel, image: NDArray[Any], scale: Scale) -> tuple[Labels, Quality]:
        """Return the objects of a stack read plane by plane; its quality is the mean over the planes of an object."""
        from kinocyte.segmentation.stitching import stitch

        found = [self._read(model, image[:, z], scale) for z in range(image.shape[1])]
        labels = stitch(np.stack([f[0] for f in found]), min_iou=self.min_iou)
        n = int(labels.max(initial=0))
        total, planes = np.zeros(n + 1), np.zeros(n + 1)
        for whole, (plane, quality) in zip(labels, found, strict=True):
            numbers, first = np.unique(plane, return_index=True)
            owner = whole.reshape(-1)[first][numbers > 0]
            np.add.at(total, owner, quality[numbers[numbers > 0] - 1])
            np.add.at(planes, owner, 1)
        return labels, (total / np.maximum(planes, 1))[1:].astype(np.float32)

    def _wanted(self, labels: Labels, quality: Quality, scale: Scale) -> tuple[Labels, Quality]:
        """Return the objects that size, place and quality let stay."""
        from kinocyte.segmentation.components import keep
        from kinocyte.segmentation.label_algebra import clear_border, remove_by_size

        if quality.size and self.min_quality > 0:
            stays = quality >= self.min_quality
            labels, quality = keep(labels, stays)[0], quality[stays]
        plane = labels.ndim == 2
        smallest = self.min_area_um2 if plane else self.min_volume_um3
        largest = self.max_area_um2 if plane else self.max_volume_um3
        kept = labels
        if smallest is not None or largest is not None:
            kept = remove_by_size(kept, scale, smallest=smallest or 0.0, largest=largest)
        if self.exclude_border_um is not None:
            kept = clear_border(kept, scale, self.exclude_border_um)
        if kept is labels:
            return labels, quality
        # which of the objects each that is left was: they keep their order
        before = np.unique(labels[kept > 0])
        return kept, quality[before - 1]
