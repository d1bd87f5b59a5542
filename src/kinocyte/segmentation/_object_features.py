"""Properties of objects that a threshold segmentation may keep or drop them by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.segmentation.components import Labels
from kinocyte.segmentation.threshold import PropertyFilter

_REGION = {
    "area_um2": "area",
    "volume_um3": "area",
    "equivalent_diameter_um": "equivalent_diameter_area",
    "major_axis_um": "axis_major_length",
    "minor_axis_um": "axis_minor_length",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
    "extent": "extent",
    "mean": "intensity_mean",
    "min": "intensity_min",
    "max": "intensity_max",
    "std": "intensity_std",
    "contrast": "intensity_mean",
}
_FLAT_ONLY = {"area_um2", "eccentricity", "circularity"}


def wanted(
    labels: Labels, image: NDArray[Any], rules: Sequence[PropertyFilter], spacing_um: Sequence[float]
) -> NDArray[np.bool_]:
    """Return which of the objects 1..n satisfy all rules; an object whose property is not defined satisfies none.

    Parameters
    ----------
    labels : array of uint32
        Objects numbered 1..n.
    image : array
        Finite grey values, same shape.
    rules : sequence of PropertyFilter
        Ranges, limits included.
    spacing_um : sequence of float
        Pixel size along each axis.

    Raises
    ------
    ParameterError
        If a property does not exist in this number of dimensions.
    """
    from skimage.measure import regionprops

    regions = regionprops(labels, intensity_image=image, spacing=tuple(spacing_um))
    kept = np.ones(len(regions), bool)
    for rule in rules:
        if (rule.feature in _FLAT_ONLY and labels.ndim == 3) or (rule.feature == "volume_um3" and labels.ndim == 2):
            msg = f"keep: '{rule.feature}' does not exist in {labels.ndim}D; use another feature."
            raise ParameterError(msg)
        values = np.array([_value(r, rule.feature) for r in regions], dtype=np.float64)
        if rule.feature == "contrast":
            background = image[labels == 0]
            values /= float(background.mean()) if background.size and background.mean() != 0 else np.nan
        low = -np.inf if rule.min is None else rule.min
        high = np.inf if rule.max is None else rule.max
        kept &= (values >= low) & (values <= high)
    return kept


def _value(region: Any, feature: str) -> float:
    if feature == "circularity":
        perimeter = float(region.perimeter)
        return 4.0 * np.pi * float(region.area) / perimeter**2 if perimeter > 0 else np.nan
    return float(region[_REGION[feature]])
