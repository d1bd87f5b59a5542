"""Last steps of the axial drift: sections of each frame against the mean of all others, without a window's pull."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kinocyte.registration._merge import fill
from kinocyte.registration._prepare import Frames
from kinocyte.registration._resample_kernel import shifted
from kinocyte.registration._spectrum import Image, taper
from kinocyte.registration._threads import each
from kinocyte.registration._track import Tracked

Floats = NDArray[np.float64]

#: Rounds, and the share of the planes that all frames have to show.
ROUNDS, COMMON = 4, 0.35
#: Share of the planes that fades out at each end: what is compared there is half lost to interpolation.
FLANK = 0.08
#: A step above this many planes is not believed.
MOST = 1.5


def stepped(frames: Frames, tracked: Tracked) -> Tracked:
    """Return axial shifts (axis 1) improved by Gauss-Newton steps.

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
    known = tracked.known
    chosen = np.flatnonzero(known)
    n_planes = frames.shape[1]
    if len(chosen) < 2:
        return tracked
    before = fill(tracked.shift, known)[:, 1]
    shift = before.copy()
    for _ in range(ROUNDS):
        low, depth = float(shift[chosen].min()), int(np.floor(n_planes - np.ptp(shift[chosen])))
        if depth < max(6, COMMON * n_planes):
            return tracked
        size = (frames.shape[0], depth, frames.shape[2])

        def look(t: int, low: float = low, size: tuple[int, int, int] = size) -> Image | None:
            image = frames.image(t)
            return None if image is None else shifted(image, np.array([0.0, shift[t] - low, 0.0]), "cubic", size)

        total, count = np.zeros(size, dtype=np.float32), 0
        for t in chosen:
            image = look(int(t))
            if image is not None:
                total, count = total + image, count + 1
        if count < 2:
            return tracked
        solver = _Solver(total / np.float32(count), np.broadcast_to(taper(depth, FLANK)[:, None], size))

        def step(t: int, total: Image = total, count: int = count, solver: _Solver = solver) -> float:
            image = look(t)
            return 0.0 if image is None else solver.step(image, (total - image) / np.float32(count - 1))

        steps = np.array(each(step, [int(t) for t in chosen], int(np.prod(size)))) * (count - 1) / count
        if np.abs(steps).max() > MOST:
            return tracked
        shift[chosen] += steps - steps.mean()
        if np.abs(steps - steps.mean()).max() < 2e-3:
            break
    if np.abs(shift - before)[chosen].max() > MOST:
        return tracked
    out = tracked.shift.copy()
    out[chosen, 1] = shift[chosen]
    return replace(tracked, shift=out)


class _Solver:
    """Steps of images towards a template; brightness, the mean of each block and a shift along columns are free.

    Parameters
    ----------
    template : float32 (block, z, column)
        Mean of all frames.
    weight : float32 (block, z, column)
        Weight of the differences.
    """

    def __init__(self, template: Image, weight: Image) -> None:
        columns = [np.gradient(template, axis=1), template]
        if template.shape[2] > 1:
            columns.append(np.gradient(template, axis=2))
        total = weight.sum(axis=(1, 2), keepdims=True)
        centred = [(c - (c * weight).sum(axis=(1, 2), keepdims=True) / total) for c in columns]
        matrix = np.stack([c.ravel() for c in centred])
        self._weighted = (matrix * weight.ravel()).astype(np.float32)
        normal = (self._weighted @ matrix.T).astype(np.float64)
        self._length = np.sqrt(np.maximum(np.diag(normal), 1e-30))
        self._scaled = normal / np.outer(self._length, self._length)
        self._solvable = self._length[0] > 1e-12 and np.linalg.cond(self._scaled) < 1e8

    def step(self, image: Image, others: Image) -> float:
        """Return how far the content of an image lies beyond that of the mean of the others along z, in planes."""
        if not self._solvable:
            return 0.0
        right = (self._weighted @ (image - others).ravel()).astype(np.float64) / self._length
        return -float((np.linalg.solve(self._scaled, right) / self._length)[0])
