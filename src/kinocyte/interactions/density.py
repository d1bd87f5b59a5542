"""How densely cells lie around each cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.interactions._cells import as_tuple, both, checked, first_of_group

Floats = NDArray[np.float64]


def local_density(
    cells: pl.DataFrame,
    *,
    radius_um: float,
    field_um: tuple[float, float] | tuple[float, float, float] | None = None,
    by: str | Sequence[str] = (),
) -> pl.DataFrame:
    """Return the number of other cells around each cell, over the area or volume they are looked for in.

    Parameters
    ----------
    cells : polars.DataFrame
        ``object_id frame time_min x_um y_um``, in 3D ``z_um``; one population.
    radius_um : float
        How far around a cell others are counted.
    field_um : tuple of float, optional
        Width and height (and depth, in 3D) of the field of view, from 0; with it only the part of the disc (ball) that
        lies inside is counted, without it cells at the rim seem to have more room than they have.
    by : str or sequence of str
        Columns that tell positions apart.

    Returns
    -------
    polars.DataFrame
        One row a cell in their order: the ``by`` columns, ``object_id track_id frame``, ``n_within`` and
        ``density_per_um2``, or ``density_per_um3`` where ``field_um`` has three lengths; null where a cell has no
        position. The cell itself does not count, so that cells strewn at random have on average the density with which
        they were strewn.

    Raises
    ------
    TableError
        If a column is missing.
    ParameterError
        If a length is not positive.
    """
    from kinocyte.core.scale import Scale
    from kinocyte.interactions._sweep_kernel import sweep

    lengths = () if field_um is None else tuple(field_um)
    if not all(v > 0 and math.isfinite(v) for v in (radius_um, *lengths)) or len(lengths) not in {0, 2, 3}:
        msg = f"radius_um = {radius_um} with field_um = {field_um} is refused; give lengths above 0, two or three."
        raise ParameterError(msg)
    names = as_tuple(by)
    table = checked(cells, None, names, "cells")
    placed, _ = both(table, None, Scale.isotropic(1.0), names)
    starts = first_of_group(placed, int(placed.group.max(initial=-1)) + 1)
    reference, _ = sweep(placed.place_um, placed.place_um, (starts, starts), reach_um=radius_um, keep=0, within=True)
    count = np.bincount(reference, minlength=len(placed.place_um))
    ndim = 3 if len(lengths) == 3 else 2
    room = math.pi * radius_um**2 if ndim == 2 else 4 / 3 * math.pi * radius_um**3
    part = part_inside(placed.place_um[:, :ndim], radius_um, lengths) if lengths else np.ones(len(count))
    density = np.divide(count, room * part, out=np.full(len(count), np.nan), where=part > 0)
    found = placed.table.select(*names, "object_id").with_columns(
        pl.Series("n_within", count, dtype=pl.Int64),
        pl.Series(f"density_per_um{ndim}", density, nan_to_null=True, dtype=pl.Float64),
    )
    keys = [*names, "object_id"]
    return table.select(*names, "object_id", "track_id", "frame").join(
        found, on=keys, how="left", nulls_equal=True, maintain_order="left"
    )


def part_inside(place_um: Floats, radius_um: float, field_um: tuple[float, ...]) -> Floats:
    """Return the part of a disc (ball) around each place, (n, 2) or (n, 3), that lies inside the field.

    Integrated along the first axes at Gauss-Legendre points, exactly along the last.
    """
    *others, last = range(len(field_um))
    node, weight = np.polynomial.legendre.leggauss(64)
    n = len(place_um)
    if n == 0:
        return np.empty(0)
    # the squared half width that is left for the next axis, and what each point stands for
    left, stands = np.full((n, 1), radius_um**2), np.ones((n, 1))
    for axis in others:
        half = np.sqrt(left)
        low = np.maximum(-half, -place_um[:, axis, np.newaxis])
        high = np.maximum(np.minimum(half, field_um[axis] - place_um[:, axis, np.newaxis]), low)
        middle, reach = (low + high) / 2, (high - low) / 2
        at = middle[..., np.newaxis] + reach[..., np.newaxis] * node
        stands = (stands[..., np.newaxis] * reach[..., np.newaxis] * weight).reshape(n, -1)
        left = np.maximum(left[..., np.newaxis] - at**2, 0.0).reshape(n, -1)
    half = np.sqrt(left)
    low = np.maximum(-half, -place_um[:, last, np.newaxis])
    high = np.maximum(np.minimum(half, field_um[last] - place_um[:, last, np.newaxis]), low)
    whole = math.pi * radius_um**2 if len(field_um) == 2 else 4 / 3 * math.pi * radius_um**3
    return np.asarray(((high - low) * stands).sum(axis=1) / whole)
