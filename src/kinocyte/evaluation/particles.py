"""Scores of the particle tracking challenge: alpha, beta, Jaccard of tracks and positions, localisation error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import require
from kinocyte.evaluation.assignment import best_pairs
from kinocyte.evaluation.comparison import Comparison
from kinocyte.evaluation.movies import Side, whole_numbers
from kinocyte.evaluation.overlaps import Floats, Ints, unique_pairs


@dataclass(frozen=True)
class ParticleScores:
    """Scores of Chenouard et al. 2014 (doi:10.1038/nmeth.2808); None where the truth or every pair is empty.

    ``alpha`` is 1 for a perfect result and 0 for none; ``beta`` is alpha with a penalty for spurious tracks, never
    above it; ``jsc`` is the Jaccard index of positions, ``jsc_theta`` that of tracks; ``rmse_um`` the root mean square
    distance of matched positions.
    """

    alpha: float | None
    beta: float | None
    jsc: float | None
    jsc_theta: float | None
    rmse_um: float | None
    matched_tracks: int
    missed_tracks: int
    spurious_tracks: int
    matched_positions: int
    missed_positions: int
    spurious_positions: int

    def as_dict(self, *, unit: str = "um") -> dict[str, float | None]:
        """Return the scores by the names the field uses, ready for JSON; ``unit`` is that of the distances."""
        return {
            "alpha": self.alpha, "beta": self.beta, "JSC": self.jsc, "JSC_theta": self.jsc_theta,
            f"RMSE_{unit}": self.rmse_um,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Tracks:
    frame: Ints
    track: Ints
    """Index from 0."""
    position: Floats
    length: Ints
    """Positions of each track."""

    def presence(self, first: int, frames: int) -> NDArray[np.uint8]:
        """Return a bit per track and frame, packed along frames."""
        seen = np.zeros((len(self.length), frames), np.bool_)
        seen[self.track, self.frame - first] = True
        return np.packbits(seen, axis=1)


def score_particles(reference: pl.DataFrame, result: pl.DataFrame, *, gate_um: float) -> ParticleScores:
    """Score tracks of positions against the truth.

    Tracks are paired so that the sum of their distances is least, where the distance of two tracks is the sum over
    frames of the distance of their positions, at most the gate, and the gate where only one of them is there; a truth
    without a partner costs the gate in each of its frames.

    Parameters
    ----------
    reference, result : polars.DataFrame
        One row per position: ``track_id frame x_um y_um`` and, in 3D, ``z_um``.
    gate_um : float
        Distance from which positions have nothing to do with each other (5 pixels in the challenge).

    Returns
    -------
    ParticleScores

    Raises
    ------
    TableError
        If a column is missing, a position is not finite, or a track has two positions in one frame.
    ParameterError
        If the gate is not above 0.
    """
    if not (gate_um > 0 and math.isfinite(gate_um)):
        msg = f"gate_um is {gate_um}; give a distance above 0."
        raise ParameterError(msg)
    axes = ["x_um", "y_um"] + ["z_um"] * ("z_um" in reference.columns and "z_um" in result.columns)
    truth, found = (_tracks(t, axes, name=n) for t, n in ((reference, "reference"), (result, "result")))
    i, j, distance = _near(truth, found, gate_um)
    left, right = truth.track[i], found.track[j]
    first, second, of, _ = unique_pairs(left, right)
    pairs = np.column_stack([first, second])
    saved = np.bincount(of, gate_um - distance, len(pairs))
    common = _common_frames(truth, found, pairs)
    # what pairing saves against leaving the truth alone and the partner spurious
    gain = saved - gate_um * (found.length[pairs[:, 1]] - common)
    chosen = best_pairs(pairs[:, 0], pairs[:, 1], gain)
    matched = chosen[of]
    worst = gate_um * len(truth.frame)
    cost = worst - float(gain[chosen].sum())
    return _scores(truth, found, pairs[chosen], distance[matched], (cost, worst, gate_um))


def score_positions(found: Comparison, *, gate: float, scale: Scale | None = None) -> ParticleScores:
    """Score the positions and tracks of two movies that were compared; each branch of a lineage is a track.

    Parameters
    ----------
    found : Comparison
        Two movies; of label images, the centres of the objects count.
    gate : float
        As in `score_particles`, in the unit of the positions: micrometres with a scale.
    scale : Scale, optional
        Calibration, where positions are in pixels and micrometres are wanted.

    Returns
    -------
    ParticleScores
        ``rmse_um`` is in the same unit.

    Raises
    ------
    TableError, ParameterError
        As `score_particles`.
    CalibrationError
        If positions are 3D and the scale knows no distance of planes.
    """
    axes = min(found.reference.centre.shape[1], found.result.centre.shape[1])
    size = np.ones(axes) if scale is None else np.asarray(scale.spacing_um(axes))
    reference, result = (_positions(side, size) for side in (found.reference, found.result))
    return score_particles(reference, result, gate_um=gate)


def _positions(side: Side, size: Floats) -> pl.DataFrame:
    place = side.centre[:, -len(size) :] * size
    names = ("z_um", "y_um", "x_um")[-len(size) :]
    return pl.DataFrame({"track_id": side.track, "frame": side.frame, **{n: place[:, k] for k, n in enumerate(names)}})


def _scores(
    truth: _Tracks, found: _Tracks, pairs: Ints, distance: Floats, costs: tuple[float, float, float]
) -> ParticleScores:
    cost, worst, gate = costs
    spurious = np.setdiff1d(np.arange(len(found.length)), pairs[:, 1])
    extra = gate * float(found.length[spurious].sum())
    tp = len(distance)
    fn, fp = len(truth.frame) - tp, len(found.frame) - tp
    missed = len(truth.length) - len(pairs)
    tracks = len(pairs) + missed + len(spurious)
    return ParticleScores(
        alpha=1 - cost / worst if worst else None,
        beta=(worst - cost) / (worst + extra) if worst else None,
        jsc=tp / (tp + fn + fp) if tp + fn + fp else None,
        jsc_theta=len(pairs) / tracks if tracks else None,
        rmse_um=math.sqrt(float((distance**2).mean())) if tp else None,
        matched_tracks=len(pairs), missed_tracks=missed, spurious_tracks=len(spurious),
        matched_positions=tp, missed_positions=fn, spurious_positions=fp,
    )  # fmt: skip


def _tracks(table: pl.DataFrame, axes: list[str], *, name: str) -> _Tracks:
    require(table, ["track_id", "frame", *axes], table=f"positions of the {name}")
    table = table.sort("frame", "track_id")
    if table.select(pl.struct("track_id", "frame").is_duplicated().any()).item():
        row = table.filter(pl.struct("track_id", "frame").is_duplicated()).row(0, named=True)
        msg = f"Track {row['track_id']} of the {name} has two positions in frame {row['frame']}; keep one."
        raise TableError(msg)
    position = table.select(pl.col(axes).cast(pl.Float64).fill_null(math.nan)).to_numpy()
    if not np.isfinite(position).all():
        row = table.row(int(np.flatnonzero(~np.isfinite(position).all(axis=1))[0]), named=True)
        msg = f"Track {row['track_id']} of the {name} has no position in frame {row['frame']}; drop the row or fill it."
        raise TableError(msg)
    ids, frame = (whole_numbers(table, c, table=f"positions of the {name}") for c in ("track_id", "frame"))
    _, track, length = np.unique(ids, return_inverse=True, return_counts=True)
    return _Tracks(frame, track, position, length.astype(np.int64))


def _near(truth: _Tracks, found: _Tracks, gate: float) -> tuple[Ints, Ints, Floats]:
    """Return pairs of positions of one frame nearer than the gate."""
    from scipy.spatial import cKDTree

    first, second, far = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    for t in np.intersect1d(truth.frame, found.frame):
        a, b = (slice(*np.searchsorted(s.frame, [t, t + 1])) for s in (truth, found))
        tree = cKDTree(truth.position[a])
        near = tree.sparse_distance_matrix(cKDTree(found.position[b]), gate, output_type="ndarray")
        near = near[near["v"] < gate]
        first.append(near["i"] + a.start)
        second.append(near["j"] + b.start)
        far.append(near["v"])
    return np.concatenate(first), np.concatenate(second), np.concatenate(far)


def _common_frames(truth: _Tracks, found: _Tracks, pairs: Ints) -> Ints:
    """Return in how many frames both tracks of each pair are there."""
    if len(pairs) == 0:
        return np.empty(0, np.int64)
    both = np.concatenate([truth.frame, found.frame])
    first, frames = int(both.min()), int(both.max() - both.min()) + 1
    a, b = truth.presence(first, frames), found.presence(first, frames)
    block = max(1, 50_000_000 // a.shape[1])
    parts = [
        np.bitwise_count(a[pairs[k : k + block, 0]] & b[pairs[k : k + block, 1]]).sum(axis=1, dtype=np.int64)
        for k in range(0, len(pairs), block)
    ]
    return np.concatenate(parts)
