"""Which object of the result stands for which object of the truth, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.evaluation.assignment import best_pairs
from kinocyte.evaluation.movies import (
    LabelMovie,
    ObjectMovie,
    Side,
    side_of_labels,
    side_of_objects,
    track_rows,
)
from kinocyte.evaluation.overlaps import Floats, Ints, Overlaps, Regions, count_frames, frame_of, overlaps, regions

Movie = LabelMovie | ObjectMovie


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two movies and the objects that stand for each other.

    A reference object has at most one partner; a result object that covers several reference objects has several.
    """

    reference: Side
    result: Side
    pair_reference: Ints
    """Index of the reference object of each pair, ascending."""
    pair_result: Ints
    pair_iou: Floats
    """Intersection over union of each pair; NaN where objects were matched by distance."""
    frames: int

    def partner(self) -> Ints:
        """Return for every reference object the index of its partner, -1 for none."""
        out = np.full(len(self.reference.frame), -1)
        out[self.pair_reference] = self.pair_result
        return out

    def multiplicity(self) -> Ints:
        """Return for every result object how many reference objects it stands for."""
        return np.bincount(self.pair_result, minlength=len(self.result.frame))

    def track_of_partner(self) -> Ints:
        """Return for every reference object the track of its partner, 0 where it has none or shares it."""
        partner, shared = self.partner(), self.multiplicity()
        single = partner >= 0
        single[single] = shared[partner[single]] == 1
        out = np.zeros(len(partner), np.int64)
        out[single] = self.result.track[partner[single]]
        return out


def compare(
    reference: Movie,
    result: Movie,
    *,
    scale: Scale | None = None,
    max_distance_um: float | None = None,
    partial: bool = False,
) -> Comparison:
    """Match the objects of two movies.

    Where both have label images, a result object stands for a reference object of which it covers more than half
    (Matula et al. 2015). Where both have positions and ``max_distance_um`` is given, objects are paired one to one
    within that distance so that most are paired and their distances are least. Where the truth has positions only and
    the result images, the result object under the position stands for it.

    Parameters
    ----------
    reference, result : LabelMovie or ObjectMovie
        Truth and what is to be scored.
    scale : Scale, optional
        Calibration, to find the pixel of a position in micrometres.
    max_distance_um : float, optional
        Largest distance of objects that stand for each other.
    partial : bool
        The truth names only some of the cells: result objects that stand for none are left out.

    Raises
    ------
    ParameterError
        If the movies differ in length or frame size, or offer nothing by which they can be matched.
    TableError
        If a table lacks a column or contradicts itself.
    """
    if max_distance_um is not None:
        found = _by_distance(reference, result, max_distance_um)
    elif reference.images is not None and result.images is not None:
        found = _by_images(reference, result)
    elif isinstance(reference, ObjectMovie) and result.images is not None and scale is not None:
        found = _by_points(reference, result, scale)
    else:
        msg = (
            "The movies cannot be matched: give label images of both, max_distance_um where both have positions, or "
            "the scale where the truth has positions and the result images."
        )
        raise ParameterError(msg)
    return only_annotated(found) if partial else found


@dataclass
class _Collected:
    """Objects of one movie, gathered frame by frame."""

    movie: Movie
    name: str
    frame: list[Ints]
    label: list[Ints]
    centre: list[Floats]

    def add(self, t: int, seen: Regions) -> None:
        self.frame.append(np.full(len(seen.label), t))
        self.label.append(seen.label)
        self.centre.append(seen.centre_px)

    def side(self) -> tuple[Side, Callable[[int, Ints], Ints]]:
        """Return the graph and a function from labels of a frame to objects, -1 for a label that is no object."""
        ndim = self.centre[0].shape[1] if self.centre else 2
        frame = np.concatenate([np.empty(0, np.int64), *self.frame])
        label = np.concatenate([np.empty(0, np.int64), *self.label])
        centre = np.concatenate([np.empty((0, ndim)), *self.centre])
        if isinstance(self.movie, LabelMovie):
            rows = track_rows(self.movie.tracks, name=self.name)
            side = side_of_labels(frame, label, centre, rows, name=self.name)
        else:
            if "label" not in self.movie.objects.columns:
                msg = f"The objects of the {self.name} have no column 'label' by which the label images show them."
                raise ParameterError(msg)
            side, _ = side_of_objects(self.movie, name=self.name)
            side = _with_pixels(side, frame, label, centre, name=self.name)
        key, find = _finder(side.frame, side.label)
        return side, lambda t, labels: find(key, t, labels)


def _finder(frame: Ints, label: Ints) -> tuple[tuple[Ints, Ints], Callable[[tuple[Ints, Ints], int, Ints], Ints]]:
    """Return an index of objects sorted by frame and label, and how to look a label up in it."""

    def find(key: tuple[Ints, Ints], t: int, labels: Ints) -> Ints:
        frames, names = key
        low, high = np.searchsorted(frames, [t, t + 1])
        here = names[low:high]
        place = np.minimum(np.searchsorted(here, labels), max(len(here) - 1, 0))
        if len(here) == 0:
            return np.full(len(labels), -1)
        return np.where(here[place] == labels, low + place, -1)

    return (frame, label), find


def _with_pixels(side: Side, frame: Ints, label: Ints, centre: Floats, *, name: str) -> Side:
    """Put the centres seen in the images into a graph made of tables."""
    if (np.diff(side.label)[np.diff(side.frame) == 0] == 0).any():
        msg = f"Two objects of the {name} have the same label in one frame; labels tell objects of a frame apart."
        raise ParameterError(msg)
    key, find = _finder(frame, label)
    at = np.concatenate(
        [np.empty(0, np.int64), *(find(key, int(t), side.label[side.frame == t]) for t in np.unique(side.frame))]
    )
    seen = np.full((len(at), centre.shape[1]), np.nan)
    seen[at >= 0] = centre[at[at >= 0]]
    lost = [
        f"Object with label {side.label[n]} of the {name} is not in the label image of frame {side.frame[n]}."
        for n in np.flatnonzero(at < 0)
    ]
    return replace(side, centre=seen, problems=(*side.problems, *lost))


def _frames(reference: Movie, result: Movie) -> int:
    counts = [
        count_frames(m.images, m.frames, name=n)
        for m, n in ((reference, "reference"), (result, "result"))
        if m.images is not None
    ]
    if counts[0] != counts[-1]:
        msg = f"The reference has {counts[0]} frames and the result {counts[-1]}; compare movies of equal length."
        raise ParameterError(msg)
    return counts[0]


def _overlaps_by_frame(reference: Movie, result: Movie, frames: int) -> Iterator[tuple[int, Overlaps]]:
    if reference.images is None or result.images is None:
        return
    for t in range(frames):
        try:
            yield t, overlaps(frame_of(reference.images, t), frame_of(result.images, t))
        except ParameterError as error:
            msg = f"Frame {t}: {error}"
            raise ParameterError(msg) from error


def _by_images(reference: Movie, result: Movie) -> Comparison:
    frames = _frames(reference, result)
    left = _Collected(reference, "reference", [], [], [])
    right = _Collected(result, "result", [], [], [])
    pairs: list[tuple[int, Ints, Ints, Floats]] = []
    for t, shared in _overlaps_by_frame(reference, result, frames):
        left.add(t, shared.reference)
        right.add(t, shared.result)
        more = shared.covered > 0.5
        i, j = shared.pair_reference[more], shared.pair_result[more]
        pairs.append((t, shared.reference.label[i], shared.result.label[j], shared.iou[more]))
    return _joined(left.side(), right.side(), pairs, frames)


_Found = tuple[Side, Callable[[int, Ints], Ints]]


def _joined(left: _Found, right: _Found, pairs: list[tuple[int, Ints, Ints, Floats]], frames: int) -> Comparison:
    i = np.concatenate([np.empty(0, np.int64), *(left[1](t, a) for t, a, _, _ in pairs)])
    j = np.concatenate([np.empty(0, np.int64), *(right[1](t, b) for t, _, b, _ in pairs)])
    iou = np.concatenate([np.empty(0), *(v for *_, v in pairs)])
    both = (i >= 0) & (j >= 0)
    return Comparison(left[0], right[0], i[both], j[both], iou[both], frames)


def _by_points(reference: ObjectMovie, result: Movie, scale: Scale) -> Comparison:
    """Match positions of the truth to the result objects under them."""
    side, _ = side_of_objects(reference, name="reference")
    if result.images is None:
        msg = "The result has no label images."
        raise ParameterError(msg)
    frames = count_frames(result.images, result.frames, name="result")
    right = _Collected(result, "result", [], [], [])
    pairs: list[tuple[int, Ints, Ints, Floats]] = []
    pixel = np.full((len(side.frame), 2), -1.0)
    for t in range(frames):
        image = frame_of(result.images, t)
        right.add(t, regions(image))
        if pixel.shape[1] != image.ndim:  # the first frame tells whether the movie is 3D
            pixel = np.full((len(side.frame), image.ndim), -1.0)
        if side.centre.shape[1] < image.ndim:
            msg = f"Frame {t}: the label image of the result is 3D, but the objects of the reference have no z_um."
            raise ParameterError(msg)
        here = np.flatnonzero(side.frame == t)
        pixel[here] = side.centre[here, -image.ndim :] / scale.spacing_um(image.ndim)
        at = np.rint(pixel[here]).astype(np.int64)
        inside = ((at >= 0) & (at < image.shape)).all(axis=1)
        under = np.zeros(len(here), np.int64)
        under[inside] = image[tuple(at[inside].T)]
        hit = under > 0
        pairs.append((t, here[hit], under[hit], np.full(int(hit.sum()), np.nan)))
    seen = (replace(side, centre=pixel), lambda _t, index: index)
    return _joined(seen, right.side(), pairs, frames)


def _by_distance(reference: Movie, result: Movie, max_distance_um: float) -> Comparison:
    """Pair positions one to one: as many as possible, and of these the nearest."""
    if not isinstance(reference, ObjectMovie) or not isinstance(result, ObjectMovie):
        msg = "Matching by distance needs objects with positions on both sides; give ObjectMovie with x_um and y_um."
        raise ParameterError(msg)
    if not max_distance_um > 0:
        msg = f"max_distance_um is {max_distance_um}; give a distance above 0."
        raise ParameterError(msg)
    left, _ = side_of_objects(reference, name="reference")
    right, _ = side_of_objects(result, name="result")
    for side, name in ((left, "reference"), (right, "result")):
        lost = ~np.isfinite(side.centre).all(axis=1)
        if lost.any():
            where = f"{int(lost.sum())} of {len(side.centre)} objects of the {name} lack a position, the first in frame"
            msg = f"{where} {side.frame[int(lost.argmax())]}; give each its x_um and y_um, or leave those rows out."
            raise ParameterError(msg)
    i, j, distance = near_pairs(left, right, max_distance_um)
    chosen = best_pairs(i, j, 1 + (1 - distance / max_distance_um) / (2 * max(len(i), 1)))
    order = np.argsort(i[chosen], kind="stable")
    lengths = [reference.frames or left.frames, result.frames or right.frames]
    i, j = i[chosen][order], j[chosen][order]
    return Comparison(left, right, i, j, np.full(len(i), np.nan), max(lengths))


def _frame_slices(frame: Ints, frames: int) -> list[slice]:
    """Return the objects of each frame as slices of arrays sorted by frame."""
    bounds = np.searchsorted(frame, np.arange(frames + 1)).tolist()
    return [slice(a, b) for a, b in pairwise(bounds)]


def near_pairs(left: Side, right: Side, reach: float) -> tuple[Ints, Ints, Floats]:
    """Return all pairs of objects of one frame within a distance (inclusive), and their distances."""
    from scipy.spatial import cKDTree

    axes = min(left.centre.shape[1], right.centre.shape[1])
    first, second, far = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    for a, b in zip(*(_frame_slices(s.frame, min(left.frames, right.frames)) for s in (left, right)), strict=True):
        if a.start == a.stop or b.start == b.stop:
            continue
        here, there = left.centre[a, -axes:], right.centre[b, -axes:]
        found = cKDTree(here).sparse_distance_matrix(cKDTree(there), reach, output_type="ndarray")
        first.append(found["i"] + a.start)
        second.append(found["j"] + b.start)
        far.append(found["v"])
    return np.concatenate(first), np.concatenate(second), np.concatenate(far)


def only_annotated(found: Comparison) -> Comparison:
    """Leave out result objects that stand for nothing, and tracks of which nothing is left."""
    side = found.result
    keep: NDArray[np.bool_] = found.multiplicity() > 0
    new = np.cumsum(keep) - 1
    linked = keep[side.links].all(axis=1)
    tracks = side.tracks[np.isin(side.tracks[:, 0], side.track[keep])].copy()
    tracks[~np.isin(tracks[:, 3], tracks[:, 0]), 3] = 0
    left = Side(
        side.frame[keep], side.label[keep], side.track[keep], side.centre[keep],
        new[side.links[linked]], side.division[linked], tracks, side.problems,
    )  # fmt: skip
    return replace(found, result=left, pair_result=new[found.pair_result])
