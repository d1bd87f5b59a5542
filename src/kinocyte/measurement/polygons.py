"""Form of outlines given as polygons, by TrackMate's definitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ELLIPSE = ("x0_um", "y0_um", "major_um", "minor_um", "theta_rad", "aspect_ratio")


def polygon_features(outlines: Sequence[NDArray[np.floating]]) -> pl.DataFrame:
    """Return size and form of closed outlines.

    Parameters
    ----------
    outlines : sequence of array, (n, 2)
        Vertices (x, y) in um, in order around the object, the first one not repeated.

    Returns
    -------
    polars.DataFrame
        One row an outline: ``area_um2`` (shoelace), ``perimeter_um``, ``radius_um`` (of the circle of that area),
        ``circularity`` (4 pi area / perimeter^2), ``solidity`` (area / area of the convex hull), ``shape_index``
        (perimeter / sqrt area), and the ellipse fitted to the vertices, ``ellipse_x0_um ellipse_y0_um`` (centre, in the
        frame of the vertices), ``ellipse_major_um ellipse_minor_um`` (half axes), ``ellipse_theta_rad`` (of the major
        axis from the x axis, -pi/2 to pi/2), ``ellipse_aspect_ratio``. What is not defined is null.

    Raises
    ------
    ParameterError
        If an outline is not an (n, 2) array.

    Notes
    -----
    Names and definitions are those of TrackMate (Ershov et al. (2022), doi:10.1038/s41592-022-01507-1). The ellipse is
    the direct least-squares fit of Fitzgibbon, Pilu and Fisher (1999), in the stable form of Halir and Flusser (1998).
    An axis has two angles that differ by pi; TrackMate gives sometimes the other one.
    """
    points = [np.asarray(o, dtype=np.float64) for o in outlines]
    for i, p in enumerate(points):
        if p.ndim != 2 or p.shape[1] != 2:
            msg = f"Outline {i} has shape {p.shape}; give vertices (n, 2)."
            raise ParameterError(msg)
    area, around, hull = (np.array([f(p) for p in points]) for f in (_area, _perimeter, _hull_area))
    sizes = np.array([len(p) for p in points], dtype=np.int64)
    ellipse = fit_ellipses(np.concatenate([*points, np.zeros((0, 2))]), np.concatenate(([0], np.cumsum(sizes))))
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {
            "area_um2": area,
            "perimeter_um": around,
            "radius_um": np.sqrt(area / np.pi),
            "circularity": np.where(around > 0, 4 * np.pi * area / around**2, np.nan),
            "solidity": np.where(hull > 0, area / hull, np.nan),
            "shape_index": np.where(area > 0, around / np.sqrt(area), np.nan),
        }
    columns |= {f"ellipse_{name}": ellipse[:, k] for k, name in enumerate(_ELLIPSE)}
    return pl.DataFrame({n: np.asarray(v, dtype=np.float64) for n, v in columns.items()}, nan_to_null=True)


def fit_ellipses(points: Floats, offsets: Ints) -> Floats:
    """Return centre x and y, half axes, angle and aspect ratio of the ellipse through each group of points.

    Parameters
    ----------
    points : array of float64, (n, 2)
        (x, y).
    offsets : array of int64, (groups + 1,)
        Points of group i are ``offsets[i]:offsets[i + 1]``.

    Returns
    -------
    array of float64, (groups, 6)
        NaN where the points do not determine an ellipse.
    """
    n = offsets.size - 1
    out = np.full((n, 6), np.nan)
    size = np.diff(offsets)
    some = np.flatnonzero(size >= 5)
    if not some.size:
        return out
    group = np.repeat(np.arange(n), size)
    middle = np.stack([np.bincount(group, points[:, k], n) for k in (0, 1)], axis=1) / np.maximum(size, 1)[:, None]
    x, y = (points - middle[group]).T
    spread = np.sqrt(np.bincount(group, x * x + y * y, n) / np.maximum(size, 1))
    scale = np.where(spread > 0, spread, 1.0)
    x, y = x / scale[group], y / scale[group]
    terms = (x * x, x * y, y * y, x, y, np.ones(x.size))
    scatter = np.zeros((n, 6, 6))
    for i, a in enumerate(terms):
        for j, b in enumerate(terms):
            scatter[:, i, j] = np.bincount(group, a * b, n)
    conic = _conics(scatter[some])
    out[some] = _axes(conic)
    out[:, :2] = out[:, :2] * scale[:, None] + middle
    out[:, 2:4] *= scale[:, None]
    return out


def _conics(scatter: Floats) -> Floats:
    """Return the ellipse a x^2 + b xy + c y^2 + d x + e y + f = 0 of each scatter matrix; NaN where there is none."""
    quadratic, mixed, linear = scatter[:, :3, :3], scatter[:, :3, 3:], scatter[:, 3:, 3:]
    out = np.full((len(scatter), 6), np.nan)
    regular = np.flatnonzero(np.linalg.cond(linear) < 1e12)
    if not regular.size:
        return out
    turn = -np.linalg.solve(linear[regular], mixed[regular].transpose(0, 2, 1))
    reduced = quadratic[regular] + mixed[regular] @ turn
    reduced = np.stack([reduced[:, 2] / 2, -reduced[:, 1], reduced[:, 0] / 2], axis=1)
    values, vectors = np.linalg.eig(reduced)
    vectors = np.where(np.abs(values.imag)[:, None] < 1e-9, vectors, np.nan).real
    bend = 4 * vectors[:, 0] * vectors[:, 2] - vectors[:, 1] ** 2
    best = np.argmax(np.where(bend > 0, bend, -np.inf), axis=1)
    first = np.take_along_axis(vectors, best[:, None, None], axis=2)[:, :, 0]
    is_ellipse = np.take_along_axis(bend, best[:, None], axis=1)[:, 0] > 0
    first[~is_ellipse] = np.nan
    out[regular] = np.concatenate([first, np.einsum("nij,nj->ni", turn, first)], axis=1)
    return out


def _axes(conic: Floats) -> Floats:
    """Return centre, half axes, angle and aspect ratio of conics."""
    a, b, c, d, e, f = conic.T
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = 4 * a * c - b * b
        x0, y0 = (b * e - 2 * c * d) / bend, (b * d - 2 * a * e) / bend
        rest = -(a * x0 * x0 + b * x0 * y0 + c * y0 * y0 + d * x0 + e * y0 + f)
        middle, half = (a + c) / 2, np.hypot((a - c) / 2, b / 2)
        squares = np.stack([rest / (middle - half), rest / (middle + half)], axis=1)
        axes = np.sqrt(np.where(squares > 0, squares, np.nan))
        major, minor = axes.max(axis=1), axes.min(axis=1)
        # the major axis belongs to the eigenvalue nearer to 0, which lies across that of the larger one
        sign = np.where(middle < 0, -1.0, 1.0)
        theta = 0.5 * np.arctan2(-b * sign, (c - a) * sign)
        return np.stack([x0, y0, major, minor, theta, major / minor], axis=1)


def _area(p: Floats) -> float:
    q = p - p[:1]
    x, y = q.T
    return float(abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2)


def _perimeter(p: Floats) -> float:
    return float(np.hypot(*(np.roll(p, -1, axis=0) - p).T).sum())


def _hull_area(p: Floats) -> float:
    """Return the area of the convex hull (Andrew's monotone chain)."""
    rows = np.unique(p, axis=0)
    if len(rows) < 3 or not np.isfinite(p).all():
        return 0.0
    hull: list[Floats] = []
    for part in (rows, rows[::-1]):
        chain: list[Floats] = []
        for q in part:
            while len(chain) >= 2 and _turn(chain[-2], chain[-1], q) <= 0:
                chain.pop()
            chain.append(q)
        hull += chain[:-1]
    return _area(np.array(hull))


def _turn(o: Floats, a: Floats, b: Floats) -> float:
    return float((a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]))
