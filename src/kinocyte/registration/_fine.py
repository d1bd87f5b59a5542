"""Sub-pixel shifts of a group of frames, from the part of the sample that all of them see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kinocyte.core.threads import each
from kinocyte.registration._align import Aligned, Further, Group, Spectrum, normalised, quality_of
from kinocyte.registration._coarse import Search
from kinocyte.registration._spectrum import (
    Grid,
    Image,
    band,
    power_of,
    ring_mean,
    short_fast_length,
    tapered,
    tapers,
    window,
    windowed,
)

Floats = NDArray[np.float64]
Source = Callable[[int], Image | None]

#: Width over which the edges of a mask fade, px.
MASK_FLANK_PX = 8.0
#: Single planes below this number of pixels may be cropped anew until nothing changes; sections and volumes always.
SMALL_PIXELS = 100_000


def common_box(offset: NDArray[np.intp], shape: Sequence[int]) -> tuple[NDArray[np.intp], tuple[int, ...]]:
    """Return where each frame's crop begins, and the size of the part that all frames see."""
    low, high = offset.min(axis=0), offset.max(axis=0)
    size = tuple(int(n - (b - a)) for n, a, b in zip(shape, low, high, strict=True))
    return offset - low, size


def align_group(
    source: Source,
    frames: Sequence[int],
    guess: Floats,
    *,
    search: Search,
    mask: Image | None = None,
    bin_px: float = 1.0,
    path: Floats | None = None,
    n_rounds: int = 4,
) -> Aligned | None:
    """Return the shifts of some frames, or None where they see nothing in common.

    Each frame is cropped where its content has moved to, so that what remains is below a pixel: windows then see the
    same part of the sample and do not pull the result towards zero.

    Parameters
    ----------
    source : callable
        Returns the image (p, y, x) of a frame.
    frames : sequence of int
        Frames of the group.
    guess : array, shape (n, 3)
        First guess for them, px of these images.
    search : Search
        How frames are compared.
    mask : float32 (p, y, x), optional
        Weight of the pixels in the coordinates of the camera.
    bin_px : float
        Size of their pixels in pixels of the full image.
    path : array, shape (m, 3), optional
        Shifts from which a pattern at rest was told and taken off; frequencies that look the same at all of them
        count less, because they may have gone with the pattern.
    n_rounds : int
        Rounds of alignment.
    """
    shape = _shape_of(source, frames)
    if shape is None:
        return None
    shift = np.array(guess, dtype=np.float64)
    aligned = None
    further = Further()
    attempts = search.attempts or (3 if shape[0] == 1 and np.prod(shape) > SMALL_PIXELS else 12)
    for attempt in range(attempts):
        offset = np.rint(shift).astype(np.intp)
        for axis in range(3):
            if axis not in search.free:
                offset[:, axis] = 0
        box = _crops(offset, shape, search)
        if box is None:
            return aligned
        start, size = box
        aligned = _align_crops(
            source, frames, (start, size), shift - offset,
            search=search, mask=mask, bin_px=bin_px, path=path, n_rounds=n_rounds,
        )  # fmt: skip
        aligned = Aligned(aligned.shift + offset, aligned.sharpness, aligned.height, aligned.error)
        good = quality_of(aligned.sharpness) > 0
        centred = aligned.shift - np.median((aligned.shift - shift)[good], axis=0) if good.any() else shift
        moved = np.abs(centred - shift)[good][:, list(search.free)]
        # windows were laid where content was expected; where it lies elsewhere they pull, narrow flanks the most
        tolerance = 0.002 * search.taper * min(size[a] for a in search.free)
        if attempt == attempts - 1 or moved.size == 0 or moved.max() <= tolerance:
            break
        change = np.where(good[:, None], centred - shift, 0.0)
        shift = shift + change + further(change)
    return aligned


def _shape_of(source: Source, frames: Sequence[int]) -> tuple[int, ...] | None:
    for t in frames:
        image = source(t)
        if image is not None:
            return image.shape
    return None


def _crops(
    offset: NDArray[np.intp], shape: tuple[int, ...], search: Search
) -> tuple[NDArray[np.intp], tuple[int, int, int]] | None:
    start, size = common_box(offset, shape)
    if any(size[a] < min(8, shape[a]) for a in search.free):
        return None
    fast = [short_fast_length(n) if a in search.axes else n for a, n in enumerate(size)]
    start = start + np.array([(n - f) // 2 for n, f in zip(size, fast, strict=True)])
    return start, (fast[0], fast[1], fast[2])


def _align_crops(
    source: Source,
    frames: Sequence[int],
    box: tuple[NDArray[np.intp], tuple[int, int, int]],
    rest: Floats,
    *,
    search: Search,
    mask: Image | None,
    bin_px: float,
    path: Floats | None,
    n_rounds: int,
) -> Aligned:
    start, size = box
    whole = Grid(size, search.axes)
    seen = None if mask is None else _common_mask(mask, start, size)

    def product(k: int) -> Image | None:
        image = source(frames[k])
        if image is None:
            return None
        part = image[_box(start[k], size, image.shape)]
        if seen is None:
            return tapered(part, tapers(size, search.axes, search.taper, rest[k]), search.axes)
        weight = window(size, search.axes, search.taper, rest[k]) * seen
        return windowed(part, weight, search.axes)

    grid = whole
    if search.whiten == "weighted":
        first = next((p for p in map(product, range(len(frames))) if p is not None), None)
        if first is not None:
            grid = replace(whole, limit=useful_limit(whole, whole.transform(first)))

    def spectrum(k: int) -> Spectrum | None:
        image = product(k)
        return None if image is None else normalised(grid.transform(image))

    spectra = each(spectrum, range(len(frames)), int(np.prod(size)))
    passed = band(grid.cycles(search.depth_px / bin_px), search.smallest_px / bin_px, search.largest_px / bin_px)
    if path is not None:
        passed = passed * separable(grid, path)
    group = Group(
        grid,
        spectra,
        rest,
        free=search.free,
        band=passed,
        whiten=search.whiten,
    )
    return group.rounds(n_rounds)


def _common_mask(mask: Image, start: NDArray[np.intp], size: Sequence[int]) -> Image:
    """Return the mask that remains where the sample is allowed in every frame, its edges softened inwards.

    A hard edge that lies a fraction of a pixel beside where the sample went pulls the shift there.
    """
    out = np.ones(tuple(size), dtype=np.float32)
    for begin in np.unique(start, axis=0):
        out = np.minimum(out, mask[_box(begin, size, mask.shape)])
    inside = out > 0.5
    if inside.all() or not inside.any():
        return out
    depth = np.stack([ndimage.distance_transform_edt(plane) for plane in inside]) - 0.5
    flank = min(MASK_FLANK_PX, 0.5 * float(depth.max()) + 0.5)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(depth / flank, 0, 1)), dtype=np.float32) * inside


def separable(grid: Grid, path: Floats) -> NDArray[np.float32]:
    """Return how well each frequency tells an image that moved along a path from one at rest, 0 to 1.

    With the mean phase a over the path, the least-squares problem for both images has the determinant 1 - |a|^2.
    """
    p, y, x = grid.frequencies()
    mean = np.zeros(grid.spectrum_shape, dtype=np.complex64)
    for dp, dy, dx in path:
        ramps = [np.exp(-1j * f * d).astype(np.complex64) for f, d in ((p, dp), (y, dy), (x, dx))]
        mean += ramps[0][:, None, None] * (ramps[1][:, None] * ramps[2])
    determinant = 1 - np.abs(mean / np.float32(len(path))) ** 2
    return np.asarray(np.clip(determinant, 0, 1) ** 2, dtype=np.float32)


def useful_limit(grid: Grid, spectrum: Spectrum) -> float:
    """Return the frequency, in cycles per pixel, above which a spectrum holds nothing but white noise.

    The mean power over rings falls from the structure to the floor of the noise; beyond the last ring that rises five
    per cent above the floor, frequencies tell nothing and cost time.
    """
    n_rings = 48
    power = ring_mean(power_of(spectrum), grid.rings(n_rings), n_rings)
    floor = float(np.median(power[-n_rings // 4 :]))
    above = np.flatnonzero(power > 1.05 * floor + 1e-9 * float(power.max()))
    last = int(above.max()) + 2 if above.size else n_rings
    return max(0.5 * last / n_rings, 0.08)


def _box(begin: NDArray[np.intp], size: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(
        slice(None) if n == 1 else slice(int(b), int(b) + s) for b, s, n in zip(begin, size, shape, strict=True)
    )
