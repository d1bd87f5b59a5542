"""What a sweep is judged by: tracked masks, label images, links, or a few annotated tracks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from kinocyte.core.errors import InputFileError, KinocyteError, ParameterError, TableError, nearest
from kinocyte.core.scale import Scale
from kinocyte.evaluation.comparison import Comparison, Movie, compare, only_annotated
from kinocyte.evaluation.movies import LabelMovie, ObjectMovie, side_of_objects
from kinocyte.evaluation.segmentation import score_segmentations
from kinocyte.evaluation.tracking import ReferenceMasks, score_comparison, segmentation_measure
from kinocyte.interop.label_files import frame_files
from kinocyte.interop.plain_tables import read_table
from kinocyte.interop.scoring_files import ReferenceMasks as MaskFiles
from kinocyte.interop.scoring_files import label_file, label_files, segmentation_folder, tracked_folder
from kinocyte.interop.source import Image

Kind = Literal["tracked masks", "label images", "objects", "links", "tracks"]
Scores = dict[str, float | None]

#: Scores without truth.
CONSISTENCY = (
    "consistency", "consistency_without_tenth", "consistency_half_rate", "consistency_linked_share",
    "consistency_short_track_share", "consistency_count_jumps",
)  # fmt: skip
#: Scores of which less is better.
LOWER_IS_BETTER = frozenset({"AOGM", "consistency_short_track_share", "consistency_count_jumps"})
_TRACKING = ("TRA", "DET", "LNK", "SEG", "CT", "TF", "CCA", "BC(0)", "BC(1)", "BC(2)", "HOTA", "IDF1", "AOGM")
_SEGMENTATION = {
    "seg_f1": "f1", "seg_ap": "mean_average_precision", "seg_pq": "panoptic_quality", "seg_iou": "mean_matched_iou",
}  # fmt: skip
_TABLES = (".csv", ".parquet")
_TRACK = ("track", "track_id")


@dataclass(frozen=True)
class Truth:
    """A truth on disk; it is opened where it is needed.

    Parameters
    ----------
    path : Path
        Folder or file.
    kind : str
        What it holds.
    partial : bool
        Whether it names only some of the cells.
    match_distance_um : float, optional
        Match positions by distance instead of by the object that covers them.
    """

    path: Path
    kind: Kind
    partial: bool = False
    match_distance_um: float | None = None

    @property
    def scores_tracks(self) -> bool:
        """Tell whether it knows which object becomes which."""
        return self.kind != "label images"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A truth matched with the objects of one position; what depends on links is left open."""

    truth: Truth
    matched: Comparison | None
    links: pl.DataFrame | None
    fixed: Mapping[str, float | None]
    """Scores that the links do not change."""


def truth_at(path: str | Path, *, partial: bool | None = None, match_distance_um: float | None = None) -> Truth:
    """Return the truth at a path, by what it holds.

    Parameters
    ----------
    path : str or Path
        Folder of the Cell Tracking Challenge (``01_GT`` or its ``TRA``); folder or stack of label images; CSV or
        Parquet of links (``source_id target_id``), of objects (``object_id frame x_um y_um``, with the table of links
        beside it) or of annotated tracks (``track frame x_um y_um``, ``z_um``, ``parent`` where there are divisions).
    partial : bool, optional
        Whether it names only some of the cells; annotated tracks do unless said otherwise.
    match_distance_um : float, optional
        Match positions by distance instead of by the object that covers them.

    Raises
    ------
    InputFileError, TableError, ParameterError
        If it is not there or holds no truth that is known.
    """
    place = Path(path)
    if match_distance_um is not None and not 0 < match_distance_um < float("inf"):
        msg = f"--match-distance-um is {match_distance_um}; give micrometres above 0."
        raise ParameterError(msg)
    kind = _kind(place)
    some = kind == "tracks" if partial is None else partial
    if some and kind == "label images":
        msg = f"'{place}' holds label images without tracks; partial truth needs tracks."
        raise ParameterError(msg)
    if match_distance_um is not None and kind not in {"objects", "tracks"}:
        msg = f"--match-distance-um goes with a truth of positions; '{place}' holds {kind}."
        raise ParameterError(msg)
    return Truth(place.absolute(), kind, some, match_distance_um)


def _kind(path: Path) -> Kind:
    if not path.exists():
        msg = f"The truth '{path}' does not exist; check the name."
        raise InputFileError(msg)
    if path.is_dir():
        tracked = any(frame_files(f, p) for f in (path / "TRA", path) for p in ("man_track", "mask"))
        return "tracked masks" if tracked else "label images"
    if path.suffix.lower() not in _TABLES:
        return "label images"
    columns = read_table(path).columns
    if {"source_id", "target_id"} <= set(columns):
        return "links"
    if {"object_id", "frame"} <= set(columns):
        return "objects"
    if {"frame", "x_um", "y_um"} <= set(columns) and any(t in columns for t in _TRACK):
        return "tracks"
    msg = (
        f"'{path}' has the columns {', '.join(columns)}; a truth has source_id and target_id, or object_id, frame, "
        "x_um and y_um, or track, frame, x_um and y_um."
    )
    raise TableError(msg)


def check_fits(truth: Truth, frames: int, frame_shape: tuple[int, ...]) -> None:
    """Check before any work that a truth is whole and of the size of the movie.

    Raises
    ------
    InputFileError, TableError, ParameterError
        If not; the message names the file.
    """
    if truth.kind in {"objects", "tracks"}:
        _positions(truth, frames)
    elif truth.kind == "tracked masks":
        folder = tracked_folder(truth.path)
        if (len(folder.files), *folder.frame_shape) != (frames, *frame_shape):
            sizes = [f"{n} frames of {' x '.join(map(str, s))} pixels" for n, s in (
                (len(folder.files), folder.frame_shape), (frames, frame_shape))]  # fmt: skip
            msg = f"'{folder.folder}' has {sizes[0]} and the movie {sizes[1]}; give the truth of this movie."
            raise ParameterError(msg)
    elif truth.kind == "label images":
        try:
            _frames(truth.path, frames)
        except ParameterError as error:
            msg = f"'{truth.path}' does not fit the movie: {error}"
            raise ParameterError(msg) from error


def score_names(truths: Iterable[Truth | None]) -> list[str]:
    """Return the scores that trials can have with these truths."""
    names: list[str] = []
    for truth in truths:
        if truth is None:
            names += CONSISTENCY
        else:
            names += _TRACKING if truth.scores_tracks else _SEGMENTATION
    return list(dict.fromkeys(names))


def prepare(
    truth: Truth, objects: pl.DataFrame, labels: Callable[[int], Image] | None, *, frames: int, scale: Scale
) -> Prepared:
    """Match a truth with the objects of a position.

    Parameters
    ----------
    truth : Truth
        The truth.
    objects : polars.DataFrame
        Columns of `kinocyte.core.schema.OBJECTS`.
    labels : callable, optional
        Label image of a frame.
    frames : int
        Number of frames.
    scale : Scale
        Calibration.

    Raises
    ------
    InputFileError, TableError, ParameterError
        If truth and objects do not fit together; the message names the file.
    """
    try:
        if truth.kind == "links":
            return Prepared(truth, None, read_table(truth.path).select("source_id", "target_id"), {})
        if truth.kind == "label images":
            return Prepared(truth, None, None, _segmentation(truth.path, labels, frames))
        return _matched(truth, objects, labels, frames, scale)
    except (InputFileError, TableError):
        raise
    except KinocyteError as error:
        msg = f"'{truth.path}' does not fit the movie: {error}"
        raise ParameterError(msg) from error


def score(prepared: Prepared, objects: pl.DataFrame, links: pl.DataFrame) -> Scores:
    """Return the scores of links between the objects a truth was matched with."""
    truth = prepared.truth
    if not truth.scores_tracks:
        return dict(prepared.fixed)
    side, _ = side_of_objects(ObjectMovie(objects, links), name="result")
    if prepared.links is not None:
        known, _ = side_of_objects(ObjectMovie(objects, prepared.links), name=f"truth '{truth.path}'")
        every = np.arange(len(side.frame))
        found = Comparison(known, side, every, every, np.full(len(every), np.nan), side.frames)
    elif prepared.matched is not None:
        before = prepared.matched.result
        found = replace(prepared.matched, result=replace(side, centre=before.centre, problems=before.problems))
    scores = score_comparison(only_annotated(found) if truth.partial else found).as_dict()
    return {**{n: scores[n] for n in _TRACKING if n in scores}, **prepared.fixed}


def _matched(
    truth: Truth, objects: pl.DataFrame, labels: Callable[[int], Image] | None, frames: int, scale: Scale
) -> Prepared:
    none = pl.DataFrame(schema={"source_id": pl.Int64, "target_id": pl.Int64})
    fixed: Scores = {}
    reference: Movie
    if truth.kind == "tracked masks":
        folder = tracked_folder(truth.path)
        reference = LabelMovie(folder.read, folder.tracks, len(folder.files))
        masks = segmentation_folder(folder)
        if masks is not None and labels is not None:
            files: ReferenceMasks = MaskFiles(masks, folder)
            fixed["SEG"] = segmentation_measure(files, labels)
    else:
        reference = _positions(truth, frames)
    by_distance = truth.match_distance_um
    if labels is None and by_distance is None and truth.kind != "tracked masks":
        msg = "the cells have no label images; say how near a position must be with --match-distance-um."
        raise ParameterError(msg)
    result = ObjectMovie(objects, none, labels if by_distance is None else None, frames)
    found = compare(reference, result, scale=scale, max_distance_um=by_distance)
    return Prepared(truth, found, None, fixed)


def _positions(truth: Truth, frames: int) -> ObjectMovie:
    table = read_table(truth.path)
    wrong = table.filter(~pl.col("frame").is_between(0, frames - 1))["frame"]
    if len(wrong):
        msg = f"'{truth.path}' has the frame {wrong[0]}, but the movie has {frames}, counted from 0."
        raise TableError(msg)
    if truth.kind == "objects":
        beside = truth.path.with_name(truth.path.name.replace("objects", "links"))
        if beside == truth.path or not beside.is_file():
            msg = f"There is no table of links beside '{truth.path}'; name it as the objects, with links for objects."
            raise InputFileError(msg)
        return ObjectMovie(table.drop("label", strict=False), read_table(beside), frames=frames)
    return _annotated(table, truth.path, frames)


def _annotated(table: pl.DataFrame, path: Path, frames: int) -> ObjectMovie:
    """Return tracks as objects, each linked to the next of its track, and to the last of the parent of its track."""
    track = next(t for t in _TRACK if t in table.columns)
    axes = [a for a in ("x_um", "y_um", "z_um") if a in table.columns]
    rows = table.drop_nulls([track, "frame"]).sort(track, "frame").with_row_index("object_id", offset=1)
    twice = rows.filter(rows.select(track, "frame").is_duplicated())
    if twice.height:
        msg = f"'{path}' places the track {twice[track][0]} twice in frame {twice['frame'][0]}; keep one row."
        raise TableError(msg)
    ids = rows["object_id"].cast(pl.Int64)
    follows = (rows[track] == rows[track].shift(1)).fill_null(value=False)
    links = [pl.DataFrame({"source_id": ids.shift(1).filter(follows), "target_id": ids.filter(follows)})]
    parent = next((p for p in ("parent", "parent_id", "parent_track") if p in table.columns), None)
    if parent is not None:
        ends = rows.group_by(track, maintain_order=True).agg(
            first=pl.col("object_id").first(), last=pl.col("object_id").last(), mother=pl.col(parent).first()
        )
        born = ends.filter(pl.col("mother").is_not_null() & (pl.col("mother") != pl.col(track)))
        born = born.filter(pl.col("mother") != 0) if born["mother"].dtype.is_numeric() else born
        joined = born.join(ends.select(track, mother_last="last"), left_on="mother", right_on=track, how="left")
        lost = joined.filter(pl.col("mother_last").is_null())
        if lost.height:
            known = ends[track].cast(pl.String).to_list()
            msg = f"'{path}' names the parent {lost['mother'][0]}; {nearest(str(lost['mother'][0]), known)}."
            raise TableError(msg)
        links.append(
            joined.select(source_id=pl.col("mother_last").cast(pl.Int64), target_id=pl.col("first").cast(pl.Int64))
        )
    objects = rows.select(ids, "frame", *(pl.col(a).cast(pl.Float64) for a in axes))
    return ObjectMovie(objects, pl.concat(links), frames=frames)


def _segmentation(path: Path, labels: Callable[[int], Image] | None, frames: int) -> Scores:
    if labels is None:
        msg = "the cells have no label images to compare."
        raise ParameterError(msg)
    truth = _frames(path, frames)
    pairs = ((read(), labels(t)) for t, read in truth.items())
    report = score_segmentations(pairs, [f"of frame {t}" for t in truth]).pooled.as_dict()
    return {name: report[field] for name, field in _SEGMENTATION.items()}


def _frames(path: Path, frames: int) -> dict[int, Callable[[], Image]]:
    """Return how to read the truth of each annotated frame."""
    if path.is_file():
        stack = label_file(path)
        if stack.frames != frames and label_file(path, planes=True).frames != frames:
            msg = f"it has {stack.frames} frames and the movie {frames}."
            raise ParameterError(msg)
        return {t: lambda t=t: stack.read(t) for t in range(stack.frames)}  # type: ignore[misc] # bound now
    files = label_files(path)
    if len(files) == frames:
        numbers = list(range(frames))
    else:
        found = [re.search(r"(\d+)(?!.*\d)", name) for name in files]
        numbers = [int(m[1]) if m else -1 for m in found]
        if len(set(numbers)) < len(numbers) or min(numbers) < 0 or max(numbers) >= frames:
            msg = (
                f"it holds {len(files)} images and the movie {frames} frames; annotate every frame, or end each name "
                "with the number of its frame, counted from 0."
            )
            raise ParameterError(msg)
    opened = [label_file(p) for p in files.values()]
    return {t: f.read for t, f in sorted(zip(numbers, opened, strict=True), key=lambda item: item[0])}
