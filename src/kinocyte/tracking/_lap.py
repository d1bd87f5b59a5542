"""From the parameters of `kinocyte.tracking.LAP` to its links."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.tracking._confidence import confidence, margins
from kinocyte.tracking._lap_branches import Branches, find_splits
from kinocyte.tracking._lap_likelihood import Matching, link_by_likelihood, relink
from kinocyte.tracking._lap_overlap import link_by_overlap
from kinocyte.tracking._lap_trackmate import Part, Parts, link_as_trackmate
from kinocyte.tracking._motion import MEDIAN
from kinocyte.tracking._penalties import SMALLEST, Penalty
from kinocyte.tracking._points import Points, features, links_frame, points
from kinocyte.tracking._solution import Links

if TYPE_CHECKING:
    from kinocyte.tracking.base import LabelSource
    from kinocyte.tracking.lap import LAP


def link(method: LAP, objects: pl.DataFrame, labels: LabelSource | None = None) -> pl.DataFrame:
    """Return the links table of a set of parameters; see `kinocyte.tracking.LAP.link`."""
    at = points(objects)
    linking = _penalty(objects, at, method.feature_penalties)
    gap, splitting, merging = (
        linking if p is None else _penalty(objects, at, p)
        for p in (
            method.gap_feature_penalties,
            method.splitting_feature_penalties,
            method.merging_feature_penalties,
        )
    )
    penalties = (linking, gap, splitting, merging)
    if method.cost == "iou":
        links, sure = link_by_overlap(method, at, objects, labels, penalties)
    else:
        solve = _as_trackmate if method.compatible == "trackmate" else _by_likelihood
        links, sure = solve(method, at, penalties)
    return links_frame(at, links.source, links.target, cost=links.cost, confidence=sure)


def _penalty(objects: pl.DataFrame, at: Points, weights: dict[str, float]) -> Penalty:
    names = sorted(n for n, w in weights.items() if w > 0)
    return Penalty(features(objects, at, names), np.array([weights[n] for n in names], dtype=np.float64))


def _by_likelihood(
    method: LAP, at: Points, penalties: tuple[Penalty, Penalty, Penalty, Penalty]
) -> tuple[Links, NDArray[np.float64]]:
    """Return the links, and the confidence of each, of the default mode."""
    reach = np.full(at.gaps(method.frame_gap()), method.gap_max_distance_um or method.max_distance_um)
    reach[0] = method.max_distance_um
    if len(at.frames) < 2:
        return Links.none(), np.empty(0)
    matching = link_by_likelihood(at, reach, (penalties[0], penalties[1]))
    known = matching.candidates
    branches = []
    if method.splitting_max_distance_um is not None:
        matching, splits = _split(method, at, matching, penalties[2])
        branches.append(splits)
    lost = np.zeros(at.n, np.bool_)
    if method.merging_max_distance_um is not None:
        merges = _merges(method, at, matching, penalties[3])
        lost[merges.links.source] = True
        branches.append(merges)
    rivals = _without(matching, branches)
    margin = margins(known.start, known.target, rivals, matching.edge)
    source = np.flatnonzero((matching.edge >= 0) & ~lost)
    plain = _costed(at, matching, Links(source, matching.following[source], np.empty(0)), penalties)
    links = Links.concatenate([plain, *(b.links for b in branches)])
    margin = np.concatenate([margin[source], *(b.worth for b in branches)])
    if not branches:
        return links, confidence(margin)
    # the same pair may be a division in one direction of time and a merge in the other
    _, once = np.unique(links.source * at.n + links.target, return_index=True)
    return links.take(once), confidence(margin[once])


def _costed(
    at: Points, matching: Matching, links: Links, penalties: tuple[Penalty, Penalty, Penalty, Penalty]
) -> Links:
    """Return the links with their costs: squared distances, wherever objects were expected, times penalties."""
    if matching.step_um is None:  # that is what they were chosen by
        cost = matching.candidates.square_um2[matching.edge[links.source]]
        return links._replace(cost=np.where(cost == 0.0, SMALLEST, cost))
    frame, target = at.frame(), links.target.astype(np.int32)
    away = at.position_um[links.target] - at.position_um[links.source]
    square = (away * away).sum(axis=1)
    near = penalties[0].cost(square, links.source, target)
    far = penalties[1].cost(square, links.source, target)
    return links._replace(cost=np.where(frame[links.target] - frame[links.source] > 1, far, near))


def _without(matching: Matching, branches: list[Branches]) -> NDArray[np.float64]:
    """Return what candidates are worth, those that were chosen as branches being nobody's rivals."""
    worth, known = matching.worth, matching.candidates
    taken = Links.concatenate([b.links for b in branches])
    if not len(taken.source):
        return worth
    begin = known.start[taken.source]
    count = known.start[taken.source + 1] - begin
    branch = np.repeat(np.arange(len(count)), count)
    edge = np.arange(count.sum()) - (np.cumsum(count) - count)[branch] + begin[branch]
    worth = worth.copy()
    worth[edge[known.target[edge] == taken.target[branch]]] = 0.0
    return worth


def _split(method: LAP, at: Points, matching: Matching, penalty: Penalty) -> tuple[Matching, Branches]:
    """Return the divisions, and the matching of what is left beside second daughters."""
    incoming = matching.incoming()
    splits = find_splits(
        at,
        matching.following,
        incoming,
        motion=matching.motion,
        max_distance_um=method.splitting_max_distance_um or 0.0,
        penalty=penalty,
        step_um=matching.step_um,
    )
    if (incoming[splits.links.target] >= 0.0).any():
        matching = relink(matching, splits.links.source, splits.links.target)
    return matching, splits


def _merges(method: LAP, at: Points, matching: Matching, penalty: Penalty) -> Branches:
    """Return the merges: divisions seen backwards in time."""
    last = at.n - 1
    source = np.flatnonzero(matching.following >= 0)
    before, worth = np.full(at.n, -1, np.int64), np.full(at.n, -1.0)
    before[matching.following[source]] = source
    worth[source] = matching.worth[matching.edge[source]]
    merges = find_splits(
        at.backwards(),
        np.where(before < 0, -1, last - before)[::-1],
        worth[::-1],
        motion=matching.motion,
        max_distance_um=method.merging_max_distance_um or 0.0,
        penalty=penalty.reversed(),
    )
    return Branches(Links(last - merges.links.target, last - merges.links.source, merges.links.cost), merges.worth)


def _as_trackmate(
    method: LAP, at: Points, penalties: tuple[Penalty, Penalty, Penalty, Penalty]
) -> tuple[Links, NDArray[np.float64]]:
    """Return the links, and the confidence of each, of the compatible mode."""
    distances = (
        method.max_distance_um,
        method.gap_max_distance_um,
        method.splitting_max_distance_um,
        method.merging_max_distance_um,
    )
    linking, gap, splitting, merging = (Part(d, p) for d, p in zip(distances, penalties, strict=True))
    solved = link_as_trackmate(
        at,
        Parts(
            linking,
            gap,
            splitting,
            merging,
            max_frame_gap=at.gaps(method.frame_gap()),
            alternative_cost_factor=method.alternative_cost_factor,
            percentile=method.percentile,
        ),
    )
    # costs are areas here; in units of twice the variance they are the logarithms that confidence is made of
    variance = np.median(solved.links.cost) / MEDIAN[at.dimensions()] if len(solved.margin) else 1.0
    with np.errstate(over="ignore"):  # where nothing moves any other link is out of the question
        margin = solved.margin / (2.0 * max(float(variance), SMALLEST))
    return solved.links, confidence(margin)
