"""How the objects of two label images overlap: areas, centres and shared pixels, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Label images of a movie: an array (t, ...), one array per frame, or a function of the frame.
LabelImages = Sequence[NDArray[Any]] | NDArray[Any] | Callable[[int], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Regions:
    """Objects of one label image, sorted by label."""

    label: Ints
    area_px: Ints
    centre_px: Floats
    """(n, ndim), order (z) y x, first pixel centre = 0."""


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Objects of two label images and what they share; pairs are sorted by reference, then result."""

    reference: Regions
    result: Regions
    pair_reference: Ints
    """Index into ``reference`` of each overlapping pair."""
    pair_result: Ints
    shared_px: Ints

    @property
    def iou(self) -> Floats:
        """Intersection over union of each pair."""
        union = self.reference.area_px[self.pair_reference] + self.result.area_px[self.pair_result] - self.shared_px
        return self.shared_px / union

    @property
    def covered(self) -> Floats:
        """Share of the reference object that the result object covers, of each pair."""
        return self.shared_px / self.reference.area_px[self.pair_reference]


def frame_of(images: LabelImages, t: int) -> NDArray[Any]:
    """Return the label image of a frame."""
    return np.asarray(images(t) if callable(images) else images[t])


def unique_pairs(left: Ints, right: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the pairs that occur, sorted, where each given pair is among them, and how often each occurs.

    As ``numpy.unique`` along rows, and much quicker; values are 0 or positive.
    """
    width = int(right.max()) + 1 if len(right) else 1
    if len(left) and int(left.max()) >= np.iinfo(np.int64).max // width:
        # labels near 2**63 do not fit beside each other
        first, left = np.unique(left, return_inverse=True)
        second, right = np.unique(right, return_inverse=True)
        i, j, where, count = unique_pairs(left, right)
        return first[i], second[j], where, count
    pairs, where, count = np.unique(left * width + right, return_inverse=True, return_counts=True)
    i, j = np.divmod(pairs, width)
    return i, j, where, np.asarray(count, np.int64)


def count_frames(images: LabelImages, frames: int | None, *, name: str) -> int:
    """Return the number of frames of a movie.

    Raises
    ------
    ParameterError
        If the images are a function and no number is given, or the number contradicts the images.
    """
    if callable(images):
        if frames is None:
            msg = f"The label images of the {name} are a function; give the number of frames."
            raise ParameterError(msg)
        return frames
    if frames is not None and frames != len(images):
        msg = f"The {name} has {len(images)} label images, not {frames}."
        raise ParameterError(msg)
    return len(images)


def as_labels(image: NDArray[Any], *, name: str) -> NDArray[Any]:
    """Return a label image as it is, or say what is wrong with it.

    Raises
    ------
    ParameterError
        If the values are not whole numbers from 0 to 2**63 - 1.
    """
    if image.dtype == np.bool_:
        return image.view(np.uint8)
    if image.dtype.kind not in "ui":
        msg = f"The label image of the {name} holds {image.dtype} values; labels are whole numbers."
        raise ParameterError(msg)
    if image.dtype.kind == "i" and image.size and int(image.min()) < 0:
        msg = f"The label image of the {name} holds the label {int(image.min())}; labels are 0 or positive."
        raise ParameterError(msg)
    if image.dtype == np.uint64 and image.size and int(image.max()) > np.iinfo(np.int64).max:
        msg = f"The label image of the {name} holds the label {int(image.max())}; the largest is 2**63 - 1."
        raise ParameterError(msg)
    return image


def overlaps(reference: NDArray[Any], result: NDArray[Any]) -> Overlaps:
    """Count the pixels that the objects of two label images share.

    Parameters
    ----------
    reference, result : array of integers
        Label images of equal shape, (y, x) or (z, y, x); 0 is background. Labels need not be consecutive.

    Returns
    -------
    Overlaps
        Every pair that shares at least one pixel.

    Raises
    ------
    ParameterError
        If the shapes differ or the values are no labels.
    """
    reference, result = np.asarray(reference), np.asarray(result)
    if reference.shape != result.shape:
        msg = f"The label images differ in shape: reference {reference.shape}, result {result.shape}."
        raise ParameterError(msg)
    a = as_labels(reference, name="reference").ravel()
    b = as_labels(result, name="result").ravel()
    start, length = _runs(a, b, reference.shape)
    a, b = a[start].astype(np.int64), b[start].astype(np.int64)
    regions_a, index_a = _regions(a, start, length, reference.shape)
    regions_b, index_b = _regions(b, start, length, reference.shape)
    both = (a > 0) & (b > 0)
    key = index_a[both] * max(len(regions_b.label), 1) + index_b[both]
    pair, where = np.unique(key, return_inverse=True)
    shared = np.bincount(where, length[both], len(pair)).astype(np.int64)
    i, j = np.divmod(pair, max(len(regions_b.label), 1))
    return Overlaps(regions_a, regions_b, i, j, shared)


def regions(labels: NDArray[Any], *, name: str = "result") -> Regions:
    """Return label, area and centre of the objects of one label image; errors as `overlaps`."""
    flat = as_labels(np.asarray(labels), name=name)
    start, length = _runs(flat.ravel(), None, flat.shape)
    return _regions(flat.ravel()[start].astype(np.int64), start, length, flat.shape)[0]


def _runs(a: NDArray[Any], b: NDArray[Any] | None, shape: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Return start and length of stretches along x in which neither image changes, without pure background."""
    if a.size == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    change = np.empty(a.size, np.bool_)
    np.not_equal(a[1:], a[:-1], out=change[1:])
    if b is not None:
        change[1:] |= b[1:] != b[:-1]
    change[:: shape[-1]] = True
    start = np.flatnonzero(change)
    length = np.diff(start, append=a.size)
    some = a[start] > 0
    if b is not None:
        some |= b[start] > 0
    return start[some], length[some]


def _regions(values: Ints, start: Ints, length: Ints, shape: tuple[int, ...]) -> tuple[Regions, Ints]:
    """Return the objects and, for each run, the index of its object (meaningless where the run is background)."""
    inside = values > 0
    label, of_run = np.unique(values[inside], return_inverse=True)
    weight = length[inside].astype(np.float64)
    area = np.bincount(of_run, weight, len(label))
    *outer, x = np.unravel_index(start[inside], shape)
    middle = [axis.astype(np.float64) for axis in outer] + [x + (weight - 1) / 2]
    centre = [np.bincount(of_run, m * weight, len(label)) / area for m in middle]
    index = np.zeros(len(values), np.int64)
    index[inside] = of_run
    return Regions(label, area.astype(np.int64), np.stack(centre, axis=-1).reshape(-1, len(shape))), index
