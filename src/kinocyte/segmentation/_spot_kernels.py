"""Filters that answer to spots, the search for their maxima, and the drawing of spots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.core.scale import Scale
from kinocyte.core.threads import each, spans
from kinocyte.segmentation.levels import is_constant, otsu
from kinocyte.segmentation.smoothing import gaussian, half_kernel, mirrored_difference, separable

if TYPE_CHECKING:
    from kinocyte.segmentation.spots import SpotDetector

Image = NDArray[np.float64]

#: kernels end this many standard deviations from their centre
REACH = 5.0
#: steps to a neighbouring pixel that the refinement of one spot may take
MAX_MOVES = 10
#: median absolute deviation of a normal distribution, in standard deviations
MAD = 0.6744897501960817
#: pixels from which the usual fluctuation of a frame is taken, at least
SAMPLE = 100_000
#: every so many of them are looked at again beside the spots
_EVERY = 5
#: radii around a spot that its answer reaches
AROUND = 2.0
#: sampled pixels beside the spots without which the fluctuation is not taken again
LEAST_BESIDE = 100
#: standard deviations of the dark pixels by which bright ones stand out; noise reaches 2.7, a slope 3.5
STANDS_OUT = 4.0
#: parameters that choose among the local maxima of the filtered frame; whatever is not named here changes the frame
_CHOICE = {"min_quality", "min_snr", "subpixel"}
#: ratio to the fluctuation that asks for the whole of the usual answer of spots among bright pixels
_AMONG_BRIGHT = 24.0


def laplacian_answer(image: Image, radii_um: Sequence[float], spacing_um: Sequence[float]) -> Image:
    """Return the image filtered by the sampled Laplacian of Gaussian, normalised as TrackMate does.

    The kernel is ``-C sum_d s_d^-2 (x_d^2/s_d^2 - 1) exp(-sum_d x_d^2 / 2 s_d^2)`` with ``s_d`` the standard deviation
    in pixels and ``C = 1 / (pi s_x^2)``; it is a sum of products of one-dimensional kernels. Borders are mirrored.
    """
    sigma = [r / np.sqrt(image.ndim) / s for r, s in zip(radii_um, spacing_um, strict=True)]
    reach = [int(REACH * s + 0.5) + 1 for s in sigma]
    bell = [np.exp(-0.5 * (np.arange(r + 1) / s) ** 2) for s, r in zip(sigma, reach, strict=True)]
    hat = [((np.arange(r + 1) / s) ** 2 - 1.0) * b / s**2 for s, r, b in zip(sigma, reach, bell, strict=True)]
    terms = [[hat[d] if a == d else bell[a] for a in range(image.ndim)] for d in range(image.ndim)]
    if image.ndim == 2 and all(r < n for r, n in zip(reach, image.shape, strict=True)):
        columns, rows = (np.stack([t[a] for t in terms]) for a in (0, 1))
        return mirrored_difference(image, columns, rows, float(np.pi * sigma[-1] ** 2))
    wide = _mirrored(image, reach)
    out = _cropped(separable(wide, terms[0]), reach)
    for term in terms[1:]:
        out += _inner(separable(wide, term), reach)
    np.negative(out, out=out)
    out /= np.pi * sigma[-1] ** 2
    return out


def difference_answer(image: Image, radius_um: float, spacing_um: Sequence[float]) -> Image:
    """Return the narrow minus the wide Gaussian blur; borders are mirrored."""
    blurs = []
    sigma = [radius_um / np.sqrt(image.ndim) / s for s in spacing_um]
    reach = [int(4 * 1.1 * s + 0.5) + 1 for s in sigma]
    wide = _mirrored(image, reach)
    for factor in (0.9, 1.1):
        own = [np.sqrt(max((factor * s) ** 2 - 0.25, 0.0)) for s in sigma]
        blurs.append(separable(wide, [half_kernel(s) for s in own]))
    return _cropped(blurs[0] - blurs[1], reach)


def hessian_answer(image: Image, radii_um: Sequence[float], spacing_um: Sequence[float]) -> Image:
    """Return the scale-normalised determinant of the Hessian where all its eigenvalues are negative, else 0."""
    from scipy import ndimage as ndi

    n = image.ndim
    sigma = [r / np.sqrt(n) / s for r, s in zip(radii_um, spacing_um, strict=True)]
    down = {}
    for i in range(n):
        for j in range(i, n):
            order = [int(a == i) + int(a == j) for a in range(n)]
            curve = ndi.gaussian_filter(image, sigma, order=order, mode="mirror")
            down[i, j] = -curve * (sigma[i] * sigma[j])
    # Sylvester: -H is positive definite where all its leading minors are positive
    minor = down[0, 0] * down[1, 1] - down[0, 1] ** 2
    falls = (down[0, 0] > 0) & (minor > 0)
    if n == 3:
        side = down[0, 0] * down[1, 2] ** 2 + down[1, 1] * down[0, 2] ** 2
        minor = minor * down[2, 2] - side + 2.0 * down[0, 1] * down[0, 2] * down[1, 2]
        falls &= minor > 0
    return np.asarray(np.where(falls, minor, 0.0))


def find_spots(
    image: NDArray[Any], p: SpotDetector, scale: Scale, kept: dict[str, tuple[Any, Any]] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the positions in pixels, one row a spot in the order of the axes, and the qualities.

    With ``kept``, the filtered frame is taken from there where the parameters that change it are the same.
    """
    known, key = (kept or {}).get("answered"), p.model_dump(exclude=_CHOICE) | {"apart": p.min_snr > 0}
    if known is None or known[0] != key:
        known = key, _answered(image, p, scale)
        if kept is not None:
            kept["answered"] = known
    answered: _Answered | None = known[1]
    if answered is None:
        return np.zeros((0, image.ndim)), np.zeros(0)
    answer, pixels = answered.answer, answered.pixels
    chosen = answer[tuple(pixels.T)] >= p.min_quality
    pixels = pixels[chosen]
    if answered.seen is not None:
        spots, sample = answered.seen
        pixels = pixels[outstanding(Seen(*(part[chosen] for part in spots)), sample, p)]
    quality = answer[tuple(pixels.T)]
    where = pixels.astype(np.float64)
    if p.subpixel:
        volume = answer.reshape((1, *answer.shape)[-3:])
        start = np.zeros((len(pixels), 3), np.int64)
        start[:, 3 - image.ndim :] = pixels
        where = refined(volume, start, image.ndim == 3)[:, 3 - image.ndim :]
    return one_per_pixel(where, quality, image.shape)


class _Answered(NamedTuple):
    """A filtered frame, all its local maxima, and what they and pixels from all over it look like."""

    answer: Image
    pixels: NDArray[np.int64]
    seen: tuple[Seen, Seen] | None


def _answered(image: NDArray[Any], p: SpotDetector, scale: Scale) -> _Answered | None:
    """Return what the filter says of a frame; None of a constant one."""
    from scipy import ndimage as ndi

    values = image.astype(np.float64)
    valid = np.isfinite(values) if image.dtype.kind == "f" else None
    if valid is not None and valid.all():
        valid = None
    known = values if valid is None else values[valid]
    if not known.size or is_constant(known):
        return None
    if valid is not None:
        values = np.where(valid, values, np.median(known))
    if p.foreground == "dark":
        np.negative(values, out=values)
    if p.median:
        values = ndi.median_filter(values, size=3 if image.ndim == 2 else (1, 3, 3), mode="mirror")
    values -= values.mean()  # truncated kernels do not quite cancel a constant
    answer = p.answer(values, scale)
    pixels = peaks(answer, max(1e-9 * float(answer.max()), np.finfo(np.float64).tiny))
    if valid is not None:
        pixels = pixels[valid[tuple(pixels.T)]]
    if p.min_snr == 0:
        return _Answered(answer, pixels, None)
    spacing = scale.spacing_um(image.ndim)
    contrast, light = p.contrast(values, scale, answer), brightness(values, p, spacing)
    sample = np.stack(np.unravel_index(sampled(values.size), values.shape), axis=1)
    at_spots, all_over = (
        Seen(contrast[tuple(at.T)], light[tuple(at.T)], at * np.array(spacing)) for at in (pixels, sample)
    )
    return _Answered(answer, pixels, (at_spots, all_over))


def sampled(size: int) -> NDArray[np.int64]:
    """Return the pixels, counted row by row, from which the usual fluctuation is taken: of large frames some."""
    return np.arange(0, size, (size // SAMPLE) | 1)


class Seen(NamedTuple):
    """Pixels of a frame: answer of the filter, brightness after a slight blur, and place, (n, 2) or (n, 3)."""

    contrast: NDArray[np.float64]
    bright: NDArray[np.float64]
    place_um: NDArray[np.float64]


def brightness(values: Image, p: SpotDetector, spacing_um: Sequence[float]) -> Image:
    """Return the frame blurred by a quarter of the radius, which leaves spots as they are."""
    return gaussian(values, [p.radius_um / 4.0 / s for s in spacing_um])


def outstanding(spots: Seen, sample: Seen, p: SpotDetector) -> NDArray[np.bool_]:
    """Tell which spots exceed the usual fluctuation of a frame.

    The fluctuation is the median absolute deviation, which few spots hardly move. Where there are many it is taken
    again from what lies beside those found so far, until no more are found. Where they cover the frame, nothing lies
    beside them: if bright pixels then stand out from dark ones, a spot among the bright ones counts from a quarter of
    the usual answer of these on (with ``min_snr`` at its default; in proportion to it).

    Parameters
    ----------
    spots, sample : Seen
        The spots, and pixels from all over the frame.
    p : SpotDetector
        Radius and least ratio to the fluctuation.
    """
    from scipy.spatial import cKDTree

    usual = _deviation(sample.contrast)
    found = spots.contrast >= p.min_snr * usual
    some, some_um = sample.contrast[::_EVERY], sample.place_um[::_EVERY]
    while found.any() and not found.all():
        near, _ = cKDTree(spots.place_um[found]).query(some_um, distance_upper_bound=AROUND * p.radius_um)
        beside = some[np.isinf(near)]
        if beside.size < LEAST_BESIDE:
            break
        usual = min(usual, _deviation(beside))
        more = spots.contrast >= p.min_snr * usual
        if more.sum() == found.sum():
            break
        found = more
    return found | _among_bright(spots, sample.bright, p.min_snr)


def _among_bright(spots: Seen, frame: NDArray[np.float64], min_snr: float) -> NDArray[np.bool_]:
    """Tell which spots stand on pixels that stand out from the others, and answer as such spots mostly do."""
    none = np.zeros(spots.bright.size, bool)
    if is_constant(frame):
        return none
    level = otsu(frame)
    dark = frame[frame <= level]
    on_bright = spots.bright > level
    if not on_bright.any() or frame[frame > level].mean() - dark.mean() < STANDS_OUT * dark.std():
        return none
    least = float(np.median(spots.contrast[on_bright])) * min_snr / _AMONG_BRIGHT
    return np.asarray(on_bright & (spots.contrast >= least))


def _deviation(values: NDArray[np.float64]) -> float:
    return float(np.median(np.abs(values - np.median(values)))) / MAD


def peaks(answer: Image, least: float, box: Sequence[tuple[int, int]] | None = None) -> NDArray[np.int64]:
    """Return the pixels, row by row, that reach a value and that no neighbour overtops; of equals the first counts.

    With a box only the pixels within it are looked at; their neighbours may lie outside.
    """
    volume = np.ascontiguousarray(answer.reshape((1, *answer.shape)[-3:]))
    low, high = np.array(((0, 1), *(box or [(0, n) for n in answer.shape]))[-3:]).T
    top = np.zeros(volume.shape, bool)

    def part(rows: tuple[int, int]) -> None:
        begin, end = np.array((low[0], rows[0], low[2])), np.array((high[0], rows[1], high[2]))
        _mark_peaks(volume, least, (np.maximum(begin, low), np.minimum(end, high)), top)

    each(part, spans(volume.shape[1]), volume.size)
    return np.argwhere(top)[:, 3 - answer.ndim :]


def refined(volume: Image, start: NDArray[np.int64], is_deep: bool) -> NDArray[np.float64]:
    """Return the places between pixels to which spots climb from their pixels, (n, 3)."""
    where = start.astype(np.float64)
    if min(volume.shape[1:]) >= 3 and (not is_deep or volume.shape[0] >= 3):
        _climb(volume, start, is_deep, where)
    return where


def one_per_pixel(
    where: NDArray[np.float64], quality: NDArray[np.float64], shape: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keep of the spots that fell on one pixel the best, and sort by pixel."""
    pixel = np.clip(np.rint(where).astype(np.int64), 0, np.array(shape) - 1)
    flat = np.ravel_multi_index(tuple(pixel.T), tuple(shape)) if len(where) else np.zeros(0, np.int64)
    order = np.lexsort((-quality, flat))
    first = np.concatenate(([True], np.diff(flat[order]) != 0))[: len(order)]
    return where[order[first]], quality[order[first]]


def draw_spots(spots: pl.DataFrame, shape: Sequence[int], scale: Scale) -> NDArray[np.uint32]:
    """Return the label image of a table of spots.

    Parameters
    ----------
    spots : polars.DataFrame
        Columns ``label x_um y_um z_um radius_um``; centres lie within the frame.
    shape : sequence of int
        Shape of the frame, (y, x) or (z, y, x).
    scale : Scale
        Calibration.

    Returns
    -------
    array of uint32
        Each pixel holds the label of the nearest centre within its radius; the pixel of a centre always holds its own.
    """
    spacing = np.array([1.0, *scale.spacing_um(len(shape))])[-3:]
    names = ["z_um", "y_um", "x_um"]
    centre = spots.select(names).to_numpy().astype(np.float64) / spacing
    out = np.zeros((1, *shape)[-3:], np.uint32)
    nearest = np.full(out.shape, np.inf)
    label = spots["label"].to_numpy().astype(np.uint32)
    _draw(
        out, nearest, np.ascontiguousarray(centre), spots["radius_um"].to_numpy().astype(np.float64), (spacing, label)
    )
    pixel = np.clip(np.rint(centre).astype(np.int64), 0, np.array(out.shape) - 1)
    out[tuple(pixel.T)] = label
    return out.reshape(tuple(shape))


def _mirrored(image: Image, reach: Sequence[int]) -> Image:
    return np.pad(image, [(r, r) for r in reach], mode="reflect") if image.size else image


def _inner(image: Image, reach: Sequence[int]) -> Image:
    return image[tuple(slice(r, n - r) for r, n in zip(reach, image.shape, strict=True))]


def _cropped(image: Image, reach: Sequence[int]) -> Image:
    return np.ascontiguousarray(_inner(image, reach))


@kernel
def _mark_peaks(volume, least, box, top):  # type: ignore[no-untyped-def]  # numba infers the types
    """Mark the pixels of a box that no earlier neighbour reaches and no later one overtops."""
    nz, ny, nx = volume.shape
    low, high = box
    for z in range(low[0], high[0]):
        for y in range(low[1], high[1]):
            for x in range(low[2], high[2]):
                value = volume[z, y, x]
                if not value >= least:
                    continue
                if (x > 0 and volume[z, y, x - 1] >= value) or (x + 1 < nx and volume[z, y, x + 1] > value):
                    continue
                top[z, y, x] = True
                for c in range(max(z - 1, 0), min(z + 2, nz)):
                    for b in range(max(y - 1, 0), min(y + 2, ny)):
                        is_earlier = c < z or (c == z and b < y)
                        if c == z and b == y:
                            continue
                        for a in range(max(x - 1, 0), min(x + 2, nx)):
                            other = volume[c, b, a]
                            if other > value or (is_earlier and other == value):
                                top[z, y, x] = False


@kernel
def _climb(volume, start, is_deep, where):  # type: ignore[no-untyped-def]  # numba infers the types
    """Move each spot to the top of the parabola through its neighbours (Lowe 2004, equation 3).

    Where the top lies beyond half a pixel, the search goes on from that neighbour; the limit widens a little with each
    move, so that a spot between two pixels is not passed to and fro. A spot that does not settle keeps its pixel.
    """
    nz, ny, nx = volume.shape
    for i in range(start.shape[0]):
        z, y, x = start[i, 0], start[i, 1], start[i, 2]
        for move in range(MAX_MOVES):
            limit = 0.5 + 0.05 * move
            if y < 1 or y > ny - 2 or x < 1 or x > nx - 2 or (is_deep and (z < 1 or z > nz - 2)):
                break
            v = volume[z, y, x]
            gx = (volume[z, y, x + 1] - volume[z, y, x - 1]) / 2
            gy = (volume[z, y + 1, x] - volume[z, y - 1, x]) / 2
            hxx = volume[z, y, x + 1] + volume[z, y, x - 1] - 2 * v
            hyy = volume[z, y + 1, x] + volume[z, y - 1, x] - 2 * v
            hxy = (
                volume[z, y + 1, x + 1] - volume[z, y + 1, x - 1] - volume[z, y - 1, x + 1] + volume[z, y - 1, x - 1]
            ) / 4
            gz, hzz, hxz, hyz = 0.0, -1.0, 0.0, 0.0
            if is_deep:
                below, above = volume[z - 1], volume[z + 1]
                gz = (above[y, x] - below[y, x]) / 2
                hzz = above[y, x] + below[y, x] - 2 * v
                hxz = (above[y, x + 1] - above[y, x - 1] - below[y, x + 1] + below[y, x - 1]) / 4
                hyz = (above[y + 1, x] - above[y - 1, x] - below[y + 1, x] + below[y - 1, x]) / 4
            cx, cy, cz = hyy * hzz - hyz * hyz, hxz * hyz - hxy * hzz, hxy * hyz - hxz * hyy
            det = hxx * cx + hxy * cy + hxz * cz
            if det == 0.0:
                break
            dy, dz = hxx * hzz - hxz * hxz, hxx * hyy - hxy * hxy
            ez = hxy * hxz - hxx * hyz
            sx = -(cx * gx + cy * gy + cz * gz) / det
            sy = -(cy * gx + dy * gy + ez * gz) / det
            sz = -(cz * gx + ez * gy + dz * gz) / det
            if abs(sx) <= limit and abs(sy) <= limit and abs(sz) <= limit:
                where[i, 0], where[i, 1], where[i, 2] = z + sz, y + sy, x + sx
                break
            x += (sx > limit) - (sx < -limit)
            y += (sy > limit) - (sy < -limit)
            z += (sz > limit) - (sz < -limit)


@kernel
def _draw(out, nearest, centre, radius, setting):  # type: ignore[no-untyped-def]  # numba infers the types
    spacing, label = setting
    nz, ny, nx = out.shape
    for i in range(radius.size):
        squared = radius[i] * radius[i] * (1 + 1e-12)
        reach_z, reach_y, reach_x = radius[i] / spacing[0], radius[i] / spacing[1], radius[i] / spacing[2]
        for z in range(max(int(centre[i, 0] - reach_z), 0), min(int(centre[i, 0] + reach_z) + 2, nz)):
            for y in range(max(int(centre[i, 1] - reach_y), 0), min(int(centre[i, 1] + reach_y) + 2, ny)):
                for x in range(max(int(centre[i, 2] - reach_x), 0), min(int(centre[i, 2] + reach_x) + 2, nx)):
                    d = ((z - centre[i, 0]) * spacing[0]) ** 2
                    d += ((y - centre[i, 1]) * spacing[1]) ** 2 + ((x - centre[i, 2]) * spacing[2]) ** 2
                    if d <= squared and d < nearest[z, y, x]:
                        nearest[z, y, x] = d
                        out[z, y, x] = label[i]
