"""Boxes of a frame: cutting them out, and joining labels that touch across their sides."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Box = tuple[tuple[int, int], ...]


def cut(image: Any, box: Box) -> NDArray[Any]:
    """Return the pixels of a box, read from wherever the image lies."""
    return np.asarray(image[slices(box)])


def slices(box: Box) -> tuple[slice, ...]:
    """Return a box as what an array is indexed with."""
    return tuple(slice(a, b) for a, b in box)


def wider(box: Box, margin: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """Return the box with a margin, as far as the frame goes."""
    return tuple((max(a - m, 0), min(b + m, n)) for (a, b), m, n in zip(box, margin, shape, strict=True))


def inside(box: Box, wide: Box) -> Box:
    """Return where the box lies in the wider one."""
    return tuple((a - w, b - w) for (a, b), (w, _) in zip(box, wide, strict=True))


def finite(image: NDArray[Any], channel: str) -> NDArray[Any]:
    """Return the image, refused where it holds NaN or inf: what replaces them is a property of the whole frame."""
    if image.dtype.kind == "b":
        return image.astype(np.uint8)
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        msg = f"Channel '{channel}' holds NaN or inf, which tiles cannot replace; segment the frame as a whole."
        raise ParameterError(msg)
    return image


def touching(labels: Any, box: Box, full: bool) -> Iterator[NDArray[np.int64]]:
    """Yield the pairs of labels that touch across the far sides of a box, (pairs, 2)."""
    for axis, ((_, end), n) in enumerate(zip(box, labels.shape, strict=True)):
        if end >= n:
            continue
        slab = tuple((end - 1, end + 1) if a == axis else (lo, hi) for a, (lo, hi) in enumerate(box))
        slab = wider(slab, tuple(0 if a == axis else 1 for a in range(len(box))), labels.shape)
        pixels = cut(labels, slab)
        near, far = np.take(pixels, 0, axis=axis), np.take(pixels, 1, axis=axis)
        for step in product((-1, 0, 1) if full else (0,), repeat=near.ndim):
            here = tuple(slice(max(-s, 0), k - max(s, 0)) for s, k in zip(step, near.shape, strict=True))
            there = tuple(slice(max(s, 0), k - max(-s, 0)) for s, k in zip(step, near.shape, strict=True))
            both = (near[here] > 0) & (far[there] > 0)
            yield np.unique(np.stack([near[here][both], far[there][both]], axis=1).astype(np.int64), axis=0)
