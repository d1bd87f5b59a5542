"""Group-wise alignment: each frame against the mean of all others, by Newton steps on the correlation.

All frames of a group see the same part of the sample, up to a fraction of a pixel. The shift of each is where the
weighted correlation with the mean of the others is largest; rounds repeat with the better mean. For equal weights
the step below reaches the least-squares solution of all pairs at once, so that no error adds up from frame to frame.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.threads import each
from kinocyte.registration import _kernel
from kinocyte.registration._spectrum import Grid, power_of, ring_mean

Spectrum = NDArray[np.complex64]
Floats = NDArray[np.float64]

#: Standard deviations of chance that the best of the few places around a guess reaches now and then.
CHANCE = 3.0

#: Power, relative to the strongest frequencies, below which structure is not told from the window's edges.
FLOOR = 3e-5


@dataclass(frozen=True)
class Aligned:
    """Result of a group; arrays have one row a frame of the group.

    Parameters
    ----------
    shift : array, shape (n, 3)
        Shift of the content in px along p, y, x; its mean is arbitrary.
    sharpness : array, shape (n,)
        Height of the correlation in standard deviations of chance; 0 for a frame without content.
    height : array, shape (n,)
        Weighted correlation coefficient with the mean of the others, -1 to 1.
    error : array, shape (n,)
        Predicted standard error of the shift in px.
    """

    shift: Floats
    sharpness: Floats
    height: Floats
    error: Floats


def quality_of(sharpness: Floats) -> Floats:
    """Return a quality of 0 to 1: 0 where chance reaches the same height, 1 far above it."""
    return np.where(sharpness > CHANCE, 1 - (CHANCE / np.maximum(sharpness, CHANCE)) ** 2, 0.0)


class Further:
    """Takes a sequence that converges by a constant factor to its limit (Aitken), every other step."""

    def __init__(self) -> None:
        self._before: Floats | None = None

    def __call__(self, change: Floats) -> Floats:
        """Return what is still to come after a change."""
        change = change - change.mean(axis=0)
        before, self._before = self._before, change
        if before is None or before.shape != change.shape:
            return np.zeros_like(change)
        factor = float((before * change).sum() / max(float((before**2).sum()), 1e-30))
        if not 0.1 < factor < 0.95:
            return np.zeros_like(change)
        self._before = None
        return np.asarray(change * (factor / (1 - factor)), dtype=np.float64)


class Frequencies:
    """Angular frequencies of a grid along p, y and x, each by itself and one after the other."""

    def __init__(self, grid: Grid) -> None:
        self.each = grid.frequencies()
        self.flat = np.concatenate(self.each)


def normalised(spectrum: Spectrum) -> Spectrum | None:
    """Return the spectrum with mean power 1, or None where there is nothing in it."""
    power = float(np.vdot(spectrum, spectrum).real) / spectrum.size
    if not np.isfinite(power) or power <= 1e-12:
        return None
    return np.asarray(spectrum * np.complex64(1 / np.sqrt(power)))


class Group:
    """Spectra of the frames that are aligned together.

    Parameters
    ----------
    grid : Grid
        Frequencies of the spectra.
    spectra : sequence of complex64 array or None
        One a frame, mean power 1; None where there is no content.
    shift : array, shape (n, 3)
        First guess in px.
    free : tuple of int
        Axes along which frames may shift.
    band : float32 array
        Weight per frequency set by the caller (band-pass, or 1).
    whiten : str
        ``"weighted"``: likelihood weights from the spectra; ``"phase"``: equal amplitudes; ``"flat"``: as they are.
    """

    def __init__(
        self,
        grid: Grid,
        spectra: Sequence[Spectrum | None],
        shift: Floats,
        *,
        free: tuple[int, ...],
        band: NDArray[np.float32],
        whiten: str = "weighted",
    ) -> None:
        self.grid, self.free, self.whiten = grid, free, whiten
        self.spectra = list(spectra)
        self.shift = np.array(shift, dtype=np.float64)
        self.frequencies = Frequencies(grid)
        self.flags = np.array([int(a in free) for a in range(3)])
        n_rings = max(4, min(64, min(grid.shape[a] for a in free) // 2))
        self.n_rings = n_rings
        self.ring = grid.rings(n_rings)
        self._band = np.ascontiguousarray(
            np.broadcast_to(band * grid.multiplicity(), grid.spectrum_shape).astype(np.float32)
        )
        self.gain = np.array([0.0 if s is None else 1.0 for s in self.spectra])
        self.power = self._mean_power()
        self.size = int(np.prod(grid.spectrum_shape))
        self._local = threading.local()

    def _mean_power(self) -> Floats:
        power, count = np.zeros(self.grid.spectrum_shape, dtype=np.float32), 0
        for spectrum in self.spectra:
            if spectrum is not None:
                _kernel.add_power(spectrum, power)
                count += 1
        return ring_mean(power, self.ring, self.n_rings) / max(count, 1)

    def total(self) -> Spectrum:
        """Return the sum of the aligned spectra, each times its gain."""
        n = len(self.spectra)

        def part(frames: range) -> Spectrum:
            out = np.zeros(self.grid.spectrum_shape, dtype=np.complex64)
            for t in frames:
                spectrum = self.spectra[t]
                if spectrum is not None and self.gain[t] > 0:
                    _kernel.accumulate(out, spectrum, self.frequencies.flat, self.shift[t], self.gain[t])
            return out

        # always two parts: the sum is then the same on one thread and on two
        first, second = each(part, (range(n // 2), range(n // 2, n)), self.size)
        first += second
        return first

    def weight(self, total: Spectrum) -> NDArray[np.float32]:
        """Return the weight of each frequency, from how well it repeats from frame to frame."""
        n = float(self.gain.sum() ** 2 / max((self.gain**2).sum(), 1e-12))
        if self.whiten != "weighted" or n < 1.5:
            return self._equal_weight()
        mean = ring_mean(power_of(total), self.ring, self.n_rings) / self.gain.sum() ** 2
        signal = np.clip((n * mean - self.power) / (n - 1), 1e-3 * self.power, self.power)
        noise = self.power - signal
        others = n - 1
        floor = FLOOR * float(self.power.max()) + 1e-30
        noisy = noise + 2e-3 * signal + floor
        per_ring = signal / (noisy * (signal * (1 + 1 / others) + noisy / others))
        return np.asarray(self._band * per_ring.astype(np.float32)[self.ring], dtype=np.float32)

    def _equal_weight(self) -> NDArray[np.float32]:
        if self.whiten == "flat":
            return self._band
        # where the sample has no structure, phases are those of rounding and of the window's edges
        per_ring = 1 / np.maximum(self.power, 1e-3 * self.power.max() + 1e-30)
        return np.asarray(self._band * per_ring.astype(np.float32)[self.ring], dtype=np.float32)

    def rounds(self, n_rounds: int, *, tolerance_px: float = 2e-3) -> Aligned:
        """Align all frames with each other.

        Parameters
        ----------
        n_rounds : int
            Largest number of rounds.
        tolerance_px : float
            Rounds end when no frame with content moves further.
        """
        n = len(self.spectra)
        stats = np.zeros((n, 3))
        content = [t for t in range(n) if self.spectra[t] is not None]
        for number in range(n_rounds):
            total = self.total()
            weight = self.weight(total)
            before = self.shift.copy()
            after = self.shift.copy()
            settled = np.inf if number == n_rounds - 1 else 2 * tolerance_px
            place = partial(self._place, total=total, weight=weight, wide=number == 0, settled=settled)
            for t, found in zip(content, each(place, content, self.size), strict=True):
                after[t], stats[t] = found
            good = quality_of(stats[:, 0])
            if not (good > 0).any():
                break
            heard = max(int((good > 0).sum()), 2)
            self.shift = before + (after - before) * (heard - 1) / heard
            self.gain = np.where(good > 0, np.clip(stats[:, 1], 0.05, None), 0.0)
            moved = np.abs(self.shift - before)[good > 0].max()
            if number > 0 and moved < tolerance_px:
                break
        return Aligned(self.shift, stats[:, 0], stats[:, 1], stats[:, 2])

    def _power(self) -> NDArray[np.float32]:
        """Return room for a cross-power, one per thread."""
        if not hasattr(self._local, "power"):
            self._local.power = np.empty((2, *self.grid.spectrum_shape), dtype=np.float32)
        out: NDArray[np.float32] = self._local.power
        return out

    def _place(
        self, t: int, *, total: Spectrum, weight: NDArray[np.float32], wide: bool, settled: float
    ) -> tuple[Floats, tuple[float, float, float]]:
        spectrum = self.spectra[t]
        assert spectrum is not None  # noqa: S101 - the caller asks for frames with content only
        power, shift, found = self._power(), self.shift[t].copy(), np.zeros(17)
        found[14:] = np.inf
        flags, flat = self.flags, self.frequencies.flat
        if not _kernel.place(power, total, spectrum, weight, flat, flags, shift, self.gain[t], wide, settled, found):
            shift = _scan(power[0] + np.complex64(1j) * power[1], self.frequencies, shift, self.free)
            _kernel.climb(power, flat, flags, shift, found[4:14])
            _kernel.slope_variance(power, flat, shift, found[14:])
        (null, power_total, power_frame, amplitude), result, slope = found[:4].tolist(), found[4:14], found[14:]
        if null <= 0 or power_total <= 0:
            return shift, (0.0, 0.0, np.inf)
        height = result[0] / np.sqrt(power_total * power_frame)
        # agreement of phases in standard deviations of chance, after Fisher's transformation: a frame of few but
        # clear frequencies is as sure as one of many
        agreement = np.clip(result[0] / max(amplitude, 1e-30), -0.9999, 0.9999)
        sharpness = np.arctanh(agreement) * amplitude / np.sqrt(null)
        # the slope at the top is chance, and the curvature turns it into a shift
        curvature = -result[[4, 7, 9]][list(self.free)]
        error = np.inf
        bent = curvature > 0
        if bent.any() and result[0] > 0:
            error = np.sqrt(float(np.mean(slope[list(self.free)][bent] / curvature[bent] ** 2)))
        return shift, (float(sharpness), float(height), float(error))


def _scan(power: Spectrum, frequencies: Frequencies, start: Floats, free: tuple[int, ...]) -> Floats:
    """Return the best place of a grid of two pixels around the start, in steps of half a pixel."""
    offset = np.arange(-2.0, 2.01, 0.5)
    tables = [
        np.exp(1j * np.outer(f, offset + s)) if a in free else np.exp(1j * np.outer(f, [s]))
        for a, (f, s) in enumerate(zip(frequencies.each, start, strict=True))
    ]
    p, y, x = (t.astype(np.complex64) for t in tables)
    values = np.einsum("pkj,pl->lkj", np.einsum("pyj,yk->pkj", power @ x, y), p).real
    best = np.unravel_index(int(np.argmax(values)), values.shape)
    shift = start.copy()
    for axis in free:
        shift[axis] += offset[best[axis]]
    return shift
