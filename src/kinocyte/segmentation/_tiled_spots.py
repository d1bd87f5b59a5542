"""Spots of a frame that is only ever seen in tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.channels import named_channels
from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation import _spot_kernels as kernels
from kinocyte.segmentation._boxes import Box, cut, finite, inside, slices, wider
from kinocyte.segmentation.base import Pixels
from kinocyte.segmentation.hessian import Hessian
from kinocyte.segmentation.pixel_model import tiles
from kinocyte.segmentation.spots import SpotDetector

_TINY = float(np.finfo(np.float64).tiny)


class _Frame:
    """The prepared pixels of a frame, box by box."""

    def __init__(self, detector: SpotDetector, pixels: Pixels, scale: Scale) -> None:
        self.detector = detector
        self.image = named_channels(pixels, (detector.channel,))[0]
        self.shape: tuple[int, ...] = tuple(self.image.shape)
        if len(self.shape) not in {2, 3} or self.image.dtype.kind not in "biuf":
            found = f"Channel '{detector.channel}' has shape {self.shape} of {self.image.dtype}"
            msg = f"{found}; give (y, x) or (z, y, x) of real numbers."
            raise ParameterError(msg)
        self.scale, self.spacing = scale, scale.spacing_um(len(self.shape))
        radius = [detector.radius_um] * len(self.shape)
        if isinstance(detector, Hessian) and detector.radius_z_um is not None and len(self.shape) == 3:
            radius[0] = detector.radius_z_um
        blur = [r / np.sqrt(len(self.shape)) / s for r, s in zip(radius, self.spacing, strict=True)]
        self.margin = tuple(int(kernels.REACH * b + 0.5) + kernels.MAX_MOVES + 4 for b in blur)

    def prepared(self, box: Box) -> NDArray[np.float64]:
        """Return the pixels with spots bright and hot pixels removed where asked."""
        from scipy import ndimage as ndi

        deep = len(self.shape) == 3
        wide = wider(box, ((0, 1, 1) if deep else (1, 1)) if self.detector.median else (0,) * len(box), self.shape)
        values = finite(cut(self.image, wide), self.detector.channel).astype(np.float64)
        if self.detector.foreground == "dark":
            values = -values
        if self.detector.median:
            values = ndi.median_filter(values, size=(1, 3, 3) if deep else 3, mode="mirror")
        return cut(values, inside(box, wide))


def detect(detector: SpotDetector, pixels: Pixels, scale: Scale, tile_px: int) -> pl.DataFrame:
    """Return the spots of a frame; columns as `SpotDetector.detect`."""
    frame = _Frame(detector, pixels, scale)
    boxes = list(tiles(frame.shape, tile_px))
    total, low, high = 0.0, np.inf, -np.inf
    for box in boxes:
        values = frame.prepared(box)
        total += float(values.sum())
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if not low < high:
        return detector.table(np.zeros((0, len(frame.shape))), np.zeros(0), scale)
    normalise = isinstance(detector, Hessian) and detector.normalise
    plain = detector.replace(normalise=False) if normalise else detector
    size = int(np.prod(frame.shape))
    sample = kernels.sampled(size)
    places = np.stack(np.unravel_index(sample, frame.shape), axis=1)
    usual, found, top = np.zeros((2, sample.size)), [], 0.0
    spacing = scale.spacing_um(len(frame.shape))
    for box in boxes:
        wide = wider(box, frame.margin, frame.shape)
        values = frame.prepared(wide) - total / size
        answer = plain.answer(values, scale)
        contrast = plain.contrast(values, scale, answer)
        corner = np.array([a for a, _ in wide])
        edges = np.array(box).T
        here = ((places >= edges[0]) & (places < edges[1])).all(axis=1)
        light = kernels.brightness(values, detector, spacing)
        usual[:, here] = [layer[tuple((places[here] - corner).T)] for layer in (contrast, light)]
        top = max(top, float(cut(answer, inside(box, wide)).max()))
        found.append(_candidates(answer, (contrast, light), (box, wide), 0.0 if normalise else detector.min_quality))
    pixel, quality, contrast, bright, where = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(np.ravel_multi_index(tuple(pixel.T), frame.shape), kind="stable")
    quality, contrast, where = quality[order], contrast[order], where[order]
    if normalise and top > 0:
        quality, top = quality / top, 1.0
    kept = quality >= max(detector.min_quality, 1e-9 * top, _TINY)
    if detector.min_snr > 0:
        chosen = np.flatnonzero(kept)
        spots = kernels.Seen(contrast[chosen], bright[order][chosen], pixel[order][chosen] * np.array(spacing))
        seen = kernels.Seen(usual[0], usual[1], places * np.array(spacing))
        kept[chosen[~kernels.outstanding(spots, seen, detector)]] = False
    if not detector.subpixel:
        where = pixel[order].astype(np.float64)
    return detector.table(*kernels.one_per_pixel(where[kept], quality[kept], frame.shape), scale)


def _candidates(
    answer: NDArray[np.float64],
    layers: tuple[NDArray[np.float64], NDArray[np.float64]],
    where: tuple[Box, Box],
    least: float,
) -> tuple[NDArray[Any], ...]:
    """Return pixel, quality, contrast, brightness and refined place of the local maxima of a tile."""
    box, wide = where
    corner = np.array([a for a, _ in wide])
    own = inside(box, wide)
    pixels = kernels.peaks(answer, max(least, _TINY), own)
    volume = answer.reshape((1, *answer.shape)[-3:])
    start = np.zeros((len(pixels), 3), np.int64)
    start[:, 3 - answer.ndim :] = pixels
    refined = kernels.refined(volume, start, answer.ndim == 3)[:, 3 - answer.ndim :]
    at = tuple(pixels.T)
    return pixels + corner, answer[at], *(layer[at] for layer in layers), refined + corner


def draw(spots: pl.DataFrame, out: Any, scale: Scale, tile_px: int) -> Any:
    """Write the spots of a table as discs or balls, tile by tile."""
    shape = tuple(out.shape)
    spacing = np.array(scale.spacing_um(len(shape)))
    axes = ("z_um", "y_um", "x_um")[3 - len(shape) :]
    centre = spots.select(axes).to_numpy() / spacing
    widest = float(spots["radius_um"].max() or 0.0) if spots.height else 0.0  # type: ignore[arg-type]  # a number
    margin = tuple(int(widest / s) + 2 for s in spacing)
    for box in tiles(shape, tile_px):
        wide = wider(box, margin, shape)
        low, high = np.array(wide).T
        close = ((centre >= low - 0.5) & (centre < high - 0.5)).all(axis=1)
        moved = spots.filter(close).with_columns(
            pl.col(name) - float(a * s) for name, a, s in zip(axes, low, spacing, strict=True)
        )
        drawn = kernels.draw_spots(moved, (high - low).tolist(), scale)
        out[slices(box)] = cut(drawn, inside(box, wide))
    return out
