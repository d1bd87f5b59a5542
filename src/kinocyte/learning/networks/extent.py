"""How large an input of a U-Net must be, and how far it looks; torch is not needed to know."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod


def divisor(ndim: int, *, depth: int, stride: int = 1, flat: int = 0) -> tuple[int, ...]:
    """Return what each length of an input of a U-Net must be a multiple of, in order of axes.

    Parameters
    ----------
    ndim, depth, stride, flat : int
        As `kinocyte.learning.networks.unet.UNet`.
    """
    halvings = stride.bit_length() - 1 + depth
    plane = 2**halvings
    return (2 ** max(halvings - flat, 0), plane, plane) if ndim == 3 else (plane, plane)


def reach(ndim: int, *, depth: int, stride: int = 1, last: bool = False, flat: int = 0) -> tuple[int, ...]:
    """Return how far the farthest input lies that an output of a U-Net depends on, in order of axes.

    Followed back from the output through every layer, for each place an output pixel can have in the coarsest grid.
    The distance is counted from the nearest of the input pixels that the output pixel stands for.

    Parameters
    ----------
    ndim, depth, stride, flat : int
        As `kinocyte.learning.networks.unet.UNet`.
    last : bool
        Whether there is one more convolution before the output.
    """
    n_stem = stride.bit_length() - 1
    found = []
    for axis in range(ndim):
        flat_levels = flat if ndim == 3 and axis == 0 else 0
        factors = [1 if halving < flat_levels else 2 for halving in range(n_stem + depth)]
        grid = prod(factors[:n_stem])
        places = range(prod(factors) // grid)
        spans = [(place, *_seen(place, factors[:n_stem], factors[n_stem:], last=last)) for place in places]
        found.append(max(max(p * grid - low, high - (p * grid + grid - 1)) for p, low, high in spans))
    return tuple(found)


def _seen(place: int, stem: Sequence[int], factors: Sequence[int], *, last: bool) -> tuple[int, int]:
    """Return the first and last input pixel along one axis that an output pixel depends on."""
    low, high = (place - 1, place + 1) if last else (place, place)
    spans = []
    for factor in factors:  # from the finest scale to the coarsest: what the rising half needs of each
        low, high = low - 2, high + 2
        spans.append((low, high))
        low, high = low // factor, high // factor
    for factor, (beside_low, beside_high) in zip(reversed(factors), reversed(spans), strict=True):
        low, high = low - 2, high + 2
        low, high = low * factor, high * factor + factor - 1
        low, high = min(low, beside_low), max(high, beside_high)
    low, high = low - 2, high + 2
    for factor in reversed(stem):
        low, high = low * factor, high * factor + factor - 1
        low, high = low - 2, high + 2
    return low, high
