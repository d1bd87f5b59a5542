"""Label images and intensities in, one row an object out.

Feature sets (`Shape`, `Intensity`, ..) measure the objects of one frame; `link_features`, `track_features` and
`object_motion` measure motion from tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinocyte.core.lazy import attach

if TYPE_CHECKING:
    from kinocyte.measurement.area_detected import AreaDetected
    from kinocyte.measurement.background import CytoplasmRing, LocalBackground
    from kinocyte.measurement.base import FeatureSet
    from kinocyte.measurement.branches import branch_features
    from kinocyte.measurement.compartments import pair_compartments
    from kinocyte.measurement.contours import ContourBands
    from kinocyte.measurement.contrast import Contrast
    from kinocyte.measurement.discs import Discs
    from kinocyte.measurement.ellipse import Ellipse
    from kinocyte.measurement.filters import FeatureFilter, passes, sift, suggested_limit
    from kinocyte.measurement.following import Motion
    from kinocyte.measurement.granularity import Granularity
    from kinocyte.measurement.intensity import Intensity
    from kinocyte.measurement.lineages import lineage_features
    from kinocyte.measurement.links import link_features
    from kinocyte.measurement.objects import find_objects
    from kinocyte.measurement.paths import PathDiscs, path_positions
    from kinocyte.measurement.polygons import polygon_features
    from kinocyte.measurement.radial import RadialDistribution
    from kinocyte.measurement.shape import Shape
    from kinocyte.measurement.speeds import object_motion
    from kinocyte.measurement.spots import Spots
    from kinocyte.measurement.texture import Texture
    from kinocyte.measurement.tracks import track_features
    from kinocyte.measurement.zernike import Zernike

__all__ = [
    "AreaDetected",
    "ContourBands",
    "Contrast",
    "CytoplasmRing",
    "Discs",
    "Ellipse",
    "FeatureFilter",
    "FeatureSet",
    "Granularity",
    "Intensity",
    "LocalBackground",
    "Motion",
    "PathDiscs",
    "RadialDistribution",
    "Shape",
    "Spots",
    "Texture",
    "Zernike",
    "branch_features",
    "find_objects",
    "lineage_features",
    "link_features",
    "object_motion",
    "pair_compartments",
    "passes",
    "path_positions",
    "polygon_features",
    "sift",
    "suggested_limit",
    "track_features",
]

__getattr__, __dir__ = attach(
    __name__,
    names={
        "AreaDetected": "kinocyte.measurement.area_detected",
        "Contrast": "kinocyte.measurement.contrast",
        "Ellipse": "kinocyte.measurement.ellipse",
        "FeatureFilter": "kinocyte.measurement.filters",
        "Zernike": "kinocyte.measurement.zernike",
        "lineage_features": "kinocyte.measurement.lineages",
        "passes": "kinocyte.measurement.filters",
        "sift": "kinocyte.measurement.filters",
        "polygon_features": "kinocyte.measurement.polygons",
        "suggested_limit": "kinocyte.measurement.filters",
        "ContourBands": "kinocyte.measurement.contours",
        "CytoplasmRing": "kinocyte.measurement.background",
        "Discs": "kinocyte.measurement.discs",
        "FeatureSet": "kinocyte.measurement.base",
        "Granularity": "kinocyte.measurement.granularity",
        "Intensity": "kinocyte.measurement.intensity",
        "LocalBackground": "kinocyte.measurement.background",
        "Motion": "kinocyte.measurement.following",
        "PathDiscs": "kinocyte.measurement.paths",
        "path_positions": "kinocyte.measurement.paths",
        "RadialDistribution": "kinocyte.measurement.radial",
        "Shape": "kinocyte.measurement.shape",
        "Spots": "kinocyte.measurement.spots",
        "Texture": "kinocyte.measurement.texture",
        "branch_features": "kinocyte.measurement.branches",
        "find_objects": "kinocyte.measurement.objects",
        "link_features": "kinocyte.measurement.links",
        "object_motion": "kinocyte.measurement.speeds",
        "pair_compartments": "kinocyte.measurement.compartments",
        "track_features": "kinocyte.measurement.tracks",
    },
)
