"""Star-convex shapes: what networks learn of them, and label images from what they say.

An object is described from each of its pixels by how far it reaches along a fixed set of rays; a network predicts these
distances and how deep inside an object a pixel lies. Of the many shapes proposed for one object the likeliest is kept.

References
----------
Schmidt et al., MICCAI (2018), doi:10.1007/978-3-030-00934-2_30 (planes).
Weigert et al., WACV (2020), doi:10.1109/WACV45572.2020.9093435 (volumes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Singles = NDArray[np.float32]

#: lines along each axis on which two shapes are compared, at least and at most
_PLANE_LINES, _VOLUME_LINES = (24, 96), (10, 24)
#: where along a ray, as shares of its length, other pixels are asked how far the edge is, and how deep they must lie
_ASKED_AT, _ASKED_WITHIN = (0.3, 0.6, 0.8), 0.1


@dataclass(frozen=True, eq=False)
class Rays:
    """Directions from a centre to the edge of an object.

    Attributes
    ----------
    directions : ndarray of float64, shape (n, 2) or (n, 3)
        Unit vectors in pixels, in order of axes ((z), y, x).
    faces : ndarray of int64, shape (m, 3)
        Triangles of ray numbers that close a volume; none in the plane, where neighbours in order are joined.
    """

    directions: NDArray[np.float64]
    faces: NDArray[np.int64]

    @property
    def ndim(self) -> int:
        """Return 2 or 3."""
        return int(self.directions.shape[1])

    def __len__(self) -> int:
        """Return how many rays there are."""
        return len(self.directions)

    def turned(self, matrix: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return how distances in a turned or mirrored image read along our rays.

        Parameters
        ----------
        matrix : ndarray, shape (ndim, ndim)
            Takes directions in the image to directions in the turned image.

        Returns
        -------
        (indices, shares) : ndarrays, shape (n, ndim)
            The distance along ray k is the sum of ``shares[k]`` times the distances along rays ``indices[k]`` of the
            turned image: one ray where the set of rays is its own image, else those of the face (in the plane the
            neighbours) that ray k falls into.
        """
        wanted = self.directions @ np.asarray(matrix, np.float64).T
        corners = self.faces
        if self.ndim == 2:
            corners = np.stack([np.arange(len(self)), np.roll(np.arange(len(self)), -1)], axis=1)
        frames = np.swapaxes(self.directions[corners], 1, 2)  # columns: the corners of each face
        shares = np.einsum("fij,kj->kfi", np.linalg.inv(frames), wanted)
        best = shares.min(axis=2).argmax(axis=1)  # a ray lies in the cone of the face where no share is negative
        found = np.clip(shares[np.arange(len(self)), best], 0.0, None)
        found /= found.sum(axis=1, keepdims=True)
        found = np.where(found > 1 - 1e-9, 1.0, np.where(found < 1e-9, 0.0, found))
        return corners[best], found


@cache
def rays_2d(n: int = 32) -> Rays:
    """Return n rays in the plane, evenly spaced, the first along x, the next turned towards larger y.

    Raises
    ------
    ParameterError
        If there are fewer than three.
    """
    if n < 3:
        msg = f"n is {n}; a polygon has at least 3 rays."
        raise ParameterError(msg)
    angle = 2 * np.pi * np.arange(n) / n
    return Rays(np.stack([np.sin(angle), np.cos(angle)], axis=1), np.zeros((0, 3), np.int64))


@cache
def rays_3d(n: int = 96, anisotropy: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Rays:
    """Return n rays in space along a golden spiral.

    Parameters
    ----------
    n : int
        Number of rays, at least 4.
    anisotropy : tuple of float
        How large objects usually are along z, y and x in pixels, over one another: (1, 2, 2) where planes are twice as
        far apart as pixels. Rays are spread evenly over such an object.

    Raises
    ------
    ParameterError
        If there are fewer than four rays, or an extent is not positive.
    """
    from scipy.spatial import ConvexHull

    if n < 4 or min(anisotropy) <= 0:
        msg = f"n is {n} and anisotropy {anisotropy}; a volume has at least 4 rays and positive extents."
        raise ParameterError(msg)
    height = -1.0 + 2.0 * np.arange(n) / (n - 1)
    angle = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(n)
    ring = np.sqrt(np.maximum(1.0 - height**2, 0.0))
    sphere = np.stack([height, ring * np.sin(angle), ring * np.cos(angle)], axis=1)
    faces = ConvexHull(sphere).simplices.astype(np.int64)
    directions = sphere * np.asarray(anisotropy)
    return Rays(directions / np.linalg.norm(directions, axis=1, keepdims=True), faces)


def _volume(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return array[None] if array.ndim == 2 else array


def _three(values: NDArray[np.generic] | Sequence[float], first: float) -> NDArray[np.float64]:
    values = np.asarray(values, np.float64)
    return np.concatenate([np.full((*values.shape[:-1], 3 - values.shape[-1]), first), values], axis=-1)


def _strides(stride: int | Sequence[int], ndim: int) -> NDArray[np.int64]:
    steps = (stride,) * ndim if isinstance(stride, int) else tuple(stride)
    return _three(np.asarray(steps, np.int64), 1).astype(np.int64)


def distances(labels: NDArray[np.generic], rays: Rays, *, stride: int | Sequence[int] = 1) -> Singles:
    """Return how far each object reaches from each of its pixels along each ray.

    Parameters
    ----------
    labels : ndarray of int, shape ([z], y, x)
        0 is background.
    rays : Rays
        Of as many dimensions.
    stride : int or sequence of int
        Only each so manyth pixel along each axis is looked at.

    Returns
    -------
    ndarray of float32, shape (rays, [z / stride], y / stride, x / stride)
        In pixels; 0 in the background. A part of a stride at the end counts as one.
    """
    from kinocyte.learning._star_convex_kernel import ray_lengths

    _check(labels, rays)
    framed = np.pad(labels.astype(np.int64), 1)  # one type of labels, so that one kernel is compiled
    size = np.asarray(framed.shape)
    places = np.arange(framed.size).reshape(framed.shape)[(slice(1, -1),) * labels.ndim]
    places = places[tuple(slice(None, None, s) for s in _strides(stride, labels.ndim)[3 - labels.ndim :])]
    strides = np.append(np.cumprod(size[:0:-1])[::-1], 1)
    steps = np.arange(1, int(np.linalg.norm(size)) + 2)
    ways = np.floor(rays.directions[:, None] * steps[:, None] + 0.5).astype(np.int64) @ strides
    largest = np.abs(rays.directions).max(axis=1)
    out = np.empty((len(rays), places.size), np.float32)
    ray_lengths(
        framed.reshape(-1), places.reshape(-1), ways.astype(np.int32), (0.5 / largest).astype(np.float32),
        out,
    )  # fmt: skip
    return out.reshape(len(rays), *places.shape)


def edge_distance(
    labels: NDArray[np.generic], *, stride: int | Sequence[int] = 1, spacing: Sequence[float] | None = None
) -> Singles:
    """Return how deep each pixel lies in its object: the distance to the edge over the object's largest.

    Parameters
    ----------
    labels : ndarray of int, shape ([z], y, x)
        0 is background. Objects that touch are parted: the distance is to the nearest pixel of another label. The
        border of the image is no edge, unless one object fills the image.
    stride : int or sequence of int
        As in `distances`; the scale of each object is taken before.
    spacing : sequence of float, optional
        Distance of pixels along each axis where they differ.

    Returns
    -------
    ndarray of float32, shape ([z / stride], y / stride, x / stride)
        0 in the background, 1 at the deepest pixel of each object.
    """
    from kinocyte.learning._star_convex_kernel import edge_along, scale_to_largest

    steps = _strides(stride, labels.ndim)
    volume = np.ascontiguousarray(_volume(labels.astype(np.int64)))
    apart = _three(spacing if spacing is not None else (1.0,) * labels.ndim, 1.0)
    squared = np.full(volume.shape, np.inf)
    for axis in (2, 1, 0):
        turned = np.ascontiguousarray(np.moveaxis(volume, axis, 2))
        before = np.ascontiguousarray(np.moveaxis(squared, axis, 2))
        after = np.empty_like(before)
        edge_along(turned, before, apart[axis], after)
        squared = np.moveaxis(after, 2, axis)
    depth = np.sqrt(np.ascontiguousarray(squared)).astype(np.float32)
    if np.isinf(depth).any():  # one object without any edge
        inner = edge_distance(np.pad(volume, 1), spacing=tuple(apart))[1:-1, 1:-1, 1:-1]
        depth = (
            inner
            if labels.ndim == 3
            else edge_distance(np.pad(volume[0], 1), spacing=tuple(apart[1:]))[None, 1:-1, 1:-1]
        )
    else:
        values, flat = np.unique(volume, return_inverse=True)
        flat = flat.reshape(-1) + int(values[0] != 0)
        scale_to_largest(flat, depth.reshape(-1), np.zeros(values.size + 1, np.float32))
    every = depth[:: steps[0], :: steps[1], :: steps[2]]
    return np.ascontiguousarray(every[0] if labels.ndim == 2 else every)


def polygons_to_labels(
    probability: Singles,
    distances: Singles,
    rays: Rays,
    *,
    probability_threshold: float = 0.5,
    overlap_threshold: float = 0.4,
    refine: bool = False,
    stride: int | Sequence[int] = 1,
    shape: Sequence[int] | None = None,
) -> tuple[NDArray[np.uint32], Singles]:
    """Return the objects that a star-convex network saw.

    Parameters
    ----------
    probability : ndarray of float32, shape ([z], y, x)
        How deep inside an object a pixel lies, 0 to 1.
    distances : ndarray of float32, shape (rays, [z], y, x)
        In pixels of the label image.
    rays : Rays
        Their directions.
    probability_threshold : float
        Shapes are taken from pixels above it.
    overlap_threshold : float
        A shape is left out that shares more than this of the smaller of the two with one of higher probability.
    refine : bool
        Correct the shapes that stay: at 0.3, 0.6 and 0.8 of each ray the pixel there is asked how far the edge is along
        the same ray, and the length becomes the mean of what all say, since a pixel near an edge sees it better than
        the middle of a large or crowded object does. Shapes that overlap too much thereafter are left out as before.
    stride : int or sequence of int
        Pixels of the label image from one pixel of the maps to the next.
    shape : sequence of int, optional
        Of the label image; left out: that of the maps times stride.

    Returns
    -------
    labels : ndarray of uint32, shape ([z], y, x)
        Numbered without gaps in order of falling probability; where shapes overlap, the likelier one has the pixel.
    quality : ndarray of float32
        Probability of each object, object 1 first.

    Notes
    -----
    The overlap of two shapes is integrated along 24 to 96 rows (10 to 24 by 10 to 24 lines in a volume). Equal
    probabilities go in order of their pixels. Pixels whose probability is no number are no candidates. Asking pixels
    along the rays follows Chen et al., IEEE Trans Image Process 32, 980 (2023), arXiv:2102.06867 (CPP-Net), where a
    network learns to weigh what they say.
    """
    from kinocyte.learning import _star_assembly_kernel as kernels

    steps = _strides(stride, rays.ndim)
    _check(probability, rays)
    if distances.shape != (len(rays), *probability.shape):
        msg = f"The distances have the shape {distances.shape}; {(len(rays), *probability.shape)} is needed."
        raise ParameterError(msg)
    own = steps[3 - rays.ndim :]
    size = tuple(int(n) for n in (shape if shape is not None else np.multiply(probability.shape, own)))
    flat = np.ascontiguousarray(probability, np.float32).reshape(-1)
    index = np.flatnonzero(flat > probability_threshold)
    labels = np.zeros(size, np.uint32)
    if index.size == 0:
        return labels, np.zeros(0, np.float32)
    lengths = np.empty((index.size, len(rays)), np.float32)
    maps, most = np.ascontiguousarray(distances, np.float32).reshape(len(rays), -1), 2.0 * float(np.linalg.norm(size))
    kernels.gather(maps, index, most, lengths)
    places = np.stack(np.unravel_index(index, _volume(probability).shape), axis=1)
    centres = places.astype(np.float64) * steps
    order = np.argsort(-flat[index], kind="stable")
    chosen = order[_kept(order, centres, lengths, rays, overlap_threshold)]
    centres, lengths, quality = centres[chosen], lengths[chosen], flat[index[chosen]]
    directions = _three(rays.directions, 0.0)
    if refine:
        whole = flat.reshape(_volume(probability).shape)
        kernels.refine(centres, directions, steps, whole, maps, np.array(_ASKED_AT), _ASKED_WITHIN, most, lengths)
        still = _kept(np.arange(len(chosen)), centres, lengths, rays, overlap_threshold)
        centres, lengths, quality = centres[still], lengths[still], quality[still]
    kernels.draw(centres, lengths, directions, _faces(rays), _volume(labels))
    return _numbered(labels, quality)


def _faces(rays: Rays) -> NDArray[np.int64] | None:
    return None if rays.ndim == 2 else rays.faces


def _kept(
    order: NDArray[np.intp], centres: NDArray[np.float64], lengths: Singles, rays: Rays, threshold: float
) -> NDArray[np.bool_]:
    """Return which candidates, in order, no likelier one takes away."""
    from kinocyte.learning import _star_assembly_kernel as kernels

    directions = _three(rays.directions, 0.0)
    sizes, outer, inner = (np.empty(len(order)) for _ in range(3))
    middles = np.zeros((len(order), 2))
    if rays.ndim == 2:
        kernels.polygon_sizes(lengths, directions, sizes, outer, inner, middles)
    else:
        kernels.polyhedron_sizes(lengths, directions, rays.faces, sizes, outer, inner)
    box_px = max(2.0 * float(np.median(outer)), 8.0)
    places = np.floor(centres / box_px).astype(np.int64)
    grid = places.max(axis=0) + 1
    box = (places[:, 0] * grid[1] + places[:, 1]) * grid[2] + places[:, 2]
    cells = np.argsort(box, kind="stable")
    cell_of = np.searchsorted(box[cells], np.arange(int(grid.prod()) + 1))
    reach = np.full(int(grid.prod()), -np.inf)
    np.maximum.at(reach, box, outer)
    kept = np.zeros(len(order), np.bool_)
    lines = np.asarray(_PLANE_LINES if rays.ndim == 2 else _VOLUME_LINES, np.int64)
    kernels.suppress(
        order, centres, lengths, directions, _faces(rays), sizes, outer, inner, cells, cell_of, reach, box_px, grid,
        float(threshold), lines, kept, middles,
    )  # fmt: skip
    return kept[order]


def _numbered(labels: NDArray[np.uint32], quality: Singles) -> tuple[NDArray[np.uint32], Singles]:
    """Return labels without the numbers of objects that likelier ones hide altogether."""
    seen = np.bincount(labels.reshape(-1), minlength=len(quality) + 1)[1:] > 0
    if seen.all():
        return labels, quality
    numbers = np.concatenate([[0], np.cumsum(seen) * seen]).astype(np.uint32)
    return numbers[labels], quality[seen]


def _check(array: NDArray[np.generic], rays: Rays) -> None:
    if array.ndim != rays.ndim:
        msg = f"The image has {array.ndim} axes, the rays have {rays.ndim}; use rays_{array.ndim}d."
        raise ParameterError(msg)
