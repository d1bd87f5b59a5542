"""Sums over spectra, fused: what each frame of a group costs again and again.

Spectra are complex64 of shape (p, y, kx), half of the plane as `scipy.fft.rfftn` returns it. A plane p is a depth
where shifts are three-dimensional, else a channel or a block of its own.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Spectrum = NDArray[np.complex64]


@njit(cache=True, nogil=True)
def accumulate(total, spectrum, ramp_p, ramp_y, ramp_x, gain):  # type: ignore[no-untyped-def]  # noqa: PLR0917 - numba
    """Add a spectrum, shifted by the given phase ramps and times a gain, to a total in place."""
    n_p, n_y, n_x = spectrum.shape
    for p in range(n_p):
        for y in range(n_y):
            row = ramp_p[p] * ramp_y[y] * np.complex64(gain)
            for x in range(n_x):
                total[p, y, x] += spectrum[p, y, x] * row * ramp_x[x]


@njit(cache=True, nogil=True)
def cross(out, total, spectrum, weight, ramp_p, ramp_y, ramp_x, gain):  # type: ignore[no-untyped-def]  # noqa: PLR0917 - numba
    """Write the weighted cross-power of a spectrum with the total that it is taken out of.

    Parameters
    ----------
    out : complex64 (p, y, kx)
        Receives ``weight * conj(total - gain * shifted) * spectrum``.
    total : complex64 (p, y, kx)
        Sum of the shifted spectra of the group.
    spectrum : complex64 (p, y, kx)
        The frame; its share in the total is ``gain`` times itself shifted by the ramps.
    weight : float32 (p, y, kx)
        Weight times multiplicity (2 for a frequency whose conjugate is not stored).
    ramp_p, ramp_y, ramp_x : complex64
        Phase ramps of the shift with which the frame entered the total.
    gain : float
        0 where the frame is no part of the total.

    Returns
    -------
    null, power_total, power_frame, amplitude : float
        Variance of the correlation under pure chance, the weighted powers, and the correlation of equal phases.
    """
    n_p, n_y, n_x = spectrum.shape
    null = 0.0
    power_total = 0.0
    power_frame = 0.0
    amplitude = 0.0
    for p in range(n_p):
        for y in range(n_y):
            row = ramp_p[p] * ramp_y[y] * np.complex64(gain)
            for x in range(n_x):
                frame = spectrum[p, y, x]
                w = weight[p, y, x]
                other = total[p, y, x] - frame * (row * ramp_x[x])
                a = other.real * other.real + other.imag * other.imag
                b = frame.real * frame.real + frame.imag * frame.imag
                out[p, y, x] = complex(
                    w * (other.real * frame.real + other.imag * frame.imag),
                    w * (other.real * frame.imag - other.imag * frame.real),
                )
                null += w * w * a * b
                power_total += w * a
                power_frame += w * b
                amplitude += w * math.sqrt(a * b)
    return null, power_total, power_frame, amplitude


@njit(cache=True, nogil=True)
def moments(power, freq, n_p, n_y, shift, result):  # type: ignore[no-untyped-def]  # noqa: PLR0917 - numba
    """Sum a cross-power under the phase ramps of a shift: correlation, gradient and Hessian.

    Parameters
    ----------
    power : complex64 (p, y, kx)
        Weighted cross-power.
    freq : float32
        Angular frequencies in rad/px of the axes p, y, x, one after the other.
    n_p, n_y : int
        Lengths of the first two axes.
    shift : float64 (3,)
        Shift in px.
    result : float64 (10,)
        Receives C, dC/dp, dC/dy, dC/dx, then the second derivatives pp, py, px, yy, yx, xx.
    """
    n_x = power.shape[2]
    ramp_x = np.empty(n_x, np.complex64)
    for x in range(n_x):
        angle = freq[n_p + n_y + x] * shift[2]
        ramp_x[x] = complex(math.cos(angle), math.sin(angle))
    for k in range(10):
        result[k] = 0.0
    for p in range(n_p):
        kp = freq[p]
        for y in range(n_y):
            ky = freq[n_p + y]
            s0 = 0j
            s1 = 0j
            s2 = 0j
            for x in range(n_x):
                v = power[p, y, x] * ramp_x[x]
                kx = freq[n_p + n_y + x]
                s0 += v
                s1 += kx * v
                s2 += kx * kx * v
            angle = kp * shift[0] + ky * shift[1]
            row = complex(math.cos(angle), math.sin(angle))
            s0 *= row
            s1 *= row
            s2 *= row
            result[0] += s0.real
            result[1] -= kp * s0.imag
            result[2] -= ky * s0.imag
            result[3] -= s1.imag
            result[4] -= kp * kp * s0.real
            result[5] -= kp * ky * s0.real
            result[6] -= kp * s1.real
            result[7] -= ky * ky * s0.real
            result[8] -= ky * s1.real
            result[9] -= s2.real


@njit(cache=True, nogil=True)
def _solve(m, g):  # type: ignore[no-untyped-def]  # numba
    """Solve the 3 x 3 system in place by Cholesky; return False, with g untouched, if it is not positive definite."""
    for a in range(3):
        for b in range(a + 1):
            rest = m[a, b]
            for c in range(b):
                rest -= m[a, c] * m[b, c]
            if a > b:
                m[a, b] = rest / m[b, b]
            elif rest > 0.0:
                m[a, a] = math.sqrt(rest)
            else:
                return False
    for a in range(3):
        for c in range(a):
            g[a] -= m[a, c] * g[c]
        g[a] /= m[a, a]
    for back in range(3):
        a = 2 - back
        for c in range(a + 1, 3):
            g[a] -= m[c, a] * g[c]
        g[a] /= m[a, a]
    return True


@njit(cache=True, nogil=True)
def newton_step(result, free, step):  # type: ignore[no-untyped-def]  # numba
    """Write the step to the top of the parabola through the sums; return whether there is a top.

    ``free`` holds 1 for an axis along which the shift may change. Where the Hessian has no top the step is a short
    one uphill.
    """
    m = np.zeros((3, 3))
    g = np.zeros(3)
    size = 0.0
    k = 4
    for a in range(3):
        m[a, a] = 1.0
        if free[a] == 1:
            g[a] = result[1 + a]
            size = max(size, abs(g[a]))
        for b in range(a, 3):
            if free[a] == 1 and free[b] == 1:
                m[a, b] = -result[k]
                m[b, a] = -result[k]
            k += 1
    if not _solve(m, g):
        for a in range(3):
            step[a] = 0.3 * g[a] / max(size, 1e-30)
        return False
    for a in range(3):
        step[a] = min(0.7, max(-0.7, g[a]))
    return True


@njit(cache=True, nogil=True)
def climb(power, freq, sizes, free, shift, result):  # type: ignore[no-untyped-def]  # noqa: PLR0917 - numba
    """Move a shift to the nearest top of the correlation by Newton steps, in place; ``result`` gets the sums there.

    Parameters
    ----------
    power, freq, result
        As for `moments`.
    sizes : int64 (2,)
        Lengths of the first two axes.
    free : int64 (3,)
        1 for an axis along which the shift may change.
    shift : float64 (3,)
        Start, changed in place, px.
    """
    step = np.zeros(3)
    trial = np.zeros(3)
    other = np.zeros(10)
    moments(power, freq, sizes[0], sizes[1], shift, result)
    for _ in range(8):
        newton_step(result, free, step)
        size = 0.0
        for _half in range(3):  # an overshot step is halved: near enough it is always uphill
            size = 0.0
            for a in range(3):
                trial[a] = shift[a] + step[a]
                size = max(size, abs(step[a]))
            moments(power, freq, sizes[0], sizes[1], trial, other)
            if other[0] >= result[0]:
                break
            for a in range(3):
                step[a] *= 0.5
        if other[0] < result[0]:
            break
        for a in range(3):
            shift[a] = trial[a]
        for k in range(10):
            result[k] = other[k]
        if size < 5e-4:
            break


@njit(cache=True, nogil=True)
def ring_power(spectrum, ring, out, count):  # type: ignore[no-untyped-def]  # numba
    """Add the power of a spectrum to sums over rings of equal frequency; ``count`` gets the number of terms."""
    n_p, n_y, n_x = spectrum.shape
    for p in range(n_p):
        for y in range(n_y):
            for x in range(n_x):
                v = spectrum[p, y, x]
                k = ring[p, y, x]
                out[k] += v.real * v.real + v.imag * v.imag
                count[k] += 1.0
