"""Networks for images and signals: data sets, training, application, model packages, quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinocyte.core.lazy import attach

if TYPE_CHECKING:
    from kinocyte.learning.data.augment import Augmentation
    from kinocyte.learning.data.checks import check_pairs
    from kinocyte.learning.data.normalisation import Normalisation
    from kinocyte.learning.data.pairs import Pair
    from kinocyte.learning.inference.apply import apply, restore, uncertainty
    from kinocyte.learning.model import ImageModel, load_image_model
    from kinocyte.learning.quality.ranking import rank_frames
    from kinocyte.learning.training.settings import TrainingSettings

__all__ = [
    "Augmentation",
    "ImageModel",
    "Normalisation",
    "Pair",
    "TrainingSettings",
    "apply",
    "check_pairs",
    "load_image_model",
    "rank_frames",
    "restore",
    "uncertainty",
]

__getattr__, __dir__ = attach(
    __name__,
    names={
        "Augmentation": "kinocyte.learning.data.augment",
        "ImageModel": "kinocyte.learning.model",
        "Normalisation": "kinocyte.learning.data.normalisation",
        "Pair": "kinocyte.learning.data.pairs",
        "TrainingSettings": "kinocyte.learning.training.settings",
        "apply": "kinocyte.learning.inference.apply",
        "check_pairs": "kinocyte.learning.data.checks",
        "load_image_model": "kinocyte.learning.model",
        "rank_frames": "kinocyte.learning.quality.ranking",
        "restore": "kinocyte.learning.inference.apply",
        "uncertainty": "kinocyte.learning.inference.apply",
    },
)
