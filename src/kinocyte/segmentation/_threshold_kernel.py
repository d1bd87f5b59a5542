"""What a threshold segmentation does, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation import components
from kinocyte.segmentation._foreground import (
    LOCAL,
    Whole,
    floor_of,
    foreground,
    height,
    known_of,
    outline_fraction,
    own_levels,
)
from kinocyte.segmentation._walks import median
from kinocyte.segmentation.components import Labels
from kinocyte.segmentation.distance import squared_distance
from kinocyte.segmentation.filters import apply_filters
from kinocyte.segmentation.threshold import Looked, Threshold
from kinocyte.segmentation.watershed import flood, seeds_by_distance, seeds_by_prominence

Mask = NDArray[np.bool_]

_T = TypeVar("_T")
#: parameters by what they change first; whatever is not named here changes what the values say on their own
_SIZE = {"min_area_um2", "max_area_um2", "min_volume_um3", "max_volume_um3", "exclude_border_um", "keep"}
_SPLIT = {"split", "max_neck", "seed_distance_um", "seed_h_um"}
_MASK = {"level_factor", "hysteresis", "outline_fraction", "fill_holes", "connectivity"}


class Stages:
    """What the parameters gave last on one frame: a stage that they do not change is not computed again.

    Parameters
    ----------
    p : Threshold
        What is asked for now.
    kept : dict, optional
        What was kept, by stage, for this frame; without it nothing is.
    """

    def __init__(self, p: Threshold, kept: dict[str, tuple[Any, Any]] | None = None) -> None:
        self._p, self._kept = p, kept

    def once(self, stage: str, make: Callable[[], _T]) -> _T:
        """Return what a stage makes: ``filtered``, ``known``, ``parts`` or ``split``."""
        if self._kept is None:
            return make()
        known, key = self._kept.get(stage), self._key(stage)
        if known is None or known[0] != key:
            known = self._kept[stage] = key, make()
        found: _T = known[1]
        return found

    def _key(self, stage: str) -> Any:
        if stage == "filtered":
            return self._p.filters
        later = {"known": _SIZE | _SPLIT | _MASK, "parts": _SIZE | _SPLIT, "split": _SIZE}[stage]
        return self._p.model_dump(exclude=later)


def segment(image: NDArray[Any], p: Threshold, scale: Scale, stages: Stages | None = None) -> Labels:
    """Return the label image of one channel."""
    stages = stages or Stages(p)
    spacing_um = _checked_spacing(image, p.channel, scale)
    empty = np.zeros(image.shape, np.uint32)
    image, valid = finite_values(image)
    if image.size == 0 or (valid is not None and not valid.any()):
        return empty
    filtered = stages.once("filtered", lambda: apply_filters(image, p.filters, scale))
    parts = stages.once("parts", lambda: _parts(Whole(p, filtered, valid, scale), stages))
    if parts is None:
        return empty
    labels, n = stages.once("split", lambda: _split(parts, filtered, p, spacing_um))
    if valid is not None:  # only now, so that a few dead pixels inside a cell do not cut it into pieces
        labels, n = components.renumber(np.where(valid, labels, 0).astype(np.uint32))
    labels, n = _by_size(labels, n, p, float(np.prod(spacing_um)))
    if p.exclude_border_um is not None:
        labels, n = components.keep(labels, components.gap_to_border_um(labels, n, spacing_um) > p.exclude_border_um)
    if p.keep and n:
        from kinocyte.segmentation._object_features import wanted

        labels, n = components.keep(labels, wanted(labels, image, p.keep, spacing_um))
    return labels


def look(image: NDArray[Any], p: Threshold, scale: Scale, kept: dict[str, tuple[Any, Any]]) -> Looked:
    """Return what `segment` and `filtered_and_level` do, from what was kept where the parameters do not change it."""
    stages = Stages(p, kept)
    labels = segment(image, p, scale, stages)
    return Looked(labels, *filtered_and_level(image, p, scale, stages))


def filtered_and_level(
    image: NDArray[Any], p: Threshold, scale: Scale, stages: Stages | None = None
) -> tuple[NDArray[Any], float | None]:
    """Return the channel after the filters and the one level of the frame; None where there is no such level."""
    stages = stages or Stages(p)
    _checked_spacing(image, p.channel, scale)
    image, valid = finite_values(image)
    if image.size == 0:
        return image, None
    filtered = stages.once("filtered", lambda: apply_filters(image, p.filters, scale))
    return filtered, _one_level(Whole(p, filtered, valid, scale), stages)


def _one_level(source: Whole, stages: Stages) -> float | None:
    """Return the level of a frame that has one."""
    p = source.rule
    if p.threshold == "fixed":
        return p.low if p.low is not None else p.high
    if p.threshold in {"adaptive", *LOCAL}:
        return None
    rule = stages.once("known", lambda: known_of(source, source.boxes)).rule
    return None if rule is None else float(rule * p.level_factor)


def _checked_spacing(image: NDArray[Any], channel: str, scale: Scale) -> tuple[float, ...]:
    if image.ndim not in {2, 3}:
        msg = f"Channel '{channel}' has shape {image.shape}; a frame must be (y, x) or (z, y, x)."
        raise ParameterError(msg)
    if image.dtype.kind not in "biuf":
        msg = f"Channel '{channel}' holds {image.dtype} values; give real numbers."
        raise ParameterError(msg)
    return scale.spacing_um(image.ndim)


def finite_values(image: NDArray[Any]) -> tuple[NDArray[Any], Mask | None]:
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
    known = image[valid]
    fill = median(lambda: (known,), known.size) if known.size else 0.0
    return np.where(valid, image, image.dtype.type(fill)), valid


def _parts(source: Whole, stages: Stages) -> tuple[Labels, int] | None:
    """Return the connected parts of the mask and their number, or None where it is empty."""
    mask = _foreground(source, stages)
    if mask is None or not mask.any():
        return None
    if source.rule.fill_holes:
        mask = components.fill_holes(mask)
    return components.label(mask, source.rule.connectivity)


def _foreground(source: Whole, stages: Stages) -> Mask | None:
    """Return the mask, or None where the frame shows no contrast."""
    p, box = source.rule, source.boxes[0]
    found = foreground(source, source.boxes, lambda: stages.once("known", lambda: known_of(source, source.boxes)))
    if found is None:
        return None
    mask = _spread(found.narrow(box), found.wide and found.wide(box), p)
    if outline_fraction(p) is None:
        return mask
    parts, n = components.label(mask, p.connectivity)
    heights = height(source, box)
    own = own_levels(heights, parts, n, floor_of(source, source.boxes, lambda _box: mask), p)
    return np.asarray(mask & (heights > own[parts]))


def _spread(mask: Mask, wide: Mask | None, p: Threshold) -> Mask:
    """Return the parts of the wide mask that hold a pixel of the narrow one."""
    if wide is None:
        return mask
    parts, n = components.label(wide | mask, p.connectivity)
    held = np.zeros(n + 1, bool)
    held[parts[mask]] = True
    return np.asarray(held[parts])


def _split(
    parts: tuple[Labels, int], filtered: NDArray[Any], p: Threshold, spacing_um: tuple[float, ...]
) -> tuple[Labels, int]:
    """Part touching objects."""
    labels, _ = parts
    return parts if p.split == "none" else parted(landscape_of(labels, filtered, p, spacing_um), labels, p, spacing_um)


def landscape_of(
    labels: Labels, filtered: NDArray[Any], p: Threshold, spacing_um: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return what is high inside objects; lengths are in pixel widths, so that square pixels give whole numbers."""
    if p.split == "intensity":
        values = np.asarray(filtered, dtype=np.float64)
        return -values if p.foreground == "dark" else values
    landscape = squared_distance(labels, tuple(s / spacing_um[-1] for s in spacing_um))
    if np.isinf(landscape.max(initial=0.0)):
        landscape[np.isinf(landscape)] = 0.0
    return np.sqrt(landscape, out=landscape)


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
