"""From planes to volumes: objects of neighbouring planes that overlap enough become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation import components
from kinocyte.segmentation.base import Pixels, Segmenter
from kinocyte.segmentation.components import Labels
from kinocyte.segmentation.label_algebra import overlaps, relabel

#: fraction of a pole that must lie above or below the plane beside it
CAP_COVER = 0.8


def stitch(
    planes: NDArray[Any],
    *,
    min_iou: float = 0.25,
    max_plane_gap: int = 1,
    attach_caps: bool = True,
    min_planes: int = 1,
) -> Labels:
    """Return the label image of a stack whose planes were segmented one by one.

    Of neighbouring planes, the pairs of objects with the greatest intersection over union are linked first; each object
    has at most one above and one below. What is left over may be linked across missing planes, which are filled where
    both ends agree and no other object is. The poles of a round cell overlap little with the plane beside them; they
    are attached where most of them lies above or below the end of a cell that is nowhere smaller than they are.

    Parameters
    ----------
    planes : array of int, (z, y, x)
        Labels of each plane; the same value in two planes means nothing.
    min_iou : float
        Smallest intersection over union of a link, above 0 to 1.
    max_plane_gap : int
        Largest difference of linked planes; 1 bridges nothing.
    attach_caps : bool
        Whether poles are attached by how much of them is covered.
    min_planes : int
        Objects in fewer planes are left out.

    Returns
    -------
    array of uint32
        Same shape, numbered 1..n in the order of first pixels.

    Raises
    ------
    ParameterError
        If the array is not a stack, or a limit is out of range.
    """
    if planes.ndim != 3 or not 0 < min_iou <= 1 or max_plane_gap < 1:
        msg = (
            f"stitch needs a stack (z, y, x), 0 < min_iou <= 1 and max_plane_gap >= 1, not shape {planes.shape}, "
            f"{min_iou:g} and {max_plane_gap}."
        )
        raise ParameterError(msg)
    chains = _Chains([relabel(plane) for plane in planes])
    for gap in range(1, max_plane_gap + 1):
        for z in range(len(planes) - gap):
            chains.link(z, z + gap, min_iou)
    if attach_caps:
        for z in range(len(planes) - 1):
            chains.attach_caps(z)
    return _thick_enough(chains.paint(planes.shape), min_planes)


def segment_planes(
    segmenter: Segmenter, pixels: Pixels, scale: Scale, *, seed: int = 0, min_iou: float = 0.25, max_plane_gap: int = 1
) -> Labels:
    """Return the label image of a stack, segmented plane by plane by a method made for images, then stitched.

    Parameters
    ----------
    segmenter : Segmenter
        Any segmentation method.
    pixels : array or mapping of str to array
        One stack, each channel (z, y, x).
    scale : Scale
        Calibration.
    seed : int
        Handed to the method.
    min_iou, max_plane_gap
        See `stitch`.
    """
    channels = dict(pixels) if isinstance(pixels, Mapping) else {c: np.asarray(pixels) for c in segmenter.channels}
    depth = {stack.shape[0] for stack in channels.values() if stack.ndim == 3}
    if len(depth) != 1 or any(stack.ndim != 3 for stack in channels.values()):
        shapes = ", ".join(f"'{name}' {stack.shape}" for name, stack in channels.items())
        msg = f"segment_planes needs channels of shape (z, y, x) with the same number of planes, not {shapes}."
        raise ParameterError(msg)
    planes = [
        segmenter.segment({name: stack[z] for name, stack in channels.items()}, scale, seed=seed)
        for z in range(depth.pop())
    ]
    return stitch(np.stack(planes), min_iou=min_iou, max_plane_gap=max_plane_gap)


class _Chains:
    """Objects of all planes under one running number, and which follows which from plane to plane."""

    def __init__(self, planes: Sequence[Labels]) -> None:
        self.planes = planes
        self.counts = [int(p.max(initial=0)) for p in planes]
        self.start = np.concatenate(([0], np.cumsum(self.counts))).astype(np.int64)
        sizes = [components.pixel_counts(p, n) for p, n in zip(planes, self.counts, strict=True)]
        self.size = np.concatenate([*sizes, np.zeros(0, np.int64)])
        self.above = np.full(self.size.size, -1)
        self.below = np.full(self.size.size, -1)

    def link(self, z: int, other: int, min_iou: float) -> None:
        """Link free objects of two planes, the most similar pair first; of equals the one with the smaller labels."""
        found = overlaps(self.planes[z], self.planes[other])
        low, high = found.first - 1 + self.start[z], found.second - 1 + self.start[other]
        for k in np.lexsort((high, low, -found.iou)):
            if found.iou[k] >= min_iou and self.above[low[k]] < 0 and self.below[high[k]] < 0:
                self.above[low[k]], self.below[high[k]] = high[k], low[k]

    def attach_caps(self, z: int) -> None:
        """Link ends of which the smaller is covered by the larger and belongs to a chain that is nowhere larger."""
        found = overlaps(self.planes[z], self.planes[z + 1])
        low, high = found.first - 1 + self.start[z], found.second - 1 + self.start[z + 1]
        covered = found.pixels / np.minimum(self.size[low], self.size[high])
        for k in np.lexsort((high, low, -found.pixels, -covered)):
            a, b = int(low[k]), int(high[k])
            if covered[k] < CAP_COVER or self.above[a] >= 0 or self.below[b] >= 0:
                continue
            if min(self._widest(a, self.below), self._widest(b, self.above)) <= max(self.size[a], self.size[b]):
                self.above[a], self.below[b] = b, a

    def _widest(self, node: int, further: NDArray[np.int64]) -> int:
        widest = 0
        while node >= 0:
            widest = max(widest, int(self.size[node]))
            node = int(further[node])
        return widest

    def paint(self, shape: tuple[int, ...]) -> Labels:
        """Return the volume with one number for each chain."""
        number = np.zeros(self.size.size, np.uint32)
        n = 0
        for node in range(number.size):
            if self.below[node] < 0:
                n += 1
            number[node] = n if self.below[node] < 0 else number[self.below[node]]
        out = np.zeros(shape, np.uint32)
        lut = [
            np.concatenate((np.zeros(1, np.uint32), number[a : a + k]))
            for a, k in zip(self.start, self.counts, strict=False)
        ]
        for z, plane in enumerate(self.planes):
            out[z] = lut[z][plane]
        plane_of = np.repeat(np.arange(len(self.planes)), self.counts)
        for node in np.flatnonzero(self.above >= 0).tolist():
            low, high = int(plane_of[node]), int(plane_of[self.above[node]])
            for between in range(low + 1, high):
                agreed = (self.planes[low] == node - self.start[low] + 1) & (out[high] == number[node])
                out[between][agreed & (out[between] == 0)] = number[node]
        return out


def _thick_enough(volume: Labels, min_planes: int) -> Labels:
    n = int(volume.max(initial=0))
    if min_planes > 1 and n:
        planes = np.zeros(n + 1, np.int64)
        for plane in volume:
            planes[np.unique(plane)] += 1
        volume = components.keep(volume, planes[1:] >= min_planes)[0]
    return relabel(volume)
