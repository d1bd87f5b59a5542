"""Views of stacks: sections along z for the axial drift, and projections of the planes that all frames show."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.registration import _project_kernel
from kinocyte.registration._prepare import Preparation, project

Floats = NDArray[np.float64]

#: Blocks into which a stack is cut for the axial projections, and their least height in px.
BLOCKS, BLOCK_PX = 8, 16
#: Most columns of an axial projection.
COLUMNS = 160


class Sections:
    """Averages the part of a stack that all frames show along y or x, block by block: (block, z, columns).

    Blocks are averaged whatever projection serves along z: the maximum of a block is that of its noise.

    Parameters
    ----------
    preparation : Preparation
        What is done to frames.
    axis : str
        ``y`` or ``x``: the axis that is projected.
    path : array, shape (n, 3)
        Shifts of the content, px.
    known : array of bool, shape (n,)
        Frames whose shift was measured.
    size : tuple of int
        Rows and columns that are looked at.
    """

    def __init__(
        self, preparation: Preparation, axis: str, path: Floats, known: NDArray[np.bool_], size: tuple[int, int]
    ) -> None:
        self.preparation, self.axis = preparation, 1 if axis == "y" else 2
        self.size = np.array(size)
        offset = np.rint(path[:, 1:]).astype(int)
        low, high = offset[known].min(axis=0, initial=0), offset[known].max(axis=0, initial=0)
        self.common = self.size - (high - low)
        if (self.common < 0.25 * self.size).any():
            low, self.common, offset = low * 0, self.size, offset * 0
        self.start = np.clip(offset - low, 0, self.size - self.common)
        self.blocks = int(np.clip(self.common[self.axis - 1] // BLOCK_PX, 1, BLOCKS))

    def __call__(self, pixels: NDArray[Any], frame: int) -> NDArray[np.float32]:
        """Return the sections of a frame."""
        top, left = self.start[min(frame // max(1, self.preparation.average), len(self.start) - 1)]
        height, width = self.common
        edges = np.linspace(0, self.common[self.axis - 1], self.blocks + 1).astype(np.int64)
        columns = int(width if self.axis == 1 else height)
        factor = max(1, columns // COLUMNS)
        if self.axis == 1 and _project_kernel.fits(pixels):
            out = np.empty((self.blocks, pixels.shape[0], columns // factor), dtype=np.float32)
            _project_kernel.mean_along_y(pixels, edges + top, int(left), factor, out)
            return out
        part = pixels[:, top : top + height, left : left + width]
        cuts = [part[:, a:b] if self.axis == 1 else part[:, :, a:b] for a, b in itertools.pairwise(edges)]
        planes = np.stack([project(c, "mean", self.axis) for c in cuts])
        kept = planes[..., : columns // factor * factor]
        return np.asarray(kept.reshape(*planes.shape[:2], -1, factor).mean(axis=-1), dtype=np.float32)


class CommonPlanes:
    """Projects the planes of a stack that all frames show.

    Parameters
    ----------
    preparation : Preparation
        What is done to frames.
    axial_px : array, shape (n,)
        Axial shift of the content.
    n_planes : int
        Planes that are looked at.
    """

    def __init__(self, preparation: Preparation, axial_px: Floats, n_planes: int) -> None:
        self.preparation = preparation
        offset = np.rint(axial_px).astype(int)
        self.start = offset - int(offset.min())
        self.depth = n_planes - int(np.ptp(offset))

    def __call__(self, pixels: NDArray[Any], frame: int) -> NDArray[Any]:
        """Return the projection of a frame."""
        start = int(self.start[min(frame // max(1, self.preparation.average), len(self.start) - 1)])
        return project(pixels[start : start + self.depth], self.preparation.projection)
