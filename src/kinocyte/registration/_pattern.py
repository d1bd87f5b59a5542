"""What stays in place while the sample moves: dirt, camera, illumination.

Where a pattern of the camera is stronger than the sample, frames correlate best without any shift. The movie is then
the sum of two images, one at rest and one that moves. Both are found in turn (backfitting), and the one at rest is
taken off each frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kinocyte.registration._align import Further
from kinocyte.registration._backfit import backfit
from kinocyte.registration._coarse import Correlator, coarse_window, guess, refine, rescue
from kinocyte.registration._merge import fill, solve
from kinocyte.registration._prepare import group_size
from kinocyte.registration._resample_kernel import shifted
from kinocyte.registration._spectrum import Image
from kinocyte.registration._track import Tally, Tracker, schedule

Floats = NDArray[np.float64]

#: Most frames that the pattern is estimated from.
SAMPLE = 48
#: Share of the unexplained variance that a pattern must explain, and share of the field where it must.
GAIN, FIELD = 0.25, 0.5
#: Share of the unexplained variance from which a pattern is suspected.
DOUBT = 0.08
#: Most rounds in which pattern and shifts are found in turn.
ROUNDS = 6
#: Largest difference of the shifts, in px of the small images, that a pattern at rest explains nothing by.
SAME_PX = 0.15
#: Tiles along each side of the field.
TILES = 4


def remove_pattern(tracker: Tracker, *, always: bool) -> bool:
    """Find a pattern at rest and let the frames be read without it.

    Parameters
    ----------
    tracker : Tracker
        Frames and how they are compared.
    always : bool
        Remove a pattern even where the sample alone would explain the movie.

    Returns
    -------
    bool
        Whether there was one.
    """
    frames = tracker.frames
    groups = schedule(frames.n, group_size(frames.shape))
    whole = groups[0]
    sample = [whole[i] for i in np.unique(np.linspace(0, len(whole) - 1, min(SAMPLE, len(whole))).astype(int))]
    single, factor = tracker.first_guess(whole)
    sample_shift, sample_known = _of(whole, sample, fill(single.shift, single.known), single.known)
    seen = [(t, k) for k, t in enumerate(sample) if sample_known[k]]
    if len(seen) < 4:
        return False
    path = sample_shift[[k for _, k in seen]]
    known = np.ones(len(path), dtype=bool)
    rests = _rests(path)
    if not rests and not always:
        return False  # the sample is seen to move: a weaker pattern is smeared out by the group and does no harm
    if rests:
        small = [tracker.small(t, factor) for t, _ in seen]
        images = np.stack([i for i in small if i is not None])
        moving = _moving_alone(tracker, images, factor)
        if moving is None:
            return False
        seen_as = _seen_as(images[moving[1]], path[moving[1]], moving[0][moving[1]])
        tracker.pattern = seen_as
        if not (always or seen_as == "removed"):
            return False
        path, known = moving
    chosen = [t for (t, _), k in zip(seen, known, strict=True) if k]
    scale = np.array([1.0, factor, factor])
    _refine(tracker, chosen, path[known] * scale)
    tracker.pattern = "removed"
    return True


def _refine(tracker: Tracker, chosen: list[int], path: Floats) -> None:
    """Find pattern and shifts at full resolution in turn, until the shifts no longer change."""
    further = Further()
    for _ in range(ROUNDS):
        tracker.frames.pattern = None
        tracker.sampled_path = path
        tracker.frames.pattern = _pattern(tracker, chosen, path)
        tracker.forget()
        tracker.start_from(chosen, path)
        tally = Tally(len(chosen))
        _fine(tracker, chosen, tally)
        better, _, tied = solve(tally.windows, len(chosen), scale_px=0.05)
        if tied.sum() < 4:
            return
        change = (better - path)[tied]
        change -= change.mean(axis=0)
        chosen, path = [t for t, k in zip(chosen, tied, strict=True) if k], better[tied]
        if np.sqrt((change**2).mean()) < 0.01:
            return
        path = path + further(change)


def _fine(tracker: Tracker, chosen: list[int], tally: Tally) -> None:
    local = Tally(tracker.frames.n)
    most = group_size(tracker.frames.shape)
    for start in range(0, len(chosen), max(1, most - 2)):
        group = chosen[start : start + most]
        if len(group) > 1:
            tracker.group(group, local)
    place = {t: k for k, t in enumerate(chosen)}
    for window in local.windows:
        index = np.array([place[int(t)] for t in window.frames])
        tally.windows.append(type(window)(index, window.shift, window.weight))


def _of(
    whole: list[int], sample: list[int], shift: Floats, known: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.bool_]]:
    index = [whole.index(t) for t in sample]
    return shift[index], known[index]


def _rests(path: Floats) -> bool:
    """Tell whether a third of the frames or more stay where most others are, to a fraction of a small pixel."""
    middle = np.median(path, axis=0)
    return bool((np.abs(path - middle).max(axis=1) < 0.3).mean() > 1 / 3)


def _moving_alone(
    tracker: Tracker, images: NDArray[np.float32], factor: int
) -> tuple[Floats, NDArray[np.bool_]] | None:
    """Return the shifts of what is left when an image at rest is taken off, if it moves as one."""
    shape = images.shape[1:]
    mask = None if tracker.mask is None else tracker.small_mask(factor)
    weight = coarse_window((shape[0], shape[1], shape[2]), tracker.search, mask)

    def without(still: Image) -> Correlator:
        return Correlator(
            list(images - still), weight, tracker.search,
            bin_px=(1.0, float(factor), float(factor)), noise_sd=tracker.noise_sd / factor,
        )  # fmt: skip

    correlator = without(images.mean(axis=0, dtype=np.float64).astype(np.float32))
    found = rescue(correlator, guess(correlator))
    if found.known.sum() < max(4, 0.6 * len(images)):
        return None
    known, path = found.known, fill(found.shift, found.known)
    if np.ptp(path[known], axis=0).max() < 0.5:
        return None
    further = Further()
    for _ in range(ROUNDS):
        still = backfit(images[known], path[known])
        aligned, kept, _ = refine(without(still), replace(found, shift=path))
        change = (aligned.shift - path)[known & kept]
        path = np.where((known & kept)[:, None], aligned.shift, path)
        if len(change) == 0 or np.abs(change - change.mean(axis=0)).max() < 0.02:
            break
        path[known & kept] += further(change)
    return path, known


def _seen_as(images: NDArray[np.float32], single: Floats, double: Floats) -> str:
    """Tell whether an image at rest plus one that moves explains the movie better than one that moves.

    One moving object on a sample at rest must not pass for a moving sample: the gain has to be seen all over the
    field (``removed``), and against the same path mirrored, which fits whatever merely changes just as well. A smaller
    gain, or one in parts of the field, leaves it open whether a pattern hides a drift (``suspected``).
    """
    n = len(images)
    change = double - single
    if np.abs(change - change.mean(axis=0)).max() < SAME_PX:
        return "none"  # the sample is seen to move just so without it
    images = images - images.mean(axis=(0, 2, 3), keepdims=True)  # an even ground is no pattern
    alone = _residual(images, single, at_rest=False) / (n - 1)
    both = _residual(images, double, at_rest=True) / max(n - 2, 1)
    mirrored = _residual(images, -double, at_rest=True) / max(n - 2, 1)
    tiles = [_tiled(e) for e in (alone, both, mirrored)]
    better = tiles[1] < (1 - GAIN) * np.minimum(tiles[0], tiles[2])
    if both.sum() < (1 - GAIN) * alone.sum() and better.mean() >= FIELD:
        return "removed"
    return "suspected" if both.sum() < (1 - DOUBT) * min(alone.sum(), mirrored.sum()) else "none"


def _tiled(energy: Floats) -> Floats:
    plane = energy.sum(axis=0)
    rows = np.array_split(plane, min(TILES, plane.shape[0]), axis=0)
    return np.array([[t.sum() for t in np.array_split(r, min(TILES, r.shape[1]), axis=1)] for r in rows])


def _residual(images: NDArray[np.float32], path: Floats, *, at_rest: bool) -> Floats:
    """Return the squared residual per pixel of the camera, summed over frames."""
    canvas = _Canvas(path, images.shape[1:])
    still = backfit(images, path) if at_rest else np.zeros(images.shape[1:], dtype=np.float32)
    canvas.fill(images, still)
    out = np.zeros(images.shape[1:])
    for k, image in enumerate(images):
        out += (image - still - canvas.view(k)) ** 2
    return out


class _Canvas:
    """Mean of frames in the coordinates of the sample.

    Parameters
    ----------
    path : array, shape (n, 3)
        Shifts of the frames in px.
    shape : tuple of int
        Shape of a frame.
    """

    def __init__(self, path: Floats, shape: tuple[int, ...]) -> None:
        whole = np.rint(path).astype(np.intp)
        self.part = path - whole
        self.start = whole.max(axis=0) - whole
        self.shape = shape
        size = tuple(int(n + s) for n, s in zip(shape, self.start.max(axis=0), strict=True))
        self.value = np.zeros(size, dtype=np.float32)
        self.count = np.zeros(size, dtype=np.float32)

    def _box(self, k: int) -> tuple[slice, ...]:
        return tuple(slice(int(a), int(a) + n) for a, n in zip(self.start[k], self.shape, strict=True))

    def fill(self, source: Iterable[Image], still: Image) -> None:
        """Make the canvas the mean of the images less what is at rest, its own mean removed."""
        self.value[:] = 0
        self.count[:] = 0
        for k, image in enumerate(source):
            box = self._box(k)
            self.value[box] += shifted(np.ascontiguousarray(image - still), self.part[k], "cubic")
            self.count[box] += 1
        covered = self.count > 0
        self.value[covered] /= self.count[covered]
        self.value[covered] -= self.value[covered].mean()

    def view(self, k: int) -> Image:
        """Return what the canvas shows in a frame."""
        return shifted(np.ascontiguousarray(self.value[self._box(k)]), -self.part[k], "cubic")


def _pattern(tracker: Tracker, chosen: list[int], path: Floats) -> Image:
    """Return the image at rest of full resolution, from some frames and their shifts in px."""
    images = (tracker.frames.image(t) for t in chosen)
    return backfit((np.zeros(tracker.frames.shape, np.float32) if i is None else i for i in images), path)
