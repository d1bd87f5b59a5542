"""The features of a piece of an image: the same numbers whatever piece a pixel is in, if its margin is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.segmentation.feature_bank import NARROW_PART, STRUCTURE_PART, FeatureBank
from kinocyte.segmentation.smoothing import TRUNCATE, gaussian

Image = NDArray[np.float64]
#: first and last + 1 pixel along each axis
Box = tuple[tuple[int, int], ...]


def margin_px(bank: FeatureBank, spacing_um: Sequence[float]) -> tuple[int, ...]:
    """Return how far beyond a pixel its features look, along each axis."""

    def reach(sigma_px: float) -> int:
        return int(TRUNCATE * sigma_px + 0.5)

    widest = [max(bank.sigmas_um) / s for s in spacing_um]
    return tuple(reach(w) + 1 + reach(STRUCTURE_PART * w) for w in widest)


def bank_rows(
    images: Sequence[NDArray[np.generic]], inner: Box, bank: FeatureBank, spacing_um: Sequence[float]
) -> NDArray[np.float32]:
    """Return the features of the pixels of a box, one row a pixel in raster order.

    Parameters
    ----------
    images : sequence of array, (y, x) or (z, y, x)
        The channels, finite; the box with `margin_px` around it, or less where the frame ends.
    inner : tuple of (int, int)
        The box within these arrays.
    bank : FeatureBank
        What is computed.
    spacing_um : sequence of float
        Pixel size along each axis.

    Returns
    -------
    array of float32, (pixels, features)
        Columns as `FeatureBank.names`.
    """
    ndim = len(inner)
    box = np.array(((0, 1), *inner)[-3:], dtype=np.int64)
    out = np.empty((int(np.prod(box[:, 1] - box[:, 0])), len(bank.names(("",) * len(images), ndim))), np.float32)
    at = 0
    for image in images:
        values = np.asarray(image, dtype=np.float64)
        if "intensity" in bank.kinds:
            out[:, at] = _cut(values, inner)
            at += 1
        for sigma_um in bank.sigmas_um:
            at = _at_scale(values, (inner, box), bank, [sigma_um / s for s in spacing_um], (out, at))
    return out


def _at_scale(
    image: Image,
    where: tuple[Box, NDArray[np.int64]],
    bank: FeatureBank,
    sigma_px: Sequence[float],
    to: tuple[NDArray[np.float32], int],
) -> int:
    """Write the features of one channel at one scale from a column on; return the column after the last."""
    inner, box = where
    out, at = to
    ndim = image.ndim
    blurred = gaussian(image, sigma_px)
    volume = blurred.reshape((1, *image.shape)[-3:])
    columns = np.full(4, -1, np.int64)  # gradient, log, hessian, structure
    narrow = -1
    for kind in bank.kinds:
        if kind == "gaussian":
            out[:, at] = _cut(blurred, inner)
        elif kind == "dog":
            narrow = at
        elif kind != "intensity":
            columns[("gradient", "log", "hessian", "structure").index(kind)] = at
        at += {"intensity": 0, "hessian": ndim, "structure": ndim}.get(kind, 1)
    if narrow >= 0:
        out[:, narrow] = _cut(gaussian(image, [NARROW_PART * s for s in sigma_px]) - blurred, inner)
    if (columns >= 0).any():
        pairs = (6 if ndim == 3 else 3) if columns[3] >= 0 else 0
        products = np.empty((pairs, *volume.shape))
        ratio = np.array((0.0, *sigma_px)[-3:])
        _differences(volume, (ratio, box, ndim == 3), columns, out, products)
        if pairs:
            part = [STRUCTURE_PART * s for s in sigma_px]
            smooth = [gaussian(p.reshape(image.shape), part).reshape(volume.shape) for p in products]
            _tensor(np.stack(smooth), box, (columns[3], ndim == 3), out)
    return at


def _cut(image: Image, inner: Box) -> Image:
    return image[tuple(slice(a, b) for a, b in inner)].reshape(-1)


@kernel
def _eigenvalues(along_z, in_plane, deep):  # type: ignore[no-untyped-def]  # numba infers the types
    """Return the eigenvalues of a symmetric matrix, largest first (Smith, Commun. ACM 4, 168 (1961))."""
    yy, yx, xx = in_plane
    if not deep:
        middle, half = (yy + xx) / 2, np.sqrt(((yy - xx) / 2) ** 2 + yx * yx)
        return middle + half, middle - half, 0.0
    zz, zy, zx = along_z
    q = (zz + yy + xx) / 3
    off = zy * zy + zx * zx + yx * yx
    p = np.sqrt(((zz - q) ** 2 + (yy - q) ** 2 + (xx - q) ** 2 + 2 * off) / 6)
    if not p > 0:
        return q, q, q
    a, b, c, d, e, f = (zz - q) / p, (yy - q) / p, (xx - q) / p, zy / p, zx / p, yx / p
    half_det = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / 2
    angle = np.arccos(min(max(half_det, -1.0), 1.0)) / 3
    first, last = q + 2 * p * np.cos(angle), q + 2 * p * np.cos(angle + 2 * np.pi / 3)
    return first, 3 * q - first - last, last


@kernel
def _differences(g, setting, columns, out, products):  # type: ignore[no-untyped-def]  # numba infers the types
    """Write gradient, Laplacian and Hessian of the box, and the products of first derivatives of the whole piece."""
    ratio, box, deep = setting
    rz, ry, rx = ratio[0], ratio[1], ratio[2]
    nz, ny, nx = g.shape
    for z in range(nz):
        below, above = g[max(z - 1, 0)], g[min(z + 1, nz - 1)]
        level = g[z]
        for y in range(ny):
            u, w = max(y - 1, 0), min(y + 1, ny - 1)
            inside = box[0, 0] <= z < box[0, 1] and box[1, 0] <= y < box[1, 1]
            row = ((z - box[0, 0]) * (box[1, 1] - box[1, 0]) + y - box[1, 0]) * (box[2, 1] - box[2, 0]) - box[2, 0]
            for x in range(nx):
                s, t = max(x - 1, 0), min(x + 1, nx - 1)
                dy = (level[w, x] - level[u, x]) / 2 * ry
                dx = (level[y, t] - level[y, s]) / 2 * rx
                dz = (above[y, x] - below[y, x]) / 2 * rz if deep else 0.0
                if products.shape[0] > 0:
                    products[0, z, y, x], products[1, z, y, x], products[2, z, y, x] = dy * dy, dy * dx, dx * dx
                    if deep:
                        products[3, z, y, x], products[4, z, y, x], products[5, z, y, x] = dz * dz, dz * dy, dz * dx
                if not (inside and box[2, 0] <= x < box[2, 1]):
                    continue
                i = row + x
                v = level[y, x]
                yy = (level[w, x] + level[u, x] - 2 * v) * ry * ry
                xx = (level[y, t] + level[y, s] - 2 * v) * rx * rx
                zz = (above[y, x] + below[y, x] - 2 * v) * rz * rz if deep else 0.0
                if columns[0] >= 0:
                    out[i, columns[0]] = np.sqrt(dz * dz + dy * dy + dx * dx)
                if columns[1] >= 0:
                    out[i, columns[1]] = -(zz + yy + xx)
                if columns[2] >= 0:
                    yx = (level[w, t] - level[w, s] - level[u, t] + level[u, s]) / 4 * ry * rx
                    zy, zx = 0.0, 0.0
                    if deep:
                        zy = (above[w, x] - above[u, x] - below[w, x] + below[u, x]) / 4 * rz * ry
                        zx = (above[y, t] - above[y, s] - below[y, t] + below[y, s]) / 4 * rz * rx
                    first, second, third = _eigenvalues((zz, zy, zx), (yy, yx, xx), deep)
                    out[i, columns[2]], out[i, columns[2] + 1] = first, second
                    if deep:
                        out[i, columns[2] + 2] = third


@kernel
def _tensor(products, box, to, out):  # type: ignore[no-untyped-def]  # numba infers the types
    """Write the roots of the eigenvalues of the structure tensor of the box from a column on."""
    column, deep = to
    i = 0
    for z in range(box[0, 0], box[0, 1]):
        for y in range(box[1, 0], box[1, 1]):
            for x in range(box[2, 0], box[2, 1]):
                zz, zy, zx = 0.0, 0.0, 0.0
                if deep:
                    zz, zy, zx = products[3, z, y, x], products[4, z, y, x], products[5, z, y, x]
                first, second, third = _eigenvalues(
                    (zz, zy, zx), (products[0, z, y, x], products[1, z, y, x], products[2, z, y, x]), deep
                )
                out[i, column] = np.sqrt(max(first, 0.0))
                out[i, column + 1] = np.sqrt(max(second, 0.0))
                if deep:
                    out[i, column + 2] = np.sqrt(max(third, 0.0))
                i += 1
