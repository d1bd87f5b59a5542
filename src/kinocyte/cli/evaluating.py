"""`kinocyte evaluate`: how far a tracking or a segmentation is from the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from kinocyte.cli._options import Json
from kinocyte.cli.console import err, out, print_json, score, table
from kinocyte.core.errors import ParameterError

if TYPE_CHECKING:
    import polars as pl

    from kinocyte.core.scale import Scale
    from kinocyte.evaluation.segmentation import SegmentationReport
    from kinocyte.evaluation.tracking import TrackingScores

app = App(name="evaluate", help_format="plaintext", help="Score tracking, cells, events or a model against the truth.")
app.command("kinocyte.cli.event_scoring:events", name="events", help="Score called events against annotated ones.")
app.command("kinocyte.cli.model_evaluating:model", name="model", help="Judge a model by images with known targets.")

_SHOWN = 20
_TRACKING = {
    "SEG": "overlap of the cells with the reference masks",
    "TRA": "tracking: share of the work of making the truth that the result saves",
    "DET": "detection: the same for objects alone",
    "LNK": "linking: the same for links alone",
    "CT": "tracks found complete",
    "TF": "longest unbroken stretch of a track",
    "CCA": "distribution of cell-cycle times",
    "BC": "divisions found, at most (i) frames off",
    "AOGM": "weighted sum of all repairs",
    "AOGM_0": "the same for an empty result",
    "NS": "objects to be split",
    "FN": "objects missed",
    "FP": "objects too many",
    "ED": "links to be deleted",
    "EA": "links to be added",
    "EC": "links that are a division and should not be, or the reverse",
    "HOTA": "detection and identity over time",
    "DetA": "its part of detection",
    "AssA": "its part of identity",
    "IDF1": "objects with the right identity, F1",
    "IDP": "precision of identity",
    "IDR": "recall of identity",
    "alpha": "positions along paired tracks, 1 = all there and in place",
    "beta": "the same with a penalty for spurious tracks",
    "JSC": "positions found, Jaccard index",
    "JSC_theta": "tracks found, Jaccard index",
    "RMSE_um": "error of matched positions",
    "RMSE_px": "error of matched positions, in pixels",
}


@app.command
def tracking(
    truth: Path,
    result: Path,
    /,
    *,
    json: Json = False,
    errors: Path | None = None,
    seg: Path | None = None,
    partial: bool = False,
    truth_links: Path | None = None,
    result_links: Path | None = None,
    max_distance_um: float | None = None,
    pixel_size_um: float | None = None,
    z_step_um: float | None = None,
    gate_um: float | None = None,
) -> int:
    """Score tracks against the truth: SEG, TRA, DET, LNK, CT, TF, CCA, BC, AOGM, HOTA, IDF1, and every error.

    Positions and tracks are scored as in the particle tracking challenge, too: alpha, beta, JSC, RMSE.

    Parameters
    ----------
    truth : Path
        Cell Tracking Challenge folder (01_GT or its TRA), or a CSV or Parquet of objects: object_id, frame, x_um, y_um.
    result : Path
        Cell Tracking Challenge folder (01_RES), or such a table.
    errors : Path
        File to write, CSV or Parquet: one row an error, frame by frame. It must not exist yet.
    seg : Path
        Folder of the masks SEG is measured with; the SEG folder of the truth when left out.
    partial : bool
        The truth names only some of the cells: what stands for none of them is not held against the result.
    truth_links : Path
        Links of a truth that is a table (source_id, target_id); X_links.csv beside X_objects.csv when left out.
    result_links : Path
        Links of a result that is a table.
    max_distance_um : float
        Match two tables by distance: the largest distance in micrometres.
    pixel_size_um : float
        Pixel size in micrometres, where the truth is a table and the result a folder of masks.
    z_step_um : float
        Distance of planes in micrometres, likewise.
    gate_um : float
        For alpha, beta, JSC and RMSE: distance from which two positions have nothing to do with each other; left out:
        --max-distance-um of two tables, 5 pixels of masks.
    """
    from kinocyte.cli._scored import check_errors_file, particle_scores, read_sides, write_errors
    from kinocyte.evaluation.tracking import score_tracking

    check_errors_file(errors)
    sides = read_sides(truth, result, seg=seg, truth_links=truth_links, result_links=result_links)
    scale = _scale(pixel_size_um, z_step_um)
    scores = score_tracking(
        sides.reference, sides.result, masks=sides.masks, scale=scale, max_distance_um=max_distance_um, partial=partial
    )
    particles = particle_scores(sides, scores.graph.comparison, scale, gate_um, max_distance_um)
    found = _numbered(scores.errors, sides.start)
    if errors is not None:
        write_errors(found, errors)
    frames = _numbered(scores.errors_per_frame, sides.start)
    if json:
        print_json(_tracking_document(truth, result, scores, particles, frames))
    else:
        _show_tracking(scores, particles, frames, errors)
    return 0


def _scale(pixel_size_um: float | None, z_step_um: float | None) -> Scale | None:
    from kinocyte.core.scale import Scale

    for option, value in (("--pixel-size-um", pixel_size_um), ("--z-step-um", z_step_um)):
        if value is not None and not (math.isfinite(value) and value > 0):
            msg = f"{option} is {value}; give micrometres above 0."
            raise ParameterError(msg)
    if pixel_size_um is None:
        if z_step_um is not None:
            msg = "--z-step-um is of no use alone; give --pixel-size-um too."
            raise ParameterError(msg)
        return None
    return Scale.isotropic(pixel_size_um, z_um=z_step_um)


def _numbered(rows: pl.DataFrame, start: int) -> pl.DataFrame:
    """Return rows with frames as the names of the files number them."""
    import polars as pl

    return rows.with_columns(pl.col("^(to_)?frame$") + start) if start else rows


def _tracking_document(
    truth: Path, result: Path, scores: TrackingScores, particles: Mapping[str, float | None], frames: pl.DataFrame
) -> dict[str, Any]:
    return {
        "truth": str(truth),
        "result": str(result),
        "frames": scores.graph.comparison.frames,
        **scores.as_dict(),
        **particles,
        "errors_per_frame": frames.filter(frames["penalty"] > 0).to_dicts(),
        "problems": list(scores.problems),
    }


def _show_tracking(
    scores: TrackingScores, particles: Mapping[str, float | None], frames: pl.DataFrame, errors: Path | None
) -> None:
    every = {**scores.as_dict(), **particles}
    rows = [(n, score(v), _TRACKING[n.partition("(")[0]]) for n, v in every.items()]
    table("Tracking against the truth", ("score", "value", "what it is"), rows)
    worst = frames.filter(frames["penalty"] > 0)
    _show_errors("Frames with errors", worst, "penalty", errors)
    for problem in scores.problems[:_SHOWN]:
        err.print(f"warning: {problem}", style="yellow", markup=False, soft_wrap=True)
    if len(scores.problems) > _SHOWN:
        err.print(f"warning: {len(scores.problems) - _SHOWN} more; --json names all.", style="yellow", markup=False)


def _show_errors(title: str, rows: pl.DataFrame, by: str, errors: Path | None) -> None:
    """Print the rows with most errors in their order, and say where every single one stands."""
    if rows.height:
        shown = rows.with_row_index("place").sort(by, descending=True, maintain_order=True).head(_SHOWN)
        shown = shown.sort("place").drop("place")
        count = f"{title}: the worst {_SHOWN} of {rows.height}" if rows.height > _SHOWN else title
        table(count, [c.replace("_", " ") for c in shown.columns], [map(score, row) for row in shown.iter_rows()])  # type: ignore[misc] # an iterator of cells serves as a row
    else:
        out.print("There is no error.")
    if errors is not None:
        out.print(f"Every error is in {errors}.", markup=False, soft_wrap=True)
    elif rows.height:
        out.print("Every single error, with its place: --errors FILE.csv")


@app.command
def segmentation(
    truth: Path,
    result: Path,
    /,
    *,
    json: Json = False,
    errors: Path | None = None,
    matched_only: bool = False,
    boundary_px: float | None = None,
) -> int:
    """Score label images against the truth: IoU, F1, AP, PQ, DA, SQ, and every missed or spurious object.

    Images are paired by name without ending (TIFF and PNG); those of the Cell Tracking Challenge also by frame number.

    Parameters
    ----------
    truth : Path
        Folder of label images, or one file (a stack is a movie).
    result : Path
        Folder of label images with the same names, or one file; images beyond those of the truth are named and left.
    errors : Path
        File to write, CSV or Parquet: one row an error, image by image. It must not exist yet.
    matched_only : bool
        Score the images that both have, where images of the truth have no result.
    boundary_px : float
        Score outlines, too: the share within this many pixels of each other, boundary IoU, and their distances.
    """
    from kinocyte.cli._scored import boundary_scores, check_errors_file, named, pair_images, write_errors
    from kinocyte.evaluation.segmentation import score_segmentations

    check_errors_file(errors)
    pairs = pair_images(truth, result, matched_only=matched_only)
    report = score_segmentations(pairs.images(), pairs.names)
    outlines = {} if boundary_px is None else boundary_scores(pairs, boundary_px)
    if errors is not None:
        write_errors(report.errors, errors)
    if json:
        print_json(
            {
                "truth": str(truth),
                "result": str(result),
                "images": len(pairs.pairs),
                **report.pooled.as_dict(),
                "mean_over_images": {**report.mean, **outlines},
                "per_image": report.per_image.to_dicts(),
                "only_in_truth": list(pairs.only_truth),
                "only_in_result": list(pairs.only_result),
            }
        )
        return 0
    _show_segmentation(report, outlines, errors)
    for names, folder in ((pairs.only_truth, truth), (pairs.only_result, result)):
        if names:
            err.print(f"warning: not scored, only in '{folder}': {named(names)}", style="yellow", markup=False)
    return 0


def _show_segmentation(report: SegmentationReport, outlines: Mapping[str, float | None], errors: Path | None) -> None:
    mean = report.mean
    rows = [(n.replace("_", " "), score(v), score(mean.get(n))) for n, v in report.pooled.as_dict().items()]
    rows += [(n.replace("_", " "), "-", score(v)) for n, v in outlines.items()]
    table("Segmentation against the truth", ("score", "all objects", "mean of images"), rows)
    missed = report.per_image.select("image", "f1", "mean_matched_iou", "false_negatives", "false_positives")
    wrong = missed.with_columns(errors=missed["false_negatives"] + missed["false_positives"])
    _show_errors("Images with errors (at an overlap of 0.5)", wrong.filter(wrong["errors"] > 0), "errors", errors)
