"""Label images while corrections are applied: only the painted pixels are kept, frames are read when looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.tracking.base import LabelSource

Pixels = NDArray[np.int64]
_KEPT_FRAMES = 2

#: Runs of changed pixels: ``start`` counts pixels of a frame row by row (plane by plane in 3D).
PIXELS: Mapping[str, type[pl.DataType]] = {
    "frame": pl.Int32,
    "start": pl.Int64,
    "length": pl.Int32,
    "label": pl.UInt32,
}


class Masks:
    """The label images of a position with what a person painted."""

    def __init__(self, labels: LabelSource, scale: Scale) -> None:
        self._labels, self._scale = labels, scale
        self._strokes: dict[int, list[tuple[Pixels, int]]] = {}
        self._recent: dict[int, NDArray[np.uint32]] = {}

    def frame(self, frame: int) -> NDArray[np.uint32]:
        """Return the label image of a frame as it is now; not to be written to."""
        if frame not in self._recent:
            image = np.array(self._labels(frame), dtype=np.uint32)
            for pixels, label in self._strokes.get(frame, ()):
                image.ravel()[pixels] = label
            if len(self._recent) >= _KEPT_FRAMES:
                self._recent.pop(next(iter(self._recent)))
            self._recent[frame] = image
        return self._recent[frame]

    def paint(self, frame: int, pixels: Pixels, label: int) -> None:
        """Give pixels, counted row by row, a label; 0 erases."""
        image = self.frame(frame)
        image.ravel()[pixels] = label
        self._strokes.setdefault(frame, []).append((pixels, label))

    def pixels_of(self, frame: int, label: int) -> Pixels:
        """Return the pixels of an object."""
        return np.flatnonzero(self.frame(frame).ravel() == label) if label else np.empty(0, np.int64)

    def given_at(self, frame: int, centre_um: NDArray[np.float64]) -> int:
        """Return the label, before any correction, at a place, x, y, z; 0 outside the image."""
        image = np.asarray(self._labels(frame))
        index = np.rint(centre_um[::-1][-image.ndim :] / self._spacing(image.ndim)).astype(np.int64)
        inside = bool(((index >= 0) & (index < image.shape)).all())
        return int(image[tuple(index)]) if inside else 0

    def centre_um(self, frame: int, pixels: Pixels) -> tuple[float, float, float]:
        """Return the mean place of pixels, x, y, z."""
        shape = self.frame(frame).shape
        places = [float(axis.mean()) for axis in np.unravel_index(pixels, shape)]
        z, y, x = [0.0] * (3 - len(shape)) + [p * s for p, s in zip(places, self._spacing(len(shape)), strict=True)]
        return x, y, z

    def places_um(self, frame: int, pixels: Pixels) -> NDArray[np.float64]:
        """Return the place of each pixel, (n, 3): x, y, z."""
        shape = self.frame(frame).shape
        axes = [a * s for a, s in zip(np.unravel_index(pixels, shape), self._spacing(len(shape)), strict=True)]
        axes = [np.zeros(len(pixels))] * (3 - len(axes)) + axes
        return np.column_stack(axes[::-1])

    def moved(self, frame: int, pixels: Pixels, shift_um: NDArray[np.float64]) -> Pixels:
        """Return the pixels after a shift by whole pixels, without those that leave the image."""
        shape = self.frame(frame).shape
        step = np.rint(shift_um[::-1][-len(shape) :] / self._spacing(len(shape))).astype(np.int64)
        index = np.stack(np.unravel_index(pixels, shape)) + step[:, None]
        inside = ((index >= 0) & (index < np.array(shape)[:, None])).all(axis=0)
        return np.asarray(np.ravel_multi_index(tuple(index[:, inside]), shape), dtype=np.int64)

    def _spacing(self, ndim: int) -> NDArray[np.float64]:
        return np.array(self._scale.spacing_um(ndim))

    def shape_pixels(self, frame: int, shape: Mapping[str, Any]) -> Pixels | None:
        """Return the pixels of a disc, a polygon or runs; None if runs were drawn on frames of another size."""
        image = self.frame(frame)
        if "runs" in shape:
            return unpack(shape["runs"]) if list(shape["shape"]) == list(image.shape) else None
        if "points_um" in shape:
            return self._polygon(shape, image.shape)
        return self._disc(shape, image.shape)

    def _disc(self, shape: Mapping[str, Any], extent: tuple[int, ...]) -> Pixels:
        centre = np.array([shape.get("z_um") or 0.0, shape["y_um"], shape["x_um"]])[-len(extent) :]
        spacing, radius = self._spacing(len(extent)), float(shape["radius_um"])
        low = np.clip(np.floor((centre - radius) / spacing), 0, np.array(extent) - 1).astype(int)
        high = np.clip(np.ceil((centre + radius) / spacing) + 1, low + 1, extent).astype(int)
        grid = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"))
        axes = (slice(None), *[None] * len(extent))
        distance = np.sqrt((((grid * spacing[axes]) - centre[axes]) ** 2).sum(axis=0))
        chosen = grid[:, distance <= radius]
        middle = np.rint(centre / spacing).astype(int)
        if not chosen.size and ((middle >= 0) & (middle < extent)).all():
            chosen = middle[:, None]  # a disc smaller than a pixel
        return np.asarray(np.ravel_multi_index(tuple(chosen), extent), dtype=np.int64)

    def _polygon(self, shape: Mapping[str, Any], extent: tuple[int, ...]) -> Pixels:
        from skimage.draw import polygon

        points = np.array(shape["points_um"], dtype=np.float64)
        spacing = self._spacing(len(extent))
        rows, columns = polygon(points[:, 1] / spacing[-2], points[:, 0] / spacing[-1], extent[-2:])
        if len(extent) == 2:
            return np.sort(np.ravel_multi_index((rows, columns), extent)).astype(np.int64)
        plane = round(float(shape.get("z_um") or 0.0) / float(spacing[0]))
        if not 0 <= plane < extent[0]:
            return np.empty(0, np.int64)
        return np.sort(np.ravel_multi_index((np.full_like(rows, plane), rows, columns), extent)).astype(np.int64)

    def runs(self) -> pl.DataFrame:
        """Return every pixel that differs from the label image as it was given, as runs."""
        parts: list[pl.DataFrame] = []
        for frame in sorted(self._strokes):
            given = np.asarray(self._labels(frame)).ravel()
            touched = np.unique(np.concatenate([p for p, _ in self._strokes[frame]]))
            now = self.frame(frame).ravel()[touched]
            differs = now != given[touched]
            pixels, values = touched[differs], now[differs]
            starts = np.flatnonzero(
                (np.diff(pixels, prepend=-2) != 1) | (np.diff(values.astype(np.int64), prepend=-1) != 0)
            )
            ends = np.append(starts[1:], len(pixels))
            columns = {"start": pixels[starts], "length": ends - starts, "label": values[starts]}
            parts.append(
                pl.DataFrame({"frame": np.full(len(starts), frame), **columns}).select(
                    pl.col(n).cast(t) for n, t in PIXELS.items()
                )
            )
        return pl.concat([pl.DataFrame(schema=dict(PIXELS)), *parts])


def unpack(runs: Any) -> Pixels:
    """Return the pixels of ``[[start, length], ...]``."""
    found = [np.arange(int(a), int(a) + int(n)) for a, n in runs]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
