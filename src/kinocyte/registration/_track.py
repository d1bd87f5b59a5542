"""Shifts of all frames of prepared images: groups of frames, coarse to fine, joined into one path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinocyte.registration._align import Aligned, quality_of
from kinocyte.registration._coarse import CLEAR, Correlator, Guess, Search, coarse_window, guess, rescue
from kinocyte.registration._fine import align_group
from kinocyte.registration._merge import Window, fill, solve, spans
from kinocyte.registration._prepare import Frames, group_size, shrink
from kinocyte.registration._spectrum import Image

Floats = NDArray[np.float64]

#: Longest side of the images that are searched over all places, tried in turn.
COARSE_SIDES = (128, 320, 1024)
#: Largest shift that is looked for where frames with clear structure find no place nearby, as a share of the frame.
FURTHER = 0.8
#: Correlation of frames with the mean of the others, at low resolution, that needs no second look, and the share of
#: the frames that have it where the rest are only laid on their mean, not on each other.
COHERENT, MOSTLY = 0.5, 0.6
#: Share of the frame that fades out where crops see the same part of the sample, and its least width in px.
FINE_TAPER, LEAST_FLANK_PX = 0.06, 10.0
#: Frames that are tried as the first one of ``first``, ``previous`` and ``template``.
MOST_WAITING = 4


@dataclass(frozen=True)
class Tracked:
    """Shifts along p, y, x of all images in pixels of the full frame, and how sure they are."""

    shift: Floats
    known: NDArray[np.bool_]
    sharpness: Floats
    height: Floats
    residual: Floats
    error: Floats
    pattern: str = "none"


class Tally:
    """Collects the windows of a movie and the best evidence for each frame."""

    def __init__(self, n: int) -> None:
        self.windows: list[Window] = []
        self.sharpness, self.height = np.zeros(n), np.zeros(n)
        self.error = np.full(n, np.inf)

    def add(self, frames: Sequence[int], aligned: Aligned, size_px: Floats) -> None:
        """Take in a group; ``size_px`` is the size of its pixels along p, y, x."""
        quality = quality_of(aligned.sharpness)
        index = np.asarray(frames, dtype=np.intp)
        if (quality > 0).sum() > 1:
            self.windows.append(Window(index, aligned.shift * size_px, quality))
        good = quality > 0
        better = good & (aligned.sharpness > self.sharpness[index])
        chosen = index[better]
        self.sharpness[chosen] = aligned.sharpness[better]
        self.height[chosen] = aligned.height[better]
        self.error[chosen] = (aligned.error * float(size_px[2]))[better]


class Tracker:
    """Registers groups of images of a movie.

    Parameters
    ----------
    frames : Frames
        Prepared images.
    search : Search
        How they are compared.
    mask : float32 (p or 1, y, x), optional
        Weight of the pixels of the prepared images.
    """

    def __init__(self, frames: Frames, search: Search, mask: Image | None = None) -> None:
        self.frames, self.search = frames, search
        self.mask = None if mask is None else np.broadcast_to(mask, frames.shape)
        sample = np.unique(np.linspace(0, frames.n - 1, min(5, frames.n)).astype(int))
        self.noise_sd = frames.noise(sample.tolist())
        #: ``removed``, ``suspected`` or ``none``: what is known of a pattern at rest
        self.pattern = "none"
        #: shifts of the frames that a pattern at rest was told from, px of the full image
        self.sampled_path: Floats | None = None
        self._guesses: dict[tuple[int, ...], Guess] = {}
        self._start: Floats | None = None

    def start_from(self, chosen: Sequence[int], path: Floats) -> None:
        """Take shifts of some frames in px, known to a few pixels, in place of a search over all places."""
        self._start = np.full((self.frames.n, 3), np.nan)
        self._start[list(chosen)] = path

    def _known(self, group: Sequence[int]) -> Guess | None:
        """Return the guess of a group from shifts that are known, where all of its frames that show something are."""
        if self._start is None:
            return None
        shift = self._start[list(group)]
        known: NDArray[np.bool_] = np.isfinite(shift[:, 2])
        if known.sum() < 2 or any(self.frames.image(group[k]) is not None for k in np.flatnonzero(~known).tolist()):
            return None
        return Guess(shift, known, np.zeros(len(group)), np.zeros(len(group)))

    def forget(self) -> None:
        """Drop what was found before the images changed."""
        self._guesses.clear()

    def small(self, t: int, factor: int) -> Image | None:
        """Return an image at a lower resolution."""
        image = self.frames.image(t)
        return None if image is None else shrink(image, factor)

    def small_mask(self, factor: int) -> Image | None:
        """Return the mask at a lower resolution."""
        return None if self.mask is None else shrink(np.asarray(self.mask), factor)

    def _factors(self) -> list[int]:
        longest = max(self.frames.shape[1:])
        return sorted({max(1, -(-longest // side)) for side in COARSE_SIDES}, reverse=True)

    def correlator(self, group: Sequence[int], factor: int, search: Search | None = None) -> Correlator:
        """Return the correlator of a group at a resolution."""
        search = search or self.search
        self.frames.fetch(group)
        images = [self.small(t, factor) for t in group]
        planes, y, x = self.frames.shape
        shape = (planes, y // factor, x // factor)
        return Correlator(
            images,
            coarse_window(shape, search, self.small_mask(factor)),
            search,
            bin_px=(1.0, float(factor), float(factor)),
            noise_sd=self.noise_sd / factor,
            mask=self.small_mask(factor),
        )

    def coarse(self, group: Sequence[int], factor: int, pairs: Sequence[tuple[int, int]] | None = None) -> Guess:
        """Return the first guess of a group at a resolution."""
        key = (factor, *group)
        if pairs is None and key in self._guesses:
            return self._guesses[key]
        correlator = self.correlator(group, factor)
        found = rescue(correlator, guess(correlator, pairs))
        lost = int((~correlator.empty & ~found.known).sum())
        if lost and correlator.noise < CLEAR and not np.isfinite(self.search.step_px):
            further = self.correlator(group, factor, replace(self.search, reach=FURTHER))
            coherent = _coherent(found, int((~correlator.empty).sum()))
            other = rescue(further, found if coherent else guess(further, pairs))
            found = other if other.known.sum() > found.known.sum() else found
        found = replace(found, empty=int(correlator.empty.sum()))
        if pairs is None:
            self._guesses[key] = found
        return found

    def first_guess(self, group: Sequence[int]) -> tuple[Guess, int]:
        """Return the guess at the lowest resolution that places most frames, and the size of its pixels."""
        found = [(self.coarse(group, self._factors()[0]), self._factors()[0])]
        content = sum(self.frames.image(t) is not None for t in group)
        for factor in self._factors()[1:]:
            if found[-1][0].known.sum() >= 0.7 * content:
                break
            found.append((self.coarse(group, factor), factor))
        return max(found, key=lambda f: int(f[0].known.sum()))

    def group(self, group: Sequence[int], tally: Tally, pairs: Sequence[tuple[int, int]] | None = None) -> None:
        """Register some frames against each other and add the result to the tally.

        Where frames have little in common at a low resolution, higher ones are tried, and the one that ends with
        the sharpest correlation at full resolution is kept: fine structure may stay where coarse structure changes.
        """
        self.frames.fetch(group)
        start = self._known(group) if pairs is None else None
        if start is not None:
            _hand_over(self._finer(group, start, 1), group, tally)
            return
        content = sum(self.frames.image(t) is not None for t in group)
        best: tuple[float, Tally] | None = None
        for factor in self._factors():
            found = self.coarse(group, factor, pairs)
            local = self._finer(group, found, factor)
            score = float(np.sort(local.sharpness)[::-1][:content].mean()) if content else 0.0
            if best is None or score > best[0]:
                best = (score, local)
            if found.known.sum() >= len(group) - found.empty and found.height > COHERENT:
                break
            if self._found_no_more(group, found, factor):
                break
        assert best is not None  # noqa: S101 - there is always a factor
        _hand_over(best[1], group, tally)

    def _found_no_more(self, group: Sequence[int], found: Guess, factor: int) -> bool:
        """Tell whether frames that show another place than most do so at the next resolution, too."""
        finer = [f for f in self._factors() if f < factor]
        if not finer or not _coherent(found, len(group) - found.empty):
            return False
        correlator = self.correlator(group, finer[0])
        size = np.array([1.0, factor / finer[0], factor / finer[0]])
        again = rescue(correlator, replace(found, shift=found.shift * size))
        return bool(again.known.sum() <= found.known.sum())

    def _finer(self, group: Sequence[int], found: Guess, factor: int) -> Tally:
        """Return the windows of a group at full resolution, starting from a guess."""
        shift, known = fill(found.shift, found.known), found.known
        shift = shift * np.array([1.0, factor, factor])
        local = Tally(len(group))
        while known.sum() >= 2:
            factor = max(1, factor // 4)
            size = np.array([1.0, factor, factor])
            shape = [n // int(s) for n, s in zip(self.frames.shape, size, strict=True)]
            local = Tally(len(group))
            for span in spans(shift / size, known, shape, self.search.free):
                aligned = align_group(
                    lambda k, f=factor: self.small(group[k], f),  # type: ignore[misc]  # the default binds it
                    span,
                    (shift / size)[span],
                    search=replace(self.search, taper=fine_taper(self.frames.shape, factor, self.search.free)),
                    mask=self.small_mask(factor),
                    bin_px=factor,
                    path=None if self.sampled_path is None else self.sampled_path / size,
                )
                if aligned is not None:
                    local.add(span, aligned, size)
            if factor == 1:
                break
            better, _, tied = solve(local.windows, len(group))
            shift = np.where(tied[:, None], better, shift)
        return local


def _coherent(found: Guess, content: int) -> bool:
    """Tell whether most of the frames that show something show the same."""
    return found.height > COHERENT and bool(found.known.sum() >= MOSTLY * content)


def fine_taper(shape: tuple[int, int, int], factor: int, free: tuple[int, ...]) -> float:
    """Return the share of the frame that fades out; small frames need a larger one, or edges weigh too much."""
    side = min(shape[a] // (factor if a > 0 else 1) for a in free)
    return max(FINE_TAPER, min(0.2, LEAST_FLANK_PX / max(side, 1)))


def _hand_over(local: Tally, group: Sequence[int], tally: Tally) -> None:
    index = np.asarray(group, dtype=np.intp)
    for window in local.windows:
        tally.windows.append(Window(index[window.frames], window.shift, window.weight))
    better = local.sharpness > tally.sharpness[index]
    for name in ("sharpness", "height", "error"):
        getattr(tally, name)[index[better]] = getattr(local, name)[better]


def schedule(n: int, most: int) -> list[list[int]]:
    """Return groups of frames that tie a whole movie together at several strides, the widest stride first.

    Parameters
    ----------
    n : int
        Number of frames.
    most : int
        Largest size of a group.
    """
    groups: list[list[int]] = []
    stride = 1
    while True:
        frames = list(range(0, n, stride))
        if stride > 1 and frames[-1] != n - 1:
            frames.append(n - 1)
        step = max(1, (3 * most) // 4)
        level = [frames[k : k + most] for k in range(0, max(1, len(frames) - most + step), step)]
        groups = [g for g in level if len(g) > 1] + groups
        if len(frames) <= most:
            return groups
        stride *= max(2, most // 2)


def track(tracker: Tracker, reference: str, *, template_frames: int = 5) -> Tracked:
    """Return the shifts of all images.

    Parameters
    ----------
    tracker : Tracker
        Images and how they are compared.
    reference : str
        ``global``, ``first``, ``previous`` or ``template``.
    template_frames : int
        Frames of the running template.
    """
    n = tracker.frames.n
    tally = Tally(n)
    if reference == "global":
        for group in schedule(n, group_size(tracker.frames.shape)):
            tracker.group(group, tally)
    else:
        _against_reference(tracker, tally, reference, template_frames)
    shift, residual, tied = solve(tally.windows, n, scale_px=0.05, robust=reference == "global")
    known = tied & (tally.sharpness > 0)
    return Tracked(shift, known, tally.sharpness, tally.height, residual, tally.error, tracker.pattern)


def _against_reference(tracker: Tracker, tally: Tally, reference: str, template_frames: int) -> None:
    """Register frame after frame against one that could be registered."""
    last: list[int] = []
    waiting: list[int] = []  # frames that might be the first good one
    for t in range(tracker.frames.n):
        if tracker.frames.image(t) is None:
            continue
        for chosen in [last] if last else [[w] for w in waiting]:
            if _registered(tracker, tally, chosen, t):
                last = _next_reference(chosen, t, reference, template_frames)
                break
        else:
            if not last:
                waiting = [*waiting, t][:MOST_WAITING]


def _registered(tracker: Tracker, tally: Tally, last: list[int], t: int) -> bool:
    """Register a frame against others and tell whether that succeeded."""
    before = len(tally.windows)
    pairs = [(k, len(last)) for k in range(len(last))] + [(k, k + 1) for k in range(len(last) - 1)]
    tracker.group([*last, t], tally, pairs)
    return any(t in w.frames[w.weight > 0] for w in tally.windows[before:])


def _next_reference(last: list[int], t: int, reference: str, template_frames: int) -> list[int]:
    if reference == "previous":
        return [t]
    return [*last, t][-template_frames:] if reference == "template" else last
