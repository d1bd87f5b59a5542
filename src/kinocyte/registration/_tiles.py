"""Last steps of the shifts of very large frames: a few tiles at full resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.registration._coarse import Search
from kinocyte.registration._prepare import Frames, project
from kinocyte.registration._spectrum import Image
from kinocyte.registration._track import Tracked, Tracker, track

View = Callable[[NDArray[Any], int], NDArray[Any]]

#: Side of a tile in px; one is taken from each quarter of the frame.
SIDE = 768
#: Difference from what the small images say above which a tile is not believed, px of the small images.
MOST = 1.0


class Tiles:
    """Cuts tiles out of the projection of a frame: (tile, y, x).

    Parameters
    ----------
    corners : array of int, shape (n, 2)
        First row and column of each tile.
    projection : str
        ``mean`` or ``max`` along z.
    view : callable, optional
        Turns a frame and its number into an image in place of the projection.
    """

    def __init__(self, corners: NDArray[np.intp], projection: str, view: View | None) -> None:
        self.corners, self._projection, self._view = corners, projection, view

    def __call__(self, pixels: NDArray[Any], frame: int) -> NDArray[Any]:
        """Return the tiles of a frame."""
        image = pixels if self._view is None else self._view(pixels, frame)
        return self.cut(project(image, self._projection) if image.ndim == 3 else image)

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the tiles of an image (y, x)."""
        return np.stack([image[y : y + SIDE, x : x + SIDE] for y, x in self.corners.tolist()])


def on_tiles(
    frames: Frames, lateral: Tracked, search: Search, mask: NDArray[np.float32] | None, view: View | None
) -> Tracked:
    """Return the shifts that tiles at full resolution tell, where they are close to those of the small images.

    Parameters
    ----------
    frames : Frames
        Images that are smaller than the frames by ``frames.bin``.
    lateral : Tracked
        Shifts in pixels of these images.
    search : Search
        How frames are compared.
    mask : float32 (y, x) or (z, y, x), optional
        Weight of the pixels that are looked at.
    view : callable, optional
        What `frames` were projected with.
    """
    seen = np.flatnonzero(lateral.known)
    shown = next((i for i in map(frames.image, seen.tolist()) if i is not None), None)
    if len(seen) < 2 or shown is None or min(frames.shape[1:]) * frames.bin < 2 * SIDE:
        return lateral
    mask = mask if mask is None or mask.ndim == 2 else mask.max(axis=0)
    tiles = Tiles(_corners(shown, frames.bin, mask), frames.preparation.projection, view)
    fine = Frames(frames.movies, frames.preparation, view=tiles, least_bin=None)
    tracker = Tracker(fine, search, None if mask is None else _repeated(tiles.cut(mask), fine.shape[0]))
    size = np.array([1.0, frames.bin, frames.bin])
    tracker.start_from(seen.tolist(), lateral.shift[seen] * size)
    found = track(tracker, "global")
    both = lateral.known & found.known
    if both.sum() < 2:
        return lateral
    shift = found.shift / size
    shift -= np.median((shift - lateral.shift)[both], axis=0)
    near = both & (np.abs(shift - lateral.shift).max(axis=1) < MOST)
    return replace(
        lateral,
        shift=np.where(near[:, None], shift, lateral.shift),
        residual=np.where(near, found.residual / frames.bin, lateral.residual),
        error=np.where(near, found.error / frames.bin, lateral.error),
    )


def _repeated(tiles: NDArray[np.float32], planes: int) -> NDArray[np.float32]:
    return np.tile(tiles, (planes // len(tiles), 1, 1))


def _corners(image: Image, factor: int, mask: NDArray[np.float32] | None) -> NDArray[np.intp]:
    """Return the first row and column of the tile of each quarter of a frame that shows most structure."""
    plane = image.mean(axis=0)
    detail = np.zeros(plane.shape)
    detail[:-1, :-1] = np.diff(plane, axis=0)[:, :-1] ** 2 + np.diff(plane, axis=1)[:-1] ** 2
    if mask is not None:
        ny, nx = plane.shape
        detail *= mask[: ny * factor : factor, : nx * factor : factor]
    side = -(-SIDE // factor)
    total = np.zeros((plane.shape[0] + 1, plane.shape[1] + 1))
    total[1:, 1:] = detail.cumsum(axis=0).cumsum(axis=1)
    held = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    middle = [n // 2 for n in plane.shape]
    corners = []
    for rows in (slice(0, max(1, middle[0] - side + 1)), slice(middle[0], held.shape[0])):
        for columns in (slice(0, max(1, middle[1] - side + 1)), slice(middle[1], held.shape[1])):
            part = held[rows, columns]
            y, x = np.unravel_index(int(np.argmax(part)), part.shape)
            corners.append(((rows.start + int(y)) * factor, (columns.start + int(x)) * factor))
    limit = np.array(plane.shape) * factor - SIDE
    return np.minimum(np.array(corners, dtype=np.intp), limit.astype(np.intp))
