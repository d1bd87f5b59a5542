"""The plan of an import: every position with what will be written, checked before anything is."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from kinocyte.core.errors import InputFileError, ParameterError, nearest
from kinocyte.core.scale import Scale
from kinocyte.interop.calibrating import FrameChoice, choose_channels, choose_frames, choose_scale
from kinocyte.interop.filename_pattern import well_and_field
from kinocyte.interop.options import ImportOptions
from kinocyte.interop.platemap import PlateMap, Value, conditions_table, read_platemap
from kinocyte.interop.recognise import recognise
from kinocyte.interop.source import Found, Movie, Unreadable
from kinocyte.interop.units import natural_key

#: file names kept in the notes on where a position came from; more are summed up in a fingerprint
_FILES_NAMED = 20


@dataclass(frozen=True, slots=True)
class PlannedPosition:
    """One position as it will be written.

    Parameters
    ----------
    name, reader : str
        Name of the movie and the reader that understood it.
    files : tuple of Path
        Source files.
    movie : Movie or None
        The pixels; None where the files could not be read.
    well, field : str
        Where it goes; empty where that is not settled.
    channels : tuple of str
        Final channel names.
    scale : Scale or None
        Final calibration; None where a question is open.
    frames : tuple of int
        Frames of the movie that are written, in order.
    source : mapping
        JSON-able notes on the origin, stored with the position.
    problems : tuple of str
        Sentences why this position cannot be imported.
    notes : tuple of str
        Sentences a person should read.
    """

    name: str
    reader: str
    files: tuple[Path, ...]
    movie: Movie | None = None
    well: str = ""
    field: str = ""
    channels: tuple[str, ...] = ()
    scale: Scale | None = None
    frames: tuple[int, ...] = ()
    source: Mapping[str, Any] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Return ``well/field``, or the name where the well is not settled."""
        return f"{self.well}/{self.field}" if self.well and self.field else self.name

    @property
    def shape(self) -> tuple[int, int, int, int, int] | None:
        """Return the sizes along (t, c, z, y, x) that are written."""
        return None if self.movie is None else (len(self.frames), *self.movie.shape[1:])

    @property
    def megabytes(self) -> float:
        """Return the size of the pixels in memory, in 10^6 bytes."""
        if self.movie is None:
            return 0.0
        return self.movie.nbytes / max(1, self.movie.shape[0]) * len(self.frames) / 1e6


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """Everything an import will do.

    Parameters
    ----------
    positions : tuple of PlannedPosition
        Positions in the order of wells and fields.
    conditions : polars.DataFrame or None
        One row a well.
    questions : tuple of str
        What must be answered before anything is written; each sentence names the option.
    notes : tuple of str
        Sentences on the whole import.
    options : ImportOptions
        What was asked for.
    """

    positions: tuple[PlannedPosition, ...]
    conditions: pl.DataFrame | None
    questions: tuple[str, ...]
    notes: tuple[str, ...]
    options: ImportOptions

    @property
    def problems(self) -> tuple[str, ...]:
        """Return why positions cannot be imported, one sentence each."""
        return tuple(p for position in self.positions for p in position.problems)

    def table(self) -> pl.DataFrame:
        """Return one row a position, as ``--dry-run`` shows it."""
        known = {id(p): _calibration_shown(p, self.options) for p in self.positions}
        rows = [
            {
                "position": p.id,
                "well": p.well or None,
                "name": p.name,
                "reader": p.reader,
                "files": _files_shown(p.files),
                "frames": len(p.frames),
                "channels": ", ".join(p.channels),
                "z": p.movie.shape[2] if p.movie else None,
                "y": p.movie.shape[3] if p.movie else None,
                "x": p.movie.shape[4] if p.movie else None,
                "dtype": str(p.movie.dtype) if p.movie else None,
                "pixel_size_um": known[id(p)][0],
                "z_step_um": known[id(p)][1],
                "frame_interval_min": known[id(p)][2],
                "labels": ", ".join(m.population for m in p.movie.labels) if p.movie else "",
                "megabytes": round(p.megabytes, 3),
                "problems": " ".join(p.problems) or None,
            }
            for p in self.positions
        ]
        return pl.DataFrame(rows, schema=_TABLE)


_TABLE: Mapping[str, Any] = MappingProxyType(
    {
        "position": pl.String,
        "well": pl.String,
        "name": pl.String,
        "reader": pl.String,
        "files": pl.String,
        "frames": pl.Int64,
        "channels": pl.String,
        "z": pl.Int64,
        "y": pl.Int64,
        "x": pl.Int64,
        "dtype": pl.String,
        "pixel_size_um": pl.Float64,
        "z_step_um": pl.Float64,
        "frame_interval_min": pl.Float64,
        "labels": pl.String,
        "megabytes": pl.Float64,
        "problems": pl.String,
    }
)


def plan_import(paths: Sequence[str | Path], options: ImportOptions | None = None) -> ImportPlan:
    """Return what an import of files and folders would write, after reading all metadata and no pixels.

    Parameters
    ----------
    paths : sequence of str or Path
        Files, folders, or URLs of OME-Zarr.
    options : ImportOptions, optional
        What the files do not say.

    Raises
    ------
    ParameterError
        If a path or an option is wrong.
    MissingExtraError
        If a vendor's format needs the extra ``formats``.
    """
    options = options or ImportOptions()
    found, notes = recognise(paths, options)
    platemap = read_platemap(options.wells) if options.wells is not None else None
    questions: list[str] = []
    placed = _place(found, platemap, options, questions, notes)
    positions = [_planned(f, well, field, options, questions) for f, well, field in placed]
    _claims_once(positions, questions)
    conditions = _conditions(positions, platemap, questions)
    notes += [n for p in positions for n in p.notes]
    return ImportPlan(
        tuple(positions), conditions_table(conditions), tuple(_merge(questions)), tuple(dict.fromkeys(notes)), options
    )


def _merge(questions: Iterable[str]) -> list[str]:
    """Return each question once; the same question on several positions becomes one sentence."""
    names: dict[str, list[str]] = {}
    for question in dict.fromkeys(questions):
        found = re.match(r"('(?:[^']*)') (?=does not state its )", question)
        lead, rest = (found[1], question[found.end() :]) if found else ("", question)
        names.setdefault(rest, []).append(lead)
    out = []
    for rest, leads in names.items():
        more = f" (and {len(leads) - 1} more positions)" if len(leads) > 1 else ""
        out.append(f"{leads[0]}{more} {rest}" if leads[0] else rest)
    return out


def _calibration_shown(p: PlannedPosition, options: ImportOptions) -> tuple[float | None, float | None, float | None]:
    """Return pixel size, z step and interval for the table, also where a question is still open."""
    if p.scale is not None:
        return p.scale.pixel_size_um, p.scale.z_um, p.scale.frame_interval_min
    if p.movie is None:
        return None, None, None
    known, (t, _, z, _, _) = p.movie.calibration, p.movie.shape
    return (
        known.pixel_x_um or options.pixel_size_um,
        (known.z_step_um or options.z_step_um) if z > 1 else None,
        (known.frame_interval_min or options.frame_interval_min) if t > 1 else None,
    )


def _files_shown(files: Sequence[Path]) -> str:
    if len(files) == 1:
        return files[0].name
    return f"{files[0].name} .. {files[-1].name} ({len(files)})" if files else ""


# ---------------------------------------------------------------- wells and fields
def _names(movie: Movie | Unreadable) -> list[str]:
    """Return all names by which a plate map may mean a position."""
    names = [movie.name]
    for path in movie.files:
        names += [path.name, path.stem, path.as_posix(), *(p.name for p in list(path.parents)[:2])]
    return list(dict.fromkeys(n for n in names if n))


def _wells_in_names(found: Sequence[Found], notes: list[str]) -> Sequence[Found]:
    """Return the movies with wells and fields where all of several are named after nothing else, such as ``B2_1``."""
    movies = [f for f in found if isinstance(f, Movie)]  # a file that cannot be read has no say
    said = [well_and_field(f.name) if f.well is None else None for f in movies]
    if len(movies) < 2 or any(s is None for s in said) or len(set(said)) < len(said):
        return found
    notes.append(f"the names say wells and fields: '{movies[0].name}' is well {said[0][0]}")  # type: ignore[index]
    named = {id(f): s for f, s in zip(movies, said, strict=True) if s is not None}
    return [
        f.replace(well=named[id(f)][0], field=named[id(f)][1] or f.field) if isinstance(f, Movie) else f for f in found
    ]


def _place(
    found: Sequence[Found], platemap: PlateMap | None, options: ImportOptions, questions: list[str], notes: list[str]
) -> list[tuple[Found, str, str]]:
    """Return every movie with its well and field, empty where a question is open."""
    if platemap is None or not (platemap.wells or platemap.everything):
        found = _wells_in_names(found, notes)
    wells: list[str] = []
    lost: list[str] = []
    for f in found:
        stated = f.well if isinstance(f, Movie) else None
        mapped = platemap.well_of(_names(f)) if platemap is not None else None
        if platemap is not None and platemap.everything is not None and stated is not None and stated != mapped:
            mapped = mapped if options.override_metadata else None
        if stated and mapped and stated != mapped and not options.override_metadata:
            questions.append(
                f"'{f.name}' states well {stated}, {platemap.place if platemap else ''} says {mapped}; correct "
                "the plate map "
                "or add --override-metadata to trust it."
            )
        well = (mapped or stated) if options.override_metadata else (stated or mapped)
        if well is None and isinstance(f, Movie):
            lost.append(f.name)
        wells.append(well or "")
    if platemap is not None and platemap.wells:
        unused = platemap.unused([_names(f) for f in found])
        if unused:
            hint = nearest(unused[0], [f.name for f in found])
            questions.append(f"{platemap.place} names '{unused[0]}', which no position is called; {hint}.")
    if lost and len(found) == 1 and platemap is None:
        wells[0] = "A1"
        notes.append(f"'{found[0].name}' states no well and goes to A1; give --wells to name another")
    elif lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        questions.append(
            f"'{lost[0]}'{more} do not state their well; give --wells with a plate map (CSV with columns file "
            "and well, and any "
            "condition), or --wells A1 if all belong to one well."
        )
    return _fields(found, wells, options, questions)


def _fields(
    found: Sequence[Found], wells: Sequence[str], options: ImportOptions, questions: list[str]
) -> list[tuple[Found, str, str]]:
    members: dict[str, list[Found]] = defaultdict(list)
    for f, well in zip(found, wells, strict=True):
        members[well].append(f)
    out: list[tuple[Found, str, str]] = []
    for well, group in members.items():
        group.sort(key=lambda f: natural_key(f.name))
        stated = [f.field for f in group if isinstance(f, Movie) and f.field is not None]
        same = [f for f in group if isinstance(f, Movie) and f.field is not None and f.well == well]
        clash = _first_clash(same)
        if clash is not None and well and not options.override_metadata:
            questions.append(
                f"'{clash[0].name}' and '{clash[1].name}' both state well {well}, field {clash[0].field}; "
                "import them into "
                "experiments of their own, or give --wells and --override-metadata."
            )
        if len(set(stated)) == len(stated) == len(group):
            out += [(f, well, f.field or "") for f in group if isinstance(f, Movie)]
            continue
        kept = set(stated) if len(set(stated)) == len(stated) else set()
        numbers = (str(n) for n in range(1, len(group) + len(kept) + 1) if str(n) not in kept)
        for f in group:
            own = f.field if isinstance(f, Movie) and f.field in kept else None
            out.append((f, well, own or next(numbers)))
    return out


def _first_clash(movies: Sequence[Movie]) -> tuple[Movie, Movie] | None:
    seen: dict[str | None, Movie] = {}
    for m in movies:
        if m.field in seen:
            return seen[m.field], m
        seen[m.field] = m
    return None


def _claims_once(positions: Sequence[PlannedPosition], questions: list[str]) -> None:
    seen: dict[str, str] = {}
    for p in positions:
        if p.well and p.field:
            if p.id in seen and not any("both state well" in q for q in questions):
                questions.append(
                    f"'{seen[p.id]}' and '{p.name}' would both become {p.id}; tell them apart with --wells."
                )
            seen[p.id] = p.name


# ---------------------------------------------------------------- one position
def _planned(found: Found, well: str, field: str, options: ImportOptions, questions: list[str]) -> PlannedPosition:
    if isinstance(found, Unreadable):
        return PlannedPosition(found.name, found.reader, found.files, well=well, field=field, problems=(found.problem,))
    movie = found
    broken = bool(movie.problems)
    asked = list(movie.questions)
    frames = choose_frames(movie, options)
    channels, channel_question = choose_channels(movie, options)
    scale, scale_questions, scale_notes = choose_scale(movie, options, frames)
    asked += [channel_question] if channel_question else []
    if not movie.questions:
        asked += scale_questions
    if not broken:
        questions += asked
    problems = [*movie.problems, *frames.problems]
    if frames.skipped and options.labels and movie.tables is not None:
        problems.append(
            f"The tables of '{movie.name}' count its frames, so none can be left out; use --missing-frames fill "
            "or --no-labels."
        )
    if options.labels:
        problems += [p for m in movie.labels for p in m.problems]
    if options.link and movie.link is None:
        questions.append(
            f"--link leaves OME-Zarr pixels where they are, but '{movie.name}' is {movie.reader}; leave --link out."
        )
    notes = [*movie.notes, *frames.notes, *scale_notes]
    planned = PlannedPosition(
        movie.name,
        movie.reader,
        movie.files,
        movie=movie,
        well=well,
        field=field,
        channels=channels,
        scale=scale,
        frames=frames.frames,
        problems=tuple(dict.fromkeys(problems)),
        notes=tuple(notes),
    )
    return replace(planned, source=_source(planned, options, frames))


def _source(planned: PlannedPosition, options: ImportOptions, frames: FrameChoice) -> dict[str, Any]:
    """Return where a position came from: few files by name, all of them in a fingerprint."""
    digest = hashlib.blake2b(digest_size=16)
    total = 0
    for path in planned.files:
        try:
            status = path.stat()
        except OSError:
            digest.update(str(path).encode())
            continue
        total += status.st_size
        digest.update(f"{path}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    source: dict[str, Any] = {
        "reader": planned.reader,
        "files": [str(p) for p in planned.files[:_FILES_NAMED]],
        "n_files": len(planned.files),
        "bytes": total,
        "fingerprint": digest.hexdigest(),
    }
    if planned.movie is not None and planned.movie.calibration.stated:
        source["calibration"] = dict(planned.movie.calibration.stated)
    if frames.filled or frames.skipped:
        source["missing_frames"] = {"policy": options.missing_frames, "frames": list(frames.filled or frames.skipped)}
    annotated = {
        m.population: sorted(m.frames)
        for m in (planned.movie.labels if planned.movie else ())
        if m.frames is not None and planned.movie is not None and len(m.frames) < planned.movie.shape[0]
    }
    if annotated and options.labels:
        source["annotated_frames"] = annotated
    return source


# ---------------------------------------------------------------- conditions
def _conditions(
    positions: Sequence[PlannedPosition], platemap: PlateMap | None, questions: list[str]
) -> dict[str, dict[str, Value]]:
    wells: dict[str, dict[str, Value]] = {p.well: {} for p in positions if p.well}
    for p in positions:
        for key, value in (p.movie.conditions if p.movie else {}).items():
            known = wells.get(p.well, {}).setdefault(key, value)
            if known != value and p.well:
                questions.append(
                    f"'{p.name}' says {key} = {value} for well {p.well}, another position of the well says "
                    f"{known}; a well has one "
                    "condition, correct the names or the plate map."
                )
    for well, values in (platemap.conditions if platemap is not None else {}).items():
        wells.setdefault(well, {}).update(values)
    return wells


def check_answered(plan: ImportPlan) -> None:
    """Raise where a question of the plan is open or no position can be imported.

    Raises
    ------
    ParameterError
        With all open questions.
    InputFileError
        If every position has a problem.
    """
    if plan.questions:
        raise ParameterError("\n".join(plan.questions))
    if not any(not p.problems for p in plan.positions):
        raise InputFileError("\n".join(plan.problems))
