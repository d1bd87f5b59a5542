"""What can be said about the quality of a frame before any cell is measured.

Pure functions: arrays of one frame in, numbers out. A movie is walked through one frame at a time, so that memory does
not grow with its length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.report.drift import DriftMeter

#: One row a frame and channel.
PIXEL_QUALITY: Mapping[str, Any] = {
    "frame": pl.Int32,
    "channel": pl.String,
    "focus": pl.Float64,
    "saturated_fraction": pl.Float64,
    "invalid_fraction": pl.Float64,
    "brightness": pl.Float64,
    "dx_px": pl.Float64,
    "dy_px": pl.Float64,
    "drift_quality": pl.Float64,
}

#: Ceilings of cameras with 8, 10, 12, 14 and 16 bits.
_CEILINGS = np.array([2**bits - 1 for bits in (8, 10, 12, 14, 16)])

_TILE_PX, _TILES = 256, 4


def flatten(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return one plane (y, x) as float32: the maximum over z of a stack, NaN and inf replaced by the median.

    Parameters
    ----------
    pixels : array
        (y, x) or (z, y, x), any real dtype.
    """
    plane = np.asarray(pixels)
    if plane.dtype.kind == "f":
        finite = np.isfinite(plane)
        if not finite.all():
            plane = np.where(finite, plane, np.median(plane[finite]) if finite.any() else 0)
    return np.asarray(plane.max(axis=0) if plane.ndim == 3 else plane, dtype=np.float32)


def invalid_fraction(pixels: NDArray[Any]) -> float:
    """Return the fraction of pixels that are NaN or infinite."""
    if pixels.dtype.kind != "f" or pixels.size == 0:
        return 0.0
    return 1.0 - float(np.count_nonzero(np.isfinite(pixels))) / pixels.size


def saturated_fraction(pixels: NDArray[Any]) -> float | None:
    """Return the fraction of pixels at the ceiling of a camera, or None where there is no telling.

    A pixel counts where it has the largest value of the frame and that value is the largest number of 8, 10, 12, 14 or
    16 bits, as a 12-bit camera saved in 16 bits stops at 4095. Floats and frames of one value have no known ceiling.
    """
    if pixels.dtype.kind not in "iu" or pixels.size == 0:
        return None
    top = pixels.max()
    if top == pixels.min():
        return None
    if int(top) not in _CEILINGS:
        return 0.0
    return float(np.count_nonzero(pixels == top)) / pixels.size


def _tiles(plane: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Return at most 4 x 4 evenly spread tiles, the same for every frame; a small image is one tile."""
    if max(plane.shape) <= _TILE_PX * _TILES:
        yield plane
        return
    for y in _starts(plane.shape[0]):
        for x in _starts(plane.shape[1]):
            yield plane[y : y + _TILE_PX, x : x + _TILE_PX]


def _starts(length: int) -> list[int]:
    if length <= _TILE_PX:
        return [0]
    n = min(_TILES, -(-length // _TILE_PX))
    return [int(s) for s in np.linspace(0, length - _TILE_PX, n)]


def focus(plane: NDArray[np.float32]) -> float | None:
    """Return how much of the contrast of a frame is fine detail; it falls when the focus is lost.

    The variance after a Laplacian of Gaussian (sigma 1.5 px) is divided by the variance after a Gaussian of the same
    width; what white noise adds to both is taken off first. The ratio does not change with offset and brightness, so
    that bleaching is not taken for defocus.

    Parameters
    ----------
    plane : array of float32
        (y, x), finite.

    Returns
    -------
    float or None
        1/px^4 units, comparable within a movie and channel; None where nothing but noise is left.

    Notes
    -----
    Laplacian energy as a measure of focus: Subbarao, Tyan 1998, doi:10.1109/34.709612. Noise from the
    mask of Immerkaer 1996, doi:10.1006/cviu.1996.0060, with a median in place of the mean.
    """
    from scipy import ndimage

    if plane.size == 0 or plane.max() == plane.min():
        return None
    fine = coarse = 0.0
    for tile in _tiles(plane):
        if min(tile.shape) < 8:
            return None
        noise = _noise_variance(tile)
        smooth = ndimage.gaussian_filter(tile, 1.5, mode="nearest", truncate=3.0)
        detail = ndimage.laplace(smooth, mode="nearest")
        gain_smooth, gain_detail = _noise_gains()
        fine += float(detail.var(dtype=np.float64)) - noise * gain_detail
        coarse += float(smooth.var(dtype=np.float64)) - noise * gain_smooth
    if coarse <= 1e-6 * float(plane.var(dtype=np.float64)):
        return None
    return max(fine, 0.0) / coarse


def _noise_variance(tile: NDArray[np.float32]) -> float:
    """Return the variance of white noise: the mask [[1, -2, 1], [-2, 4, -2], [1, -2, 1]] is blind to edges."""
    rows = tile[:-2] - 2 * tile[1:-1] + tile[2:]
    mask = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return (float(np.median(np.abs(mask[::2, ::2]))) / 0.6744897501960817 / 6.0) ** 2


@cache
def _noise_gains() -> tuple[float, float]:
    """Return the variance that noise of variance 1 keeps after the Gaussian, and after the Laplacian of it."""
    from scipy import ndimage

    point = np.zeros((31, 31))
    point[15, 15] = 1.0
    smooth = ndimage.gaussian_filter(point, 1.5, truncate=3.0)
    return float((smooth**2).sum()), float((ndimage.laplace(smooth) ** 2).sum())


def brightness(plane: NDArray[np.float32]) -> float:
    """Return the mean of a frame above its darkest percent, in grey values."""
    step = max(1, plane.size // 250_000)
    return float(plane.mean(dtype=np.float64) - np.percentile(plane.ravel()[::step], 1))


def measure_frames(frames: Iterator[tuple[int, Mapping[str, NDArray[Any]]]]) -> pl.DataFrame:
    """Return the quality of every frame and channel.

    Parameters
    ----------
    frames : iterator of (int, mapping of str to array)
        Number of the frame and its channels by name, (y, x) or (z, y, x), in the order of time.

    Returns
    -------
    polars.DataFrame
        Columns of `PIXEL_QUALITY`; null where a number cannot be had. ``dx_px dy_px`` are the shift of the content
        from the frame before, ``drift_quality`` how clear that is, 0 to 1.
    """
    rows: list[dict[str, Any]] = []
    meters: dict[str, DriftMeter] = {}
    for frame, channels in frames:
        for name, pixels in channels.items():
            plane = flatten(pixels)
            moved = meters.setdefault(name, DriftMeter()).step(plane)
            dy, dx, agreement = moved if moved is not None else (None, None, None)
            rows.append(
                {
                    "frame": frame,
                    "channel": name,
                    "focus": focus(plane),
                    "saturated_fraction": saturated_fraction(pixels),
                    "invalid_fraction": invalid_fraction(pixels),
                    "brightness": brightness(plane),
                    "dx_px": dx,
                    "dy_px": dy,
                    "drift_quality": agreement,
                }
            )
    return pl.DataFrame(rows, schema=dict(PIXEL_QUALITY))


def confluence(labels: NDArray[Any]) -> float:
    """Return the fraction of the area that cells cover, 0 to 1, in 3D seen from above."""
    covered = (labels > 0).any(axis=0) if labels.ndim == 3 else labels > 0
    return float(np.count_nonzero(covered)) / covered.size if covered.size else 0.0
