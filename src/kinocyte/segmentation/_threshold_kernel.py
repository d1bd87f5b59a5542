"""What a threshold segmentation does, step by step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation import components, levels
from kinocyte.segmentation._filter_kernels import window_px
from kinocyte.segmentation.components import Labels
from kinocyte.segmentation.distance import squared_distance
from kinocyte.segmentation.filters import apply_filters
from kinocyte.segmentation.threshold import Threshold
from kinocyte.segmentation.watershed import flood, seeds_by_distance, seeds_by_prominence

Mask = NDArray[np.bool_]

#: standard deviations of the darkest class by which a class of dim cells stands out from it
DIM_CLASS = 8.0


def segment(image: NDArray[Any], p: Threshold, scale: Scale) -> Labels:
    """Return the label image of one channel."""
    spacing_um = _checked_spacing(image, p.channel, scale)
    empty = np.zeros(image.shape, np.uint32)
    image, valid = _finite(image)
    if image.size == 0 or (valid is not None and not valid.any()):
        return empty
    filtered = apply_filters(image, p.filters, scale)
    mask = _foreground(filtered, valid, p, scale)
    if mask is None or not mask.any():
        return empty
    if p.fill_holes:
        mask = components.fill_holes(mask)
    labels, n = components.label(mask, p.connectivity)
    if p.split != "none":
        labels, n = _split(labels, filtered, p, spacing_um)
    if valid is not None:  # only now, so that a few dead pixels inside a cell do not cut it into pieces
        labels, n = components.renumber(np.where(valid, labels, 0).astype(np.uint32))
    labels, n = _by_size(labels, n, p, float(np.prod(spacing_um)))
    if p.exclude_border_um is not None:
        labels, n = components.keep(labels, components.gap_to_border_um(labels, n, spacing_um) > p.exclude_border_um)
    if p.keep and n:
        from kinocyte.segmentation._object_features import wanted

        labels, n = components.keep(labels, wanted(labels, image, p.keep, spacing_um))
    return labels


def filtered_and_level(image: NDArray[Any], p: Threshold, scale: Scale) -> tuple[NDArray[Any], float | None]:
    """Return the channel after the filters and the one level of the frame; None where there is no such level."""
    _checked_spacing(image, p.channel, scale)
    image, valid = _finite(image)
    if image.size == 0:
        return image, None
    filtered = apply_filters(image, p.filters, scale)
    if p.threshold == "fixed":
        return filtered, p.low if p.low is not None else p.high
    values = filtered if valid is None else filtered[valid]
    if p.threshold in {"adaptive", "local", "niblack", "sauvola"} or not values.size or levels.is_constant(values):
        return filtered, None
    return filtered, float(_level(filtered, values, p, scale))


def _checked_spacing(image: NDArray[Any], channel: str, scale: Scale) -> tuple[float, ...]:
    if image.ndim not in {2, 3}:
        msg = f"Channel '{channel}' has shape {image.shape}; a frame must be (y, x) or (z, y, x)."
        raise ParameterError(msg)
    if image.dtype.kind not in "biuf":
        msg = f"Channel '{channel}' holds {image.dtype} values; give real numbers."
        raise ParameterError(msg)
    return scale.spacing_um(image.ndim)


def _finite(image: NDArray[Any]) -> tuple[NDArray[Any], Mask | None]:
    """Return the image with NaN and inf replaced by the median of the others, and where it was finite if not all is."""
    if image.dtype.kind == "b":
        return image.astype(np.uint8), None
    if image.dtype.kind != "f":
        return image, None
    if image.dtype.itemsize < 4:
        image = image.astype(np.float32)
    valid = np.isfinite(image)
    if valid.all():
        return image, None
    fill = np.median(image[valid]) if valid.any() else 0.0
    return np.where(valid, image, fill), valid


def _foreground(filtered: NDArray[Any], valid: Mask | None, p: Threshold, scale: Scale) -> Mask | None:
    """Return the mask, or None where the frame shows no contrast."""
    if p.threshold == "fixed":
        top = np.inf if p.high is None else p.high
        mask = (filtered >= (-np.inf if p.low is None else p.low)) & (filtered <= top)
        wide = None if p.hysteresis_low is None else (filtered >= p.hysteresis_low) & (filtered <= top)
        return _spread(_valid(mask, valid), None if wide is None else _valid(wide, valid), p)
    values = filtered if valid is None else filtered[valid]
    if levels.is_constant(values):
        return None
    if p.threshold == "adaptive":
        return _adaptive(filtered, valid, p)
    level = _level(filtered, values, p, scale)
    mask = _valid(_beyond(filtered, level, p), valid)
    if not mask.any() or not _stands_out(filtered, mask, valid, p):
        return None
    if p.hysteresis is None:
        return mask
    background = _classes(filtered, mask, valid).mean_back
    return _spread(mask, _valid(_beyond(filtered, background + p.hysteresis * (level - background), p), valid), p)


def _adaptive(filtered: NDArray[Any], valid: Mask | None, p: Threshold) -> Mask | None:
    """Return what stands out in the root of the brightness, each part down to a fraction of its own height.

    Otsu's rule parts the square roots, which bring dim and bright cells closer, as their noise does. What it calls
    background is parted once more, and the lower level taken where the dim class stands out from the rest as clearly as
    `DIM_CLASS` says. At a level low enough for the dimmest cell, the blur around bright ones would count as theirs;
    each part is therefore cut at its own level.
    """
    height = np.asarray(filtered, dtype=np.float64)
    height = height if p.foreground == "bright" else -height
    height = height - (height.min() if valid is None else height[valid].min())
    root = np.sqrt(np.maximum(height, 0.0))
    values = root if valid is None else root[valid]
    if levels.is_constant(values):
        return None
    level = levels.otsu(values) * p.level_factor
    mask = _valid(root > level, valid)
    found = _classes(root, mask, valid)
    if not mask.any() or found.mean_fore - found.mean_back < p.min_contrast * found.std_back:
        return None
    rest = values[values <= level]
    if not levels.is_constant(rest):
        lower = levels.otsu(rest)
        dim, back = rest[rest > lower], rest[rest <= lower]
        if dim.size and dim.mean() - back.mean() >= DIM_CLASS * back.std():
            mask = _valid(root > lower, valid)
    parts, n = components.label(mask, p.connectivity)
    outside = height[~mask] if valid is None else height[~mask & valid]
    floor = float(np.median(outside)) if outside.size else 0.0
    own = np.concatenate(([np.inf], floor + p.outline_fraction * (_tops(height, parts, n) - floor)))
    return np.asarray(mask & (height > own[parts]))


def _tops(height: NDArray[np.float64], parts: Labels, n: int) -> NDArray[np.float64]:
    """Return the 90th percentile (nearest rank from below) of the height of each part."""
    where = np.flatnonzero(parts)
    owner, values = parts.reshape(-1)[where], height.reshape(-1)[where]
    ranked = values[np.lexsort((values, owner))]
    size = components.pixel_counts(parts, n)
    return np.asarray(ranked[np.cumsum(size) - size + (0.9 * (size - 1)).astype(np.int64)])


def _stands_out(filtered: NDArray[Any], mask: Mask, valid: Mask | None, p: Threshold) -> bool:
    """Tell whether the foreground lies far enough from the background, in standard deviations of the latter.

    A mask that takes more than Otsu's leaves a background that is only the tail of a distribution and spreads too
    little to be a yardstick; Otsu's classes are then compared instead.
    """
    if p.min_contrast == 0:
        return True
    if p.threshold != "otsu":
        values = filtered if valid is None else filtered[valid]
        halves = _valid(_beyond(filtered, levels.otsu(values), p), valid)
        if np.count_nonzero(halves) < np.count_nonzero(mask):
            mask = halves
    found = _classes(filtered, mask, valid)
    return abs(found.mean_fore - found.mean_back) >= p.min_contrast * found.std_back


def _level(filtered: NDArray[Any], values: NDArray[Any], p: Threshold, scale: Scale) -> float | NDArray[np.float64]:
    if p.threshold in {"otsu", "triangle", "li"}:
        rule = {"otsu": levels.otsu, "triangle": levels.triangle, "li": levels.li}[p.threshold]
        return rule(values) * p.level_factor
    if p.threshold == "background":
        return levels.above_background(values, p.background_sd, dark=p.foreground == "dark") * p.level_factor
    image = np.asarray(filtered, dtype=np.float64)
    window = window_px(p.window_um, image.shape, scale)
    if p.threshold == "niblack":
        return levels.niblack(image, window, p.local_k) * p.level_factor
    if p.threshold == "sauvola":
        return levels.sauvola(image, window, p.local_k) * p.level_factor
    return (levels.local_mean(image, window) + p.local_offset) * p.level_factor


def _beyond(filtered: NDArray[Any], level: float | NDArray[np.float64], p: Threshold) -> Mask:
    return np.asarray(filtered > level if p.foreground == "bright" else filtered <= level)


def _valid(mask: Mask, valid: Mask | None) -> Mask:
    return mask if valid is None else mask & valid


def _spread(mask: Mask, wide: Mask | None, p: Threshold) -> Mask:
    """Return the parts of the wide mask that hold a pixel of the narrow one."""
    if wide is None:
        return mask
    parts, n = components.label(wide | mask, p.connectivity)
    held = np.zeros(n + 1, bool)
    held[parts[mask]] = True
    return np.asarray(held[parts])


class _Classes(NamedTuple):
    mean_fore: float
    mean_back: float
    std_back: float


def _classes(filtered: NDArray[Any], mask: Mask, valid: Mask | None) -> _Classes:
    """Return the mean of the foreground, and mean and standard deviation of the background."""
    counted = np.ones(1, bool) if valid is None else valid.reshape(-1)
    flat = np.ascontiguousarray(filtered, dtype=np.float64).reshape(-1)
    sums = np.zeros((2, 3))
    _moments(flat, mask.reshape(-1), counted, sums)
    mean_back, mean_fore = sums[:, 1] / np.maximum(sums[:, 0], 1)
    spread = np.sqrt(max(sums[0, 2] / max(sums[0, 0], 1) - mean_back**2, 0.0))
    return _Classes(float(mean_fore + flat[0]), float(mean_back + flat[0]), float(spread))


@kernel
def _moments(values, mask, valid, sums):  # type: ignore[no-untyped-def]  # numba infers the types
    """Add up number, sum and squares of background (row 0) and foreground (row 1), counted from the first value."""
    shift = values[0]
    all_valid = valid.size != values.size
    n0, n1, total0, total1, square0 = 0, 0, 0.0, 0.0, 0.0
    for i in range(values.size):
        v = values[i] - shift
        if mask[i]:
            n1 += 1
            total1 += v
        elif all_valid or valid[i]:
            n0 += 1
            total0 += v
            square0 += v * v
    sums[0, 0], sums[0, 1], sums[0, 2] = n0, total0, square0
    sums[1, 0], sums[1, 1] = n1, total1


def _split(labels: Labels, filtered: NDArray[Any], p: Threshold, spacing_um: tuple[float, ...]) -> tuple[Labels, int]:
    """Part touching objects."""
    return parted(landscape_of(labels, filtered, p, spacing_um), labels, p, spacing_um)


def landscape_of(
    labels: Labels, filtered: NDArray[Any], p: Threshold, spacing_um: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return what is high inside objects; lengths are in pixel widths, so that square pixels give whole numbers."""
    if p.split == "intensity":
        values = np.asarray(filtered, dtype=np.float64)
        return -values if p.foreground == "dark" else values
    landscape = np.sqrt(squared_distance(labels, tuple(s / spacing_um[-1] for s in spacing_um)))
    landscape[np.isinf(landscape)] = 0.0
    return landscape


def parted(
    landscape: NDArray[np.float64], labels: Labels, p: Threshold, spacing_um: tuple[float, ...]
) -> tuple[Labels, int]:
    """Return the objects parted by seeds in the landscape and flooding."""
    unit = spacing_um[-1]
    spacing = tuple(s / unit for s in spacing_um)
    if p.split in {"distance", "intensity"}:
        seeds = seeds_by_distance(landscape, labels, p.seed_distance_um / unit, spacing)
    elif p.split == "neck":
        seeds = seeds_by_prominence(landscape, labels, max_saddle=p.max_neck)
    else:
        seeds = seeds_by_prominence(landscape, labels, min_height=p.seed_h_um / unit)
    return flood(landscape, labels, seeds)


def _by_size(labels: Labels, n: int, p: Threshold, pixel_size: float) -> tuple[Labels, int]:
    flat = labels.ndim == 2
    low, high = (p.min_area_um2, p.max_area_um2) if flat else (p.min_volume_um3, p.max_volume_um3)
    if n == 0 or (low is None and high is None):
        return labels, n
    return components.keep(labels, fits_size(components.pixel_counts(labels, n), p, labels.ndim, pixel_size))


def fits_size(counts: NDArray[np.int64], p: Threshold, ndim: int, pixel_size: float) -> NDArray[np.bool_]:
    """Tell which objects of so many pixels are neither too small nor too large."""
    low, high = (p.min_area_um2, p.max_area_um2) if ndim == 2 else (p.min_volume_um3, p.max_volume_um3)
    size = counts * pixel_size
    tolerance = 1e-9 * pixel_size
    above = size >= (0.0 if low is None else low) - tolerance
    return np.asarray(above & (size <= (np.inf if high is None else high) + tolerance))
