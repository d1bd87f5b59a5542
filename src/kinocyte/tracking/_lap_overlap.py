"""Linear assignment by the overlap of masks instead of the distance of centres.

The cost of a link is one minus the intersection over union (IoU) of both masks (Jaccard, New Phytologist 11, 37-50
(1912), doi:10.1111/j.1469-8137.1912.tb05611.x), times the squared penalty of features. All links, gaps included,
compete in one assignment. A second daughter is taken when the mother overlaps better with both daughters together than
with the first alone; a merge is the same backwards in time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import require
from kinocyte.tracking._assignment import assign
from kinocyte.tracking._confidence import margins
from kinocyte.tracking._overlap import common_pixels
from kinocyte.tracking._penalties import Penalty
from kinocyte.tracking._points import Points, integers
from kinocyte.tracking._solution import Links

if TYPE_CHECKING:
    from kinocyte.tracking.base import LabelSource
    from kinocyte.tracking.lap import LAP

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_OVER_GAP = 0.9  # what a link over one more frame is worth against one over fewer, equal overlap given


class _Pairs(NamedTuple):
    """Objects whose masks overlap: both ends, common pixels, IoU, squared distance of the centres, frames between."""

    source: Ints
    target: Ints
    common: Floats
    iou: Floats
    square_um2: Floats
    gap: Ints

    def take(self, which: NDArray[np.bool_] | Ints) -> _Pairs:
        square, gap = self.square_um2[which], self.gap[which]
        return _Pairs(self.source[which], self.target[which], self.common[which], self.iou[which], square, gap)

    def reversed(self, n: int) -> _Pairs:
        """Return the same with time running backwards, objects counted from the last one."""
        turned = self._replace(source=n - 1 - self.target, target=n - 1 - self.source)
        return turned.take(np.lexsort((turned.target, turned.source)))


def link_by_overlap(
    method: LAP,
    at: Points,
    objects: pl.DataFrame,
    labels: LabelSource | None,
    penalties: tuple[Penalty, Penalty, Penalty, Penalty],
) -> tuple[Links, Floats]:
    """Return the links and the confidence of each; see `kinocyte.tracking.LAP.link`."""
    if labels is None:
        msg = 'cost = "iou" compares masks and needs the label images; segment first, or leave cost = "distance".'
        raise ParameterError(msg)
    require(objects, ("label",), table="objects")
    pairs, area = _overlapping(at, integers(objects, "label")[at.row], labels, at.gaps(method.frame_gap()))
    price = _price(pairs, penalties[0], penalties[1])
    reach = np.where(pairs.gap > 1, method.gap_max_distance_um or method.max_distance_um, method.max_distance_um)
    keep = (price <= 1.0 - method.min_iou) & (pairs.square_um2 <= reach**2)
    near, cost = pairs.take(keep), price[keep]
    start = np.searchsorted(near.source, np.arange(at.n + 1)).astype(np.int64)
    worth = (1.0 - cost) * _OVER_GAP ** (near.gap - 1.0)
    edge, _, _ = assign(start, near.target.astype(np.int32), worth, at.n)
    chosen = edge[edge >= 0]
    margin = margins(start, near.target.astype(np.int32), worth, edge)[near.source[chosen]]
    plain = Links(near.source[chosen], near.target[chosen], cost[chosen])
    pieces, sure, lost = [], [], np.zeros(at.n, np.bool_)
    forward = (plain, worth[chosen])
    if method.splitting_max_distance_um is not None:
        priced = _Priced(pairs, _price(pairs, penalties[2], penalties[2]), area)
        second, gain = _second(priced, forward, method.splitting_max_distance_um, method.min_iou)
        lost[second.target] = True
        pieces.append(second)
        sure.append(gain)
    if method.merging_max_distance_um is not None:
        turned = pairs.reversed(at.n)
        back = penalties[3].reversed()
        priced = _Priced(turned, _price(turned, back, back), area[::-1])
        mirror = (Links(at.n - 1 - plain.target, at.n - 1 - plain.source, plain.cost), forward[1])
        second, gain = _second(priced, mirror, method.merging_max_distance_um, method.min_iou)
        merged = Links(at.n - 1 - second.target, at.n - 1 - second.source, second.cost)
        lost[plain.target[np.isin(plain.source, merged.source)]] = True
        pieces.append(merged)
        sure.append(gain)
    # whoever is a daughter, or merges, gives up the link it had
    kept = ~lost[plain.target]
    links = Links.concatenate([plain.take(np.flatnonzero(kept)), *pieces])
    confidence = np.concatenate([margin[kept], *sure])
    _, once = np.unique(links.source * at.n + links.target, return_index=True)
    return links.take(once), np.clip(confidence[once], 0.0, 1.0)


class _Priced(NamedTuple):
    """Pairs with their costs, and the pixels of each object."""

    pairs: _Pairs
    cost: Floats
    area: Floats


def _price(pairs: _Pairs, near: Penalty, far: Penalty) -> Floats:
    loss, target = 1.0 - pairs.iou, pairs.target.astype(np.int32)
    price = np.where(pairs.gap > 1, far.cost(loss, pairs.source, target), near.cost(loss, pairs.source, target))
    return np.where(loss == 0.0, 0.0, price)


def _overlapping(at: Points, label: Ints, labels: LabelSource, gaps: int) -> tuple[_Pairs, Floats]:
    """Return all pairs of objects of neighbouring frames whose masks overlap, and the pixels of each object."""
    recent: deque[tuple[int, NDArray[np.uint32]]] = deque()
    area = np.zeros(at.n)
    found: list[tuple[Ints, Ints, Floats]] = []
    for k, frame in enumerate(at.frames.tolist()):
        image = labels(frame)
        here = slice(int(at.first[k]), int(at.first[k + 1]))
        value, count = np.unique(image[image > 0], return_counts=True)
        size = dict(zip(value.tolist(), count.tolist(), strict=True))
        area[here] = [size.get(v, 0) for v in label[here].tolist()]
        while recent and frame - at.frames[recent[0][0]] > gaps:
            recent.popleft()
        for other, before in recent:
            first, second, common = common_pixels(before, image)
            source, target = (_of_label(at, label, f, v) for f, v in ((other, first), (k, second)))
            both = (source >= 0) & (target >= 0)
            found.append((source[both], target[both], common[both].astype(np.float64)))
        recent.append((k, image))
    if not found:
        found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    source, target = (np.concatenate([f[end] for f in found]) for end in (0, 1))
    shared: Floats = np.concatenate([f[2] for f in found])
    frame_of, away = at.frame(), at.position_um[target] - at.position_um[source]
    pairs = _Pairs(
        source,
        target,
        shared,
        shared / np.maximum(area[source] + area[target] - shared, 1.0),
        np.asarray((away * away).sum(axis=1), dtype=np.float64),
        frame_of[target] - frame_of[source],
    )
    return pairs.take(np.lexsort((target, source))), area


def _of_label(at: Points, label: Ints, k: int, wanted: Ints) -> Ints:
    """Return the object of each label in a frame, -1 where the table has none; of several the first."""
    known = label[at.first[k] : at.first[k + 1]]
    order = np.argsort(known, kind="stable")
    if not len(order):
        return np.full(len(wanted), -1)
    place = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(order) - 1)]
    return np.where(known[place] == wanted, place + at.first[k], -1)


def _second(
    priced: _Priced, forward: tuple[Links, Floats], max_distance_um: float, min_iou: float
) -> tuple[Links, Floats]:
    """Return links to second daughters, and by how much both together overlap the mother better."""
    pairs, area, n = priced.pairs, priced.area, len(priced.area)
    plain, worth = forward
    first, given = np.full(n, -1, np.int64), np.zeros(n)
    first[plain.source], given[plain.target] = plain.target, worth
    shared = np.zeros(n)  # pixels that each object and the next one have in common
    code = pairs.source * n + pairs.target
    shared[plain.source] = pairs.common[np.searchsorted(code, plain.source * n + plain.target)]
    keep = (first[pairs.source] >= 0) & (first[pairs.source] != pairs.target)
    keep &= (priced.cost <= 1.0 - min_iou) & (pairs.square_um2 <= max_distance_um**2)
    some, cost = pairs.take(keep), priced.cost[keep]
    mother, one = some.source, first[some.source]
    alone = shared[mother] / (area[mother] + area[one] - shared[mother])
    together = shared[mother] + some.common
    both = together / (area[mother] + area[one] + area[some.target] - together)
    gain = both - alone - given[some.target]
    start = np.searchsorted(mother, np.arange(n + 1)).astype(np.int64)
    edge, _, _ = assign(start, some.target.astype(np.int32), gain, n)
    chosen = edge[edge >= 0]
    return Links(mother[chosen], some.target[chosen], cost[chosen]), gain[chosen]
