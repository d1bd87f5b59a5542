"""Flow fields: vectors that lead from each pixel of an object to its middle, and label images from such fields.

References
----------
Stringer et al., Nat. Methods 18, 100 (2021), doi:10.1038/s41592-020-01018-x.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Singles = NDArray[np.float32]

#: steps that pixels walk, and how far apart two middles are at least, in pixels along each axis
_ROUNDS, _APART = 200, 2
#: a middle is where more pixels than this arrive; its crowd reaches so far over pixels where more than so many do
_SEED, _CROWD, _CROWD_REACH = 10, 2, 5


def flows(labels: NDArray[np.generic]) -> Singles:
    """Return unit vectors that lead to the middle of each object.

    Heat flows into the pixel of an object that is nearest to the median of its pixels, and spreads within the object;
    vectors point to where it is warmer.

    Parameters
    ----------
    labels : ndarray of int, shape ([z], y, x)
        0 is background.

    Returns
    -------
    ndarray of float32, shape (ndim, [z], y, x)
        In order of axes; 0 in the background and in parts of an object that do not hang together with its middle.
    """
    from kinocyte.learning._flow_kernel import heat_flows

    ndim = labels.ndim
    if ndim not in {2, 3}:
        msg = f"The label image has {ndim} axes; 2 or 3 are needed."
        raise ParameterError(msg)
    volume = labels.astype(np.int64)[None] if ndim == 2 else labels.astype(np.int64)
    frame = ((0, 0) if ndim == 2 else (1, 1), (1, 1), (1, 1))
    framed = np.pad(volume, frame)
    boxes, middles = _boxes_and_middles(framed)
    out = np.zeros((3, *framed.shape), np.float32)
    heat_flows(framed, boxes, middles, out)
    inner = out[:, slice(None) if ndim == 2 else slice(1, -1), 1:-1, 1:-1]
    return np.ascontiguousarray(inner[1:, 0] if ndim == 2 else inner)


def _boxes_and_middles(labels: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return low and high along each axis of each object, and its pixel nearest to the median of its pixels."""
    places = np.flatnonzero(labels)
    numbers = labels.reshape(-1)[places]
    order = np.argsort(numbers, kind="stable")
    where = np.stack(np.unravel_index(places[order], labels.shape), axis=1).astype(np.int64)
    starts = np.flatnonzero(np.diff(numbers[order], prepend=0) != 0) if order.size else order
    boxes, middles = np.zeros((starts.size, 6), np.int64), np.zeros((starts.size, 3), np.int64)
    for i, own in enumerate(np.split(where, starts[1:])) if starts.size else ():
        boxes[i, ::2], boxes[i, 1::2] = own.min(axis=0), own.max(axis=0) + 1
        middles[i] = own[((own - np.median(own, axis=0)) ** 2).sum(axis=1).argmin()]
    return boxes, middles


def labels_from_flows(
    flow: Singles,
    cell_probability: Singles,
    *,
    probability_threshold: float = 0.5,
    flow_error: float | None = 0.4,
    min_pixels: int = 15,
) -> tuple[NDArray[np.uint32], Singles]:
    """Return the objects whose pixels walk to one place.

    Parameters
    ----------
    flow : ndarray of float32, shape (ndim, [z], y, x)
        Vectors in order of axes, of length 1 within objects.
    cell_probability : ndarray of float32, shape ([z], y, x)
        Between 0 and 1; only pixels above the threshold walk.
    probability_threshold : float
        See above.
    flow_error : float or None
        Objects are left out whose own field (see `flows`) differs from the given one by more than this: the mean of the
        squared length of the difference. None keeps all.
    min_pixels : int
        Smaller objects are left out.

    Returns
    -------
    labels : ndarray of uint32, shape ([z], y, x)
        Numbered without gaps, those with most pixels at one place first; holes are filled.
    quality : ndarray of float32
        Mean probability of the pixels of each object, object 1 first.

    Notes
    -----
    200 Euler steps of the length of the field. Middles are the peaks, in a window of 5 pixels, of how many walkers
    arrive at a pixel, where more than 10 do. A vector or probability that is no number counts as 0.
    """
    ndim = cell_probability.ndim
    if ndim not in {2, 3} or flow.shape != (ndim, *cell_probability.shape):
        msg = f"The field has the shape {flow.shape} for a probability of {cell_probability.shape}; one vector a pixel."
        raise ParameterError(msg)
    shape = cell_probability.shape
    volume = (1, *shape) if ndim == 2 else shape
    chance = np.nan_to_num(np.asarray(cell_probability, np.float32)).reshape(volume)
    starts = np.argwhere(chance > probability_threshold).astype(np.int32)
    if not len(starts):
        return np.zeros(shape, np.uint32), np.zeros(0, np.float32)
    field = np.zeros((3, *volume), np.float32)
    walks = chance > probability_threshold
    field[3 - ndim :] = np.where(walks, np.nan_to_num(flow.reshape(ndim, *volume)), 0)
    labels = _gathered(field, starts)
    labels = _without_small(_filled(labels), min_pixels)
    if flow_error is not None and labels.any():
        labels = _without_strange(labels if ndim == 3 else labels[0], flow, flow_error).reshape(volume)
    sizes = np.bincount(labels.reshape(-1))
    mean = np.bincount(labels.reshape(-1), chance.reshape(-1)) / np.maximum(sizes, 1)
    return labels.reshape(shape), mean[1:].astype(np.float32)


def _gathered(field: Singles, starts: NDArray[np.int32]) -> NDArray[np.uint32]:
    """Return the label image of walkers by the crowd they end in."""
    from scipy import ndimage as ndi

    from kinocyte.learning._flow_kernel import grow_seeds, walk

    ends = np.empty(starts.shape, np.float32)
    walk(field, starts, _ROUNDS, ends)
    at = tuple(np.floor(ends + np.float32(0.5)).astype(np.int64).T)
    volume = field.shape[1:]
    arrived = np.bincount(np.ravel_multi_index(at, volume), minlength=int(np.prod(volume))).astype(np.int32)
    arrived = arrived.reshape(volume)
    peak = (arrived > _SEED) & (arrived == ndi.maximum_filter(arrived, 2 * _APART + 1, mode="constant"))
    seeds = np.argwhere(peak)
    seeds = seeds[np.argsort(-arrived[peak], kind="stable")]
    basin = np.zeros(volume, np.uint32)
    grow_seeds(arrived, seeds, _CROWD_REACH, _CROWD, basin)
    labels = np.zeros(volume, np.uint32)
    labels[tuple(starts.T)] = basin[at]
    return labels


def _filled(labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return labels whose holes, background enclosed by one object in its planes, are filled."""
    from scipy import ndimage as ndi

    out = labels.copy()
    for number, box in enumerate(ndi.find_objects(labels.astype(np.int32)), start=1):
        if box is None:
            continue
        for own, target in zip(labels[box], out[box], strict=True):
            holes = ndi.binary_fill_holes(own == number) & (own == 0)
            target[holes] = number
    return out


def _without_small(labels: NDArray[np.uint32], least: int) -> NDArray[np.uint32]:
    return _only(labels, np.bincount(labels.reshape(-1)) >= max(least, 1))


def _without_strange(labels: NDArray[np.uint32], flow: Singles, most: float) -> NDArray[np.uint32]:
    """Return the objects whose own field is near enough to the given one."""
    off = ((flows(labels) - np.nan_to_num(flow)) ** 2).sum(axis=0).reshape(-1)
    flat = labels.reshape(-1)
    return _only(labels, np.bincount(flat, off) <= most * np.bincount(flat))


def _only(labels: NDArray[np.uint32], stays: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return the objects that stay, numbered without gaps."""
    stays = stays.copy()
    stays[0] = False
    return (np.cumsum(stays) * stays).astype(np.uint32)[labels]
