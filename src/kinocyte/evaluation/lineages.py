"""Scores a biologist reads: whole tracks, their fractions, cell cycles and divisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.evaluation.comparison import Comparison
from kinocyte.evaluation.movies import Side
from kinocyte.evaluation.overlaps import Ints, unique_pairs


def complete_tracks(comparison: Comparison) -> float | None:
    """Return CT, the share of tracks that are found from their first to their last frame by one track.

    ``2 T_rc / (T_r + T_c)`` with T_rc the reference tracks whose partner is one and the same track in every frame and
    begins and ends when they do (Ulman et al. 2017, doi:10.1038/nmeth.4473). None without any track.
    """
    reference, result = comparison.reference, comparison.result
    total = len(reference.tracks) + len(result.tracks)
    if total == 0:
        return None
    partner = comparison.track_of_partner()
    order, starts = _by_track(reference)
    if len(starts) == 0:
        return 0.0
    low = np.minimum.reduceat(partner[order], starts)
    high = np.maximum.reduceat(partner[order], starts)
    followed = (low == high) & (low > 0)
    tracks = reference.track[order[starts]]
    mine, theirs = _rows(reference.tracks, tracks[followed]), _rows(result.tracks, low[followed])
    return 2 * int((mine[:, 1:3] == theirs[:, 1:3]).all(axis=1).sum()) / total


def _by_track(side: Side) -> tuple[Ints, Ints]:
    """Return objects in order of track and frame, and where each track starts in that order."""
    order = np.lexsort((side.frame, side.track))
    if len(order) == 0:
        return order, order
    return order, np.flatnonzero(np.diff(side.track[order], prepend=-1))


def _rows(tracks: Ints, wanted: Ints) -> Ints:
    order = np.argsort(tracks[:, 0], kind="stable")
    return np.asarray(tracks[order[np.searchsorted(tracks[order, 0], wanted)]], np.int64)


def track_fractions(comparison: Comparison) -> float | None:
    """Return TF, the mean over detected reference tracks of the longest stretch that one track follows without a break.

    Ulman et al. 2017. As in the challenge's own software a result track that follows one reference track completely is
    not credited for reference tracks with greater labels, so that TF may depend on how labels are numbered. None
    without reference tracks, 0 where none is detected.
    """
    if len(comparison.reference.tracks) == 0:
        return None
    best = dict.fromkeys(comparison.reference.tracks[:, 0].tolist(), 0.0)
    track, result, share = _longest_stretches(comparison)
    order = np.lexsort((track, result))
    used_up = -1
    for k in order:
        t = int(track[k])
        if result[k] == used_up or best[t] == 1:
            continue
        best[t] = max(best[t], float(share[k]))
        if share[k] == 1:
            used_up = int(result[k])
    detected = [v for v in best.values() if v > 0]
    return float(np.mean(detected)) if detected else 0.0


def _longest_stretches(comparison: Comparison) -> tuple[Ints, Ints, NDArray[np.float64]]:
    """Return, per pair of reference and result track, the longest unbroken stretch as a share of the track's length."""
    reference = comparison.reference
    order, _ = _by_track(reference)
    track, frame = reference.track[order], reference.frame[order]
    follower = comparison.track_of_partner()[order]
    if len(order) == 0:
        return track, follower, np.empty(0)
    joined = (track[1:] == track[:-1]) & (follower[1:] == follower[:-1]) & (frame[1:] == frame[:-1] + 1)
    start = np.flatnonzero(np.concatenate([[True], ~joined]))
    length = np.diff(start, append=len(order))
    keep = follower[start] > 0
    start, length = start[keep], length[keep]
    rows = _rows(reference.tracks, track[start])
    share = length / (rows[:, 2] - rows[:, 1] + 1)
    tracks, followers, pair, _ = unique_pairs(track[start], follower[start])
    longest = np.zeros(len(tracks))
    np.maximum.at(longest, pair, share)
    return tracks, followers, longest


def dividing(tracks: Ints) -> Ints:
    """Return the tracks that end in at least two daughters, sorted."""
    parents, counts = np.unique(tracks[tracks[:, 3] > 0, 3], return_counts=True)
    return parents[counts > 1]


def cell_cycle_accuracy(comparison: Comparison) -> float | None:
    """Return CCA, how well the distribution of cell-cycle times agrees.

    1 minus the largest difference of the cumulative distributions of the lengths of tracks that begin and end with a
    division (Ulman et al. 2017). None where the truth has no such track, 0 where the result has none.
    """
    reference, result = (_cycle_lengths(s.tracks) for s in (comparison.reference, comparison.result))
    if len(reference) == 0:
        return None
    if len(result) == 0:
        return 0.0
    at = np.union1d(reference, result)
    cumulative = [np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (reference, result)]
    return float(1 - np.abs(cumulative[0] - cumulative[1]).max())


def _cycle_lengths(tracks: Ints) -> Ints:
    mothers = dividing(tracks)
    whole = np.isin(tracks[:, 0], mothers) & np.isin(tracks[:, 3], mothers)
    return np.asarray(tracks[whole, 2] - tracks[whole, 1], np.int64)


@dataclass(frozen=True, eq=False)
class Divisions:
    """Divisions found, invented and missed when their frames may differ by ``max_offset_frames``."""

    max_offset_frames: int
    found: int
    false: int
    missed: int
    table: pl.DataFrame
    """One row per missed or false division: ``frame error track``."""

    @property
    def bc(self) -> float | None:
        """Branching correctness, the F1 of divisions; None where the truth has none."""
        if self.found + self.missed == 0:
            return None
        return 2 * self.found / (2 * self.found + self.false + self.missed)


def branching(comparison: Comparison, max_offset_frames: int) -> Divisions:
    """Compare divisions, BC(i) of the Cell Tracking Challenge.

    A division is found when mothers end and daughters begin at most ``max_offset_frames`` apart, both have the same
    number of daughters, and mother stands for mother in the last frame both live, and daughters for daughters in the
    first frame both live, each of them for nothing else (Ulman et al. 2017, doi:10.1038/nmeth.4473).

    Parameters
    ----------
    comparison : Comparison
        Two matched movies.
    max_offset_frames : int
        i, the largest difference in frames, 0 for the very same frame.
    """
    reference, result = comparison.reference, comparison.result
    seen = _Partners(comparison)
    mothers, others = dividing(reference.tracks), dividing(result.tracks)
    begins = [dict(s.tracks[:, :2].tolist()) for s in (reference, result)]
    ends = _rows(result.tracks, others)[:, 2]
    children = [_children(s.tracks) for s in (reference, result)]
    hits: set[tuple[int, int]] = set()
    for mother, end in _rows(reference.tracks, mothers)[:, [0, 2]].tolist():
        mine = [(i, begins[0][i]) for i in children[0][mother]]
        for k in np.flatnonzero(np.abs(ends - end) <= max_offset_frames).tolist():
            other = int(others[k])
            theirs = [(j, begins[1][j]) for j in children[1][other]]
            if len(mine) != len(theirs) or seen.partner(mother, min(end, int(ends[k]))) != other:
                continue
            heirs = {_heir(seen, i, theirs, max_offset_frames) for i in mine}
            if None not in heirs and len(heirs) == len(mine):
                hits.add((mother, other))
    lost = np.setdiff1d(mothers, [m for m, _ in hits])
    extra = np.setdiff1d(others, [o for _, o in hits])
    found = min(len(mothers) - len(lost), len(others) - len(extra))
    table = pl.concat(
        [_division_rows("missed_division", reference, lost), _division_rows("false_division", result, extra)]
    )
    return Divisions(
        max_offset_frames, found, len(others) - found, len(mothers) - found, table.sort("frame", "error", "track")
    )


class _Partners:
    """Which result track alone stands for a reference track in a frame."""

    def __init__(self, comparison: Comparison) -> None:
        order, starts = _by_track(comparison.reference)
        self._frames = comparison.reference.frame[order]
        self._partners = comparison.track_of_partner()[order]
        names = comparison.reference.track[order[starts]].tolist()
        stops = [*starts[1:].tolist(), len(order)][: len(starts)]
        self._range = dict(zip(names, zip(starts.tolist(), stops, strict=True), strict=True))

    def partner(self, track: int, frame: int) -> int | None:
        """Return the partner of a track in a frame, None where it has none of its own."""
        start, stop = self._range[track]
        at = start + int(np.searchsorted(self._frames[start:stop], frame))
        if at == stop or self._frames[at] != frame:
            return None
        return int(self._partners[at]) or None


def _children(tracks: Ints) -> dict[int, list[int]]:
    out: dict[int, list[int]] = {}
    for label, _, _, parent in tracks.tolist():
        if parent:
            out.setdefault(parent, []).append(label)
    return out


def _heir(seen: _Partners, daughter: tuple[int, int], candidates: list[tuple[int, int]], offset: int) -> int | None:
    """Return the result daughter that stands for a daughter when both have begun; both are (track, first frame)."""
    track, begin = daughter
    for other, other_begin in candidates:
        if abs(other_begin - begin) <= offset and seen.partner(track, max(begin, other_begin)) == other:
            return other
    return None


def _division_rows(error: str, side: Side, mothers: Ints) -> pl.DataFrame:
    rows = _rows(side.tracks, mothers) if len(mothers) else np.empty((0, 4), np.int64)
    return pl.DataFrame(
        {"frame": rows[:, 2].astype(np.int32), "error": [error] * len(rows), "track": rows[:, 0]},
        schema_overrides={"error": pl.String},
    )
