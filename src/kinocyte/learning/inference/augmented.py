"""Outputs averaged over the orientations of an image."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.learning.inference.tiles import Geometry
from kinocyte.learning.model import ImageModel
from kinocyte.learning.tasks.base import Task

Singles = NDArray[np.float32]
#: an orientation: which axis comes where, and which axes are then mirrored
Orientation = tuple[tuple[int, ...], tuple[bool, ...]]


def orientations(geometry: Geometry) -> list[Orientation]:
    """Return the orientations in the plane: mirrored along y and x, and transposed where the network allows it."""
    n = len(geometry.divisor)
    same = tuple(range(n))
    swapped = (*same[:-2], n - 1, n - 2)
    square = all(pair[-1] == pair[-2] for pair in (geometry.divisor, geometry.reach, geometry.up, geometry.down))
    flips = [(*(False,) * (n - 2), y, x) for y, x in product((False, True), repeat=2)]
    return [(order, flip) for order in ((same, swapped) if square else (same,)) for flip in flips]


def augmented_output(
    model: ImageModel, x: Singles, geometry: Geometry, compute: Callable[[Singles], Singles]
) -> Singles:
    """Return the mean output over the orientations of a normalised image.

    Outputs that point somewhere (distances along rays, flows) are turned back with the image. Where one output stands
    for several pixels, images are lengthened before they are mirrored, so that outputs stand for the same pixels.

    Parameters
    ----------
    model : ImageModel
        Its task says what outputs mean.
    x : ndarray of float32, shape (channels, [z], y, x)
        Normalised.
    geometry : Geometry
        Of the network.
    compute : callable
        Returns the output of a whole image.

    Raises
    ------
    ParameterError
        If it is not known how outputs of the task turn: the task then has no method ``turned_back``.
    """
    shape = geometry.output_shape(x.shape[1:])
    total = np.zeros(0, np.float32)
    every = orientations(geometry)
    for order, flip in every:
        said = compute(_turned(x, order, flip, geometry))
        back = _upright(said, order, flip)[(slice(None), *(slice(0, n) for n in shape))]
        meant = _outputs_back(model.task, back, _matrix(order, flip))
        total = meant if total.size == 0 else total + meant
    return (total / np.float32(len(every))).astype(np.float32)


def _turned(x: Singles, order: tuple[int, ...], flip: tuple[bool, ...], geometry: Geometry) -> Singles:
    more = [(0, 0)]
    for n, down, turned in zip(x.shape[1:], geometry.down, _flipped_axes(order, flip), strict=True):
        more.append((0, (-(n - 1)) % down if turned and down > 1 else 0))
    wide = np.pad(x, more, mode="symmetric") if any(m for _, m in more) else x
    wide = wide.transpose((0, *(o + 1 for o in order)))
    return np.ascontiguousarray(wide[(slice(None), *(slice(None, None, -1 if f else 1) for f in flip))])


def _flipped_axes(order: tuple[int, ...], flip: tuple[bool, ...]) -> tuple[bool, ...]:
    """Return which axes of the upright image are mirrored."""
    return tuple(flip[order.index(axis)] for axis in range(len(order)))


def _upright(said: Singles, order: tuple[int, ...], flip: tuple[bool, ...]) -> Singles:
    straight = said[(slice(None), *(slice(None, None, -1 if f else 1) for f in flip))]
    return straight.transpose((0, *(order.index(axis) + 1 for axis in range(len(order)))))


def _matrix(order: tuple[int, ...], flip: tuple[bool, ...]) -> NDArray[np.float64]:
    """Return what takes directions in the image to directions in the turned image."""
    matrix = np.zeros((len(order), len(order)))
    for axis, (source, mirrored) in enumerate(zip(order, flip, strict=True)):
        matrix[axis, source] = -1.0 if mirrored else 1.0
    return matrix


def _outputs_back(task: Task, said: Singles, matrix: NDArray[np.float64]) -> Singles:
    """Return the output of a turned image, already upright, as one of the image itself."""
    own = getattr(task, "turned_back", None)
    if own is not None:
        return np.asarray(own(said, matrix), np.float32)
    if hasattr(task, "rays"):
        index, share = task.rays(said.ndim - 1).turned(matrix)
        lengths = sum(share[:, k, *(None,) * (said.ndim - 1)].astype(np.float32) * said[1 + index[:, k]]
                      for k in range(index.shape[1]))  # fmt: skip
        return np.concatenate([said[:1], np.asarray(lengths, np.float32)])
    if _gives_flows(task):
        vectors = np.tensordot(matrix.T.astype(np.float32), said[1:], axes=1)
        return np.concatenate([said[:1], vectors])
    if task.result == "labels" and task.name() not in {"denoise_segment", "boundary"}:
        msg = f"It is not known how the outputs of the task '{task.name()}' turn with an image; leave augment out."
        raise ParameterError(msg)
    return said


def _gives_flows(task: Task) -> bool:
    from kinocyte.learning.tasks.flows import Flows

    return isinstance(task, Flows)
