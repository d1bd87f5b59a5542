"""Movies whose frames, channels or planes lie in a file each."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np

from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.interop.file_kinds import is_tiff
from kinocyte.interop.filename_pattern import (
    NameParts,
    NamePattern,
    is_stamp,
    known_name,
    parse_well,
    rows_of_wells,
    tagged_name,
    time_minutes,
    time_number,
)
from kinocyte.interop.planes import ImageFacts, PlaneRef, RawRef, image_facts
from kinocyte.interop.source import Calibration, Found, Movie, Unreadable
from kinocyte.interop.stack import Stack
from kinocyte.interop.tiff import read_stacks
from kinocyte.interop.units import natural_key, timing

_RGB = ("red", "green", "blue", "alpha")
_GREY_ALPHA = ("grey", "alpha")
#: problems named in full; more are counted
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Member:
    """One file and what its name says."""

    path: Path
    parts: NameParts


@dataclass(frozen=True, slots=True)
class Series:
    """Files that make up one position."""

    name: str
    scheme: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class _Times:
    """Frames of a series: the token of each, and minutes where the tokens are times."""

    tokens: tuple[str, ...]
    minutes: tuple[float, ...] | None
    absent: frozenset[int]


def group_by_pattern(files: Sequence[Path], root: Path, pattern: NamePattern) -> tuple[list[Series], list[Path]]:
    """Return the series that a pattern finds, and the files that do not fit it.

    Raises
    ------
    ParameterError
        If no file fits.
    """
    found: dict[tuple[str, ...], list[Member]] = defaultdict(list)
    rest = []
    for path in files:
        parts = pattern.match(PurePosixPath(path.relative_to(root).as_posix()))
        if parts is None:
            rest.append(path)
            continue
        folder = "" if pattern.has_folders else path.parent.relative_to(root).as_posix()
        found[folder.removeprefix("."), parts.plate, parts.well, parts.position].append(Member(path, parts))
    if not found:
        example = files[0].relative_to(root) if files else root
        msg = f"--pattern '{pattern.text}' fits none of the {len(files)} images in '{root}', such as '{example}'."
        raise ParameterError(msg)
    series = [Series(_series_name(key, root), "pattern", tuple(m)) for key, m in found.items()]
    return series, rest


def group_known(files: Iterable[Path], root: Path) -> tuple[list[Series], list[Path]]:
    """Return series whose names a known microscope or tagged numbers explain, and the other files."""
    listed = list(files)
    rows = rows_of_wells((p.parent, p.stem) for p in listed)
    found: dict[tuple[str, ...], list[Member]] = defaultdict(list)
    rest = []
    for path in listed:
        folder = path.parent.relative_to(root).as_posix() if path.is_relative_to(root) else path.parent.as_posix()
        folder = folder.removeprefix(".")
        known = known_name(path.stem)
        tagged = None if (path.parent, path.stem) in rows else tagged_name(path.stem)
        if known is not None:
            scheme, parts = known
            found[scheme, folder, parts.plate, parts.well, parts.position].append(Member(path, parts))
        elif tagged is not None:
            name, parts = tagged
            found["tagged", folder, name, "", parts.position].append(Member(path, parts))
        else:
            rest.append(path)
    series = []
    for (scheme, folder, plate, well, position), members in found.items():
        name = members[0].path.stem if scheme == "tagged" and len(members) == 1 else ""
        plate_name = _tidy(plate) if scheme == "tagged" else plate
        series.append(Series(name or _series_name((folder, plate_name, well, position), root), scheme, tuple(members)))
    return series, rest


def _tidy(rest: str) -> str:
    """Return the constant part of tagged names without the holes the tags left."""
    for tag in ("time", "channel", "z", "position"):
        rest = rest.replace(f"<{tag}>", "")
    return rest.strip(" _-.")


def _series_name(key: Sequence[str], root: Path) -> str:
    return " ".join(k for k in key if k) or root.name


def series_found(all_series: Sequence[Series], *, axes: str | None = None, override: bool = False) -> list[Found]:
    """Return the movie of each series, in natural order of their names.

    Parameters
    ----------
    all_series : sequence of Series
        Series of one folder; times that one position has and another of its plate lacks are missing there.
    axes, override : optional
        ``--axes`` for files that hold several planes themselves.
    """
    shared: dict[tuple[str, str], set[str]] = defaultdict(set)
    for s in all_series:
        shared[s.scheme, s.members[0].parts.plate].update(m.parts.time for m in s.members if m.parts.time)
    out: list[Found] = []
    for s in sorted(all_series, key=lambda s: natural_key(s.name)):
        files = tuple(sorted((m.path for m in s.members), key=lambda p: natural_key(p.as_posix())))
        try:
            tokens = shared[s.scheme, s.members[0].parts.plate]
            out.append(_movie(s, files, tokens, axes=axes, override=override))
        except InputFileError as error:
            out.append(Unreadable(s.name, s.scheme, files, str(error)))
    return out


def _movie(
    series: Series, files: tuple[Path, ...], plate_tokens: set[str], *, axes: str | None, override: bool
) -> Movie:
    members = series.members
    times = _times(members, plate_tokens)
    channels = sorted({m.parts.channel for m in members}, key=natural_key)
    depths = sorted({m.parts.z for m in members}, key=natural_key)
    grid = _grid(members, times, channels, depths)
    inner, dtypes, problems = _contents(grid, axes=axes, override=override)
    first = next(iter(inner.values()), None)
    if first is None:
        raise InputFileError(problems[0])
    clash = [
        a for a, n, m in zip("tcz", first.shape, (len(times.tokens), 1, len(depths)), strict=False) if n > 1 and m > 1
    ]
    if clash:
        msg = (
            f"The names of '{series.name}' count along {clash[0]} and each file, such as '{files[0]}', holds "
            "several planes "
            f"along {clash[0]} too; give --pattern with what the names mean, such as {{position}}."
        )
        raise InputFileError(msg)
    shape = (
        len(times.tokens) * first.shape[0],
        len(channels) * first.shape[1],
        len(depths) * first.shape[2],
        *first.shape[3:],
    )

    def locate(t: int, c: int, z: int) -> PlaneRef | RawRef | None:
        outer = (t // first.shape[0], c // first.shape[1], z // first.shape[2])
        stack = inner.get(outer)
        return None if stack is None else stack.locate(t % first.shape[0], c % first.shape[1], z % first.shape[2])

    stack = Stack(
        name=series.name,
        shape=shape,
        dtype=np.result_type(*dtypes),
        locate=locate,
        files=files,
        channels=_channel_names(channels, first, series.scheme),
        calibration=_calibration(first, times, series),
        well=parse_well(members[0].parts.well),
        field="".join(ch for ch in members[0].parts.position if ch.isalnum() and ch.isascii()) or None,
        missing=_missing(times, channels, depths, grid, first.shape[0]),
        questions=first.questions,
        notes=_notes(first, dtypes),
    )
    conditions = {k: v for m in members for k, v in m.parts.conditions}
    return stack.movie(series.scheme).replace(problems=_summary(problems), conditions=MappingProxyType(conditions))


def _notes(first: Stack, dtypes: Sequence[np.dtype[np.generic]]) -> tuple[str, ...]:
    if len(set(dtypes)) == 1:
        return first.notes
    kinds = ", ".join(str(d) for d in sorted(set(dtypes), key=str))
    return (*first.notes, f"channels hold {kinds}; all are stored as {np.result_type(*dtypes)}, values unchanged")


def _summary(problems: Sequence[str]) -> tuple[str, ...]:
    if len(problems) <= _NAMED:
        return tuple(problems)
    return (*problems[:_NAMED], f"and {len(problems) - _NAMED} more files of this position cannot be used.")


def _grid(
    members: Sequence[Member], times: _Times, channels: Sequence[str], depths: Sequence[str]
) -> dict[tuple[int, int, int], Path]:
    number = {token: i for i, token in enumerate(times.tokens)}
    grid: dict[tuple[int, int, int], Path] = {}
    for m in members:
        at = (number[_canonical(m.parts.time)], channels.index(m.parts.channel), depths.index(m.parts.z))
        if at in grid:
            msg = (
                f"'{grid[at]}' and '{m.path}' claim the same frame, channel and plane; give --pattern or move "
                "one of them away."
            )
            raise InputFileError(msg)
        grid[at] = m.path
    return grid


def _canonical(token: str) -> str:
    """Return a time token without padding, so that t1 and t01 are one time."""
    return token if not token or time_minutes(token) is not None else str(time_number(token))


def _times(members: Sequence[Member], plate_tokens: set[str]) -> _Times:
    """Return the frames of a series, holes included."""
    own = {_canonical(m.parts.time) for m in members}
    if own == {""}:
        return _Times(("",), None, frozenset())
    if all(time_minutes(t) is not None for t in own):
        return _clock_times(own, {_canonical(t) for t in plate_tokens})
    if any(time_minutes(t) is not None or not t for t in own):
        msg = f"Some names of '{members[0].path.parent}' hold a clock time and others a number; give --pattern."
        raise InputFileError(msg)
    numbers = sorted(int(t) for t in own)
    step = math.gcd(*(b - a for a, b in pairwise(numbers))) or 1
    every = range(numbers[0], numbers[-1] + 1, step)
    if len(every) > 100 * len(numbers):
        msg = (
            f"The time numbers of '{members[0].path.parent}' run from {numbers[0]} to {numbers[-1]} but only "
            f"{len(numbers)} files "
            "are there; give --pattern if the number is no time."
        )
        raise InputFileError(msg)
    absent = frozenset(i for i, n in enumerate(every) if str(n) not in own)
    return _Times(tuple(map(str, every)), None, absent)


def _clock_times(own: set[str], plate: set[str]) -> _Times:
    clock = {t: time_minutes(t) for t in own | plate}
    tokens = sorted((t for t, m in clock.items() if m is not None), key=lambda t: clock[t] or 0.0)
    minutes = [clock[t] or 0.0 for t in tokens]
    steps = np.diff(minutes)
    if len(steps) >= 3:
        usual = float(np.median(steps))
        ratio = steps / usual
        regular = np.mean(np.abs(ratio - 1) < 0.01) >= 0.8
        if regular and np.all(np.abs(ratio - np.round(ratio)) < 0.01) and np.any(ratio > 1.5):
            for start, k in zip(minutes[:-1], np.round(ratio).astype(int), strict=True):
                tokens += [f"{start + j * usual:g} min" for j in range(1, k)]
                minutes += [start + j * usual for j in range(1, k)]
            order = np.argsort(minutes, kind="stable")
            tokens, minutes = [tokens[i] for i in order], [minutes[i] for i in order]
    zero = minutes[0] if is_stamp(tokens[0]) else 0.0
    absent = frozenset(i for i, t in enumerate(tokens) if t not in own)
    return _Times(tuple(tokens), tuple(m - zero for m in minutes), absent)


def _contents(
    grid: Mapping[tuple[int, int, int], Path], *, axes: str | None, override: bool
) -> tuple[dict[tuple[int, int, int], Stack], list[np.dtype[np.generic]], list[str]]:
    """Return what each file holds, the pixel type of each channel, and a sentence for each file that cannot be used."""
    inner: dict[tuple[int, int, int], Stack] = {}
    problems: list[str] = []
    first: Stack | None = None
    plain: ImageFacts | None = None
    of_channel: dict[int, tuple[np.dtype[np.generic], Path]] = {}
    for at, path in sorted(grid.items()):
        try:
            if first is not None and plain is not None:
                stack = _like(first, path, plain)
            else:
                stack = file_stack(path, axes=axes, override=override)
            if first is None:
                first, plain = stack, _plain_facts(path, stack)
            if stack.shape != first.shape:
                raise InputFileError(_unequal(path, stack, first))
            dtype, other = of_channel.setdefault(at[1], (stack.dtype, path))
            if stack.dtype != dtype:
                msg = (
                    f"'{path}' holds {stack.dtype}, '{other.name}' of the same channel {dtype}; export all "
                    "frames with one bit depth."
                )
                raise InputFileError(msg)
            inner[at] = stack
        except (InputFileError, OSError) as error:
            problems.append(str(error))
    return inner, [d for d, _ in of_channel.values()], problems


def _unequal(path: Path, stack: Stack, first: Stack) -> str:
    def size(s: Stack) -> str:
        extra = "".join(f" {n} {a}" for a, n in zip("tcz", s.shape, strict=False) if n > 1)
        return f"{s.shape[3]} x {s.shape[4]}{extra}"

    return (
        f"'{path}' is {size(stack)} pixels, '{first.files[0].name}' is {size(first)}; "
        "frames of one movie have one size, leave it out or export it again."
    )


def _plain_facts(path: Path, stack: Stack) -> ImageFacts | None:
    """Return the facts that make another file the same kind of single plane, None for stacks."""
    return image_facts(path) if stack.shape[:3] == (1, 1, 1) else None


def _like(first: Stack, path: Path, plain: ImageFacts) -> Stack:
    """Return the stack of a file after comparing it with the first, without reading its metadata again."""
    facts = image_facts(path)
    if facts.count != plain.count or facts.samples != plain.samples:
        return file_stack(path)
    ref = first.locate(0, 0, 0)
    page = ref.page if isinstance(ref, PlaneRef) else 0
    plane = PlaneRef(path, page, ref.inside if isinstance(ref, PlaneRef) else ())
    return first.replace(
        shape=(1, 1, 1, facts.height, facts.width), dtype=facts.dtype, locate=lambda _t, _c, _z: plane, files=(path,)
    )


def file_stack(path: Path, *, axes: str | None = None, override: bool = False) -> Stack:
    """Return the one stack of a TIFF or PNG file.

    Raises
    ------
    InputFileError
        If the file is damaged or holds several images.
    """
    if is_tiff(path):
        stacks = read_stacks(path, axes=axes, override=override)
        if len(stacks) > 1:
            msg = f"'{path}' holds {len(stacks)} images; files of a series hold one each, import it on its own."
            raise InputFileError(msg)
        return stacks[0]
    facts = image_facts(path)
    names = {1: None, 2: _GREY_ALPHA, 3: _RGB[:3], 4: _RGB}[facts.samples]

    def locate(_t: int, c: int, _z: int) -> PlaneRef:
        return PlaneRef(path, 0, () if facts.samples == 1 else (..., c))

    return Stack(
        name=path.stem,
        shape=(1, facts.samples, 1, facts.height, facts.width),
        dtype=facts.dtype,
        locate=locate,
        files=(path,),
        channels=names,
    )


def _missing(
    times: _Times,
    channels: Sequence[str],
    depths: Sequence[str],
    grid: Mapping[tuple[int, int, int], Path],
    inner_frames: int,
) -> Mapping[int, str]:
    missing: dict[int, str] = {}
    for t, token in enumerate(times.tokens):
        holes = [(c, z) for c in range(len(channels)) for z in range(len(depths)) if (t, c, z) not in grid]
        if not holes:
            continue
        what = f"time {token}"
        if t not in times.absent and len(channels) > 1:
            what += f", channel {channels[holes[0][0]]}"
        if t not in times.absent and len(depths) > 1:
            what += f", plane {depths[holes[0][1]]}"
        for k in range(inner_frames):
            missing[t * inner_frames + k] = what
    return MappingProxyType(missing)


def _channel_names(tokens: Sequence[str], first: Stack, scheme: str) -> tuple[str, ...] | None:
    """Return channel names; bare numbers are no names."""
    names = [t.lstrip("0123456789") or t for t in tokens] if scheme == "MetaMorph" else list(tokens)
    named = all(n and not n.isdigit() for n in names) and len(set(names)) == len(names)
    if first.shape[1] == 1:
        return tuple(names) if named else (first.channels if len(names) == 1 else None)
    if len(names) == 1:
        return first.channels
    if not named or first.channels is None:
        return None
    return tuple(f"{n} {inner}" for n in names for inner in first.channels)


def _calibration(first: Stack, times: _Times, series: Series) -> Calibration:
    if times.minutes is None:
        keep = first.shape[0] > 1
        return (
            first.calibration
            if keep
            else first.calibration.replace(
                times_min=None,
                frame_interval_min=first.calibration.frame_interval_min,
            )
        )
    interval, measured = timing(times.minutes, None)
    if times.minutes[0] != 0.0 and interval is not None:
        measured = times.minutes  # the clock of the scan does not start with the movie
    stated = dict(first.calibration.stated)
    if interval is not None:
        stated["frame interval"] = f"file names of '{series.name}'"
    return first.calibration.replace(frame_interval_min=interval, times_min=measured, stated=MappingProxyType(stated))
