"""Outlines of objects, traced in their label images."""

from __future__ import annotations

import numpy as np
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


def _outline(mask: NDArray[np.bool_], corner: tuple[int, int]) -> NDArray[np.float64]:
    """Return the vertices (n, 2) of a mask's outline as x and y in pixels, the first not repeated."""
    from skimage.measure import find_contours

    lines = find_contours(np.pad(mask, 1).astype(np.float64), 0.5)
    longest = max(lines, key=len)[:-1]
    return np.asarray(longest[:, ::-1] - 1 + (corner[1], corner[0]), np.float64)
