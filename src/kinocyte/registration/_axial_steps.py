"""Last steps of the axial drift: sections of each frame against the mean of all others, without a window's pull."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kinocyte.core.threads import each
from kinocyte.registration._merge import fill
from kinocyte.registration._prepare import Frames
from kinocyte.registration._resample_kernel import shifted
from kinocyte.registration._spectrum import Image, taper
from kinocyte.registration._track import Tracked

Floats = NDArray[np.float64]

#: Most rounds, those after which the smoothing stays, and the share of the planes that all frames have to show.
ROUNDS, SETTLED, COMMON = 8, 2, 0.35
#: Share of the planes that fades out at each end: what is compared there is half lost to interpolation.
FLANK = 0.08
#: All steps together above this share of the planes are not believed.
MOST = 0.1
#: Standard deviations of the Gaussians that are tried along z and along columns, in pixels of the sections.
SMOOTH = (0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)


def stepped(frames: Frames, tracked: Tracked) -> Tracked | None:
    """Return axial shifts (axis 1) improved by Gauss-Newton steps, None where they lead nowhere.

    Correlation multiplies two windowed images, so that a window at the wrong place pulls and much of a flat stack is
    lost to its flanks. Here the difference between a section and the mean of the others is weighted, which is zero at
    the right place whatever the weight (Baker & Matthews 2004, Int. J. Comput. Vis. 56:221, inverse compositional).

    Parameters
    ----------
    frames : Frames
        Sections (block, z, column).
    tracked : Tracked
        Shifts so far.
    """
    chosen = np.flatnonzero(tracked.known)
    n_planes = frames.shape[1]
    seen = [int(t) for t in chosen if frames.image(int(t)) is not None]
    if len(seen) < 2:
        return None
    before = fill(tracked.shift, tracked.known)[:, 1]
    shift = before.copy()
    smooth = None
    for number in range(ROUNDS):
        low, depth = float(shift[seen].min()), int(np.floor(n_planes - np.ptp(shift[seen])))
        if depth < max(6, COMMON * n_planes):
            return None
        size = (frames.shape[0], depth, frames.shape[2])

        def look(t: int, low: float = low, size: tuple[int, int, int] = size) -> Image:
            image = frames.image(t)
            assert image is not None  # noqa: S101 - frames without content are left out above
            return shifted(image, np.array([0.0, shift[t] - low, 0.0]), "cubic", size)

        def half(first: int, see: Callable[[int], Image] = look, size: tuple[int, int, int] = size) -> Image:
            out = np.zeros(size, dtype=np.float32)
            for t in seen[first::2]:
                out += see(t)
            return out

        halves = each(half, (0, 1), int(np.prod(size)))
        solver = _Solver(halves, len(seen), np.broadcast_to(taper(depth, FLANK)[:, None], size), smooth)
        smooth = solver.smooth if number >= SETTLED else None

        def step(t: int, see: Callable[[int], Image] = look, by: _Solver = solver) -> float:
            return by.step(see(t))

        steps = np.array(each(step, seen, int(np.prod(size))))
        steps -= steps.mean()
        shift[seen] += steps
        if not np.isfinite(steps).all() or np.abs(shift - before)[seen].max() > max(1.5, MOST * n_planes):
            return None
        if np.abs(steps).max() < 2e-3:
            break
    out = tracked.shift.copy()
    out[chosen, 1] = shift[chosen]
    return replace(tracked, shift=out)


class _Solver:
    """Steps of images towards the mean of the others.

    Brightness, the mean of each block and a shift along columns are free. Noise of the mean would hide its slope and
    weaken the steps: the slope is smoothed as far as this makes that of one half of the frames tell more of that of
    the other, and both halves, whose noise is independent, tell how long a step is (instrumental variables).

    Parameters
    ----------
    halves : two float32 (block, z, column)
        Sums of the odd and of the even frames.
    count : int
        Number of frames.
    weight : float32 (block, z, column)
        Weight of the differences.
    smooth : (float, float), optional
        Standard deviations of the Gaussian along z and columns; chosen where left out.
    """

    def __init__(
        self, halves: Sequence[Image], count: int, weight: Image, smooth: tuple[float, float] | None = None
    ) -> None:
        self._total, self._count, self._weight = halves[0] + halves[1], count, weight
        self._share = weight.sum(axis=(1, 2), keepdims=True)
        means = [halves[0] / np.float32((count + 1) // 2), halves[1] / np.float32(max(count // 2, 1))]
        sides = [self._columns(m) for m in means]
        self.smooth = smooth or self._best(sides[0][0], sides[1][0])
        filtered = [self._filtered(c, self.smooth) for c in self._columns(self._total / np.float32(count))]
        self._along = np.stack([f.ravel() for f in filtered])
        normal = np.zeros((len(filtered), len(filtered)))
        for one, other in ((0, 1), (1, 0)):
            for i, column in enumerate(sides[one]):
                steered = self._filtered(column, self.smooth).ravel()
                normal[i] += [0.5 * float(steered @ c.ravel()) for c in sides[other]]
        length = np.sqrt(np.maximum(np.abs(np.diag(normal)), 1e-30))
        self._length, self._scaled = length, normal / np.outer(length, length)
        self._solvable = bool(normal[0, 0] > 1e-12 and np.linalg.cond(self._scaled) < 1e6)

    def _columns(self, mean: Image) -> list[Image]:
        """Return what an image may differ by from the mean: a shift along z, brightness, a shift along columns."""
        out = [np.gradient(mean, axis=1), mean]
        if mean.shape[2] > 1:
            out.append(np.gradient(mean, axis=2))
        return [c - (c * self._weight).sum(axis=(1, 2), keepdims=True) / self._share for c in out]

    def _filtered(self, column: Image, smooth: tuple[float, float]) -> Image:
        """Return the column smoothed and weighted, so that it is blind to the mean of each block."""
        out = ndimage.gaussian_filter(column, (0.0, *smooth), mode="nearest") if any(smooth) else column
        out = out - (out * self._weight).sum(axis=(1, 2), keepdims=True) / self._share
        return np.asarray(out * self._weight, dtype=np.float32)

    def _best(self, one: Image, other: Image) -> tuple[float, float]:
        """Return the Gaussian with which the slope of one half of the frames tells most of that of the other."""

        def told(smooth: tuple[float, float]) -> float:
            steered = self._filtered(one, smooth).ravel()
            return max(float(steered @ other.ravel()), 0.0) ** 2 / max(float(steered @ steered), 1e-30)

        across = 1.0 if one.shape[2] > 1 else 0.0
        along_z = max(SMOOTH, key=lambda s: told((s, across)))
        return along_z, max(SMOOTH, key=lambda s: told((along_z, s))) if across else 0.0

    def step(self, image: Image) -> float:
        """Return how far the content of an image lies beyond that of the mean of all along z, in planes."""
        if not self._solvable:
            return 0.0
        others = (self._total - image) / np.float32(self._count - 1)
        right = (self._along @ (image - others).ravel()).astype(np.float64) / self._length
        step = -float((np.linalg.solve(self._scaled, right) / self._length)[0])
        return step * (self._count - 1) / self._count
