"""Frames that do not fit into memory: read, segmented and written in tiles, with the result of the whole frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from kinocyte.core.channels import named_channels
from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation.base import Found, Pixels, Segmenter
from kinocyte.segmentation.filters import FilterSpec
from kinocyte.segmentation.pixel_classifier import PixelClassifier
from kinocyte.segmentation.pixel_model import tiles
from kinocyte.segmentation.spots import SpotDetector, known_of
from kinocyte.segmentation.threshold import Threshold

#: side of a tile in pixels
TILE_PX = 1024


def segment_tiled(method: Segmenter, pixels: Pixels, scale: Scale, *, tile_px: int = TILE_PX, out: Any = None) -> Any:
    """Return the label image of one frame, which is never held in memory as a whole.

    The labels are those of ``method.segment`` of the whole frame, whatever the size of the tiles: filters get the
    margin that they need, levels come from the values of all tiles, and an object that crosses tiles is put together
    before holes are filled and it is split.

    Parameters
    ----------
    method : Threshold, PixelClassifier or a spot detector
        What finds the objects.
    pixels : array or mapping of str to array
        One frame, (y, x) or (z, y, x). Anything with ``shape`` and ``dtype`` from which boxes can be cut, such as
        ``numpy.memmap`` or a zarr array.
    scale : Scale
        Calibration.
    tile_px : int
        Side of a tile; in a stack a quarter of it, and an eighth along z. Memory grows with its square, and with the
        box around the largest object.
    out : array, optional
        Where the labels go: uint32, the shape of a channel, read and written box by box. Left out, an array in memory.

    Returns
    -------
    array of uint32
        ``out``.

    Raises
    ------
    ParameterError
        If the method or one of its filters needs the whole frame at once, or a frame for spots or the pixel classifier
        holds NaN or inf.
    """
    if tile_px < 16:
        msg = f"tile_px = {tile_px} is too small; give 16 or more."
        raise ParameterError(msg)
    shape = named_channels(pixels, method.channels)[0].shape
    if out is None:
        out = np.zeros(shape, np.uint32)
    if tuple(out.shape) != tuple(shape) or out.dtype != np.uint32:
        msg = f"out has shape {out.shape} of {out.dtype}; give uint32 of shape {shape}."
        raise ParameterError(msg)
    if isinstance(method, SpotDetector):
        from kinocyte.segmentation._tiled_spots import draw

        return draw(detect_tiled(method, pixels, scale, tile_px=tile_px), out, scale, tile_px)
    from kinocyte.segmentation._tiled_threshold import Classified, Filtered, segment

    boxes = list(tiles(shape, tile_px))
    if isinstance(method, Threshold):
        return segment(Filtered(method, pixels, scale, boxes), out, boxes)
    if isinstance(method, PixelClassifier):
        return segment(Classified(method, pixels, scale), out, boxes)
    msg = f"The method '{method.name()}' cannot work in tiles; threshold, pixel_classifier, log, dog and hessian can."
    raise ParameterError(msg)


def works_in_tiles(method: Segmenter) -> bool:
    """Tell whether `segment_tiled` takes a method with its filters and rules; some also ask for frames without NaN."""
    if isinstance(method, SpotDetector | PixelClassifier):
        return True
    if not isinstance(method, Threshold):
        return False
    return not any(k.feature == "contrast" for k in method.keep) and all(map(sees_part, method.filters))


def sees_part(spec: FilterSpec) -> bool:
    """Tell whether a filter looks at part of a frame only."""
    from kinocyte.segmentation._tiled_threshold import reach_px

    try:
        reach_px(spec, (1.0, 1.0))
    except ParameterError:
        return False
    return True


def find_tiled(method: Segmenter, pixels: Pixels, scale: Scale, *, tile_px: int = TILE_PX) -> Found:
    """Return what `Segmenter.find` returns of the whole frame, computed in tiles.

    Parameters and errors as `segment_tiled`.
    """
    if not isinstance(method, SpotDetector):
        return Found(np.asarray(segment_tiled(method, pixels, scale, tile_px=tile_px)), None)
    from kinocyte.segmentation._tiled_spots import draw

    spots = detect_tiled(method, pixels, scale, tile_px=tile_px)
    out = np.zeros(named_channels(pixels, method.channels)[0].shape, np.uint32)
    return Found(np.asarray(draw(spots, out, scale, tile_px)), known_of(spots))


def detect_tiled(detector: SpotDetector, pixels: Pixels, scale: Scale, *, tile_px: int = TILE_PX) -> pl.DataFrame:
    """Return the spots of one frame that is read in tiles; the same table as `SpotDetector.detect`.

    Parameters and errors as `segment_tiled`.
    """
    from kinocyte.segmentation._tiled_spots import detect

    return detect(detector, pixels, scale, tile_px)
