"""All scores of a tracking result against the truth, and every error by its frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.evaluation.aogm import GraphErrors, graph_errors
from kinocyte.evaluation.comparison import Comparison, Movie, compare
from kinocyte.evaluation.identity import IdentityScores, identity_scores
from kinocyte.evaluation.lineages import Divisions, branching, cell_cycle_accuracy, complete_tracks, track_fractions
from kinocyte.evaluation.overlaps import LabelImages, frame_of, overlaps

#: Reference masks by frame; for single planes of a 3D frame, by frame and plane.
ReferenceMasks = Mapping[int, NDArray[Any] | Mapping[int, NDArray[Any]]]


@dataclass(frozen=True, eq=False)
class TrackingScores:
    """Scores of a tracking result; None where nothing defines them.

    SEG, TRA, DET, LNK, CT, TF, CCA and BC(i) are those of the Cell Tracking Challenge (Maska et al. 2023,
    doi:10.1038/s41592-023-01879-y), with AOGM and its six counts; ``identity`` holds HOTA and IDF1.
    """

    graph: GraphErrors
    seg: float | None
    ct: float | None
    tf: float | None
    cca: float | None
    divisions: tuple[Divisions, ...]
    """BC(0), BC(1) .. and the divisions behind each."""
    identity: IdentityScores

    @property
    def tra(self) -> float | None:
        """Tracking accuracy."""
        return self.graph.tra

    @property
    def det(self) -> float | None:
        """Detection accuracy."""
        return self.graph.det

    @property
    def lnk(self) -> float | None:
        """Linking accuracy."""
        return self.graph.lnk

    @property
    def problems(self) -> tuple[str, ...]:
        """What contradicts the form of the truth or the result, one sentence each."""
        comparison = self.graph.comparison
        return comparison.reference.problems + comparison.result.problems

    @property
    def errors(self) -> pl.DataFrame:
        """One row per error in order of frames; see `kinocyte.evaluation.aogm.GraphErrors.table`."""
        return self.graph.table()

    @property
    def errors_per_frame(self) -> pl.DataFrame:
        """Number of errors of each kind and their penalty in every frame: ``frame penalty`` and one column per kind."""
        counts = self.graph.counts
        table = self.errors
        every = pl.DataFrame({"frame": np.arange(self.graph.comparison.frames, dtype=np.int32)})
        sums = table.group_by("frame").agg(
            pl.col("penalty").sum(), *((pl.col("error") == name).sum().cast(pl.Int64).alias(name) for name in counts)
        )
        return every.join(sums, on="frame", how="left").fill_null(0).sort("frame")

    def as_dict(self) -> dict[str, float | int | None]:
        """Return all scores by the names the field uses, ready for JSON."""
        graph, identity = self.graph, self.identity
        return {
            "SEG": self.seg, "TRA": graph.tra, "DET": graph.det, "LNK": graph.lnk,
            "CT": self.ct, "TF": self.tf, "CCA": self.cca,
            **{f"BC({d.max_offset_frames})": d.bc for d in self.divisions},
            "AOGM": graph.aogm, "AOGM_0": graph.aogm_empty,
            **dict(zip(("NS", "FN", "FP", "ED", "EA", "EC"), graph.counts.values(), strict=True)),
            "HOTA": identity.hota, "DetA": identity.detection_accuracy, "AssA": identity.association_accuracy,
            "IDF1": identity.idf1, "IDP": identity.id_precision, "IDR": identity.id_recall,
        }  # fmt: skip


def score_tracking(
    reference: Movie,
    result: Movie,
    *,
    masks: ReferenceMasks | None = None,
    scale: Scale | None = None,
    max_distance_um: float | None = None,
    partial: bool = False,
    division_offsets: int = 3,
) -> TrackingScores:
    """Score a tracking result against the truth.

    Parameters
    ----------
    reference, result : LabelMovie or ObjectMovie
        Truth and result; see `kinocyte.evaluation.comparison.compare` for how their objects are matched.
    masks : mapping of int to array, optional
        Reference masks for SEG by frame, or by frame and plane. SEG is None where they are left out: the markers of a
        tracking truth need not be whole cells.
    scale : Scale, optional
        Calibration, where a truth of positions meets label images.
    max_distance_um : float, optional
        Match by distance instead of images.
    partial : bool
        The truth names only some of the cells: what stands for none of them is not held against the result.
    division_offsets : int
        BC(i) for i from 0 up to this number of frames.

    Returns
    -------
    TrackingScores

    Raises
    ------
    ParameterError, TableError
        If the movies cannot be matched; the message says why.
    """
    if division_offsets < 0:
        msg = f"division_offsets is {division_offsets}; give 0 or a positive whole number."
        raise ParameterError(msg)
    found = compare(reference, result, scale=scale, max_distance_um=max_distance_um, partial=partial)
    return score_comparison(
        found,
        seg=None if masks is None else segmentation_measure(masks, _images(result)),
        division_offsets=division_offsets,
    )


def score_comparison(found: Comparison, *, seg: float | None = None, division_offsets: int = 3) -> TrackingScores:
    """Score two movies whose objects are matched already; parameters as in `score_tracking`."""
    return TrackingScores(
        graph_errors(found), seg, complete_tracks(found), track_fractions(found), cell_cycle_accuracy(found),
        tuple(branching(found, i) for i in range(division_offsets + 1)), identity_scores(found),
    )  # fmt: skip


def _images(result: Movie) -> LabelImages:
    if result.images is None:
        msg = "SEG needs the label images of the result; give them or leave masks out."
        raise ParameterError(msg)
    return result.images


def segmentation_measure(masks: ReferenceMasks, images: LabelImages) -> float | None:
    """Return SEG, the mean over reference objects of the IoU with the object that covers more than half of them.

    Parameters
    ----------
    masks : mapping of int to array
        Reference masks by frame, or by frame and plane.
    images : sequence of arrays, array (t, ...) or callable
        Label images of the result.

    Returns
    -------
    float or None
        None without reference objects (Maska et al. 2014, doi:10.1093/bioinformatics/btu080).
    """
    total, objects = 0.0, 0
    for t, mask in masks.items():
        image = frame_of(images, t)
        if isinstance(mask, Mapping):
            planes = sorted(mask)
            shared = overlaps(np.stack([mask[z] for z in planes]), image[planes])
        else:
            shared = overlaps(np.asarray(mask), image)
        objects += len(shared.reference.label)
        total += float(shared.iou[shared.covered > 0.5].sum())
    return total / objects if objects else None
