"""Size and form of objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.measurement.base import FeatureSet


class Shape(FeatureSet):
    """Size and form: area, axes, perimeter, hull, holes; in 3D volume, surface and sphericity.

    2D: ``area_um2 area_bbox_um2 area_convex_um2 area_filled_um2 bbox_height_um bbox_width_um major_axis_um
    minor_axis_um aspect_ratio eccentricity orientation_rad equivalent_diameter_um euler_number extent
    feret_max_um feret_min_um perimeter_um perimeter_crofton_um circularity solidity``.

    3D: ``volume_um3 volume_bbox_um3 volume_convex_um3 volume_filled_um3 bbox_depth_um bbox_height_um bbox_width_um
    major_axis_um middle_axis_um minor_axis_um aspect_ratio equivalent_diameter_um euler_number extent feret_max_um
    surface_area_um2 sphericity solidity``.

    Notes
    -----
    Definitions are those of ``skimage.measure.regionprops`` with its ``spacing`` and equal it, except:
    perimeters are defined for pixels that are not square too (there scikit-image refuses; ``perimeter_um`` then grows,
    by a sixth at 5:1, ``perimeter_crofton_um`` stays); the surface of a 3D
    object is the Crofton estimate along 13 directions; an object one pixel wide has minor axis 0 and eccentricity 1
    to the last digit; a 3D object one plane thick has a hull. ``circularity`` is 4 pi area / perimeter_crofton^2,
    ``sphericity`` pi^(1/3) (6 volume)^(2/3) / surface; of objects of few pixels both may exceed 1.
    ``aspect_ratio`` is major over minor axis, null where the minor axis is 0. ``orientation_rad`` is the angle between
    the y axis and the major axis, -pi/2 to pi/2.
    """

    method: Literal["shape"] = "shape"

    references: ClassVar[tuple[str, ...]] = (
        "van der Walt et al. (2014) scikit-image, PeerJ 2:e453, doi:10.7717/peerj.453",
        "Lehmann, Legland (2012) Efficient N-dimensional surface estimation using Crofton formula, hdl:10380/3342",
    )

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:  # noqa: ARG002 - shape reads no channel
        """Return the shape of every object of one frame; see `FeatureSet.measure`. No channel is read."""
        from kinocyte.measurement._shape import shape_2d, shape_3d

        labels = np.asarray(labels)
        return shape_3d(labels, scale) if labels.ndim == 3 else shape_2d(labels, scale)
