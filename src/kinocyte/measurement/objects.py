"""Where the objects of a frame are: the rows from which the objects table is made."""

from __future__ import annotations

from typing import Any

import polars as pl
from numpy.typing import NDArray

from kinocyte.core.scale import Scale


def find_objects(labels: NDArray[Any], scale: Scale) -> pl.DataFrame:
    """Return label, centre and size of every object of one frame.

    Parameters
    ----------
    labels : array of integers
        Label image, (y, x) or (z, y, x); 0 is background; any other values from 1 to 2^32 - 1.
    scale : Scale
        Calibration.

    Returns
    -------
    polars.DataFrame
        ``label`` (uint32, ascending, one row for each value present), ``x_um y_um z_um`` (float64, mean position of
        the object's pixels; the centre of the first pixel is 0; ``z_um`` is 0 in 2D), ``area_px`` (int64, number of
        pixels or voxels).

    Raises
    ------
    ParameterError
        If ``labels`` is not an image of labels.
    CalibrationError
        If ``labels`` is 3D and the distance of planes is unknown.
    """
    from kinocyte.measurement._runs import find_runs

    runs = find_runs(labels)
    spacing = scale.spacing_um(runs.ndim)
    centre = runs.first_moments
    z_um = centre[:, 0] * (spacing[0] if runs.ndim == 3 else 0.0)
    return pl.DataFrame(
        {
            "label": runs.labels,
            "x_um": centre[:, 2] * spacing[-1],
            "y_um": centre[:, 1] * spacing[-2],
            "z_um": z_um,
            "area_px": runs.area_px,
        }
    )
