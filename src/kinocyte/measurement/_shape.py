"""The shape table of a frame, put together from the kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.measurement._boundary import border_counts, crofton, perimeter_um
from kinocyte.measurement._holes import filled_px
from kinocyte.measurement._hull import convex_2d
from kinocyte.measurement._hull3d import convex_3d
from kinocyte.measurement._runs import Floats, Runs, find_runs


def shape_2d(labels: NDArray[Any], scale: Scale) -> pl.DataFrame:
    """Return the shape of every object of a (y, x) label image; columns as `kinocyte.measurement.shape.Shape` says."""
    runs = find_runs(labels)
    spacing = scale.spacing_um(2)
    pixel = math.prod(spacing)
    area = runs.area_px * pixel
    box = (runs.boxes[:, 4:] - runs.boxes[:, 1:3]) * np.asarray(spacing)
    area_box = box.prod(axis=1)
    convex_px, feret_max, feret_min = convex_2d(runs, spacing)
    entries, euler = border_counts(runs)
    around = crofton(entries, 2, spacing)
    major, minor, eccentricity, orientation = _ellipse(runs, spacing)
    return pl.DataFrame(
        {
            "label": runs.labels,
            "area_um2": area,
            "area_bbox_um2": area_box,
            "area_convex_um2": convex_px * pixel,
            "area_filled_um2": filled_px(runs) * pixel,
            "bbox_height_um": box[:, 0],
            "bbox_width_um": box[:, 1],
            "major_axis_um": major,
            "minor_axis_um": minor,
            "aspect_ratio": _ratio(major, minor),
            "eccentricity": eccentricity,
            "orientation_rad": orientation,
            "equivalent_diameter_um": np.sqrt(4 * area / math.pi),
            "euler_number": euler,
            "extent": area / area_box,
            "feret_max_um": feret_max,
            "feret_min_um": feret_min,
            "perimeter_um": perimeter_um(runs, spacing),
            "perimeter_crofton_um": around,
            "circularity": 4 * math.pi * area / around**2,
            "solidity": runs.area_px / convex_px,
        },
        nan_to_null=True,
    )


def shape_3d(labels: NDArray[Any], scale: Scale) -> pl.DataFrame:
    """Return the shape of every object of a (z, y, x) label image; columns as `Shape` says."""
    runs = find_runs(labels)
    spacing = scale.spacing_um(3)
    voxel = math.prod(spacing)
    volume = runs.area_px * voxel
    box = (runs.boxes[:, 3:] - runs.boxes[:, :3]) * np.asarray(spacing)
    volume_box = box.prod(axis=1)
    convex_px, feret_max = convex_3d(runs, spacing)
    entries, euler = border_counts(runs)
    surface = crofton(entries, 3, spacing)
    axes = _ellipsoid(runs, spacing)
    return pl.DataFrame(
        {
            "label": runs.labels,
            "volume_um3": volume,
            "volume_bbox_um3": volume_box,
            "volume_convex_um3": convex_px * voxel,
            "volume_filled_um3": filled_px(runs) * voxel,
            "bbox_depth_um": box[:, 0],
            "bbox_height_um": box[:, 1],
            "bbox_width_um": box[:, 2],
            "major_axis_um": axes[:, 0],
            "middle_axis_um": axes[:, 1],
            "minor_axis_um": axes[:, 2],
            "aspect_ratio": _ratio(axes[:, 0], axes[:, 2]),
            "equivalent_diameter_um": np.cbrt(6 * volume / math.pi),
            "euler_number": euler,
            "extent": volume / volume_box,
            "feret_max_um": feret_max,
            "surface_area_um2": surface,
            "sphericity": math.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / surface,
            "solidity": runs.area_px / convex_px,
        },
        nan_to_null=True,
    )


def _ratio(above: Floats, below: Floats) -> Floats:
    """Return the quotient, NaN where it has none."""
    ratio: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return ratio


def _ellipse(runs: Runs, spacing_um: tuple[float, ...]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return axes, eccentricity and orientation of the ellipse with the object's second moments."""
    dy, dx = spacing_um
    moments = runs.central_moments
    yy, yx, xx = moments[:, 3] * dy * dy, moments[:, 4] * dy * dx, moments[:, 5] * dx * dx
    middle, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    large = middle + half
    # the product of both is the determinant; taking the small one from it keeps its digits
    small = np.divide(np.maximum(yy * xx - yx * yx, 0), large, out=np.zeros_like(large), where=large > 0)
    eccentricity = np.sqrt(np.divide(2 * half, large, out=np.zeros_like(large), where=large > 0))
    # where both axes are equal scikit-image calls the orientation -pi/4; it means nothing, but is defined
    orientation = np.where(yy == xx, np.where(yx > 0, math.pi / 4, -math.pi / 4), 0.5 * np.arctan2(2 * yx, yy - xx))
    return 4 * np.sqrt(large), 4 * np.sqrt(small), eccentricity, orientation


def _ellipsoid(runs: Runs, spacing_um: tuple[float, ...]) -> Floats:
    """Return the axes, longest first, of the ellipsoid with the object's second moments, (n, 3)."""
    zz, zy, zx, yy, yx, xx = runs.central_moments.T
    scale = np.asarray(spacing_um)
    matrix = np.stack([zz, zy, zx, zy, yy, yx, zx, yx, xx], axis=1).reshape(-1, 3, 3) * np.outer(scale, scale)
    variances = np.clip(np.linalg.eigvalsh(matrix)[:, ::-1], 0, None)
    axes: Floats = np.sqrt(20 * variances)
    return axes
