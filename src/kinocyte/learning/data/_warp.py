"""Geometry of augmentation: one resampling for rotation, scale, shear and bending; mirrors and turns exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kinocyte.learning.data.augment import Augmentation

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]

#: bending is cut here, in standard deviations, so that a margin can promise to hold it
_MOST_BENT = 2.5


def margin(augmentation: Augmentation, patch_px: Sequence[int]) -> tuple[int, ...]:
    """Return how far beyond a patch its warp can reach, in order of axes; 0 along z."""
    if not augmentation.warps:
        return (0,) * len(patch_px)
    y, x = (0.5 * n for n in patch_px[-2:])
    largest = 1 / (1 - augmentation.scale)
    turned = math.radians(augmentation.rotation_deg)
    sheared = math.tan(math.radians(augmentation.shear_deg))
    # a corner is never farther than its distance, nor than turning by less than 90 degrees brings it
    cos, sin = (1.0, math.sin(turned)) if turned < math.pi / 2 else (1.0, 1.0)
    bent = _MOST_BENT * augmentation.elastic_px
    reach_y = min(cos * y + sin * x, math.hypot(y, x)) * largest
    reach_x = (min(cos * x + sin * y, math.hypot(y, x)) + sheared * reach_y / largest) * largest
    in_plane = tuple(math.ceil(max(r - h, 0.0) + bent) + 1 for r, h in ((reach_y, y), (reach_x, x)))
    return (*((0,) * (len(patch_px) - 2)), *in_plane)


@dataclass(frozen=True)
class _Warp:
    """Where each pixel of a patch comes from: a matrix about the middle, and displacements on a coarse grid."""

    matrix: Floats
    bend: Floats | None
    spacing_px: float

    def sources(self, size: tuple[int, int], whole: tuple[int, int], factor: int) -> Floats:
        """Return the place in the array, (2, y, x), of each pixel of the middle part.

        ``size`` and ``whole`` are in pixels of the image; the array is larger by ``factor``.
        """
        grid = np.meshgrid(*(_centred(n, factor) for n in size), indexing="ij")
        offset = np.stack(grid).reshape(2, -1)
        moved = self.matrix @ offset
        if self.bend is not None:
            moved = moved + self._bent(offset)
        middle = (np.array(whole, np.float64)[:, None] * factor - 1) / 2
        return (moved * factor + middle).reshape(2, size[0] * factor, size[1] * factor)

    def _bent(self, offset: Floats) -> Floats:
        from scipy.ndimage import map_coordinates

        assert self.bend is not None  # noqa: S101 - asked only where there is bending
        at = offset / self.spacing_px + (np.array(self.bend.shape[1:])[:, None] - 1) / 2
        return np.stack([map_coordinates(b, at, order=3, mode="nearest") for b in self.bend])


def _centred(n: int, factor: int) -> Floats:
    """Return the places of n * factor pixels along an axis in pixels of the image, 0 in the middle."""
    return (np.arange(n * factor) - (n * factor - 1) / 2) / factor


def _draw(augmentation: Augmentation, size: Sequence[int], rng: np.random.Generator) -> _Warp:
    turn, shear, scale = rng.uniform(-1, 1, 3)
    angle = math.radians(augmentation.rotation_deg) * turn
    slope = math.tan(math.radians(augmentation.shear_deg) * shear)
    # from a place in the patch to its source: a larger picture reads from nearer places
    larger = (1 - augmentation.scale) ** -abs(scale)
    factor = 1 / larger if scale > 0 else larger
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = factor * np.array([[1.0, 0.0], [slope, 1.0]]) @ rotation
    if not augmentation.elastic_px:
        return _Warp(matrix, None, augmentation.elastic_spacing_px)
    points = [math.ceil(n / augmentation.elastic_spacing_px) + 3 for n in size[-2:]]
    bend = rng.standard_normal((2, *points)).clip(-_MOST_BENT, _MOST_BENT) * augmentation.elastic_px
    return _Warp(matrix, bend, augmentation.elastic_spacing_px)


def moved(
    augmentation: Augmentation,
    image: Singles,
    target: NDArray[Any] | None,
    rng: np.random.Generator,
    *,
    size: tuple[int, ...],
    factor: int,
) -> tuple[Singles, NDArray[Any] | None]:
    """Return the middle part of image and target, warped, turned and mirrored alike."""
    larger = (*size[:-2], size[-2] * factor, size[-1] * factor)
    if augmentation.warps:
        warp = _draw(augmentation, size, rng)
        image = _resampled(image, warp, size, 1)
        target = None if target is None else _resampled(target, warp, size, factor)
    image = _middle(image, size)
    target = None if target is None else _middle(target, larger)
    axes, turns = _symmetry(augmentation, size, rng)
    image = _mirrored(image, axes, turns)
    return image, None if target is None else _mirrored(target, axes, turns)


def _symmetry(augmentation: Augmentation, size: Sequence[int], rng: np.random.Generator) -> tuple[list[int], int]:
    """Return the axes to mirror (from the last) and how many quarter turns to make."""
    draws = rng.integers(0, 2, 3)
    turns = int(rng.integers(0, 4)) if augmentation.quarter_turns else 0
    if size[-2] != size[-1]:
        turns -= turns % 2
    allowed = [augmentation.flips, augmentation.flips, augmentation.flip_depth and len(size) == 3]
    return [-1 - k for k in range(3) if allowed[k] and draws[k]], turns


def _mirrored(array: NDArray[Any], axes: Sequence[int], turns: int) -> NDArray[Any]:
    turned = np.rot90(array, turns, axes=(-2, -1)) if turns else array
    return np.ascontiguousarray(np.flip(turned, tuple(axes)) if axes else turned)


def window(start: Sequence[int], size: Sequence[int]) -> tuple[Any, ...]:
    """Return the index of a window of the last axes."""
    return (..., *(slice(b, b + s) for b, s in zip(start, size, strict=True)))


def _middle(array: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """Return the middle part of the last axes; an array that is smaller already is of that size."""
    n = len(size)
    start = [(a - s) // 2 for a, s in zip(array.shape[-n:], size, strict=True)]
    middle: NDArray[Any] = array[window(start, size)]
    return middle


def _resampled(array: NDArray[Any], warp: _Warp, size: Sequence[int], factor: int) -> NDArray[Any]:
    """Return planes (y, x) of an array read at the places of a warp; labels keep their values."""
    from scipy.ndimage import map_coordinates

    plane = (array.shape[-2] // factor, array.shape[-1] // factor)
    at = warp.sources((size[-2], size[-1]), plane, factor)
    labels = array.dtype.kind in "iub"
    depth = array[..., _depth(array, size), :, :] if len(size) == 3 else array
    planes = depth.reshape(-1, *array.shape[-2:])
    order = 0 if labels else 1
    out = np.stack([map_coordinates(p, at, order=order, mode="mirror", prefilter=False) for p in planes])
    return out.reshape(*depth.shape[:-2], *at.shape[1:])


def _depth(array: NDArray[Any], size: Sequence[int]) -> slice:
    start = (array.shape[-3] - size[0]) // 2
    return slice(start, start + size[0])
