"""Shifts of images by parts of a pixel: the same few taps for every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft

Floats = NDArray[np.float64]


def taps(shift_px: float, how: str) -> tuple[NDArray[np.float32], int]:
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
        return np.ones(1, dtype=np.float32), int(np.floor(shift_px + 0.5)) if how == "nearest" else whole
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
    return weight.astype(np.float32), whole + 1 - reach


@njit(cache=True, nogil=True)
def shift_plane(source, out, weight_y, first_y, weight_x, first_x, row):  # type: ignore[no-untyped-def]  # noqa: PLR0917 - numba
    """Write a plane looked up at constant offsets; pixels beyond the edge repeat it.

    Parameters
    ----------
    source : float (y, x)
        Plane.
    out : float (v, u)
        Result; its pixel (0, 0) looks up around (first_y, first_x).
    weight_y, weight_x : float32
        Taps.
    first_y, first_x : int
        Index of the first tap for pixel 0.
    row : float (x,)
        Room for one row.
    """
    n_y, n_x = source.shape
    m_y, m_x = out.shape
    k_x = weight_x.shape[0]
    low = min(max(-first_x, 0), m_x)
    high = max(min(n_x - k_x + 1 - first_x, m_x), low)
    for y in range(m_y):
        at = min(max(y + first_y, 0), n_y - 1)
        for x in range(n_x):
            row[x] = source[at, x] * weight_y[0]
        for j in range(1, weight_y.shape[0]):
            at = min(max(y + first_y + j, 0), n_y - 1)
            w = weight_y[j]
            for x in range(n_x):
                row[x] += source[at, x] * w
        for x in range(low, high):
            out[y, x] = row[x + first_x] * weight_x[0]
        for i in range(1, k_x):
            w = weight_x[i]
            for x in range(low, high):
                out[y, x] += row[x + first_x + i] * w
        for side in range(2):
            start = 0 if side == 0 else high
            stop = low if side == 0 else m_x
            for x in range(start, stop):
                out[y, x] = 0
                for i in range(k_x):
                    out[y, x] += row[min(max(x + first_x + i, 0), n_x - 1)] * weight_x[i]


def shifted(image: NDArray[Any], shift_px: Floats, how: str, size: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Return a float image looked up at ``index + shift`` along each axis, edges repeated.

    Parameters
    ----------
    image : float array, shape (z, y, x)
        Image; float32 or float64.
    shift_px : array, shape (3,)
        Where the first output pixel looks up the image.
    how : str
        ``nearest``, ``linear``, ``cubic``, ``lanczos`` or ``fourier``.
    size : tuple of int, optional
        Shape of the result; that of the image where left out.
    """
    size = size or image.shape
    if how == "fourier":
        whole = np.rint(shift_px)
        image = fourier_shifted(image, shift_px - whole)
        shift_px, how = whole, "nearest"
    (wz, fz), (wy, fy), (wx, fx) = (taps(float(s), how) for s in shift_px)
    out = np.empty(size, dtype=image.dtype)
    row = np.empty(image.shape[2], dtype=image.dtype)
    last = image.shape[0] - 1
    for z in range(size[0]):
        plane = image[min(max(z + fz, 0), last)]
        if len(wz) > 1:
            plane = plane * wz[0]
            for j in range(1, len(wz)):
                plane += image[min(max(z + fz + j, 0), last)] * wz[j]
        shift_plane(plane, out[z], wy, fy, wx, fx, row)
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
