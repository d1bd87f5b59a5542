"""Outlines of objects, traced in their label images."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.interop.tracks.base import Contours, TrackData, calibrated


def with_outlines(data: TrackData) -> TrackData:
    """Return the data with an outline of each object of a 2D movie, traced in its label image.

    The outline runs half-way between pixels inside and outside (marching squares), so that it cuts the corners of the
    pixels: its area is half a pixel smaller than the number of pixels for each closed outline. Of an object in several
    pieces the longest outline is taken; holes are not kept.
    """
    if data.masks is None or data.shape is None or len(data.shape) != 3 or len(data.contours):
        return data
    from skimage.measure import regionprops

    scale = calibrated(data, "An outline")
    found: dict[int, NDArray[np.float64]] = {}
    frames = data.objects.select("object_id", "frame", "label", "x_um", "y_um").partition_by("frame", as_dict=True)
    for (frame,), rows in frames.items():
        regions = {r.label: r for r in regionprops(np.asarray(data.masks(frame)).astype(np.int64))}
        for number, label, x, y in rows.select("object_id", "label", "x_um", "y_um").iter_rows():
            if label in regions:
                xy = _outline(regions[label].image, regions[label].bbox[:2]) * (scale.x_um, scale.y_um)
                found[number] = xy - (x, y)
    return data.replace(contours=Contours.of(found))


def with_radii(data: TrackData) -> TrackData:
    """Return the data with ``radius_um``, that of a disc or ball as large as the mask, where no size is known."""
    if data.masks is None or {"RADIUS", "radius_um", "area_um2", "volume_um3"} & set(data.objects.columns):
        return data
    scale = calibrated(data, "A radius")
    deep = data.shape is not None and len(data.shape) == 4
    one = float(np.prod(scale.spacing_um(3 if deep else 2)))
    radius = np.full(data.objects.height, np.nan)
    frames, labels = (data.objects[c].to_numpy() for c in ("frame", "label"))
    for frame in np.unique(frames):
        rows = np.flatnonzero(frames == frame)
        label, count = np.unique(data.masks(int(frame)), return_counts=True)
        at = np.minimum(np.searchsorted(label, labels[rows]), len(label) - 1)
        size = np.where(label[at] == labels[rows], count[at] * one, np.nan)
        radius[rows] = np.cbrt(size * 3 / (4 * np.pi)) if deep else np.sqrt(size / np.pi)
    return data.replace(objects=data.objects.with_columns(radius_um=pl.Series(radius).fill_nan(None)))


def _outline(mask: NDArray[np.bool_], corner: tuple[int, int]) -> NDArray[np.float64]:
    """Return the vertices (n, 2) of a mask's outline as x and y in pixels, the first not repeated."""
    from skimage.measure import find_contours

    lines = find_contours(np.pad(mask, 1).astype(np.float64), 0.5)
    longest = max(lines, key=len)[:-1]
    return np.asarray(longest[:, ::-1] - 1 + (corner[1], corner[0]), np.float64)
