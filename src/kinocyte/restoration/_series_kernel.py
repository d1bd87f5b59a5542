"""One number a frame: levels, decays and steps in time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.restoration.base import Image, Movie, as_image, check_frames

Series = NDArray[np.float64]
MEDIAN_TO_SIGMA = 1.4826
#: frames on each side without which a step cannot be told from a slope
NEEDED_BESIDE = 3


def measure(movie: Movie, number: Callable[[Image], float]) -> Series:
    """Return a number for each frame, NaN for frames without a finite pixel; one frame in memory at a time."""
    out = np.full(check_frames(movie), np.nan)
    for t in range(out.size):
        image = as_image(np.asarray(movie[t]))
        finite = image[np.isfinite(image)]
        if finite.size:
            out[t] = number(finite)
    return out


def interpolated(values: Series, good: NDArray[np.bool_]) -> Series:
    """Return the series with its bad values interpolated linearly, held beyond the first and last good one."""
    t = np.arange(values.size)
    return np.asarray(np.interp(t, t[good], values[good])) if good.any() else np.ones_like(values)


def exponential(signal: Series, *, plateau: bool) -> tuple[float, float, float]:
    """Return amplitude, decay per frame and plateau of ``a exp(-k t) + c`` through the finite values.

    Parameters
    ----------
    signal : array of float64, (frames,)
        NaN where a frame is left out; at least two finite values, three with a plateau.
    plateau : bool
        Fit ``c``; else it is 0.

    Returns
    -------
    tuple of float
        ``a``, ``k`` in 1/frame (at least 0), ``c`` (at least 0).

    Raises
    ------
    ParameterError
        If there are too few frames for the fit.
    """
    from scipy.optimize import least_squares

    good = np.isfinite(signal)
    t, y = np.flatnonzero(good).astype(np.float64), signal[good]
    if y.size < (4 if plateau else 2):
        msg = f"{y.size} usable frames are too few for an exponential decay; use model = 'ratio'."
        raise ParameterError(msg)
    height = max(float(np.abs(y).max()), 1e-300)
    span = max(float(t[-1] - t[0]), 1.0)

    def residual(p: Series) -> Series:
        c = p[2] if plateau else 0.0
        return np.asarray(p[0] * np.exp(-p[1] * t / span) + c - y / height)

    # the logarithm of what lies above the plateau is a line, whose points count by their height
    rest = 0.8 * max(float(y.min()), 0.0) if plateau else 0.0
    tall = y > rest + 1e-6 * height
    above = np.log((y[tall] - rest) / height)
    line = _least_absolute(np.stack([np.ones(above.size), t[tall] / span], axis=1), above)
    start = np.array([max(np.exp(line[0]), 1e-6), max(-line[1], 1e-6), rest / height][: 3 if plateau else 2])
    noise = MEDIAN_TO_SIGMA * float(np.median(np.abs(np.diff(y)))) / height
    fit = least_squares(
        residual, start, bounds=(0.0, np.inf), loss="soft_l1", f_scale=max(noise, 1e-3),
        xtol=1e-12, ftol=1e-14, gtol=1e-14, x_scale="jac",
    )  # fmt: skip
    c = float(fit.x[2]) * height if plateau else 0.0
    return float(fit.x[0]) * height, float(fit.x[1]) / span, c


def find_steps(levels: Series, window: int, threshold: float, smallest: float) -> list[int]:
    """Return the first frames after the level jumped for good.

    Before each frame, two lines of one slope are laid through the frames on both sides (L1): a single bad frame is
    no step, and neither is a trend or its bend. Three frames are needed on each side.

    Parameters
    ----------
    levels : array of float64, (frames,)
        Finite.
    window : int
        Frames looked at on each side.
    threshold : float
        A step exceeds so many standard deviations of the change that noise makes from frame to frame.
    smallest : float
        And this many grey values.
    """
    n = levels.size
    if n < 2 * NEEDED_BESIDE:
        return []
    change = np.diff(levels)
    noise = MEDIAN_TO_SIGMA * float(np.median(np.abs(np.diff(change)))) / np.sqrt(3.0)
    level = max(threshold * noise, smallest)
    at = np.arange(NEEDED_BESIDE, n - NEEDED_BESIDE + 1)
    left = np.array([abs(step_sizes(levels, [int(t)], window)[0]) for t in at])
    found: list[int] = []
    while left.max() > level:
        near = int(left.argmax()) + NEEDED_BESIDE
        size = step_sizes(levels, [near], window)[0]
        first, last = max(1, near - 1), min(n - 1, near + 1)
        found.append(first + int(np.argmax(change[first - 1 : last] * np.sign(size))))
        left[np.abs(at - near) < window] = 0.0
    return sorted(found)


def step_sizes(levels: Series, steps: list[int], window: int) -> Series:
    """Return how far the level jumps at each step, from lines of one slope on both sides (L1)."""
    borders = [0, *steps, levels.size]
    sizes = []
    for i, t in enumerate(steps, start=1):
        first, last = max(borders[i - 1], t - window), min(borders[i + 1], t + window)
        x = np.arange(first, last)
        after = (x >= t).astype(np.float64)
        columns = [np.ones(x.size), after, x - t + 0.5]
        enough = min(t - first, last - t) >= NEEDED_BESIDE
        design = np.stack(columns if enough else columns[:2], axis=1)
        sizes.append(float(_least_absolute(design, levels[first:last])[1]))
    return np.array(sizes)


def _least_absolute(design: Image, values: Series) -> Series:
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    for _ in range(30):
        residual = np.abs(values - design @ solution)
        weight = 1.0 / np.sqrt(np.maximum(residual, 1e-9 * max(float(np.abs(values).max()), 1e-300)))
        solution = np.linalg.lstsq(design * weight[:, None], values * weight, rcond=None)[0]
    return np.asarray(solution, dtype=np.float64)
