"""Arithmetic with label images: combine several, split, fill, grow, shrink, remove, clear the border, renumber.

Every function returns a new uint32 label image of the same shape, numbered 1..n in the order in which a walk along the
rows meets the first pixel of each object. Any integer dtype goes in; 0 is background.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation import components
from kinocyte.segmentation.components import Connectivity, Labels
from kinocyte.segmentation.distance import squared_distance


class Overlaps(NamedTuple):
    """Pairs of objects of two label images that share pixels, sorted by the first and then the second object."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    pixels: NDArray[np.int64]
    iou: NDArray[np.float64]


def relabel(labels: NDArray[Any]) -> Labels:
    """Return the label image numbered 1..n without gaps."""
    return components.renumber(_checked(labels))[0]


def overlaps(first: Labels, second: Labels) -> Overlaps:
    """Return which objects of two label images overlap, and how much.

    Parameters
    ----------
    first, second : array of uint32
        Label images of one shape, numbered 1..n.
    """
    na, nb = int(first.max(initial=0)) + 1, int(second.max(initial=0)) + 1
    a, b = first.reshape(-1), second.reshape(-1)
    both = (a > 0) & (b > 0)
    pair, pixels = np.unique(a[both].astype(np.int64) * nb + b[both], return_counts=True)
    i, j = np.divmod(pair, nb)
    union = np.bincount(a, minlength=na)[i] + np.bincount(b, minlength=nb)[j] - pixels
    return Overlaps(i, j, pixels, pixels / union)


def combine(
    images: Sequence[NDArray[Any]],
    how: Literal["union", "majority", "intersection", "priority"] = "union",
    *,
    min_iou: float = 0.3,
    max_overlap: float = 0.5,
) -> Labels:
    """Return one label image made from several of the same frame.

    Under union, majority and intersection an object of one image and one of another are the same when their
    intersection over union reaches ``min_iou``; each object finds at most one partner in each other image, the most
    similar pair first. A pixel then belongs to the object that most images put there: any image is enough for a union,
    more than half are needed for a majority, all for an intersection. Of a tie the earlier image has it. The union of
    the red and the green nuclei of a FUCCI movie is the mask of all nuclei.

    Under priority the objects of an earlier image stay as they are; one of a later image is added where pixels are
    free, unless more than ``max_overlap`` of it is taken.

    Parameters
    ----------
    images : sequence of array
        At least one label image, all of one shape.
    how : {'union', 'majority', 'intersection', 'priority'}
        The rule.
    min_iou : float
        0 to 1.
    max_overlap : float
        0 to 1.

    Raises
    ------
    ParameterError
        If there is no image or their shapes differ.
    """
    if not images:
        msg = "combine needs at least one label image."
        raise ParameterError(msg)
    if any(i.shape != images[0].shape for i in images):
        msg = f"combine needs label images of one shape, not {', '.join(str(i.shape) for i in images)}."
        raise ParameterError(msg)
    layers = [relabel(i) for i in images]
    if how == "priority":
        return _by_priority(layers, max_overlap)
    needed = {"union": 1, "majority": len(layers) // 2 + 1, "intersection": len(layers)}[how]
    groups = _grouped(layers, min_iou)
    best, votes = np.zeros(layers[0].shape, np.uint32), np.zeros(layers[0].shape, np.int32)
    for mine in groups:
        count = sum((other == mine).astype(np.int32) for other in groups)
        wins = (mine > 0) & (count > votes)
        best[wins], votes[wins] = mine[wins], count[wins]
    return relabel(np.where(votes >= needed, best, 0))


def _by_priority(layers: Sequence[Labels], max_overlap: float) -> Labels:
    out = layers[0]
    for layer in layers[1:]:
        n = int(layer.max(initial=0))
        total = components.pixel_counts(layer, n)
        taken = components.pixel_counts(np.where(out > 0, layer, 0).astype(np.uint32), n)
        added = np.concatenate(([False], taken <= max_overlap * total))[layer] & (out == 0)
        out = np.where(added, layer + out.max(initial=0), out).astype(np.uint32)
    return relabel(out)


def _grouped(layers: Sequence[Labels], min_iou: float) -> list[Labels]:
    """Return the layers with the same number for the same object, found from the most similar pair downwards."""
    start = np.cumsum([0] + [int(layer.max(initial=0)) for layer in layers])
    links: list[tuple[float, int, int]] = []
    for i, first in enumerate(layers):
        for j in range(i + 1, len(layers)):
            found = overlaps(first, layers[j])
            keep = found.iou >= min_iou
            ends = zip(found.first[keep] - 1 + start[i], found.second[keep] - 1 + start[j], strict=True)
            links += [(-float(v), int(a), int(b)) for v, (a, b) in zip(found.iou[keep], ends, strict=True)]
    layer_of = np.repeat(np.arange(len(layers)), np.diff(start))
    group = list(range(int(start[-1])))
    members = {k: [k] for k in group}
    for _, a, b in sorted(links):
        low, high = sorted((group[a], group[b]))
        if low == high or {layer_of[m] for m in members[low]} & {layer_of[m] for m in members[high]}:
            continue
        for m in members.pop(high):
            group[m] = low
            members[low].append(m)
    number = np.array(group, dtype=np.uint32) + 1
    return [
        np.concatenate((np.zeros(1, np.uint32), number[start[i] : start[i + 1]]))[layer]
        for i, layer in enumerate(layers)
    ]


def split_parts(labels: NDArray[Any], connectivity: Connectivity = "full") -> Labels:
    """Return the label image in which each connected part of an object is an object of its own."""
    from skimage.measure import label

    whole = relabel(labels)
    if whole.size == 0:
        return whole
    parts = label(whole.astype(np.int64), background=0, connectivity=1 if connectivity == "face" else whole.ndim)
    return relabel(parts)


def keep_largest_part(labels: NDArray[Any], connectivity: Connectivity = "full") -> Labels:
    """Return the label image with the largest connected part of each object only; of equal parts the first."""
    whole, parts = relabel(labels), split_parts(labels, connectivity)
    n = int(parts.max(initial=0))
    size = components.pixel_counts(parts, n)
    part, first = np.unique(parts, return_index=True)
    owner = whole.reshape(-1)[first[part > 0]]
    order = np.lexsort((np.arange(n), -size, owner))
    best = np.zeros(n, bool)
    best[order[np.concatenate(([True], np.diff(owner[order].astype(np.int64)) != 0))[:n]]] = True
    return relabel(components.keep(parts, best)[0])


def fill_holes(labels: NDArray[Any], max_hole_px: float = np.inf) -> Labels:
    """Return the label image with the holes of each object filled.

    A hole is a connected part of the background (over edges of pixels, faces in 3D) that neither reaches the border nor
    touches a second object; one between several objects stays open.

    Parameters
    ----------
    labels : array of int
        Label image.
    max_hole_px : float
        Holes with more pixels stay open.
    """
    whole = relabel(labels)
    gaps, n = components.label(whole == 0, "face")
    around: list[NDArray[np.int64]] = []
    for axis in range(whole.ndim):
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(whole.ndim))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(whole.ndim))
        for here, there in ((low, high), (high, low)):
            meet = (gaps[here] > 0) & (whole[there] > 0)
            around.append(np.stack([gaps[here][meet], whole[there][meet]], axis=1).astype(np.int64))
    pairs = np.unique(np.concatenate(around), axis=0)
    single = np.bincount(pairs[:, 0], minlength=n + 1) == 1
    single[1:] &= components.pixel_counts(gaps, n) <= max_hole_px
    for axis in range(whole.ndim):
        for edge in (0, -1):
            if whole.shape[axis]:
                single[np.take(gaps, edge, axis=axis)] = False
    owner = np.zeros(n + 1, np.uint32)
    pairs = pairs[single[pairs[:, 0]]]
    owner[pairs[:, 0]] = pairs[:, 1]
    return relabel(np.maximum(whole, owner[gaps]))


def grow(labels: NDArray[Any], distance_um: float, scale: Scale) -> Labels:
    """Return the label image whose objects take the background within a distance; the nearest object has it.

    Parameters
    ----------
    labels : array of int
        Label image, (y, x) or (z, y, x).
    distance_um : float
        From the centre of a pixel to that of the nearest pixel of the object.
    scale : Scale
        Calibration.
    """
    from scipy import ndimage as ndi

    whole = relabel(labels)
    if distance_um <= 0 or not whole.any():
        return whole
    away, nearest = ndi.distance_transform_edt(whole == 0, sampling=scale.spacing_um(whole.ndim), return_indices=True)
    return relabel(np.where(away <= distance_um * (1 + 1e-9), whole[tuple(nearest)], 0))


def shrink(labels: NDArray[Any], distance_um: float, scale: Scale) -> Labels:
    """Return the label image whose objects lose the pixels within a distance of anything else; small ones vanish.

    What lies beyond the frame takes nothing away.

    Parameters
    ----------
    labels : array of int
        Label image, (y, x) or (z, y, x).
    distance_um : float
        From the centre of a pixel to that of the nearest pixel that is not of the object.
    scale : Scale
        Calibration.
    """
    from scipy import ndimage as ndi

    whole = relabel(labels)
    out = np.zeros_like(whole)
    if not whole.any():
        return out
    spacing = scale.spacing_um(whole.ndim)
    for i, box in enumerate(ndi.find_objects(whole), start=1):
        wide = tuple(slice(max(s.start - 1, 0), min(s.stop + 1, k)) for s, k in zip(box, whole.shape, strict=True))
        mask = whole[wide] == i
        inner = squared_distance(mask, spacing) > (distance_um * (1 + 1e-9)) ** 2
        out[wide][mask & inner] = i
    return relabel(out)


def remove(labels: NDArray[Any], ids: Iterable[int]) -> Labels:
    """Return the label image without the objects of these values; values that do not occur are passed over."""
    wanted = _checked(labels)
    return relabel(np.where(np.isin(wanted, np.fromiter(ids, dtype=np.int64)), 0, wanted))


def keep_only(labels: NDArray[Any], ids: Iterable[int]) -> Labels:
    """Return the label image with the objects of these values only."""
    wanted = _checked(labels)
    return relabel(np.where(np.isin(wanted, np.fromiter(ids, dtype=np.int64)), wanted, 0))


def remove_by_size(
    labels: NDArray[Any], scale: Scale, *, smallest: float | None = None, largest: float | None = None
) -> Labels:
    """Return the label image without objects below or above a size in um2, or um3 in 3D; limits are kept.

    Parameters
    ----------
    labels : array of int
        Label image, (y, x) or (z, y, x).
    scale : Scale
        Calibration.
    smallest, largest : float, optional
        Limits; None sets none.
    """
    whole = relabel(labels)
    n = int(whole.max(initial=0))
    pixel = float(np.prod(scale.spacing_um(whole.ndim)))
    size = components.pixel_counts(whole, n) * pixel
    low = 0.0 if smallest is None else smallest
    high = np.inf if largest is None else largest
    return components.keep(whole, (size >= low - 1e-9 * pixel) & (size <= high + 1e-9 * pixel))[0]


def clear_border(labels: NDArray[Any], scale: Scale, distance_um: float = 0.0) -> Labels:
    """Return the label image without objects that come within a distance of a side of the frame.

    Parameters
    ----------
    labels : array of int
        Label image, (y, x) or (z, y, x); in 3D only the four lateral sides count.
    scale : Scale
        Calibration.
    distance_um : float
        0 removes the objects that touch a side.
    """
    whole = relabel(labels)
    n = int(whole.max(initial=0))
    gap = components.gap_to_border_um(whole, n, scale.spacing_um(whole.ndim))
    return components.keep(whole, gap > distance_um)[0]


def _checked(labels: NDArray[Any]) -> NDArray[Any]:
    out = np.asarray(labels)
    if out.dtype.kind not in "biu" or out.ndim not in {2, 3}:
        msg = f"A label image holds whole numbers and is (y, x) or (z, y, x), not {out.dtype} of shape {out.shape}."
        raise ParameterError(msg)
    return out.astype(np.uint8) if out.dtype.kind == "b" else out
