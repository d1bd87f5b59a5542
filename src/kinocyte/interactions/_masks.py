"""The masks of a frame, prepared for the kernels: outlines, boxes, contacts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.crofton import border_per_line, earlier_steps
from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.interactions._masks_kernel import closest_of_pairs, contacts, outline_pixels

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Masks:
    """The objects of one label image.

    Attributes
    ----------
    image : array of uint32, (z, y, x)
        Labels; z is 1 in 2D.
    labels : array of int64, (n,)
        Values present, ascending.
    outline : array of int32, (p, 3)
        z, y, x of outline pixels, object after object.
    starts : array of int64, (n + 1,)
        Where each object's outline begins.
    boxes : array of int64, (n, 6)
        First and last z, y, x of the outline.
    ndim : int
        2 or 3.
    """

    image: NDArray[np.uint32]
    labels: Ints
    outline: NDArray[np.int32]
    starts: Ints
    boxes: Ints
    ndim: int


def read_masks(source: Callable[[int], NDArray[np.uint32]], frame: int) -> Masks:
    """Return the masks of a frame.

    Raises
    ------
    ParameterError
        If the image is neither 2D nor 3D or does not hold whole numbers from 0.
    """
    given = np.asarray(source(frame))
    if given.ndim not in {2, 3} or given.dtype.kind not in "uib":
        msg = (
            f"The label image of frame {frame} has {given.ndim} axes and the type {given.dtype}; "
            "give (y, x) or (z, y, x) of whole numbers."
        )
        raise ParameterError(msg)
    if given.dtype.kind == "i" and given.size and int(given.min()) < 0:
        msg = f"The label image of frame {frame} holds the label {int(given.min())}; labels begin at 1."
        raise ParameterError(msg)
    image = np.ascontiguousarray(given, dtype=np.uint32)
    if image.ndim == 2:
        image = image[np.newaxis]
    pixels = outline_pixels(image, earlier_steps(given.ndim))
    values = image[pixels[:, 0], pixels[:, 1], pixels[:, 2]].astype(np.int64)
    order = np.argsort(values, kind="stable")
    labels, first = np.unique(values[order], return_index=True)
    outline = np.ascontiguousarray(pixels[order])
    boxes = np.zeros((len(labels), 6), np.int64)
    if len(labels):
        boxes[:, :3] = np.minimum.reduceat(outline, first, axis=0)
        boxes[:, 3:] = np.maximum.reduceat(outline, first, axis=0)
    starts = np.append(first, len(outline)).astype(np.int64)
    return Masks(image, labels, outline, starts, boxes, given.ndim)


def edge_distances(reference: Masks, neighbour: Masks, pairs: Ints, scale: Scale) -> Floats:
    """Return the distance (um) of each pair of labels (n, 2), NaN where a label is not in its image."""
    check_shapes(reference, neighbour)
    rows = np.stack([index_of(reference.labels, pairs[:, 0]), index_of(neighbour.labels, pairs[:, 1])], axis=1)
    out = np.full(len(pairs), np.nan)
    known = (rows >= 0).all(axis=1)
    out[known] = closest_of_pairs(
        np.ascontiguousarray(rows[known]),
        (reference.outline, neighbour.outline),
        (reference.starts, neighbour.starts),
        (reference.boxes, neighbour.boxes),
        size_um(reference.ndim, scale),
    )
    shared, _ = overlaps(reference, neighbour)
    if len(shared):
        out[_among(pairs, shared)] = 0.0
    return out


@dataclass(frozen=True, slots=True)
class Contacts:
    """Pairs of labels that touch, (n, 2), with distance, border in contact and common pixels, (n,)."""

    pairs: Ints
    near_um: Floats
    border: Floats
    border_fraction: Floats
    common_px: Ints


def touching(reference: Masks, neighbour: Masks, tolerance_um: float, scale: Scale) -> Contacts:
    """Return the pairs of objects whose masks are at most so far apart."""
    check_shapes(reference, neighbour)
    ndim, size = reference.ndim, size_um(reference.ndim, scale)
    # a line crosses a closed border twice
    per_crossing = border_per_line(ndim, scale.spacing_um(ndim)) / 2.0
    touched, near, border, total = contacts(
        (reference.image, neighbour.image),
        reference.outline,
        reference.starts,
        _window(tolerance_um, size, reference.image.shape),
        (earlier_steps(ndim), per_crossing),
        size,
        tolerance_um,
        reference is neighbour,
    )
    common = np.zeros(len(touched), np.int64)
    pairs = np.stack([reference.labels[touched[:, 0]], touched[:, 1]], axis=1)
    shared, counts = overlaps(reference, neighbour)
    if len(shared):
        # a mask that lies wholly inside the other one is met by no window
        missing = shared[~_among(shared, pairs)]
        pairs = np.concatenate([pairs, missing])
        near, border = (np.concatenate([v, np.zeros(len(missing))]) for v in (near, border))
        table = {(a, b): n for (a, b), n in zip(shared.tolist(), counts.tolist(), strict=True)}
        common = np.array([table.get((a, b), 0) for a, b in pairs.tolist()], np.int64)
        near = np.where(common > 0, 0.0, near)
    whole = np.concatenate([total, [0.0]])[index_of(reference.labels, pairs[:, 0])]
    fraction = np.divide(border, whole, out=np.full(len(border), np.nan), where=whole > 0)
    return Contacts(pairs, near, border, fraction, common)


def overlaps(reference: Masks, neighbour: Masks) -> tuple[Ints, Ints]:
    """Return the pairs of labels that share pixels, (n, 2), and how many; none within one image."""
    nothing = np.empty((0, 2), np.int64), np.empty(0, np.int64)
    if reference is neighbour:
        return nothing
    both = (reference.image != 0) & (neighbour.image != 0)
    if not both.any():
        return nothing
    code = reference.image[both].astype(np.uint64) << np.uint64(32) | neighbour.image[both].astype(np.uint64)
    codes, counts = np.unique(code, return_counts=True)
    pairs = np.stack([codes >> np.uint64(32), codes & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)
    return pairs, counts.astype(np.int64)


def sizes(masks: Masks, labels: Ints) -> Ints:
    """Return the number of pixels of each label."""
    values, counts = np.unique(masks.image, return_counts=True)
    at = index_of(values.astype(np.int64), labels)
    return np.where(at >= 0, counts[at], 0)


def size_um(ndim: int, scale: Scale) -> Floats:
    """Return the size of a pixel (z, y, x); z counts for nothing in 2D."""
    return np.array(((1.0,) if ndim == 2 else ()) + scale.spacing_um(ndim))


def index_of(ordered: Ints, wanted: Ints) -> Ints:
    """Return where each value stands in an ascending array, -1 where it does not."""
    if not len(ordered):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return np.where(ordered[at] == wanted, at, -1)


def check_shapes(reference: Masks, neighbour: Masks) -> None:
    """Refuse label images that do not lie on each other."""
    if reference.image.shape != neighbour.image.shape or reference.ndim != neighbour.ndim:
        a, b = (m.image.shape[3 - m.ndim :] for m in (reference, neighbour))
        msg = f"The label images of both populations have the shapes {a} and {b}; give images of one shape."
        raise ParameterError(msg)


def _among(pairs: Ints, others: Ints) -> NDArray[np.bool_]:
    """Tell for each pair whether it is one of the others; labels fit into 32 bits."""
    codes = [(p[:, 0].astype(np.uint64) << np.uint64(32)) | p[:, 1].astype(np.uint64) for p in (pairs, others)]
    return np.isin(codes[0], codes[1])


def _window(tolerance_um: float, size: Floats, shape: tuple[int, ...]) -> Ints:
    """Return the steps to all pixels within the tolerance, itself included, nearest first."""
    reach = [min(int(tolerance_um / s + 1e-9) + 1, n - 1) for s, n in zip(size, shape, strict=True)]
    steps = np.array(list(product(*(range(-r, r + 1) for r in reach))), np.int64).reshape(-1, 3)
    square = ((np.maximum(np.abs(steps) - 1, 0) * size) ** 2).sum(axis=1)
    near = square <= tolerance_um**2 * (1 + 1e-9)
    centre = (steps**2).sum(axis=1)
    order = np.lexsort((centre[near], square[near]))
    return np.ascontiguousarray(steps[near][order])
