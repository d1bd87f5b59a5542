"""Scores of identity: whether one track follows one cell from beginning to end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kinocyte.evaluation.assignment import best_pairs
from kinocyte.evaluation.comparison import Comparison
from kinocyte.evaluation.movies import Side
from kinocyte.evaluation.overlaps import Ints, unique_pairs


@dataclass(frozen=True)
class IdentityScores:
    """HOTA with its parts and IDF1 with its parts, 0 to 1; None where neither movie has objects.

    HOTA (Luiten et al. 2021, doi:10.1007/s11263-020-01375-2) at the one localisation that decides which objects match;
    IDF1 (Ristani et al. 2016, doi:10.1007/978-3-319-48881-3_2). A track whose parent has no other daughter continues
    its parent, as in the Cell Tracking Challenge, where a cell out of sight comes back under a new label.
    """

    hota: float | None
    detection_accuracy: float | None
    association_accuracy: float | None
    idf1: float | None
    id_precision: float | None
    id_recall: float | None


def identity_scores(comparison: Comparison) -> IdentityScores:
    """Return HOTA and IDF1 of two matched movies."""
    reference, result = comparison.reference, comparison.result
    mine, theirs = continued(reference), continued(result)
    of_pair = theirs[comparison.pair_result]
    alone = comparison.multiplicity() == 0
    tp, spurious = len(of_pair), int(alone.sum())
    fn = len(reference.frame) - tp
    if tp + fn + spurious == 0:
        return IdentityScores(None, None, None, None, None, None)
    i, j, _, shared = unique_pairs(mine[comparison.pair_reference], of_pair)
    rows, columns = _count(mine, i), _count(np.concatenate([of_pair, theirs[alone]]), j)
    agreement = float((shared * (shared / (rows + columns - shared))).sum())
    id_tp = int(shared[best_pairs(i, j, shared.astype(np.float64))].sum())
    all_reference, all_result = tp + fn, tp + spurious
    return IdentityScores(
        hota=math.sqrt(agreement / (tp + fn + spurious)),
        detection_accuracy=tp / (tp + fn + spurious),
        association_accuracy=agreement / tp if tp else 0.0,
        idf1=2 * id_tp / (all_reference + all_result),
        id_precision=id_tp / all_result if all_result else 0.0,
        id_recall=id_tp / all_reference if all_reference else 0.0,
    )


def _count(tracks: Ints, wanted: Ints) -> Ints:
    """Return how many objects each wanted track has."""
    found, counts = np.unique(tracks, return_counts=True)
    return np.asarray(counts[np.searchsorted(found, wanted)], np.int64)


def continued(side: Side) -> Ints:
    """Return the track of every object where an only daughter counts as her mother's continuation."""
    tracks = side.tracks
    parents, counts = np.unique(tracks[tracks[:, 3] > 0, 3], return_counts=True)
    only = parents[counts == 1]
    order = np.argsort(tracks[:, 0], kind="stable")
    label = tracks[order, 0]
    place = np.arange(len(label))
    single = np.isin(tracks[order, 3], only)
    place[single] = np.searchsorted(label, tracks[order, 3][single])
    # each round doubles the generations a track looks back; a cycle of parents ends with the rounds
    for _ in range(max(len(place), 1).bit_length()):
        place = place[place]
    return label[place][np.searchsorted(label, side.track)] if len(label) else side.track
