"""Shifts of images by parts of a pixel: the same few taps for every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from kinocyte.core.compiled import kernel

Floats = NDArray[np.float64]


def taps(shift_px: float, how: str) -> tuple[Floats, int]:
    """Return weights and the offset of the first: ``out[i] = sum_j w[j] in[i + offset + j]`` looks up ``i + shift``.

    Parameters
    ----------
    shift_px : float
        Where an output pixel looks up the input, relative to itself.
    how : str
        ``nearest``; ``linear``; ``cubic`` (Keys 1981, IEEE Trans. ASSP 29:1153, a = -1/2); ``lanczos`` (three lobes,
        Duchon 1979, normalised to sum 1).
    """
    whole = int(np.floor(shift_px))
    part = shift_px - whole
    if how == "nearest" or part < 1e-9:
        return np.ones(1), int(np.floor(shift_px + 0.5)) if how == "nearest" else whole
    reach = {"linear": 1, "cubic": 2, "lanczos": 3}[how]
    at = np.arange(1 - reach, reach + 1) - part
    distance = np.abs(at)
    if how == "linear":
        weight = 1 - distance
    elif how == "cubic":
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        weight = np.where(distance < 1, near, far)
    else:
        weight = np.sinc(at) * np.sinc(at / 3)
        weight = weight / weight.sum()
    return np.asarray(weight, dtype=np.float64), whole + 1 - reach


@kernel
def _weigh(source, out, weight, start):  # type: ignore[no-untyped-def]  # numba
    """Write a row times a weight, or add it to what is there."""
    if start:
        for x in range(source.shape[0]):
            out[x] = out.dtype.type(source[x]) * weight
    else:
        for x in range(source.shape[0]):
            out[x] += out.dtype.type(source[x]) * weight


@kernel
def _along_row(source, out, weight, first):  # type: ignore[no-untyped-def]  # numba
    """Write the weighted sum of neighbours of a row; ``out[x]`` looks up around ``x + first``, edges repeated."""
    n, m, k = source.shape[0], out.shape[0], weight.shape[0]
    low = min(max(-first, 0), m)
    high = max(min(n - k + 1 - first, m), low)
    if high > low:
        for i in range(k):
            _weigh(source[low + first + i : high + first + i], out[low:high], weight[i], i == 0)
    for x in range(m):
        if low <= x < high:
            continue
        out[x] = 0
        for i in range(k):
            out[x] += source[min(max(x + first + i, 0), n - 1)] * weight[i]


@kernel
def resample(volume, out, weights, firsts, room, highest):  # type: ignore[no-untyped-def]  # noqa: PLR0917 - numba
    """Write a volume looked up at constant offsets; pixels beyond the edge repeat it.

    Each row of the result is summed from a few rows that stay in the processor's cache, and rounded as it is written:
    no copy of the volume is made.

    Parameters
    ----------
    volume : array (z, y, x)
        Pixels.
    out : array (w, v, u)
        Result.
    weights : (float (k,), float (k,), float (k,))
        Taps along z, y and x, in the type in which sums are made.
    firsts : int64 (3,)
        Index of the first tap for pixel 0, along z, y and x.
    room : float (taps along y + 2, at least the larger of x and u)
        Rows that are worked on, in the type in which sums are made.
    highest : float
        Results are rounded and clipped to 0 .. highest; below 0: they are left as they are.
    """
    n_z, n_y, n_x = volume.shape
    m_z, m_y, m_x = out.shape
    weight_z, weight_y, weight_x = weights
    n_ring = weight_y.shape[0]
    row = room[n_ring, :n_x]
    done = room[n_ring + 1, :m_x]
    zero = room.dtype.type(0)
    most = room.dtype.type(highest)
    for z in range(m_z):
        ready = min(max(firsts[1], 0), n_y - 1) - 1  # last row of the frame that has been summed along z
        for y in range(m_y):
            last = min(max(y + firsts[1] + n_ring - 1, 0), n_y - 1)
            while ready < last:
                ready += 1
                for j in range(weight_z.shape[0]):
                    plane = volume[min(max(z + firsts[0] + j, 0), n_z - 1)]
                    _weigh(plane[ready], room[ready % n_ring, :n_x], weight_z[j], j == 0)
            for j in range(n_ring):
                at = min(max(y + firsts[1] + j, 0), n_y - 1)
                _weigh(room[at % n_ring, :n_x], row, weight_y[j], j == 0)
            _along_row(row, done, weight_x, firsts[2])
            to = out[z, y]
            if highest < 0:
                for x in range(m_x):
                    to[x] = done[x]
            else:
                for x in range(m_x):
                    to[x] = np.rint(min(max(done[x], zero), most))


def shifted(
    image: NDArray[Any],
    shift_px: Floats,
    how: str,
    size: tuple[int, ...] | None = None,
    dtype: np.dtype[Any] | None = None,
) -> NDArray[Any]:
    """Return an image looked up at ``index + shift`` along each axis, edges repeated.

    Parameters
    ----------
    image : array, shape (z, y, x)
        Image; float32, float64, or an unsigned integer of at most 16 bit with ``dtype`` the same.
    shift_px : array, shape (3,)
        Where the first output pixel looks up the image.
    how : str
        ``nearest``, ``linear``, ``cubic``, ``lanczos`` or ``fourier``.
    size : tuple of int, optional
        Shape of the result; that of the image where left out.
    dtype : numpy dtype, optional
        Type of the result; that of the image where left out. Integers are rounded and clipped.
    """
    size = size or image.shape
    dtype = dtype or image.dtype
    if how == "fourier":
        whole = np.rint(shift_px)
        image = fourier_shifted(image, shift_px - whole)
        shift_px, how = whole, "nearest"
    working = np.float64 if image.dtype.itemsize > 4 else np.float32
    found = [taps(float(s), how) for s in shift_px]
    weights = tuple(w.astype(working) for w, _ in found)
    out = np.empty(size, dtype=dtype)
    room = np.empty((len(weights[1]) + 2, max(image.shape[2], size[2])), dtype=working)
    highest = float(np.iinfo(dtype.str).max) if dtype.kind == "u" else -1.0
    resample(np.ascontiguousarray(image), out, weights, np.array([f for _, f in found]), room, highest)
    return out


def fourier_shifted(image: NDArray[Any], shift_px: Floats, margin: int = 16) -> NDArray[Any]:
    """Return the band-limited image looked up at ``index + shift``; edges are mirrored against wrap-around."""
    axes = [a for a in range(3) if shift_px[a] != 0 and image.shape[a] > 1]
    if not axes:
        return image
    pad = [(min(margin, n - 1),) * 2 if a in axes else (0, 0) for a, n in enumerate(image.shape)]
    out = np.pad(image, pad, mode="symmetric")
    for axis in axes:
        n = out.shape[axis]
        form = [1, 1, 1]
        form[axis] = n // 2 + 1
        ramp = np.exp(2j * np.pi * np.fft.rfftfreq(n) * shift_px[axis]).reshape(form)
        if n % 2 == 0:
            ramp[tuple(-1 if a == axis else 0 for a in range(3))] = np.cos(np.pi * shift_px[axis])
        out = fft.irfft(fft.rfft(out, axis=axis) * ramp.astype(np.complex64), n=n, axis=axis)
    cut = tuple(slice(a, n - b) for (a, b), n in zip(pad, out.shape, strict=True))
    return np.ascontiguousarray(out[cut], dtype=image.dtype)
