"""What is suspicious in a label image: labels in pieces, numbers used twice, specks."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

#: What may be found, and what it means.
CHECKS = {
    "non_contiguous": "crumbs of the label lie apart from it",
    "repeated": "two separate objects have the same number",
    "tiny": "far smaller than the other objects",
}
_SCHEMA = {
    "check": pl.String,
    "label": pl.Int64,
    "n_pixels": pl.Int64,
    "n_parts": pl.Int64,
    "part_pixels": pl.Int64,
    "z": pl.Float64,
    "y": pl.Float64,
    "x": pl.Float64,
    "other_z": pl.Float64,
    "other_y": pl.Float64,
    "other_x": pl.Float64,
}


def check_labels(
    labels: NDArray[np.integer], *, tiny_fraction: float = 0.1, min_pixels: int = 1, repeated_fraction: float = 0.25
) -> pl.DataFrame:
    """Return what is suspicious in the label image of one frame.

    Parameters
    ----------
    labels : array of int, (y, x) or (z, y, x)
        0 is background. Pixels that touch, also at a corner, belong together.
    tiny_fraction : float
        A label is ``tiny`` below this part of the median size of the frame's labels,
    min_pixels : int
        or below this number of pixels.
    repeated_fraction : float
        A label in pieces is ``repeated`` where its second largest piece has at least this part of the pixels of the
        largest, so that both may be cells; else it is ``non_contiguous``.

    Returns
    -------
    polars.DataFrame
        One row a finding, sorted by label: ``check`` (a key of `CHECKS`), ``label``, its ``n_pixels`` and ``n_parts``,
        ``part_pixels`` of the second largest piece (0 without one), the centre of the largest piece ``z y x`` and of
        the second largest ``other_z other_y other_x`` in pixels (null without one; ``z`` is 0 in 2D).

    Raises
    ------
    ParameterError
        If the image has not 2 or 3 axes or a parameter makes no sense.
    """
    if labels.ndim not in (2, 3) or not 0 <= tiny_fraction < 1 or min_pixels < 0 or not 0 < repeated_fraction <= 1:
        msg = (
            f"Labels of shape {labels.shape} cannot be checked so; give (y, x) or (z, y, x) and fractions from 0 to 1."
        )
        raise ParameterError(msg)
    if not labels.size or not labels.any():
        return pl.DataFrame(schema=_SCHEMA)
    parts = _parts(labels)
    sizes = parts.group_by("label").agg(
        pl.col("pixels").sum().alias("n_pixels"),
        pl.len().cast(pl.Int64).alias("n_parts"),
        *(pl.col(c).first() for c in "zyx"),
        pl.col("pixels").first().alias("largest"),
        pl.col("pixels").get(1, null_on_oob=True).alias("part_pixels"),
        *(pl.col(c).get(1, null_on_oob=True).alias(f"other_{c}") for c in "zyx"),
    )
    least = max(float(min_pixels), tiny_fraction * float(np.median(sizes["n_pixels"].to_numpy())))
    said = {
        "tiny": pl.col("n_pixels") < least,
        "repeated": pl.col("part_pixels") >= repeated_fraction * pl.col("largest"),
        "non_contiguous": pl.col("part_pixels") < repeated_fraction * pl.col("largest"),
    }
    found = [sizes.filter(test).with_columns(pl.lit(name).alias("check")) for name, test in said.items()]
    table = pl.concat(found).with_columns(pl.col("part_pixels").fill_null(0))
    return table.select(pl.col(n).cast(d) for n, d in _SCHEMA.items()).sort("label", "check")


def _parts(labels: NDArray[np.integer]) -> pl.DataFrame:
    """Return label, pixels and centre of every connected piece, the largest of each label first."""
    from scipy.ndimage import center_of_mass
    from skimage.measure import label as connected

    pieces = connected(labels, background=0)
    n = int(pieces.max())
    pixels = np.bincount(pieces.ravel(), minlength=n + 1)[1:]
    value = np.zeros(n + 1, np.int64)
    value[pieces.ravel()] = labels.ravel()
    centres = np.array(center_of_mass(np.ones(labels.shape, np.uint8), pieces, np.arange(1, n + 1))).reshape(n, -1)
    z = centres[:, 0] if labels.ndim == 3 else np.zeros(n)
    columns = {"label": value[1:], "pixels": pixels, "z": z, "y": centres[:, -2], "x": centres[:, -1]}
    table = pl.DataFrame({k: np.ascontiguousarray(v) for k, v in columns.items()})
    return table.sort(["label", "pixels", "y", "x"], descending=[False, True, False, False])
