"""Scores against ground truth: labels, tracks, positions, events, images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinocyte.core.lazy import attach

if TYPE_CHECKING:
    from kinocyte.evaluation.boundaries import BoundaryScores, score_boundaries
    from kinocyte.evaluation.classes import ClassReport, score_classes
    from kinocyte.evaluation.comparison import Comparison, compare
    from kinocyte.evaluation.events import EventScores, score_events
    from kinocyte.evaluation.images import ImageReport, ImageScores, score_image, score_images
    from kinocyte.evaluation.links import LinkScores, score_links
    from kinocyte.evaluation.movies import LabelMovie, ObjectMovie
    from kinocyte.evaluation.particles import ParticleScores, score_particles, score_positions
    from kinocyte.evaluation.segmentation import (
        SegmentationReport,
        SegmentationScores,
        score_segmentation,
        score_segmentations,
    )
    from kinocyte.evaluation.tracking import TrackingScores, score_tracking

__all__ = [
    "BoundaryScores",
    "ClassReport",
    "Comparison",
    "EventScores",
    "ImageReport",
    "ImageScores",
    "LabelMovie",
    "LinkScores",
    "ObjectMovie",
    "ParticleScores",
    "SegmentationReport",
    "SegmentationScores",
    "TrackingScores",
    "compare",
    "score_boundaries",
    "score_classes",
    "score_events",
    "score_image",
    "score_images",
    "score_links",
    "score_particles",
    "score_positions",
    "score_segmentation",
    "score_segmentations",
    "score_tracking",
]

__getattr__, __dir__ = attach(
    __name__,
    names={
        "BoundaryScores": "kinocyte.evaluation.boundaries",
        "ClassReport": "kinocyte.evaluation.classes",
        "Comparison": "kinocyte.evaluation.comparison",
        "EventScores": "kinocyte.evaluation.events",
        "ImageReport": "kinocyte.evaluation.images",
        "ImageScores": "kinocyte.evaluation.images",
        "LabelMovie": "kinocyte.evaluation.movies",
        "LinkScores": "kinocyte.evaluation.links",
        "ObjectMovie": "kinocyte.evaluation.movies",
        "ParticleScores": "kinocyte.evaluation.particles",
        "SegmentationReport": "kinocyte.evaluation.segmentation",
        "SegmentationScores": "kinocyte.evaluation.segmentation",
        "TrackingScores": "kinocyte.evaluation.tracking",
        "compare": "kinocyte.evaluation.comparison",
        "score_boundaries": "kinocyte.evaluation.boundaries",
        "score_classes": "kinocyte.evaluation.classes",
        "score_events": "kinocyte.evaluation.events",
        "score_image": "kinocyte.evaluation.images",
        "score_images": "kinocyte.evaluation.images",
        "score_links": "kinocyte.evaluation.links",
        "score_particles": "kinocyte.evaluation.particles",
        "score_positions": "kinocyte.evaluation.particles",
        "score_segmentation": "kinocyte.evaluation.segmentation",
        "score_segmentations": "kinocyte.evaluation.segmentation",
        "score_tracking": "kinocyte.evaluation.tracking",
    },
)
