"""Images in, label images out; label images combined and mended.

Every way to find objects (`Threshold`, `LoG`, `StarDist`, ..) is a method with the verb ``segment``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinocyte.core.lazy import attach

if TYPE_CHECKING:
    from kinocyte.segmentation.base import Segmenter
    from kinocyte.segmentation.combined import Combined
    from kinocyte.segmentation.dog import DoG
    from kinocyte.segmentation.flows import Flows
    from kinocyte.segmentation.hessian import Hessian
    from kinocyte.segmentation.label_algebra import (
        clear_border,
        combine,
        fill_holes,
        grow,
        keep_largest_part,
        keep_only,
        relabel,
        remove,
        remove_by_size,
        shrink,
        split_parts,
    )
    from kinocyte.segmentation.label_checks import check_labels
    from kinocyte.segmentation.labels import FromLabels
    from kinocyte.segmentation.log import LoG
    from kinocyte.segmentation.pixel_classifier import PixelClassifier
    from kinocyte.segmentation.pixel_model import PixelModel
    from kinocyte.segmentation.pixel_training import train_pixel_classifier
    from kinocyte.segmentation.semantic import Semantic
    from kinocyte.segmentation.stardist import StarDist
    from kinocyte.segmentation.stitching import segment_planes, stitch
    from kinocyte.segmentation.threshold import Threshold
    from kinocyte.segmentation.tiled import detect_tiled, segment_tiled
    from kinocyte.segmentation.union import Union

__all__ = [
    "Combined",
    "DoG",
    "Flows",
    "FromLabels",
    "Hessian",
    "LoG",
    "PixelClassifier",
    "PixelModel",
    "Segmenter",
    "Semantic",
    "StarDist",
    "Threshold",
    "Union",
    "check_labels",
    "clear_border",
    "combine",
    "detect_tiled",
    "fill_holes",
    "grow",
    "keep_largest_part",
    "keep_only",
    "relabel",
    "remove",
    "remove_by_size",
    "segment_planes",
    "segment_tiled",
    "shrink",
    "split_parts",
    "stitch",
    "train_pixel_classifier",
]

__getattr__, __dir__ = attach(
    __name__,
    names={
        "Combined": "kinocyte.segmentation.combined",
        "DoG": "kinocyte.segmentation.dog",
        "Flows": "kinocyte.segmentation.flows",
        "FromLabels": "kinocyte.segmentation.labels",
        "Hessian": "kinocyte.segmentation.hessian",
        "LoG": "kinocyte.segmentation.log",
        "PixelClassifier": "kinocyte.segmentation.pixel_classifier",
        "PixelModel": "kinocyte.segmentation.pixel_model",
        "Segmenter": "kinocyte.segmentation.base",
        "Semantic": "kinocyte.segmentation.semantic",
        "StarDist": "kinocyte.segmentation.stardist",
        "Threshold": "kinocyte.segmentation.threshold",
        "Union": "kinocyte.segmentation.union",
        "check_labels": "kinocyte.segmentation.label_checks",
        "clear_border": "kinocyte.segmentation.label_algebra",
        "combine": "kinocyte.segmentation.label_algebra",
        "detect_tiled": "kinocyte.segmentation.tiled",
        "fill_holes": "kinocyte.segmentation.label_algebra",
        "grow": "kinocyte.segmentation.label_algebra",
        "keep_largest_part": "kinocyte.segmentation.label_algebra",
        "keep_only": "kinocyte.segmentation.label_algebra",
        "relabel": "kinocyte.segmentation.label_algebra",
        "remove": "kinocyte.segmentation.label_algebra",
        "remove_by_size": "kinocyte.segmentation.label_algebra",
        "segment_planes": "kinocyte.segmentation.stitching",
        "segment_tiled": "kinocyte.segmentation.tiled",
        "shrink": "kinocyte.segmentation.label_algebra",
        "split_parts": "kinocyte.segmentation.label_algebra",
        "stitch": "kinocyte.segmentation.stitching",
        "train_pixel_classifier": "kinocyte.segmentation.pixel_training",
    },
)
