"""Pixels at a distance from objects: bands, rings and discs, for all objects of a frame at once.

Distances run from pixel centre to pixel centre in micrometres: outside, to the nearest pixel of the object; inside,
to the nearest pixel that is not of the object, so that a shared border is a border for both of its cells. A band
of b - a micrometres is then that thick, whatever touches the object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinocyte.core.compiled import kernel
from kinocyte.measurement._runs import Floats, Ints, Runs

#: a distance that equals a limit but for rounding counts as equal
_SLACK = 1e-9
#: which pixels outside an object its bands may hold
BACKGROUND, ANYTHING, NEAREST = 0, 1, 2


@dataclass(frozen=True)
class Regions:
    """Pixels of each object's region: ``pixels[offsets[i]:offsets[i + 1]]`` are flat indices into the frame."""

    pixels: Ints
    offsets: Ints


def band(
    runs: Runs, spacing_um: tuple[float, ...], low_um: float, high_um: float, *, outside: int = BACKGROUND
) -> Regions:
    """Return the pixels whose signed distance to the border of the object lies between two limits.

    Parameters
    ----------
    runs : Runs
        Objects.
    spacing_um : tuple of float
        Pixel size, (y, x) or (z, y, x).
    low_um, high_um : float
        Limits of the distance, positive inside and negative outside. The limit nearer to the border is excluded, the
        other included.
    outside : int
        ``BACKGROUND``: outside the object only pixels without any object; ``ANYTHING``: also those of other objects;
        ``NEAREST``: background that is nearer to no other object.
    """
    spacing = (1.0, *spacing_um) if runs.ndim == 2 else tuple(spacing_um)
    reach = np.array([0 if runs.ndim == 2 else 1, 1, 1], dtype=np.int64)
    if low_um < 0:
        steps = np.ceil(-low_um / np.asarray(spacing)).astype(np.int64) + 1
        reach = np.where(reach > 0, steps, 0)
    nearest = np.zeros((0, 0, 0))
    if outside == NEAREST:
        from scipy.ndimage import distance_transform_edt

        free = runs.image.reshape(runs.shape) == 0
        nearest = distance_transform_edt(free, sampling=spacing_um).reshape(runs.image.shape)
    found, offsets = _band(
        (runs.offsets, runs.spans), runs.boxes, (runs.image, nearest), spacing, (low_um, high_um, reach, outside)
    )
    return Regions(found, offsets)


def disc(
    centres_um: Floats, shape: tuple[int, ...], spacing_um: tuple[float, ...], inner_um: float, outer_um: float
) -> Regions:
    """Return the pixels between two distances from each centre, ``inner < d <= outer``; from 0 on with a centre pixel.

    Parameters
    ----------
    centres_um : array of float64, (n, 2) or (n, 3)
        Centres, (y, x) or (z, y, x); one that is not finite has no pixels.
    shape : tuple of int
        Shape of the frame.
    spacing_um : tuple of float
        Pixel size along each axis of the frame.
    inner_um, outer_um : float
        Limits; with an inner limit of 0 the centre itself belongs to the disc.
    """
    pad = 3 - len(shape)
    centres = np.concatenate([np.zeros((len(centres_um), pad)), np.asarray(centres_um, dtype=np.float64)], axis=1)
    full = np.array([1] * pad + list(shape), dtype=np.int64)
    found, offsets = _disc(centres, full, np.array([1.0] * pad + list(spacing_um)), (inner_um, outer_um))
    return Regions(found, offsets)


def inner_distances(runs: Runs, spacing_um: tuple[float, ...]) -> Floats:
    """Return the distance of every pixel of every object to the nearest pixel not of it (um), in order of pixels."""
    spacing = (1.0, *spacing_um) if runs.ndim == 2 else tuple(spacing_um)
    reach = np.array([0 if runs.ndim == 2 else 1, 1, 1], dtype=np.int64)
    distances: Floats = _inner((runs.offsets, runs.spans), runs.boxes, runs.image, spacing, reach)
    return distances


@kernel
def _line(f, step, places, bounds):  # type: ignore[no-untyped-def] # numba
    """Replace f by the least of f[q] + (step (p - q))^2 over q (Felzenszwalb and Huttenlocher (2012)).

    Source: doi:10.4086/toc.2012.v008a019. ``f`` is infinite where there is no parabola.
    """
    n = f.size
    k = -1
    for q in range(n):
        if f[q] == np.inf:
            continue
        s = -np.inf
        while k >= 0:
            p = places[k]
            s = ((f[q] + (q * step) ** 2) - (f[p] + (p * step) ** 2)) / (2 * step * (q - p))
            if s > bounds[k]:
                break
            k -= 1
        k += 1
        places[k] = q
        bounds[k] = s if k > 0 else -np.inf
    if k < 0:
        return
    heights = np.empty(k + 1)
    for j in range(k + 1):
        heights[j] = f[places[j]]
    j = 0
    for p in range(n):
        while j < k and bounds[j + 1] < p * step:
            j += 1
        f[p] = heights[j] + ((p - places[j]) * step) ** 2


@kernel
def _squared(field, spacing):  # type: ignore[no-untyped-def] # numba
    """Turn a box that is 0 at sources and infinite elsewhere into squared distances to the nearest source."""
    depth, height, width = field.shape
    longest = max(depth, height, width)
    places, bounds = np.empty(longest, np.int64), np.empty(longest)
    for z in range(depth):
        for y in range(height):
            _line(field[z, y], spacing[2], places, bounds)
    if height > 1:
        for z in range(depth):
            for x in range(width):
                _line(field[z, :, x], spacing[1], places, bounds)
    if depth > 1:
        for y in range(height):
            for x in range(width):
                _line(field[:, y, x], spacing[0], places, bounds)


@kernel
def _box(box, shape, reach):  # type: ignore[no-untyped-def] # numba
    """Return first corner and size of a box grown by ``reach`` within the frame."""
    z, y, x = max(box[0] - reach[0], 0), max(box[1] - reach[1], 0), max(box[2] - reach[2], 0)
    far = (min(box[3] + reach[0], shape[0]), min(box[4] + reach[1], shape[1]), min(box[5] + reach[2], shape[2]))
    return (z, y, x), (far[0] - z, far[1] - y, far[2] - x)


@kernel
def _paint(field, spans, corner, height, value):  # type: ignore[no-untyped-def] # numba
    for k in range(spans.shape[1]):
        z, y = spans[0, k] // height - corner[0], spans[0, k] % height - corner[1]
        field[z, y, spans[1, k] - corner[2] : spans[2, k] - corner[2]] = value


@kernel
def _band(runs, boxes, images, spacing, rule):  # type: ignore[no-untyped-def] # numba
    offsets, spans = runs
    image, nearest = images
    low, high, reach, outside = rule
    n = offsets.size - 1
    height, width = image.shape[1:]
    out = np.empty(1024, np.int64)
    ends = np.zeros(n + 1, np.int64)
    at = 0
    for i in range(n):
        own = spans[:, offsets[i] : offsets[i + 1]]
        corner, size = _box(boxes[i], image.shape, reach)
        label = image[own[0, 0] // height, own[0, 0] % height, own[1, 0]]
        within, without = np.full(size, 0.0), np.full(size, np.inf)
        _paint(within, own, corner, height, np.inf)
        _paint(without, own, corner, height, 0.0)
        if high > 0:
            _squared(within, spacing)
        if low < 0:
            _squared(without, spacing)
        for z in range(size[0]):
            for y in range(size[1]):
                for x in range(size[2]):
                    w, v, u = z + corner[0], y + corner[1], x + corner[2]
                    value = image[w, v, u]
                    if value == label:
                        taken = high > 0 and _between(within[z, y, x], max(low, 0.0), high)
                    elif low >= 0 or (value != 0 and outside != 1):
                        taken = False
                    else:
                        taken = _between(without[z, y, x], max(-high, 0.0), -low)
                        if taken and outside == 2:
                            taken = np.sqrt(without[z, y, x]) <= nearest[w, v, u] * (1 + _SLACK)
                    if taken:
                        if at == out.size:
                            out = np.concatenate((out, np.empty(out.size, np.int64)))
                        out[at] = (w * height + v) * width + u
                        at += 1
        ends[i + 1] = at
    return out[:at].copy(), ends


@kernel
def _between(squared, low, high):  # type: ignore[no-untyped-def] # numba
    return squared > low * low * (1 + _SLACK) and squared <= high * high * (1 + _SLACK)


@kernel
def _inner(runs, boxes, image, spacing, reach):  # type: ignore[no-untyped-def] # numba
    offsets, spans = runs
    height = image.shape[1]
    total = 0
    for k in range(spans.shape[1]):
        total += spans[2, k] - spans[1, k]
    out = np.empty(total)
    at = 0
    for i in range(offsets.size - 1):
        own = spans[:, offsets[i] : offsets[i + 1]]
        corner, size = _box(boxes[i], image.shape, reach)
        field = np.zeros(size)
        _paint(field, own, corner, height, np.inf)
        _squared(field, spacing)
        for k in range(own.shape[1]):
            z, y = own[0, k] // height - corner[0], own[0, k] % height - corner[1]
            for x in range(own[1, k] - corner[2], own[2, k] - corner[2]):
                out[at] = np.sqrt(field[z, y, x])
                at += 1
    return out


@kernel
def _disc(centres, shape, spacing, limits):  # type: ignore[no-untyped-def] # numba
    inner, outer = limits
    n = centres.shape[0]
    out = np.empty(1024, np.int64)
    ends = np.zeros(n + 1, np.int64)
    low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
    at = 0
    for i in range(n):
        for a in range(3):
            c = centres[i, a]
            if np.isfinite(c):
                low[a] = max(int(np.ceil((c - outer) / spacing[a] - _SLACK)), 0)
                high[a] = min(int(np.floor((c + outer) / spacing[a] + _SLACK)), shape[a] - 1)
            else:
                low[a], high[a] = 1, 0
        for z in range(low[0], high[0] + 1):
            for y in range(low[1], high[1] + 1):
                for x in range(low[2], high[2] + 1):
                    dz = z * spacing[0] - centres[i, 0]
                    dy = y * spacing[1] - centres[i, 1]
                    dx = x * spacing[2] - centres[i, 2]
                    squared = dz * dz + dy * dy + dx * dx
                    if squared <= outer * outer * (1 + _SLACK) and (
                        inner <= 0 or squared > inner * inner * (1 + _SLACK)
                    ):
                        if at == out.size:
                            out = np.concatenate((out, np.empty(out.size, np.int64)))
                        out[at] = (z * shape[1] + y) * shape[2] + x
                        at += 1
        ends[i + 1] = at
    return out[:at].copy(), ends
