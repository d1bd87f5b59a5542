"""Segmentation by a trained pixel classifier: probability maps, then objects from those of one class."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.channels import ChannelNames, named_channels, need_as_many
from kinocyte.core.errors import InputFileError, ParameterError, nearest
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.segmentation import splitting
from kinocyte.segmentation.base import Pixels, Segmenter
from kinocyte.segmentation.pixel_model import TILE_PX, PixelModel

if TYPE_CHECKING:
    from kinocyte.segmentation.threshold import Threshold


class PixelClassifier(Segmenter):
    """Objects are where a trained classifier sees one class; touching objects are split.

    For images in which no level of brightness tells cells from background: phase contrast, uneven stain, debris. The
    classifier is a random forest on blurs, edges, blobs and ridges at several scales, trained in seconds from strokes
    that a person draws (`kinocyte.segmentation.pixel_training.train_pixel_classifier`), as in ilastik and Weka.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Breiman, Mach. Learn. 45, 5 (2001)",
        "Berg et al., Nat. Methods 16, 1226 (2019)",
        "Arganda-Carreras et al., Bioinformatics 33, 2424 (2017)",
    )

    method: Literal["pixel_classifier"] = "pixel_classifier"
    model: str = param(help="File of the trained classifier (.npz).")
    channel: ChannelNames = param(
        (), help="Channels to read, in the order of those it was trained on; left out: the channels of those names."
    )
    object_class: str = param("", help="Class whose pixels make up the objects; left out: the last one.")
    probability: float = param(0.5, help="Pixels that are at least this likely belong to objects.", gt=0, le=1)
    smoothing_um: float = param(0.0, help="Blur of the probabilities, against ragged outlines.", unit="um", ge=0)
    max_scale_ratio: float = param(
        1.1, help="Largest ratio of the pixel size to that of the training images, either way.", ge=1, advanced=True
    )
    tile_px: int = param(
        TILE_PX, help="Side of the tiles, which bounds memory and changes no result.", unit="px", ge=16, advanced=True
    )
    fill_holes: bool = param(True, help="Fill background that is enclosed by an object.")
    split: splitting.Split = splitting.split("peaks of the probability")
    max_neck: float = splitting.max_neck()
    seed_distance_um: float = splitting.seed_distance_um()
    seed_h_um: float = splitting.seed_h_um()
    min_area_um2: float | None = param(10.0, help="Smaller objects are left out (2D).", unit="um2", ge=0)
    max_area_um2: float | None = param(None, help="Larger objects are left out (2D).", unit="um2", gt=0)
    min_volume_um3: float | None = param(None, help="Smaller objects are left out (3D).", unit="um3", ge=0)
    max_volume_um3: float | None = param(None, help="Larger objects are left out (3D).", unit="um3", gt=0)
    exclude_border_um: float | None = param(
        None,
        help="Leave out objects that come this close to a side of the frame; 0 leaves out those that touch it.",
        unit="um",
        ge=0,
    )

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that the method reads; where none is named, those of the model, which is opened for it."""
        return self.channel or opened_model(self.model).channels

    def probabilities(self, pixels: Pixels, scale: Scale) -> NDArray[np.float32]:
        """Return the probability of each class at each pixel, (classes, (z), y, x).

        Raises
        ------
        InputFileError
            If the model cannot be read.
        ParameterError
            If channels are missing or do not fit the model.
        CalibrationError
            If the pixel size is too far from that of the training images.
        """
        model = opened_model(self.model)
        return model.probabilities(
            self.renamed(pixels), scale, tile_px=self.tile_px, max_scale_ratio=self.max_scale_ratio
        )

    def renamed(self, pixels: Pixels) -> dict[str, Any]:
        """Return the channels by the names that the model has for them."""
        model = opened_model(self.model)
        need_as_many(self.channel or model.channels, model.channels, "the pixel classifier")
        return dict(zip(model.channels, named_channels(pixels, self.channels), strict=True))

    def rule(self) -> tuple[Threshold, PixelModel, int]:
        """Return how objects are made of probabilities, the model, and the place of the objects' class in it."""
        from kinocyte.segmentation.filters import Gaussian
        from kinocyte.segmentation.threshold import Threshold

        model = opened_model(self.model)
        if self.object_class and self.object_class not in model.classes:
            hint = nearest(self.object_class, model.classes)
            msg = f"The pixel classifier {self.model} has no class '{self.object_class}'; {hint}."
            raise ParameterError(msg)
        wanted = model.classes.index(self.object_class) if self.object_class else len(model.classes) - 1
        shared = {name: getattr(self, name) for name in _SHARED}
        blur = (Gaussian(sigma_um=self.smoothing_um),) if self.smoothing_um > 0 else ()
        low = float(np.float32(self.probability))
        return Threshold(channel="probability", filters=blur, threshold="fixed", low=low, **shared), model, wanted

    def segment(self, pixels: Pixels, scale: Scale, *, seed: int = 0) -> NDArray[np.uint32]:  # noqa: ARG002 - no chance
        """Return the label image of one frame; see `kinocyte.segmentation.base.Segmenter.segment`.

        Raises
        ------
        InputFileError
            If the model cannot be read.
        ParameterError
            If channels are missing or do not fit the model, or it knows no such class.
        CalibrationError
            If the pixel size is too far from that of the training images.
        """
        return self.objects(self.probabilities(pixels, scale), pixels, scale)

    def objects(self, probabilities: NDArray[np.float32], pixels: Pixels, scale: Scale) -> NDArray[np.uint32]:
        """Return the label image that `segment` makes of the probabilities of a frame, (classes, (z), y, x)."""
        from kinocyte.segmentation._threshold_kernel import segment
        from kinocyte.segmentation.components import renumber

        rule, _, wanted = self.rule()
        labels = segment(probabilities[wanted], rule, scale)
        for image in named_channels(pixels, self.channels):
            if image.dtype.kind == "f" and not np.isfinite(image).all():
                labels = np.where(np.isfinite(image), labels, 0).astype(np.uint32)
        return renumber(labels)[0]


#: parameters that mean what they mean in a threshold segmentation
_SHARED = (
    "fill_holes", "split", "max_neck", "seed_distance_um", "seed_h_um", "min_area_um2", "max_area_um2",
    "min_volume_um3", "max_volume_um3", "exclude_border_um",
)  # fmt: skip


def opened_model(path: str) -> PixelModel:
    """Return the model of a file, read again only when the file has changed.

    Raises
    ------
    InputFileError
        If there is none, or it cannot be read.
    """
    try:
        status = Path(path).stat()
    except OSError:
        msg = f"There is no pixel classifier at {path}; give the path of a file that was saved after training."
        raise InputFileError(msg) from None
    return _load(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _load(path: str, _modified: int, _size: int) -> PixelModel:
    return PixelModel.load(path)
