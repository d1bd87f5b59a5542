"""First guess of the shifts of a group of frames: correlation over all allowed places on small images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.threads import each
from kinocyte.registration._align import CHANCE, Aligned, Group, Spectrum, normalised
from kinocyte.registration._masked import MaskedCorrelation
from kinocyte.registration._merge import Window, fill, solve, spanning, spans
from kinocyte.registration._peak import Places, around_zero, parabola, stands_out
from kinocyte.registration._spectrum import (
    Axes,
    Grid,
    Image,
    band,
    likelihood_weight,
    long_fast_length,
    power_of,
    window,
    windowed,
)

Floats = NDArray[np.float64]

#: Largest padded image that is compared by masked normalised correlation: its sums take four times the memory.
MASKED_PIXELS = 300_000
#: Share of noise in the power of a frame above which it is empty if that of most is below the other.
EMPTY, CLEAR = 0.8, 0.5
#: Lags tried first; the others follow where these do not agree. The first alone will do where all of its tops are as
#: high as this: what it misplaces is found out when each frame is laid on the mean of the others.
FIRST_LAGS, SURE = (1, 2), 12.0
#: Scales of the highest values elsewhere by which the top of a map must stand out: where noise rules, and where
#: structure does, which looks alike at a wrong place now and then, but stands out by many more scales at the right one.
NOISY, CLEAN = 4.0, 14.0
#: Share of the side of a frame that stages move between two frames as a rule. Tops so near are believed as they are: by
#: chance one in a hundred lies there, and cells that crawl, turn and divide leave no more of the right one.
USUAL = 0.05
#: Correlation coefficient of frames that show the same whatever else looks alike, as periodic structures do.
SAME = 0.6


@dataclass(frozen=True)
class Search:
    """How frames are compared.

    Parameters
    ----------
    axes : tuple of int
        Axes of (p, y, x) that are transformed.
    free : tuple of int
        Axes along which content may shift.
    whiten : str
        ``weighted``, ``phase`` or ``flat``.
    lags : tuple of int
        Distances of frames that are compared.
    smallest_px, largest_px : float
        Band-pass in pixels of the full image; 0 = none.
    step_px : float
        Largest shift between neighbouring frames along any lateral axis, px of the full image; inf = half the frame.
    taper : float
        Share of the frame on each side that fades out.
    depth_px : float
        Distance of the planes of a volume in lateral pixels.
    reach : float
        Largest shift that is looked for, as a share of the frame.
    attempts : int
        How often crops may be laid anew until shifts no longer change; 0 = as often as pays.
    """

    axes: Axes = (1, 2)
    free: tuple[int, ...] = (1, 2)
    whiten: str = "weighted"
    lags: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    smallest_px: float = 0.0
    largest_px: float = 0.0
    step_px: float = np.inf
    taper: float = 0.2
    depth_px: float = 1.0
    reach: float = 0.5
    attempts: int = 0


@dataclass(frozen=True)
class Guess:
    """Shifts of a group in pixels of the images given, with a sharpness and a disagreement per frame.

    ``height`` is the median correlation coefficient of the frames with the mean of the others; ``empty`` counts the
    frames in which there is nothing to see.
    """

    shift: Floats
    known: NDArray[np.bool_]
    sharpness: Floats
    residual: Floats
    height: float = 0.0
    empty: int = 0


class Correlator:
    """Correlates the small images of a group over all allowed places.

    Parameters
    ----------
    images : sequence of float32 (p, y, x) or None
        Small images; None where a frame is empty.
    weight : float32 (p, y, x)
        Window, mask included.
    search : Search
        How frames are compared.
    bin_px : tuple of float
        Size of a pixel of these images in pixels of the full image, along p, y, x.
    noise_sd : float
        White noise of the small images.
    mask : float32 (p, y, x), optional
        Pixels that count, for the normalised correlation; all where left out.
    """

    def __init__(
        self,
        images: Sequence[Image | None],
        weight: Image,
        search: Search,
        *,
        bin_px: tuple[float, float, float],
        noise_sd: float,
        mask: Image | None = None,
    ) -> None:
        self.search = search
        shape = weight.shape
        self.usual = np.array([max(2.0, USUAL * n) for n in shape])
        self.reach = tuple(max(1, int(search.reach * shape[a])) if a in search.free else 0 for a in range(3))
        padded = [
            long_fast_length(shape[a] + max(self.reach[a], 2)) if a in search.axes and a in search.free else shape[a]
            for a in range(3)
        ]
        self.grid = Grid((padded[0], padded[1], padded[2]), search.axes)
        self.bin_px = bin_px
        full = float(np.mean([bin_px[a] for a in (1, 2)]))
        self.band = band(self.grid.cycles(search.depth_px / full), search.smallest_px / full, search.largest_px / full)
        taken = float((weight.astype(np.float64) ** 2).sum())
        # planes that are not transformed share the noise
        planes = shape[0] if 0 not in search.axes else 1

        def spectrum(image: Image | None) -> tuple[Spectrum | None, float]:
            if image is None:
                return None, 0.0
            raw = self.grid.transform(windowed(image, weight, search.axes))
            power = float(np.vdot(raw, raw).real) / raw.size
            scaled = normalised(raw)
            return scaled, 0.0 if scaled is None else noise_sd**2 * taken / planes / power

        found = each(spectrum, images, weight.size)
        self.spectra = [s for s, _ in found]
        noise = [share for s, share in found if s is not None]
        self.noise = float(np.median(noise)) if noise else 0.0
        #: frames in which there is nothing to see: blank, or noise alone where others show clear structure
        self.empty = np.array([s is None or (share > EMPTY > CLEAR > self.noise) for s, share in found])
        self.masked: MaskedCorrelation | None = None
        if search.whiten == "flat" and 0 not in search.axes:
            filtered = search.smallest_px > 0 or search.largest_px > 0
            if not filtered and np.prod(self.grid.shape) <= MASKED_PIXELS:
                self.masked = MaskedCorrelation(images, mask, self.grid)
        self.weight_ = self._weight()
        self.stand_out = CLEAN + (NOISY - CLEAN) * min(self.noise, 1.0)
        self.places = Places(self._chance(weight))
        per_frequency = self.band if search.whiten == "phase" else self.weight_
        count = int(np.prod([self.grid.shape[a] for a in search.axes]))
        self._often = np.asarray(self.grid.multiplicity() * per_frequency / count, dtype=np.float32)
        #: correlation of each frame with itself, and what white noise adds to it
        self.own = [0.0 if s is None else self._power(s) for s in self.spectra]
        self.noise_power = self.noise * float(np.broadcast_to(self._often, self.grid.spectrum_shape).sum())

    def _chance(self, weight: Image) -> Image:
        """Return how much chance varies from place to place: the root of what two windows have in common there."""
        square = (weight**2).sum(axis=0, keepdims=True) if 0 not in self.search.axes else weight**2
        grid = Grid((square.shape[0], *self.grid.shape[1:]), self.search.axes)
        if 0 in self.search.axes:
            grid = self.grid
        spectrum = grid.transform(square.astype(np.float32))
        common = grid.inverse(np.asarray(spectrum * np.conj(spectrum), dtype=np.complex64))
        share = common / max(float(common.max()), 1e-30)
        return np.asarray(np.sqrt(np.maximum(share, 0.02)), dtype=np.float32)

    def _weight(self) -> NDArray[np.float32]:
        group = Group(self.grid, self.spectra, np.zeros((len(self.spectra), 3)), free=self.search.free, band=self.band)
        self.ring, power = group.ring, group.power
        flat = np.broadcast_to(self.band, self.grid.spectrum_shape)
        if self.search.whiten == "flat":
            return np.ascontiguousarray(flat)
        signal = np.maximum(power - self.noise, 0.02 * power)
        per_ring = likelihood_weight(signal, power - signal, 0.1)
        return np.asarray(flat * per_ring.astype(np.float32)[group.ring], dtype=np.float32)

    def map(self, first: Spectrum, second: Spectrum) -> Image:
        """Return the correlation over the padded grid, planes that are not transformed summed."""
        cross = np.conj(first) * second
        if self.search.whiten == "phase":
            cross *= self.band / np.maximum(np.abs(cross), np.float32(1e-12))
        else:
            cross *= self.weight_
        if 0 not in self.search.axes and cross.shape[0] > 1:
            cross = cross.sum(axis=0, keepdims=True)
        shape = (cross.shape[0], *self.grid.shape[1:])
        return Grid(shape, self.search.axes).inverse(cross)

    def between(self, first: int, second: int) -> tuple[Floats, float]:
        """Return `peak` of two frames of the group, by masked normalised correlation where that was asked for."""
        a, b = self.spectra[first], self.spectra[second]
        if a is None or b is None:
            return np.zeros(3), 0.0
        if self.masked is None:
            return self._peak(a, b, second - first, (self.own[first], self.own[second]))
        coefficient, overlap = self.masked.map(first, second)
        places = Places(np.asarray(np.sqrt(overlap), dtype=np.float32))
        return self.highest(np.asarray(coefficient * overlap, np.float32), places, second - first, (1.0, 1.0))

    def peak(self, first: Spectrum, second: int, lag: int, heard: int) -> tuple[Floats, float]:
        """Return the shift of a frame against a sum of others, and its height in deviations above chance.

        The height is 0 unless it beats what the best of as many places reaches by chance. ``heard`` is the number of
        frames in the sum.
        """
        spectrum = self.spectra[second]
        if spectrum is None:
            return np.zeros(3), 0.0
        return self._peak(first, spectrum, lag, (self._power(first), self.own[second]), heard)

    def _peak(
        self, first: Spectrum, second: Spectrum, lag: int, own: tuple[float, float], heard: int = 1
    ) -> tuple[Floats, float]:
        noise = self.noise_power
        same, signal = own[0] * own[1], max(own[0] - heard * noise, 0.0) * max(own[1] - noise, 0.0)
        return self.highest(self.map(first, second), self.places, lag, (float(np.sqrt(same)), float(np.sqrt(signal))))

    def _power(self, spectrum: Spectrum) -> float:
        """Return the correlation of a frame with itself."""
        if self.search.whiten == "phase":
            return float(np.broadcast_to(self._often, spectrum.shape).sum())
        return float((self._often * power_of(spectrum)).sum())

    def highest(self, values: Image, places: Places, lag: int, same: tuple[float, float]) -> tuple[Floats, float]:
        """Return the allowed place of the highest value, and its height, 0 where chance reaches as high.

        Parameters
        ----------
        values : float32 (p, y, x)
            Correlation at each shift, 0 first, wrapped around.
        places : Places
            How much chance varies from place to place.
        lag : int
            Distance of the frames in time.
        same : (float, float)
            Correlation of frames that show the same, with the same noise and with noise of their own.
        """
        reach = self.reach
        if np.isfinite(self.search.step_px):
            steps = [int(np.ceil(lag * self.search.step_px / b)) if a > 0 else r
                     for a, (r, b) in enumerate(zip(reach, self.bin_px, strict=True))]  # fmt: skip
            reach = tuple(min(r, s) for r, s in zip(reach, steps, strict=True))
        flat = values.ravel()
        spread = float(np.sqrt(np.dot(flat, flat))) / places.size
        if spread <= 0:
            return np.zeros(3), 0.0
        raised = values * places.allowed(reach)
        place = np.unravel_index(int(np.argmax(raised)), values.shape)
        height, common = float(raised[place]), float(values[place])
        at = [int(p) if p <= n // 2 else int(p) - n for p, n in zip(place, values.shape, strict=True)]
        shift = np.zeros(3)
        for axis in self.search.free:
            shift[axis] = at[axis] + (parabola(raised, place, axis) if abs(at[axis]) < reach[axis] else 0.0)
        expected = np.sqrt(2 * np.log(max(places.count(reach), 3))) + 0.7
        if common > SAME * same[0]:
            return shift, height / spread
        if height <= expected * spread:
            return shift, 0.0
        believed = common > SAME * same[1] or bool((np.abs(shift) <= self.usual).all())
        if believed or stands_out(around_zero(raised, reach), at, self.stand_out):
            return shift, height / spread
        return shift, 0.0


def guess(correlator: Correlator, pairs: Sequence[tuple[int, int]] | None = None) -> Guess:
    """Return the shifts of a group of frames.

    Pairs of frames at several lags give a tree of the surest measurements, a robust solution of all of them, a mean
    of what fits, and once more each frame against that mean.

    Parameters
    ----------
    correlator : Correlator
        Spectra of the group.
    pairs : sequence of (int, int), optional
        Pairs that are compared; by default those of the lags, the first ones first.
    """
    n = len(correlator.spectra)
    if pairs is not None:
        measured = _measure(correlator, list(pairs))
        return _settle(measured, n)
    lags = [lag for lag in correlator.search.lags if lag < n]
    early = [lag for lag in lags if lag in FIRST_LAGS] or lags[:1]
    measured = _measure(correlator, [(t, t + lag) for lag in early[:1] for t in range(n - lag)])
    if len(measured[3]) == n - 1 and measured[3].min() >= SURE:
        return _settle(measured, n)
    for later in (early[1:], [lag for lag in lags if lag not in early]):
        if later:
            more = _measure(correlator, [(t, t + lag) for lag in later for t in range(n - lag)])
            measured = [np.concatenate(both) for both in zip(measured, more, strict=True)]
        found = _settle(measured, n)
        if not (~correlator.empty & (~found.known | (found.residual > 1.0))).any():
            break
    return found


def _measure(correlator: Correlator, pairs: list[tuple[int, int]]) -> list[NDArray[np.float64]]:
    """Return columns: first, second, shift (m, 3), height."""

    def measure(pair: tuple[int, int]) -> tuple[float, ...] | None:
        if any(correlator.spectra[t] is None for t in pair):
            return None
        shift, height = correlator.between(*pair)
        return (*pair, *shift, height)

    rows = [row for row in each(measure, pairs, int(np.prod(correlator.grid.shape))) if row is not None]
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return [table[:, 0], table[:, 1], table[:, 2:5], table[:, 5]]


def _settle(measured: Sequence[NDArray[np.float64]], n: int) -> Guess:
    first, second = measured[0].astype(np.intp), measured[1].astype(np.intp)
    value, height = measured[2], measured[3]
    tree = spanning(first, second, value, height, n)
    near = ~np.isnan(tree[first]).any(axis=1) & ~np.isnan(tree[second]).any(axis=1) & (height > 0)
    off = np.full(len(first), np.inf)
    off[near] = np.abs(value[near] - tree[second[near]] + tree[first[near]]).max(axis=1)
    trusted = near & (off < 6.0)
    windows = [
        Window(np.array([a, b]), np.array([np.zeros(3), v]), np.full(2, h))
        for a, b, v, h in zip(first[trusted], second[trusted], value[trusted], height[trusted], strict=True)
    ]
    shift, residual, tied = solve(windows, n)
    sharpness = np.zeros(n)
    np.maximum.at(sharpness, first[trusted], height[trusted])
    np.maximum.at(sharpness, second[trusted], height[trusted])
    return Guess(shift, tied, sharpness, residual)


def rescue(correlator: Correlator, found: Guess) -> Guess:
    """Return the guess aligned group-wise, with lost and doubtful frames placed anew against the mean of the others.

    Frames that see too little in common are treated in groups that overlap in time.
    """
    if found.known.sum() < 2:
        return found
    parts = spans(found.shift, found.known, correlator.grid.shape, correlator.search.free)
    if len(parts) == 1:
        return _rescued(correlator, found)
    windows, n = [], len(found.known)
    sharpness, height = np.zeros(n), []
    for part in parts:
        first, last = (0 if part is parts[0] else part[0]), (n - 1 if part is parts[-1] else part[-1])
        index = np.arange(first, last + 1)
        shift, known = found.shift[index], found.known[index]
        local = _rescued(correlator, Guess(shift, known, found.sharpness[index], found.residual[index]), index)
        if local.known.sum() > 1:
            windows.append(Window(index, local.shift, local.known.astype(np.float64)))
        sharpness[index] = np.maximum(sharpness[index], np.where(local.known, local.sharpness, 0.0))
        height.append(local.height)
    shift, residual, tied = solve(windows, n)
    return Guess(shift, tied, sharpness, residual, float(np.median(height)))


def _rescued(correlator: Correlator, found: Guess, frames: NDArray[np.intp] | None = None) -> Guess:
    """Do `rescue` on frames of the correlator that see enough in common; all where left out."""
    chosen = np.arange(len(found.known)) if frames is None else frames
    aligned, kept, total = refine(correlator, found, chosen)
    shift = np.where((found.known & kept)[:, None], aligned.shift, found.shift)
    known, sharpness, residual = found.known.copy(), found.sharpness.copy(), found.residual.copy()
    again = False
    for t, frame in enumerate(chosen):
        spectrum = correlator.spectra[frame]
        if spectrum is None or (kept[t] and aligned.sharpness[t] > 12):
            continue
        place, height = correlator.peak(total(), int(frame), len(known), int(known.sum()))
        if height > 0 and (not known[t] or np.abs(place - shift[t]).max() > 1.5):
            shift[t], known[t], sharpness[t], residual[t] = place, True, height, 0.0
            again = True
        elif height == 0 and not kept[t]:
            known[t] = False
    found = Guess(shift, known, sharpness, residual, _median_height(aligned, known))
    if not again:
        return found
    aligned, kept, _ = refine(correlator, found, chosen)
    shift = np.where((known & kept)[:, None], aligned.shift, shift)
    return replace(found, shift=shift, height=_median_height(aligned, known))


def _median_height(aligned: Aligned, known: NDArray[np.bool_]) -> float:
    return float(np.median(aligned.height[known])) if known.any() else 0.0


def refine(
    correlator: Correlator, found: Guess, frames: NDArray[np.intp] | None = None
) -> tuple[Aligned, NDArray[np.bool_], Callable[[], Spectrum]]:
    """Return the group alignment of frames, all where left out, which took part with a clear peak, and their sum."""
    chosen = np.arange(len(correlator.spectra)) if frames is None else frames
    spectra = [correlator.spectra[t] if k else None for t, k in zip(chosen, found.known, strict=True)]
    group = Group(
        correlator.grid,
        spectra,
        fill(found.shift, found.known),
        free=correlator.search.free,
        band=correlator.band,
        whiten=correlator.search.whiten,
    )
    aligned = group.rounds(3, tolerance_px=0.05)
    return aligned, aligned.sharpness > CHANCE, cache(group.total)


def coarse_window(shape: tuple[int, int, int], search: Search, mask: Image | None) -> Image:
    """Return the window of small images of a shape, times a mask of the same shape."""
    out = window(shape, search.axes, search.taper)
    return out if mask is None else np.asarray(out * mask, dtype=np.float32)
