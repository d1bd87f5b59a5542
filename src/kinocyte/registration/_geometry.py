"""How the content of a frame lies in the field: shift, and a matrix about the centre of the frame.

A point of frame 0 at ``r`` (y, x, from the centre c) lies in frame t at ``c + shift + matrix @ r``. The matrix is
written in the drift table as ``angle_deg`` and, where the content also changes its size or shape, as the columns of
`SHAPE`: in (x, y), ``matrix = turn(angle) @ [[1, shear_x], [0, 1]] @ diag(scale_x, scale_y)``. Tables without these
columns mean scales of 1 and no shear.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import DRIFT, Column, Schema, conform

Floats = NDArray[np.float64]

#: Columns after those of DRIFT for the models ``similarity`` and ``affine``.
SHAPE: Schema = {
    "scale_x": Column(pl.Float64, "size of the content along x, relative to frame 0"),
    "scale_y": Column(pl.Float64, "size of the content along y, relative to frame 0"),
    "shear_x": Column(pl.Float64, "shift along x per pixel of y, before the content is turned"),
}


def turn_matrices(angle_deg: Floats) -> Floats:
    """Return matrices (.., 2, 2) that turn (y, x) from +x towards +y."""
    angle = np.deg2rad(angle_deg)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([c, s], axis=-1), np.stack([-s, c], axis=-1)], axis=-2)


def composed(angle_deg: Floats, scale_x: Floats, scale_y: Floats, shear_x: Floats) -> Floats:
    """Return the matrices (t, 2, 2) in (y, x) of the columns of a table."""
    zero = np.zeros_like(angle_deg)
    shape = np.stack([np.stack([scale_y, zero], axis=-1), np.stack([shear_x * scale_y, scale_x], axis=-1)], axis=-2)
    return np.asarray(turn_matrices(angle_deg) @ shape)


def decomposed(matrix: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return angle in degrees, scale along x, scale along y and shear of matrices (t, 2, 2) in (y, x)."""
    # the x axis of frame 0 is turned and stretched only; the shear acts on what is upright to it
    turned_x, turned_y = matrix[:, 1, 1], matrix[:, 0, 1]
    angle = np.arctan2(turned_y, turned_x)
    scale_x = np.hypot(turned_x, turned_y)
    c, s = np.cos(angle), np.sin(angle)
    scale_y = c * matrix[:, 0, 0] - s * matrix[:, 1, 0]
    shear = (s * matrix[:, 0, 0] + c * matrix[:, 1, 0]) / scale_y
    return np.rad2deg(angle), scale_x, scale_y, shear


def path_of(drift: pl.DataFrame) -> tuple[Floats, Floats]:
    """Return shifts (t, 3) as dz, dy, dx and matrices (t, 2, 2) in (y, x) of a drift table in the order of its rows.

    Raises
    ------
    TableError
        If a column of `DRIFT` is missing.
    ParameterError
        If a number is not finite, or a scale not above 0.
    """
    table = conform(drift, DRIFT, table="drift")
    shift = table.select("dz_px", "dy_px", "dx_px").to_numpy()
    n = table.height
    shape = [
        conform(table.select(name), {name: column}, table="drift")[name].to_numpy() if name in table.columns
        else np.full(n, 0.0 if name == "shear_x" else 1.0)
        for name, column in SHAPE.items()
    ]  # fmt: skip
    angle = table["angle_deg"].to_numpy()
    if not all(np.isfinite(v).all() for v in (shift, angle, *shape)):
        msg = "The drift table holds a shift that is not a finite number; correct it or estimate again."
        raise ParameterError(msg)
    if n and min(shape[0].min(), shape[1].min()) <= 0:
        msg = "The drift table holds a scale that is not above 0; correct it or estimate again."
        raise ParameterError(msg)
    return shift, composed(angle, *shape)


def is_plain(matrix: Floats) -> bool:
    """Tell whether content is shifted only."""
    return bool(np.array_equal(matrix, np.broadcast_to(np.eye(2), matrix.shape)))


def undone(place_yx: Floats, shift_yx: Floats, matrix: Floats, centre_yx: Floats) -> Floats:
    """Return where points (n, 2) would lie in frame 0, each with its own shift (n, 2) and matrix (n, 2, 2)."""
    rest = (place_yx - centre_yx - shift_yx)[..., None]
    return np.asarray(centre_yx + np.linalg.solve(matrix, rest)[..., 0])
