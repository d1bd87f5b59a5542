"""What `kinocyte evaluate` reads: folders of masks, tables of objects and links, and label images by name."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kinocyte.core.errors import InputFileError, ParameterError, StoreError, TableError
from kinocyte.core.scale import Scale
from kinocyte.evaluation.comparison import Comparison
from kinocyte.evaluation.movies import LabelMovie, ObjectMovie
from kinocyte.experiment.storage import Storage
from kinocyte.interop.plain_tables import read_table
from kinocyte.interop.scoring_files import (
    LabelFile,
    ReferenceMasks,
    TrackedFolder,
    label_file,
    label_files,
    same_frames,
    segmentation_folder,
    tracked_folder,
)
from kinocyte.interop.source import Image

_TABLES = (".csv", ".parquet")
#: a frame number above this is a time in other units, and a list of its frames would not fit into memory
_MOST_FRAMES = 10_000_000
_NAMED = 3


@dataclass(frozen=True)
class Sides:
    """Truth and result of one movie, and what SEG is measured with."""

    reference: LabelMovie | ObjectMovie
    result: LabelMovie | ObjectMovie
    masks: ReferenceMasks | None
    start: int
    """Number of the first frame in the names of the files."""


def read_sides(
    truth: Path, result: Path, *, seg: Path | None, truth_links: Path | None, result_links: Path | None
) -> Sides:
    """Open truth and result; a CSV or Parquet is a table of objects, everything else a folder of tracked masks.

    Raises
    ------
    InputFileError, TableError, ParameterError
        If something is missing, damaged, or does not fit together.
    """
    left = _side(truth, truth_links, "--truth-links")
    right = _side(result, result_links, "--result-links")
    masks = None
    if isinstance(left, TrackedFolder) and isinstance(right, TrackedFolder):
        same_frames(left, right)
    if isinstance(right, TrackedFolder):
        folder = seg or (segmentation_folder(left) if isinstance(left, TrackedFolder) else None)
        masks = ReferenceMasks(folder, right) if folder is not None else None
    elif seg is not None:
        msg = f"--seg needs masks of the result, but '{result}' is a table; leave it out."
        raise ParameterError(msg)
    start = next((s.start for s in (left, right) if isinstance(s, TrackedFolder)), 0)
    if start and not (isinstance(left, TrackedFolder) and isinstance(right, TrackedFolder)):
        msg = f"The first mask has the number {start}; beside a table of objects the files count from 0 as its frames."
        raise InputFileError(msg)
    if isinstance(left, ObjectMovie) and isinstance(right, TrackedFolder):
        _within(left, right, truth)
    return Sides(_movie(left), _movie(right), masks, start)


#: as in the particle tracking challenge
_GATE_PX = 5.0


def particle_scores(
    sides: Sides, found: Comparison, scale: Scale | None, gate_um: float | None, max_distance_um: float | None
) -> dict[str, float | None]:
    """Return alpha, beta, JSC and RMSE by name: in micrometres of two tables or a known pixel size, else in pixels.

    Raises
    ------
    ParameterError
        If a gate in micrometres meets masks of unknown pixel size.
    """
    from kinocyte.evaluation.particles import score_positions

    tables = isinstance(sides.reference, ObjectMovie) and isinstance(sides.result, ObjectMovie)
    if tables:
        gate = gate_um if gate_um is not None else max_distance_um
        if gate is None:  # the comparison asks for a distance before
            msg = "Two tables are compared by distance; give --max-distance-um."
            raise ParameterError(msg)
        return score_positions(found, gate=gate).as_dict()
    if scale is None:
        if gate_um is not None:
            msg = "--gate-um needs the size of a pixel of the masks; give --pixel-size-um too."
            raise ParameterError(msg)
        return score_positions(found, gate=_GATE_PX).as_dict(unit="px")
    gate = gate_um if gate_um is not None else _GATE_PX * scale.x_um
    return score_positions(found, gate=gate, scale=scale).as_dict()


def _within(truth: ObjectMovie, result: TrackedFolder, path: Path) -> None:
    if "frame" not in truth.objects.columns or not truth.objects["frame"].dtype.is_numeric():
        return
    beyond = truth.objects.filter(pl.col("frame") >= len(result.files))["frame"]
    if len(beyond):
        msg = f"'{path}' has the frame {beyond[0]}, but '{result.folder}' ends with frame {len(result.files) - 1}."
        raise InputFileError(msg)


def _movie(side: TrackedFolder | ObjectMovie) -> LabelMovie | ObjectMovie:
    if isinstance(side, ObjectMovie):
        return side
    return LabelMovie(side.read, side.tracks, len(side.files))


def _side(path: Path, links: Path | None, option: str) -> TrackedFolder | ObjectMovie:
    if path.suffix.lower() in _TABLES:
        return _objects(path, links or _links_beside(path, option))
    if links is not None:
        msg = f"{option} goes with a table of objects, but '{path}' is none; leave it out."
        raise ParameterError(msg)
    return tracked_folder(path)


def _links_beside(objects: Path, option: str) -> Path:
    """Return ``nuclei_links.csv`` for ``nuclei_objects.csv``."""
    found = objects.with_name(objects.name.replace("objects", "links"))
    if found == objects or not found.is_file():
        msg = f"There is no table of links beside '{objects}'; name it with {option}."
        raise InputFileError(msg)
    return found


def _objects(path: Path, links: Path) -> ObjectMovie:
    objects = read_table(path)
    if "position" in objects.columns and objects["position"].n_unique() > 1:
        msg = f"'{path}' holds {objects['position'].n_unique()} positions; give a table of one position at a time."
        raise TableError(msg)
    lacking = next((c for c in ("object_id", "frame", "x_um", "y_um") if c not in objects.columns), None)
    if lacking is not None:
        msg = f"'{path}' lacks the column {lacking}; objects have object_id, frame, x_um, y_um and, in 3D, z_um."
        raise TableError(msg)
    if "z_um" in objects.columns and objects["z_um"].null_count() == objects.height:
        objects = objects.drop("z_um")
    for axis in {"x_um", "y_um", "z_um"} & set(objects.columns):
        if not objects[axis].dtype.is_numeric() and objects[axis].null_count() < objects.height:
            msg = f"'{path}' has words in the column {axis}; it holds micrometres."
            raise TableError(msg)
    if "frame" in objects.columns and objects["frame"].dtype.is_numeric():
        wrong = objects.filter(~pl.col("frame").is_between(0, _MOST_FRAMES))["frame"]
        if len(wrong):
            msg = f"'{path}' has the frame {wrong[0]}; frames count from 0."
            raise TableError(msg)
    return ObjectMovie(objects, read_table(links))


@dataclass(frozen=True)
class ImagePairs:
    """Label images of truth and result with the same name, and the names only one side has."""

    pairs: tuple[tuple[str, LabelFile, LabelFile, int], ...]
    """Name, truth, result and frame."""
    only_truth: tuple[str, ...]
    only_result: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Name of every image."""
        return [name for name, *_ in self.pairs]

    def images(self) -> Iterator[tuple[Image, Image]]:
        """Read one pair after the other."""
        for _, truth, result, t in self.pairs:
            yield truth.read(t), result.read(t)


def pair_images(truth: Path, result: Path, *, matched_only: bool) -> ImagePairs:
    """Pair the label images of two folders by name; two files are a pair whatever their names.

    A folder of the Cell Tracking Challenge (``01_GT``) stands for the ``SEG`` in it.

    Raises
    ------
    InputFileError
        If no name occurs in both, an image of the truth has no result (unless ``matched_only``), or sizes differ.
    """
    if truth.is_file() and result.is_file():
        return ImagePairs(tuple(_frames(result.name, label_file(truth), label_file(result))), (), ())
    masks = truth / "SEG"
    left, right = _by_name(label_files(masks if masks.is_dir() else truth), label_files(result))
    both = [n for n in left if n in right]
    lost = tuple(left[n].name for n in left if n not in right)
    extra = tuple(right[n].name for n in right if n not in left)
    if not both:
        msg = f"No image of '{truth}' ({named(lost)}) has its name in '{result}' ({named(extra)}); give both one name."
        raise InputFileError(msg)
    if lost and not matched_only:
        msg = (
            f"'{result}' has no image for {named(lost)} of '{truth}'; put them there, with no label where nothing was "
            "found, or score the others with --matched-only."
        )
        raise InputFileError(msg)
    pairs = [p for n in both for p in _frames(n, label_file(left[n]), label_file(right[n]))]
    return ImagePairs(tuple(pairs), lost, extra)


def boundary_scores(pairs: ImagePairs, tolerance_px: float) -> dict[str, float | None]:
    """Return scores of outlines by name, in pixels, as means over the images that have them.

    Raises
    ------
    ParameterError
        If the tolerance is not above 0, or an image holds no labels.
    """
    from kinocyte.evaluation.boundaries import score_boundaries

    found = [score_boundaries(a, b, tolerance_um=tolerance_px).as_dict() for a, b in pairs.images()]
    means: dict[str, float | None] = {}
    for name in found[0] if found else ():
        values = [v for scores in found if (v := scores[name]) is not None]
        means[name.replace("_um", "_px")] = sum(values) / len(values) if values else None
    return means


def _by_name(left: dict[str, Path], right: dict[str, Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return both by name, or by frame where they are named as the Cell Tracking Challenge names them."""
    if left.keys() & right.keys():
        return left, right
    numbered = []
    for files in (left, right):
        names = {n: re.fullmatch(r"(?:man_seg|man_track|mask)_?(\d+)", n) for n in files}
        frames = {f"frame {int(m[1])}": files[n] for n, m in names.items() if m}
        if len(frames) < len(files):
            return left, right
        numbered.append(frames)
    return numbered[0], numbered[1]


def _frames(name: str, truth: LabelFile, result: LabelFile) -> Iterator[tuple[str, LabelFile, LabelFile, int]]:
    shapes = [(f.frames, *f.frame_shape) for f in (truth, result)]
    if shapes[0] != shapes[1]:
        sizes = [" x ".join(map(str, s[1:] if s[0] == 1 else s)) for s in shapes]
        msg = f"'{truth.path}' is {sizes[0]} pixels and '{result.path}' {sizes[1]}; both need one size."
        raise InputFileError(msg)
    for t in range(truth.frames):
        yield (name if truth.frames == 1 else f"{name} frame {t}"), truth, result, t


def named(names: tuple[str, ...]) -> str:
    """Return the first names and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{n}'" for n in names[:_NAMED]) + more


def check_errors_file(path: Path | None) -> None:
    """Refuse a file that exists or has no known ending, before anything is computed.

    Raises
    ------
    ParameterError, StoreError
        If it cannot be written.
    """
    if path is None:
        return
    if path.suffix.lower() not in _TABLES:
        msg = f"--errors {path} must end in .csv or .parquet."
        raise ParameterError(msg)
    if path.exists():
        msg = f"{path} exists already and is left as it is; name a new file."
        raise StoreError(msg)


def write_errors(errors: pl.DataFrame, path: Path) -> None:
    """Write the list of errors as CSV or Parquet."""
    buffer = io.BytesIO()
    if path.suffix.lower() == ".parquet":
        errors.write_parquet(buffer)
    else:
        errors.write_csv(buffer)
    Storage(path.absolute().parent).write_bytes(path.name, buffer.getvalue())
