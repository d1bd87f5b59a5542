"""Sums over spectra, fused: what each frame of a group costs again and again.

Spectra are complex64 of shape (p, y, kx), half of the plane as `scipy.fft.rfftn` returns it. A plane p is a depth
where shifts are three-dimensional, else a channel or a block of its own.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel

Spectrum = NDArray[np.complex64]


@kernel
def _phases(freq, start, n, shift):  # type: ignore[no-untyped-def]  # numba
    """Return cosine and sine of ``freq * shift`` of one axis, float32 (n,)."""
    cosine = np.empty(n, np.float32)
    sine = np.empty(n, np.float32)
    for k in range(n):
        angle = freq[start + k] * shift
        cosine[k] = math.cos(angle)
        sine[k] = math.sin(angle)
    return cosine, sine


@kernel
def tapered(image, across, down, along, apart, out):  # type: ignore[no-untyped-def]  # noqa: PLR0917 - numba
    """Write an image times a separable window, its weighted mean removed.

    Parameters
    ----------
    image : float32 (p, y, x)
        Image.
    across, down, along : float32 (p,), (y,), (x,)
        Factors of the window.
    apart : bool
        Each plane has a mean of its own.
    out : float32 (p, y, x)
        Result.
    """
    n_p, n_y, n_x = image.shape
    weight_x = 0.0
    for x in range(n_x):
        weight_x += along[x]
    weight_y = 0.0
    for y in range(n_y):
        weight_y += down[y]
    total = np.zeros(n_p)
    weight = np.zeros(n_p)
    for p in range(n_p):
        weight[p] = across[p] * weight_y * weight_x
        for y in range(n_y):
            row = np.float32(0)
            for x in range(n_x):
                product = image[p, y, x] * along[x]
                out[p, y, x] = product
                row += product
            total[p] += row * down[y] * across[p]
    if not apart:
        total[:] = total.sum()
        weight[:] = weight.sum()
    for p in range(n_p):
        mean = np.float32(total[p] / max(weight[p], 1e-12))
        for y in range(n_y):
            factor = across[p] * down[y]
            for x in range(n_x):
                out[p, y, x] = factor * (out[p, y, x] - mean * along[x])


@kernel
def accumulate(total, spectrum, freq, shift, gain):  # type: ignore[no-untyped-def]  # numba
    """Add a spectrum, with its shift undone and times a gain, to a total in place.

    Parameters
    ----------
    total, spectrum : complex64 (p, y, kx)
        Sum and what is added.
    freq : float32
        Angular frequencies in rad/px of the axes p, y, x, one after the other.
    shift : float64 (3,)
        Shift in px.
    gain : float
        Weight of the spectrum.
    """
    n_p, n_y, n_x = spectrum.shape
    cos_x, sin_x = _phases(freq, n_p + n_y, n_x, shift[2])
    for p in range(n_p):
        for y in range(n_y):
            angle = freq[p] * shift[0] + freq[n_p + y] * shift[1]
            c = np.float32(gain * math.cos(angle))
            s = np.float32(gain * math.sin(angle))
            row = spectrum[p, y]
            to = total[p, y]
            for x in range(n_x):
                u = c * cos_x[x] - s * sin_x[x]
                v = c * sin_x[x] + s * cos_x[x]
                a = row[x].real
                b = row[x].imag
                to[x] += complex(a * u - b * v, a * v + b * u)


@kernel
def cross(out, total, spectrum, weight, freq, shift, gain):  # type: ignore[no-untyped-def]  # noqa: PLR0917 - numba
    """Write the weighted cross-power of a spectrum with the total that it is taken out of.

    Sums run along y for each frequency of x by itself, so that the processor takes several at once.

    Parameters
    ----------
    out : float32 (2, p, y, kx)
        Receives real and imaginary part of ``weight * conj(total - gain * shifted) * spectrum``.
    total : complex64 (p, y, kx)
        Sum of the shifted spectra of the group.
    spectrum : complex64 (p, y, kx)
        The frame; its share in the total is ``gain`` times itself with the shift undone.
    weight : float32 (p, y, kx)
        Weight times multiplicity (2 for a frequency whose conjugate is not stored).
    freq : float32
        Angular frequencies in rad/px of the axes p, y, x, one after the other.
    shift : float64 (3,)
        Shift with which the frame entered the total, px.
    gain : float
        0 where the frame is no part of the total.

    Returns
    -------
    null, power_total, power_frame, amplitude : float
        Variance of the correlation under pure chance, the weighted powers, and the correlation of equal phases.
    """
    n_p, n_y, n_x = spectrum.shape
    cos_x, sin_x = _phases(freq, n_p + n_y, n_x, shift[2])
    sums = np.zeros((4, n_x), np.float32)
    null, power_total, power_frame, amplitude = sums
    for p in range(n_p):
        for y in range(n_y):
            angle = freq[p] * shift[0] + freq[n_p + y] * shift[1]
            c = np.float32(gain * math.cos(angle))
            s = np.float32(gain * math.sin(angle))
            row = spectrum[p, y]
            whole = total[p, y]
            real, imag = out[0, p, y], out[1, p, y]
            weights = weight[p, y]
            for x in range(n_x):
                a = row[x].real
                b = row[x].imag
                w = weights[x]
                u = c * cos_x[x] - s * sin_x[x]
                v = c * sin_x[x] + s * cos_x[x]
                m = whole[x].real - (a * u - b * v)
                n = whole[x].imag - (a * v + b * u)
                real[x] = w * (m * a + n * b)
                imag[x] = w * (m * b - n * a)
                others = w * (m * m + n * n)
                own = w * (a * a + b * b)
                product = others * own
                null[x] += product
                power_total[x] += others
                power_frame[x] += own
                amplitude[x] += np.float32(math.sqrt(product))
    return null.sum(), power_total.sum(), power_frame.sum(), amplitude.sum()


@kernel
def moments(power, freq, shift, result):  # type: ignore[no-untyped-def]  # numba
    """Sum a cross-power under the phase ramps of a shift: correlation, gradient and Hessian.

    Parameters
    ----------
    power : float32 (2, p, y, kx)
        Real and imaginary part of the weighted cross-power.
    freq : float32
        Angular frequencies in rad/px of the axes p, y, x, one after the other.
    shift : float64 (3,)
        Shift in px.
    result : float64 (10,)
        Receives C, dC/dp, dC/dy, dC/dx, then the second derivatives pp, py, px, yy, yx, xx.
    """
    _, n_p, n_y, n_x = power.shape
    cos_x, sin_x = _phases(freq, n_p + n_y, n_x, shift[2])
    sums = np.empty((6, n_x), np.float32)
    r0, i0, r1, i1, r2, i2 = sums
    for k in range(10):
        result[k] = 0.0
    for p in range(n_p):
        kp = freq[p]
        sums[:] = 0
        for y in range(n_y):
            ky = freq[n_p + y]
            angle = kp * shift[0] + ky * shift[1]
            c = np.float32(math.cos(angle))
            s = np.float32(math.sin(angle))
            real, imag = power[0, p, y], power[1, p, y]
            for x in range(n_x):
                u = c * real[x] - s * imag[x]
                v = c * imag[x] + s * real[x]
                r0[x] += u
                i0[x] += v
                u *= ky
                v *= ky
                r1[x] += u
                i1[x] += v
                r2[x] += u * ky
                i2[x] += v * ky
        for x in range(n_x):
            kx = float(freq[n_p + n_y + x])
            c0 = float(cos_x[x])
            s0 = float(sin_x[x])
            value = c0 * r0[x] - s0 * i0[x]
            slope = c0 * i0[x] + s0 * r0[x]
            result[0] += value
            result[1] -= kp * slope
            result[2] -= c0 * i1[x] + s0 * r1[x]
            result[3] -= kx * slope
            result[4] -= kp * kp * value
            along_y = c0 * r1[x] - s0 * i1[x]
            result[5] -= kp * along_y
            result[6] -= kp * kx * value
            result[7] -= c0 * r2[x] - s0 * i2[x]
            result[8] -= kx * along_y
            result[9] -= kx * kx * value


@kernel
def slope_variance(power, freq, shift, result):  # type: ignore[no-untyped-def]  # numba
    """Sum the squares of what each frequency adds to the slope of the correlation at its top.

    The terms of independent frequencies cancel there; their squares are the variance of the slope, whatever the cause
    (noise, or content that changed).

    Parameters
    ----------
    power, freq, shift
        As for `moments`.
    result : float64 (3,)
        Receives the variance of dC/dp, dC/dy, dC/dx.
    """
    _, n_p, n_y, n_x = power.shape
    cos_x, sin_x = _phases(freq, n_p + n_y, n_x, shift[2])
    sums = np.zeros((3, n_x), np.float32)
    along_p, along_y, along_x = sums
    for p in range(n_p):
        kp = freq[p]
        for y in range(n_y):
            ky = freq[n_p + y]
            angle = kp * shift[0] + ky * shift[1]
            c = np.float32(math.cos(angle))
            s = np.float32(math.sin(angle))
            real, imag = power[0, p, y], power[1, p, y]
            for x in range(n_x):
                v = (c * imag[x] + s * real[x]) * cos_x[x] + (c * real[x] - s * imag[x]) * sin_x[x]
                along_x[x] += v * v
                along_y[x] += v * ky * v * ky
                along_p[x] += v * kp * v * kp
    for k in range(3):
        result[k] = 0.0
    for x in range(n_x):
        kx = float(freq[n_p + n_y + x])
        result[0] += along_p[x]
        result[1] += along_y[x]
        result[2] += kx * kx * along_x[x]


@kernel
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


@kernel
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


@kernel
def climb(power, freq, free, shift, result):  # type: ignore[no-untyped-def]  # numba
    """Move a shift to the nearest top of the correlation by Newton steps, in place; ``result`` gets the sums there.

    Parameters
    ----------
    power, freq, result
        As for `moments`.
    free : int64 (3,)
        1 for an axis along which the shift may change.
    shift : float64 (3,)
        Start, changed in place, px.
    """
    step = np.zeros(3)
    trial = np.zeros(3)
    other = np.zeros(10)
    moments(power, freq, shift, result)
    for _ in range(8):
        newton_step(result, free, step)
        size = max(abs(step[0]), abs(step[1]), abs(step[2]))
        if size < 1e-3:  # the rest is the square of that, and the sums there are those here
            for a in range(3):
                shift[a] += step[a]
            break
        for _half in range(3):  # an overshot step is halved: near enough it is always uphill
            for a in range(3):
                trial[a] = shift[a] + step[a]
            moments(power, freq, trial, other)
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


@kernel
def place(power, total, spectrum, weight, freq, free, shift, gain, wide, settled, found):  # type: ignore[no-untyped-def]  # noqa: PLR0917 - numba
    """Do `cross`, `climb` and `slope_variance` for one frame in one call, which other threads need not wait for.

    Parameters
    ----------
    power : float32 (2, p, y, kx)
        Receives the cross-power.
    total, spectrum, weight, freq, gain
        As for `cross`.
    free : int64 (3,)
        1 for an axis along which the shift may change.
    shift : float64 (3,)
        Start, changed in place, px.
    wide : bool
        Stop before climbing where the start is not on the flank of a peak.
    settled : float
        Sum the variance of the slope only where the shift changes by less, px.
    found : float64 (17,)
        Receives what `cross` returns, then the sums of `moments` and of `slope_variance`.

    Returns
    -------
    bool
        False where places around the start must be tried first; ``power`` and the first four numbers are there then.
    """
    null, power_total, power_frame, amplitude = cross(power, total, spectrum, weight, freq, shift, gain)
    found[0], found[1], found[2], found[3] = null, power_total, power_frame, amplitude
    if null <= 0 or power_total <= 0:
        return True
    if wide:
        step = np.zeros(3)
        moments(power, freq, shift, found[4:14])
        top = newton_step(found[4:14], free, step)
        if not top or np.abs(step).max() >= 0.7:
            return False
    before = shift.copy()
    climb(power, freq, free, shift, found[4:14])
    if np.abs(shift - before).max() < settled:
        slope_variance(power, freq, shift, found[14:17])
    return True


@kernel
def add_power(spectrum, out):  # type: ignore[no-untyped-def]  # numba
    """Add the power of each frequency of a spectrum to float32 sums of its shape."""
    n_p, n_y, n_x = spectrum.shape
    for p in range(n_p):
        for y in range(n_y):
            row = spectrum[p, y]
            to = out[p, y]
            for x in range(n_x):
                a = row[x].real
                b = row[x].imag
                to[x] += a * a + b * b
