"""Where the files and the options meet: channels, calibration and missing frames of one movie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from kinocyte.core.errors import nearest
from kinocyte.core.scale import Scale
from kinocyte.interop.options import ImportOptions
from kinocyte.interop.source import Movie

#: An option that differs by less is the file's value rounded; the file's is kept.
ROUNDING = 0.005


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """Which frames are written."""

    frames: tuple[int, ...]
    skipped: tuple[int, ...] = ()
    filled: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose_frames(movie: Movie, options: ImportOptions) -> FrameChoice:
    """Return the frames to write under ``--missing-frames``."""
    every = tuple(range(movie.shape[0]))
    if not movie.missing:
        return FrameChoice(every)
    absent = tuple(sorted(movie.missing))
    what = movie.missing[absent[0]]
    more = f" and {len(absent) - 1} more frames" if len(absent) > 1 else ""
    if options.missing_frames == "refuse":
        listed = "; ".join(movie.missing[t] for t in absent[1:6])
        also = f" (also {listed}{'; ..' if len(absent) > 6 else ''})" if listed else ""
        problem = (
            f"'{movie.name}' lacks {what}{more}{also}; put the files back, or give --missing-frames skip (keep "
            "the other frames at "
            "their times) or fill (black frames)."
        )
        return FrameChoice(every, problems=(problem,))
    if options.missing_frames == "fill":
        return FrameChoice(every, filled=absent, notes=(f"'{movie.name}' lacks {what}{more}: filled with black",))
    kept = tuple(t for t in every if t not in movie.missing)
    problems = () if kept else (f"'{movie.name}' has no complete frame; put the missing files back.",)
    return FrameChoice(kept, skipped=absent, problems=problems, notes=(f"'{movie.name}' lacks {what}{more}: left out",))


def choose_channels(movie: Movie, options: ImportOptions) -> tuple[tuple[str, ...], str | None]:
    """Return the channel names, and a question where ``--channels`` does not fit."""
    known = movie.channels
    count = movie.shape[1]
    names = _distinct(known) if known is not None else tuple(f"channel_{c + 1}" for c in range(count))
    given = options.channels
    if not given:
        return names, None
    if all("=" in g for g in given):
        pairs = {old.strip(): new.strip() for old, _, new in (g.partition("=") for g in given)}
        unknown = [old for old in pairs if old not in names]
        if unknown:
            return (
                names,
                f"--channels renames '{unknown[0]}', which '{movie.name}' has not; {nearest(unknown[0], names)}.",
            )
        renamed = tuple(pairs.get(n, n) for n in names)
        if len(set(renamed)) < len(renamed):
            return names, f"--channels gives two channels of '{movie.name}' one name: {', '.join(renamed)}."
        return renamed, None
    if len(given) != count:
        return (
            names,
            f"--channels names {len(given)} channels, '{movie.name}' has {count} ({', '.join(names)}); name each one.",
        )
    if known is not None and tuple(given) != names and not options.override_metadata:
        renames = ",".join(f"{a}={b}" for a, b in zip(names, given, strict=True))
        remedy = f"rename them with --channels '{renames}'" if set(given) != set(names) else "leave --channels out"
        return names, (
            f"'{movie.name}' states the channels {', '.join(names)} in this order, --channels says {', '.join(given)}; "
            f"{remedy} or add --override-metadata."
        )
    return tuple(given), None


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return names without repeats: the second GFP becomes ``GFP 2``."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return tuple(out) if len(set(out)) == len(out) else tuple(f"{n} {i + 1}" for i, n in enumerate(names))


@dataclass(slots=True)
class _Asking:
    """Collects questions and notes while values are settled."""

    movie: Movie
    override: bool
    questions: list[str]
    notes: list[str]

    def settle(self, what: str, flag: str, option: float | None, stated: float | None, unit: str) -> float | None:
        """Return one value from the file and the option; a contradiction is asked about."""
        if option is None or stated is None:
            return stated if option is None else option
        if math.isclose(option, stated, rel_tol=ROUNDING):
            return stated
        place = self.movie.calibration.stated.get(what, "the file")
        if self.override:
            self.notes.append(
                f"{what} of '{self.movie.name}': {stated:g} {unit} ({place}) was overridden with {option:g} {unit}"
            )
            return option
        self.questions.append(
            f"'{self.movie.name}' states a {what} of {stated:.6g} {unit} ({place}), {flag} says {option:g} {unit}; "
            f"leave {flag} out or add --override-metadata to trust the option."
        )
        return stated

    def need(self, what: str, flag: str) -> None:
        """Ask for a value that the file does not state."""
        self.questions.append(f"'{self.movie.name}' does not state its {what}; give {flag}.")


def choose_scale(
    movie: Movie, options: ImportOptions, frames: FrameChoice
) -> tuple[Scale | None, list[str], list[str]]:
    """Return the calibration of a movie from its files and the options, with questions and notes.

    Values that the movie has no axis for are left out: no plane distance for 2D, no interval for one frame.
    """
    asking = _Asking(movie, options.override_metadata, [], [])
    known = movie.calibration
    y = asking.settle("pixel size", "--pixel-size-um", options.pixel_size_um, known.pixel_y_um, "um")
    x = asking.settle("pixel size", "--pixel-size-um", options.pixel_size_um, known.pixel_x_um, "um")
    if y is None or x is None:
        asking.need("pixel size", "--pixel-size-um")
    z = asking.settle("z step", "--z-step-um", options.z_step_um, known.z_step_um, "um") if movie.is_3d else None
    if movie.is_3d and z is None:
        asking.need("z step", "--z-step-um")
    interval = None
    times = known.times_min
    if movie.shape[0] > 1:
        flag = "--frame-interval-min"
        interval = asking.settle("frame interval", flag, options.frame_interval_min, known.frame_interval_min, "min")
        if interval is None and times is None:
            asking.need("frame interval", flag)
        if interval is not None and interval != known.frame_interval_min:
            times = None
    if frames.skipped and (times is not None or interval is not None):
        grid = times if times is not None else tuple(t * (interval or 0.0) for t in range(movie.shape[0]))
        times = tuple(grid[t] for t in frames.frames)
    if asking.questions or y is None or x is None:
        return None, list(dict.fromkeys(asking.questions)), list(dict.fromkeys(asking.notes))
    try:
        scale = Scale(y_um=y, x_um=x, z_um=z, frame_interval_min=interval, times_min=times)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        return None, [f"The calibration of '{movie.name}' is refused: {reason}"], []
    return scale, [], list(dict.fromkeys(asking.notes))
