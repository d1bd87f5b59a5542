"""Cutting an image into overlapping parts such that what a network says of it does not depend on the cuts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Slices = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the output of a network lies over its input, per axis.

    Attributes
    ----------
    divisor : tuple of int
        What the lengths of an input must be multiples of.
    reach : tuple of int
        Pixels away of the farthest input an output depends on.
    up, down : tuple of int
        ``down`` input pixels become ``up`` output pixels.
    """

    divisor: tuple[int, ...]
    reach: tuple[int, ...]
    up: tuple[int, ...]
    down: tuple[int, ...]

    @property
    def overlap(self) -> tuple[int, ...]:
        """Return the reach in whole divisors, so that every part starts on the coarsest grid of the network."""
        return tuple(-(-r // d) * d for r, d in zip(self.reach, self.divisor, strict=True))

    def output(self, slices: Slices) -> Slices:
        """Return where in the output a box of the input lies; its ends are multiples of ``down``."""
        return tuple(
            slice(s.start * u // d, -(-s.stop * u // d))
            for s, u, d in zip(slices, self.up, self.down, strict=True)
        )  # fmt: skip

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the output of an image; a part of a stride at the end counts as one."""
        return tuple(-(-n * u // d) for n, u, d in zip(shape, self.up, self.down, strict=True))


def padded(image: Singles, divisor: Sequence[int]) -> Singles:
    """Return an image (channels, ...) lengthened at its ends to multiples of the divisor, by mirroring."""
    more = [-n % d for n, d in zip(image.shape[1:], divisor, strict=True)]
    if not any(more):
        return image
    return np.pad(image, [(0, 0), *((0, m) for m in more)], mode="symmetric")


def parts(shape: Sequence[int], core: Sequence[int], geometry: Geometry) -> Iterator[tuple[Slices, Slices]]:
    """Yield what is read of a padded image and what is kept of it, both as boxes of the image.

    Parameters
    ----------
    shape : sequence of int
        Multiples of the divisor.
    core : sequence of int
        Lengths of what is kept, multiples of the divisor.
    geometry : Geometry
        Of the network.
    """
    rows = []
    for n, length, more in zip(shape, core, geometry.overlap, strict=True):
        starts = range(0, n, length)
        rows.append(
            [(slice(max(s - more, 0), min(s + length + more, n)), slice(s, min(s + length, n))) for s in starts]
        )
    for combination in product(*rows):
        yield tuple(r for r, _ in combination), tuple(k for _, k in combination)


#: images of more pixels are cut into windows even for a network that looks at all of an image, and their size
_MOST_WHOLE, _WINDOW_PX, _BLENDED_PX = 4_000_000, 1024, 128


def windows(shape: Sequence[int], geometry: Geometry) -> list[Slices]:
    """Return overlapping boxes for a network that looks at all it is given; one box where the image is small enough.

    They depend on the size of the image alone, never on memory, so that a result does not depend on the machine.
    """
    whole = all(r >= n for r, n in zip(geometry.reach, shape, strict=True))
    if not whole or prod(shape) <= _MOST_WHOLE:
        return [tuple(slice(0, n) for n in shape)]
    rows = []
    for n, d in zip(shape, geometry.divisor, strict=True):
        size = min(-(-_WINDOW_PX // d) * d, n)
        n_windows = max(-(-(n - _BLENDED_PX) // (size - _BLENDED_PX)), 1) if n > size else 1
        places = np.linspace(0, n - size, n_windows)
        rows.append([slice(s, s + size) for s in (int(p) // d * d for p in places)])
    return list(product(*rows))


def weight_of(window: Slices, shape: Sequence[int], geometry: Geometry) -> Singles:
    """Return how much each output of a window counts: less towards sides at which another window goes on."""
    weight = np.ones((), np.float32)
    for s, n, up, down in zip(window, shape, geometry.up, geometry.down, strict=True):
        size = (s.stop - s.start) * up // down
        far = np.arange(size, dtype=np.float32) + 0.5
        ramp = _BLENDED_PX * up / down
        rising = np.clip(far / ramp, 0, 1) if s.start > 0 else np.ones(size, np.float32)
        falling = np.clip(far[::-1] / ramp, 0, 1) if s.stop < n else np.ones(size, np.float32)
        weight = np.multiply.outer(weight, np.minimum(rising, falling))
    return np.asarray(weight, np.float32)


def core_of(shape: Sequence[int], geometry: Geometry, most_pixels: float) -> tuple[int, ...]:
    """Return the lengths of parts that, with their overlap, hold at most so many pixels, and read the fewest in all.

    Never shorter than the divisor, even if that is more.
    """
    cuts = [_cuts(n, d, o) for n, d, o in zip(shape, geometry.divisor, geometry.overlap, strict=True)]
    fitting = [c for c in product(*cuts) if prod(part for _, part, _ in c) <= most_pixels]
    chosen = min(fitting, key=lambda c: prod(total for _, _, total in c)) if fitting else tuple(c[-1] for c in cuts)
    if prod(part for _, part, _ in chosen) == prod(shape):  # a network that sees the whole image gains nothing by parts
        return tuple(shape)
    return tuple(core for core, _, _ in chosen)


#: so many cuts of an axis are all tried; above, each next one twice as many
_EVERY_CUT = 24


def _cuts(n: int, divisor: int, overlap: int) -> list[tuple[int, int, int]]:
    """Return ways to cut an axis: length of a part, most pixels that one reads, and pixels that all read."""
    counts = [*range(1, _EVERY_CUT + 1)]
    while counts[-1] < n // divisor:
        counts.append(2 * counts[-1])
    cores = dict.fromkeys(max(-(-n // (c * divisor)), 1) * divisor for c in counts)
    found = []
    for core in cores:
        reads = [min(s + core + overlap, n) - max(s - overlap, 0) for s in range(0, n, core)]
        found.append((core, max(reads), sum(reads)))
    return found


def halved(core: Sequence[int], divisor: Sequence[int]) -> tuple[int, ...]:
    """Return the lengths with the longest halved, in whole divisors; unchanged where all are at the divisor."""
    place = max(range(len(core)), key=lambda i: core[i] / divisor[i])
    half = max(-(-core[place] // (2 * divisor[place])), 1) * divisor[place]
    return tuple(half if i == place else n for i, n in enumerate(core))
